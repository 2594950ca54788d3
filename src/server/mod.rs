//! The process: from the command line to running shards, and the shutdown.
//!
//! ```text
//!   settings -> listeners -> one thread per shard (driver, doorbell, slice) -> all are ready
//!       -> shard 0 accepts -> ... -> a signal, SHUTDOWN or a failure -> all shards stop -> exit
//! ```

mod arguments;
mod check;
mod check_rdb;
mod cluster;
mod crash;
mod listen;
mod load;
mod load_aof;
mod signals;
mod start;
mod supervise;
mod threads;

pub use start::main;
pub use threads::{Common, Parts, Seeds, build_process, build_shard};
