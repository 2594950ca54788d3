//! A small set of any members in one block.
//!
//! ```text
//!   u8 1 | u32 number of members, little-endian | members as packed items, in insertion order
//! ```
//! `{ab, 12}` is `01 02 00 00 00 02 61 62 cc`.

use crate::value::pack::{self, Item};

const FORM: u8 = 1;
const HEAD_BYTES: usize = 5;

/// Bytes above which a block takes no more members.
pub const BYTES_MAX: usize = 1 << 30;

/// Returns a block without members.
pub fn empty() -> Box<[u8]> {
    Box::new([FORM, 0, 0, 0, 0])
}

/// Returns the number of members.
#[inline]
pub fn len(block: &[u8]) -> usize {
    u32::from_le_bytes(*block[1..].first_chunk().expect("a block has a head")) as usize
}

fn put_len(block: &mut [u8], len: usize) {
    let len = u32::try_from(len).expect("a block is small");
    block[1..HEAD_BYTES].copy_from_slice(&len.to_le_bytes());
}

/// Returns the bytes of the packed members.
#[inline]
pub fn items(block: &[u8]) -> &[u8] {
    &block[HEAD_BYTES..]
}

/// Returns where a member begins and ends in the block.
fn find(block: &[u8], member: &Item<'_>) -> Option<(usize, usize)> {
    let mut rest = items(block);
    while !rest.is_empty() {
        let (item, behind) = pack::read(rest);
        if item == *member {
            return Some((block.len() - rest.len(), block.len() - behind.len()));
        }
        rest = behind;
    }
    None
}

/// Returns whether `member` is in the set.
#[inline]
pub fn contains(block: &[u8], member: &Item<'_>) -> bool {
    find(block, member).is_some()
}

/// Adds a member, which must not be present.
pub fn push(block: &mut Box<[u8]>, member: &Item<'_>) {
    let len = len(block);
    let mut bytes = std::mem::take(block).into_vec();
    bytes.reserve_exact(pack::size(member));
    pack::write(&mut bytes, member);
    put_len(&mut bytes, len + 1);
    *block = bytes.into_boxed_slice();
}

/// Returns a block of these members, which must be distinct.
pub fn of<'a>(members: impl Iterator<Item = Item<'a>>) -> Box<[u8]> {
    let mut bytes = empty().into_vec();
    let mut len = 0;
    for member in members {
        pack::write(&mut bytes, &member);
        len += 1;
    }
    put_len(&mut bytes, len);
    bytes.into_boxed_slice()
}

/// Removes a member. Returns false if it was not present.
pub fn remove(block: &mut Box<[u8]>, member: &Item<'_>) -> bool {
    let Some((start, end)) = find(block, member) else { return false };
    let len = len(block);
    let mut bytes = std::mem::take(block).into_vec();
    bytes.drain(start..end);
    put_len(&mut bytes, len - 1);
    *block = bytes.into_boxed_slice();
    true
}

/// Asserts the invariants of the block.
pub fn check(block: &[u8]) {
    assert_eq!(block[0], FORM);
    let mut members: Vec<_> = pack::iter(items(block)).map(|item| item.to_vec()).collect();
    assert_eq!(members.len(), len(block));
    members.sort();
    members.dedup();
    assert_eq!(members.len(), len(block), "members are unique");
}
