//! The schedule of a shard's periodic work, and how long it polls before it parks.

use super::limits::{POLLS_FULL_EVERY, POLLS_MIN, TICK_NS};

/// How long a shard without work polls for replies of other shards before it parks.
///
/// Polling pays only if a reply comes before the polls are over. It does not while the other
/// shard's thread waits for a core. So the shard polls at most about twice as long as recent
/// replies took, and now and then as long as it may.
#[derive(Debug, Default)]
pub(super) struct Polling {
    /// The most polls in a row; 0 if the shard must not poll.
    most: u32,
    /// The polls in a row after which the shard usually parks.
    usual: u32,
    /// Number of times that the polls have found nothing.
    misses: u32,
    /// Whether the last polls have found nothing, and the shard has had no work since.
    is_spent: bool,
}

impl Polling {
    /// Sets the most polls in a row.
    pub(super) fn set_most(&mut self, most: u32) {
        *self = Polling { most, usual: most, ..Polling::default() };
    }

    /// Returns the number of polls before the shard parks; 0 if it parks at once.
    pub(super) fn polls(&self) -> u32 {
        let is_full = self.misses % POLLS_FULL_EVERY == POLLS_FULL_EVERY - 1;
        match self.is_spent {
            true => 0,
            false if is_full => self.most,
            false => self.usual,
        }
    }

    /// Records that the polls have found something after `polls` of them, or nothing at all.
    pub(super) fn polled(&mut self, found: Option<u32>) {
        let least = POLLS_MIN.min(self.most);
        if let Some(polls) = found {
            let shorter = self.usual - self.usual / 8;
            self.usual = shorter.max(polls.saturating_mul(2)).clamp(least, self.most);
        } else {
            self.misses = self.misses.wrapping_add(1);
            self.usual = (self.usual / 2).max(least);
            self.is_spent = true;
        }
    }

    /// Records that the shard has had work.
    pub(super) fn worked(&mut self) {
        self.is_spent = false;
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
    /// Whether the last turn found nothing to do.
    pub(super) is_idle: bool,
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
    use crate::shard::limits::POLLS_MAX;

    /// Polls until the limit, or until something comes after `found` polls. Returns the number of
    /// polls. The shard has work then.
    fn poll(polling: &mut Polling, found: Option<u32>) -> u32 {
        let most = polling.polls();
        let found = found.filter(|polls| *polls < most);
        polling.polled(found);
        polling.worked();
        found.unwrap_or(most)
    }

    #[test]
    fn polls_that_find_nothing_become_short() {
        let mut polling = Polling::default();
        assert_eq!(polling.polls(), 0, "a shard without a core of its own never polls");
        polling.set_most(POLLS_MAX);
        assert_eq!(poll(&mut polling, None), POLLS_MAX);
        for _ in 1..POLLS_FULL_EVERY - 1 {
            poll(&mut polling, None);
        }
        assert_eq!(poll(&mut polling, None), POLLS_MAX, "one in a while is long");
        assert_eq!(poll(&mut polling, None), POLLS_MIN);
    }

    #[test]
    fn polls_follow_the_time_that_replies_take() {
        let mut polling = Polling::default();
        polling.set_most(POLLS_MAX);
        let (soon, late) = (2 * POLLS_MIN, POLLS_MAX - 1);
        (0..100).for_each(|_| assert_eq!(poll(&mut polling, Some(soon)), soon));
        assert_eq!(poll(&mut polling, None), 2 * soon);
        for _ in 2..POLLS_FULL_EVERY {
            let polls = poll(&mut polling, Some(late));
            assert!(polls < late, "short polls do not find a reply that takes longer");
        }
        (0..10).for_each(|_| assert_eq!(poll(&mut polling, Some(late)), late, "long ones do"));
    }

    #[test]
    fn a_shard_that_has_polled_in_vain_parks() {
        let mut polling = Polling::default();
        polling.set_most(POLLS_MAX);
        polling.polled(None);
        assert_eq!(polling.polls(), 0);
        polling.worked();
        assert_eq!(polling.polls(), POLLS_MAX / 2);
    }
}
