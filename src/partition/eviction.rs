//! Eviction: the partition makes room before commands run on it.
//!
//! What is evicted is a unit of its own, ahead of the unit that needs the room. Keys stay if a unit
//! has locked them, or waits to lock them.
//!
//! While a snapshot is written, a key that is evicted waits for the disk, and its memory is free
//! only then. So nothing is evicted while more waits than may: a slow disk would otherwise cost all
//! keys. No client is served meanwhile, so memory does not grow.

use super::housekeeping::publish_stats;
use super::partition::Partition;
use crate::config::MaxmemoryPolicy;
use crate::exec::{Room, Scope, removal_word};
use crate::keyspace::{Evicted, EvictionRule, ExpiryRole, IsKept, Progress};

/// Steps between two looks at the clock.
const STEPS_PER_LOOK: u32 = 16;

/// Nanoseconds after an eviction that tells clients of its keys in which nothing is evicted: some
/// turns of the shards that send the messages.
const TOLD_REST_NS: u64 = 2_000_000;

/// Tenacity up to which the time grows by a constant.
const LINEAR_TENACITY_MAX: u32 = 10;

/// Nanoseconds per unit of tenacity up to there.
const LINEAR_NS: u64 = 50_000;

/// Factor per unit of tenacity from there on.
const FACTOR: f64 = 1.15;

/// The tenacity that has no limit.
const TENACITY_MAX: u32 = 100;

impl Partition {
    /// Evicts keys if more memory is used than `maxmemory` allows, for a time that
    /// `maxmemory-eviction-tenacity` limits.
    ///
    /// After an eviction that tells clients of its keys, nothing is evicted until the messages can
    /// have been sent. They take more memory than the keys if many clients track them, and would
    /// evict further keys.
    #[inline]
    pub fn make_room(&mut self) -> Evicted {
        self.make_room_of(u64::MAX)
    }

    /// Evicts keys like [`Partition::make_room`], but no more than about this number of bytes.
    #[inline]
    pub fn make_room_of(&mut self, bytes_max: u64) -> Evicted {
        match self.env.process.room.excess_bytes(self.env.config.maxmemory).min(bytes_max) {
            0 => Evicted::Enough,
            _ if self.tells_evicted() => Evicted::Enough,
            wanted_bytes => self.evict(wanted_bytes),
        }
    }

    /// Returns whether commands of a batch are refused as soon as memory is full, because no key
    /// can be evicted for them.
    #[inline]
    pub(super) fn refuses_by_memory(&self) -> bool {
        let config = &self.env.config;
        if config.maxmemory == 0 || self.is_loading {
            return false;
        }
        match config.maxmemory_policy {
            MaxmemoryPolicy::NoEviction => true,
            // Any key that is written can be evicted.
            policy if !policy.spares_persistent() => false,
            policy => !self.slice.has_evictable(policy) && !self.others_have_volatile(),
        }
    }

    #[cold]
    fn others_have_volatile(&self) -> bool {
        let is_volatile = |db| self.env.process.boards.database(db)[1] > 0;
        (0..self.env.process.databases).any(is_volatile)
    }

    /// Makes room before a part runs, if the excess cannot wait until the end of a turn.
    #[inline]
    pub(super) fn make_room_for_part(&mut self) {
        let (room, max_bytes) = (&self.env.process.room, self.env.config.maxmemory);
        let excess_bytes = room.excess_bytes(max_bytes);
        if excess_bytes > 0 && !room.has_patience(excess_bytes, max_bytes) {
            self.make_room();
        }
    }

    /// Evicts what other shards have left to this one.
    #[inline]
    pub fn free_owed(&mut self) {
        let owed_bytes = self.env.process.room.take_owed(self.env.me);
        if owed_bytes > 0 {
            self.make_room_of(owed_bytes);
        }
    }

    /// Draws the shard that evicts next.
    pub fn draw_evicting(&mut self) -> usize {
        let random = self.slice.draw_random();
        self.env.process.room.draw(random).unwrap_or(self.env.me)
    }

    /// Updates how often this shard is drawn.
    pub(super) fn publish_weight(&self) {
        if self.env.config.maxmemory > 0 {
            let usual_bytes = self.env.config.maxmemory / self.env.process.shards() as u64;
            let policy = self.env.config.maxmemory_policy;
            let weight = self.slice.evictable_weight(policy, usual_bytes);
            self.env.process.room.set_weight(self.env.me, weight);
        }
    }

    /// Returns whether clients are being told of evicted keys.
    #[cold]
    fn tells_evicted(&self) -> bool {
        let told_ns = self.env.process.room.told_ns();
        let since_ns = self.env.now.monotonic_ns.saturating_sub(told_ns);
        told_ns > 0 && (since_ns < TOLD_REST_NS || self.mesh.is_telling())
    }

    /// Evicts keys until about this number of bytes is free.
    #[cold]
    fn evict(&mut self, wanted_bytes: u64) -> Evicted {
        // Keys that have expired before leave under their own name.
        self.write_expired();
        let config = &self.env.config;
        let policy = config.maxmemory_policy;
        let is_absent = self.is_away() || self.locks.has_wide();
        match self.slice.role() {
            _ if self.is_loading => return Evicted::Enough,
            _ if policy == MaxmemoryPolicy::NoEviction => return Evicted::Exhausted,
            ExpiryRole::Replica => return Evicted::Exhausted,
            ExpiryRole::Paused | ExpiryRole::Loading => return Evicted::Enough,
            // A unit that holds all keys is at work.
            ExpiryRole::Primary if is_absent => return Evicted::Unfinished,
            // Memory is free only when the disk has the keys that were evicted.
            ExpiryRole::Primary if self.is_behind_disk() => return Evicted::Unfinished,
            ExpiryRole::Primary => {}
        }
        let rule = EvictionRule { policy, samples: config.maxmemory_samples as usize };
        let (room, clock) = (&self.env.process.room, &self.env.process.clock);
        let stop_ns =
            clock.monotonic_ns().saturating_add(tenacity_ns(config.maxmemory_eviction_tenacity));
        let mut steps = 0;
        let spare_bytes = Room::spare_bytes(config.maxmemory);
        let wanted_bytes = wanted_bytes + spare_bytes;
        let floor_bytes = config.maxmemory - spare_bytes;
        let slices = &self.slices;
        let mut progress = |freed_bytes| {
            if freed_bytes >= wanted_bytes {
                return Progress::Enough;
            }
            if slices.is_behind_disk() {
                return Progress::Late;
            }
            steps += 1;
            if steps % STEPS_PER_LOOK > 0 {
                return Progress::Needed;
            }
            // Other shards evict too.
            if room.excess_bytes(floor_bytes) == 0 {
                return Progress::Enough;
            }
            if clock.monotonic_ns() >= stop_ns { Progress::Late } else { Progress::Needed }
        };
        let locks = &self.locks;
        let is_locked = |hash| locks.has(Scope::name(hash));
        let is_kept: Option<IsKept<'_>> = if locks.is_empty() { None } else { Some(&is_locked) };
        let evicted = self.slice.evict(rule, is_kept, &mut progress);
        let tells = self.slice.has_invalidations();
        if tells && evicted == Evicted::Enough {
            self.env.process.room.set_told_ns(self.env.now.monotonic_ns);
        }
        self.write_removed(removal_word(self.env.config.lazyfree_lazy_eviction));
        self.tell_events();
        self.publish_weight();
        match evicted {
            // Others look at the board for keys to evict.
            Evicted::Exhausted => self.publish(),
            Evicted::Enough | Evicted::Unfinished => {
                publish_stats(&self.env.board, &mut self.slice);
            }
        }
        if self.slice.has_ready() {
            self.serve_blocked_behind();
        }
        evicted
    }
}

/// Returns how long an eviction may take at most, in nanoseconds, by the formula of the reference
/// server.
fn tenacity_ns(tenacity: u32) -> u64 {
    if tenacity >= TENACITY_MAX {
        return u64::MAX;
    }
    let linear_ns = u64::from(tenacity.min(LINEAR_TENACITY_MAX)) * LINEAR_NS;
    let beyond = tenacity.saturating_sub(LINEAR_TENACITY_MAX);
    (linear_ns as f64 * FACTOR.powi(beyond as i32)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenacity_is_time() {
        assert_eq!([0, 1, 10].map(tenacity_ns), [0, 50_000, 500_000]);
        assert!((574_000..576_000).contains(&tenacity_ns(11)));
        assert!((100e9..200e9).contains(&(tenacity_ns(99) as f64)), "about two minutes");
        assert_eq!(tenacity_ns(100), u64::MAX);
    }
}
