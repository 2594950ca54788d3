//! Iterator over the items of a list in either direction, node by node.

use super::List;
use super::node::NodeItems;
use crate::value::Item;

/// Items of a list, from one item towards an end.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    list: &'a List,
    /// Remaining items of the current node.
    now: NodeItems<'a>,
    /// Items that follow the current node.
    left: Left,
}

/// Which items follow the current node.
#[derive(Clone, Copy, Debug)]
enum Left {
    /// The items from this index on.
    From(usize),
    /// The items before this index, from right to left.
    Before(usize),
}

impl<'a> Items<'a> {
    pub(super) fn forward(list: &'a List, start: usize) -> Items<'a> {
        let (now, left) = match list {
            List::Packed(pack) => {
                let count = pack.count();
                let range = start.min(count)..count;
                (NodeItems::of_pack(pack.as_bytes(), range, count), count)
            }
            List::Linked(_) => (NodeItems::Plain(None), start),
        };
        Items { list, now, left: Left::From(left) }
    }

    pub(super) fn backward(list: &'a List, start: usize) -> Items<'a> {
        let end = start.saturating_add(1).min(list.len());
        let (now, left) = match list {
            List::Packed(pack) => (NodeItems::of_pack(pack.as_bytes(), 0..end, pack.count()), 0),
            List::Linked(_) => (NodeItems::Plain(None), end),
        };
        Items { list, now, left: Left::Before(left) }
    }

    /// Goes on to the next node. Returns false if there is none.
    #[cold]
    fn turn(&mut self) -> bool {
        let List::Linked(chain) = self.list else { return false };
        match self.left {
            Left::From(index) => {
                let Some((node, start)) = chain.node_at(index) else { return false };
                self.now = node.items(index - start..node.count());
                self.left = Left::From(start + node.count());
            }
            Left::Before(end) => {
                let Some(last) = end.checked_sub(1) else { return false };
                let Some((node, start)) = chain.node_at(last) else { return false };
                self.now = node.items(0..end - start);
                self.left = Left::Before(start);
            }
        }
        true
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        loop {
            let item = match self.left {
                Left::From(_) => self.now.next(),
                Left::Before(_) => self.now.next_back(),
            };
            if item.is_some() || !self.turn() {
                return item;
            }
        }
    }
}
