//! Messages of client tracking to the homes of the clients.

use super::envelope::ClientRef;
use super::inbox::{Mesh, Message};
use crate::keyspace::Invalidation;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A message about tracked keys.
#[derive(Debug)]
pub enum Told {
    /// What clients of the shard must be told, in the order of the changes. The number is the place
    /// in the order of units with several parts; 0 if it goes to one shard.
    Invalid(u64, Vec<Arc<Invalidation>>),
    /// What one client of the shard must be told in place of another client.
    Redirected(Redirected),
    /// The client to which this client's invalidations go is gone.
    Broken(ClientRef),
    /// A unit has ended that had run on some of its shards only.
    Settled,
}

/// An invalidation on its way to the client that gets it in place of the tracking client.
#[derive(Debug)]
pub struct Redirected {
    /// The client that gets it.
    pub to: ClientRef,
    /// The home of the tracking client.
    pub from_shard: u16,
    /// The tracking client.
    pub from: ClientRef,
    /// The names of the keys, as they are sent.
    pub names: Vec<u8>,
}

/// Bytes of names that weigh as much as an invalidation.
const BYTES_PER_WEIGHT: usize = 4 << 10;

impl Told {
    /// Returns the number of invalidations that it stands for.
    pub(super) fn weight(&self) -> usize {
        match self {
            Told::Invalid(_, invalidations) => weight_of(invalidations),
            Told::Redirected(redirected) => 1 + redirected.names.len() / BYTES_PER_WEIGHT,
            Told::Broken(_) | Told::Settled => 0,
        }
    }

    /// Returns its place in the order of units with several parts; 0 if it goes to one shard.
    pub(super) fn sequence(&self) -> u64 {
        match self {
            Told::Invalid(sequence, _) => *sequence,
            Told::Redirected(_) | Told::Broken(_) | Told::Settled => 0,
        }
    }
}

/// Returns the number of keys in invalidations.
fn weight_of(invalidations: &[Arc<Invalidation>]) -> usize {
    invalidations.iter().map(|invalidation| invalidation.weight()).sum()
}

impl Mesh {
    /// Returns whether invalidations for some shard wait in as large a number as they may.
    #[inline]
    pub fn has_told_enough(&self) -> bool {
        self.partial.are_noted() && self.has_waiting_told()
    }

    /// Returns whether invalidations wait for some shard.
    pub fn is_telling(&self) -> bool {
        self.told_waiting.iter().any(|waiting| waiting.load(Ordering::Relaxed) > 0)
    }

    #[cold]
    fn has_waiting_told(&self) -> bool {
        let max = self.bounds.told_waiting;
        let is_full = |waiting: &AtomicUsize| waiting.load(Ordering::Relaxed) > max;
        self.told_waiting.iter().any(is_full)
    }

    /// Records that a shard has taken a message from its inbox.
    pub fn took_told(&self, shard: usize, told: &Told) {
        self.count_told(shard, told.weight(), false);
    }

    /// Records that invalidations wait for their shard without being in its inbox, or wait no
    /// longer.
    pub fn count_own_told(&self, shard: usize, own: &[Arc<Invalidation>], begins: bool) {
        self.count_told(shard, weight_of(own), begins);
    }

    fn count_told(&self, shard: usize, weight: usize, begins: bool) {
        if weight == 0 {
            return;
        }
        let told = &self.told_waiting[shard];
        if begins {
            told.fetch_add(weight, Ordering::Relaxed);
        } else {
            let before = told.fetch_sub(weight, Ordering::Relaxed);
            assert!(before >= weight, "a message is taken once");
        }
    }

    fn push_told(&self, shard: usize, told: Told) {
        self.count_told(shard, told.weight(), true);
        self.push(shard, Message::Told(Box::new(told)));
    }

    /// Posts invalidations to shards by rules 4 and 5 of the mesh, and wakes the shards. The holder
    /// of the partition whose keys have changed calls it before it sends the reply of the change.
    pub fn tell(&self, homes: Vec<(u16, Vec<Arc<Invalidation>>)>) {
        let is_alone = homes.len() <= 1 || !self.rules.sequencer;
        let sequence = if is_alone { 0 } else { self.sequencer.begin(|| self.point()) };
        let shards: Vec<usize> = homes.iter().map(|(home, _)| usize::from(*home)).collect();
        for (home, invalidations) in homes {
            self.push_told(usize::from(home), Told::Invalid(sequence, invalidations));
        }
        if !is_alone {
            self.sequencer.end(sequence);
        }
        shards.into_iter().for_each(|shard| self.wake_free(shard));
    }

    /// Sends a message to one shard, and wakes the shard.
    pub fn send_told(&self, shard: usize, told: Told) {
        self.push_told(shard, told);
        self.wake_free(shard);
    }

    /// Wakes a shard, unless another shard holds its partition: the holder finds the message and
    /// rings for it.
    fn wake_free(&self, shard: usize) {
        if self.is_free(shard) {
            self.wake(shard);
        }
    }
}
