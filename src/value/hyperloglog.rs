//! HyperLogLogs: strings that estimate how many different elements were added. Hot.
//!
//! An element's hash selects one of 16,384 registers and a rank. The rank is one more than the
//! number of trailing zeros in the rest of the hash. A register holds the highest rank that it
//! received.
//!
//! ```text
//!   H Y L L | form 1 | 0 0 0 | count 8 | registers
//!
//!   count    the last estimate, little-endian; the highest bit marks it as outdated
//!   dense    12,288 bytes: 6 bits for each register, the lowest bits first
//!            00 01 02 03 = registers 0, 4, 32, 0 (000000 000100 100000 000000)
//!   sparse   runs of registers, see `sparse`
//! ```
//! The layout matches the reference server, so that values can move between servers.

mod sparse;

use crate::base::rng::Rng;

pub use sparse::{Cursor, describe, raise};

/// Number of registers.
pub const REGISTERS: usize = 1 << REGISTER_BITS;

/// Bytes of a dense value.
pub const DENSE_BYTES: usize = HEAD_BYTES + REGISTERS * 6 / 8;

const REGISTER_BITS: u32 = 14;

/// Bits of a hash that determine the rank.
const RANK_BITS: u32 = 64 - REGISTER_BITS;

const MAGIC: &[u8; 4] = b"HYLL";
const FORM_AT: usize = 4;
const COUNT_AT: usize = 8;
const HEAD_BYTES: usize = 16;

const DENSE: u8 = 0;
const SPARSE: u8 = 1;

/// In the last byte of the count: the count is outdated.
const OUTDATED: u8 = 0x80;

/// The highest rank that 6 bits hold.
const RANK_MAX: u8 = 0x3f;

/// How the registers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Six bits for each register.
    Dense,
    /// Runs of equal registers.
    Sparse,
}

/// Error: the runs of a sparse value do not cover exactly all registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupted;

/// Returns the form of a value; none if the value is not a HyperLogLog.
pub fn form(value: &[u8]) -> Option<Form> {
    if value.len() < HEAD_BYTES || value[..FORM_AT] != MAGIC[..] {
        return None;
    }
    match value[FORM_AT] {
        DENSE if value.len() == DENSE_BYTES => Some(Form::Dense),
        SPARSE => Some(Form::Sparse),
        _ => None,
    }
}

/// Returns a sparse value without elements.
pub fn empty() -> Vec<u8> {
    let mut value = [&MAGIC[..], &[SPARSE, 0, 0, 0], &[0; 8]].concat();
    sparse::push_zeros(&mut value, REGISTERS);
    value
}

/// Returns the last estimate; none if it is outdated.
pub fn cached_count(value: &[u8]) -> Option<u64> {
    let bytes = value[COUNT_AT..HEAD_BYTES].try_into().expect("eight bytes");
    let is_outdated = value[HEAD_BYTES - 1] & OUTDATED != 0;
    (!is_outdated).then(|| u64::from_le_bytes(bytes))
}

/// Stores an estimate and marks it valid.
pub fn put_cached_count(value: &mut [u8], count: u64) {
    value[COUNT_AT..HEAD_BYTES].copy_from_slice(&count.to_le_bytes());
}

/// Marks the stored estimate as outdated.
pub fn forget_count(value: &mut [u8]) {
    value[HEAD_BYTES - 1] |= OUTDATED;
}

/// Returns the register index and the rank of an element.
pub fn place_of(element: &[u8]) -> (usize, u8) {
    let hash = murmur(element);
    let index = hash as usize & (REGISTERS - 1);
    let rest = hash >> REGISTER_BITS | 1 << RANK_BITS;
    (index, rest.trailing_zeros() as u8 + 1)
}

/// MurmurHash64A.
fn murmur(bytes: &[u8]) -> u64 {
    const SEED: u64 = 0xadc8_3b19;
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    const SHIFT: u32 = 47;
    let mix = |word: u64| {
        let word = word.wrapping_mul(FACTOR);
        (word ^ word >> SHIFT).wrapping_mul(FACTOR)
    };
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = (hash ^ mix(u64::from_le_bytes(*word))).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
    }
    hash = (hash ^ hash >> SHIFT).wrapping_mul(FACTOR);
    hash ^ hash >> SHIFT
}

/// Returns a register of a dense value.
#[inline]
pub fn register(value: &[u8], index: usize) -> u8 {
    let (at, shift) = (HEAD_BYTES + index * 6 / 8, index * 6 % 8);
    let high = value.get(at + 1).copied().unwrap_or(0);
    (u16::from_le_bytes([value[at], high]) >> shift) as u8 & RANK_MAX
}

fn put_register(value: &mut [u8], index: usize, rank: u8) {
    let (at, shift) = (HEAD_BYTES + index * 6 / 8, index * 6 % 8);
    let [low, high] = (u16::from(rank) << shift).to_le_bytes();
    let [low_mask, high_mask] = (u16::from(RANK_MAX) << shift).to_le_bytes();
    value[at] = value[at] & !low_mask | low;
    if high_mask != 0 {
        value[at + 1] = value[at + 1] & !high_mask | high;
    }
}

/// Raises a register of a dense value to `rank`. Returns false if the register is already as high.
#[inline]
pub fn raise_dense(value: &mut [u8], index: usize, rank: u8) -> bool {
    let is_higher = rank > register(value, index);
    if is_higher {
        put_register(value, index, rank);
    }
    is_higher
}

/// Converts a sparse value to the dense form. Keeps the head, including the count. Fails if the
/// runs are corrupted.
pub fn to_dense(value: &[u8]) -> Result<Vec<u8>, Corrupted> {
    let mut dense = vec![0; DENSE_BYTES];
    dense[..HEAD_BYTES].copy_from_slice(&value[..HEAD_BYTES]);
    dense[FORM_AT] = DENSE;
    sparse::for_each_run(value, |first, span, rank| {
        if rank > 0 {
            (first..first + span).for_each(|index| put_register(&mut dense, index, rank));
        }
    })?;
    Ok(dense)
}

/// Estimates how many different elements were added. Fails if the value is corrupted.
pub fn count(value: &[u8]) -> Result<u64, Corrupted> {
    let mut histogram = Histogram::new();
    match form(value).ok_or(Corrupted)? {
        Form::Dense => {
            let (sixes, _) = value[HEAD_BYTES..].as_chunks::<6>();
            sixes.iter().for_each(|six| histogram.note(spread(six)));
        }
        Form::Sparse => sparse::for_each_run(value, |_, span, rank| {
            histogram.even[usize::from(rank)] += span as u32;
        })?,
    }
    Ok(histogram.estimate())
}

/// Unpacks eight registers from six bytes to one byte each.
#[inline]
fn spread(six: &[u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = *six;
    let low = u32::from_le_bytes([a, b, c, 0]);
    let high = u32::from_le_bytes([d, e, f, 0]);
    let two = u64::from(high) << 32 | u64::from(low);
    let four = two & 0x0000_0fff_0000_0fff | (two & 0x00ff_f000_00ff_f000) << 4;
    four & 0x003f_003f_003f_003f | (four & 0x0fc0_0fc0_0fc0_0fc0) << 2
}

/// Packs eight registers of one byte each into six bytes.
#[inline]
fn squeeze(eight: u64) -> [u8; 6] {
    let four = eight & 0x003f_003f_003f_003f | (eight & 0x3f00_3f00_3f00_3f00) >> 2;
    let two = four & 0x0000_0fff_0000_0fff | (four & 0x0fff_0000_0fff_0000) >> 4;
    let [a, b, c, _, d, e, f, _] = two.to_le_bytes();
    [a, b, c, d, e, f]
}

/// How many registers hold each rank.
struct Histogram {
    even: [u32; RANK_MAX as usize + 1],
    /// Counts of every second register. Two arrays let two increments of the same rank run in
    /// parallel.
    odd: [u32; RANK_MAX as usize + 1],
}

impl Histogram {
    fn new() -> Histogram {
        Histogram { even: [0; RANK_MAX as usize + 1], odd: [0; RANK_MAX as usize + 1] }
    }

    /// Counts eight registers, one in each byte of `eight`.
    #[inline]
    fn note(&mut self, eight: u64) {
        let [a, b, c, d, e, f, g, h] = eight.to_le_bytes();
        for (even, odd) in [(a, b), (c, d), (e, f), (g, h)] {
            self.even[usize::from(even & RANK_MAX)] += 1;
            self.odd[usize::from(odd & RANK_MAX)] += 1;
        }
    }

    /// Estimates the number of elements, after Otmar Ertl, "New cardinality estimation algorithms
    /// for HyperLogLog sketches", arXiv:1702.01284.
    fn estimate(&self) -> u64 {
        const ALPHA: f64 = 0.721_347_520_444_481_7;
        let registers = REGISTERS as f64;
        let ranks = |rank: usize| f64::from(self.even[rank] + self.odd[rank]);
        let highest = RANK_BITS as usize + 1;
        let mut sum = registers * tau((registers - ranks(highest)) / registers);
        for rank in (1..highest).rev() {
            sum = (sum + ranks(rank)) * 0.5;
        }
        sum += registers * sigma(ranks(0) / registers);
        let count = (ALPHA * registers * registers / sum).round();
        // Ranks that no hash can have may make the sum zero, and the count infinite. The reference
        // server converts infinity to this number.
        if count < i64::MAX as f64 { count as u64 } else { i64::MIN as u64 }
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        let before = z;
        x *= x;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        let before = z;
        x = x.sqrt();
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

/// Whether registers are processed in parallel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stride {
    /// Several registers at once.
    Wide,
    /// One register at a time, as a baseline for comparison.
    Single,
}

/// The union of several values: the highest rank of each register.
#[derive(Clone, Debug)]
pub struct Registers {
    ranks: Box<[u8]>,
    stride: Stride,
}

impl Registers {
    /// Creates the union of no values.
    pub fn new(stride: Stride) -> Registers {
        Registers { ranks: vec![0; REGISTERS].into_boxed_slice(), stride }
    }

    /// Adds the registers of a value. Fails if the value is corrupted.
    pub fn merge(&mut self, value: &[u8]) -> Result<(), Corrupted> {
        let ranks = &mut self.ranks;
        match (form(value).ok_or(Corrupted)?, self.stride) {
            (Form::Sparse, _) => sparse::for_each_run(value, |first, span, rank| {
                if rank > 0 {
                    let run = &mut ranks[first..first + span];
                    run.iter_mut().for_each(|own| *own = (*own).max(rank));
                }
            }),
            (Form::Dense, Stride::Single) => {
                for (index, own) in ranks.iter_mut().enumerate() {
                    *own = (*own).max(register(value, index));
                }
                Ok(())
            }
            (Form::Dense, Stride::Wide) => {
                merge_dense(ranks, &value[HEAD_BYTES..]);
                Ok(())
            }
        }
    }

    /// Estimates how many different elements were added to any of the values.
    pub fn count(&self) -> u64 {
        let mut histogram = Histogram::new();
        let (eights, _) = self.ranks.as_chunks::<8>();
        eights.iter().for_each(|eight| histogram.note(u64::from_le_bytes(*eight)));
        histogram.estimate()
    }

    /// Iterates over the registers above rank 0, as index and rank.
    pub fn ranks(&self) -> impl Iterator<Item = (usize, u8)> {
        let ranks = self.ranks.iter().copied().enumerate();
        ranks.filter(|(_, rank)| *rank > 0)
    }

    /// Writes the registers to a dense value.
    pub fn write_to(&self, value: &mut [u8]) {
        assert_eq!(form(value), Some(Form::Dense), "a dense value has room for all registers");
        if self.stride == Stride::Single {
            let ranks = self.ranks.iter().enumerate();
            return ranks.for_each(|(index, &rank)| put_register(value, index, rank));
        }
        let (sixes, _) = value[HEAD_BYTES..].as_chunks_mut::<6>();
        let (eights, _) = self.ranks.as_chunks::<8>();
        for (six, eight) in sixes.iter_mut().zip(eights) {
            *six = squeeze(u64::from_le_bytes(*eight));
        }
    }
}

/// Registers that are unpacked and merged at once. The buffer stays in the first-level cache.
const MERGE_REGISTERS: usize = 512;

fn merge_dense(ranks: &mut [u8], packed: &[u8]) {
    let blocks = ranks.as_chunks_mut::<MERGE_REGISTERS>().0.iter_mut();
    for (block, packed) in blocks.zip(packed.as_chunks::<{ MERGE_REGISTERS * 6 / 8 }>().0) {
        let mut others = [0; MERGE_REGISTERS];
        for (eight, six) in others.as_chunks_mut::<8>().0.iter_mut().zip(packed.as_chunks().0) {
            *eight = spread(six).to_le_bytes();
        }
        block.iter_mut().zip(others).for_each(|(own, other)| *own = (*own).max(other));
    }
}

/// Elements that [`self_test`] adds.
const TEST_ELEMENTS: u64 = 1_000_000;

/// Adds random elements to a dense and a sparse value and compares their estimates. Returns an
/// error text on a mismatch.
pub fn self_test(seed: u64, sparse_bytes_max: usize) -> Result<(), String> {
    let (mut dense, mut sparse) = (to_dense(&empty()).expect("an empty value"), empty());
    let mut rng = Rng::new(seed);
    let ranks: Vec<u8> = (0..REGISTERS).map(|_| rng.below(64) as u8).collect();
    ranks.iter().enumerate().for_each(|(index, &rank)| put_register(&mut dense, index, rank));
    if let Some(index) = (0..REGISTERS).find(|&index| register(&dense, index) != ranks[index]) {
        let shown = register(&dense, index);
        return Err(format!("Register {index} should be {} but is {shown}", ranks[index]));
    }
    dense[HEAD_BYTES..].fill(0);
    let mut checkpoint = 1;
    for number in 1..=TEST_ELEMENTS {
        let (index, rank) = place_of(&(number ^ seed).to_le_bytes());
        raise_dense(&mut dense, index, rank);
        let raised = raise(&mut sparse, index, rank, sparse_bytes_max, &mut Cursor::default());
        raised.map_err(|_| "a value is corrupted".to_string())?;
        if number == checkpoint {
            compare(number, &dense, &sparse, sparse_bytes_max)?;
            checkpoint *= 10;
        }
    }
    Ok(())
}

/// Checks a dense and a sparse value to which `number` elements were added. Returns an error text
/// on a mismatch.
fn compare(number: u64, dense: &[u8], sparse: &[u8], bytes_max: usize) -> Result<(), String> {
    if number < bytes_max as u64 / 2 && form(sparse) != Some(Form::Sparse) {
        return Err("sparse encoding not used".to_string());
    }
    let count = count(dense).unwrap_or(0);
    if self::count(sparse) != Ok(count) {
        return Err("dense/sparse disagree".to_string());
    }
    let error = number.abs_diff(count);
    let spread = 1.04 / (REGISTERS as f64).sqrt() * 6.0;
    // Ten elements are counted exactly, unless two of them share a register.
    let error_max = if number == 10 { 1 } else { (spread * number as f64).ceil() as u64 };
    if error > error_max {
        return Err(format!("Too big error. card:{number} abserr:{error}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
