//! The only source of time. Other modules receive a [`Clock`], so that a test can advance it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A source of time; clones share it.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clocks.
    System,
    /// A clock that stands still until a test advances it.
    Manual(Arc<ManualClock>),
}

/// A clock under test control. It starts at the given wall time, with the monotonic clock at zero.
#[derive(Debug)]
pub struct ManualClock {
    monotonic_ns: AtomicU64,
    wall_start_ms: u64,
}

impl ManualClock {
    /// Creates a clock that shows `wall_start_ms` (Unix time, milliseconds) until it is advanced.
    pub fn new(wall_start_ms: u64) -> Arc<ManualClock> {
        Arc::new(ManualClock { monotonic_ns: AtomicU64::new(0), wall_start_ms })
    }

    /// Advances both clocks by `ms` milliseconds.
    pub fn advance_ms(&self, ms: u64) {
        self.monotonic_ns.fetch_add(ms * 1_000_000, Ordering::Relaxed);
    }
}

impl Clock {
    /// Returns nanoseconds since an arbitrary start; never decreases.
    #[allow(clippy::disallowed_methods)]
    pub fn monotonic_ns(&self) -> u64 {
        use std::sync::OnceLock;
        use std::time::Instant;
        static START: OnceLock<Instant> = OnceLock::new();
        match self {
            Clock::System => START.get_or_init(Instant::now).elapsed().as_nanos() as u64,
            Clock::Manual(clock) => clock.monotonic_ns.load(Ordering::Relaxed),
        }
    }

    /// Returns Unix time in microseconds; may jump when the machine's clock is set.
    #[allow(clippy::disallowed_methods)]
    pub fn unix_us(&self) -> u64 {
        use std::time::{SystemTime, UNIX_EPOCH};
        match self {
            Clock::System => {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64)
            }
            Clock::Manual(clock) => {
                clock.wall_start_ms * 1_000 + clock.monotonic_ns.load(Ordering::Relaxed) / 1_000
            }
        }
    }

    /// Returns Unix time in milliseconds.
    pub fn unix_ms(&self) -> u64 {
        self.unix_us() / 1_000
    }

    /// Blocks the thread for `us` microseconds. A manual clock advances instead, by milliseconds.
    pub fn sleep_us(&self, us: u64) {
        match self {
            Clock::System => std::thread::sleep(std::time::Duration::from_micros(us)),
            Clock::Manual(clock) => clock.advance_ms(us / 1_000),
        }
    }
}
