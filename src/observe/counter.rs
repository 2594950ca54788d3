//! Numbers with one writer and any number of readers. Hot: a shard touches several per command.
//!
//! An increment is a load and a store, without a lock prefix: only the shard that owns the number
//! may write it, on one thread. A second writer would lose counts, but break nothing else.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owner may call it.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Returns the count since the start.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that rises and falls. It may be negative on a shard, if that shard releases what
/// another one took; then only the sum over the shards is meaningful.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `n`. Only the owner may call it.
    #[inline]
    pub fn add(&self, n: i64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Sets the number. Only the owner may call it.
    #[inline]
    pub fn set(&self, n: i64) {
        self.0.store(n, Relaxed);
    }

    /// Returns the number.
    #[inline]
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// The largest of all numbers, and the largest since a reset.
///
/// The owner records the generation (the number of resets) that `recent` belongs to. A reader that
/// knows of a later reset ignores `recent`, so a sleeping shard need not take part in a reset.
#[derive(Debug, Default)]
pub struct Peak {
    ever: AtomicU64,
    recent: AtomicU64,
    generation: AtomicU64,
}

impl Peak {
    /// Takes `n` into account, in the given generation. Only the owner may call it.
    #[inline]
    pub fn see(&self, n: u64, generation: u64) {
        if self.generation.load(Relaxed) != generation {
            self.recent.store(0, Relaxed);
            self.generation.store(generation, Relaxed);
        }
        if n > self.recent.load(Relaxed) {
            self.recent.store(n, Relaxed);
            if n > self.ever.load(Relaxed) {
                self.ever.store(n, Relaxed);
            }
        }
    }

    /// Returns the largest number since the start.
    pub fn ever(&self) -> u64 {
        self.ever.load(Relaxed)
    }

    /// Returns the largest number since the reset that began `generation`. A number from just
    /// before the reset may show in the moment of the reset.
    pub fn recent(&self, generation: u64) -> u64 {
        if self.generation.load(Relaxed) == generation { self.recent.load(Relaxed) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_forgets_at_a_reset() {
        let peak = Peak::default();
        peak.see(5, 0);
        peak.see(3, 0);
        assert_eq!((peak.ever(), peak.recent(0), peak.recent(1)), (5, 5, 0));
        peak.see(2, 1);
        assert_eq!((peak.ever(), peak.recent(1)), (5, 2));
    }

    #[test]
    fn a_gauge_goes_below_zero() {
        let gauge = Gauge::default();
        gauge.add(-3);
        assert_eq!(gauge.get(), -3);
        gauge.set(7);
        assert_eq!(gauge.get(), 7);
    }
}
