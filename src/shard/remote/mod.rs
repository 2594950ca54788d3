//! Batches and messages between this shard and the others.
//!
//! Must not know: how a command runs; what the replies mean to a transaction or a barrier.

pub(in crate::shard) mod borrow;
pub(in crate::shard) mod land;
pub(in crate::shard) mod one_way;
pub(in crate::shard) mod post;
pub(in crate::shard) mod receive;

use crate::client::Flight;
use crate::mesh::{ClientRef, Envelope, Posted};
use std::collections::VecDeque;

/// Messages to other shards, and buffers kept for them.
// Boxed, because envelopes and flights keep their address on their way.
#[allow(clippy::vec_box)]
#[derive(Default)]
pub(in crate::shard) struct Remote {
    /// Empty flights, kept for reuse.
    pub(in crate::shard) flights: Vec<Box<Flight>>,
    /// Connections whose torn surveys wait for credits, to be sent again. Each connection at most
    /// once.
    pub(in crate::shard) torn: VecDeque<ClientRef>,
    /// Per shard, its part of the unit that is being filled. Empty between units.
    pub(in crate::shard) open: Vec<Option<Box<Envelope>>>,
    /// Parts of the unit that is being posted. Empty between units.
    pub(in crate::shard) unit: Vec<Box<Envelope>>,
    /// Shards that were posted to in this turn. Empty between turns.
    pub(in crate::shard) posted: Vec<Posted>,
    /// Shards that an eviction was left to in this turn. Empty between turns.
    pub(in crate::shard) evicting: Vec<usize>,
}
