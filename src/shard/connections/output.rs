//! Output: sends of connections, and their completions. Also received bytes.

use crate::exec::OUTPUT_BYTES_FREE;
use crate::io::{BufferId, Chunk, ConnId};
use crate::shard::limits::INPUT_BYTES_PAUSE;
use crate::shard::state::Shard;
use std::io;

impl Shard {
    /// Sends the output of connections. With `may_wait`, output whose end concerns only its
    /// connection is left to [`Shard::send_late`]. Returns whether there was any output.
    pub(in crate::shard) fn flush(&mut self, may_wait: bool) -> bool {
        let found = !self.queues.dirty.is_empty();
        let may_wait = may_wait && !self.replication.feed.disk().is_always();
        let mut at = 0;
        // A send that ends may make connections dirty again, for example with more of the stream.
        while let Some(&conn) = self.queues.dirty.get(at) {
            at += 1;
            let Some(connection) = self.connections.get_mut(conn) else { continue };
            if may_wait && connection.has_plain_output() {
                self.queues.late.push(conn);
                continue;
            }
            connection.is_dirty = false;
            if connection.tally.is_some() {
                self.settle_slot(conn);
            }
            self.send_next(conn);
        }
        self.queues.dirty.clear();
        found
    }

    /// Sends the output that [`Shard::flush`] has left. The shard need not hold its partition.
    pub(in crate::shard) fn send_late(&mut self) {
        let mut late = std::mem::take(&mut self.queues.late);
        for conn in late.drain(..) {
            let Some(connection) = self.connections.get_mut(conn) else { continue };
            connection.is_dirty = false;
            while let Some(connection) = self.connections.get_mut(conn)
                && let Some(chunk) = connection.next_chunk()
                && let Some((chunk, result)) = self.driver.send(conn, chunk)
            {
                if result.is_err() {
                    // Its end concerns the partition.
                    self.queues.failed.push((conn, chunk, result));
                    break;
                }
                self.finish_send(conn, chunk, result);
            }
            self.count_bytes(conn);
        }
        self.queues.late = late;
    }

    /// Closes the connections whose late sends have failed.
    #[inline]
    pub(in crate::shard) fn close_failed(&mut self) {
        while let Some((conn, chunk, result)) = self.queues.failed.pop() {
            self.sent(conn, chunk, result);
        }
    }

    /// Sends the connection's chunks until one of them has to wait, and counts its bytes then.
    /// Closes the connection if all output was sent and the connection is over.
    pub(in crate::shard) fn send_next(&mut self, conn: ConnId) {
        if self.replication.feed.disk().is_always() {
            self.gate_output(conn);
        }
        while let Some(connection) = self.connections.get_mut(conn)
            && !connection.is_closing
        {
            if self.clients.is_tls_held && connection.stream.is_established() {
                break;
            }
            let Some(chunk) = connection.next_chunk() else {
                if connection.is_over() || connection.stream.has_failed() {
                    self.close(conn);
                }
                break;
            };
            if connection.trace.is_some() {
                self.trace_leaving(conn);
            }
            let Some((chunk, result)) = self.driver.send(conn, chunk) else { break };
            self.finish_send(conn, chunk, result);
        }
        self.count_bytes(conn);
    }

    /// Handles the end of a send that did not finish at once.
    pub(in crate::shard) fn sent(&mut self, conn: ConnId, chunk: Chunk, result: io::Result<()>) {
        self.finish_send(conn, chunk, result);
        self.send_next(conn);
    }

    /// Begins or ends the time in which connections by TLS send nothing.
    pub(super) fn hold_tls_output(&mut self, is_held: bool) {
        if std::mem::replace(&mut self.clients.is_tls_held, is_held) && !is_held {
            for conn in 0..self.connections.end() {
                self.make_dirty(conn);
            }
        }
    }

    /// Records that the kernel has taken a chunk, or that the send failed. The caller counts the
    /// connection's bytes.
    fn finish_send(&mut self, conn: ConnId, chunk: Chunk, result: io::Result<()>) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let bytes = connection.sent(chunk) as u64;
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
        if is_traced {
            self.trace_sent(conn);
        }
        if is_link {
            self.pump(conn);
        }
    }

    /// Moves received bytes into the input buffer, and returns the receive buffer to the driver.
    pub(in crate::shard) fn received(&mut self, conn: ConnId, buffer: BufferId, len: u32) {
        let Some(connection) = self.connections.get_mut(conn) else {
            self.driver.release(buffer);
            return;
        };
        if connection.stream.is_tls() {
            return self.received_records(conn, buffer, len);
        }
        connection.input.receive(self.driver.bytes(buffer, len));
        self.driver.release(buffer);
        self.took_input(conn, u64::from(len));
    }

    /// Counts bytes that were added to the connection's input, and has them served.
    #[inline]
    pub(in crate::shard) fn took_input(&mut self, conn: ConnId, bytes: u64) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.session.received_bytes += bytes;
        connection.session.active_ms = self.env.now.monotonic_ms();
        connection.received_turn = self.telemetry.profile.next_turn();
        self.env.board.counters.reads.add(1);
        self.env.board.counters.net_input_bytes.add(bytes);
        if connection.is_closing {
            return;
        }
        let pending = connection.input.pending_bytes();
        let is_limited = !connection.session.is_loader();
        if is_limited && pending as u64 > self.env.config.client_query_buffer_limit {
            self.env.board.counters.query_limit_disconnections.add(1);
            return self.close_for(conn, "its input passed client-query-buffer-limit");
        }
        // The input of a blocked client is received, so that its hang-up is noticed. Its bound is
        // client-query-buffer-limit, and it counts towards maxmemory-clients.
        let is_blocked = connection.session.is_blocked;
        let may_pause = !connection.is_starved && !is_blocked;
        if pending > INPUT_BYTES_PAUSE && connection.is_receiving && may_pause {
            connection.is_receiving = false;
            self.driver.receive(conn, false);
        }
        if is_blocked {
            return self.count_bytes(conn);
        }
        self.look_ahead(conn);
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
        if connection.is_hung_up {
            self.make_dirty(conn);
        }
        self.resume_receiving(conn);
        // The bytes of a connection with output are counted when it is sent, at the turn's end.
        if self.connections.get_mut(conn).is_some_and(|connection| !connection.is_dirty) {
            self.count_bytes(conn);
        }
    }

    /// Resumes receiving if it was paused.
    #[inline]
    pub(in crate::shard) fn resume_receiving(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(conn)
            && !connection.is_receiving
        {
            connection.is_receiving = true;
            self.driver.receive(conn, true);
        }
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
