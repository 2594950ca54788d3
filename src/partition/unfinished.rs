//! Units that have taken effect in part: which of them a survey must not come between.

use crate::mesh::{Envelope, Stage, Work};
use crate::txn::LockId;
use std::collections::HashSet;

/// Units that have taken effect in part.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    /// Lock requests of transactions that have changed keys before their last round. Each is
    /// granted.
    rounds: HashSet<LockId>,
    /// Number of parts whose commands run on other threads, and whose units have other parts.
    offloaded: usize,
}

impl Unfinished {
    /// Returns whether there is no such unit.
    pub(super) fn is_empty(&self) -> bool {
        self.rounds.is_empty() && self.offloaded == 0
    }

    /// Returns whether a transaction has changed keys before its last round.
    pub(super) fn has_rounds(&self) -> bool {
        !self.rounds.is_empty()
    }

    /// Records that a transaction has changed keys and has another round.
    pub(super) fn begin_round(&mut self, lock: LockId) {
        self.rounds.insert(lock);
    }

    /// Records that a transaction has run its last round.
    pub(super) fn end_rounds(&mut self, lock: LockId) {
        self.rounds.remove(&lock);
    }

    /// Records that a command of a part runs on another thread.
    pub(super) fn begin_offload(&mut self, part: &Envelope) {
        self.offloaded += usize::from(may_have_begun(part));
    }

    /// Records that a command of a part has come back from another thread.
    pub(super) fn end_offload(&mut self, part: &Envelope) {
        self.offloaded -= usize::from(may_have_begun(part));
    }
}

/// Returns whether other parts of an unfinished part's unit may have run and keep no locks. No
/// client sees when the shares of a file were made, so requests do not count.
pub(super) fn may_have_begun(part: &Envelope) -> bool {
    let keeps_no_locks = match &part.work {
        Work::Batch => true,
        Work::Transaction(txn) => txn.stage == Stage::OneShot,
        _ => false,
    };
    part.parts > 1 && keeps_no_locks
}
