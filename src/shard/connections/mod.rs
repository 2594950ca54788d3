//! The shard's connections: opening and closing, limits, output.
//!
//! Must not know: how commands run.

mod accept;
mod ahead;
mod client_eviction;
pub(super) mod clients;
mod limits;
pub(super) mod listing;
mod output;
mod push;
mod queues;
mod subscribe;
pub(super) mod subscribers;
pub(super) mod table;
mod tls;
pub(super) mod trackers;
mod tracking;
mod users;
mod watch;

use crate::io::{Chunk, ConnId};
use crate::keyspace::Spot;
use crate::mesh::Handover;
use std::collections::VecDeque;
use std::io;

/// The queues of connections.
#[derive(Debug, Default)]
pub(in crate::shard) struct Queues {
    /// Connections whose input may hold commands, in the order in which they are served.
    pub(in crate::shard) ready: VecDeque<ConnId>,
    /// Connections that have output to send.
    pub(in crate::shard) dirty: Vec<ConnId>,
    /// Dirty connections whose output is sent when the shard waits.
    pub(in crate::shard) late: Vec<ConnId>,
    /// Late sends that have failed.
    pub(in crate::shard) failed: Vec<(ConnId, Chunk, io::Result<()>)>,
    /// Number of connections whose batch found no credit.
    pub(in crate::shard) stalled: usize,
    /// These connections by the shard whose credits they wait for, in the order of stalling.
    stalled_on: Vec<VecDeque<ConnId>>,
    /// Whether the last turn has left completions to the next.
    pub(in crate::shard) has_completions: bool,
    /// Keys that commands received in this turn will look up.
    ahead: Vec<Spot>,
}

/// State of the acceptor: sockets that their shard could not take at once.
#[derive(Default)]
pub(in crate::shard) struct Acceptor {
    waiting: VecDeque<(usize, Box<Handover>)>,
    /// Monotonic seconds of the last logged failure. At most one failure per second is logged.
    failure_logged_s: u64,
}
