//! What a shard does by the clock: housekeeping of its slice, of its connections, of its board.

use super::Shard;
use super::command_log::Thresholds;
use super::connections::Connections;
use super::limits::*;
use super::{Now, ShardParts};
use crate::base::{alloc, rng::Rng};
use crate::config::Config;
use crate::feed::Journal;
use crate::gate::{Facts, Router};
use crate::io::{Completion, ConnId, Wait};
use crate::keyspace::{Slice, SliceOptions};
use crate::observe::{Board, LineLimit};
use crate::txn::LockTable;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// When the next tick is due.
#[derive(Debug, Default)]
pub(super) struct Cron {
    next_ns: u64,
    /// Whether it has ticked in this turn, and ever.
    has_ticked: bool,
    has_started: bool,
    /// When what a tick need not do while it has much to free is done next.
    next_round_ns: u64,
    /// Commands that the shard had run when its last turn ended.
    commands_seen: u64,
}

impl Cron {
    /// Whether a round of what a busy shard's many ticks need not do is due.
    fn begin_round(&mut self, now_ns: u64) -> bool {
        let is_due = now_ns >= self.next_round_ns;
        if is_due {
            self.next_round_ns = now_ns + TICK_NS;
        }
        is_due
    }

    /// How many commands the last turn has run, where `commands` have been run in all.
    pub(super) fn count_commands(&mut self, commands: u64) -> u64 {
        commands - std::mem::replace(&mut self.commands_seen, commands)
    }

    /// Whether it has ticked since the last call.
    pub(super) fn take_ticked(&mut self) -> bool {
        std::mem::take(&mut self.has_ticked)
    }

    /// Monotonic time of the next tick.
    pub(super) fn next_ns(&self) -> u64 {
        self.next_ns
    }
}

impl Shard {
    /// A shard that owns its slots and has no connections.
    pub fn new(parts: ShardParts) -> Shard {
        let ShardParts { me, driver, port, process, feed, seed, hash_seed } = parts;
        let router = Router::new(process.shards());
        let now = Now::read(&process.clock);
        let config_version = process.config.version();
        let config = process.config.snapshot();
        let slice = own_slice(router, me, &config, [seed, hash_seed[0], hash_seed[1]]);
        let board = Arc::clone(process.boards.board(me));
        let mut shard = Shard {
            me,
            driver,
            port,
            router,
            slice,
            process,
            board,
            thresholds: Thresholds::new(&config),
            config,
            config_version,
            facts: Facts::NONE,
            rng: Rng::new(seed),
            now,
            connections: Connections::default(),
            ready: Default::default(),
            dirty: Default::default(),
            stalled: Default::default(),
            batch: Default::default(),
            flights: Default::default(),
            locks: LockTable::default(),
            waiting: Default::default(),
            blocked: Default::default(),
            deadlines: Default::default(),
            pausing: Default::default(),
            next_ticket: 0,
            one_way: Default::default(),
            forwarded: Default::default(),
            transactions: Default::default(),
            next_transaction: 0,
            plan: Default::default(),
            scratch: None,
            offload_pool: None,
            hash_seed,
            feed,
            journal: Journal::default(),
            slots: Default::default(),
            records_pool: Vec::new(),
            is_feed_behind: false,
            stream_seen: 0,
            monitors: Vec::new(),
            links: Vec::new(),
            barriers: Default::default(),
            barriers_due: Vec::new(),
            next_barrier: 0,
            read_ms: 0,
            pinged_ms: 0,
            unwatch_due: Vec::new(),
            files: Default::default(),
            clients: Default::default(),
            buffered_bytes: 0,
            cron: Cron::default(),
            accept: Default::default(),
            profile: Default::default(),
            idle_turns: 0,
            idle_polls_max: 0,
            log_limit: LineLimit::new(CLOSE_LINES_MAX, CLOSE_LINES_NS),
        };
        shard.settle_settings();
        shard
    }

    /// Does what is due.
    pub(super) fn tick(&mut self) {
        if self.now.monotonic_ns < self.cron.next_ns {
            return;
        }
        if self.process.is_cron_paused.load(Ordering::Relaxed) {
            self.publish();
            self.cron.next_ns = self.now.monotonic_ns + TICK_NS;
            return;
        }
        let stop_ns = self.process.clock.monotonic_ns() + HOUSEKEEP_NS_MAX;
        let clock = &self.process.clock;
        // A key that a transaction holds must not go before the transaction in the feed, nor while
        // its value is lent.
        self.slice.hold_expiry(!self.slots.is_empty() || !self.locks.is_empty());
        let began_ns = stop_ns - HOUSEKEEP_NS_MAX;
        let work = self.slice.housekeep(&mut || clock.monotonic_ns() >= stop_ns);
        let expire_ns = clock.monotonic_ns() - began_ns;
        self.board.counters.expire_ns_sum.add(expire_ns);
        if let Some(scratch) = &mut self.scratch {
            scratch.housekeep(&mut || clock.monotonic_ns() >= stop_ns);
        }
        self.reporter().event("expire-cycle", expire_ns);
        self.check_connections();
        self.unwatch_due();
        self.tick_links();
        self.heed_signals();
        self.settle_settings();
        alloc::flush_local();
        if self.cron.begin_round(self.now.monotonic_ns) {
            alloc::collect();
            self.sample_ttls();
        }
        self.check_memory();
        self.publish();
        if self.me == 0 {
            self.process.boards.sample_rates(self.now.monotonic_ns);
        }
        if !self.cron.has_started && self.files.intake.is_none() {
            alloc::flush_local();
            self.process.memory.note_start(alloc::used_bytes());
        }
        (self.cron.has_started, self.cron.has_ticked) = (true, true);
        let clock = &self.process.clock;
        self.board.counters.tick_ns_sum.add(clock.monotonic_ns() - began_ns);
        let pause_ns = match work.more || self.has_waits() {
            true if work.more && self.idle_turns > 0 => TICK_IDLE_NS,
            true => TICK_BUSY_NS,
            false => TICK_NS,
        };
        self.cron.next_ns = self.now.monotonic_ns + pause_ns;
    }

    /// Looks at some keys of each database for how long they have left to live.
    fn sample_ttls(&mut self) {
        for (db, gauges) in self.board.databases.iter().enumerate() {
            let before_ms = gauges.ttl_ms.get();
            let ttl_ms = match self.slice.sample_ttl_ms(db) {
                None if self.slice.volatile_len(db) > 0 => continue,
                None => 0,
                Some(sample) if before_ms == 0 => sample as i64,
                // Sixteen samples, or so, in the average.
                Some(sample) => before_ms + (sample as i64 - before_ms) / 16,
            };
            gauges.ttl_ms.set(ttl_ms);
        }
    }

    /// States whether more memory is used than allowed.
    fn check_memory(&mut self) {
        let used = alloc::used_bytes();
        let max = self.config.maxmemory;
        self.facts.set(Facts::OUT_OF_MEMORY, max > 0 && used > max);
    }

    /// Takes note of changed settings: one comparison when nothing changed.
    #[inline]
    pub(super) fn refresh_settings(&mut self) {
        let version = self.process.config.version();
        if version != self.config_version {
            self.config_version = version;
            self.config = self.process.config.snapshot();
            self.profile.draw(self.config.latency_profile_interval, &mut self.rng);
            self.thresholds = Thresholds::new(&self.config);
            self.check_memory();
        }
    }

    /// Brings the board up to date with the slice.
    pub(super) fn publish(&mut self) {
        self.publish_clients();
        self.board.gauges.clients_in_timeout.set(self.deadlines.len() as i64);
        self.board.gauges.keys_watched.set(self.slice.watched_keys() as i64);
        self.board.gauges.unfreed_values.set(self.slice.unfreed_values() as i64);
        for db in 0..self.board.databases.len() {
            self.publish_database(db);
        }
    }

    /// The same for one database and the counters, which INFO must not show late.
    pub(super) fn publish_database(&mut self, db: usize) {
        publish_stats(&self.board, &mut self.slice);
        let gauges = &self.board.databases[db];
        gauges.keys.set(self.slice.len(db) as i64);
        gauges.volatile.set(self.slice.volatile_len(db) as i64);
        gauges.with_moments.set(self.slice.with_moments_len(db) as i64);
    }

    /// Lets go of all connections: what was replied still leaves, within bounds.
    pub(super) fn stop(&mut self) {
        self.flush();
        let stop_ms = self.process.clock.unix_ms() + STOP_FLUSH_MS_MAX;
        let all: Vec<ConnId> = self.connections.iter().map(|(conn, _)| conn).collect();
        for conn in all {
            self.close(conn);
        }
        while self.connections.len() > 0 && self.process.clock.unix_ms() < stop_ms {
            if self.driver.wait(Wait::AtMost(1_000_000)).is_err() {
                return;
            }
            while let Some(completion) = self.driver.next() {
                match completion {
                    Completion::Closed(conn) => self.closed(conn),
                    Completion::Received { buffer, .. } => self.driver.release(buffer),
                    _ => {}
                }
            }
        }
    }
}

/// A shard's slice; the numbers are where its randomness starts, and the seed of its hash.
fn own_slice(router: Router, me: usize, config: &Config, seeds: [u64; 3]) -> Slice {
    let (databases, slots) = (config.databases as usize, router.slots(me));
    let [seed, hash_seed @ ..] = seeds;
    Slice::new(SliceOptions { databases, slots, hash_seed, seed })
}

/// Adds what a slice has counted to the board.
pub(super) fn publish_stats(board: &Board, slice: &mut Slice) {
    let counters = &board.counters;
    let stats = *slice.stats();
    slice.reset_stats();
    counters.keyspace_hits.add(stats.hits);
    counters.keyspace_misses.add(stats.misses);
    counters.expired_lazy.add(stats.expired_lazy);
    counters.expired_active.add(stats.expired_active);
    counters.expired_fields.add(stats.expired_fields);
    counters.freed_values.add(stats.freed_values);
}
