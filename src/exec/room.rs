//! Memory against its limit, `maxmemory`: one budget for all shards.
//!
//! The bytes in use are counted by the allocator, per thread and then globally. So every shard sees
//! the whole process, with an error of at most [`alloc::FLUSH_BYTES`] per thread.

use crate::base::alloc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes below the limit from which on the limit is near: some threads' local counts.
const NEAR_BYTES: u64 = 16 * alloc::FLUSH_BYTES as u64;

/// What is known of the limit.
#[derive(Debug, Default)]
pub struct Room {
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
        let room = Room::default();
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
        let room = Room::default();
        assert_eq!(room.excess_bytes(0), 0, "no limit");
        assert_eq!(room.excess_bytes(u64::MAX), 0);
        // Other tests free what they have allocated before this one began.
        alloc::count_bytes(1 << 30);
        assert!(room.excess_bytes(1) > 0);
        alloc::count_bytes(-(1 << 30));
        room.set_uncounted_bytes(u64::MAX);
        assert_eq!(room.excess_bytes(1), 0);
    }
}
