//! Under `appendfsync always`: replies wait until the effects that they may show are durable.

use crate::feed::timestamp_at;
use crate::io::ConnId;
use crate::shard::state::Shard;

impl Shard {
    /// Makes the output of a connection wait until the effects that this shard knows are durable.
    #[cold]
    pub(in crate::shard) fn gate_output(&mut self, conn: ConnId) {
        let written = self.partition.journal_mut().clock.written();
        let disk = self.replication.feed.disk();
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let outbox = &mut connection.outbox;
        let is_listed = outbox.waits_for().is_some();
        if !outbox.gate(written) {
            return;
        }
        outbox.open(disk.durable());
        if outbox.waits_for().is_none() {
            return;
        }
        disk.want(self.env.me, written);
        // The thread of the append-only file may have looked before.
        outbox.open(disk.durable());
        if outbox.waits_for().is_some() && !is_listed {
            self.replication.unsent.push(conn);
        }
    }

    /// Sends the output that has waited for effects that have become durable.
    #[inline]
    pub(super) fn release_durable(&mut self) {
        if !self.replication.unsent.is_empty() {
            self.release_some();
        }
    }

    fn release_some(&mut self) {
        let disk = self.replication.feed.disk();
        let (is_always, durable) = (disk.is_always(), disk.durable());
        if is_always && durable == self.replication.durable_seen {
            return;
        }
        self.replication.durable_seen = durable;
        for conn in std::mem::take(&mut self.replication.unsent) {
            let Some(connection) = self.connections.get_mut(conn) else { continue };
            connection.outbox.open(if is_always { durable } else { u64::MAX });
            if connection.outbox.waits_for().is_some() {
                self.replication.unsent.push(conn);
            }
            self.make_dirty(conn);
        }
    }

    /// Records that locks are being released: other shards store values and propagate them, and the
    /// reply does not wait for that. Their units run before their watermarks exceed the present.
    #[inline]
    pub(in crate::shard) fn expect_effects(&mut self) {
        if self.replication.feed.disk().is_always() {
            let now = timestamp_at(self.env.clock_ns());
            self.partition.journal_mut().clock.learn_written(now);
        }
    }
}
