//! Lists: one listpack while it is small, then a chain of nodes.
//!
//! ```text
//!   Packed  a listpack
//!   Linked  a tree whose leaves are the nodes in order; every branch counts its items
//!
//!           root   [ 70,000 items        | 1,200 items ]
//!                     |                      |
//!                  [ 545 | 545 | 1 | ...] [ 545 | ... ]       up to 64 kids each
//!                     |           |
//!                  a listpack   a large item, plain
//! ```
//! The form, the capacity of nodes, and when nodes are split or merged match the reference server,
//! because OBJECT ENCODING shows the form. Finding an item by index, inserting a node and removing
//! a node are O(log n).

mod chain;
mod items;
mod node;

use super::listpack::{self, Listpack};
use super::object::{Container, Kind, container_object};
use super::pack::Item;
use chain::Chain;
pub use items::Items;
use node::{Fill, Node};
pub use node::{Limits, NodeView, set_plain_bytes_min};
use std::ops::Range;

/// Items in insertion order, addressed by index from the left.
#[derive(Clone, Debug)]
pub enum List {
    /// One listpack.
    Packed(Listpack),
    /// A chain of nodes.
    Linked(Box<Chain>),
}

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The end of the first item.
    Left,
    /// The end of the last item.
    Right,
}

impl Default for List {
    fn default() -> List {
        List::Packed(Listpack::new())
    }
}

impl List {
    /// Creates an empty list in the chain form, for building a list of many items.
    /// [`List::settle_new`] must follow the last item.
    pub fn large(limits: &Limits) -> List {
        List::Linked(Box::new(Chain::new(Fill::of(limits))))
    }

    /// Returns the number of items.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            List::Packed(pack) => pack.count(),
            List::Linked(chain) => chain.len(),
        }
    }

    /// Returns whether there are no items.
    #[inline]
    pub fn is_empty(&self) -> bool {
        match self {
            List::Packed(pack) => pack.is_empty(),
            List::Linked(chain) => chain.len() == 0,
        }
    }

    /// Converts a listpack to a chain if `items` more items with `bytes` bytes of text in all would
    /// exceed the limits. Must precede [`List::add`], [`List::set`] and [`List::insert_beside`].
    #[inline]
    pub fn expect(&mut self, items: usize, bytes: usize, limits: &Limits) {
        if let List::Packed(pack) = self
            && limits.is_exceeded(pack.total_bytes() + bytes, pack.count() + items)
        {
            self.link(limits);
        }
    }

    #[cold]
    fn link(&mut self, limits: &Limits) {
        let List::Packed(pack) = self else { return };
        let mut chain = Chain::new(Fill::of(limits));
        if !pack.is_empty() {
            chain.insert_node(0, Node::of_pack(std::mem::take(pack)));
        }
        *self = List::Linked(Box::new(chain));
    }

    /// Adds an item at an end. [`List::expect`] must have counted the item.
    #[inline]
    pub fn add(&mut self, end: End, text: &[u8]) {
        match (self, end) {
            (List::Packed(pack), End::Left) => pack.prepend(&Item::of(text)),
            (List::Packed(pack), End::Right) => pack.append(&Item::of(text)),
            (List::Linked(chain), end) => chain.push(end, text),
        }
    }

    /// Adds an item at an end, and converts the list to a chain if it exceeds the limits.
    pub fn push(&mut self, end: End, text: &[u8], limits: &Limits) {
        self.expect(1, text.len(), limits);
        self.add(end, text);
    }

    /// Adds the items of a listpack at the right, as a node of their own. The bytes must have been
    /// validated. [`List::settle_new`] must follow the last item.
    pub fn add_packed(&mut self, bytes: &[u8], limits: &Limits) {
        let is_plain = |item: Item<'_>| matches!(item, Item::Bytes(text) if Item::of(text) != item);
        // Other servers may have stored numbers as texts.
        let pack = match listpack::iter(bytes).any(is_plain) {
            false => Listpack::from_bytes(bytes),
            true => listpack::iter(bytes)
                .map(|item| match item {
                    Item::Bytes(text) => Item::of(text),
                    number => number,
                })
                .collect(),
        };
        if !pack.is_empty() {
            self.add_node(Node::of_pack(pack), limits);
        }
    }

    /// Adds an item at the right, as a plain node without a listpack. [`List::settle_new`] must
    /// follow the last item.
    pub fn add_plain(&mut self, text: &[u8], limits: &Limits) {
        self.add_node(Node::plain(text), limits);
    }

    fn add_node(&mut self, node: Node, limits: &Limits) {
        self.link(limits);
        if let List::Linked(chain) = self {
            chain.insert_node(chain.len(), node);
        }
    }

    /// Ends the building of a list. A chain of one node within the limits becomes a listpack.
    pub fn settle_new(&mut self, limits: &Limits) {
        self.pack(limits, 1);
    }

    /// Must follow a removal. A chain of one node within half of the limits becomes a listpack.
    #[inline]
    pub fn settle(&mut self, limits: &Limits) {
        if matches!(self, List::Linked(_)) {
            self.pack(limits, 2);
        }
    }

    /// Converts a chain of one node to a listpack, if the node is within the limits divided by
    /// `part`.
    fn pack(&mut self, limits: &Limits, part: usize) {
        if let List::Linked(chain) = self
            && let Some(pack) = chain.take_only(|bytes, count| limits.serves(bytes, count, part))
        {
            *self = List::Packed(pack);
        }
    }

    /// Removes the item at an end after passing it to `take`. Returns the result of `take`; none if
    /// the list is empty.
    pub fn pop<T>(&mut self, end: End, take: impl FnOnce(Item<'_>) -> T) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        Some(match self {
            List::Packed(pack) => {
                let at = match end {
                    End::Left => listpack::HEAD_BYTES,
                    End::Right => listpack::before(pack.as_bytes(), pack.end()),
                };
                let (item, next) = listpack::read(pack.as_bytes(), at);
                let taken = take(item);
                pack.remove_range(at..next, 1);
                taken
            }
            List::Linked(chain) => chain.pop(end, take),
        })
    }

    /// Returns the item at `index`, counted from the left.
    pub fn get(&self, index: usize) -> Option<Item<'_>> {
        self.iter_from(index).next()
    }

    /// Replaces the item at `index`. [`List::expect`] must have counted the new item.
    pub fn set(&mut self, index: usize, text: &[u8]) {
        match self {
            List::Packed(pack) => {
                let at = listpack::seek(pack.as_bytes(), index, pack.count());
                pack.replace(at, &Item::of(text));
            }
            List::Linked(chain) => chain.set(index, text),
        }
    }

    /// Inserts an item before or after the first item equal to `pivot`. Returns false if there is
    /// none. [`List::expect`] must have counted the new item.
    pub fn insert_beside(&mut self, pivot: &[u8], is_after: bool, text: &[u8]) -> bool {
        let pivot = Item::of(pivot);
        let Some(index) = self.iter_from(0).position(|item| item == pivot) else { return false };
        match self {
            List::Packed(pack) => {
                let at = index + usize::from(is_after);
                let at = listpack::seek(pack.as_bytes(), at, pack.count());
                pack.insert(at, &Item::of(text));
            }
            List::Linked(chain) => chain.insert(index, is_after, text),
        }
        true
    }

    /// Removes the items with these indexes, and converts a small chain to a listpack.
    pub fn remove_range(&mut self, range: Range<usize>, limits: &Limits) {
        if !range.is_empty() {
            match self {
                List::Packed(pack) => node::remove_from_pack(pack, range),
                List::Linked(chain) => chain.remove_range(range),
            }
        }
        self.settle(limits);
    }

    /// Removes up to `count_max` items equal to `text`, starting at `end`. Returns the number of
    /// removed items.
    pub fn remove_equal(
        &mut self,
        end: End,
        count_max: usize,
        text: &[u8],
        limits: &Limits,
    ) -> usize {
        let removed = match self {
            List::Packed(pack) => {
                node::remove_equal_from_pack(pack, end, count_max, &Item::of(text))
            }
            List::Linked(chain) => chain.remove_equal(end, count_max, &Item::of(text)),
        };
        if removed > 0 {
            self.settle(limits);
        }
        removed
    }

    /// Iterates from index `start` to the right.
    pub fn iter_from(&self, start: usize) -> Items<'_> {
        Items::forward(self, start)
    }

    /// Iterates from index `start` to the left. Starts at the last item if `start` is past the end.
    pub fn iter_back_from(&self, start: usize) -> Items<'_> {
        Items::backward(self, start)
    }

    /// Iterates over the nodes from left to right, as snapshots store them.
    pub fn nodes(&self) -> impl Iterator<Item = NodeView<'_>> {
        let (mut at, mut pack) = (0, None);
        if let List::Packed(packed) = self {
            pack = Some(packed).filter(|pack| !pack.is_empty());
        }
        std::iter::from_fn(move || match self {
            List::Packed(_) => pack.take().map(|pack| NodeView::Packed(pack.as_bytes())),
            List::Linked(chain) => {
                let (node, start) = chain.node_at(at)?;
                at = start + node.count();
                Some(node.view())
            }
        })
    }
}

impl Container for List {
    const KIND: Kind = Kind::List;

    fn len(&self) -> usize {
        List::len(self)
    }

    fn encoding(&self) -> &'static str {
        match self {
            List::Packed(_) => "listpack",
            List::Linked(_) => "quicklist",
        }
    }

    fn memory_bytes(&self, samples: usize) -> usize {
        match self {
            List::Packed(pack) => pack.block_bytes(),
            List::Linked(chain) => size_of::<Chain>() + chain.memory_bytes(samples),
        }
    }

    fn free_step(&mut self) -> bool {
        match self {
            List::Packed(_) => true,
            List::Linked(chain) => chain.free_step(),
        }
    }

    fn check(&self) {
        match self {
            List::Packed(pack) => {
                assert_eq!(listpack::validate(pack.as_bytes(), true), Some(pack.count()));
            }
            List::Linked(chain) => chain.check(),
        }
    }

    container_object!(List);
}

#[cfg(test)]
mod tests;
