//! The shard's connections: opening and closing, limits, output.
//!
//! Must not know: how commands run.

pub(super) mod accept;
mod client_eviction;
pub(super) mod limits;
mod output;
pub(super) mod queues;
pub(super) mod table;
mod watch;
