//! The checksum at the end of a file, computed piece by piece.

use crc::{CRC_64_REDIS, Crc, Digest, Table};

/// Processes sixteen bytes per step, so that the checksum is about as fast as copying.
static JONES: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// CRC-64 with the Jones polynomial of the bytes added so far.
#[derive(Clone)]
pub struct Checksum {
    digest: Digest<'static, u64, Table<16>>,
}

impl Checksum {
    /// Creates the checksum of no bytes.
    pub fn new() -> Checksum {
        Checksum { digest: JONES.digest() }
    }

    /// Returns the checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> u64 {
        JONES.checksum(bytes)
    }

    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }

    /// Returns the checksum of all bytes added so far.
    pub fn value(&self) -> u64 {
        self.digest.clone().finalize()
    }
}

impl Default for Checksum {
    fn default() -> Checksum {
        Checksum::new()
    }
}

impl std::fmt::Debug for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checksum({:#018x})", self.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_pieces_is_the_checksum_of_the_whole() {
        assert_eq!(Checksum::of(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        let text: Vec<u8> = (0..1_000u32).map(|at| (at * 7) as u8).collect();
        for cut in [0, 1, 15, 16, 17, 500, 999, 1_000] {
            let mut sum = Checksum::new();
            sum.add(&text[..cut]);
            sum.add(&text[cut..]);
            assert_eq!(sum.value(), Checksum::of(&text), "cut at {cut}");
        }
        assert_eq!(Checksum::new().value(), 0);
    }
}
