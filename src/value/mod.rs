//! Data types and their encodings: pure data.
//!
//! Must not know: keys, protocol, commands, shards.

pub mod bits;
pub mod string;
