//! A set of integers in one sorted block.
//!
//! ```text
//!   u8 width in bytes: 2, 4 or 8 | numbers of this width, little-endian, ascending
//! ```
//! `{-2, 5}` is `02 fe ff 05 00`. The width fits the widest number that was ever in the set. A set
//! without numbers has no block.

/// Returns whether a block holds integers, not packed items.
#[inline]
pub fn is_ints(block: &[u8]) -> bool {
    block.first().is_none_or(|width| *width > 1)
}

fn width_of(number: i64) -> usize {
    if i16::try_from(number).is_ok() {
        2
    } else if i32::try_from(number).is_ok() {
        4
    } else {
        8
    }
}

#[inline]
fn width(block: &[u8]) -> usize {
    block.first().map_or(2, |width| usize::from(*width))
}

/// Returns the number of integers.
#[inline]
pub fn len(block: &[u8]) -> usize {
    block.len() / width(block)
}

/// Returns the integer at a rank.
#[inline]
pub fn get(block: &[u8], rank: usize) -> i64 {
    let width = width(block);
    let bytes = &block[1 + rank * width..][..width];
    match width {
        2 => i64::from(i16::from_le_bytes([bytes[0], bytes[1]])),
        4 => i64::from(i32::from_le_bytes(*bytes.first_chunk().expect("4 bytes"))),
        _ => i64::from_le_bytes(*bytes.first_chunk().expect("8 bytes")),
    }
}

/// Returns the rank of an integer, or as an error the rank where it would be inserted.
pub fn search(block: &[u8], number: i64) -> Result<usize, usize> {
    let (mut low, mut high) = (0, len(block));
    // Ascending insertions are appended without a search.
    if high > 0 && get(block, high - 1) < number {
        return Err(high);
    }
    while low < high {
        let middle = low.midpoint(high);
        match get(block, middle).cmp(&number) {
            std::cmp::Ordering::Equal => return Ok(middle),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    Err(low)
}

/// Adds an integer. Returns false if it was present.
pub fn insert(block: &mut Box<[u8]>, number: i64) -> bool {
    let Err(rank) = search(block, number) else { return false };
    let old = std::mem::take(block);
    *block = if old.is_empty() || width(&old) < width_of(number) {
        widened(&old, rank, number)
    } else {
        inserted(old, rank, number)
    };
    true
}

fn inserted(old: Box<[u8]>, rank: usize, number: i64) -> Box<[u8]> {
    let (width, len, at) = (width(&old), old.len(), 1 + rank * width(&old));
    let mut bytes = old.into_vec();
    bytes.reserve_exact(width);
    bytes.resize(len + width, 0);
    bytes.copy_within(at..len, at + width);
    bytes[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
    bytes.into_boxed_slice()
}

/// Returns a new block with the width of `number`, which is wider than all others. Such a number is
/// always the first or the last one.
fn widened(old: &[u8], rank: usize, number: i64) -> Box<[u8]> {
    let (width, count) = (width_of(number), len(old));
    let mut bytes = Vec::with_capacity(1 + (count + 1) * width);
    bytes.push(width as u8);
    let before = (0..rank).map(|rank| get(old, rank));
    let after = (rank..count).map(|rank| get(old, rank));
    for number in before.chain([number]).chain(after) {
        bytes.extend_from_slice(&number.to_le_bytes()[..width]);
    }
    bytes.into_boxed_slice()
}

/// Removes an integer. Returns false if it was not present.
pub fn remove(block: &mut Box<[u8]>, number: i64) -> bool {
    let Ok(rank) = search(block, number) else { return false };
    remove_at(block, rank);
    true
}

/// Removes the integer at a rank.
pub fn remove_at(block: &mut Box<[u8]>, rank: usize) {
    if len(block) == 1 {
        *block = Box::default();
        return;
    }
    let (width, at) = (width(block), 1 + rank * width(block));
    let mut bytes = std::mem::take(block).into_vec();
    bytes.drain(at..at + width);
    *block = bytes.into_boxed_slice();
}

/// Asserts the invariants of the block.
pub fn check(block: &[u8]) {
    assert!(block.is_empty() || [2, 4, 8].contains(&width(block)));
    assert!(block.is_empty() || (block.len() > 1 && block.len() % width(block) == 1));
    assert!((1..len(block)).all(|rank| get(block, rank - 1) < get(block, rank)));
}
