//! The schedule of a shard's periodic work.

use super::limits::TICK_NS;

/// Schedule of a shard's ticks, and how long the shard polls.
#[derive(Debug, Default)]
pub(super) struct Cron {
    pub(super) next_ns: u64,
    /// Whether it has ticked in this turn.
    pub(super) has_ticked: bool,
    /// Whether it has ever ticked.
    pub(super) has_started: bool,
    /// Monotonic nanoseconds of the next round. A round does the work that a busy shard need not
    /// repeat in each tick.
    pub(super) next_round_ns: u64,
    /// Commands that the shard had run when its last turn ended.
    pub(super) commands_seen: u64,
    /// Number of consecutive turns that found nothing to do.
    pub(super) idle_turns: u32,
    /// Number of idle turns after which the shard parks although it waits for replies.
    pub(super) idle_polls_max: u32,
}

impl Cron {
    /// Returns whether a round may run now, and schedules the next one.
    pub(super) fn begin_round(&mut self, now_ns: u64) -> bool {
        let is_due = now_ns >= self.next_round_ns;
        if is_due {
            self.next_round_ns = now_ns + TICK_NS;
        }
        is_due
    }

    /// Returns the number of commands that the last turn has run. `commands` is the total so far.
    pub(super) fn count_commands(&mut self, commands: u64) -> u64 {
        commands - std::mem::replace(&mut self.commands_seen, commands)
    }

    /// Returns whether it has ticked since the last call.
    pub(super) fn take_ticked(&mut self) -> bool {
        std::mem::take(&mut self.has_ticked)
    }

    /// Returns the monotonic nanoseconds of the next tick.
    pub(super) fn next_ns(&self) -> u64 {
        self.next_ns
    }
}
