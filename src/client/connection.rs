//! The connection and its states.
//!
//! ```text
//!            bytes arrive            batch for other shards
//!   Idle  ---------------> Ready ----------------------------> InFlight
//!     ^                    |  ^                                   |
//!     |    input used up   |  '------- all parts answered --------'
//!     '--------------------'
//!   any --hangup, kill, protocol error--> Closing --driver says closed--> gone
//!
//!   Ready --a pause holds its next command up--> Postponed --the pause lets go of it--> Ready
//! ```
//! In flight or postponed, nothing of its input is run: what it pipelined waits. A command that
//! waits for keys (see `blocked`) is in flight until it has its reply. Closing, answers that still
//! come are dropped, which the generation of the connection's number tells.

use super::blocked::Blocked;
use super::flight::Flight;
use super::trace::Trace;
use crate::exec::{ClientKind, Replies, Session};
use crate::mesh::FlightId;
use crate::net::{IDLE_TEXT_BYTES_MAX, Input, Outbox};
use crate::replica::Link;
use crate::txn::Queue;
use std::collections::HashSet;

/// Bytes that a watched key takes, here and with its owner.
pub const WATCH_BYTES: usize = 100;

/// Whether commands of a connection may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// Yes.
    Open,
    /// Not before its batch is answered.
    InFlight,
    /// Not before a pause lets go of its next command.
    Postponed,
    /// Not before its output has drained.
    OutputFull,
    /// Never again.
    Closing,
}

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    /// What its commands see.
    pub session: Session,
    /// What it has sent.
    pub input: Input,
    /// What it is sent.
    pub outbox: Outbox,
    /// Tells a reused connection number from its predecessor.
    pub generation: u32,
    /// The batches that other shards work on: at most one under the rules.
    pub flights: Vec<Box<Flight>>,
    /// Its command that waits for keys, or may begin to.
    pub blocked: Option<Box<Blocked>>,
    /// What it is sent as a replica.
    pub link: Option<Box<Link>>,
    /// The keys that it watches, by database and hash.
    pub watched: HashSet<(usize, u64)>,
    /// What it has queued since MULTI.
    pub queue: Option<Box<Queue>>,
    /// The number of its next flight.
    pub flight_number: FlightId,
    /// Whether it stands in the list of connections to serve.
    pub is_queued: bool,
    /// Whether its replies wait until those whom its commands woke have what they waited for.
    pub is_held: bool,
    /// Whether it waits for credits: it is served in the order in which it began to.
    pub is_stalled: bool,
    /// Set while its next command waits for the end of a pause: its place among those that do.
    pub postponed: Option<u64>,
    /// Whether it stands in the list of connections to flush.
    pub is_dirty: bool,
    /// Whether the driver receives for it.
    pub is_receiving: bool,
    /// Whether it is to end; the driver may still have to say so.
    pub is_closing: bool,
    /// Whether the peer has stopped sending.
    pub is_hung_up: bool,
    /// Whether all whole commands of its input have been run: only more input helps.
    pub is_starved: bool,
    /// Whether it counts towards `maxclients`.
    pub is_counted: bool,
    /// Whether its output had to drain before it was served further.
    pub is_output_full: bool,
    /// Since when its output is over the soft limit, monotonic milliseconds.
    pub output_over_ms: Option<u64>,
    /// The turn in which its last bytes have arrived.
    pub received_turn: u64,
    /// Its request that is traced.
    pub trace: Option<Trace>,
    /// Bytes that it takes, as last added to the shard's sum.
    pub counted_bytes: usize,
    /// Those of them that are unsent output of which nothing is made: nearly every reply.
    pub passing_bytes: usize,
    /// Its class among the clients that may be evicted, while such classes are kept.
    pub eviction_class: Option<u8>,
    /// Bytes of the words of the command on the session that is under way.
    pub argv_bytes: usize,
}

impl Connection {
    /// A connection that has just been accepted.
    pub fn new(session: Session, generation: u32) -> Connection {
        Connection {
            session,
            input: Input::default(),
            outbox: Outbox::default(),
            generation,
            flights: Vec::new(),
            blocked: None,
            link: None,
            watched: HashSet::new(),
            queue: None,
            flight_number: FlightId(0),
            is_queued: false,
            is_held: false,
            is_stalled: false,
            postponed: None,
            is_dirty: false,
            is_receiving: true,
            is_closing: false,
            is_hung_up: false,
            is_starved: true,
            is_counted: false,
            is_output_full: false,
            output_over_ms: None,
            received_turn: 0,
            trace: None,
            counted_bytes: 0,
            passing_bytes: 0,
            eviction_class: None,
            argv_bytes: 0,
        }
    }

    /// Returns the number of its next flight, which is taken then.
    pub fn next_flight(&mut self) -> FlightId {
        let number = self.flight_number;
        self.flight_number = FlightId(number.0.wrapping_add(1));
        number
    }

    /// Whether its commands may run.
    pub fn serving(&self, one_in_flight: bool) -> Serving {
        if self.is_closing || self.session.close_after_reply {
            Serving::Closing
        } else if self.is_held || (one_in_flight && !self.flights.is_empty()) {
            Serving::InFlight
        } else if self.postponed.is_some() {
            Serving::Postponed
        } else if self.is_output_full {
            Serving::OutputFull
        } else {
            Serving::Open
        }
    }

    /// The next command begins: whether its reply is for the client follows from CLIENT REPLY.
    pub fn turn_replies(&mut self) {
        self.session.replies = match self.session.replies {
            Replies::All => return,
            Replies::None => Replies::None,
            Replies::AllButNext => Replies::AllButThis,
            Replies::AllButThis => Replies::All,
        };
        self.outbox.mute();
        if self.session.replies == Replies::All {
            self.outbox.unmute();
        }
    }

    /// Whether nothing of it is left to do, and it was to end then.
    pub fn is_over(&self) -> bool {
        let is_done = self.outbox.is_empty() && self.flights.is_empty();
        // While it waits to be served, its input may hold commands that nobody has looked at.
        let is_waiting = self.is_queued || self.is_stalled;
        let is_spent = self.is_hung_up && self.is_starved && !is_waiting;
        is_done && (self.session.close_after_reply || is_spent)
    }

    /// Whether it ends when it has been idle for long: nobody else keeps it waiting.
    pub fn may_time_out(&self) -> bool {
        let is_waiting = self.session.is_blocked || !self.flights.is_empty();
        self.session.kind() == ClientKind::Normal && !is_waiting
    }

    /// Gives back what an idle connection does not need; its output buffer apart.
    pub fn shrink(&mut self) {
        self.input.shrink();
        if self.session.multi.is_none() {
            self.queue = None;
        }
    }

    /// Whether it may be ended because clients take too much memory.
    pub fn may_be_evicted(&self) -> bool {
        !self.is_closing && !self.session.is_no_evict && self.session.kind() != ClientKind::Replica
    }

    /// Bytes of memory that it takes, with its buffers, its queue and its watches.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        let queued = self.queue.as_ref().map_or(0, |queue| queue.memory_bytes());
        // Small buffers come and go with each command: all count as the least that is kept.
        let input = self.input.memory_bytes().max(IDLE_TEXT_BYTES_MAX);
        let buffers = input + self.outbox.pending_bytes();
        size_of::<Connection>() + buffers + queued + self.watched.len() * WATCH_BYTES
    }
}
