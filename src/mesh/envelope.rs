//! What travels between shards: the part of one batch that belongs to one shard, there and back.

use super::POOLED_BYTES_MAX;
use super::txn_part::TxnPart;
use crate::exec::{BatchArgs, Item, Request, Ticket, Wait};
use crate::resp::{Mark, Output, Protocol, Span};
use crate::value::Kind;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;

/// A time in two forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The sender's last stamp for the feed.
    pub stamp: u64,
    /// The sender's Unix time, microseconds: who takes the envelope is not earlier.
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

/// What an envelope asks for.
#[derive(Debug)]
pub enum Work {
    /// Its commands are to be run.
    Commands,
    /// Something that is asked of the shard itself.
    Ask(Request),
    /// Its only command is to be run, and may wait.
    Try(Arc<Ticket>),
    /// The answer to that: the command waits, and the owner knows it.
    Waits(Box<(Arc<Ticket>, Wait)>),
    /// From an owner to the home of a client that waited: this is its reply.
    Served,
    /// The same: the client's command could be served by the key of this word, which has a value of
    /// this type, but uses keys of other shards. Its home is to run it. Last the owner's number for
    /// that.
    Move(Arc<Ticket>, usize, Kind, u64),
    /// The client with this ticket waits no more.
    Forget(u64),
    /// What the [`Work::Move`] of this number has asked for is over, and all that it has led to.
    Moved(u64),
    /// From an owner to itself: what waits for a key of this ticket's command is looked at again
    /// when nothing is in its way.
    Recheck(u64),
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
    /// The connection at home, with the generation of its number.
    pub connection: u32,
    /// Tells a reused connection number from its predecessor.
    pub generation: u32,
    /// Which of the connection's flights it belongs to.
    pub flight: u32,
    /// Which part of the flight it is.
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
    /// What it asks for as a part of a transaction.
    pub hold: Option<Box<TxnPart>>,
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
            connection: 0,
            generation: 0,
            flight: 0,
            part: 0,
            sequence: 0,
            parts: 0,
            sent: Moment::default(),
            carried: Carried::default(),
            hold: None,
            body: None,
            protocol: Protocol::Two,
            work: Work::Commands,
            items: Vec::new(),
            text: Vec::new(),
            spans: Vec::new(),
            large: Vec::new(),
            output: Output::default(),
            ends: Vec::new(),
            spent: Vec::new(),
        })
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
    pub fn word(&self, command: usize, word: usize) -> &[u8] {
        let item = self.items[command];
        assert!(word < item.argc as usize);
        let span = self.spans[item.first as usize + word];
        match span.large_index() {
            Some(index) => &self.large[index],
            None => &self.text[span.start()..span.start() + span.len()],
        }
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
        self.work = Work::Commands;
        self.carried = Carried::default();
        self.hold = None;
        self.body = None;
        self.sequence = 0;
        // What is sent for nobody must not look like a part of the flight it was last on.
        self.flight = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pooled_envelope_is_of_no_flight() {
        let mut envelope = Envelope::new();
        envelope.flight = 7;
        envelope.recycle();
        assert_eq!(envelope.flight, 0);
    }
}
