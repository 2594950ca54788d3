//! One numbered database of a slice: a table per slot, and summaries over 64 slots each.
//!
//! ```text
//!   tables   one per slot of the slice; none until the first key comes, in database 0 for good
//!   groups   for 64 tables each: keys, and a bit per table that has keys, has volatile keys
//! ```
//! Volatile is a key that expires, and one with elements that expire.

use super::table::Table;
use super::tick::Tick;

/// Tables of a group.
pub const GROUP_TABLES: usize = 64;

const _: () = assert!(GROUP_TABLES == u64::BITS as usize);

#[derive(Clone, Copy, Debug, Default)]
struct Group {
    keys: usize,
    occupied: u64,
    volatile: u64,
}

/// The tables of one database.
#[derive(Debug)]
pub struct Database {
    tables: Vec<Table>,
    groups: Vec<Group>,
    keys: usize,
    volatile: usize,
    /// Keys that have elements with an expiry.
    with_moments: usize,
    /// Those of them that have no expiry of their own.
    moments_only: usize,
    /// A tick before which no key is due, and no element of one.
    pub earliest: Tick,
}

impl Database {
    /// A database without keys; takes no memory of its own.
    pub const EMPTY: Database = Database {
        tables: Vec::new(),
        groups: Vec::new(),
        keys: 0,
        volatile: 0,
        with_moments: 0,
        moments_only: 0,
        earliest: Tick::NEVER,
    };

    /// Makes the tables, one for each of `slots` slots, if they are not there yet.
    #[inline]
    pub fn prepare(&mut self, slots: usize) {
        if self.tables.is_empty() {
            self.tables.resize_with(slots, || Table::EMPTY);
            self.groups.resize(slots.div_ceil(GROUP_TABLES), Group::default());
        }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys
    }

    /// How many keys have an expiry.
    pub fn volatile_len(&self) -> usize {
        self.volatile - self.moments_only
    }

    /// How many keys have elements with an expiry.
    pub fn with_moments_len(&self) -> usize {
        self.with_moments
    }

    /// Takes note that a key has elements with an expiry from now on, or no longer;
    /// `has_expiry` says whether it has one of its own.
    pub fn note_moments(&mut self, on: bool, has_expiry: bool) {
        let only = usize::from(!has_expiry);
        if on {
            self.with_moments += 1;
            self.moments_only += only;
        } else {
            assert!(self.with_moments > 0 && self.moments_only >= only);
            self.with_moments -= 1;
            self.moments_only -= only;
        }
    }

    /// The table of the slice's slot number `index`, if any was made.
    #[inline]
    pub fn table(&self, index: usize) -> Option<&Table> {
        self.tables.get(index)
    }

    /// Changes a table, which must have been made, and keeps the sums.
    #[inline]
    pub fn change<T>(&mut self, index: usize, change: impl FnOnce(&mut Table) -> T) -> T {
        let table = &mut self.tables[index];
        let (keys, volatile) = (table.len(), table.volatile_len());
        let result = change(table);
        self.earliest = self.earliest.min(table.earliest());
        if table.len() != keys || table.volatile_len() != volatile {
            let group = &mut self.groups[index / GROUP_TABLES];
            group.keys = group.keys + table.len() - keys;
            self.keys = self.keys + table.len() - keys;
            self.volatile = self.volatile + table.volatile_len() - volatile;
            let bit = 1u64 << (index % GROUP_TABLES);
            put_bit(&mut group.occupied, bit, table.len() > 0);
            put_bit(&mut group.volatile, bit, table.volatile_len() > 0);
        }
        result
    }

    /// The first table from `index` on that has keys.
    pub fn next_occupied(&self, index: usize) -> Option<usize> {
        self.next_table(index, |group| group.occupied)
    }

    /// The first table from `index` on that has keys with an expiry, or elements with one.
    pub fn next_volatile(&self, index: usize) -> Option<usize> {
        self.next_table(index, |group| group.volatile)
    }

    fn next_table(&self, index: usize, bits: impl Fn(&Group) -> u64) -> Option<usize> {
        let first = index / GROUP_TABLES;
        let mut mask = u64::MAX << (index % GROUP_TABLES);
        for (number, group) in self.groups.iter().enumerate().skip(first) {
            let found = bits(group) & mask;
            if found != 0 {
                return Some(number * GROUP_TABLES + found.trailing_zeros() as usize);
            }
            mask = u64::MAX;
        }
        None
    }

    /// The table that holds the key number `rank` in the order of tables.
    pub fn table_of_rank(&self, rank: usize) -> usize {
        assert!(rank < self.keys);
        let mut left = rank;
        let mut group = 0;
        while left >= self.groups[group].keys {
            left -= self.groups[group].keys;
            group += 1;
        }
        let mut index = group * GROUP_TABLES;
        while left >= self.tables[index].len() {
            left -= self.tables[index].len();
            index += 1;
        }
        index
    }

    /// The tables, to be taken down.
    pub fn into_tables(self) -> Vec<Table> {
        self.tables
    }

    /// Looks at all sums and asserts what must hold. O(slots), for tests.
    pub fn check(&self) {
        let (mut keys, mut volatile) = (0, 0);
        for (index, table) in self.tables.iter().enumerate() {
            let group = &self.groups[index / GROUP_TABLES];
            let bit = 1u64 << (index % GROUP_TABLES);
            assert_eq!(group.occupied & bit != 0, table.len() > 0);
            assert_eq!(group.volatile & bit != 0, table.volatile_len() > 0);
            keys += table.len();
            volatile += table.volatile_len();
        }
        assert_eq!((self.keys, self.volatile), (keys, volatile));
        assert!(self.moments_only <= self.with_moments.min(self.volatile));
        assert_eq!(self.groups.iter().map(|group| group.keys).sum::<usize>(), keys);
    }
}

fn put_bit(bits: &mut u64, bit: u64, on: bool) {
    if on { *bits |= bit } else { *bits &= !bit }
}
