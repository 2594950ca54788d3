//! A node: a run of entries in one listpack.
//!
//! ```text
//!   head    live, deleted, fields, name, name, ..., 0
//!   entry   flags, ms, seq, value, value, ..., items                     flag 2: names of the head
//!   entry   flags, ms, seq, fields, name, value, name, value, ..., items
//! ```
//! `ms` and `seq` are relative to the node's id, which is the id of its first entry. `items` is the
//! number of preceding items of the entry, for reading backwards. Flag 1 marks a deleted entry. A
//! deleted entry stays until no live entry of its node is left. Two entries `1-0 a 1` and `1-5 b x`
//! in a node `1-0`:
//!
//! ```text
//!   2 0 1 a 0 | 2 0 0 1 4 | 0 0 5 1 b x 6
//! ```

use super::body::Body;
use super::entries::{Entry, Fields};
use super::id::Id;
use super::listpack;
use crate::value::pack::Item;

const DELETED: i64 = 1;
const SAME_NAMES: i64 = 2;

/// The most bytes of text in an entry. A node that would reach this size is full.
pub const NODE_BYTES_MAX: usize = 1 << 30;

/// The limits at which a node is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `stream-node-max-bytes`; 0 for no limit.
    pub node_bytes: u64,
    /// `stream-node-max-entries`; 0 for no limit.
    pub node_entries: u64,
}

/// A run of entries.
#[derive(Clone, Debug)]
pub struct Node {
    /// The id that entry ids are relative to.
    pub(super) id: Id,
    /// The listpack.
    pub(super) bytes: Body,
}

/// The decoded head of a node.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub live: u64,
    pub deleted: u64,
    /// Number of field names in the head.
    fields: u64,
    /// Offset of the first of these names.
    names_at: usize,
}

/// An entry, live or deleted, and its location.
#[derive(Clone, Copy)]
pub(super) struct Raw<'a> {
    pub entry: Entry<'a>,
    pub is_deleted: bool,
    /// Offset of the entry's flags.
    at: usize,
}

impl Node {
    /// Creates a node without entries, with an id and the field names for its head.
    pub(super) fn new<'f>(
        id: Id,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
    ) -> Node {
        let mut bytes = Vec::new();
        listpack::begin(&mut bytes);
        listpack::open(&mut bytes);
        let count = fields.clone().count();
        for number in [0, 0, count as i64] {
            listpack::push_int(&mut bytes, number);
        }
        fields.for_each(|(name, _)| listpack::push(&mut bytes, &Item::of(name)));
        listpack::push_int(&mut bytes, 0);
        listpack::close(&mut bytes, count + 4);
        Node { id, bytes: Body::Own(bytes) }
    }

    /// Returns the node's id and its listpack.
    pub fn parts(&self) -> (Id, &[u8]) {
        (self.id, &self.bytes)
    }

    pub(super) fn head(&self) -> Head {
        let bytes = &self.bytes;
        let (live, at) = listpack::read_int(bytes, listpack::HEAD_BYTES);
        let (deleted, at) = listpack::read_int(bytes, at);
        let (fields, names_at) = listpack::read_int(bytes, at);
        Head { live: live as u64, deleted: deleted as u64, fields: fields as u64, names_at }
    }

    /// Returns whether an entry with `text_bytes` bytes of text must begin a new node.
    pub(super) fn is_full(&self, text_bytes: usize, limits: &Limits) -> bool {
        let largest = NODE_BYTES_MAX as u64;
        let bytes_max = match limits.node_bytes {
            0 => largest,
            bytes => bytes.min(largest),
        };
        let head = self.head();
        (self.bytes.len() + text_bytes) as u64 >= bytes_max
            || (limits.node_entries > 0 && head.live + head.deleted >= limits.node_entries)
    }

    /// Appends an entry.
    pub(super) fn push<'f>(
        &mut self,
        id: Id,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
    ) {
        let head = self.head();
        listpack::replace_int(self.bytes.to_mut(), listpack::HEAD_BYTES, head.live as i64 + 1);
        let count = fields.clone().count();
        let same = count as u64 == head.fields && self.has_names(fields.clone());
        let flags = if same { SAME_NAMES } else { 0 };
        listpack::open(self.bytes.to_mut());
        let deltas = [id.ms.wrapping_sub(self.id.ms), id.seq.wrapping_sub(self.id.seq)];
        for number in [flags, deltas[0] as i64, deltas[1] as i64] {
            listpack::push_int(self.bytes.to_mut(), number);
        }
        let mut items = 3 + count;
        if !same {
            listpack::push_int(self.bytes.to_mut(), count as i64);
            items += 1 + count;
        }
        for (name, value) in fields {
            if !same {
                listpack::push(self.bytes.to_mut(), &Item::of(name));
            }
            listpack::push(self.bytes.to_mut(), &Item::of(value));
        }
        listpack::push_int(self.bytes.to_mut(), items as i64);
        listpack::close(self.bytes.to_mut(), items + 1);
    }

    /// Returns whether the head's names begin with the names of `fields`.
    fn has_names<'f>(&self, fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) -> bool {
        let mut at = self.head().names_at;
        for (name, _) in fields {
            let (item, next) = listpack::read(&self.bytes, at);
            if item != Item::of(name) {
                return false;
            }
            at = next;
        }
        true
    }

    /// Marks the live entry at offset `at` ([`Raw::at`]) as deleted.
    pub(super) fn delete(&mut self, at: usize) {
        // Flags take one byte.
        debug_assert!(self.bytes[at] as i64 & DELETED == 0);
        self.bytes.to_mut()[at] |= DELETED as u8;
        self.count_deleted(1);
    }

    /// Moves `entries` entries from the live count to the deleted count in the head.
    fn count_deleted(&mut self, entries: u64) {
        let head = self.head();
        let deleted_at = listpack::skip(&self.bytes, listpack::HEAD_BYTES);
        // The later number is replaced first, so that the offset of the other one stays valid.
        listpack::replace_int(self.bytes.to_mut(), deleted_at, (head.deleted + entries) as i64);
        listpack::replace_int(
            self.bytes.to_mut(),
            listpack::HEAD_BYTES,
            (head.live - entries) as i64,
        );
    }

    /// Marks live entries from the front as deleted, while `wants` accepts the id and the number of
    /// entries deleted so far. Returns the number of deleted entries.
    pub(super) fn delete_front(&mut self, mut wants: impl FnMut(Id, u64) -> bool) -> u64 {
        let mut places = Vec::new();
        for raw in self.walk() {
            if !wants(raw.entry.id, places.len() as u64) {
                break;
            }
            if !raw.is_deleted {
                places.push(raw.at);
            }
        }
        for at in &places {
            self.bytes.to_mut()[*at] |= DELETED as u8;
        }
        self.count_deleted(places.len() as u64);
        places.len() as u64
    }

    /// Iterates over the entries from the front, including deleted ones.
    pub(super) fn walk(&self) -> Walk<'_> {
        let head = self.head();
        let at = (0..head.fields).fold(head.names_at, |at, _| listpack::skip(&self.bytes, at));
        Walk { node: self, head, at: listpack::skip(&self.bytes, at) }
    }

    /// Iterates over the entries from the back, including deleted ones.
    pub(super) fn walk_back(&self) -> WalkBack<'_> {
        WalkBack { node: self, head: self.head(), at: listpack::end(&self.bytes) }
    }

    /// Returns the entry that begins at `begin`, and the offset of the next entry.
    fn entry_at(&self, head: &Head, begin: usize) -> (Raw<'_>, usize) {
        let bytes = &self.bytes;
        let (flags, at) = listpack::read_int(bytes, begin);
        let (ms, at) = listpack::read_int(bytes, at);
        let (seq, mut at) = listpack::read_int(bytes, at);
        let id = Id::new(self.id.ms.wrapping_add(ms as u64), self.id.seq.wrapping_add(seq as u64));
        let has_same = flags & SAME_NAMES != 0;
        let mut fields = head.fields;
        if !has_same {
            let (count, next) = listpack::read_int(bytes, at);
            (fields, at) = (count as u64, next);
        }
        let names_at = has_same.then_some(head.names_at);
        let items = if has_same { fields } else { 2 * fields };
        let fields = Fields::new(bytes, names_at, at, fields as usize);
        let end = (0..items).fold(at, |at, _| listpack::skip(bytes, at));
        let is_deleted = flags & DELETED != 0;
        (Raw { entry: Entry { id, fields }, is_deleted, at: begin }, listpack::skip(bytes, end))
    }

    /// Returns the id of the last entry, including deleted ones; none if there is no entry.
    pub(super) fn last_id(&self) -> Option<Id> {
        self.walk_back().next().map(|raw| raw.entry.id)
    }

    /// Returns the offset of a live entry.
    pub(super) fn find(&self, id: Id) -> Option<usize> {
        self.walk()
            .take_while(|raw| raw.entry.id <= id)
            .find_map(|raw| (raw.entry.id == id && !raw.is_deleted).then_some(raw.at))
    }

    /// Creates a node from a listpack from outside. Returns none if it is invalid or its ids do not
    /// ascend.
    pub(super) fn load(id: Id, bytes: Vec<u8>) -> Option<Node> {
        check(&bytes)?;
        let node = Node { id, bytes: Body::Own(bytes) };
        let mut last = None;
        for raw in node.walk() {
            if last.is_some_and(|last| last >= raw.entry.id) {
                return None;
            }
            last = Some(raw.entry.id);
        }
        last.map(|_| node)
    }
}

/// Iterator over the entries of a node from the front.
pub(super) struct Walk<'a> {
    node: &'a Node,
    head: Head,
    at: usize,
}

impl<'a> Iterator for Walk<'a> {
    type Item = Raw<'a>;

    fn next(&mut self) -> Option<Raw<'a>> {
        if listpack::is_end(&self.node.bytes, self.at) {
            return None;
        }
        let (raw, next) = self.node.entry_at(&self.head, self.at);
        self.at = next;
        Some(raw)
    }
}

/// Iterator over the entries of a node from the back.
pub(super) struct WalkBack<'a> {
    node: &'a Node,
    head: Head,
    /// End of the next entry.
    at: usize,
}

impl<'a> Iterator for WalkBack<'a> {
    type Item = Raw<'a>;

    fn next(&mut self) -> Option<Raw<'a>> {
        let bytes = &self.node.bytes;
        let mut at = listpack::back(bytes, self.at);
        let (items, _) = listpack::read_int(bytes, at);
        if items == 0 {
            // The end of the head.
            return None;
        }
        for _ in 0..items {
            at = listpack::back(bytes, at);
        }
        self.at = at;
        Some(self.node.entry_at(&self.head, at).0)
    }
}

/// Checks that a listpack from outside consists of a head and entries. Returns none if it does not.
fn check(bytes: &[u8]) -> Option<()> {
    let mut reader = Reader { bytes, at: listpack::check(bytes)? };
    let live = reader.count()?;
    let deleted = reader.count()?;
    let names = reader.count()?;
    reader.skip(names)?;
    if reader.int()? != 0 {
        return None;
    }
    let mut seen = [0; 2];
    while !listpack::is_end(bytes, reader.at) {
        // Flags are changed in place, so they must take one byte.
        let is_small = bytes[reader.at] <= 0x7f;
        let flags = reader.int().filter(|_| is_small)?;
        seen[usize::from(flags & DELETED != 0)] += 1;
        reader.int()?;
        reader.int()?;
        let (fields, items) = if flags & SAME_NAMES != 0 {
            (names, names + 3)
        } else {
            let fields = reader.count()?;
            (fields.checked_mul(2)?, fields.checked_mul(2)? + 4)
        };
        reader.skip(fields)?;
        if reader.count()? != items {
            return None;
        }
    }
    (seen == [live, deleted]).then_some(())
}

/// Reads a valid listpack whose items may have unexpected kinds.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn int(&mut self) -> Option<i64> {
        if listpack::is_end(self.bytes, self.at) {
            return None;
        }
        let (Item::Int(number), next) = listpack::read(self.bytes, self.at) else { return None };
        self.at = next;
        Some(number)
    }

    fn count(&mut self) -> Option<u64> {
        u64::try_from(self.int()?).ok()
    }

    fn skip(&mut self, items: u64) -> Option<()> {
        for _ in 0..items {
            if listpack::is_end(self.bytes, self.at) {
                return None;
            }
            self.at = listpack::skip(self.bytes, self.at);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_frozen() {
        let one: [(&[u8], &[u8]); 1] = [(b"a", b"1")];
        let other: [(&[u8], &[u8]); 1] = [(b"b", b"x")];
        let mut node = Node::new(Id::new(1, 0), one.into_iter());
        node.push(Id::new(1, 0), one.into_iter());
        node.push(Id::new(1, 5), other.into_iter());
        let expected = b"\x2c\0\0\0\x11\0\x02\x01\0\x01\x01\x01\x81a\x02\0\x01\
            \x02\x01\0\x01\0\x01\x01\x01\x04\x01\
            \0\x01\0\x01\x05\x01\x01\x01\x81b\x02\x81x\x02\x06\x01\xff";
        assert_eq!(node.bytes[..], expected[..]);
        assert!(Node::load(node.id, node.bytes.to_vec()).is_some());
        node.delete(node.find(Id::new(1, 5)).unwrap());
        assert_eq!(node.find(Id::new(1, 5)), None);
        assert!(Node::load(node.id, node.bytes.to_vec()).is_some());
        let mut wrong = node.bytes.to_vec();
        wrong[6] = 2;
        assert!(Node::load(node.id, wrong).is_none(), "the counts in the head are wrong");
    }

    #[test]
    fn a_changed_byte_never_panics() {
        let one: [(&[u8], &[u8]); 2] = [(b"a", b"1"), (b"b", b"xyz")];
        let mut node = Node::new(Id::new(1, 0), one.into_iter());
        node.push(Id::new(1, 0), one.into_iter());
        node.push(Id::new(1, 5), one[..1].iter().copied());
        for at in 0..node.bytes.len() {
            for bit in 0..8 {
                let mut bytes = node.bytes.to_vec();
                bytes[at] ^= 1 << bit;
                if let Some(node) = Node::load(node.id, bytes) {
                    assert_eq!(node.walk().count(), node.walk_back().count());
                    let _: usize = node.walk().map(|raw| raw.entry.fields.count()).sum();
                }
            }
        }
    }
}
