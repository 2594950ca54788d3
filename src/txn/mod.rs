//! Transactions: what several commands, or the rounds of one, need to be one unit.
//!
//! Must not know: sockets, connections, which commands exist.

mod blocked;
mod lock_table;
mod queue;

pub use blocked::{Blocked, BlockedOn, Removed, Waiter, WaiterReply};
pub use lock_table::{LockId, LockTable};
pub use queue::Queue;
