//! What a part of a transaction carries beyond its commands: locks, fetched values, the verdict on
//! watched keys.
//!
//! ```text
//!             home                            owner
//!   Open   -- intents, watcher, fetches ->    waits for its locks, keeps them; fetches
//!   More   -- stores, commands, fetches ->    under its locks: stores, runs, fetches
//!   Close  -- stores, commands ---------->    the same, and the locks go
//!   Only   -- watcher, commands --------->    waits until nothing is in its way, runs, keeps none
//! ```
//! One envelope per shard goes back and forth, and keeps its credit until the last answer: a
//! transaction that holds locks never waits for a credit.

use crate::exec::{Item, KeyLock, Records, RemoteKey, Ticket, Wait};
use std::sync::Arc;

/// Where a part stands in its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It takes locks, which stay.
    Acquire,
    /// It works under them.
    Continue,
    /// It works under them, for the last time.
    Release,
    /// It does all at once.
    OneShot,
}

impl Stage {
    /// Whether another part of the transaction comes to the same shard.
    pub fn has_next(self) -> bool {
        matches!(self, Stage::Acquire | Stage::Continue)
    }
}

/// The part of a transaction, beside its commands.
#[derive(Debug)]
pub struct TxnPart {
    /// The transaction's number at home.
    pub transaction: u64,
    /// Where it stands.
    pub stage: Stage,
    /// Unix microseconds at which the transaction takes place, for all of its commands.
    pub now_us: u64,
    /// The owner's number of its locks, from the answer to `Open` on.
    pub lock: u64,
    /// What `Open` locks on this shard.
    pub key_locks: Vec<KeyLock>,
    /// The client whose watched keys are to be as they were; its watches end here.
    pub watcher: Option<u64>,
    /// Whether one of them was not: then no command of this part has run.
    pub is_broken: bool,
    /// Keys that become what their parcels say, before the commands run.
    pub stores: Vec<RemoteKey>,
    /// Keys whose values are wanted, after the commands have run.
    pub fetches: Vec<RemoteKey>,
    /// The place of the command that they are wanted for.
    pub fetch_at: u32,
    /// What the feed is to be told of this shard's part, gathered over the rounds.
    pub records: Records,
    /// Keys that the rounds have changed and that somebody waits for, with their databases.
    pub ready: Vec<(usize, Box<[u8]>)>,
    /// The transaction is a command that waits now, for keys of this shard too.
    pub waits: Option<Box<Registration>>,
    /// The transaction was a command of a client that waited, with this ticket's number.
    pub moved: Option<Moved>,
}

/// A command that begins to wait.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Decides who serves it.
    pub ticket: Arc<Ticket>,
    /// The command.
    pub item: Item,
    /// The flight of its connection that waits for the reply.
    pub flight: u32,
    /// What it waits for. Its words are there.
    pub wait: Wait,
}

/// How the run of a command that waited has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The number of its ticket.
    pub ticket: u64,
    /// Whether it has found nothing, and waits on.
    pub waits_on: bool,
}

impl TxnPart {
    /// A part that asks for nothing yet.
    pub fn new(transaction: u64, stage: Stage, now_us: u64) -> TxnPart {
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
            waits: None,
            moved: None,
        }
    }
}
