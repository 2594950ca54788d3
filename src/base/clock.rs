//! The only source of time. Other modules receive a [`Clock`], so that a test can advance it.
#![allow(unsafe_code)]

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

/// Reads a clock of the kernel, without a system call. The clocks of std also compare and subtract
/// times with checks, which costs more than the reading.
#[inline]
fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes the one `timespec`, which outlives the call.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(result, 0, "every Linux has this clock");
    time
}

impl Clock {
    /// Returns nanoseconds since an arbitrary start; never decreases.
    #[inline]
    pub fn monotonic_ns(&self) -> u64 {
        match self {
            Clock::System => {
                let time = read(libc::CLOCK_MONOTONIC);
                time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
            }
            Clock::Manual(clock) => clock.monotonic_ns.load(Ordering::Relaxed),
        }
    }

    /// Returns Unix time in microseconds; may jump when the machine's clock is set.
    #[inline]
    pub fn unix_us(&self) -> u64 {
        match self {
            Clock::System => {
                let time = read(libc::CLOCK_REALTIME);
                // A time before 1970 is shown as 1970.
                let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
                seconds * 1_000_000 + time.tv_nsec as u64 / 1_000
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
