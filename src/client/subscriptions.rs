//! The channels and patterns that a connection has subscribed to.

use crate::pubsub::Sort;
use ahash::RandomState;
use bytes::Bytes;
use std::collections::HashSet;

/// Bytes that a subscription uses without its name: at the connection, at its shard, and its share
/// of the hub.
const SUBSCRIPTION_BYTES: usize = 128;

/// The subscriptions of a connection.
#[derive(Debug)]
pub struct Subscriptions {
    names: [HashSet<Bytes, RandomState>; Sort::COUNT],
    name_bytes: usize,
}

impl Subscriptions {
    /// Creates an empty set of subscriptions.
    pub fn new(hasher: &RandomState) -> Subscriptions {
        let names = [(); Sort::COUNT].map(|()| HashSet::with_hasher(hasher.clone()));
        Subscriptions { names, name_bytes: 0 }
    }

    /// Adds a name. Returns whether it is new.
    pub fn add(&mut self, sort: Sort, name: &Bytes) -> bool {
        let is_new = self.names[sort as usize].insert(name.clone());
        self.name_bytes += if is_new { name.len() } else { 0 };
        is_new
    }

    /// Removes a name. Returns whether it was there.
    pub fn remove(&mut self, sort: Sort, name: &Bytes) -> bool {
        let was_there = self.names[sort as usize].remove(name);
        self.name_bytes -= if was_there { name.len() } else { 0 };
        was_there
    }

    /// Returns all names of a sort.
    pub fn of(&self, sort: Sort) -> Vec<Bytes> {
        self.names[sort as usize].iter().cloned().collect()
    }

    /// Returns the number of names of a sort.
    pub fn count(&self, sort: Sort) -> u32 {
        self.names[sort as usize].len() as u32
    }

    /// Returns the bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        let count: usize = self.names.iter().map(HashSet::len).sum();
        count * SUBSCRIPTION_BYTES + self.name_bytes
    }
}
