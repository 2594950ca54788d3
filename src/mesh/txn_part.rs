//! One round of a transaction on one shard: locks, values, and the check of watched keys.
//!
//! ```text
//!                home                              owner
//!   Acquire   -- key locks, watcher, fetches -->   waits for its locks and keeps them; fetches
//!   Continue  -- stores, commands, fetches ---->   under its locks: stores, runs, fetches
//!   Release   -- stores, commands ------------->   stores and runs, then releases the locks
//!   OneShot   -- watcher, commands ------------>   waits until no lock conflicts, runs, keeps none
//! ```
//! A home that has locked everything can take the whole slice in place of fetches. It returns the
//! slice in place of stores.
//!
//! One envelope per shard goes back and forth. Its credit returns with the reply to Acquire, and
//! later rounds need none. So a transaction that holds locks never waits for a credit. The parts of
//! Acquire, OneShot and Release are posted as one unit under the sequencer.

use super::envelope::Envelope;
use super::envelope::{ReplyAddress, TransactionId};
use crate::exec::{Item, KeyLock, KeySet, Records, RemoteKey, Ticket, Wait};
use crate::keyspace::Slice;
use crate::resp::{Error, Protocol};
use std::sync::Arc;

/// Round of the transaction that a part belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Acquires locks and keeps them.
    Acquire,
    /// Works under the locks.
    Continue,
    /// Works under the locks and releases them.
    Release,
    /// Does everything in one round and keeps no lock.
    OneShot,
}

impl Stage {
    /// Returns whether another round goes to the same shard.
    pub fn has_next(self) -> bool {
        matches!(self, Stage::Acquire | Stage::Continue)
    }
}

/// The part of a transaction's round that goes to one shard, in addition to its commands.
#[derive(Debug)]
pub struct TxnPart {
    /// Number of the transaction at its home shard.
    pub transaction: TransactionId,
    /// Round that the part belongs to.
    pub stage: Stage,
    /// Unix time in microseconds that all commands of the transaction see. None: the time at which
    /// its first round is posted.
    pub now_us: Option<u64>,
    /// The owner's number of the lock request, from the reply to `Acquire` on.
    pub lock: u64,
    /// Locks that `Acquire` requests on this shard.
    pub key_locks: Vec<KeyLock>,
    /// Keys that the first round locks on this shard, in addition to `key_locks`. Set for a unit
    /// with very many keys.
    pub key_set: Option<Box<KeySet>>,
    /// Whether the commands of each round run in slices, because the unit has very many commands or
    /// keys.
    pub is_sliced: bool,
    /// Id of the client whose watched keys must be unchanged. Its watches end here.
    pub watcher: Option<u64>,
    /// Whether a watched key was changed. If so, no command of this part has run.
    pub is_broken: bool,
    /// Why the owner has refused the transaction. It is broken then.
    pub refused: Option<Error>,
    /// In the first of several rounds, for the owner of the transaction's slot in a cluster: the
    /// slot and, if it is open, all commands of the transaction. Their keys must be here before
    /// the first command runs.
    pub whole: Option<(u16, Option<Box<Envelope>>)>,
    /// Keys with values that the owner stores before the commands run.
    pub stores: Vec<RemoteKey>,
    /// Keys whose values the owner reads after the commands have run, for the reply.
    pub fetches: Vec<RemoteKey>,
    /// Index of the command that needs the fetched values.
    pub fetch_at: u32,
    /// Whether that command's keys are tracked for its client.
    pub is_tracked: bool,
    /// Whether that command may write.
    pub fetch_writes: bool,
    /// Whether the owner hands its slice over to the home with the reply, after the commands have
    /// run. The unit must have locked everything on this shard, exclusively.
    pub takes_slice: bool,
    /// The owner's slice, from such a reply until the next round brings it back.
    pub slice: Option<Box<Slice>>,
    /// Commands that this shard's part propagates, collected over the rounds.
    pub records: Records,
    /// Keys with blocked clients that the rounds have made ready, with their databases.
    pub ready: Vec<(usize, Box<[u8]>)>,
    /// Set if the transaction is a command that now blocks, also on keys of this shard.
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
    /// Reply that the client waits for.
    pub to: ReplyAddress,
    /// What the command waits for. Its arguments are set.
    pub wait: Wait,
}

/// A blocked command that another partition lists, because a hash slot has moved there.
#[derive(Debug)]
pub struct MovedWaiter {
    /// The command.
    pub registration: Registration,
    /// Shard of the client's connection.
    pub home: u16,
    /// Protocol of the reply.
    pub protocol: Protocol,
}

/// Result of a forwarded command's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// Number of the client's ticket.
    pub ticket: u64,
    /// Whether the command has found nothing and stays blocked.
    pub stays_blocked: bool,
}

impl TxnPart {
    /// Creates a part without work.
    pub fn new(transaction: TransactionId, stage: Stage) -> TxnPart {
        TxnPart {
            transaction,
            stage,
            now_us: None,
            lock: 0,
            key_locks: Vec::new(),
            key_set: None,
            is_sliced: false,
            watcher: None,
            is_broken: false,
            refused: None,
            whole: None,
            stores: Vec::new(),
            fetches: Vec::new(),
            fetch_at: 0,
            is_tracked: false,
            fetch_writes: false,
            takes_slice: false,
            slice: None,
            records: Records::default(),
            ready: Vec::new(),
            blocks: None,
            forwarded: None,
        }
    }

    /// Returns whether the last round may unblock clients on the part's shard.
    pub fn may_unblock(&self) -> bool {
        let has_changed = self.slice.as_ref().is_some_and(|slice| slice.has_ready());
        has_changed || !self.stores.is_empty() || !self.ready.is_empty()
    }
}
