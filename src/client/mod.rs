//! One connection: its session, input and output, and its batch in flight.
//!
//! Must not know: other connections, shards, drivers.

mod blocked;
mod connection;
mod describe;
mod flight;
mod slot_tally;
mod subscriptions;
mod trace;
mod transaction;

pub use blocked::{Blocked, GivingUp, TimeoutReply, Waiting};
pub use connection::{Connection, Serving};
pub use describe::describe;
pub use flight::{Flight, Merging, ReplySource};
pub use slot_tally::{SlotBytes, SlotTally};
pub use subscriptions::Subscriptions;
pub use trace::{Progress, Trace};
pub use transaction::{Spread, Transaction, TransactionAttempt, Woken};
