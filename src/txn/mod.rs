//! Transactions: what several commands, or the rounds of one, need to be one unit.
//!
//! Must not know: sockets, connections, which commands exist.

mod blocked;
mod intents;
mod queue;

pub use blocked::{Blocked, Removed, ReplyTo, Waiter, Waits};
pub use intents::{ClaimId, Intents};
pub use queue::Queue;
