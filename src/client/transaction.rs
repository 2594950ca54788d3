//! A transaction under way: EXEC, or one command on keys of several shards, in rounds.
//!
//! ```text
//!   no locks      OneShot    --all parts answered--> over
//!   locks needed  Acquire    --answered; a watched key was changed--> Release is sent, over
//!                            --answered--> [run what was fetched] --> next round
//!   next round    Continue   the commands up to the next that gathers its keys
//!                 Release    the last: if no reply is due from it, the transaction is over when
//!                            it is sent
//! ```
//! A transaction does not belong to its connection: when that closes, the rounds go on, because
//! locks would stay otherwise.

use super::flight::Flight;
use crate::exec::{Records, Ticket, Wait, Workspace};
use crate::gate::Place;
use crate::mesh::{Envelope, ForwardId, ReplyAddress, TransactionId};
use crate::resp::Protocol;
use crate::txn::Queue;
use crate::value::Kind;
use std::sync::Arc;

/// A transaction and how far it has come.
// Envelopes are boxed, because they keep their address on their way.
#[allow(clippy::vec_box)]
#[derive(Debug)]
pub struct Transaction {
    /// Its number at home.
    pub id: TransactionId,
    /// The reply that its connection waits for.
    pub to: ReplyAddress,
    /// Unix time in microseconds that all of its commands see.
    pub now_us: u64,
    /// The protocol of the replies.
    pub protocol: Protocol,
    /// Its commands.
    pub queue: Box<Queue>,
    /// Where each command runs.
    pub places: Vec<Place>,
    /// Whether the replies make one array.
    pub is_exec: bool,
    /// Whether it needs locks, and so several rounds.
    pub has_locks: bool,
    /// Whether the round that is out is the last.
    pub is_closing: bool,
    /// The place of the next command.
    pub next: usize,
    /// The place of the command whose keys are being fetched.
    pub gathering: Option<usize>,
    /// Whether what it does is propagated.
    pub is_recorded: bool,
    /// The values that were fetched for the command.
    pub workspace: Option<Box<Workspace>>,
    /// Parts and replies.
    pub flight: Flight,
    /// The replies that are made at home, as one more part.
    pub own: Box<Envelope>,
    /// Requests of its commands to all shards, to go out with the next round.
    pub asks: Vec<Box<Envelope>>,
    /// What the commands that ran at home propagate.
    pub records: Records,
    /// Set if its only command may block.
    pub attempt: Option<TransactionAttempt>,
}

/// The state of a transaction whose command may block.
#[derive(Debug)]
pub struct TransactionAttempt {
    /// Decides who serves the client.
    pub ticket: Arc<Ticket>,
    /// Set if the command was blocked and an owner has forwarded it.
    pub woken: Option<Woken>,
    /// What the command waits for, once it has blocked.
    pub wait: Option<Wait>,
    /// Whether it was forwarded and has found nothing: it stays blocked.
    pub stays_blocked: bool,
}

impl TransactionAttempt {
    /// Returns an attempt of a command that has not run yet.
    pub fn new(ticket: Arc<Ticket>, woken: Option<Woken>) -> TransactionAttempt {
        TransactionAttempt { ticket, woken, wait: None, stays_blocked: false }
    }
}

/// Why a blocked command runs again.
#[derive(Clone, Copy, Debug)]
pub struct Woken {
    /// The argument that is the key which became ready.
    pub key_arg: usize,
    /// The shard that owns the key.
    pub owner: u16,
    /// The type that its value must have.
    pub kind: Kind,
    /// The owner's number for the forwarded command.
    pub id: ForwardId,
}

impl Transaction {
    /// Returns the numbers of the parts at home whose shards are wanted.
    pub fn parts_of(&self, is_wanted: impl Fn(u16) -> bool) -> Vec<usize> {
        let parts = 0..self.parts();
        parts.filter(|part| is_wanted(self.flight.owner(*part))).collect()
    }

    /// Returns how many shards take part.
    pub fn parts(&self) -> usize {
        usize::from(self.own.part)
    }

    /// Returns whether the command at a place gathers keys of several shards.
    pub fn gathers(&self, at: usize) -> bool {
        self.places[at] == Place::Several && self.queue.items[at].entry.gathers_keys()
    }
}
