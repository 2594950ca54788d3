//! A transaction under way: EXEC, or one command on keys of several shards, in rounds.
//!
//! ```text
//!   no locks      (Only)   --all parts landed--> over
//!   locks needed  (Open)   --landed; a watched key was changed--> Close is sent, over
//!                          --landed--> [run what was fetched] --> next round
//!   next round    (More)   parts of the commands up to the next that needs keys brought together
//!                 (Close)  the last: if no reply is due from it, the transaction is over when sent
//! ```
//! It does not belong to its connection: when that ends, the rounds go on, or locks would stay.

use super::flight::Flight;
use crate::exec::{Reach, Records, RemoteKey, Ticket, Wait};
use crate::gate::Place;
use crate::io::ConnId;
use crate::keyspace::Slice;
use crate::mesh::Envelope;
use crate::resp::Protocol;
use crate::txn::Queue;
use crate::value::Kind;
use std::sync::Arc;

/// The values that a command works on that has keys on several shards.
#[derive(Debug)]
pub struct Workspace {
    /// Holds them and nothing else.
    pub slice: Box<Slice>,
    /// Whose they are, each with the part that fetched it and brings it back.
    pub remote_keys: Vec<(usize, RemoteKey)>,
    /// The keys beyond the command's words that are here, and those that it wants.
    pub reach: Reach,
}

/// A transaction and how far it has come.
// Envelopes are boxed, because they keep their address on their way.
#[allow(clippy::vec_box)]
#[derive(Debug)]
pub struct Transaction {
    /// Its number at home.
    pub id: u64,
    /// The connection that waits for the reply.
    pub connection: ConnId,
    /// Tells that connection from later ones of the same number.
    pub generation: u32,
    /// The connection's flight that ends with it.
    pub flight_number: u32,
    /// Unix microseconds at which it takes place, for all of its commands.
    pub now_us: u64,
    /// The protocol of the replies.
    pub protocol: Protocol,
    /// Its commands.
    pub queue: Box<Queue>,
    /// Where each of them runs.
    pub places: Vec<Place>,
    /// Whether the replies make one array.
    pub is_exec: bool,
    /// Whether it needs locks, and so several rounds.
    pub has_locks: bool,
    /// Whether the round that is out is the last.
    pub is_closing: bool,
    /// The command that comes next.
    pub next: usize,
    /// The command whose keys are being fetched.
    pub joint: Option<usize>,
    /// Whether the feed is told what it does.
    pub is_recorded: bool,
    /// The values that have been brought together for it.
    pub table: Option<Box<Workspace>>,
    /// Parts and replies.
    pub flight: Flight,
    /// The replies that are made at home, as one more part.
    pub own: Box<Envelope>,
    /// What commands ask of all shards, to go out with the next round.
    pub asks: Vec<Box<Envelope>>,
    /// What the feed is to be told of the commands that ran at home.
    pub records: Records,
    /// Set if its only command may wait.
    pub attempt: Option<TransactionAttempt>,
}

/// What a command that may wait needs.
#[derive(Debug)]
pub struct TransactionAttempt {
    /// Decides who serves it.
    pub ticket: Arc<Ticket>,
    /// Set if it has waited and was woken.
    pub woken: Option<Woken>,
    /// It waits for this.
    pub wait: Option<Wait>,
    /// It was woken, and found nothing.
    pub waits_on: bool,
}

/// What has woken a command.
#[derive(Clone, Copy, Debug)]
pub struct Woken {
    /// The word that is the key.
    pub word: usize,
    /// The shard that owns it.
    pub owner: u16,
    /// The type that its value has to be of.
    pub kind: Kind,
    /// The owner's number for what it has asked for.
    pub number: u64,
}

impl Transaction {
    /// The numbers of the parts at home whose shards are wanted.
    pub fn parts_of(&self, is_wanted: impl Fn(u16) -> bool) -> Vec<usize> {
        let parts = 0..usize::from(self.own.part);
        parts.filter(|part| is_wanted(self.flight.owner(*part))).collect()
    }

    /// Whether the command at a place needs keys of several shards together.
    pub fn is_joint(&self, at: usize) -> bool {
        self.places[at] == Place::Several && self.queue.items[at].entry.gathers_keys()
    }
}
