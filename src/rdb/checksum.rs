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

    /// Returns the checksum of two texts in a row, from the checksum of each and the length of the
    /// second in bytes. O(log length).
    pub fn join(first: u64, second: u64, second_len: u64) -> u64 {
        // The checksum is linear, and begins at 0. So the first text counts as if as many zeros
        // followed as the second text has bits: one matrix for a zero bit, squared again and again.
        let mut zeros = [0; 64];
        zeros[0] = CRC_64_REDIS.poly.reverse_bits();
        (1..64).for_each(|at| zeros[at] = 1 << (at - 1));
        // From one bit to one byte.
        (0..3).for_each(|_| zeros = square(&zeros));
        let (mut sum, mut left) = (first, second_len);
        while left > 0 {
            if left & 1 == 1 {
                sum = times(&zeros, sum);
            }
            zeros = square(&zeros);
            left >>= 1;
        }
        sum ^ second
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

/// A matrix of bits, by columns.
type Matrix = [u64; 64];

fn times(matrix: &Matrix, bits: u64) -> u64 {
    let columns = matrix.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
    columns.fold(0, |sum, (_, column)| sum ^ column)
}

fn square(matrix: &Matrix) -> Matrix {
    matrix.map(|column| times(matrix, column))
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
            let parts = [&text[..cut], &text[cut..]].map(Checksum::of);
            let joined = Checksum::join(parts[0], parts[1], (text.len() - cut) as u64);
            assert_eq!(joined, Checksum::of(&text), "joined at {cut}");
        }
        assert_eq!(Checksum::new().value(), 0);
    }
}
