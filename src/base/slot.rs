//! Hash slots: the slot of a key, out of 16,384. Hot: runs once per key of every command.

use crc::{CRC_16_XMODEM, Crc, Table};

/// The number of hash slots.
pub const SLOT_COUNT: u16 = 16384;

const _: () = assert!(SLOT_COUNT.is_power_of_two());

/// Bytes that one round of the table-driven CRC takes.
const ROUND: usize = 16;

static XMODEM: Crc<u16, Table<ROUND>> = Crc::<u16, Table<ROUND>>::new(&CRC_16_XMODEM);

/// Returns the slot of a key: the CRC16 of its hash tag, modulo [`SLOT_COUNT`]. The hash tag is the
/// text between the first `{` and the next `}`, if not empty, or else the whole key.
#[inline]
pub fn slot_of(key: &[u8]) -> u16 {
    if key.len() > ROUND {
        return crc16(tag_of(key)) & (SLOT_COUNT - 1);
    }
    let padded = pad(key);
    let crc = if has_brace(padded) { crc16(tag_of(key)) } else { crc16_of_padded(padded) };
    crc & (SLOT_COUNT - 1)
}

/// Returns the part of a key that decides its slot.
#[inline]
pub fn tag_of(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else { return key };
    match memchr::memchr(b'}', &key[open + 1..]) {
        None | Some(0) => key,
        Some(len) => &key[open + 1..open + 1 + len],
    }
}

/// Returns the CRC16 of a text. Leading zeros do not change a CRC that starts at zero. So a short
/// text is padded to one round, in which the table look-ups do not depend on each other.
#[inline]
fn crc16(text: &[u8]) -> u16 {
    if text.len() <= ROUND { crc16_of_padded(pad(text)) } else { XMODEM.checksum(text) }
}

#[inline]
fn crc16_of_padded(padded: u128) -> u16 {
    XMODEM.checksum(&padded.to_le_bytes())
}

/// Pads a text of at most 16 bytes with leading zeros to 16 bytes in memory order. It makes two
/// overlapping loads, because a copy of a few bytes would be a function call.
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
