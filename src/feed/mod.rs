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
//! Every unit gets a timestamp when it arrives at its shard (see `timestamp`). It is in its shard's
//! journal in the order in which the units took effect there (see `journal`). A unit with parts on
//! several shards is in the journal of each, under one sequence number. The merger compares the
//! heads of all queues:
//!
//! - A single-part unit may go. A multi-part unit may go when all its parts are at heads; its
//!   timestamp is the smallest among them. A part with a sibling that is not at a head is blocked,
//!   and blocks only its own queue.
//! - Of the units that may go, the one with the smallest timestamp goes. It waits if the watermark
//!   of a shard whose queue is empty is below this timestamp.
//! - A late unit may go before the head of its queue if its place is before the head's. It has
//!   waited for locks while the units from the head on ran, so they access other keys.
//!
//! *Progress.* Multi-part units are posted under one sequencer, so their places have the same order
//! on all shards. Each is handed over once it has run, and no lock waits for the merger. Among the
//! multi-part units that are handed over as a whole, consider the one with the first places. What
//! is ahead of it in a queue are single-part units, which may go, and units with later places. It
//! may go before the latter, because it is late if they are ahead. Without late units the merger
//! could stop for ever: a MSET has run on one shard, and waits on another for a transaction, which
//! is then behind the MSET in the first queue and ahead of it in the second. Every turn raises a
//! shard's watermark. For a parked shard the merger raises the watermark itself (see `lane`).
//!
//! *The order of each shard is kept.* The merger takes units only from the heads of queues, and
//! late units. Of the late units of a queue it takes the one with the first place. It takes a
//! multi-part unit from all its queues at once.
//!
//! *Causality.* A unit that follows from another unit's effect comes later in the stream. Let unit
//! X follow from the effect of unit U.
//!
//! 1. The timestamps of all parts of U are smaller than X's. They are in the queues when X may go:
//!    U has run on all shards, or has a firm gap, which holds the watermark below X, or its last
//!    round is in an inbox, which does the same. So X can overtake U only while X may go and U may
//!    not.
//! 2. If U may not go, a part of U has units ahead of it in its queue. These have smaller
//!    timestamps than that part of U.
//! 3. If the unit ahead is a single-part unit, it may go, and it goes before X.
//! 4. If the unit ahead is a part of a multi-part unit V with a later place, then U is late and may
//!    go before it.
//! 5. Otherwise V's place precedes U's, so V was posted before U and has run before X was sent. All
//!    its timestamps are smaller than X's. Repeat from step 2 with V instead of U. The places
//!    precede each other in the order of posting, so this ends in one of two ways. Either a unit
//!    may go and has a smaller timestamp than X; then it goes before X. Or a queue is empty and
//!    will receive a unit with a smaller timestamp than X; then its watermark is below X, and X
//!    waits.
//!
//! In all cases X does not overtake U.

mod backlog;
mod block;
mod disk;
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
pub use disk::{Disk, Pulled};
pub use journal::{Gap, Journal, Reservation};
pub use lane::Lane;
pub use output::Reached;
pub use shared::{Feed, Merged, Stream};
pub use timestamp::{HybridClock, Timestamp, timestamp_at};
