//! Operations on the listpacks of stream nodes. Runs of items are appended at the end, and numbers
//! are replaced in place. The format is [`crate::value::listpack`].

use crate::value::listpack::{COUNT_UNKNOWN, END, entry_bytes, push_entry, validate, write};
pub use crate::value::listpack::{HEAD_BYTES, before as back, read};
use crate::value::pack::Item;

/// Appends the bytes of an empty listpack.
pub fn begin(out: &mut Vec<u8>) {
    out.extend_from_slice(&[HEAD_BYTES as u8 + 1, 0, 0, 0, 0, 0, END]);
}

/// Updates the head: sets the total bytes and adds `items` to the number of items.
pub fn update_head(bytes: &mut [u8], items: usize) {
    let len = u32::try_from(bytes.len()).expect("a listpack is below 4 GiB");
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    let old = u16::from_le_bytes([bytes[4], bytes[5]]);
    // An unknown number stays unknown.
    let sum = (items + usize::from(old)).min(usize::from(COUNT_UNKNOWN)) as u16;
    let count = if old == COUNT_UNKNOWN { COUNT_UNKNOWN } else { sum };
    bytes[4..6].copy_from_slice(&count.to_le_bytes());
}

/// Appends a number. Does not write the end mark.
#[inline]
pub fn push_int(out: &mut Vec<u8>, number: i64) {
    if (0..=127).contains(&number) {
        return out.extend_from_slice(&[number as u8, 1]);
    }
    push_entry(out, &Item::Int(number));
}

/// Appends an item. Does not write the end mark.
#[inline]
pub fn push(out: &mut Vec<u8>, item: &Item<'_>) {
    push_entry(out, item);
}

/// Removes the end mark, so that items can be appended.
pub fn open(bytes: &mut Vec<u8>) {
    let end = bytes.pop();
    debug_assert_eq!(end, Some(END));
}

/// Writes the end mark and updates the head, after `items` items were appended. The inverse of
/// [`open`].
pub fn close(bytes: &mut Vec<u8>, items: usize) {
    bytes.push(END);
    update_head(bytes, items);
}

/// Returns the offset of the next item. There must be an item at `at`.
#[inline]
pub fn skip(bytes: &[u8], at: usize) -> usize {
    read(bytes, at).1
}

/// Returns whether the end mark is at `at`.
#[inline]
pub fn is_end(bytes: &[u8], at: usize) -> bool {
    bytes[at] == END
}

/// Returns the offset of the end mark.
#[inline]
pub fn end(bytes: &[u8]) -> usize {
    bytes.len() - 1
}

/// Returns the number at `at` and the offset of the next item. There must be a number at `at`.
#[inline]
pub fn read_int(bytes: &[u8], at: usize) -> (i64, usize) {
    match read(bytes, at) {
        (Item::Int(number), next) => (number, next),
        (Item::Bytes(_), _) => unreachable!("loading checked the kinds of items"),
    }
}

/// Replaces the number at `at`, and moves later items if the size changes.
pub fn replace_int(bytes: &mut Vec<u8>, at: usize, number: i64) {
    let item = Item::Int(number);
    let (next, end) = (skip(bytes, at), at + entry_bytes(&item));
    if next != end {
        bytes.splice(at..next, std::iter::repeat_n(0, end - at));
        update_head(bytes, 0);
    }
    write(&mut bytes[at..end], &item);
}

/// Checks the head and all entries of a listpack. Returns the offset of the first item, or none if
/// the listpack is invalid. Does not check the items' contents.
pub fn check(bytes: &[u8]) -> Option<usize> {
    validate(bytes, true).map(|_| HEAD_BYTES)
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
    fn every_item_is_read_from_either_end() {
        let edges = (0..64).flat_map(|bit| {
            [1i64 << bit, (1i64 << bit).wrapping_neg(), (1i64 << bit).wrapping_sub(1)]
        });
        let texts: Vec<Vec<u8>> = [0, 1, 63, 64, 122, 126, 127, 4095, 4096, 16_378, 16_380, 16_400]
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
        // The largest entry with a back of two bytes, as in the reference server.
        assert_eq!(entry_bytes(&Item::Bytes(&[b'x'; 16_378])), 16_383 + 2);
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
    fn truncated_and_changed_listpacks_are_refused() {
        let text = [b'y'; 70];
        let whole = packed(&[Item::Int(5), Item::Bytes(&text), Item::Int(-90_000)]);
        for len in 0..whole.len() {
            assert_eq!(check(&whole[..len]), None);
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x80;
            // An arbitrary result, but no panic.
            let _ = check(&changed);
        }
        let mut many = whole.clone();
        many[4..6].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(check(&many), Some(HEAD_BYTES), "an unknown number is not checked");
        many[4] = 4;
        assert_eq!(check(&many), None);
    }
}
