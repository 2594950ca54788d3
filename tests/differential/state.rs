//! Compares all keys of both servers.

use super::compare::{Check, with_plain_scores};
use super::findings::{shown, shown_args};
use super::wire::{self, Wire};

const DATABASES: usize = 16;

/// Databases with most of the keys: iterations and random keys are compared there too.
const DATABASES_IN_USE: usize = 4;

/// Largest number of steps of an iteration over a few keys; a longer one counts as endless.
const STEPS_MAX: usize = 10_000;

/// Number of checks, every 50 ms, whether a replica has caught up.
const CATCH_UP_TRIES: usize = 600;

/// The question about a key that is answered with the digest of its value.
const DIGEST: &str = "DEBUG DIGEST-VALUE";

/// The questions about each key.
const ASPECTS: &[(&str, Check)] = &[
    ("GET", Check::Exact),
    ("TYPE", Check::Exact),
    ("OBJECT ENCODING", Check::Encoding),
    ("PEXPIRETIME", Check::Milliseconds),
    (DIGEST, Check::Exact),
];

/// One connection to each server, for read-only commands.
pub struct Observers {
    ours: Wire,
    theirs: Wire,
}

/// A difference between the servers.
pub struct Difference {
    pub kind: String,
    pub text: String,
    pub database: usize,
    pub key: Vec<u8>,
}

impl Observers {
    pub fn new(ours: Wire, theirs: Wire) -> Observers {
        Observers { ours, theirs }
    }

    /// Stops active expiry on both servers, so that an expired key stays until a command touches
    /// it.
    pub fn let_nothing_end_by_itself(&mut self) {
        for wire in [&mut self.ours, &mut self.theirs] {
            let reply = wire.ask(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
            assert_eq!(reply, b"+OK\r\n", "{}", shown(&reply));
        }
    }

    /// Changes a setting of both servers.
    pub fn set(&mut self, name: &str, value: &str) {
        for wire in [&mut self.ours, &mut self.theirs] {
            let reply = wire.ask(&["CONFIG", "SET", name, value]);
            assert_eq!(reply, b"+OK\r\n", "{}", shown(&reply));
        }
    }

    /// Whether Annulet has a command of this name.
    pub fn is_known(&mut self, name: &str) -> bool {
        let name = name.to_lowercase().replace(' ', "|");
        let reply = self.ours.ask(&["COMMAND", "INFO", &name]);
        let children = wire::children(&reply).unwrap_or_default();
        children.first().is_some_and(|card| wire::children(card).is_some_and(|c| c.len() > 1))
    }

    /// Returns whether only the digests of a key differ, and both servers have the same sorted set
    /// there.
    pub fn have_equal_scores(&mut self, found: &Difference) -> bool {
        let select = ["SELECT", &found.database.to_string()];
        let scores = |wire: &mut Wire| {
            wire.ask(&select);
            let args: [&[u8]; 5] = [b"ZRANGE", &found.key, b"0", b"-1", b"WITHSCORES"];
            with_plain_scores(&wire.ask(&args))
        };
        let (one, other) = self.both(scores);
        found.kind.ends_with(DIGEST) && one == other && one.starts_with(b"*")
    }

    fn both<T>(&mut self, mut look: impl FnMut(&mut Wire) -> T) -> (T, T) {
        (look(&mut self.ours), look(&mut self.theirs))
    }
}

/// Returns the keys of the selected database, sorted.
fn keys(wire: &mut Wire) -> Vec<Vec<u8>> {
    let reply = wire.ask(&["KEYS", "*"]);
    let texts = wire::children(&reply).expect("KEYS gives a list").into_iter();
    let mut keys: Vec<_> = texts.map(|key| wire::text(key).expect("of texts").to_vec()).collect();
    keys.sort_unstable();
    keys
}

/// Returns all elements of whole iterations with these arguments, sorted, each once; or the error.
fn walk(wire: &mut Wire, args: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut args = args.to_vec();
    // Cursors other than 0 are specific to each server.
    if let Some(cursor) = args.get_mut(1) {
        *cursor = b"0".to_vec();
    }
    let mut found = Vec::new();
    for _ in 0..STEPS_MAX {
        let reply = wire.ask(&args);
        let pair = wire::children(&reply).unwrap_or_default();
        let &[cursor, keys] = pair.as_slice() else { return vec![reply] };
        found.extend(wire::children(keys).expect("a list of keys").into_iter().map(<[u8]>::to_vec));
        args[1] = wire::text(cursor).expect("a number as text").to_vec();
        if args[1] == b"0" {
            found.sort_unstable();
            found.dedup();
            return found;
        }
    }
    vec![b"an iteration without an end".to_vec()]
}

/// Waits until the observed replica has applied its primary's whole stream; returns false if it
/// does not.
pub fn catches_up(replica: &mut Wire, primary: &mut Wire) -> bool {
    let field = |wire: &mut Wire, name: &str| {
        let reply = String::from_utf8_lossy(&wire.ask(&["INFO", "replication"])).into_owned();
        let line = reply.lines().find_map(|line| line.strip_prefix(name)).map(str::to_string);
        line.unwrap_or_default()
    };
    for _ in 0..CATCH_UP_TRIES {
        let is_up = field(replica, "master_link_status:") == "up";
        let offset = field(primary, "master_repl_offset:");
        if is_up && field(replica, "slave_repl_offset:") == offset {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    false
}

/// Compares all databases, also by iterations with the arguments of a `SCAN`.
pub fn compare(observers: &mut Observers, scan: Option<Vec<Vec<u8>>>) -> Vec<Difference> {
    let aspects: Vec<_> =
        ASPECTS.iter().filter(|(name, _)| observers.is_known(name)).copied().collect();
    let mut differences = Vec::new();
    for database in 0..DATABASES {
        let number = database.to_string();
        let selected = observers.both(|wire| wire.ask(&["SELECT", &number]));
        assert_eq!(selected, (b"+OK\r\n".to_vec(), b"+OK\r\n".to_vec()));
        let (ours, theirs) = observers.both(keys);
        let mut note = |what: &str, key: &[u8], one: &str, other: &str| {
            let kind = format!("state: {what}");
            let at = format!("  database {database}, key {}", shown(key));
            let text = format!("{at}\n  Annulet: {one}\n  Valkey:  {other}");
            differences.push(Difference { kind, text, database, key: key.to_vec() });
        };
        ours.iter().filter(|key| !theirs.contains(key)).for_each(|key| {
            note("a key that should not be there", key, "has it", "lacks it");
        });
        theirs.iter().filter(|key| !ours.contains(key)).for_each(|key| {
            note("a key is missing", key, "lacks it", "has it");
        });
        for key in ours.iter().filter(|key| theirs.contains(key)) {
            for &(name, check) in &aspects {
                let mut args: Vec<&[u8]> = name.split(' ').map(str::as_bytes).collect();
                args.push(key);
                let (one, other) = observers.both(|wire| wire.ask(&args));
                if !check.agrees(&one, &other) {
                    let (one, other) = (shown(&one), shown(&other));
                    let is_text = name == "OBJECT ENCODING";
                    let kind = if is_text { format!("{name} {one} {other}") } else { name.into() };
                    note(&kind, key, &one, &other);
                }
            }
        }
        if database >= DATABASES_IN_USE {
            continue;
        }
        let random = observers.ours.ask(&["RANDOMKEY"]);
        let is_there = match wire::text(&random) {
            Some(key) => ours.iter().any(|other| other == key),
            None => ours.is_empty(),
        };
        if !is_there {
            note("RANDOMKEY is no key", b"", &shown(&random), "");
        }
        if let Some(args) = &scan {
            let (one, other) = observers.both(|wire| walk(wire, args));
            if one != other {
                let (one, other) = (shown_args(&one), shown_args(&other));
                let args = shown_args(args);
                note("a walk", b"", &format!("{args} = {one}"), &other);
            }
        }
    }
    differences
}
