//! What a partition hands to the thread that holds it: answers, and messages to other shards.

use super::partition::Partition;
use crate::mesh::{ClientRef, Envelope, Message, OneWay, Work};

/// Something to be sent, or to be done by the shard of the partition.
#[derive(Debug)]
pub enum Outgoing {
    /// The answer to an envelope. Whoever holds the partition can send it: its place in the home's
    /// inbox was reserved when the envelope was posted.
    Answer(Box<Envelope>),
    /// A message to another shard. It needs a credit of the partition's own shard.
    OneWay {
        /// The shard that gets it.
        to: u16,
        /// The message, with the command and the reply that go with it.
        message: Box<Envelope>,
    },
    /// The replies of a connection of the partition's own shard may be sent now.
    Release(ClientRef),
}

impl Partition {
    /// Takes the next answer or message.
    pub fn take_outgoing(&mut self) -> Option<Outgoing> {
        self.outgoing.pop_front()
    }

    /// Takes the next answer, if no message that only the partition's own shard can send comes
    /// before it.
    pub fn take_answer(&mut self) -> Option<Box<Envelope>> {
        let at = self.outgoing.iter().position(|it| matches!(it, Outgoing::Answer(_)))?;
        match self.outgoing.remove(at) {
            Some(Outgoing::Answer(envelope)) => Some(envelope),
            _ => unreachable!("it was just found"),
        }
    }

    /// Returns whether something waits for the partition's own shard.
    pub fn has_work_for_shard(&self) -> bool {
        !self.outgoing.is_empty() || !self.set_aside.is_empty()
    }

    /// Keeps a message for the partition's own shard, behind those that it keeps already.
    pub fn set_aside(&mut self, message: Message) {
        self.set_aside.push_back(message);
    }

    /// Returns whether a part was set aside: then what was posted behind it must not run before its
    /// own shard has dealt with it.
    pub fn is_barred(&self) -> bool {
        self.set_aside.iter().any(|message| matches!(message, Message::Part(_)))
    }

    /// Takes the oldest message that was kept for the shard.
    pub fn take_set_aside(&mut self) -> Option<Message> {
        self.set_aside.pop_front()
    }

    /// Returns how many messages are kept for the shard.
    pub fn set_aside_len(&self) -> usize {
        self.set_aside.len()
    }

    /// Sends an answer.
    pub(super) fn answer(&mut self, mut part: Box<Envelope>) {
        if part.carried.posted_ns > 0 {
            part.carried.posted_ns = self.env.clock_ns().max(1);
        }
        part.sent = self.moment();
        self.outgoing.push_back(Outgoing::Answer(part));
    }

    /// Sends a message that nobody answers.
    pub(super) fn send_one_way(&mut self, to: u16, mut envelope: Box<Envelope>, what: OneWay) {
        envelope.work = Work::OneWay(what);
        self.outgoing.push_back(Outgoing::OneWay { to, message: envelope });
    }
}
