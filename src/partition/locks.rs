//! Arrival of parts: they run at once, or wait until no lock conflicts.
//!
//! ```text
//!   arrives --no lock conflicts--> runs --> reply
//!      |
//!      '--a lock conflicts--> waits --granted--> runs --> reply
//! ```
//! A waiting part is itself a lock request. Later parts that conflict with it wait behind it, so
//! the order of arrival is kept. The number of waiting parts is bounded by the number of
//! connections, because each has one batch in flight. If many wait, they return their credits.

use super::journal::Place;
use super::partition::Partition;
use super::survey::surveys_at_once;
use crate::exec::{BatchArgs, Item, KeyLock, Mode, Request, Scope, for_each_key_lock};
use crate::feed::Timestamp;
use crate::keyspace::Slice;
use crate::mesh::{Envelope, OneWay, Stage, Work};
use crate::txn::LockId;
use std::collections::VecDeque;

impl Partition {
    /// Takes a part from the inbox. It runs at once or waits for locks.
    pub fn arrive(&mut self, mut part: Box<Envelope>) {
        if self.leaving.holds_back(&part) {
            self.return_credit(&mut part, self.leaving.arrived.len());
            return self.leaving.arrived.push(part);
        }
        self.make_room_for_part();
        let timestamp = self.journal.arrived(part.sent.timestamp);
        if let Work::Control { request: Request::Cut(order), .. } = &part.work {
            let (mark, is_last) = (order.mark, order.is_last);
            if let Some(id) = mark {
                self.begin_feed(timestamp, &part, id);
            }
            // The last cut waits for the units before it, so that they only read afterwards.
            if let Some(held) = self.held_by_units().filter(|_| !is_last) {
                return self.begin_cut(part, held);
            }
        }
        match part.txn().map_or(Stage::OneShot, |txn| txn.stage) {
            Stage::OneShot if part.txn().is_some_and(|txn| txn.is_sliced) => {
                if let Some(lock) = self.acquire(part, timestamp) {
                    self.release(lock);
                }
            }
            Stage::OneShot
                if self.locks.is_empty() || self.ignores_handover() || surveys_at_once(&part) =>
            {
                self.work(part, Place::Now(timestamp));
            }
            Stage::OneShot => {
                let is_free = self.surveys_freely(&mut part);
                let mut key_locks = self.key_locks_of(&mut part, !is_free);
                if self.locks.conflicts(key_locks.iter().copied()) {
                    if is_free {
                        key_locks = self.key_locks_of(&mut part, true);
                    }
                    let (lock, is_granted) = self.locks.request(&key_locks);
                    assert!(!is_granted, "its locks conflict with earlier requests");
                    self.journal.reserve(lock, timestamp, &part);
                    self.keep_waiting(lock, part);
                } else {
                    self.work(part, Place::Now(timestamp));
                }
            }
            Stage::Acquire => {
                self.acquire(part, timestamp);
            }
            Stage::Continue | Stage::Release => {
                let txn = part.txn_mut();
                let (lock, has_next) = (txn.lock, txn.stage.has_next());
                if let Some(slice) = txn.slice.take() {
                    self.take_slice_back(*slice);
                    if has_next {
                        self.unfinished.begin_round(lock);
                    }
                }
                self.work(part, Place::Reserved(lock));
            }
        }
    }

    /// Requests the locks that a part states, and runs its round if they are granted. Returns the
    /// lock request if the round is over.
    fn acquire(&mut self, mut part: Box<Envelope>, timestamp: Timestamp) -> Option<LockId> {
        let (lock, is_granted) = self.request_locks_of(&mut part);
        part.txn_mut().lock = lock;
        self.journal.reserve(lock, timestamp, &part);
        if !is_granted {
            self.keep_waiting(lock, part);
            return None;
        }
        let goes_on = self.work(part, Place::Reserved(lock));
        (!goes_on).then_some(lock)
    }

    fn keep_waiting(&mut self, lock: LockId, mut part: Box<Envelope>) {
        self.return_credit(&mut part, self.waiting.len());
        self.waiting.insert(lock, part);
    }

    /// Runs the work of a part. Returns whether the part continues later and keeps its locks until
    /// then.
    pub(super) fn work(&mut self, part: Box<Envelope>, place: Place) -> bool {
        self.deferred.begin();
        let (first, mut goes_on) = (self.outgoing.len(), false);
        match &part.work {
            Work::Transaction(_) => goes_on = self.run_round(part, place),
            Work::Batch => goes_on = self.run_batch_part(part, place),
            Work::Walk(_) => self.run_slice(part),
            Work::Attempt(_) => self.run_attempt(part, place),
            Work::Control { .. } => self.answer_in_order(part, place),
            Work::OneWay(OneWay::Recheck(_)) => self.recheck(part, place),
            work => unreachable!("{work:?} does not wait for locks"),
        }
        self.put_answer_first(first);
        self.run_rechecks();
        goes_on
    }

    /// Returns the locks that a part needs, and that its surveys need if `with_surveys`.
    pub(super) fn key_locks_of(&self, part: &mut Envelope, with_surveys: bool) -> Vec<KeyLock> {
        if let Work::Control { request, .. } = &part.work {
            if let Request::WatchHere { keys, .. } = request {
                return self.watch_locks(keys);
            }
            let is_write = matches!(request, Request::Reload(_) | Request::LoadStep(_));
            let mode = if is_write { Mode::Exclusive } else { Mode::Shared };
            return vec![KeyLock { scope: Scope::All, mode }];
        }
        let mut key_locks = Vec::new();
        let watcher = part.txn().and_then(|txn| txn.watcher);
        let (items, mut batch_args, ..) = part.parts();
        let needs = |item: &&Item| with_surveys || !item.entry.surveys_keys();
        let items = items.iter().filter(needs);
        collect_key_locks(&self.slice, items, &mut batch_args, &mut key_locks);
        self.add_watched(watcher, &mut key_locks);
        key_locks
    }

    /// Adds the locks that the check of a client's watched keys needs.
    pub(super) fn add_watched(&self, watcher: Option<u64>, key_locks: &mut Vec<KeyLock>) {
        collect_watched(&self.slice, watcher, key_locks);
        self.wait_for_slice(watcher, key_locks);
    }

    /// Returns whether commands, or the check of a client's watched keys, would have to wait for
    /// locks.
    pub fn would_wait(
        &self,
        items: &[Item],
        batch_args: &mut BatchArgs<'_>,
        watcher: Option<u64>,
    ) -> bool {
        if self.locks.is_empty() {
            return false;
        }
        if self.is_away() {
            return !self.ignores_handover();
        }
        let mut key_locks = Vec::new();
        collect_watched(&self.slice, watcher, &mut key_locks);
        let with_surveys = self.surveys_torn(items);
        let needs = |item: &&Item| with_surveys || !item.entry.surveys_keys();
        collect_key_locks(&self.slice, items.iter().filter(needs), batch_args, &mut key_locks);
        self.locks.conflicts(key_locks)
    }

    /// Makes the slice keep the expired keys that commands read and that units other than `own`
    /// use. These units have locked the keys, or wait to, and may see an earlier time. When they
    /// are over, the next command removes the keys, or housekeeping does.
    #[cold]
    pub(super) fn keep_expired(
        &mut self,
        items: &[Item],
        batch_args: &mut BatchArgs<'_>,
        own: Option<LockId>,
    ) {
        let mut kept = Vec::new();
        let (slice, locks) = (&self.slice, &self.locks);
        let hash = |key: &[u8]| slice.key(key).hash;
        for item in items.iter().filter(|_| !self.is_away()) {
            let args = batch_args.of(item);
            for_each_key_lock(item, &args, &hash, &mut |_, key_lock| match key_lock {
                KeyLock { scope: Scope::Key { hash, .. }, mode: Mode::Shared }
                    if locks.shares(own, hash) =>
                {
                    kept.push((hash, item.entry.may_propagate()));
                }
                _ => {}
            });
        }
        self.slice.keep_expired(kept);
    }

    /// Releases locks, and runs the parts that waited for them.
    pub(super) fn release(&mut self, lock: LockId) {
        let mut released = VecDeque::from([lock]);
        let mut granted = Vec::new();
        while let Some(lock) = released.pop_front() {
            self.free_held(lock);
            self.locks.release(lock, &mut granted);
            for lock in granted.drain(..) {
                let part = self.waiting.remove(&lock).expect("a waiting request has a part");
                if self.leaving.holds_back(&part) {
                    self.leaving.granted.push((lock, part));
                } else if self.work_granted(lock, part) {
                    released.push_back(lock);
                }
            }
        }
    }

    /// Runs the work of a part whose locks are granted. Returns whether the locks must be released.
    pub(super) fn work_granted(&mut self, lock: LockId, part: Box<Envelope>) -> bool {
        let keeps = part.txn().is_some_and(|txn| txn.stage == Stage::Acquire);
        let goes_on = self.work(part, Place::Reserved(lock));
        !keeps && !goes_on
    }
}

/// Adds the locks that commands need on their slice.
fn collect_key_locks<'i>(
    slice: &Slice,
    items: impl Iterator<Item = &'i Item>,
    batch_args: &mut BatchArgs<'_>,
    key_locks: &mut Vec<KeyLock>,
) {
    for item in items {
        let args = batch_args.of(item);
        let hash = |key: &[u8]| slice.key(key).hash;
        for_each_key_lock(item, &args, &hash, &mut |_, key_lock| key_locks.push(key_lock));
    }
}

/// Adds shared locks on the keys that a client watches. A transaction with an exclusive lock on one
/// of them must finish before the check.
fn collect_watched(slice: &Slice, watcher: Option<u64>, key_locks: &mut Vec<KeyLock>) {
    let Some(watcher) = watcher else { return };
    let lock = |hash| KeyLock { scope: Scope::name(hash), mode: Mode::Shared };
    key_locks.extend(slice.watched_by(watcher).map(|(_, hash)| lock(hash)));
}
