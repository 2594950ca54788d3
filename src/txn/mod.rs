//! Transactions: what several commands, or the rounds of one, need to be one unit.
//!
//! Must not know: sockets, connections, which commands exist.

mod intents;
mod queue;

pub use intents::{ClaimId, Intents};
pub use queue::Queue;
