//! The slices of all partitions at one place, for a unit that has locked them all, exclusively.

use super::batch::{BatchArgs, Item};
use super::scripting::SuspendedScript;
use super::workspace::{OffloadedRun, WorkspaceRun, resume_away, run_away};
use crate::base::slot_map::SlotMap;
use crate::keyspace::{Caller, Expired, ExpiryRole, Invalidation, Raised, Slice};
use std::sync::Arc;

/// All slices of the keyspace. A command runs on the slice that owns its first key. If it uses keys
/// of others, its handler asks for their slices with [`super::Context::slice_of`].
#[derive(Debug)]
pub struct Slices {
    /// By the numbers of their partitions. The slice on which a command runs is missing meanwhile.
    slices: Vec<Option<Box<Slice>>>,
    /// Which slice has which hash slot.
    map: Arc<SlotMap>,
}

impl Slices {
    /// Takes the slices of all partitions, in the order of their numbers in `map`. The commands on
    /// them see this Unix time in milliseconds.
    pub fn new(slices: impl Iterator<Item = Box<Slice>>, map: Arc<SlotMap>, now_ms: u64) -> Slices {
        let mut slices: Vec<Box<Slice>> = slices.collect();
        assert_eq!(slices.len(), map.partitions());
        for (at, slice) in slices.iter_mut().enumerate() {
            slice.set_now(now_ms);
            assert!(slice.slots() == map.slots(at), "slice {at} has the slots of the map");
        }
        Slices { slices: slices.into_iter().map(Some).collect(), map }
    }

    /// Returns the lowest hash slot of each slice.
    pub(super) fn first_slots(&self) -> Vec<u16> {
        (0..self.slices.len()).map(|at| self.map.first_slot(at)).collect()
    }

    /// Returns the client whose command runs.
    pub(super) fn caller(&self) -> Option<Caller> {
        self.slices.iter().flatten().find_map(|slice| slice.caller())
    }

    /// Takes the slice that owns a hash slot, to run a command on it.
    pub(super) fn take(&mut self, slot: u16) -> Box<Slice> {
        let at = self.index_of(slot);
        self.slices[at].take().expect("no other command is running")
    }

    /// Puts a slice back that was taken.
    pub(super) fn put(&mut self, slice: Box<Slice>) {
        let at = self.index_of(slice.slots().first().expect("every slice has a slot"));
        assert!(self.slices[at].is_none(), "only a taken slice returns");
        self.slices[at] = Some(slice);
    }

    /// Calls `visit` with the slice that owns a hash slot.
    pub fn with<R>(&mut self, slot: u16, visit: impl FnOnce(&mut Slice) -> R) -> R {
        visit(self.of(slot))
    }

    /// Runs a script. `slice` is an empty workspace: the script's commands run on the slices that
    /// own their keys.
    pub fn run_script(
        &mut self,
        slice: &mut Slice,
        item: Item,
        batch_args: &mut BatchArgs<'_>,
        with: WorkspaceRun<'_>,
    ) -> OffloadedRun {
        self.enter_caller(with.caller);
        let ran = run_away(slice, Some(self), item, batch_args, with);
        OffloadedRun { invalidations: self.leave_caller(), ..ran }
    }

    /// Continues the suspended script of a command, which [`Slices::run_script`] has begun.
    pub fn resume_script(
        &mut self,
        slice: &mut Slice,
        item: Item,
        batch_args: &mut BatchArgs<'_>,
        with: WorkspaceRun<'_>,
        script: Box<SuspendedScript>,
    ) -> OffloadedRun {
        self.enter_caller(with.caller);
        let ran = resume_away(slice, Some(self), item, batch_args, (with, script));
        OffloadedRun { invalidations: self.leave_caller(), ..ran }
    }

    /// Sets the client whose command runs, on all slices.
    fn enter_caller(&mut self, caller: Option<Caller>) {
        self.for_each(|slice| _ = slice.enter_caller(caller));
    }

    /// Ends the command of a client on all slices. Returns what tracking clients must be told.
    fn leave_caller(&mut self) -> Vec<Invalidation> {
        let mut all = Vec::new();
        self.for_each(|slice| {
            slice.enter_caller(None);
            all.append(&mut slice.take_invalidations());
        });
        all
    }

    /// Returns the slices in the order of their partitions.
    pub fn into_slices(self) -> impl Iterator<Item = Box<Slice>> {
        self.slices.into_iter().map(|slice| slice.expect("no command is running"))
    }

    /// Runs one command, from the slice that owns its first key.
    pub fn run(
        &mut self,
        item: Item,
        batch_args: &mut BatchArgs<'_>,
        with: WorkspaceRun<'_>,
    ) -> OffloadedRun {
        self.enter_caller(with.caller);
        let mut slice = self.take(item.slot);
        let mut ran = run_away(&mut slice, Some(self), item, batch_args, with);
        self.put(slice);
        ran.invalidations = self.leave_caller();
        let mut events = Vec::new();
        self.for_each(|slice| events.append(&mut slice.take_events()));
        // What expired on other slices comes before what the command changed there, and what
        // happened on its own slice between the two.
        let is_found = |raised: &Raised| !raised.event.is_change();
        let (mut all, changed): (Vec<_>, Vec<_>) = events.into_iter().partition(is_found);
        all.append(&mut ran.events);
        all.extend(changed);
        ran.events = all;
        ran
    }

    /// Returns the slice that owns a hash slot, which is not the slice on which a command runs.
    pub(super) fn of(&mut self, slot: u16) -> &mut Slice {
        let at = self.index_of(slot);
        self.slices[at].as_mut().expect("the running command knows its own slice")
    }

    /// Returns whether a pause keeps the expired keys of any slice.
    pub(super) fn is_paused(&self) -> bool {
        self.slices.iter().flatten().any(|slice| slice.is_paused())
    }

    /// Sets how the slices treat expired keys.
    pub(super) fn set_role(&mut self, role: ExpiryRole) {
        self.for_each(|slice| {
            slice.set_role(role);
        });
    }

    /// Calls `visit` with each slice, except the slice on which a command runs.
    pub(super) fn for_each(&mut self, visit: impl FnMut(&mut Slice)) {
        self.slices.iter_mut().flatten().map(|slice| &mut **slice).for_each(visit);
    }

    /// Returns the number of changes so far, without the slice on which a command runs.
    pub(super) fn changes(&self) -> u64 {
        self.slices.iter().flatten().map(|slice| slice.changes()).sum()
    }

    /// Returns and forgets the keys and fields that have expired.
    pub(super) fn drain_expired(&mut self) -> impl Iterator<Item = Expired> {
        self.slices.iter_mut().flatten().flat_map(|slice| slice.drain_expired())
    }

    /// Returns the index of the slice that owns a hash slot, as [`Slices::new`] has checked.
    pub(super) fn index_of(&self, slot: u16) -> usize {
        usize::from(self.map.owner(slot))
    }
}
