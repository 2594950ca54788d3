//! Request tracing: measures a sample of requests in each stage of their way. `observe::Stage`
//! draws the stages.
//!
//! Cost: a countdown for each batch and two comparisons for each command. Clocks are read only for
//! traced requests.

use crate::base::rng::Rng;
use crate::client::{Progress, Trace};
use crate::io::ConnId;
use crate::mesh::{Carried, Envelope};
use crate::observe::Stage;
use crate::shard::local::gather::Gathered;
use crate::shard::state::Shard;

/// Number of turns whose start times are kept. Older bytes count as received at the oldest of them.
const TURNS_MAX: usize = 256;

/// Which requests are traced, and when turns began.
pub(in crate::shard) struct Profile {
    /// Number of batches until the next traced one. 0 means never.
    left: u64,
    turn: u64,
    begun_ns: Box<[u64; TURNS_MAX]>,
}

impl Default for Profile {
    fn default() -> Profile {
        Profile { left: 1, turn: 0, begun_ns: Box::new([0; TURNS_MAX]) }
    }
}

impl Profile {
    /// Records the start of a turn. The turn's input is what the kernel has just delivered.
    pub(in crate::shard) fn begin_turn(&mut self, now_ns: u64) {
        self.turn += 1;
        self.begun_ns[self.turn as usize % TURNS_MAX] = now_ns;
    }

    /// Returns the number of the turn that begins next.
    pub(in crate::shard) fn next_turn(&self) -> u64 {
        self.turn + 1
    }

    /// Returns when a turn began, or the oldest known start.
    fn begun_ns(&self, turn: u64) -> u64 {
        let oldest = (self.turn + 1).saturating_sub(TURNS_MAX as u64);
        self.begun_ns[turn.max(oldest) as usize % TURNS_MAX]
    }

    /// Counts a batch. Returns whether it has the next request to trace.
    #[inline]
    pub(in crate::shard) fn is_due(&mut self) -> bool {
        self.left = self.left.wrapping_sub(1);
        self.left == 0
    }

    /// Draws the number of batches until the next trace at random, so that no client's rhythm
    /// matches it.
    pub(in crate::shard) fn draw(&mut self, interval: u32, rng: &mut Rng) {
        self.left = match interval {
            0 => 0,
            interval => 1 + rng.below(2 * u64::from(interval) - 1),
        };
    }
}

impl Shard {
    fn record_stay(&self, command: u16, stage: Stage, ns: u64) {
        self.env.board.stages.record(usize::from(command), stage, ns);
    }

    /// Begins to trace one of the gathered commands. A command that may block is not traced,
    /// because its waiting time is not the server's.
    #[cold]
    pub(in crate::shard) fn trace_begin(&mut self, conn: ConnId, gathered: &Gathered) {
        self.telemetry.profile.draw(self.env.config.latency_profile_interval, &mut self.rng);
        let items = &self.batch.items;
        let (at, command) = match gathered {
            Gathered::Keys if !self.batch.may_wait => {
                let at = self.rng.below(items.len() as u64) as usize;
                self.batch.traced = Some(at as u32);
                (items[at].at, items[at].entry.index)
            }
            Gathered::Session(item) => (0, item.entry.index),
            _ => return,
        };
        let gathered_ns = self.env.clock_ns();
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let received_ns = self.telemetry.profile.begun_ns(connection.received_turn);
        let flight = connection.flight_number;
        let progress = Progress::Under;
        let trace = Trace { command, at, gathered_ns, counted_ns: 0, flight, progress };
        connection.trace = Some(trace);
        self.record_stay(command, Stage::Parse, gathered_ns.saturating_sub(received_ns));
    }

    /// Records that the traced command has run here and took `spent_ns` nanoseconds.
    #[cold]
    pub(in crate::shard) fn trace_ran(&mut self, conn: ConnId, spent_ns: u64) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(trace) = &mut connection.trace else { return };
        if trace.progress == Progress::Under {
            trace.counted_ns = spent_ns;
            trace.progress = Progress::Replied;
            let command = trace.command;
            self.record_stay(command, Stage::Execute, spent_ns);
        }
    }

    /// Records that the traced command is sent in one of the parts of the unit.
    #[cold]
    pub(in crate::shard) fn trace_posting(&mut self, conn: ConnId) {
        let posted_ns = self.env.clock_ns().max(1);
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let Some(trace) = &mut connection.trace else { return };
        trace.flight = connection.flight_number;
        let at = trace.at;
        let carries = |part: &&mut Box<Envelope>| part.items.iter().any(|item| item.at == at);
        if let Some(part) = self.remote.unit.iter_mut().find(carries) {
            part.carried = Carried { posted_ns, at, counted_ns: 0 };
        }
    }

    /// Records that the traced command's part has come home.
    #[cold]
    pub(in crate::shard) fn trace_return(&mut self, part: &Envelope) {
        let Carried { posted_ns, counted_ns, .. } = part.carried;
        let ns = self.env.clock_ns().saturating_sub(posted_ns);
        let Some(to) = part.reply_to.address() else { return };
        let connection = self.connections.get_same(to.client.conn, to.client.generation);
        let Some(connection) = connection else { return };
        let is_it = |trace: &&mut Trace| trace.flight == to.flight;
        if let Some(trace) = connection.trace.as_mut().filter(is_it) {
            trace.counted_ns += counted_ns + ns;
            let command = trace.command;
            self.record_stay(command, Stage::Inbox, ns);
        }
    }

    /// Records that the connection's next chunk of output goes to the driver.
    #[cold]
    pub(in crate::shard) fn trace_leaving(&mut self, conn: ConnId) {
        let now_ns = self.env.clock_ns();
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(trace) = &mut connection.trace else { return };
        if trace.progress == Progress::Replied {
            trace.progress = Progress::Leaving(now_ns);
            let (command, since_ns) = (trace.command, now_ns.saturating_sub(trace.gathered_ns));
            let ns = since_ns.saturating_sub(trace.counted_ns);
            self.record_stay(command, Stage::Batch, ns);
        }
    }

    /// Records that the kernel has taken the chunk.
    #[cold]
    pub(in crate::shard) fn trace_sent(&mut self, conn: ConnId) {
        let now_ns = self.env.clock_ns();
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(trace) = connection.trace else { return };
        if let Progress::Leaving(since_ns) = trace.progress {
            connection.trace = None;
            self.record_stay(trace.command, Stage::Send, now_ns.saturating_sub(since_ns));
        }
    }
}
