//! How shards talk: one bounded inbox each, envelopes, the sequencer, credits, doorbells.
//!
//! Must not know: sessions, sockets, what a command does.
//!
//! # Why it is one Redis
//!
//! 1. A shard has one inbox, first in first out; requests and replies travel in it together.
//! 2. A turn takes completions, then drains the inbox to the tail that it sees, then serves.
//! 3. A connection has at most one batch in flight.
//! 4. A unit with parts on several shards posts all of them (its own shard's too) under one
//!    sequencer, and a part runs only when its siblings are posted.
//! 5. A batch whose keys are all at home runs in place; one whose keys are all on one other shard
//!    is posted without the sequencer.
//!
//! Then every unit takes effect as if at the instant of its posting: units with several parts are
//! in the same order in every inbox (4); whoever has seen an effect posts later than its unit and
//! finds it ahead in every inbox, or drained (1, 2); units of a connection do not overlap (3).
//! `tests/sim.rs` checks histories for it, and shows what goes wrong without each rule.
//!
//! # Why an inbox never overflows
//!
//! A shard may have [`CREDITS_PER_PAIR`] envelopes under way to each shard (its own included). So
//! at any time an inbox holds at most `shards * CREDITS_PER_PAIR` requests, at most as many
//! replies to its own shard's requests, and [`HANDOVERS_MAX`] sockets. Its capacity is the sum of
//! these: every request has reserved the place of its reply, and a push cannot fail. A shard
//! without credits leaves the commands in its connections' input buffers.

mod envelope;
mod hold;
mod inbox;
mod port;
mod sequencer;
mod sync;
mod txn_part;

pub use envelope::{
    BarrierId, Carried, ClientRef, Envelope, FlightId, Forward, ForwardId, Moment, OneWay,
    ReplyAddress, ReplyTo, TransactionId, Work,
};
pub use inbox::{Handover, Mesh, Message, Preempt, Rules};
pub use port::{Port, Posted};
pub use txn_part::{Forwarded, Registration, Stage, TxnPart};

/// Envelopes that one shard may have under way to one other.
pub const CREDITS_PER_PAIR: u32 = 256;

/// Sockets handed to a shard that it has not taken yet, at most.
pub const HANDOVERS_MAX: u32 = 256;

/// Empty envelopes that a shard keeps for reuse.
pub const POOL_ENVELOPES_MAX: usize = 512;

/// The most bytes that an envelope keeps allocated when it goes back to the pool.
pub const POOLED_BYTES_MAX: usize = 16 << 10;
