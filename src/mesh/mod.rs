//! Messages between shards: one bounded inbox each, envelopes, the sequencer, credits, doorbells.
//!
//! Must not know: sessions, sockets, what a command does.
//!
//! # Why clients see one Redis
//!
//! 1. A shard has one inbox, first in first out. Requests and replies share it.
//! 2. A turn takes completions, then drains the inbox up to its present tail, then serves
//!    connections.
//! 3. A connection has at most one batch in flight.
//! 4. A unit with parts on several shards posts all of them (including its own shard's part) under
//!    one sequencer. A part runs only after its sibling parts were posted.
//! 5. If all keys of a batch are at home, it runs in place. If all are on one other shard, it is
//!    posted without the sequencer.
//!
//! Then every unit takes effect as if at the moment of its posting. Units with several parts have
//! the same order in every inbox (4). A shard that has seen an effect posts later than the unit of
//! that effect. So its own unit finds the earlier one ahead in every inbox, or already drained (1,
//! 2). Units of one connection do not overlap (3). `tests/sim.rs` checks histories for this
//! property, and shows what goes wrong without each rule.
//!
//! # Why an inbox never overflows
//!
//! A shard may have [`CREDITS_PER_PAIR`] envelopes in progress to each shard, including itself. So
//! at any time an inbox holds at most `shards * CREDITS_PER_PAIR` requests. It holds at most as
//! many replies to its own shard's requests, and at most [`HANDOVERS_MAX`] sockets. Its capacity is
//! the sum of these. So every request has a reserved place for its reply, and a push cannot fail. A
//! shard without credits leaves commands in the input buffers of its connections.

mod envelope;
mod hold;
mod inbox;
mod port;
mod sequencer;
mod sync;
mod txn_part;

pub use envelope::{
    BarrierId, Carried, ClientRef, Envelope, FlightId, Forward, ForwardId, Moment, OneWay,
    ReplyAddress, ReplyTo, Survey, TransactionId, Work,
};
pub use inbox::{Handover, Mesh, Message, Preempt, Rules};
pub use port::{Port, Posted};
pub use txn_part::{Forwarded, Registration, Stage, TxnPart};

/// The most envelopes in progress from one shard to another.
pub const CREDITS_PER_PAIR: u32 = 256;

/// The most sockets that were handed to a shard and not taken yet.
pub const HANDOVERS_MAX: u32 = 256;

/// The most empty envelopes that a shard keeps for reuse.
pub const POOL_ENVELOPES_MAX: usize = 512;

/// The most bytes of memory that an envelope keeps in the pool.
pub const POOLED_BYTES_MAX: usize = 16 << 10;
