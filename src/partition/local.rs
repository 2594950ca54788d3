//! Commands of the shard's own connections whose keys are all here. Hot.

use super::partition::Partition;
use super::run::{Batch, Ran, RunMode, Waker};
use super::timing::BatchTiming;
use crate::keyspace::Caller;

impl Partition {
    /// Runs a batch of a connection of the partition's own shard, which is the `caller`. If the
    /// batch blocks, the caller must also call [`Partition::block`].
    #[inline]
    pub fn run_local(
        &mut self,
        batch: &mut Batch<'_>,
        mode: RunMode,
        caller: Caller,
        timing: &mut BatchTiming,
    ) -> Ran {
        self.deferred.begin();
        self.heed_trackers();
        let mut records = self.journal.records();
        let before = self.enter_caller(Some(caller));
        let mut ran = self.run(batch, mode, &mut Waker::new(records.as_mut()), timing);
        self.enter_caller(before);
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
