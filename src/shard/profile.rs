//! Follows one request in a few through the stages of its way; `observe::Stage` draws them.
//!
//! What it costs: a countdown for each batch, two compares for each command; clocks are read for
//! the traced ones only.

use super::Shard;
use super::gather::Gathered;
use crate::base::clock::Clock;
use crate::base::rng::Rng;
use crate::client::{Progress, Trace};
use crate::io::ConnId;
use crate::mesh::{Carried, Envelope};
use crate::observe::Stage;

/// Turns whose beginnings are remembered: bytes that have waited longer count as received then.
const TURNS_MAX: usize = 256;

/// Which requests are traced, and when turns began.
pub(super) struct Profile {
    /// Batches until the next one with a trace; 0 never.
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
    /// A turn begins at this moment: what has just been taken from the kernel is its input.
    pub(super) fn begin_turn(&mut self, now_ns: u64) {
        self.turn += 1;
        self.begun_ns[self.turn as usize % TURNS_MAX] = now_ns;
    }

    /// The turn that is about to begin.
    pub(super) fn next_turn(&self) -> u64 {
        self.turn + 1
    }

    /// When a turn began, or the oldest that is known.
    fn begun_ns(&self, turn: u64) -> u64 {
        let oldest = (self.turn + 1).saturating_sub(TURNS_MAX as u64);
        self.begun_ns[turn.max(oldest) as usize % TURNS_MAX]
    }

    /// Counts a batch; whether it has the next request to trace.
    #[inline]
    pub(super) fn is_due(&mut self) -> bool {
        self.left = self.left.wrapping_sub(1);
        self.left == 0
    }

    /// Draws how many batches pass until the next one: no rhythm of a client's falls in with it.
    pub(super) fn draw(&mut self, interval: u32, rng: &mut Rng) {
        self.left = match interval {
            0 => 0,
            interval => 1 + rng.below(2 * u64::from(interval) - 1),
        };
    }
}

/// Takes the times before and behind one command of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    index: usize,
    begun_ns: u64,
    ended_ns: u64,
}

impl Probe {
    /// Of the command at this index, in a batch that begins now.
    pub(super) fn new(index: Option<u32>, started_ns: u64) -> Probe {
        let index = index.map_or(usize::MAX, |index| index as usize);
        Probe { index, begun_ns: started_ns, ended_ns: started_ns }
    }

    /// Of the traced command in a part, if it has one.
    pub(super) fn of_part(part: &Envelope, started_ns: u64) -> Probe {
        let Carried { posted_ns, at, .. } = part.carried;
        let is_traced = posted_ns > 0;
        let place = || part.items.iter().position(|item| item.at == at).map(|at| at as u32);
        Probe::new(if is_traced { place() } else { None }, started_ns)
    }

    /// A command has been run.
    #[inline]
    pub(super) fn pass(&mut self, index: usize, clock: &Clock) {
        if index.wrapping_add(1) == self.index {
            self.begun_ns = clock.monotonic_ns();
        } else if index == self.index {
            self.ended_ns = clock.monotonic_ns();
        }
    }

    /// How long it took.
    pub(super) fn spent_ns(&self) -> u64 {
        self.ended_ns.saturating_sub(self.begun_ns)
    }
}

impl Shard {
    fn record_stay(&self, command: u16, stage: Stage, ns: u64) {
        self.board.stages.record(usize::from(command), stage, ns);
    }

    /// One of the commands that were gathered is traced from here on, unless it may wait for keys:
    /// that would not be the server's doing.
    #[cold]
    pub(super) fn trace_begin(&mut self, conn: ConnId, gathered: &Gathered) {
        self.profile.draw(self.config.latency_profile_interval, &mut self.rng);
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
        let gathered_ns = self.process.clock.monotonic_ns();
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let received_ns = self.profile.begun_ns(connection.received_turn);
        let flight = connection.flight_number;
        let progress = Progress::Under;
        let trace = Trace { command, at, gathered_ns, counted_ns: 0, flight, progress };
        connection.trace = Some(trace);
        self.record_stay(command, Stage::Parse, gathered_ns.saturating_sub(received_ns));
    }

    /// The traced command has been run here, and took so many nanoseconds.
    #[cold]
    pub(super) fn trace_ran(&mut self, conn: ConnId, spent_ns: u64) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(trace) = &mut connection.trace else { return };
        if trace.progress == Progress::Under {
            trace.counted_ns = spent_ns;
            trace.progress = Progress::Replied;
            let command = trace.command;
            self.record_stay(command, Stage::Execute, spent_ns);
        }
    }

    /// The traced command leaves in one of these parts.
    #[cold]
    #[allow(clippy::vec_box)]
    pub(super) fn trace_posting(&mut self, conn: ConnId, parts: &mut [Box<Envelope>]) {
        let posted_ns = self.process.clock.monotonic_ns().max(1);
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let Some(trace) = &mut connection.trace else { return };
        trace.flight = connection.flight_number;
        let at = trace.at;
        let carries = |part: &&mut Box<Envelope>| part.items.iter().any(|item| item.at == at);
        if let Some(part) = parts.iter_mut().find(carries) {
            part.carried = Carried { posted_ns, at, counted_ns: 0 };
        }
    }

    /// A part with a traced command was taken out of the inbox.
    #[cold]
    pub(super) fn trace_arrival(&mut self, part: &mut Envelope) {
        let Carried { posted_ns, at, .. } = part.carried;
        let Some(item) = part.items.iter().find(|item| item.at == at) else { return };
        let ns = self.process.clock.monotonic_ns().saturating_sub(posted_ns);
        part.carried.counted_ns = ns;
        self.board.stages.record(usize::from(item.entry.index), Stage::Inbox, ns);
    }

    /// Its commands have been run.
    #[cold]
    pub(super) fn trace_run(&mut self, part: &mut Envelope, probe: Probe) {
        let at = part.carried.at;
        let Some(item) = part.items.iter().find(|item| item.at == at) else { return };
        part.carried.counted_ns += probe.spent_ns();
        let command = usize::from(item.entry.index);
        self.board.stages.record(command, Stage::Execute, probe.spent_ns());
    }

    /// It has come home.
    #[cold]
    pub(super) fn trace_return(&mut self, part: &Envelope) {
        let Carried { posted_ns, counted_ns, .. } = part.carried;
        let ns = self.process.clock.monotonic_ns().saturating_sub(posted_ns);
        let connection = self.connections.get_same(part.connection, part.generation);
        let Some(connection) = connection else { return };
        let is_it = |trace: &&mut Trace| trace.flight == part.flight;
        if let Some(trace) = connection.trace.as_mut().filter(is_it) {
            trace.counted_ns += counted_ns + ns;
            let command = trace.command;
            self.record_stay(command, Stage::Inbox, ns);
        }
    }

    /// The connection's next piece of output goes to the driver.
    #[cold]
    pub(super) fn trace_leaving(&mut self, conn: ConnId) {
        let now_ns = self.process.clock.monotonic_ns();
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(trace) = &mut connection.trace else { return };
        if trace.progress == Progress::Replied {
            trace.progress = Progress::Leaving(now_ns);
            let (command, since_ns) = (trace.command, now_ns.saturating_sub(trace.gathered_ns));
            let ns = since_ns.saturating_sub(trace.counted_ns);
            self.record_stay(command, Stage::Batch, ns);
        }
    }

    /// The kernel has it.
    #[cold]
    pub(super) fn trace_sent(&mut self, conn: ConnId) {
        let now_ns = self.process.clock.monotonic_ns();
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(trace) = connection.trace else { return };
        if let Progress::Leaving(since_ns) = trace.progress {
            connection.trace = None;
            self.record_stay(trace.command, Stage::Send, now_ns.saturating_sub(since_ns));
        }
    }
}
