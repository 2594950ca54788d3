//! Hash slots: which of the 16,384 a key belongs to. Hot: runs once per key of every command.

use crc::{CRC_16_XMODEM, Crc, Table};

/// How many slots there are.
pub const SLOT_COUNT: u16 = 16384;

const _: () = assert!(SLOT_COUNT.is_power_of_two());

/// Bytes that one round of the table-driven CRC takes.
const ROUND: usize = 16;

static XMODEM: Crc<u16, Table<ROUND>> = Crc::<u16, Table<ROUND>>::new(&CRC_16_XMODEM);

/// The slot of a key: CRC16 of its hash tag (what stands between the first `{` and the next `}`,
/// if that is not empty) or else of the whole key, modulo [`SLOT_COUNT`].
#[inline]
pub fn slot_of(key: &[u8]) -> u16 {
    if key.len() > ROUND {
        return crc16(tag_of(key)) & (SLOT_COUNT - 1);
    }
    let padded = pad(key);
    let crc = if has_brace(padded) { crc16(tag_of(key)) } else { crc16_of_padded(padded) };
    crc & (SLOT_COUNT - 1)
}

/// The part of a key that decides its slot.
#[inline]
pub fn tag_of(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else { return key };
    match memchr::memchr(b'}', &key[open + 1..]) {
        None | Some(0) => key,
        Some(len) => &key[open + 1..open + 1 + len],
    }
}

/// A CRC that starts at zero is not changed by zeros in front: so a short text is padded to one
/// round, whose table look-ups do not wait for each other.
#[inline]
fn crc16(text: &[u8]) -> u16 {
    if text.len() <= ROUND { crc16_of_padded(pad(text)) } else { XMODEM.checksum(text) }
}

#[inline]
fn crc16_of_padded(padded: u128) -> u16 {
    XMODEM.checksum(&padded.to_le_bytes())
}

/// A text of at most 16 bytes with zeros in front, as 16 bytes in memory order. Made of two
/// overlapping loads, for a copy of so few bytes would be a call.
#[inline]
fn pad(text: &[u8]) -> u128 {
    let len = text.len();
    assert!(len <= ROUND);
    if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        let first = u128::from(u64::from_le_bytes(*first)) << ((ROUND - len) * 8);
        return u128::from(u64::from_le_bytes(*last)) << 64 | first;
    }
    if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        let first = u128::from(u32::from_le_bytes(*first)) << ((ROUND - len) * 8);
        return u128::from(u32::from_le_bytes(*last)) << 96 | first;
    }
    text.iter().fold(0, |sum, &byte| sum >> 8 | u128::from(byte) << 120)
}

/// Whether one of the 16 bytes is a `{`.
#[inline]
fn has_brace(padded: u128) -> bool {
    const LOW_BITS: u128 = u128::from_le_bytes([1; ROUND]);
    const BRACES: u128 = u128::from_le_bytes([b'{'; ROUND]);
    let zero_if_brace = padded ^ BRACES;
    zero_if_brace.wrapping_sub(LOW_BITS) & !zero_if_brace & (LOW_BITS << 7) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_slots() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"foo"), 12182);
        assert_eq!(slot_of(b"bar"), 5061);
        assert_eq!(slot_of(b""), 0);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
        assert_eq!(slot_of(b"foo{bar}{zap}"), slot_of(b"bar"));
        assert_eq!(tag_of(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(tag_of(b"foo{bar"), b"foo{bar");
    }

    #[test]
    fn padding_changes_nothing() {
        for (text, is_there) in [(&b"{"[..], true), (b"0123{", true), (b"|z[\xfb", false)] {
            assert_eq!(has_brace(pad(text)), is_there);
        }
        let text: Vec<u8> = (1..=40).collect();
        for len in 0..text.len() {
            let mut plain = 0u16;
            for &byte in &text[..len] {
                plain ^= u16::from(byte) << 8;
                for _ in 0..8 {
                    plain = (plain << 1) ^ if plain & 0x8000 != 0 { 0x1021 } else { 0 };
                }
            }
            assert_eq!(crc16(&text[..len]), plain, "length {len}");
        }
    }
}
