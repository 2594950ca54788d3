//! The one function that runs commands on the partition, for all sources of commands. Hot.
//!
//! ```text
//!   batch at home ---.
//!   part of a batch -|                                              .-> blocked clients that the
//!   EXEC, txn part --+-> run: stage, run, time, count, settle once -+   command unblocks, by run
//!   blocked client --|                                              '-> next command
//!   between offloads '   commands of a part beside its offloaded ones
//! ```
//! [`RunMode`] states the differences. A command that runs on a workspace, on another thread or at
//! the coordinator of a transaction, is also settled here.

use super::partition::Partition;
use super::timing::BatchTiming;
use crate::exec::{
    BATCH_COMMANDS_MAX, BatchArgs, BlockingAttempt, Effects, Entry, Facts, Item, Records, Runner,
    SuspendedScript, Wait,
};
use crate::observe::{Board, SlotSpent};
use crate::resp::{Error, Mark, Output, Protocol, Reply};
use crate::txn::LockId;

/// How the source of commands changes their run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunMode {
    /// A client's batch: clients are served directly after each command that unblocks them.
    Batch,
    /// A client's only command, which may block instead of replying.
    Attempt,
    /// A command between others of its part that run on other threads, or are suspended.
    Step {
        /// Whether the part is of a transaction.
        is_of_transaction: bool,
    },
    /// Commands of a transaction: one unit, in which no blocked client is served.
    Transaction,
    /// A blocked client's command, run again because one of its keys has changed.
    Woken {
        /// Number of the client among the clients that one command unblocks.
        number: u32,
    },
}

impl RunMode {
    fn is_whole(self) -> bool {
        matches!(self, RunMode::Step { .. } | RunMode::Transaction | RunMode::Woken { .. })
    }

    /// Returns whether a script that runs for long may be suspended.
    fn may_suspend(self) -> bool {
        matches!(self, RunMode::Batch | RunMode::Step { .. })
    }

    fn attempt(self) -> BlockingAttempt {
        match self {
            RunMode::Batch | RunMode::Step { .. } | RunMode::Transaction => {
                BlockingAttempt::default()
            }
            RunMode::Attempt => BlockingAttempt { may_wait: true, ..Default::default() },
            RunMode::Woken { number } => {
                BlockingAttempt { may_wait: true, is_woken: true, number, wait: None }
            }
        }
    }
}

/// Commands to run, and the outputs for their replies.
pub struct Batch<'a> {
    /// The commands, in order.
    pub items: &'a [Item],
    /// Their arguments.
    pub args: BatchArgs<'a>,
    /// Receives the replies.
    pub output: &'a mut Output,
    /// Receives the end of each reply, if the replies must be told apart.
    pub ends: Option<&'a mut Vec<Mark>>,
    /// Protocol of the replies.
    pub protocol: Protocol,
}

/// The command that unblocks other clients.
pub struct Waker<'a> {
    /// Index of the command in its batch, for the journal.
    pub at: u32,
    /// Lock request under which it runs.
    pub lock: Option<LockId>,
    /// Whether it is a transaction with parts on other shards, which may have keys of the same
    /// clients.
    pub is_split: bool,
    /// Receives the propagated commands, while the journal is on.
    pub records: Option<&'a mut Records>,
}

impl<'a> Waker<'a> {
    /// Creates the waker of a unit without locks.
    pub fn new(records: Option<&'a mut Records>) -> Waker<'a> {
        Waker { at: 0, lock: None, is_split: false, records }
    }

    /// Returns a copy to pass on.
    pub fn again(&mut self) -> Waker<'_> {
        Waker { records: self.records.as_deref_mut(), ..*self }
    }
}

/// Result of running commands.
#[derive(Debug)]
pub struct Ran {
    /// What the only command waits for, if it has blocked instead of replying.
    pub wait: Option<Wait>,
    /// The command whose script is suspended: its index, and the script. The commands before it
    /// have run.
    pub suspended: Option<(usize, Box<SuspendedScript>)>,
    /// Number of changes that the commands made.
    pub changes: u64,
}

impl Partition {
    /// Runs commands on the slice and settles them: counters, statistics, blocked clients.
    pub fn run(
        &mut self,
        batch: &mut Batch<'_>,
        mode: RunMode,
        waker: &mut Waker<'_>,
        timing: &mut BatchTiming,
    ) -> Ran {
        assert!(!self.is_away() || self.has_keys_anyway(), "no command runs without its keys");
        timing.start(self.env.clock_ns());
        self.slice.keep_unasked(!self.locks.is_empty());
        let is_limited = mode == RunMode::Batch && self.refuses_by_memory();
        let (mut effects, may_suspend) = (Effects::default(), mode.may_suspend());
        let (mut done, mut wait, mut suspended) = (0, None, None);
        while done < batch.items.len() && wait.is_none() && suspended.is_none() {
            let Some(items) = self.next_items(batch, (mode, is_limited), (timing, done)) else {
                done += 1;
                continue;
            };
            if !self.locks.is_empty() {
                self.keep_expired(items, &mut batch.args, waker.lock);
            }
            let now_ms = self.env.now.unix_ms();
            let mut runner = Runner {
                records: waker.records.as_deref_mut(),
                is_whole: mode.is_whole(),
                attempt: mode.attempt(),
                publisher: Some(&self.publisher),
                effects,
                scripting: Some(self.tools.scripting(&self.env, &self.publisher, may_suspend)),
                limit: is_limited.then(|| self.env.memory_limit()),
                ..Runner::new(&mut self.slice, &self.env.config, now_ms, batch.protocol)
            };
            let (board, clock) = (&self.env.board, &self.env.process.clock);
            let ends = &mut batch.ends;
            let count = runner.run(items, &mut batch.args, batch.output, |at, failed, output| {
                timing.see(done + at, clock, output.len());
                if let Some(ends) = ends {
                    ends.push(output.mark());
                }
                if let Some(error) = failed
                    && !items[at].is_counted
                {
                    note_failure(board, items[at].entry, error);
                }
            });
            effects = runner.effects;
            (wait, suspended) = (runner.attempt.wait.take(), runner.suspended.take());
            done += count;
            if suspended.is_some() {
                break;
            }
            waker.at = items[count - 1].at;
            if self.slice.has_ready() && !mode.is_whole() && wait.is_none() {
                self.serve_blocked(waker.again());
            }
        }
        self.end_expired(waker.lock, waker.records.is_some());
        self.env.ran_until_ns = self.env.clock_ns();
        timing.stop(self.env.ran_until_ns);
        let changes = effects.changes;
        match wait {
            // The run counts when the command ends, but its changes count now.
            Some(_) => {
                self.env.board.counters.changes.add(changes);
                self.tell_events();
            }
            None => self.settle_batch(effects, timing.spent_ns, batch, done),
        }
        Ran { wait, suspended: suspended.map(|script| (done, script)), changes }
    }

    /// Returns the commands from index `done` on that run together. Returns none if the first one
    /// must not run: memory is full (`is_limited`: no key can be evicted), or this node does not
    /// serve its keys any more. That command has its error then.
    #[inline]
    fn next_items<'i>(
        &mut self,
        batch: &mut Batch<'i>,
        (mode, is_limited): (RunMode, bool),
        (timing, done): (&mut BatchTiming, usize),
    ) -> Option<&'i [Item]> {
        let items = &batch.items[done..batch.items.len().min(done + BATCH_COMMANDS_MAX)];
        if is_limited && self.env.memory_limit().refuses(&items[0]) {
            self.refuse(batch, (timing, done), &Error::OutOfMemory);
            return None;
        }
        // A transaction is checked as a whole.
        let of_transaction = RunMode::Step { is_of_transaction: true };
        let is_checked = mode == RunMode::Transaction || mode == of_transaction;
        if !self.env.facts.has(Facts::CLUSTER) || is_checked {
            return Some(items);
        }
        match self.served(items, &mut batch.args) {
            Ok(count) => Some(&items[..count]),
            Err(error) => {
                self.refuse(batch, (timing, done), &error);
                None
            }
        }
    }

    /// Replies with an error to the command at index `done`, which does not run.
    #[cold]
    fn refuse(
        &mut self,
        batch: &mut Batch<'_>,
        (timing, done): (&mut BatchTiming, usize),
        error: &Error,
    ) {
        Reply::new(batch.output, batch.protocol).error(error);
        timing.see(done, &self.env.process.clock, batch.output.len());
        if let Some(ends) = &mut batch.ends {
            ends.push(batch.output.mark());
        }
        let index = usize::from(batch.items[done].entry.index);
        self.env.board.commands[index].rejected.add(1);
        self.env.board.error_reply(error.bytes());
    }

    /// Updates counters and statistics for the first `done` commands of a batch.
    #[inline]
    fn settle_batch(
        &mut self,
        effects: Effects,
        spent_ns: u64,
        batch: &mut Batch<'_>,
        done: usize,
    ) {
        self.count_slots(&batch.items[..done], &mut batch.args, spent_ns);
        self.settle(effects, spent_ns, &batch.items[..done]);
    }

    /// Updates counters and statistics once for a batch, after its commands.
    pub(super) fn settle(&mut self, effects: Effects, spent_ns: u64, items: &[Item]) {
        let each_ns = spent_ns / items.len().max(1) as u64;
        let db = items.first().map_or(0, |item| usize::from(item.db));
        let mut is_wide = effects.other_databases;
        let is_same = |a: &Item, b: &Item| {
            std::ptr::eq(a.entry, b.entry) && a.db == b.db && a.is_counted == b.is_counted
        };
        let mut counted = 0;
        // Adjacent runs of one command are recorded together.
        for run in items.chunk_by(is_same) {
            if run[0].is_counted {
                counted += run.len();
                self.record_more(run[0].entry, each_ns * run.len() as u64);
            } else {
                self.record_runs(run[0].entry, run.len() as u64, each_ns);
            }
            is_wide |= run[0].entry.is_everywhere();
            is_wide |= usize::from(run[0].db) != db;
        }
        self.env.board.counters.commands_processed.add((items.len() - counted) as u64);
        self.env.board.counters.changes.add(effects.changes);
        self.tell_events();
        if let Some(note) = effects.note {
            self.env.process.log.verbose(note);
        }
        if is_wide {
            self.publish();
        } else {
            self.publish_database(db);
        }
    }

    /// Records the time of another part of a command, or of its further keys. The command itself is
    /// counted elsewhere.
    #[cold]
    fn record_more(&mut self, entry: &Entry, spent_ns: u64) {
        self.env.board.commands[usize::from(entry.index)].ns.add(spent_ns);
    }

    /// Records runs of a command, of `each_ns` nanoseconds each.
    pub fn record_runs(&mut self, entry: &Entry, runs: u64, each_ns: u64) {
        let index = usize::from(entry.index);
        let counters = &self.env.board.commands[index];
        counters.calls.add(runs);
        counters.ns.add(each_ns * runs);
        if self.env.config.latency_tracking {
            self.env.board.latencies.record(index, each_ns, runs);
        }
    }

    /// Settles a command that has run on a workspace. Adds its index and nanoseconds to `spent` if
    /// they reach the threshold.
    pub fn settle_offloaded(
        &mut self,
        ran: crate::exec::OffloadedRun,
        item: &Item,
        started_ns: u64,
        spent: &mut Vec<(u32, u64)>,
    ) {
        if let Some(error) = &ran.error {
            note_failure(&self.env.board, item.entry, error);
        }
        let spent_ns = self.env.clock_ns().saturating_sub(started_ns);
        if spent_ns >= self.env.thresholds.run_ns {
            spent.push((item.at, spent_ns));
        }
        self.tell(&ran.events);
        self.post_invalidations(ran.invalidations);
        let has_key = item.entry.plain_key_args(item.argc as usize).is_some();
        if self.env.config.cluster_slot_stats_enabled && has_key {
            let used = SlotSpent { cpu_us: spent_ns / 1_000, ..SlotSpent::default() };
            self.env.process.boards.slot_usage.add(item.slot, used);
        }
        self.settle(ran.effects, spent_ns, &[*item]);
    }
}

/// Records that a command ran and replied with an error.
pub fn note_failure(board: &Board, entry: &Entry, error: &Error) {
    board.commands[usize::from(entry.index)].failed.add(1);
    board.error_reply(error.bytes());
}
