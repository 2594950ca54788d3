//! Parts of units with very many commands or keys (EXEC, MGET, DEL), and of transactions with a
//! long command: they run in slices, under locks.
//!
//! ```text
//!   round arrives --its locks are granted--> queue --one slice a turn--> queue ... --> ends
//!                 '--a lock conflicts------> waits --granted--> queue       ^
//!   queue --its next command is long--> offload pool --stores what changed--'
//!   slice: stores values that the unit brings, runs commands, fetches values for its home
//!   ends:  serves blocked clients, replies; OneShot and Release free the locks
//! ```
//! Between two slices other units run, as far as the part's locks allow. So the unit is atomic: no
//! other unit sees or changes its keys before it is over. All of its commands see one time. Blocked
//! clients are served after the last slice, and the commands are propagated as one unit.
//!
//! A command on very many keys arrives as several commands on some of the keys each.

use super::journal::Place;
use super::partition::Partition;
use super::run::{Batch, RunMode, Waker};
use super::slices::{SLICE_ELEMENTS_MAX, SLICE_NS_MAX, SlicedPart, VALUE_WEIGHT};
use super::timing::BatchTiming;
use crate::exec::{
    BATCH_COMMANDS_MAX, Item, KeyLock, Mode, Records, Scope, SuspendedScript, step_weight,
};
use crate::mesh::{Envelope, Stage, TxnPart};
use crate::txn::LockId;
use std::ops::Range;

impl Partition {
    /// Requests the locks of a part: its key locks, and its set of keys.
    pub(super) fn request_locks_of(&mut self, part: &mut Envelope) -> (LockId, bool) {
        let txn = part.txn_mut();
        let (mut key_locks, set) = (std::mem::take(&mut txn.key_locks), txn.key_set.take());
        let watcher = txn.watcher;
        self.add_watched(watcher, &mut key_locks);
        if key_locks.is_empty() && set.as_ref().is_none_or(|set| set.is_empty()) {
            // Its commands may have no keys: they need the slice.
            key_locks.push(KeyLock { scope: Scope::PRESENCE, mode: Mode::Shared });
        }
        if !self.mesh.rules().lock_sets {
            let key = Scope::Key { db: 0, hash: u64::MAX };
            return self.locks.request(&[KeyLock { scope: key, mode: Mode::Shared }]);
        }
        self.locks.request_set(&key_locks, set)
    }

    /// Makes the round of a part run in slices, from the next [`Partition::run_slices`] on.
    pub(super) fn begin_slices(
        &mut self,
        mut part: Box<Envelope>,
        lock: LockId,
        records: Option<Records>,
    ) {
        let txn = part.txn_mut();
        let (stores, at) = (std::mem::take(&mut txn.stores).into_iter(), txn.fetch_at);
        if stores.len() > 0 || !part.items.is_empty() {
            // Surveys must not see the part before it is over.
            self.unfinished.begin_round(lock);
        }
        let at = part.items.first().map_or(at, |item| item.at);
        self.slices.parts.push_back(SlicedPart {
            part,
            stores,
            next: 0,
            fetched: 0,
            lock,
            records,
            spent: (at, 0),
            script: None,
        });
    }

    /// Returns whether a part of a unit in slices has more values to store and to fetch than one
    /// slice takes.
    pub(super) fn moves_many_values(&self, txn: &TxnPart) -> bool {
        let values = txn.stores.len() + txn.fetches.len();
        txn.is_sliced && VALUE_WEIGHT * values > self.slice_elements_max()
    }

    /// Returns the most elements of a slice of a part.
    fn slice_elements_max(&self) -> usize {
        self.long_elements_min().min(SLICE_ELEMENTS_MAX)
    }

    /// Returns whether work waits for its next slice.
    pub(super) fn has_slices(&self) -> bool {
        !self.slices.is_empty() || self.can_cut_on()
    }

    /// Runs the next slices: of a walk, of a part, of a script and of a cut. Returns whether there
    /// was any.
    pub fn run_slices(&mut self) -> bool {
        let walked = self.walk_on();
        let has_cut = self.cut_on();
        let has_script = self.script_on();
        self.slice_on() || walked || has_cut || has_script
    }

    /// Runs one slice of the part that has waited longest. Returns whether there was any.
    fn slice_on(&mut self) -> bool {
        let Some(mut sliced) = self.slices.parts.pop_front() else { return false };
        let now_us = sliced.part.txn_mut().now_us.expect("the part's first round has set it");
        let turn_us = self.set_time(now_us);
        let next = self.run_slice_of(&mut sliced);
        let ready = std::iter::from_fn(|| self.slice.take_ready());
        sliced.part.txn_mut().ready.extend(ready);
        match next {
            Next::Slice => {
                self.journal.firm_up_expired(sliced.lock, sliced.records.as_ref());
                self.slices.parts.push_back(sliced);
                self.set_time(turn_us);
            }
            Next::Pool(elements) => {
                let SlicedPart { mut part, next, lock, records, spent, .. } = sliced;
                self.note_spent(&mut part, spent);
                self.send_to_pool(part, next, (lock, records), elements);
                self.set_time(turn_us);
            }
            Next::Nothing => {
                let SlicedPart { mut part, lock, records, spent, .. } = sliced;
                self.note_spent(&mut part, spent);
                self.set_time(turn_us);
                self.end_slices(part, lock, records);
            }
        }
        true
    }

    /// Takes a part back from the pool, which has run the command at index `at`.
    pub(super) fn slice_again(
        &mut self,
        mut part: Box<Envelope>,
        at: usize,
        (lock, records): (LockId, Option<Records>),
    ) {
        // Clients that the command has unblocked are served after the last slice.
        let ready = std::iter::from_fn(|| self.slice.take_ready());
        part.txn_mut().ready.extend(ready);
        let spent = (part.items[at].at, 0);
        self.slices.parts.push_back(SlicedPart {
            part,
            stores: Vec::new().into_iter(),
            next: at + 1,
            fetched: 0,
            lock,
            records,
            spent,
            script: None,
        });
    }

    /// Does the next work of a part, for a limited time: stores values, runs commands, fetches
    /// values.
    fn run_slice_of(&mut self, sliced: &mut SlicedPart) -> Next {
        let stop_ns = self.env.clock_ns() + SLICE_NS_MAX;
        let mut left = self.slice_elements_max();
        self.store_some(sliced, &mut left);
        if left == 0 {
            return Next::Slice;
        }
        if let Some(script) = sliced.script.take() {
            self.resume_in_slices(sliced, script);
            if sliced.script.is_some() {
                return Next::Slice;
            }
        }
        while sliced.next < sliced.part.items.len() {
            if left == 0 {
                return Next::Slice;
            }
            if let Some(elements) = self.long_command(&mut sliced.part, sliced.next) {
                return Next::Pool(elements);
            }
            let enough = self.long_elements_min();
            let range = next_batch(&sliced.part.items, sliced.next, (&mut left, enough));
            sliced.next = range.end;
            self.run_some(sliced, range);
            if sliced.script.is_some() || self.env.clock_ns() >= stop_ns {
                return if sliced.is_over() { Next::Nothing } else { Next::Slice };
            }
        }
        self.fetch_some(sliced, left);
        if sliced.is_over() { Next::Nothing } else { Next::Slice }
    }

    /// Stores further values, and reduces what is left of the slice by their weight.
    fn store_some(&mut self, sliced: &mut SlicedPart, left: &mut usize) {
        if sliced.stores.len() == 0 {
            return;
        }
        let values = left.div_ceil(VALUE_WEIGHT).min(sliced.stores.len());
        *left = left.saturating_sub(VALUE_WEIGHT * values);
        let before = self.enter_caller(sliced.part.reply_to.caller(sliced.part.home));
        self.store(sliced.stores.by_ref().take(values));
        self.enter_caller(before);
    }

    /// Fetches further values, within what is left of the slice.
    fn fetch_some(&mut self, sliced: &mut SlicedPart, left: usize) {
        let SlicedPart { part, fetched, records, .. } = sliced;
        let end = part.txn_mut().fetches.len().min(*fetched + left.div_ceil(VALUE_WEIGHT));
        let before = self.enter_caller(part.reply_to.caller(part.home));
        self.fetch(part.txn_mut(), *fetched..end, records.as_mut());
        self.enter_caller(before);
        *fetched = end;
    }

    /// Runs some commands of a part. Further keys of a command run alone, and their time is added
    /// to the command's time.
    fn run_some(&mut self, sliced: &mut SlicedPart, range: Range<usize>) {
        let SlicedPart { part, lock, records, spent, .. } = sliced;
        let protocol = part.protocol;
        self.begin_part(part);
        let mode = RunMode::Step { is_of_transaction: part.txn().is_some() };
        let (items, args, output, ends) = part.parts();
        let is_more = is_more(items, range.start);
        let items = &items[range.clone()];
        let last_at = items[items.len() - 1].at;
        let mut timing = BatchTiming::at_owner(&self.env.thresholds, items);
        let mut batch = Batch { items, args, output, ends: Some(ends), protocol };
        let mut waker = Waker { lock: Some(*lock), ..Waker::new(records.as_mut()) };
        let ran = self.run(&mut batch, mode, &mut waker, &mut timing);
        self.end_cause();
        if let Some((at, script)) = ran.suspended {
            sliced.next = range.start + at;
            sliced.script = Some(script);
            return;
        }
        if is_more {
            spent.1 += timing.spent_ns;
            return;
        }
        let is_one = range.len() == 1;
        let own_ns = if is_one { timing.spent_ns } else { 0 };
        let before = std::mem::replace(spent, (last_at, own_ns));
        self.note_spent(part, before);
        if !is_one && timing.has_news(&self.env.thresholds) {
            let slow = timing.slow(&self.env.thresholds, range.len());
            part.spent.extend(slow.map(|(at, ns)| (part.items[range.start + at].at, ns)));
        }
    }

    /// Continues the script of the next command.
    fn resume_in_slices(&mut self, sliced: &mut SlicedPart, script: Box<SuspendedScript>) {
        let SlicedPart { part, next, lock, records, .. } = sliced;
        let item = part.items[*next];
        let ran = self.resume_script(part, *next, (*lock, records.as_mut()), script);
        self.env.board.counters.changes.add(ran.effects.changes);
        if let Some(script) = ran.suspended {
            sliced.script = Some(script);
            return;
        }
        self.end_script_of(&item, ran.error.as_ref());
        sliced.next += 1;
    }

    /// Reports the time of a command, if it reaches the threshold.
    fn note_spent(&self, part: &mut Envelope, (at, ns): (u32, u64)) {
        if ns > 0 && ns >= self.env.thresholds.run_ns {
            part.spent.push((at, ns));
        }
    }

    /// Ends a part whose commands have run.
    fn end_slices(&mut self, part: Box<Envelope>, lock: LockId, records: Option<Records>) {
        self.deferred.begin();
        let first = self.outgoing.len();
        let stage = part.txn().map_or(Stage::OneShot, |txn| txn.stage);
        if !stage.has_next() {
            self.unfinished.end_rounds(lock);
        }
        self.end_round(part, Place::Reserved(lock), records);
        if stage == Stage::OneShot {
            self.release(lock);
        }
        self.put_answer_first(first);
        self.run_rechecks();
    }
}

/// What follows a slice of a part.
enum Next {
    /// The next slice.
    Slice,
    /// The next command runs on the pool, and weighs this number of elements.
    Pool(usize),
    /// The end of the round.
    Nothing,
}

impl SlicedPart {
    /// Returns whether all work of the round is done.
    fn is_over(&mut self) -> bool {
        let fetches = self.part.txn_mut().fetches.len();
        let has_run = self.script.is_none() && self.next == self.part.items.len();
        self.stores.len() == 0 && has_run && self.fetched == fetches
    }
}

/// Returns whether the item at an index continues the command before it, with further keys.
fn is_more(items: &[Item], at: usize) -> bool {
    at > 0 && items[at].at == items[at - 1].at
}

/// Returns the indexes of the commands that run together from index `next` on, and reduces what is
/// left of the slice by their weight. A command that may weigh `enough` elements is the first, so
/// that it is weighed after the commands before it have run.
fn next_batch(items: &[Item], next: usize, (left, enough): (&mut usize, usize)) -> Range<usize> {
    let mut end = next;
    while end < items.len() && end - next < BATCH_COMMANDS_MAX && *left > 0 {
        if end > next && items[end].entry.may_be_long(items[end].argc as usize, enough) {
            break;
        }
        // Further keys of a command stand alone.
        if end > next && (is_more(items, next) || is_more(items, end)) {
            break;
        }
        *left = left.saturating_sub(step_weight(1, items[end].argc as usize));
        end += 1;
    }
    next..end
}
