//! Borrowing: this shard runs the work that it has posted to a partition whose own shard is parked.
//! Hot.
//!
//! ```text
//!   posted to k, and no shard holds k's partition
//!     |--much work, or work for k's own thread--> ring
//!     '--little work--> hold --> drain k's inbox --> put back, let go --> check inbox again
//!                                  |  part for the partition: run; its reply to its home's inbox
//!                                  '  anything else: set aside, in order, for k's own thread
//! ```
//! A wake-up costs some microseconds on both sides, and a few commands cost less. A reply to this
//! shard's own connection goes through this shard's inbox. So it lands behind the messages there,
//! which this shard's next local command must see. Under a test's scheduler any shard may borrow
//! any free partition, and give it back at any time.

use crate::mesh::Message;
use crate::partition::{Outgoing, Partition};
use crate::shard::limits::{BORROW_COMMANDS_MAX, BORROW_NS_MAX, FREE_NS_MAX};
use crate::shard::state::Shard;
use std::collections::VecDeque;

impl Shard {
    /// Handles the shards that were posted to in this turn: borrows their partitions, or wakes
    /// them. Returns whether replies may be in the inbox.
    pub(in crate::shard) fn see_to_posted(&mut self) -> bool {
        let mut posted = std::mem::take(&mut self.remote.posted);
        self.port.take_posted(&mut posted);
        let mut has_borrowed = false;
        let mut rung = 0;
        for posted in posted.drain(..) {
            let is_little = !posted.needs_shard && posted.commands <= BORROW_COMMANDS_MAX;
            let borrows = self.port.mesh().borrows(is_little);
            if borrows && self.port.is_free(posted.shard) && self.borrow(posted.shard) {
                has_borrowed = true;
                if !posted.is_nudged {
                    continue;
                }
            }
            rung += u64::from(self.port.wake(posted));
        }
        self.remote.posted = posted;
        has_borrowed |= self.see_to_evicting();
        if let Some(shard) = self.port.mesh().stray()
            && shard != self.env.me
        {
            has_borrowed |= self.borrow(shard);
        }
        self.env.board.counters.doorbells_rung.add(rung + self.port.ring());
        has_borrowed
    }

    /// Handles the shards that an eviction was left to: borrows the partitions of parked ones,
    /// which evict then. Returns whether it has borrowed any.
    fn see_to_evicting(&mut self) -> bool {
        let mut has_borrowed = false;
        while let Some(shard) = self.remote.evicting.pop() {
            let is_done = !self.env.process.room.is_owed(shard);
            // An awake shard evicts at the end of its turn.
            if is_done || !self.port.is_free(shard) {
                continue;
            }
            if self.port.mesh().borrows(true) && self.borrow(shard) {
                has_borrowed = true;
            } else {
                self.port.mesh().ring_bell(shard);
            }
        }
        has_borrowed
    }

    /// Runs the messages in the inbox of a parked shard on its partition. Returns false if another
    /// shard holds the partition.
    fn borrow(&mut self, shard: usize) -> bool {
        if !self.port.mesh().try_hold(shard) {
            return false;
        }
        let mut partition = self.berths.take(shard);
        let feed = &self.replication.feed;
        feed.wake(shard, partition.journal_mut());
        partition.begin_borrowed(self.env.now);
        if self.port.mesh().rules().whole_inbox {
            self.drain_borrowed(shard, &mut partition);
        } else {
            self.drain_own_first(shard, &mut partition);
        }
        partition.free_owed();
        self.env.board.counters.borrows.add(1);
        self.give_back(shard, partition);
        true
    }

    /// Runs the parts in the inbox of a borrowed partition, in order and for a bounded time.
    fn drain_borrowed(&mut self, shard: usize, partition: &mut Partition) {
        let mut until_ns = self.env.now.monotonic_ns;
        let mut stop_ns = None;
        while let Some(message) = self.next_borrowed(shard, partition) {
            self.run_borrowed(message, partition);
            until_ns = partition.env().ran_until_ns(until_ns);
            // The time counts from the end of the first part, which runs in any case.
            let stop_ns = *stop_ns.get_or_insert(until_ns + BORROW_NS_MAX);
            if until_ns > stop_ns || self.port.mesh().stops_borrowing() {
                break;
            }
        }
    }

    /// Runs the parts in the inbox of a borrowed partition: first the parts that this shard has
    /// posted, out of order. Used only without the rule `whole_inbox`.
    #[cold]
    fn drain_own_first(&mut self, shard: usize, partition: &mut Partition) {
        let mesh = self.port.shared_mesh();
        let mut taken: VecDeque<_> = std::iter::from_fn(|| mesh.receive(shard)).collect();
        let is_part = |message: &Message| match message {
            Message::Part(part) => part.is_for_partition(),
            _ => false,
        };
        let is_own = |message: &Message| match message {
            Message::Part(part) => part.is_for_partition() && usize::from(part.home) == self.env.me,
            _ => false,
        };
        let mut order: Vec<Message> = Vec::new();
        while let Some(at) = taken.iter().rposition(is_own) {
            order.extend(taken.remove(at));
        }
        order.extend(taken);
        for message in order {
            if partition.is_barred() || !is_part(&message) {
                partition.set_aside(message);
            } else {
                self.run_borrowed(message, partition);
            }
        }
    }

    /// Returns the next part in a borrowed partition's inbox that this shard can run. Messages for
    /// the partition's own shard are set aside. Returns none if no such part is left.
    fn next_borrowed(&mut self, shard: usize, partition: &mut Partition) -> Option<Message> {
        // A request for the shard's own thread must run before later messages.
        while !partition.is_barred() {
            let message = self.port.mesh().receive(shard)?;
            match &message {
                Message::Part(part) if part.is_for_partition() => return Some(message),
                _ => partition.set_aside(message),
            }
        }
        None
    }

    fn run_borrowed(&mut self, message: Message, partition: &mut Partition) {
        let Message::Part(mut part) = message else { unreachable!("only parts are run") };
        partition.heed_time(part.sent.unix_us);
        if part.carried.posted_ns > 0 {
            partition.trace_arrival(&mut part);
        }
        let first = partition.outgoing_len();
        partition.arrive(part);
        self.send_answers(partition, first);
        self.port.mesh().point();
    }

    /// Sends the replies of a borrowed partition from place `first` of its queue on. What needs its
    /// own shard stays.
    fn send_answers(&mut self, partition: &mut Partition, first: usize) {
        while let Some(outgoing) = partition.take_answer(first) {
            let answer = match outgoing {
                Outgoing::Answer(answer) => answer,
                Outgoing::Credit(home) => {
                    self.port.give_credit(home, partition.env().me);
                    continue;
                }
                _ => unreachable!("the partition's own shard sends other messages"),
            };
            if usize::from(answer.home) == self.env.me && !self.port.mesh().rules().own_inbox_first
            {
                self.take_reply(answer);
            } else {
                self.port.answer_far(answer);
            }
        }
    }

    /// Puts a borrowed partition back, and wakes its shard if it has work.
    fn give_back(&mut self, shard: usize, mut partition: Box<Partition>) {
        let mut has_left = partition.has_work_for_shard();
        if partition.has_removed() {
            has_left |= partition.free_removed(self.env.clock_ns() + FREE_NS_MAX);
        }
        let feed = &self.replication.feed;
        if feed.is_on() {
            partition.write_expired();
            let merged = feed.publish(shard, partition.journal_mut());
            self.after_merge(merged);
            // Messages that were set aside were posted before the present moment. So the feed must
            // not promise the present moment in the name of their shard.
            if !has_left {
                let (may_park, merged) = self.replication.feed.park(shard, partition.journal_mut());
                has_left = !may_park;
                self.after_merge(merged);
            }
        }
        self.berths.put(partition);
        let rung = self.port.mesh().let_go(shard, has_left);
        self.env.board.counters.doorbells_rung.add(u64::from(rung));
    }
}
