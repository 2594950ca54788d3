//! The keys that a cut has saved, or knows to be none of its own, before its walk comes to their
//! buckets.
//!
//! The set has many small tables, so that none of them grows for longer than a few microseconds.

use ahash::RandomState;
use std::collections::HashSet;

/// Number of tables.
const TABLES: usize = 256;

/// Keys of the slice for each key of the set, at most: the set takes a few bytes for each key.
const KEYS_PER_EARLY: usize = 4;

/// Number of keys in the set that are always allowed: about 100 KB.
const EARLY_KEYS_MIN: usize = 4_096;

/// A set of keys, by their hashes and their sources.
#[derive(Debug)]
pub(super) struct EarlyKeys {
    tables: Box<[HashSet<u64, RandomState>]>,
    len: usize,
    len_max: usize,
}

impl EarlyKeys {
    /// Creates an empty set for a slice of this number of keys.
    pub fn new(keys: usize) -> EarlyKeys {
        // The hashes of keys have the secret seed of the slice already.
        let hasher = RandomState::with_seed(0);
        let tables = (0..TABLES).map(|_| HashSet::with_hasher(hasher.clone())).collect();
        EarlyKeys { tables, len: 0, len_max: EARLY_KEYS_MIN.max(keys / KEYS_PER_EARLY) }
    }

    /// Returns whether the set takes no more keys.
    pub fn is_full(&self) -> bool {
        self.len >= self.len_max
    }

    /// Returns whether the set has no keys.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a key of a source. Returns false if the set has it already.
    pub fn insert(&mut self, source: usize, hash: u64) -> bool {
        let is_new = self.table(hash).insert(mark(source, hash));
        self.len += usize::from(is_new);
        is_new
    }

    /// Removes a key of a source. Returns whether the set had it.
    pub fn remove(&mut self, source: usize, hash: u64) -> bool {
        let had = self.table(hash).remove(&mark(source, hash));
        self.len -= usize::from(had);
        had
    }

    /// Sets the maximal number of keys.
    #[cfg(test)]
    pub fn set_len_max(&mut self, len_max: usize) {
        self.len_max = len_max;
    }

    fn table(&mut self, hash: u64) -> &mut HashSet<u64, RandomState> {
        &mut self.tables[hash as usize % TABLES]
    }
}

/// Returns a number that differs for a key in different sources.
fn mark(source: usize, hash: u64) -> u64 {
    hash ^ (source as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
