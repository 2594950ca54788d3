//! Units that have run on some of their shards and not yet on others.
//!
//! Commands need not know of them: a later command finds each part ahead of its own. A client that
//! is tracking needs to know. It may see the change of one part in a reply, and must be told what
//! the other parts change before it gets this reply.
//!
//! ```text
//!   begins: its first part is about to run      ends: its last part has run, and its
//!           it gets the next ticket                   invalidations are in the inboxes
//! ```
//! Only units that may write are noted, and only while clients are tracking. A unit begins when its
//! first part runs and not when it is posted, because its parts may wait for locks.

use super::envelope::Envelope;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The units that have begun and not ended.
#[derive(Debug, Default)]
pub struct PartialUnits {
    /// Number of tracking clients.
    trackers: AtomicU64,
    /// The last ticket that was given.
    begun: AtomicU64,
    /// All units up to this ticket have ended.
    ended: AtomicU64,
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    /// By sequence: the ticket, and the number of parts that have not run.
    units: HashMap<u64, (u64, u16)>,
    /// Shards that wait for the end of units.
    waiting: BTreeSet<usize>,
}

impl PartialUnits {
    /// Counts a client that begins or ends tracking.
    pub fn count_tracker(&self, begins: bool) {
        if begins {
            self.trackers.fetch_add(1, Ordering::SeqCst);
        } else {
            let before = self.trackers.fetch_sub(1, Ordering::SeqCst);
            assert!(before > 0, "only a tracking client ends tracking");
        }
    }

    /// Returns whether a unit that is posted now must be noted.
    #[inline]
    pub(super) fn are_noted(&self) -> bool {
        self.trackers.load(Ordering::SeqCst) > 0
    }

    /// Notes that a part is about to run.
    #[inline]
    pub fn begin(&self, part: &Envelope) {
        if part.is_noted {
            self.note(part, false);
        }
    }

    /// Notes that a part has run. Its invalidations must be in the inboxes. Returns the shards that
    /// wait for the end of its unit, if it was the last part.
    #[inline]
    pub(super) fn end(&self, part: &mut Envelope) -> BTreeSet<usize> {
        if std::mem::take(&mut part.is_noted) { self.note(part, true) } else { BTreeSet::new() }
    }

    #[cold]
    fn note(&self, part: &Envelope, has_run: bool) -> BTreeSet<usize> {
        assert!(part.sequence > 0 && part.parts > 1, "a unit with several parts has a place");
        let mut noted = self.lock();
        let begun = self.begun.load(Ordering::Relaxed);
        let unit = noted.units.entry(part.sequence).or_insert((begun + 1, part.parts));
        self.begun.store(begun.max(unit.0), Ordering::SeqCst);
        if !has_run {
            self.settle(&noted);
            return BTreeSet::new();
        }
        unit.1 -= 1;
        let is_over = unit.1 == 0;
        if is_over {
            noted.units.remove(&part.sequence);
        }
        self.settle(&noted);
        if is_over { std::mem::take(&mut noted.waiting) } else { BTreeSet::new() }
    }

    fn settle(&self, noted: &Noted) {
        let oldest = noted.units.values().map(|unit| unit.0).min();
        let begun = self.begun.load(Ordering::Relaxed);
        self.ended.store(oldest.map_or(begun, |oldest| oldest - 1), Ordering::SeqCst);
    }

    /// Returns the last ticket that was given. A command that has just run has seen no later unit.
    #[inline]
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    /// Returns a ticket below which all units have ended, so that what they tell is in the inboxes.
    #[inline]
    pub fn clear(&self) -> u64 {
        self.ended.load(Ordering::SeqCst) + 1
    }

    /// Makes the next unit that ends wake a shard. Returns false if all units up to this ticket
    /// have ended already.
    pub fn wake_after(&self, ticket: u64, shard: usize) -> bool {
        let mut noted = self.lock();
        let is_open = noted.units.values().any(|unit| unit.0 <= ticket);
        if is_open {
            noted.waiting.insert(shard);
        }
        is_open
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(sequence: u64, parts: u16) -> Envelope {
        let mut part = Envelope::new();
        (part.sequence, part.parts, part.is_noted) = (sequence, parts, true);
        *part
    }

    #[test]
    fn tickets_are_in_the_order_of_the_first_parts() {
        let units = PartialUnits::default();
        let end = |part: &mut Envelope| units.end(part);
        let (mut late, mut early) = ([part(7, 2), part(7, 2)], [part(9, 2), part(9, 2)]);
        units.begin(&early[0]);
        assert_eq!((units.begun(), units.clear()), (1, 1));
        units.begin(&early[1]);
        assert!(end(&mut early[0]).is_empty());
        units.begin(&late[0]);
        assert_eq!((units.begun(), units.clear()), (2, 1));
        assert!(units.wake_after(1, 3) && units.wake_after(2, 4));
        assert_eq!(end(&mut early[1]), BTreeSet::from([3, 4]));
        assert_eq!((units.begun(), units.clear()), (2, 2));
        assert!(!units.wake_after(1, 3), "the first unit has ended");
        assert!(end(&mut late[1]).is_empty(), "a part may end that has not begun");
        assert!(end(&mut late[1]).is_empty(), "a part ends once");
        assert!(end(&mut late[0]).is_empty());
        assert_eq!((units.begun(), units.clear()), (2, 3));
    }
}
