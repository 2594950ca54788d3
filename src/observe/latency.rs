//! Latency histograms of one shard, one per command that has run.

use super::buckets::Buckets;
use hdrhistogram::Histogram;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// Shorter runs count as this, in nanoseconds.
pub const LATENCY_NS_MIN: u64 = 1;

/// Longer runs count as this, in nanoseconds.
pub const LATENCY_NS_MAX: u64 = 1_000_000_000;

/// Significant decimal digits of a histogram.
const HISTOGRAM_DIGITS: u8 = 2;

/// The classes of a histogram with [`HISTOGRAM_DIGITS`] up to [`LATENCY_NS_MAX`].
type Durations = Buckets<8, 96>;

const _: () = assert!(LATENCY_NS_MAX <= Durations::VALUE_MAX);

type Histograms = Vec<Option<Box<Durations>>>;

/// One shard's histograms by the command's index, each created when its command is first recorded.
///
/// There are two sets, and the sum of both counts. The shard takes a lock once per batch; if a
/// reader has the first set, the shard takes the second. A reader can lose its core while it holds
/// a lock, and no shard must wait for that. A reader holds only one of the locks at a time.
#[derive(Debug)]
pub struct Latencies([Mutex<Histograms>; 2]);

/// The histograms while a batch is recorded.
#[derive(Debug)]
pub struct LatencyBatch<'a>(MutexGuard<'a, Histograms>);

impl Latencies {
    /// Creates an empty set for this number of commands.
    pub(super) fn new(commands: usize) -> Latencies {
        Latencies([(); 2].map(|()| Mutex::new((0..commands).map(|_| None).collect())))
    }

    /// Locks the histograms for recording. Only the owner may call it, once per batch.
    pub fn batch(&self) -> LatencyBatch<'_> {
        let free = self.0.iter().find_map(|set| match set.try_lock() {
            Ok(set) => Some(set),
            Err(TryLockError::Poisoned(set)) => Some(set.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        // Two readers at once hold both locks.
        LatencyBatch(free.unwrap_or_else(|| lock(&self.0[0])))
    }

    /// Records `count` runs of one command. For several commands use a [`Latencies::batch`].
    pub fn record(&self, command: usize, ns: u64, count: u64) {
        self.batch().record(command, ns, count);
    }

    /// Adds the durations of one command to `sum`, which is created for the first ones.
    pub(super) fn add_to(&self, command: usize, sum: &mut Option<Histogram<u64>>) {
        for set in &self.0 {
            if let Some(durations) = &lock(set)[command] {
                durations.add_to(sum.get_or_insert_with(latency_histogram));
            }
        }
    }

    pub(super) fn clear(&self, command: usize) {
        self.0.iter().for_each(|set| lock(set)[command] = None);
    }

    pub(super) fn clear_all(&self) {
        self.0.iter().for_each(|set| lock(set).fill_with(|| None));
    }
}

/// Creates an empty histogram of a command's durations.
fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, HISTOGRAM_DIGITS)
        .expect("the bounds are constant and valid")
}

fn lock(set: &Mutex<Histograms>) -> MutexGuard<'_, Histograms> {
    // If a thread panicked in the middle of a change, the histogram only has a wrong number.
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LatencyBatch<'_> {
    /// Records `count` runs of one command that took `ns` nanoseconds each.
    #[inline]
    pub fn record(&mut self, command: usize, ns: u64, count: u64) {
        let durations = self.0[command].get_or_insert_with(Box::default);
        durations.add(ns.clamp(LATENCY_NS_MIN, LATENCY_NS_MAX), count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_within_bounds_and_precision() {
        let latencies = Latencies::new(2);
        let mut batch = latencies.batch();
        batch.record(1, 0, 1);
        batch.record(1, u64::MAX, 1);
        batch.record(1, 12_345, 98);
        drop(batch);
        let mut sum = None;
        latencies.add_to(0, &mut sum);
        assert!(sum.is_none());
        latencies.add_to(1, &mut sum);
        let sum = sum.unwrap();
        assert_eq!(sum.len(), 100);
        assert_eq!(sum.min(), 1);
        let median = sum.value_at_quantile(0.5);
        assert!(median.abs_diff(12_345) * 100 <= 12_345, "{median}");
        assert!(sum.max().abs_diff(LATENCY_NS_MAX) * 100 <= LATENCY_NS_MAX);
    }

    #[test]
    fn a_reader_does_not_block_the_writer() {
        let latencies = Latencies::new(1);
        let reader = lock(&latencies.0[0]);
        // With a single lock this call would wait for ever.
        latencies.record(0, 100, 2);
        drop(reader);
        latencies.record(0, 100, 3);
        let mut sum = None;
        latencies.add_to(0, &mut sum);
        assert_eq!(sum.take().unwrap().len(), 5);
        latencies.clear(0);
        latencies.add_to(0, &mut sum);
        assert!(sum.is_none());
    }
}
