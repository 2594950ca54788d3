//! The Lua engine: EVAL scripts and function libraries.
//!
//! [`Scripts`] and [`Libraries`] exist once per process. A [`Vm`] belongs to one partition. It
//! compiles a script or a library when it first runs it. What a script asks of the server passes
//! through the trait [`Host`].
//!
//! Must not know: partitions, shards, which commands exist, where a script runs.

mod host;
pub mod limits;

pub use host::{AclAnswer, Host, LogLevel, Propagation, Verdict};
