//! State of a shard between two turns, for tests.

use super::Inspection;
use crate::shard::state::Shard;

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
            stalled: self.queues.stalled,
            postponed: self.pausing.postponed(),
            barriers: self.barriers.len(),
            evictable: self.clients.evicting.evictable(),
            buffered_bytes: self.clients.buffered_bytes,
            counted_bytes: all().map(|connection| connection.counted_bytes).sum(),
        }
    }
}
