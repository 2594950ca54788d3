//! Strings as bit arrays: count, search, combine, and integer fields of any width. Hot.
//!
//! ```text
//!   bit      0  1  2  3  4  5  6  7 | 8  9 ...          bit 0 is the highest of byte 0
//!   byte     0                      | 1    ...
//!
//!   a field of 5 bits at offset 6 with the value 23 (10111):
//!            .  .  .  .  .  .  1  0 | 1  1  1  .  .  .  .  .
//! ```
//! Bits past the end of a string read as zeros. Long runs are processed in arrays of 64-bit words,
//! which the compiler vectorizes.

use std::ops::Range;

/// The widest integer, in bits, that [`Field`] reads and writes.
pub const FIELD_BITS_MAX: u32 = 64;

/// Words in a [`Row`].
const LANES: usize = 4;

/// Rows in a [`Block`], which are counted together.
const ROWS: usize = 16;

/// Words that [`skip`] tests together.
const SKIP_WORDS: usize = 8;

/// A 64-bit word as it lies in memory.
type Word = [u8; 8];

/// Words that are processed side by side.
type Row = [u64; LANES];

/// [`ROWS`] rows as they lie in memory.
type Block = [Word; ROWS * LANES];

/// Bytes of the result that [`combine`] finishes before the next ones. This part stays in the
/// first-level cache while all sources are read.
const COMBINE_BYTES: usize = 8 << 10;

/// Returns the bit at `offset`; false past the end.
#[inline]
pub fn get(bytes: &[u8], offset: u64) -> bool {
    let byte = usize::try_from(offset / 8).ok().and_then(|at| bytes.get(at));
    byte.is_some_and(|byte| byte << (offset % 8) & 0x80 != 0)
}

/// Sets or clears the bit at `offset`, which must lie within the bytes.
#[inline]
pub fn put(bytes: &mut [u8], offset: u64, on: bool) {
    let byte = &mut bytes[(offset / 8) as usize];
    let mask = 0x80 >> (offset % 8);
    *byte = if on { *byte | mask } else { *byte & !mask };
}

/// Returns the number of set bits in a range, which must lie within the bytes.
pub fn count(bytes: &[u8], range: Range<u64>) -> u64 {
    assert!(range.start <= range.end && range.end <= bytes.len() as u64 * 8);
    let whole = whole_bytes(&range);
    let in_byte = |at: usize| u64::from(masked(bytes, at, &range, 0).count_ones());
    if whole.start > whole.end {
        // The range begins and ends inside one byte.
        return in_byte(whole.end);
    }
    let head = if range.start.is_multiple_of(8) { 0 } else { in_byte(whole.start - 1) };
    let tail = if range.end.is_multiple_of(8) { 0 } else { in_byte(whole.end) };
    head + ones(&bytes[whole]) + tail
}

/// Returns the offset of the first bit equal to `on` in a range, which must lie within the bytes.
pub fn find(bytes: &[u8], range: Range<u64>, on: bool) -> Option<u64> {
    assert!(range.start <= range.end && range.end <= bytes.len() as u64 * 8);
    let whole = whole_bytes(&range);
    // Bits outside the range are masked to the value that is not searched for.
    let filler = if on { 0x00 } else { 0xff };
    let in_byte = |at: usize| {
        let byte = masked(bytes, at, &range, filler) ^ filler;
        (byte != 0).then(|| at as u64 * 8 + u64::from(byte.leading_zeros()))
    };
    if !range.start.is_multiple_of(8)
        && let Some(found) = in_byte((range.start / 8) as usize)
    {
        return Some(found);
    }
    if whole.start < whole.end
        && let Some(at) = skip(&bytes[whole.clone()], filler)
    {
        return in_byte(whole.start + at);
    }
    if !range.end.is_multiple_of(8) { in_byte(whole.end) } else { None }
}

/// Returns the bytes that lie entirely in a range of bits. The start exceeds the end if the range
/// lies inside one byte.
fn whole_bytes(range: &Range<u64>) -> Range<usize> {
    range.start.div_ceil(8) as usize..(range.end / 8) as usize
}

/// Returns the byte at index `at`. Its bits outside the range are taken from `filler`.
fn masked(bytes: &[u8], at: usize, range: &Range<u64>, filler: u8) -> u8 {
    let first = at as u64 * 8;
    let before = range.start.saturating_sub(first).min(8);
    let after = (first + 8).saturating_sub(range.end).min(8);
    let mask = (0xffu32 >> before) as u8 & (0xffu32 << after) as u8;
    (bytes[at] & mask) | (filler & !mask)
}

/// Returns the number of set bits.
fn ones(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let (blocks, words) = words.as_chunks::<{ ROWS * LANES }>();
    let words = words.iter().map(|word| u64::from(u64::from_le_bytes(*word).count_ones()));
    let rest = rest.iter().map(|byte| u64::from(byte.count_ones()));
    ones_of_blocks(blocks) + words.sum::<u64>() + rest.sum::<u64>()
}

/// Returns the number of set bits, by carry-save addition. Sixteen rows are added bit by bit, so
/// that only one row per block needs a population count.
///
/// ```text
///   sums[0]  the digit of weight 1 of each bit column     row + row + sums[0] = a new sums[0]
///   sums[1]                        2                      and a carry of weight 2; two of these
///   sums[2]                        4                      and sums[1] give a carry of 4, ...
///   sums[3]                        8                      carries of weight 16 are counted
/// ```
fn ones_of_blocks(blocks: &[Block]) -> u64 {
    let mut sums = [[0; LANES]; 4];
    let mut sixteens = 0;
    for block in blocks {
        let mut local = sums;
        let first = add_eight(&mut local, block, 0);
        let second = add_eight(&mut local, block, 8);
        let carried = add(&mut local[3], first, second);
        sixteens += ones_of_row(carried);
        sums = local;
    }
    let left = sums.iter().enumerate().map(|(digit, &sum)| ones_of_row(sum) << digit);
    16 * sixteens + left.sum::<u64>()
}

/// Adds eight rows, starting at row `at`. Returns the carry, of weight 8.
#[inline(always)]
fn add_eight(sums: &mut [Row; 4], block: &Block, at: usize) -> Row {
    let first = add_four(sums, block, at);
    let second = add_four(sums, block, at + 4);
    add(&mut sums[2], first, second)
}

/// Adds four rows, starting at row `at`. Returns the carry, of weight 4.
#[inline(always)]
fn add_four(sums: &mut [Row; 4], block: &Block, at: usize) -> Row {
    let first = add(&mut sums[0], row(block, at), row(block, at + 1));
    let second = add(&mut sums[0], row(block, at + 2), row(block, at + 3));
    add(&mut sums[1], first, second)
}

/// Adds two rows to a sum, each bit column on its own. Returns the carry.
#[inline(always)]
fn add(sum: &mut Row, first: Row, second: Row) -> Row {
    let mut both = [0; LANES];
    for (lane, carried) in both.iter_mut().enumerate() {
        let odd = sum[lane] ^ first[lane];
        *carried = (sum[lane] & first[lane]) | (odd & second[lane]);
        sum[lane] = odd ^ second[lane];
    }
    both
}

#[inline(always)]
fn row(block: &Block, at: usize) -> Row {
    let mut row = [0; LANES];
    for (lane, word) in row.iter_mut().enumerate() {
        *word = u64::from_le_bytes(block[at * LANES + lane]);
    }
    row
}

#[inline(always)]
fn ones_of_row(row: Row) -> u64 {
    row.iter().map(|word| u64::from(word.count_ones())).sum()
}

/// Returns the index of the first byte that is not `filler`, which must be 0x00 or 0xff.
fn skip(bytes: &[u8], filler: u8) -> Option<usize> {
    let plain = u64::from_le_bytes([filler; 8]);
    let differs = |word: &Word| u64::from_le_bytes(*word) ^ plain;
    let (words, _) = bytes.as_chunks::<8>();
    let (rows, _) = words.as_chunks::<SKIP_WORDS>();
    let row = rows.iter().position(|row| row.iter().fold(0, |sum, word| sum | differs(word)) != 0);
    let start = row.unwrap_or(rows.len()) * SKIP_WORDS * 8;
    bytes[start..].iter().position(|&byte| byte != filler).map(|at| start + at)
}

/// How [`combine`] computes a result bit from the source bits at the same offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// All bits are set.
    And,
    /// At least one bit is set.
    Or,
    /// An odd number of bits is set.
    Xor,
    /// The bit of the only source is not set.
    Not,
}

/// Combines the bits of several strings. The result is as long as the longest source. There must be
/// at least one source, and exactly one for [`Operation::Not`].
pub fn combine(operation: Operation, sources: &[&[u8]]) -> Vec<u8> {
    let (first, others) = sources.split_first().expect("there is at least one source");
    assert!(operation != Operation::Not || others.is_empty(), "NOT takes exactly one source");
    let len = sources.iter().map(|source| source.len()).max().unwrap_or(0);
    let mut result = Vec::with_capacity(len);
    for start in (0..len).step_by(COMBINE_BYTES) {
        let end = len.min(start + COMBINE_BYTES);
        result.extend_from_slice(part(first, start, end));
        result.resize(end, 0);
        for source in others {
            combine_two(operation, &mut result[start..], part(source, start, end));
        }
        if operation == Operation::Not {
            result[start..].iter_mut().for_each(|byte| *byte = !*byte);
        }
    }
    result
}

/// Returns the bytes from `start` to `end`, clipped to the string's length.
fn part(bytes: &[u8], start: usize, end: usize) -> &[u8] {
    &bytes[start.min(bytes.len())..end.min(bytes.len())]
}

/// Combines bytes with `others` in place. `others` may be shorter and then counts as padded with
/// zeros.
fn combine_two(operation: Operation, bytes: &mut [u8], others: &[u8]) {
    let (both, alone) = bytes.split_at_mut(others.len());
    let pairs = both.iter_mut().zip(others);
    match operation {
        Operation::And => {
            pairs.for_each(|(byte, other)| *byte &= other);
            alone.fill(0);
        }
        Operation::Or => pairs.for_each(|(byte, other)| *byte |= other),
        Operation::Xor => pairs.for_each(|(byte, other)| *byte ^= other),
        Operation::Not => unreachable!("NOT takes exactly one source"),
    }
}

/// Returns the first 16 bytes as a big-endian number, padded with zeros. A field touches at most 9
/// bytes.
#[inline]
fn window(bytes: &[u8]) -> u128 {
    if let Some(bytes) = bytes.first_chunk::<16>() {
        return u128::from_be_bytes(*bytes);
    }
    let mut window = [0; 16];
    window[..bytes.len()].copy_from_slice(bytes);
    u128::from_be_bytes(window)
}

/// What to store if a number is too large or too small for its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The low bits of the number.
    Wrap,
    /// The nearest number that fits.
    Saturate,
    /// Nothing: the operation fails.
    Fail,
}

/// An integer field in a bit array: highest bit first, in two's complement if signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Offset of the field's first bit.
    pub offset: u64,
    /// Width in bits: 1 to 64 if signed, else 1 to 63.
    pub width: u32,
    /// Whether the field holds negative numbers.
    pub is_signed: bool,
}

impl Field {
    /// Returns the offset of the first bit after the field.
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.width)
    }

    /// Returns the number in the field.
    pub fn read(&self, bytes: &[u8]) -> i64 {
        let start = usize::try_from(self.offset / 8).unwrap_or(usize::MAX).min(bytes.len());
        let window = window(&bytes[start..]) << (self.offset % 8);
        self.number((window >> (128 - self.width)) as u64)
    }

    /// Writes the low bits of a number to the field, which must lie within the bytes.
    pub fn write(&self, bytes: &mut [u8], number: i64) {
        let (start, end) = ((self.offset / 8) as usize, self.end().div_ceil(8) as usize);
        assert!(end <= bytes.len(), "the field lies within the bytes");
        let shift = 128 - self.width - (self.offset % 8) as u32;
        let mask = u128::from(self.mask()) << shift;
        let bits = u128::from(number as u64 & self.mask()) << shift;
        let window = (window(&bytes[start..]) & !mask) | bits;
        bytes[start..end].copy_from_slice(&window.to_be_bytes()[..end - start]);
    }

    /// Returns the number to store for a sum that may not fit; none if it does not fit and
    /// `overflow` is [`Overflow::Fail`]. The sum must lie within 66 bits.
    pub fn fit(&self, sum: i128, overflow: Overflow) -> Option<i64> {
        let (min, max) = self.limits();
        if (min..=max).contains(&sum) {
            return Some(sum as i64);
        }
        match overflow {
            Overflow::Wrap => Some(self.number(sum as u64 & self.mask())),
            Overflow::Saturate => Some(sum.clamp(min, max) as i64),
            Overflow::Fail => None,
        }
    }

    /// Returns the least and the greatest number that the field can hold.
    pub fn limits(&self) -> (i128, i128) {
        match self.is_signed {
            true => (-1i128 << (self.width - 1), (1i128 << (self.width - 1)) - 1),
            false => (0, i128::from(self.mask())),
        }
    }

    /// Returns a mask of the field's width, in the low bits.
    fn mask(&self) -> u64 {
        assert!((1..=FIELD_BITS_MAX - u32::from(!self.is_signed)).contains(&self.width));
        u64::MAX >> (FIELD_BITS_MAX - self.width)
    }

    /// Converts the field's raw bits to a number, with sign extension if signed.
    fn number(&self, bits: u64) -> i64 {
        let unused = FIELD_BITS_MAX - self.width;
        match self.is_signed {
            true => ((bits << unused) as i64) >> unused,
            false => bits as i64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    const ROUNDS: usize = 3_000;

    /// Returns the bits of `bytes`, one by one.
    fn row(bytes: &[u8]) -> Vec<bool> {
        bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> (7 - bit) & 1 == 1)).collect()
    }

    fn bytes_of(row: &[bool]) -> Vec<u8> {
        let byte = |bits: &[bool]| bits.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
        row.chunks(8).map(byte).collect()
    }

    /// Returns random bytes with long runs of equal bits. The length sometimes exceeds two blocks.
    fn random_bytes(rng: &mut Rng) -> Vec<u8> {
        let len_max = [10, 80, 700, 3_000][rng.below(4) as usize];
        let len = rng.below(len_max) as usize;
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let run = 1 + rng.below(len as u64) as usize;
            match rng.below(4) {
                0 => bytes.resize(len.min(bytes.len() + run), 0x00),
                1 => bytes.resize(len.min(bytes.len() + run), 0xff),
                _ => bytes.push(rng.next_u64() as u8),
            }
        }
        bytes
    }

    fn random_range(rng: &mut Rng, bits: u64) -> Range<u64> {
        let start = rng.below(bits + 1);
        let len = rng.below(bits - start + 1);
        let end = if rng.below(3) == 0 { start + len.min(12) } else { start + len };
        start..end
    }

    #[test]
    fn count_and_find_match_a_bit_by_bit_model() {
        let mut rng = Rng::new(1);
        for _ in 0..ROUNDS {
            let bytes = random_bytes(&mut rng);
            let row = row(&bytes);
            let range = random_range(&mut rng, row.len() as u64);
            let bits = &row[range.start as usize..range.end as usize];
            let ones = bits.iter().filter(|&&bit| bit).count() as u64;
            assert_eq!(count(&bytes, range.clone()), ones, "{range:?} of {}", bytes.len());
            assert_eq!(
                count(&bytes, 0..row.len() as u64),
                row.iter().filter(|&&bit| bit).count() as u64
            );
            for on in [true, false] {
                let first = bits.iter().position(|&bit| bit == on);
                let first = first.map(|at| at as u64 + range.start);
                assert_eq!(find(&bytes, range.clone(), on), first, "{on} in {range:?}");
            }
        }
    }

    #[test]
    fn get_and_put_match_a_bit_by_bit_model() {
        let mut rng = Rng::new(2);
        for _ in 0..ROUNDS {
            let mut bytes = random_bytes(&mut rng);
            bytes.push(rng.next_u64() as u8);
            let mut row = row(&bytes);
            let offset = rng.below(row.len() as u64);
            let on = rng.below(2) == 1;
            assert_eq!(get(&bytes, offset), row[offset as usize]);
            put(&mut bytes, offset, on);
            row[offset as usize] = on;
            assert_eq!(bytes, bytes_of(&row));
            assert!(!get(&bytes, row.len() as u64 + offset));
        }
        assert!(!get(b"\xff", u64::MAX));
    }

    #[test]
    fn combine_matches_a_byte_by_byte_model() {
        let mut rng = Rng::new(3);
        for round in 0..ROUNDS {
            let operation = [Operation::And, Operation::Or, Operation::Xor, Operation::Not]
                [rng.below(4) as usize];
            let many = if operation == Operation::Not { 1 } else { 1 + rng.below(5) };
            let mut sources: Vec<Vec<u8>> = (0..many).map(|_| random_bytes(&mut rng)).collect();
            if round % 300 == 0 {
                // Longer than the part that `combine` finishes at once.
                let len = COMBINE_BYTES + rng.below(2 * COMBINE_BYTES as u64) as usize;
                sources[0] = (0..len).map(|_| rng.next_u64() as u8).collect();
            }
            let len = sources.iter().map(Vec::len).max().unwrap_or(0);
            let expected: Vec<u8> = (0..len)
                .map(|at| {
                    let mut column =
                        sources.iter().map(|source| source.get(at).copied().unwrap_or(0));
                    match operation {
                        Operation::And => column.fold(0xff, |sum, byte| sum & byte),
                        Operation::Or => column.fold(0, |sum, byte| sum | byte),
                        Operation::Xor => column.fold(0, |sum, byte| sum ^ byte),
                        Operation::Not => !column.next().unwrap_or(0),
                    }
                })
                .collect();
            let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
            assert!(combine(operation, &sources) == expected, "{operation:?} of {len} bytes");
        }
    }

    #[test]
    fn fields_match_a_bit_by_bit_model() {
        let mut rng = Rng::new(4);
        for _ in 0..ROUNDS {
            let is_signed = rng.below(2) == 1;
            let width = 1 + rng.below(63 + u64::from(is_signed)) as u32;
            let mut bytes = random_bytes(&mut rng);
            let field = Field { offset: rng.below(bytes.len() as u64 * 8 + 9), width, is_signed };
            let mut row = row(&bytes);
            let bit = |row: &[bool], at: u64| row.get(at as usize).copied().unwrap_or(false);
            let read = |row: &[bool]| {
                let first = is_signed && bit(row, field.offset);
                (field.offset..field.end()).fold(if first { -1 } else { 0 }, |number, at| {
                    number << 1 | i64::from(bit(row, at))
                })
            };
            assert_eq!(field.read(&bytes), read(&row), "{field:?}");
            bytes.resize(bytes.len().max(field.end().div_ceil(8) as usize), 0);
            row.resize(bytes.len() * 8, false);
            let number = rng.next_u64() as i64 >> rng.below(64);
            field.write(&mut bytes, number);
            for at in 0..u64::from(width) {
                row[(field.end() - 1 - at) as usize] = number >> at & 1 == 1;
            }
            assert_eq!(bytes, bytes_of(&row), "{field:?} = {number}");
            assert_eq!(field.read(&bytes), read(&row));
        }
    }

    #[test]
    fn overflowing_sums_wrap_saturate_or_fail() {
        let signed = |width| Field { offset: 0, width, is_signed: true };
        let unsigned = |width| Field { offset: 0, width, is_signed: false };
        let (most, least) = (i128::from(i64::MAX), i128::from(i64::MIN));
        let cases = [
            (unsigned(8), 255, [Some(255); 3]),
            (unsigned(8), 256, [Some(0), Some(255), None]),
            (unsigned(8), -1, [Some(255), Some(0), None]),
            (unsigned(1), 3, [Some(1), Some(1), None]),
            (unsigned(63), most, [Some(i64::MAX); 3]),
            (unsigned(63), most + 2, [Some(1), Some(i64::MAX), None]),
            (unsigned(63), i128::from(u64::MAX), [Some(i64::MAX), Some(i64::MAX), None]),
            (unsigned(63), least, [Some(0), Some(0), None]),
            (signed(8), 127, [Some(127); 3]),
            (signed(8), 128, [Some(-128), Some(127), None]),
            (signed(8), -129, [Some(127), Some(-128), None]),
            (signed(1), 1, [Some(-1), Some(0), None]),
            (signed(1), -1, [Some(-1); 3]),
            (signed(64), most + 1, [Some(i64::MIN), Some(i64::MAX), None]),
            (signed(64), least - 1, [Some(i64::MAX), Some(i64::MIN), None]),
            (signed(64), most + most, [Some(-2), Some(i64::MAX), None]),
            (signed(63), most, [Some(-1), Some(i64::MAX >> 1), None]),
        ];
        for (field, sum, expected) in cases {
            let fits = [Overflow::Wrap, Overflow::Saturate, Overflow::Fail]
                .map(|overflow| field.fit(sum, overflow));
            assert_eq!(fits, expected, "{sum} in {field:?}");
        }
    }

    #[test]
    fn the_example_in_the_drawing_is_true() {
        let mut bytes = [0; 2];
        Field { offset: 6, width: 5, is_signed: false }.write(&mut bytes, 23);
        assert_eq!(bytes, [0b0000_0010, 0b1110_0000]);
    }
}
