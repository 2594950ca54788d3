//! Coarse time for the summaries of expiry: ticks of 256 ms, and units of 16 ticks.
//!
//! ```text
//!   Tick  u32   256 ms since 2024-01-01: good for 34 years        chunks, slots, databases
//!   unit  u15   4,096 ms, the tick divided by 16, modulo 2^15     the bucket word of an entry
//! ```
//!
//! A key's tick is the first one at whose start the key has certainly expired. Code that acts on
//! ticks is therefore at most 256 ms late, and never checks a key twice within one tick. Summaries
//! are lower bounds.

/// Unix time of tick 0 in milliseconds: 2024-01-01. Earlier times count as tick 0.
pub const START_MS: u64 = 1_704_067_200_000;

/// Milliseconds per tick.
pub const TICK_MS: u64 = 256;

/// Ticks per unit, as a power of two.
const UNIT_SHIFT: u32 = 4;

/// Bits of a unit.
pub const UNIT_BITS: u32 = 15;

const UNIT_MASK: u32 = (1 << UNIT_BITS) - 1;

/// A point in coarse time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u32);

impl Tick {
    /// Later than every expiry: the summary of keys that do not expire.
    pub const NEVER: Tick = Tick(u32::MAX);

    /// Returns the tick that contains a time (Unix milliseconds).
    pub fn now(unix_ms: u64) -> Tick {
        let ticks = unix_ms.saturating_sub(START_MS) / TICK_MS;
        Tick(ticks.min(u64::from(u32::MAX) - 1) as u32)
    }

    /// Returns the first tick at whose start a key with the expiry `unix_ms` has expired.
    pub fn of_expiry(unix_ms: u64) -> Tick {
        if unix_ms < START_MS {
            return Tick(0);
        }
        let ticks = (unix_ms - START_MS) / TICK_MS + 1;
        Tick(ticks.min(u64::from(u32::MAX) - 1) as u32)
    }

    /// Returns the tick after this one.
    pub fn next(self) -> Tick {
        Tick(self.0.saturating_add(1))
    }

    /// Returns the start of the tick, in Unix milliseconds.
    pub fn start_ms(self) -> u64 {
        START_MS + u64::from(self.0) * TICK_MS
    }

    /// Returns the unit that contains the tick, as a bucket word stores it.
    pub fn unit(self) -> u16 {
        ((self.0 >> UNIT_SHIFT) & UNIT_MASK) as u16
    }

    /// Returns the earliest tick of `unit` that is not before the unit of `bound`. Decodes the unit
    /// of a bucket word if `bound` is known to be a lower bound of its tick.
    pub fn unit_start(unit: u16, bound: Tick) -> Tick {
        let first = bound.0 >> UNIT_SHIFT;
        let units = first + (u32::from(unit).wrapping_sub(first) & UNIT_MASK);
        Tick(units.checked_mul(1 << UNIT_SHIFT).unwrap_or(u32::MAX - 1).max(bound.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_expires_in_its_tick_and_not_before() {
        for offset in [0, 1, 255, 256, 257, 5_000, 1 << 39] {
            let at = START_MS + offset;
            assert!(Tick::of_expiry(at).start_ms() > at);
            assert!(Tick::of_expiry(at).start_ms() - at <= TICK_MS);
            assert_eq!(Tick::now(Tick::of_expiry(at).start_ms()), Tick::of_expiry(at));
        }
        assert_eq!(Tick::of_expiry(5), Tick(0));
        assert!(Tick::of_expiry(u64::MAX) < Tick::NEVER);
    }

    #[test]
    fn units_are_told_apart_by_the_bound() {
        for tick in [0u32, 15, 16, 500_000, 524_288, 600_000, 4_000_000_000] {
            for behind in [0u32, 1, 100, 500_000] {
                let bound = Tick(tick.saturating_sub(behind));
                let start = Tick::unit_start(Tick(tick).unit(), bound);
                assert!(start <= Tick(tick) && start >= bound);
                assert!(tick - start.0 < 16, "tick {tick} bound {bound:?} start {start:?}");
            }
        }
    }
}
