//! Memory against its limit, `maxmemory`: one budget for all shards.
//!
//! The bytes in use are counted by the allocator, per thread and then globally. So every shard sees
//! the whole process, with an error of at most [`alloc::FLUSH_BYTES`] per thread.
//!
//! The shard that finds an excess is not the one whose keys should leave: it is the home of the
//! clients that write. So it draws the shard that evicts, by the shares of their keys.
//!
//! ```text
//!   finds an excess --draws a shard--> itself: evicts
//!                                 '--> another: owes it the bytes. It evicts at the end of its
//!                                      turn; if it is parked, the finder borrows its partition
//! ```
//! A shard is drawn by the bytes of its keys that may be evicted, and under LRU also by the age of
//! its victims. So victims are about as old on all shards: on a shard that evicts less than its
//! part they grow older, and there are more of them.

use crate::base::alloc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes below the limit from which on the limit is near: some threads' local counts.
const NEAR_BYTES: u64 = 16 * alloc::FLUSH_BYTES as u64;

/// Part of the limit by which it may be exceeded until the end of a turn.
const PATIENCE_PART: u64 = 64;

/// The most bytes by which the limit may be exceeded until the end of a turn.
const PATIENCE_BYTES_MAX: u64 = 4 << 20;

/// Part of the limit that an eviction frees in addition, so that not every command evicts.
const SPARE_PART: u64 = 4096;

/// The most bytes that an eviction frees in addition.
const SPARE_BYTES_MAX: u64 = 16 << 10;

/// Part of the limit by which resident memory may exceed it before freed blocks go back to the
/// system.
const HOLES_PART: u64 = 50;

/// Resident bytes of a process without keys: code, stacks, buffers of connections.
const PROCESS_BYTES: u64 = 16 << 20;

/// The part of one shard in evictions.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Share {
    /// How often the shard is drawn, relative to others; 0: it has no key to evict.
    weight: AtomicU64,
    /// Bytes that other shards have left to it.
    owed_bytes: AtomicU64,
}

/// What is known of the limit.
#[derive(Debug)]
pub struct Room {
    shares: Box<[Share]>,
    /// Bytes of the stream for replicas and the append-only file that do not count.
    uncounted_bytes: AtomicU64,
    /// Monotonic milliseconds since which the limit is exceeded; 0: it is not.
    exceeded_since_ms: AtomicU64,
    /// Monotonic nanoseconds of the last eviction that has told clients of its keys.
    told_ns: AtomicU64,
    /// Milliseconds of earlier times at which the limit was exceeded.
    exceeded_before_ms: AtomicU64,
}

impl Room {
    /// Creates the state of a process with this number of shards.
    pub fn new(shards: usize) -> Room {
        Room {
            shares: (0..shards).map(|_| Share::default()).collect(),
            uncounted_bytes: AtomicU64::new(0),
            exceeded_since_ms: AtomicU64::new(0),
            told_ns: AtomicU64::new(0),
            exceeded_before_ms: AtomicU64::new(0),
        }
    }

    /// Returns the excess up to which eviction is left to the end of the turn, in bytes.
    pub fn patience_bytes(max_bytes: u64) -> u64 {
        (max_bytes / PATIENCE_PART).min(PATIENCE_BYTES_MAX)
    }

    /// Returns the bytes that an eviction frees in addition.
    pub fn spare_bytes(max_bytes: u64) -> u64 {
        (max_bytes / SPARE_PART).min(SPARE_BYTES_MAX)
    }

    /// Returns whether a shard with this excess leaves it to the end of its turn: there are other
    /// shards, the excess is small, and there are keys to evict.
    pub fn has_patience(&self, excess_bytes: u64, max_bytes: u64) -> bool {
        self.shares.len() > 1
            && excess_bytes <= Room::patience_bytes(max_bytes)
            && self.shares.iter().any(|share| share.weight.load(Relaxed) > 0)
    }

    /// Sets how often a shard is drawn, relative to others.
    pub fn set_weight(&self, shard: usize, weight: u64) {
        self.shares[shard].weight.store(weight, Relaxed);
    }

    /// Draws the shard that evicts, by a random number. Returns none if no shard has keys to evict.
    pub fn draw(&self, random: u64) -> Option<usize> {
        let weight = |share: &Share| u128::from(share.weight.load(Relaxed));
        let sum: u128 = self.shares.iter().map(weight).sum();
        let mut point = (u128::from(random) * sum) >> u64::BITS;
        self.shares.iter().position(|share| {
            let weight = weight(share);
            let is_it = point < weight;
            point = point.saturating_sub(weight);
            is_it
        })
    }

    /// Leaves the eviction of some bytes to a shard.
    pub fn owe(&self, shard: usize, bytes: u64) {
        self.shares[shard].owed_bytes.fetch_add(bytes, Relaxed);
    }

    /// Returns the bytes that other shards have left to a shard, which takes them.
    #[inline]
    pub fn take_owed(&self, shard: usize) -> u64 {
        let owed = &self.shares[shard].owed_bytes;
        if owed.load(Relaxed) == 0 { 0 } else { owed.swap(0, Relaxed) }
    }

    /// Returns whether a shard has yet to evict what others have left to it.
    pub fn is_owed(&self, shard: usize) -> bool {
        self.shares[shard].owed_bytes.load(Relaxed) > 0
    }

    /// Returns the bytes that shards have left to others.
    pub fn all_owed(&self) -> u64 {
        self.shares.iter().map(|share| share.owed_bytes.load(Relaxed)).sum()
    }

    /// Returns by how many bytes the use of memory exceeds the limit `max_bytes`, without the
    /// bytes that do not count. 0 means no limit.
    #[inline]
    pub fn excess_bytes(&self, max_bytes: u64) -> u64 {
        if max_bytes == 0 {
            return 0;
        }
        if alloc::used_bytes() <= max_bytes.saturating_sub(NEAR_BYTES) {
            return 0;
        }
        self.excess_near(max_bytes)
    }

    /// Returns the excess while the limit is near: then each shard shows the others at once what it
    /// has allocated and freed.
    #[cold]
    fn excess_near(&self, max_bytes: u64) -> u64 {
        alloc::flush_local();
        let used = alloc::used_bytes();
        used.saturating_sub(self.uncounted_bytes()).saturating_sub(max_bytes)
    }

    /// Returns the bytes that do not count.
    pub fn uncounted_bytes(&self) -> u64 {
        self.uncounted_bytes.load(Relaxed)
    }

    /// Sets the bytes that do not count.
    pub fn set_uncounted_bytes(&self, bytes: u64) {
        self.uncounted_bytes.store(bytes, Relaxed);
    }

    /// Returns whether this many resident bytes are so far above the limit `max_bytes` that freed
    /// blocks should go back to the system, see `base/holes.rs`. 0 means no limit.
    pub fn has_holes(&self, resident_bytes: u64, max_bytes: u64) -> bool {
        let allowed_bytes = max_bytes + max_bytes / HOLES_PART + PROCESS_BYTES;
        max_bytes > 0 && resident_bytes.saturating_sub(self.uncounted_bytes()) > allowed_bytes
    }

    /// Returns the monotonic nanoseconds of the last eviction that has told clients of its keys; 0:
    /// there was none.
    pub fn told_ns(&self) -> u64 {
        self.told_ns.load(Relaxed)
    }

    /// Records that an eviction at this time tells clients of its keys.
    pub fn set_told_ns(&self, now_ns: u64) {
        self.told_ns.store(now_ns, Relaxed);
    }

    /// Records whether the limit is exceeded although keys were evicted.
    #[inline]
    pub fn note(&self, is_exceeded: bool, now_ms: u64) {
        let since_ms = self.exceeded_since_ms.load(Relaxed);
        if is_exceeded == (since_ms != 0) {
            return;
        }
        let next_ms = if is_exceeded { now_ms.max(1) } else { 0 };
        let is_mine = self.exceeded_since_ms.compare_exchange(since_ms, next_ms, Relaxed, Relaxed);
        if is_mine.is_ok() && !is_exceeded {
            self.exceeded_before_ms.fetch_add(now_ms.saturating_sub(since_ms), Relaxed);
        }
    }

    /// Returns for how many milliseconds the limit was exceeded: in total, and at present.
    pub fn exceeded_ms(&self, now_ms: u64) -> (u64, u64) {
        let since_ms = self.exceeded_since_ms.load(Relaxed);
        let present = if since_ms == 0 { 0 } else { now_ms.saturating_sub(since_ms) };
        (self.exceeded_before_ms.load(Relaxed) + present, present)
    }

    /// Forgets the times (CONFIG RESETSTAT).
    pub fn reset(&self) {
        self.exceeded_since_ms.store(0, Relaxed);
        self.exceeded_before_ms.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_beyond_the_limit_add_up() {
        let room = Room::new(1);
        room.note(false, 5);
        assert_eq!(room.exceeded_ms(9), (0, 0));
        room.note(true, 10);
        room.note(true, 12);
        assert_eq!(room.exceeded_ms(15), (5, 5));
        room.note(false, 20);
        assert_eq!(room.exceeded_ms(30), (10, 0));
        room.note(true, 30);
        assert_eq!(room.exceeded_ms(31), (11, 1));
        room.reset();
        assert_eq!(room.exceeded_ms(40), (0, 0));
    }

    #[test]
    fn what_does_not_count_is_left_out() {
        let room = Room::new(1);
        assert_eq!(room.excess_bytes(0), 0, "no limit");
        assert_eq!(room.excess_bytes(u64::MAX), 0);
        // Other tests free what they have allocated before this one began.
        alloc::count_bytes(1 << 30);
        assert!(room.excess_bytes(1) > 0);
        alloc::count_bytes(-(1 << 30));
        room.set_uncounted_bytes(u64::MAX);
        assert_eq!(room.excess_bytes(1), 0);
    }

    #[test]
    fn holes_count_from_two_percent_above_the_limit() {
        let room = Room::new(1);
        assert!(!room.has_holes(1 << 40, 0), "no limit");
        let allowed = (500 << 20) + (10 << 20) + PROCESS_BYTES;
        assert!(!room.has_holes(allowed, 500 << 20) && room.has_holes(allowed + 1, 500 << 20));
        room.set_uncounted_bytes(1);
        assert!(!room.has_holes(allowed + 1, 500 << 20), "what does not count");
    }

    #[test]
    fn shards_are_drawn_by_their_weights() {
        let room = Room::new(3);
        assert_eq!(room.draw(7), None);
        assert!(!room.has_patience(1, 1 << 30), "no shard has a key to evict");
        room.set_weight(1, 1);
        room.set_weight(2, 3);
        let drawn = |part: u64| room.draw((1 << 61) * part);
        assert_eq!([0, 1, 2, 3, 7].map(drawn), [Some(1), Some(1), Some(2), Some(2), Some(2)]);
        assert_eq!((room.draw(0), room.draw(u64::MAX)), (Some(1), Some(2)));
        assert!(room.has_patience(4 << 20, 1 << 30) && !room.has_patience((4 << 20) + 1, 1 << 30));
        assert!(!room.has_patience(2, 64), "a small limit is kept");
        assert!(!Room::new(1).has_patience(1, 1 << 30), "there is nobody to share with");
    }

    #[test]
    fn a_shard_takes_what_others_leave_to_it() {
        let room = Room::new(2);
        assert_eq!((room.take_owed(1), room.is_owed(1)), (0, false));
        room.owe(1, 5);
        room.owe(1, 6);
        assert_eq!((room.all_owed(), room.is_owed(1), room.is_owed(0)), (11, true, false));
        assert_eq!((room.take_owed(1), room.all_owed()), (11, 0));
    }
}
