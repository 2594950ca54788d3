//! What a connection's home shard knows about a command that blocks instead of replying.
//!
//! ```text
//!   may block, and runs --answered---------------------------------------> none
//!        |  the owners of its keys list it; WAIT and WAITAOF are in the list of their shard
//!        v
//!     blocked --an owner serves it, or it gives up and tells the owners---> none
//! ```

use crate::acl::Reason;
use crate::exec::{Entry, Null, Ticket};
use crate::mesh::FlightId;
use std::sync::Arc;

/// A command that is blocked, or that may block.
#[derive(Debug)]
pub struct Blocked {
    /// Decides who serves the client.
    pub ticket: Arc<Ticket>,
    /// Flight of the connection that waits for the reply.
    pub flight: FlightId,
    /// Epoch of the map of hash slots by which it was routed.
    pub epoch: u64,
    /// Details of a blocked command; none while its run is in progress.
    pub wait: Option<Waiting>,
    /// Why the command gives up if its run, which is in progress, finds nothing.
    pub giving_up: Option<GivingUp>,
}

/// A blocked command.
#[derive(Debug)]
pub struct Waiting {
    /// Table entry of the command.
    pub entry: &'static Entry,
    /// Unix time in milliseconds at which it gives up; none: never.
    pub deadline_ms: Option<u64>,
    /// Its arguments; none if it waits for no keys.
    pub args: Option<Vec<Box<[u8]>>>,
    /// Reply when it gives up.
    pub on_timeout: TimeoutReply,
    /// Shards that list the blocked command.
    pub shards: Vec<u16>,
}

/// What a blocked command replies after its timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutReply {
    /// A null.
    Null(Null),
    /// WAIT, WAITAOF: who has acknowledged.
    Acks,
}

/// Why a command stops waiting without being served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivingUp {
    /// Its timeout has passed, or CLIENT UNBLOCK says so.
    Timeout,
    /// CLIENT UNBLOCK ends it with an error.
    Error,
    /// WAITAOF waits for an append-only file, which was turned off.
    NoFile,
    /// Its keys are in a slot that another node of the cluster serves now.
    Redirected,
    /// The rules of its user do not allow it any more.
    Denied(Reason),
}
