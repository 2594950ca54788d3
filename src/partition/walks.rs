//! Commands that walk over all keys (KEYS, a SCAN with a large COUNT), slice by slice.
//!
//! ```text
//!   part arrives --> queue --one slice a turn--> queue ... --> reply
//!                      ^   '--keys may be missing--> waits --granted, a slice--.
//!                      '------------------------------------------------------'
//! ```
//! A walk needs no locks: keys whose values are with a transaction have stubs. Two kinds of units
//! make keys disappear that exist before and after. A transaction may delete a key in an early
//! round and create it in a later one, and a slice that is handed over has no keys here. Only then
//! a slice waits for all locks. Between two slices other commands run, and no lock is held. Each
//! connection of the process has at most one walk.

use super::journal::Place;
use super::partition::Partition;
use super::run::note_failure;
use crate::exec::{KeyLock, Mode, Runner, Scope, Walk, long_weight};
use crate::mesh::{Envelope, Work};
use crate::resp::Reply;

/// The lock under which a slice runs.
const SLICE_LOCK: KeyLock = KeyLock { scope: Scope::All, mode: Mode::Shared };

impl Partition {
    /// Returns whether a part is one command that must run in slices.
    pub(super) fn is_walk(&self, part: &mut Envelope) -> bool {
        let [item] = part.items[..] else { return false };
        if item.entry.command.walk.is_none() || self.offloads.is_none() {
            return false;
        }
        let (_, mut batch_args, ..) = part.parts();
        long_weight(&self.slice, &item, &mut batch_args, self.long_elements_min()).is_some()
    }

    /// Queues a part whose command runs in slices. Its unit in the journal is empty.
    pub(super) fn begin_walk(&mut self, mut part: Box<Envelope>, place: Place) {
        let records = self.records_at(place);
        self.journal.write_part(place, &part, records);
        part.work = Work::Walk(Box::new(Walk::sliced(self.long_elements_min())));
        self.slices.walks.push_back(part);
    }

    /// Runs one slice of the walk that has waited longest. Returns whether there was any.
    pub(super) fn walk_on(&mut self) -> bool {
        let Some(part) = self.slices.walks.pop_front() else { return false };
        let may_miss_keys = self.is_away() || self.unfinished.has_rounds();
        if may_miss_keys && self.locks.conflicts([SLICE_LOCK]) {
            let (lock, is_granted) = self.locks.request(&[SLICE_LOCK]);
            assert!(!is_granted, "the lock conflicts with earlier requests");
            self.waiting.insert(lock, part);
        } else {
            self.deferred.begin();
            self.run_slice(part);
        }
        true
    }

    /// Runs one slice of a walk, and replies after the last one.
    pub(super) fn run_slice(&mut self, mut part: Box<Envelope>) {
        let Work::Walk(mut walk) = std::mem::replace(&mut part.work, Work::Batch) else {
            unreachable!("only a walk has slices");
        };
        let started_ns = self.env.clock_ns();
        self.slice.keep_unasked(!self.locks.is_empty());
        let protocol = part.protocol;
        let (items, mut batch_args, output, ends) = part.parts();
        let item = items[0];
        let now_ms = self.env.now.unix_ms();
        let mut runner = Runner::new(&mut self.slice, &self.env.config, now_ms, protocol);
        let result = runner.walk(&item, &mut batch_args, output, &mut walk);
        let effects = runner.effects;
        let spent_ns = walk.spend(self.env.clock_ns().saturating_sub(started_ns));
        if let Ok(false) = result {
            part.work = Work::Walk(walk);
            self.slices.walks.push_back(part);
            self.tell_events();
            return self.serve_blocked_behind();
        }
        if let Err(error) = &result {
            Reply::new(output, protocol).error(error);
            if !item.is_counted {
                note_failure(&self.env.board, item.entry, error);
            }
        }
        ends.push(output.mark());
        if spent_ns >= self.env.thresholds.run_ns {
            part.spent.push((item.at, spent_ns));
        }
        self.settle(effects, spent_ns, &[item]);
        self.serve_blocked_behind();
        self.answer_later(part);
    }
}
