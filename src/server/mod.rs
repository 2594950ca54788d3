//! The process: from argv to running shards, and down again.
//!
//! ```text
//!   settings -> listeners -> one thread per shard (driver, doorbell, slice) -> all are there
//!       -> shard 0 accepts -> ... -> a signal, SHUTDOWN or a failure -> all shards stop -> exit
//! ```

mod arguments;
mod check;
mod crash;
mod listen;
mod load;
mod signals;
mod start;
mod supervise;
mod threads;

pub use start::main;
pub use threads::{Common, Parts, Seeds, build_process, build_shard};
