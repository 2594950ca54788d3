//! Lists: one listpack while it is small, then a chain of nodes.
//!
//! ```text
//!   Packed  a listpack
//!   Linked  a tree with nodes as its leaves, in order; every branch knows how many items it has
//!
//!           root   [ 70,000 items        | 1,200 items ]
//!                     |                      |
//!                  [ 545 | 545 | 1 | ...] [ 545 | ... ]       up to 64 of them each
//!                     |           |
//!                  a listpack   a large item as it is
//! ```
//! What fits into a node, when a node is split or merged with its neighbours, and when one form
//! becomes the other is as the reference server has it: OBJECT ENCODING shows it. Where an item is
//! found by its number, and what is moved when nodes come and go, is O(log n).

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

/// Items in an order of their own.
#[derive(Clone, Debug)]
pub enum List {
    /// In one listpack.
    Packed(Listpack),
    /// In a chain of nodes.
    Linked(Box<Chain>),
}

/// Which end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The first item.
    Left,
    /// The last item.
    Right,
}

impl Default for List {
    fn default() -> List {
        List::Packed(Listpack::new())
    }
}

impl List {
    /// Without items, for many to come: a chain, which [`List::settle_new`] ends.
    pub fn large(limits: &Limits) -> List {
        List::Linked(Box::new(Chain::new(Fill::of(limits))))
    }

    /// How many items there are.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            List::Packed(pack) => pack.count(),
            List::Linked(chain) => chain.len(),
        }
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        match self {
            List::Packed(pack) => pack.is_empty(),
            List::Linked(chain) => chain.len() == 0,
        }
    }

    /// So many items of so many bytes in all are about to be added or put in: what is one listpack
    /// becomes a chain if it would be too large.
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

    /// Adds an item at an end, which was expected.
    #[inline]
    pub fn add(&mut self, end: End, text: &[u8]) {
        match (self, end) {
            (List::Packed(pack), End::Left) => pack.prepend(&Item::of(text)),
            (List::Packed(pack), End::Right) => pack.append(&Item::of(text)),
            (List::Linked(chain), end) => chain.push(end, text),
        }
    }

    /// Adds an item at an end.
    pub fn push(&mut self, end: End, text: &[u8], limits: &Limits) {
        self.expect(1, text.len(), limits);
        self.add(end, text);
    }

    /// Adds the items of a listpack at the right, as a node of their own. The bytes have been
    /// validated; [`List::settle_new`] is to follow.
    pub fn add_packed(&mut self, bytes: &[u8], limits: &Limits) {
        let is_plain = |item: Item<'_>| matches!(item, Item::Bytes(text) if Item::of(text) != item);
        // Others may have written numbers as texts.
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

    /// Adds an item at the right, as a node of its own that is no listpack. [`List::settle_new`]
    /// is to follow.
    pub fn add_plain(&mut self, text: &[u8], limits: &Limits) {
        self.add_node(Node::plain(text), limits);
    }

    fn add_node(&mut self, node: Node, limits: &Limits) {
        self.link(limits);
        if let List::Linked(chain) = self {
            chain.insert_node(chain.len(), node);
        }
    }

    /// The list was built anew: what is small becomes one listpack.
    pub fn settle_new(&mut self, limits: &Limits) {
        self.pack(limits, 1);
    }

    /// Something was taken away: what is small again becomes one listpack.
    #[inline]
    pub fn settle(&mut self, limits: &Limits) {
        if matches!(self, List::Linked(_)) {
            self.pack(limits, 2);
        }
    }

    /// Makes one listpack of what is one node of at most this part of the limits.
    fn pack(&mut self, limits: &Limits, part: usize) {
        if let List::Linked(chain) = self
            && let Some(pack) = chain.take_only(|bytes, count| limits.serves(bytes, count, part))
        {
            *self = List::Packed(pack);
        }
    }

    /// Takes the item at an end away; `take` is shown it first.
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

    /// The item number `index`, counted from the left.
    pub fn get(&self, index: usize) -> Option<Item<'_>> {
        self.iter_from(index).next()
    }

    /// Puts an item, which was expected, in the place of number `index`.
    pub fn set(&mut self, index: usize, text: &[u8]) {
        match self {
            List::Packed(pack) => {
                let at = listpack::seek(pack.as_bytes(), index, pack.count());
                pack.replace(at, &Item::of(text));
            }
            List::Linked(chain) => chain.set(index, text),
        }
    }

    /// Adds an item, which was expected, before or behind the first one that is `pivot`; false if
    /// none is.
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

    /// Removes the items with these numbers.
    pub fn remove_range(&mut self, range: Range<usize>, limits: &Limits) {
        if !range.is_empty() {
            match self {
                List::Packed(pack) => node::remove_from_pack(pack, range),
                List::Linked(chain) => chain.remove_range(range),
            }
        }
        self.settle(limits);
    }

    /// Removes items that are `text`, at most so many, first those next to an end. How many.
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

    /// The items from number `start` on.
    pub fn iter_from(&self, start: usize) -> Items<'_> {
        Items::forward(self, start)
    }

    /// The items from number `start` on towards the left; from the last one on if there is none
    /// with that number.
    pub fn iter_back_from(&self, start: usize) -> Items<'_> {
        Items::backward(self, start)
    }

    /// The nodes from left to right: what snapshots have of a list.
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
