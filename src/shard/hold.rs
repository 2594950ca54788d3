//! The owner's side of locks: parts that have to wait, and the rounds of transactions.
//!
//! ```text
//!   arrives --nothing in its way--> runs --answer
//!      |
//!      '--behind a claim--> waits --granted--> runs --answer
//! ```
//! What waits is a claim itself, so what comes later and touches the same waits behind it, and the
//! order of arrival is kept. Bounded by credits: what waits has not been answered.

use super::Shard;
use super::block::awaited_of;
use super::journal::Place;
use super::post::Awaited;
use super::slow::has_slow;
use super::wake::{Waker, args_of};
use crate::exec::{BatchArgs, Item, KeyLock, Mode, RemoteKey, Request, Scope, for_each_key_lock};
use crate::keyspace::{ExpiryRole, Slice};
use crate::mesh::{Envelope, Moment, Registration, Stage, TxnPart, Work};
use std::collections::VecDeque;
use std::sync::Arc;

impl Shard {
    /// What an envelope that is sent now carries.
    pub(super) fn moment(&self) -> Moment {
        Moment { stamp: self.journal.clock.sending(), unix_us: self.now.unix_us }
    }

    /// A part has come out of the inbox.
    pub(super) fn arrive(&mut self, mut part: Box<Envelope>) {
        let stamp = self.journal.clock.arrived(part.sent.stamp);
        let stage = part.hold.as_ref().map_or(Stage::OneShot, |hold| hold.stage);
        if let Work::Ask(Request::Snapshot(id)) = part.work {
            self.begin_feed(stamp, &part, id);
        }
        match stage {
            Stage::OneShot if self.locks.is_empty() => {
                self.work(part, Place::Now(stamp));
            }
            Stage::OneShot => {
                let key_locks = self.key_locks_of(&mut part);
                if self.locks.conflicts(key_locks.iter().copied()) {
                    let (lock, is_granted) = self.locks.request(&key_locks);
                    assert!(!is_granted, "it conflicts");
                    self.reserve(lock, stamp, &part);
                    self.waiting.insert(lock, part);
                } else {
                    self.work(part, Place::Now(stamp));
                }
            }
            Stage::Acquire => {
                let hold = part.hold.as_mut().expect("it has a stage");
                let mut key_locks = std::mem::take(&mut hold.key_locks);
                collect_watched(&self.slice, hold.watcher, &mut key_locks);
                let (lock, is_granted) = self.locks.request(&key_locks);
                hold.lock = lock;
                self.reserve(lock, stamp, &part);
                if is_granted {
                    self.work(part, Place::Reserved(lock));
                } else {
                    self.waiting.insert(lock, part);
                }
            }
            Stage::Continue | Stage::Release => {
                let lock = part.hold.as_ref().expect("it has a stage").lock;
                self.work(part, Place::Reserved(lock));
            }
        }
    }

    /// What a part means to touch.
    pub(super) fn key_locks_of(&self, part: &mut Envelope) -> Vec<KeyLock> {
        if let Work::Ask(request) = &part.work {
            let is_write = matches!(request, Request::Reload(_));
            let mode = if is_write { Mode::Exclusive } else { Mode::Shared };
            return vec![KeyLock { scope: Scope::All, mode }];
        }
        let mut key_locks = Vec::new();
        let (items, mut batch_args, ..) = part.parts();
        collect_key_locks(&self.slice, items, &mut batch_args, &mut key_locks);
        let watcher = part.hold.as_ref().and_then(|hold| hold.watcher);
        collect_watched(&self.slice, watcher, &mut key_locks);
        key_locks
    }

    /// Whether commands touch what is claimed, or the keys that a client watches.
    pub(super) fn is_in_the_way(
        &self,
        items: &[Item],
        batch_args: &mut BatchArgs<'_>,
        watcher: Option<u64>,
    ) -> bool {
        let mut key_locks = Vec::new();
        collect_watched(&self.slice, watcher, &mut key_locks);
        collect_key_locks(&self.slice, items, batch_args, &mut key_locks);
        self.locks.conflicts(key_locks)
    }

    /// Does what a part asks for, under its locks if it has any, and sends it home. True if it goes
    /// on later, and keeps its claim until then.
    fn work(&mut self, mut part: Box<Envelope>, place: Place) -> bool {
        self.forwarded.begun.clear();
        if part.hold.is_none() && matches!(part.work, Work::Commands) {
            let (items, mut batch_args, ..) = part.parts();
            if self.offload_pool.is_some() && has_slow(&self.slice, items, &mut batch_args) {
                return self.work_slowly(part, place);
            }
        }
        let mut records = self.records_at(place);
        let lock = place.lock();
        let Some(mut hold) = part.hold.take() else {
            self.work_at_once(&mut part, Waker { at: 0, lock, records: records.as_mut() });
            self.write_down(place, &part, records);
            self.wake_behind(lock);
            if matches!(part.work, Work::Recheck(_)) {
                // Nobody waits for its answer.
                self.forwarded.begun.clear();
                self.port.recycle(part);
            } else {
                self.send_home_later(part);
            }
            return false;
        };
        if let Some(records) = &mut records {
            records.absorb(&mut hold.records);
        }
        let turn = self.set_time(hold.now_us);
        if let Some(watcher) = hold.watcher.take() {
            hold.is_broken = self.slice.is_watch_broken(watcher);
            self.slice.unwatch(watcher);
        }
        if !hold.is_broken {
            self.store(&mut hold.stores);
            if !part.items.is_empty() {
                let waker = Waker { at: 0, lock, records: records.as_mut() };
                self.run_commands(&mut part, waker, false, true);
            }
            for remote_key in &mut hold.fetches {
                let key = self.slice.key_in_slot(&remote_key.key, remote_key.slot);
                let to_write = remote_key.mode == Mode::Exclusive;
                remote_key.value = self.slice.fetch(usize::from(remote_key.db), &key, to_write);
            }
            if let Some(records) = &mut records {
                self.record_expired(records, hold.fetch_at);
            }
        }
        self.set_time(turn);
        let closed = (hold.stage == Stage::Release).then_some(hold.lock);
        let is_done = !hold.stage.has_next();
        if is_done {
            self.settle_waits(&mut hold, &part);
        } else {
            hold.ready.extend(std::iter::from_fn(|| self.slice.take_ready()));
        }
        part.hold = Some(hold);
        if is_done {
            self.write_down(place, &part, records);
            self.wake_behind(lock);
        } else if let (Some(mut records), Some(hold)) = (records, &mut part.hold) {
            hold.records.absorb(&mut records);
            self.keep_records(records);
        }
        self.send_home_later(part);
        if let Some(lock) = closed {
            self.release(lock);
        }
        false
    }

    /// The same for a part of no transaction, which is answered at once.
    fn work_at_once(&mut self, part: &mut Envelope, mut waker: Waker<'_>) {
        match std::mem::replace(&mut part.work, Work::Commands) {
            Work::Commands => {
                self.run_commands(part, waker, false, false);
            }
            Work::Ask(request) => self.answer_timed(&request, part),
            Work::Recheck(number) => {
                self.make_idle(number);
                self.wake(waker.again());
                part.work = Work::Recheck(number);
            }
            Work::Try(ticket) => {
                let Some(mut wait) = self.run_commands(part, waker, true, false) else { return };
                let (items, mut batch_args, ..) = part.parts();
                let item = items[0];
                wait.args.get_or_insert_with(|| args_of(&item, &mut batch_args));
                let awaited = awaited_of(part);
                let waits = Box::new((Arc::clone(&ticket), wait.clone()));
                let is = Registration { ticket, item, flight: awaited.flight, wait };
                self.register(is, awaited.of(usize::from(part.home)), part.protocol);
                part.work = Work::Waits(waits);
            }
            work => unreachable!("{work:?} touches no keys"),
        }
    }

    /// A transaction ends here that was a command that waits now, or that waited.
    fn settle_waits(&mut self, hold: &mut TxnPart, part: &Envelope) {
        for (db, key) in hold.ready.drain(..) {
            let key = self.slice.key(&key);
            self.slice.make_ready(db, &key);
        }
        if let Some(is) = hold.waits.take() {
            let awaited = Awaited { flight: is.flight, ..awaited_of(part) };
            self.register(*is, awaited.of(usize::from(part.home)), part.protocol);
        }
        match hold.moved.take() {
            Some(moved) if moved.waits_on => self.make_idle(moved.ticket),
            Some(moved) => drop(self.forget_waiter(moved.ticket)),
            None => {}
        }
    }

    /// Lets commands run at this time (Unix microseconds), and gives the time before: all commands
    /// of a transaction run at one.
    pub(super) fn set_time(&mut self, unix_us: u64) -> u64 {
        let before = std::mem::replace(&mut self.now.unix_us, unix_us);
        self.slice.set_now(self.now.unix_ms());
        before
    }

    /// Gives keys the values that a command has left elsewhere.
    pub(super) fn store(&mut self, stores: &mut Vec<RemoteKey>) {
        if stores.is_empty() {
            return;
        }
        // A value that is due is not expired now, which the feed would tell too late, but replaced.
        let role = self.slice.set_role(ExpiryRole::Loading);
        for remote_key in stores.drain(..) {
            let key = self.slice.key_in_slot(&remote_key.key, remote_key.slot);
            let db = usize::from(remote_key.db);
            match remote_key.value {
                Some(detached) if remote_key.is_changed => self.slice.bring(db, &key, detached),
                Some(detached) => self.slice.restore(db, &key, detached),
                // What was moved to the command is no longer here.
                None => {
                    self.slice.remove(db, &key);
                    self.slice.note_change(db, &key);
                }
            }
        }
        self.slice.set_role(role);
        self.publish();
    }

    pub(super) fn send_home(&mut self, mut part: Box<Envelope>) {
        if part.carried.posted_ns > 0 {
            part.carried.posted_ns = self.process.clock.monotonic_ns().max(1);
        }
        if let Some(own) = self.port.answer(part, self.moment()) {
            self.land(own);
        }
    }

    /// Gives locks back, and runs what waited for them.
    pub(super) fn release(&mut self, lock: u64) {
        let mut released = VecDeque::from([lock]);
        let mut granted = Vec::new();
        while let Some(lock) = released.pop_front() {
            self.locks.release(lock, &mut granted);
            for lock in granted.drain(..) {
                let part = self.waiting.remove(&lock).expect("a lock that waits has a part");
                let keeps = part.hold.as_ref().is_some_and(|hold| hold.stage == Stage::Acquire);
                let goes_on = self.work(part, Place::Reserved(lock));
                if !keeps && !goes_on {
                    released.push_back(lock);
                }
            }
        }
    }
}

/// What commands mean to touch on the shard that they have come to.
pub(super) fn collect_key_locks(
    slice: &Slice,
    items: &[Item],
    batch_args: &mut BatchArgs<'_>,
    key_locks: &mut Vec<KeyLock>,
) {
    for item in items {
        let args = batch_args.of(item);
        let hash = |word: &[u8]| slice.key(word).hash;
        for_each_key_lock(item.entry, &args, &hash, &mut |_, key_lock| key_locks.push(key_lock));
    }
}

/// The verdict on watched keys needs them as they are: whoever holds them to write comes first.
fn collect_watched(slice: &Slice, watcher: Option<u64>, key_locks: &mut Vec<KeyLock>) {
    let Some(watcher) = watcher else { return };
    key_locks.extend(
        slice
            .watched_by(watcher)
            .map(|(_, hash)| KeyLock { scope: Scope::Key { db: 0, hash }, mode: Mode::Shared }),
    );
}
