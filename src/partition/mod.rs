//! The partition: what must be in one order. It has the keys of one shard's hash slots, and the one
//! function that runs commands on them.
//!
//! Must not know: sockets, connections, threads, other partitions. It hands answers and messages to
//! the thread that holds it.
//!
//! ```text
//!   partition    the struct and its parts
//!   env          settings, facts, time, board: what the shard looks at too
//!   run          the one run function, with its modes
//!   local        a batch of the shard's own connection          --+
//!   locks        a part from the inbox: runs, or waits for locks  |
//!   parts        what a part asks for                             +--> run
//!   offload      long commands of a part, on other threads        |
//!   blocking     clients blocked on keys                        --+
//!   deferred     replies that wait for forwarded commands
//!   journal      what is propagated, in order
//!   requests     what session commands ask of the keys
//!   persistence  shares of files, loading
//!   watch        watched keys
//!   housekeeping expiry, statistics
//!   outgoing     what its holder sends for it
//!   berth        where others find it while its shard is parked
//!   timing       durations, thresholds of the command log
//! ```

mod berth;
mod blocking;
mod deferred;
mod env;
mod housekeeping;
mod journal;
mod local;
mod locks;
mod offload;
mod outgoing;
#[allow(clippy::module_inception)]
mod partition;
mod parts;
mod persistence;
mod requests;
mod run;
mod timing;
mod watch;

pub use berth::{Berths, Holding};
pub use env::{Env, Now};
pub use offload::PartJob;
pub use outgoing::Outgoing;
pub use partition::Partition;
pub use parts::args_of;
pub use run::{Batch, Ran, RunMode, note_failure};
pub use timing::{BatchTiming, Probe, Thresholds, logged, logged_if_large};
