//! The nodes of a large list: the leaves of a tree whose branches count items.
//!
//! All leaves are at the same depth. No node is empty, and no branch except the root of an empty
//! list. A branch that becomes too long is split; a short branch is merged with a neighbour. An
//! item index stands for the node that contains the item.

use super::node::{Fill, Node};
use super::{End, Listpack};
use crate::value::Item;
use std::ops::Range;

/// The most nodes or branches that a branch holds.
const FAN_MAX: usize = 64;

/// A branch with fewer kids is merged with a neighbour, if both together are short enough.
const FAN_LOW: usize = FAN_MAX / 4;

/// The most kids that two branches may have together to be merged.
const FAN_JOINED: usize = FAN_MAX / 2;

/// Bytes after which one step of freeing stops.
const STEP_BYTES: usize = 1 << 20;

/// The most nodes that one step of freeing frees.
const STEP_NODES: usize = 256;

/// A list as a tree of nodes.
#[derive(Clone, Debug)]
pub struct Chain {
    root: Branch,
    fill: Fill,
}

#[derive(Clone, Debug)]
struct Branch {
    items: usize,
    kids: Kids,
}

#[derive(Clone, Debug)]
enum Kids {
    Nodes(Vec<Node>),
    Branches(Vec<Branch>),
}

/// A node or a branch, which has a number of items.
trait Counted {
    fn items(&self) -> usize;
}

impl Counted for Node {
    #[inline]
    fn items(&self) -> usize {
        self.count()
    }
}

impl Counted for Branch {
    #[inline]
    fn items(&self) -> usize {
        self.items
    }
}

/// Returns which of `kids` contains item `index`, and the index of the first item of that kid.
/// `items` is the number of items of all kids. The search starts at the nearer end, so both ends
/// are found at once.
#[inline]
fn find<T: Counted>(kids: &[T], items: usize, index: usize) -> (usize, usize) {
    assert!(index < items, "item {index} of {items}");
    if index < items / 2 {
        let mut end = 0;
        for (at, kid) in kids.iter().enumerate() {
            let start = end;
            end += kid.items();
            if index < end {
                return (at, start);
            }
        }
    } else {
        let mut start = items;
        for (at, kid) in kids.iter().enumerate().rev() {
            start -= kid.items();
            if index >= start {
                return (at, start);
            }
        }
    }
    unreachable!("every item belongs to a kid")
}

/// Inserts a kid at a place. If the branch was full, splits it and returns the right part. An
/// insertion at either end of a full branch leaves the other kids together, so that pushes at an
/// end of the list leave full branches.
fn add<T>(kids: &mut Vec<T>, at: usize, kid: T) -> Option<Vec<T>> {
    if kids.len() < FAN_MAX {
        kids.insert(at, kid);
        return None;
    }
    let cut = match at {
        0 | FAN_MAX => at,
        _ => FAN_MAX / 2,
    };
    let mut right = kids.split_off(cut);
    if at <= cut && cut < FAN_MAX {
        kids.insert(at, kid);
    } else {
        right.insert(at - cut, kid);
    }
    Some(right)
}

impl Branch {
    fn of_nodes(nodes: Vec<Node>) -> Branch {
        Branch { items: nodes.iter().map(Node::count).sum(), kids: Kids::Nodes(nodes) }
    }

    fn of_branches(kids: Vec<Branch>) -> Branch {
        Branch { items: kids.iter().map(|kid| kid.items).sum(), kids: Kids::Branches(kids) }
    }

    /// Returns the number of kids.
    #[inline]
    fn fan(&self) -> usize {
        match &self.kids {
            Kids::Nodes(nodes) => nodes.len(),
            Kids::Branches(kids) => kids.len(),
        }
    }

    /// Changes the node that contains item `index`. `change` also receives the item's index in the
    /// node. If the node is empty afterwards, it is removed.
    #[inline]
    fn edit<R>(&mut self, index: usize, change: impl FnOnce(&mut Node, usize) -> R) -> R {
        match &mut self.kids {
            Kids::Nodes(nodes) => {
                let (at, start) = find(nodes, self.items, index);
                let before = nodes[at].count();
                let result = change(&mut nodes[at], index - start);
                let after = nodes[at].count();
                self.items = self.items - before + after;
                if after == 0 {
                    nodes.remove(at);
                }
                result
            }
            Kids::Branches(_) => self.edit_below(index, change),
        }
    }

    fn edit_below<R>(&mut self, index: usize, change: impl FnOnce(&mut Node, usize) -> R) -> R {
        let Kids::Branches(kids) = &mut self.kids else { unreachable!("only branches come here") };
        let (at, start) = find(kids, self.items, index);
        let before = kids[at].items;
        let result = kids[at].edit(index - start, change);
        self.items = self.items - before + kids[at].items;
        join(kids, at);
        result
    }

    /// Inserts a node so that its first item gets index `index`, which must be a node boundary. If
    /// the branch becomes too long, splits it and returns the right part.
    fn insert(&mut self, index: usize, node: Node) -> Option<Branch> {
        let items = self.items;
        self.items += node.count();
        let right = match &mut self.kids {
            Kids::Nodes(nodes) => {
                let at = if index == items {
                    nodes.len()
                } else {
                    let (at, start) = find(nodes, items, index);
                    assert_eq!(start, index, "nodes are inserted at node boundaries");
                    at
                };
                add(nodes, at, node).map(Branch::of_nodes)
            }
            Kids::Branches(kids) => {
                let (at, start) = find(kids, items, index.min(items - 1));
                let right = kids[at].insert(index - start, node);
                right.and_then(|right| add(kids, at + 1, right)).map(Branch::of_branches)
            }
        };
        if let Some(right) = &right {
            self.items -= right.items;
        }
        right
    }

    /// Removes items. Drops whole branches at once.
    fn remove(&mut self, range: &Range<usize>) {
        let mut end = 0;
        // Returns which of the next `items` items to remove, relative to their kid.
        let mut cut = |items: usize| {
            let start = end;
            end += items;
            let own = |number: usize| number.clamp(start, end) - start;
            own(range.start)..own(range.end)
        };
        match &mut self.kids {
            Kids::Nodes(nodes) => nodes.retain_mut(|node| {
                let cut = cut(node.count());
                let is_left = cut.len() < node.count();
                if is_left && !cut.is_empty() {
                    node.remove(cut);
                }
                is_left
            }),
            Kids::Branches(kids) => {
                kids.retain_mut(|kid| {
                    let cut = cut(kid.items);
                    let is_left = cut.len() < kid.items;
                    if is_left && !cut.is_empty() {
                        kid.remove(&cut);
                    }
                    is_left
                });
                (0..kids.len()).rev().for_each(|at| join(kids, at));
            }
        }
        self.items -= range.len();
    }

    /// Passes nodes from left to right to `show` while it returns true.
    fn each<'b>(&'b self, show: &mut impl FnMut(&'b Node) -> bool) -> bool {
        match &self.kids {
            Kids::Nodes(nodes) => nodes.iter().all(show),
            Kids::Branches(kids) => kids.iter().all(|kid| kid.each(show)),
        }
    }

    /// Asserts the invariants of the subtree. Returns the depth of the leaves.
    fn check(&self, is_root: bool) -> usize {
        assert!(self.fan() <= FAN_MAX);
        match &self.kids {
            Kids::Nodes(nodes) => {
                assert!(is_root || !nodes.is_empty());
                nodes.iter().for_each(Node::check);
                assert_eq!(self.items, nodes.iter().map(Node::count).sum::<usize>());
                0
            }
            Kids::Branches(kids) => {
                assert!(!is_root || kids.len() > 1);
                assert_eq!(self.items, kids.iter().map(|kid| kid.items).sum::<usize>());
                let depths: Vec<usize> = kids.iter().map(|kid| kid.check(false)).collect();
                assert!(depths.iter().all(|depth| *depth == depths[0]));
                depths[0] + 1
            }
        }
    }
}

/// Removes the branch at `at` if it is empty. Merges it with a neighbour if it is short.
#[inline]
fn join(kids: &mut Vec<Branch>, at: usize) {
    if kids[at].fan() < FAN_LOW {
        join_short(kids, at);
    }
}

#[cold]
fn join_short(kids: &mut Vec<Branch>, at: usize) {
    if kids[at].fan() == 0 {
        kids.remove(at);
        return;
    }
    for left in [Some(at), at.checked_sub(1)].into_iter().flatten() {
        if left + 1 < kids.len() && kids[left].fan() + kids[left + 1].fan() <= FAN_JOINED {
            let right = kids.remove(left + 1);
            kids[left].items += right.items;
            match (&mut kids[left].kids, right.kids) {
                (Kids::Nodes(nodes), Kids::Nodes(more)) => nodes.extend(more),
                (Kids::Branches(branches), Kids::Branches(more)) => branches.extend(more),
                _ => unreachable!("all leaves are at the same depth"),
            }
            return;
        }
    }
}

impl Chain {
    pub(super) fn new(fill: Fill) -> Chain {
        Chain { root: Branch::of_nodes(Vec::new()), fill }
    }

    /// Returns the number of items.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.root.items
    }

    /// Returns the node that contains item `index`, and the index of the node's first item; none if
    /// `index` is past the end.
    pub(super) fn node_at(&self, index: usize) -> Option<(&Node, usize)> {
        if index >= self.len() {
            return None;
        }
        let (mut branch, mut first) = (&self.root, 0);
        loop {
            match &branch.kids {
                Kids::Nodes(nodes) => {
                    let (at, start) = find(nodes, branch.items, index - first);
                    return Some((&nodes[at], first + start));
                }
                Kids::Branches(kids) => {
                    let (at, start) = find(kids, branch.items, index - first);
                    branch = &kids[at];
                    first += start;
                }
            }
        }
    }

    /// Returns the node that contains item `index`, which must exist, and the index of the node's
    /// first item.
    fn node(&self, index: usize) -> (&Node, usize) {
        self.node_at(index).expect("every item has a node")
    }

    /// Returns the index of the item at an end. The chain must not be empty.
    #[inline]
    fn end_index(&self, end: End) -> usize {
        match end {
            End::Left => 0,
            End::Right => self.len() - 1,
        }
    }

    #[inline]
    fn edit<R>(&mut self, index: usize, change: impl FnOnce(&mut Node, usize) -> R) -> R {
        let result = self.root.edit(index, change);
        self.lower();
        result
    }

    /// Removes the root while it has only one branch.
    #[inline]
    fn lower(&mut self) {
        while let Kids::Branches(kids) = &mut self.root.kids
            && kids.len() <= 1
        {
            self.root = kids.pop().unwrap_or_else(|| Branch::of_nodes(Vec::new()));
        }
    }

    /// Inserts a node so that its first item gets index `index`, which must be a node boundary.
    pub(super) fn insert_node(&mut self, index: usize, node: Node) {
        if let Some(right) = self.root.insert(index, node) {
            let left = std::mem::replace(&mut self.root, Branch::of_nodes(Vec::new()));
            self.root = Branch::of_branches(vec![left, right]);
        }
    }

    fn take_node(&mut self, index: usize) -> Node {
        self.edit(index, |node, _| std::mem::replace(node, Node::void()))
    }

    /// Takes the listpack of the only node if `is_small` accepts its bytes and number of items. The
    /// chain is empty afterwards. Returns none if there are several nodes or the node is plain.
    pub(super) fn take_only(
        &mut self,
        is_small: impl FnOnce(usize, usize) -> bool,
    ) -> Option<Listpack> {
        let Kids::Nodes(nodes) = &mut self.root.kids else { return None };
        let [node] = &nodes[..] else { return None };
        if node.is_plain() || !is_small(node.bytes(), node.count()) {
            return None;
        }
        self.take_node(0).into_pack()
    }

    /// Adds an item at an end.
    #[inline]
    pub(super) fn push(&mut self, end: End, text: &[u8]) {
        let fill = self.fill;
        if !fill.is_large(text.len()) && self.len() > 0 {
            let is_added = self.edit(self.end_index(end), |node, _| {
                let has_room = fill.has_room(node, text.len());
                if has_room {
                    node.add(end, text);
                }
                has_room
            });
            if is_added {
                return;
            }
        }
        self.push_node(end, text);
    }

    #[cold]
    fn push_node(&mut self, end: End, text: &[u8]) {
        let index = if end == End::Left { 0 } else { self.len() };
        self.insert_node(index, self.new_node(text));
    }

    /// Returns a node for one item: plain if the item is large, else a listpack.
    fn new_node(&self, text: &[u8]) -> Node {
        match self.fill.is_large(text.len()) {
            true => Node::plain(text),
            false => Node::packed(text),
        }
    }

    /// Removes the item at an end after passing it to `take`. Returns the result of `take`.
    #[inline]
    pub(super) fn pop<T>(&mut self, end: End, take: impl FnOnce(Item<'_>) -> T) -> T {
        self.edit(self.end_index(end), |node, _| node.pop(end, take))
    }

    /// Splits a node so that the right part begins with item `index`.
    fn split(&mut self, index: usize) {
        let right = self.edit(index, |node, offset| node.split_off(offset));
        self.insert_node(index, right);
    }

    /// Inserts an item before or after item `index`.
    pub(super) fn insert(&mut self, index: usize, is_after: bool, text: &[u8]) {
        let (node, start) = self.node(index);
        let end = start + node.count();
        let has_room = self.fill.has_room(node, text.len());
        let place = index + usize::from(is_after);
        if has_room {
            self.edit(index, |node, offset| node.insert(offset + usize::from(is_after), text));
            return;
        }
        let is_edge = if is_after { place == end } else { place == start };
        if is_edge {
            self.insert_between(place, is_after, text);
        } else if self.fill.is_large(text.len()) {
            self.split(place);
            self.insert_node(place, Node::plain(text));
        } else {
            self.split(place);
            if is_after {
                self.edit(place, |node, _| node.add(End::Left, text));
                self.merge_around(index);
            } else {
                self.edit(place - 1, |node, _| node.add(End::Right, text));
                self.merge_around(index + 1);
            }
        }
    }

    /// Inserts an item at a node boundary. It goes to the near end of the node on the far side if
    /// it fits there, else to a new node.
    fn insert_between(&mut self, place: usize, is_after: bool, text: &[u8]) {
        let beyond = if is_after { Some(place) } else { place.checked_sub(1) };
        let beyond = beyond.and_then(|index| Some((index, self.node_at(index)?.0)));
        match beyond {
            Some((index, node)) if self.fill.has_room(node, text.len()) => {
                let end = if is_after { End::Left } else { End::Right };
                self.edit(index, |node, _| node.add(end, text));
            }
            _ => self.insert_node(place, self.new_node(text)),
        }
    }

    /// Replaces item `index`.
    pub(super) fn set(&mut self, index: usize, text: &[u8]) {
        let (node, start) = self.node(index);
        let (is_plain, is_large) = (node.is_plain(), self.fill.is_large(text.len()));
        let is_last = index + 1 == start + node.count();
        if is_plain == is_large {
            self.edit(index, |node, offset| node.set(offset, text));
        } else if is_plain {
            self.insert_between(index + 1, true, text);
            self.take_node(index);
        } else {
            if !is_last {
                self.split(index + 1);
            }
            self.insert_node(index + 1, Node::plain(text));
            self.edit(index, |node, offset| node.remove(offset..offset + 1));
            if index > start {
                self.merge_around(index);
            }
        }
    }

    /// Merges nodes around the node of item `index`, as long as two neighbours fit into one.
    fn merge_around(&mut self, index: usize) {
        let start = self.node(index).1;
        if let Some(before) = start.checked_sub(1) {
            self.merge_behind(self.node(before).1.checked_sub(1));
        }
        let end = start + self.node(index).0.count();
        self.merge_behind(Some(end));
        self.merge_behind(start.checked_sub(1));
        self.merge_behind(Some(index));
    }

    /// Merges the node of item `index` with its right neighbour, if both exist and fit into one
    /// node.
    fn merge_behind(&mut self, index: Option<usize>) {
        let Some((node, start)) = index.and_then(|index| self.node_at(index)) else { return };
        let next = start + node.count();
        let Some((behind, _)) = self.node_at(next) else { return };
        if self.fill.fits_both(node, behind) {
            let behind = self.take_node(next);
            self.edit(start, |node, _| node.append(&behind));
        }
    }

    /// Removes the items with these indexes.
    pub(super) fn remove_range(&mut self, range: Range<usize>) {
        self.root.remove(&range);
        self.lower();
    }

    /// Removes up to `count_max` items equal to `wanted`, starting at `end`. Returns the number of
    /// removed items.
    pub(super) fn remove_equal(&mut self, end: End, count_max: usize, wanted: &Item<'_>) -> usize {
        let mut removed = 0;
        // Boundary of the search: the visited items lie between this index and `end`.
        let mut index = if end == End::Left { 0 } else { self.len() };
        while removed < count_max {
            let inside = if end == End::Left { Some(index) } else { index.checked_sub(1) };
            let Some((node, start)) = inside.and_then(|inside| self.node_at(inside)) else { break };
            let (end_index, rest) = (start + node.count(), count_max - removed);
            let here = self.edit(start, |node, _| node.remove_equal(end, rest, wanted));
            removed += here;
            index = if end == End::Left { end_index - here } else { start };
        }
        removed
    }

    /// Returns the bytes of memory of the nodes and the tree. The result is estimated from the
    /// first `samples` nodes; 0 counts all nodes.
    pub(super) fn memory_bytes(&self, samples: usize) -> usize {
        let (mut nodes, mut items, mut bytes) = (0, 0, 0);
        self.root.each(&mut |node| {
            nodes += 1;
            items += node.count();
            bytes += size_of::<Node>() + node.block_bytes();
            nodes != samples
        });
        if items == 0 {
            return 0;
        }
        (bytes as u128 * self.len() as u128 / items as u128) as usize
    }

    /// Frees some nodes from the right. Returns true when no node is left.
    pub(super) fn free_step(&mut self) -> bool {
        let mut bytes = 0;
        for _ in 0..STEP_NODES {
            if self.len() == 0 || bytes >= STEP_BYTES {
                break;
            }
            bytes += self.take_node(self.len() - 1).block_bytes();
        }
        self.len() == 0
    }

    /// Asserts the invariants of the tree and all nodes.
    pub(super) fn check(&self) {
        self.root.check(true);
    }
}
