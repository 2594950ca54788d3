//! What happens per second, over the last samples: sixteen, a tenth of a second apart.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Samples that an average is taken of.
const SAMPLES: usize = 16;

/// Nanoseconds between two samples, at least.
const PERIOD_NS: u64 = 100_000_000;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Commands.
    Commands,
    /// Bytes from clients.
    InputBytes,
    /// Bytes to clients.
    OutputBytes,
    /// Bytes to replicas.
    ReplicaBytes,
    /// Turns of the shards that did something.
    Cycles,
    /// Nanoseconds of work in them.
    CycleNs,
}

/// How many [`Rate`]s there are.
pub(super) const RATES: usize = 6;

#[derive(Debug, Default)]
struct State {
    last_ns: u64,
    last: [u64; RATES],
    /// Per second; a ring.
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

    /// So many per second.
    pub fn per_second(&self, rate: Rate) -> f64 {
        let state = self.lock();
        state.samples.iter().map(|sample| sample[rate as usize]).sum::<f64>() / SAMPLES as f64
    }

    /// Forgets all samples.
    pub(super) fn clear(&self) {
        self.lock().samples = Default::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A sample half written by a thread that panicked is only a wrong number.
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
