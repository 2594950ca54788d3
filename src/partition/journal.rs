//! Commands that the partition propagates: once per unit, at the place in the order at which the
//! unit arrived.
//!
//! ```text
//!   batch run at home   local timestamp    append
//!   part, runs          arrived            append
//!   part, waits         arrived            reserve .............. fill when it runs
//!   transaction         arrived            reserve .. rounds .... fill at the last round
//!   keys have expired   local timestamp    append
//!   snapshot, mark      arrived            append a mark, which all partitions have
//! ```

use super::partition::Partition;
use crate::exec::{Records, expire_word};
use crate::feed::{Journal, Reservation, Timestamp, Unit};
use crate::mesh::{Envelope, Moment, Stage, Work};
use crate::txn::LockId;
use std::collections::HashMap;

/// The most empty record buffers that are kept for reuse.
const RECORDS_POOLED_MAX: usize = 4;

/// The place of a part in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The part has just arrived, with this timestamp.
    Now(Timestamp),
    /// Reserved for the part with this lock request, if the journal was on.
    Reserved(LockId),
}

impl Place {
    /// Returns the lock request of the part, if it has one.
    pub(super) fn lock(self) -> Option<LockId> {
        match self {
            Place::Now(_) => None,
            Place::Reserved(lock) => Some(lock),
        }
    }
}

/// The journal and the reserved places in it.
#[derive(Debug, Default)]
pub(super) struct JournalLane {
    pub(super) journal: Journal,
    /// Reserved places of parts and transactions in progress, by their lock requests.
    pub(super) reservations: HashMap<LockId, Reservation>,
    /// Empty buffers for records.
    pool: Vec<Records>,
}

impl JournalLane {
    /// Returns the timestamp of an arriving part. `sent` is the sender's timestamp.
    pub(super) fn arrived(&mut self, sent: Timestamp) -> Timestamp {
        self.journal.clock.arrived(sent)
    }

    /// Returns a buffer for records if the journal is on.
    pub(super) fn records(&mut self) -> Option<Records> {
        self.journal.is_on().then(|| self.pool.pop().unwrap_or_default())
    }

    /// Takes a buffer back.
    pub(super) fn keep_records(&mut self, mut records: Records) {
        if self.pool.len() < RECORDS_POOLED_MAX {
            records.clear();
            self.pool.push(records);
        }
    }

    /// Reserves the place of a part that runs later.
    pub(super) fn reserve(&mut self, lock: LockId, timestamp: Timestamp, part: &Envelope) {
        if self.journal.is_on() && !matches!(part.work, Work::Control { .. }) {
            let reservation = self.journal.reserve(timestamp, unit_of(part));
            self.reservations.insert(lock, reservation);
        }
    }

    /// Writes the records of a part that has run for the last time.
    pub(super) fn write_part(&mut self, place: Place, part: &Envelope, records: Option<Records>) {
        let Some(mut records) = records else { return };
        match place {
            // A snapshot is not a unit: its mark was written when it arrived.
            Place::Now(_) if part.items.is_empty() && part.txn().is_none() => {}
            Place::Now(timestamp) => self.journal.append(timestamp, unit_of(part), &mut records),
            Place::Reserved(lock) => {
                if let Some(reservation) = self.reservations.remove(&lock) {
                    self.journal.fill(reservation, &mut records);
                }
            }
        }
        self.keep_records(records);
    }

    /// Writes the records of a batch or transaction that has run at its home.
    pub(super) fn write_local(&mut self, records: Option<Records>, is_transaction: bool) {
        let Some(mut records) = records else { return };
        if !records.is_empty() {
            let timestamp = self.journal.clock.local();
            self.journal.append(timestamp, Unit::Single { is_transaction }, &mut records);
        }
        self.keep_records(records);
    }

    /// Writes records that follow from the previous unit, as their own unit.
    pub(super) fn write_following(&mut self, records: Option<Records>) {
        let Some(mut records) = records else { return };
        if !records.is_empty() {
            let timestamp = self.journal.clock.following();
            let unit = Unit::Single { is_transaction: false };
            self.journal.append(timestamp, unit, &mut records);
        }
        self.keep_records(records);
    }
}

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
        let timestamp = self.journal.journal.clock.sending();
        Moment { timestamp, unix_us: self.env.now.unix_us }
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

    /// Writes the keys that expired without any command.
    pub fn write_expired(&mut self) {
        if !self.slice.has_expired() {
            return;
        }
        let mut records = self.journal.pool.pop().unwrap_or_default();
        let name = expire_word(&self.env.config);
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
        self.write_mark(timestamp, part, id);
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

/// Returns the kind of unit that a part belongs to.
fn unit_of(part: &Envelope) -> Unit {
    let is_transaction = part.txn().is_some();
    debug_assert!(part.txn().is_none_or(|txn| txn.stage != Stage::Continue));
    if part.parts > 1 {
        Unit::Part { sequence: part.sequence, parts: part.parts, is_transaction }
    } else {
        Unit::Single { is_transaction }
    }
}
