//! MONITOR: shows every command of all shards to the monitoring clients, as it runs.
//!
//! Lines are queued under one lock, so all monitors see them in one order, and no line precedes its
//! cause. Without monitors this costs one load per batch.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of lines that a monitor may have queued; a slower monitor is disconnected.
pub const MONITOR_BYTES_MAX: usize = 32 << 20;

/// A client that monitors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Monitor {
    /// The client's shard.
    pub home: usize,
    /// The client's number, unique in the process.
    pub client: u64,
}

#[derive(Debug)]
struct Waiting {
    whose: Monitor,
    lines: Vec<u8>,
    is_over: bool,
}

#[derive(Debug, Default)]
struct State {
    monitors: Vec<Waiting>,
    last_us: u64,
}

/// The queue of a monitor.
#[derive(Debug, PartialEq, Eq)]
pub enum Lines {
    /// The queued lines, possibly none.
    Next(Vec<u8>),
    /// The monitor was too slow, and lines were lost.
    Lost,
}

/// All monitors of the process.
#[derive(Debug, Default)]
pub struct Monitors {
    count: AtomicUsize,
    state: Mutex<State>,
}

impl Monitors {
    /// Whether there is a monitor.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.count.load(Relaxed) > 0
    }

    /// Adds a monitor.
    pub fn add(&self, whose: Monitor) {
        let mut state = self.lock();
        state.monitors.push(Waiting { whose, lines: Vec::new(), is_over: false });
        self.count.store(state.monitors.len(), Relaxed);
    }

    /// Removes a monitor.
    pub fn remove(&self, whose: Monitor) {
        let mut state = self.lock();
        state.monitors.retain(|waiting| waiting.whose != whose);
        self.count.store(state.monitors.len(), Relaxed);
    }

    /// Queues lines for all monitors. `write` appends them, each with the time that it is passed,
    /// in Unix microseconds that do not decrease. `ring` is called for each shard whose monitors
    /// had no queued lines before.
    pub fn show(
        &self,
        unix_us: u64,
        write: impl FnOnce(u64, &mut Vec<u8>),
        mut ring: impl FnMut(usize),
    ) {
        let mut state = self.lock();
        state.last_us = state.last_us.max(unix_us);
        let mut lines = Vec::new();
        write(state.last_us, &mut lines);
        for waiting in &mut state.monitors {
            if waiting.lines.is_empty() && !waiting.is_over {
                ring(waiting.whose.home);
            }
            if waiting.lines.len() + lines.len() > MONITOR_BYTES_MAX {
                waiting.is_over = true;
                waiting.lines = Vec::new();
            }
            if !waiting.is_over {
                waiting.lines.extend_from_slice(&lines);
            }
        }
    }

    /// Takes the queue of one monitor.
    pub fn take(&self, whose: Monitor) -> Lines {
        let mut state = self.lock();
        match state.monitors.iter_mut().find(|waiting| waiting.whose == whose) {
            Some(waiting) if waiting.is_over => Lines::Lost,
            Some(waiting) => Lines::Next(std::mem::take(&mut waiting.lines)),
            None => Lines::Next(Vec::new()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each line is complete wherever a thread could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_monitors_see_the_lines_in_one_order() {
        let monitors = Monitors::default();
        let (near, far) = (Monitor { home: 0, client: 1 }, Monitor { home: 3, client: 2 });
        assert!(!monitors.is_on());
        monitors.add(near);
        monitors.add(far);
        let mut rung = Vec::new();
        for us in [7, 5] {
            let write = |us: u64, lines: &mut Vec<u8>| lines.extend(format!("{us} ").bytes());
            monitors.show(us, write, |home| rung.push(home));
        }
        assert_eq!(rung, [0, 3]);
        assert_eq!(monitors.take(near), Lines::Next(b"7 7 ".to_vec()));
        assert_eq!(monitors.take(near), Lines::Next(Vec::new()));
        let write = |_, lines: &mut Vec<u8>| lines.resize(MONITOR_BYTES_MAX, b'x');
        monitors.show(9, write, |_| {});
        assert_eq!(monitors.take(far), Lines::Lost);
        assert!(matches!(monitors.take(near), Lines::Next(lines) if !lines.is_empty()));
        monitors.remove(near);
        monitors.remove(far);
        assert!(!monitors.is_on());
        assert_eq!(monitors.take(near), Lines::Next(Vec::new()));
    }
}
