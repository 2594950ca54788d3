//! Connections with work to do: to be served, to be flushed, or waiting for credits.

use crate::io::ConnId;
use crate::mesh::{ClientRef, HoldId};
use crate::shard::state::Shard;
use std::collections::VecDeque;

impl Shard {
    /// Puts the connection into the list of connections to serve, unless it waits for credits.
    pub(in crate::shard) fn make_ready(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(conn)
            && !connection.is_queued
            && connection.stalled_on.is_none()
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

    /// Adds holds to the connection's next replies.
    pub(in crate::shard) fn hold_connection(
        &mut self,
        client: ClientRef,
        holds: &mut Vec<(u16, HoldId)>,
    ) {
        if let Some(connection) = self.connections.get_same(client.conn, client.generation) {
            connection.holds.append(holds);
        }
    }

    /// Ends a hold. After the last one the connection's replies are sent, and it is served again.
    /// Returns false if an open connection has no such hold.
    pub(in crate::shard) fn release_connection(
        &mut self,
        client: ClientRef,
        ended: (u16, HoldId),
    ) -> bool {
        let connection = self.connections.get_same(client.conn, client.generation);
        let Some(connection) = connection else { return true };
        let Some(at) = connection.holds.iter().position(|hold| *hold == ended) else {
            return connection.is_closing;
        };
        connection.holds.swap_remove(at);
        if connection.holds.is_empty() {
            connection.outbox.release();
            connection.held_flight = None;
            self.make_dirty(client.conn);
            self.make_ready(client.conn);
        }
        true
    }

    /// Stalls the connection: it waits for a credit to `shard`, behind earlier connections.
    pub(in crate::shard) fn stall(&mut self, conn: ConnId, shard: u16) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        assert!(connection.stalled_on.is_none(), "a stalled connection is not served");
        connection.stalled_on = Some(shard);
        self.env.board.counters.stalled_on_credits.add(1);
        self.queues.stalled += 1;
        let shards = self.env.router.shards();
        self.queues.stalled_on.resize_with(shards, VecDeque::new);
        self.queues.stalled_on[usize::from(shard)].push_back(conn);
    }

    /// Returns whether a stalled connection may be served again.
    pub(in crate::shard) fn can_unstall(&self) -> bool {
        let has_any = |(shard, waiting): (usize, &VecDeque<ConnId>)| {
            !waiting.is_empty() && self.port.has_credit(shard)
        };
        self.queues.stalled > 0 && self.queues.stalled_on.iter().enumerate().any(has_any)
    }

    /// Makes as many stalled connections ready as there are credits, in order.
    pub(in crate::shard) fn unstall(&mut self) {
        for shard in 0..self.queues.stalled_on.len() {
            for _ in 0..self.port.credits(shard) {
                let Some(conn) = self.queues.stalled_on[shard].pop_front() else { break };
                let connection =
                    self.connections.get_mut(conn).expect("a closed connection leaves the list");
                connection.stalled_on = None;
                self.queues.stalled -= 1;
                self.make_ready(conn);
            }
        }
    }

    /// Removes a connection that was stalled on the credits to `shard` and is closed.
    pub(in crate::shard) fn forget_stalled(&mut self, conn: ConnId, shard: u16) {
        self.queues.stalled_on[usize::from(shard)].retain(|stalled| *stalled != conn);
        self.queues.stalled -= 1;
    }
}
