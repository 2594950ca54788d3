//! Keys of received commands: their memory is prefetched while the turn does other work. Hot.
//!
//! ```text
//!   bytes arrive: slot roots -> clock is read: buckets -> connections are served: entries
//! ```
//!
//! A pipeline is long enough for the prefetches of its own batch, so only short input counts.

use crate::base::slot::slot_of;
use crate::io::ConnId;
use crate::keyspace::{SPOTS_MAX, Spot};
use crate::resp::second_arg;
use crate::shard::state::Shard;

/// Input of at most this number of bytes is looked at.
const AHEAD_BYTES_MAX: usize = 256;

impl Shard {
    /// Prefetches the slot root of the first key in the bytes that a connection has received last.
    #[inline]
    pub(super) fn look_ahead(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let text = connection.input.pending_text();
        if text.len() > AHEAD_BYTES_MAX || self.queues.ahead.len() >= SPOTS_MAX {
            return;
        }
        let Some(key) = second_arg(text) else { return };
        let slot = slot_of(key);
        if usize::from(self.env.router.owner(slot)) == self.env.me {
            let hash = self.partition.slice().key_in_slot(key, slot).hash;
            let spot = Spot { hash, slot, db: connection.session.db as u16 };
            self.partition.slice().prefetch_root(spot);
            self.queues.ahead.push(spot);
        }
    }

    /// Prefetches the buckets of the keys, whose slot roots have arrived.
    #[inline]
    pub(in crate::shard) fn prefetch_buckets(&self) {
        self.partition.slice().prefetch_buckets(&self.queues.ahead);
    }

    /// Prefetches the entries of the keys, whose buckets have arrived.
    #[inline]
    pub(in crate::shard) fn prefetch_entries(&mut self) {
        self.partition.slice().prefetch_entries(&self.queues.ahead);
        self.queues.ahead.clear();
    }
}
