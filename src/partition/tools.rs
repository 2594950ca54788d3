//! What commands use in addition to the slice: slices for commands that run away from their keys,
//! and the Lua state.

use super::partition::Partition;
use crate::exec::{Scripting, Workspaces};
use crate::script::{Vm, VmOptions};

/// What commands use in addition to the slice.
pub(super) struct Tools {
    /// Slices for commands that run away from their keys.
    pub(super) workspaces: Workspaces,
    /// Runs scripts.
    pub(super) vm: Vm,
}

impl Tools {
    pub(super) fn new(workspaces: Workspaces) -> Tools {
        Tools { workspaces, vm: Vm::new(VmOptions::default()) }
    }
}

impl Partition {
    /// Returns what scripts run with that run at the home of their unit.
    pub fn home_scripting(&mut self) -> Scripting<'_> {
        Scripting {
            vm: &mut self.tools.vm,
            process: &self.env.process,
            board: &self.env.board,
            facts: self.env.facts,
            shard: self.env.me,
            may_suspend: true,
        }
    }
}
