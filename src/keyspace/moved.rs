//! Hash slots on their way from one slice to another, with everything that a slice knows of their
//! keys.
//!
//! | what | how it moves |
//! | --- | --- |
//! | entries | copied, about 100 bytes each; large values go by their address |
//! | tables, counts, summaries of expiry | built anew by the inserts |
//! | elements with an expiry | counted out and in |
//! | watches | with their keys; a broken watcher stays broken where it is |
//! | tracked keys | with their readers; if there are very many, all clients are told |
//! | access clocks, versions | in the entries; as no cut is under way, versions do not matter |
//! | whether there are long strings | the new slice has some if the old one had |
//!
//! What stays: keys that wait to be freed, counters, and the candidates for eviction, which are
//! looked for again in their tables before they leave. The clients that are blocked on keys, and
//! so the awaited keys, are the partition's.
//!
//! Both slices are with one unit that has locked everything (`partition/handover`). So no value is
//! with a transaction, and no sweep, walk or cut is between two of its steps in a table that moves:
//! a running sweep is stopped, and a cut must not be under way.

use super::slice::Slice;
use super::table::{Entry, Heap, LooseEntries, Table};
use super::tracking::MovedRow;
use super::watch::MovedWatch;
use crate::base::slot_map::SlotSet;

/// Hash slots without a slice.
#[derive(Debug)]
pub struct MovedSlots {
    slots: SlotSet,
    /// For each database with keys in these slots: its number, and the keys.
    databases: Vec<(usize, LooseEntries)>,
    watches: Vec<MovedWatch>,
    tracked: Vec<MovedRow>,
    has_long_strings: bool,
}

impl Slice {
    /// Returns whether a cut is under way, so that no slot may leave or come.
    pub fn has_cut(&self) -> bool {
        self.cut.is_some()
    }

    /// Returns the number of keys in a hash slot of this slice, in all databases.
    pub fn keys_of_slot(&self, slot: u16) -> usize {
        (0..self.databases()).map(|db| self.slot_len(db, slot)).sum()
    }

    /// Gives some hash slots of this slice away, with their keys.
    pub fn take_slots(&mut self, slots: &SlotSet) -> MovedSlots {
        assert!(!self.has_cut(), "a cut would miss the keys");
        let mut databases = Vec::new();
        for db in 0..self.databases() {
            let mut entries = LooseEntries::default();
            for slot in slots.iter() {
                assert!(self.owns(slot), "only an own slot leaves");
                self.take_table(db, slot, &mut entries);
            }
            if entries.len() > 0 {
                databases.push((db, entries));
            }
        }
        slots.iter().for_each(|slot| _ = self.slots.remove(slot));
        MovedSlots {
            slots: slots.clone(),
            databases,
            watches: self.watches.take_slots(slots),
            tracked: self.tracking.take_slots(slots),
            has_long_strings: self.has_long_strings(),
        }
    }

    /// Takes all keys of a hash slot out of a database.
    fn take_table(&mut self, db: usize, slot: u16, entries: &mut LooseEntries) {
        let index = self.index_of(slot);
        if self.databases[db].table(index).is_none_or(|table| table.buckets() == 0) {
            return;
        }
        self.sweep_stop(db);
        let mut table =
            self.databases[db].change(index, |table| std::mem::replace(table, Table::EMPTY));
        let (heap, database) = (&mut self.tools.heap, &mut self.databases[db]);
        let mut put = |heap: &mut Heap, entry: Entry| {
            database.note_entry(entry, false);
            entries.put(heap, entry);
        };
        while table.demolish(heap, &mut put) {}
    }

    /// Takes hash slots that another slice has given away.
    pub fn put_slots(&mut self, moved: MovedSlots) {
        assert!(!self.has_cut(), "a cut would have keys that it must not have");
        let MovedSlots { slots, databases, watches, tracked, has_long_strings } = moved;
        slots.iter().for_each(|slot| {
            assert!(self.slots.insert(slot), "a slot has one slice");
        });
        for (db, mut entries) in databases {
            self.sweep_stop(db);
            while let Some(entry) = entries.take(&mut self.tools.heap) {
                let key = self.key(entry.key());
                let index = self.index_of(key.slot);
                let (tools, database) = (&mut self.tools, &mut self.databases[db]);
                database.prepare(index);
                database.change(index, |table| table.insert(tools, key.hash, entry));
                database.note_entry(entry, true);
            }
        }
        self.watches.put_watches(watches);
        self.tracking.put_rows(tracked);
        self.set_long_strings(has_long_strings);
    }
}
