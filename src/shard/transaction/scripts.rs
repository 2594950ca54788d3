//! Scripts that run at home for longer than a slice: on gathered values, or on the slices of all
//! partitions. They are suspended, and the shard does other work meanwhile.
//!
//! ```text
//!   runs at home --over its slice--> queue --one slice a turn--> queue ... --> the next command
//! ```
//! The unit keeps its locks, and the slices, until the script is over. Other shards go on as far as
//! these allow.

use super::offload::{HomeScript, run_at_home};
use crate::client::Transaction;
use crate::exec::{OffloadedRun, Slices, SuspendedScript, Workspace};
use crate::shard::state::Shard;

impl Shard {
    /// Returns whether a script waits for its next slice.
    pub(in crate::shard) fn has_scripts(&self) -> bool {
        !self.transactions.scripts.is_empty()
    }

    /// Runs one slice of the script at home that has waited longest. Returns whether there was any.
    pub(in crate::shard) fn script_on(&mut self) -> bool {
        let Some(waiting) = self.transactions.scripts.pop_front() else { return false };
        let HomeScript { mut transaction, at, mut workspace, script, started_ns } = waiting;
        let turn_us = self.partition.set_time(script.now_ms * 1_000);
        let is_on_slices = transaction.runs_on_slices(at);
        self.begin_cause(&transaction);
        let mut ran = if is_on_slices {
            self.resume_on_slices(&mut transaction, at, &mut workspace, script)
        } else {
            let now_ms = script.now_ms;
            let with = (&*self.env.config, now_ms, Some(self.partition.home_scripting()));
            run_at_home(&mut transaction, at, with, |item, batch_args, with| {
                workspace.resume(item, batch_args, with, script)
            })
        };
        match ran.suspended.take() {
            Some(script) => {
                self.env.board.counters.changes.add(ran.effects.changes);
                self.partition.tell(&ran.events);
                self.partition.post_invalidations(std::mem::take(&mut ran.invalidations));
                self.partition.end_cause();
                let waiting = HomeScript { transaction, at, workspace, script, started_ns };
                self.transactions.scripts.push_back(waiting);
            }
            None => self.end_script(transaction, at, *workspace, (ran, started_ns)),
        }
        self.partition.set_time(turn_us);
        true
    }

    fn resume_on_slices(
        &mut self,
        transaction: &mut Transaction,
        at: usize,
        workspace: &mut Workspace,
        script: Box<SuspendedScript>,
    ) -> OffloadedRun {
        let now_ms = script.now_ms;
        let map = self.env.process.slot_map.snapshot();
        let mut slices = Slices::new(transaction.take_slices(), map, now_ms);
        let with = (&*self.env.config, now_ms, Some(self.partition.home_scripting()));
        let ran = run_at_home(transaction, at, with, |item, batch_args, with| {
            slices.resume_script(&mut workspace.slice, item, batch_args, with, script)
        });
        transaction.put_slices(slices.into_slices());
        ran
    }

    /// Ends a command whose script was suspended, and continues its transaction.
    fn end_script(
        &mut self,
        mut transaction: Box<Transaction>,
        at: usize,
        workspace: Workspace,
        (ran, started_ns): (OffloadedRun, u64),
    ) {
        if transaction.runs_on_slices(at) {
            self.partition.close_workspace(workspace, &mut |_, _| {});
            self.end_on_slices(&mut transaction, at, (ran, started_ns));
        } else {
            let ended = self.end_gathered(transaction, at, workspace, (ran, started_ns));
            let Some(rest) = ended else { return };
            transaction = rest;
            if transaction.has_slices() {
                self.store_here(&mut transaction);
            }
        }
        self.partition.end_cause();
        if let Some(transaction) = self.carry_on(transaction) {
            self.advance(transaction, false);
        }
    }
}
