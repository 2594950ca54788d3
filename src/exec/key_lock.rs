//! The keys that a command uses and how it uses them: the input of lock requests.

use super::batch::Item;
use super::command::{Over, Run};
use super::table::Entry;
use crate::base::slot::slot_of;
use crate::keyspace::DetachedValue;
use crate::resp::Args;
use crate::spec::KeySpec;

/// How a command uses keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Reads. Shared locks do not conflict with each other.
    Shared,
    /// May write.
    Exclusive,
}

/// The keys that a lock covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One key, identified by its hash. Two keys with the same hash count as the same key.
    Key {
        /// Database of the key. [`for_each_key_lock`] uses 0 for all keys, because a command such
        /// as MOVE uses a key with the same name in another database.
        db: u16,
        /// Hash of the key, equal on every shard.
        hash: u64,
    },
    /// All keys of a database.
    Database(u16),
    /// Everything in all databases.
    All,
}

/// One lock that a unit needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLock {
    /// Keys that the lock covers.
    pub scope: Scope,
    /// How the unit uses them.
    pub mode: Mode,
}

/// A key that a command over several shards uses away from its owner. Its value is fetched, and
/// stored at the owner again if it changed.
#[derive(Debug)]
pub struct RemoteKey {
    /// Database of the key.
    pub db: u16,
    /// Hash slot of the key.
    pub slot: u16,
    /// Whether the command may change the key.
    pub mode: Mode,
    /// Name of the key.
    pub key: Box<[u8]>,
    /// Value of the key; none if the key does not exist or its value was not fetched yet.
    pub value: Option<DetachedValue>,
    /// Whether the command changed the key. Storing an unchanged value does not count as a change.
    pub is_changed: bool,
}

/// Returns how a command uses the keys of a spec. If all specs of a write are read-only, the
/// command changes what it reads: XREADGROUP changes the consumer groups of its streams.
pub fn mode_of(entry: &Entry, spec: &KeySpec) -> Mode {
    let reads = |spec: &KeySpec| spec.flags.starts_with("RO");
    let changes_all = entry.is_write() && entry.command.card.keys.iter().all(reads);
    if reads(spec) && !changes_all { Mode::Shared } else { Mode::Exclusive }
}

/// Returns the command's keys to be fetched, each once. Skips keys in databases that do not exist:
/// the command fails before it reads them.
pub fn remote_keys_of(item: &Item, args: &Args<'_>, databases: usize) -> Vec<RemoteKey> {
    let run = item.entry.command.run;
    let mut remote_keys: Vec<RemoteKey> = Vec::new();
    for (arg, spec) in item.entry.key_args(args).unwrap_or_default() {
        let db = run.key_database(args, arg, usize::from(item.db));
        if db >= databases {
            continue;
        }
        let (key, db, mode) = (&args[arg], db as u16, mode_of(item.entry, spec));
        match remote_keys
            .iter_mut()
            .find(|remote_key| remote_key.db == db && *remote_key.key == *key)
        {
            Some(remote_key) if mode == Mode::Exclusive => remote_key.mode = mode,
            Some(_) => {}
            None => {
                let (key, slot) = (key.into(), slot_of(key));
                remote_keys.push(RemoteKey { db, slot, mode, key, value: None, is_changed: false });
            }
        }
    }
    remote_keys
}

/// Calls `remote_key` with each lock that the command needs. A lock on a key comes with the key's
/// argument index, a wide lock with none. Arguments that the command will reject need no locks.
pub fn for_each_key_lock(
    entry: &Entry,
    args: &Args<'_>,
    hash: &dyn Fn(&[u8]) -> u64,
    remote_key: &mut dyn FnMut(Option<usize>, KeyLock),
) {
    let write_mode = if entry.is_write() { Mode::Exclusive } else { Mode::Shared };
    match entry.command.run {
        Run::Joint(..) | Run::Bulky(..) | Run::Keys(_) | Run::Spread(_, Over::Keys, _) => {}
        run @ Run::Roaming(..) => {
            if run.roams(args) {
                remote_key(None, KeyLock { scope: Scope::All, mode: Mode::Shared });
            }
        }
        Run::Spread(_, Over::Shards | Over::Cursor, _) => {
            return remote_key(None, KeyLock { scope: Scope::All, mode: write_mode });
        }
        Run::Session(_) | Run::Select(_) | Run::Immediate(_) | Run::Container => return,
    }
    for (arg, spec) in entry.key_args(args).unwrap_or_default() {
        let scope = Scope::Key { db: 0, hash: hash(&args[arg]) };
        remote_key(Some(arg), KeyLock { scope, mode: mode_of(entry, spec) });
    }
}
