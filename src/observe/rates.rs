//! Rates per second, averaged over the last sixteen samples, a tenth of a second apart.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Number of samples in an average.
const SAMPLES: usize = 16;

/// Minimum time between two samples, in nanoseconds.
const PERIOD_NS: u64 = 100_000_000;

/// The quantities with a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Commands.
    Commands,
    /// Bytes received from clients.
    InputBytes,
    /// Bytes sent to clients.
    OutputBytes,
    /// Bytes sent to replicas.
    ReplicaBytes,
    /// Turns of the shards that did some work.
    Cycles,
    /// Nanoseconds of work in these turns.
    CycleNs,
}

/// The number of [`Rate`]s.
pub(super) const RATES: usize = 6;

#[derive(Debug, Default)]
struct State {
    last_ns: u64,
    last: [u64; RATES],
    /// Values per second; a ring.
    samples: [[f64; RATES]; SAMPLES],
    at: usize,
}

/// The rates of the process.
#[derive(Debug, Default)]
pub struct Rates(Mutex<State>);

impl Rates {
    /// Whether a sample is due at `now_ns` (monotonic).
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.lock().last_ns) >= PERIOD_NS
    }

    /// Takes a sample of counts that only grow.
    pub(super) fn sample(&self, now_ns: u64, counts: [u64; RATES]) {
        let mut state = self.lock();
        let seconds = now_ns.saturating_sub(state.last_ns) as f64 / 1e9;
        if state.last_ns > 0 && seconds > 0.0 {
            let at = state.at;
            for (rate, count) in counts.iter().enumerate() {
                let more = count.saturating_sub(state.last[rate]);
                state.samples[at][rate] = more as f64 / seconds;
            }
            state.at = (at + 1) % SAMPLES;
        }
        (state.last_ns, state.last) = (now_ns, counts);
    }

    /// Returns the average per second.
    pub fn per_second(&self, rate: Rate) -> f64 {
        let state = self.lock();
        state.samples.iter().map(|sample| sample[rate as usize]).sum::<f64>() / SAMPLES as f64
    }

    /// Clears all samples.
    pub(super) fn clear(&self) {
        self.lock().samples = Default::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // If a thread panicked in the middle of a change, the sample is only a wrong number.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_is_over_all_samples() {
        let rates = Rates::default();
        assert!(rates.is_due(1 << 40));
        let mut counts = [0; RATES];
        for tick in 1..=40_u64 {
            rates.sample(tick * PERIOD_NS, counts);
            counts[Rate::Commands as usize] += if tick <= 30 { 10 } else { 0 };
        }
        assert!(!rates.is_due(40 * PERIOD_NS + 1));
        // Of the last sixteen samples, seven saw a hundred per second.
        assert_eq!(rates.per_second(Rate::Commands).round(), (100.0_f64 * 7.0 / 16.0).round());
        rates.clear();
        assert_eq!(rates.per_second(Rate::Commands), 0.0);
    }
}
