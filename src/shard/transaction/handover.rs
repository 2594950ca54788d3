//! Commands that discover keys: they run at home, on the slices of all partitions.
//!
//! ```text
//!   Acquire or Continue   each owner hands its slice over with its reply
//!   all slices are here   the command runs on them, as on one slice with all keys
//!                         later commands, of any kind: the rounds run here in place of the owners
//!   Continue or Release   the slices return, at the end or before a request to all shards
//! ```
//! The unit has locked everything, exclusively (`partition/handover`). It runs on this thread and
//! not on the offload pool: while it holds the keys of all shards, it waits for nothing.

use super::offload::{HomeScript, run_at_home};
use super::served::refuse;
use crate::client::{ReplySource, Transaction};
use crate::exec::{OffloadedRun, Slices};
use crate::shard::state::Shard;

impl Shard {
    /// Requests the slices of all partitions with the next round.
    pub(super) fn request_slices(&mut self, transaction: &mut Transaction) {
        assert_eq!(transaction.parts(), self.env.router.shards(), "all shards take part");
        for part in 0..transaction.parts() {
            transaction.flight.txn_mut(part).takes_slice = true;
        }
    }

    /// Runs a command that discovers keys, or a script, on the slices of all partitions, which are
    /// here. Returns none if its script is suspended; the transaction continues when it is over.
    pub(super) fn run_on_slices(
        &mut self,
        mut transaction: Box<Transaction>,
        at: usize,
    ) -> Option<Box<Transaction>> {
        if self.moves_slots(&transaction) {
            return Some(self.move_on_slices(transaction));
        }
        let started_ns = self.env.clock_ns();
        transaction.is_recorded = self.replication.feed.is_on();
        let now_ms = self.partition.env().now.unix_ms();
        let map = self.env.process.slot_map.snapshot();
        let mut slices = Slices::new(transaction.take_slices(), map, now_ms);
        let refused = self.refusal_on_slices(&mut transaction, at, &mut slices);
        self.begin_cause(&transaction);
        let runs_commands = transaction.queue.items[at].entry.command.runs_commands;
        let mut workspace =
            runs_commands.then(|| self.partition.open_workspace(transaction.is_recorded));
        let with = (&*self.env.config, now_ms, Some(self.partition.home_scripting()));
        let mut ran = run_at_home(&mut transaction, at, with, |item, batch_args, with| {
            match (refused, &mut workspace) {
                (Some(error), _) => refuse(error, with),
                (None, Some(workspace)) => {
                    slices.run_script(&mut workspace.slice, item, batch_args, with)
                }
                (None, None) => slices.run(item, batch_args, with),
            }
        });
        transaction.put_slices(slices.into_slices());
        if let Some(script) = ran.suspended.take() {
            let workspace = workspace.expect("a script runs on a workspace");
            self.partition.tell(&ran.events);
            self.partition.post_invalidations(std::mem::take(&mut ran.invalidations));
            self.partition.end_cause();
            let waiting = HomeScript { transaction, at, workspace, script, started_ns };
            self.transactions.scripts.push_back(waiting);
            return None;
        }
        if let Some(workspace) = workspace {
            self.partition.close_workspace(*workspace, &mut |_, _| {});
        }
        self.end_on_slices(&mut transaction, at, (ran, started_ns));
        self.partition.end_cause();
        Some(transaction)
    }

    /// Ends a command that has run on the slices of all partitions.
    pub(super) fn end_on_slices(
        &mut self,
        transaction: &mut Transaction,
        at: usize,
        (ran, started_ns): (OffloadedRun, u64),
    ) {
        let item = transaction.queue.items[at];
        self.partition.settle_offloaded(ran, &item, started_ns, &mut transaction.own.spent);
        self.partition.end_cause();
        transaction.flight.order.push(ReplySource::One(transaction.own.part));
        transaction.flight.txn_mut(0).records.absorb(&mut transaction.records);
    }

    /// Runs the next commands of a transaction that holds the slices of all partitions: a script,
    /// one that discovers keys, one that gathers keys, or all others up to the next of these.
    /// Returns none if a script is suspended.
    pub(super) fn advance_on_slices(
        &mut self,
        mut transaction: Box<Transaction>,
    ) -> Option<Box<Transaction>> {
        let at = transaction.next;
        let now_us = transaction.now_us.expect("the slices have brought the unit's time");
        let turn_us = self.partition.set_time(now_us);
        if transaction.runs_on_slices(at) {
            transaction.next += 1;
            let ran = self.run_on_slices(transaction, at);
            self.partition.set_time(turn_us);
            return ran;
        } else if transaction.gathers(at) {
            transaction.next += 1;
            let item = transaction.queue.items[at];
            self.request_keys(&mut transaction, &item);
            self.run_round_here(&mut transaction);
            let Some(gathered) = self.run_gathered(transaction, at) else {
                self.partition.set_time(turn_us);
                return None;
            };
            transaction = gathered;
            self.store_here(&mut transaction);
        } else {
            self.add_segment(&mut transaction);
            self.run_round_here(&mut transaction);
        }
        self.partition.set_time(turn_us);
        Some(transaction)
    }

    /// Stores what a command has changed on gathered values in the slices, which are here.
    pub(super) fn store_here(&mut self, transaction: &mut Transaction) {
        transaction.flight.txn_mut(0).records.absorb(&mut transaction.records);
        self.run_round_here(transaction);
    }

    /// Does the work of a round on the slices, which are here, in place of their owners.
    fn run_round_here(&mut self, transaction: &mut Transaction) {
        let is_recorded = self.replication.feed.is_on();
        for part in 0..transaction.parts() {
            if !transaction.flight.has_commands_or_keys(part) {
                continue;
            }
            let mut envelope = transaction.flight.take(part);
            let mut slice = envelope.txn_mut().slice.take().expect("all slices are here");
            self.partition.run_on_guest(&mut slice, &mut envelope, is_recorded);
            envelope.txn_mut().slice = Some(slice);
            transaction.flight.put_back(envelope);
        }
        transaction.flight.next_round();
    }
}
