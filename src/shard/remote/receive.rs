//! The inbox: passes parts to the partition and lands replies. Hot.

use crate::mesh::{Envelope, Message, Work};
use crate::partition::Outgoing;
use crate::shard::state::Shard;

impl Shard {
    /// Takes every message that was in the inbox at its start, and messages that a borrower has set
    /// aside for this shard. Returns whether there was any.
    pub(in crate::shard) fn drain_inbox(&mut self) -> bool {
        let clear = self.port.mesh().partial().clear();
        let kept = self.partition.set_aside_len();
        let tail = self.port.depth();
        if kept + tail > 0 {
            self.env.board.gauges.inbox_depth.set(tail as i64);
            self.env.board.inbox.see(tail as u64, self.env.process.boards.generation());
        }
        let is_published = kept > 0 && self.partition.has_published_aside();
        if !is_published {
            self.send_outgoing();
        }
        for _ in 0..kept {
            let Some(message) = self.partition.take_set_aside() else { break };
            self.dispatch(message);
        }
        if is_published {
            self.send_outgoing();
        }
        for _ in 0..tail {
            let Some(message) = self.port.receive() else { break };
            self.dispatch(message);
            self.port.mesh().point();
        }
        self.settle_units(clear);
        if !self.remote.torn.is_empty() {
            self.repeat_surveys();
        }
        if self.queues.stalled > 0 {
            self.unstall();
        }
        kept + tail > 0
    }

    /// Returns whether messages that this shard has published are in its inbox.
    #[inline]
    pub(in crate::shard) fn awaits_own_messages(&self) -> bool {
        self.env.process.pubsub.awaits_own(self.env.me)
    }

    /// Handles one message.
    fn dispatch(&mut self, message: Message) {
        match message {
            Message::Part(mut part) => {
                self.partition.heed_time(part.sent.unix_us);
                if part.carried.posted_ns > 0 {
                    self.partition.trace_arrival(&mut part);
                }
                self.take_part(part);
                self.send_outgoing();
            }
            Message::Reply(reply) => self.take_reply(reply),
            Message::Handover(handover) => self.adopt(*handover),
            Message::Credit(owner) => self.port.take_credit(usize::from(owner)),
            Message::Published(message) => self.deliver(&message),
            Message::Told(told) => {
                self.port.mesh().took_told(self.env.me, &told);
                self.take_told(*told);
            }
        }
    }

    fn take_part(&mut self, part: Box<Envelope>) {
        match &part.work {
            Work::Control { request, .. } if !request.is_of_a_moment() => {
                if let Some(part) = self.partition.take_request(part) {
                    self.answer_request(part);
                }
            }
            Work::OneWay(_) => self.take_one_way(part),
            Work::Batch | Work::Attempt(_) | Work::Transaction(_) | Work::Control { .. } => {
                self.partition.arrive(part);
            }
            Work::Blocked(_) => unreachable!("Work::Blocked is a reply"),
            Work::Walk(_) => unreachable!("Work::Walk stays at the owner"),
        }
    }

    /// Takes a reply that has come home.
    pub(super) fn take_reply(&mut self, mut reply: Box<Envelope>) {
        self.port.take_home(&mut reply);
        let clock = &mut self.partition.journal_mut().clock;
        clock.answered(reply.sent.timestamp);
        clock.learn_written(reply.sent.written);
        self.partition.heed_time(reply.sent.unix_us);
        if reply.carried.posted_ns > 0 {
            self.trace_return(&reply);
        }
        self.land(reply);
    }

    /// Sends the outgoing messages of the partition.
    #[inline]
    pub(in crate::shard) fn send_outgoing(&mut self) {
        while let Some(outgoing) = self.partition.take_outgoing() {
            match outgoing {
                Outgoing::Answer(answer) if self.partition.follows_messages(&answer) => {
                    self.port.answer_far(answer);
                }
                Outgoing::Answer(answer) => {
                    if let Some(own) = self.port.answer(answer) {
                        self.land(own);
                    }
                }
                Outgoing::OneWay(message) => self.send_one_way(message),
                Outgoing::Told(invalidations) => {
                    self.port.mesh().count_own_told(self.env.me, &invalidations, false);
                    self.tell_own(&invalidations);
                }
                Outgoing::Credit(home) if usize::from(home) == self.env.me => {
                    self.port.take_credit(self.env.me);
                }
                Outgoing::Credit(home) => self.port.give_credit(home, self.env.me),
            }
        }
    }
}
