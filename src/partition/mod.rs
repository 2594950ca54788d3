//! The partition: the state that needs one order. It has the keys of one shard's hash slots, and
//! the one function that runs commands on them.
//!
//! Must not know: sockets, connections, threads, other partitions. It passes replies and messages
//! to the thread that holds it.
//!
//! ```text
//!   partition    the struct and its parts
//!   env          settings, facts, time, board, as the shard also has them
//!   run          the one run function, with its modes
//!   local        a batch of the shard's own connection          --+
//!   locks        a part from the inbox: runs, or waits for locks  |
//!   survey       DBSIZE, SCAN: they take no locks                 |
//!   parts        the work of a part                               +--> run
//!   offload      commands on large values, on other threads       |
//!   walks        commands on all keys, in slices                  |
//!   sliced_part  units of very many commands, in slices           |
//!   blocking     clients blocked on keys                        --+
//!   handover     the slice on its way to a unit that holds every partition, and back
//!   absence      what waits meanwhile
//!   unfinished   units that have taken effect in part
//!   deferred     replies that wait for forwarded commands
//!   journal      propagated commands, in order
//!   propagate    when the journal is on, expired keys, marks
//!   requests     requests of session commands about keys
//!   persistence  shares of files, loading
//!   cut          the keys of one moment for a snapshot, in slices
//!   leaving      what waits after the last save
//!   watch        watched keys
//!   events       what changed which key, for the subscriber
//!   tracking     what tracking clients must be told
//!   housekeeping expiry, statistics
//!   outgoing     replies and messages that its holder sends
//!   slices       work that waits for its next slice
//!   message      the forms of these
//!   berth        where other shards find it while its shard is parked
//!   timing       durations, thresholds of the command log
//! ```

mod absence;
mod berth;
mod blocking;
mod cut;
mod deferred;
mod env;
mod events;
mod handover;
mod housekeeping;
mod journal;
mod leaving;
mod local;
mod locks;
mod message;
mod offload;
mod outgoing;
mod part_job;
#[allow(clippy::module_inception)]
mod partition;
mod parts;
mod persistence;
mod propagate;
mod requests;
mod run;
mod sliced_part;
mod slices;
mod survey;
mod timing;
mod tracking;
mod unfinished;
mod walks;
mod watch;

pub use berth::{Berths, Holding};
pub use env::{Env, Now};
pub use message::Outgoing;
pub use part_job::PoolJob;
pub use partition::Partition;
pub use parts::args_of;
pub use run::{Batch, Ran, RunMode, note_failure};
pub use timing::{BatchTiming, Probe, Thresholds, logged, logged_if_large};
