//! The random numbers of `math.random`: the generator `lrand48`, whose sequence depends on nothing
//! but its seed. The reference has the same one on all machines.

/// The state of a generator: 48 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Random(u64);

/// The state of a generator that nobody has seeded.
const START: u64 = 0x1234_abcd_330e;
const FACTOR: u64 = 0x5_deec_e66d;
const STEP: u64 = 0xb;
const MASK: u64 = (1 << 48) - 1;

/// The numbers are below this one.
pub const RANDOM_MAX: u32 = i32::MAX as u32;

impl Default for Random {
    fn default() -> Random {
        Random(START)
    }
}

impl Random {
    /// Creates a generator from a seed.
    pub fn seeded(seed: i32) -> Random {
        Random(u64::from(seed as u32) << 16 | 0x330e)
    }

    /// Returns the next number: 31 bits.
    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(FACTOR).wrapping_add(STEP) & MASK;
        (self.0 >> 17) as u32
    }
}
