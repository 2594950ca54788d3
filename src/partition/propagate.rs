//! Propagation: when the journal is on, and what is recorded besides commands.

use super::journal::Place;
use super::partition::Partition;
use crate::exec::{KeyLock, Mode, Records, Scope, expire_word};
use crate::feed::{Journal, Timestamp, Unit};
use crate::mesh::{Envelope, Moment};
use crate::txn::LockId;

impl Partition {
    /// Returns the journal, for the feed.
    pub fn journal_mut(&mut self) -> &mut Journal {
        &mut self.journal.journal
    }

    /// Returns whether the partition propagates.
    pub fn is_journal_on(&self) -> bool {
        self.journal.journal.is_on()
    }

    /// Returns the time that an envelope sent now carries.
    #[inline]
    pub fn moment(&self) -> Moment {
        let clock = &self.journal.journal.clock;
        let (timestamp, written) = (clock.sending(), clock.written());
        Moment { timestamp, written, unix_us: self.env.now.unix_us }
    }

    /// Returns a buffer for the records of a part if they are needed.
    pub(super) fn records_at(&mut self, place: Place) -> Option<Records> {
        match place {
            Place::Now(_) => self.journal.records(),
            Place::Reserved(lock) if self.journal.reservations.contains_key(&lock) => {
                Some(self.journal.pool.pop().unwrap_or_default())
            }
            Place::Reserved(_) => None,
        }
    }

    /// Records the keys that expired while they were fetched for the command at index `at`.
    pub(super) fn record_expired(&mut self, records: &mut Records, at: u32) {
        let name = expire_word(&self.env.config);
        for gone in self.slice.drain_expired() {
            records.add_expired(at, name, &gone);
        }
    }

    /// Ends what a run's commands do with expired keys: reads remove them again. A unit that is not
    /// propagated forgets them.
    #[inline]
    pub(super) fn end_expired(&mut self, lock: Option<LockId>, is_propagated: bool) {
        self.slice.keep_expired([]);
        if !is_propagated
            && self.slice.has_expired()
            && let Some(lock) = lock
        {
            self.forget_expired(lock);
        }
    }

    /// Forgets which keys have expired in a unit that is not propagated although the journal is on.
    /// The unit began before a snapshot, which has what the unit leaves in the keys that it has
    /// locked exclusively. Of other keys the snapshot has what was there before.
    #[cold]
    pub(super) fn forget_expired(&mut self, lock: LockId) {
        let locks = &self.locks;
        let is_own = |hash| {
            let key_lock = KeyLock { scope: Scope::name(hash), mode: Mode::Exclusive };
            locks.covers(lock, key_lock)
        };
        self.slice.forget_expired(&is_own);
    }

    /// Writes the keys that expired without any command.
    pub fn write_expired(&mut self) {
        self.write_removed(expire_word(&self.env.config));
    }

    /// Writes the keys that were removed without any command, each as a command of this name.
    pub(super) fn write_removed(&mut self, name: &[u8]) {
        if !self.slice.has_expired() {
            return;
        }
        let mut records = self.journal.pool.pop().unwrap_or_default();
        for (at, gone) in self.slice.drain_expired().enumerate() {
            records.add_expired(at as u32, name, &gone);
        }
        self.journal.write_local(Some(records), false);
    }

    /// Turns the journal on, at the barrier of a snapshot. Later units of this partition are
    /// propagated.
    pub(super) fn begin_feed(&mut self, timestamp: Timestamp, part: &Envelope, id: u64) {
        self.slice.note_expired(true);
        self.journal.journal.set_on(true);
        // The units that wait for locks run before the snapshot is made, so they precede its mark.
        self.journal.journal.firm_up_all();
        self.write_mark(timestamp, part, id);
    }

    /// Turns the journal on, because the append-only file is loaded and all units from now on are
    /// appended to it. No unit that may write has begun.
    pub fn start_propagating(&mut self) {
        self.slice.note_expired(true);
        self.journal.journal.set_on(true);
    }

    /// Writes the mark of a barrier.
    pub(super) fn write_mark(&mut self, timestamp: Timestamp, part: &Envelope, id: u64) {
        if self.journal.journal.is_on() {
            let unit = Unit::Mark { sequence: part.sequence, parts: part.parts, id };
            self.journal.journal.append(timestamp, unit, &mut Records::default());
        }
    }

    /// Stops propagation, except for units that began before.
    pub fn stop_propagating(&mut self) {
        self.journal.journal.set_on(false);
        self.slice.note_expired(false);
    }
}
