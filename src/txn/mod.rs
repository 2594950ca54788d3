//! Transactions: what several commands, or the rounds of one, need to be one unit.
//!
//! Must not know: sockets, connections, which commands exist.

mod blocked;
mod lock_table;
mod queue;

pub use blocked::{Blocked, Removed, ReplyTo, Waiter, Waits};
pub use lock_table::{LockId, LockTable};
pub use queue::Queue;
