//! The shard's connections: how they come and go, what they may take, their output.
//!
//! Must not know: how commands run.

pub(super) mod accept;
mod client_eviction;
pub(super) mod limits;
mod output;
pub(super) mod queues;
pub(super) mod table;
mod watch;
