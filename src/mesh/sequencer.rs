//! The order of units that have parts on several shards: the same in every inbox.
//!
//! ```text
//!   lock -> sequence = posted + 1 -> push every part -> posted = sequence -> unlock
//! ```
//! A part may run once `posted` has reached its sequence: then all of its siblings are in their
//! inboxes. Without that, a reader could see one part's effect and overtake a sibling.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Spins before a waiter gives its core away; a push takes some tens of nanoseconds.
const SPINS_MAX: u32 = 200;

#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Sequencer {
    locked: AtomicBool,
    posted: AtomicU64,
}

impl Sequencer {
    /// Takes the lock and returns the sequence of the unit about to be posted. `idle` runs while
    /// another shard holds it.
    pub(super) fn begin(&self, mut idle: impl FnMut()) -> u64 {
        let mut spins = 0;
        while self.locked.swap(true, Ordering::Acquire) {
            idle();
            relax(&mut spins);
        }
        self.posted.load(Ordering::Relaxed) + 1
    }

    /// All parts of `sequence` are in their inboxes.
    pub(super) fn end(&self, sequence: u64) {
        debug_assert_eq!(self.posted.load(Ordering::Relaxed) + 1, sequence);
        self.posted.store(sequence, Ordering::Release);
        self.locked.store(false, Ordering::Release);
    }

    /// Returns when the unit `sequence` has been posted whole.
    #[inline]
    pub(super) fn wait_posted(&self, sequence: u64, mut idle: impl FnMut()) {
        let mut spins = 0;
        while self.posted.load(Ordering::Acquire) < sequence {
            idle();
            relax(&mut spins);
        }
    }
}

/// A pause; after some of them the core is given away, for the holder may be waiting for it.
#[inline]
fn relax(spins: &mut u32) {
    *spins += 1;
    if *spins < SPINS_MAX {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}
