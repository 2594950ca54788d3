//! Index of members: maps the 32-bit hash of a member to the leaf that contains it. The index does
//! not contain the members themselves.
//!
//! ```text
//!   segment  = low bits of the hash, as linear hashing selects them
//!   segment:   | hash . leaf | 0 | hash . leaf | hash . leaf | 0 | ...     64 bits each, 0: free
//!              home = hash * cells / 2^32; if the home is occupied, the next free cell
//! ```
//!
//! Linear hashing: for every 128 new members one segment is split, the next in turn, so that no
//! insertion takes long. A segment grows by about a fifth when it is nearly full.
//!
//! A scan visits the hashes in the order of their reversed bits. In this order a segment is one
//! contiguous interval, and so are its halves. Therefore a scan visits every member that is present
//! throughout, whatever splits and joins happen meanwhile.

use crate::base::alloc::class_bytes;

/// Average members per segment.
const SEGMENT_MEMBERS: usize = 128;

/// Segments in a chunk.
const CHUNK: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 7;

/// The highest fill of a segment, in sixteenths.
const FULL: usize = 13;

/// The fill below which a removal shrinks a segment, in sixteenths.
const EMPTY: usize = 6;

/// The fewest cells of a segment.
const CELLS_MIN: usize = 8;

/// A hash table with linear probing. A cell holds a hash and a leaf id; 0 is a free cell.
#[derive(Clone, Debug)]
struct Segment {
    cells: Box<[u64]>,
    len: u32,
}

/// Returns a cell for a hash and a leaf.
#[inline]
fn cell_of(hash: u32, leaf: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(leaf)
}

#[inline]
fn hash_in(cell: u64) -> u32 {
    (cell >> 32) as u32
}

#[inline]
fn leaf_in(cell: u64) -> u32 {
    cell as u32
}

/// Returns the number of cells of a segment for `members` members, rounded up to what the allocator
/// gives.
fn cells_for(members: usize) -> usize {
    let needed = (members * 16).div_ceil(FULL).max(CELLS_MIN);
    class_bytes(needed * size_of::<u64>()) / size_of::<u64>()
}

impl Segment {
    fn new(members: usize) -> Segment {
        Segment { cells: vec![0; cells_for(members)].into_boxed_slice(), len: 0 }
    }

    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.cells.len() as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.cells.len() { 0 } else { at + 1 }
    }

    /// Returns the first cell, from the home of `hash` on, for which `is_it` holds. Stops at a free
    /// cell and returns none.
    #[inline]
    fn probe(&self, hash: u32, mut is_it: impl FnMut(u64) -> bool) -> Option<usize> {
        let mut at = self.home(hash);
        loop {
            let cell = self.cells[at];
            if cell == 0 {
                return None;
            }
            if is_it(cell) {
                return Some(at);
            }
            at = self.after(at);
        }
    }

    /// Inserts a cell. The segment must have room.
    fn put(&mut self, cell: u64) {
        let mut at = self.home(hash_in(cell));
        while self.cells[at] != 0 {
            at = self.after(at);
        }
        self.cells[at] = cell;
        self.len += 1;
    }

    fn resize(&mut self, members: usize) {
        let old = std::mem::replace(self, Segment::new(members));
        old.occupied().for_each(|cell| self.put(cell));
    }

    fn insert(&mut self, cell: u64) {
        let members = self.len as usize + 1;
        if members * 16 > self.cells.len() * FULL {
            self.resize(members);
        }
        self.put(cell);
    }

    /// Removes a cell, and moves later cells back towards their homes.
    fn remove(&mut self, at: usize) {
        let len = self.cells.len();
        let (mut hole, mut at) = (at, at);
        loop {
            at = self.after(at);
            let cell = self.cells[at];
            if cell == 0 {
                break;
            }
            let distance = |from: usize| if at >= from { at - from } else { at + len - from };
            if distance(self.home(hash_in(cell))) >= distance(hole) {
                self.cells[hole] = cell;
                hole = at;
            }
        }
        self.cells[hole] = 0;
        self.len -= 1;
        let members = self.len as usize;
        if members * 16 < len * EMPTY && cells_for(members + 1) < len {
            self.resize(members + 1);
        }
    }

    fn occupied(&self) -> impl Iterator<Item = u64> {
        self.cells.iter().copied().filter(|cell| *cell != 0)
    }
}

/// Leaves of members, by hash.
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
    /// Returns the number of low hash bits that every segment distinguishes.
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

    /// Passes the leaves of all members with this hash to `look` until it returns a result.
    #[inline]
    pub(super) fn find<R>(&self, hash: u32, mut look: impl FnMut(u32) -> Option<R>) -> Option<R> {
        let mut found = None;
        self.segment(self.segment_of(hash)).probe(hash, |cell| {
            if hash_in(cell) == hash {
                found = look(leaf_in(cell));
            }
            found.is_some()
        });
        found
    }

    /// Adds a member with this hash, located in `leaf`.
    pub(super) fn insert(&mut self, hash: u32, leaf: u32) {
        let at = self.segment_of(hash);
        self.segment_mut(at).insert(cell_of(hash, leaf));
        self.len += 1;
        if self.len > self.segments * SEGMENT_MEMBERS {
            self.split();
        }
    }

    /// Removes a member with this hash, located in `leaf`. The member must be present.
    pub(super) fn remove(&mut self, hash: u32, leaf: u32) {
        let at = self.segment_of(hash);
        let segment = self.segment_mut(at);
        let cell = cell_of(hash, leaf);
        let place =
            segment.probe(hash, |other| other == cell).expect("every member is in the index");
        segment.remove(place);
        self.len -= 1;
        if self.segments > 1 && 2 * self.len < (self.segments - 1) * SEGMENT_MEMBERS {
            self.join();
        }
    }

    /// Records that a member moved from leaf `from` to leaf `to`.
    #[inline]
    pub(super) fn relocate(&mut self, hash: u32, from: u32, to: u32) {
        let at = self.segment_of(hash);
        let segment = self.segment_mut(at);
        let cell = cell_of(hash, from);
        let place =
            segment.probe(hash, |other| other == cell).expect("every member is in the index");
        segment.cells[place] = cell_of(hash, to);
    }

    /// Splits the next segment.
    fn split(&mut self) {
        let bits = self.bits();
        let (low, high) = (self.segments - (1 << bits), self.segments);
        let is_high = |cell: &u64| hash_in(*cell) >> bits & 1 == 1;
        let segment = self.segment_mut(low);
        let moved = segment.occupied().filter(is_high).count();
        let mut lower = Segment::new(segment.len as usize - moved);
        let mut upper = Segment::new(moved);
        for cell in segment.occupied() {
            if is_high(&cell) { upper.put(cell) } else { lower.put(cell) }
        }
        *segment = lower;
        if high & (CHUNK - 1) == 0 {
            self.chunks.push(Vec::new());
        }
        self.chunks[high >> CHUNK_BITS].push(upper);
        self.segments += 1;
    }

    /// Joins the two halves that were split last.
    fn join(&mut self) {
        self.segments -= 1;
        let chunk = self.chunks.last_mut().expect("at least one segment is left");
        let upper = chunk.pop().expect("a chunk is not empty");
        if chunk.is_empty() {
            self.chunks.pop();
        }
        let low = self.segments - (1 << self.bits());
        let segment = self.segment_mut(low);
        let mut joined = Segment::new((segment.len + upper.len) as usize);
        segment.occupied().chain(upper.occupied()).for_each(|cell| joined.put(cell));
        *segment = joined;
    }

    /// Passes about `count` hashes and leaves from the cursor on to `each`. Returns the next
    /// cursor; 0 at the end.
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
            let backwards = segment.occupied().map(|cell| (hash_in(cell).reverse_bits(), cell));
            let mut members: Vec<_> = backwards.filter(|(place, _)| *place >= start).collect();
            members.sort_unstable();
            members.dedup();
            cursor = self.stretch_end(at);
            for (index, (place, cell)) in members.iter().enumerate() {
                // Members with equal hashes are visited in the same call.
                if given >= count && members[index - 1].0 != *place {
                    cursor = u64::from(*place);
                    break;
                }
                each(hash_in(*cell), leaf_in(*cell));
                given += 1;
            }
        }
        if cursor < 1 << 32 { cursor } else { 0 }
    }

    /// Returns where the interval of a segment ends, in scan order.
    fn stretch_end(&self, at: usize) -> u64 {
        let bits = self.bits();
        let is_cut = at >= 1 << bits || at < self.segments - (1 << bits);
        let bits = bits + u32::from(is_cut);
        let prefix = u64::from((at as u32).reverse_bits()) >> (32 - bits);
        (prefix + 1) << (32 - bits)
    }

    /// Returns the bytes of memory, estimated from the first chunk of segments.
    pub(super) fn memory_bytes(&self) -> usize {
        let tables: usize = self.chunks.iter().map(|chunk| chunk.capacity()).sum();
        let sample = self.chunks[0].iter();
        let cells: usize = sample.map(|segment| segment.cells.len() * size_of::<u64>()).sum();
        tables * size_of::<Segment>() + cells * self.segments / self.chunks[0].len()
    }

    /// Frees up to `count` segments. Returns whether some may be left.
    pub(super) fn free_some(&mut self, count: usize) -> bool {
        for _ in 0..count {
            let Some(chunk) = self.chunks.last_mut() else { return false };
            if chunk.pop().is_none() {
                self.chunks.pop();
            }
        }
        true
    }

    /// Asserts the invariants, and that the index contains exactly `members`, as hash and leaf.
    pub(super) fn check(&self, members: impl Iterator<Item = (u32, u32)>) {
        let mut found = Vec::new();
        for (at, segment) in self.chunks.iter().flatten().enumerate() {
            assert_eq!(segment.occupied().count(), segment.len as usize);
            assert!(segment.len as usize * 16 <= segment.cells.len() * FULL);
            for cell in segment.occupied() {
                assert_eq!(self.segment_of(hash_in(cell)), at);
                assert!(segment.probe(hash_in(cell), |other| other == cell).is_some());
                found.push(cell);
            }
        }
        assert_eq!(self.chunks.iter().flatten().count(), self.segments);
        assert_eq!(found.len(), self.len);
        let mut expected: Vec<_> = members.map(|(hash, leaf)| cell_of(hash, leaf)).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert!(found == expected, "the index contains exactly the members");
    }
}
