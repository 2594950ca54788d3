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
//!   offload    commands on large fetched values, on other threads
//! ```

mod exec;
mod home;
pub(super) mod offload;
mod plan;
mod rounds;

use crate::client::Transaction;
use crate::exec::Offloads;
use crate::mesh::TransactionId;
use offload::TransactionJob;
use plan::Plan;
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
