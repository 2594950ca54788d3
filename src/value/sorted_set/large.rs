//! The form for many members: a tree in member order, and an index from members to leaves.
//!
//! ```text
//!   member --hash--> index --leaf--> tags, then the member itself --> its score; up: its rank
//!   score, rank ---------- tree, down --------> leaf
//! ```
//!
//! Only the leaves store members. A member of 15 bytes takes about 40 bytes in all, with its score.

use super::index::Index;
use super::ranges::{LexRange, ScoreRange};
use super::tree::{Entry, Place, Tree, hash_of};
use super::{End, Put};
use crate::value::pack::Item;
use crate::value::string::IntText;
use std::ops::Range;

/// Blocks that one step frees. Each block may be two allocations, far apart in memory.
const FREED_PER_STEP: usize = 128;

/// Many members in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Large {
    tree: Tree,
    index: Index,
}

impl Large {
    /// Returns the number of members.
    pub(super) fn len(&self) -> usize {
        self.tree.len()
    }

    #[inline]
    fn locate(&self, hash: u32, item: &Item<'_>) -> Option<Place> {
        self.index
            .find(hash, |leaf| self.tree.leaf(leaf).find(hash, item).map(|at| Place { leaf, at }))
    }

    fn score_at(&self, place: Place) -> f64 {
        self.tree.leaf(place.leaf).scores()[place.at]
    }

    /// Returns the score of a member.
    #[inline]
    pub(super) fn score(&self, member: &[u8]) -> Option<f64> {
        let place = self.locate(hash_of(member), &Item::of(member))?;
        Some(self.score_at(place))
    }

    /// Returns the rank and the score of a member.
    pub(super) fn rank_and_score(&self, member: &[u8]) -> Option<(usize, f64)> {
        let place = self.locate(hash_of(member), &Item::of(member))?;
        Some((self.tree.rank(place), self.score_at(place)))
    }

    /// Sets the score of a member to the result of `decide`. See [`super::SortedSet::change`].
    #[inline]
    pub(super) fn change(
        &mut self,
        member: &[u8],
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Option<Put> {
        let (hash, item) = (hash_of(member), Item::of(member));
        let Some(place) = self.locate(hash, &item) else {
            let score = decide(None)?;
            self.insert(&Entry { score, text: member, item, hash });
            return Some(Put::New);
        };
        let old = self.score_at(place);
        let score = decide(Some(old))?;
        if score == old {
            return Some(Put::Same);
        }
        if !self.tree.rescore(place, score) {
            self.index.remove(hash, place.leaf);
            self.tree.remove(place.leaf, place.at..place.at + 1, &mut self.index);
            self.insert(&Entry { score, text: member, item, hash });
        }
        Some(Put::Moved)
    }

    fn insert(&mut self, entry: &Entry<'_>) {
        let leaf = self.tree.insert(entry, &mut self.index);
        self.index.insert(entry.hash, leaf);
    }

    /// Appends a member, which must come after all others.
    pub(super) fn push(&mut self, item: &Item<'_>, score: f64) {
        let mut buffer = IntText::new();
        let text = item.text(&mut buffer);
        self.insert(&Entry { score, text, item: *item, hash: hash_of(text) });
    }

    /// Removes a member and returns its score.
    pub(super) fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let hash = hash_of(member);
        let place = self.locate(hash, &Item::of(member))?;
        let score = self.score_at(place);
        self.index.remove(hash, place.leaf);
        self.tree.remove(place.leaf, place.at..place.at + 1, &mut self.index);
        Some(score)
    }

    /// Removes a range of members of one leaf.
    fn remove_run(&mut self, leaf: u32, range: Range<usize>) {
        let mut text = IntText::new();
        for at in range.clone() {
            let hash = hash_of(self.tree.leaf(leaf).item(at).text(&mut text));
            self.index.remove(hash, leaf);
        }
        self.tree.remove(leaf, range, &mut self.index);
    }

    /// Removes the members with these ranks, leaf by leaf.
    pub(super) fn remove_ranks(&mut self, ranks: Range<usize>) {
        let mut left = ranks.len();
        while left > 0 {
            let place = self.tree.select(ranks.start);
            let end = self.tree.leaf(place.leaf).len().min(place.at + left);
            self.remove_run(place.leaf, place.at..end);
            left -= end - place.at;
        }
    }

    /// Removes up to `count` members at an end. See [`super::SortedSet::pop`].
    #[inline]
    pub(super) fn pop(&mut self, end: End, count: usize, mut each: impl FnMut(Item<'_>, f64)) {
        let mut left = count.min(self.len());
        while left > 0 {
            let id = match end {
                End::Min => self.tree.first(),
                End::Max => self.tree.last(),
            };
            let leaf = self.tree.leaf(id);
            let taken = leaf.len().min(left);
            let range = match end {
                End::Min => 0..taken,
                End::Max => leaf.len() - taken..leaf.len(),
            };
            for step in 0..taken {
                let at = match end {
                    End::Min => step,
                    End::Max => leaf.len() - 1 - step,
                };
                each(leaf.item(at), leaf.scores()[at]);
            }
            self.remove_run(id, range);
            left -= taken;
        }
    }

    /// Returns the number of members for which `is_before` holds. See
    /// [`super::SortedSet::rank_where`].
    pub(super) fn rank_where(&self, is_before: impl Fn(f64, Item<'_>) -> bool) -> usize {
        self.tree
            .partition(|score, tree, place| is_before(score, tree.leaf(place.leaf).item(place.at)))
    }

    /// Returns the ranks of the members in a score range. See [`super::SortedSet::ranks_by_score`].
    pub(super) fn ranks_by_score(&self, range: &ScoreRange) -> Range<usize> {
        let start = self.tree.partition(|score, _, _| range.is_below(score));
        start..self.tree.partition(|score, _, _| !range.is_above(score))
    }

    /// Returns the ranks of the members in a text range. See [`super::SortedSet::ranks_by_lex`].
    pub(super) fn ranks_by_lex(&self, range: &LexRange<'_>) -> Range<usize> {
        let start = self.rank_where(|_, member| range.is_below(&member));
        // If scores differ, members are not in text order. The result is then unspecified, but a
        // valid range.
        start..self.rank_where(|_, member| !range.is_above(&member)).max(start)
    }

    /// Iterates over the members in ascending order, from `rank` on.
    #[inline]
    pub(super) fn iter_from(&self, rank: usize) -> Walk<'_> {
        if rank >= self.len() {
            return Walk { tree: &self.tree, leaf: 0, at: 0 };
        }
        let place = self.tree.select(rank);
        Walk { tree: &self.tree, leaf: place.leaf, at: place.at }
    }

    /// Iterates over the members in descending order, from `rank` on.
    #[inline]
    pub(super) fn iter_back_from(&self, rank: usize) -> WalkBack<'_> {
        if self.len() == 0 {
            return WalkBack { tree: &self.tree, leaf: 0, left: 0 };
        }
        let place = self.tree.select(rank.min(self.len() - 1));
        WalkBack { tree: &self.tree, leaf: place.leaf, left: place.at + 1 }
    }

    /// Passes about `count` members to `each`. See [`super::SortedSet::scan`].
    pub(super) fn scan(
        &self,
        cursor: u64,
        count: usize,
        mut each: impl FnMut(Item<'_>, f64),
    ) -> u64 {
        self.index.scan(cursor, count, |hash, leaf| {
            let leaf = self.tree.leaf(leaf);
            for at in leaf.candidates(hash) {
                let item = leaf.item(at);
                if hash_of(item.text(&mut IntText::new())) == hash {
                    each(item, leaf.scores()[at]);
                }
            }
        })
    }

    /// Returns the bytes of memory, estimated from `samples` leaves; 0 counts all.
    pub(super) fn memory_bytes(&self, samples: usize) -> usize {
        size_of::<Large>() + self.tree.memory_bytes(samples) + self.index.memory_bytes()
    }

    /// Frees some blocks. Returns true when nothing is left.
    pub(super) fn free_step(&mut self) -> bool {
        let is_left = self.tree.free_some(FREED_PER_STEP) || self.index.free_some(FREED_PER_STEP);
        !is_left
    }

    /// Asserts the invariants of the tree and the index.
    pub(super) fn check(&self) {
        self.index.check(self.tree.check().into_iter());
    }
}

/// Iterator over members in ascending order.
#[derive(Clone, Debug)]
pub(super) struct Walk<'a> {
    tree: &'a Tree,
    /// The current leaf; 0 at the end.
    leaf: u32,
    at: usize,
}

impl<'a> Iterator for Walk<'a> {
    type Item = (Item<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<(Item<'a>, f64)> {
        if self.leaf == 0 {
            return None;
        }
        let leaf = self.tree.leaf(self.leaf);
        let score = *leaf.scores().get(self.at)?;
        let found = (leaf.item(self.at), score);
        self.at += 1;
        if self.at == leaf.len() {
            (self.leaf, self.at) = (leaf.next, 0);
        }
        Some(found)
    }
}

/// Iterator over members in descending order.
#[derive(Clone, Debug)]
pub(super) struct WalkBack<'a> {
    tree: &'a Tree,
    /// The current leaf; 0 at the end.
    leaf: u32,
    /// Members of the leaf that are left.
    left: usize,
}

impl<'a> Iterator for WalkBack<'a> {
    type Item = (Item<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<(Item<'a>, f64)> {
        if self.leaf == 0 {
            return None;
        }
        let leaf = self.tree.leaf(self.leaf);
        self.left -= 1;
        let found = (leaf.item(self.left), leaf.scores()[self.left]);
        if self.left == 0 {
            self.leaf = leaf.prev;
            self.left = if leaf.prev == 0 { 0 } else { self.tree.leaf(leaf.prev).len() };
        }
        Some(found)
    }
}
