//! Commands whose work would hold up the shard: they run on a table in the workshop, while their
//! keys stay locked here.
//!
//! ```text
//!   part --its next command is bulky--> away --done--> stores what changed --next command--> ...
//!     ^  '--else--> runs here --next command--> ...                            |
//!     '-------------------------------- until all have run: sent home ---------'
//! ```

use super::Shard;
use super::drain::{Settled, note_failure};
use super::journal::Place;
use super::wake::Waker;
use super::workshop::{ELEMENTS_MIN, Job, Outcome, Owner};
use crate::client::{Program, Table};
use crate::exec::{Item, Mode, Records, Runner, Words, visits_of};
use crate::keyspace::Slice;
use crate::mesh::Envelope;

/// Elements of the values that a command reads on a slice.
fn weight(slice: &Slice, item: &Item, words: &mut Words<'_>) -> usize {
    let args = words.args(item);
    let run = item.entry.command.run;
    let elements = |word: usize| {
        let db = run.key_database(&args, word, usize::from(item.db));
        if db >= slice.databases() {
            return 0;
        }
        let key = slice.key(&args[word]);
        slice.look(db, &key).map_or(0, |view| view.elements())
    };
    if let Some(words) = item.entry.plain_key_words(args.len()) {
        return words.map(elements).sum();
    }
    let keys = item.entry.key_words(&args).unwrap_or_default();
    let read = keys.iter().filter(|(_, spec)| !spec.flags.starts_with("OW"));
    read.map(|(word, _)| elements(*word)).sum()
}

/// Whether a command would take long.
fn is_slow(slice: &Slice, item: &Item, words: &mut Words<'_>) -> bool {
    let run = &item.entry.command.run;
    run.is_bulky() && !run.roams(&words.args(item)) && weight(slice, item, words) >= ELEMENTS_MIN
}

/// Whether one of the commands would.
pub(super) fn has_slow(slice: &Slice, items: &[Item], words: &mut Words<'_>) -> bool {
    items.iter().any(|item| is_slow(slice, item, words))
}

impl Shard {
    /// Runs a part that has a slow command, command by command. True if it goes on later: its
    /// keys stay locked until then.
    pub(super) fn work_slowly(&mut self, mut part: Box<Envelope>, place: Place) -> bool {
        let claim = match place {
            Place::Reserved(claim) => claim,
            Place::Now(stamp) => {
                let intents = self.intents_of(&mut part);
                let (claim, is_granted) = self.intents.claim(&intents);
                assert!(is_granted, "a part that runs has nothing in its way");
                self.reserve(claim, stamp, &part);
                claim
            }
        };
        let records = self.records_at(Place::Reserved(claim));
        let goes_on = self.go_on(part, 0, claim, records);
        if !goes_on && matches!(place, Place::Now(_)) {
            self.release(claim);
        }
        goes_on
    }

    /// Runs the commands of a part from one on; true if one of them is away.
    fn go_on(
        &mut self,
        mut part: Box<Envelope>,
        from: usize,
        claim: u64,
        mut records: Option<Records>,
    ) -> bool {
        for at in from..part.items.len() {
            self.wake_between(&part, at, claim, records.as_mut());
            let (items, mut words, ..) = part.parts();
            let item = items[at];
            if is_slow(&self.slice, &item, &mut words) {
                let table = self.set_table(&item, &mut words);
                self.send_away(Owner::Part(claim, part, records), at, table);
                return true;
            }
            self.run_one(&mut part, at, records.as_mut());
        }
        self.wake_between(&part, part.items.len(), claim, records.as_mut());
        self.write_down(Place::Reserved(claim), &part, records);
        self.send_home_later(part);
        false
    }

    /// Serves those whom the command before this one has woken.
    fn wake_between(
        &mut self,
        part: &Envelope,
        at: usize,
        claim: u64,
        records: Option<&mut Records>,
    ) {
        if self.slice.has_ready() {
            let at = at.checked_sub(1).map_or(0, |before| part.items[before].at);
            self.wake(Waker { at, claim: Some(claim), records });
        }
    }

    fn run_one(&mut self, part: &mut Envelope, at: usize, records: Option<&mut Records>) {
        let started_ns = self.process.clock.monotonic_ns();
        let protocol = part.protocol;
        let (items, mut words, output, ends) = part.parts();
        let item = items[at];
        let mut runner = Runner {
            slice: &mut self.slice,
            now_ms: self.now.unix_ms(),
            protocol,
            config: &self.config,
            records,
            reach: None,
            is_whole: true,
            trial: Default::default(),
            effects: Default::default(),
        };
        let board = &self.board;
        runner.run(&[item], &mut words, output, |_, failed, output| {
            ends.push(output.mark());
            if let Some(error) = failed {
                note_failure(board, item.entry, error);
            }
        });
        let effects = runner.effects;
        let spent_ns = self.process.clock.monotonic_ns() - started_ns;
        if spent_ns >= self.thresholds.run_ns {
            part.spent.push((item.at, spent_ns));
        }
        self.settle(Settled { effects, spent_ns, db: item.db.into() }, &[item]);
    }

    /// A table with the values of a command whose keys are all here.
    fn set_table(&mut self, item: &Item, words: &mut Words<'_>) -> Box<Table> {
        let args = words.args(item);
        let mut table = self.empty_table();
        for mut visit in visits_of(item, &args, self.slice.databases()) {
            let key = self.slice.key_in_slot(&visit.key, visit.slot);
            let to_write = visit.mode == Mode::Exclusive;
            visit.parcel = self.slice.fetch(usize::from(visit.db), &key, to_write);
            self.lay_one(&mut table, 0, visit);
        }
        table
    }

    /// Whether a transaction's next command on a table is better run in the workshop.
    pub(super) fn is_slow_program(&self, program: &mut Program, at: usize, table: &Table) -> bool {
        let item = program.queue.items[at];
        let (_, mut words) = program.queue.parts();
        let run = &item.entry.command.run;
        if self.workshop.is_none() || !run.is_bulky() || run.roams(&words.args(&item)) {
            return false;
        }
        let visits = table.visits.iter();
        let elements = visits.map(|(_, visit)| {
            let key = table.slice.key_in_slot(&visit.key, visit.slot);
            let view = table.slice.look(usize::from(visit.db), &key);
            view.map_or(0, |view| view.elements())
        });
        elements.sum::<usize>() >= ELEMENTS_MIN
    }

    pub(super) fn send_away(&mut self, owner: Owner, at: usize, table: Box<Table>) {
        let job = Box::new(Job {
            owner,
            at,
            table,
            config: self.config.clone(),
            now_ms: self.now.unix_ms(),
            started_ns: self.process.clock.monotonic_ns(),
            outcome: Outcome::default(),
        });
        let workshop = self.workshop.as_mut().expect("looked at before");
        workshop.send(self.me, job);
    }

    /// Takes back what the workshop has done.
    pub(super) fn receive_done(&mut self) -> bool {
        let mut found = false;
        while let Some(job) = self.workshop.as_mut().and_then(|workshop| workshop.receive()) {
            found = true;
            let Job { owner, at, table, outcome, started_ns, .. } = *job;
            match owner {
                Owner::Part(claim, mut part, records) => {
                    let item = part.items[at];
                    self.settle_slow(outcome, &item, started_ns, &mut part.spent);
                    let mut stores = Vec::new();
                    self.clear_table(*table, &mut |_, visit| stores.push(visit));
                    self.store(&mut stores);
                    self.moves.begun.clear();
                    if !self.go_on(part, at + 1, claim, records) {
                        self.release(claim);
                    }
                }
                Owner::Program(program) => {
                    self.resume_program(program, at, *table, (outcome, started_ns));
                }
            }
        }
        found
    }

    /// Records that a command has run beside the shard.
    pub(super) fn settle_slow(
        &mut self,
        outcome: Outcome,
        item: &Item,
        started_ns: u64,
        spent: &mut Vec<(u32, u64)>,
    ) {
        if let Some(error) = &outcome.error {
            note_failure(&self.board, item.entry, error);
        }
        let db = item.db.into();
        let spent_ns = self.process.clock.monotonic_ns() - started_ns;
        if spent_ns >= self.thresholds.run_ns {
            spent.push((item.at, spent_ns));
        }
        self.settle(Settled { effects: outcome.effects, spent_ns, db }, &[*item]);
    }
}
