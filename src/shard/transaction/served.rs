//! Whether this node of a cluster still serves the keys of a transaction or of a script that runs
//! at home or in several rounds. `partition/served` checks all other commands.

use crate::client::Transaction;
use crate::exec::{Facts, KeySlots, OffloadedRun, Slices, WorkspaceRun};
use crate::partition::refusal_on;
use crate::resp::{Error, Reply};
use crate::shard::state::Shard;
use crate::txn::Queue;

impl Shard {
    /// Has the owner of the slot of EXEC, or of a command with very many keys, check all keys
    /// before the first command runs. The first round has only some of the commands.
    pub(super) fn carry_whole(&mut self, transaction: &mut Transaction) {
        let is_whole = transaction.is_exec || transaction.is_sliced;
        if !(is_whole && transaction.has_locks && self.env.process.is_cluster) {
            return;
        }
        // Without keys any shard may run it.
        let Some(slot) = self.slot_of_all(&mut transaction.queue) else { return };
        let (router, process) = (&self.env.router, &self.env.process);
        let Some(cluster) = process.cluster.get() else { return };
        let parts = 0..transaction.parts();
        let (items, mut batch_args) = transaction.queue.parts();
        let owner = router.owner(slot);
        let flight = &mut transaction.flight;
        let Some(part) = parts.into_iter().find(|part| flight.owner(*part) == owner) else {
            return;
        };
        let commands = cluster.nodes().opening(slot).map(|_| {
            let mut commands = self.port.envelope(usize::from(owner));
            for item in items.iter().filter(|item| !item.is_at_home()) {
                let args = batch_args.of(item);
                commands.begin(item, item.slot);
                (0..args.len()).for_each(|arg| commands.push_arg(&args[arg]));
            }
            commands
        });
        flight.txn_mut(part).whole = Some((slot, commands));
    }

    /// Returns the hash slot of the keys of a transaction, on a node of a cluster. Returns none
    /// without keys.
    pub(super) fn slot_of_all(&self, queue: &mut Queue) -> Option<u16> {
        if !self.env.process.is_cluster {
            return None;
        }
        let (items, mut batch_args) = queue.parts();
        items.iter().find_map(|item| match item.entry.key_slots(&batch_args.of(item)) {
            KeySlots::One(slot) => Some(slot),
            KeySlots::None | KeySlots::Several => None,
        })
    }

    /// Returns why the only command of a unit must not run on the slices, which are here; none if
    /// it may.
    pub(super) fn refusal_on_slices(
        &self,
        transaction: &mut Transaction,
        at: usize,
        slices: &mut Slices,
    ) -> Option<Error> {
        let is_checked = transaction.is_exec || !self.env.process.is_cluster;
        if is_checked || self.env.facts.has(Facts::LOADING) {
            return None;
        }
        let (items, mut batch_args) = transaction.queue.parts();
        let (item, args) = (items[at], batch_args.of(&items[at]));
        let KeySlots::One(slot) = item.entry.key_slots(&args) else { return None };
        slices.with(slot, |slice| refusal_on(slice, (&item, &args), &self.env.process))
    }
}

/// Replies to a command with an error in place of its run.
pub(super) fn refuse(error: Error, with: WorkspaceRun<'_>) -> OffloadedRun {
    Reply::new(with.output, with.protocol).error(&error);
    with.ends.push(with.output.mark());
    OffloadedRun { error: Some(error), ..OffloadedRun::default() }
}
