//! How long commands take, and which of them are worth a line in the command log.
//!
//! The clock is read per batch and not per command. A batch that took less than the thresholds
//! holds no slow command. In one that took more, commands in constant time count as the batch's
//! average. The clock is read behind each command if one of them is not in constant time, or if
//! the threshold is as low as a constant-time command's own time ([`EACH_NS_BELOW`]).

use crate::base::clock::Clock;
use crate::commands::shown_args;
use crate::config::Config;
use crate::exec::{BatchArgs, Entry, Item};
use crate::mesh::{Carried, Envelope};
use crate::observe::LoggedArgs;
use crate::resp::Args;

/// Nanoseconds: with a threshold below this, the clock is read behind every command.
const EACH_NS_BELOW: u64 = 1_000_000;

/// From when on a command is logged or becomes a latency event.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    /// Nanoseconds of execution from which on a command is looked at: the lesser of the next two.
    pub run_ns: u64,
    /// Nanoseconds of execution from which on a command is in the slow log.
    pub slow_ns: u64,
    /// Nanoseconds of execution from which on a command is a latency event.
    pub event_ns: u64,
    /// Bytes of a large request on the wire; the maximum means never.
    pub request_bytes: usize,
    /// Bytes of a large reply on the wire; the maximum means never.
    pub reply_bytes: usize,
}

impl Thresholds {
    /// Returns what the settings say.
    pub fn new(config: &Config) -> Thresholds {
        let at_least = |limit: i64, entries_max: u64| {
            u64::try_from(limit).ok().filter(|_| entries_max > 0).unwrap_or(u64::MAX)
        };
        let bytes = |limit, entries_max| {
            usize::try_from(at_least(limit, entries_max)).unwrap_or(usize::MAX)
        };
        let slow_us = at_least(
            config.commandlog_execution_slower_than,
            config.commandlog_slow_execution_max_len,
        );
        let event_ms = config.latency_monitor_threshold;
        let slow_ns = slow_us.saturating_mul(1_000);
        let event_ns = if event_ms == 0 { u64::MAX } else { event_ms.saturating_mul(1_000_000) };
        Thresholds {
            run_ns: slow_ns.min(event_ns),
            slow_ns,
            event_ns,
            request_bytes: bytes(
                config.commandlog_request_larger_than,
                config.commandlog_large_request_max_len,
            ),
            reply_bytes: bytes(
                config.commandlog_reply_larger_than,
                config.commandlog_large_reply_max_len,
            ),
        }
    }

    /// Returns whether a command may be logged after it has run.
    pub fn looks_back(&self) -> bool {
        self.run_ns != u64::MAX || self.reply_bytes != usize::MAX
    }

    /// Returns whether the clock is read behind each command, and not only behind the batch.
    fn is_each(&self, items: &[Item]) -> bool {
        if items.len() < 2 || self.run_ns == u64::MAX {
            return false;
        }
        self.run_ns < EACH_NS_BELOW || items.iter().any(|item| !item.entry.is_steady())
    }
}

/// What is measured of a batch while it runs.
#[derive(Debug)]
pub struct BatchTiming {
    /// Times the command whose request is traced.
    pub probe: Probe,
    is_each: bool,
    /// Monotonic nanoseconds when the batch began.
    started_ns: u64,
    /// Monotonic nanoseconds behind each command, if each is timed.
    ends_ns: Vec<u64>,
    reply_bytes_min: usize,
    /// Length of the output behind the last reply.
    end: usize,
    /// Large replies: the places of their commands, and bytes.
    pub large: Vec<(usize, u64)>,
    /// The arguments of commands whose run takes large arguments away, by place.
    pub written: Vec<(u32, &'static Entry, LoggedArgs)>,
    /// Nanoseconds that the whole batch took, once it has run.
    pub spent_ns: u64,
}

impl BatchTiming {
    /// Begins to time a batch at its client's home, where the output has `end` bytes.
    #[inline]
    pub fn at_home(
        thresholds: &Thresholds,
        items: &[Item],
        batch_args: &mut BatchArgs<'_>,
        end: usize,
    ) -> BatchTiming {
        BatchTiming {
            reply_bytes_min: thresholds.reply_bytes,
            end,
            written: logged_if_large(thresholds, items, batch_args),
            ..BatchTiming::at_owner(thresholds, items)
        }
    }

    /// Begins to time a part at its owner, where the size of replies does not matter.
    pub fn at_owner(thresholds: &Thresholds, items: &[Item]) -> BatchTiming {
        BatchTiming {
            probe: Probe::default(),
            is_each: thresholds.is_each(items),
            started_ns: 0,
            ends_ns: Vec::new(),
            reply_bytes_min: usize::MAX,
            end: 0,
            large: Vec::new(),
            written: Vec::new(),
            spent_ns: 0,
        }
    }

    /// The first command begins now.
    #[inline]
    pub(super) fn start(&mut self, now_ns: u64) {
        self.started_ns = now_ns;
        self.probe.start(now_ns);
    }

    /// The last command has ended.
    #[inline]
    pub(super) fn stop(&mut self, now_ns: u64) {
        self.spent_ns = now_ns.saturating_sub(self.started_ns);
    }

    /// The command at a place has ended, and the output has `end` bytes.
    #[inline]
    pub(super) fn see(&mut self, at: usize, clock: &Clock, end: usize) {
        self.probe.pass(at, clock);
        let bytes = end - self.end.min(end);
        if bytes >= self.reply_bytes_min {
            self.large.push((at, bytes as u64));
        }
        self.end = end;
        if self.is_each {
            self.ends_ns.push(clock.monotonic_ns());
        }
    }

    /// Returns the nanoseconds of the command at a place, of a batch of `count`.
    fn of(&self, at: usize, count: usize) -> u64 {
        let Some(end) = self.ends_ns.get(at) else { return self.spent_ns / count.max(1) as u64 };
        end - at.checked_sub(1).map_or(self.started_ns, |before| self.ends_ns[before])
    }

    /// Returns the places and nanoseconds of the slow commands of a batch of `count`.
    pub fn slow(
        &self,
        thresholds: &Thresholds,
        count: usize,
    ) -> impl Iterator<Item = (usize, u64)> {
        let run_ns = thresholds.run_ns;
        let count_seen = if self.spent_ns >= run_ns { count } else { 0 };
        let all = (0..count_seen).map(move |at| (at, self.of(at, count)));
        all.filter(move |(_, ns)| *ns >= run_ns)
    }

    /// Returns whether a command of the batch may have to be logged.
    #[inline]
    pub fn has_news(&self, thresholds: &Thresholds) -> bool {
        self.spent_ns >= thresholds.run_ns || !self.large.is_empty()
    }
}

/// Returns the logged form of the commands with large arguments, which their run takes away.
#[inline]
pub fn logged_if_large(
    thresholds: &Thresholds,
    items: &[Item],
    batch_args: &mut BatchArgs<'_>,
) -> Vec<(u32, &'static Entry, LoggedArgs)> {
    if batch_args.large.is_empty() || !thresholds.looks_back() {
        return Vec::new();
    }
    let mut written = Vec::new();
    for item in items {
        let spans = &batch_args.spans[item.first as usize..(item.first + item.argc) as usize];
        if spans.iter().any(|span| span.large_index().is_some()) {
            written.push((item.at, item.entry, logged(item.entry, &batch_args.of(item))));
        }
    }
    written
}

/// Returns the arguments of a command as the command log shows them.
pub fn logged(entry: &Entry, args: &Args<'_>) -> LoggedArgs {
    shown_args(entry, args.len(), &|at| &args[at])
}

/// Times one command of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    index: usize,
    begun_ns: u64,
    ended_ns: u64,
}

impl Default for Probe {
    fn default() -> Probe {
        Probe::new(None)
    }
}

impl Probe {
    /// Returns the probe of the command at an index, if there is one to time.
    pub fn new(index: Option<u32>) -> Probe {
        Probe { index: index.map_or(usize::MAX, |index| index as usize), begun_ns: 0, ended_ns: 0 }
    }

    /// Returns the probe of the traced command in a part, if it carries one.
    pub fn of_part(part: &Envelope) -> Probe {
        let Carried { posted_ns, at, .. } = part.carried;
        let is_traced = posted_ns > 0;
        let place = || part.items.iter().position(|item| item.at == at).map(|at| at as u32);
        Probe::new(if is_traced { place() } else { None })
    }

    fn start(&mut self, now_ns: u64) {
        (self.begun_ns, self.ended_ns) = (now_ns, now_ns);
    }

    /// The command at an index has ended.
    #[inline]
    fn pass(&mut self, index: usize, clock: &Clock) {
        if index.wrapping_add(1) == self.index {
            self.begun_ns = clock.monotonic_ns();
        } else if index == self.index {
            self.ended_ns = clock.monotonic_ns();
        }
    }

    /// Returns the nanoseconds that the command took.
    pub fn spent_ns(&self) -> u64 {
        self.ended_ns.saturating_sub(self.begun_ns)
    }
}
