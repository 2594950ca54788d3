//! What travels between shards: the part of one batch that belongs to one shard, there and back.

use super::POOLED_BYTES_MAX;
use super::txn_part::TxnPart;
use crate::exec::{BatchArgs, Item, Request, Ticket, Wait};
use crate::io::ConnId;
use crate::resp::{Mark, Output, Protocol, Span};
use crate::value::Kind;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;

/// When an envelope was sent, in two forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The last timestamp of the sender's hybrid logical clock.
    pub timestamp: u64,
    /// The sender's Unix time in microseconds. The receiver's time is at least this afterwards.
    pub unix_us: u64,
}

/// What a part of a batch says of the traced request that it carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// When it was put into an inbox, monotonic nanoseconds; 0 if there is nothing to trace.
    pub posted_ns: u64,
    /// The command's place in its batch.
    pub at: u32,
    /// Nanoseconds in the owner's inbox, and in the command.
    pub counted_ns: u64,
}

/// The number of a transaction at its home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TransactionId(pub u64);

/// The number of a barrier at the shard that posted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BarrierId(pub u32);

/// The owner's number for a blocked client's command that it has forwarded to the client's home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ForwardId(pub u64);

/// The number of a batch in flight, unique for its connection while it lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlightId(pub u32);

/// A connection of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientRef {
    /// Its number at home.
    pub conn: ConnId,
    /// Tells a reused connection number from its predecessor.
    pub generation: u32,
}

/// A reply that a connection waits for, as its home knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyAddress {
    /// The connection.
    pub client: ClientRef,
    /// The flight of the connection that the reply belongs to.
    pub flight: FlightId,
}

/// Where the answer to an envelope belongs, at the shard that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyTo {
    /// Nowhere: it is a one-way message, or its answer only returns the envelope.
    Nobody,
    /// A flight of a connection.
    Client(ReplyAddress),
    /// A transaction, which may outlive its connection.
    Transaction(TransactionId, ClientRef),
    /// A barrier over all shards.
    Barrier(BarrierId),
}

impl ReplyTo {
    /// Returns the flight that waits for the reply, if it is a client's.
    pub fn address(self) -> Option<ReplyAddress> {
        match self {
            ReplyTo::Client(address) => Some(address),
            _ => None,
        }
    }

    /// Returns the connection behind the envelope, if it has one.
    pub fn client(self) -> Option<ClientRef> {
        match self {
            ReplyTo::Client(address) => Some(address.client),
            ReplyTo::Transaction(_, client) => Some(client),
            ReplyTo::Barrier(_) | ReplyTo::Nobody => None,
        }
    }
}

/// What an envelope asks for.
#[derive(Debug)]
pub enum Work {
    /// Run the commands: a client's batch, or the part of it whose keys the owner has.
    Batch,
    /// Run the only command; it may block in place of a reply.
    Attempt(Arc<Ticket>),
    /// The answer to [`Work::Attempt`] when the command has blocked and the owner lists it.
    Blocked(Box<(Arc<Ticket>, Wait)>),
    /// One round of a transaction on the owner.
    Transaction(Box<TxnPart>),
    /// A request of a session command or a barrier, to the shard or its partition.
    Control {
        /// The request.
        request: Request,
        /// The place of the command that asks, in its transaction; 0 outside of one.
        at: u32,
    },
    /// A message without an answer. Its envelope still returns to its sender's pool.
    OneWay(OneWay),
}

/// A message that nobody waits for an answer to.
#[derive(Debug)]
pub enum OneWay {
    /// From an owner to the home of a blocked client: the envelope's output is its reply.
    Served(ReplyAddress),
    /// From an owner to the home of a blocked client: a key is ready for its command, which uses
    /// keys of other shards. The home runs it.
    Forward(Box<Forward>),
    /// From the home to an owner: the command of [`OneWay::Forward`] is over, and so is all that
    /// it unblocked.
    ForwardDone(ForwardId),
    /// From the home to an owner: the client with this ticket no longer waits.
    Forget(u64),
    /// From an owner to itself: serve the keys of this ticket again, when their locks are free.
    Recheck(u64),
    /// From the home to an owner: the client with this id watches nothing more.
    Unwatch(u64),
}

/// A blocked client's command, for its home to run.
#[derive(Debug)]
pub struct Forward {
    /// The reply that the client waits for.
    pub to: ReplyAddress,
    /// Decides who serves the client.
    pub ticket: Arc<Ticket>,
    /// The argument that is the key which became ready.
    pub key_arg: usize,
    /// The type of value that the key must have.
    pub kind: Kind,
    /// The owner's number for it.
    pub id: ForwardId,
}

/// One part of a batch, with room for its replies.
///
/// ```text
///   home: take from pool -> push words -> post          (owned by the sender)
///   inbox of the owner                                  (owned by the queue)
///   owner: run, write replies -> answer                 (owned by the owner)
///   inbox of the home                                   (owned by the queue)
///   home: merge replies -> back to the pool
/// ```
#[derive(Debug)]
pub struct Envelope {
    /// The shard that sent it.
    pub home: u16,
    /// The shard that it goes to.
    pub owner: u16,
    /// Where its answer belongs, at home.
    pub reply_to: ReplyTo,
    /// Its place among the parts of its flight or transaction.
    pub part: u16,
    /// Place in the order of units with several parts; 0 when it is alone.
    pub sequence: u64,
    /// How many parts its unit has.
    pub parts: u16,
    /// When it was sent.
    pub sent: Moment,
    /// The request that it carries and that is traced.
    pub carried: Carried,
    /// The protocol of the replies.
    pub protocol: Protocol,
    /// What it asks for.
    pub work: Work,
    /// What a barrier's answer carries.
    pub body: Option<Bytes>,
    /// Its commands.
    pub items: Vec<Item>,
    text: Vec<u8>,
    spans: Vec<Span>,
    large: Vec<BytesMut>,
    /// The replies.
    pub output: Output,
    /// Where each reply ends.
    pub ends: Vec<Mark>,
    /// The commands that took long, by their places in the batch or transaction, with their
    /// nanoseconds.
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
            sent: Moment::default(),
            carried: Carried::default(),
            body: None,
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

    /// Returns an empty envelope from a shard to another.
    pub fn boxed(home: u16, owner: u16) -> Box<Envelope> {
        let mut envelope = Envelope::new();
        (envelope.home, envelope.owner) = (home, owner);
        envelope
    }

    /// Starts a command like `item`, with its first key in `slot`; its words follow.
    pub fn begin(&mut self, item: &Item, slot: u16) {
        let first = self.spans.len() as u32;
        self.items.push(Item { first, argc: 0, slot, ..*item });
    }

    /// The next word of the command begun last, copied.
    pub fn push_arg(&mut self, word: &[u8]) {
        self.spans.push(Span::text(self.text.len(), word.len()));
        self.text.extend_from_slice(word);
        self.items.last_mut().expect("a command was begun").argc += 1;
    }

    /// The next word of the command begun last, with its buffer.
    pub fn push_large(&mut self, word: BytesMut) {
        self.spans.push(Span::large(self.large.len(), word.len()));
        self.large.push(word);
        self.items.last_mut().expect("a command was begun").argc += 1;
    }

    /// What running it needs, side by side: commands, words, and where the replies go.
    pub fn parts(&mut self) -> (&[Item], BatchArgs<'_>, &mut Output, &mut Vec<Mark>) {
        let batch_args = BatchArgs { text: &self.text, spans: &self.spans, large: &mut self.large };
        (&self.items, batch_args, &mut self.output, &mut self.ends)
    }

    /// A word of one of its commands; empty if its run has taken it.
    pub fn arg(&self, command: usize, arg: usize) -> &[u8] {
        let item = self.items[command];
        assert!(arg < item.argc as usize);
        let span = self.spans[item.first as usize + arg];
        match span.large_index() {
            Some(index) => &self.large[index],
            None => &self.text[span.start()..span.start() + span.len()],
        }
    }

    /// Returns the round of a transaction that it carries.
    pub fn txn(&self) -> Option<&TxnPart> {
        match &self.work {
            Work::Transaction(part) => Some(part),
            _ => None,
        }
    }

    /// Returns the round of a transaction that it carries, to be changed. Panics without one.
    pub fn txn_mut(&mut self) -> &mut TxnPart {
        match &mut self.work {
            Work::Transaction(part) => part,
            work => unreachable!("{work:?} is no part of a transaction"),
        }
    }

    /// Returns whether its work needs nothing but the owner's partition, so that whoever holds that
    /// can do it.
    pub fn is_for_partition(&self) -> bool {
        matches!(self.work, Work::Batch | Work::Transaction(_))
    }

    /// Returns whether another round of its transaction comes to the same shard: then its credit stays
    /// taken.
    pub fn keeps_credit(&self) -> bool {
        self.txn().is_some_and(|part| part.stage.has_next())
    }

    /// The reply to command `at`, as the marks before and after it.
    pub fn reply(&self, at: usize) -> (Mark, Mark) {
        let start = at.checked_sub(1).map_or(Mark::default(), |before| self.ends[before]);
        (start, self.ends[at])
    }

    /// Empties it of commands, for the next round of its transaction; replies stay.
    pub fn next_round(&mut self) {
        self.items.clear();
        self.spans.clear();
        self.large.clear();
        self.text.clear();
    }

    /// Empties it of everything but what it carries for its transaction.
    pub fn drop_replies(&mut self) {
        self.next_round();
        self.output.clear();
        self.ends.clear();
    }

    /// Empties it for reuse, and lets go of memory beyond what a pooled envelope may keep.
    pub(super) fn recycle(&mut self) {
        self.items.clear();
        self.spans.clear();
        self.large.clear();
        self.text.clear();
        self.text.shrink_to(POOLED_BYTES_MAX);
        self.spans.shrink_to(POOLED_BYTES_MAX / size_of::<Span>());
        self.output.clear();
        self.ends.clear();
        self.spent.clear();
        self.work = Work::Batch;
        self.carried = Carried::default();
        self.body = None;
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
