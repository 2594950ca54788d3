//! Iteration over keys: SCAN and KEYS.
//!
//! ```text
//!   cursor   bits 14..46 position in the order of reversed hashes | 0..14 hash slot
//! ```
//!
//! A bucket covers an interval of positions (see the table), and a key's position never changes. A
//! scan goes from the end of one interval to the next. It therefore returns every key that exists
//! during the whole scan, however the table grows and shrinks. If the table has shrunk, a bucket
//! also has keys that the scan has passed: it skips them, so that no key is returned twice.

use super::slice::Slice;
use super::table::View;
use crate::base::slot::SLOT_COUNT;

const SLOT_BITS: u32 = SLOT_COUNT.trailing_zeros();

/// Number of positions within a hash slot.
const POSITIONS: u64 = 1 << 32;

/// Returns the position of a key with this hash.
fn position_of(hash: u64) -> u32 {
    (hash as u32).reverse_bits()
}

/// Returns the cursor of a position in a hash slot.
fn cursor_of(slot: usize, position: u64) -> u64 {
    assert!(position < POSITIONS && slot < usize::from(SLOT_COUNT));
    (position << SLOT_BITS) | slot as u64
}

const _: () = assert!(1 << SLOT_BITS == SLOT_COUNT);

impl Slice {
    /// Visits the keys of one bucket and returns the next cursor, or 0 at the end of the slice. A
    /// scan starts with cursor 0. The flag passed to `visit` says that the key has expired and
    /// clients do not see it. Any number is valid as a cursor: an invented one starts somewhere.
    pub fn scan(
        &mut self,
        db: usize,
        cursor: u64,
        visit: &mut dyn FnMut(&[u8], &View<'_>, bool),
    ) -> u64 {
        self.scan_until(db, cursor, SLOT_COUNT - 1, visit)
    }

    /// Like [`Slice::scan`], but ends behind the slot `last`.
    pub fn scan_until(
        &mut self,
        db: usize,
        cursor: u64,
        last: u16,
        visit: &mut dyn FnMut(&[u8], &View<'_>, bool),
    ) -> u64 {
        let slot = (cursor & u64::from(SLOT_COUNT - 1)) as u16;
        let database = &self.databases[db];
        let (index, position) = (usize::from(slot), (cursor >> SLOT_BITS) as u32);
        let is_wanted = |found: &usize| *found <= usize::from(last);
        let found = database.next_occupied(index).filter(is_wanted);
        let Some(found) = found else { return 0 };
        let position = if found == index { position } else { 0 };
        let table = database.table(found).expect("an occupied table exists");
        let (number, interval) = table.bucket_at(position);
        let (end, is_passed) = (interval.end, interval.start < u64::from(position));
        table.for_each_in_bucket(number, &mut |word| {
            let entry = word.entry();
            if is_passed && position_of(self.tools.hash(entry.key())) < position {
                return;
            }
            visit(entry.key(), &View::new(entry), !self.is_visible(entry));
        });
        if end < POSITIONS {
            return cursor_of(found, end);
        }
        match database.next_occupied(found + 1).filter(is_wanted) {
            None => 0,
            Some(next) => cursor_of(next, 0),
        }
    }

    /// Visits all keys of a database that have not expired. O(keys).
    pub fn for_each_key(&mut self, db: usize, visit: &mut dyn FnMut(&[u8], &View<'_>)) {
        let mut next = self.databases[db].next_occupied(0);
        while let Some(index) = next {
            self.for_each_in_table(db, index, visit);
            next = self.databases[db].next_occupied(index + 1);
        }
    }

    /// Visits all keys of one hash slot that have not expired. O(keys of the slot).
    pub fn for_each_key_in_slot(
        &mut self,
        db: usize,
        slot: u16,
        visit: &mut dyn FnMut(&[u8], &View<'_>),
    ) {
        assert!(self.owns(slot));
        self.for_each_in_table(db, self.index_of(slot), visit);
    }

    /// Returns the names of at most `max` keys of a hash slot, expired ones included.
    pub fn keys_in_slot(&self, db: usize, slot: u16, max: usize) -> Vec<Box<[u8]>> {
        assert!(self.owns(slot));
        let Some(table) = self.databases[db].table(self.index_of(slot)) else { return Vec::new() };
        let mut keys = Vec::new();
        for number in 0..table.buckets() {
            if keys.len() >= max {
                break;
            }
            table.for_each_in_bucket(number, &mut |word| keys.push(word.entry().key().into()));
        }
        keys.truncate(max);
        keys
    }

    fn for_each_in_table(&self, db: usize, index: usize, visit: &mut dyn FnMut(&[u8], &View<'_>)) {
        let Some(table) = self.databases[db].table(index) else { return };
        for number in 0..table.buckets() {
            table.for_each_in_bucket(number, &mut |word| {
                if self.is_visible(word.entry()) {
                    visit(word.entry().key(), &View::new(word.entry()));
                }
            });
        }
    }
}
