//! Periodic work for the partition, and the values on its board.

use super::partition::Partition;
use crate::exec::Facts;
use crate::exec::Scope;
use crate::keyspace::{CompactionLimits, ExpiryRole, Frequency, IsKept, Slice};
use crate::observe::Board;

impl Partition {
    /// Expires keys and frees values until the monotonic time `stop_ns`. Returns whether work is
    /// left.
    pub fn housekeep(&mut self, stop_ns: u64) -> bool {
        let more = !self.is_away() && self.housekeep_slice(stop_ns);
        let clock = &self.env.process.clock;
        self.tools.workspaces.housekeep(&mut || clock.monotonic_ns() >= stop_ns);
        more || (self.slice.may_compact() && self.compact(stop_ns))
    }

    /// Housekeeps the slice. Keys that a unit has locked, or waits to lock, do not expire
    /// meanwhile: the unit sees one time, and a replica must see its changes before the expiry.
    fn housekeep_slice(&mut self, stop_ns: u64) -> bool {
        let locks = &self.locks;
        // A unit with a wide lock may use any key.
        self.slice.hold_expiry(locks.has_wide());
        let is_locked = |hash| locks.has(Scope::name(hash));
        let is_kept: Option<IsKept<'_>> = if locks.is_empty() { None } else { Some(&is_locked) };
        let clock = &self.env.process.clock;
        let is_over = &mut || clock.monotonic_ns() >= stop_ns;
        let more = self.slice.housekeep_beside(is_kept, is_over).more;
        self.tell_events();
        more
    }

    /// Begins a compaction of the slice if the settings ask for one and enough memory is free.
    pub fn begin_compaction(&mut self) {
        let config = &self.env.config;
        if self.is_away() || self.is_loading {
            return;
        }
        if config.activedefrag {
            let shards = self.env.process.shards();
            self.slice.begin_compaction(CompactionLimits {
                free_bytes_min: config.active_defrag_ignore_bytes as usize / shards,
                free_percent_min: config.active_defrag_threshold_lower as usize,
            });
        } else {
            self.slice.stop_compaction();
        }
    }

    /// Continues the compaction that is under way until the monotonic time `stop_ns`. Returns
    /// whether it goes on.
    #[cold]
    pub fn compact(&mut self, stop_ns: u64) -> bool {
        if self.is_away() {
            return false;
        }
        let clock = &self.env.process.clock;
        let began_ns = clock.monotonic_ns();
        self.slice.compact(&mut || clock.monotonic_ns() >= stop_ns);
        self.env.board.counters.compact_ns_sum.add(clock.monotonic_ns() - began_ns);
        publish_stats(&self.env.board, &mut self.slice);
        let is_compacting = self.slice.is_compacting();
        self.env.board.gauges.compacting.set(i64::from(is_compacting));
        self.slice.may_compact()
    }

    /// Returns whether values or tables were removed that wait to be freed.
    #[inline]
    pub fn has_removed(&self) -> bool {
        self.slice.has_removed() && !self.is_away()
    }

    /// Frees removed values and tables until the monotonic time `stop_ns`. Returns whether some
    /// are left.
    #[cold]
    pub fn free_removed(&mut self, stop_ns: u64) -> bool {
        let clock = &self.env.process.clock;
        let is_left = self.slice.free_removed(&mut || clock.monotonic_ns() >= stop_ns);
        self.env.board.gauges.unfreed_values.set(self.slice.unfreed_values() as i64);
        publish_stats(&self.env.board, &mut self.slice);
        is_left
    }

    /// Samples the remaining time to live of some keys of each database.
    pub fn sample_ttls(&mut self) {
        if self.is_away() {
            return;
        }
        for (db, gauges) in self.env.board.databases.iter().enumerate() {
            let before_ms = gauges.ttl_ms.get();
            let ttl_ms = match self.slice.sample_ttl_ms(db) {
                None if self.slice.volatile_len(db) > 0 => continue,
                None => 0,
                Some(sample) if before_ms == 0 => sample as i64,
                // Moving average over about sixteen samples.
                Some(sample) => before_ms + (sample as i64 - before_ms) / 16,
            };
            gauges.ttl_ms.set(ttl_ms);
        }
    }

    /// Returns how the settings count uses of keys; none if they do not.
    pub(super) fn frequency(&self) -> Option<Frequency> {
        let frequency = Frequency {
            log_factor: self.env.config.lfu_log_factor,
            decay_minutes: self.env.config.lfu_decay_time,
        };
        self.env.config.maxmemory_policy.counts_uses().then_some(frequency)
    }

    fn expiry_role(&self) -> ExpiryRole {
        if self.is_loading {
            ExpiryRole::Loading
        } else if self.env.config.import_mode {
            // Only the source removes expired keys.
            ExpiryRole::Replica
        } else if self.env.facts.has(Facts::PAUSED_WRITES) {
            ExpiryRole::Paused
        } else {
            ExpiryRole::Primary
        }
    }

    /// Applies settings and facts to the slice.
    pub fn settle_settings(&mut self) {
        self.slice.set_role(self.expiry_role());
        self.slice.set_frequency(self.frequency());
        self.slice.log_events(self.publisher.logged(&self.env.config));
        let is_changed = self.tools.vm.set_insecure(self.env.config.lua_enable_insecure_api);
        if is_changed && self.env.me == 0 {
            self.env.process.scripts.flush();
        }
        self.tell_trackers();
    }

    /// Updates the board with all databases. While the slice is away, the board keeps the values of
    /// the moment at which it left.
    pub fn publish(&mut self) {
        if self.is_away() {
            return;
        }
        let (eval, functions) = self.tools.vm.bytes();
        self.env.board.gauges.eval_vm_bytes.set(eval as i64);
        self.env.board.gauges.functions_vm_bytes.set(functions as i64);
        self.env.board.gauges.keys_watched.set(self.slice.watched_keys() as i64);
        self.env.board.gauges.unfreed_values.set(self.slice.unfreed_values() as i64);
        for db in 0..self.env.board.databases.len() {
            self.publish_database(db);
        }
        self.publish_weight();
    }

    /// Updates the board with one database and the counters.
    pub(super) fn publish_database(&mut self, db: usize) {
        if self.is_away() {
            return;
        }
        publish_stats(&self.env.board, &mut self.slice);
        let gauges = &self.env.board.databases[db];
        gauges.keys.set(self.slice.len(db) as i64);
        gauges.volatile.set(self.slice.volatile_len(db) as i64);
        gauges.with_moments.set(self.slice.with_moments_len(db) as i64);
        gauges.table_bytes.set(self.slice.table_bytes(db) as i64);
    }
}

/// Adds the statistics of a slice to the board.
pub(super) fn publish_stats(board: &Board, slice: &mut Slice) {
    let counters = &board.counters;
    let stats = *slice.stats();
    slice.reset_stats();
    counters.keyspace_hits.add(stats.hits);
    counters.keyspace_misses.add(stats.misses);
    counters.expired_lazy.add(stats.expired_lazy);
    counters.expired_active.add(stats.expired_active);
    counters.expired_fields.add(stats.expired_fields);
    counters.evicted.add(stats.evicted);
    counters.freed_values.add(stats.freed_values);
    counters.flushes.add(stats.flushes);
    counters.entries_moved.add(stats.moved);
    counters.entries_not_moved.add(stats.not_moved);
}
