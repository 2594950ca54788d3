//! Runs the work of a part once no lock conflicts.

use super::journal::Place;
use super::partition::Partition;
use super::run::{Batch, RunMode, Waker};
use super::timing::{BatchTiming, Probe};
use crate::exec::{BatchArgs, Item, Mode, Records, RemoteKey};
use crate::keyspace::ExpiryRole;
use crate::mesh::{Envelope, Registration, Stage, Survey, TxnPart, Work};
use crate::observe::Stage as TraceStage;
use crate::txn::LockId;
use std::ops::Range;
use std::sync::Arc;

/// Returns the arguments of a command, each in its own memory.
pub fn args_of(item: &Item, batch_args: &mut BatchArgs<'_>) -> Vec<Box<[u8]>> {
    batch_args.of(item).iter_from(0).map(Box::from).collect()
}

impl Partition {
    /// Runs the commands of a part. The replies go into its envelope.
    pub(super) fn run_part(
        &mut self,
        part: &mut Envelope,
        mode: RunMode,
        waker: &mut Waker<'_>,
    ) -> super::run::Ran {
        let mut timing = BatchTiming::at_owner(&self.env.thresholds, &part.items);
        timing.probe = Probe::of_part(part);
        let protocol = part.protocol;
        self.begin_part(part);
        let (items, args, output, ends) = part.parts();
        let mut batch = Batch { items, args, output, ends: Some(ends), protocol };
        let ran = self.run(&mut batch, mode, waker, &mut timing);
        self.end_cause();
        if ran.wait.is_some() {
            part.ends.clear();
            return ran;
        }
        if timing.has_news(&self.env.thresholds) {
            let slow = timing.slow(&self.env.thresholds, part.items.len());
            part.spent.extend(slow.map(|(at, ns)| (part.items[at].at, ns)));
        }
        if part.carried.posted_ns > 0 {
            self.trace_run(part, timing.probe);
        }
        ran
    }

    /// Runs the commands of a part at once, out of order.
    #[cold]
    pub fn run_ahead(&mut self, part: &mut Envelope) {
        self.run_part(part, RunMode::Batch, &mut Waker::new(None));
    }

    /// Runs a part of a batch. Returns true if one of its commands was offloaded and the part
    /// continues later.
    pub(super) fn run_batch_part(&mut self, mut part: Box<Envelope>, place: Place) -> bool {
        if self.is_walk(&mut part) {
            self.begin_walk(part, place);
            return false;
        }
        if self.is_offloaded(&mut part) {
            return self.begin_offloading(part, place);
        }
        self.mesh.partial().begin(&part);
        let mut records = self.records_at(place);
        let mut waker = Waker { lock: place.lock(), ..Waker::new(records.as_mut()) };
        let turn_us = self.enter_time(&part);
        let mut suspended = None;
        if self.is_survey_torn(&part) {
            part.survey = Survey::Torn;
        } else {
            suspended = self.run_part(&mut part, RunMode::Batch, &mut waker).suspended;
        }
        self.set_time(turn_us);
        if let Some((at, script)) = suspended {
            let lock = self.lock_running(&mut part, place);
            self.suspend(part, at, (lock, records), script);
            return true;
        }
        self.end_part(place, &part, records);
        self.answer_later(part);
        false
    }

    /// Runs a command that may block. If it blocks, the partition lists its client.
    pub(super) fn run_attempt(&mut self, mut part: Box<Envelope>, place: Place) {
        let Work::Attempt(ticket) = std::mem::replace(&mut part.work, Work::Batch) else {
            unreachable!("only a blocking attempt runs here");
        };
        let mut records = self.records_at(place);
        let mut waker = Waker { lock: place.lock(), ..Waker::new(records.as_mut()) };
        let ran = self.run_part(&mut part, RunMode::Attempt, &mut waker);
        if let Some(mut wait) = ran.wait {
            let (items, mut batch_args, ..) = part.parts();
            let item = items[0];
            wait.args.get_or_insert_with(|| args_of(&item, &mut batch_args));
            let to = part.reply_to.address().expect("a client waits for the reply");
            let blocked = Box::new((Arc::clone(&ticket), wait.clone()));
            self.block(Registration { ticket, item, to, wait }, part.home, part.protocol);
            part.work = Work::Blocked(blocked);
        }
        self.end_part(place, &part, records);
        self.answer_later(part);
    }

    /// Runs one round of a transaction, under its locks if it has any. Returns true if the round
    /// runs in slices, because it has very many commands or a long one, and continues later.
    pub(super) fn run_round(&mut self, mut part: Box<Envelope>, place: Place) -> bool {
        self.mesh.partial().begin(&part);
        let mut records = self.records_at(place);
        let lock = place.lock();
        let posted_us = if part.parts > 1 { part.sent.unix_us } else { self.env.now.unix_us };
        let now_us = *part.txn_mut().now_us.get_or_insert(posted_us);
        if let Some(records) = &mut records {
            records.absorb(&mut part.txn_mut().records);
        }
        let turn_us = self.set_time(now_us);
        self.note_steps(&mut part, lock);
        self.check_watched(part.txn_mut());
        self.check_served(&mut part);
        let is_broken = part.txn_mut().is_broken;
        let has_commands = !part.items.is_empty();
        let is_sliced = has_commands && part.txn_mut().is_sliced;
        let is_sliced = is_sliced || self.moves_many_values(part.txn_mut());
        if !is_broken && (is_sliced || has_commands && self.is_offloaded(&mut part)) {
            let lock = self.lock_running(&mut part, place);
            self.begin_slices(part, lock, records);
            self.set_time(turn_us);
            return true;
        }
        if !is_broken {
            self.run_work(&mut part, lock, records.as_mut());
        }
        self.set_time(turn_us);
        self.end_round(part, place, records);
        false
    }

    /// Ends a round whose work is done: replies, and releases the locks after the last round.
    pub(super) fn end_round(
        &mut self,
        mut part: Box<Envelope>,
        place: Place,
        records: Option<Records>,
    ) {
        let stage = part.txn_mut().stage;
        if stage.has_next() {
            let ready = std::iter::from_fn(|| self.slice.take_ready());
            part.txn_mut().ready.extend(ready);
            if let Some(mut records) = records {
                self.journal.firm_up_expired(part.txn_mut().lock, Some(&records));
                part.txn_mut().records.absorb(&mut records);
                self.journal.keep_records(records);
            }
            let txn = part.txn_mut();
            if std::mem::take(&mut txn.takes_slice) {
                txn.slice = Some(self.hand_over(txn.lock));
            }
        } else {
            self.settle_blocking(&mut part);
            self.end_part(place, &part, records);
        }
        let released = (stage == Stage::Release).then_some(part.txn_mut().lock);
        self.answer_later(part);
        if let Some(lock) = released {
            self.release(lock);
        }
    }

    /// Does the work of a round: stores values, runs commands, fetches values.
    pub(super) fn run_work(
        &mut self,
        part: &mut Envelope,
        lock: Option<LockId>,
        mut records: Option<&mut Records>,
    ) {
        let caller = part.reply_to.caller(part.home);
        let before = self.enter_caller(caller);
        self.store(part.txn_mut().stores.drain(..));
        if !part.items.is_empty() {
            let mut waker = Waker { lock, ..Waker::new(records.as_deref_mut()) };
            self.run_part(part, RunMode::Transaction, &mut waker);
        }
        self.enter_caller(caller);
        let txn = part.txn_mut();
        self.fetch(txn, 0..txn.fetches.len(), records);
        self.enter_caller(before);
    }

    /// Refuses a transaction that this node does not serve any more, before its first command.
    fn check_served(&mut self, part: &mut Envelope) {
        let stage = part.txn_mut().stage;
        if !matches!(stage, Stage::Acquire | Stage::OneShot) || part.txn_mut().is_broken {
            return;
        }
        let refused = match part.txn_mut().whole.take() {
            Some((slot, commands)) => self.refusal_of_whole(slot, commands),
            None => {
                let (items, mut args, ..) = part.parts();
                self.refusal_of_all(items, &mut args)
            }
        };
        if let Some(error) = refused {
            let txn = part.txn_mut();
            (txn.is_broken, txn.refused) = (true, Some(error));
        }
    }

    /// Records whether a round changes keys before the last one does.
    fn note_steps(&mut self, part: &mut Envelope, lock: Option<LockId>) {
        let Some(lock) = lock else { return };
        let (stage, has_stores) = (part.txn_mut().stage, !part.txn_mut().stores.is_empty());
        if !stage.has_next() {
            self.unfinished.end_rounds(lock);
        } else if has_stores || part.items.iter().any(|item| item.entry.may_change_keys()) {
            self.unfinished.begin_round(lock);
        }
    }

    fn check_watched(&mut self, txn: &mut TxnPart) {
        if let Some(watcher) = txn.watcher.take() {
            txn.is_broken = self.slice.is_watch_broken(watcher);
            self.unwatch(watcher);
        }
    }

    /// Fetches the values of some of the keys that the transaction's home has asked for.
    pub(super) fn fetch(
        &mut self,
        txn: &mut TxnPart,
        range: Range<usize>,
        records: Option<&mut Records>,
    ) {
        let role = self.begin_fetch(txn.fetch_writes);
        for remote_key in &mut txn.fetches[range] {
            let key = self.slice.key_in_slot(&remote_key.key, remote_key.slot);
            let to_write = remote_key.mode == Mode::Exclusive;
            let is_shared = !to_write && self.locks.shares(Some(txn.lock), key.hash);
            self.slice.keep_expired(is_shared.then_some((key.hash, txn.fetch_writes)));
            remote_key.fetch_from(&mut self.slice);
            if txn.is_tracked {
                self.slice.track(&remote_key.key);
            }
        }
        self.slice.keep_expired([]);
        self.slice.set_role(role);
        match records {
            Some(records) => self.record_expired(records, txn.fetch_at),
            None => self.forget_expired(txn.lock),
        }
        self.tell_events();
    }

    /// Prepares the slice for fetching the keys of a command. A write that fetches keys during a
    /// pause began before it, and removes expired keys. Returns the role to be set afterwards.
    pub(super) fn begin_fetch(&mut self, is_write: bool) -> ExpiryRole {
        let removes = is_write && self.slice.is_paused();
        let role = if removes { ExpiryRole::Primary } else { self.slice.role() };
        self.slice.set_role(role)
    }

    /// Stores the values that a command has left on a workspace.
    pub(super) fn store(&mut self, stores: impl ExactSizeIterator<Item = RemoteKey>) {
        if stores.len() == 0 {
            return;
        }
        let role = self.slice.set_role(ExpiryRole::Loading);
        stores.for_each(|remote_key| remote_key.store_in(&mut self.slice));
        self.slice.set_role(role);
        self.tell_events();
        self.publish();
    }

    /// Records how long the traced command of a part stayed in the inbox.
    #[cold]
    pub fn trace_arrival(&mut self, part: &mut Envelope) {
        let carried = part.carried;
        let Some(item) = part.items.iter().find(|item| item.at == carried.at) else { return };
        let ns = self.env.clock_ns().saturating_sub(carried.posted_ns);
        part.carried.counted_ns = ns;
        self.env.board.stages.record(usize::from(item.entry.index), TraceStage::Inbox, ns);
    }

    /// Records how long the traced command of a part ran.
    #[cold]
    fn trace_run(&mut self, part: &mut Envelope, probe: Probe) {
        let at = part.carried.at;
        let Some(item) = part.items.iter().find(|item| item.at == at) else { return };
        part.carried.counted_ns += probe.spent_ns();
        let command = usize::from(item.entry.index);
        self.env.board.stages.record(command, TraceStage::Execute, probe.spent_ns());
    }
}
