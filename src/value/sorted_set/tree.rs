//! Members in order: a B+ tree that counts the members below each node. Hot; bench `sorted_set`.
//!
//! ```text
//!             [ 90 members | 70 members ]              nodes: up to 48 children
//!              |            |
//!   [ 40 | 50 ]            [ 64 | 6 ]
//!     |    |                 |    |
//!   leaf <-> leaf <-------> leaf <-> leaf              up to 64 members each, linked
//! ```
//!
//! A node stores the lowest score below each child and the leaf that contains it. So a descent
//! reads leaves only where scores are equal. Every block stores its parent, so a member whose leaf
//! is known needs no descent. An insertion at either end of the tree never splits a full leaf.
//! Therefore ascending or descending insertions fill all leaves.

use super::arena::Arena;
use super::index::Index;
use super::leaf::Leaf;
use super::node::{Child, Node};
use crate::base::hash;
use crate::value::pack::{self, Item};
use crate::value::string::IntText;
use std::ops::Range;

/// Returns the part of a member's hash that the index and the leaves use.
#[inline]
pub(super) fn hash_of(text: &[u8]) -> u32 {
    hash::hash_of(text) as u32
}

/// Returns the hash of a member in a leaf.
#[inline]
fn hash_at(leaf: &Leaf, at: usize) -> u32 {
    hash_of(leaf.item(at).text(&mut IntText::new()))
}

/// A member to insert.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) score: f64,
    pub(super) text: &'a [u8],
    pub(super) item: Item<'a>,
    pub(super) hash: u32,
}

/// Location of a member: the leaf, and the index in the leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) leaf: u32,
    pub(super) at: usize,
}

/// Members in order. Reports members that move between leaves to the index.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    leaves: Arena<Leaf>,
    nodes: Arena<Node>,
    /// The block without parent: a node, or the only leaf if `height` is 0.
    root: u32,
    height: u8,
    first: u32,
    last: u32,
    len: usize,
}

impl Default for Tree {
    fn default() -> Tree {
        let mut leaves = Arena::default();
        let root = leaves.add(Box::new(Leaf::default()));
        Tree { leaves, nodes: Arena::default(), root, height: 0, first: root, last: root, len: 0 }
    }
}

impl Tree {
    /// Returns the number of members.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns a leaf by its id.
    #[inline]
    pub(super) fn leaf(&self, id: u32) -> &Leaf {
        self.leaves.get(id)
    }

    /// Returns the id of the first leaf.
    pub(super) fn first(&self) -> u32 {
        self.first
    }

    /// Returns the id of the last leaf.
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    /// Returns where a new member belongs.
    fn place_for(&self, score: f64, text: &[u8]) -> Place {
        let mut id = self.root;
        for _ in 0..self.height {
            let node = self.nodes.get(id);
            let scores = node.scores();
            let low = scores.partition_point(|other| *other < score);
            let mut range = low..low + scores[low..].partition_point(|other| *other <= score);
            while !range.is_empty() {
                let middle = range.start + range.len() / 2;
                let first = self.leaf(node.firsts()[middle]).item(0);
                if first.text(&mut IntText::new()) < text {
                    range.start = middle + 1;
                } else {
                    range.end = middle;
                }
            }
            id = node.ids()[range.start.saturating_sub(1)];
        }
        Place { leaf: id, at: self.leaf(id).position(score, text) }
    }

    /// Inserts a new member and returns the id of its leaf. The member itself must be added to the
    /// index separately.
    pub(super) fn insert(&mut self, entry: &Entry<'_>, index: &mut Index) -> u32 {
        let mut place = self.place_for(entry.score, entry.text);
        let size = pack::size(&entry.item);
        while !self.leaf(place.leaf).has_room(size) {
            place = self.make_room(place, index);
        }
        let leaf = self.leaves.get_mut(place.leaf);
        leaf.insert(place.at, entry.score, entry.hash, &entry.item);
        let parent = leaf.parent;
        self.len += 1;
        self.count_up(place.leaf, parent, 1, place.at == 0);
        place.leaf
    }

    /// Splits a leaf, or adds an empty leaf beside it. Returns where the member at `place` belongs
    /// now.
    fn make_room(&mut self, place: Place, index: &mut Index) -> Place {
        let Place { leaf: id, at } = place;
        let len = self.leaf(id).len();
        if (at == len && id == self.last) || (at == 0 && id == self.first) {
            let leaf = self.add_leaf(id, at == len, Box::new(Leaf::default()));
            return Place { leaf, at: 0 };
        }
        if len == 1 {
            // A long member fills the leaf alone: the new member gets its own leaf, before or after
            // it.
            let leaf = self.add_leaf(id, at == 1, Box::new(Leaf::default()));
            return Place { leaf, at: 0 };
        }
        let mut tail = Box::new(Leaf::default());
        let leaf = self.leaves.get_mut(id);
        let middle = leaf.middle();
        leaf.move_tail(middle, &mut tail);
        let added = self.add_leaf(id, true, tail);
        let tail = self.leaves.get(added);
        for at in 0..tail.len() {
            index.relocate(hash_at(tail, at), id, added);
        }
        if at <= middle { place } else { Place { leaf: added, at: at - middle } }
    }

    /// Adds a leaf after another leaf, or before it. The ancestors of an empty leaf get its summary
    /// when it receives its first member.
    fn add_leaf(&mut self, beside: u32, is_behind: bool, leaf: Box<Leaf>) -> u32 {
        let added = self.leaves.add(leaf);
        let other = self.leaves.get_mut(beside);
        let (parent, prev, next) = if is_behind {
            let next = std::mem::replace(&mut other.next, added);
            (other.parent, beside, next)
        } else {
            let prev = std::mem::replace(&mut other.prev, added);
            (other.parent, prev, beside)
        };
        let leaf = self.leaves.get_mut(added);
        (leaf.prev, leaf.next) = (prev, next);
        match prev {
            0 => self.first = added,
            prev => self.leaves.get_mut(prev).next = added,
        }
        match next {
            0 => self.last = added,
            next => self.leaves.get_mut(next).prev = added,
        }
        self.add_child(parent, beside, is_behind, added, 0);
        added
    }

    /// Returns the summary of a block for its parent. An empty leaf gets the lowest score, negative
    /// infinity.
    fn summary(&self, id: u32, height: u8) -> Child {
        if height > 0 {
            return self.nodes.get(id).summary(id);
        }
        let leaf = self.leaf(id);
        let score = leaf.scores().first().copied().unwrap_or(f64::NEG_INFINITY);
        Child { id, count: leaf.len() as u32, first: id, score }
    }

    fn put_parent(&mut self, id: u32, height: u8, parent: u32) {
        if height > 0 {
            self.nodes.get_mut(id).parent = parent;
        } else {
            self.leaves.get_mut(id).parent = parent;
        }
    }

    /// Adds a block to `parent`, beside another child; both have this height. Refreshes the
    /// summaries of both.
    fn add_child(&mut self, parent: u32, beside: u32, is_behind: bool, added: u32, height: u8) {
        let child = self.summary(added, height);
        if parent == 0 {
            let mut node = Node::new(height + 1);
            node.insert(0, self.summary(beside, height));
            node.insert(usize::from(is_behind), child);
            self.root = self.nodes.add(Box::new(node));
            self.height += 1;
            self.put_parent(beside, height, self.root);
            self.put_parent(added, height, self.root);
            return;
        }
        let beside = self.summary(beside, height);
        let node = self.nodes.get_mut(parent);
        let place = node.place_of(beside.id);
        node.put(place, beside);
        let at = place + usize::from(is_behind);
        if node.has_room() {
            node.insert(at, child);
            self.put_parent(added, height, parent);
            self.refresh(parent);
            return;
        }
        let len = node.len();
        let above = node.parent;
        // At the end of a level a full node stays full.
        let cut = if at == len { len } else { len / 2 };
        let mut tail = Box::new(Node::new(height + 1));
        node.move_tail(cut, &mut tail);
        let goes_to_tail = at > cut || at == len;
        if !goes_to_tail {
            node.insert(at, child);
        } else {
            tail.insert(at - cut, child);
        }
        let moved: Vec<u32> = tail.ids().to_vec();
        let tail = self.nodes.add(tail);
        if !goes_to_tail {
            self.put_parent(added, height, parent);
        }
        moved.into_iter().for_each(|id| self.put_parent(id, height, tail));
        self.add_child(above, parent, true, tail, height + 1);
    }

    /// Refreshes the summaries in all ancestors of a node.
    fn refresh(&mut self, mut id: u32) {
        loop {
            let node = self.nodes.get(id);
            let parent = node.parent;
            if parent == 0 {
                return;
            }
            let summary = node.summary(id);
            let above = self.nodes.get_mut(parent);
            above.put(above.place_of(id), summary);
            id = parent;
        }
    }

    /// Adds `more` to the member counts of all ancestors of a leaf. With `has_new_first`, also
    /// updates the first member.
    #[inline]
    fn count_up(&mut self, leaf: u32, mut parent: u32, more: i64, mut has_new_first: bool) {
        let mut id = leaf;
        while parent != 0 {
            let score = if has_new_first { self.leaf(leaf).scores()[0] } else { 0.0 };
            let node = self.nodes.get_mut(parent);
            let at = node.place_of(id);
            node.add_to_count(at, more);
            if has_new_first {
                node.put_first(at, leaf, score);
                has_new_first = at == 0;
            }
            id = parent;
            parent = node.parent;
        }
    }

    /// Changes the score of a member if its position does not change. Returns false if it would.
    pub(super) fn rescore(&mut self, place: Place, score: f64) -> bool {
        let Place { leaf, at } = place;
        let leaf = self.leaves.get_mut(leaf);
        let scores = leaf.scores();
        let is_inside = at > 0 && at + 1 < scores.len();
        let stays = is_inside && scores[at - 1] < score && score < scores[at + 1];
        if stays {
            leaf.put_score(at, score);
        }
        stays
    }

    /// Removes members of one leaf. They must already be removed from the index.
    pub(super) fn remove(&mut self, id: u32, range: Range<usize>, index: &mut Index) {
        let leaf = self.leaves.get_mut(id);
        let has_new_first = range.start == 0;
        let removed = range.len();
        let parent = leaf.parent;
        leaf.remove(range);
        let (len, is_sparse) = (leaf.len(), leaf.is_sparse());
        self.len -= removed;
        if parent == 0 {
            return;
        }
        if len == 0 {
            self.remove_leaf(id);
            return;
        }
        self.count_up(id, parent, -(removed as i64), has_new_first);
        if is_sparse {
            self.merge_leaf(id, parent, index);
        }
    }

    /// Merges a sparse leaf with a neighbour, if both fit into one.
    fn merge_leaf(&mut self, id: u32, parent: u32, index: &mut Index) {
        let node = self.nodes.get(parent);
        let at = node.place_of(id);
        let fits = |left: usize, right: usize| {
            let [left, right] = [left, right].map(|at| self.leaf(node.ids()[at]));
            left.fits_with(right)
        };
        let at = if at + 1 < node.len() && fits(at, at + 1) {
            at
        } else if at > 0 && fits(at - 1, at) {
            at - 1
        } else {
            return;
        };
        let (left, right) = (node.ids()[at], node.ids()[at + 1]);
        let moved = self.leaves.lend(right);
        for at in 0..moved.len() {
            index.relocate(hash_at(&moved, at), right, left);
        }
        self.leaves.get_mut(left).append(&moved);
        self.leaves.give_back(right, moved);
        let summary = self.summary(left, 0);
        self.nodes.get_mut(parent).put(at, summary);
        self.remove_leaf(right);
    }

    /// Removes a leaf whose members are gone or have moved.
    fn remove_leaf(&mut self, id: u32) {
        let leaf = self.leaves.get(id);
        let (parent, prev, next) = (leaf.parent, leaf.prev, leaf.next);
        self.leaves.remove(id);
        match prev {
            0 => self.first = next,
            prev => self.leaves.get_mut(prev).next = next,
        }
        match next {
            0 => self.last = prev,
            next => self.leaves.get_mut(next).prev = prev,
        }
        self.remove_child(parent, id);
    }

    /// Removes a child from a node, and nodes that become unnecessary.
    fn remove_child(&mut self, id: u32, child: u32) {
        let node = self.nodes.get_mut(id);
        node.remove(node.place_of(child));
        let parent = node.parent;
        match (node.len(), parent) {
            (0, 0) => unreachable!("the last leaf is never removed"),
            (0, parent) => {
                self.nodes.remove(id);
                self.remove_child(parent, id);
            }
            (1, 0) => self.lower(),
            (_, 0) => {}
            (_, parent) => {
                let is_sparse = node.is_sparse();
                self.refresh(id);
                if is_sparse {
                    self.merge_node(id, parent);
                }
            }
        }
    }

    /// Removes the root while it has only one child.
    fn lower(&mut self) {
        while self.height > 0 && self.nodes.get(self.root).len() == 1 {
            let child = self.nodes.get(self.root).ids()[0];
            self.nodes.remove(self.root);
            self.root = child;
            self.height -= 1;
            self.put_parent(child, self.height, 0);
        }
    }

    /// Merges a sparse node with a neighbour, if both fit into one.
    fn merge_node(&mut self, id: u32, parent: u32) {
        let above = self.nodes.get(parent);
        let at = above.place_of(id);
        let fits = |left: usize, right: usize| {
            let [left, right] = [left, right].map(|at| self.nodes.get(above.ids()[at]));
            left.fits_with(right)
        };
        let at = if at + 1 < above.len() && fits(at, at + 1) {
            at
        } else if at > 0 && fits(at - 1, at) {
            at - 1
        } else {
            return;
        };
        let (left, right) = (above.ids()[at], above.ids()[at + 1]);
        let mut moved = self.nodes.lend(right);
        let height = moved.height;
        for id in moved.ids() {
            self.put_parent(*id, height - 1, left);
        }
        moved.move_tail(0, self.nodes.get_mut(left));
        self.nodes.give_back(right, moved);
        self.nodes.remove(right);
        let summary = self.nodes.get(left).summary(left);
        self.nodes.get_mut(parent).put(at, summary);
        self.remove_child(parent, right);
    }

    /// Returns how many members come before a place.
    pub(super) fn rank(&self, place: Place) -> usize {
        let mut rank = place.at;
        let (mut id, mut parent) = (place.leaf, self.leaf(place.leaf).parent);
        while parent != 0 {
            let node = self.nodes.get(parent);
            let counts = &node.counts()[..node.place_of(id)];
            rank += counts.iter().map(|count| *count as usize).sum::<usize>();
            id = parent;
            parent = node.parent;
        }
        rank
    }

    /// Returns the place of the member at `rank`, which must be below the length.
    pub(super) fn select(&self, mut rank: usize) -> Place {
        assert!(rank < self.len);
        let mut id = self.root;
        for _ in 0..self.height {
            let node = self.nodes.get(id);
            let mut at = 0;
            for count in node.counts() {
                let count = *count as usize;
                if rank < count {
                    break;
                }
                rank -= count;
                at += 1;
            }
            id = node.ids()[at];
        }
        Place { leaf: id, at: rank }
    }

    /// Returns the number of leading members for which `is_before` holds. `is_before` receives a
    /// member's score and place.
    #[inline]
    pub(super) fn partition(&self, is_before: impl Fn(f64, &Tree, Place) -> bool) -> usize {
        let (mut id, mut rank) = (self.root, 0);
        for _ in 0..self.height {
            let node = self.nodes.get(id);
            let mut range = 0..node.len();
            while !range.is_empty() {
                let middle = range.start + range.len() / 2;
                let place = Place { leaf: node.firsts()[middle], at: 0 };
                if is_before(node.scores()[middle], self, place) {
                    range.start = middle + 1;
                } else {
                    range.end = middle;
                }
            }
            let at = range.start.saturating_sub(1);
            rank += node.counts()[..at].iter().map(|count| *count as usize).sum::<usize>();
            id = node.ids()[at];
        }
        let leaf = self.leaf(id);
        let mut range = 0..leaf.len();
        while !range.is_empty() {
            let middle = range.start + range.len() / 2;
            if is_before(leaf.scores()[middle], self, Place { leaf: id, at: middle }) {
                range.start = middle + 1;
            } else {
                range.end = middle;
            }
        }
        rank + range.start
    }

    /// Returns the bytes of memory, estimated from `samples` leaves; 0 counts all.
    pub(super) fn memory_bytes(&self, samples: usize) -> usize {
        let samples = if samples == 0 { usize::MAX } else { samples };
        let (mut seen, mut buffers) = (0, 0);
        for (_, leaf) in self.leaves.iter().take(samples) {
            seen += 1;
            buffers += leaf.buffer_bytes();
        }
        self.leaves.len() * size_of::<Leaf>()
            + buffers * self.leaves.len() / seen.max(1)
            + self.nodes.len() * size_of::<Node>()
            + self.leaves.table_bytes()
            + self.nodes.table_bytes()
    }

    /// Frees up to `count` blocks. Returns whether some may be left.
    pub(super) fn free_some(&mut self, count: usize) -> bool {
        self.leaves.free_some(count) || self.nodes.free_some(count)
    }

    /// Asserts the invariants of the tree. Returns the hash and the leaf of each member.
    pub(super) fn check(&self) -> Vec<(u32, u32)> {
        let mut members = Vec::new();
        if self.len == 0 {
            assert_eq!((self.height, self.leaves.len(), self.nodes.len()), (0, 1, 0));
            return members;
        }
        let mut leaves = Vec::new();
        let mut nodes = 0;
        let summary = self.check_below(self.root, self.height, 0, &mut leaves, &mut nodes);
        assert_eq!(summary.count as usize, self.len);
        assert_eq!((leaves.len(), nodes), (self.leaves.len(), self.nodes.len()));
        assert_eq!((self.first, self.last), (leaves[0], leaves[leaves.len() - 1]));
        let mut prev = 0;
        let mut before: Option<(f64, Vec<u8>)> = None;
        for (at, id) in leaves.iter().enumerate() {
            let leaf = self.leaf(*id);
            assert_eq!((leaf.prev, leaf.next), (prev, leaves.get(at + 1).copied().unwrap_or(0)));
            leaf.check(hash_of);
            prev = *id;
            let first = (leaf.scores()[0], leaf.item(0).to_vec());
            assert!(before.is_none_or(|before| before < first), "leaves are in order");
            let last = leaf.len() - 1;
            before = Some((leaf.scores()[last], leaf.item(last).to_vec()));
            members.extend((0..leaf.len()).map(|at| (hash_at(leaf, at), *id)));
        }
        members
    }

    fn check_below(
        &self,
        id: u32,
        height: u8,
        parent: u32,
        leaves: &mut Vec<u32>,
        nodes: &mut usize,
    ) -> Child {
        if height == 0 {
            leaves.push(id);
            assert_eq!(self.leaf(id).parent, parent);
            return self.summary(id, 0);
        }
        let node = self.nodes.get(id);
        assert_eq!((node.parent, node.height), (parent, height));
        assert!(node.len() > if parent == 0 { 1 } else { 0 });
        *nodes += 1;
        for at in 0..node.len() {
            let below = self.check_below(node.ids()[at], height - 1, id, leaves, nodes);
            assert_eq!(node.child(at), below, "the summaries of children are right");
        }
        node.summary(id)
    }
}
