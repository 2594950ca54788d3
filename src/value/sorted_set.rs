//! Sorted sets.
//!
//! ```text
//!   Packed   few short members: one block, read from the front           OBJECT ENCODING listpack
//!   Large    a tree of leaves in order, and an index to the leaves       OBJECT ENCODING skiplist
//! ```
//!
//! What has become large stays so, as in the reference, whose names the forms have.

mod arena;
mod index;
mod large;
mod leaf;
mod node;
mod packed;
mod ranges;
mod tree;

pub use ranges::{LexEnd, LexRange, ScoreRange};

use super::object::{Container, Kind, container_object};
use super::pack::Item;
use large::Large;
use packed::Packed;
use std::ops::Range;

/// Members, each once, in the order of their scores; those of one score by their bytes.
///
/// No score is NaN. Zeros are equal whatever their sign; the large form keeps the sign that a
/// member came with, the packed form keeps none.
#[derive(Clone, Debug)]
pub struct SortedSet(Form);

#[derive(Clone, Debug)]
enum Form {
    Packed(Packed),
    Large(Box<Large>),
}

impl Default for SortedSet {
    fn default() -> SortedSet {
        SortedSet(Form::Packed(Packed::default()))
    }
}

/// Up to which size the compact form serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Members.
    pub listpack_entries: usize,
    /// Bytes of a member.
    pub listpack_value: usize,
}

/// What became of a member that was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is new.
    New,
    /// Its score was another one.
    Moved,
    /// Its score was the same.
    Same,
}

/// An end of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where the lowest score is.
    Min,
    /// Where the highest score is.
    Max,
}

/// One of two iterators.
#[derive(Clone, Debug)]
enum Either<A, B> {
    One(A),
    Other(B),
}

impl<T, A: Iterator<Item = T>, B: Iterator<Item = T>> Iterator for Either<A, B> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        match self {
            Either::One(iter) => iter.next(),
            Either::Other(iter) => iter.next(),
        }
    }
}

impl SortedSet {
    /// How many members there are.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Packed(packed) => packed.len(),
            Form::Large(large) => large.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is kept in the compact form.
    pub fn is_packed(&self) -> bool {
        matches!(self.0, Form::Packed(_))
    }

    /// The score of a member.
    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.0 {
            Form::Packed(packed) => packed.score(member),
            Form::Large(large) => large.score(member),
        }
    }

    /// Gives a member a score, which is a number.
    pub fn put(&mut self, member: &[u8], score: f64, limits: &Limits) -> Put {
        self.change(member, limits, |_| Some(score)).expect("a score was decided upon")
    }

    /// As `put`, but the score is decided upon when the old one is known; none: it stays as it is.
    #[inline]
    pub fn change(
        &mut self,
        member: &[u8],
        limits: &Limits,
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Option<Put> {
        let decide = |old| {
            let score: Option<f64> = decide(old);
            assert!(!score.is_some_and(f64::is_nan), "a score is a number");
            score
        };
        match &mut self.0 {
            Form::Large(large) => return large.change(member, decide),
            Form::Packed(packed) => {
                let fits =
                    packed.len() < limits.listpack_entries && member.len() <= limits.listpack_value;
                if fits || packed.score(member).is_some() {
                    return packed.change(member, decide);
                }
            }
        }
        let score = decide(None)?;
        self.enlarge().change(member, |_| Some(score))
    }

    /// Gets ready for so many members, of which the longest has so many bytes.
    pub fn prepare(&mut self, members: usize, longest: usize, limits: &Limits) {
        let fits = members <= limits.listpack_entries && longest <= limits.listpack_value;
        if !fits {
            self.enlarge();
        }
    }

    /// Makes it large if it is not.
    fn enlarge(&mut self) -> &mut Large {
        if let Form::Packed(packed) = &self.0 {
            let mut large = Box::<Large>::default();
            packed.iter().for_each(|(member, score)| large.push(&member, score));
            self.0 = Form::Large(large);
        }
        match &mut self.0 {
            Form::Large(large) => large,
            Form::Packed(_) => unreachable!("it was made large"),
        }
    }

    /// Removes a member; its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match &mut self.0 {
            Form::Packed(packed) => packed.remove(member),
            Form::Large(large) => large.remove(member),
        }
    }

    /// Removes members by their numbers in order.
    pub fn remove_ranks(&mut self, ranks: Range<usize>) {
        assert!(ranks.end <= self.len());
        match &mut self.0 {
            Form::Packed(packed) => packed.remove_ranks(ranks),
            Form::Large(large) => large.remove_ranks(ranks),
        }
    }

    /// Removes up to so many members at an end, from the end on.
    #[inline]
    pub fn pop(&mut self, end: End, count: usize, each: impl FnMut(Item<'_>, f64)) {
        match &mut self.0 {
            Form::Packed(packed) => packed.pop(end, count, each),
            Form::Large(large) => large.pop(end, count, each),
        }
    }

    /// How many members come before this one.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        self.rank_and_score(member).map(|(rank, _)| rank)
    }

    /// The same with the member's score.
    pub fn rank_and_score(&self, member: &[u8]) -> Option<(usize, f64)> {
        match &self.0 {
            Form::Packed(packed) => packed.rank_and_score(member),
            Form::Large(large) => large.rank_and_score(member),
        }
    }

    /// How many members come before all that are not `is_before`, which is true for the first ones
    /// in order and false for the rest. O(log n).
    pub fn rank_where(&self, is_before: impl Fn(f64, Item<'_>) -> bool) -> usize {
        match &self.0 {
            Form::Packed(packed) => packed.rank_where(is_before),
            Form::Large(large) => large.rank_where(is_before),
        }
    }

    /// The members with scores inside of the range, by their numbers in order.
    pub fn ranks_by_score(&self, range: &ScoreRange) -> Range<usize> {
        if range.is_empty() {
            return 0..0;
        }
        match &self.0 {
            Form::Packed(packed) => {
                let start = packed.rank_where(|score, _| range.is_below(score));
                start..packed.rank_where(|score, _| !range.is_above(score))
            }
            Form::Large(large) => large.ranks_by_score(range),
        }
    }

    /// The members with texts inside of the range, by their numbers in order. Whether they are
    /// wanted backwards makes a difference only where scores differ, which has no meaning.
    pub fn ranks_by_lex(&self, range: &LexRange<'_>, is_reverse: bool) -> Range<usize> {
        if range.is_empty() {
            return 0..0;
        }
        match &self.0 {
            Form::Packed(packed) => packed.ranks_by_lex(range, is_reverse),
            Form::Large(large) => large.ranks_by_lex(range),
        }
    }

    /// The members from number `rank` on, with their scores.
    #[inline]
    pub fn iter_from(&self, rank: usize) -> impl Iterator<Item = (Item<'_>, f64)> {
        match &self.0 {
            Form::Packed(packed) => Either::One(packed.iter().skip(rank)),
            Form::Large(large) => Either::Other(large.iter_from(rank)),
        }
    }

    /// The members from number `rank` on towards the first, with their scores.
    #[inline]
    pub fn iter_back_from(&self, rank: usize) -> impl Iterator<Item = (Item<'_>, f64)> {
        match &self.0 {
            Form::Packed(packed) => Either::One(packed.reversed(rank.saturating_add(1))),
            Form::Large(large) => Either::Other(large.iter_back_from(rank)),
        }
    }

    /// A part of a walk over all members: about so many from the cursor on, which is 0 at first.
    /// The next cursor; 0 at the end. Whoever is there all the time is met.
    pub fn scan(&self, cursor: u64, count: usize, mut each: impl FnMut(Item<'_>, f64)) -> u64 {
        match &self.0 {
            Form::Packed(packed) => {
                packed.iter().for_each(|(member, score)| each(member, score));
                0
            }
            Form::Large(large) => large.scan(cursor, count, each),
        }
    }
}

impl Container for SortedSet {
    const KIND: Kind = Kind::SortedSet;

    fn len(&self) -> usize {
        SortedSet::len(self)
    }

    fn encoding(&self) -> &'static str {
        if self.is_packed() { "listpack" } else { "skiplist" }
    }

    fn memory_bytes(&self, samples: usize) -> usize {
        match &self.0 {
            Form::Packed(packed) => packed.memory_bytes(),
            Form::Large(large) => large.memory_bytes(samples),
        }
    }

    fn free_step(&mut self) -> bool {
        match &mut self.0 {
            Form::Packed(_) => true,
            Form::Large(large) => large.free_step(),
        }
    }

    fn check(&self) {
        match &self.0 {
            Form::Packed(packed) => packed.check(),
            Form::Large(large) => large.check(),
        }
    }

    container_object!(SortedSet);
}

#[cfg(test)]
mod tests;
