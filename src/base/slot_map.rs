//! Which hash slots belong to which partition, as data. Hot: read for every key.
//!
//! ```text
//!   SlotMapCell   publishes one immutable SlotMap with its epoch; shards poll the epoch
//!   SlotMap       slot -> number of its partition: 2 bytes each, 32 KiB for all shards together
//!   SlotSet       the slots of one partition: one bit each, 2 KiB, shared until it changes
//! ```

use super::slot::{SLOT_COUNT, share_of};
use arc_swap::ArcSwap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Words of a set of hash slots.
const WORDS: usize = SLOT_COUNT as usize / u64::BITS as usize;

/// A set of hash slots. A copy shares the bits until one of the two changes.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotSet {
    words: Arc<[u64; WORDS]>,
    len: u16,
}

impl SlotSet {
    /// Creates an empty set.
    pub fn new() -> SlotSet {
        SlotSet { words: Arc::new([0; WORDS]), len: 0 }
    }

    /// Returns the number of slots.
    pub fn len(&self) -> u16 {
        self.len
    }

    /// Returns whether there is no slot.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns whether a slot is in the set.
    #[inline]
    pub fn contains(&self, slot: u16) -> bool {
        let word = self.words.get(usize::from(slot) / 64).copied().unwrap_or(0);
        word >> (slot % 64) & 1 != 0
    }

    /// Adds a slot. Returns false if it was there.
    pub fn insert(&mut self, slot: u16) -> bool {
        let is_new = !self.contains(slot);
        Arc::make_mut(&mut self.words)[usize::from(slot) / 64] |= 1 << (slot % 64);
        self.len += u16::from(is_new);
        is_new
    }

    /// Removes a slot. Returns whether it was there.
    pub fn remove(&mut self, slot: u16) -> bool {
        let is_there = self.contains(slot);
        if is_there {
            Arc::make_mut(&mut self.words)[usize::from(slot) / 64] &= !(1 << (slot % 64));
            self.len -= 1;
        }
        is_there
    }

    /// Returns the lowest slot.
    pub fn first(&self) -> Option<u16> {
        self.next_in(0, 0)
    }

    /// Returns the lowest slot from `from` on.
    pub fn next(&self, from: u16) -> Option<u16> {
        self.next_in(from, 0)
    }

    /// Returns the first slot behind `slot` and the slots that follow it without a gap. `slot` is
    /// in the set. Returns [`SLOT_COUNT`] if there is none.
    pub fn run_end(&self, slot: u16) -> u16 {
        debug_assert!(self.contains(slot), "a run begins with a slot of the set");
        self.next_in(slot, u64::MAX).unwrap_or(SLOT_COUNT)
    }

    /// Returns the lowest slot from `from` on whose bit, exclusive-or the bit of `flip`, is 1.
    fn next_in(&self, from: u16, flip: u64) -> Option<u16> {
        let first = usize::from(from) / 64;
        let mut mask = u64::MAX << (from % 64);
        for (number, word) in self.words.iter().enumerate().skip(first) {
            let found = (word ^ flip) & mask;
            if found != 0 {
                return Some((number * 64) as u16 + found.trailing_zeros() as u16);
            }
            mask = u64::MAX;
        }
        None
    }

    /// Returns the slot that has `rank` lower slots in the set.
    pub fn nth(&self, rank: u16) -> u16 {
        assert!(rank < self.len, "the set has fewer slots");
        let mut left = u32::from(rank);
        for (number, word) in self.words.iter().enumerate() {
            if left < word.count_ones() {
                let mut word = *word;
                (0..left).for_each(|_| word &= word - 1);
                return (number * 64) as u16 + word.trailing_zeros() as u16;
            }
            left -= word.count_ones();
        }
        unreachable!("the number of slots is the number of bits");
    }

    /// Returns the slots in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        let after = |slot: &u16| self.next(slot + 1);
        std::iter::successors(self.first(), after)
    }

    /// Returns the longest ranges without gaps, in ascending order; both ends are included.
    pub fn ranges(&self) -> impl Iterator<Item = (u16, u16)> + '_ {
        let range = |first: u16| (first, self.run_end(first) - 1);
        let after = move |(_, last): &(u16, u16)| self.next(last + 1).map(range);
        std::iter::successors(self.first().map(range), after)
    }
}

impl Default for SlotSet {
    fn default() -> SlotSet {
        SlotSet::new()
    }
}

impl From<Range<u16>> for SlotSet {
    fn from(slots: Range<u16>) -> SlotSet {
        assert!(slots.end <= SLOT_COUNT);
        let mut set = SlotSet::new();
        let words = Arc::make_mut(&mut set.words);
        slots.clone().for_each(|slot| words[usize::from(slot) / 64] |= 1 << (slot % 64));
        set.len = slots.len() as u16;
        set
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ranges()).finish()
    }
}

/// The partition of each hash slot at one moment. Every partition has at least one slot.
#[derive(Clone, Debug)]
pub struct SlotMap {
    epoch: u64,
    owners: [u16; SLOT_COUNT as usize],
    sets: Vec<SlotSet>,
}

impl SlotMap {
    /// Creates a map of epoch 1 that gives each of `partitions` a contiguous range of nearly equal
    /// size.
    pub fn equal(partitions: usize) -> SlotMap {
        SlotMap::new(partitions, |slot| share_of(slot, partitions) as u16)
    }

    /// Creates a map of epoch 1. `owner` returns the partition of a slot.
    pub fn new(partitions: usize, owner: impl Fn(u16) -> u16) -> SlotMap {
        assert!((1..=usize::from(SLOT_COUNT)).contains(&partitions));
        let (mut owners, mut sets) = ([0; SLOT_COUNT as usize], vec![SlotSet::new(); partitions]);
        for slot in 0..SLOT_COUNT {
            owners[usize::from(slot)] = owner(slot);
            sets[usize::from(owner(slot))].insert(slot);
        }
        assert!(sets.iter().all(|set| !set.is_empty()), "every partition has a slot");
        SlotMap { epoch: 1, owners, sets }
    }

    /// Returns the map of the next epoch, in which a partition has these slots too. Returns none if
    /// another partition would have no slot.
    pub fn moved(&self, slots: &SlotSet, to: u16) -> Option<SlotMap> {
        assert!(usize::from(to) < self.partitions());
        let mut map = SlotMap { epoch: self.epoch + 1, ..self.clone() };
        for slot in slots.iter() {
            map.sets[usize::from(self.owner(slot))].remove(slot);
            map.sets[usize::from(to)].insert(slot);
            map.owners[usize::from(slot)] = to;
        }
        map.sets.iter().all(|set| !set.is_empty()).then_some(map)
    }

    /// Returns the number of changes so far, plus 1.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns the number of partitions.
    pub fn partitions(&self) -> usize {
        self.sets.len()
    }

    /// Returns the partition of a slot.
    #[inline]
    pub fn owner(&self, slot: u16) -> u16 {
        self.owners[usize::from(slot)]
    }

    /// Returns the slots of a partition.
    pub fn slots(&self, partition: usize) -> &SlotSet {
        &self.sets[partition]
    }

    /// Returns the lowest slot of a partition.
    pub fn first_slot(&self, partition: usize) -> u16 {
        self.sets[partition].first().expect("every partition has a slot")
    }
}

/// Publishes the map. Readers keep a snapshot and look whether the epoch has changed.
#[derive(Debug)]
pub struct SlotMapCell {
    now: ArcSwap<SlotMap>,
    epoch: AtomicU64,
}

impl SlotMapCell {
    /// Publishes the first map.
    pub fn new(map: SlotMap) -> SlotMapCell {
        SlotMapCell { epoch: AtomicU64::new(map.epoch), now: ArcSwap::from_pointee(map) }
    }

    /// Returns the epoch of the published map. A reader that sees a new epoch takes a new
    /// [`SlotMapCell::snapshot`].
    #[inline]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Publishes the map of the next epoch.
    pub fn publish(&self, map: SlotMap) {
        let epoch = map.epoch;
        let before = self.now.swap(Arc::new(map));
        assert_eq!(epoch, before.epoch + 1, "one change at a time");
        self.epoch.store(epoch, Ordering::Release);
    }

    /// Returns the published map.
    pub fn snapshot(&self) -> Arc<SlotMap> {
        self.now.load_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::slot::slots_of_share;

    #[test]
    fn a_set_knows_its_slots() {
        let mut set = SlotSet::from(60..70);
        assert!(set.insert(16_383) && set.insert(0) && !set.insert(60));
        assert!(set.remove(65) && !set.remove(65));
        assert_eq!(set.len(), 11);
        let all = [0, 60, 61, 62, 63, 64, 66, 67, 68, 69, 16_383];
        assert_eq!(set.iter().collect::<Vec<_>>(), all);
        assert_eq!(
            set.ranges().collect::<Vec<_>>(),
            [(0, 0), (60, 64), (66, 69), (16_383, 16_383)]
        );
        for (rank, slot) in all.into_iter().enumerate() {
            assert_eq!(set.nth(rank as u16), slot);
            assert!(set.contains(slot));
        }
        assert_eq!((set.run_end(60), set.run_end(66), set.run_end(16_383)), (65, 70, SLOT_COUNT));
        assert_eq!((set.next(65), set.next(70)), (Some(66), Some(16_383)));
        assert!(!set.contains(65) && !set.contains(SLOT_COUNT) && !set.contains(u16::MAX));
        let copy = set.clone();
        set.remove(0);
        assert!(copy.contains(0) && copy != set);
        assert_eq!(SlotSet::new().first(), None);
        assert_eq!(SlotSet::from(0..SLOT_COUNT).ranges().collect::<Vec<_>>(), [(0, 16_383)]);
    }

    #[test]
    fn a_map_of_equal_shares() {
        for partitions in [1, 2, 3, 7, 1024] {
            let map = SlotMap::equal(partitions);
            for partition in 0..partitions {
                let slots = slots_of_share(partition, partitions);
                assert_eq!(*map.slots(partition), SlotSet::from(slots.clone()));
                assert_eq!(map.first_slot(partition), slots.start);
                assert!(slots.into_iter().all(|slot| map.owner(slot) == partition as u16));
            }
        }
    }

    #[test]
    fn a_map_of_scattered_slots() {
        let map = SlotMap::new(3, |slot| slot % 3);
        assert_eq!((map.owner(16_383), map.first_slot(2), map.partitions()), (0, 2, 3));
        let lens = [0, 1, 2].map(|partition| map.slots(partition).len());
        assert_eq!(lens, [5462, 5461, 5461]);
        let cell = SlotMapCell::new(map);
        assert_eq!((cell.epoch(), cell.snapshot().epoch()), (1, 1));
        let next = cell.snapshot().moved(&SlotSet::from(0..10), 2).expect("all have slots");
        cell.publish(next);
        let map = cell.snapshot();
        assert_eq!((cell.epoch(), map.epoch()), (2, 2));
        assert_eq!([0, 1, 2].map(|slot| map.owner(slot)), [2, 2, 2]);
        assert_eq!([0, 1, 2].map(|partition| map.slots(partition).len()), [5458, 5458, 5468]);
        assert!(map.moved(&map.slots(0).clone(), 1).is_none(), "partition 0 keeps a slot");
    }
}
