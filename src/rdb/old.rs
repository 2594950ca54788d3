//! Encodings of small values by older servers: ziplists, zipmaps, intsets. Only read.
//!
//! ```text
//!   ziplist   u32 total bytes | u32 offset of the last entry | u16 items, ffff: unknown | entry*
//!             | ff
//!   entry     bytes of the previous entry: u8, or fe u32
//!             00llllll text | 01llllll u8 text, high bits first | 80 u32, big-endian, text
//!             c0 i16 | d0 i32 | e0 i64 | f0 i24 | fe i8 | f1..fd the number 0..12
//!   zipmap    u8 pairs, from fe on unknown | pair* | ff
//!   pair      length text | length u8 text and that number of unused bytes
//!   length    u8, or fe u32 from 254 on
//!   intset    u32 bytes of each number: 2, 4 or 8 | u32 count | numbers in ascending order
//! ```
//! Numbers are little-endian unless noted otherwise. The bytes are untrusted: any inconsistency is
//! rejected.

use crate::value::Item;

/// The error for inconsistent bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// Bytes that are consumed from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Broken)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Broken)?;
        self.0 = rest;
        Ok(*array)
    }

    fn byte(&mut self) -> Result<u8, Broken> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn u32(&mut self) -> Result<usize, Broken> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }
}

/// Bytes before the first entry of a ziplist.
const ZIPLIST_HEAD_BYTES: usize = 10;

/// The byte before a length of four bytes.
const WIDE: u8 = 0xfe;

/// Visits the items of a ziplist.
pub fn ziplist<'a, E: From<Broken>>(
    bytes: &'a [u8],
    show: &mut dyn FnMut(Item<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut rest = Bytes(bytes);
    let total = rest.u32()?;
    let last = rest.u32()?;
    let count = u16::from_le_bytes(rest.array()?);
    let Some((0xff, entries)) = rest.0.split_last() else { return Err(Broken.into()) };
    if total != bytes.len() {
        return Err(Broken.into());
    }
    rest.0 = entries;
    let (mut seen, mut start, mut before) = (0, ZIPLIST_HEAD_BYTES, 0);
    let mut last_start = ZIPLIST_HEAD_BYTES;
    while !rest.0.is_empty() {
        let len = rest.0.len();
        let said = match rest.byte()? {
            0xff => return Err(Broken.into()),
            WIDE => rest.u32()?,
            byte => usize::from(byte),
        };
        if said != before {
            return Err(Broken.into());
        }
        show(ziplist_item(&mut rest)?)?;
        before = len - rest.0.len();
        last_start = start;
        start += before;
        seen += 1;
    }
    let is_counted = count == u16::MAX || usize::from(count) == seen;
    if last != last_start || !is_counted {
        return Err(Broken.into());
    }
    Ok(())
}

fn ziplist_item<'a>(rest: &mut Bytes<'a>) -> Result<Item<'a>, Broken> {
    let head = rest.byte()?;
    let text_len = match head >> 6 {
        0b00 => usize::from(head),
        0b01 => usize::from(head & 0x3f) << 8 | usize::from(rest.byte()?),
        0b10 if head == 0x80 => u32::from_be_bytes(rest.array()?) as usize,
        0b10 => return Err(Broken),
        _ => {
            return Ok(Item::Int(match head {
                0xc0 => i16::from_le_bytes(rest.array()?).into(),
                0xd0 => i32::from_le_bytes(rest.array()?).into(),
                0xe0 => i64::from_le_bytes(rest.array()?),
                0xf0 => {
                    let [a, b, c] = rest.array()?;
                    (i32::from_le_bytes([0, a, b, c]) >> 8).into()
                }
                0xfe => i8::from_le_bytes(rest.array()?).into(),
                0xf1..=0xfd => i64::from(head & 0xf) - 1,
                _ => return Err(Broken),
            }));
        }
    };
    Ok(Item::Bytes(rest.take(text_len)?))
}

/// Visits the pairs of a zipmap.
pub fn zipmap<'a, E: From<Broken>>(
    bytes: &'a [u8],
    show: &mut dyn FnMut(&'a [u8], &'a [u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut rest = Bytes(bytes);
    let count = rest.byte()?;
    let Some((0xff, pairs)) = rest.0.split_last() else { return Err(Broken.into()) };
    rest.0 = pairs;
    let mut seen = 0;
    while !rest.0.is_empty() {
        let name_len = zipmap_len(&mut rest)?;
        let name = rest.take(name_len)?;
        let value_len = zipmap_len(&mut rest)?;
        let unused = rest.byte()?;
        let value = rest.take(value_len)?;
        rest.take(usize::from(unused))?;
        show(name, value)?;
        seen += 1;
    }
    let is_counted = count == WIDE || usize::from(count) == seen;
    if seen == 0 || !is_counted {
        return Err(Broken.into());
    }
    Ok(())
}

/// Reads a length; rejects a form that is not the shortest.
fn zipmap_len(rest: &mut Bytes<'_>) -> Result<usize, Broken> {
    match rest.byte()? {
        0xff => Err(Broken),
        WIDE => match rest.u32()? {
            0..0xfe => Err(Broken),
            len => Ok(len),
        },
        len => Ok(usize::from(len)),
    }
}

/// Returns the numbers of an intset, in ascending order.
pub fn intset(bytes: &[u8]) -> Result<impl Iterator<Item = i64> + '_, Broken> {
    let mut rest = Bytes(bytes);
    let (width, count) = (rest.u32()?, rest.u32()?);
    let numbers = rest.0;
    let is_whole = matches!(width, 2 | 4 | 8) && count.checked_mul(width) == Some(numbers.len());
    if !is_whole || count == 0 {
        return Err(Broken);
    }
    let read = move |bytes: &[u8]| {
        let is_negative = bytes[width - 1] & 0x80 != 0;
        let mut number = if is_negative { [0xff; 8] } else { [0; 8] };
        number[..width].copy_from_slice(bytes);
        i64::from_le_bytes(number)
    };
    let all = numbers.chunks_exact(width).map(read);
    let is_ascending = all.clone().is_sorted_by(|a, b| a < b);
    if is_ascending { Ok(all) } else { Err(Broken) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(bytes: &[u8]) -> Result<Vec<String>, Broken> {
        let mut all = Vec::new();
        ziplist::<Broken>(bytes, &mut |item| {
            all.push(String::from_utf8_lossy(&item.to_vec()).into_owned());
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn ziplists_are_read() {
        let bytes = b"\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf3\x02\xf6\xff";
        assert_eq!(items(bytes), Ok(vec!["2".to_string(), "5".to_string()]));
        let bytes =
            b"\x1b\0\0\0\x12\0\0\0\x05\0\0\x01a\x03\xfe\x80\x03\xf0\0\0\x80\x05\xc0\xff\x7f\
            \x04\xf1\xff";
        let mut bytes = bytes.to_vec();
        bytes[0] = bytes.len() as u8;
        bytes[4] = bytes.len() as u8 - 3;
        assert_eq!(
            items(&bytes),
            Ok(["a", "-128", "-8388608", "32767", "0"].map(String::from).into())
        );
        assert_eq!(items(b"\x0b\0\0\0\x0a\0\0\0\0\0\xff"), Ok(vec![]));
        for at in 0..bytes.len() {
            assert_eq!(items(&bytes[..at]), Err(Broken), "{at}");
        }
        for (at, byte) in [(0, 9), (4, 9), (8, 4), (13, 2), (26, 0xfe)] {
            let mut broken = bytes.clone();
            broken[at] = byte;
            assert_eq!(items(&broken), Err(Broken), "{at}");
        }
    }

    #[test]
    fn zipmaps_are_read() {
        let pairs = |bytes: &[u8]| {
            let mut all = Vec::new();
            zipmap::<Broken>(bytes, &mut |name, value| {
                all.push((name.to_vec(), value.to_vec()));
                Ok(())
            })
            .map(|()| all)
        };
        let bytes = b"\x02\x01a\x01\x02b??\x02cd\x00\x00\xff";
        let expected = vec![(b"a".to_vec(), b"b".to_vec()), (b"cd".to_vec(), b"".to_vec())];
        assert_eq!(pairs(bytes), Ok(expected));
        assert_eq!(pairs(b"\x01\xfe\x01\0\0\0a\x01\x00b\xff"), Err(Broken), "not the shortest");
        assert_eq!(pairs(b"\x00\xff"), Err(Broken), "no pairs");
        for at in 0..bytes.len() {
            assert_eq!(pairs(&bytes[..at]), Err(Broken), "{at}");
        }
    }

    #[test]
    fn intsets_are_read() {
        let all = |bytes: &[u8]| intset(bytes).map(|numbers| numbers.collect::<Vec<_>>());
        assert_eq!(all(b"\x02\0\0\0\x02\0\0\0\xff\xff\x03\0"), Ok(vec![-1, 3]));
        assert_eq!(all(b"\x04\0\0\0\x01\0\0\0\0\0\x01\0"), Ok(vec![65_536]));
        for broken in [
            &b"\x02\0\0\0\0\0\0\0"[..],
            b"\x03\0\0\0\x01\0\0\0abc",
            b"\x02\0\0\0\x02\0\0\0\x03\0\x03\0",
            b"\x02\0\0\0\x02\0\0\0\x03\0\x02\0",
            b"\x02\0\0\0\xff\xff\xff\xff\x03\0",
            b"\x02\0\0",
        ] {
            assert_eq!(all(broken), Err(Broken));
        }
    }
}
