//! The coordinator of this shard's transactions: EXEC, and single commands on keys of several
//! shards.
//!
//! Must not know: sockets; how the owners keep locks.
//!
//! ```text
//!   plan       where each command runs, which shards take part
//!   exec       EXEC: refused, run here in one step, or begun
//!   rounds     Acquire, Continue, Release: parts out and back
//!   home       commands that run at home: on the session, or on fetched values
//!   handover   commands that run at home on the slices of all partitions
//!   offload    commands on large fetched values, on other threads
//! ```

mod exec;
mod handover;
mod home;
pub(super) mod offload;
mod plan;
mod rounds;

use crate::client::Transaction;
use crate::exec::Offloads;
use crate::gate::Place;
use crate::mesh::TransactionId;
use offload::TransactionJob;
use std::collections::HashMap;

/// The transactions of a shard's connections.
#[derive(Default)]
pub(super) struct Transactions {
    under_way: HashMap<TransactionId, Box<Transaction>>,
    next: u64,
    /// Plan of the present transaction, kept for reuse.
    plan: Plan,
    /// Commands of transactions that run on other threads.
    pub(super) offloads: Option<Offloads<TransactionJob>>,
}

/// Where the commands of a transaction run. Kept for reuse.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Place of each command.
    pub(super) places: Vec<Place>,
    /// Shards that take part.
    pub(super) shards: Vec<u16>,
    /// Whether a command gathers keys of several shards.
    pub(super) gathers: bool,
    /// Whether a command runs on the session.
    pub(super) has_session: bool,
    /// Whether a session command may send a request to all shards. If so, no other unit may see the
    /// keys before the replies have come.
    pub(super) has_ask: bool,
}

impl Transactions {
    /// Returns a transaction that is in progress.
    pub(super) fn get_mut(&mut self, id: TransactionId) -> Option<&mut Transaction> {
        self.under_way.get_mut(&id).map(|transaction| &mut **transaction)
    }
}

impl Plan {
    fn clear(&mut self) {
        self.places.clear();
        self.shards.clear();
        self.gathers = false;
        self.has_session = false;
        self.has_ask = false;
    }

    fn add(&mut self, shard: u16) {
        if !self.shards.contains(&shard) {
            self.shards.push(shard);
        }
    }
}
