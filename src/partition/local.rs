//! Commands of the shard's own connections whose keys are all here. Hot.

use super::partition::Partition;
use super::run::{Batch, Ran, RunMode, Waker};
use super::timing::BatchTiming;

impl Partition {
    /// Runs a batch of a connection of the partition's own shard. If the batch blocks, the caller
    /// must also call [`Partition::block`].
    #[inline]
    pub fn run_local(
        &mut self,
        batch: &mut Batch<'_>,
        mode: RunMode,
        timing: &mut BatchTiming,
    ) -> Ran {
        self.deferred.begin();
        let mut records = self.journal.records();
        let mut ran = self.run(batch, mode, &mut Waker::new(records.as_mut()), timing);
        if let Some((_, script)) = &mut ran.suspended {
            script.records = records;
            return ran;
        }
        if records.is_some() {
            self.journal.write_local(records, mode == RunMode::Transaction);
        }
        if mode == RunMode::Transaction {
            self.serve_blocked_behind();
        }
        ran
    }
}
