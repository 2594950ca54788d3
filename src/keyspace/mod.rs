//! One shard's slice of the keyspace: tables, entries, expiry, scan.
//!
//! Must not know: protocol, commands, connections, other shards, the journal.

mod database;
mod expire;
mod graveyard;
mod scan;
mod slice;
mod stats;
mod table;
mod tick;

#[cfg(test)]
mod tests;

pub use expire::Work;
pub use slice::{Expiry, ExpiryRole, Key, Slice, SliceOptions};
pub use stats::Stats;
pub use table::{Kind, TableInfo, View};
