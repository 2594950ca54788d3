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
//!   pass_on    scripts that share one fetch of all slices
//!   offload    commands on large fetched values, on other threads
//!   moving     a move of hash slots, between two steps
//!   moves      moves hash slots to another partition, step by step
//!   served     keys that have left this node of a cluster
//!   scripts    scripts that run at home for long, in slices
//!   sliced     a unit of very many commands or keys, between two steps
//!   steps      the work at home on such units
//!   gathering  the values of a command of such a unit that gathers very many keys
//! ```

mod exec;
mod gathering;
mod handover;
mod home;
mod moves;
pub(super) mod moving;
pub(super) mod offload;
mod pass_on;
mod plan;
pub(super) mod planned;
mod rounds;
mod scripts;
mod served;
pub(super) mod sliced;
mod steps;

use crate::client::Transaction;
use crate::exec::Offloads;
use crate::mesh::TransactionId;
use moving::SlotMove;
use offload::{HomeScript, TransactionJob, Waiting};
use planned::Plan;
use sliced::Step;
use std::collections::{HashMap, VecDeque};

/// The transactions of a shard's connections.
#[derive(Default)]
pub(super) struct Transactions {
    under_way: HashMap<TransactionId, Box<Transaction>>,
    next: u64,
    /// Plan of the present transaction, kept for reuse.
    plan: Plan,
    /// Units whose work at home goes in steps. At most one per connection.
    steps: VecDeque<Step>,
    /// Number of commands and keys that are left of the present step.
    step_left: usize,
    /// Commands whose scripts are suspended. At most one per connection.
    scripts: VecDeque<HomeScript>,
    /// Whether a unit of this shard fetches the slices of all partitions for a script.
    has_carrier: bool,
    /// Scripts that wait for the slices of this unit. At most one per connection.
    carried: VecDeque<Waiting>,
    /// A move of hash slots that a client of this shard has asked for.
    moving: Option<Box<SlotMove>>,
    /// Commands of transactions that run on other threads.
    pub(super) offloads: Option<Offloads<TransactionJob>>,
}

impl Transactions {
    /// Returns whether no transaction is under way, and none waits to begin.
    pub(super) fn is_idle(&self) -> bool {
        let has_units = !self.under_way.is_empty() || !self.steps.is_empty();
        let has_scripts = !self.scripts.is_empty() || !self.carried.is_empty();
        !has_units && !has_scripts && !self.has_carrier
    }

    /// Returns a transaction that is in progress, or whose replies are being merged.
    pub(super) fn get_mut(&mut self, id: TransactionId) -> Option<&mut Transaction> {
        if let Some(transaction) = self.under_way.get_mut(&id) {
            return Some(transaction);
        }
        let waiting = self.scripts.iter_mut().map(|waiting| &mut *waiting.transaction);
        let mut waiting = waiting.filter(|transaction| transaction.id == id);
        if let Some(transaction) = waiting.next() {
            return Some(transaction);
        }
        let mut merging = self.steps.iter_mut().filter_map(Step::merging);
        merging.find(|transaction| transaction.id == id)
    }
}
