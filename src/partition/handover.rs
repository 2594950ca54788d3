//! Handover: the slice on its way to a unit that has locked the whole partition, and back.
//!
//! ```text
//!            the unit's lock on everything is granted,        the unit's next round
//!            and its part takes the slice                     brings the slice
//!   here  ------------------------------------------->  away  ---------------------->  here
//!            the slice leaves with the reply
//! ```
//! - here: the slice has the partition's keys. Units run as their locks allow.
//! - away: an empty stand-in is in the slice's place, and no command runs. The unit at its home
//!   runs commands on the slice itself, and on the slices of all other partitions.
//!
//! Only the slice leaves. The lock table, the waiting parts, the journal and the blocked clients
//! stay with the partition, and its holder goes on: parts arrive and wait for locks, replies leave,
//! timers run. So the absence needs no state of the hold word, and a borrower may hold a partition
//! whose slice is away.
//!
//! # Why the order is kept
//!
//! The unit has locked everything, exclusively. So each unit that arrives meanwhile conflicts with
//! the lock and waits behind it, in the order of arrival, as behind any other lock. This holds for
//! commands of the shard's own connections too: they are posted to the shard's own inbox if a lock
//! conflicts. Units that need no lock while the slice is here wait as well, see
//! [`Partition::wait_for_slice`]. Replies land early in the meantime. That changes no order,
//! because a connection's next command on these keys waits in turn.
//!
//! # Why nothing is stuck
//!
//! A unit requests the lock in its first round, so `txn::lock_table` says why it is granted. With
//! the slices, the unit waits for nothing: it runs commands on its home's thread and sends the
//! slices back with its next round, which needs no credits. If its client leaves, the unit goes on,
//! because it belongs to the shard. If the process stops, nobody needs the slices any more. A
//! shutdown that saves is a unit that waits for the lock.

use super::absence::Late;
use super::partition::Partition;
use crate::exec::{KeyLock, Mode, Request, Scope};
use crate::keyspace::Slice;
use crate::mesh::{Envelope, Work};
use crate::txn::LockId;

impl Partition {
    /// Returns whether the slice is handed over.
    #[inline]
    pub(super) fn is_away(&self) -> bool {
        self.absence.is_away()
    }

    /// Returns whether units run although the slice is away. Used only without the rule
    /// `await_slice`.
    pub(super) fn ignores_handover(&self) -> bool {
        self.is_away() && !self.mesh.rules().await_slice
    }

    /// Returns whether commands may run although the slice is away: it is replaced by another
    /// partition's slice, or the rule `await_slice` is off.
    pub(super) fn has_keys_anyway(&self) -> bool {
        self.absence.has_guest() || self.ignores_handover()
    }

    /// Runs a round's work on the slice of another partition, for a unit of this shard that holds
    /// the slices of all partitions. The part has what the slice's owner would receive.
    pub fn run_on_guest(&mut self, slice: &mut Slice, part: &mut Envelope, is_recorded: bool) {
        std::mem::swap(&mut self.slice, slice);
        self.absence.set_guest(true);
        let mut records = is_recorded.then(|| std::mem::take(&mut part.txn_mut().records));
        self.run_work(part, None, records.as_mut());
        if let Some(records) = records {
            part.txn_mut().records = records;
        }
        self.absence.set_guest(false);
        std::mem::swap(&mut self.slice, slice);
    }

    /// Hands the slice over to the unit with this lock request.
    pub(super) fn hand_over(&mut self, lock: LockId) -> Box<Slice> {
        assert!(self.locks.has_everything(lock), "the unit excludes every other unit");
        self.publish();
        self.tell_events();
        let stand_in = self.slice.stand_in();
        self.absence.begin();
        Box::new(std::mem::replace(&mut self.slice, stand_in))
    }

    /// Takes the slice back, and catches up on what has waited for it.
    pub(super) fn take_slice_back(&mut self, slice: Slice) {
        assert!(self.is_away(), "a slice comes home once");
        let slots_before = self.slice.slots().clone();
        self.slice = slice;
        self.absence.end();
        self.slice.set_now(self.env.now.unix_ms());
        self.slice.note_expired(self.is_journal_on());
        self.heed_trackers();
        self.settle_settings();
        if *self.slice.slots() != slots_before {
            self.heed_moved_slots(&slots_before);
        }
        while let Some(late) = self.absence.take_late() {
            match late {
                Late::Request(part) => self.answer_late(part),
                Late::Unwatch(client) => self.unwatch(client),
                Late::Forget(ticket) => self.unblock(ticket),
                Late::Idle(ticket) => self.make_idle(ticket),
                Late::Resume => self.make_paused_keys_ready(),
                Late::MovedWaiters(moved) => self.list_moved(moved),
            }
        }
        self.publish();
    }

    /// Does something when the slice is back. Call it only while the slice is away.
    pub(super) fn do_later(&mut self, late: Late) {
        self.absence.keep(late);
    }

    /// Returns whether a part is a request that must wait for the slice.
    pub(super) fn must_wait_for_slice(&self, part: &Envelope) -> bool {
        let Work::Control { request, .. } = &part.work else { return false };
        self.is_away()
            && matches!(request, Request::Debug(_) | Request::ActiveExpire(_) | Request::LogTable)
    }

    /// Makes a unit wait for everything if the slice is away and its own locks might not make it
    /// wait: it has none, or they depend on the keys that its client watches.
    pub(super) fn wait_for_slice(&self, watcher: Option<u64>, key_locks: &mut Vec<KeyLock>) {
        if self.is_away() && (key_locks.is_empty() || watcher.is_some()) {
            key_locks.push(KeyLock { scope: Scope::All, mode: Mode::Shared });
        }
    }
}
