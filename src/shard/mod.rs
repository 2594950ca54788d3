//! One shard: a thread with its ring, its connections, and the partition that it holds.
//!
//! # The turn
//!
//! ```text
//!   wait -> completions -> inbox to its tail -> connections that are ready -> borrow or ring
//!     ^                                                                            |
//!     |                                       inbox, if replies have come at once -'
//!     |                                                                            v
//!     '- park, rest or poll <- sends <- let the partition go <- tick, by the clock '
//! ```
//! A shard that may park lets its partition go before it sends. A send wakes a client, which may
//! take this core at once: then others can borrow the partition meanwhile.
//!
//! The order matters (see `mesh`). If a client has seen an effect of another shard, that shard's
//! message is already in this inbox. Draining the inbox before serving preserves the order that the
//! client saw.
//!
//! # The folders, from the lowest to the highest
//!
//! ```text
//!   limits         bounds, each with its unit and reason
//!   intake         where the keys of a file come from
//!   */mod.rs       the parts of the struct, without access to it
//!   state          the struct
//!   connections    opening and closing, output, limits of clients
//!   telemetry      command log, LATENCY PROFILE, MONITOR
//!   remote         parts and replies: post, receive, land, borrow
//!   transaction    the coordinator of EXEC and of commands that gather keys
//!   replication    replicas, barriers, the file
//!   blocking       clients that wait
//!   local          the spine: from a connection's input to its replies
//!   cron, load, memory, requests, settings   periodic work, loading, `maxmemory`, requests of
//!                  session commands, settings
//!   turn           the order of all work
//! ```
//! `tests/tidy/inner.rs` has this table as data, and checks the `use` declarations.

mod blocking;
mod connections;
mod cron;
mod intake;
pub mod limits;
mod load;
mod local;
mod memory;
mod remote;
mod replication;
mod requests;
mod schedule;
mod settings;
mod state;
mod telemetry;
mod transaction;
mod turn;

pub use state::{Shard, ShardParts};
pub use telemetry::Inspection;
pub use turn::Turn;
