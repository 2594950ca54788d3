//! The feed: one ordered stream of commands from the journals of all shards. Replicas, the backlog
//! and the append-only file read only this stream.
//!
//! Must not know: sockets, sessions, the readers of the stream, the effect of commands.
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
//! Every unit gets a timestamp when it arrives at its shard (see `timestamp`), and is in its
//! shard's journal in this order. A unit with parts on several shards is in the journal of each,
//! under one sequence number. The merger compares the heads of all queues:
//!
//! - A single-part unit may go. A multi-part unit may go when all its parts are at heads; its
//!   timestamp is the smallest among them. A part with a sibling that is not at a head is blocked,
//!   and blocks only its own queue.
//! - Of the units that may go, the one with the smallest timestamp goes. It waits if the watermark
//!   of a shard whose queue is empty is below this timestamp.
//!
//! *Progress.* Multi-part units are posted under one sequencer, so they have the same order in all
//! inboxes and all queues. Among the multi-part units at heads, consider the one with the smallest
//! sequence number. Before its missing siblings there are only single-part units, which may go, or
//! nothing: then the siblings have not arrived yet. Every turn raises a shard's watermark. For a
//! parked shard the merger raises the watermark itself (see `lane`).
//!
//! *The order of each shard is kept.* The merger takes units only from the heads of queues. It
//! takes a multi-part unit from all its queues at once.
//!
//! *Causality.* A unit that follows from another unit's effect comes later in the stream. Let unit
//! X follow from the effect of unit U.
//!
//! 1. The timestamps of all parts of U are smaller than X's. So X can overtake U only while X may
//!    go and U may not.
//! 2. If U may not go, a part of U has units ahead of it in its queue. These have smaller
//!    timestamps than that part of U.
//! 3. If the unit ahead is a single-part unit, it may go, and it goes before X.
//! 4. If the unit ahead is a part of a multi-part unit V, then V precedes U in the sequence. The
//!    timestamps of V are not after V's posting, which is before U's posting, which is before X. So
//!    all of them are smaller than X's.
//! 5. Repeat from step 2 with V instead of U. The sequence numbers decrease, so this ends in one of
//!    two ways. Either a head may go and has a smaller timestamp than X; then it goes before X. Or
//!    a queue is empty and will receive a unit with a smaller timestamp than X; then its watermark
//!    is below X, and X waits.
//!
//! In all cases X does not overtake U.
//!
//! A unit that waits for locks keeps the place at which it arrived. Units that run meanwhile and
//! are after it in the journal access other keys. Hence the stream may contain them in either
//! order.

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
