//! Passwords: kept and compared as SHA-256 hashes, in constant time.

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Bytes of a hash.
const HASH_BYTES: usize = 32;

/// The SHA-256 hash of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hash([u8; HASH_BYTES]);

impl Hash {
    /// Hashes a password.
    pub(super) fn of(password: &[u8]) -> Hash {
        Hash(Sha256::digest(password).into())
    }

    /// Reads 64 lower-case hexadecimal digits.
    pub(super) fn from_digits(digits: &[u8]) -> Option<Hash> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        if digits.len() != 2 * HASH_BYTES {
            return None;
        }
        let mut hash = [0; HASH_BYTES];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Hash(hash))
    }

    /// Returns the hash as 64 hexadecimal digits.
    pub(super) fn digits(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Returns whether a password has one of these hashes. Compares it with each, whatever matches.
pub(super) fn matches_any(password: &[u8], hashes: &[Hash]) -> bool {
    let given = Hash::of(password);
    let any = hashes.iter().fold(Choice::from(0), |any, hash| any | hash.0.ct_eq(&given.0));
    any.into()
}

/// Returns `count` hexadecimal digits made of random bytes.
pub fn random_digits(bytes: &[u8], count: usize) -> String {
    let mut digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(digits.len() >= count);
    digits.truncate(count);
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_written_and_read() {
        let hash = Hash::of(b"abc");
        let digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.digits(), digits);
        assert_eq!(Hash::from_digits(digits.as_bytes()), Some(hash));
        assert_eq!(Hash::from_digits(digits.to_uppercase().as_bytes()), None);
        assert_eq!(Hash::from_digits(&digits.as_bytes()[1..]), None);
        assert!(matches_any(b"abc", &[Hash::of(b"x"), hash]));
        assert!(!matches_any(b"abd", &[Hash::of(b"x"), hash]));
        assert!(!matches_any(b"", &[]));
        assert_eq!(random_digits(&[0x1f, 0xa0], 3), "1fa");
    }
}
