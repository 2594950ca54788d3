//! Where commands run whose work would hold up their shard: threads beside the shards.
//!
//! A command on values of many elements runs on a table: a slice that holds nothing but these
//! values, moved or lent, while their keys are locked. So it can run on any thread, and the shard
//! goes on with everything else.
//!
//! ```text
//!   shard --job: part or transaction, table--> queue --> worker runs it
//!     ^                                                      |
//!     '------- done, and the shard's bell is rung -----------'
//! ```
//! Bounded: each job is a part or a transaction that has not been answered, of which credits allow
//! so many.

use crate::client::{Transaction, Workspace};
use crate::config::Config;
use crate::exec::{BatchArgs, BlockingAttempt, Effects, Item, Records, Runner, Wait};
use crate::mesh::{Envelope, Mesh};
use crate::resp::{Error, Mark, Output, Protocol};
use crate::txn::LockId;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Threads that run such commands.
const WORKERS: usize = 2;

/// Elements of all values together from which on a command runs beside its shard. Some tens of
/// nanoseconds each make about the time that a shard may stand still.
pub(super) const ELEMENTS_MIN: usize = 10_000;

/// Whose command it is.
#[derive(Debug)]
pub(super) enum Owner {
    /// One of a part that has come to this shard and keeps its keys locked by this claim.
    Part(LockId, Box<Envelope>, Option<Records>),
    /// One of a transaction of this shard.
    Transaction(Box<Transaction>),
}

/// A command with what it runs on.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) owner: Owner,
    /// The command's place in its part or transaction.
    pub(super) at: usize,
    pub(super) table: Box<Workspace>,
    pub(super) config: Arc<Config>,
    pub(super) now_ms: u64,
    pub(super) started_ns: u64,
    /// What it has left behind, once it has run.
    pub(super) outcome: Outcome,
}

/// What a command has left behind.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) effects: Effects,
    pub(super) error: Option<Error>,
    /// What it waits for in place of a reply.
    pub(super) wait: Option<Wait>,
}

/// What a command on a table runs with.
pub(super) struct Setting<'a> {
    pub(super) config: &'a Config,
    pub(super) protocol: Protocol,
    pub(super) now_ms: u64,
}

/// Runs one command on a table; its reply goes behind `output`, and its end behind `ends`.
pub(super) fn run_on_table(
    table: &mut Workspace,
    item: Item,
    batch_args: &mut BatchArgs<'_>,
    (output, ends): (&mut Output, &mut Vec<Mark>),
    records: Option<&mut Records>,
    (setting, attempt): (&Setting<'_>, BlockingAttempt),
) -> Outcome {
    let reach = item.entry.discovers_keys(&batch_args.of(&item)).then_some(&mut table.reach);
    let mut runner = Runner {
        slice: &mut table.slice,
        now_ms: setting.now_ms,
        protocol: setting.protocol,
        config: setting.config,
        records,
        reach,
        is_whole: true,
        attempt,
        effects: Effects::default(),
    };
    let mut error = None;
    runner.run(&[item], batch_args, output, |_, failed, output| {
        ends.push(output.mark());
        error = failed.cloned();
    });
    Outcome { effects: runner.effects, error, wait: runner.attempt.wait }
}

impl Job {
    fn run(&mut self) {
        let Job { owner, at, table, config, now_ms, outcome, .. } = self;
        let setting = |protocol| Setting { config, protocol, now_ms: *now_ms };
        *outcome = match owner {
            Owner::Part(_, part, records) => {
                let setting = setting(part.protocol);
                let (items, mut batch_args, output, ends) = part.parts();
                let item = items[*at];
                let records = records.as_mut();
                let attempt = BlockingAttempt::default();
                run_on_table(
                    table,
                    item,
                    &mut batch_args,
                    (output, ends),
                    records,
                    (&setting, attempt),
                )
            }
            Owner::Transaction(transaction) => {
                run_transaction(transaction, *at, table, &setting(transaction.protocol))
            }
        };
        // What was overwritten is freed here, in its own time.
        table.slice.housekeep(&mut || false);
    }
}

/// Runs a command of a transaction on a table.
pub(super) fn run_transaction(
    transaction: &mut Transaction,
    at: usize,
    table: &mut Workspace,
    setting: &Setting<'_>,
) -> Outcome {
    let item = transaction.queue.items[at];
    let (_, mut batch_args) = transaction.queue.parts();
    let own = &mut transaction.own;
    let records = transaction.is_recorded.then_some(&mut transaction.records);
    let woken = transaction.attempt.as_ref().and_then(|attempt| attempt.woken);
    let attempt = BlockingAttempt {
        may_wait: transaction.attempt.is_some(),
        woken_by: woken.map(|woken| woken.word),
        ..BlockingAttempt::default()
    };
    let out = (&mut own.output, &mut own.ends);
    run_on_table(table, item, &mut batch_args, out, records, (setting, attempt))
}

/// The threads, as one shard knows them.
#[derive(Debug)]
pub struct OffloadPool {
    jobs: Sender<(Sender<Box<Job>>, usize, Box<Job>)>,
    done: (Sender<Box<Job>>, Receiver<Box<Job>>),
    /// Jobs that are not done.
    under_way: usize,
}

impl OffloadPool {
    /// Starts the threads; one handle for each shard of the mesh.
    pub fn start(mesh: &Arc<Mesh>, shards: usize) -> io::Result<Vec<OffloadPool>> {
        let (jobs, queue) = channel::<(Sender<Box<Job>>, usize, Box<Job>)>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..WORKERS {
            let (queue, mesh) = (Arc::clone(&queue), Arc::clone(mesh));
            let work = move || {
                crate::base::crash::add_stack();
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    // All shards are gone.
                    let Ok((home, shard, mut job)) = next else { return };
                    job.run();
                    crate::base::alloc::flush_local();
                    if home.send(job).is_ok() {
                        mesh.ring_bell(shard);
                    }
                }
            };
            std::thread::Builder::new().name(format!("slow-{number}")).spawn(work)?;
        }
        let handle = |_| OffloadPool { jobs: jobs.clone(), done: channel(), under_way: 0 };
        Ok((0..shards).map(handle).collect())
    }

    /// Has a job done for a shard.
    pub(super) fn send(&mut self, shard: usize, job: Box<Job>) {
        self.under_way += 1;
        let home = self.done.0.clone();
        self.jobs.send((home, shard, job)).expect("workers end after all shards");
    }

    /// A job that is done.
    pub(super) fn receive(&mut self) -> Option<Box<Job>> {
        if self.under_way == 0 {
            return None;
        }
        let job = self.done.1.try_recv().ok()?;
        self.under_way -= 1;
        Some(job)
    }
}
