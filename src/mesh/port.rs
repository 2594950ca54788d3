//! One shard's side of the mesh: its envelopes in progress, its credits, and the shards to wake.

use super::envelope::{Envelope, Moment};
use super::inbox::{Mesh, Message};
use super::told::Told;
use super::txn_part::Stage;
use super::{POOL_BYTES_MAX, POOL_ENVELOPES_MAX};
use crate::base::clock::Clock;
use crate::exec::Mode;
use std::sync::Arc;

/// What another shard received from this one since the last ring of the doorbells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    /// Number of the receiving shard.
    pub shard: usize,
    /// Number of commands for its partition.
    pub commands: u32,
    /// Whether the shard received something that only its own thread can do.
    pub needs_shard: bool,
    /// Whether some of it is not in the inbox, so that the holder of the partition does not find
    /// it.
    pub is_nudged: bool,
}

/// A shard's access to the mesh.
pub struct Port {
    mesh: Arc<Mesh>,
    clock: Clock,
    me: usize,
    /// The most credits in use per owner.
    credits_max: u32,
    /// Number of credits in use, per owner.
    credits_used: Vec<u32>,
    /// Number of envelopes in progress, with and without a credit.
    under_way: u32,
    /// Number of shards without credit.
    exhausted: usize,
    /// Shards that received a message since the last [`Port::take_posted`] or [`Port::ring`].
    posted: Vec<Posted>,
    // Boxed, because an envelope keeps its address from the pool through the inboxes and back.
    #[allow(clippy::vec_box)]
    pool: Vec<Box<Envelope>>,
    /// Bytes of memory that the envelopes in the pool keep.
    pool_bytes: usize,
}

impl Port {
    /// Creates the port of shard `me`.
    pub fn new(mesh: Arc<Mesh>, clock: Clock, me: usize) -> Port {
        let shards = mesh.shards();
        assert!(me < shards);
        let credits_max = mesh.bounds.credits_per_pair;
        Port {
            mesh,
            clock,
            me,
            credits_max,
            credits_used: vec![0; shards],
            under_way: 0,
            exhausted: 0,
            posted: Vec::with_capacity(shards),
            pool: Vec::new(),
            pool_bytes: 0,
        }
    }

    /// Returns a shared handle of the mesh.
    pub fn shared_mesh(&self) -> Arc<Mesh> {
        Arc::clone(&self.mesh)
    }

    /// Returns whether no shard holds the partition of `shard`.
    pub fn is_free(&self, shard: usize) -> bool {
        self.mesh.is_free(shard)
    }

    /// Returns the mesh of the port.
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// Returns the number of credits left to `owner`.
    pub fn credits(&self, owner: usize) -> usize {
        (self.credits_max - self.credits_used[owner]) as usize
    }

    /// Returns whether there is a credit to `owner`.
    pub fn has_credit(&self, owner: usize) -> bool {
        self.credits_used[owner] < self.credits_max
    }

    /// Returns whether there is a credit to every shard.
    #[inline]
    pub fn has_all_credits(&self) -> bool {
        self.exhausted == 0
    }

    /// Returns the number of envelopes that were sent and have not returned.
    pub fn under_way(&self) -> u32 {
        self.under_way
    }

    /// Returns an empty envelope to `owner`.
    pub fn envelope(&mut self, owner: usize) -> Box<Envelope> {
        let mut envelope = match self.pool.pop() {
            Some(envelope) => {
                self.pool_bytes -= envelope.kept_bytes();
                envelope
            }
            None => Envelope::new(),
        };
        envelope.home = self.me as u16;
        envelope.owner = owner as u16;
        envelope
    }

    /// Takes back an envelope whose replies have been used. Frees it if the pool is full.
    pub fn recycle(&mut self, mut envelope: Box<Envelope>) {
        if self.pool.len() == POOL_ENVELOPES_MAX {
            return;
        }
        envelope.recycle();
        let bytes = envelope.kept_bytes();
        if self.pool_bytes + bytes <= POOL_BYTES_MAX {
            self.pool_bytes += bytes;
            self.pool.push(envelope);
        }
    }

    /// Posts all parts of one unit, under the sequencer if there are several. Drains `parts` and
    /// stores `sent` in them. Each part takes a credit if there is one.
    // Boxed, because an envelope keeps its address on its way.
    #[allow(clippy::vec_box)]
    pub fn post(&mut self, parts: &mut Vec<Box<Envelope>>, sent: Moment) {
        for part in parts.iter_mut() {
            let owner = usize::from(part.owner);
            part.has_credit = self.has_credit(owner);
            if part.has_credit {
                self.credits_used[owner] += 1;
                self.exhausted += usize::from(!self.has_credit(owner));
            }
        }
        self.push_unit(parts, sent);
    }

    /// Posts the next round of a transaction as one unit. It needs no credits.
    #[allow(clippy::vec_box)]
    pub fn post_next(&mut self, parts: &mut Vec<Box<Envelope>>, sent: Moment) {
        assert!(parts.iter().all(|part| part.txn().is_some()), "only a transaction has rounds");
        self.push_unit(parts, sent);
    }

    #[allow(clippy::vec_box)]
    fn push_unit(&mut self, parts: &mut Vec<Box<Envelope>>, mut sent: Moment) {
        let is_alone = parts.len() <= 1 || !self.mesh.rules.sequencer;
        let count = parts.len() as u16;
        self.under_way += u32::from(count);
        let mesh = &self.mesh;
        let sequence = if is_alone { 0 } else { mesh.sequencer.begin(|| mesh.point()) };
        if parts.len() > 1 {
            // The time of the whole unit. It is read as late as possible: no partition may have
            // judged an expiry at a later time before its part arrives.
            sent.unix_us = sent.unix_us.max(self.clock.unix_us());
        }
        let is_noted =
            sequence > 0 && mesh.partial.are_noted() && parts.iter().any(|part| part.may_change());
        let places = if parts.len() > 1 { count_places(parts) } else { 0 };
        for mut part in parts.drain(..) {
            let owner = usize::from(part.owner);
            part.sequence = sequence;
            part.parts = count;
            part.places = places;
            part.is_noted = is_noted;
            part.sent = sent;
            let needs_shard = !part.is_for_partition();
            note_posted(&mut self.posted, self.me, owner, part.items.len() as u32, needs_shard);
            self.mesh.push(owner, Message::Part(part));
        }
        if !is_alone {
            self.mesh.sequencer.end(sequence);
        }
    }

    /// Counts a part that begins on the shard's own partition without a way through its inbox.
    pub fn begin_here(&mut self, part: &mut Envelope, sent: Moment) {
        assert_eq!(usize::from(part.owner), self.me, "its keys are here");
        (part.sequence, part.parts, part.places, part.sent) = (0, 1, 0, sent);
        self.under_way += 1;
    }

    /// Takes the next message from the shard's own inbox, in the order of posting.
    pub fn receive(&mut self) -> Option<Message> {
        self.mesh.receive(self.me)
    }

    /// Frees the credit of an envelope that came home.
    pub fn take_home(&mut self, reply: &mut Envelope) {
        // A reply that a borrower has set aside for this shard was not sent.
        self.end_part(reply);
        assert!(self.under_way > 0, "a reply answers an envelope in progress");
        self.under_way -= 1;
        if std::mem::take(&mut reply.has_credit) {
            self.take_credit(usize::from(reply.owner));
        }
    }

    /// Gives the credit of a part that waits at its owner `from` back to its home, through the
    /// home's inbox.
    pub fn give_credit(&mut self, home: u16, from: usize) {
        let home = usize::from(home);
        self.mesh.push(home, Message::Credit(from as u16));
        note_posted(&mut self.posted, self.me, home, 0, true);
    }

    /// Takes a credit to `owner` back.
    pub fn take_credit(&mut self, owner: usize) {
        assert!(self.credits_used[owner] > 0, "only a used credit comes back");
        self.exhausted -= usize::from(!self.has_credit(owner));
        self.credits_used[owner] -= 1;
    }

    /// Sends an answered envelope home. Returns it at once if its home is this shard.
    pub fn answer(&mut self, mut envelope: Box<Envelope>) -> Option<Box<Envelope>> {
        self.end_part(&mut envelope);
        let home = usize::from(envelope.home);
        if home == self.me {
            self.take_home(&mut envelope);
            return Some(envelope);
        }
        self.answer_far(envelope);
        None
    }

    /// Notes that a part has run, and tells the shards that wait for this.
    #[inline]
    fn end_part(&self, part: &mut Envelope) {
        for shard in self.mesh.partial.end(part) {
            self.mesh.send_told(shard, Told::Settled);
        }
    }

    /// Sends an answered envelope through its home's inbox, even if the home is this shard.
    pub fn answer_far(&mut self, mut envelope: Box<Envelope>) {
        self.end_part(&mut envelope);
        let home = usize::from(envelope.home);
        self.mesh.push(home, Message::Reply(envelope));
        note_posted(&mut self.posted, self.me, home, 0, true);
    }

    /// Moves the shards that received messages since the last call to `posted`.
    pub fn take_posted(&mut self, posted: &mut Vec<Posted>) {
        posted.append(&mut self.posted);
    }

    /// Wakes a shard if no shard holds its partition, because a holder finds the messages. A nudged
    /// shard is woken in any case, because the holder checks only the inbox. Returns whether it
    /// rang a doorbell.
    pub fn wake(&self, posted: Posted) -> bool {
        let is_looked_after = !posted.is_nudged && !self.mesh.is_free(posted.shard);
        !is_looked_after && self.mesh.wake(posted.shard)
    }

    /// Wakes all shards that were posted to, like [`Port::wake`]. Returns the number of doorbells
    /// rung.
    pub fn ring(&mut self) -> u64 {
        let mut rung = 0;
        while let Some(posted) = self.posted.pop() {
            rung += u64::from(self.wake(posted));
        }
        rung
    }

    /// Records that the shard is about to block, and lets its partition go. The caller has already
    /// put the partition where other shards find it. Returns false if the inbox has a message; the
    /// shard then still holds its partition.
    pub fn park(&self) -> bool {
        self.mesh.park(self.me)
    }

    /// Lets the shard's partition go while the shard polls its inbox and its sockets. The caller
    /// takes it back before it parks. Returns false like [`Port::park`].
    pub fn rest(&self) -> bool {
        self.mesh.rest(self.me)
    }

    /// Takes the shard's partition back after blocking or polling. Returns false while another
    /// shard holds it. That shard rings after it has let go.
    pub fn hold_or_ask(&self) -> bool {
        self.mesh.hold_or_ask(self.me)
    }

    /// Records that the shard is awake.
    pub fn unpark(&self) {
        self.mesh.unpark(self.me);
    }

    /// Returns the number of messages in the shard's own inbox.
    pub fn depth(&self) -> usize {
        self.mesh.depth(self.me)
    }

    /// Records that another shard has work that is not in its inbox, so that it is woken.
    pub fn nudge(&mut self, shard: usize) {
        note_posted(&mut self.posted, self.me, shard, 0, true);
        if let Some(posted) = self.posted.iter_mut().find(|posted| posted.shard == shard) {
            posted.is_nudged = true;
        }
    }
}

/// Returns the number of parts of a unit that get places in the journals: all, if any of them may
/// write. The parts that only read show which units the writes must follow. The later rounds of a
/// transaction get none.
fn count_places(parts: &[Box<Envelope>]) -> u16 {
    let is_exclusive = |part: &Envelope| {
        part.txn().is_some_and(|txn| {
            txn.key_locks.iter().any(|key_lock| key_lock.mode == Mode::Exclusive)
                || txn.key_set.as_ref().is_some_and(|set| set.is_exclusive())
        })
    };
    let stage = parts[0].txn().map_or(Stage::OneShot, |txn| txn.stage);
    let count = match stage {
        Stage::Acquire if parts.iter().any(|part| is_exclusive(part)) => parts.len(),
        Stage::Acquire | Stage::Continue | Stage::Release => 0,
        Stage::OneShot if parts.iter().any(|part| part.may_write()) => parts.len(),
        Stage::OneShot => 0,
    };
    count as u16
}

fn note_posted(all: &mut Vec<Posted>, me: usize, shard: usize, commands: u32, needs_shard: bool) {
    if shard == me {
        return;
    }
    match all.iter_mut().find(|posted| posted.shard == shard) {
        Some(posted) => {
            posted.commands += commands;
            posted.needs_shard |= needs_shard;
        }
        None => all.push(Posted { shard, commands, needs_shard, is_nudged: false }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::{POOLED_BYTES_MAX, Rules};

    #[test]
    fn the_pool_keeps_bounded_memory() {
        let mut port =
            Port::new(Mesh::new(1, Rules::default(), None), crate::base::clock::Clock::System, 0);
        let mut huge = port.envelope(0);
        huge.spent = Vec::with_capacity(1 << 20);
        huge.ends = Vec::with_capacity(1 << 20);
        huge.items = Vec::with_capacity(1 << 20);
        port.recycle(huge);
        assert_eq!(port.pool.len(), 1, "it is slimmed and kept");
        assert!(port.pool_bytes < 4 * POOLED_BYTES_MAX, "{}", port.pool_bytes);

        let mut large: Vec<_> = (0..POOL_ENVELOPES_MAX).map(|_| port.envelope(0)).collect();
        assert_eq!(port.pool_bytes, 0);
        large.iter_mut().for_each(|envelope| envelope.spent.reserve(1_000));
        large.into_iter().for_each(|envelope| port.recycle(envelope));
        assert!(port.pool_bytes <= POOL_BYTES_MAX);
        assert!(!port.pool.is_empty() && port.pool.len() < POOL_ENVELOPES_MAX);

        let small: Vec<_> = (0..2 * POOL_ENVELOPES_MAX).map(|_| Envelope::new()).collect();
        let large: Vec<_> = (0..port.pool.len()).map(|_| port.envelope(0)).collect();
        drop(large);
        assert_eq!(port.pool_bytes, 0);
        small.into_iter().for_each(|envelope| port.recycle(envelope));
        assert_eq!(port.pool.len(), POOL_ENVELOPES_MAX);
    }
}
