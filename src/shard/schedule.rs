//! The schedule of a shard's periodic work, and how long it polls before it parks.

use super::limits::{IDLE_POLLS_FULL_EVERY, IDLE_POLLS_MAX, IDLE_POLLS_MIN, TICK_NS};

/// How long an idle shard polls for replies of other shards before it parks.
///
/// Polling pays only if a reply comes before the polls are over. It does not while the other
/// shard's thread waits for a core. So the shard polls at most about twice as long as recent
/// replies took, and now and then as long as it may.
#[derive(Debug, Default)]
pub(super) struct Polling {
    /// Whether the shard may poll at all, because it has its own core.
    is_on: bool,
    /// Number of idle turns after which the shard usually parks.
    usual: u32,
    /// Number of times that the shard has parked without its replies.
    misses: u32,
    /// Whether the last turn began with a poll for replies.
    is_under_way: bool,
}

impl Polling {
    /// Allows the polls, or forbids them.
    pub(super) fn set_on(&mut self, is_on: bool) {
        *self = Polling { is_on, usual: IDLE_POLLS_MAX, ..Polling::default() };
    }

    /// Returns whether a shard that expects replies polls after `idle_turns` idle turns.
    pub(super) fn goes_on(&mut self, idle_turns: u32) -> bool {
        let is_full = self.misses % IDLE_POLLS_FULL_EVERY == IDLE_POLLS_FULL_EVERY - 1;
        let most = if is_full { IDLE_POLLS_MAX } else { self.usual };
        let goes_on = self.is_on && idle_turns < most;
        if !goes_on && self.is_under_way {
            self.misses = self.misses.wrapping_add(1);
            self.usual = (self.usual / 2).max(IDLE_POLLS_MIN);
        }
        self.is_under_way = goes_on;
        goes_on
    }

    /// Records that the shard has found work after `idle_turns` idle turns.
    pub(super) fn found(&mut self, idle_turns: u32) {
        if std::mem::take(&mut self.is_under_way) {
            let shorter = self.usual - self.usual / 8;
            self.usual = shorter.max(2 * idle_turns).clamp(IDLE_POLLS_MIN, IDLE_POLLS_MAX);
        }
    }
}

/// Schedule of a shard's ticks, and how long the shard polls.
#[derive(Debug, Default)]
pub(super) struct Cron {
    pub(super) next_ns: u64,
    /// Monotonic nanoseconds at which the last turn ended, if it read the clock then.
    pub(super) ended_ns: Option<u64>,
    /// Whether it has ticked in this turn.
    pub(super) has_ticked: bool,
    /// Whether it has ever ticked.
    pub(super) has_started: bool,
    /// Whether ticks follow soon that free what was removed.
    pub(super) is_freeing: bool,
    /// Whether keys to evict are left, because the time for it was over.
    pub(super) evicts: bool,
    /// Monotonic nanoseconds of the next round. A round does the work that a busy shard need not
    /// repeat in each tick.
    pub(super) next_round_ns: u64,
    /// Commands that the shard had run when its last turn ended.
    pub(super) commands_seen: u64,
    /// Number of consecutive turns that found nothing to do.
    pub(super) idle_turns: u32,
    /// How long the shard polls for replies before it parks.
    pub(super) polling: Polling,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Polls until the limit, or until work comes after `found` idle turns. Returns the number of
    /// polls.
    fn poll(polling: &mut Polling, found: Option<u32>) -> u32 {
        let mut idle_turns = 0;
        while polling.goes_on(idle_turns) {
            if found == Some(idle_turns) {
                polling.found(idle_turns);
                return idle_turns + 1;
            }
            idle_turns += 1;
        }
        idle_turns
    }

    #[test]
    fn polls_that_find_nothing_become_short() {
        let mut polling = Polling::default();
        assert_eq!(poll(&mut polling, None), 0, "without a core of its own it never polls");
        polling.set_on(true);
        assert_eq!(poll(&mut polling, None), IDLE_POLLS_MAX);
        for _ in 1..IDLE_POLLS_FULL_EVERY - 1 {
            poll(&mut polling, None);
        }
        assert_eq!(poll(&mut polling, None), IDLE_POLLS_MAX, "one in a while is long");
        assert_eq!(poll(&mut polling, None), IDLE_POLLS_MIN);
    }

    #[test]
    fn polls_follow_the_time_that_replies_take() {
        let mut polling = Polling::default();
        polling.set_on(true);
        (0..100).for_each(|_| assert_eq!(poll(&mut polling, Some(40)), 41));
        assert_eq!(poll(&mut polling, None), 80);
        for _ in 2..IDLE_POLLS_FULL_EVERY {
            let polls = poll(&mut polling, Some(200));
            assert!(polls < 200, "a short poll does not find a reply that takes longer");
        }
        (0..10).for_each(|_| assert_eq!(poll(&mut polling, Some(200)), 201, "a long one does"));
    }
}
