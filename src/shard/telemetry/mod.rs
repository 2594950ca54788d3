//! Records of commands: the command log, LATENCY PROFILE, MONITOR, and counts for tests.
//!
//! Must not know: how commands run, where their keys are.

pub(super) mod command_log;
mod inspect;
pub(super) mod large;
mod monitor;
pub(super) mod profile;
mod slots;

use crate::io::ConnId;
use crate::observe::Monitor;

/// Telemetry state of a shard.
#[derive(Default)]
pub(super) struct Telemetry {
    /// Which requests are traced.
    pub(super) profile: profile::Profile,
    /// Connections that are monitors.
    pub(super) monitors: Vec<(ConnId, Monitor)>,
}

/// Counts of a shard's work between two turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Connections, including closing ones.
    pub connections: usize,
    /// Batches of its connections that are in flight.
    pub flights: usize,
    /// Envelopes that were sent and have not returned.
    pub envelopes_under_way: u32,
    /// Connections that wait to be served.
    pub ready: usize,
    /// Connections that wait to be flushed.
    pub dirty: usize,
    /// Connections that wait for credits.
    pub stalled: usize,
    /// Connections whose next command waits for the end of a pause.
    pub postponed: usize,
    /// Barriers that it has posted and whose goals are not reached.
    pub barriers: usize,
    /// Connections that client eviction may disconnect, while `maxmemory-clients` is set.
    pub evictable: usize,
    /// Bytes of all connections, as the shard keeps the total.
    pub buffered_bytes: usize,
    /// Bytes of all connections, added up from the connections.
    pub counted_bytes: usize,
}
