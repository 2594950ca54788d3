//! One node of a list: a listpack, or one large plain item. Also the size limits of nodes.

use super::super::listpack::{self, Listpack};
use super::super::pack::Item;
use super::End;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The highest size in bytes of a node whose limit is a number of items.
const COUNTED_BYTES_MAX: usize = 8192;

/// Estimated bytes of a listpack entry besides the item's text.
const ENTRY_EXTRA_BYTES: usize = 8;

/// The byte limits that the settings -1 to -5 stand for.
const SIZES_BYTES: [usize; 5] = [4096, 8192, 16_384, 32_768, 65_536];

/// The highest number of items that the setting can give.
const COUNT_MAX: i32 = 32_767;

/// For tests: items of at least this many bytes get plain nodes. With 0 the limits decide.
static PLAIN_BYTES_MIN: AtomicUsize = AtomicUsize::new(0);

/// Sets, for all lists, the item size in bytes from which an item gets a plain node. With 0 the
/// limits decide. For tests.
pub fn set_plain_bytes_min(bytes: usize) {
    PLAIN_BYTES_MIN.store(bytes, Ordering::Relaxed);
}

/// The size limit of a node, as set by `list-max-listpack-size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Positive: number of items. Negative: -1 to -5 for 4, 8, 16, 32 and 64 KiB.
    pub node_size: i32,
}

impl Limits {
    /// Returns the limit in bytes; none if the limit is a number of items.
    #[inline]
    fn bytes_max(&self) -> Option<usize> {
        let step = usize::try_from(-i64::from(self.node_size)).ok().filter(|step| *step > 0)?;
        Some(SIZES_BYTES[step.min(SIZES_BYTES.len()) - 1])
    }

    /// Returns the limit as a number of items, at least one.
    fn count_max(&self) -> usize {
        self.node_size.max(1) as usize
    }

    /// Returns whether a node of `bytes` bytes and `count` items exceeds the limit.
    #[inline]
    pub(super) fn is_exceeded(&self, bytes: usize, count: usize) -> bool {
        match self.bytes_max() {
            Some(bytes_max) => bytes > bytes_max,
            None => bytes > COUNTED_BYTES_MAX || count > self.count_max(),
        }
    }

    /// Returns whether a node is within the limit divided by `part`.
    pub(super) fn serves(&self, bytes: usize, count: usize, part: usize) -> bool {
        match self.bytes_max() {
            Some(bytes_max) => bytes <= bytes_max / part,
            None => count <= self.count_max() / part,
        }
    }
}

/// The node limit of one chain, fixed when the chain was created.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fill(Limits);

impl Fill {
    pub fn of(limits: &Limits) -> Fill {
        Fill(Limits { node_size: limits.node_size.clamp(-5, COUNT_MAX) })
    }

    /// Returns whether an item of `len` bytes gets a plain node.
    #[inline]
    pub fn is_large(self, len: usize) -> bool {
        match PLAIN_BYTES_MIN.load(Ordering::Relaxed) {
            0 => len > self.0.bytes_max().unwrap_or(COUNTED_BYTES_MAX),
            bytes_min => len >= bytes_min,
        }
    }

    /// Returns whether an item of `len` bytes fits into a node.
    #[inline]
    pub fn has_room(self, node: &Node, len: usize) -> bool {
        let bytes = node.bytes() + len + ENTRY_EXTRA_BYTES;
        !node.is_plain() && !self.is_large(len) && !self.0.is_exceeded(bytes, node.count() + 1)
    }

    /// Returns whether two nodes fit into one.
    pub fn fits_both(self, a: &Node, b: &Node) -> bool {
        let bytes = a.bytes() + b.bytes() - listpack::EMPTY_BYTES;
        !a.is_plain() && !b.is_plain() && !self.0.is_exceeded(bytes, a.count() + b.count())
    }
}

/// A part of a list.
#[derive(Clone, Debug)]
pub(super) struct Node {
    body: Body,
    count: u32,
}

#[derive(Clone, Debug)]
enum Body {
    Packed(Listpack),
    Plain(Box<[u8]>),
}

/// The bytes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeView<'a> {
    /// A listpack with at least one item.
    Packed(&'a [u8]),
    /// The text of one large item.
    Plain(&'a [u8]),
}

/// Iterator over items of a node.
#[derive(Clone, Debug)]
pub(super) enum NodeItems<'a> {
    Packed(listpack::Iter<'a>),
    Plain(Option<&'a [u8]>),
}

impl<'a> NodeItems<'a> {
    /// Iterates over the items with these indexes in a listpack of `count` items.
    pub fn of_pack(bytes: &'a [u8], range: Range<usize>, count: usize) -> NodeItems<'a> {
        NodeItems::Packed(listpack::iter_range(bytes, offsets(bytes, range, count)))
    }
}

impl<'a> Iterator for NodeItems<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        match self {
            NodeItems::Packed(items) => items.next(),
            NodeItems::Plain(text) => text.take().map(Item::of),
        }
    }
}

impl<'a> DoubleEndedIterator for NodeItems<'a> {
    #[inline]
    fn next_back(&mut self) -> Option<Item<'a>> {
        match self {
            NodeItems::Packed(items) => items.next_back(),
            NodeItems::Plain(text) => text.take().map(Item::of),
        }
    }
}

/// Returns the offsets of the entries with these indexes in a listpack of `count` items.
fn offsets(bytes: &[u8], range: Range<usize>, count: usize) -> Range<usize> {
    let end = if range.end >= count {
        listpack::total_bytes(bytes) - 1
    } else {
        listpack::seek(bytes, range.end, count)
    };
    listpack::seek(bytes, range.start, count)..end
}

/// Removes the items with these indexes.
pub(super) fn remove_from_pack(pack: &mut Listpack, range: Range<usize>) {
    let count = range.len();
    let offsets = offsets(pack.as_bytes(), range, pack.count());
    pack.remove_range(offsets, count);
}

/// Removes up to `count_max` items equal to `wanted`, starting at `end`. Returns the number of
/// removed items.
pub(super) fn remove_equal_from_pack(
    pack: &mut Listpack,
    end: End,
    count_max: usize,
    wanted: &Item<'_>,
) -> usize {
    let mut removed = 0;
    match end {
        End::Left => {
            let mut at = listpack::HEAD_BYTES;
            while at < pack.end() && removed < count_max {
                let (item, next) = listpack::read(pack.as_bytes(), at);
                if item == *wanted {
                    pack.remove_range(at..next, 1);
                    removed += 1;
                } else {
                    at = next;
                }
            }
        }
        End::Right => {
            let mut next = pack.end();
            while next > listpack::HEAD_BYTES && removed < count_max {
                let at = listpack::before(pack.as_bytes(), next);
                if listpack::read(pack.as_bytes(), at).0 == *wanted {
                    pack.remove_range(at..next, 1);
                    removed += 1;
                }
                next = at;
            }
        }
    }
    removed
}

impl Node {
    /// Creates a node with a listpack of one item.
    pub fn packed(text: &[u8]) -> Node {
        let mut pack = Listpack::new();
        pack.append(&Item::of(text));
        Node { body: Body::Packed(pack), count: 1 }
    }

    pub fn of_pack(pack: Listpack) -> Node {
        Node { count: pack.count() as u32, body: Body::Packed(pack) }
    }

    /// Creates a plain node of one item.
    pub fn plain(text: &[u8]) -> Node {
        Node { body: Body::Plain(text.into()), count: 1 }
    }

    /// Creates a node without items and memory, as a placeholder for a node that is moved out.
    pub fn void() -> Node {
        Node { body: Body::Plain(Box::default()), count: 0 }
    }

    /// Returns the number of items.
    #[inline]
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Returns the bytes that count towards the limit.
    #[inline]
    pub fn bytes(&self) -> usize {
        match &self.body {
            Body::Packed(pack) => pack.total_bytes(),
            Body::Plain(text) => text.len(),
        }
    }

    /// Returns the bytes of memory behind the node.
    pub fn block_bytes(&self) -> usize {
        match &self.body {
            Body::Packed(pack) => pack.block_bytes(),
            Body::Plain(text) => text.len(),
        }
    }

    #[inline]
    pub fn is_plain(&self) -> bool {
        matches!(self.body, Body::Plain(_))
    }

    pub fn view(&self) -> NodeView<'_> {
        match &self.body {
            Body::Packed(pack) => NodeView::Packed(pack.as_bytes()),
            Body::Plain(text) => NodeView::Plain(text),
        }
    }

    /// Returns the listpack; none for a plain node.
    pub fn into_pack(self) -> Option<Listpack> {
        match self.body {
            Body::Packed(pack) => Some(pack),
            Body::Plain(_) => None,
        }
    }

    /// Iterates over the items with these indexes.
    pub fn items(&self, range: Range<usize>) -> NodeItems<'_> {
        match &self.body {
            Body::Packed(pack) => NodeItems::of_pack(pack.as_bytes(), range, self.count()),
            Body::Plain(text) => NodeItems::Plain((!range.is_empty()).then_some(text)),
        }
    }

    fn pack_mut(&mut self) -> &mut Listpack {
        match &mut self.body {
            Body::Packed(pack) => pack,
            Body::Plain(_) => unreachable!("a plain node has one item"),
        }
    }

    /// Adds an item at an end. The node must not be plain.
    #[inline]
    pub fn add(&mut self, end: End, text: &[u8]) {
        self.count += 1;
        match end {
            End::Left => self.pack_mut().prepend(&Item::of(text)),
            End::Right => self.pack_mut().append(&Item::of(text)),
        }
    }

    /// Removes the item at an end after passing it to `take`. Returns the result of `take`.
    #[inline]
    pub fn pop<T>(&mut self, end: End, take: impl FnOnce(Item<'_>) -> T) -> T {
        self.count -= 1;
        match &mut self.body {
            Body::Packed(pack) => {
                let at = match end {
                    End::Left => listpack::HEAD_BYTES,
                    End::Right => listpack::before(pack.as_bytes(), pack.end()),
                };
                let (item, next) = listpack::read(pack.as_bytes(), at);
                let taken = take(item);
                pack.remove_range(at..next, 1);
                taken
            }
            Body::Plain(text) => take(Item::of(text)),
        }
    }

    /// Inserts an item before index `offset`. The node must not be plain.
    pub fn insert(&mut self, offset: usize, text: &[u8]) {
        let count = self.count();
        let pack = self.pack_mut();
        let at = listpack::seek(pack.as_bytes(), offset, count);
        pack.insert(at, &Item::of(text));
        self.count += 1;
    }

    /// Replaces the item at index `offset`.
    pub fn set(&mut self, offset: usize, text: &[u8]) {
        let count = self.count();
        match &mut self.body {
            Body::Packed(pack) => {
                let at = listpack::seek(pack.as_bytes(), offset, count);
                pack.replace(at, &Item::of(text));
            }
            Body::Plain(old) => *old = text.into(),
        }
    }

    /// Removes the items with these indexes. A node without items keeps its memory until it is
    /// dropped.
    pub fn remove(&mut self, range: Range<usize>) {
        self.count -= range.len() as u32;
        if self.count > 0 {
            remove_from_pack(self.pack_mut(), range);
        }
    }

    /// Removes up to `count_max` items equal to `wanted`. See [`remove_equal_from_pack`].
    pub fn remove_equal(&mut self, end: End, count_max: usize, wanted: &Item<'_>) -> usize {
        let removed = match &mut self.body {
            Body::Packed(pack) => remove_equal_from_pack(pack, end, count_max, wanted),
            Body::Plain(text) => usize::from(count_max > 0 && Item::of(text) == *wanted),
        };
        self.count -= removed as u32;
        removed
    }

    /// Moves the items from index `offset` on to a new node. The node must not be plain.
    pub fn split_off(&mut self, offset: usize) -> Node {
        let count = self.count();
        let moved = count - offset;
        let pack = self.pack_mut();
        let range = listpack::seek(pack.as_bytes(), offset, count)..pack.end();
        let mut new = Listpack::with_room(range.len());
        new.insert_entries(listpack::HEAD_BYTES, &pack.as_bytes()[range.clone()], moved);
        pack.remove_range(range, moved);
        self.count = offset as u32;
        Node { body: Body::Packed(new), count: moved as u32 }
    }

    /// Appends copies of all items of the right neighbour. Neither node may be plain.
    pub fn append(&mut self, other: &Node) {
        let NodeView::Packed(bytes) = other.view() else {
            unreachable!("a plain node has one item")
        };
        let pack = self.pack_mut();
        let entries = &bytes[listpack::HEAD_BYTES..bytes.len() - 1];
        pack.insert_entries(pack.end(), entries, other.count());
        self.count += other.count;
    }

    /// Asserts the invariants of the node.
    pub fn check(&self) {
        assert!(self.count > 0, "no node is empty");
        match &self.body {
            Body::Packed(pack) => {
                assert_eq!(listpack::validate(pack.as_bytes(), true), Some(self.count()));
            }
            Body::Plain(_) => assert_eq!(self.count, 1),
        }
    }
}
