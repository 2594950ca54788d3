//! The access clock of a key: 24 bits in its entry that say when or how often the key is used. Hot:
//! every use of a key sets them.
//!
//! ```text
//!   time         1 bit   (high) whether the key was used again after the second it was written in
//!               23 bits  Unix seconds of the last use, modulo 2^23: 97 days
//!   frequency   16 bits  Unix minutes of the last use, modulo 2^16
//!                8 bits  (low) a counter that grows with the logarithm of the uses
//! ```
//! An LFU `maxmemory-policy` selects the second format, every other policy the first. A change of
//! the policy at run time does not convert the bits: until the next use of a key, its bits are read
//! in the wrong format, as in the reference server.

use crate::base::rng::Rng;

/// Mask of the bits that are a time.
const TIME_MASK: u32 = 0x7f_ffff;

/// Whether the key was used again.
const REUSED: u32 = 0x80_0000;

/// Seconds by which a key's access clock may be ahead of the current time.
const CLOCK_AHEAD_S_MAX: u32 = 60;

/// Counter of a new key: high enough that the key is not evicted first.
const COUNT_NEW: u8 = 5;

/// Parameters of the LFU counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frequency {
    /// `lfu-log-factor`: the higher it is, the fewer uses increment a counter.
    pub log_factor: u32,
    /// `lfu-decay-time`: minutes without a use after which a counter loses one; 0 means never.
    pub decay_minutes: u32,
}

/// The current time and format of the access clocks.
#[derive(Debug)]
pub(super) struct Access {
    now_s: u32,
    now_minutes: u16,
    frequency: Option<Frequency>,
    rng: Rng,
}

impl Access {
    /// Returns a clock at Unix time 0 that records the time of the last use.
    pub(super) fn new(seed: u64) -> Access {
        Access { now_s: 0, now_minutes: 0, frequency: None, rng: Rng::new(seed) }
    }

    pub(super) fn set_now(&mut self, unix_ms: u64) {
        self.now_s = (unix_ms / 1_000) as u32 & TIME_MASK;
        self.now_minutes = (unix_ms / 60_000) as u16;
    }

    /// Sets the format: LFU counters with these parameters, or the time of the last use if `None`.
    pub(super) fn set_frequency(&mut self, frequency: Option<Frequency>) {
        self.frequency = frequency;
    }

    /// Returns the bits of a key that is created now.
    #[inline]
    pub(super) fn fresh(&self) -> u32 {
        match self.frequency {
            None => self.now_s,
            Some(_) => self.with_count(COUNT_NEW),
        }
    }

    /// Returns the bits of a key that is used now and had the given bits before.
    #[inline]
    pub(super) fn used(&mut self, bits: u32) -> u32 {
        match self.frequency {
            // Uses in the second of the first one are often part of the same work.
            None if bits == self.now_s => bits,
            None => self.now_s | REUSED,
            Some(frequency) => self.counted(bits, frequency),
        }
    }

    /// Returns the bits of a key that was last used `idle_s` seconds ago, and counts as reused.
    pub(super) fn idle(&self, idle_s: u32) -> u32 {
        self.now_s.wrapping_sub(idle_s) & TIME_MASK | REUSED
    }

    /// Returns whether a key with these bits was used again after it was written.
    #[inline]
    pub(super) fn is_reused(&self, bits: u32) -> bool {
        bits & REUSED != 0
    }

    /// Returns the bits of a key with this LFU counter.
    pub(super) fn with_count(&self, count: u8) -> u32 {
        u32::from(self.now_minutes) << 8 | u32::from(count)
    }

    /// Returns the seconds since the last use of a key with these bits.
    pub(super) fn idle_s(&self, bits: u32) -> u32 {
        let idle_s = self.now_s.wrapping_sub(bits) & TIME_MASK;
        // The time of a transaction is fixed and may be a little before the last use.
        if idle_s > TIME_MASK - CLOCK_AHEAD_S_MAX { 0 } else { idle_s }
    }

    /// Returns the LFU counter of a key with these bits, after decay.
    pub(super) fn count(&self, bits: u32) -> u8 {
        let decay_minutes = self.frequency.map_or(0, |frequency| frequency.decay_minutes);
        let elapsed = u32::from(self.now_minutes.wrapping_sub((bits >> 8) as u16));
        let lost = elapsed.checked_div(decay_minutes).unwrap_or(0);
        (bits as u8).saturating_sub(lost.min(255) as u8)
    }

    fn counted(&mut self, bits: u32, frequency: Frequency) -> u32 {
        let count = self.count(bits);
        let steps = u64::from(count.saturating_sub(COUNT_NEW)) * u64::from(frequency.log_factor);
        // Increments with a probability of 1 / (steps + 1): the higher the counter, the rarer.
        let is_one = count < u8::MAX && self.rng.below(steps + 1) == 0;
        self.with_count(count + u8::from(is_one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: u64 = 60_000;

    #[test]
    fn counter_grows_logarithmically_and_decays() {
        let mut access = Access::new(1);
        access.set_frequency(Some(Frequency { log_factor: 10, decay_minutes: 1 }));
        access.set_now(1_000 * MINUTE_MS);
        let mut bits = access.fresh();
        assert_eq!(access.count(bits), COUNT_NEW);
        let mut count_after = |uses: usize| {
            (0..uses).for_each(|_| bits = access.used(bits));
            access.count(bits)
        };
        assert_eq!(count_after(1), COUNT_NEW + 1);
        let (hundred, many) = (count_after(99), count_after(100_000));
        assert!((8..20).contains(&hundred), "{hundred}");
        assert!((120..170).contains(&many), "{many}");
        assert_eq!(count_after(10_000_000), u8::MAX);
        access.set_now(1_100 * MINUTE_MS);
        assert_eq!(access.count(bits), 155);
        let bits_then = access.used(bits);
        assert!((155..=156).contains(&access.count(bits_then)), "one use adds at most one");
        access.set_frequency(Some(Frequency { log_factor: 10, decay_minutes: 0 }));
        assert_eq!(access.count(bits), u8::MAX);
        access.set_now(70_000 * MINUTE_MS);
        access.set_frequency(Some(Frequency { log_factor: 10, decay_minutes: 1 }));
        assert_eq!(access.count(access.with_count(9)), 9);
    }

    #[test]
    fn without_lfu_the_time_of_the_last_use_is_kept() {
        let mut access = Access::new(1);
        access.set_now(100_000_000_000);
        let bits = access.fresh();
        assert_eq!((bits, access.used(bits)), (100_000_000 & 0x7f_ffff, bits));
        assert!(!access.is_reused(bits));
        access.set_now(100_000_007_500);
        assert_eq!(access.idle_s(bits), 7);
        assert_eq!(access.idle_s(access.idle(100)), 100);
        let again = access.used(bits);
        let third = access.used(again);
        assert!(access.is_reused(again) && access.is_reused(third));
        assert_eq!((access.idle_s(again), access.is_reused(access.idle(3))), (0, true));
        access.set_now(99_999_999_000);
        assert_eq!(access.idle_s(bits), 0);
    }
}
