//! Where members are: from the 32-bit hash of a member to the leaf that has it. The members
//! themselves are not here.
//!
//! ```text
//!   segment  = low bits of the hash: as many as give one of the segments there are
//!   segment:   | hash . leaf | 0 | hash . leaf | hash . leaf | 0 | ...     64 bits each, 0: free
//!              home = hash * slots / 2^32; what finds it taken lies behind it
//! ```
//!
//! Linear hashing: with every so many members one segment is cut in two, the next in turn, so that
//! no step is long. A segment's table grows by a fifth or so when it is nearly full.
//!
//! A walk goes through the hashes in the order of their bits read backwards, in which a segment is
//! one stretch, and its halves are too: whatever is cut or joined meanwhile, it meets all.

use crate::base::alloc::class_bytes;

/// Members per segment, on the average.
const SEGMENT_MEMBERS: usize = 128;

/// Segments of one table of segments.
const CHUNK: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 7;

/// The fullest that a segment gets, in sixteenths.
const FULL: usize = 13;

/// The emptiest that a segment is left, in sixteenths.
const EMPTY: usize = 6;

/// Slots that every segment has.
const SLOTS_MIN: usize = 8;

/// A table of members' leaves.
#[derive(Clone, Debug)]
struct Segment {
    slots: Box<[u64]>,
    len: u32,
}

/// A hash with a leaf.
#[inline]
fn slot_of(hash: u32, leaf: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(leaf)
}

#[inline]
fn hash_in(slot: u64) -> u32 {
    (slot >> 32) as u32
}

#[inline]
fn leaf_in(slot: u64) -> u32 {
    slot as u32
}

/// Slots for so many members, some more than needed: what the allocator gives.
fn slots_for(members: usize) -> usize {
    let needed = (members * 16).div_ceil(FULL).max(SLOTS_MIN);
    class_bytes(needed * size_of::<u64>()) / size_of::<u64>()
}

impl Segment {
    fn new(members: usize) -> Segment {
        Segment { slots: vec![0; slots_for(members)].into_boxed_slice(), len: 0 }
    }

    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.slots.len() as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    /// The first slot from its home on of which `is_it` holds; none before a free one.
    #[inline]
    fn probe(&self, hash: u32, mut is_it: impl FnMut(u64) -> bool) -> Option<usize> {
        let mut at = self.home(hash);
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            if is_it(slot) {
                return Some(at);
            }
            at = self.after(at);
        }
    }

    /// Puts one in that finds room.
    fn put(&mut self, slot: u64) {
        let mut at = self.home(hash_in(slot));
        while self.slots[at] != 0 {
            at = self.after(at);
        }
        self.slots[at] = slot;
        self.len += 1;
    }

    fn resize(&mut self, members: usize) {
        let old = std::mem::replace(self, Segment::new(members));
        old.occupied().for_each(|slot| self.put(slot));
    }

    fn insert(&mut self, slot: u64) {
        let members = self.len as usize + 1;
        if members * 16 > self.slots.len() * FULL {
            self.resize(members);
        }
        self.put(slot);
    }

    /// Takes one out, and moves up what it kept from its home.
    fn remove(&mut self, at: usize) {
        let len = self.slots.len();
        let (mut hole, mut at) = (at, at);
        loop {
            at = self.after(at);
            let slot = self.slots[at];
            if slot == 0 {
                break;
            }
            let distance = |from: usize| if at >= from { at - from } else { at + len - from };
            if distance(self.home(hash_in(slot))) >= distance(hole) {
                self.slots[hole] = slot;
                hole = at;
            }
        }
        self.slots[hole] = 0;
        self.len -= 1;
        let members = self.len as usize;
        if members * 16 < len * EMPTY && slots_for(members + 1) < len {
            self.resize(members + 1);
        }
    }

    fn occupied(&self) -> impl Iterator<Item = u64> {
        self.slots.iter().copied().filter(|slot| *slot != 0)
    }
}

/// Members' leaves by hash.
#[derive(Clone, Debug)]
pub(super) struct Index {
    chunks: Vec<Vec<Segment>>,
    segments: usize,
    len: usize,
}

impl Default for Index {
    fn default() -> Index {
        Index { chunks: vec![vec![Segment::new(0)]], segments: 1, len: 0 }
    }
}

impl Index {
    /// The number of low bits by which all segments differ, and no more.
    #[inline]
    fn bits(&self) -> u32 {
        self.segments.ilog2()
    }

    #[inline]
    fn segment_of(&self, hash: u32) -> usize {
        let bits = self.bits();
        let wide = hash as usize & ((2 << bits) - 1);
        if wide < self.segments { wide } else { hash as usize & ((1 << bits) - 1) }
    }

    #[inline]
    fn segment(&self, at: usize) -> &Segment {
        &self.chunks[at >> CHUNK_BITS][at & (CHUNK - 1)]
    }

    #[inline]
    fn segment_mut(&mut self, at: usize) -> &mut Segment {
        &mut self.chunks[at >> CHUNK_BITS][at & (CHUNK - 1)]
    }

    /// Tries the leaves that may have a member of this hash.
    #[inline]
    pub(super) fn find<R>(&self, hash: u32, mut look: impl FnMut(u32) -> Option<R>) -> Option<R> {
        let mut found = None;
        self.segment(self.segment_of(hash)).probe(hash, |slot| {
            if hash_in(slot) == hash {
                found = look(leaf_in(slot));
            }
            found.is_some()
        });
        found
    }

    /// A member is in this leaf from now on.
    pub(super) fn insert(&mut self, hash: u32, leaf: u32) {
        let at = self.segment_of(hash);
        self.segment_mut(at).insert(slot_of(hash, leaf));
        self.len += 1;
        if self.len > self.segments * SEGMENT_MEMBERS {
            self.split();
        }
    }

    /// A member of this leaf is gone.
    pub(super) fn remove(&mut self, hash: u32, leaf: u32) {
        let at = self.segment_of(hash);
        let segment = self.segment_mut(at);
        let slot = slot_of(hash, leaf);
        let place = segment.probe(hash, |other| other == slot).expect("every member is known");
        segment.remove(place);
        self.len -= 1;
        if self.segments > 1 && 2 * self.len < (self.segments - 1) * SEGMENT_MEMBERS {
            self.join();
        }
    }

    /// A member has moved to another leaf.
    #[inline]
    pub(super) fn relocate(&mut self, hash: u32, from: u32, to: u32) {
        let at = self.segment_of(hash);
        let segment = self.segment_mut(at);
        let slot = slot_of(hash, from);
        let place = segment.probe(hash, |other| other == slot).expect("every member is known");
        segment.slots[place] = slot_of(hash, to);
    }

    /// Cuts the next segment in two.
    fn split(&mut self) {
        let bits = self.bits();
        let (low, high) = (self.segments - (1 << bits), self.segments);
        let is_high = |slot: &u64| hash_in(*slot) >> bits & 1 == 1;
        let segment = self.segment_mut(low);
        let moved = segment.occupied().filter(is_high).count();
        let mut lower = Segment::new(segment.len as usize - moved);
        let mut upper = Segment::new(moved);
        for slot in segment.occupied() {
            if is_high(&slot) { upper.put(slot) } else { lower.put(slot) }
        }
        *segment = lower;
        if high & (CHUNK - 1) == 0 {
            self.chunks.push(Vec::new());
        }
        self.chunks[high >> CHUNK_BITS].push(upper);
        self.segments += 1;
    }

    /// Joins the two halves that were cut last.
    fn join(&mut self) {
        self.segments -= 1;
        let chunk = self.chunks.last_mut().expect("there are segments");
        let upper = chunk.pop().expect("a chunk is not empty");
        if chunk.is_empty() {
            self.chunks.pop();
        }
        let low = self.segments - (1 << self.bits());
        let segment = self.segment_mut(low);
        let mut joined = Segment::new((segment.len + upper.len) as usize);
        segment.occupied().chain(upper.occupied()).for_each(|slot| joined.put(slot));
        *segment = joined;
    }

    /// A part of a walk: gives about `count` members' hashes and leaves, from the cursor on. The
    /// next cursor, or 0 at the end.
    pub(super) fn scan(
        &self,
        mut cursor: u64,
        count: usize,
        mut each: impl FnMut(u32, u32),
    ) -> u64 {
        let mut given = 0;
        while cursor < 1 << 32 && given < count {
            let start = cursor as u32;
            let at = self.segment_of(start.reverse_bits());
            let segment = self.segment(at);
            let backwards = segment.occupied().map(|slot| (hash_in(slot).reverse_bits(), slot));
            let mut members: Vec<_> = backwards.filter(|(place, _)| *place >= start).collect();
            members.sort_unstable();
            members.dedup();
            cursor = self.stretch_end(at);
            for (index, (place, slot)) in members.iter().enumerate() {
                // Those of one hash are not parted.
                if given >= count && members[index - 1].0 != *place {
                    cursor = u64::from(*place);
                    break;
                }
                each(hash_in(*slot), leaf_in(*slot));
                given += 1;
            }
        }
        if cursor < 1 << 32 { cursor } else { 0 }
    }

    /// Where the stretch of a segment ends, in the order of a walk.
    fn stretch_end(&self, at: usize) -> u64 {
        let bits = self.bits();
        let is_cut = at >= 1 << bits || at < self.segments - (1 << bits);
        let bits = bits + u32::from(is_cut);
        let prefix = u64::from((at as u32).reverse_bits()) >> (32 - bits);
        (prefix + 1) << (32 - bits)
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        let tables: usize = self.chunks.iter().map(|chunk| chunk.capacity()).sum();
        let sample = self.chunks[0].iter();
        let slots: usize = sample.map(|segment| segment.slots.len() * size_of::<u64>()).sum();
        tables * size_of::<Segment>() + slots * self.segments / self.chunks[0].len()
    }

    /// Frees up to so many segments; whether some are left.
    pub(super) fn free_some(&mut self, count: usize) -> bool {
        for _ in 0..count {
            let Some(chunk) = self.chunks.last_mut() else { return false };
            if chunk.pop().is_none() {
                self.chunks.pop();
            }
        }
        true
    }

    /// Asserts what must hold, and that exactly these members are known.
    pub(super) fn check(&self, members: impl Iterator<Item = (u32, u32)>) {
        let mut known = Vec::new();
        for (at, segment) in self.chunks.iter().flatten().enumerate() {
            assert_eq!(segment.occupied().count(), segment.len as usize);
            assert!(segment.len as usize * 16 <= segment.slots.len() * FULL);
            for slot in segment.occupied() {
                assert_eq!(self.segment_of(hash_in(slot)), at);
                assert!(segment.probe(hash_in(slot), |other| other == slot).is_some());
                known.push(slot);
            }
        }
        assert_eq!(self.chunks.iter().flatten().count(), self.segments);
        assert_eq!(known.len(), self.len);
        let mut expected: Vec<_> = members.map(|(hash, leaf)| slot_of(hash, leaf)).collect();
        known.sort_unstable();
        expected.sort_unstable();
        assert!(known == expected, "the index knows the members");
    }
}
