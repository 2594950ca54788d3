//! What the commands on each hash slot have used, for CLUSTER SLOT-STATS.
//!
//! It takes memory from the first count on, which needs `cluster-slot-stats-enabled`.

use crate::base::slot::SLOT_COUNT;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// What commands on a slot have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotSpent {
    /// Microseconds that the commands ran.
    pub cpu_us: u64,
    /// Bytes of the commands.
    pub bytes_in: u64,
    /// Bytes of the replies.
    pub bytes_out: u64,
}

#[derive(Debug, Default)]
struct Counts {
    cpu_us: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// The counts of all slots. Any thread may add to them.
#[derive(Debug, Default)]
pub struct SlotUsage {
    slots: OnceLock<Box<[Counts]>>,
}

impl SlotUsage {
    /// Adds what a command has used.
    pub fn add(&self, slot: u16, used: SlotSpent) {
        let make = || (0..SLOT_COUNT).map(|_| Counts::default()).collect();
        let counts = &self.slots.get_or_init(make)[usize::from(slot)];
        counts.cpu_us.fetch_add(used.cpu_us, Ordering::Relaxed);
        counts.bytes_in.fetch_add(used.bytes_in, Ordering::Relaxed);
        counts.bytes_out.fetch_add(used.bytes_out, Ordering::Relaxed);
    }

    /// Returns the counts of a slot.
    pub fn of(&self, slot: u16) -> SlotSpent {
        let Some(slots) = self.slots.get() else { return SlotSpent::default() };
        let counts = &slots[usize::from(slot)];
        SlotSpent {
            cpu_us: counts.cpu_us.load(Ordering::Relaxed),
            bytes_in: counts.bytes_in.load(Ordering::Relaxed),
            bytes_out: counts.bytes_out.load(Ordering::Relaxed),
        }
    }

    /// Sets the counts of a slot to 0, because it changes its owner.
    pub fn reset(&self, slot: u16) {
        if let Some(slots) = self.slots.get() {
            let counts = &slots[usize::from(slot)];
            for count in [&counts.cpu_us, &counts.bytes_in, &counts.bytes_out] {
                count.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Sets all counts to 0 (CONFIG RESETSTAT).
    pub fn reset_all(&self) {
        (0..SLOT_COUNT).for_each(|slot| self.reset(slot));
    }
}
