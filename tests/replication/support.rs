//! Requests of the tests to a server, and the parsing of the replies.

use super::server::wait_for;
use super::wire::{Wire, children, text};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Number of keys in one pipeline.
const CHUNK: usize = 500;

/// Number of databases of a server.
pub const DATABASES: usize = 16;

/// Largest number of differences that a failure shows.
const SHOWN_MAX: usize = 12;

/// Number of comparisons, and the pause between two, before states count as different.
const COMPARISONS_MAX: usize = 60;
const COMPARISON_PAUSE: Duration = Duration::from_millis(200);

/// Opens a connection with RESP2.
pub fn connect(port: u16) -> Wire {
    Wire::connect(port, 2)
}

/// Returns the number in a reply that is an integer, or the text of one.
pub fn number(reply: &[u8]) -> i64 {
    let shown = String::from_utf8_lossy(reply);
    let digits = text(reply).map(String::from_utf8_lossy).unwrap_or(shown.clone());
    let digits = digits.trim_start_matches(':').trim_end();
    digits.parse().unwrap_or_else(|_| panic!("a number, not {shown:?}"))
}

/// Sends a command that must succeed.
pub fn demand(wire: &mut Wire, args: &[&str]) {
    let reply = wire.ask(args);
    assert!(!reply.starts_with(b"-"), "{args:?}: {}", String::from_utf8_lossy(&reply));
}

/// The fields of a section of INFO.
pub struct Info(String);

impl Info {
    pub fn of(wire: &mut Wire, section: &str) -> Info {
        let reply = wire.ask(&["INFO", section]);
        let body = text(&reply).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&reply)));
        Info(String::from_utf8_lossy(body).into_owned())
    }

    /// Returns the value of a field, or an empty text if it is missing.
    pub fn text(&self, name: &str) -> &str {
        let mut lines = self.0.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(field, _)| *field == name).map_or("", |(_, value)| value.trim())
    }

    /// Returns the number in a field that must exist.
    pub fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or_else(|_| panic!("no number {name} in {}", self.0))
    }
}

/// Whether the link of a replica to its primary is up.
pub fn is_linked(replica: &mut Wire) -> bool {
    Info::of(replica, "replication").text("master_link_status") == "up"
}

/// Waits until the link of a replica is up.
pub fn wait_for_link(replica: &mut Wire) {
    assert!(wait_for(|| is_linked(replica)), "the replica's link does not come up");
}

/// Returns the offsets of the primary's stream and of the part that the replica has applied.
fn offsets(primary: &mut Wire, replica: &mut Wire) -> (u64, u64) {
    let told = Info::of(primary, "replication").number("master_repl_offset");
    let info = Info::of(replica, "replication");
    (told, info.text("slave_repl_offset").parse().unwrap_or(0))
}

/// All keys of all databases, each with its expiry (-1: none) and its value.
type State = BTreeMap<(usize, Vec<u8>), (i64, Vec<u8>)>;

fn state(wire: &mut Wire) -> State {
    let mut state = State::new();
    for db in 0..DATABASES {
        demand(wire, &["SELECT", &db.to_string()]);
        let reply = wire.ask(&["KEYS", "*"]);
        let keys = children(&reply).expect("an array of keys");
        let keys: Vec<&[u8]> = keys.iter().map(|key| text(key).expect("a key")).collect();
        for keys in keys.chunks(CHUNK) {
            let questions =
                keys.iter().flat_map(|&key| [[&b"PEXPIRETIME"[..], key], [b"GET", key]]);
            let questions: Vec<_> = questions.collect();
            let questions: Vec<&[&[u8]]> = questions.iter().map(|args| &args[..]).collect();
            let replies = wire.ask_all(&questions);
            for (key, pair) in keys.iter().zip(replies.chunks(2)) {
                let entry = (number(&pair[0]), pair[1].clone());
                // A key that has expired meanwhile does not count.
                if entry.0 != -2 {
                    state.insert((db, key.to_vec()), entry);
                }
            }
        }
    }
    state
}

/// Returns the number of keys of each database, and the digest of all keys.
fn summary(wire: &mut Wire) -> (Vec<i64>, Vec<u8>) {
    let size = |db: usize| {
        demand(wire, &["SELECT", &db.to_string()]);
        number(&wire.ask(&["DBSIZE"]))
    };
    ((0..DATABASES).map(size).collect(), wire.ask(&["DEBUG", "DIGEST"]))
}

fn shown(bytes: &[u8]) -> String {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
    format!("{start:?} ({} bytes)", bytes.len())
}

fn differences(primary: &State, replica: &State) -> String {
    let keys: BTreeSet<_> = primary.keys().chain(replica.keys()).collect();
    let entry = |state: &State, key: &(usize, Vec<u8>)| match state.get(key) {
        None => "nothing".to_string(),
        Some((expiry, value)) => format!("{} until {expiry}", shown(value)),
    };
    let unlike = keys.into_iter().filter(|key| primary.get(key) != replica.get(key));
    let line = |key: &(usize, Vec<u8>)| {
        let (ours, theirs) = (entry(primary, key), entry(replica, key));
        format!("  db {} {}: primary {ours}, replica {theirs}\n", key.0, shown(&key.1))
    };
    unlike.take(SHOWN_MAX).map(line).collect()
}

/// Compares the keys of both once; returns their number, or the differences.
pub fn compare(primary: &mut Wire, replica: &mut Wire) -> Result<usize, String> {
    let (ours, theirs) = (state(primary), state(replica));
    let (our_sum, their_sum) = (summary(primary), summary(replica));
    if ours == theirs && our_sum == their_sum {
        return Ok(ours.len());
    }
    let lines = differences(&ours, &theirs);
    Err(format!("{lines}  primary {our_sum:?}\n  replica {their_sum:?}"))
}

/// Waits until an idle primary and its replica have the same keys, values and expiries; returns
/// their number. Keys that expire meanwhile make them differ for a moment.
pub fn assert_equal(primary: &mut Wire, replica: &mut Wire, what: &str) -> usize {
    let mut last = Ok(0);
    for _ in 0..COMPARISONS_MAX {
        last = match (is_linked(replica), offsets(primary, replica)) {
            (false, _) => Err("the link is down".to_string()),
            (true, (told, taken)) if told != taken => {
                Err(format!("offset {told} of the primary, {taken} of the replica"))
            }
            (true, _) => compare(primary, replica),
        };
        if last.is_ok() {
            break;
        }
        std::thread::sleep(COMPARISON_PAUSE);
    }
    for wire in [primary, replica] {
        demand(wire, &["SELECT", "0"]);
    }
    last.unwrap_or_else(|why| panic!("{what}: primary and replica do not agree:\n{why}"))
}
