//! Texts of up to 16 bytes as two words, to be looked at without a loop. Hot.
//!
//! ```text
//!   "GET"               [0, 0x5445_4700_0000_0000]     zeros in front, first byte lowest
//!   "key:000000012345"  ["key:0000", "00012345"]
//! ```

/// The longest text that two words hold.
pub const SHORT_BYTES_MAX: usize = 16;

/// The text with zeros in front, as 16 bytes in memory order; none if it is longer. Made of two
/// loads that may overlap, because a copy of so few bytes would be a call.
#[inline]
pub fn short_words(text: &[u8]) -> Option<[u64; 2]> {
    let len = text.len();
    if len > SHORT_BYTES_MAX {
        return None;
    }
    if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        let shift = (SHORT_BYTES_MAX - len) as u32 * 8;
        return Some([u64::from_le_bytes(*first).unbounded_shl(shift), u64::from_le_bytes(*last)]);
    }
    if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        let first = u64::from(u32::from_le_bytes(*first)) << ((8 - len) * 8);
        return Some([0, first | u64::from(u32::from_le_bytes(*last)) << 32]);
    }
    let [first, .., last] = text else {
        return Some([0, text.first().map_or(0, |&byte| u64::from(byte) << 56)]);
    };
    let (first, middle, last) = (u64::from(*first), u64::from(text[len / 2]), u64::from(*last));
    // Of two bytes the middle one is the last.
    Some([0, first << ((8 - len) * 8) | middle << ((8 - len + len / 2) * 8) | last << 56])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_text_behind_zeros() {
        let text: Vec<u8> = (1..=17).collect();
        for len in 0..=SHORT_BYTES_MAX {
            let mut padded = [0; SHORT_BYTES_MAX];
            padded[SHORT_BYTES_MAX - len..].copy_from_slice(&text[..len]);
            let [first, last] = short_words(&text[..len]).unwrap();
            assert_eq!([first.to_le_bytes(), last.to_le_bytes()].concat(), padded, "length {len}");
        }
        assert_eq!(short_words(&text), None);
    }
}
