//! Commands of parts that would occupy the shard for too long. They run on a workspace on another
//! thread, while their keys stay locked.
//!
//! ```text
//!   part --its next command is large--> thread --done--> stores what changed --next command--> ...
//!     ^  '--else--> runs here --next command--> ...                            |
//!     '------------------------ until all have run: answered ------------------'
//! ```
//! The part of a transaction runs in slices (`sliced_part`), also between its long commands.

use super::journal::Place;
use super::part_job::{PartJob, PoolJob};
use super::partition::Partition;
use super::run::{Batch, RunMode, Waker};
use super::timing::BatchTiming;
use crate::exec::{
    BatchArgs, Closing, Item, Mode, OffloadedRun, Offloads, Records, SuspendedScript, Workspace,
    long_weight, remote_keys_of,
};
use crate::mesh::{Envelope, Work};
use crate::txn::LockId;
use std::sync::Arc;

impl Partition {
    /// Returns whether one of the commands must be offloaded.
    pub fn has_long(&self, items: &[Item], batch_args: &mut BatchArgs<'_>) -> bool {
        let enough = self.long_elements_min();
        self.offloads.is_some()
            && items.iter().any(|item| long_weight(&self.slice, item, batch_args, enough).is_some())
    }

    /// Returns the weight from which on a command is long, in elements.
    pub(super) fn long_elements_min(&self) -> usize {
        self.env.config.offload_elements_min as usize
    }

    pub(super) fn is_offloaded(&self, part: &mut Envelope) -> bool {
        let enough = self.long_elements_min();
        let may_be_long = |item: &Item| item.entry.may_be_long(item.argc as usize, enough);
        if self.offloads.is_none() || self.ignores_handover() || !part.items.iter().any(may_be_long)
        {
            return false;
        }
        let (items, mut batch_args, ..) = part.parts();
        self.has_long(items, &mut batch_args)
    }

    /// Runs a part with a command on large values, command by command. Returns whether one is
    /// offloaded. In that case the part keeps its locks until the command returns.
    pub(super) fn begin_offloading(&mut self, mut part: Box<Envelope>, place: Place) -> bool {
        debug_assert!(matches!(part.work, Work::Batch));
        self.mesh.partial().begin(&part);
        let lock = self.lock_running(&mut part, place);
        let records = self.records_at(Place::Reserved(lock));
        let goes_on = self.run_from(part, 0, lock, records);
        if !goes_on && matches!(place, Place::Now(_)) {
            self.release(lock);
        }
        goes_on
    }

    /// Runs the commands of a part from index `from` on. Returns whether one of them is offloaded.
    fn run_from(
        &mut self,
        mut part: Box<Envelope>,
        from: usize,
        lock: LockId,
        mut records: Option<Records>,
    ) -> bool {
        let turn_us = self.enter_time(&part);
        for at in from..part.items.len() {
            self.serve_between(&part, at, lock, records.as_mut());
            if let Some(elements) = self.long_command(&mut part, at) {
                self.send_to_pool(part, at, (lock, records), elements);
                self.set_time(turn_us);
                return true;
            }
            if let Some(script) = self.run_step(&mut part, at, lock, records.as_mut()) {
                self.suspend(part, at, (lock, records), script);
                self.set_time(turn_us);
                return true;
            }
        }
        self.serve_between(&part, part.items.len(), lock, records.as_mut());
        self.set_time(turn_us);
        self.journal.write_part(Place::Reserved(lock), &part, records);
        self.answer_later(part);
        false
    }

    /// Returns the weight of the command at index `at` of a part, if it must run on the pool.
    pub(super) fn long_command(&self, part: &mut Envelope, at: usize) -> Option<usize> {
        let enough = self.long_elements_min();
        let item = part.items[at];
        if self.offloads.is_none()
            || item.entry.command.walk.is_some()
            || !item.entry.may_be_long(item.argc as usize, enough)
        {
            return None;
        }
        let (_, mut batch_args, ..) = part.parts();
        long_weight(&self.slice, &item, &mut batch_args, enough)
    }

    /// Sends a part to the pool, which runs its command at index `at`.
    pub(super) fn send_to_pool(
        &mut self,
        mut part: Box<Envelope>,
        at: usize,
        (lock, mut records): (LockId, Option<Records>),
        elements: usize,
    ) {
        let caller = part.reply_to.caller(part.home);
        let (items, mut batch_args, ..) = part.parts();
        let item = items[at];
        let before = self.slice.enter_caller(caller);
        let workspace = self.lend(&item, &mut batch_args, lock);
        self.enter_caller(before);
        // Keys that expired while they were fetched, ahead of the command's own records.
        match &mut records {
            Some(records) => self.record_expired(records, item.at),
            None => self.forget_expired(lock),
        }
        match part.txn() {
            // What it has changed takes effect with its last round.
            Some(_) => self.journal.firm_up_expired(lock, records.as_ref()),
            None => self.journal.firm_up(lock, records.as_ref()),
        }
        self.offload(part, at, (lock, records), workspace, elements);
    }

    /// Serves the clients that the command before index `at` has unblocked.
    fn serve_between(
        &mut self,
        part: &Envelope,
        at: usize,
        lock: LockId,
        records: Option<&mut Records>,
    ) {
        if self.slice.has_ready() {
            let at = at.checked_sub(1).map_or(0, |before| part.items[before].at);
            self.serve_blocked(Waker { at, lock: Some(lock), ..Waker::new(records) });
            self.journal.reserve_followers();
        }
    }

    /// Runs one command of a part. Returns its script if it is suspended.
    fn run_step(
        &mut self,
        part: &mut Envelope,
        at: usize,
        lock: LockId,
        records: Option<&mut Records>,
    ) -> Option<Box<SuspendedScript>> {
        let protocol = part.protocol;
        self.begin_part(part);
        let mode = RunMode::Step { is_of_transaction: part.txn().is_some() };
        let (items, args, output, ends) = part.parts();
        let items = &items[at..=at];
        let mut timing = BatchTiming::at_owner(&self.env.thresholds, items);
        let mut batch = Batch { items, args, output, ends: Some(ends), protocol };
        let mut waker = Waker { lock: Some(lock), ..Waker::new(records) };
        let ran = self.run(&mut batch, mode, &mut waker, &mut timing);
        self.end_cause();
        if timing.spent_ns >= self.env.thresholds.run_ns {
            part.spent.push((part.items[at].at, timing.spent_ns));
        }
        ran.suspended.map(|(_, script)| script)
    }

    /// Returns a workspace with the values of a command whose keys are all here.
    fn lend(
        &mut self,
        item: &Item,
        batch_args: &mut BatchArgs<'_>,
        lock: LockId,
    ) -> Box<Workspace> {
        let args = batch_args.of(item);
        let mut workspace = self.open_workspace(self.is_journal_on());
        let role = self.begin_fetch(item.entry.is_write());
        for mut remote_key in remote_keys_of(item, &args, self.slice.databases()) {
            let key = self.slice.key_in_slot(&remote_key.key, remote_key.slot);
            let to_write = remote_key.mode == Mode::Exclusive;
            let db = usize::from(remote_key.db);
            let keeps_clock = item.is_quiet && !to_write;
            let is_shared = !to_write && self.locks.shares(Some(lock), key.hash);
            let is_told = item.entry.is_write();
            self.slice.keep_expired(is_shared.then_some((key.hash, is_told)));
            let clock = keeps_clock.then(|| self.slice.look(db, &key).map(|it| it.access_clock()));
            remote_key.value = self.slice.fetch(db, &key, to_write);
            if let Some(clock) = clock.flatten() {
                self.slice.put_access_clock(db, &key, clock);
            }
            workspace.add(0, remote_key);
        }
        self.slice.keep_expired([]);
        self.slice.set_role(role);
        // What has expired comes before what the command does.
        self.tell_events();
        workspace
    }

    fn offload(
        &mut self,
        mut part: Box<Envelope>,
        at: usize,
        (lock, records): (LockId, Option<Records>),
        workspace: Box<Workspace>,
        elements: usize,
    ) {
        let waiting = self.offloads.as_ref().map_or(0, Offloads::under_way);
        self.return_credit(&mut part, waiting);
        self.unfinished.begin_offload(&part);
        let job = Box::new(PartJob {
            part,
            at,
            lock,
            records,
            workspace,
            config: Arc::clone(&self.env.config),
            now_ms: self.env.now.unix_ms(),
            started_ns: self.env.clock_ns(),
            ran: OffloadedRun::default(),
        });
        let offloads = self.offloads.as_mut().expect("checked before");
        offloads.send(PoolJob::Command(job), elements, PoolJob::run);
    }

    /// Takes back what the pool has done. Returns whether there was anything.
    pub fn receive_offloaded(&mut self) -> bool {
        let mut found = false;
        while let Some(job) = self.offloads.as_mut().and_then(|offloads| offloads.receive()) {
            found = true;
            match job {
                PoolJob::Command(job) => self.receive_command(job),
                PoolJob::Lent(lent) => self.receive_lent(lent),
            }
        }
        found
    }

    /// Takes back a command that the pool has run, and runs the next commands of its part.
    fn receive_command(&mut self, job: Box<PartJob>) {
        let PartJob { mut part, at, lock, records, workspace, started_ns, ran, .. } = *job;
        self.unfinished.end_offload(&part);
        let item = part.items[at];
        self.begin_part(&part);
        self.settle_offloaded(ran, &item, started_ns, &mut part.spent);
        self.end_cause();
        let mut stores = Vec::new();
        self.close_workspace(*workspace, &mut |_, remote_key| stores.push(remote_key));
        let before = self.enter_caller(part.reply_to.caller(part.home));
        self.store(stores.drain(..));
        // Behind what the command itself has changed: PFCOUNT keeps its result in the value.
        if item.is_tracked && item.entry.reads_tracked() {
            let (_, mut batch_args, ..) = part.parts();
            let args = batch_args.of(&item);
            for (arg, _) in item.entry.tracked_args(&args) {
                self.slice.track(&args[arg]);
            }
        }
        self.enter_caller(before);
        match part.txn() {
            Some(_) => self.slice_again(part, at, (lock, records)),
            None => self.run_on(part, at + 1, lock, records),
        }
    }

    /// Runs the commands of a part from index `from` on, after a command that has taken long.
    pub(super) fn run_on(
        &mut self,
        part: Box<Envelope>,
        from: usize,
        lock: LockId,
        records: Option<Records>,
    ) {
        self.deferred.begin();
        let first = self.outgoing.len();
        let goes_on = self.run_from(part, from, lock, records);
        self.put_answer_first(first);
        if !goes_on {
            self.release(lock);
        }
        self.run_rechecks();
    }

    /// Returns an empty workspace. With `propagates`, expiry on the workspace is propagated.
    pub fn open_workspace(&mut self, propagates: bool) -> Box<Workspace> {
        let (frequency, seed) = (self.frequency(), self.slice.draw_rng().next_u64());
        let collects = (propagates, self.publisher.logged(&self.env.config));
        let now_ms = self.env.now.unix_ms();
        let mut workspace = self.tools.workspaces.open((now_ms, seed), collects, frequency);
        if self.is_loading {
            workspace.keep_expired();
        }
        workspace
    }

    /// Empties a workspace. Calls `store` for the keys whose owners must store their values.
    pub fn close_workspace(
        &mut self,
        workspace: Workspace,
        store: &mut dyn FnMut(usize, crate::exec::RemoteKey),
    ) {
        let slice = self.tools.workspaces.close(workspace, store);
        super::housekeeping::publish_stats(&self.env.board, slice);
    }

    /// Takes a workspace back that was emptied.
    pub fn end_workspace(&mut self, closing: Closing) {
        let slice = self.tools.workspaces.end(closing);
        super::housekeeping::publish_stats(&self.env.board, slice);
    }
}
