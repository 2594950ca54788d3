//! Connections with something to do: to serve, to flush, to serve again when there are credits.

use crate::io::ConnId;
use crate::shard::state::Shard;
use std::collections::VecDeque;

/// Stalled connections that are made ready at once.
const UNSTALLED_MAX: usize = 64;

/// The queues of connections.
#[derive(Debug, Default)]
pub(in crate::shard) struct Queues {
    /// Connections whose input may hold commands, in the order of their turn.
    pub(in crate::shard) ready: VecDeque<ConnId>,
    /// Connections that have something to send.
    pub(in crate::shard) dirty: Vec<ConnId>,
    /// Connections whose batch found no credit, served again when replies come in.
    pub(in crate::shard) stalled: VecDeque<ConnId>,
    /// Whether something is done as soon as a send of this turn has completed.
    pub(in crate::shard) awaits_send: bool,
    /// Whether something was sent since the shard last blocked.
    pub(in crate::shard) has_sent: bool,
}

impl Shard {
    /// Puts the connection in the list of those to serve, unless it waits for credits.
    pub(in crate::shard) fn make_ready(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(conn)
            && !connection.is_queued
            && !connection.is_stalled
        {
            connection.is_queued = true;
            self.queues.ready.push_back(conn);
        }
    }

    /// Puts the connection in the list of those to flush.
    pub(in crate::shard) fn make_dirty(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(conn)
            && !connection.is_dirty
        {
            connection.is_dirty = true;
            self.queues.dirty.push(conn);
        }
    }

    /// There is no credit: the connection waits for replies, in its order.
    pub(in crate::shard) fn stall(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(conn).expect("it is being served");
        assert!(!connection.is_stalled, "a stalled connection is not served");
        connection.is_stalled = true;
        self.env.board.counters.stalled_on_credits.add(1);
        self.queues.stalled.push_back(conn);
    }

    /// Replies of other shards have freed credits: stalled connections get their turn.
    pub(in crate::shard) fn unstall(&mut self) {
        while !self.queues.stalled.is_empty() && self.port.has_all_credits() {
            let Some(conn) = self.queues.stalled.pop_front() else { break };
            let connection = self.connections.get_mut(conn).expect("it leaves the list first");
            connection.is_stalled = false;
            self.make_ready(conn);
            // One per free credit would be exact. A connection that finds none stalls again.
            if self.queues.ready.len() > UNSTALLED_MAX {
                break;
            }
        }
    }
}
