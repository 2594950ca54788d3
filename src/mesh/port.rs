//! One shard's side of the mesh: what it has sent, what it may still send, whom it has to wake.

use super::envelope::{Envelope, Moment};
use super::inbox::{Mesh, Message};
use super::{CREDITS_PER_PAIR, POOL_ENVELOPES_MAX};
use std::sync::Arc;

/// A shard's way into the mesh.
pub struct Port {
    mesh: Arc<Mesh>,
    me: usize,
    /// Envelopes under way, per owner.
    under_way: Vec<u32>,
    under_way_total: u32,
    /// Shards that may get no more.
    exhausted: usize,
    /// Shards that got a message since the doorbells were rung last.
    to_wake: Vec<usize>,
    // Boxed, because an envelope keeps its address from the pool through the inboxes and back.
    #[allow(clippy::vec_box)]
    pool: Vec<Box<Envelope>>,
}

impl Port {
    /// The port of shard `me`.
    pub fn new(mesh: Arc<Mesh>, me: usize) -> Port {
        let shards = mesh.shards();
        assert!(me < shards);
        Port {
            mesh,
            me,
            under_way: vec![0; shards],
            under_way_total: 0,
            exhausted: 0,
            to_wake: Vec::with_capacity(shards),
            pool: Vec::new(),
        }
    }

    /// The mesh that it is a port of.
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// Whether one more envelope may go to `owner`.
    pub fn has_credit(&self, owner: usize) -> bool {
        self.under_way[owner] < CREDITS_PER_PAIR
    }

    /// Whether one more envelope may go to every shard.
    #[inline]
    pub fn has_all_credits(&self) -> bool {
        self.exhausted == 0
    }

    /// Envelopes sent whose replies have not come back.
    pub fn under_way(&self) -> u32 {
        self.under_way_total
    }

    /// An empty envelope to `owner`.
    pub fn envelope(&mut self, owner: usize) -> Box<Envelope> {
        let mut envelope = self.pool.pop().unwrap_or_else(Envelope::new);
        envelope.home = self.me as u16;
        envelope.owner = owner as u16;
        envelope
    }

    /// Takes back an envelope whose replies have been used.
    pub fn recycle(&mut self, mut envelope: Box<Envelope>) {
        if self.pool.len() < POOL_ENVELOPES_MAX {
            envelope.recycle();
            self.pool.push(envelope);
        }
    }

    /// Posts one unit: all of its parts, under the sequencer when there are several.
    /// The caller has made sure of the credits. Takes the envelopes out of `parts`. They carry
    /// when they were `sent`.
    pub fn post(&mut self, parts: impl ExactSizeIterator<Item = Box<Envelope>>, sent: Moment) {
        let rules = self.mesh.rules;
        let mesh = Arc::clone(&self.mesh);
        let alone = parts.len() == 1 || !rules.sequencer;
        let count = parts.len() as u16;
        let sequence = if alone { 0 } else { mesh.sequencer.begin(|| mesh.point()) };
        for mut part in parts {
            let owner = usize::from(part.owner);
            assert!(self.has_credit(owner), "credits are asked for before a post");
            self.under_way[owner] += 1;
            self.under_way_total += 1;
            self.exhausted += usize::from(!self.has_credit(owner));
            part.sequence = sequence;
            part.parts = count;
            part.sent = sent;
            self.mesh.push(owner, Message::Part(part));
            self.note_wake(owner);
        }
        if !alone {
            self.mesh.sequencer.end(sequence);
        }
    }

    /// Posts the next part of a transaction, which has kept its credit.
    pub fn post_next(&mut self, mut part: Box<Envelope>, sent: Moment) {
        assert!(part.hold.is_some(), "only a transaction has several rounds");
        part.sent = sent;
        let owner = usize::from(part.owner);
        self.mesh.push(owner, Message::Part(part));
        self.note_wake(owner);
    }

    /// The next message, in the order in which they were posted.
    pub fn receive(&mut self) -> Option<Message> {
        let message = self.mesh.pop(self.me)?;
        match &message {
            Message::Part(part) if part.sequence != 0 && self.mesh.rules.runnable_when_posted => {
                self.mesh.sequencer.wait_posted(part.sequence, || self.mesh.point());
            }
            Message::Reply(reply) if !keeps_credit(reply) => {
                self.settle_credit(usize::from(reply.owner));
            }
            _ => {}
        }
        Some(message)
    }

    /// Sends an answered envelope home, with the time. One of our own is given back at once.
    pub fn answer(&mut self, mut envelope: Box<Envelope>, sent: Moment) -> Option<Box<Envelope>> {
        envelope.sent = sent;
        let home = usize::from(envelope.home);
        if home == self.me {
            if !keeps_credit(&envelope) {
                self.settle_credit(self.me);
            }
            return Some(envelope);
        }
        self.mesh.push(home, Message::Reply(envelope));
        self.note_wake(home);
        None
    }

    /// Wakes the shards that got something and are parked; returns how many bells were rung.
    pub fn ring(&mut self) -> u64 {
        let mut rung = 0;
        for shard in self.to_wake.drain(..) {
            rung += u64::from(self.mesh.wake(shard));
        }
        rung
    }

    /// Announces that the shard is about to block; false when a message is there.
    pub fn park(&self) -> bool {
        self.mesh.park(self.me)
    }

    /// The shard is awake again.
    pub fn unpark(&self) {
        self.mesh.unpark(self.me);
    }

    /// Messages waiting now.
    pub fn depth(&self) -> usize {
        self.mesh.depth(self.me)
    }

    fn settle_credit(&mut self, owner: usize) {
        assert!(self.under_way[owner] > 0, "a reply answers an envelope under way");
        self.exhausted -= usize::from(!self.has_credit(owner));
        self.under_way[owner] -= 1;
        self.under_way_total -= 1;
    }

    /// Another shard has something to do that does not lie in its inbox.
    pub fn nudge(&mut self, shard: usize) {
        self.note_wake(shard);
    }

    fn note_wake(&mut self, shard: usize) {
        if shard != self.me && !self.to_wake.contains(&shard) {
            self.to_wake.push(shard);
        }
    }
}

/// Whether an answer's envelope goes out once more: then its credit stays taken.
fn keeps_credit(envelope: &Envelope) -> bool {
    envelope.hold.as_ref().is_some_and(|hold| hold.stage.has_next())
}
