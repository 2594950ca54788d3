//! Replicas of this server, and barriers: one point in the order of all partitions.
//!
//! Must not know: which commands were run.

pub(super) mod barrier;
mod feed;
mod links;
mod save;
mod snapshot;
mod wait;

use crate::feed::Feed;
use crate::io::ConnId;
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
    /// Monotonic milliseconds when the feed last had readers.
    read_ms: u64,
    /// Monotonic milliseconds of the last PING to replicas.
    pinged_ms: u64,
}

impl Replication {
    /// Creates the state of a shard without replicas.
    pub(super) fn new(feed: Arc<Feed>) -> Replication {
        let links = Vec::new();
        Replication { feed, is_behind: false, stream_seen: 0, links, read_ms: 0, pinged_ms: 0 }
    }
}
