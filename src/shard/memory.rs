//! Memory against `maxmemory`, as a shard sees it. At the end of a turn it divides the excess among
//! the shards, see `exec/room.rs`. If the excess is large before, its partition evicts its own
//! keys; if it has none, the shards that have some are woken, and evict in their turns.

use super::limits::{CONNECTIONS_SHRUNK_MAX, PART_BYTES_MIN};
use super::state::Shard;
use crate::base::holes;
use crate::config::MaxmemoryPolicy;
use crate::exec::Facts;
use crate::keyspace::Evicted;
use std::sync::atomic::Ordering::Relaxed;

impl Shard {
    /// Makes room before a batch if more memory is used than `maxmemory` allows, unless that can
    /// wait until the end of the turn. Sets whether commands are refused that may use more.
    #[inline]
    pub(super) fn make_room(&mut self) {
        let max_bytes = self.env.config.maxmemory;
        if max_bytes > 0 {
            let excess_bytes = self.env.process.room.excess_bytes(max_bytes);
            let evicted = if excess_bytes > 0 && !self.has_patience(excess_bytes) {
                self.spare_keys();
                self.partition.make_room()
            } else {
                Evicted::Enough
            };
            self.note_room(evicted);
        } else if self.env.facts.has(Facts::OUT_OF_MEMORY) {
            self.note_room(Evicted::Enough);
        }
    }

    /// Returns whether this excess can wait until the end of the turn.
    fn has_patience(&self, excess_bytes: u64) -> bool {
        let config = &self.env.config;
        config.maxmemory_policy != MaxmemoryPolicy::NoEviction
            && self.env.process.room.has_patience(excess_bytes, config.maxmemory)
    }

    /// Makes room at the end of a turn: evicts what is left to this shard, and divides the excess.
    #[inline]
    pub(super) fn make_room_at_end(&mut self) {
        let max_bytes = self.env.config.maxmemory;
        if max_bytes > 0 {
            self.partition.free_owed();
            let excess_bytes = self.env.process.room.excess_bytes(max_bytes);
            if excess_bytes > 0 && self.has_patience(excess_bytes) {
                return self.divide_excess(excess_bytes);
            }
        }
        self.make_room();
    }

    /// Divides an excess among the shards: draws one for each part.
    #[cold]
    fn divide_excess(&mut self, excess_bytes: u64) {
        self.spare_keys();
        let process = &self.env.process;
        let mut left_bytes = excess_bytes.saturating_sub(process.room.all_owed());
        let part_bytes = PART_BYTES_MIN.max(left_bytes.div_ceil(process.shards() as u64));
        let mut own_bytes = 0;
        while left_bytes > 0 {
            let bytes = part_bytes.min(left_bytes);
            left_bytes -= bytes;
            let shard = self.partition.draw_evicting();
            if shard == self.env.me {
                own_bytes += bytes;
            } else {
                self.env.process.room.owe(shard, bytes);
                if !self.remote.evicting.contains(&shard) {
                    self.remote.evicting.push(shard);
                }
            }
        }
        let evicted = match own_bytes {
            0 => Evicted::Enough,
            _ => self.partition.make_room_of(own_bytes),
        };
        self.note_room(evicted);
    }

    /// Releases memory of clients before keys are evicted: buffers of some connections that they do
    /// not need, and clients that use too much.
    #[cold]
    fn spare_keys(&mut self) {
        let end = self.connections.end();
        if !self.env.process.reply_buffers.are_kept.load(Relaxed) {
            for _ in 0..CONNECTIONS_SHRUNK_MAX.min(end as usize) {
                let conn = self.clients.next_shrunk;
                self.clients.next_shrunk = if conn + 1 >= end { 0 } else { conn + 1 };
                if let Some(connection) = self.connections.get_mut(conn) {
                    connection.outbox.shrink();
                    connection.shrink();
                }
            }
        }
        if self.env.config.maxmemory_clients != 0 {
            self.check_clients_memory();
        }
    }

    fn note_room(&mut self, evicted: Evicted) {
        let is_full = evicted == Evicted::Exhausted && !self.asks_others();
        self.cron.evicts = evicted == Evicted::Unfinished;
        self.env.facts.set(Facts::OUT_OF_MEMORY, is_full);
        self.partition.env_mut().facts.set(Facts::OUT_OF_MEMORY, is_full);
        let is_exceeded = evicted != Evicted::Enough;
        self.env.process.room.note(is_exceeded, self.env.now.monotonic_ms());
    }

    /// Wakes the shards that have keys to evict. Returns whether there are any.
    #[cold]
    fn asks_others(&mut self) -> bool {
        let policy = self.env.config.maxmemory_policy;
        if policy == MaxmemoryPolicy::NoEviction || self.env.config.import_mode {
            return false;
        }
        let mut has_any = false;
        for shard in (0..self.env.process.shards()).filter(|&shard| shard != self.env.me) {
            let board = self.env.process.boards.board(shard);
            let has_keys = board.databases.iter().any(|it| match policy.spares_persistent() {
                true => it.volatile.get() > 0,
                false => it.keys.get() > 0,
            });
            if has_keys {
                self.port.mesh().ring_bell(shard);
                has_any = true;
            }
        }
        has_any
    }

    /// Updates the bytes that do not count towards `maxmemory`: what the stream holds for slow
    /// replicas and for the append-only file, beyond the backlog.
    pub(super) fn note_uncounted(&mut self) {
        let [_, bytes] = self.env.process.replication().stream(self.env.config.repl_backlog_size);
        self.env.process.room.set_uncounted_bytes(bytes);
    }

    /// Lets freed blocks go back to the system while resident memory is far above `maxmemory`.
    pub(super) fn heed_holes(&self) {
        let process = &self.env.process;
        let resident_bytes = process.memory.resident_bytes();
        holes::set_returned(process.room.has_holes(resident_bytes, self.env.config.maxmemory));
    }
}
