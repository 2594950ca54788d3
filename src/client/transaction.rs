//! A transaction in progress: EXEC, or one command on keys of several shards, in rounds.
//!
//! ```text
//!   no locks      OneShot    --all parts replied--> over
//!   locks needed  Acquire    --replied; a watched key was changed--> Release is sent, over
//!                            --replied--> [run on fetched values or slices] --> next round
//!   next round    Continue   the commands up to the next that gathers its keys
//!                 Release    the last: if it brings no reply, the transaction is over when it is
//!                            sent
//! ```
//! A transaction does not belong to its connection. If the connection closes, the rounds continue,
//! because the locks would otherwise stay.

use super::flight::Flight;
use crate::exec::{KeyCollector, Merge, Records, Ticket, Wait};
use crate::gate::Place;
use crate::keyspace::Slice;
use crate::mesh::{Envelope, ForwardId, HoldId, ReplyAddress, TransactionId, TxnPart};
use crate::resp::Protocol;
use crate::spec::Flag;
use crate::txn::Queue;
use crate::value::Kind;
use std::sync::Arc;

/// A transaction and its progress.
// Boxed, because envelopes keep their address on their way.
#[allow(clippy::vec_box)]
#[derive(Debug)]
pub struct Transaction {
    /// Number of the transaction at its home shard.
    pub id: TransactionId,
    /// Reply that its connection waits for.
    pub to: ReplyAddress,
    /// Unix time in microseconds that its commands see: of the posting of its first round. Until
    /// then, of its first command on the session.
    pub now_us: Option<u64>,
    /// Protocol of the replies.
    pub protocol: Protocol,
    /// Its commands.
    pub queue: Box<Queue>,
    /// Where each command runs.
    pub places: Vec<Place>,
    /// Whether the replies form one array.
    pub is_exec: bool,
    /// Whether it needs locks, and therefore several rounds.
    pub has_locks: bool,
    /// Whether the round in progress is the last.
    pub is_closing: bool,
    /// Index of the next command.
    pub next: usize,
    /// Index of the command whose keys are being fetched.
    pub gathering: Option<usize>,
    /// Whether its changes are propagated.
    pub is_recorded: bool,
    /// Parts and replies.
    pub flight: Flight,
    /// Replies that are made at home, as one more part.
    pub own: Box<Envelope>,
    /// Request of a command to all shards, which is sent with the next round.
    pub asks: Vec<Box<Envelope>>,
    /// How the replies to the request are merged, until they have come. It ends its round.
    pub asking: Option<Merge>,
    /// Propagated commands of the runs at home.
    pub records: Records,
    /// Holds on the replies of its last round, by owner.
    pub holds: Vec<(u16, HoldId)>,
    /// Whether it has very many commands or keys, so that all work on it goes in slices.
    pub is_sliced: bool,
    /// Flags that decide whether a pause of clients delays its first round, if it is sliced. None:
    /// no pause does.
    pub pause_flags: Option<Flag>,
    /// How far the keys of the next command are in the parts, if they are added in slices.
    pub spread: Spread,
    /// Set while the keys of the next command, which has very many, are added to the keys that
    /// their owners fetch.
    pub collector: Option<Box<KeyCollector>>,
    /// Set if its only command may block.
    pub attempt: Option<TransactionAttempt>,
}

/// Progress of a command with very many keys, which are added to the parts in slices.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spread {
    /// Argument index of the next key. 0: the command has not begun.
    pub arg: usize,
    /// Index of its first member among the members of the flight.
    pub first: usize,
}

/// State of a transaction whose command may block.
#[derive(Debug)]
pub struct TransactionAttempt {
    /// Decides who serves the client.
    pub ticket: Arc<Ticket>,
    /// Set if the command was blocked and an owner has forwarded it.
    pub woken: Option<Woken>,
    /// What the command waits for, once it has blocked.
    pub wait: Option<Wait>,
    /// Whether it was forwarded and has found nothing, so that it stays blocked.
    pub stays_blocked: bool,
}

impl TransactionAttempt {
    /// Creates an attempt of a command that has not run yet.
    pub fn new(ticket: Arc<Ticket>, woken: Option<Woken>) -> TransactionAttempt {
        TransactionAttempt { ticket, woken, wait: None, stays_blocked: false }
    }
}

/// Why a blocked command runs again.
#[derive(Clone, Copy, Debug)]
pub struct Woken {
    /// Argument index of the key that became ready, if the command waits for this key alone.
    pub key_arg: Option<usize>,
    /// Shard that owns the key.
    pub owner: u16,
    /// Type that its value must have.
    pub kind: Kind,
    /// The owner's number for the forwarded command.
    pub id: ForwardId,
}

impl Transaction {
    /// Returns the numbers of the parts at home for whose shards `is_wanted` returns true.
    pub fn parts_of(&self, is_wanted: impl Fn(u16) -> bool) -> Vec<usize> {
        let parts = 0..self.parts();
        parts.filter(|part| is_wanted(self.flight.owner(*part))).collect()
    }

    /// Returns the number of shards that take part.
    pub fn parts(&self) -> usize {
        usize::from(self.own.part)
    }

    /// Returns whether the command at an index gathers keys of several shards.
    pub fn gathers(&self, at: usize) -> bool {
        self.places[at] == Place::Several && self.queue.items[at].entry.gathers_keys()
    }

    /// Returns whether the command at an index discovers keys, so that it needs the slices of all
    /// shards.
    pub fn discovers(&self, at: usize) -> bool {
        self.queue.items[at].discovers && self.gathers(at)
    }

    /// Returns whether the command at an index runs here, on the slices of all shards: it discovers
    /// keys, or it is a script, which may be suspended, and the slices are here already.
    pub fn runs_on_slices(&self, at: usize) -> bool {
        let is_script = self.queue.items[at].entry.command.runs_commands;
        self.discovers(at) || is_script && !self.gathers(at) && self.has_slices()
    }

    /// Returns whether the next round has commands for its shards.
    pub fn has_commands_out(&self) -> bool {
        self.flight.parts().any(|part| !part.items.is_empty())
    }

    /// Returns whether the next round has work for its shards.
    pub fn has_work_for_parts(&self) -> bool {
        (0..self.parts()).any(|part| self.flight.has_commands_or_keys(part))
    }

    /// Returns whether the slices of all partitions are here.
    pub fn has_slices(&self) -> bool {
        let has_slice = |part: &Envelope| part.txn().is_some_and(|txn| txn.slice.is_some());
        self.flight.parts().next().is_some_and(has_slice)
    }

    /// Takes the slices that the owners have handed over, in the order of the shards.
    pub fn take_slices(&mut self) -> impl Iterator<Item = Box<Slice>> {
        let parts = 0..self.parts();
        let taken = |part| self.flight.txn_mut(part).slice.take();
        let taken: Option<Vec<_>> = parts.map(taken).collect();
        taken.expect("all owners have handed their slices over").into_iter()
    }

    /// Returns whether a key on one of the slices, which are here, is ready for blocked clients.
    pub fn has_ready(&self) -> bool {
        let is_ready = |txn: &TxnPart| txn.slice.as_ref().is_some_and(|slice| slice.has_ready());
        self.flight.parts().any(|part| part.txn().is_some_and(is_ready))
    }

    /// Puts the slices back, so that the next round returns them to their owners.
    pub fn put_slices(&mut self, slices: impl Iterator<Item = Box<Slice>>) {
        for (part, slice) in slices.enumerate() {
            self.flight.txn_mut(part).slice = Some(slice);
        }
    }
}
