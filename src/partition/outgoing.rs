//! Replies and messages that a partition passes to the thread that holds it.

use super::message::Outgoing;
use super::partition::Partition;
use crate::mesh::{ClientRef, Envelope, ForwardId, HoldId, Holder, Message, OneWay, Told, Work};

impl Partition {
    /// Takes the next reply or message.
    pub fn take_outgoing(&mut self) -> Option<Outgoing> {
        self.outgoing.pop_front()
    }

    /// Returns the number of replies and messages that wait to be taken.
    pub fn outgoing_len(&self) -> usize {
        self.outgoing.len()
    }

    /// Takes the next reply or credit to another shard, from place `first` on. What needs the
    /// partition's own shard stays in the queue, in its order: a reply that waits for a forwarded
    /// command must land there before that command is handled. A reply to the own shard that
    /// follows messages in its inbox is taken too.
    pub fn take_answer(&mut self, first: usize) -> Option<Outgoing> {
        let me = self.env.me as u16;
        let is_for_any = |outgoing: &Outgoing| match outgoing {
            Outgoing::Answer(answer) => answer.home != me || self.follows_messages(answer),
            Outgoing::Credit(_) => true,
            Outgoing::OneWay(_) | Outgoing::Told(_) => false,
        };
        let at = self.outgoing.iter().skip(first).position(is_for_any)?;
        self.outgoing.remove(first + at)
    }

    /// Returns whether a reply to the partition's own shard has to come behind messages of pub/sub
    /// that the partition has published, and that are in the inbox.
    pub fn follows_messages(&self, answer: &Envelope) -> bool {
        answer.hold.is_none() && self.env.process.pubsub.awaits_own(self.env.me)
    }

    /// Gives the credit of a part back, because it waits and `waiting` parts wait already. Few
    /// waiting parts keep their credits, because each message costs more than it helps.
    pub(super) fn return_credit(&mut self, part: &mut Envelope, waiting: usize) {
        if part.has_credit && waiting >= self.mesh.waiting_with_credit_max() {
            part.has_credit = false;
            self.outgoing.push_back(Outgoing::Credit(part.home));
        }
    }

    /// Returns whether work waits for the partition's own shard.
    pub fn has_work_for_shard(&self) -> bool {
        !self.outgoing.is_empty() || !self.set_aside.is_empty() || self.has_slices()
    }

    /// Sets a message aside for the partition's own shard, behind earlier ones. A message of
    /// pub/sub has its place among the replies to the shard's connections. So earlier replies are
    /// set aside too, and later ones stay behind, see [`Partition::has_published_aside`].
    pub fn set_aside(&mut self, message: Message) {
        if matches!(message, Message::Published(_)) {
            self.set_own_answers_aside();
        }
        self.set_aside.push_back(message);
    }

    /// Sets earlier replies to the own shard aside, with the invalidations that go ahead of them.
    #[cold]
    fn set_own_answers_aside(&mut self) {
        for outgoing in std::mem::take(&mut self.outgoing) {
            match outgoing {
                Outgoing::Answer(answer) if usize::from(answer.home) == self.env.me => {
                    self.set_aside.push_back(Message::Reply(answer));
                }
                Outgoing::Told(told) => {
                    let told = Box::new(Told::Invalid(0, told));
                    self.set_aside.push_back(Message::Told(told));
                }
                other => self.outgoing.push_back(other),
            }
        }
    }

    /// Returns whether messages of pub/sub were set aside. If so, all that was set aside comes
    /// before the replies that wait to be sent.
    pub fn has_published_aside(&self) -> bool {
        self.set_aside.iter().any(|message| matches!(message, Message::Published(_)))
    }

    /// Returns whether a part was set aside. Later messages must then not run before the
    /// partition's own shard has handled that part.
    pub fn is_barred(&self) -> bool {
        self.set_aside.iter().any(|message| matches!(message, Message::Part(_)))
    }

    /// Takes the oldest message that was set aside.
    pub fn take_set_aside(&mut self) -> Option<Message> {
        self.set_aside.pop_front()
    }

    /// Returns the number of messages that were set aside.
    pub fn set_aside_len(&self) -> usize {
        self.set_aside.len()
    }

    /// Sends a reply.
    pub(super) fn answer(&mut self, mut part: Box<Envelope>) {
        if part.carried.posted_ns > 0 {
            part.carried.posted_ns = self.env.clock_ns().max(1);
        }
        part.sent = self.moment();
        self.outgoing.push_back(Outgoing::Answer(part));
    }

    /// Moves the first reply of a unit before the messages to the clients that the unit unblocked.
    /// The unit's messages begin at `first`. A single Redis logs commands in that order.
    /// Invalidations stay ahead of the reply: the next command of a transaction may change what its
    /// client is told.
    pub(super) fn put_answer_first(&mut self, first: usize) {
        let is_answer = |outgoing: &Outgoing| matches!(outgoing, Outgoing::Answer(_));
        let Some(at) = self.outgoing.iter().skip(first).position(is_answer) else { return };
        if at > 0 {
            let before = self.outgoing.make_contiguous();
            before[first..=first + at].sort_by_key(|outgoing| match outgoing {
                Outgoing::Told(_) => 0,
                Outgoing::Answer(_) => 1,
                Outgoing::OneWay(_) | Outgoing::Credit(_) => 2,
            });
        }
    }

    /// Sends a one-way message.
    pub(super) fn send_one_way(&mut self, mut envelope: Box<Envelope>, what: OneWay) {
        envelope.work = Work::OneWay(what);
        self.outgoing.push_back(Outgoing::OneWay(envelope));
    }

    /// Sends the reply of a part. At home it waits until the commands that the part forwarded have
    /// finished. A part whose locks stay does not wait, because those commands might wait for its
    /// locks.
    pub(super) fn answer_later(&mut self, mut part: Box<Envelope>) {
        if part.has_next_round() {
            self.deferred.begin();
        } else {
            part.hold = self.deferred.hold(|| part.reply_to.holder(part.home));
        }
        self.answer(part);
    }

    /// Returns a hold on the replies of a connection whose commands ran here, if they have
    /// forwarded others. It lasts until [`OneWay::Release`].
    #[inline]
    pub fn hold_connection(&mut self, client: ClientRef) -> Option<HoldId> {
        let home = self.env.me as u16;
        self.deferred.hold(|| Some(Holder { home, client, transaction: None }))
    }

    /// Records that a forwarded command has finished, with all commands that it unblocked.
    pub fn end_forward(&mut self, id: ForwardId) {
        if let Some((hold, holder)) = self.deferred.end(id) {
            let message = self.envelope(holder.home);
            self.send_one_way(message, OneWay::Release(hold, holder));
        }
    }
}
