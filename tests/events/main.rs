//! The events, the counted changes and the broken watches of every write command, compared with a
//! Valkey 9.1.
//!
//! `ANNULET_PEER` names the program of the Valkey server. Without one nothing is compared. The same
//! script runs on the peer, whose keyspace notifications a subscriber receives, and on an
//! in-process server with one or several shards, with and without its offload pool.

#[path = "../harness/mod.rs"]
mod harness;
mod ours;
#[path = "../differential/peer.rs"]
#[allow(dead_code)]
mod peer;
mod script;
#[path = "../process/server.rs"]
#[allow(dead_code)]
mod server;
mod theirs;

use annulet::base::alloc::CountingAllocator;
use ours::Ours;
use std::collections::BTreeMap;
use std::thread;
use theirs::Theirs;

/// As in the server, because `maxmemory` depends on its count.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// An event: its name, its database and its key.
pub type Told = (String, usize, String);

/// What one line of the script has caused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caused {
    /// The events in their order.
    pub events: Vec<Told>,
    /// The rise of `rdb_changes_since_last_save`.
    pub changes: i64,
    /// Whether the reply is an error.
    pub is_error: bool,
    /// Whether it breaks the watch of a client that watches all keys.
    pub is_seen: bool,
}

/// A server that runs the lines of the script.
pub trait Subject {
    /// Runs a command and waits for its reply.
    fn run(&mut self, args: &[Vec<u8>]) -> annulet::resp::Value;
    /// Runs a command from another client, which has no open transaction.
    fn observe(&mut self, args: &[Vec<u8>]) -> annulet::resp::Value;
    /// Sends a command from a client of its own, which blocks.
    fn block(&mut self, args: &[Vec<u8>]);
    /// Lets time pass.
    fn pass_ms(&mut self, ms: u64);
    /// Returns the events since the last call.
    fn told(&mut self) -> Vec<Told>;
}

/// Returns `rdb_changes_since_last_save`.
fn changes(subject: &mut impl Subject) -> i64 {
    let reply = subject.observe(&[b"INFO".to_vec(), b"persistence".to_vec()]);
    let annulet::resp::Value::Bulk(text) = reply else { panic!("{reply:?}") };
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("rdb_changes_since_last_save:"));
    line.and_then(|number| number.parse().ok()).expect("INFO has the number")
}

/// Ends the watch of the observer. Returns whether it was broken.
fn is_watch_broken(subject: &mut impl Subject) -> bool {
    subject.observe(&[b"MULTI".to_vec()]);
    subject.observe(&[b"PING".to_vec()]);
    subject.observe(&[b"EXEC".to_vec()]) == annulet::resp::Value::Null
}

/// Runs the script. Returns what each line has caused.
fn run(subject: &mut impl Subject) -> Vec<(&'static str, Caused)> {
    let watch = script::watch();
    let lines = script::LINES.lines().map(str::trim);
    let mut all = Vec::new();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        subject.observe(&watch);
        let before = changes(subject);
        subject.told();
        let mut is_error = false;
        if let Some(ms) = line.strip_prefix("PASS ") {
            subject.pass_ms(ms.parse().expect("milliseconds"));
        } else if let Some(command) = line.strip_prefix("BLOCKED ") {
            let args = script::args(subject, command);
            subject.block(&args);
        } else {
            let args = script::args(subject, line);
            let reply = subject.run(&args);
            is_error = matches!(reply, annulet::resp::Value::Error(_));
        }
        let mut events = subject.told();
        // Where a command of the reference looks a key up twice, it misses the key twice.
        events.dedup_by(|told, before| told == before && told.0 == "keymiss");
        let changes = changes(subject) - before;
        let is_seen = is_watch_broken(subject);
        all.push((line, Caused { events, changes, is_error, is_seen }));
    }
    all
}

/// Returns the events of each key, for servers whose shards run at the same time.
fn by_key(events: &[Told]) -> BTreeMap<(usize, &str), Vec<&str>> {
    let mut keys: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for (name, db, key) in events {
        keys.entry((*db, key.as_str())).or_default().push(name);
    }
    keys
}

fn agrees(ours: &Caused, theirs: &Caused, is_ordered: bool) -> bool {
    let has_equal_events = match is_ordered {
        true => ours.events == theirs.events,
        false => by_key(&ours.events) == by_key(&theirs.events),
    };
    let rest = |caused: &Caused| (caused.changes, caused.is_error, caused.is_seen);
    has_equal_events && rest(ours) == rest(theirs)
}

fn shown(caused: &Caused) -> String {
    let events: Vec<String> =
        caused.events.iter().map(|(name, db, key)| format!("{db}:{name} {key}")).collect();
    let error = if caused.is_error { " (error)" } else { "" };
    let seen = if caused.is_seen { " (breaks a watch)" } else { "" };
    format!("[{}] +{}{error}{seen}", events.join(", "), caused.changes)
}

#[test]
fn every_command_raises_the_peer_s_events() {
    let Some(program) = peer::program() else { return };
    let theirs = run(&mut Theirs::start(&program, "KEAnm"));
    let mut findings = Vec::new();
    for (shards, offloads) in [(1, false), (1, true), (4, false), (4, true)] {
        let ours = run(&mut Ours::start(shards, offloads));
        assert_eq!(ours.len(), theirs.len());
        for ((line, ours), (_, theirs)) in ours.iter().zip(&theirs) {
            if !agrees(ours, theirs, shards == 1) {
                let (ours, theirs) = (shown(ours), shown(theirs));
                findings.push(format!(
                    "{line}\n  {shards} shards, offload {offloads}: {ours}\n  the peer: {theirs}"
                ));
            }
        }
    }
    assert!(findings.is_empty(), "{}\n{} findings", findings.join("\n"), findings.len());
}

#[test]
fn every_event_has_the_peer_s_class() {
    let Some(program) = peer::program() else { return };
    let mut ours = Ours::start(1, false);
    run(&mut ours);
    let mut classes = ours.classes();
    // One peer for each class, which tells nothing else.
    let program = &program;
    let ask = |letter: char| run(&mut Theirs::start(program, &format!("E{letter}")));
    let answers: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> =
            "g$lshzxtnm".chars().map(|letter| (letter, scope.spawn(move || ask(letter)))).collect();
        let answer = |(letter, thread): (char, thread::ScopedJoinHandle<'_, Vec<_>>)| {
            (letter, thread.join().expect("the peer answers"))
        };
        threads.into_iter().map(answer).collect()
    });
    for (letter, theirs) in answers {
        for (name, ..) in theirs.into_iter().flat_map(|(_, caused)| caused.events) {
            if let Some(class) = classes.remove(&name) {
                assert_eq!(char::from(class), letter, "{name}");
            }
        }
    }
    assert!(classes.is_empty(), "the peer never raises {classes:?}");
}
