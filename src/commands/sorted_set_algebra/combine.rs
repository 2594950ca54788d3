//! Combines the members of several sets and aggregates their scores.

use crate::base::hash::hash_of;
use crate::keyspace::{Key, Slice};
use crate::value::Item;
use crate::value::set::Set;
use crate::value::sorted_set::SortedSet;
use crate::value::string::IntText;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};

/// Members with their scores, in the order of a sorted set. They borrow from the source sets.
pub(super) type Combined<'s> = Vec<(Item<'s>, f64)>;

/// Function that combines the scores of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    /// Parses SUM, MIN or MAX; returns `None` for anything else.
    pub(super) fn of(arg: &[u8]) -> Option<Aggregate> {
        let names =
            [(&b"SUM"[..], Aggregate::Sum), (b"MIN", Aggregate::Min), (b"MAX", Aggregate::Max)];
        let found = names.into_iter().find(|(name, _)| arg.eq_ignore_ascii_case(name));
        found.map(|(_, aggregate)| aggregate)
    }

    #[inline]
    fn apply(self, score: f64, other: f64) -> f64 {
        match self {
            // Opposite infinities add up to NaN, which counts as 0.
            Aggregate::Sum => number(score + other),
            Aggregate::Min if other < score => other,
            Aggregate::Max if other > score => other,
            Aggregate::Min | Aggregate::Max => score,
        }
    }
}

/// Replaces NaN by 0.
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// A source set and the weight of its scores.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'s> {
    members: Members<'s>,
    weight: f64,
}

#[derive(Clone, Copy, Debug)]
enum Members<'s> {
    /// The key is missing.
    None,
    /// A set; each member has the score 1.
    Plain(&'s Set),
    Sorted(&'s SortedSet),
}

impl<'s> Source<'s> {
    /// Borrows the value of a key that the command has just looked up.
    pub(super) fn held(slice: &'s Slice, db: usize, key: &Key<'_>, weight: f64) -> Source<'s> {
        let sorted = slice.held(db, key).map(Members::Sorted);
        let members = sorted.or_else(|| slice.held(db, key).map(Members::Plain));
        Source { members: members.unwrap_or(Members::None), weight }
    }

    fn len(&self) -> usize {
        match self.members {
            Members::None => 0,
            Members::Plain(set) => set.len(),
            Members::Sorted(set) => set.len(),
        }
    }

    /// Returns whether both are the value of the same key, or both keys are missing.
    fn is_same(&self, other: &Source<'_>) -> bool {
        match (self.members, other.members) {
            (Members::None, Members::None) => true,
            (Members::Plain(one), Members::Plain(other)) => std::ptr::eq(one, other),
            (Members::Sorted(one), Members::Sorted(other)) => std::ptr::eq(one, other),
            _ => false,
        }
    }

    /// Returns the score of a member, without the weight.
    #[inline]
    fn score(&self, member: &Item<'_>) -> Option<f64> {
        match self.members {
            Members::None => None,
            Members::Plain(set) => set.contains_item(member).then_some(1.0),
            Members::Sorted(set) => set.score(member.text(&mut IntText::new())),
        }
    }

    /// Calls `show` with each member and its score, without the weight. Stops when `show` returns
    /// false.
    fn show_all(&self, mut show: impl FnMut(Item<'s>, f64) -> bool) {
        let _ = match self.members {
            Members::None => true,
            Members::Plain(set) => set.iter().all(|member| show(member, 1.0)),
            Members::Sorted(set) => set.iter_from(0).all(|(member, score)| show(member, score)),
        };
    }
}

/// A member as a hash table key. An integer and its text are the same key.
#[derive(PartialEq, Eq)]
struct Name<'s>(Item<'s>);

impl<'s> Name<'s> {
    fn of(member: Item<'s>) -> Name<'s> {
        match member {
            Item::Bytes(text) => Name(Item::of(text)),
            number => Name(number),
        }
    }
}

impl Hash for Name<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.0 {
            Item::Int(number) => state.write_i64(number),
            Item::Bytes(text) => state.write(text),
        }
    }
}

/// Compares by score; equal scores compare by text.
fn compare(one: &(Item<'_>, f64), other: &(Item<'_>, f64)) -> Ordering {
    let scores = one.1.partial_cmp(&other.1).expect("scores are numbers");
    scores.then_with(|| match (&one.0, &other.0) {
        (Item::Bytes(one), Item::Bytes(other)) => one.cmp(other),
        (one, other) => one.text(&mut IntText::new()).cmp(other.text(&mut IntText::new())),
    })
}

fn in_order(mut combined: Combined<'_>) -> Combined<'_> {
    combined.sort_unstable_by(compare);
    combined
}

/// Returns the union of the sources. Scores combine from the smallest source to the largest, as in
/// the reference server: the order of floating-point additions shows in the sum.
pub(super) fn unite<'s>(mut sources: Vec<Source<'s>>, aggregate: Aggregate) -> Combined<'s> {
    sources.sort_by_key(Source::len);
    let largest = sources.last().map_or(0, Source::len);
    // Clients cannot know the seed of the hash, so they cannot choose colliding members.
    let hasher = ahash::RandomState::with_seed(hash_of(b"union") as usize);
    let mut scores = HashMap::with_capacity_and_hasher(largest, hasher);
    for source in &sources {
        source.show_all(|member, score| {
            let score = number(source.weight * score);
            let entry = scores.entry(Name::of(member));
            entry.and_modify(|sum| *sum = aggregate.apply(*sum, score)).or_insert(score);
            true
        });
    }
    in_order(scores.into_iter().map(|(name, score)| (name.0, score)).collect())
}

/// Calls `show` with each member that all sources contain, and its combined score. Stops when
/// `show` returns false.
fn show_common<'s>(
    mut sources: Vec<Source<'s>>,
    aggregate: Aggregate,
    mut show: impl FnMut(Item<'s>, f64) -> bool,
) {
    sources.sort_by_key(Source::len);
    let (first, others) = sources.split_first().expect("at least one key is given");
    first.show_all(|member, own| {
        let mut sum = number(first.weight * own);
        for other in others {
            let found = if other.is_same(first) { Some(own) } else { other.score(&member) };
            let Some(score) = found else { return true };
            sum = aggregate.apply(sum, score * other.weight);
        }
        show(member, sum)
    });
}

/// Returns the intersection of the sources.
pub(super) fn intersect(sources: Vec<Source<'_>>, aggregate: Aggregate) -> Combined<'_> {
    let mut combined = Vec::new();
    show_common(sources, aggregate, |member, score| {
        combined.push((member, score));
        true
    });
    in_order(combined)
}

/// Counts the members that all sources contain, up to `limit`; 0 means no limit.
pub(super) fn count(sources: Vec<Source<'_>>, limit: u64) -> u64 {
    let mut count = 0;
    show_common(sources, Aggregate::Sum, |_, _| {
        count += 1;
        count != limit
    });
    count
}

/// Returns the members of the first source that no other source contains.
pub(super) fn subtract<'s>(sources: &[Source<'s>]) -> Combined<'s> {
    let (first, others) = sources.split_first().expect("at least one key is given");
    let mut combined = Vec::new();
    if others.iter().any(|other| other.is_same(first)) {
        return combined;
    }
    first.show_all(|member, score| {
        if others.iter().all(|other| other.score(&member).is_none()) {
            combined.push((member, score));
        }
        true
    });
    in_order(combined)
}
