//! Replies that wait until those whom the command woke have what they waited for.
//!
//! A command that wakes others serves them itself, before its reply leaves. One of them that uses
//! keys of other shards is served by its home, in rounds of its own: until these are over, and
//! what they woke in turn, the reply is kept here. So whoever has it sees what a single Redis
//! would show.
//!
//! ```text
//!   owner   wakes, Move --> home   rounds, the last answered --Moved--> owner   sends the reply
//!                                              '-- kept while those it has woken are served
//! ```

use super::Shard;
use super::block::MoveDue;
use super::post::Awaited;
use super::replicas::NO_CONNECTION;
use crate::client::{Transaction, Woken};
use crate::mesh::{Envelope, Work};
use std::collections::{HashMap, VecDeque};

/// Replies that one shard keeps at most. More leave at once: those kept hold credits, which what
/// they wait for needs too.
const HELD_MAX: usize = 64;

/// A reply that is kept.
#[derive(Debug)]
struct Held {
    /// What it waits for is so much.
    left: usize,
    reply: Reply,
}

#[derive(Debug)]
enum Reply {
    Part(Box<Envelope>),
    Of(Awaited),
}

/// The last rounds of what [`Work::Move`] has asked for are out.
#[derive(Clone, Copy, Debug)]
struct Moving {
    number: u64,
    owner: u16,
    left: usize,
}

/// Commands of clients that waited, as far as their homes run them.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// The numbers of those whose homes were asked to, since this was looked at.
    pub(super) begun: Vec<u64>,
    /// Those that wait for credits, at their home.
    pub(super) due: VecDeque<MoveDue>,
    /// Programs that ran them and are over but for their last answers.
    moving: HashMap<u64, Moving>,
    next_begun: u64,
    /// Replies that are kept, and which of them by the numbers of what they wait for.
    held: HashMap<u64, Held>,
    held_by: HashMap<u64, u64>,
    next_held: u64,
}

impl Moves {
    /// The home of a client is asked to run its command: the number for that.
    pub(super) fn begin(&mut self) -> u64 {
        self.next_begun += 1;
        self.begun.push(self.next_begun);
        self.next_begun
    }
}

impl Shard {
    /// Sends an answered part home, now or when those whom it woke are served. One whose locks stay
    /// does not wait: they might wait for its locks.
    pub(super) fn send_home_later(&mut self, part: Box<Envelope>) {
        let begun = std::mem::take(&mut self.forwarded.begun);
        let has_locks = part.hold.as_ref().is_some_and(|hold| hold.stage.has_next());
        if begun.is_empty() || has_locks || self.forwarded.held.len() >= HELD_MAX {
            return self.send_home(part);
        }
        self.keep(&begun, Reply::Part(part));
    }

    /// The same for the replies of a connection whose commands ran here.
    pub(super) fn hold_connection(&mut self, conn: u32) {
        let begun = std::mem::take(&mut self.forwarded.begun);
        if begun.is_empty() {
            return;
        }
        let connection = self.connections.get_mut(conn).expect("it is being served");
        connection.is_held = true;
        let generation = connection.generation;
        self.keep(&begun, Reply::Of(Awaited { conn, generation, flight: 0 }));
    }

    fn keep(&mut self, begun: &[u64], reply: Reply) {
        self.forwarded.next_held += 1;
        self.forwarded.held.insert(self.forwarded.next_held, Held { left: begun.len(), reply });
        self.forwarded
            .held_by
            .extend(begun.iter().map(|number| (*number, self.forwarded.next_held)));
    }

    /// What the home of a waiter was asked to do is over.
    pub(super) fn end_move(&mut self, number: u64) {
        self.forwarded.begun.retain(|begun| *begun != number);
        let Some(number) = self.forwarded.held_by.remove(&number) else { return };
        let held = self.forwarded.held.get_mut(&number).expect("it is kept until the last is over");
        held.left -= 1;
        if held.left > 0 {
            return;
        }
        match self.forwarded.held.remove(&number).expect("looked at above").reply {
            Reply::Part(part) => self.send_home(part),
            Reply::Of(whose) => {
                let connection = self.connections.get_same(whose.conn, whose.generation);
                let Some(connection) = connection else { return };
                connection.is_held = false;
                self.make_dirty(whose.conn);
                self.make_ready(whose.conn);
            }
        }
    }

    /// So many parts of the last round of a program that was a move are out.
    pub(super) fn await_moved(&mut self, transaction: &Transaction, woken: Woken, left: usize) {
        assert!(left > 0, "the keys of a move are on several shards");
        let Woken { number, owner, .. } = woken;
        self.forwarded.moving.insert(transaction.id, Moving { number, owner, left });
    }

    /// A part of a program that is over is back.
    pub(super) fn land_moved(&mut self, transaction: u64) {
        let Some(moving) = self.forwarded.moving.get_mut(&transaction) else { return };
        moving.left -= 1;
        if moving.left == 0 {
            let Moving { number, owner, .. } =
                self.forwarded.moving.remove(&transaction).expect("just seen");
            self.send_moved(number, owner);
        }
    }

    /// Tells an owner that what it has asked for is over.
    pub(super) fn send_moved(&mut self, number: u64, owner: u16) {
        let mut note = self.port.envelope(usize::from(owner));
        note.connection = NO_CONNECTION;
        note.work = Work::Moved(number);
        self.send_one_way(note);
    }
}
