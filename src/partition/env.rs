//! What a partition and its shard both look at: settings, facts, time, board.

use super::timing::Thresholds;
use crate::config::Config;
use crate::exec::Process;
use crate::gate::{Facts, Router};
use crate::observe::Board;
use std::sync::Arc;

/// The time of a turn: read once, seen by everything that runs in the turn.
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

/// The surroundings of one shard or partition. Each half has its own, because a partition may be
/// with another thread while its shard looks at its own.
#[derive(Clone)]
pub struct Env {
    /// The number of the shard, and of its partition.
    pub me: usize,
    /// Knows the owner of every hash slot.
    pub router: Router,
    /// What the whole process shares.
    pub process: Arc<Process>,
    /// The board. The holder of the partition writes it, and nobody else.
    pub board: Arc<Board>,
    /// The snapshot of the settings in force.
    pub config: Arc<Config>,
    config_version: u64,
    /// From when on a command is logged.
    pub thresholds: Thresholds,
    /// What is true now and forbids some commands.
    pub facts: Facts,
    /// The time of this turn.
    pub now: Now,
}

impl Env {
    /// Returns the surroundings of shard `me` at the start.
    pub fn new(me: usize, process: &Arc<Process>) -> Env {
        let config = process.config.snapshot();
        let clock = &process.clock;
        Env {
            me,
            router: Router::new(process.shards()),
            board: Arc::clone(process.boards.board(me)),
            config_version: process.config.version(),
            thresholds: Thresholds::new(&config),
            config,
            facts: Facts::NONE,
            now: Now { monotonic_ns: clock.monotonic_ns(), unix_us: clock.unix_us() },
            process: Arc::clone(process),
        }
    }

    /// Reads the clock: what runs from here on sees the time of this moment.
    pub fn read_clock(&mut self) {
        let clock = &self.process.clock;
        self.now = Now { monotonic_ns: clock.monotonic_ns(), unix_us: clock.unix_us() };
    }

    /// Returns the monotonic time of this moment in nanoseconds.
    #[inline]
    pub fn clock_ns(&self) -> u64 {
        self.process.clock.monotonic_ns()
    }

    /// Takes a new snapshot of the settings if they have changed, which is one comparison. Returns
    /// whether they have.
    #[inline]
    pub fn refresh_settings(&mut self) -> bool {
        let version = self.process.config.version();
        if version == self.config_version {
            return false;
        }
        self.config_version = version;
        self.config = self.process.config.snapshot();
        self.thresholds = Thresholds::new(&self.config);
        true
    }
}
