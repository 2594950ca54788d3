//! One numbered database of a slice: a table per hash slot, in groups of 64. A table has the number
//! of its slot; the slice may own any slots, and the tables of others stay empty.
//!
//! ```text
//!   groups   none until the first key is inserted; 8 KiB. Each has the number of its keys, and
//!            one bit per table for "has keys" and for "has volatile keys"
//!   tables   of a group, 2 KiB: from the first key in the group until it is trimmed without keys
//! ```
//! A key is volatile if it or one of its elements has an expiry.

use super::table::{Entry, Table};
use super::tick::Tick;
use crate::base::slot::SLOT_COUNT;

/// Tables per group.
pub const GROUP_TABLES: usize = 64;

const _: () = assert!(GROUP_TABLES == u64::BITS as usize);

/// Groups of a database that has had keys.
const GROUPS: usize = SLOT_COUNT as usize / GROUP_TABLES;

/// The tables of a group.
type Tables = Box<[Table; GROUP_TABLES]>;

#[derive(Debug, Default)]
struct Group {
    keys: usize,
    occupied: u64,
    volatile: u64,
    tables: Option<Tables>,
}

const _: () = assert!(size_of::<Group>() == 32);

/// The tables of one database.
#[derive(Debug)]
pub struct Database {
    groups: Vec<Group>,
    keys: usize,
    volatile: usize,
    /// Keys that have elements with an expiry.
    with_moments: usize,
    /// The keys counted by `with_moments` that have no expiry themselves.
    moments_only: usize,
    /// Bytes of the tables, without the entries.
    table_bytes: usize,
    /// A lower bound: no key and no element has expired before this tick. It ignores the expired
    /// keys and elements that the last sweep had to leave.
    pub earliest: Tick,
}

impl Database {
    /// A database without keys; it allocates nothing.
    pub const EMPTY: Database = Database {
        groups: Vec::new(),
        keys: 0,
        volatile: 0,
        with_moments: 0,
        moments_only: 0,
        table_bytes: 0,
        earliest: Tick::NEVER,
    };

    /// Creates the table number `index`, and the others of its group, if they do not exist yet.
    #[inline]
    pub fn prepare(&mut self, index: usize) {
        if self.groups.is_empty() {
            self.groups.resize_with(GROUPS, Group::default);
        }
        let tables = &mut self.groups[index / GROUP_TABLES].tables;
        if tables.is_none() {
            *tables = Some(Box::new([Table::EMPTY; GROUP_TABLES]));
            self.table_bytes += size_of::<[Table; GROUP_TABLES]>();
        }
    }

    /// Returns the number of groups.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Frees the tables of a group if it has no keys.
    pub fn trim(&mut self, group: usize) {
        let group = &mut self.groups[group];
        if group.keys == 0
            && let Some(tables) = &group.tables
            && tables.iter().all(|table| table.buckets() == 0)
        {
            group.tables = None;
            self.table_bytes -= size_of::<[Table; GROUP_TABLES]>();
        }
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.keys
    }

    /// Returns the number of keys that have an expiry.
    pub fn volatile_len(&self) -> usize {
        self.volatile - self.moments_only
    }

    /// Returns the number of keys that have elements with an expiry.
    pub fn with_moments_len(&self) -> usize {
        self.with_moments
    }

    /// Returns the bytes of the tables, without the entries.
    pub fn table_bytes(&self) -> usize {
        self.table_bytes
    }

    /// Counts a key in (`on`) or out that has elements with an expiry; `has_expiry` says whether
    /// the key itself has an expiry.
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

    /// Counts an entry in (`on`) or out, if it has elements with an expiry.
    pub fn note_entry(&mut self, entry: Entry, on: bool) {
        if entry.has_moments() {
            self.note_moments(on, entry.expiry().is_some());
        }
    }

    /// Returns the table number `index`; `None` if it was not created.
    #[inline]
    pub fn table(&self, index: usize) -> Option<&Table> {
        let tables = self.groups.get(index / GROUP_TABLES)?.tables.as_ref()?;
        Some(&tables[index % GROUP_TABLES])
    }

    /// Runs `change` on an existing table and updates the sums of the database.
    #[inline]
    pub fn change<T>(&mut self, index: usize, change: impl FnOnce(&mut Table) -> T) -> T {
        let group = &mut self.groups[index / GROUP_TABLES];
        let tables = group.tables.as_mut().expect("the table exists");
        let table = &mut tables[index % GROUP_TABLES];
        let (keys, volatile) = (table.len(), table.volatile_len());
        let shape = table.shape();
        let result = change(table);
        if table.shape() != shape {
            self.table_bytes += Table::bytes(table.shape());
            self.table_bytes -= Table::bytes(shape);
        }
        self.earliest = self.earliest.min(table.earliest());
        if table.len() != keys || table.volatile_len() != volatile {
            group.keys = group.keys + table.len() - keys;
            self.keys = self.keys + table.len() - keys;
            self.volatile = self.volatile + table.volatile_len() - volatile;
            let bit = 1u64 << (index % GROUP_TABLES);
            put_bit(&mut group.occupied, bit, table.len() > 0);
            put_bit(&mut group.volatile, bit, table.volatile_len() > 0);
        }
        result
    }

    /// Returns the first table from `index` on that has keys.
    pub fn next_occupied(&self, index: usize) -> Option<usize> {
        self.next_table(index, |group| group.occupied)
    }

    /// Returns the first table from `index` on that has volatile keys.
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

    /// Returns the table that holds the key number `rank`, counted in the order of the tables.
    pub fn table_of_rank(&self, rank: usize) -> usize {
        assert!(rank < self.keys);
        let mut left = rank;
        let mut group = 0;
        while left >= self.groups[group].keys {
            left -= self.groups[group].keys;
            group += 1;
        }
        let mut index = group * GROUP_TABLES;
        for table in self.groups[group].tables.iter().flat_map(|tables| tables.iter()) {
            if left < table.len() {
                break;
            }
            left -= table.len();
            index += 1;
        }
        index
    }

    /// Returns the tables of each group, for freeing them.
    pub fn into_tables(self) -> impl Iterator<Item = Vec<Table>> {
        let tables = self.groups.into_iter().filter_map(|group| group.tables);
        tables.map(|tables| Vec::from(tables as Box<[Table]>))
    }

    /// Asserts that all sums are right. O(slots), for tests.
    pub fn check(&self) {
        let (mut keys, mut volatile, mut bytes) = (0, 0, 0);
        for group in &self.groups {
            assert!(group.tables.is_some() || (group.keys == 0 && group.occupied == 0));
            bytes += group.tables.iter().map(|tables| size_of_val(&**tables)).sum::<usize>();
            for (index, table) in group.tables.iter().flat_map(|all| all.iter()).enumerate() {
                let bit = 1u64 << index;
                assert_eq!(group.occupied & bit != 0, table.len() > 0);
                assert_eq!(group.volatile & bit != 0, table.volatile_len() > 0);
                keys += table.len();
                volatile += table.volatile_len();
                bytes += Table::bytes(table.shape());
            }
        }
        assert_eq!((self.keys, self.volatile, self.table_bytes), (keys, volatile, bytes));
        assert!(self.moments_only <= self.with_moments.min(self.volatile));
        assert_eq!(self.groups.iter().map(|group| group.keys).sum::<usize>(), keys);
    }
}

fn put_bit(bits: &mut u64, bit: u64, on: bool) {
    if on { *bits |= bit } else { *bits &= !bit }
}
