//! Consumer groups: which entries were delivered to which consumer and are not acknowledged yet.
//!
//! ```text
//!   pending    id -> time, deliveries, consumer         of the whole group
//!   consumers  number -> name, times, ids               each id is in one consumer's list
//!   names      name -> number                           in the order of their bytes
//! ```

use super::id::Id;
use super::log::Log;
use std::collections::{BTreeMap, BTreeSet, btree_map};

/// The number of a consumer in its group. Valid until the consumer is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerId(u32);

/// The owner of a pending entry while a group is loaded and the owner is not known yet.
const NO_CONSUMER: ConsumerId = ConsumerId(u32::MAX);

/// An entry that was delivered to a consumer and is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Time of the last delivery, Unix milliseconds.
    pub delivered_ms: i64,
    /// Number of deliveries.
    pub deliveries: u64,
    /// Consumer that owns the entry.
    pub consumer: ConsumerId,
}

/// A consumer, which reads for a group.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Name.
    pub name: Box<[u8]>,
    /// Time of the last attempt to read or claim, Unix milliseconds.
    pub seen_ms: i64,
    /// Time of the last successful read or claim, Unix milliseconds; -1 for never.
    pub active_ms: i64,
    ids: BTreeSet<Id>,
}

impl Consumer {
    /// Returns the number of the consumer's pending entries.
    pub fn pending(&self) -> usize {
        self.ids.len()
    }

    /// Iterates over the ids of the consumer's pending entries, from `start` on.
    pub fn ids_from(&self, start: Id) -> impl Iterator<Item = Id> {
        self.ids.range(start..).copied()
    }
}

/// A group of consumers. Each entry is delivered to one consumer of the group.
#[derive(Clone, Debug)]
pub struct Group {
    /// Id of the last entry that was delivered to the group.
    pub last_id: Id,
    /// Number of entries up to `last_id`, counted from the first entry ever added to the stream.
    /// None if unknown.
    pub entries_read: Option<i64>,
    pending: BTreeMap<Id, Pending>,
    consumers: Vec<Option<Consumer>>,
    names: BTreeMap<Box<[u8]>, ConsumerId>,
}

/// Takes one item from a budget. Returns false if the budget is empty.
fn spend(items: &mut usize) -> bool {
    let is_left = *items > 0;
    *items = items.saturating_sub(1);
    is_left
}

impl Group {
    /// Creates a group without consumers.
    pub fn new(last_id: Id, entries_read: Option<i64>) -> Group {
        Group {
            last_id,
            entries_read,
            pending: BTreeMap::new(),
            consumers: Vec::new(),
            names: BTreeMap::new(),
        }
    }

    /// Returns the number of pending entries.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Returns a pending entry.
    pub fn pending(&self, id: Id) -> Option<&Pending> {
        self.pending.get(&id)
    }

    /// Iterates over the pending entries from id `start` on, in ascending order.
    pub fn pending_from(&self, start: Id) -> btree_map::Range<'_, Id, Pending> {
        self.pending.range(start..)
    }

    /// Returns the id of the last pending entry.
    pub fn pending_last(&self) -> Option<Id> {
        self.pending.last_key_value().map(|(id, _)| *id)
    }

    /// Returns the number of consumers.
    pub fn consumers_len(&self) -> usize {
        self.names.len()
    }

    /// Iterates over the consumers in the order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.names.values().map(|id| self.consumer(*id))
    }

    /// Returns the number of the consumer with this name.
    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerId> {
        self.names.get(name).copied()
    }

    /// Returns a consumer by its number. The consumer must exist.
    pub fn consumer(&self, id: ConsumerId) -> &Consumer {
        self.consumers[id.0 as usize].as_ref().expect("the consumer exists")
    }

    /// Returns a consumer by its number, for changes. The consumer must exist.
    pub fn consumer_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        self.consumers[id.0 as usize].as_mut().expect("the consumer exists")
    }

    /// Adds a consumer and returns its number. Returns none if the name exists.
    pub fn add_consumer(
        &mut self,
        name: &[u8],
        seen_ms: i64,
        active_ms: i64,
    ) -> Option<ConsumerId> {
        if self.names.contains_key(name) {
            return None;
        }
        let free = self.consumers.iter().position(Option::is_none);
        let at = free.unwrap_or_else(|| {
            self.consumers.push(None);
            self.consumers.len() - 1
        });
        let ids = BTreeSet::new();
        self.consumers[at] = Some(Consumer { name: name.into(), seen_ms, active_ms, ids });
        let id = ConsumerId(u32::try_from(at).expect("fewer than 2^32 consumers"));
        self.names.insert(name.into(), id);
        Some(id)
    }

    /// Removes a consumer and its pending entries. Returns the number of these entries.
    pub fn remove_consumer(&mut self, id: ConsumerId) -> usize {
        let consumer = self.consumers[id.0 as usize].take().expect("the consumer exists");
        self.names.remove(&consumer.name);
        for id in &consumer.ids {
            self.pending.remove(id);
        }
        consumer.ids.len()
    }

    /// Removes a pending entry. Returns none if the entry was not pending.
    pub fn acknowledge(&mut self, id: Id) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        if pending.consumer != NO_CONSUMER {
            self.consumer_mut(pending.consumer).ids.remove(&id);
        }
        Some(pending)
    }

    /// Makes an entry pending. Replaces its previous state and moves it between consumers if
    /// needed.
    pub fn set_pending(&mut self, id: Id, pending: Pending) {
        let old = self.pending.insert(id, pending);
        if old.is_some_and(|old| old.consumer == pending.consumer) {
            return;
        }
        if let Some(old) = old.filter(|old| old.consumer != NO_CONSUMER) {
            self.consumer_mut(old.consumer).ids.remove(&id);
        }
        self.consumer_mut(pending.consumer).ids.insert(id);
    }

    /// Records that a pending entry was delivered to its consumer again.
    pub fn deliver_again(&mut self, id: Id, now_ms: i64) {
        let pending = self.pending.get_mut(&id).expect("the entry is pending");
        pending.delivered_ms = now_ms;
        pending.deliveries = pending.deliveries.wrapping_add(1);
    }

    /// Records that entry `id` was delivered: makes it the last id and updates `entries_read`.
    pub fn advance(&mut self, log: &Log, id: Id) {
        let is_behind_first = self.last_id >= log.first_id();
        match self.entries_read {
            Some(read) if is_behind_first && !log.has_gaps_from(self.last_id) => {
                self.entries_read = Some(read.wrapping_add(1));
            }
            _ if log.entries_added() != 0 => self.entries_read = log.count_to(id),
            _ => {}
        }
        self.last_id = id;
    }

    /// Returns the number of entries that were not delivered to the group yet; none if unknown.
    pub fn lag(&self, log: &Log) -> Option<i64> {
        if log.entries_added() == 0 {
            return Some(0);
        }
        let known = self.entries_read.filter(|_| !log.has_gaps_from(self.last_id));
        let read = known.or_else(|| log.count_to(self.last_id))?;
        Some((log.entries_added() as i64).wrapping_sub(read))
    }

    /// For loading: adds a pending entry without owner. [`Group::load_owner`] must follow. Returns
    /// false if the entry is already pending.
    pub fn load_pending(&mut self, id: Id, delivered_ms: i64, deliveries: u64) -> bool {
        let pending = Pending { delivered_ms, deliveries, consumer: NO_CONSUMER };
        self.pending.insert(id, pending).is_none()
    }

    /// For loading: makes a consumer the owner of a pending entry. Returns false if the entry is
    /// not pending or already has an owner.
    pub fn load_owner(&mut self, id: Id, consumer: ConsumerId) -> bool {
        let Some(pending) = self.pending.get_mut(&id) else { return false };
        if pending.consumer != NO_CONSUMER {
            return false;
        }
        pending.consumer = consumer;
        self.consumer_mut(consumer).ids.insert(id)
    }

    /// For loading: returns whether every pending entry has an owner.
    pub fn is_whole(&self) -> bool {
        self.pending.values().all(|pending| pending.consumer != NO_CONSUMER)
    }

    /// Returns the bytes of memory, estimated for the nodes of maps.
    pub(super) fn memory_bytes(&self) -> usize {
        let lists = self.pending.len() * (size_of::<(Id, Pending)>() + size_of::<Id>());
        let consumers = self.consumers.capacity() * size_of::<Option<Consumer>>();
        let names: usize = self.names.keys().map(|name| 2 * name.len() + 32).sum();
        // Nodes of the maps are about two thirds full.
        lists * 3 / 2 + consumers + names
    }

    /// Frees up to `items` items, and subtracts them. Returns true when the rest can be dropped at
    /// once.
    pub(super) fn free_step(&mut self, items: &mut usize) -> bool {
        while spend(items) && self.pending.pop_first().is_some() {}
        while let Some(consumer) = self.consumers.last_mut() {
            if let Some(consumer) = consumer {
                while spend(items) && consumer.ids.pop_first().is_some() {}
            }
            if *items == 0 {
                return false;
            }
            self.consumers.pop();
        }
        while spend(items) && self.names.pop_first().is_some() {}
        *items > 0
    }

    /// Asserts that the list of the group and the lists of the consumers agree.
    pub(super) fn check(&self) {
        let consumers = || self.consumers.iter().flatten();
        assert_eq!(consumers().count(), self.names.len());
        for (name, id) in &self.names {
            assert_eq!(self.consumer(*id).name, *name);
            for entry in &self.consumer(*id).ids {
                assert_eq!(self.pending[entry].consumer, *id);
            }
        }
        let ids: usize = consumers().map(|consumer| consumer.ids.len()).sum();
        assert_eq!(ids, self.pending.len());
    }
}
