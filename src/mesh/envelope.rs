//! Envelopes: the part of one batch that belongs to one shard, on its way there and back.

use super::POOLED_BYTES_MAX;
use super::txn_part::{MovedWaiter, Stage, TxnPart};
use crate::exec::{BatchArgs, Item, Request, Ticket, Wait, Walk};
use crate::io::ConnId;
use crate::keyspace::Caller;
use crate::resp::{Mark, Output, Protocol, Span};
use crate::value::Kind;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;

/// Time at which an envelope was sent, in two forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Last timestamp of the sender's hybrid logical clock.
    pub timestamp: u64,
    /// The sender knows effects of propagated units up to this timestamp.
    pub written: u64,
    /// The sender's Unix time in microseconds. The receiver advances its time to at least this
    /// value. All parts of a unit run at this time.
    pub unix_us: u64,
}

/// Timing of the traced request in a part of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Monotonic nanoseconds when the part was posted. 0 without a traced request.
    pub posted_ns: u64,
    /// Index of the command in its batch.
    pub at: u32,
    /// Nanoseconds that the request spent in the owner's inbox and in the command.
    pub counted_ns: u64,
}

/// Number of a transaction at its home shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TransactionId(pub u64);

/// Number of a barrier at the shard that posted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BarrierId(pub u32);

/// The owner's number for a blocked client's command that it has forwarded to the client's home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ForwardId(pub u64);

/// The owner's number for a reply that waits at its home, see [`OneWay::Release`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HoldId(pub u64);

/// Where a held reply waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Home of the connection.
    pub home: u16,
    /// The connection whose output waits.
    pub client: ClientRef,
    /// The transaction that the reply belongs to, if any.
    pub transaction: Option<TransactionId>,
}

/// Number of a batch in flight, unique for its connection while the batch is in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlightId(pub u32);

/// A connection of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientRef {
    /// Number of the connection at its home shard.
    pub conn: ConnId,
    /// Distinguishes a reused connection number from its predecessor.
    pub generation: u32,
}

/// A reply that a connection waits for, as its home shard identifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyAddress {
    /// The connection.
    pub client: ClientRef,
    /// Flight of the connection that the reply belongs to.
    pub flight: FlightId,
}

impl ReplyAddress {
    /// Returns the client as its home shard identifies it, for client tracking.
    pub fn caller(self, home: u16) -> Caller {
        let ClientRef { conn, generation } = self.client;
        Caller { home, conn, generation, flight: self.flight.0 }
    }
}

/// Destination of an envelope's reply, at the shard that sent the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyTo {
    /// None: it is a one-way message, or its reply only returns the envelope.
    Nobody,
    /// A flight of a connection.
    Client(ReplyAddress),
    /// A transaction, which may outlive its connection.
    Transaction(TransactionId, ReplyAddress),
    /// A barrier over all shards.
    Barrier(BarrierId),
}

impl ReplyTo {
    /// Returns the flight that waits for the reply; none if the reply is not for a client's flight.
    pub fn address(self) -> Option<ReplyAddress> {
        match self {
            ReplyTo::Client(address) => Some(address),
            _ => None,
        }
    }

    /// Returns where a held reply to an envelope of shard `home` waits; none if no client waits for
    /// it.
    pub fn holder(self, home: u16) -> Option<Holder> {
        let transaction = match self {
            ReplyTo::Transaction(id, _) => Some(id),
            _ => None,
        };
        self.client().map(|client| Holder { home, client, transaction })
    }

    /// Returns the client whose commands are in an envelope of shard `home`, for client tracking.
    pub fn caller(self, home: u16) -> Option<Caller> {
        match self {
            ReplyTo::Client(address) | ReplyTo::Transaction(_, address) => {
                Some(address.caller(home))
            }
            ReplyTo::Barrier(_) | ReplyTo::Nobody => None,
        }
    }

    /// Returns the connection that caused the envelope; none for barriers and one-way messages.
    pub fn client(self) -> Option<ClientRef> {
        match self {
            ReplyTo::Client(address) => Some(address.client),
            ReplyTo::Transaction(_, address) => Some(address.client),
            ReplyTo::Barrier(_) | ReplyTo::Nobody => None,
        }
    }
}

/// The work that an envelope requests.
#[derive(Debug)]
pub enum Work {
    /// Runs the commands: a client's batch, or the part with the owner's keys.
    Batch,
    /// Runs the next slice of the only command, which walks over all keys. Only at the owner.
    Walk(Box<Walk>),
    /// Runs the only command, which may block instead of replying.
    Attempt(Arc<Ticket>),
    /// Reply to [`Work::Attempt`] if the command has blocked and the owner lists it.
    Blocked(Box<(Arc<Ticket>, Wait)>),
    /// Runs one round of a transaction on the owner.
    Transaction(Box<TxnPart>),
    /// A request of a session command or a barrier to the shard or its partition.
    Control {
        /// The request.
        request: Request,
        /// Index of the requesting command in its transaction. 0 outside of a transaction.
        at: u32,
    },
    /// A message without a reply. Its envelope still returns to its sender's pool.
    OneWay(OneWay),
}

/// One-way message: no shard waits for a reply.
#[derive(Debug)]
pub enum OneWay {
    /// From an owner to the home of a blocked client. The envelope's output is the client's reply.
    Served(ReplyAddress),
    /// From an owner to the home of a blocked client: a key is ready. The client's command uses
    /// keys of other shards, so its home runs it.
    Forward(Box<Forward>),
    /// From the home to an owner: the command of [`OneWay::Forward`] is finished, including all
    /// commands that it unblocked.
    ForwardDone(ForwardId),
    /// From the home to an owner: the command of [`OneWay::Forward`] has not run, because a pause
    /// delays it. The client with this ticket still waits.
    ForwardDelayed(ForwardId, u64),
    /// From an owner to the home of a connection: a held reply may be sent now.
    Release(HoldId, Holder),
    /// From the home to an owner: the client with this ticket no longer waits.
    Forget(u64),
    /// From one owner to another: clients that are blocked on keys of hash slots that have moved,
    /// in the order in which they blocked.
    MovedWaiters(Vec<MovedWaiter>),
    /// From an owner to itself: serve the keys of this ticket again, now that their locks may be
    /// free.
    Recheck(u64),
    /// From the home to an owner: the client with this id watches no keys any more.
    Unwatch(u64),
}

/// A blocked client's command for its home shard to run.
#[derive(Debug)]
pub struct Forward {
    /// Reply that the client waits for.
    pub to: ReplyAddress,
    /// Decides who serves the client.
    pub ticket: Arc<Ticket>,
    /// Argument index of the key that became ready, if the command waits for this key alone.
    pub key_arg: Option<usize>,
    /// Type that the key's value must have.
    pub kind: Kind,
    /// The owner's number for the forwarded command.
    pub id: ForwardId,
}

/// How a unit of commands that read nothing but names of keys (DBSIZE, SCAN) treats the locks of
/// other units. See `partition/survey.rs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Survey {
    /// Waits for locks like other units; also every other unit.
    #[default]
    Locked,
    /// Runs on arrival.
    AtOnce,
    /// Reply to `AtOnce`: the part has not run, because another unit had taken effect in part. The
    /// home sends the whole unit again, as `Locked`.
    Torn,
}

/// One part of a batch, with room for its replies.
///
/// ```text
///   home: take from pool -> push arguments -> post      (owned by the sender)
///   inbox of the owner                                  (owned by the queue)
///   owner: run, write replies -> answer                 (owned by the owner)
///   inbox of the home                                   (owned by the queue)
///   home: merge replies -> back to the pool
/// ```
#[derive(Debug)]
pub struct Envelope {
    /// Shard that sent the envelope.
    pub home: u16,
    /// Shard that receives the envelope.
    pub owner: u16,
    /// Destination of the reply, at home.
    pub reply_to: ReplyTo,
    /// Number of the part in its flight or transaction.
    pub part: u16,
    /// Number in the order of units with several parts. 0 for a single part.
    pub sequence: u64,
    /// Number of parts of its unit.
    pub parts: u16,
    /// Number of parts of its unit that have one common place in the stream: all of several parts
    /// if any of them may write, or else none.
    pub places: u16,
    /// Whether [`super::PartialUnits`] notes its unit.
    pub is_noted: bool,
    /// Whether it has a credit of its home to its owner.
    pub has_credit: bool,
    /// Time at which it was sent.
    pub sent: Moment,
    /// Timing of the traced request in the envelope.
    pub carried: Carried,
    /// Protocol of the replies.
    pub protocol: Protocol,
    /// The requested work.
    pub work: Work,
    /// Set if the reply must wait at its home for [`OneWay::Release`].
    pub hold: Option<HoldId>,
    /// How its commands treat the locks of other units, if they read nothing but names of keys.
    pub survey: Survey,
    /// Content of a barrier's reply, in pieces.
    pub body: Vec<Bytes>,
    /// The commands.
    pub items: Vec<Item>,
    text: Vec<u8>,
    spans: Vec<Span>,
    large: Vec<BytesMut>,
    /// The replies.
    pub output: Output,
    /// End of each reply.
    pub ends: Vec<Mark>,
    /// Slow commands: their indexes in the batch or transaction, with their nanoseconds.
    pub spent: Vec<(u32, u64)>,
}

impl Envelope {
    pub(super) fn new() -> Box<Envelope> {
        Box::new(Envelope {
            home: 0,
            owner: 0,
            reply_to: ReplyTo::Nobody,
            part: 0,
            sequence: 0,
            parts: 0,
            places: 0,
            is_noted: false,
            has_credit: false,
            sent: Moment::default(),
            carried: Carried::default(),
            hold: None,
            survey: Survey::Locked,
            body: Vec::new(),
            protocol: Protocol::Two,
            work: Work::Batch,
            items: Vec::new(),
            text: Vec::new(),
            spans: Vec::new(),
            large: Vec::new(),
            output: Output::default(),
            ends: Vec::new(),
            spent: Vec::new(),
        })
    }

    /// Returns an empty envelope from one shard to another.
    pub fn boxed(home: u16, owner: u16) -> Box<Envelope> {
        let mut envelope = Envelope::new();
        (envelope.home, envelope.owner) = (home, owner);
        envelope
    }

    /// Reserves memory for commands, arguments, and bytes of arguments.
    pub fn reserve(&mut self, items: usize, args: usize, bytes: usize) {
        self.items.reserve(items);
        self.ends.reserve(items);
        self.spans.reserve(args);
        self.text.reserve(bytes);
    }

    /// Begins a command like `item` with its first key in hash slot `slot`. The arguments follow.
    pub fn begin(&mut self, item: &Item, slot: u16) {
        let first = self.spans.len() as u32;
        self.items.push(Item { first, argc: 0, slot, ..*item });
    }

    /// Copies the next argument of the last command into the envelope.
    pub fn push_arg(&mut self, arg: &[u8]) {
        self.spans.push(Span::text(self.text.len(), arg.len()));
        self.text.extend_from_slice(arg);
        self.items.last_mut().expect("a command was begun").argc += 1;
    }

    /// Adds the next argument of the last command with its own buffer.
    pub fn push_large(&mut self, arg: BytesMut) {
        self.spans.push(Span::large(self.large.len(), arg.len()));
        self.large.push(arg);
        self.items.last_mut().expect("a command was begun").argc += 1;
    }

    /// Returns the commands, the arguments, and the outputs for the replies separately.
    pub fn parts(&mut self) -> (&[Item], BatchArgs<'_>, &mut Output, &mut Vec<Mark>) {
        let batch_args = BatchArgs { text: &self.text, spans: &self.spans, large: &mut self.large };
        (&self.items, batch_args, &mut self.output, &mut self.ends)
    }

    /// Returns an argument of one command. It is empty if the command's run has taken it.
    pub fn arg(&self, command: usize, arg: usize) -> &[u8] {
        let item = self.items[command];
        assert!(arg < item.argc as usize);
        let span = self.spans[item.first as usize + arg];
        match span.large_index() {
            Some(index) => &self.large[index],
            None => &self.text[span.start()..span.start() + span.len()],
        }
    }

    /// Returns the transaction part in the envelope, if it has one.
    pub fn txn(&self) -> Option<&TxnPart> {
        match &self.work {
            Work::Transaction(part) => Some(part),
            _ => None,
        }
    }

    /// Returns the transaction part in the envelope, mutably. Panics without one.
    pub fn txn_mut(&mut self) -> &mut TxnPart {
        match &mut self.work {
            Work::Transaction(part) => part,
            work => unreachable!("{work:?} is not a part of a transaction"),
        }
    }

    /// Returns whether it is the first round of a transaction that keeps locks.
    pub fn is_acquiring(&self) -> bool {
        self.txn().is_some_and(|txn| txn.stage == Stage::Acquire)
    }

    /// Returns whether it may change keys: by its commands, or by values that it brings.
    pub fn may_change(&self) -> bool {
        let brings = |txn: &TxnPart| !txn.stores.is_empty() || txn.slice.is_some();
        self.may_write() || self.txn().is_some_and(brings)
    }

    /// Returns whether its commands may write or publish.
    pub fn may_write(&self) -> bool {
        self.items.iter().any(|item| item.entry.may_propagate())
    }

    /// Returns whether the work needs only the owner's partition, so that any holder of the
    /// partition can do it.
    pub fn is_for_partition(&self) -> bool {
        matches!(self.work, Work::Batch | Work::Transaction(_))
    }

    /// Returns whether another round of its transaction goes to the same shard.
    pub fn has_next_round(&self) -> bool {
        self.txn().is_some_and(|part| part.stage.has_next())
    }

    /// Returns the marks before and after the reply to command `at`.
    pub fn reply(&self, at: usize) -> (Mark, Mark) {
        let start = at.checked_sub(1).map_or(Mark::default(), |before| self.ends[before]);
        (start, self.ends[at])
    }

    /// Removes the commands for the next round of the transaction. The replies stay.
    pub fn next_round(&mut self) {
        self.items.clear();
        self.spans.clear();
        self.large.clear();
        self.text.clear();
    }

    /// Removes the replies. The commands stay, to be run again.
    pub fn clear_replies(&mut self) {
        self.output.clear();
        self.ends.clear();
        self.spent.clear();
    }

    /// Removes the commands and replies. The transaction part stays.
    pub fn drop_replies(&mut self) {
        self.next_round();
        self.output.clear();
        self.ends.clear();
    }

    /// Returns the bytes of memory that the empty envelope keeps.
    pub(super) fn kept_bytes(&self) -> usize {
        size_of::<Envelope>()
            + self.text.capacity()
            + self.spans.capacity() * size_of::<Span>()
            + self.large.capacity() * size_of::<BytesMut>()
            + self.items.capacity() * size_of::<Item>()
            + self.ends.capacity() * size_of::<Mark>()
            + self.spent.capacity() * size_of::<(u32, u64)>()
            + self.output.memory_bytes()
    }

    /// Empties the envelope for reuse and releases memory beyond the limit of a pooled envelope.
    pub(super) fn recycle(&mut self) {
        self.drop_replies();
        self.spent.clear();
        self.text.shrink_to(POOLED_BYTES_MAX);
        self.spans.shrink_to(POOLED_BYTES_MAX / size_of::<Span>());
        self.large.shrink_to(POOLED_BYTES_MAX / size_of::<BytesMut>());
        self.items.shrink_to(POOLED_BYTES_MAX / size_of::<Item>());
        self.ends.shrink_to(POOLED_BYTES_MAX / size_of::<Mark>());
        self.spent.shrink_to(POOLED_BYTES_MAX / size_of::<(u32, u64)>());
        self.work = Work::Batch;
        self.has_credit = false;
        debug_assert!(!self.is_noted, "a part that was noted has ended");
        self.is_noted = false;
        self.carried = Carried::default();
        self.hold = None;
        self.survey = Survey::Locked;
        self.body = Vec::new();
        self.sequence = 0;
        self.reply_to = ReplyTo::Nobody;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pooled_envelope_has_no_address() {
        let mut envelope = Envelope::new();
        envelope.reply_to = ReplyTo::Barrier(BarrierId(7));
        envelope.recycle();
        assert_eq!(envelope.reply_to, ReplyTo::Nobody);
    }
}
