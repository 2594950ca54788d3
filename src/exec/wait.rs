//! Commands that block until a key has something for them.
//!
//! ```text
//!   handler finds nothing --wait--> blocked --a key changes--> the handler again
//!                                      |
//!                                      '--deadline, CLIENT UNBLOCK, client gone--> over
//! ```

use super::context::Context;
use crate::base::slot::slot_of;
use crate::value::Kind;
use std::sync::atomic::{AtomicU8, Ordering};

/// What a blocked command waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Unix time in milliseconds at which it gives up; none: never.
    pub deadline_ms: Option<u64>,
    /// Argument indexes of the keys.
    pub keys: Vec<usize>,
    /// Type that a key must have.
    pub kind: Kind,
    /// Whether a deleted key, or a key that changed its type, also unblocks the command. The
    /// handler then replies with the error.
    pub wants_gone: bool,
    /// Reply when it gives up.
    pub null: Null,
    /// Arguments for the next run, which replace the client's arguments.
    pub args: Option<Vec<Box<[u8]>>>,
}

/// The kind of null reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Null {
    /// In place of a bulk string.
    Bulk,
    /// In place of an array.
    Array,
}

/// Blocking behaviour of one run. By default the command may not block.
#[derive(Debug, Default)]
pub struct BlockingAttempt {
    /// Whether the command may block instead of replying.
    pub may_wait: bool,
    /// Whether a key has unblocked the command: this is not its first run.
    pub is_woken: bool,
    /// Number of the client among the clients that the previous command unblocked.
    pub number: u32,
    /// What the command waits for, if it blocks.
    pub wait: Option<Wait>,
}

/// Decides who serves a blocked client. The owners of its keys and its home shard all hold the
/// ticket. The first one to take the ticket serves the client.
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
/// Serving ends within one run of the command, so another thread may spin until it is over.
#[derive(Debug)]
pub struct Ticket {
    number: u64,
    state: AtomicU8,
}

/// The state of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TicketState {
    /// No shard has taken the ticket.
    Waiting,
    /// An owner of a key runs the command at this moment.
    Serving,
    /// The client's home shard runs the command on keys of several shards.
    Moving,
    /// The client has its reply.
    Served,
    /// The client does not wait any more.
    Cancelled,
}

use TicketState::{Cancelled, Moving, Served, Serving, Waiting};

impl Ticket {
    /// Creates the ticket of a blocked client. `number` is unique in the process.
    pub fn new(number: u64) -> Ticket {
        Ticket { number, state: AtomicU8::new(Waiting as u8) }
    }

    /// Returns the ticket's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns the current state.
    pub fn state(&self) -> TicketState {
        state_of(self.state.load(Ordering::Acquire))
    }

    /// Takes the ticket: changes its state from `Waiting` to `state`. Calls `idle` repeatedly while
    /// an owner serves. Returns the found state if the ticket is not `Waiting`.
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

    /// Sets the state in which serving or moving ended.
    pub fn settle(&self, state: TicketState) {
        debug_assert!(matches!(self.state(), Serving | Moving), "only a taken ticket is settled");
        self.state.store(state as u8, Ordering::Release);
    }
}

fn state_of(number: u8) -> TicketState {
    [Waiting, Serving, Moving, Served, Cancelled][usize::from(number)]
}

impl Context<'_> {
    /// Returns whether the command looks at a key. It looks at all keys, except that the owner of
    /// some of a blocked command's keys runs the command on these keys alone.
    pub fn looks_at(&self, key: &[u8]) -> bool {
        !self.is_woken || self.slice.owns(slot_of(key))
    }

    /// Blocks the command instead of replying. If blocking is not allowed, as inside a transaction,
    /// replies null.
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
            let taken =
                takers.map(|taker| usize::from(taker.join().expect("the taker does not panic")));
            assert_eq!(taken.iter().sum::<usize>(), 1);
            assert!(matches!(ticket.state(), Served | Cancelled));
        }
    }

    #[test]
    fn a_ticket_that_found_nothing_is_returned() {
        let ticket = Ticket::new(7);
        let no_idle = || unreachable!("no owner serves");
        assert_eq!(ticket.take(Moving, no_idle), Ok(()));
        assert_eq!(ticket.take(Cancelled, no_idle), Err(Moving));
        ticket.settle(Waiting);
        assert_eq!((ticket.number(), ticket.state()), (7, Waiting));
        assert_eq!(ticket.take(Cancelled, no_idle), Ok(()));
        assert_eq!(ticket.take(Serving, no_idle), Err(Cancelled));
    }
}
