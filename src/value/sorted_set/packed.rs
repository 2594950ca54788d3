//! The form for few members: one block, without gaps.
//!
//! ```text
//!   count u32 | score, member | score, member | ...        no members: an empty block
//!
//!   02 00 00 00 | c1, 02 "ab" | e5 00 00 00 00 00 00 04 40, c7      (ab, 1) and (7, 2.5)
//! ```
//!
//! Scores and members are items of `pack`. An integral score of at most 2^53 is packed as a number,
//! any other as a float. Therefore negative zero is packed as zero.

use super::ranges::LexRange;
use super::{End, Put};
use crate::base::alloc::class_bytes;
use crate::value::pack::{self, Item};
use crate::value::string::IntText;
use std::ops::Range;

const HEAD_BYTES: usize = 4;

/// Integers up to this magnitude are exact as floats.
const WHOLE_MAX: f64 = (1u64 << 53) as f64;

/// Few members in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Packed(Box<[u8]>);

/// Location and score of a member in the block.
#[derive(Clone, Debug)]
struct Found {
    bytes: Range<usize>,
    score: f64,
}

fn write_score(out: &mut Vec<u8>, score: f64) {
    if score.abs() <= WHOLE_MAX && score.trunc() == score {
        pack::write(out, &Item::Int(score as i64));
    } else {
        pack::write_float(out, score);
    }
}

fn read_score(bytes: &[u8]) -> (f64, &[u8]) {
    if pack::is_float(bytes) {
        return pack::read_float(bytes);
    }
    match pack::read(bytes) {
        (Item::Int(score), rest) => (score as f64, rest),
        (Item::Bytes(_), _) => unreachable!("a score is packed as a number"),
    }
}

/// Iterator over the members in packed bytes.
#[derive(Clone, Debug)]
pub(super) struct Iter<'a>(&'a [u8]);

impl<'a> Iterator for Iter<'a> {
    type Item = (Item<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<(Item<'a>, f64)> {
        if self.0.is_empty() {
            return None;
        }
        let (score, rest) = read_score(self.0);
        let (item, rest) = pack::read(rest);
        self.0 = rest;
        Some((item, score))
    }
}

impl Packed {
    /// Returns the number of members.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.0.first_chunk().map_or(0, |count| u32::from_le_bytes(*count) as usize)
    }

    /// Iterates over members and scores in ascending order.
    #[inline]
    pub(super) fn iter(&self) -> Iter<'_> {
        Iter(self.0.get(HEAD_BYTES..).unwrap_or_default())
    }

    /// Iterates over the first `count` members in descending order.
    pub(super) fn reversed(&self, count: usize) -> impl Iterator<Item = (Item<'_>, f64)> {
        self.iter().take(count).collect::<Vec<_>>().into_iter().rev()
    }

    /// Returns the offset in the block at which an iterator is.
    fn offset(&self, iter: &Iter<'_>) -> usize {
        self.0.len() - iter.0.len()
    }

    fn find(&self, member: &[u8]) -> Option<Found> {
        let member = Item::of(member);
        let mut iter = self.iter();
        loop {
            let start = self.offset(&iter);
            let (item, score) = iter.next()?;
            if item == member {
                return Some(Found { bytes: start..self.offset(&iter), score });
            }
        }
    }

    /// Returns the score of a member.
    pub(super) fn score(&self, member: &[u8]) -> Option<f64> {
        self.find(member).map(|found| found.score)
    }

    /// Returns the rank and the score of a member.
    pub(super) fn rank_and_score(&self, member: &[u8]) -> Option<(usize, f64)> {
        let member = Item::of(member);
        let found = self.iter().enumerate().find(|(_, (item, _))| *item == member);
        found.map(|(rank, (_, score))| (rank, score))
    }

    /// Returns the number of leading members for which `is_before` holds.
    pub(super) fn rank_where(&self, is_before: impl Fn(f64, Item<'_>) -> bool) -> usize {
        self.iter().take_while(|(item, score)| is_before(*score, *item)).count()
    }

    /// Returns the ranks of the members in a text range. If scores differ, scans as the reference
    /// server does: forward from the first member inside, or with `is_reverse` backward from the
    /// last.
    pub(super) fn ranks_by_lex(&self, range: &LexRange<'_>, is_reverse: bool) -> Range<usize> {
        let members: Vec<_> = self.iter().map(|(item, _)| item).collect();
        let (Some(first), Some(last)) = (members.first(), members.last()) else { return 0..0 };
        if range.is_below(last) || range.is_above(first) {
            return 0..0;
        }
        let is_inside =
            |at: &usize| !range.is_below(&members[*at]) && !range.is_above(&members[*at]);
        let none = 0..0;
        if is_reverse {
            let last = (0..members.len()).rfind(|at| !range.is_above(&members[*at]));
            let Some(last) = last.filter(is_inside) else { return none };
            let before = (0..last).rfind(|at| range.is_below(&members[*at]));
            return before.map_or(0, |at| at + 1)..last + 1;
        }
        let first = (0..members.len()).find(|at| !range.is_below(&members[*at]));
        let Some(first) = first.filter(is_inside) else { return none };
        let behind = (first..members.len()).find(|at| range.is_above(&members[*at]));
        first..behind.unwrap_or(members.len())
    }

    /// Changes the block. `change` edits the bytes and returns the new number of members.
    fn edit(&mut self, change: impl FnOnce(&mut Vec<u8>) -> usize) {
        let mut bytes = std::mem::take(&mut self.0).into_vec();
        if bytes.is_empty() {
            bytes.extend_from_slice(&[0; HEAD_BYTES]);
        }
        let count = change(&mut bytes);
        if count > 0 {
            let count = u32::try_from(count).expect("few members");
            bytes[..HEAD_BYTES].copy_from_slice(&count.to_le_bytes());
            self.0 = bytes.into_boxed_slice();
        }
    }

    /// Sets the score of a member. `found` is its present location, if it exists.
    fn put(&mut self, member: &[u8], score: f64, found: Option<Found>) {
        let count = self.len() + usize::from(found.is_none());
        let item = Item::of(member);
        self.edit(|bytes| {
            if let Some(found) = found {
                bytes.drain(found.bytes);
            }
            let mut iter = Iter(&bytes[HEAD_BYTES..]);
            let mut at = HEAD_BYTES;
            while let Some((other, other_score)) = iter.next() {
                let is_before = other_score < score
                    || (other_score == score && other.text(&mut IntText::new()) < member);
                if !is_before {
                    break;
                }
                at = bytes.len() - iter.0.len();
            }
            // A packed score takes at most 9 bytes.
            bytes.reserve_exact(pack::size(&item) + 9);
            let end = bytes.len();
            write_score(bytes, score);
            pack::write(bytes, &item);
            let added = bytes.len() - end;
            bytes[at..].rotate_right(added);
            count
        });
    }

    /// Sets the score of a member to the result of `decide`. A new member must fit the limits. See
    /// [`super::SortedSet::change`].
    pub(super) fn change(
        &mut self,
        member: &[u8],
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Option<Put> {
        let found = self.find(member);
        let old = found.as_ref().map(|found| found.score);
        let score = decide(old)?;
        if old == Some(score) {
            return Some(Put::Same);
        }
        self.put(member, score, found);
        Some(if old.is_some() { Put::Moved } else { Put::New })
    }

    /// Removes a member and returns its score.
    pub(super) fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let found = self.find(member)?;
        let count = self.len() - 1;
        self.edit(|bytes| {
            bytes.drain(found.bytes);
            count
        });
        Some(found.score)
    }

    /// Removes the members with these ranks.
    pub(super) fn remove_ranks(&mut self, ranks: Range<usize>) {
        if ranks.is_empty() {
            return;
        }
        let mut iter = self.iter();
        let offset_after = |iter: &mut Iter<'_>, count: usize| {
            if count > 0 {
                iter.nth(count - 1);
            }
            self.offset(iter)
        };
        let start = offset_after(&mut iter, ranks.start);
        let end = offset_after(&mut iter, ranks.len());
        let count = self.len() - ranks.len();
        self.edit(|bytes| {
            bytes.drain(start..end);
            count
        });
    }

    /// Removes up to `count` members at an end. See [`super::SortedSet::pop`].
    pub(super) fn pop(&mut self, end: End, count: usize, mut each: impl FnMut(Item<'_>, f64)) {
        let len = self.len();
        let count = count.min(len);
        match end {
            End::Min => {
                self.iter().take(count).for_each(|(item, score)| each(item, score));
                self.remove_ranks(0..count);
            }
            End::Max => {
                self.reversed(len).take(count).for_each(|(item, score)| each(item, score));
                self.remove_ranks(len - count..len);
            }
        }
    }

    /// Returns the bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        if self.0.is_empty() { 0 } else { class_bytes(self.0.len()) }
    }

    /// Asserts the invariants of the block.
    pub(super) fn check(&self) {
        assert_eq!(self.iter().count(), self.len());
        assert!(self.0.is_empty() || self.len() > 0);
        let members: Vec<_> = self.iter().map(|(item, score)| (score, item.to_vec())).collect();
        assert!(members.iter().all(|(score, _)| !score.is_nan()));
        assert!(members.is_sorted_by(|one, other| one < other), "members are in order");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_frozen() {
        let mut packed = Packed::default();
        packed.change(b"7", |_| Some(2.5));
        packed.change(b"ab", |_| Some(1.0));
        assert_eq!(*packed.0, *b"\x02\0\0\0\xc1\x02ab\xe5\0\0\0\0\0\0\x04\x40\xc7");
        packed.remove_ranks(0..2);
        assert!(packed.0.is_empty());
    }
}
