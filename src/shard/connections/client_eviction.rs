//! `maxmemory-clients`: disconnects the largest clients while all clients together use too much
//! memory.
//!
//! Each shard counts the bytes of its own connections. It publishes their total and the size class
//! of its largest client that may be evicted. A shard that finds the grand total above the limit
//! evicts its own clients, unless another shard has a client of a larger class. In that case it
//! wakes the other shard. Only one shard evicts at a time, because otherwise each would evict the
//! whole excess.
//!
//! Unsent replies up to the exempt amount do not count. Otherwise a client that lists other clients
//! would cause an eviction.
//!
//! Size classes are powers of two, so that finding the largest client needs no search. They are
//! kept only while the limit is set.

use super::clients::{CLASS_LOG_MAX, CLASS_LOG_MIN};
use crate::client::{Connection, describe};
use crate::config::Config;
use crate::exec::OUTPUT_BYTES_FREE;
use crate::io::ConnId;
use crate::shard::limits::OUTPUT_BYTES_BATCHED_MAX;
use crate::shard::state::Shard;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The largest class on the board of a shard that does not know of the limit yet.
const UNKNOWN_CLASS: i64 = -1;

/// Lower bound of the limit in bytes. A smaller limit would disconnect every client.
const CLIENTS_BYTES_MIN: u64 = 128 << 10;

/// Returns the size class of a client that uses `bytes` bytes.
fn class_of(bytes: usize) -> u8 {
    let log = (usize::BITS - bytes.leading_zeros()).clamp(CLASS_LOG_MIN, CLASS_LOG_MAX);
    (log - CLASS_LOG_MIN) as u8
}

/// Returns the limit for the bytes of all clients.
fn bytes_max(config: &Config) -> Option<u64> {
    let bytes = match config.maxmemory_clients {
        0 => return None,
        // Without `maxmemory` a percentage of it is no limit.
        _ if config.maxmemory_clients < 0 && config.maxmemory == 0 => u64::MAX,
        percent if percent < 0 => {
            let share = u128::from(config.maxmemory) * u128::from(percent.unsigned_abs()) / 100;
            share as u64
        }
        bytes => bytes as u64,
    };
    Some(bytes.max(CLIENTS_BYTES_MIN))
}

impl Shard {
    /// Applies settings that may have changed the limits.
    pub(in crate::shard) fn settle_limits(&mut self) {
        let are_limited = self.env.process.reply_buffers.are_limited.load(Ordering::Relaxed);
        self.clients.output_bytes_free = if are_limited { 0 } else { OUTPUT_BYTES_FREE as usize };
        self.hold_tls_output(self.env.process.reply_buffers.is_tls_held.load(Ordering::Relaxed));
        let was_on = self.clients.evicting.is_on();
        self.clients.evicting.bytes_max = bytes_max(&self.env.config);
        let is_limited = self.env.config.client_output_buffer_limit.normal.hard_bytes > 0;
        self.clients.output_bytes_batched = match is_limited || self.clients.evicting.is_on() {
            true => OUTPUT_BYTES_BATCHED_MAX,
            false => usize::MAX,
        };
        if was_on == self.clients.evicting.is_on() {
            return;
        }
        for at in 0..self.connections.end() {
            self.classify(at);
        }
    }

    /// Moves a connection to its size class, or to none if it may not be evicted.
    pub(in crate::shard) fn classify(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let may_go = self.clients.evicting.is_on() && connection.may_be_evicted();
        let class = may_go.then(|| class_of(connection.counted_bytes));
        if class == connection.eviction_class {
            return;
        }
        if let Some(class) = connection.eviction_class {
            self.clients.evicting.classes[usize::from(class)].remove(&conn);
        }
        if let Some(class) = class {
            self.clients.evicting.classes[usize::from(class)].insert(conn);
        }
        connection.eviction_class = class;
    }

    /// Publishes the bytes of this shard's clients and the size class of the largest one.
    pub(in crate::shard) fn publish_clients(&self) {
        let bytes = |it: &Connection| it.counted_bytes - it.passing_bytes;
        let of = |conn: &ConnId| self.connections.get(*conn).map_or(0, bytes);
        let replicas: usize = self.replication.links.iter().map(of).sum();
        let gauges = &self.env.board.gauges;
        gauges.replica_client_bytes.set(replicas as i64);
        let charged = self.clients.buffered_bytes - self.clients.passing_bytes;
        gauges.normal_client_bytes.set((charged.saturating_sub(replicas)) as i64);
        let is_on = self.clients.evicting.is_on();
        let class = if is_on { self.clients.evicting.largest().0 } else { UNKNOWN_CLASS };
        self.env.board.evictable_class.set(class);
    }

    /// Evicts clients if all clients together exceed the limit.
    #[inline]
    pub(in crate::shard) fn check_clients_memory(&mut self) {
        self.publish_clients();
        if let Some(bytes_max) = self.clients.evicting.bytes_max
            && self.env.process.boards.normal_client_bytes() > bytes_max
        {
            self.evict(bytes_max);
        }
    }

    #[cold]
    fn evict(&mut self, bytes_max: u64) {
        let process = Arc::clone(&self.env.process);
        let boards = &process.boards;
        let one_at_a_time = process.evict();
        while boards.normal_client_bytes() > bytes_max {
            if let Some(shard) = boards.shard_of_class(UNKNOWN_CLASS) {
                // Its clients may be larger. Knowing the limit it evicts, or wakes this shard.
                self.port.mesh().ring_bell(shard);
                break;
            }
            let (class, conn) = self.clients.evicting.largest();
            let (others, shard) = boards.largest_evictable_class();
            let Some(conn) = conn.filter(|_| class >= others) else {
                if others > 0 {
                    self.port.mesh().ring_bell(shard);
                }
                break;
            };
            self.evict_one(conn);
            self.publish_clients();
        }
        drop(one_at_a_time);
    }

    fn evict_one(&mut self, conn: ConnId) {
        let connection = self.connections.get(conn).expect("a client in a class is connected");
        let mut line = Vec::new();
        describe(connection, self.env.process.commands, self.env.now.monotonic_ms(), &mut line);
        let line = String::from_utf8_lossy(&line).into_owned();
        self.log_limited(&format!("Evicting client: {line}"));
        self.env.board.counters.clients_evicted.add(1);
        self.close(conn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_powers_of_two() {
        assert_eq!((class_of(0), class_of((1 << 15) - 1), class_of(1 << 15)), (0, 0, 1));
        assert_eq!((class_of((1 << 20) - 1), class_of(1 << 20)), (5, 6));
        assert_eq!((class_of(1 << 32), class_of(usize::MAX)), (18, 18));
    }

    #[test]
    fn the_limit_is_in_bytes_or_a_percentage_of_maxmemory() {
        let of = |maxmemory_clients, maxmemory| {
            let mut config = Config::default();
            (config.maxmemory_clients, config.maxmemory) = (maxmemory_clients, maxmemory);
            bytes_max(&config)
        };
        assert_eq!(of(0, 1 << 30), None);
        assert_eq!(of(-5, 0), Some(u64::MAX));
        assert_eq!(of(-5, 100 << 20), Some(5 << 20));
        assert_eq!(of(3_000_000, 0), Some(3_000_000));
        assert_eq!((of(1, 0), of(-1, 100)), (Some(CLIENTS_BYTES_MIN), Some(CLIENTS_BYTES_MIN)));
    }
}
