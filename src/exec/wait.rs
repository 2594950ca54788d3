//! Commands that wait until a key has something for them.
//!
//! ```text
//!   handler finds nothing --wait--> waiting --a key it waits for is changed--> the handler again,
//!                                      |                                       for that key alone
//!                                      '--deadline, CLIENT UNBLOCK, client gone--> over
//! ```

use super::context::Context;
use crate::value::Kind;
use std::sync::atomic::{AtomicU8, Ordering};

/// What a command waits for that has found nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// When it gives up, Unix milliseconds; none: never.
    pub deadline_ms: Option<u64>,
    /// The words that are the keys.
    pub keys: Vec<usize>,
    /// The type that a key has to be of.
    pub kind: Kind,
    /// Whether a key that is gone, or of another type now, wakes it too: the handler then says
    /// what is wrong.
    pub wants_gone: bool,
    /// What it replies when it gives up.
    pub null: Null,
    /// Words to run again with, in place of those that the client sent.
    pub args: Option<Vec<Box<[u8]>>>,
}

/// The reply that there is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Null {
    /// In the place of a text.
    Bulk,
    /// In the place of an array.
    Array,
}

/// How a command runs as far as waiting goes; by default it does not wait.
#[derive(Debug, Default)]
pub struct BlockingAttempt {
    /// Whether it may wait in place of a reply.
    pub may_wait: bool,
    /// It has waited, and was woken by the key of this word.
    pub woken_by: Option<usize>,
    /// Which one it is of those that the command before them woke.
    pub number: u32,
    /// Left by a command that waits.
    pub wait: Option<Wait>,
}

/// Decides about a client that waits, whom the owners of its keys and its home know: the first of
/// them to take it has it.
///
/// ```text
///             serve                       found something
///   Waiting ---------> Serving (an owner) ---------------> Served
///     |  ^               |
///     |  '---------------'  found nothing
///     |  ^---------------.
///     |  | move          |  found nothing
///     |  '---------> Moving (its home) -------------------> Served
///     '--cancel--> Cancelled
/// ```
/// Serving ends within one run of the command, so that one may spin until it is over.
#[derive(Debug)]
pub struct Ticket {
    number: u64,
    state: AtomicU8,
}

/// The state of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TicketState {
    /// Nobody has it.
    Waiting,
    /// An owner of a key runs the command at this moment.
    Serving,
    /// Its home runs the command on keys of several shards.
    Moving,
    /// It has its reply.
    Served,
    /// It waits no more.
    Cancelled,
}

use TicketState::{Cancelled, Moving, Served, Serving, Waiting};

impl Ticket {
    /// The ticket of a client that waits; the number is unique in the process.
    pub fn new(number: u64) -> Ticket {
        Ticket { number, state: AtomicU8::new(Waiting as u8) }
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The state of this moment.
    pub fn state(&self) -> TicketState {
        state_of(self.state.load(Ordering::Acquire))
    }

    /// Takes it from the state of waiting to another; `idle` runs while an owner serves. Gives the
    /// state that it is in if it does not wait.
    pub fn take(&self, state: TicketState, mut idle: impl FnMut()) -> Result<(), TicketState> {
        loop {
            let (from, to) = (Waiting as u8, state as u8);
            match self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(()),
                Err(found) if state_of(found) == Serving => idle(),
                Err(found) => return Err(state_of(found)),
            }
        }
    }

    /// Says how serving or moving has ended.
    pub fn settle(&self, state: TicketState) {
        debug_assert!(matches!(self.state(), Serving | Moving), "only who has taken it settles it");
        self.state.store(state as u8, Ordering::Release);
    }
}

fn state_of(number: u8) -> TicketState {
    [Waiting, Serving, Moving, Served, Cancelled][usize::from(number)]
}

impl Context<'_> {
    /// Whether a command that may wait looks at the key of this word: at all of them at first,
    /// and only at the one that was changed when it was woken.
    pub fn looks_at(&self, word: usize) -> bool {
        self.woken_by.is_none_or(|by| by == word)
    }

    /// Has the command wait instead of replying. Where nobody may wait, as inside of a
    /// transaction, it replies that there is nothing.
    pub fn wait(&mut self, wait: Wait) {
        if self.may_wait {
            self.wait = Some(wait);
        } else {
            match wait.null {
                Null::Bulk => self.reply.null(),
                Null::Array => self.reply.null_array(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn a_ticket_is_taken_once() {
        for round in 0..200 {
            let ticket = Arc::new(Ticket::new(round));
            let takers = [Serving, Serving, Cancelled].map(|state| {
                let ticket = Arc::clone(&ticket);
                thread::spawn(move || {
                    let is_taken = ticket.take(state, thread::yield_now).is_ok();
                    if is_taken && state == Serving {
                        ticket.settle(Served);
                    }
                    is_taken
                })
            });
            let taken = takers.map(|taker| usize::from(taker.join().expect("it does not panic")));
            assert_eq!(taken.iter().sum::<usize>(), 1);
            assert!(matches!(ticket.state(), Served | Cancelled));
        }
    }

    #[test]
    fn who_finds_nothing_gives_it_back() {
        let ticket = Ticket::new(7);
        let no_idle = || unreachable!("nobody serves");
        assert_eq!(ticket.take(Moving, no_idle), Ok(()));
        assert_eq!(ticket.take(Cancelled, no_idle), Err(Moving));
        ticket.settle(Waiting);
        assert_eq!((ticket.number(), ticket.state()), (7, Waiting));
        assert_eq!(ticket.take(Cancelled, no_idle), Ok(()));
        assert_eq!(ticket.take(Serving, no_idle), Err(Cancelled));
    }
}
