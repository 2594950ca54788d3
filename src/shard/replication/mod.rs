//! Replicas of this server, and barriers: one point in the order of all partitions.
//!
//! Must not know: which commands were run.

mod barrier;
mod durable;
mod feed;
mod links;
mod save;
mod snapshot;
mod wait;

use crate::exec::{Request, Shutdown};
use crate::feed::Feed;
use crate::io::ConnId;
use crate::mesh::{BarrierId, Envelope, ReplyAddress};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

/// Log text for a connection that exceeded its output buffer limit.
pub(super) const OVER_LIMIT: &str = "its output buffer passed client-output-buffer-limit";

/// Version of Valkey whose behaviour this server has.
pub(super) const VALKEY_VERSION: &str = "9.1.0";

/// A shard's replicas, and the feed that they read.
pub(super) struct Replication {
    /// Propagated commands of all shards.
    pub(super) feed: Arc<Feed>,
    /// Whether more is left to merge than the last turn merged.
    pub(super) is_behind: bool,
    /// End offset of the stream when the links were last served.
    stream_seen: u64,
    /// Connections of replicas.
    pub(super) links: Vec<ConnId>,
    /// Clients in WAIT.
    pub(super) acks: AckWaits,
    /// Connections whose output waits until its effects are durable.
    unsent: Vec<ConnId>,
    /// Timestamp before which effects were durable when `unsent` was last served.
    durable_seen: u64,
    /// Request of the barrier that turns the feed off, until the journal is empty.
    ending: Option<Box<Envelope>>,
    /// Monotonic milliseconds when the feed last had readers.
    read_ms: u64,
    /// Monotonic milliseconds of the last PING to replicas.
    pinged_ms: u64,
}

impl Replication {
    /// Creates the state of a shard without replicas.
    pub(super) fn new(feed: Arc<Feed>) -> Replication {
        Replication {
            feed,
            is_behind: false,
            stream_seen: 0,
            links: Vec::new(),
            acks: AckWaits::default(),
            unsent: Vec::new(),
            durable_seen: 0,
            ending: None,
            read_ms: 0,
            pinged_ms: 0,
        }
    }
}

/// Clients of one shard that wait for acknowledgements.
#[derive(Debug, Default)]
pub(in crate::shard) struct AckWaits {
    pub(super) waits: HashMap<ConnId, AckWait>,
    /// Whether an entry has reached a state that the next check must look at.
    pub(super) is_stale: bool,
    /// Offsets that the replicas had acknowledged at the last check, in descending order.
    pub(super) seen: Vec<u64>,
}

/// What a client in WAIT waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct AckWait {
    /// Number of replicas.
    pub(super) replicas: usize,
    pub(super) point: AckPoint,
}

/// The offset that replicas must acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckPoint {
    /// Not determined yet.
    New,
    /// The offset of this barrier's mark.
    Marking(BarrierId),
    /// This offset.
    At(u64),
}

impl AckWaits {
    /// Returns whether no client waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }
}

/// What follows after all shards have sent their shares.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) struct Saving {
    /// The client that waits for the reply.
    waiter: Option<ReplyAddress>,
    then: Then,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    /// Replies OK: only the file was requested.
    Reply,
    /// Stops the process for this reason. If the flag is set, even if the file cannot be written.
    Stop(Shutdown, bool),
    /// Replies after the keys were loaded again. The file is written if requested.
    Reloaded { is_written: bool },
    /// Does nothing: the shards serve again.
    Stay,
}

/// Barriers that a shard has posted.
#[derive(Debug, Default)]
pub(in crate::shard) struct Barriers {
    pub(super) under_way: HashMap<BarrierId, Barrier>,
    next: u32,
}

impl Barriers {
    /// Returns the number of barriers whose goals are not reached.
    pub(in crate::shard) fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Returns whether there are no barriers.
    pub(in crate::shard) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }
}

/// A barrier in progress. Its goal follows after all shards have replied and its mark, if any, is
/// in the stream.
#[derive(Debug)]
pub(super) struct Barrier {
    pub(super) goal: Goal,
    /// Number of replies still expected.
    waiting: usize,
    pub(super) bodies: Vec<Vec<Bytes>>,
    /// Offset of the mark in the stream.
    pub(super) offset: Option<u64>,
    /// Offset from which on the stream is kept.
    pub(super) need: u64,
}

#[derive(Debug)]
pub(in crate::shard) enum Goal {
    /// All shards read the clock for the feed. The snapshot follows.
    FeedOn,
    /// The snapshot.
    Snapshot,
    /// The feed had no readers for too long and is turned off. `readers` had attached until then.
    FeedOff { readers: u64 },
    /// The process stops without a save: all shards end their service.
    Leave(Shutdown),
    /// The process stops once the append-only file has all that is before the mark.
    LastMark(Shutdown),
    /// Saving or loading the file, by this request.
    Save(Saving, Request),
    /// CLIENT PAUSE: all shards read the pause, then their earlier commands finish.
    Pause { waiter: ReplyAddress, is_settled: bool },
    /// The mark of WAITs: their replicas must acknowledge its offset.
    Acks,
}
