//! Work of housekeeping that goes on from call to call: trimming and compaction.

use super::slice::Slice;
use super::table::{Limits, Plan};

pub use super::table::Limits as CompactionLimits;

/// Buckets that one step of the walk visits; about 50 us if their entries are moved.
const STEP_BUCKETS: u32 = 32;

/// Calls of [`Slice::begin_compaction`] that begin none after a compaction has ended. The next one
/// seldom frees what this one could not.
const RESTS: u32 = 50;

/// Where the work goes on.
#[derive(Debug, Default)]
pub(super) struct Chores {
    /// The group of tables, with its database, that is trimmed next.
    pub(super) trimmed: (usize, usize),
    /// The compaction of the blocks of entries and buckets.
    plan: Plan,
    /// Calls of [`Slice::begin_compaction`] that begin none, after one has ended.
    rests: u32,
    /// Database, table and bucket where the walk of the compaction goes on.
    at: (usize, usize, u32),
}

impl Slice {
    /// Begins a compaction if enough memory is free between the blocks of entries and buckets.
    pub fn begin_compaction(&mut self, limits: Limits) {
        if self.chores.rests > 0 {
            self.chores.rests -= 1;
        } else if self.chores.plan.is_idle() && self.cut.is_none() {
            self.chores.at = (0, 0, 0);
            self.chores.plan.begin(&self.tools.heap, limits);
        }
    }

    /// Ends a compaction before it is complete.
    pub fn stop_compaction(&mut self) {
        self.chores.plan.end_walk();
    }

    /// Returns whether a compaction is under way.
    #[inline]
    pub fn is_compacting(&self) -> bool {
        !self.chores.plan.is_idle()
    }

    /// Returns whether a compaction is under way and need not wait for a cut.
    #[inline]
    pub fn may_compact(&self) -> bool {
        self.is_compacting() && self.cut.is_none()
    }

    /// Continues the compaction in steps of at most about 100 us, until it ends or `is_over`
    /// returns true, which is called before each step. Waits while a cut is under way: what it has
    /// still to save keeps its place.
    pub fn compact(&mut self, is_over: &mut dyn FnMut() -> bool) {
        while self.may_compact() && !is_over() {
            self.chores.rests = RESTS;
            if self.chores.plan.step(&mut self.tools.heap) && !self.evacuate_some() {
                self.chores.plan.end_walk();
            }
        }
    }

    /// Moves the blocks of some buckets out of retired regions. Returns false at the end of the
    /// last database.
    fn evacuate_some(&mut self) -> bool {
        let heap = &mut self.tools.heap;
        let mut left = STEP_BUCKETS;
        while left > 0 {
            let (db, index, number) = self.chores.at;
            let Some(database) = self.databases.get_mut(db) else { return false };
            let Some(found) = database.next_occupied(index) else {
                self.chores.at = (db + 1, 0, 0);
                left -= 1;
                continue;
            };
            let number = if found == index { number } else { 0 };
            let [moved, kept, next] = database.change(found, |table| {
                if number == 0 {
                    table.evacuate_directory(heap);
                }
                let end = table.buckets().min(number + left);
                let mut sums = [0, 0, u64::from(end)];
                for number in number..end {
                    let counts = table.evacuate(heap, number);
                    sums[0] += counts[0];
                    sums[1] += counts[1];
                }
                if end == table.buckets() {
                    sums[2] = u64::MAX;
                }
                sums
            });
            self.stats.moved += moved;
            self.stats.not_moved += kept;
            left = left.saturating_sub(if next == u64::MAX { 4 } else { left });
            self.chores.at = match next {
                u64::MAX => (db, found + 1, 0),
                next => (db, found, next as u32),
            };
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{Expiry, SliceOptions};
    use crate::value::string::{NewStr, Str};

    const LIMITS: Limits = Limits { free_bytes_min: 1 << 20, free_percent_min: 10 };

    fn compact(slice: &mut Slice) -> usize {
        let mut steps = 0;
        slice.chores.rests = 0;
        slice.begin_compaction(LIMITS);
        while slice.is_compacting() {
            let mut is_first = true;
            slice.compact(&mut || !std::mem::take(&mut is_first));
            slice.housekeep(&mut || false);
            steps += 1;
            assert!(steps < 100_000, "a compaction ends");
        }
        steps
    }

    #[test]
    fn memory_comes_back_after_most_keys_are_gone() {
        let options =
            SliceOptions { databases: 2, slots: (0..16384).into(), hash_seed: [1, 2], seed: 3 };
        let mut slice = Slice::new(options);
        let value = |number: u32| vec![number as u8; 20 + number as usize * 7919 % 900];
        let mut keys: Vec<(u32, String)> =
            (0..40_000).map(|number| (number, format!("key {number}"))).collect();
        for (number, name) in &keys {
            let key = slice.key(name.as_bytes());
            let expires = number % 3 == 0;
            let expiry = if expires { Expiry::At(9_000_000_000_000) } else { Expiry::Clear };
            let value = value(*number);
            slice.set(*number as usize % 2, &key, NewStr::from_bytes(&value), expiry);
        }
        slice.check();
        keys.retain(|(number, name)| {
            let key = slice.key(name.as_bytes());
            number % 8 == 0 || !slice.remove(*number as usize % 2, &key)
        });
        slice.housekeep(&mut || false);
        let before = slice.tools.heap.slab_mapped_bytes();
        assert!(compact(&mut slice) > 10, "in steps");
        slice.housekeep(&mut || false);
        let after = slice.tools.heap.slab_mapped_bytes();
        assert!(after < before / 2, "{after} of {before}");
        assert!(slice.stats.moved > 1_000 && slice.stats.not_moved > 100);
        slice.check();
        for (number, name) in keys {
            let key = slice.key(name.as_bytes());
            let view = slice.peek(number as usize % 2, &key).expect("the key is there");
            let Some(Str::Bytes(bytes)) = view.string() else { panic!("a short string") };
            assert_eq!(bytes, value(number));
            assert_eq!(view.expiry().is_some(), number % 3 == 0);
        }
    }
}
