//! One node of a list: a listpack, or one large item as it is; and what it may hold.

use super::super::listpack::{self, Listpack};
use super::super::pack::Item;
use super::End;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes up to which a node may grow where its items are counted.
const COUNTED_BYTES_MAX: usize = 8192;

/// What an item is taken to need besides its text.
const ENTRY_EXTRA_BYTES: usize = 8;

/// The limits that -1 to -5 stand for.
const SIZES_BYTES: [usize; 5] = [4096, 8192, 16_384, 32_768, 65_536];

/// The largest number of items that is heeded.
const COUNT_MAX: i32 = 32_767;

/// Items of at least so many bytes get nodes of their own, 0: by the limits. For tests.
static PLAIN_BYTES_MIN: AtomicUsize = AtomicUsize::new(0);

/// From now on items of at least so many bytes get nodes of their own, in all lists; 0: by the
/// limits.
pub fn set_plain_bytes_min(bytes: usize) {
    PLAIN_BYTES_MIN.store(bytes, Ordering::Relaxed);
}

/// Up to which size a node serves, as `list-max-listpack-size` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Positive: items; negative: -1 to -5 for 4, 8, 16, 32 and 64 KiB.
    pub node_size: i32,
}

impl Limits {
    /// The limit in bytes, if there is one.
    #[inline]
    fn bytes_max(&self) -> Option<usize> {
        let step = usize::try_from(-i64::from(self.node_size)).ok().filter(|step| *step > 0)?;
        Some(SIZES_BYTES[step.min(SIZES_BYTES.len()) - 1])
    }

    /// How many items fit where they are counted: at least one.
    fn count_max(&self) -> usize {
        self.node_size.max(1) as usize
    }

    /// Whether this is too much for one node.
    #[inline]
    pub(super) fn is_exceeded(&self, bytes: usize, count: usize) -> bool {
        match self.bytes_max() {
            Some(bytes_max) => bytes > bytes_max,
            None => bytes > COUNTED_BYTES_MAX || count > self.count_max(),
        }
    }

    /// Whether this is within the limits divided by `part`.
    pub(super) fn serves(&self, bytes: usize, count: usize, part: usize) -> bool {
        match self.bytes_max() {
            Some(bytes_max) => bytes <= bytes_max / part,
            None => count <= self.count_max() / part,
        }
    }
}

/// The limits of the nodes of one chain: those of the moment when it was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fill(Limits);

impl Fill {
    pub fn of(limits: &Limits) -> Fill {
        Fill(Limits { node_size: limits.node_size.clamp(-5, COUNT_MAX) })
    }

    /// Whether an item of so many bytes gets a node of its own.
    #[inline]
    pub fn is_large(self, len: usize) -> bool {
        match PLAIN_BYTES_MIN.load(Ordering::Relaxed) {
            0 => len > self.0.bytes_max().unwrap_or(COUNTED_BYTES_MAX),
            bytes_min => len >= bytes_min,
        }
    }

    /// Whether an item of so many bytes fits into a node.
    #[inline]
    pub fn has_room(self, node: &Node, len: usize) -> bool {
        let bytes = node.bytes() + len + ENTRY_EXTRA_BYTES;
        !node.is_plain() && !self.is_large(len) && !self.0.is_exceeded(bytes, node.count() + 1)
    }

    /// Whether two nodes fit into one.
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

/// What a node holds, as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeView<'a> {
    /// A listpack with at least one item.
    Packed(&'a [u8]),
    /// The text of one large item.
    Plain(&'a [u8]),
}

/// The items of a node, or some of them.
#[derive(Clone, Debug)]
pub(super) enum NodeItems<'a> {
    Packed(listpack::Iter<'a>),
    Plain(Option<&'a [u8]>),
}

impl<'a> NodeItems<'a> {
    /// Those of a listpack with `count` items that have these numbers.
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

/// Where the entries with these numbers lie in a listpack of `count` items.
fn offsets(bytes: &[u8], range: Range<usize>, count: usize) -> Range<usize> {
    let end = if range.end >= count {
        listpack::total_bytes(bytes) - 1
    } else {
        listpack::seek(bytes, range.end, count)
    };
    listpack::seek(bytes, range.start, count)..end
}

/// Removes the items with these numbers.
pub(super) fn remove_from_pack(pack: &mut Listpack, range: Range<usize>) {
    let count = range.len();
    let offsets = offsets(pack.as_bytes(), range, pack.count());
    pack.remove_range(offsets, count);
}

/// Removes items that are `wanted`, at most so many, first those next to an end. How many.
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
    /// A listpack of one item.
    pub fn packed(text: &[u8]) -> Node {
        let mut pack = Listpack::new();
        pack.append(&Item::of(text));
        Node { body: Body::Packed(pack), count: 1 }
    }

    pub fn of_pack(pack: Listpack) -> Node {
        Node { count: pack.count() as u32, body: Body::Packed(pack) }
    }

    /// One item as it is.
    pub fn plain(text: &[u8]) -> Node {
        Node { body: Body::Plain(text.into()), count: 1 }
    }

    /// Without items, and without memory: what stays of a node that is taken away.
    pub fn void() -> Node {
        Node { body: Body::Plain(Box::default()), count: 0 }
    }

    /// How many items there are.
    #[inline]
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Bytes that count by the limits.
    #[inline]
    pub fn bytes(&self) -> usize {
        match &self.body {
            Body::Packed(pack) => pack.total_bytes(),
            Body::Plain(text) => text.len(),
        }
    }

    /// Bytes of memory behind the node.
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

    /// The listpack, if it is one.
    pub fn into_pack(self) -> Option<Listpack> {
        match self.body {
            Body::Packed(pack) => Some(pack),
            Body::Plain(_) => None,
        }
    }

    /// The items with these numbers.
    pub fn items(&self, range: Range<usize>) -> NodeItems<'_> {
        match &self.body {
            Body::Packed(pack) => NodeItems::of_pack(pack.as_bytes(), range, self.count()),
            Body::Plain(text) => NodeItems::Plain((!range.is_empty()).then_some(text)),
        }
    }

    fn pack_mut(&mut self) -> &mut Listpack {
        match &mut self.body {
            Body::Packed(pack) => pack,
            Body::Plain(_) => unreachable!("a large item is alone in its node"),
        }
    }

    /// Adds an item at an end.
    #[inline]
    pub fn add(&mut self, end: End, text: &[u8]) {
        self.count += 1;
        match end {
            End::Left => self.pack_mut().prepend(&Item::of(text)),
            End::Right => self.pack_mut().append(&Item::of(text)),
        }
    }

    /// Takes the item at an end away; `take` is shown it first.
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

    /// Adds an item before number `offset`.
    pub fn insert(&mut self, offset: usize, text: &[u8]) {
        let count = self.count();
        let pack = self.pack_mut();
        let at = listpack::seek(pack.as_bytes(), offset, count);
        pack.insert(at, &Item::of(text));
        self.count += 1;
    }

    /// Puts an item in the place of number `offset`.
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

    /// Removes the items with these numbers.
    pub fn remove(&mut self, range: Range<usize>) {
        self.count -= range.len() as u32;
        if self.count > 0 {
            remove_from_pack(self.pack_mut(), range);
        }
    }

    /// See [`remove_equal_from_pack`].
    pub fn remove_equal(&mut self, end: End, count_max: usize, wanted: &Item<'_>) -> usize {
        let removed = match &mut self.body {
            Body::Packed(pack) => remove_equal_from_pack(pack, end, count_max, wanted),
            Body::Plain(text) => usize::from(count_max > 0 && Item::of(text) == *wanted),
        };
        self.count -= removed as u32;
        removed
    }

    /// Gives the items from number `offset` on to a new node.
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

    /// Takes over all items of the node behind it.
    pub fn append(&mut self, other: &Node) {
        let NodeView::Packed(bytes) = other.view() else {
            unreachable!("a large item is alone in its node")
        };
        let pack = self.pack_mut();
        let entries = &bytes[listpack::HEAD_BYTES..bytes.len() - 1];
        pack.insert_entries(pack.end(), entries, other.count());
        self.count += other.count;
    }

    /// Asserts what must hold.
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
