//! Client tracking: invalidations on their way from the slice to the homes of the clients.
//!
//! # Why no cached value is stale
//!
//! A client may use a cached value until it is told of a change. It must be told before it gets the
//! reply of a command that comes after the change. The slice that owns a key lists its readers in
//! the order of reads and changes, so each reader of the old value is found by the change.
//!
//! 1. The holder of the partition pushes the invalidation into the inbox of the reader's home
//!    before it pushes the reply of the change, and before any other unit sees the change. If
//!    several homes get it, it is pushed under the sequencer, like the parts of a unit.
//! 2. A later command of the reader runs at its home or elsewhere. If it runs elsewhere, its reply
//!    goes through the home's inbox, behind the invalidation: the other partition has seen the
//!    change only after the push. If it runs at home, the home has drained its inbox before, by
//!    rule 2 of the mesh. An invalidation for the home itself is among the partition's outgoing
//!    messages, which the home sends before it serves a connection.
//! 3. The invalidation does not overtake the reply that has brought the old value: that reply was
//!    pushed before the change ran. The replies of a batch with parts on several shards wait at
//!    home until all parts are answered. So an invalidation names the batch that has read the key,
//!    and waits behind the replies of this batch.
//! 4. A client's own change is told behind the reply of the command, as the reference does.
//!
//! A unit that changes keys of several partitions is told by each of them when its part there has
//! run. A client may see the change of one part while another part waits in an inbox. Commands are
//! not affected: they find the other part ahead of their own. A cached value would be stale.
//!
//! 5. So the reply of a tracking client waits in its output until all units that had begun when its
//!    command ran have run on all of their shards (`mesh::PartialUnits`), and until the home has
//!    then drained its inbox. What the client is told meanwhile goes ahead of the reply, unless it
//!    names the batch of the reply. While no such unit is under way, this costs a comparison.
//! 6. An invalidation that names no batch (broadcasting, FLUSHALL) goes ahead of the replies that
//!    are on their way, and also behind them: the client may have the old value from before, or get
//!    it with these replies.

use super::message::Outgoing;
use super::partition::Partition;
use crate::keyspace::{Caller, Invalidation};
use std::sync::Arc;

impl Partition {
    /// Sets the client whose commands run from here on, and returns the one before.
    #[inline]
    pub(super) fn enter_caller(&mut self, caller: Option<Caller>) -> Option<Caller> {
        self.slice.enter_caller(caller)
    }

    /// Takes note of clients that have begun or ended tracking. Call it before units run. Costs one
    /// comparison if there are none.
    #[inline]
    pub(super) fn heed_trackers(&mut self) {
        if self.env.process.trackers.version() != self.slice.trackers_version() {
            self.settle_trackers();
        }
    }

    #[cold]
    fn settle_trackers(&mut self) {
        let view = self.env.process.trackers.view();
        self.slice.set_trackers(view);
    }

    /// Tells the clients what has changed. Call it after every batch, and after everything else
    /// that may change keys or find expired ones.
    #[inline]
    pub(super) fn tell_trackers(&mut self) {
        if self.slice.has_trackers() || self.env.board.gauges.tracked_keys.get() > 0 {
            self.limit_tracked();
            self.tell_invalidations();
        }
    }

    /// Posts the invalidations of the slice to the homes of their clients.
    fn tell_invalidations(&mut self) {
        if self.slice.has_invalidations() {
            let invalidations = self.slice.take_invalidations();
            self.post_invalidations(invalidations);
        }
    }

    /// Posts invalidations to the homes of their clients.
    pub fn post_invalidations(&mut self, invalidations: Vec<Invalidation>) {
        if invalidations.is_empty() {
            return;
        }
        let mut prefixes = None;
        let shards = self.env.router.shards();
        let mut homes: Vec<Vec<Arc<Invalidation>>> = vec![Vec::new(); shards];
        for invalidation in invalidations {
            let invalidation = Arc::new(invalidation);
            let mut tell = |home: u16| homes[usize::from(home)].push(Arc::clone(&invalidation));
            match &*invalidation {
                Invalidation::Key { to, .. } => tell(to.home),
                Invalidation::Prefix { prefix, .. } => {
                    let view = || self.env.process.trackers.view().prefixes;
                    prefixes.get_or_insert_with(view).homes_of(prefix).for_each(tell);
                }
                Invalidation::All(_) => (0..shards as u16).for_each(tell),
            }
        }
        let own = std::mem::take(&mut homes[self.env.me]);
        let others = (0u16..).zip(homes).filter(|(_, told)| !told.is_empty()).collect();
        self.mesh.tell(others);
        if !own.is_empty() {
            self.mesh.count_own_told(self.env.me, &own, true);
            self.outgoing.push_back(Outgoing::Told(own));
        }
    }

    /// Publishes the number of tracked keys, and stops tracking random keys of this partition while
    /// all partitions together track too many.
    fn limit_tracked(&mut self) {
        if self.is_away() {
            return;
        }
        let gauges = &self.env.board.gauges;
        let trackers = &self.env.process.trackers;
        trackers.count_keys(self.slice.tracked_keys() as i64 - gauges.tracked_keys.get());
        let max = self.env.config.tracking_table_max_keys;
        while max > 0 && self.slice.tracked_keys() > 0 && trackers.take_above(max) {
            self.slice.untrack_random();
        }
        gauges.tracked_keys.set(self.slice.tracked_keys() as i64);
        gauges.tracked_readers.set(self.slice.tracked_readers() as i64);
    }
}
