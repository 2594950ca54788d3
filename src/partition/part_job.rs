//! What the offload pool does for a partition: a command of a part, a value of a cut.

use crate::config::Config;
use crate::exec::{BlockingAttempt, OffloadedRun, Records, Workspace, WorkspaceRun};
use crate::mesh::Envelope;
use crate::snapshot::Lent;
use crate::txn::LockId;
use std::sync::Arc;

/// Work on its way to a thread of the pool and back.
#[derive(Debug)]
pub enum PoolJob {
    /// A command.
    Command(Box<PartJob>),
    /// A value to encode.
    Lent(Lent),
}

impl PoolJob {
    /// Does the work, on a thread of the pool.
    pub(super) fn run(&mut self) {
        match self {
            PoolJob::Command(job) => job.run(),
            PoolJob::Lent(lent) => lent.encode(),
        }
    }
}

/// A command of a part on its way to a thread of the pool and back.
#[derive(Debug)]
pub struct PartJob {
    pub(super) part: Box<Envelope>,
    /// Index of the command in the part.
    pub(super) at: usize,
    pub(super) lock: LockId,
    pub(super) records: Option<Records>,
    pub(super) workspace: Box<Workspace>,
    pub(super) config: Arc<Config>,
    pub(super) now_ms: u64,
    pub(super) started_ns: u64,
    pub(super) ran: OffloadedRun,
}

impl PartJob {
    /// Runs the command, on a thread of the pool.
    fn run(&mut self) {
        let protocol = self.part.protocol;
        let (items, mut batch_args, output, ends) = self.part.parts();
        let item = items[self.at];
        let with = WorkspaceRun {
            config: &self.config,
            protocol,
            now_ms: self.now_ms,
            output,
            ends,
            records: self.records.as_mut(),
            caller: None,
            attempt: BlockingAttempt::default(),
            scripting: None,
        };
        self.ran = self.workspace.run_offloaded(item, &mut batch_args, with);
    }
}
