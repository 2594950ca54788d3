//! What the shard writes down for the feed: once per unit, at the place at which the unit came.
//!
//! ```text
//!   run here          local stamp    append
//!   part, runs        arrived        append
//!   part, waits       arrived        reserve .............. fill when it runs
//!   transaction       arrived        reserve .. rounds .... fill at the last
//!   keys fell due     local stamp    append
//!   snapshot, mark    arrived        append a mark, which all shards have
//! ```

use super::Shard;
use crate::exec::{Records, expire_word};
use crate::feed::{Merged, Timestamp, Unit};
use crate::mesh::{Envelope, Stage, Work};
use crate::txn::LockId;

/// The place of a part in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It came just now, with this stamp.
    Now(Timestamp),
    /// It was reserved for the part with this claim, if the feed was on.
    Reserved(LockId),
}

impl Place {
    /// The claim of the part, if it has one.
    pub(super) fn lock(self) -> Option<LockId> {
        match self {
            Place::Now(_) => None,
            Place::Reserved(lock) => Some(lock),
        }
    }
}

/// Buffers for records that are kept for reuse.
const RECORDS_POOLED_MAX: usize = 4;

impl Shard {
    /// A buffer for what is to be written down, if anything is.
    pub(super) fn records_now(&mut self) -> Option<Records> {
        self.journal.is_on().then(|| self.records_pool.pop().unwrap_or_default())
    }

    pub(super) fn keep_records(&mut self, mut records: Records) {
        if self.records_pool.len() < RECORDS_POOLED_MAX {
            records.clear();
            self.records_pool.push(records);
        }
    }

    /// The same for a part at a place.
    pub(super) fn records_at(&mut self, place: Place) -> Option<Records> {
        let is_told = match place {
            Place::Now(_) => self.journal.is_on(),
            Place::Reserved(lock) => self.slots.contains_key(&lock),
        };
        is_told.then(|| self.records_pool.pop().unwrap_or_default())
    }

    /// Keeps the place of a part that is to run later.
    pub(super) fn reserve(&mut self, lock: LockId, stamp: Timestamp, part: &Envelope) {
        if self.journal.is_on() && !matches!(part.work, Work::Ask(_)) {
            let slot = self.journal.reserve(stamp, unit_of(part));
            self.slots.insert(lock, slot);
        }
    }

    /// A part has run for the last time.
    pub(super) fn write_down(&mut self, place: Place, part: &Envelope, records: Option<Records>) {
        let Some(mut records) = records else { return };
        match place {
            // A snapshot is no unit: its mark was written when it came.
            Place::Now(_) if part.items.is_empty() && part.hold.is_none() => {}
            Place::Now(stamp) => self.journal.append(stamp, unit_of(part), &mut records),
            Place::Reserved(lock) => {
                if let Some(slot) = self.slots.remove(&lock) {
                    self.journal.fill(slot, &mut records);
                }
            }
        }
        self.keep_records(records);
    }

    /// A batch or a transaction has run here.
    pub(super) fn write_down_here(&mut self, records: Option<Records>, is_transaction: bool) {
        let Some(mut records) = records else { return };
        if !records.is_empty() {
            let stamp = self.journal.clock.local();
            self.journal.append(stamp, Unit::Single { is_transaction }, &mut records);
        }
        self.keep_records(records);
    }

    /// Keys fell due while they were fetched for the command at a place.
    pub(super) fn record_expired(&mut self, records: &mut Records, at: u32) {
        let word = expire_word(&self.config);
        for gone in self.slice.drain_expired() {
            records.add_expired(at, word, &gone);
        }
    }

    /// Keys have fallen due that no command has asked for.
    pub(super) fn write_down_expired(&mut self) {
        if !self.slice.has_expired() {
            return;
        }
        let mut records = self.records_pool.pop().unwrap_or_default();
        let word = expire_word(&self.config);
        for (at, gone) in self.slice.drain_expired().enumerate() {
            records.add_expired(at as u32, word, &gone);
        }
        self.write_down_here(Some(records), false);
    }

    /// The barrier of a snapshot has come: what comes later on this shard is in the feed.
    pub(super) fn begin_feed(&mut self, stamp: Timestamp, part: &Envelope, id: u64) {
        self.slice.note_expired(true);
        self.journal.set_on(true);
        self.write_mark(stamp, part, id);
    }

    /// A barrier has come.
    pub(super) fn write_mark(&mut self, stamp: Timestamp, part: &Envelope, id: u64) {
        if self.journal.is_on() {
            let unit = Unit::Mark { sequence: part.sequence, parts: part.parts, id };
            self.journal.append(stamp, unit, &mut Records::default());
        }
    }

    /// Once per turn: what was written down goes to the merger.
    pub(super) fn publish_feed(&mut self) {
        if !self.feed.is_on() {
            return;
        }
        self.write_down_expired();
        let merged = self.feed.publish(self.me, &mut self.journal);
        self.after_merge(merged);
    }

    /// Whether the shard may park, as far as the feed goes.
    pub(super) fn may_park(&mut self) -> bool {
        let (may, merged) = self.feed.park(self.me, &mut self.journal);
        self.after_merge(merged);
        if !may {
            self.is_feed_behind = true;
        }
        may
    }

    /// The stream has grown: its readers get their turn, here and elsewhere.
    pub(super) fn after_merge(&mut self, merged: Merged) {
        self.is_feed_behind = merged.is_behind;
        if !merged.has_grown {
            return;
        }
        self.refresh_facts();
        for shard in self.feed.readers() {
            if shard != self.me {
                self.port.nudge(shard);
            }
        }
    }
}

/// What a part is a part of.
fn unit_of(part: &Envelope) -> Unit {
    let is_transaction = part.hold.is_some();
    debug_assert!(part.hold.as_ref().is_none_or(|hold| hold.stage != Stage::Continue));
    if part.parts > 1 {
        Unit::Part { sequence: part.sequence, parts: part.parts, is_transaction }
    } else {
        Unit::Single { is_transaction }
    }
}
