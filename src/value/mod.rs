//! Data types and their encodings: pure data.
//!
//! Must not know: keys, protocol, commands, shards.

pub mod bits;
pub mod dense;
pub mod geo;
pub mod hash;
pub mod hyperloglog;
pub mod list;
pub mod listpack;
pub mod object;
pub mod pack;
pub mod set;
pub mod sorted_set;
pub mod stream;
pub mod string;

pub use object::{Container, Kind, Object, ObjectRef, WrongKind};
pub use pack::Item;
