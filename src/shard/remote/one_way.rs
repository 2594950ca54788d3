//! One-way messages: sending them, and handling received ones.

use crate::mesh::{Envelope, OneWay, ReplyTo, Work};
use crate::shard::state::Shard;

impl Shard {
    /// Sends a one-way message to a shard.
    pub(in crate::shard) fn post_one_way(&mut self, shard: u16, what: OneWay) {
        let mut envelope = self.port.envelope(usize::from(shard));
        envelope.work = Work::OneWay(what);
        self.send_one_way(envelope);
    }

    /// Sends a one-way message. Handles a message to this shard at once.
    pub(in crate::shard) fn send_one_way(&mut self, envelope: Box<Envelope>) {
        if usize::from(envelope.owner) == self.env.me {
            return self.take_one_way(envelope);
        }
        let sent = self.partition.moment();
        self.port.post(&mut vec![envelope], sent);
    }

    /// Handles a one-way message.
    pub(in crate::shard) fn take_one_way(&mut self, mut part: Box<Envelope>) {
        let Work::OneWay(what) = std::mem::replace(&mut part.work, Work::Batch) else {
            unreachable!("checked before");
        };
        match what {
            OneWay::Served(to) => {
                let output = std::mem::take(&mut part.output);
                self.log_served(to.client, &part);
                self.land_served(to, part.home, output);
            }
            OneWay::Forward(forward) => self.take_forward(*forward, &mut part),
            OneWay::ForwardDone(id) => self.partition.end_forward(id),
            OneWay::ForwardDelayed(id, ticket) => self.partition.delay_forwarded(id, ticket),
            OneWay::Release(hold, holder) => self.release(part.home, hold, holder),
            OneWay::Forget(ticket) => self.partition.forget_client(ticket),
            OneWay::MovedWaiters(moved) => self.partition.take_moved_waiters(moved),
            OneWay::Unwatch(client) => self.partition.unwatch(client),
            OneWay::Recheck(_) => unreachable!("a recheck stays in its partition"),
        }
        self.send_outgoing();
        part.reply_to = ReplyTo::Nobody;
        if usize::from(part.home) == self.env.me {
            self.port.recycle(part);
        } else {
            part.sent = self.partition.moment();
            self.port.answer_far(part);
        }
    }
}
