//! What a command that runs scripts needs, in addition to the slice.

use super::facts::Facts;
use super::process::Process;
use crate::observe::Board;
use crate::script::Vm;

/// The Lua state of a partition, and the surroundings of the script.
pub struct Scripting<'a> {
    /// The Lua state.
    pub vm: &'a mut Vm,
    /// State that all shards of the process share.
    pub process: &'a Process,
    /// Counts the commands of the script.
    pub board: &'a Board,
    /// Facts that forbid some commands.
    pub facts: Facts,
    /// Number of the shard.
    pub shard: usize,
}

impl Scripting<'_> {
    /// Returns a copy to pass on.
    pub fn again(&mut self) -> Scripting<'_> {
        Scripting { vm: self.vm, ..*self }
    }
}
