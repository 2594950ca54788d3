//! The append-only file on a simulated disk: power losses, kills and failures at every point.
//!
//! Units are numbered, and each is one command. After each end of the process the files must hold
//! the units `1..=n`, each once and in order. `n` is at least the number of the last unit that was
//! acknowledged as durable. A base holds `1..=n` as one command with the number `n`.
//!
//! `ANNULET_CRASHES=100000 cargo test --lib aof::writer::crashes` runs more seeds, and
//! `ANNULET_CRASH_SEED=7` runs one.

use super::super::reader::{AofReader, Found};
use super::super::simulated::{Ended, Faults, SimulatedDisk};
use super::super::storage::{Storage, write_all};
use super::*;
use crate::base::clock::Clock;
use crate::base::clock::ManualClock;
use crate::base::rng::Rng;
use crate::config::{Config, ConfigCell};
use crate::control::ProcessMemory;
use crate::exec::{BaseForm, CommandTable, ProcessParts, Records};
use crate::feed::{Journal, Timestamp, Unit};
use crate::mesh::Rules;
use crate::observe::{Boards, Level, Log};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

const DIR: &str = "/data";
const STEPS_MAX: u64 = 120;
const GENERATIONS: u64 = 4;
const UNITS_MAX: u64 = 6;

static TABLE: LazyLock<CommandTable> = LazyLock::new(|| CommandTable::new(&[]));

/// What all processes of a run have in common.
struct World {
    disk: SimulatedDisk,
    rng: Rng,
    policy: AppendFsync,
    /// The number of the last unit.
    sent: u64,
    /// The number of the last unit that was acknowledged as durable.
    acked: u64,
    /// The number of the last unit in the files when they were read last.
    found: u64,
    /// Whether the disk never fails. Then nothing but the end of the process stops the file.
    is_sound: bool,
}

/// One process.
struct Run<'w> {
    world: &'w mut World,
    state: State,
    clock: Arc<ManualClock>,
    journal: Journal,
    may_sync: Arc<AtomicBool>,
    /// Units that are not acknowledged: number, timestamp, offset of their end in the stream.
    open: VecDeque<(u64, Timestamp, u64)>,
    marks: u64,
    /// The number of the last unit before the cut of the rewrite in progress.
    cut_at: Option<u64>,
}

fn process(policy: AppendFsync) -> (Arc<Process>, Arc<ManualClock>) {
    let mut config = Config::default();
    (config.appendonly, config.appendfsync) = (true, policy);
    // An empty base is a file without commands.
    config.aof_use_rdb_preamble = false;
    config.dir = DIR.into();
    let manual = ManualClock::new(1_700_000_000_000);
    let clock = Clock::Manual(Arc::clone(&manual));
    let process = Process::new(ProcessParts {
        boards: Boards::new(1, 16, 0),
        config: ConfigCell::new(config),
        commands: LazyLock::force(&TABLE),
        log: log(&clock),
        clock,
        run_id: "a".repeat(40),
        paths: [String::new(), String::new()],
        memory: ProcessMemory::open().expect("/proc can be read"),
    });
    (Arc::new(process), manual)
}

/// Returns a log: the file that `ANNULET_CRASH_LOG` names, or nothing.
fn log(clock: &Clock) -> Log {
    match std::env::var("ANNULET_CRASH_LOG") {
        Ok(path) => Log::new(Some(path.into()), Level::Debug, clock.clone()),
        Err(_) => Log::new(None, Level::Nothing, clock.clone()),
    }
}

fn folder(disk: &SimulatedDisk) -> Folder {
    Folder::on(Arc::new(disk.clone()), Path::new(DIR), "appendonlydir", "appendonly.aof")
}

/// Reads the units of a file, which continue after `last`. Returns the last unit, and the offset
/// of the damage, if there is any.
fn read_units(bytes: &[u8], mut last: u64, about: &str) -> (u64, Option<u64>) {
    let mut reader = AofReader::new(bytes, 0);
    let mut valid = 0;
    loop {
        match reader.read() {
            Ok(Found::Command) => {
                let number = |at| String::from_utf8_lossy(reader.arg(at)).parse::<u64>();
                match reader.arg(0) {
                    b"BASE" => last = number(1).expect("a number"),
                    b"SET" => {
                        let next = number(2).expect("a number");
                        assert_eq!(next, last + 1, "{about}: units follow each other");
                        last = next;
                    }
                    other => assert_eq!(other, b"SELECT", "{about}"),
                }
                valid = reader.offset();
            }
            Ok(Found::End) => return (last, None),
            Ok(_) => {}
            Err(_) => return (last, Some(valid)),
        }
    }
}

impl World {
    /// Reads the files as a new process does. Cuts the damaged end of the last one off.
    fn recover(&mut self, about: &str) -> (Folder, Manifest) {
        let folder = folder(&self.disk);
        let manifest = folder.read_manifest();
        let manifest = manifest.unwrap_or_else(|error| panic!("{about}: {:?}", error.log_lines()));
        let (mut last, files) = (0, manifest.loaded().count());
        for (at, entry) in manifest.loaded().enumerate() {
            let path = folder.path_of(&entry.name);
            let read = self.disk.read(&path);
            let bytes = read.unwrap_or_else(|error| panic!("{about}: {}: {error}", entry.text()));
            let (found, damage) = read_units(&bytes, last, about);
            if std::env::var("ANNULET_CRASH_LOG").is_ok() {
                println!("{about}: {}: {last}..={found}, damage {damage:?}", entry.text());
            }
            last = found;
            if let Some(valid) = damage {
                assert_eq!(at + 1, files, "{about}: {} is damaged and not last", entry.text());
                let file = self.disk.append(&path).expect("no faults while it is read");
                file.set_len(valid).expect("no faults while it is read");
            }
        }
        let (acked, sent) = (self.acked, self.sent);
        assert!((acked..=sent).contains(&last), "{about}: {last} of {acked} acked, {sent} sent");
        self.found = last;
        (folder, manifest)
    }
}

impl<'w> Run<'w> {
    /// Starts the process.
    fn start(world: &'w mut World, (folder, manifest): (Folder, Manifest)) -> Option<Run<'w>> {
        let (process, clock) = process(world.policy);
        let mesh = Mesh::new(1, Rules::default(), None);
        let feed = Arc::new(Feed::new(Arc::clone(&mesh), process.clock.clone(), 0));
        let may_sync = Arc::new(AtomicBool::new(true));
        let shared = Shared { process, mesh, feed };
        let syncer = Syncer::here(Arc::clone(&may_sync));
        let reloader: Reloader = Box::new(|_| unreachable!("nothing loads again"));
        let state = State::open(shared, (folder, manifest), (0, 0), syncer, reloader);
        let mut state = state.ok()?;
        state.exit = || std::panic::resume_unwind(Box::new(Ended));
        state.settle();
        state.publish_synced();
        // What was read is durable: the files were synced when they were opened.
        (world.sent, world.acked) = (world.found, world.found);
        state.delete_history();
        let mut journal = Journal::default();
        journal.set_on(true);
        let open = VecDeque::new();
        Some(Run { world, state, clock, journal, may_sync, open, marks: 0, cut_at: None })
    }

    fn publish(&mut self) {
        self.state.shared.feed.publish(0, &mut self.journal);
    }

    fn timestamp(&mut self) -> Timestamp {
        self.journal.clock.begin_turn(self.state.shared.process.clock.monotonic_ns());
        self.journal.clock.local()
    }

    fn send(&mut self) {
        let timestamp = self.timestamp();
        self.world.sent += 1;
        let number = self.world.sent.to_string();
        let filler = "x".repeat(self.world.rng.below(40) as usize);
        let mut records = Records::default();
        records.add(0, 0, &[b"SET", filler.as_bytes(), number.as_bytes()]);
        self.journal.append(timestamp, Unit::Single { is_transaction: false }, &mut records);
        self.publish();
        let end = self.state.shared.feed.end_offset();
        self.open.push_back((self.world.sent, timestamp, end));
    }

    /// Sends a command that is only for replicas.
    fn ping(&mut self) {
        self.state.shared.feed.with_stream(|stream| stream.inject(&[b"PING"]));
    }

    fn begin_rewrite(&mut self) {
        if self.cut_at.is_some() || self.state.shared.process.aof.is_rewriting() {
            return;
        }
        self.state.shared.process.aof.begin_rewrite(0);
        self.marks += 1;
        self.state.shared.feed.await_cut(self.marks);
        let timestamp = self.timestamp();
        let unit = Unit::Mark { sequence: self.marks, parts: 1, id: self.marks };
        self.journal.append(timestamp, unit, &mut Records::default());
        self.publish();
        self.cut_at = Some(self.world.sent);
    }

    fn end_rewrite(&mut self) {
        let Some(last) = self.cut_at.take() else { return };
        let path = Path::new(DIR).join(format!("temp-rewriteaof-bg-{}.aof", std::process::id()));
        let number = last.to_string();
        let text = format!("*2\r\n$4\r\nBASE\r\n${}\r\n{number}\r\n", number.len());
        let disk = &self.world.disk;
        let write = || {
            let file = disk.append(&path)?;
            file.set_len(0)?;
            write_all(&*file, text.as_bytes())?;
            file.sync()?;
            disk.sync_folder(Path::new(DIR))
        };
        let is_written = self.world.rng.below(5) > 0 && write().is_ok();
        let number = self.state.shared.process.aof.facts().rewrites.begun;
        let form = match self.world.rng.below(2) {
            0 => BaseForm::Snapshot,
            _ => BaseForm::Commands,
        };
        let written = is_written.then_some(form);
        self.state.obey(AofOrder::EndRewrite { number, written });
    }

    /// Records what is acknowledged now.
    fn note_acked(&mut self) {
        let durable = self.state.shared.feed.disk().durable();
        let synced = self.state.shared.process.aof.synced().unwrap_or(0);
        let is_always = self.world.policy == AppendFsync::Always;
        while let Some((number, timestamp, end)) = self.open.front().copied() {
            if end > synced && (!is_always || timestamp >= durable) {
                break;
            }
            self.world.acked = number;
            self.open.pop_front();
        }
    }

    fn step(&mut self) {
        match self.world.rng.below(10) {
            0..5 => (0..self.world.rng.below(UNITS_MAX)).for_each(|_| self.send()),
            5 => self.ping(),
            6 => self.begin_rewrite(),
            7 => self.end_rewrite(),
            8 => self.clock.advance_ms(self.world.rng.below(1_500)),
            _ => self.may_sync.store(self.world.rng.below(2) == 0, Ordering::Relaxed),
        }
        self.clock.advance_ms(self.world.rng.below(50));
        while self.state.step(false) {}
        self.note_acked();
    }

    /// Runs until the disk is sound again, and all is written, durable and rewritten.
    fn calm_down(&mut self, about: &str) {
        self.world.disk.set(Faults::default(), None, None);
        self.may_sync.store(true, Ordering::Relaxed);
        for _ in 0..6 {
            self.end_rewrite();
            self.clock.advance_ms(1_001);
            while self.state.step(false) {}
            self.note_acked();
        }
        let (process, end) = (&self.state.shared.process, self.state.shared.feed.end_offset());
        assert_eq!(process.aof.synced(), Some(end), "{about}: all is durable");
        assert_eq!(process.aof.failure(), None, "{about}: failures are over");
        assert!(!process.aof.is_rewriting(), "{about}: the rewrite has ended");
        assert_eq!(self.world.acked, self.world.sent, "{about}: all is acknowledged");
        let about = format!("{about}, calm");
        let kept = self.world.acked;
        self.world.recover(&about);
        assert_eq!(self.world.found, kept, "{about}");
    }
}

/// Runs one process until it ends. Returns whether it lost no power.
fn live(world: &mut World, about: &str) -> bool {
    let found = world.recover(about);
    let faults = match world.is_sound {
        true => Faults::default(),
        false => {
            let mut rate = || [0, 0, 2, 10][world.rng.below(4) as usize];
            Faults { writes: rate(), syncs: rate(), names: rate() }
        }
    };
    let ends = world.rng.below(3) > 0;
    let left = ends.then(|| world.rng.below(300));
    let is_full = !world.is_sound && world.rng.below(4) == 0;
    let space = is_full.then(|| world.rng.below(3_000) as usize);
    // If the first sync fails, lost bytes stay to the next process, which cannot know.
    world.disk.set(Faults { syncs: 0, ..faults }, left, space);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let Some(mut run) = Run::start(world, found) else { return };
        run.world.disk.set_faults(faults);
        for _ in 0..run.world.rng.below(STEPS_MAX) {
            run.step();
        }
        run.calm_down(about);
    }));
    world.disk.set(Faults::default(), None, None);
    if let Err(why) = ended
        && !why.is::<Ended>()
    {
        std::panic::resume_unwind(why);
    }
    world.rng.below(2) == 0
}

fn run(seed: u64) {
    let mut rng = Rng::new(seed);
    let policies = [AppendFsync::Always, AppendFsync::Everysec];
    let policy = policies[rng.below(2) as usize];
    let disk = SimulatedDisk::new(rng.next_u64(), Path::new(DIR));
    let is_sound = rng.below(3) == 0;
    let mut world = World { disk, rng, policy, sent: 0, acked: 0, found: 0, is_sound };
    for generation in 0..GENERATIONS {
        let about = format!("seed {seed}, process {generation}, {policy:?}");
        if !live(&mut world, &about) {
            world.disk.lose_power();
        }
    }
    world.recover(&format!("seed {seed}, {policy:?}, at last"));
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn nothing_durable_is_lost() {
    if let Some(seed) = number("ANNULET_CRASH_SEED") {
        return run(seed);
    }
    (0..number("ANNULET_CRASHES").unwrap_or(400)).for_each(run);
}
