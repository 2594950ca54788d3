//! The use of memory by purpose, for INFO and MEMORY.

use crate::base::alloc;
use crate::exec::Process;

/// The name of the allocator in INFO.
pub(super) const ALLOCATOR: &str = "mimalloc-0.1.52";

/// Numbers of bytes by purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Footprint {
    /// Handed out by the allocator.
    pub(super) used: u64,
    /// The maximum of `used` since the start.
    pub(super) used_peak: u64,
    /// In use at the start, before there was data.
    pub(super) at_start: u64,
    /// Physical memory of the process.
    pub(super) resident: u64,
    /// Committed by the allocator, in use or not.
    pub(super) committed: u64,
    /// The replication backlog.
    pub(super) backlog: u64,
    /// Clients other than replicas.
    pub(super) clients: u64,
    /// Replicas.
    pub(super) replica_clients: u64,
}

impl Footprint {
    /// Returns the numbers of this moment.
    pub(super) fn now(process: &Process) -> Footprint {
        let used = alloc::used_bytes();
        // If the sample fails, the numbers of the last sample are used.
        let _ = process.memory.sample(used);
        let backlog = process.replication().backlog;
        let resident = process.memory.resident_bytes();
        Footprint {
            used,
            used_peak: process.memory.used_peak_bytes(),
            at_start: process.memory.start_bytes().min(used),
            resident,
            // Memory that the allocator has reserved but never touched is not counted.
            committed: alloc::committed_bytes().clamp(used, resident.max(used)),
            backlog: backlog.map_or(0, |backlog| backlog.memory_bytes),
            clients: process.boards.normal_client_bytes(),
            replica_clients: process.boards.gauges().replica_client_bytes.max(0) as u64,
        }
    }

    /// Returns the number of bytes that are not data.
    pub(super) fn overhead(&self) -> u64 {
        (self.at_start + self.backlog + self.clients + self.replica_clients).min(self.used)
    }

    /// Returns the number of bytes that are data.
    pub(super) fn dataset(&self) -> u64 {
        self.used - self.overhead()
    }

    /// Returns the percentage of data in the memory allocated since the start.
    pub(super) fn dataset_percent(&self) -> f64 {
        percent(self.dataset(), self.used - self.at_start)
    }
}

/// Returns `part` as a percentage of `whole`, or 0 if `whole` is 0.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}
