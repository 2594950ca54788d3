//! Units with very many commands or keys, while their home works on them step by step.

use super::planned::Plan;
use crate::client::{Merging, Transaction};
use crate::exec::{Closing, KeyLock, KeySet, Mode, RemoteKey, Scope, Session, Workspace};
use crate::mesh::ReplyAddress;
use crate::resp::Output;
use crate::shard::telemetry::large::LargeReplies;
use crate::spec::{Flag, KeySpec};
use crate::txn::Queue;

/// The next step of such a unit.
pub(in crate::shard) enum Step {
    /// Finds the places and the locks of further commands.
    Plan(Box<Planning>),
    /// Adds further commands to the parts of the next round.
    Split {
        transaction: Box<Transaction>,
        /// Whether it is the first round.
        is_first: bool,
        /// Flags that decide whether a pause delays the unit. None: no pause does.
        flags: Option<Flag>,
    },
    /// Brings further values to the workspace of a command that gathers very many keys.
    Bring(Box<BringStep>),
    /// Takes further values from the workspace of such a command, which has run.
    Close(Box<CloseStep>),
    /// Merges further replies.
    Merge(Box<MergeStep>),
}

impl Step {
    /// Returns the transaction if its replies are being merged. Only then can they be held.
    pub(super) fn merging(&mut self) -> Option<&mut Transaction> {
        match self {
            Step::Merge(step) => Some(&mut step.transaction),
            Step::Plan(_) | Step::Split { .. } | Step::Bring(_) | Step::Close(_) => None,
        }
    }
}

/// A unit that is being planned.
pub(in crate::shard) struct Planning {
    pub(super) to: ReplyAddress,
    pub(super) queue: Box<Queue>,
    /// Shards that keep watched keys of the client.
    pub(super) watched: Vec<u16>,
    pub(super) is_exec: bool,
    /// The client's session when the unit began.
    pub(super) session: Session,
    /// Flags that decide whether a pause delays the unit. None: no pause does.
    pub(super) flags: Option<Flag>,
    pub(super) plan: Plan,
    pub(super) ahead: Ahead,
    /// Index of the next command.
    pub(super) next: usize,
    /// Argument index of the next key of this command. 0: the command has not begun. If the
    /// command gathers its keys: the index of the next one among `keys`.
    pub(super) arg: usize,
    /// The keys of this command, if it gathers very many and has begun.
    pub(super) keys: Vec<(usize, &'static KeySpec)>,
    pub(super) needs: Needs,
}

/// The session ahead of the next command of a plan.
#[derive(Default)]
pub(in crate::shard) struct Ahead {
    pub(super) db: usize,
    /// Set once a command has changed the session.
    pub(super) session: Option<Session>,
}

/// What a unit needs of the shards.
#[derive(Default)]
pub(in crate::shard) struct Needs {
    /// Locks wider than a key, each once. All shards that take part need them.
    pub(super) wide: Vec<KeyLock>,
    /// The needs of each shard.
    pub(super) shards: Vec<ShardNeeds>,
}

/// The most keys of a unit on a shard that it locks exclusively one by one. A snapshot begins
/// beside such locks, but waits for a set with exclusive ones, and others then wait behind it.
const SINGLE_LOCKS_MAX: usize = 64;

/// What a unit needs of one shard.
pub(in crate::shard) struct ShardNeeds {
    /// The first keys that it locks exclusively.
    single: Vec<KeyLock>,
    /// All other keys.
    keys: KeySet,
    /// Number of commands.
    pub(super) items: usize,
    /// Number of arguments.
    pub(super) args: usize,
    /// Bytes of arguments.
    pub(super) bytes: usize,
}

/// A unit whose command gets the values that were fetched for it.
pub(in crate::shard) struct BringStep {
    pub(super) transaction: Box<Transaction>,
    /// Index of the command.
    pub(super) at: usize,
    pub(super) workspace: Box<Workspace>,
    /// The fetched keys of each part.
    pub(super) fetched: Vec<std::vec::IntoIter<RemoteKey>>,
    /// Weight of the values that the command has so far, in elements.
    pub(super) elements: usize,
}

/// A unit whose command has run on fetched values.
pub(in crate::shard) struct CloseStep {
    pub(super) transaction: Box<Transaction>,
    pub(super) closing: Closing,
}

/// A unit whose replies are being merged.
pub(in crate::shard) struct MergeStep {
    pub(super) transaction: Box<Transaction>,
    pub(super) merging: Merging,
    pub(super) output: Output,
    pub(super) large: LargeReplies,
}

impl Needs {
    /// Creates the needs of a unit with about `keys` keys.
    pub(super) fn new(shards: usize, keys: usize) -> Needs {
        let of_shard = |_| ShardNeeds {
            single: Vec::new(),
            keys: KeySet::new(keys.div_ceil(shards)),
            items: 0,
            args: 0,
            bytes: 0,
        };
        Needs { wide: Vec::new(), shards: (0..shards).map(of_shard).collect() }
    }

    /// Writes the needs into the parts of the unit's transaction.
    pub(super) fn state(self, transaction: &mut Transaction) {
        let Needs { wide, mut shards } = self;
        for part in 0..transaction.parts() {
            let mut envelope = transaction.flight.take(part);
            let of_shard = &mut shards[usize::from(envelope.owner)];
            envelope.reserve(of_shard.items, of_shard.args, of_shard.bytes);
            let txn = envelope.txn_mut();
            txn.is_sliced = true;
            txn.key_locks.extend_from_slice(&wide);
            txn.key_locks.append(&mut of_shard.single);
            txn.key_set = Some(Box::new(std::mem::take(&mut of_shard.keys)));
            transaction.flight.put_back(envelope);
        }
    }

    /// Adds a lock that is wider than a key.
    pub(super) fn add_wide(&mut self, lock: KeyLock) {
        if !self.wide.contains(&lock) {
            self.wide.push(lock);
        }
    }
}

impl ShardNeeds {
    /// Adds the lock of a key.
    pub(super) fn add(&mut self, lock: KeyLock) {
        let Scope::Key { hash, .. } = lock.scope else { unreachable!("it is a lock on a key") };
        self.add_key(hash, lock.mode);
    }

    /// Adds the lock of the key with this hash.
    pub(super) fn add_key(&mut self, hash: u64, mode: Mode) {
        if mode == Mode::Exclusive && self.single.len() < SINGLE_LOCKS_MAX {
            self.single.push(KeyLock { scope: Scope::name(hash), mode });
        } else {
            self.keys.insert(hash, mode);
        }
    }
}
