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
//! # What bounds an inbox
//!
//! A connection has one batch in flight, so an inbox holds at most one part, and one reply per
//! part, for each connection of the process. A blocked client adds a few one-way messages, and at
//! most [`HANDOVERS_MAX`] sockets are on their way. This is the bound in memory.
//!
//! The usual bound is much smaller. A shard has [`CREDITS_PER_PAIR`] credits per owner, and a batch
//! of a client needs one for each of its parts. A shard without credits to an owner leaves commands
//! for that owner in the input buffers of their connections. All other commands go on.
//!
//! A credit returns with the reply. A part that waits for something slow (locks, the offload pool)
//! returns it earlier, once more than [`WAITING_WITH_CREDIT_MAX`] parts wait at its owner. Requests
//! of session commands, barriers and one-way messages take a credit if there is one, and go without
//! it otherwise. The next rounds of a transaction take none. So nothing that waits for another
//! client stops commands that do not.

mod envelope;
mod hold;
mod inbox;
mod partial;
mod port;
mod poster;
mod sequencer;
mod sync;
mod told;
mod txn_part;

pub use envelope::{
    BarrierId, Carried, ClientRef, Envelope, FlightId, Forward, ForwardId, HoldId, Holder, Moment,
    OneWay, ReplyAddress, ReplyTo, Survey, TransactionId, Work,
};
pub use inbox::{Bounds, Handover, Mesh, Message, Preempt, Rules};
pub use partial::PartialUnits;
pub use port::{Port, Posted};
pub use told::{Redirected, Told};
pub use txn_part::{Forwarded, MovedWaiter, Registration, Stage, TxnPart};

/// The most envelopes in progress from one shard to another.
pub const CREDITS_PER_PAIR: u32 = 256;

/// The most parts that wait at their owner, for locks or for the offload pool, and keep their
/// credits. Below this number a wait costs no message. Well below [`CREDITS_PER_PAIR`], so that the
/// other credits serve parts that do not wait.
pub const WAITING_WITH_CREDIT_MAX: usize = 32;

/// The most sockets that were handed to a shard and not taken yet.
pub const HANDOVERS_MAX: u32 = 256;

/// The most invalidations of tracked keys that wait for a shard, in keys; about 5 ms of work. Above
/// it no shard serves connections until they are taken. What one batch of each shard brings may
/// exceed it, by at most [`crate::keyspace::INVALIDATIONS_MAX`] per shard.
pub const TOLD_WAITING_MAX: usize = 16 << 10;

/// The most empty envelopes that a shard keeps for reuse.
pub const POOL_ENVELOPES_MAX: usize = 512;

/// The most bytes of memory that all envelopes in a shard's pool keep together: the largest number
/// of envelopes with 4 KiB each, which batches of short commands and replies do not exceed.
pub const POOL_BYTES_MAX: usize = 2 << 20;

/// The most bytes of memory that each list of an envelope keeps in the pool.
pub const POOLED_BYTES_MAX: usize = 16 << 10;
