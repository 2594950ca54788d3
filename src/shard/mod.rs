//! One shard: a thread with its ring, its connections, and the partition that it holds.
//!
//! # The turn
//!
//! ```text
//!   wait -> completions -> inbox to its tail -> connections that are ready -> borrow or ring
//!     ^                                                                            |
//!     |                              sends <- inbox, if answers have come at once -'
//!     '------------------------- by the clock, once per tick ----------------------'
//! ```
//! The order matters (see `mesh`): a client that has seen an effect of another shard has that
//! shard's message ahead of it in this inbox. Draining before serving keeps the order that it saw.
//!
//! # The folders, from the lowest to the highest
//!
//! ```text
//!   limits         bounds, each with its unit and reason
//!   state          the struct and its parts
//!   connections    sockets come and go, output leaves, limits of clients
//!   telemetry      command log, LATENCY PROFILE, MONITOR
//!   remote         parts and answers: post, receive, land, borrow
//!   blocking       clients that wait
//!   transaction    the coordinator of EXEC and of commands that gather keys
//!   replication    replicas, barriers, the file
//!   local          the spine: from a connection's input to its replies
//!   turn           the order of it all
//! ```

mod blocking;
mod connections;
mod cron;
pub mod limits;
mod load;
mod local;
mod remote;
mod replication;
mod requests;
mod settings;
mod state;
mod telemetry;
mod transaction;
mod turn;

pub use state::{Shard, ShardParts};
pub use telemetry::Inspection;
pub use turn::Turn;
