//! What the tests ask a server, and how they read the answers.

use super::server::wait_for;
use super::wire::{Wire, children, text};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How many keys are asked about at once.
const CHUNK: usize = 500;

/// The databases that a server has.
pub const DATABASES: usize = 16;

/// Differences that a failure shows.
const SHOWN_MAX: usize = 12;

/// How often, and how fast one after the other, states are compared before they count as unlike.
const COMPARISONS_MAX: usize = 60;
const COMPARISON_PAUSE: Duration = Duration::from_millis(200);

/// A connection that speaks RESP2.
pub fn connect(port: u16) -> Wire {
    Wire::connect(port, 2)
}

/// The number in a reply that is an integer, or text of one.
pub fn number(reply: &[u8]) -> i64 {
    let shown = String::from_utf8_lossy(reply);
    let digits = text(reply).map(String::from_utf8_lossy).unwrap_or(shown.clone());
    let digits = digits.trim_start_matches(':').trim_end();
    digits.parse().unwrap_or_else(|_| panic!("a number, not {shown:?}"))
}

/// Asks for something that must be done.
pub fn demand(wire: &mut Wire, words: &[&str]) {
    let reply = wire.ask(words);
    assert!(!reply.starts_with(b"-"), "{words:?}: {}", String::from_utf8_lossy(&reply));
}

/// The fields of a section of INFO.
pub struct Info(String);

impl Info {
    pub fn of(wire: &mut Wire, section: &str) -> Info {
        let reply = wire.ask(&["INFO", section]);
        let body = text(&reply).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&reply)));
        Info(String::from_utf8_lossy(body).into_owned())
    }

    /// The value of a field, empty where there is none.
    pub fn text(&self, name: &str) -> &str {
        let mut lines = self.0.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(field, _)| *field == name).map_or("", |(_, value)| value.trim())
    }

    /// The number in a field that must be there.
    pub fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or_else(|_| panic!("no number {name} in {}", self.0))
    }
}

/// Whether a replica follows its primary.
pub fn is_linked(replica: &mut Wire) -> bool {
    Info::of(replica, "replication").text("master_link_status") == "up"
}

/// Waits until a replica follows its primary.
pub fn wait_for_link(replica: &mut Wire) {
    assert!(wait_for(|| is_linked(replica)), "the replica's link does not come up");
}

/// Offsets of the primary's stream and of what the replica has taken of it.
fn offsets(primary: &mut Wire, replica: &mut Wire) -> (u64, u64) {
    let told = Info::of(primary, "replication").number("master_repl_offset");
    let info = Info::of(replica, "replication");
    (told, info.text("slave_repl_offset").parse().unwrap_or(0))
}

/// All keys of all databases, each with when it expires (-1: never) and its value.
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
            let questions: Vec<&[&[u8]]> = questions.iter().map(|words| &words[..]).collect();
            let replies = wire.ask_all(&questions);
            for (key, pair) in keys.iter().zip(replies.chunks(2)) {
                let entry = (number(&pair[0]), pair[1].clone());
                // One that has fallen due meanwhile is there for nobody.
                if entry.0 != -2 {
                    state.insert((db, key.to_vec()), entry);
                }
            }
        }
    }
    state
}

/// The number of keys of each database, and the digest of all.
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

/// Keys of both, compared once; how many they are, or in what they differ.
pub fn compare(primary: &mut Wire, replica: &mut Wire) -> Result<usize, String> {
    let (ours, theirs) = (state(primary), state(replica));
    let (our_sum, their_sum) = (summary(primary), summary(replica));
    if ours == theirs && our_sum == their_sum {
        return Ok(ours.len());
    }
    let lines = differences(&ours, &theirs);
    Err(format!("{lines}  primary {our_sum:?}\n  replica {their_sum:?}"))
}

/// Waits until a primary that nobody writes to and its replica have the same keys, values and
/// expiries; how many keys that are. Keys that fall due meanwhile make them differ for a moment.
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
