//! Commands that the partition propagates: once per unit, in the order in which the units take
//! effect.
//!
//! ```text
//!   batch run at home   local timestamp    append
//!   part, runs          arrived            append
//!   part, waits         arrived            open gap ............. filled when it runs
//!   transaction         arrived            open gap .. rounds ... filled at the last round
//!   recheck             following          open gap ............. filled when it runs
//!   part of a unit with several parts that may write, waits
//!                       arrived            firm gap ............. filled when it runs
//!   keys have expired   local timestamp    append
//!   mark of WAIT        arrived            append a mark, which all partitions have
//!   snapshot            arrived            the same, behind gaps that become firm
//! ```
//! Units that run meanwhile pass an open gap, so a transaction or a part that waits for locks holds
//! nothing up. This is right because they access other keys, and nobody sees an effect of the
//! waiting unit: a transaction is seen after its last round, which is one unit.
//!
//! A firm gap holds up the stream of this partition, and of all others that depend on it. Only one
//! kind of unit needs it: a batch, or a transaction of one round, with several parts, if any part
//! may write. Suppose that its part here waits for locks. Its other parts may have run already, so
//! other clients have seen their effects. What these clients do next must follow the whole unit in
//! the stream. The parts of a MSET must not be torn, and the commands of a pipeline keep their
//! order. So the stream waits for the part here, even if this part only reads: the writes of the
//! other parts follow what it sees. A unit that only reads needs no place: what it propagates, keys
//! that have expired, are units of their own.
//!
//! A part that goes on, after some of its commands were propagated, has a firm gap too: clients
//! that these commands have unblocked already have their replies. So has a transaction that goes
//! on, in rounds or in slices, after keys have expired in it: a unit that shares its lock of such a
//! key finds the key gone, and a replica must remove the key before.

use crate::exec::Records;
use crate::feed::{Gap, Journal, Reservation, Timestamp, Unit};
use crate::mesh::{Envelope, Stage, Work};
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
    /// Whether the journal stays off when a load ends.
    pub(super) rests: bool,
    /// Reserved places of parts and transactions in progress, by their lock requests.
    pub(super) reservations: HashMap<LockId, Reservation>,
    /// Lock requests of blocked commands that the running unit has unblocked. They depend on the
    /// unit, so their places are reserved after the unit's own place.
    followers: Vec<LockId>,
    /// Empty buffers for records.
    pub(super) pool: Vec<Records>,
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
            let unit = unit_of(part);
            let is_joint = matches!(unit, Unit::Part { .. }) && !part.is_acquiring();
            let gap = if is_joint { Gap::Firm } else { Gap::Open };
            self.reservations.insert(lock, self.journal.reserve(timestamp, unit, gap));
        }
    }

    /// Fills all reserved places without commands, because the process stops: the units in progress
    /// only read, and units that were held back never run. Parts that arrived after the end of
    /// service have no place. If other parts of their units may have one, they are written without
    /// commands.
    pub(super) fn close(&mut self, arrived: &[Box<Envelope>]) {
        let mut reservations: Vec<_> = self.reservations.drain().map(|(_, place)| place).collect();
        reservations.sort_unstable();
        for place in reservations {
            self.journal.fill(place, &mut Records::default());
        }
        if !self.journal.is_on() {
            return;
        }
        for part in arrived {
            let unit = unit_of(part);
            if matches!(unit, Unit::Part { .. }) && !matches!(part.work, Work::Control { .. }) {
                let timestamp = self.journal.clock.arrived(part.sent.timestamp);
                self.journal.append(timestamp, unit, &mut Records::default());
            }
        }
    }

    /// Makes later units follow a part that goes on, because it has left records already.
    pub(super) fn firm_up(&mut self, lock: LockId, records: Option<&Records>) {
        self.firm_up_if(lock, records.is_some_and(|records| !records.is_empty()));
    }

    /// Makes later units follow a transaction that goes on, if keys have expired in it.
    pub(super) fn firm_up_expired(&mut self, lock: LockId, records: Option<&Records>) {
        self.firm_up_if(lock, records.is_some_and(Records::has_expired));
    }

    fn firm_up_if(&mut self, lock: LockId, has_effects: bool) {
        if has_effects && let Some(reservation) = self.reservations.get(&lock) {
            self.journal.firm_up(*reservation);
        }
    }

    /// Makes the command with this lock request follow the unit that runs now.
    pub(super) fn follow(&mut self, lock: LockId) {
        if self.journal.is_on() {
            self.followers.push(lock);
        }
    }

    /// Reserves the places of the commands that follow the unit, whose own place is taken.
    pub(super) fn reserve_followers(&mut self) {
        for lock in std::mem::take(&mut self.followers) {
            let timestamp = self.journal.clock.following();
            let unit = Unit::Single { is_transaction: false };
            self.reservations.insert(lock, self.journal.reserve(timestamp, unit, Gap::Open));
        }
    }

    /// Writes the records of a part that has run for the last time.
    pub(super) fn write_part(&mut self, place: Place, part: &Envelope, records: Option<Records>) {
        let Some(mut records) = records else { return self.reserve_followers() };
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
        self.reserve_followers();
    }

    /// Writes the records of a batch or transaction that has run at its home.
    pub(super) fn write_local(&mut self, records: Option<Records>, is_transaction: bool) {
        let Some(mut records) = records else { return };
        if !records.is_empty() {
            let timestamp = self.journal.clock.local();
            self.journal.append(timestamp, Unit::Single { is_transaction }, &mut records);
        }
        self.keep_records(records);
        self.reserve_followers();
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
        self.reserve_followers();
    }
}

/// Returns the kind of unit that a part belongs to.
fn unit_of(part: &Envelope) -> Unit {
    let is_transaction = part.txn().is_some();
    debug_assert!(part.txn().is_none_or(|txn| txn.stage != Stage::Continue));
    if part.places > 1 {
        Unit::Part { sequence: part.sequence, parts: part.places, is_transaction }
    } else {
        Unit::Single { is_transaction }
    }
}
