//! Where the memory is, for INFO and MEMORY.

use crate::base::alloc;
use crate::exec::Process;

/// The allocator, as INFO names it.
pub(super) const ALLOCATOR: &str = "mimalloc-0.1.52";

/// Bytes, by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Footprint {
    /// Handed out by the allocator.
    pub(super) used: u64,
    /// The most that were.
    pub(super) used_peak: u64,
    /// Those that were before there was data.
    pub(super) at_start: u64,
    /// Physical memory of the process.
    pub(super) resident: u64,
    /// The allocator's, in use or not.
    pub(super) committed: u64,
    /// The feed's backlog.
    pub(super) backlog: u64,
    /// Clients, replicas left out.
    pub(super) clients: u64,
    /// Replicas.
    pub(super) replica_clients: u64,
}

impl Footprint {
    /// Of this moment.
    pub(super) fn now(process: &Process) -> Footprint {
        let used = alloc::used_bytes();
        // Where that fails, the figures are those of the last sample.
        let _ = process.memory.sample(used);
        let backlog = process.replication().backlog;
        let resident = process.memory.resident_bytes();
        Footprint {
            used,
            used_peak: process.memory.used_peak_bytes(),
            at_start: process.memory.start_bytes().min(used),
            resident,
            // What it has asked for and not touched is no memory yet.
            committed: alloc::committed_bytes().clamp(used, resident.max(used)),
            backlog: backlog.map_or(0, |backlog| backlog.memory_bytes),
            clients: process.boards.normal_client_bytes(),
            replica_clients: process.boards.gauges().replica_client_bytes.max(0) as u64,
        }
    }

    /// What is no data.
    pub(super) fn overhead(&self) -> u64 {
        (self.at_start + self.backlog + self.clients + self.replica_clients).min(self.used)
    }

    /// What is data.
    pub(super) fn dataset(&self) -> u64 {
        self.used - self.overhead()
    }

    /// The data's share in what has come since the start, in hundredths.
    pub(super) fn dataset_percent(&self) -> f64 {
        percent(self.dataset(), self.used - self.at_start)
    }
}

/// `part` in hundredths of `whole`; 0 without a whole.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}
