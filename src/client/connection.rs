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
//!   Ready --a pause delays its next command--> Postponed --the pause ends for it--> Ready
//! ```
//! While a connection is in flight or postponed, its input is not run: pipelined commands wait. A
//! connection with a blocked command (see `blocked`) stays in flight until the reply comes. Late
//! replies of a closed connection are dropped: they carry the generation of its number, so a
//! connection with the same number never gets them.

use super::blocked::Blocked;
use super::flight::Flight;
use super::slot_tally::SlotTally;
use super::subscriptions::Subscriptions;
use super::trace::Trace;
use crate::exec::{ClientKind, Replies, Session};
use crate::io::Chunk;
use crate::io::ConnId;
use crate::keyspace::Caller;
use crate::mesh::{FlightId, HoldId};
use crate::net::{IDLE_TEXT_BYTES_MAX, Input, Outbox, Stream};
use crate::replica::Link;
use crate::resp::Output;
use crate::txn::Queue;
use std::collections::HashSet;

/// Bytes that a watched key uses, on the client's shard and on its owner, without its name.
pub const WATCH_BYTES: usize = 256;

/// The most bytes of unsent output that `obl` shows in CLIENT LIST; `omem` shows the others.
const FIRST_BYTES_MAX: usize = 16 << 10;

/// Whether commands of a connection may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// They may run.
    Open,
    /// They wait for the replies of the present batch.
    InFlight,
    /// They wait until a pause allows the next command.
    Postponed,
    /// No command runs any more.
    Closing,
}

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    /// State that the client's commands see.
    pub session: Session,
    /// Input from the client.
    pub input: Input,
    /// Output to the client.
    pub outbox: Outbox,
    /// How its bytes travel.
    pub stream: Stream,
    /// Distinguishes a reused connection number from its predecessor.
    pub generation: u32,
    /// Batches that other shards work on. At most one under the ordering rules.
    pub flights: Vec<Box<Flight>>,
    /// The client's command that is blocked or may block.
    pub blocked: Option<Box<Blocked>>,
    /// Replication link, if the client is a replica.
    pub link: Option<Box<Link>>,
    /// Watched keys, by database and hash.
    pub watched: HashSet<(usize, u64)>,
    /// Bytes of the names of watched keys.
    pub watched_bytes: usize,
    /// Channels and patterns that the client has subscribed to; none without subscriptions.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// Pushes that go behind the replies of the present flight.
    pushes: Option<Box<Output>>,
    /// Commands queued since MULTI.
    pub queue: Option<Box<Queue>>,
    /// Number of the next flight.
    pub flight_number: FlightId,
    /// Whether the connection is in the list of connections to serve.
    pub is_queued: bool,
    /// Holds on its replies, by owner: clients that its commands unblocked must be served first.
    pub holds: Vec<(u16, HoldId)>,
    /// The batch whose replies are held.
    pub held_flight: Option<FlightId>,
    /// Set while its next batch waits for credits to this shard.
    pub stalled_on: Option<u16>,
    /// Set while its next command waits for the end of a pause: its position among the postponed
    /// connections.
    pub postponed: Option<u64>,
    /// Whether the connection is in the list of connections to flush.
    pub is_dirty: bool,
    /// Whether the driver receives for the connection.
    pub is_receiving: bool,
    /// Whether the connection is closing. The driver may still have to report the end.
    pub is_closing: bool,
    /// Whether the peer has stopped sending.
    pub is_hung_up: bool,
    /// Whether all complete commands of its input have run, so that only more input gives work.
    pub is_starved: bool,
    /// Whether it counts towards `maxclients`.
    pub is_counted: bool,
    /// Monotonic milliseconds since its output exceeds the soft limit; none if below.
    pub output_over_ms: Option<u64>,
    /// Number of the turn in which its last bytes arrived.
    pub received_turn: u64,
    /// The traced request of the connection.
    pub trace: Option<Trace>,
    /// Bytes of memory that the shard's total includes for it.
    pub counted_bytes: usize,
    /// Exempt part of `counted_bytes`: unsent output that no limit counts. Nearly every reply fits.
    pub passing_bytes: usize,
    /// Size class of the client for client eviction; none while such classes are not kept.
    pub eviction_class: Option<u8>,
    /// Bytes of the arguments of the session command in progress.
    pub argv_bytes: usize,
    /// The slot of its last command, while bytes are counted for slots.
    pub tally: Option<Box<SlotTally>>,
}

impl Connection {
    /// Creates a connection that was just accepted.
    pub fn new(session: Session, stream: Stream, generation: u32) -> Connection {
        Connection {
            session,
            input: Input::default(),
            outbox: Outbox::default(),
            stream,
            generation,
            flights: Vec::new(),
            blocked: None,
            link: None,
            watched: HashSet::new(),
            watched_bytes: 0,
            subscriptions: None,
            pushes: None,
            queue: None,
            flight_number: FlightId(0),
            is_queued: false,
            holds: Vec::new(),
            held_flight: None,
            stalled_on: None,
            postponed: None,
            is_dirty: false,
            is_receiving: true,
            is_closing: false,
            is_hung_up: false,
            is_starved: true,
            is_counted: false,
            output_over_ms: None,
            received_turn: 0,
            trace: None,
            counted_bytes: 0,
            passing_bytes: 0,
            eviction_class: None,
            argv_bytes: 0,
            tally: None,
        }
    }

    /// Returns whether the end of a send of its output has no further effect than that the output
    /// is sent.
    pub fn has_plain_output(&self) -> bool {
        let ends = self.session.close_after_reply || self.is_hung_up || self.is_closing;
        let is_observed = self.trace.is_some() || self.tally.is_some() || self.link.is_some();
        !ends && !is_observed && !self.stream.is_tls()
    }

    /// Returns the next bytes for the driver; none if there is nothing to send, or a send is in
    /// progress.
    #[inline]
    pub fn next_chunk(&mut self) -> Option<Chunk> {
        self.stream.next_chunk(&mut self.outbox)
    }

    /// Records that a send is finished. Returns the number of output bytes that it had.
    #[inline]
    pub fn sent(&mut self, chunk: Chunk) -> usize {
        self.stream.sent(chunk, &mut self.outbox)
    }

    /// Returns the number of the next flight and counts it as used.
    pub fn next_flight(&mut self) -> FlightId {
        let number = self.flight_number;
        self.flight_number = FlightId(number.0.wrapping_add(1));
        number
    }

    /// Returns whether its commands may run.
    pub fn serving(&self, one_in_flight: bool) -> Serving {
        if self.is_closing || self.session.close_after_reply {
            Serving::Closing
        } else if !self.holds.is_empty() || (one_in_flight && !self.flights.is_empty()) {
            Serving::InFlight
        } else if self.postponed.is_some() {
            Serving::Postponed
        } else {
            Serving::Open
        }
    }

    /// Begins the next command: decides by CLIENT REPLY whether the client gets the reply.
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

    /// Adds a push: behind the replies of the command in flight, or before them. `is_own` says that
    /// this command is the cause. `pubsub` argues for the order.
    pub fn push(&mut self, push: &Output, is_own: bool) {
        let is_running = !self.session.is_blocked;
        let is_later =
            self.flights.first().is_some_and(|it| is_own || is_running && it.is_settled());
        if self.pushes.is_some() || is_later {
            let all = 0..push.mark().offset();
            self.pushes.get_or_insert_default().append_range(push, all);
        } else {
            self.outbox.push(push);
        }
    }

    /// Returns whether the replies of a batch of the connection are not in its output yet, or held
    /// there.
    pub fn is_replying(&self, batch: Option<FlightId>) -> bool {
        let mut numbers = self.flights.iter().map(|flight| Some(flight.number));
        batch.is_some() && (self.held_flight == batch || numbers.any(|number| number == batch))
    }

    /// Returns whether any replies of the connection are not in its output yet, or held there. A
    /// blocked command has not seen anything yet.
    pub fn is_replying_at_all(&self) -> bool {
        self.held_flight.is_some() || !self.flights.is_empty() && !self.session.is_blocked
    }

    /// Adds the pushes that have waited for replies.
    #[inline]
    pub fn release_pushes(&mut self) {
        if let Some(pushes) = self.pushes.take() {
            self.outbox.push(&pushes);
        }
    }

    /// Returns the bytes of output that were not sent yet. Pushes that wait for replies count.
    #[inline]
    pub fn unsent_bytes(&self) -> usize {
        let pushes = self.pushes.as_ref().map_or(0, |pushes| pushes.len());
        self.outbox.pending_bytes() + self.stream.unsent_bytes() + pushes
    }

    /// Returns the first bytes of unsent output, which the reference keeps in a buffer of a fixed
    /// size. Its output limits do not count them.
    pub fn first_bytes(&self) -> usize {
        self.outbox.output.len().min(FIRST_BYTES_MAX)
    }

    /// Discards the pushes that have waited for replies.
    pub fn drop_pushes(&mut self) {
        self.pushes = None;
    }

    /// Begins a batch that runs at home. Returns the client as partitions identify it.
    #[inline]
    pub fn begin_here(&mut self, conn: ConnId, home: usize) -> Caller {
        let flight = self.next_flight().0;
        Caller { home: home as u16, conn, generation: self.generation, flight }
    }

    /// Returns whether the connection has nothing left to do and may close.
    pub fn is_over(&self) -> bool {
        let is_done = self.outbox.is_empty() && self.stream.is_idle() && self.flights.is_empty();
        // While the connection waits to be served, its input may hold commands that were not parsed
        // yet.
        let is_waiting = self.is_queued || self.stalled_on.is_some();
        let is_spent = self.is_hung_up && self.is_starved && !is_waiting;
        is_done && (self.session.close_after_reply || is_spent)
    }

    /// Returns whether the idle timeout applies: no command is blocked or in flight.
    pub fn may_time_out(&self) -> bool {
        let is_waiting = self.session.is_blocked || !self.flights.is_empty();
        self.session.kind() == ClientKind::Normal && !is_waiting
    }

    /// Releases memory that an idle connection does not need, except its output buffer.
    pub fn shrink(&mut self) {
        self.input.shrink();
        if self.session.multi.is_none() {
            self.queue = None;
        }
    }

    /// Returns whether client eviction may disconnect the client.
    pub fn may_be_evicted(&self) -> bool {
        !self.is_closing && !self.session.is_no_evict && self.session.kind() != ClientKind::Replica
    }

    /// Returns the bytes of memory that the connection uses, with its buffers, queue and watches.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        let queued = self.queue.as_ref().map_or(0, |queue| queue.memory_bytes());
        // Small buffers grow and shrink with each command. Each counts as the smallest size that is
        // kept.
        let input = self.input.memory_bytes().max(IDLE_TEXT_BYTES_MAX);
        let buffers = input + self.unsent_bytes() + self.stream.memory_bytes();
        let watched = self.watched.len() * WATCH_BYTES + self.watched_bytes;
        let subscribed = self.subscriptions.as_ref().map_or(0, |it| it.memory_bytes());
        let tracking = self.session.tracking.as_ref().map_or(0, |it| it.memory_bytes());
        size_of::<Connection>() + buffers + queued + watched + subscribed + tracking
    }
}
