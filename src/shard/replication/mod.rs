//! Replicas of this server, and what needs all partitions at one point: barriers.
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

/// Why a connection with too much output is closed, for the log.
pub(super) const OVER_LIMIT: &str = "its output buffer passed client-output-buffer-limit";

/// The version of Valkey whose behaviour this server has.
pub(super) const VALKEY_VERSION: &str = "9.1.0";

/// A shard's replicas, and the feed that they read.
pub(super) struct Replication {
    /// What all shards propagate.
    pub(super) feed: Arc<Feed>,
    /// Whether there is more to merge than the last turn did.
    pub(super) is_behind: bool,
    /// Where the stream ended when the links were served last.
    stream_seen: u64,
    /// Connections of replicas.
    pub(super) links: Vec<ConnId>,
    /// Monotonic milliseconds when the feed was last read.
    read_ms: u64,
    /// Monotonic milliseconds of the last PING to replicas.
    pinged_ms: u64,
}

impl Replication {
    /// Returns no replicas yet.
    pub(super) fn new(feed: Arc<Feed>) -> Replication {
        let links = Vec::new();
        Replication { feed, is_behind: false, stream_seen: 0, links, read_ms: 0, pinged_ms: 0 }
    }
}
