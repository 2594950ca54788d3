//! What a shard has under way right now, to look at between turns.

use crate::shard::state::Shard;

/// The state of a shard between two turns, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Connections that it has, closing ones included.
    pub connections: usize,
    /// Batches of its connections that are out.
    pub flights: usize,
    /// Envelopes that it has sent and not got back.
    pub envelopes_under_way: u32,
    /// Connections that wait to be served.
    pub ready: usize,
    /// Connections that wait to be flushed.
    pub dirty: usize,
    /// Connections that wait for credits.
    pub stalled: usize,
    /// Connections whose next command waits for the end of a pause.
    pub postponed: usize,
    /// Connections that may be evicted, while `maxmemory-clients` is set.
    pub evictable: usize,
    /// Bytes that all connections take, as the shard keeps the sum.
    pub buffered_bytes: usize,
    /// The same, added up from the connections.
    pub counted_bytes: usize,
}

impl Shard {
    /// What it has under way.
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
