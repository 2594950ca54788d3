//! What a command that runs scripts needs, in addition to the slice.

use super::facts::Facts;
use super::process::Process;
use super::publisher::Publisher;
use super::record::Records;
use super::running::RunningScript;
use crate::acl::User;
use crate::observe::Board;
use crate::script::{RunId, Vm};
use std::sync::Arc;

/// The Lua state of a partition, and the surroundings of the script.
pub struct Scripting<'a> {
    /// The Lua state.
    pub vm: &'a mut Vm,
    /// State that all shards of the process share.
    pub process: &'a Process,
    /// Publishes messages.
    pub publisher: &'a Publisher,
    /// Counts the commands of the script.
    pub board: &'a Board,
    /// Facts that forbid some commands.
    pub facts: Facts,
    /// Number of the shard.
    pub shard: usize,
    /// Whether a script that runs for long may be suspended.
    pub may_suspend: bool,
}

impl Scripting<'_> {
    /// Returns a copy to pass on.
    pub fn again(&mut self) -> Scripting<'_> {
        Scripting { vm: self.vm, ..*self }
    }
}

/// A script that is suspended, so that its shard can do other work.
#[derive(Debug)]
pub struct SuspendedScript {
    /// The run, which the Lua state knows.
    pub run: RunId,
    /// The script's entry in the list of long runs.
    pub running: Arc<RunningScript>,
    /// What its commands have changed and what they may do.
    pub progress: ScriptProgress,
    /// User whose rules restrict its commands, as at its start; none if no rules do.
    pub user: Option<Arc<User>>,
    /// Unix time in milliseconds that the script sees.
    pub now_ms: u64,
    /// What it, and the commands before it in its batch, have left for the feed so far. Only until
    /// its part keeps the records.
    pub records: Option<Records>,
}

/// What the commands of a script have changed, and what the script may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScriptProgress {
    /// Whether it must not write.
    pub only_reads: bool,
    /// Whether it may use more memory although `maxmemory` is reached.
    pub allows_oom: bool,
    /// Whether it may use keys of several hash slots, on a node of a cluster.
    pub crosses_slots: bool,
    /// The hash slot of its keys so far.
    pub slot: Option<u16>,
    /// Whether it has run a command that may write. Then nothing stops it any more.
    pub has_written: bool,
    /// The selected database.
    pub db: usize,
    /// Whether its commands are not propagated.
    pub is_muted: bool,
    /// Monotonic nanoseconds of its start.
    pub started_ns: u64,
}
