//! State of a shard between two turns, for tests.

use crate::shard::state::Shard;

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
    /// Connections that client eviction may disconnect, while `maxmemory-clients` is set.
    pub evictable: usize,
    /// Bytes of all connections, as the shard keeps the total.
    pub buffered_bytes: usize,
    /// Bytes of all connections, added up from the connections.
    pub counted_bytes: usize,
}

impl Shard {
    /// Returns the counts of the present moment.
    pub fn inspect(&self) -> Inspection {
        let all = || self.connections.iter().map(|(_, connection)| connection);
        Inspection {
            connections: self.connections.len(),
            flights: all().map(|connection| connection.flights.len()).sum(),
            envelopes_under_way: self.port.under_way(),
            ready: self.queues.ready.len(),
            dirty: self.queues.dirty.len(),
            stalled: self.queues.stalled.len(),
            postponed: self.pausing.postponed(),
            evictable: self.clients.evicting.evictable(),
            buffered_bytes: self.clients.buffered_bytes,
            counted_bytes: all().map(|connection| connection.counted_bytes).sum(),
        }
    }
}
