//! The id of an entry: `milliseconds-sequence`.

use crate::base::number::INTEGER_TEXT_BYTES_MAX;

/// The id of an entry. The ids of a stream are ascending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// First part, usually Unix milliseconds.
    pub ms: u64,
    /// Second part, which distinguishes entries of the same millisecond.
    pub seq: u64,
}

impl Id {
    /// The smallest id, `0-0`. No entry has it.
    pub const MIN: Id = Id { ms: 0, seq: 0 };
    /// The largest id.
    pub const MAX: Id = Id { ms: u64::MAX, seq: u64::MAX };

    /// Creates an id from its two parts.
    pub const fn new(ms: u64, seq: u64) -> Id {
        Id { ms, seq }
    }

    fn number(self) -> u128 {
        u128::from(self.ms) << 64 | u128::from(self.seq)
    }

    fn of_number(number: u128) -> Id {
        Id { ms: (number >> 64) as u64, seq: number as u64 }
    }

    /// Returns the next larger id; none for the largest id.
    pub fn next(self) -> Option<Id> {
        self.number().checked_add(1).map(Id::of_number)
    }

    /// Returns the next smaller id; none for the smallest id.
    pub fn previous(self) -> Option<Id> {
        self.number().checked_sub(1).map(Id::of_number)
    }

    /// Returns whether the id is `0-0`.
    pub fn is_zero(self) -> bool {
        self == Id::MIN
    }

    /// Returns 16 big-endian bytes, which sort in the order of the ids.
    pub fn to_bytes(self) -> [u8; 16] {
        self.number().to_be_bytes()
    }

    /// Returns the id of 16 big-endian bytes. The inverse of [`Id::to_bytes`].
    pub fn of_bytes(bytes: [u8; 16]) -> Id {
        Id::of_number(u128::from_be_bytes(bytes))
    }

    /// Returns the id's text.
    pub fn text(self) -> IdText {
        let mut text = IdText { bytes: [0; IdText::BYTES_MAX], len: 0 };
        text.push(itoa::Buffer::new().format(self.ms).as_bytes());
        text.push(b"-");
        text.push(itoa::Buffer::new().format(self.seq).as_bytes());
        text
    }
}

/// The text of an [`Id`], such as `1526919030474-0`.
#[derive(Clone, Copy, Debug)]
pub struct IdText {
    bytes: [u8; IdText::BYTES_MAX],
    len: u8,
}

impl IdText {
    const BYTES_MAX: usize = 2 * INTEGER_TEXT_BYTES_MAX + 1;

    /// Returns the text as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn push(&mut self, part: &[u8]) {
        let start = usize::from(self.len);
        self.bytes[start..start + part.len()].copy_from_slice(part);
        self.len += part.len() as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_and_texts() {
        assert_eq!(Id::new(1, u64::MAX).next(), Some(Id::new(2, 0)));
        assert_eq!(Id::new(2, 0).previous(), Some(Id::new(1, u64::MAX)));
        assert_eq!((Id::MAX.next(), Id::MIN.previous()), (None, None));
        assert!(Id::new(1, 9) < Id::new(2, 0) && Id::new(2, 0) < Id::new(2, 1));
        assert_eq!(Id::of_bytes(Id::new(5, 7).to_bytes()), Id::new(5, 7));
        let text = Id::MAX.text();
        assert_eq!(text.as_bytes(), b"18446744073709551615-18446744073709551615");
        assert_eq!(Id::new(3, 0).text().as_bytes(), b"3-0");
    }
}
