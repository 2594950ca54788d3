//! The inbox: other shards' parts are run here, answers come home. Hot.

use super::Shard;
use super::command_log::BatchTiming;
use super::profile::Probe;
use super::wake::Waker;
use crate::exec::{BATCH_COMMANDS_MAX, BlockingAttempt, Effects, Entry, Item, Runner, Wait};
use crate::mesh::{Envelope, Message, Work};
use crate::observe::Board;
use crate::resp::Error;

impl Shard {
    /// Takes every message that was in the inbox when it began.
    pub(super) fn drain_inbox(&mut self) -> bool {
        let tail = self.port.depth();
        self.board.gauges.inbox_depth.set(tail as i64);
        self.board.inbox.see(tail as u64, self.process.boards.generation());
        for _ in 0..tail {
            let Some(message) = self.port.receive() else { break };
            match message {
                Message::Part(mut part) => {
                    self.heed_time(part.sent.unix_us);
                    if part.carried.posted_ns > 0 {
                        self.trace_arrival(&mut part);
                    }
                    self.run_part(part);
                }
                Message::Reply(reply) => {
                    self.journal.clock.answered(reply.sent.stamp);
                    self.heed_time(reply.sent.unix_us);
                    if reply.carried.posted_ns > 0 {
                        self.trace_return(&reply);
                    }
                    self.land(reply);
                }
                Message::Handover(handover) => self.adopt(*handover),
            }
            self.port.mesh().point();
        }
        if !self.one_way.is_empty() {
            self.send_one_way_queued();
        }
        if !self.forwarded.due.is_empty() {
            self.run_moves();
        }
        if !self.stalled.is_empty() {
            self.unstall();
        }
        tail > 0
    }

    /// It is not earlier here than it was where an envelope came from: its sender may have read
    /// the clock after this turn did.
    #[inline]
    fn heed_time(&mut self, unix_us: u64) {
        if unix_us > self.now.unix_us {
            self.set_time(unix_us);
        }
    }

    /// Does what a part asks for, and sends it home.
    fn run_part(&mut self, mut part: Box<Envelope>) {
        match std::mem::replace(&mut part.work, Work::Commands) {
            Work::Commands if self.files.is_leaving => return self.files.left_over.push(part),
            Work::Commands => return self.arrive(part),
            Work::Ask(request) if request.is_of_a_moment() => {
                part.work = Work::Ask(request);
                return self.arrive(part);
            }
            work @ Work::Try(_) => {
                part.work = work;
                return self.arrive(part);
            }
            Work::Ask(request) => self.answer_timed(&request, &mut part),
            note => {
                part.work = note;
                return self.take_one_way(part);
            }
        }
        self.wake_behind(None);
        self.send_home(part);
    }

    /// Runs the commands of a part. Those whom they wake are served behind each, unless they are
    /// one. Gives what the only command waits for, if it may.
    pub(super) fn run_commands(
        &mut self,
        part: &mut Envelope,
        mut waker: Waker<'_>,
        may_wait: bool,
        is_whole: bool,
    ) -> Option<Wait> {
        let started_ns = self.process.clock.monotonic_ns();
        let protocol = part.protocol;
        let mut effects = Effects::default();
        let mut done = 0;
        let mut timing = BatchTiming::at_owner(&self.thresholds, &part.items, started_ns);
        timing.probe = Probe::of_part(part, started_ns);
        while done < part.items.len() {
            let (items, mut batch_args, output, ends) = part.parts();
            // Only a transaction has more commands than a batch.
            let batch = &items[done..items.len().min(done + BATCH_COMMANDS_MAX)];
            let mut runner = Runner {
                slice: &mut self.slice,
                now_ms: self.now.unix_ms(),
                protocol,
                config: &self.config,
                records: waker.records.as_deref_mut(),
                reach: None,
                is_whole,
                attempt: BlockingAttempt { may_wait, ..BlockingAttempt::default() },
                effects,
            };
            let (board, clock) = (&self.board, &self.process.clock);
            let count = runner.run(batch, &mut batch_args, output, |at, failed, output| {
                timing.see(done + at, clock, 0);
                ends.push(output.mark());
                if let Some(error) = failed {
                    note_failure(board, batch[at].entry, error);
                }
            });
            effects = runner.effects;
            if let Some(wait) = runner.attempt.wait.take() {
                ends.clear();
                self.settle_wait(&effects);
                return Some(wait);
            }
            waker.at = batch[count - 1].at;
            done += count;
            if self.slice.has_ready() && !is_whole {
                self.wake(waker.again());
            }
        }
        let db = part.items.first().map_or(0, |item| usize::from(item.db));
        let spent_ns = self.process.clock.monotonic_ns() - started_ns;
        if timing.has_news(&self.thresholds, spent_ns) {
            let slow = timing.slow(&self.thresholds, part.items.len(), spent_ns);
            part.spent.extend(slow.map(|(at, ns)| (part.items[at].at, ns)));
        }
        self.settle(Settled { effects, spent_ns, db }, &part.items);
        if part.carried.posted_ns > 0 {
            self.trace_run(part, timing.probe);
        }
        None
    }

    /// Once per batch, after its commands: what they left behind is recorded.
    pub(super) fn settle(&mut self, settled: Settled, items: &[Item]) {
        let each_ns = settled.spent_ns / items.len().max(1) as u64;
        let mut is_wide = settled.effects.other_databases;
        // Runs of the same command are recorded as one.
        for run in items.chunk_by(|a, b| std::ptr::eq(a.entry, b.entry) && a.db == b.db) {
            self.record_runs(run[0].entry, run.len() as u64, each_ns);
            is_wide |= run[0].entry.is_everywhere();
            is_wide |= usize::from(run[0].db) != settled.db;
        }
        self.board.counters.commands_processed.add(items.len() as u64);
        self.board.counters.changes.add(settled.effects.changes);
        if let Some(note) = settled.effects.note {
            self.process.log.verbose(note);
        }
        if is_wide {
            self.publish();
        } else {
            self.publish_database(settled.db);
        }
    }

    /// The same for a command that waits: its run counts when it ends, what it has changed now.
    pub(super) fn settle_wait(&mut self, effects: &Effects) {
        self.board.counters.changes.add(effects.changes);
    }

    /// Records so many runs of a command, of `each_ns` nanoseconds each.
    pub(super) fn record_runs(&self, entry: &Entry, runs: u64, each_ns: u64) {
        let index = usize::from(entry.index);
        let counters = &self.board.commands[index];
        counters.calls.add(runs);
        counters.ns.add(each_ns * runs);
        if self.config.latency_tracking {
            self.board.latencies.record(index, each_ns, runs);
        }
    }
}

/// What is settled after a batch.
pub(super) struct Settled {
    pub(super) effects: Effects,
    pub(super) spent_ns: u64,
    pub(super) db: usize,
}

/// Records that a command ran and ended in an error.
pub(super) fn note_failure(board: &Board, entry: &Entry, error: &Error) {
    board.commands[usize::from(entry.index)].failed.add(1);
    board.error_reply(error.bytes());
}
