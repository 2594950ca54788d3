//! The inbox: other shards' parts are run here, answers come home. Hot.

use super::Shard;
use crate::exec::{Effects, Entry, Item, Runner};
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
                Message::Part(part) => self.run_part(part),
                Message::Reply(reply) => self.land(reply),
                Message::Handover(handover) => self.adopt(*handover),
            }
            self.port.mesh().point();
        }
        if !self.stalled.is_empty() {
            self.unstall();
        }
        tail > 0
    }

    /// Does what a part asks for, and sends it home.
    fn run_part(&mut self, mut part: Box<Envelope>) {
        match std::mem::replace(&mut part.work, Work::Commands) {
            Work::Commands => self.run_commands(&mut part),
            Work::Ask(request) => self.answer_ask(&request, &mut part),
        }
        if let Some(own) = self.port.answer(part) {
            self.land(own);
        }
    }

    pub(super) fn run_commands(&mut self, part: &mut Envelope) {
        let started_ns = self.process.clock.monotonic_ns();
        let (db, protocol) = (part.db, part.protocol);
        let (items, mut words, output, ends) = part.parts();
        let mut runner = Runner {
            slice: &mut self.slice,
            db,
            now_ms: self.now.unix_ms(),
            protocol,
            string_bytes_max: self.config.proto_max_bulk_len,
            is_part: self.router.shards() > 1,
            effects: Effects::default(),
        };
        let board = &self.board;
        runner.run(items, &mut words, output, |at, failed, output| {
            ends.push(output.mark());
            if let Some(error) = failed {
                note_failure(board, items[at].entry, error);
            }
        });
        let settled = Settled { effects: runner.effects, started_ns, db };
        self.settle(settled, &part.items);
    }

    /// Once per batch, after its commands: what they left behind is recorded.
    pub(super) fn settle(&mut self, settled: Settled, items: &[Item]) {
        let spent_ns = self.process.clock.monotonic_ns() - settled.started_ns;
        let each_ns = spent_ns / items.len().max(1) as u64;
        let mut is_wide = false;
        // Runs of the same command are recorded as one.
        for run in items.chunk_by(|a, b| std::ptr::eq(a.entry, b.entry)) {
            self.record_runs(run[0].entry, run.len() as u64, each_ns);
            is_wide |= run[0].entry.is_everywhere();
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
