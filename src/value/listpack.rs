//! Listpacks: items in the binary format of the reference server. A listpack can be read from both
//! ends, and snapshots contain its bytes unchanged.
//!
//! ```text
//!   u32 total bytes | u16 number of items, ffff: unknown | entry entry ... | ff
//!
//!   entry:  head, text or number, back
//!   back:   length of head and text or number, 7 bits a byte, high bits first; bit 7 is set in
//!           all bytes but the first
//!   0xxxxxxx  0..=127            1110xxxx u8  text of up to 4095 bytes     f1  i16    f3  i32
//!   10xxxxxx  text of up to 63   f0 u32       longer text                  f2  i24    f4  i64
//!   110xxxxx u8  -4096..=4095
//! ```
//! The lengths in `1110xxxx` and the numbers in `110xxxxx` have their high bits first; all others
//! are little-endian. Text that is a 64-bit integer in canonical form is stored as a number: `12 ab
//! -7` is `10000000 0300 0c01 82616203 dff902 ff`.
//!
//! In memory a listpack may have spare room after its end, so that not every new item reallocates.

use super::pack::Item;
use crate::base::alloc::class_bytes;
use std::ops::Range;

/// Bytes before the first entry.
pub const HEAD_BYTES: usize = 6;

/// Bytes of a listpack without items.
pub const EMPTY_BYTES: usize = HEAD_BYTES + 1;

/// Count in the head for an unknown number of items: 65,535 or more items do not fit there.
pub(super) const COUNT_UNKNOWN: u16 = u16::MAX;

/// The last byte of a listpack.
pub(super) const END: u8 = 0xff;

const TEXT6: u8 = 0x80;
const INT13: u8 = 0xc0;
const TEXT12: u8 = 0xe0;
const TEXT32: u8 = 0xf0;
const INT16: u8 = 0xf1;
const INT24: u8 = 0xf2;
const INT32: u8 = 0xf3;
const INT64: u8 = 0xf4;

/// Returns the bytes of an item's entry, with head and back.
#[inline]
pub fn entry_bytes(item: &Item<'_>) -> usize {
    let len = front_bytes(item);
    len + back_bytes(len)
}

/// Returns the bytes of an item's entry without its back.
#[inline]
fn front_bytes(item: &Item<'_>) -> usize {
    match *item {
        Item::Int(0..=127) => 1,
        Item::Int(-4096..=4095) => 2,
        Item::Int(-0x8000..=0x7fff) => 3,
        Item::Int(-0x80_0000..=0x7f_ffff) => 4,
        Item::Int(-0x8000_0000..=0x7fff_ffff) => 5,
        Item::Int(_) => 9,
        Item::Bytes(text) if text.len() < 1 << 6 => 1 + text.len(),
        Item::Bytes(text) if text.len() < 1 << 12 => 2 + text.len(),
        Item::Bytes(text) => 5 + text.len(),
    }
}

/// Returns the bytes of the back of an entry with `front` bytes before it.
#[inline]
fn back_bytes(front: usize) -> usize {
    match front {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => 5,
    }
}

/// Writes the back of an entry with `front` bytes before it. `out` must have the exact length of
/// the back.
#[inline]
fn write_back(out: &mut [u8], front: usize) {
    let mut left = front;
    for (at, byte) in out.iter_mut().enumerate().rev() {
        *byte = (left & 0x7f) as u8 | if at > 0 { 0x80 } else { 0 };
        left >>= 7;
    }
}

/// Writes an item's entry. `out` must have the exact length of the entry.
pub(super) fn write(out: &mut [u8], item: &Item<'_>) {
    let front = front_bytes(item);
    let (start, back) = out.split_at_mut(front);
    write_back(back, front);
    match *item {
        Item::Int(number) => {
            let low = number.to_le_bytes();
            match front {
                1 => start[0] = number as u8,
                2 => start.copy_from_slice(&[INT13 | low[1] & 0x1f, low[0]]),
                _ => {
                    start[0] = match front {
                        3 => INT16,
                        4 => INT24,
                        5 => INT32,
                        _ => INT64,
                    };
                    start[1..].copy_from_slice(&low[..front - 1]);
                }
            }
        }
        Item::Bytes(text) => {
            let len = (text.len() as u32).to_le_bytes();
            let (head, body) = start.split_at_mut(front - text.len());
            match head.len() {
                1 => head[0] = TEXT6 | len[0],
                2 => head.copy_from_slice(&[TEXT12 | len[1], len[0]]),
                _ => {
                    head[0] = TEXT32;
                    head[1..].copy_from_slice(&len);
                }
            }
            body.copy_from_slice(text);
        }
    }
}

/// Appends an item's entry, without updating the listpack's head.
#[inline]
pub(super) fn push_entry(out: &mut Vec<u8>, item: &Item<'_>) {
    let start = out.len();
    out.resize(start + entry_bytes(item), 0);
    write(&mut out[start..], item);
}

/// A decoded entry head.
#[derive(Clone, Copy)]
enum Front {
    /// A text: its offset in the entry and its length.
    Text(usize, usize),
    /// A number, and the bytes of the entry before the back.
    Int(i64, usize),
}

impl Front {
    /// Decodes the head at the start of `bytes`. Returns none if the head is invalid, or if the
    /// head or its number is cut off. A text may be cut off.
    #[inline]
    fn read(bytes: &[u8]) -> Option<Front> {
        let head = *bytes.first()?;
        Some(match head {
            0..TEXT6 => Front::Int(i64::from(head), 1),
            TEXT6..INT13 => Front::Text(1, usize::from(head & 0x3f)),
            INT13..TEXT12 => {
                let bits = u16::from(head & 0x1f) << 8 | u16::from(*bytes.get(1)?);
                // A signed number of 13 bits.
                Front::Int(i64::from((bits << 3) as i16 >> 3), 2)
            }
            TEXT12..TEXT32 => {
                let len = u16::from(head & 0x0f) << 8 | u16::from(*bytes.get(1)?);
                Front::Text(2, usize::from(len))
            }
            TEXT32 => {
                let len = bytes.get(1..5)?.try_into().expect("4 bytes");
                Front::Text(5, u32::from_le_bytes(len) as usize)
            }
            INT16..=INT64 => {
                let len = [2, 3, 4, 8][usize::from(head - INT16)];
                let low = bytes.get(1..=len)?;
                let mut number = if low[len - 1] & 0x80 == 0 { [0; 8] } else { [0xff; 8] };
                number[..len].copy_from_slice(low);
                Front::Int(i64::from_le_bytes(number), 1 + len)
            }
            _ => return None,
        })
    }

    /// Returns the bytes of the entry before the back.
    #[inline]
    fn len(self) -> usize {
        match self {
            Front::Text(start, len) => start + len,
            Front::Int(_, len) => len,
        }
    }
}

/// Returns the item of the entry at offset `at`, and the offset of the next entry.
#[inline]
pub fn read(bytes: &[u8], at: usize) -> (Item<'_>, usize) {
    let entry = &bytes[at..];
    let front = Front::read(entry).expect("`at` is an entry boundary");
    let item = match front {
        Front::Text(start, len) => Item::Bytes(&entry[start..start + len]),
        Front::Int(number, _) => Item::Int(number),
    };
    let len = front.len();
    (item, at + len + back_bytes(len))
}

/// Returns the offset of the entry that ends at offset `end`.
#[inline]
pub fn before(bytes: &[u8], end: usize) -> usize {
    let (len, back) = read_back(bytes, end).expect("`end` is an entry boundary");
    end - back - len
}

/// Reads the back of the entry that ends at `end`. Returns the value and the length of the back;
/// none if it is invalid.
#[inline]
fn read_back(bytes: &[u8], end: usize) -> Option<(usize, usize)> {
    let mut len = 0;
    for back in 0..5 {
        let byte = *bytes.get(end.checked_sub(back + 1)?)?;
        len |= usize::from(byte & 0x7f) << (7 * back);
        if byte & 0x80 == 0 {
            return Some((len, back + 1));
        }
    }
    None
}

/// Returns the total bytes of a listpack, from its head.
#[inline]
pub fn total_bytes(bytes: &[u8]) -> usize {
    u32::from_le_bytes(*bytes.first_chunk().expect("a listpack has a head")) as usize
}

/// Returns the number of items from the head; none if it is unknown.
#[inline]
fn head_count(bytes: &[u8]) -> Option<usize> {
    let count = u16::from_le_bytes([bytes[4], bytes[5]]);
    (count != COUNT_UNKNOWN).then_some(usize::from(count))
}

/// Returns the number of items. O(n) above 65,534 items.
#[inline]
pub fn count(bytes: &[u8]) -> usize {
    head_count(bytes).unwrap_or_else(|| iter(bytes).count())
}

/// Returns the offset of the item at `index`, searching from the nearer end. `count` is the number
/// of items.
pub fn seek(bytes: &[u8], index: usize, count: usize) -> usize {
    assert!(index <= count, "item {index} of {count}");
    let mut iter = iter(bytes);
    if index <= count / 2 {
        (0..index).for_each(|_| iter.skip_front());
        return iter.front;
    }
    (index..count).for_each(|_| iter.skip_back());
    iter.back
}

/// Checks that bytes from outside are a valid listpack. Returns the number of items, or none if
/// invalid. Without `deep` the entries are checked only if the head does not know their number.
/// Readers of a listpack with invalid entries may panic.
pub fn validate(bytes: &[u8], deep: bool) -> Option<usize> {
    if bytes.len() < EMPTY_BYTES || total_bytes(bytes) != bytes.len() || bytes.last() != Some(&END)
    {
        return None;
    }
    let said = head_count(bytes);
    if !deep && let Some(count) = said {
        return Some(count);
    }
    let end = bytes.len() - 1;
    let (mut at, mut count) = (HEAD_BYTES, 0);
    while at < end {
        let len = Front::read(&bytes[at..end])?.len();
        let next = at.checked_add(len)?.checked_add(back_bytes(len))?;
        if next > end || read_back(&bytes[..next], next) != Some((len, back_bytes(len))) {
            return None;
        }
        at = next;
        count += 1;
    }
    said.is_none_or(|said| said == count).then_some(count)
}

/// Iterator over the items of a listpack, from both ends.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    front: usize,
    back: usize,
}

/// Iterates over the items of a listpack. There may be spare room after its end.
#[inline]
pub fn iter(bytes: &[u8]) -> Iter<'_> {
    iter_range(bytes, HEAD_BYTES..total_bytes(bytes) - 1)
}

/// Iterates over the items between two offsets, both at entry boundaries.
#[inline]
pub fn iter_range(bytes: &[u8], range: Range<usize>) -> Iter<'_> {
    Iter { bytes, front: range.start, back: range.end }
}

impl<'a> Iter<'a> {
    /// Returns the offset of the next item and the end offset of the last item.
    #[inline]
    pub fn range(&self) -> Range<usize> {
        self.front..self.back
    }

    #[inline]
    fn skip_front(&mut self) {
        let front = Front::read(&self.bytes[self.front..]).expect("`at` is an entry boundary");
        self.front += front.len() + back_bytes(front.len());
    }

    #[inline]
    fn skip_back(&mut self) {
        self.back = before(self.bytes, self.back);
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (item, next) = read(self.bytes, self.front);
        self.front = next;
        Some(item)
    }
}

impl<'a> DoubleEndedIterator for Iter<'a> {
    #[inline]
    fn next_back(&mut self) -> Option<Item<'a>> {
        if self.front >= self.back {
            return None;
        }
        self.back = before(self.bytes, self.back);
        Some(read(self.bytes, self.back).0)
    }
}

/// An owned listpack of at most 4 GiB. Code that adds items must enforce this bound.
#[derive(Clone)]
pub struct Listpack {
    /// The listpack and the spare room after it.
    block: Box<[u8]>,
}

impl Default for Listpack {
    fn default() -> Listpack {
        Listpack::new()
    }
}

impl std::fmt::Debug for Listpack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Listpack {
    /// Creates an empty listpack.
    pub fn new() -> Listpack {
        Listpack::with_room(0)
    }

    /// Creates an empty listpack with room for entries of `entry_bytes` bytes in all.
    pub fn with_room(entry_bytes: usize) -> Listpack {
        let mut block = vec![0; class_bytes(EMPTY_BYTES + entry_bytes)].into_boxed_slice();
        block[HEAD_BYTES] = END;
        let mut listpack = Listpack { block };
        listpack.put_total(EMPTY_BYTES);
        listpack
    }

    /// Copies bytes that are a valid listpack; see [`validate`].
    pub fn from_bytes(bytes: &[u8]) -> Listpack {
        assert!(
            bytes.len() >= EMPTY_BYTES && total_bytes(bytes) == bytes.len(),
            "the head has the total length"
        );
        Listpack { block: bytes.into() }
    }

    /// Returns the listpack's bytes, without the spare room.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.block[..self.total_bytes()]
    }

    /// Returns the listpack's length in bytes, without the spare room.
    #[inline]
    pub fn total_bytes(&self) -> usize {
        total_bytes(&self.block)
    }

    /// Returns the bytes of memory behind the box.
    #[inline]
    pub fn block_bytes(&self) -> usize {
        self.block.len()
    }

    /// Returns the number of items. O(n) above 65,534 items.
    #[inline]
    pub fn count(&self) -> usize {
        count(&self.block)
    }

    /// Returns whether there are no items.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.total_bytes() == EMPTY_BYTES
    }

    /// Returns the offset after the last entry.
    #[inline]
    pub fn end(&self) -> usize {
        self.total_bytes() - 1
    }

    /// Iterates over the items, from both ends.
    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        iter(&self.block)
    }

    /// Adds an item after the last one.
    #[inline]
    pub fn append(&mut self, item: &Item<'_>) {
        self.insert(self.end(), item);
    }

    /// Adds an item before the first one.
    #[inline]
    pub fn prepend(&mut self, item: &Item<'_>) {
        self.insert(HEAD_BYTES, item);
    }

    /// Inserts an item before the entry at offset `at`, or at the end.
    pub fn insert(&mut self, at: usize, item: &Item<'_>) {
        let len = entry_bytes(item);
        self.splice(at..at, len);
        write(&mut self.block[at..at + len], item);
        self.put_count(head_count(&self.block).map(|count| count + 1));
    }

    /// Replaces the item at offset `at`.
    pub fn replace(&mut self, at: usize, item: &Item<'_>) {
        let next = read(&self.block, at).1;
        let len = entry_bytes(item);
        self.splice(at..next, len);
        write(&mut self.block[at..at + len], item);
    }

    /// Removes the item at offset `at`.
    pub fn remove(&mut self, at: usize) {
        let next = read(&self.block, at).1;
        self.remove_range(at..next, 1);
    }

    /// Removes the `count` items whose entries lie in a range of offsets.
    pub fn remove_range(&mut self, range: Range<usize>, count: usize) {
        self.splice(range, 0);
        self.put_count(head_count(&self.block).map(|before| before - count));
    }

    /// Inserts `count` items before the entry at `at`. `entries` are their entries in another
    /// listpack.
    pub fn insert_entries(&mut self, at: usize, entries: &[u8], count: usize) {
        self.splice(at..at, entries.len());
        self.block[at..at + entries.len()].copy_from_slice(entries);
        self.put_count(head_count(&self.block).map(|before| before + count));
    }

    /// Replaces the bytes in `range` by `len` bytes of undefined content.
    fn splice(&mut self, range: Range<usize>, len: usize) {
        let total = self.total_bytes();
        let new_total = total - range.len() + len;
        self.make_room(new_total);
        self.block.copy_within(range.end..total, range.start + len);
        self.put_total(new_total);
        self.give_room_back();
    }

    /// Grows the block if `total` bytes do not fit.
    #[inline]
    fn make_room(&mut self, total: usize) {
        if total > self.block.len() {
            self.put_block_bytes(class_bytes(total));
        }
    }

    /// Shrinks the block if it is more than twice as large as needed.
    #[inline]
    fn give_room_back(&mut self) {
        let class = class_bytes(self.total_bytes());
        if self.block.len() > 2 * class {
            self.put_block_bytes(class);
        }
    }

    /// Releases all spare room.
    pub fn shrink(&mut self) {
        let class = class_bytes(self.total_bytes());
        if self.block.len() > class {
            self.put_block_bytes(class);
        }
    }

    #[cold]
    fn put_block_bytes(&mut self, len: usize) {
        let mut block = std::mem::take(&mut self.block).into_vec();
        block.truncate(len);
        block.reserve_exact(len - block.len());
        block.resize(len, 0);
        self.block = block.into_boxed_slice();
    }

    #[inline]
    fn put_total(&mut self, total: usize) {
        let total = u32::try_from(total).expect("a listpack is below 4 GiB");
        self.block[..4].copy_from_slice(&total.to_le_bytes());
    }

    /// Stores the number of items in the head. None means unknown, and it stays unknown.
    #[inline]
    fn put_count(&mut self, count: Option<usize>) {
        let count = count.unwrap_or(usize::MAX).min(usize::from(COUNT_UNKNOWN)) as u16;
        self.block[4..HEAD_BYTES].copy_from_slice(&count.to_le_bytes());
    }
}

impl<'a> FromIterator<Item<'a>> for Listpack {
    fn from_iter<I: IntoIterator<Item = Item<'a>>>(items: I) -> Listpack {
        let mut listpack = Listpack::new();
        items.into_iter().for_each(|item| listpack.append(&item));
        listpack
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    fn of(texts: &[&str]) -> Listpack {
        texts.iter().map(|text| Item::of(text.as_bytes())).collect()
    }

    fn hex(text: &str) -> Vec<u8> {
        let digit = |byte: u8| (byte as char).to_digit(16).expect("a digit") as u8;
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).map(digit).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    #[test]
    fn the_layout_is_frozen() {
        assert_eq!(Listpack::new().as_bytes(), b"\x07\0\0\0\0\0\xff");
        assert_eq!(
            of(&["12", "ab", "-7"]).as_bytes(),
            hex("10000000 0300 0c01 82616203 dff902 ff")
        );
        // The reference server dumps the same bytes.
        let texts = "12 ab -7 0 127 128 4095 -4096 4096 -4097 32767 -32768 32768 -32769 8388607 \
            -8388608 8388608 -8388609 2147483647 -2147483648 2147483648 -2147483649 \
            9223372036854775807 -9223372036854775808 9223372036854775808 01 -0";
        let mut texts: Vec<&str> = texts.split_whitespace().collect();
        let (x, y, z) = ("x".repeat(63), "y".repeat(64), "z".repeat(126));
        texts.splice(25..25, [""]);
        texts.extend([x.as_str(), &y, &z]);
        let expected = hex(
            "a60100001f00 0c01 82616203 dff902 0001 7f01 c08002 cfff02 d00002 f1001003 f1ffef03
             f1ff7f03 f1008003 f200800004 f2ff7fff04 f2ffff7f04 f200008004 f30000800005
             f3ffff7fff05 f3ffffff7f05 f30000008005 f4000000800000000009 f4ffffff7fffffffff09
             f4ffffffffffffff7f09 f4000000000000008009 933932323333373230333638353437373538303814
             8001 82303103 822d3003",
        );
        let long =
            [(&[0xbf][..], &x, &[64][..]), (&[0xe0, 64], &y, &[66]), (&[0xe0, 126], &z, &[1, 128])];
        let long = long.map(|(head, text, back)| [head, text.as_bytes(), back].concat()).concat();
        let expected = [expected, long, vec![END]].concat();
        assert_eq!(of(&texts).as_bytes(), expected);
        assert_eq!(validate(&expected, true), Some(texts.len()));
    }

    /// Returns a random text. Its entry may have any kind of head.
    fn random_text(rng: &mut Rng) -> Vec<u8> {
        if rng.below(2) == 0 {
            let number = (rng.next_u64() as i64) >> rng.below(64);
            return number.to_string().into_bytes();
        }
        let len = match rng.below(20) {
            0 => 4_090 + rng.below(12),
            1 => 16_380 + rng.below(8),
            2..6 => 120 + rng.below(12),
            6..9 => 60 + rng.below(8),
            _ => rng.below(8),
        };
        (0..len).map(|_| b"0123456789-ab"[rng.below(13) as usize]).collect()
    }

    fn check(listpack: &Listpack, model: &[Vec<u8>]) {
        let bytes = listpack.as_bytes();
        assert_eq!(validate(bytes, true), Some(model.len()));
        assert_eq!(validate(bytes, false), Some(model.len()));
        assert!(listpack.iter().map(|item| item.to_vec()).eq(model.iter().cloned()));
        assert!(listpack.iter().rev().map(|item| item.to_vec()).eq(model.iter().rev().cloned()));
        assert_eq!(listpack.count(), model.len());
        assert_eq!(listpack.is_empty(), model.is_empty());
        let sum: usize = model.iter().map(|text| entry_bytes(&Item::of(text))).sum();
        assert_eq!(listpack.total_bytes(), EMPTY_BYTES + sum);
        assert!(listpack.block_bytes() <= 2 * class_bytes(listpack.total_bytes()));
        let mut copy = listpack.clone();
        copy.shrink();
        assert_eq!(copy.as_bytes(), bytes);
    }

    #[test]
    fn random_operations_match_a_vector() {
        let mut rng = Rng::new(21);
        for _ in 0..30 {
            let (mut listpack, mut model) = (Listpack::new(), Vec::new());
            for _ in 0..200 {
                let text = random_text(&mut rng);
                let item = Item::of(&text);
                let index = rng.below(model.len() as u64 + 1) as usize;
                let at = seek(&listpack.block, index, model.len());
                match rng.below(8) {
                    0 | 1 => {
                        listpack.append(&item);
                        model.push(text);
                    }
                    2 => {
                        listpack.prepend(&item);
                        model.insert(0, text);
                    }
                    3 | 4 => {
                        listpack.insert(at, &item);
                        model.insert(index, text);
                    }
                    5 if index < model.len() => {
                        listpack.replace(at, &item);
                        model[index] = text;
                    }
                    6 if index < model.len() => {
                        listpack.remove(at);
                        model.remove(index);
                    }
                    7 if rng.below(4) == 0 => {
                        let end = (index + rng.below(30) as usize).min(model.len());
                        let end_at = seek(&listpack.block, end, model.len());
                        let other = Listpack::from_bytes(listpack.as_bytes());
                        listpack.remove_range(at..end_at, end - index);
                        if rng.below(2) == 0 {
                            let entries = &other.as_bytes()[at..end_at];
                            listpack.insert_entries(HEAD_BYTES, entries, end - index);
                            model[..end].rotate_right(end - index);
                        } else {
                            model.drain(index..end);
                        }
                    }
                    _ => {}
                }
                check(&listpack, &model);
            }
        }
    }

    #[test]
    fn items_are_counted_if_the_head_cannot_hold_their_number() {
        let mut listpack = Listpack::new();
        (0..65_534).for_each(|number| listpack.append(&Item::Int(number)));
        assert_eq!(listpack.as_bytes()[4..6], [0xfe, 0xff]);
        (65_534..70_000).for_each(|number| listpack.append(&Item::Int(number)));
        assert_eq!((listpack.as_bytes()[4..6].to_vec(), listpack.count()), (vec![0xff; 2], 70_000));
        listpack.remove(HEAD_BYTES);
        assert_eq!(validate(listpack.as_bytes(), true), Some(69_999));
        assert_eq!(validate(listpack.as_bytes(), false), Some(69_999));
        assert_eq!(
            read(&listpack.block, seek(&listpack.block, 69_998, 69_999)).0,
            Item::Int(69_999)
        );
    }

    #[test]
    fn invalid_bytes_are_refused() {
        let good = "10000000 0300 0c01 82616203 dff902 ff";
        assert_eq!(validate(&hex(good), true), Some(3));
        for broken in [
            "",
            "06000000 0000",
            "07000000 0000 00",
            "08000000 0000 ff",
            "07000000 0100 ff",
            // Wrong: the back of the text, its length, the count, the total.
            "10000000 0300 0c01 82616204 dff902 ff",
            "10000000 0300 0c01 83616203 dff902 ff",
            "10000000 0400 0c01 82616203 dff902 ff",
            "11000000 0300 0c01 82616203 dff902 ff",
            // Wrong: an end mark among the items, and an invalid head.
            "10000000 0300 ff01 82616203 dff902 ff",
            "10000000 0300 f501 82616203 dff902 ff",
            // Texts and numbers that reach past the end.
            "0d000000 0100 f0ffffffff 05 ff",
            "09000000 0100 f401 ff",
            "08000000 0100 e0 ff",
            "09000000 0100 ef00 ff",
            // A back without a first byte.
            "09000000 0100 0081 ff",
        ] {
            assert_eq!(validate(&hex(broken), true), None, "{broken}");
        }
        // The reference server accepts heads that are longer than necessary.
        let odd = hex("0e000000 0100 f001000000 61 06 ff");
        assert_eq!(validate(&odd, true), Some(1));
        assert_eq!(iter(&odd).next(), Some(Item::Bytes(b"a")));
    }

    #[test]
    fn validated_bytes_can_be_read() {
        let mut rng = Rng::new(4);
        let (mut passed, mut refused) = (0, 0);
        for _ in 0..20_000 {
            let len = rng.below(6);
            let texts: Vec<_> = (0..len).map(|_| random_text(&mut rng)).collect();
            let texts = texts.iter().filter(|text| text.len() < 200);
            let listpack: Listpack = texts.map(|text| Item::of(text)).collect();
            let mut bytes = listpack.as_bytes().to_vec();
            for _ in 0..1 + rng.below(3) {
                let at = rng.below(bytes.len() as u64) as usize;
                match rng.below(6) {
                    0 => bytes.truncate(at.max(EMPTY_BYTES)),
                    1 => bytes[at] = 0xff,
                    2 => bytes[at] ^= 1 << rng.below(8),
                    _ => bytes[at] = rng.next_u64() as u8,
                }
            }
            if rng.below(2) == 0 {
                let total = bytes.len() as u32;
                bytes[..4].copy_from_slice(&total.to_le_bytes());
                *bytes.last_mut().expect("a byte") = END;
            }
            match validate(&bytes, true) {
                Some(count) => {
                    passed += 1;
                    let items: Vec<_> = iter(&bytes).collect();
                    assert_eq!(items.len(), count);
                    assert!(iter(&bytes).rev().eq(items.into_iter().rev()));
                }
                None => refused += 1,
            }
        }
        assert!(passed > 1_000 && refused > 1_000, "{passed} {refused}");
    }
}
