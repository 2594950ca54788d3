//! The feed: one ordered stream of commands out of the journals of all shards. Replicas, the
//! backlog and the append-only file read only that.
//!
//! Must not know: sockets, sessions, who reads the stream, what a command does.
//!
//! ```text
//!   shard 0   units -> journal -> lane \
//!   shard 1   units -> journal -> lane  }-> merger -> encoder -> backlog -> readers
//!   shard 2   units -> journal -> lane /
//!             its own thread             any shard's thread, one at a time
//! ```
//!
//! # The order
//!
//! Every unit gets a stamp when it comes to its shard (see `stamp`), and lies in its shard's
//! journal in that order. A unit with parts on several shards has a slot in each, under its
//! sequence number. The merger looks at the heads of all queues:
//!
//! - A unit with one part may go. One with several may go when all are at heads, as its smallest
//!   stamp. A part whose siblings are not all at heads is blocked, and holds up only its own queue.
//! - Of those that may go, the one with the smallest stamp goes, unless the watermark of a shard
//!   whose queue is empty is below it.
//!
//! *It goes on.* Units with several parts are posted under one sequencer, so they are in the same
//! order in all inboxes and all queues. Of those at heads, take the one with the smallest sequence:
//! before its missing siblings lie units with one part, which may go, or nothing: they are still to
//! come. A watermark is raised by every turn, and by the merger itself for a parked shard (see
//! `lane`).
//!
//! *Each shard's order is kept*, because queues are only taken from at their heads, and a unit with
//! several parts is taken from all at once.
//!
//! *Whoever has seen a unit's effect comes after it.* Let X follow from having seen U. X could
//! overtake U only at a moment when X may go and U may not, or has the greater stamp. It has not:
//! the stamps of all parts of U are smaller than X's. So U waits, and something is ahead of a part
//! of U. Follow what is ahead: a queue's earlier slots have smaller stamps than U's part. If such a
//! slot is a unit with one part, it may go and goes before X. If it is a part of a unit V with
//! siblings elsewhere, V is before U in the sequence, so that all of its stamps are not after V's
//! posting, which is before U's, which is before X: again all are smaller than X's. The
//! sequence numbers fall, so this ends at a head that may go and has a smaller stamp than X, or at
//! an empty queue that is still to get a slot with a smaller stamp than X: its watermark is below
//! X. Either way X does not go.
//!
//! A unit that waits for locks keeps the place at which it came. What runs meanwhile and lies
//! behind it in the journal touches other keys, so the two may be told in either order.

mod backlog;
mod block;
mod encode;
mod journal;
mod lane;
pub mod limits;
mod merge;
mod output;
mod shared;
#[cfg(test)]
mod tests;
mod timestamp;

pub use backlog::Backlog;
pub use block::Unit;
pub use journal::{Journal, Reservation};
pub use lane::Lane;
pub use output::Reached;
pub use shared::{Feed, Merged, Stream};
pub use timestamp::{HybridClock, Timestamp, timestamp_at};
