//! The keys of a command that gathers very many of them, taken step by step.

use super::batch::Item;
use super::key_lock::{Mode, RemoteKey, mode_of};
use crate::base::slot::slot_of;
use crate::keyspace::Slice;
use crate::resp::Args;
use crate::spec::KeySpec;
use std::collections::HashMap;

/// How far the keys of a command were taken.
#[derive(Debug)]
pub struct KeyCollector {
    /// The arguments that are keys.
    keys: Vec<(usize, &'static KeySpec)>,
    /// Number of keys that were taken.
    next: usize,
    /// Where each key is among the keys of its shard, by its database and hash. If several keys
    /// have one hash, the later ones are at the hashes behind it.
    seen: HashMap<(u16, u64), u32, ahash::RandomState>,
}

impl KeyCollector {
    /// Creates a collector of the keys of a command with these arguments.
    pub fn new(item: &Item, args: &Args<'_>) -> KeyCollector {
        let keys = item.entry.key_args(args).unwrap_or_default();
        // The hashes of keys are secret, so these seeds need not be.
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        let seen = HashMap::with_capacity_and_hasher(keys.len(), hasher);
        KeyCollector { keys, next: 0, seen }
    }

    /// Adds the next key to the keys that its owner fetches, unless it is there already.
    /// `fetches_of` returns the keys of a hash slot's owner. Skips a key in a database that does
    /// not exist. Returns false if there are no more keys.
    pub fn take_next<'t>(
        &mut self,
        (item, args): (&Item, &Args<'_>),
        slice: &Slice,
        fetches_of: impl FnOnce(u16) -> &'t mut Vec<RemoteKey>,
    ) -> bool {
        let Some(&(at, spec)) = self.keys.get(self.next) else { return false };
        self.next += 1;
        let db = item.entry.key_database(args, at, usize::from(item.db));
        if db >= slice.databases() {
            return true;
        }
        let (key, db, mode) = (&args[at], db as u16, mode_of(spec, self.keys.len()));
        let slot = slot_of(key);
        let mut hash = slice.key_in_slot(key, slot).hash;
        let fetches = fetches_of(slot);
        while let Some(&found) = self.seen.get(&(db, hash)) {
            if let Some(found) = fetches.get_mut(found as usize)
                && found.db == db
                && *found.key == *key
            {
                if mode == Mode::Exclusive {
                    found.mode = mode;
                }
                return true;
            }
            hash = hash.wrapping_add(1);
        }
        self.seen.insert((db, hash), fetches.len() as u32);
        fetches.push(RemoteKey::new(db, slot, mode, key.into()));
        true
    }
}
