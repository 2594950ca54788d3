//! Listpacks, as the reference writes them: items that can be walked from either end.
//!
//! ```text
//!   u32 bytes in all, u16 items (ffff: not known), items, ff           little-endian
//!   an item: its code, its content, how many bytes these two take
//!
//!   00..7f  the number 0..=127        c0..df + 1 byte   a number of 13 bits
//!   80..bf  text of 0..=63 bytes      e0..ef + 1 byte   text of up to 4095 bytes
//!   f0 u32  text                      f1 i16   f2 i24   f3 i32   f4 i64
//! ```
//! The size at the end of an item has 7 bits a byte, the lowest last; all bytes but the first
//! have their high bit set. Text that is the canonical form of a number is kept as that number:
//! `12 ab -7` is `0c 01 82 61 62 03 df f9 02`.

use crate::value::pack::Item;

/// Bytes before the first item.
pub const HEAD_BYTES: usize = 6;

/// What comes after the last item.
const END: u8 = 0xff;

/// So many items, or more.
const MANY: u16 = u16::MAX;

/// Appends an empty listpack's bytes.
pub fn begin(out: &mut Vec<u8>) {
    out.extend_from_slice(&[HEAD_BYTES as u8 + 1, 0, 0, 0, 0, 0, END]);
}

/// Writes to the head how many bytes there are now, and that there are `items` more items.
pub fn update_head(bytes: &mut [u8], items: usize) {
    let len = u32::try_from(bytes.len()).expect("a listpack is below 4 GiB");
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    let old = u16::from_le_bytes([bytes[4], bytes[5]]);
    // What is not known once stays so.
    let count = if old == MANY { MANY } else { (items + usize::from(old)).min(0xffff) as u16 };
    bytes[4..6].copy_from_slice(&count.to_le_bytes());
}

/// Bytes that the size of an item of so many bytes takes.
#[inline]
fn back_bytes(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

fn push_back(out: &mut Vec<u8>, len: usize) {
    let count = back_bytes(len);
    for byte in (0..count).rev() {
        let more = if byte == count - 1 { 0 } else { 0x80 };
        out.push((len >> (7 * byte)) as u8 & 0x7f | more);
    }
}

/// A number's code and content.
fn int_code(number: i64) -> ([u8; 9], usize) {
    let mut code = [0; 9];
    let (tag, len) = match number {
        0..=127 => {
            code[0] = number as u8;
            return (code, 1);
        }
        -4096..=4095 => {
            code[0] = 0xc0 | (number >> 8) as u8 & 0x1f;
            code[1] = number as u8;
            return (code, 2);
        }
        -0x8000..=0x7fff => (0xf1, 2),
        -0x80_0000..=0x7f_ffff => (0xf2, 3),
        -0x8000_0000..=0x7fff_ffff => (0xf3, 4),
        _ => (0xf4, 8),
    };
    code[0] = tag;
    code[1..=len].copy_from_slice(&number.to_le_bytes()[..len]);
    (code, len + 1)
}

/// Appends a number; the end mark is not written.
#[inline]
pub fn push_int(out: &mut Vec<u8>, number: i64) {
    if (0..=127).contains(&number) {
        return out.extend_from_slice(&[number as u8, 1]);
    }
    let (code, len) = int_code(number);
    out.extend_from_slice(&code[..len]);
    out.push(len as u8);
}

/// Appends an item; the end mark is not written.
pub fn push(out: &mut Vec<u8>, item: &Item<'_>) {
    let text = match *item {
        Item::Int(number) => return push_int(out, number),
        Item::Bytes(text) => text,
    };
    let start = out.len();
    match text.len() {
        len @ 0..=63 => out.push(0x80 | len as u8),
        len @ 64..=4095 => out.extend_from_slice(&[0xe0 | (len >> 8) as u8, len as u8]),
        len => {
            out.push(0xf0);
            let len = u32::try_from(len).expect("a text is below 4 GiB");
            out.extend_from_slice(&len.to_le_bytes());
        }
    }
    out.extend_from_slice(text);
    push_back(out, out.len() - start);
}

/// Opens a listpack for items to be appended: takes its end mark away.
pub fn open(bytes: &mut Vec<u8>) {
    let end = bytes.pop();
    debug_assert_eq!(end, Some(END));
}

/// The opposite of [`open`], after so many items were appended.
pub fn close(bytes: &mut Vec<u8>, items: usize) {
    bytes.push(END);
    update_head(bytes, items);
}

/// Bytes of code and content of the item that begins with these; none if it does not end there.
#[inline]
fn item_len(bytes: &[u8]) -> Option<usize> {
    let byte = |at: usize| bytes.get(at).map(|byte| usize::from(*byte));
    Some(match *bytes.first()? {
        0x00..=0x7f => 1,
        tag @ 0x80..=0xbf => 1 + usize::from(tag & 0x3f),
        0xc0..=0xdf => 2,
        tag @ 0xe0..=0xef => 2 + (usize::from(tag & 0x0f) << 8) + byte(1)?,
        0xf0 => {
            let len = bytes.get(1..5)?.try_into().expect("4 bytes");
            5 + u32::from_le_bytes(len) as usize
        }
        0xf1 => 3,
        0xf2 => 4,
        0xf3 => 5,
        0xf4 => 9,
        0xf5..=0xff => return None,
    })
}

/// Where the item behind the one at `at` begins. There is one at `at`.
#[inline]
pub fn skip(bytes: &[u8], at: usize) -> usize {
    let len = item_len(&bytes[at..]).expect("an item begins here");
    at + len + back_bytes(len)
}

/// Where the item before the one at `at` begins. There is one.
#[inline]
pub fn back(bytes: &[u8], at: usize) -> usize {
    let (mut len, mut count) = (0, 0);
    loop {
        count += 1;
        let byte = bytes[at - count];
        len |= usize::from(byte & 0x7f) << (7 * (count - 1));
        if byte & 0x80 == 0 {
            return at - count - len;
        }
    }
}

/// Whether there is no item at `at`: it is the end.
#[inline]
pub fn is_end(bytes: &[u8], at: usize) -> bool {
    bytes[at] == END
}

/// Where the end mark is.
#[inline]
pub fn end(bytes: &[u8]) -> usize {
    bytes.len() - 1
}

/// The item at `at`, and where the next one begins.
#[inline]
pub fn read(bytes: &[u8], at: usize) -> (Item<'_>, usize) {
    let tag = bytes[at];
    if tag <= 0x7f {
        return (Item::Int(i64::from(tag)), at + 2);
    }
    let len = item_len(&bytes[at..]).expect("an item begins here");
    let content = &bytes[at..at + len];
    let item = match tag {
        0x80..=0xbf => Item::Bytes(&content[1..]),
        0xc0..=0xdf => {
            let number = i16::from_be_bytes([tag << 3, 0]) | i16::from(content[1]) << 3;
            Item::Int(i64::from(number >> 3))
        }
        0xe0..=0xef => Item::Bytes(&content[2..]),
        0xf0 => Item::Bytes(&content[5..]),
        _ => {
            let is_negative = content[len - 1] & 0x80 != 0;
            let mut number = if is_negative { [0xff; 8] } else { [0; 8] };
            number[..len - 1].copy_from_slice(&content[1..]);
            Item::Int(i64::from_le_bytes(number))
        }
    };
    (item, at + len + back_bytes(len))
}

/// The number at `at`, and where the next item begins. There is a number.
#[inline]
pub fn read_int(bytes: &[u8], at: usize) -> (i64, usize) {
    match read(bytes, at) {
        (Item::Int(number), next) => (number, next),
        (Item::Bytes(_), _) => unreachable!("looked at when the listpack came"),
    }
}

/// Puts another number in the place of the one at `at`.
pub fn replace_int(bytes: &mut Vec<u8>, at: usize, number: i64) {
    let (code, len) = int_code(number);
    let next = skip(bytes, at);
    if next - at == len + 1 {
        bytes[at..at + len].copy_from_slice(&code[..len]);
        return;
    }
    let new = code[..len].iter().copied().chain([len as u8]);
    bytes.splice(at..next, new);
    update_head(bytes, 0);
}

/// The place of the first item of bytes that are a whole listpack as far as the head and each
/// item go; none if they are not. An item may hold anything.
pub fn check(bytes: &[u8]) -> Option<usize> {
    let head = bytes.first_chunk::<HEAD_BYTES>()?;
    let (total, count) = head.split_first_chunk::<4>()?;
    let is_whole = u32::from_le_bytes(*total) as usize == bytes.len();
    if !is_whole || bytes.len() <= HEAD_BYTES {
        return None;
    }
    let mut at = HEAD_BYTES;
    let mut items = 0;
    while *bytes.get(at)? != END {
        at = check_item(bytes, at)?;
        items += 1;
    }
    let count = u16::from_le_bytes([count[0], count[1]]);
    let counted = count == MANY || usize::from(count) == items;
    (at == end(bytes) && counted).then_some(HEAD_BYTES)
}

/// Where the item behind the one at `at` begins, if that one is whole.
fn check_item(bytes: &[u8], at: usize) -> Option<usize> {
    let len = item_len(&bytes[at..])?;
    let next = at.checked_add(len)?.checked_add(back_bytes(len))?;
    let mut expected = Vec::with_capacity(5);
    push_back(&mut expected, len);
    (bytes.get(at + len..next)? == expected).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(items: &[Item<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        begin(&mut out);
        open(&mut out);
        items.iter().for_each(|item| push(&mut out, item));
        close(&mut out, items.len());
        out
    }

    #[test]
    fn the_layout_is_frozen() {
        let out = packed(&[Item::of(b"12"), Item::of(b"ab"), Item::of(b"-7"), Item::of(b"300")]);
        let expected = b"\x13\0\0\0\x04\0\x0c\x01\x82ab\x03\xdf\xf9\x02\xc1\x2c\x02\xff";
        assert_eq!(out, expected);
        assert_eq!(check(&out), Some(HEAD_BYTES));
    }

    #[test]
    fn every_item_comes_back_from_either_end() {
        let edges = (0..64).flat_map(|bit| {
            [1i64 << bit, (1i64 << bit).wrapping_neg(), (1i64 << bit).wrapping_sub(1)]
        });
        let texts: Vec<Vec<u8>> = [0, 1, 63, 64, 122, 126, 127, 4095, 4096, 16_380, 16_400]
            .iter()
            .chain(&[2_097_140, 2_097_160])
            .map(|len| vec![b'x'; *len])
            .collect();
        let mut items: Vec<Item<'_>> = edges.map(Item::Int).collect();
        items.extend(texts.iter().map(|text| Item::Bytes(text)));
        let out = packed(&items);
        assert_eq!(check(&out), Some(HEAD_BYTES));
        let mut at = HEAD_BYTES;
        let mut places = Vec::new();
        for item in &items {
            places.push(at);
            assert_eq!(skip(&out, at), read(&out, at).1);
            assert_eq!(read(&out, at).0, *item);
            at = skip(&out, at);
        }
        assert!(is_end(&out, at) && at == end(&out));
        for place in places.into_iter().rev() {
            at = back(&out, at);
            assert_eq!(at, place);
        }
    }

    #[test]
    fn a_number_is_replaced_by_one_of_any_size() {
        let numbers = [0, 127, 128, -1, 4095, 4096, 40_000, 1 << 30, i64::MIN];
        for old in numbers {
            for new in numbers {
                let mut out = packed(&[Item::Int(old), Item::Bytes(b"behind")]);
                replace_int(&mut out, HEAD_BYTES, new);
                assert_eq!(out, packed(&[Item::Int(new), Item::Bytes(b"behind")]));
            }
        }
    }

    #[test]
    fn what_is_cut_or_changed_is_found() {
        let text = [b'y'; 70];
        let whole = packed(&[Item::Int(5), Item::Bytes(&text), Item::Int(-90_000)]);
        for len in 0..whole.len() {
            assert_eq!(check(&whole[..len]), None);
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x80;
            // Whatever it says, it does not panic.
            let _ = check(&changed);
        }
        let mut many = whole.clone();
        many[4..6].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(check(&many), Some(HEAD_BYTES), "not counted");
        many[4] = 4;
        assert_eq!(check(&many), None);
    }
}
