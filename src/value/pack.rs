//! Packed items without gaps: the compact form of small values, read from front to back.
//!
//! ```text
//!   00..bf  text of 0..=191 bytes          e0  i8    e3  i32
//!   c0..df  the number 0..=31              e1  i16   e4  i64
//!   f0 u16  text of up to 64 KiB - 1       e2  i24   e5  a 64-bit float
//!   f1 u32  longer text
//! ```
//! Numbers are little-endian. Text that is a 64-bit integer in canonical form is packed as a
//! number: `12 ab -7` is `cc 02 61 62 e0 f9`.

use super::string::IntText;
use crate::base::number::{i64_text_len, parse_i64};

const SHORT_MAX: usize = 0xbf;
const SMALL: u8 = 0xc0;
const SMALL_MAX: i64 = 31;
const INT8: u8 = 0xe0;
const INT16: u8 = 0xe1;
const INT24: u8 = 0xe2;
const INT32: u8 = 0xe3;
const INT64: u8 = 0xe4;
const FLOAT: u8 = 0xe5;
const TEXT16: u8 = 0xf0;
const TEXT32: u8 = 0xf1;

/// One element: a number whose text is its canonical decimal form, or any other text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A number.
    Int(i64),
    /// Text that is not a number in canonical form.
    Bytes(&'a [u8]),
}

impl<'a> Item<'a> {
    /// Returns the item for a text.
    #[inline]
    pub fn of(text: &'a [u8]) -> Item<'a> {
        match parse_i64(text) {
            Some(number) => Item::Int(number),
            None => Item::Bytes(text),
        }
    }

    /// Returns the item's text. A number is formatted into `buffer`.
    #[inline]
    pub fn text<'b>(&self, buffer: &'b mut IntText) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Item::Int(number) => buffer.format(number).as_bytes(),
            Item::Bytes(bytes) => bytes,
        }
    }

    /// Returns a copy of the item's text.
    pub fn to_vec(&self) -> Vec<u8> {
        self.text(&mut IntText::new()).to_vec()
    }

    /// Returns the length of the item's text in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        match *self {
            Item::Int(number) => i64_text_len(number),
            Item::Bytes(bytes) => bytes.len(),
        }
    }

    /// Returns whether the item's text is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Returns the size of the packed item in bytes.
#[inline]
pub fn size(item: &Item<'_>) -> usize {
    match *item {
        Item::Int(0..=SMALL_MAX) => 1,
        Item::Int(number) if i8::try_from(number).is_ok() => 2,
        Item::Int(number) if i16::try_from(number).is_ok() => 3,
        Item::Int(-0x80_0000..=0x7f_ffff) => 4,
        Item::Int(number) if i32::try_from(number).is_ok() => 5,
        Item::Int(_) => 9,
        Item::Bytes(bytes) if bytes.len() <= SHORT_MAX => 1 + bytes.len(),
        Item::Bytes(bytes) if bytes.len() <= usize::from(u16::MAX) => 3 + bytes.len(),
        Item::Bytes(bytes) => 5 + bytes.len(),
    }
}

/// Appends an item.
pub fn write(out: &mut Vec<u8>, item: &Item<'_>) {
    match *item {
        Item::Int(number @ 0..=SMALL_MAX) => out.push(SMALL + number as u8),
        Item::Int(number) => {
            let (tag, len) = match size(item) {
                2 => (INT8, 1),
                3 => (INT16, 2),
                4 => (INT24, 3),
                5 => (INT32, 4),
                _ => (INT64, 8),
            };
            out.push(tag);
            out.extend_from_slice(&number.to_le_bytes()[..len]);
        }
        Item::Bytes(bytes) => {
            match bytes.len() {
                len @ 0..=SHORT_MAX => out.push(len as u8),
                len if len <= usize::from(u16::MAX) => {
                    out.push(TEXT16);
                    out.extend_from_slice(&(len as u16).to_le_bytes());
                }
                len => {
                    out.push(TEXT32);
                    let len = u32::try_from(len).expect("a text is below 4 GiB");
                    out.extend_from_slice(&len.to_le_bytes());
                }
            }
            out.extend_from_slice(bytes);
        }
    }
}

/// Writes an item to the front of `out`. Returns the rest of `out`.
pub fn put<'o>(out: &'o mut [u8], item: &Item<'_>) -> &'o mut [u8] {
    let (own, rest) = out.split_at_mut(size(item));
    match *item {
        Item::Int(number @ 0..=SMALL_MAX) => own[0] = SMALL + number as u8,
        Item::Int(number) => {
            let len = own.len() - 1;
            own[0] = match len {
                1 => INT8,
                2 => INT16,
                3 => INT24,
                4 => INT32,
                _ => INT64,
            };
            own[1..].copy_from_slice(&number.to_le_bytes()[..len]);
        }
        Item::Bytes(bytes) => {
            let (head, text) = own.split_at_mut(own.len() - bytes.len());
            text.copy_from_slice(bytes);
            head[0] = match head.len() {
                1 => bytes.len() as u8,
                3 => TEXT16,
                _ => TEXT32,
            };
            let len = u32::try_from(bytes.len()).expect("a text is below 4 GiB").to_le_bytes();
            let len_bytes = head.len() - 1;
            head[1..].copy_from_slice(&len[..len_bytes]);
        }
    }
    rest
}

/// Appends a 64-bit float.
pub fn write_float(out: &mut Vec<u8>, number: f64) {
    out.push(FLOAT);
    out.extend_from_slice(&number.to_le_bytes());
}

/// Returns the item at the front and the rest of the bytes.
#[inline]
pub fn read(bytes: &[u8]) -> (Item<'_>, &[u8]) {
    let tag = bytes[0];
    let rest = &bytes[1..];
    if usize::from(tag) <= SHORT_MAX {
        let (text, rest) = rest.split_at(usize::from(tag));
        return (Item::Bytes(text), rest);
    }
    if tag < INT8 {
        return (Item::Int(i64::from(tag - SMALL)), rest);
    }
    read_wide(tag, rest)
}

fn read_wide(tag: u8, rest: &[u8]) -> (Item<'_>, &[u8]) {
    let len_bytes = match tag {
        TEXT16 => 2,
        TEXT32 => 4,
        _ => 0,
    };
    if len_bytes > 0 {
        let mut len = [0; 4];
        len[..len_bytes].copy_from_slice(&rest[..len_bytes]);
        let (text, rest) = rest[len_bytes..].split_at(u32::from_le_bytes(len) as usize);
        return (Item::Bytes(text), rest);
    }
    let len = match tag {
        INT8 => 1,
        INT16 => 2,
        INT24 => 3,
        INT32 => 4,
        INT64 => 8,
        other => unreachable!("no item begins with {other:02x}"),
    };
    let is_negative = rest[len - 1] & 0x80 != 0;
    let mut number = if is_negative { [0xff; 8] } else { [0; 8] };
    number[..len].copy_from_slice(&rest[..len]);
    (Item::Int(i64::from_le_bytes(number)), &rest[len..])
}

/// Returns whether the bytes begin with a float.
#[inline]
pub fn is_float(bytes: &[u8]) -> bool {
    bytes[0] == FLOAT
}

/// Returns the float at the front and the rest of the bytes.
pub fn read_float(bytes: &[u8]) -> (f64, &[u8]) {
    assert_eq!(bytes[0], FLOAT, "the bytes begin with a float");
    let (number, rest) = bytes[1..].split_first_chunk().expect("a float has 8 bytes");
    (f64::from_le_bytes(*number), rest)
}

/// Iterates over the items of packed bytes, which must not contain floats.
pub fn iter(mut bytes: &[u8]) -> impl Iterator<Item = Item<'_>> + Clone {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let (item, rest) = read(bytes);
        bytes = rest;
        Some(item)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_frozen() {
        let mut out = Vec::new();
        for text in ["12", "ab", "-7", "", "31", "32", "-129", "40000", "9000000", "-5000000000"] {
            write(&mut out, &Item::of(text.as_bytes()));
        }
        write_float(&mut out, 1.5);
        let expected = b"\xcc\x02ab\xe0\xf9\x00\xdf\xe0\x20\xe1\x7f\xff\xe2\x40\x9c\x00\
            \xe3\x40\x54\x89\x00\xe4\x00\x0e\xfa\xd5\xfe\xff\xff\xff\xe5\0\0\0\0\0\0\xf8\x3f";
        assert_eq!(out, expected);
        let mut copy = vec![0; out.len()];
        let mut rest = &mut copy[..];
        for item in iter(&out[..out.len() - 9]) {
            rest = put(rest, &item);
        }
        assert_eq!(rest.len(), 9);
        assert_eq!(copy[..out.len() - 9], out[..out.len() - 9]);
        let items: Vec<_> = iter(&out[..out.len() - 9]).map(|item| item.to_vec()).collect();
        assert_eq!(items[2..6], [&b"-7"[..], b"", b"31", b"32"]);
        assert_eq!(read_float(&out[out.len() - 9..]), (1.5, &[][..]));
    }

    #[test]
    fn every_length_and_number_round_trips() {
        let numbers = (0..64).flat_map(|bit| {
            [1i64 << bit, (1i64 << bit).wrapping_neg(), (1i64 << bit).wrapping_sub(1)]
        });
        for number in numbers {
            let mut out = Vec::new();
            write(&mut out, &Item::Int(number));
            assert_eq!(out.len(), size(&Item::Int(number)));
            assert_eq!(read(&out), (Item::Int(number), &[][..]));
        }
        for len in [0, 1, 0xbe, 0xbf, 0xc0, 0xff, 0x100, 0xffff, 0x1_0000] {
            let text = vec![b'x'; len];
            let mut out = Vec::new();
            write(&mut out, &Item::Bytes(&text));
            assert_eq!(out.len(), size(&Item::Bytes(&text)));
            let mut copy = vec![0; out.len()];
            assert!(put(&mut copy, &Item::Bytes(&text)).is_empty());
            assert_eq!(copy, out);
            assert_eq!(read(&out), (Item::Bytes(&text), &[][..]));
        }
    }
}
