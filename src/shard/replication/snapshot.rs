//! Full synchronization: a snapshot over all partitions for the replicas that wait for one.

use super::{Barrier, CutGoal, FilePhase, Goal};
use crate::rdb::{Kept, Origin, Preamble};
use crate::shard::state::Shard;
use crate::snapshot::{Share, Snapshot, VALKEY_VERSION};
use std::sync::Arc;

impl Shard {
    /// Gives a complete snapshot to all waiting replicas. Replicas that came after its start get it
    /// too.
    pub(super) fn begin_links(&mut self, barrier: Barrier) {
        let offset = barrier.offset.expect("the mark has been reached");
        let replid = self.env.process.replication().replid.clone();
        let mut kept = self.env.process.persistence().kept.clone();
        kept.functions = self.env.process.functions.texts();
        let kept = [kept, Kept::default()];
        let preamble = |leaves_out_functions: bool| Preamble {
            valkey_version: VALKEY_VERSION,
            written_s: self.env.now.unix_ms() / 1_000,
            used_memory_bytes: crate::base::alloc::used_bytes(),
            origin: Some(Origin { replid: &replid, offset, db: 0 }),
            is_aof_base: false,
            kept: &kept[usize::from(leaves_out_functions)],
        };
        let has_checksum = self.env.config.rdbchecksum;
        let shares: Vec<Share> = barrier.bodies.into_iter().map(Share::read).collect();
        let made = [(false, false), (false, true), (true, false), (true, true)].map(
            |(leaves_out_keys, leaves_out_functions)| {
                let shares = if leaves_out_keys { &[] } else { &shares[..] };
                let preamble = preamble(leaves_out_functions);
                Arc::new(Snapshot::new(&preamble, shares, has_checksum))
            },
        );
        let now = self.link_now();
        for conn in self.replication.links.clone() {
            let Some(connection) = self.connections.get_mut(conn) else { continue };
            let replica = &connection.session.replica;
            let number = usize::from(replica.leaves_out_keys) * 2
                + usize::from(replica.leaves_out_functions);
            if let Some(link) = connection.link.as_mut().filter(|link| link.is_waiting()) {
                link.begin(Arc::clone(&made[number]), now);
                self.pump(conn);
            }
        }
        self.note_needs();
        self.replication.feed.end_cut().for_each(|shard| self.port.nudge(shard));
    }

    /// Starts a snapshot if a replica waits for one. Only one snapshot exists at a time, because it
    /// stays in memory until its last replica has received it.
    pub(super) fn take_snapshot(&mut self) {
        let is_for_links =
            |barrier: &Barrier| matches!(barrier.goal, Goal::FeedOn(_) | Goal::Cut(_));
        let links = || {
            self.replication
                .links
                .iter()
                .filter_map(|conn| self.connections.get(*conn)?.link.as_ref())
        };
        let is_due =
            links().any(|link| link.is_waiting()) && !links().any(|link| link.is_sending());
        if !is_due {
            let file = self.replication.files.front();
            if !file.is_some_and(|job| matches!(job.phase, FilePhase::Claimed)) {
                self.replication.feed.forgo_cut(self.env.me);
            }
            return;
        }
        let is_free = !self.barriers.under_way.values().any(is_for_links);
        if is_free && self.replication.feed.begin_cut(self.env.me) {
            let feed = &self.replication.feed;
            feed.begin_reading(self.env.me, feed.end_offset());
            self.post_barrier(Goal::FeedOn(CutGoal::Links));
        }
    }
}
