//! The coordinator of this shard's transactions: EXEC, and single commands on keys of several
//! shards.
//!
//! Must not know: sockets; how the owners keep locks.
//!
//! ```text
//!   planned    the plan of a transaction
//!   plan       where each command runs, which shards take part
//!   exec       EXEC: refused, run here in one step, or begun
//!   rounds     Acquire, Continue, Release: parts out and back
//!   home       commands that run at home: on the session, or on fetched values
//!   handover   commands that run at home on the slices of all partitions
//!   offload    commands on large fetched values, on other threads
//!   sliced     a unit of very many commands or keys, between two steps
//!   steps      the work at home on such units
//! ```

mod exec;
mod handover;
mod home;
pub(super) mod offload;
mod plan;
pub(super) mod planned;
mod rounds;
pub(super) mod sliced;
mod steps;

use crate::client::Transaction;
use crate::exec::Offloads;
use crate::mesh::{HoldId, TransactionId};
use offload::TransactionJob;
use planned::Plan;
use sliced::Step;
use std::collections::{HashMap, VecDeque};

/// The transactions of a shard's connections.
#[derive(Default)]
pub(super) struct Transactions {
    under_way: HashMap<TransactionId, Box<Transaction>>,
    /// Holds on the replies of transactions that have not ended, by owner. They are not in the
    /// transaction, because they may end while it is between two steps.
    holds: HashMap<TransactionId, Vec<(u16, HoldId)>>,
    next: u64,
    /// Plan of the present transaction, kept for reuse.
    plan: Plan,
    /// Units whose work at home goes in steps. At most one per connection.
    steps: VecDeque<Step>,
    /// Number of commands and keys that are left of the present step.
    step_left: usize,
    /// Commands of transactions that run on other threads.
    pub(super) offloads: Option<Offloads<TransactionJob>>,
}

impl Transactions {
    /// Ends a hold on a reply of a transaction. Returns whether the transaction had it.
    pub(super) fn end_hold(&mut self, id: TransactionId, ended: (u16, HoldId)) -> bool {
        let Some(holds) = self.holds.get_mut(&id) else { return false };
        let Some(at) = holds.iter().position(|hold| *hold == ended) else { return false };
        holds.swap_remove(at);
        true
    }
}
