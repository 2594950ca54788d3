//! What commands use in addition to the slice: slices for commands that run away from their keys,
//! and the Lua state.

use super::env::Env;
use crate::exec::{Publisher, Scripting, Workspaces};
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

    /// Returns what scripts run with.
    #[inline]
    pub(super) fn scripting<'a>(
        &'a mut self,
        env: &'a Env,
        publisher: &'a Publisher,
        may_suspend: bool,
    ) -> Scripting<'a> {
        Scripting {
            vm: &mut self.vm,
            process: &env.process,
            publisher,
            board: &env.board,
            facts: env.facts,
            shard: env.me,
            may_suspend,
        }
    }
}
