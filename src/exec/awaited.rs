//! The keys for which clients of any shard are blocked, as all shards see them.
//!
//! If a blocked command needs keys of other shards, the command that makes its key ready has it
//! forwarded to its home. A batch ends with a command that may do so, directly or through another
//! blocked command. So the later commands of a pipeline see what the forwarded command has done.
//! Clients that begin to block after the batch was gathered may count as later than the batch.

use crate::base::slot::{SLOT_COUNT, slot_of};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Number of groups of hash slots, each with a counter.
const GROUPS: usize = 1024;

const _: () = assert!(GROUPS.is_power_of_two() && GROUPS <= SLOT_COUNT as usize);

/// Counts of the blocked clients of all shards.
#[derive(Debug)]
pub struct Awaited {
    /// Number of entries of clients whose commands need other shards.
    far: AtomicUsize,
    /// Per group of hash slots, the number of keys for which clients wait.
    groups: [AtomicU32; GROUPS],
}

impl Default for Awaited {
    fn default() -> Awaited {
        Awaited { far: AtomicUsize::new(0), groups: [const { AtomicU32::new(0) }; GROUPS] }
    }
}

impl Awaited {
    /// Adds a client that waits for these keys. `is_far` tells whether its command needs other
    /// shards.
    pub fn add<'a>(&self, keys: impl Iterator<Item = &'a [u8]>, is_far: bool) {
        for key in keys {
            self.group(key).fetch_add(1, Ordering::SeqCst);
        }
        self.far.fetch_add(usize::from(is_far), Ordering::SeqCst);
    }

    /// Removes a client that was added with the same arguments.
    pub fn remove<'a>(&self, keys: impl Iterator<Item = &'a [u8]>, is_far: bool) {
        let before = self.far.fetch_sub(usize::from(is_far), Ordering::SeqCst);
        assert!(before >= usize::from(is_far), "only an added client is removed");
        for key in keys {
            self.group(key).fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Returns whether the command of any blocked client needs other shards.
    #[inline]
    pub fn has_far(&self) -> bool {
        self.far.load(Ordering::SeqCst) > 0
    }

    /// Returns whether a client waits for this key. It may return true for other keys too.
    pub fn may_await(&self, key: &[u8]) -> bool {
        self.group(key).load(Ordering::SeqCst) > 0
    }

    fn group(&self, key: &[u8]) -> &AtomicU32 {
        &self.groups[usize::from(slot_of(key)) % GROUPS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_can_be_removed() {
        let awaited = Awaited::default();
        let keys = || ["a", "b"].iter().map(|key| key.as_bytes());
        awaited.add(keys(), false);
        awaited.add(keys().take(1), true);
        assert!(awaited.has_far() && awaited.may_await(b"a") && awaited.may_await(b"b"));
        assert!(!awaited.may_await(b"c"));
        awaited.remove(keys(), false);
        assert!(awaited.has_far() && awaited.may_await(b"a") && !awaited.may_await(b"b"));
        awaited.remove(keys().take(1), true);
        assert!(!awaited.has_far() && !awaited.may_await(b"a"));
    }
}
