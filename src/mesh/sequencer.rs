//! The order of units that have parts on several shards. It is the same in every inbox.
//!
//! ```text
//!   lock -> sequence = posted + 1 -> push every part -> posted = sequence -> unlock
//! ```
//! A part may run once `posted` has reached its sequence: all of its sibling parts are then in
//! their inboxes. Otherwise a reader could see the effect of one part and overtake a sibling part.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Number of spins before a waiter yields its core. A push takes some tens of nanoseconds.
const SPINS_MAX: u32 = 200;

#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Sequencer {
    locked: AtomicBool,
    posted: AtomicU64,
}

impl Sequencer {
    /// Takes the lock and returns the sequence of the unit to be posted. Calls `idle` while another
    /// shard holds the lock.
    pub(super) fn begin(&self, mut idle: impl FnMut()) -> u64 {
        let mut spins = 0;
        while self.locked.swap(true, Ordering::Acquire) {
            idle();
            relax(&mut spins);
        }
        self.posted.load(Ordering::Relaxed) + 1
    }

    /// Records that all parts of `sequence` are in their inboxes, and releases the lock.
    pub(super) fn end(&self, sequence: u64) {
        debug_assert_eq!(self.posted.load(Ordering::Relaxed) + 1, sequence);
        self.posted.store(sequence, Ordering::Release);
        self.locked.store(false, Ordering::Release);
    }

    /// Waits until all parts of unit `sequence` were posted.
    #[inline]
    pub(super) fn wait_posted(&self, sequence: u64, mut idle: impl FnMut()) {
        let mut spins = 0;
        while self.posted.load(Ordering::Acquire) < sequence {
            idle();
            relax(&mut spins);
        }
    }
}

/// Spins once. After [`SPINS_MAX`] spins, yields the core, because the holder may wait for it.
#[inline]
fn relax(spins: &mut u32) {
    *spins += 1;
    if *spins < SPINS_MAX {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}
