//! Commands of transactions that run on threads of the offload pool, on a workspace, while the
//! owners keep the keys locked.

use crate::client::Transaction;
use crate::config::Config;
use crate::exec::{
    BatchArgs, BlockingAttempt, Item, OffloadedRun, Scripting, SuspendedScript, Workspace,
    WorkspaceRun,
};
use crate::mesh::ReplyAddress;
use crate::resp::Protocol;
use crate::txn::Queue;
use std::sync::Arc;

/// A command of a transaction on its way to a thread of the pool and back.
#[derive(Debug)]
pub(in crate::shard) struct TransactionJob {
    transaction: Box<Transaction>,
    /// Index of the command.
    at: usize,
    workspace: Box<Workspace>,
    config: Arc<Config>,
    now_ms: u64,
    started_ns: u64,
    ran: OffloadedRun,
}

impl TransactionJob {
    /// Creates a job that has not run.
    pub(super) fn new(
        transaction: Box<Transaction>,
        at: usize,
        workspace: Box<Workspace>,
        (config, now_ms): (Arc<Config>, u64),
        started_ns: u64,
    ) -> TransactionJob {
        let ran = OffloadedRun::default();
        TransactionJob { transaction, at, workspace, config, now_ms, started_ns, ran }
    }

    /// Runs the command, on a thread of the pool.
    pub(super) fn run(&mut self) {
        let TransactionJob { transaction, at, workspace, config, now_ms, ran, .. } = self;
        *ran = run_at_home(transaction, *at, (config, *now_ms, None), |item, batch_args, with| {
            workspace.run_offloaded(item, batch_args, with)
        });
    }

    /// Returns the transaction, the index of the command, the workspace, and the result with the
    /// monotonic nanoseconds of its start.
    #[allow(clippy::type_complexity)]
    pub(super) fn into_parts(
        self,
    ) -> (Box<Transaction>, usize, Box<Workspace>, (OffloadedRun, u64)) {
        (self.transaction, self.at, self.workspace, (self.ran, self.started_ns))
    }
}

/// A command of a transaction whose script is suspended.
pub(super) struct HomeScript {
    pub(super) transaction: Box<Transaction>,
    /// Index of the command.
    pub(super) at: usize,
    pub(super) workspace: Box<Workspace>,
    pub(super) script: Box<SuspendedScript>,
    /// Monotonic nanoseconds of its start.
    pub(super) started_ns: u64,
}

/// A script that waits for the slices of another one's unit.
pub(super) struct Waiting {
    pub(super) to: ReplyAddress,
    pub(super) queue: Box<Queue>,
    pub(super) protocol: Protocol,
}

/// Runs a command of a transaction with `run`, on a workspace or on the slices of all partitions.
pub(super) fn run_at_home(
    transaction: &mut Transaction,
    at: usize,
    (config, now_ms, scripting): (&Config, u64, Option<Scripting<'_>>),
    run: impl FnOnce(Item, &mut BatchArgs<'_>, WorkspaceRun<'_>) -> OffloadedRun,
) -> OffloadedRun {
    let item = transaction.queue.items[at];
    let (_, mut batch_args) = transaction.queue.parts();
    let woken = transaction.attempt.as_ref().and_then(|attempt| attempt.woken);
    let attempt = BlockingAttempt {
        may_wait: transaction.attempt.is_some(),
        is_woken: woken.is_some(),
        ..BlockingAttempt::default()
    };
    let own = &mut transaction.own;
    let caller = transaction.to.caller(own.home);
    let with = WorkspaceRun {
        config,
        protocol: transaction.protocol,
        now_ms,
        output: &mut own.output,
        ends: &mut own.ends,
        records: transaction.is_recorded.then_some(&mut transaction.records),
        caller: Some(caller),
        attempt,
        scripting,
    };
    run(item, &mut batch_args, with)
}
