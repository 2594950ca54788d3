//! CLUSTER SLOT-STATS: counts the bytes of commands and replies for hash slots, if
//! `cluster-slot-stats-enabled` says so. Each batch then has one command.

use crate::exec::{BatchArgs, Item, KeySlots};
use crate::io::ConnId;
use crate::observe::SlotSpent;
use crate::shard::local::gather::Gathered;
use crate::shard::state::Shard;

/// Bytes of a MULTI, which count for the slot of its EXEC.
const MULTI_BYTES: u64 = 15;

impl Shard {
    /// Returns whether bytes are counted for hash slots.
    #[inline]
    pub(in crate::shard) fn counts_slots(&self) -> bool {
        self.env.config.cluster_slot_stats_enabled && self.env.process.is_cluster
    }

    /// Counts the bytes of the last command and of what has been written since.
    #[cold]
    pub(in crate::shard) fn settle_slot(&mut self, conn: ConnId) {
        let is_on = self.counts_slots();
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if !is_on {
            return connection.end_tally();
        }
        if let Some(bytes) = connection.take_tally() {
            let (bytes_in, bytes_out) = (bytes.bytes_in, bytes.bytes_out);
            let used = SlotSpent { cpu_us: 0, bytes_in, bytes_out };
            self.env.process.boards.slot_usage.add(bytes.slot, used);
        }
    }

    /// Finds the slot of the command that is about to run.
    #[cold]
    pub(in crate::shard) fn begin_slot(&mut self, conn: ConnId, gathered: &Gathered) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let (text, large) = connection.input.parts();
        let mut batch_args = BatchArgs { text, spans: &self.batch.spans, large };
        let mut slots_of = |item: &Item| item.entry.key_slots(&batch_args.of(item));
        let mut more_in = 0;
        let slots = match gathered {
            Gathered::Keys => self.batch.items.first().map(slots_of),
            Gathered::Session(item) if item.entry.executes_queued() => {
                more_in = MULTI_BYTES;
                connection.session.multi.as_ref().map(|multi| multi.slots)
            }
            Gathered::Joint(item) | Gathered::ManyKeys(item) | Gathered::Session(item) => {
                Some(slots_of(item))
            }
            Gathered::Queued(_) => connection.queue.as_mut().and_then(|queue| {
                let (items, mut batch_args) = queue.parts();
                items.last().map(|item| item.entry.key_slots(&batch_args.of(item)))
            }),
            _ => None,
        };
        let slot = match slots {
            Some(KeySlots::One(slot)) => Some(slot),
            _ => None,
        };
        let counts_reply = !matches!(gathered, Gathered::Queued(_));
        connection.begin_tally(slot, counts_reply, more_in);
    }
}
