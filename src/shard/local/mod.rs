//! Commands of this shard's connections, from their input to the place where they run.
//!
//! Must not know: how parts travel, what a transaction's rounds are.

pub(in crate::shard) mod gather;
mod serve;
mod session;
