//! A page: the elements of one interval of positions, in one block of memory. Hot.
//!
//! ```text
//!   00  u32   number of the page
//!   04  u32   elements
//!   08  u32   room: number of places for tags and ends, a multiple of 8; + 1 if ends are wide
//!   0c  u8    tag of each element: 8 bits of its hash                        x room
//!       u16   end offset of each element, from the first element's bytes      x room
//!             (u32 if ends are wide: if the block was made for more than 65,535 data bytes)
//!       ..    the elements' bytes, without gaps; then free space
//! ```
//!
//! Elements are in insertion order. A page without elements has no block. Numbers are
//! little-endian.

use super::element::{Draft, Stored, VOLATILE, VOLATILE_BYTES};
use crate::value::pack::Item;
use std::ops::Range;

const LEN_AT: usize = 4;
const ROOM_AT: usize = 8;
const HEAD_BYTES: usize = 12;

/// The room grows by this number of places.
const ROOM_STEP: usize = 8;

/// Bytes of an end offset in a page of at most 65,535 data bytes.
const NARROW: usize = 2;

/// Bytes of an end offset in a page of more data bytes.
const WIDE: usize = 4;

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const LOW_SEVEN: u64 = 0x7f * LOW_BITS;

/// Returns the size in bytes of a block for `len` elements of `data_bytes` bytes in all.
pub fn bytes_for(len: usize, data_bytes: usize) -> usize {
    HEAD_BYTES + (1 + width_for(data_bytes)) * len.next_multiple_of(ROOM_STEP) + data_bytes
}

fn width_for(data_bytes: usize) -> usize {
    if data_bytes > usize::from(u16::MAX) { WIDE } else { NARROW }
}

/// A page for reading: the elements whose positions lie in one interval.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    bytes: &'a [u8],
}

impl<'a> Page<'a> {
    /// A page without elements.
    pub const EMPTY: Page<'static> = Page { bytes: &[] };

    /// Wraps the bytes of a block that holds a page.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Page<'a> {
        Page { bytes }
    }

    #[inline]
    fn u32_at(self, at: usize) -> usize {
        u32::from_le_bytes(*self.bytes[at..].first_chunk().expect("4 bytes")) as usize
    }

    /// Returns the page's number.
    pub fn number(self) -> usize {
        self.u32_at(0)
    }

    /// Returns the number of elements.
    #[inline]
    pub fn len(self) -> usize {
        if self.bytes.is_empty() { 0 } else { self.u32_at(LEN_AT) }
    }

    /// Returns the number of places, and the width of an end offset in bytes.
    #[inline]
    fn room(self) -> (usize, usize) {
        if self.bytes.is_empty() {
            return (0, NARROW);
        }
        let room = self.u32_at(ROOM_AT);
        (room & !1, if room & 1 == 0 { NARROW } else { WIDE })
    }

    #[inline]
    fn data_start(self) -> usize {
        let (room, width) = self.room();
        HEAD_BYTES + (1 + width) * room
    }

    /// Returns where in the block the end offset of an element is stored.
    #[inline]
    fn end_at(self, index: usize) -> usize {
        let (room, width) = self.room();
        HEAD_BYTES + room + width * index
    }

    /// Returns where an element begins, counted from the first element's bytes. For `index` equal
    /// to the number of elements, returns where the next element would begin.
    #[inline]
    fn start(self, index: usize) -> usize {
        if index == 0 {
            return 0;
        }
        let at = self.end_at(index - 1);
        match self.room().1 {
            NARROW => usize::from(u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])),
            _ => self.u32_at(at),
        }
    }

    /// Returns the bytes of all elements.
    pub fn data_bytes(self) -> usize {
        self.start(self.len())
    }

    /// Returns the tag of an element.
    #[inline]
    pub fn tag(self, index: usize) -> u8 {
        self.bytes[HEAD_BYTES + index]
    }

    #[inline]
    fn raw_range(self, index: usize) -> Range<usize> {
        let data = self.data_start();
        data + self.start(index)..data + self.start(index + 1)
    }

    /// Returns the bytes of an element.
    #[inline]
    pub fn raw(self, index: usize) -> &'a [u8] {
        &self.bytes[self.raw_range(index)]
    }

    /// Returns an element, decoded.
    #[inline]
    pub fn stored(self, index: usize) -> Stored<'a> {
        Stored::of(self.raw(index))
    }

    /// Iterates over the elements in insertion order.
    pub fn iter(self) -> impl Iterator<Item = Stored<'a>> {
        (0..self.len()).map(move |index| self.stored(index))
    }

    /// Returns the index of the element with this tag and key. Compares eight tags per step.
    #[inline]
    pub fn find(self, tag: u8, key: &Item<'_>) -> Option<usize> {
        let len = self.len();
        if len == 0 {
            return None;
        }
        let pattern = u64::from(tag) * LOW_BITS;
        let tags = &self.bytes[HEAD_BYTES..HEAD_BYTES + self.room().0];
        let (eights, _) = tags.as_chunks::<ROOM_STEP>();
        for (at, eight) in eights.iter().enumerate() {
            let differs = u64::from_le_bytes(*eight) ^ pattern;
            let mut found = !(((differs & LOW_SEVEN) + LOW_SEVEN) | differs | LOW_SEVEN);
            while found != 0 {
                let index = at * ROOM_STEP + found.trailing_zeros() as usize / 8;
                if index < len && self.stored(index).has_key(key) {
                    return Some(index);
                }
                found &= found - 1;
            }
        }
        None
    }

    /// Returns whether the block has room for `len` elements of `data_bytes` bytes in all.
    #[inline]
    pub fn fits(self, len: usize, data_bytes: usize) -> bool {
        let (room, width) = self.room();
        len <= room
            && self.data_start() + data_bytes <= self.bytes.len()
            && (width == WIDE || data_bytes <= usize::from(u16::MAX))
    }

    /// Asserts the invariants of the page.
    pub fn check(self) {
        let (len, (room, _)) = (self.len(), self.room());
        assert!(len > 0, "a page with a block has elements");
        assert!(len <= room && room.is_multiple_of(ROOM_STEP));
        assert!((0..len).all(|index| self.start(index) < self.start(index + 1)));
        assert!(self.fits(len, self.data_bytes()));
    }
}

/// A page for changes. The block must have room for everything that is added.
#[derive(Debug)]
pub struct PageMut<'a> {
    bytes: &'a mut [u8],
}

impl<'a> PageMut<'a> {
    /// Wraps the bytes of a block that holds a page.
    pub fn new(bytes: &'a mut [u8]) -> PageMut<'a> {
        PageMut { bytes }
    }

    /// Creates an empty page in a block of `bytes_for(len, data_bytes)` bytes; see [`bytes_for`].
    pub fn begin(bytes: &'a mut [u8], number: usize, len: usize, data_bytes: usize) -> PageMut<'a> {
        let mut page = PageMut { bytes };
        page.put_u32(0, number);
        page.put_u32(LEN_AT, 0);
        let is_wide = width_for(data_bytes) == WIDE;
        page.put_u32(ROOM_AT, len.next_multiple_of(ROOM_STEP) | usize::from(is_wide));
        page
    }

    /// Returns the page for reading.
    #[inline]
    pub fn page(&self) -> Page<'_> {
        Page { bytes: self.bytes }
    }

    fn put_u32(&mut self, at: usize, number: usize) {
        let number = u32::try_from(number).expect("a page is small");
        self.bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }

    fn put_end(&mut self, index: usize, end: usize) {
        let at = self.page().end_at(index);
        if self.page().room().1 == NARROW {
            let end = u16::try_from(end).expect("a narrow page has at most 65,535 data bytes");
            self.bytes[at..at + 2].copy_from_slice(&end.to_le_bytes());
        } else {
            self.put_u32(at, end);
        }
    }

    /// Copies all elements of another page to this page, which must be empty.
    pub fn copy_from(&mut self, old: Page<'_>) {
        let count = old.len();
        if count == 0 {
            return;
        }
        self.put_u32(LEN_AT, count);
        let tags = HEAD_BYTES..HEAD_BYTES + count;
        self.bytes[tags.clone()].copy_from_slice(&old.bytes[tags]);
        if self.page().room().1 == old.room().1 {
            let ends = self.page().end_at(0)..self.page().end_at(count);
            self.bytes[ends].copy_from_slice(&old.bytes[old.end_at(0)..old.end_at(count)]);
        } else {
            (0..count).for_each(|index| self.put_end(index, old.start(index + 1)));
        }
        let (from, to) = (old.data_start(), self.page().data_start());
        let bytes = old.data_bytes();
        self.bytes[to..to + bytes].copy_from_slice(&old.bytes[from..from + bytes]);
    }

    /// Adds an element of `size` bytes, which `fill` writes. The element's key must be new to the
    /// page.
    #[inline]
    pub fn push(&mut self, tag: u8, size: usize, fill: impl FnOnce(&mut [u8])) {
        let (len, data_bytes) = (self.page().len(), self.page().data_bytes());
        self.put_u32(LEN_AT, len + 1);
        self.bytes[HEAD_BYTES + len] = tag;
        self.put_end(len, data_bytes + size);
        let start = self.page().data_start() + data_bytes;
        fill(&mut self.bytes[start..start + size]);
    }

    /// Adds a copy of an element's bytes in another page.
    pub fn push_raw(&mut self, tag: u8, raw: &[u8]) {
        self.push(tag, raw.len(), |out| out.copy_from_slice(raw));
    }

    /// Returns the bytes of an element, for changes in place.
    pub fn raw_mut(&mut self, index: usize) -> &mut [u8] {
        let range = self.page().raw_range(index);
        &mut self.bytes[range]
    }

    /// Replaces an element by another element with the same key. If the old element was kept
    /// apart, its block must have been freed.
    pub fn replace(&mut self, index: usize, draft: &Draft<'_>) {
        let (start, old_end) = (self.page().start(index), self.page().start(index + 1));
        let end = start + draft.size();
        if end != old_end {
            self.shift(index, old_end, end);
        }
        draft.fill(self.raw_mut(index));
    }

    /// Moves the end of an element and all later elements.
    fn shift(&mut self, index: usize, from: usize, to: usize) {
        let (len, data_bytes) = (self.page().len(), self.page().data_bytes());
        let data = self.page().data_start();
        self.bytes.copy_within(data + from..data + data_bytes, data + to);
        self.move_ends(index..len, from, to);
    }

    fn move_ends(&mut self, indexes: Range<usize>, from: usize, to: usize) {
        for index in indexes {
            self.put_end(index, self.page().start(index + 1) - from + to);
        }
    }

    /// Sets or clears the expiry (Unix ms) of an element. A block that is kept apart stays.
    pub fn set_expiry(&mut self, index: usize, expiry: Option<u64>) {
        let (start, end) = (self.page().start(index), self.page().start(index + 1));
        let is_volatile = self.page().raw(index)[0] == VOLATILE;
        if is_volatile && expiry.is_none() {
            self.raw_mut(index).copy_within(VOLATILE_BYTES.., 0);
            self.shift(index, end, end - VOLATILE_BYTES);
            return;
        }
        let Some(expiry) = expiry else { return };
        if !is_volatile {
            self.shift(index, end, end + VOLATILE_BYTES);
            self.raw_mut(index).copy_within(..end - start, VOLATILE_BYTES);
        }
        let raw = self.raw_mut(index);
        raw[0] = VOLATILE;
        raw[1..VOLATILE_BYTES].copy_from_slice(&expiry.to_le_bytes());
    }

    /// Removes an element. Its block must have been freed, if it was kept apart.
    pub fn remove(&mut self, index: usize) {
        let page = self.page();
        let (len, data_bytes) = (page.len(), page.data_bytes());
        let (start, end, data) = (page.start(index), page.start(index + 1), page.data_start());
        let (ends, to) = (page.end_at(index + 1)..page.end_at(len), page.end_at(index));
        self.bytes.copy_within(data + end..data + data_bytes, data + start);
        self.move_ends(index + 1..len, end, start);
        self.bytes.copy_within(HEAD_BYTES + index + 1..HEAD_BYTES + len, HEAD_BYTES + index);
        self.bytes.copy_within(ends, to);
        self.put_u32(LEN_AT, len - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_frozen() {
        let mut block = [0; 64];
        let mut page = PageMut::begin(&mut block, 258, 2, 16);
        for (tag, draft) in [
            (0xaa, Draft::new(&Item::Bytes(b"abc"), None, None)),
            (0xbb, Draft::new(&Item::Int(7), Some(&Item::Bytes(b"x")), Some(258))),
        ] {
            page.push(tag, draft.size(), |out| draft.fill(out));
        }
        let mut expected = b"\x02\x01\0\0\x02\0\0\0\x08\0\0\0".to_vec();
        expected.extend_from_slice(b"\xaa\xbb\0\0\0\0\0\0\x04\0\x10\0");
        expected.extend_from_slice(&[0; 12]);
        expected.extend_from_slice(b"\x03abc\xf8\x02\x01\0\0\0\0\0\0\xc7\x01x");
        assert_eq!(expected.len(), bytes_for(2, 16));
        assert_eq!(page.bytes[..expected.len()], expected);
        page.remove(0);
        assert_eq!(page.bytes[..14], *b"\x02\x01\0\0\x01\0\0\0\x08\0\0\0\xbb\xbb");
        let page = page.page();
        page.check();
        assert_eq!(page.number(), 258);
        assert_eq!(page.find(0xbb, &Item::Int(7)), Some(0));
        assert_eq!(page.find(0xbb, &Item::Int(8)), None);
    }

    #[test]
    fn elements_are_found_at_every_place() {
        let mut block = vec![0; bytes_for(100, 300)];
        let mut page = PageMut::begin(&mut block, 0, 100, 300);
        let name = |number: u8| [b'a' + number % 16, b'a' + number / 16];
        for number in 0..100 {
            let name = name(number);
            let draft = Draft::new(&Item::Bytes(&name), None, None);
            page.push(number % 3, draft.size(), |out| draft.fill(out));
            page.page().check();
        }
        for number in 0..100 {
            let found = page.page().find(number % 3, &Item::Bytes(&name(number)));
            assert_eq!(found, Some(usize::from(number)));
        }
    }

    #[test]
    fn a_page_of_many_bytes_has_wide_ends() {
        let bytes = 400 * 253;
        let mut block = vec![0; bytes_for(400, bytes)];
        let mut page = PageMut::begin(&mut block, 0, 400, bytes);
        let name = |number: usize| format!("{number:0>250}");
        for number in 0..400 {
            let name = name(number);
            let draft = Draft::new(&Item::Bytes(name.as_bytes()), None, None);
            page.push(number as u8, draft.size(), |out| draft.fill(out));
        }
        let has = |page: Page<'_>, number: usize| {
            page.find(number as u8, &Item::Bytes(name(number).as_bytes())).is_some()
        };
        assert!((0..400).all(|number| has(page.page(), number)));
        (0..350).for_each(|_| page.remove(0));
        page.page().check();
        let mut small = vec![0; bytes_for(50, page.page().data_bytes())];
        let mut copy = PageMut::begin(&mut small, 0, 50, page.page().data_bytes());
        copy.copy_from(page.page());
        copy.page().check();
        assert!((0..350).all(|number| !has(copy.page(), number)));
        assert!((350..400).all(|number| has(copy.page(), number)));
    }
}
