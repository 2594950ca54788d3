//! A hash tag for each hash slot.

use crate::base::slot::{SLOT_COUNT, slot_of};
use std::sync::OnceLock;

/// The characters of tags, in the order in which tags are tried.
const LETTERS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The most characters that a tag needs.
const TAG_BYTES_MAX: usize = 3;

/// A text and its length.
type Tag = ([u8; TAG_BYTES_MAX], usize);

/// Returns the shortest text of digits and letters in a slot, the first one in the order of
/// [`LETTERS`]. The first call takes some milliseconds.
pub fn tag_of_slot(slot: u16) -> &'static [u8] {
    static TAGS: OnceLock<Vec<Tag>> = OnceLock::new();
    let (text, length) = &TAGS.get_or_init(find_all)[usize::from(slot)];
    &text[..*length]
}

fn find_all() -> Vec<Tag> {
    let mut tags = vec![([0; TAG_BYTES_MAX], 0); usize::from(SLOT_COUNT)];
    for length in 1..=TAG_BYTES_MAX {
        for number in 0..LETTERS.len().pow(length as u32) {
            let (mut text, mut rest) = ([0; TAG_BYTES_MAX], number);
            for byte in text[..length].iter_mut().rev() {
                *byte = LETTERS[rest % LETTERS.len()];
                rest /= LETTERS.len();
            }
            let tag = &mut tags[usize::from(slot_of(&text[..length]))];
            if tag.1 == 0 {
                *tag = (text, length);
            }
        }
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_has_the_tag_of_the_reference() {
        let expected: [&[u8]; 10] =
            [b"06S", b"Qi", b"5L5", b"4Iu", b"4gY", b"460", b"1Y7", b"1LV", b"0QG", b"ru"];
        for (slot, tag) in expected.into_iter().enumerate() {
            assert_eq!(tag_of_slot(slot as u16), tag);
        }
        assert!((0..SLOT_COUNT).all(|slot| slot_of(tag_of_slot(slot)) == slot));
    }
}
