//! Limits of single clients: idle time and unsent output.

use crate::exec::ClientKind;
use crate::io::ConnId;
use crate::net::tls::limits::HANDSHAKE_MS_MAX;
use crate::shard::limits::{CONNECTIONS_PER_TICK, TICKS_PER_ROUND};
use crate::shard::replication::OVER_LIMIT;
use crate::shard::state::Shard;
use std::sync::atomic::Ordering;

/// Milliseconds after which an idle connection releases memory that it does not need.
const IDLE_MS: u64 = 2_000;

impl Shard {
    /// Checks some connections, and each connection once a second. Closes idle connections as
    /// `timeout` says, and releases their buffers.
    pub(in crate::shard) fn check_connections(&mut self) {
        let now_ms = self.env.now.monotonic_ms();
        self.clients.peaks.begin(now_ms / 1_000);
        let end = self.connections.end();
        let count = CONNECTIONS_PER_TICK.max(end as usize / TICKS_PER_ROUND);
        for _ in 0..count.min(end as usize) {
            let conn = self.clients.next;
            self.clients.next = if conn + 1 >= end { 0 } else { conn + 1 };
            let Some(connection) = self.connections.get_mut(conn) else { continue };
            if connection.is_closing {
                continue;
            }
            self.clients.peaks.see(connection);
            let idle_ms = now_ms.saturating_sub(connection.session.active_ms);
            let open_ms = now_ms.saturating_sub(connection.session.connected_ms);
            if open_ms > HANDSHAKE_MS_MAX && connection.stream.awaits_peer() {
                self.fail_handshake(conn, "its TLS handshake took too long");
                continue;
            }
            let stranger_ms = u64::from(self.env.config.authentication_timeout) * 1_000;
            if stranger_ms > 0 && open_ms > stranger_ms && connection.session.is_stranger() {
                self.close_for(conn, "not authenticated within authentication-timeout");
                continue;
            }
            let timeout_ms = u64::from(self.env.config.timeout) * 1_000;
            let may_time_out = connection.may_time_out() && !connection.session.is_loader();
            if timeout_ms > 0 && idle_ms > timeout_ms && may_time_out {
                self.close_for(conn, "idle for longer than the timeout");
                continue;
            }
            let buffers = &self.env.process.reply_buffers;
            if idle_ms > IDLE_MS {
                connection.shrink();
            }
            if idle_ms > buffers.idle_ms.load(Ordering::Relaxed)
                && !buffers.are_kept.load(Ordering::Relaxed)
            {
                connection.outbox.shrink();
            }
            self.check_output(conn);
        }
        let [input_bytes, output_bytes] = self.clients.peaks.most();
        self.env.board.input_peak_bytes.set(input_bytes as i64);
        self.env.board.output_peak_bytes.set(output_bytes as i64);
    }

    /// Checks the unsent output of a connection against its limits.
    #[inline]
    pub(in crate::shard) fn check_output(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        connection.outbox.drop_muted();
        connection.outbox.cut();
        self.count_bytes(conn);
        let connection = self.connections.get_mut(conn).expect("connection is open");
        if connection.unsent_bytes() > self.clients.output_bytes_free {
            self.limit_output(conn);
        } else {
            connection.output_over_ms = None;
        }
    }

    /// Handles unsent output above the exempt amount. Closes the connection if
    /// `client-output-buffer-limit` is exceeded. Other clients do not matter: all clients together
    /// are bounded by `maxmemory-clients`.
    pub(in crate::shard) fn limit_output(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.is_closing || connection.link.is_some() || connection.session.is_loader() {
            // The lag of a replica is checked when it is sent more.
            return;
        }
        let bytes = connection.unsent_bytes();
        let limits = &self.env.config.client_output_buffer_limit;
        let limit = match connection.session.kind() {
            ClientKind::Normal | ClientKind::Primary => limits.normal,
            ClientKind::Replica => limits.replica,
            ClientKind::Pubsub => limits.pubsub,
        };
        let now_ms = self.env.now.monotonic_ms();
        let is_over = |max: u64, bytes: usize| max > 0 && bytes as u64 >= max;
        // The time begins when CLIENT LIST shows the bytes.
        let is_soft = is_over(limit.soft_bytes, bytes - connection.first_bytes());
        let since_ms = is_soft.then(|| connection.output_over_ms.unwrap_or(now_ms));
        connection.output_over_ms = since_ms;
        let is_long = since_ms.is_some_and(|since| now_ms - since > limit.soft_seconds * 1_000);
        if is_over(limit.hard_bytes, bytes) || is_long || connection.session.is_stranger() {
            self.env.board.counters.output_limit_disconnections.add(1);
            self.close_for(conn, OVER_LIMIT);
        }
    }
}
