//! One shard's slice of the keyspace: tables, entries, expiry, scan.
//!
//! Must not know: protocol, commands, connections, other shards, the journal.

mod access;
mod ahead;
mod chores;
mod container;
mod cut;
mod database;
mod detached;
mod digest;
mod early;
mod elements;
mod event;
mod evict;
mod expire;
mod expired;
mod flush;
mod funnel;
mod graveyard;
mod moved;
mod scan;
mod slice;
mod stats;
mod table;
mod text;
mod tick;
mod tracking;
mod waits;
mod watch;

#[cfg(test)]
mod tests;

pub use access::Frequency;
pub use ahead::{SPOTS_MAX, Spot};
pub use chores::CompactionLimits;
pub use container::Edit;
pub use cut::Consumer;
pub use detached::DetachedValue;
pub use digest::{DIGEST_BYTES, Digest, database_digests_joined};
pub use elements::Elements;
pub use event::{Class, Event, Raised};
pub use evict::{Evicted, EvictionRule, Progress};
pub use expire::{IsKept, Work};
pub use expired::Expired;
pub use moved::MovedSlots;
pub use slice::{Expiry, ExpiryRole, Key, Slice, SliceOptions};
pub use stats::Stats;
pub use table::{FIELD_BYTES as EXPIRY_BYTES, HEADER_BYTES as ENTRY_HEADER_BYTES};
pub use table::{TableInfo, View};
pub use tracking::{Caller, ChangedKeys, INVALIDATIONS_MAX, Invalidation, Prefixes, TrackersView};
pub use watch::WatcherId;
