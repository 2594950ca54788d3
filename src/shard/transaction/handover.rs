//! Commands that discover keys: they run at home, on the slices of all partitions.
//!
//! ```text
//!   Acquire or Continue   each owner hands its slice over with its reply
//!   all slices are here   the command runs on them, as on one slice with all keys
//!   Continue or Release   the slices return
//! ```
//! The unit has locked everything, exclusively (`partition/handover`). It runs on this thread and
//! not on the offload pool: while it holds the keys of all shards, it waits for nothing.

use super::offload::run_at_home;
use crate::client::{ReplySource, Transaction};
use crate::exec::Slices;
use crate::shard::state::Shard;

impl Shard {
    /// Requests the slices of all partitions with the next round.
    pub(super) fn request_slices(&mut self, transaction: &mut Transaction) {
        assert_eq!(transaction.parts(), self.env.router.shards(), "all shards take part");
        for part in 0..transaction.parts() {
            transaction.flight.txn_mut(part).takes_slice = true;
        }
    }

    /// Runs a command on the slices of all partitions. The next round returns them.
    pub(super) fn run_on_slices(&mut self, transaction: &mut Transaction, at: usize) {
        let started_ns = self.env.clock_ns();
        transaction.is_recorded = self.replication.feed.is_on();
        let now_ms = self.partition.env().now.unix_ms();
        let mut slices = Slices::new(transaction.take_slices(), now_ms);
        let with = (&*self.env.config, now_ms);
        let ran = run_at_home(transaction, at, with, |item, batch_args, with| {
            slices.run(item, batch_args, with)
        });
        transaction.put_slices(slices.into_slices());
        let item = transaction.queue.items[at];
        self.partition.settle_offloaded(ran, &item, started_ns, &mut transaction.own.spent);
        transaction.flight.order.push(ReplySource::One(transaction.own.part));
    }
}
