//! Sorted sets: members ordered by score.
//!
//! ```text
//!   Packed   few short members: one block, read from the front           OBJECT ENCODING listpack
//!   Large    a tree of leaves in order, and an index to the leaves       OBJECT ENCODING skiplist
//! ```
//!
//! A large sorted set stays large, as in the reference server. OBJECT ENCODING shows the reference
//! server's names of the forms.

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

/// Unique members in ascending order of score, then of text.
///
/// No score is NaN. Positive and negative zero are equal. The large form keeps the sign of a zero;
/// the packed form does not.
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

/// The size limits of the packed form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most members.
    pub listpack_entries: usize,
    /// Most bytes of a member.
    pub listpack_value: usize,
}

/// Effect of setting the score of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The member is new.
    New,
    /// The score changed.
    Moved,
    /// The score was already equal.
    Same,
}

/// An end of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The end with the lowest score.
    Min,
    /// The end with the highest score.
    Max,
}

/// One of two iterators with the same item type.
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
    /// Returns the number of members.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Packed(packed) => packed.len(),
            Form::Large(large) => large.len(),
        }
    }

    /// Returns whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether the set has the packed form.
    pub fn is_packed(&self) -> bool {
        matches!(self.0, Form::Packed(_))
    }

    /// Returns the score of a member.
    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.0 {
            Form::Packed(packed) => packed.score(member),
            Form::Large(large) => large.score(member),
        }
    }

    /// Sets the score of a member, and adds the member if it is new. The score must not be NaN.
    pub fn put(&mut self, member: &[u8], score: f64, limits: &Limits) -> Put {
        self.change(member, limits, |_| Some(score)).expect("`decide` returned a score")
    }

    /// Sets the score of a member to the result of `decide`, which receives the old score. A new
    /// member is added. If `decide` returns none, changes nothing and returns none.
    #[inline]
    pub fn change(
        &mut self,
        member: &[u8],
        limits: &Limits,
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Option<Put> {
        let decide = |old| {
            let score: Option<f64> = decide(old);
            assert!(!score.is_some_and(f64::is_nan), "a score is not NaN");
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

    /// Converts to the large form if `members` members, or a member of `longest` bytes, exceed the
    /// limits.
    pub fn prepare(&mut self, members: usize, longest: usize, limits: &Limits) {
        let fits = members <= limits.listpack_entries && longest <= limits.listpack_value;
        if !fits {
            self.enlarge();
        }
    }

    /// Converts to the large form if needed, and returns it.
    fn enlarge(&mut self) -> &mut Large {
        if let Form::Packed(packed) = &self.0 {
            let mut large = Box::<Large>::default();
            packed.iter().for_each(|(member, score)| large.push(&member, score));
            self.0 = Form::Large(large);
        }
        match &mut self.0 {
            Form::Large(large) => large,
            Form::Packed(_) => unreachable!("the set has just become large"),
        }
    }

    /// Removes a member and returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match &mut self.0 {
            Form::Packed(packed) => packed.remove(member),
            Form::Large(large) => large.remove(member),
        }
    }

    /// Removes the members with these ranks.
    pub fn remove_ranks(&mut self, ranks: Range<usize>) {
        assert!(ranks.end <= self.len());
        match &mut self.0 {
            Form::Packed(packed) => packed.remove_ranks(ranks),
            Form::Large(large) => large.remove_ranks(ranks),
        }
    }

    /// Removes up to `count` members at an end, from the end inwards. Passes each to `each`.
    #[inline]
    pub fn pop(&mut self, end: End, count: usize, each: impl FnMut(Item<'_>, f64)) {
        match &mut self.0 {
            Form::Packed(packed) => packed.pop(end, count, each),
            Form::Large(large) => large.pop(end, count, each),
        }
    }

    /// Returns the rank of a member: the number of members before it.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        self.rank_and_score(member).map(|(rank, _)| rank)
    }

    /// Returns the rank and the score of a member.
    pub fn rank_and_score(&self, member: &[u8]) -> Option<(usize, f64)> {
        match &self.0 {
            Form::Packed(packed) => packed.rank_and_score(member),
            Form::Large(large) => large.rank_and_score(member),
        }
    }

    /// Returns the number of members for which `is_before` holds. It must hold for a prefix of the
    /// order and for no other member. O(log n) in the large form.
    pub fn rank_where(&self, is_before: impl Fn(f64, Item<'_>) -> bool) -> usize {
        match &self.0 {
            Form::Packed(packed) => packed.rank_where(is_before),
            Form::Large(large) => large.rank_where(is_before),
        }
    }

    /// Returns the ranks of the members whose scores lie in the range.
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

    /// Returns the ranks of the members whose texts lie in the range. All scores should be equal.
    /// If they differ, the result is unspecified and may depend on `is_reverse`, as in the
    /// reference server.
    pub fn ranks_by_lex(&self, range: &LexRange<'_>, is_reverse: bool) -> Range<usize> {
        if range.is_empty() {
            return 0..0;
        }
        match &self.0 {
            Form::Packed(packed) => packed.ranks_by_lex(range, is_reverse),
            Form::Large(large) => large.ranks_by_lex(range),
        }
    }

    /// Iterates over members and scores in ascending order, from `rank` on.
    #[inline]
    pub fn iter_from(&self, rank: usize) -> impl Iterator<Item = (Item<'_>, f64)> {
        match &self.0 {
            Form::Packed(packed) => Either::One(packed.iter().skip(rank)),
            Form::Large(large) => Either::Other(large.iter_from(rank)),
        }
    }

    /// Iterates over members and scores in descending order, from `rank` on.
    #[inline]
    pub fn iter_back_from(&self, rank: usize) -> impl Iterator<Item = (Item<'_>, f64)> {
        match &self.0 {
            Form::Packed(packed) => Either::One(packed.reversed(rank.saturating_add(1))),
            Form::Large(large) => Either::Other(large.iter_back_from(rank)),
        }
    }

    /// Passes about `count` members from the cursor on to `each`. Returns the next cursor; 0 at the
    /// end. A scan starts with cursor 0 and visits every member that is present throughout.
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
