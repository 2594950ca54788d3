//! Limits of single clients: idle time and unsent output.

use super::client_eviction::Evicting;
use super::listing::Listing;
use crate::client::Connection;
use crate::exec::ClientKind;
use crate::io::ConnId;
use crate::observe::LineLimit;
use crate::shard::limits::{
    ATTACK_LINES_NS, CLOSE_LINES_MAX, CLOSE_LINES_NS, CONNECTIONS_PER_TICK, TICKS_PER_ROUND,
};
use crate::shard::replication::OVER_LIMIT;
use crate::shard::state::Shard;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;

/// Number of seconds over which INFO reports the largest buffers.
const PEAK_SECONDS: usize = 8;

/// Milliseconds after which an idle connection releases memory that it does not need.
const IDLE_MS: u64 = 2_000;

/// State of client limits on a shard.
#[derive(Debug)]
pub(in crate::shard) struct Clients {
    /// Bytes of all connections and their buffers.
    pub(in crate::shard) buffered_bytes: usize,
    /// Limits the log lines about closed connections.
    pub(in crate::shard) log_limit: LineLimit,
    /// Limits the log lines about HTTP requests.
    pub(in crate::shard) attack_limit: LineLimit,
    /// State of `maxmemory-clients`.
    pub(in crate::shard) evicting: Evicting,
    /// Replies to CLIENT LIST that are being written.
    pub(in crate::shard) listings: VecDeque<Listing>,
    peaks: Peaks,
    /// Next connection of the walk over all connections.
    next: ConnId,
    /// Exempt bytes of all connections: unsent output that no limit counts.
    pub(in crate::shard) passing_bytes: usize,
    /// Exempt amount: bytes of unsent output of a connection that no limit counts.
    pub(in crate::shard) output_bytes_free: usize,
    /// Bytes of unsent output of a connection above which its batches have one command.
    pub(in crate::shard) output_bytes_batched: usize,
}

impl Default for Clients {
    fn default() -> Clients {
        Clients {
            buffered_bytes: 0,
            log_limit: LineLimit::new(CLOSE_LINES_MAX, CLOSE_LINES_NS),
            attack_limit: LineLimit::new(1, ATTACK_LINES_NS),
            evicting: Evicting::default(),
            listings: VecDeque::new(),
            peaks: Peaks::default(),
            next: 0,
            passing_bytes: 0,
            output_bytes_free: 0,
            output_bytes_batched: usize::MAX,
        }
    }
}

/// Largest buffers of the last seconds.
#[derive(Debug, Default)]
struct Peaks {
    /// Bytes of input and of output, by second.
    seconds: [[usize; 2]; PEAK_SECONDS],
    second: u64,
}

impl Peaks {
    /// Begins a second. Clears the seconds that have passed since the last call.
    fn begin(&mut self, second: u64) {
        let passed = (second - self.second).min(PEAK_SECONDS as u64);
        for at in 0..passed {
            self.seconds[(second - at) as usize % PEAK_SECONDS] = [0; 2];
        }
        self.second = second;
    }

    fn see(&mut self, connection: &Connection) {
        let bytes = [connection.input.memory_bytes(), connection.outbox.pending_bytes()];
        let now = &mut self.seconds[self.second as usize % PEAK_SECONDS];
        for (most, bytes) in now.iter_mut().zip(bytes) {
            *most = bytes.max(*most);
        }
    }

    /// Returns the most bytes of input and of output.
    fn most(&self) -> [usize; 2] {
        let most = |at: usize| self.seconds.iter().map(|second| second[at]).max().unwrap_or(0);
        [most(0), most(1)]
    }
}

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
            let timeout_ms = u64::from(self.env.config.timeout) * 1_000;
            if timeout_ms > 0 && idle_ms > timeout_ms && connection.may_time_out() {
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
        if connection.outbox.pending_bytes() > self.clients.output_bytes_free {
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
        if connection.is_closing || connection.link.is_some() {
            // The lag of a replica is checked when it is sent more.
            return;
        }
        let bytes = connection.outbox.pending_bytes();
        let limits = &self.env.config.client_output_buffer_limit;
        let limit = match connection.session.kind() {
            ClientKind::Normal | ClientKind::Primary => limits.normal,
            ClientKind::Replica => limits.replica,
            ClientKind::Pubsub => limits.pubsub,
        };
        let now_ms = self.env.now.monotonic_ms();
        let is_over = |max: u64| max > 0 && bytes as u64 >= max;
        let is_soft = is_over(limit.soft_bytes);
        let since_ms = is_soft.then(|| connection.output_over_ms.unwrap_or(now_ms));
        connection.output_over_ms = since_ms;
        let is_long = since_ms.is_some_and(|since| now_ms - since > limit.soft_seconds * 1_000);
        if is_over(limit.hard_bytes) || is_long || connection.session.is_stranger() {
            self.env.board.counters.output_limit_disconnections.add(1);
            self.close_for(conn, OVER_LIMIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_are_kept_for_some_seconds() {
        let mut peaks = Peaks::default();
        peaks.begin(100);
        peaks.seconds[100 % PEAK_SECONDS] = [7, 3];
        peaks.begin(104);
        peaks.seconds[104 % PEAK_SECONDS] = [5, 4];
        peaks.begin(107);
        assert_eq!(peaks.most(), [7, 4]);
        peaks.begin(108);
        assert_eq!(peaks.most(), [5, 4]);
        peaks.begin(200);
        assert_eq!(peaks.most(), [0, 0]);
    }
}
