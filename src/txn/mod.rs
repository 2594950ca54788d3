//! Transactions: locks, queues and blocked commands, which turn several commands, or the rounds of
//! one, into one unit.
//!
//! Must not know: sockets, connections, which commands exist.

mod blocked;
mod lock_table;
mod queue;

pub use blocked::{Blocked, BlockedOn, Relisted, Removed, Waiter, WaiterReply};
pub use lock_table::{LockId, LockTable};
pub use queue::Queue;
