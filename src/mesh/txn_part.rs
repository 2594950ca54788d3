//! One round of a transaction on one shard: locks, values, and the verdict on watched keys.
//!
//! ```text
//!                home                              owner
//!   Acquire   -- key locks, watcher, fetches -->   waits for its locks and keeps them; fetches
//!   Continue  -- stores, commands, fetches ---->   under its locks: stores, runs, fetches
//!   Release   -- stores, commands ------------->   stores and runs, then releases the locks
//!   OneShot   -- watcher, commands ------------>   waits until no lock conflicts, runs, keeps none
//! ```
//! One envelope per shard goes back and forth and keeps its credit until the last answer: a
//! transaction that holds locks never waits for a credit. The parts of Acquire, OneShot and
//! Release are posted as one unit under the sequencer.

use super::envelope::{ReplyAddress, TransactionId};
use crate::exec::{Item, KeyLock, Records, RemoteKey, Ticket, Wait};
use std::sync::Arc;

/// Which round of its transaction a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Acquires locks, which stay.
    Acquire,
    /// Works under the locks.
    Continue,
    /// Works under the locks and releases them.
    Release,
    /// Does everything in one round and keeps no lock.
    OneShot,
}

impl Stage {
    /// Returns whether another round comes to the same shard.
    pub fn has_next(self) -> bool {
        matches!(self, Stage::Acquire | Stage::Continue)
    }
}

/// The part of a transaction's round that goes to one shard, beside its commands.
#[derive(Debug)]
pub struct TxnPart {
    /// The transaction's number at home.
    pub transaction: TransactionId,
    /// Which round it is.
    pub stage: Stage,
    /// Unix time in microseconds that all commands of the transaction see.
    pub now_us: u64,
    /// The owner's number of the lock request, from the answer to `Acquire` on.
    pub lock: u64,
    /// The locks that `Acquire` requests on this shard.
    pub key_locks: Vec<KeyLock>,
    /// The client whose watched keys must be unchanged. Its watches end here.
    pub watcher: Option<u64>,
    /// Whether a watched key was changed. Then no command of this part has run.
    pub is_broken: bool,
    /// Keys that get the values they carry, before the commands run.
    pub stores: Vec<RemoteKey>,
    /// Keys whose values the answer brings, read after the commands have run.
    pub fetches: Vec<RemoteKey>,
    /// The place of the command that needs the fetched values.
    pub fetch_at: u32,
    /// What this shard's part propagates, collected over the rounds.
    pub records: Records,
    /// Keys that the rounds have changed and that blocked clients wait for, with their databases.
    pub ready: Vec<(usize, Box<[u8]>)>,
    /// Set if the transaction is a command that blocks now, on keys of this shard too.
    pub blocks: Option<Box<Registration>>,
    /// Set if the transaction ran a blocked client's command that this shard had forwarded.
    pub forwarded: Option<Forwarded>,
}

/// A command that begins to block.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Decides who serves the client.
    pub ticket: Arc<Ticket>,
    /// The command.
    pub item: Item,
    /// The reply that the client waits for.
    pub to: ReplyAddress,
    /// What it waits for. Its arguments are set.
    pub wait: Wait,
}

/// How the run of a forwarded command has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The number of the client's ticket.
    pub ticket: u64,
    /// Whether the command has found nothing and stays blocked.
    pub stays_blocked: bool,
}

impl TxnPart {
    /// Returns a part that asks for nothing yet.
    pub fn new(transaction: TransactionId, stage: Stage, now_us: u64) -> TxnPart {
        TxnPart {
            transaction,
            stage,
            now_us,
            lock: 0,
            key_locks: Vec::new(),
            watcher: None,
            is_broken: false,
            stores: Vec::new(),
            fetches: Vec::new(),
            fetch_at: 0,
            records: Records::default(),
            ready: Vec::new(),
            blocks: None,
            forwarded: None,
        }
    }
}
