//! The locks that a command needs: their scope, and whether they are shared or exclusive.

use super::batch::Item;
use super::command::KeyRouting;
use crate::base::hash::table_hasher;
use crate::base::slot::slot_of;
use crate::keyspace::{DetachedValue, ExpiryRole, Slice};
use crate::resp::Args;
use crate::spec::KeySpec;
use std::collections::HashMap;

/// The most keys of a command that are compared with each other.
const SEARCHED_KEYS_MAX: usize = 16;

/// Whether other commands may hold a lock of the same scope at the same time.
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
    /// One key, identified by its hash. Two keys with the same hash share a lock.
    Key {
        /// Database of the key. [`Scope::name`] uses 0 for all keys, because a command such as
        /// MOVE uses a key with the same name in another database.
        db: u16,
        /// Hash of the key, equal on every shard.
        hash: u64,
    },
    /// All keys of a database.
    Database(u16),
    /// Everything in all databases.
    All,
}

impl Scope {
    /// Scope of a unit that uses a partition and none of its keys. It overlaps only with wide
    /// scopes. A shared lock of this scope keeps the slice from being handed over to another unit.
    pub const PRESENCE: Scope = Scope::Key { db: u16::MAX, hash: 0 };

    /// Returns the scope of the keys with this hash in all databases.
    pub fn name(hash: u64) -> Scope {
        Scope::Key { db: 0, hash }
    }
}

/// One lock that a unit requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLock {
    /// Keys that the lock covers.
    pub scope: Scope,
    /// Whether it is shared or exclusive.
    pub mode: Mode,
}

/// A key that a command uses away from its owner. Its value is fetched, and stored at the owner
/// again if the command changed it.
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
    /// Whether the owner has only a stub of the key, so that the value must return.
    pub is_detached: bool,
}

impl RemoteKey {
    /// Creates a key whose value was not fetched yet.
    pub fn new(db: u16, slot: u16, mode: Mode, key: Box<[u8]>) -> RemoteKey {
        RemoteKey { db, slot, mode, key, value: None, is_changed: false, is_detached: false }
    }

    /// Fetches its value from the slice that owns it.
    pub fn fetch_from(&mut self, slice: &mut Slice) {
        let key = slice.key_in_slot(&self.key, self.slot);
        self.value = slice.fetch(usize::from(self.db), &key, self.mode == Mode::Exclusive);
    }

    /// Brings its fetched value to a workspace, where it has this number.
    pub(super) fn bring_to(&mut self, slice: &mut Slice, number: u64) {
        let key = slice.key_in_slot(&self.key, self.slot);
        let db = usize::from(self.db);
        if let Some(detached) = self.value.take() {
            self.is_detached = self.mode == Mode::Exclusive && detached.is_boxed();
            slice.bring(db, &key, detached);
        }
        if self.mode == Mode::Exclusive {
            slice.watch(number, db, &key);
        }
    }

    /// Takes its value from the workspace where it has this number. Returns none if its owner need
    /// not store it.
    pub(super) fn take_from(mut self, slice: &mut Slice, number: u64) -> Option<RemoteKey> {
        let db = usize::from(self.db);
        let key = slice.key_in_slot(&self.key, self.slot);
        let is_changed = slice.is_watch_broken(number);
        slice.unwatch(number);
        if self.mode == Mode::Shared {
            slice.discard(db, &key);
            return None;
        }
        let detached = slice.take_silently(db, &key);
        if !is_changed && !self.is_detached && detached.is_none() {
            return None;
        }
        // A command may change the form of a string alone, which nobody is told. So an unchanged
        // string returns too.
        self.value = detached;
        self.is_changed = is_changed;
        Some(self)
    }

    /// Stores its value on the slice that owns it, whose role is [`ExpiryRole::Loading`]: an
    /// expired value is replaced and does not expire here, because its expiry would be propagated
    /// too late.
    pub fn store_in(self, slice: &mut Slice) {
        assert!(slice.role() == ExpiryRole::Loading);
        let key = slice.key_in_slot(&self.key, self.slot);
        let db = usize::from(self.db);
        match self.value {
            Some(detached) => slice.bring(db, &key, detached),
            None if !self.is_changed => slice.discard_expired(db, &key),
            None => drop(slice.remove(db, &key)),
        }
        // The command has raised its events on the workspace.
        if self.is_changed {
            slice.signal(db, &key);
        }
    }
}

/// Returns the mode of the locks on the keys of a spec, for a command with this number of keys.
pub fn mode_of(spec: &KeySpec, keys: usize) -> Mode {
    if spec.is_exclusive_among(keys) { Mode::Exclusive } else { Mode::Shared }
}

/// Returns the command's keys to be fetched, each once. Skips keys in databases that do not exist:
/// the command fails before it reads them.
pub fn remote_keys_of(item: &Item, args: &Args<'_>, databases: usize) -> Vec<RemoteKey> {
    let mut remote_keys: Vec<RemoteKey> = Vec::new();
    let keys = item.entry.key_args(args).unwrap_or_default();
    // A search is faster than a table for the usual few keys.
    let is_searched = keys.len() <= SEARCHED_KEYS_MAX;
    let count = keys.len();
    let capacity = if is_searched { 0 } else { count };
    let mut seen: HashMap<(u16, &[u8]), usize, _> =
        HashMap::with_capacity_and_hasher(capacity, table_hasher());
    for (at, spec) in keys {
        let db = item.entry.key_database(args, at, usize::from(item.db));
        if db >= databases {
            continue;
        }
        let (key, db, mode) = (&args[at], db as u16, mode_of(spec, count));
        let found = match is_searched {
            true => remote_keys.iter().position(|it| it.db == db && *it.key == *key),
            false => seen.get(&(db, key)).copied(),
        };
        match found {
            Some(at) if mode == Mode::Exclusive => remote_keys[at].mode = mode,
            Some(_) => {}
            None => {
                if !is_searched {
                    seen.insert((db, key), remote_keys.len());
                }
                remote_keys.push(RemoteKey::new(db, slot_of(key), mode, key.into()));
            }
        }
    }
    remote_keys
}

/// Calls `visit` for each lock that a command with these arguments needs, together with the
/// argument that is the key; a wider scope comes without one. Arguments that the handler will
/// refuse need no locks.
pub fn for_each_key_lock(
    item: &Item,
    args: &Args<'_>,
    hash: &dyn Fn(&[u8]) -> u64,
    visit: &mut dyn FnMut(Option<usize>, KeyLock),
) {
    let entry = item.entry;
    let write_mode = if entry.is_write() { Mode::Exclusive } else { Mode::Shared };
    match entry.command.routing {
        KeyRouting::Discovers(_) if item.discovers => {
            return visit(None, KeyLock { scope: Scope::All, mode: Mode::Exclusive });
        }
        KeyRouting::Single
        | KeyRouting::Gather
        | KeyRouting::PerKey(_)
        | KeyRouting::Discovers(_) => {}
        KeyRouting::AllShards(_) | KeyRouting::Cursor(_) => {
            return visit(None, KeyLock { scope: Scope::All, mode: write_mode });
        }
        KeyRouting::Slot { is_exclusive, .. } => {
            let mode = if is_exclusive { Mode::Exclusive } else { write_mode };
            return visit(None, KeyLock { scope: Scope::All, mode });
        }
        KeyRouting::Home => return,
    }
    if entry.command.runs_commands {
        // A script may be suspended, and needs the slice until it is over, also without keys.
        visit(None, KeyLock { scope: Scope::PRESENCE, mode: Mode::Shared });
    }
    let keys = entry.key_args(args).unwrap_or_default();
    let count = keys.len();
    for (at, spec) in keys {
        let scope = Scope::name(hash(&args[at]));
        visit(Some(at), KeyLock { scope, mode: mode_of(spec, count) });
    }
}
