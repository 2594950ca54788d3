//! Connections with work to do: to be served, to be flushed, or waiting for credits.

use crate::io::ConnId;
use crate::shard::state::Shard;

/// The most stalled connections that become ready at once.
const UNSTALLED_MAX: usize = 64;

impl Shard {
    /// Puts the connection into the list of connections to serve, unless it waits for credits.
    pub(in crate::shard) fn make_ready(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(conn)
            && !connection.is_queued
            && !connection.is_stalled
        {
            connection.is_queued = true;
            self.queues.ready.push_back(conn);
        }
    }

    /// Puts the connection into the list of connections to flush.
    pub(in crate::shard) fn make_dirty(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(conn)
            && !connection.is_dirty
        {
            connection.is_dirty = true;
            self.queues.dirty.push(conn);
        }
    }

    /// Stalls the connection: it waits for credits, in order.
    pub(in crate::shard) fn stall(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        assert!(!connection.is_stalled, "a stalled connection is not served");
        connection.is_stalled = true;
        self.env.board.counters.stalled_on_credits.add(1);
        self.queues.stalled.push_back(conn);
    }

    /// Makes stalled connections ready, because replies of other shards have freed credits.
    pub(in crate::shard) fn unstall(&mut self) {
        while !self.queues.stalled.is_empty() && self.port.has_all_credits() {
            let Some(conn) = self.queues.stalled.pop_front() else { break };
            let connection =
                self.connections.get_mut(conn).expect("a closed connection leaves the list");
            connection.is_stalled = false;
            self.make_ready(conn);
            // One connection per free credit would be exact. A connection that finds no credit
            // stalls again.
            if self.queues.ready.len() > UNSTALLED_MAX {
                break;
            }
        }
    }
}
