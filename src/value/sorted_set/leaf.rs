//! A leaf of the tree: a run of members in order. Hot; bench `sorted_set`.
//!
//! ```text
//!   scores   1.0     1.0     2.5            in order; equal scores by the members' texts
//!   tags     9c      04      e1             8 bits of each member's hash
//!   ends     3       4       8              end offset of each member's item
//!   bytes    02 a b  c7      03 x y z       the members "ab", "7", "xyz" as items of `pack`
//! ```

use crate::base::alloc::class_bytes;
use crate::value::pack::{self, Item};
use crate::value::string::IntText;
use std::ops::Range;

/// The most members of a leaf.
pub(super) const MEMBERS_MAX: usize = 64;

/// The most bytes of a leaf's members, unless it has only one member.
pub(super) const BYTES_MAX: usize = 2_048;

/// Two leaves are merged only up to this number of members.
const MERGED_MEMBERS_MAX: usize = 48;

/// Two leaves are merged only up to this number of bytes.
const MERGED_BYTES_MAX: usize = 1_536;

/// A leaf with fewer members is merged with a neighbour, if both fit.
const MEMBERS_FEW: usize = 16;

/// A run of members.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    scores: [f64; MEMBERS_MAX],
    ends: [u32; MEMBERS_MAX],
    tags: [u8; MEMBERS_MAX],
    bytes: Vec<u8>,
    len: u8,
    /// The previous leaf, or 0.
    pub(super) prev: u32,
    /// The next leaf, or 0.
    pub(super) next: u32,
    /// The parent node, or 0.
    pub(super) parent: u32,
}

impl Default for Leaf {
    fn default() -> Leaf {
        Leaf {
            scores: [0.0; MEMBERS_MAX],
            ends: [0; MEMBERS_MAX],
            tags: [0; MEMBERS_MAX],
            bytes: Vec::new(),
            len: 0,
            prev: 0,
            next: 0,
            parent: 0,
        }
    }
}

/// Returns the tag of a hash.
#[inline]
fn tag_of(hash: u32) -> u8 {
    (hash >> 24) as u8
}

/// Makes room for `more` bytes, with as much capacity as the allocator would give anyway.
fn reserve(bytes: &mut Vec<u8>, more: usize) {
    let needed = bytes.len() + more;
    if needed > bytes.capacity() {
        bytes.reserve_exact(class_bytes(needed) - bytes.len());
    }
}

impl Leaf {
    /// Returns the number of members.
    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Returns the capacity of the members' buffer in bytes.
    pub(super) fn buffer_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Returns the scores.
    #[inline]
    pub(super) fn scores(&self) -> &[f64] {
        &self.scores[..self.len()]
    }

    /// Sets the score of a member. The order of members must not change.
    pub(super) fn put_score(&mut self, at: usize, score: f64) {
        self.scores[at] = score;
    }

    #[inline]
    fn start(&self, at: usize) -> usize {
        if at == 0 { 0 } else { self.ends[at - 1] as usize }
    }

    /// Returns the member at an index.
    #[inline]
    pub(super) fn item(&self, at: usize) -> Item<'_> {
        pack::read(&self.bytes[self.start(at)..]).0
    }

    /// Returns the index of a member.
    #[inline]
    pub(super) fn find(&self, hash: u32, member: &Item<'_>) -> Option<usize> {
        let tags = &self.tags[..self.len()];
        memchr::memchr_iter(tag_of(hash), tags).find(|at| self.item(*at) == *member)
    }

    /// Iterates over the indexes of members that may have this hash.
    pub(super) fn candidates(&self, hash: u32) -> impl Iterator<Item = usize> {
        memchr::memchr_iter(tag_of(hash), &self.tags[..self.len()])
    }

    /// Returns how many members come before a member with this score and text.
    #[inline]
    pub(super) fn position(&self, score: f64, text: &[u8]) -> usize {
        let scores = self.scores();
        let low = scores.partition_point(|other| *other < score);
        let mut range = low..low + scores[low..].partition_point(|other| *other <= score);
        while !range.is_empty() {
            let middle = range.start + range.len() / 2;
            if self.item(middle).text(&mut IntText::new()) < text {
                range.start = middle + 1;
            } else {
                range.end = middle;
            }
        }
        range.start
    }

    /// Returns whether there is room for one more member of `item_bytes` packed bytes.
    #[inline]
    pub(super) fn has_room(&self, item_bytes: usize) -> bool {
        let fits = self.bytes.len() + item_bytes <= BYTES_MAX || self.len == 0;
        fits && self.len() < MEMBERS_MAX
    }

    /// Inserts a member. The leaf must have room.
    pub(super) fn insert(&mut self, at: usize, score: f64, hash: u32, member: &Item<'_>) {
        let (len, start) = (self.len(), self.start(at));
        assert!(at <= len && len < MEMBERS_MAX);
        let size = pack::size(member);
        reserve(&mut self.bytes, size);
        pack::write(&mut self.bytes, member);
        self.bytes[start..].rotate_right(size);
        self.scores.copy_within(at..len, at + 1);
        self.tags.copy_within(at..len, at + 1);
        self.ends.copy_within(at..len, at + 1);
        self.scores[at] = score;
        self.tags[at] = tag_of(hash);
        self.ends[at] = start as u32;
        let size = u32::try_from(size).expect("a member is below 4 GiB");
        for end in &mut self.ends[at..=len] {
            *end += size;
        }
        self.len += 1;
    }

    /// Removes members by index.
    pub(super) fn remove(&mut self, range: Range<usize>) {
        let len = self.len();
        assert!(range.start < range.end && range.end <= len);
        let (start, end) = (self.start(range.start), self.start(range.end));
        self.bytes.drain(start..end);
        self.shrink();
        self.scores.copy_within(range.end..len, range.start);
        self.tags.copy_within(range.end..len, range.start);
        self.ends.copy_within(range.end..len, range.start);
        let left = len - range.len();
        for other in &mut self.ends[range.start..left] {
            *other -= (end - start) as u32;
        }
        self.len = left as u8;
    }

    /// Releases memory if at most half of it is used.
    fn shrink(&mut self) {
        let needed = class_bytes(self.bytes.len());
        if 2 * needed <= self.bytes.capacity() {
            self.bytes.shrink_to(needed);
        }
    }

    /// Returns the index at which to split the leaf: half of the bytes if it has many, else half of
    /// the members.
    pub(super) fn middle(&self) -> usize {
        let half = self.bytes.len() as u32 / 2;
        let at = if self.bytes.len() > BYTES_MAX / 2 {
            self.ends[..self.len()].partition_point(|end| *end <= half)
        } else {
            self.len() / 2
        };
        at.clamp(1, self.len() - 1)
    }

    /// Moves the members from index `at` on to an empty leaf.
    pub(super) fn move_tail(&mut self, at: usize, to: &mut Leaf) {
        assert_eq!(to.len, 0);
        let (len, start) = (self.len(), self.start(at));
        let moved = len - at;
        to.scores[..moved].copy_from_slice(&self.scores[at..len]);
        to.tags[..moved].copy_from_slice(&self.tags[at..len]);
        to.ends[..moved].copy_from_slice(&self.ends[at..len]);
        for end in &mut to.ends[..moved] {
            *end -= start as u32;
        }
        reserve(&mut to.bytes, self.bytes.len() - start);
        to.bytes.extend_from_slice(&self.bytes[start..]);
        to.len = moved as u8;
        self.bytes.truncate(start);
        self.shrink();
        self.len = at as u8;
    }

    /// Returns whether the leaf has few members and may be merged with a neighbour.
    pub(super) fn is_sparse(&self) -> bool {
        self.len() < MEMBERS_FEW
    }

    /// Returns whether two leaves fit into one, with some room left.
    pub(super) fn fits_with(&self, other: &Leaf) -> bool {
        self.len() + other.len() <= MERGED_MEMBERS_MAX
            && self.bytes.len() + other.bytes.len() <= MERGED_BYTES_MAX
    }

    /// Appends copies of all members of another leaf, which must come after this leaf's members.
    pub(super) fn append(&mut self, from: &Leaf) {
        let (len, added, start) = (self.len(), from.len(), self.bytes.len() as u32);
        self.scores[len..len + added].copy_from_slice(from.scores());
        self.tags[len..len + added].copy_from_slice(&from.tags[..added]);
        self.ends[len..len + added].copy_from_slice(&from.ends[..added]);
        for end in &mut self.ends[len..len + added] {
            *end += start;
        }
        reserve(&mut self.bytes, from.bytes.len());
        self.bytes.extend_from_slice(&from.bytes);
        self.len += added as u8;
    }

    /// Asserts the invariants of the leaf. `hash_of` computes the hash of a member's text.
    pub(super) fn check(&self, hash_of: impl Fn(&[u8]) -> u32) {
        assert!(self.len > 0 && self.len() <= MEMBERS_MAX);
        assert!(self.bytes.len() <= BYTES_MAX || self.len == 1, "{} bytes", self.bytes.len());
        assert_eq!(self.ends[self.len() - 1] as usize, self.bytes.len());
        for at in 0..self.len() {
            let bytes = &self.bytes[self.start(at)..self.ends[at] as usize];
            let (item, rest) = pack::read(bytes);
            assert!(rest.is_empty(), "a member is one item");
            let text = item.to_vec();
            assert_eq!(self.tags[at], tag_of(hash_of(&text)));
            assert!(!self.scores[at].is_nan());
            if at > 0 {
                let before = (self.scores[at - 1], self.item(at - 1).to_vec());
                assert!(before < (self.scores[at], text), "members are in order");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_frozen() {
        let mut leaf = Leaf::default();
        for (at, (score, hash, text)) in
            [(1.0, 0x9c00_0000, "ab"), (1.0, 0x0400_0000, "7"), (2.5, 0xe100_0000, "xyz")]
                .into_iter()
                .enumerate()
        {
            leaf.insert(at, score, hash, &Item::of(text.as_bytes()));
        }
        assert_eq!(leaf.scores(), [1.0, 1.0, 2.5]);
        assert_eq!(leaf.tags[..3], [0x9c, 0x04, 0xe1]);
        assert_eq!(leaf.ends[..3], [3, 4, 8]);
        assert_eq!(leaf.bytes, b"\x02ab\xc7\x03xyz");
        assert_eq!(class_bytes(size_of::<Leaf>()), 896);
    }
}
