//! Hash slots: the slot of a key, out of 16,384. Hot: runs once per key of every command.

use super::short::{SHORT_BYTES_MAX, short_words};
use std::ops::Range;

/// The number of hash slots.
pub const SLOT_COUNT: u16 = 16384;

const _: () = assert!(SLOT_COUNT.is_power_of_two());

/// The CRC16 (XMODEM) of each byte with 0 to 15 zeros behind it.
static CRCS: [[u16; 256]; SHORT_BYTES_MAX] = crcs();

const fn crcs() -> [[u16; 256]; SHORT_BYTES_MAX] {
    let mut crcs = [[0; 256]; SHORT_BYTES_MAX];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut zeros = 0;
        while zeros < SHORT_BYTES_MAX {
            let mut bit = 0;
            while bit < 8 {
                crc = (crc << 1) ^ if crc & 0x8000 != 0 { 0x1021 } else { 0 };
                bit += 1;
            }
            crcs[zeros][byte] = crc;
            zeros += 1;
        }
        byte += 1;
    }
    crcs
}

/// Returns the slot of a key: the CRC16 of its hash tag, modulo [`SLOT_COUNT`]. The hash tag is the
/// text between the first `{` and the next `}`, if not empty, or else the whole key.
#[inline]
pub fn slot_of(key: &[u8]) -> u16 {
    let crc = match short_words(key) {
        Some(words) if !has_brace(words) => match key.first_chunk() {
            Some(round) => crc16_of_round(round),
            None => crc16_of_round(&bytes_of(words)),
        },
        _ => crc16(tag_of(key)),
    };
    crc & (SLOT_COUNT - 1)
}

/// Returns the one of `shares` contiguous ranges of nearly equal size that has a slot.
#[inline]
pub fn share_of(slot: u16, shares: usize) -> usize {
    debug_assert!(slot < SLOT_COUNT && (1..=usize::from(SLOT_COUNT)).contains(&shares));
    (usize::from(slot) * shares) >> SLOT_COUNT.trailing_zeros()
}

/// Returns the slots of one of `shares` contiguous ranges of nearly equal size, see [`share_of`].
pub fn slots_of_share(share: usize, shares: usize) -> Range<u16> {
    let first = |share: usize| (share * usize::from(SLOT_COUNT)).div_ceil(shares) as u16;
    first(share)..first(share + 1)
}

/// Returns the one slot of all keys that a glob-style pattern can match; none if they may be in
/// several slots.
pub fn slot_of_pattern(pattern: &[u8]) -> Option<u16> {
    // Behind a tag, wildcards do not matter. Before it they could match an earlier tag.
    let is_plain = |text: &[u8]| !text.iter().any(|byte| b"*?[\\".contains(byte));
    let open = pattern.iter().position(|byte| *byte == b'{');
    let tag = open.and_then(|open| {
        let close = pattern[open + 1..].iter().position(|byte| *byte == b'}')?;
        (close > 0).then_some(open + 1 + close)
    });
    let decisive = &pattern[..tag.unwrap_or(pattern.len())];
    is_plain(decisive).then(|| slot_of(pattern))
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

/// A CRC that starts at zero is not changed by zeros in front: the text begins with a round that
/// may be short, and its other rounds are whole. The sum so far counts as the bits in front of the
/// next round.
fn crc16(text: &[u8]) -> u16 {
    let (head, rounds) = text.split_at(text.len() % SHORT_BYTES_MAX);
    let (rounds, _) = rounds.as_chunks::<SHORT_BYTES_MAX>();
    let head = short_words(head).expect("it is shorter than a round");
    rounds.iter().fold(crc16_of_round(&bytes_of(head)), |crc, round| {
        let [high, low] = crc.to_be_bytes();
        let mut round = *round;
        round[0] ^= high;
        round[1] ^= low;
        crc16_of_round(&round)
    })
}

/// The CRC16 of 16 bytes; the look-ups do not wait for each other.
#[inline]
fn crc16_of_round(round: &[u8; SHORT_BYTES_MAX]) -> u16 {
    let crcs = round.iter().zip(CRCS.iter().rev());
    crcs.fold(0, |sum, (&byte, crcs)| sum ^ crcs[usize::from(byte)])
}

/// Two words as their bytes.
#[inline]
fn bytes_of(words: [u64; 2]) -> [u8; SHORT_BYTES_MAX] {
    let words = u128::from(words[0]) | u128::from(words[1]) << 64;
    words.to_le_bytes()
}

/// Whether one of the 16 bytes is a `{`.
#[inline]
fn has_brace(words: [u64; 2]) -> bool {
    const LOW_BITS: u64 = u64::from_le_bytes([1; 8]);
    const BRACES: u64 = u64::from_le_bytes([b'{'; 8]);
    // The high bit of a byte that is zero, if it is the lowest such byte.
    let zero = |word: u64| word.wrapping_sub(LOW_BITS) & !word;
    (zero(words[0] ^ BRACES) | zero(words[1] ^ BRACES)) & (LOW_BITS << 7) != 0
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
        assert_eq!(slot_of_pattern(b"{bar}*"), Some(slot_of(b"bar")));
        assert_eq!(slot_of_pattern(b"foo{}"), Some(slot_of(b"foo{}")));
        for open in [&b"*{bar}"[..], b"{b?r}x", b"foo*", b"{}*", b"a\\{bar}", b"[a]{bar}"] {
            assert_eq!(slot_of_pattern(open), None);
        }
        assert_eq!(tag_of(b"foo{bar"), b"foo{bar");
    }

    #[test]
    fn every_slot_is_in_the_range_of_its_share() {
        for shares in [1, 2, 3, 4, 7, 16, 100, 16384] {
            let mut next = 0;
            for share in 0..shares {
                let slots = slots_of_share(share, shares);
                assert_eq!(slots.start, next);
                assert!(slots.clone().all(|slot| share_of(slot, shares) == share));
                next = slots.end;
            }
            assert_eq!(next, SLOT_COUNT);
        }
    }

    #[test]
    fn padding_changes_nothing() {
        for (text, is_there) in [(&b"{"[..], true), (b"0123{", true), (b"|z[\xfb", false)] {
            assert_eq!(has_brace(short_words(text).unwrap()), is_there);
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
