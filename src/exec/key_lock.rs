//! The locks that a command needs: on what, and whether shared or exclusive.

use super::batch::Item;
use super::command::KeyRouting;
use super::table::Entry;
use crate::base::slot::slot_of;
use crate::keyspace::DetachedValue;
use crate::resp::Args;
use crate::spec::KeySpec;

/// Whether other commands may hold a lock of the same scope meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The command reads.
    Shared,
    /// The command may write.
    Exclusive,
}

/// What a lock covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One key, by its hash: keys with the same hash share a lock.
    Key {
        /// Its database. [`for_each_key_lock`] sets 0 for all keys: a command such as MOVE also
        /// touches a key of the same name in another database.
        db: u16,
        /// Its hash, the same on every shard.
        hash: u64,
    },
    /// All keys of a database.
    Database(u16),
    /// Everything.
    All,
}

/// One lock that a unit requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLock {
    /// What it covers.
    pub scope: Scope,
    /// Whether it is shared or exclusive.
    pub mode: Mode,
}

/// A key that a command works on away from the key's owner: its value is fetched, and put back if
/// the command changed it.
#[derive(Debug)]
pub struct RemoteKey {
    /// Its database.
    pub db: u16,
    /// Its slot.
    pub slot: u16,
    /// Whether the command may change it.
    pub mode: Mode,
    /// Its name.
    pub key: Box<[u8]>,
    /// Its value; none if there is no such key, or if the value has not been fetched yet.
    pub value: Option<DetachedValue>,
    /// Whether the command changed it. Putting back an unchanged value is no change.
    pub is_changed: bool,
}

/// Returns the mode of the locks on the keys of a spec.
pub fn mode_of(spec: &KeySpec) -> Mode {
    if spec.is_exclusive() { Mode::Exclusive } else { Mode::Shared }
}

/// Returns the keys among a command's arguments, each once, to be fetched. Leaves out keys in a
/// database that does not exist: the handler refuses such a command before it looks at them.
pub fn remote_keys_of(item: &Item, args: &Args<'_>, databases: usize) -> Vec<RemoteKey> {
    let mut remote_keys: Vec<RemoteKey> = Vec::new();
    for (at, spec) in item.entry.key_args(args).unwrap_or_default() {
        let db = item.entry.key_database(args, at, usize::from(item.db));
        if db >= databases {
            continue;
        }
        let (key, db, mode) = (&args[at], db as u16, mode_of(spec));
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

/// Calls `visit` for each lock that a command with these arguments needs, together with the
/// argument that is the key; a wider scope comes without one. Arguments that the handler will
/// refuse need no locks.
pub fn for_each_key_lock(
    entry: &Entry,
    args: &Args<'_>,
    hash: &dyn Fn(&[u8]) -> u64,
    visit: &mut dyn FnMut(Option<usize>, KeyLock),
) {
    let write_mode = if entry.is_write() { Mode::Exclusive } else { Mode::Shared };
    match entry.command.routing {
        KeyRouting::Single | KeyRouting::Gather | KeyRouting::PerKey(_) => {}
        KeyRouting::Discovers(discovers) => {
            if discovers(args) {
                visit(None, KeyLock { scope: Scope::All, mode: Mode::Shared });
            }
        }
        KeyRouting::AllShards(_) | KeyRouting::Cursor(_) => {
            return visit(None, KeyLock { scope: Scope::All, mode: write_mode });
        }
        KeyRouting::Home => return,
    }
    for (at, spec) in entry.key_args(args).unwrap_or_default() {
        let scope = Scope::Key { db: 0, hash: hash(&args[at]) };
        visit(Some(at), KeyLock { scope, mode: mode_of(spec) });
    }
}
