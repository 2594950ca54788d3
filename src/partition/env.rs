//! The environment that a partition and its shard both have: settings, facts, time, board.

use super::timing::Thresholds;
use crate::config::Config;
use crate::exec::{Facts, MemoryLimit, Process};
use crate::gate::Router;
use crate::observe::Board;
use std::sync::Arc;

/// The time of a turn. It is read once and seen by all commands of the turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Monotonic nanoseconds.
    pub monotonic_ns: u64,
    /// Unix time in microseconds.
    pub unix_us: u64,
}

impl Now {
    /// Returns the monotonic time in milliseconds.
    pub fn monotonic_ms(self) -> u64 {
        self.monotonic_ns / 1_000_000
    }

    /// Returns the Unix time in milliseconds.
    pub fn unix_ms(self) -> u64 {
        self.unix_us / 1_000
    }
}

/// The environment of one shard or partition. Each of the two has its own, because another thread
/// may hold the partition while its shard uses its environment.
#[derive(Clone)]
pub struct Env {
    /// Number of the shard, and of its partition.
    pub me: usize,
    /// Maps every hash slot to its owner.
    pub router: Router,
    /// State that all shards of the process share.
    pub process: Arc<Process>,
    /// The board. Only the holder of the partition writes to it.
    pub board: Arc<Board>,
    /// Snapshot of the settings in force.
    pub config: Arc<Config>,
    config_version: u64,
    /// Thresholds of the command log and of latency events.
    pub thresholds: Thresholds,
    /// Facts of this moment that forbid some commands.
    pub facts: Facts,
    /// The time of this turn.
    pub now: Now,
    /// Monotonic nanoseconds at which the last batch of commands ended.
    pub(super) ran_until_ns: u64,
}

impl Env {
    /// Creates the environment of shard `me` at the start.
    pub fn new(me: usize, process: &Arc<Process>) -> Env {
        let config = process.config.snapshot();
        let clock = &process.clock;
        let mut facts = Facts::NONE;
        facts.set(Facts::CLUSTER, process.is_cluster);
        Env {
            me,
            router: Router::new(process.slot_map.snapshot()),
            board: Arc::clone(process.boards.board(me)),
            config_version: process.config.version(),
            thresholds: Thresholds::new(&config),
            config,
            facts,
            now: Now { monotonic_ns: clock.monotonic_ns(), unix_us: clock.unix_us() },
            ran_until_ns: 0,
            process: Arc::clone(process),
        }
    }

    /// Returns the limit of memory. `maxmemory` must be set.
    #[inline]
    pub(super) fn memory_limit(&self) -> MemoryLimit<'_> {
        MemoryLimit { room: &self.process.room, max_bytes: self.config.maxmemory }
    }

    /// Reads the clock. Commands that run from here on see this time.
    pub fn read_clock(&mut self) {
        let clock = &self.process.clock;
        self.now = Now { monotonic_ns: clock.monotonic_ns(), unix_us: clock.unix_us() };
    }

    /// Returns the present monotonic time in nanoseconds.
    #[inline]
    pub fn clock_ns(&self) -> u64 {
        self.process.clock.monotonic_ns()
    }

    /// Returns the monotonic time in nanoseconds at which a batch ended after `before_ns`, or the
    /// present time if none did. The former saves a reading of the clock.
    #[inline]
    pub fn ran_until_ns(&self, before_ns: u64) -> u64 {
        if self.ran_until_ns > before_ns { self.ran_until_ns } else { self.clock_ns() }
    }

    /// Takes a new snapshot of the settings if they have changed. Returns whether they have. Also
    /// takes a new map of the hash slots. Costs two comparisons if nothing has changed.
    #[inline]
    pub fn refresh_settings(&mut self) -> bool {
        self.refresh_slots();
        let version = self.process.config.version();
        if version == self.config_version {
            return false;
        }
        self.config_version = version;
        self.config = self.process.config.snapshot();
        self.thresholds = Thresholds::new(&self.config);
        true
    }

    /// Takes the published map of the hash slots if it is a new one.
    #[inline]
    pub(super) fn refresh_slots(&mut self) {
        if self.process.slot_map.epoch() != self.router.map().epoch() {
            self.router = Router::new(self.process.slot_map.snapshot());
        }
    }
}
