//! The inbox: other shards' parts are run here, answers come home. Hot.

use super::Shard;
use crate::exec::{BATCH_COMMANDS_MAX, Effects, Entry, Item, Records, Request, Runner};
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
                Message::Part(part) => {
                    self.heed_time(part.sent.unix_us);
                    self.run_part(part);
                }
                Message::Reply(reply) => {
                    self.journal.clock.answered(reply.sent.stamp);
                    self.heed_time(reply.sent.unix_us);
                    self.land(reply);
                }
                Message::Handover(handover) => self.adopt(*handover),
            }
            self.port.mesh().point();
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
            Work::Commands => return self.arrive(part),
            Work::Ask(Request::Snapshot(id)) => {
                part.work = Work::Ask(Request::Snapshot(id));
                return self.arrive(part);
            }
            Work::Ask(request) => self.answer_ask(&request, &mut part),
        }
        self.send_home(part);
    }

    /// Runs the commands of a part; what they tell the feed goes to `records`.
    pub(super) fn run_commands(&mut self, part: &mut Envelope, records: Option<&mut Records>) {
        let started_ns = self.process.clock.monotonic_ns();
        let protocol = part.protocol;
        let (items, mut words, output, ends) = part.parts();
        let mut runner = Runner {
            slice: &mut self.slice,
            now_ms: self.now.unix_ms(),
            protocol,
            config: &self.config,
            records,
            is_part: self.router.shards() > 1,
            effects: Effects::default(),
        };
        let board = &self.board;
        // Only a transaction has more commands than a batch.
        for batch in items.chunks(BATCH_COMMANDS_MAX) {
            runner.run(batch, &mut words, output, |at, failed, output| {
                ends.push(output.mark());
                if let Some(error) = failed {
                    note_failure(board, batch[at].entry, error);
                }
            });
        }
        let db = items.first().map_or(0, |item| usize::from(item.db));
        let settled = Settled { effects: runner.effects, started_ns, db };
        self.settle(settled, &part.items);
    }

    /// Once per batch, after its commands: what they left behind is recorded.
    pub(super) fn settle(&mut self, settled: Settled, items: &[Item]) {
        let spent_ns = self.process.clock.monotonic_ns() - settled.started_ns;
        let each_ns = spent_ns / items.len().max(1) as u64;
        let mut is_wide = settled.effects.other_databases;
        // Runs of the same command are recorded as one.
        for run in items.chunk_by(|a, b| std::ptr::eq(a.entry, b.entry) && a.db == b.db) {
            self.record_runs(run[0].entry, run.len() as u64, each_ns);
            is_wide |= run[0].entry.is_everywhere();
            is_wide |= usize::from(run[0].db) != settled.db;
        }
        self.board.counters.commands_processed.add(items.len() as u64);
        self.board.counters.changes.add(settled.effects.changes);
        if is_wide {
            self.publish();
        } else {
            self.publish_database(settled.db);
        }
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
    pub(super) started_ns: u64,
    pub(super) db: usize,
}

/// Records that a command ran and ended in an error.
pub(super) fn note_failure(board: &Board, entry: &Entry, error: &Error) {
    board.commands[usize::from(entry.index)].failed.add(1);
    board.error_reply(error.bytes());
}
