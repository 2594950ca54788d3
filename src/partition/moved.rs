//! What follows when hash slots have come or left: clients that are blocked on their keys.
//!
//! ```text
//!   slice is back without a slot    its waiters leave this list --MovedWaiters--> the new owner
//!   slice is back with a slot       waiters know that a key is here now
//!   MovedWaiters                    listed behind all others, in their order; their keys are ready
//! ```
//! A waiter of keys on several partitions is listed on each of them, with one ticket. It leaves and
//! enters the queues of the keys that have moved, and keeps its places in all others. The new owner
//! looks at the keys once, because something may have come before the list.
//!
//! Everything else that belongs to keys moves with the slice (`keyspace/moved`). The lock table has
//! no locks but the ones of the unit that has moved the slots, and requests behind it that lock
//! everything, or that belong to clients blocked here: these find nothing and end.

use super::absence::Late;
use super::partition::Partition;
use super::parts::args_of;
use crate::base::slot::slot_of;
use crate::base::slot_map::SlotSet;
use crate::exec::{Null, Wait};
use crate::mesh::{MovedWaiter, OneWay, Registration};
use crate::txn::Relisted;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Partition {
    /// Returns whether no unit is under way on the partition, also none of a blocked client.
    pub fn is_at_rest(&self) -> bool {
        let has_units = !self.locks.is_empty() || !self.waiting.is_empty();
        let has_slices = !self.slices.is_empty() || self.is_away();
        let is_ending = self.leaving.is_on() || self.is_loading;
        let has_messages = !self.outgoing.is_empty() || !self.set_aside.is_empty();
        !(has_units || has_slices || is_ending || has_messages) && self.deferred.is_idle()
    }

    /// Returns whether a cut is under way.
    pub fn has_cut(&self) -> bool {
        self.slices.cut.is_some() || self.slice.has_cut()
    }

    /// Follows up after the slice has come back with other slots than `before`.
    pub(super) fn heed_moved_slots(&mut self, before: &SlotSet) {
        self.env.refresh_slots();
        debug_assert!(self.slice.slots() == self.env.router.slots(self.env.me));
        let invalidations = self.slice.take_invalidations();
        self.post_invalidations(invalidations);
        let mut moved: BTreeMap<u16, Vec<MovedWaiter>> = BTreeMap::new();
        for number in self.blocked.in_order() {
            self.move_waiter(number, before, &mut moved);
        }
        for (owner, waiters) in moved {
            let message = self.envelope(owner);
            self.send_one_way(message, OneWay::MovedWaiters(waiters));
        }
        self.publish_blocked();
    }

    /// Takes a waiter out of the queues of keys that have left, and adds it to `moved` for each
    /// new owner of such a key.
    fn move_waiter(
        &mut self,
        number: u64,
        before: &SlotSet,
        moved: &mut BTreeMap<u16, Vec<MovedWaiter>>,
    ) {
        let waiter = self.blocked.get_mut(number).expect("it is listed");
        let (slice, router) = (&self.slice, &self.env.router);
        let has_moved = |key: &[u8]| {
            let slot = slot_of(key);
            slice.owns(slot) != before.contains(slot)
        };
        if !waiter.all_keys().any(has_moved) {
            return;
        }
        let left = waiter.awaited().filter(|key| !slice.owns(slot_of(key)));
        let mut owners: Vec<u16> = left.map(|key| router.owner_of(key)).collect();
        owners.sort_unstable();
        owners.dedup();
        if !owners.is_empty() {
            let (items, mut batch_args) = waiter.queue.parts();
            let item = items[0];
            let wait = Wait {
                deadline_ms: None,
                keys: waiter.awaits.iter().map(|(arg, _)| *arg).collect(),
                kind: waiter.kind,
                wants_gone: waiter.wants_gone,
                null: Null::Bulk,
                args: Some(args_of(&item, &mut batch_args)),
            };
            for owner in owners {
                let (ticket, to) = (Arc::clone(&waiter.ticket), waiter.to.address);
                let registration = Registration { ticket, item, to, wait: wait.clone() };
                let (home, protocol) = (waiter.to.home, waiter.protocol);
                let all = moved.entry(owner).or_default();
                all.push(MovedWaiter { registration, home, protocol });
            }
        }
        self.relist(number, false);
    }

    /// Brings the places of a waiter in line with the slots of the slice.
    fn relist(&mut self, number: u64, enters: bool) {
        let process = Arc::clone(&self.env.process);
        let Some(waiter) = self.blocked.get_mut(number) else { return };
        let db = usize::from(waiter.queue.items[0].db);
        process.awaited.remove(waiter.awaited(), waiter.is_far || waiter.is_spread);
        let is_here = |key: &[u8]| self.slice.owns(slot_of(key));
        let Relisted { left, new } = self.blocked.relist(number, &is_here, enters);
        if let Some(waiter) = self.blocked.get_mut(number) {
            process.awaited.add(waiter.awaited(), waiter.is_far || waiter.is_spread);
        }
        for key in left {
            let key = self.slice.key(&key);
            self.slice.forget_awaited(db, &key);
        }
        for key in new {
            let key = self.slice.key(&key);
            self.slice.await_key(db, &key);
        }
    }

    /// Lists clients that are blocked on keys of slots that have come, and looks at their keys.
    pub fn take_moved_waiters(&mut self, moved: Vec<MovedWaiter>) {
        if self.is_away() {
            return self.do_later(Late::MovedWaiters(moved));
        }
        self.list_moved(moved);
        self.serve_blocked_behind();
    }

    pub(super) fn list_moved(&mut self, moved: Vec<MovedWaiter>) {
        for MovedWaiter { registration, home, protocol } in moved {
            let number = registration.ticket.number();
            let db = usize::from(registration.item.db);
            match self.blocked.get_mut(number) {
                Some(_) => self.relist(number, true),
                None => self.block(registration, home, protocol),
            }
            let Some(waiter) = self.blocked.get_mut(number) else { continue };
            let keys: Vec<Box<[u8]>> = waiter.awaited().map(Box::from).collect();
            self.make_ready(db, &keys);
        }
        self.publish_blocked();
    }
}
