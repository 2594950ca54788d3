//! The partition: the state that needs one order. It has the keys of one shard's hash slots, and
//! the one function that runs commands on them.
//!
//! Must not know: sockets, connections, threads, other partitions. It passes replies and messages
//! to the thread that holds it.
//!
//! The files, from the lowest layer to the highest (`tests/tidy/inner.rs`):
//!
//! ```text
//!   message      forms of the replies and messages that its holder sends
//!   timing       durations, thresholds of the command log
//!
//!   absence      whether the slice is handed over, and what waits meanwhile
//!   deferred     replies that wait for forwarded commands
//!   env          settings, facts, time, board, as the shard also has them
//!   journal      propagated commands, in order
//!   leaving      what waits after the last save
//!   part_job     what the offload pool does for the partition
//!   slices       work that waits for its next slice
//!   tools        slices for commands that run away from their keys, and the Lua state
//!   unfinished   units that have taken effect in part
//!
//!   partition    the struct of these parts
//!
//!   berth        where other shards find it while its shard is parked
//!   events       what changed which key, for the subscriber
//!   handover     the slice on its way to a unit that holds every partition, and back
//!   housekeeping expiry, statistics
//!   outgoing     replies and messages for its holder to send
//!   persistence  shares of files, loading
//!   propagate    when the journal is on, expired keys, marks
//!   run          the one run function, with its modes
//!   served       slots that have left this node of a cluster, and keys of open slots
//!   tracking     what tracking clients must be told
//!   watch        watched keys
//!
//!   blocking     clients blocked on keys                        --+
//!   eviction     keys leave because memory is full                |
//!   local        a batch of the shard's own connection            |
//!   locks        a part from the inbox: runs, or waits for locks  |
//!   moved        what follows when hash slots have come or left   |
//!   offload      commands on large values, on other threads       +--> run
//!   parts        the work of a part                               |
//!   scripts      scripts that run for long, in slices             |
//!   sliced_part  units of very many commands, in slices           |
//!   survey       DBSIZE, SCAN: they take no locks                 |
//!   walks        commands on all keys, in slices                --+
//!   cut          the keys of one moment for a snapshot, in slices
//!   requests     requests of session commands about keys
//! ```

mod absence;
mod berth;
mod blocking;
mod cut;
mod deferred;
mod env;
mod events;
mod eviction;
mod handover;
mod housekeeping;
mod journal;
mod leaving;
mod local;
mod locks;
mod message;
mod moved;
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
mod scripts;
mod served;
mod sliced_part;
mod slices;
mod survey;
mod timing;
mod tools;
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
pub use served::refusal_on;
pub use timing::{BatchTiming, Probe, Thresholds, logged, logged_if_large};
