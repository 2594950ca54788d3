//! Groups: who has been given which entries, and has not acknowledged them yet.
//!
//! ```text
//!   pending    id -> when, how often, to whom           of the whole group
//!   consumers  number -> name, times, ids               each id is in one consumer's list
//!   names      name -> number                           in the order of their bytes
//! ```

use super::id::Id;
use super::log::Log;
use std::collections::{BTreeMap, BTreeSet, btree_map};

/// The number of a consumer in its group; good until that consumer is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerId(u32);

/// While a group is loaded: nobody yet.
const NO_CONNECTION: ConsumerId = ConsumerId(u32::MAX);

/// An entry that was given to a consumer and is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// When it was given last, Unix milliseconds.
    pub delivered_ms: i64,
    /// How often it was given.
    pub deliveries: u64,
    /// Who has it.
    pub consumer: ConsumerId,
}

/// One that reads for a group.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Its name.
    pub name: Box<[u8]>,
    /// When it tried to read or to claim last, Unix milliseconds.
    pub seen_ms: i64,
    /// When it got something last, Unix milliseconds; -1: never.
    pub active_ms: i64,
    ids: BTreeSet<Id>,
}

impl Consumer {
    /// How many entries it has that are not acknowledged.
    pub fn pending(&self) -> usize {
        self.ids.len()
    }

    /// The ids of these from one on.
    pub fn ids_from(&self, start: Id) -> impl Iterator<Item = Id> {
        self.ids.range(start..).copied()
    }
}

/// A group of consumers, each of whom gets other entries.
#[derive(Clone, Debug)]
pub struct Group {
    /// Entries up to this one were given to somebody.
    pub last_id: Id,
    /// How many entries these were, counted from the first that the stream ever had; none: nobody
    /// knows.
    pub entries_read: Option<i64>,
    pending: BTreeMap<Id, Pending>,
    consumers: Vec<Option<Consumer>>,
    names: BTreeMap<Box<[u8]>, ConsumerId>,
}

/// Takes one of so many; false if there is none.
fn spend(items: &mut usize) -> bool {
    let is_left = *items > 0;
    *items = items.saturating_sub(1);
    is_left
}

impl Group {
    /// A group without consumers.
    pub fn new(last_id: Id, entries_read: Option<i64>) -> Group {
        Group {
            last_id,
            entries_read,
            pending: BTreeMap::new(),
            consumers: Vec::new(),
            names: BTreeMap::new(),
        }
    }

    /// How many entries are not acknowledged.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// One of these.
    pub fn pending(&self, id: Id) -> Option<&Pending> {
        self.pending.get(&id)
    }

    /// These from one id on, in the order of their ids.
    pub fn pending_from(&self, start: Id) -> btree_map::Range<'_, Id, Pending> {
        self.pending.range(start..)
    }

    /// The last one.
    pub fn pending_last(&self) -> Option<Id> {
        self.pending.last_key_value().map(|(id, _)| *id)
    }

    /// How many consumers there are.
    pub fn consumers_len(&self) -> usize {
        self.names.len()
    }

    /// The consumers in the order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.names.values().map(|id| self.consumer(*id))
    }

    /// The consumer of this name.
    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerId> {
        self.names.get(name).copied()
    }

    /// A consumer by its number.
    pub fn consumer(&self, id: ConsumerId) -> &Consumer {
        self.consumers[id.0 as usize].as_ref().expect("a consumer that is there")
    }

    /// The same, to be changed.
    pub fn consumer_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        self.consumers[id.0 as usize].as_mut().expect("a consumer that is there")
    }

    /// A new consumer; none if there is one of this name.
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

    /// Removes a consumer with all that it has; how many entries these were.
    pub fn remove_consumer(&mut self, id: ConsumerId) -> usize {
        let consumer = self.consumers[id.0 as usize].take().expect("a consumer that is there");
        self.names.remove(&consumer.name);
        for id in &consumer.ids {
            self.pending.remove(id);
        }
        consumer.ids.len()
    }

    /// An entry is not pending any more; none if it was not.
    pub fn acknowledge(&mut self, id: Id) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        if pending.consumer != NO_CONNECTION {
            self.consumer_mut(pending.consumer).ids.remove(&id);
        }
        Some(pending)
    }

    /// An entry is pending as said, whoever had it before.
    pub fn set_pending(&mut self, id: Id, pending: Pending) {
        let old = self.pending.insert(id, pending);
        if old.is_some_and(|old| old.consumer == pending.consumer) {
            return;
        }
        if let Some(old) = old.filter(|old| old.consumer != NO_CONNECTION) {
            self.consumer_mut(old.consumer).ids.remove(&id);
        }
        self.consumer_mut(pending.consumer).ids.insert(id);
    }

    /// An entry that is pending is given to the same consumer again.
    pub fn deliver_again(&mut self, id: Id, now_ms: i64) {
        let pending = self.pending.get_mut(&id).expect("an entry that is pending");
        pending.delivered_ms = now_ms;
        pending.deliveries = pending.deliveries.wrapping_add(1);
    }

    /// The group goes on to an entry, which is given to somebody.
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

    /// How many entries are still to be given to somebody; none: nobody knows.
    pub fn lag(&self, log: &Log) -> Option<i64> {
        if log.entries_added() == 0 {
            return Some(0);
        }
        let known = self.entries_read.filter(|_| !log.has_gaps_from(self.last_id));
        let read = known.or_else(|| log.count_to(self.last_id))?;
        Some((log.entries_added() as i64).wrapping_sub(read))
    }

    /// For loading: an entry is pending, and [`Group::load_owner`] is to say whose it is. False if
    /// it is pending already.
    pub fn load_pending(&mut self, id: Id, delivered_ms: i64, deliveries: u64) -> bool {
        let pending = Pending { delivered_ms, deliveries, consumer: NO_CONNECTION };
        self.pending.insert(id, pending).is_none()
    }

    /// For loading: an entry that is pending is this consumer's. False if it is not pending, or
    /// somebody has it already.
    pub fn load_owner(&mut self, id: Id, consumer: ConsumerId) -> bool {
        let Some(pending) = self.pending.get_mut(&id) else { return false };
        if pending.consumer != NO_CONNECTION {
            return false;
        }
        pending.consumer = consumer;
        self.consumer_mut(consumer).ids.insert(id)
    }

    /// Whether loading is over: somebody has each entry that is pending.
    pub fn is_whole(&self) -> bool {
        self.pending.values().all(|pending| pending.consumer != NO_CONNECTION)
    }

    /// Bytes of memory, guessed where maps allocate.
    pub(super) fn memory_bytes(&self) -> usize {
        let lists = self.pending.len() * (size_of::<(Id, Pending)>() + size_of::<Id>());
        let consumers = self.consumers.capacity() * size_of::<Option<Consumer>>();
        let names: usize = self.names.keys().map(|name| 2 * name.len() + 32).sum();
        // Nodes of the maps are two thirds full, more or less.
        lists * 3 / 2 + consumers + names
    }

    /// Frees some of it, at most so many items; true when what is left can be dropped in no time.
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

    /// Asserts what must hold.
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
