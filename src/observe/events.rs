//! Latency events: operations that took longer than `latency-monitor-threshold`, each as a series
//! of seconds.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Number of samples, of a second each, that a series keeps.
pub const EVENT_SAMPLES_MAX: usize = 160;

/// The longest duration of an event within one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventSample {
    /// Unix time in seconds.
    pub unix_s: u64,
    /// Duration in milliseconds.
    pub ms: u64,
}

/// The series of one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventSeries {
    /// The samples in the order of time, the newest last.
    pub samples: Vec<EventSample>,
    /// The longest duration since the start, in milliseconds.
    pub longest_ms: u64,
    /// The sum of all durations, in milliseconds.
    pub sum_ms: u64,
    /// The number of occurrences.
    pub count: u64,
}

impl EventSeries {
    fn add(&mut self, unix_s: u64, ms: u64) {
        self.longest_ms = self.longest_ms.max(ms);
        self.sum_ms += ms;
        self.count += 1;
        match self.samples.last_mut() {
            Some(last) if last.unix_s == unix_s => last.ms = last.ms.max(ms),
            _ => {
                if self.samples.len() == EVENT_SAMPLES_MAX {
                    self.samples.remove(0);
                }
                self.samples.push(EventSample { unix_s, ms });
            }
        }
    }
}

/// The series of all events. A lock is acceptable, because each event has taken milliseconds.
#[derive(Debug, Default)]
pub struct LatencyEvents(Mutex<BTreeMap<&'static str, EventSeries>>);

impl LatencyEvents {
    /// Adds an occurrence.
    pub fn add(&self, event: &'static str, unix_s: u64, ms: u64) {
        self.lock().entry(event).or_default().add(unix_s, ms);
    }

    /// Returns the series of one event; the case of its name matters.
    pub fn series(&self, event: &[u8]) -> Option<EventSeries> {
        let events = self.lock();
        events.iter().find(|(name, _)| name.as_bytes() == event).map(|(_, series)| series.clone())
    }

    /// Returns all series by name.
    pub fn all(&self) -> BTreeMap<&'static str, EventSeries> {
        self.lock().clone()
    }

    /// Removes one event, in any case, or all; returns the number of removed events.
    pub fn reset(&self, event: Option<&[u8]>) -> usize {
        let mut events = self.lock();
        let before = events.len();
        events.retain(|name, _| {
            event.is_some_and(|event| !name.as_bytes().eq_ignore_ascii_case(event))
        });
        before - events.len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, EventSeries>> {
        // If a thread panicked in the middle of a change, the series only has a wrong number.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_keeps_its_longest_and_a_series_its_newest() {
        let events = LatencyEvents::default();
        for (unix_s, ms) in [(5, 10), (5, 30), (5, 20), (6, 1)] {
            events.add("command", unix_s, ms);
        }
        let series = events.series(b"command").unwrap();
        let first = EventSample { unix_s: 5, ms: 30 };
        assert_eq!(series.samples, [first, EventSample { unix_s: 6, ms: 1 }]);
        assert_eq!((series.longest_ms, series.sum_ms, series.count), (30, 61, 4));
        for unix_s in 0..500 {
            events.add("fast-command", unix_s, 1);
        }
        let series = events.series(b"fast-command").unwrap();
        assert_eq!((series.samples.len(), series.samples[0].unix_s), (EVENT_SAMPLES_MAX, 340));
        assert_eq!(events.series(b"COMMAND"), None);
        assert_eq!(events.reset(Some(b"COMMAND")), 1);
        assert_eq!(events.reset(Some(b"command")), 0);
        assert_eq!(events.reset(None), 1);
    }
}
