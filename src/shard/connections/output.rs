//! Output: at most one send per connection and turn, and its completion. Also received bytes.

use crate::exec::OUTPUT_BYTES_FREE;
use crate::io::{BufferId, Chunk, ConnId};
use crate::shard::limits::{INPUT_BYTES_PAUSE, OUTPUT_BYTES_EACH, QUIET_SEND_BYTES_MAX};
use crate::shard::state::Shard;
use std::io;

impl Shard {
    /// Hands the output of every dirty connection to the driver, which sends it with the next wait.
    pub(in crate::shard) fn flush(&mut self) -> bool {
        let found = !self.queues.dirty.is_empty();
        for at in 0..self.queues.dirty.len() {
            let conn = self.queues.dirty[at];
            if let Some(connection) = self.connections.get_mut(conn) {
                connection.is_dirty = false;
                self.send_next(conn);
            }
        }
        self.queues.dirty.clear();
        found
    }

    /// Sends the connection's next chunk. Closes the connection if all output was sent and the
    /// connection is over.
    fn send_next(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.is_closing || connection.is_held {
            return;
        }
        if let Some(chunk) = connection.outbox.next_chunk() {
            let is_small = connection.outbox.under_way_bytes() <= QUIET_SEND_BYTES_MAX;
            let goes_on = !(connection.outbox.is_last() && is_small)
                || connection.session.close_after_reply
                || connection.is_hung_up
                || connection.is_output_full
                || connection.link.is_some();
            self.queues.awaits_send |= goes_on || connection.trace.is_some();
            if connection.trace.is_some() {
                self.trace_leaving(conn);
            }
            self.queues.has_sent = true;
            self.driver.send(conn, chunk);
            return;
        }
        if connection.is_over() {
            self.close(conn);
        }
    }

    /// Records that the kernel has taken a chunk, or that the send failed.
    pub(in crate::shard) fn sent(&mut self, conn: ConnId, chunk: Chunk, result: io::Result<()>) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let bytes = connection.outbox.under_way_bytes() as u64;
        connection.outbox.sent(chunk);
        if connection.is_closing {
            return;
        }
        if result.is_err() {
            return self.close(conn);
        }
        let (is_link, is_traced) = (connection.link.is_some(), connection.trace.is_some());
        connection.session.sent_bytes += bytes;
        self.env.board.counters.writes.add(1);
        connection.session.active_ms = self.env.now.monotonic_ms();
        self.env.board.counters.net_output_bytes.add(bytes);
        if is_link {
            self.env.board.counters.replica_output_bytes.add(bytes);
        }
        self.count_bytes(conn);
        if is_traced {
            self.trace_sent(conn);
        }
        let connection = self.connections.get_mut(conn).expect("checked above");
        if connection.is_output_full && connection.outbox.pending_bytes() <= OUTPUT_BYTES_EACH / 2 {
            connection.is_output_full = false;
            self.make_ready(conn);
        }
        if is_link {
            self.pump(conn);
        }
        self.send_next(conn);
    }

    /// Moves received bytes into the input buffer, and returns the receive buffer to the driver.
    pub(in crate::shard) fn received(&mut self, conn: ConnId, buffer: BufferId, len: u32) {
        let Some(connection) = self.connections.get_mut(conn) else {
            self.driver.release(buffer);
            return;
        };
        connection.input.receive(self.driver.bytes(buffer, len));
        connection.session.received_bytes += u64::from(len);
        connection.session.active_ms = self.env.now.monotonic_ms();
        connection.received_turn = self.telemetry.profile.next_turn();
        self.driver.release(buffer);
        self.env.board.counters.reads.add(1);
        self.env.board.counters.net_input_bytes.add(u64::from(len));
        if connection.is_closing {
            return;
        }
        let pending = connection.input.pending_bytes();
        if pending as u64 > self.env.config.client_query_buffer_limit {
            self.env.board.counters.query_limit_disconnections.add(1);
            return self.close_for(conn, "its input passed client-query-buffer-limit");
        }
        if pending > INPUT_BYTES_PAUSE && connection.is_receiving && !connection.is_starved {
            connection.is_receiving = false;
            self.driver.receive(conn, false);
        }
        self.make_ready(conn);
    }

    /// Records that the input holds no complete command, and resumes receiving if it was paused.
    pub(in crate::shard) fn settle_input(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.is_closing {
            // Its last replies may have exceeded its output limit.
            return;
        }
        connection.is_starved = true;
        connection.input.consume();
        if !connection.is_receiving {
            connection.is_receiving = true;
            self.driver.receive(conn, true);
        }
        if connection.is_hung_up {
            self.make_dirty(conn);
        }
        self.count_bytes(conn);
    }

    /// Updates the shard's total of connection bytes with this connection.
    pub(in crate::shard) fn count_bytes(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let bytes = if connection.is_closing { 0 } else { connection.memory_bytes() };
        self.clients.buffered_bytes =
            self.clients.buffered_bytes - connection.counted_bytes + bytes;
        connection.counted_bytes = bytes;
        let unsent = connection.outbox.pending_bytes();
        let passing_bytes = unsent.min(OUTPUT_BYTES_FREE as usize).min(bytes);
        let others = self.clients.passing_bytes - connection.passing_bytes;
        self.clients.passing_bytes = others + passing_bytes;
        connection.passing_bytes = passing_bytes;
        if self.clients.evicting.is_on() {
            self.classify(conn);
        }
    }
}
