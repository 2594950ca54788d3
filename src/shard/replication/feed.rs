//! The feed as a shard sees it: published once per turn, and turned off when it has no readers.

use crate::exec::BacklogFacts;
use crate::feed::Merged;
use crate::mesh::Envelope;
use crate::shard::replication::Goal;
use crate::shard::state::Shard;

impl Shard {
    /// Publishes the partition's propagated commands to the merger, once per turn.
    pub(in crate::shard) fn publish_feed(&mut self) {
        if !self.replication.feed.is_on() {
            // Another shard has ended it since this one merged.
            self.replication.is_behind = false;
            return;
        }
        self.partition.write_expired();
        let journal = self.partition.journal_mut();
        let merged = self.replication.feed.publish(self.env.me, journal);
        self.after_merge(merged);
        if self.replication.ending.is_some() {
            self.answer_ending();
        }
    }

    /// Stops propagation on the partition, for a barrier that turns the feed off. The reply waits
    /// until the journal is empty: units that began before may have reserved places in it.
    pub(in crate::shard) fn end_propagation(&mut self, part: Box<Envelope>) {
        assert!(self.replication.ending.is_none(), "one barrier at a time turns the feed off");
        self.partition.stop_propagating();
        self.replication.ending = Some(part);
        self.publish_feed();
    }

    /// Replies to the barrier that turns the feed off, if the journal is empty. Also replies if the
    /// snapshot of a new reader has turned the journal on again: the feed then stays on.
    fn answer_ending(&mut self) {
        let journal = self.partition.journal_mut();
        if !journal.is_on() && !journal.is_empty() {
            return;
        }
        let Some(mut part) = self.replication.ending.take() else { return };
        part.sent = self.partition.moment();
        if let Some(own) = self.port.answer(part) {
            self.land(own);
        }
    }

    /// Returns whether the feed allows the shard to park.
    pub(in crate::shard) fn may_park(&mut self) -> bool {
        // Closing a client after the turn's publication may have served other clients.
        if self.partition.journal_mut().has_ready() {
            self.publish_feed();
        }
        let journal = self.partition.journal_mut();
        let (may, merged) = self.replication.feed.park(self.env.me, journal);
        self.after_merge(merged);
        if !may {
            self.replication.is_behind = true;
        }
        may
    }

    /// Reports that the stream has grown: refreshes the facts and wakes the shards with readers.
    pub(in crate::shard) fn after_merge(&mut self, merged: Merged) {
        self.replication.is_behind = merged.is_behind;
        if !merged.has_grown {
            return;
        }
        self.refresh_facts();
        self.nudge_readers();
    }

    /// Has the shards with readers look at the stream. This shard calls it whenever it has merged,
    /// because a shard that finds another merging leaves its units to that one.
    pub(super) fn nudge_readers(&mut self) {
        self.replication.feed.disk().wake();
        for shard in self.replication.feed.listeners() {
            if shard != self.env.me {
                self.port.nudge(shard);
            }
        }
    }

    /// Publishes the offset from which on this shard needs the stream.
    pub(super) fn note_needs(&mut self) {
        let links = self.replication.links.iter().filter_map(|&conn| {
            let connection = self.connections.get(conn)?;
            // A link that waits for a snapshot needs what its barrier needs.
            connection.link.as_ref()?.held_offset()
        });
        // WAIT needs the offset of its mark and no bytes. A cut without a mark needs neither.
        let all = self.barriers.under_way.values();
        let is_marked = self.has_marked_file();
        let reading = || {
            all.clone().filter(|it| match it.goal {
                Goal::Acks => false,
                Goal::Cut => is_marked,
                _ => true,
            })
        };
        let barriers = reading().map(|it| it.offset.unwrap_or(it.need));
        let has_any = !self.replication.links.is_empty() || reading().next().is_some();
        let need = links.chain(barriers).min();
        let end = self.replication.feed.end_offset();
        self.replication.feed.set_need(self.env.me, has_any.then(|| need.unwrap_or(end)));
    }

    /// Updates the facts that INFO shows, and trims the backlog to what is needed.
    pub(in crate::shard) fn refresh_facts(&mut self) {
        if !self.replication.feed.is_on() {
            return;
        }
        // Without replicas the stream is only for the append-only file.
        let has_backlog = self.env.process.replication().backlog.is_some();
        let keep_bytes = if has_backlog { self.env.config.repl_backlog_size } else { 0 };
        let min_need = self.replication.feed.min_need();
        let (backlog, merged) = self.replication.feed.with_stream(|stream| {
            stream.trim(keep_bytes, min_need);
            let backlog = stream.backlog();
            let first_byte = backlog.first_offset() + 1;
            BacklogFacts { first_byte, len: backlog.len(), memory_bytes: backlog.len() }
        });
        self.replication.is_behind |= merged.is_behind || merged.has_grown;
        if merged.has_grown {
            self.nudge_readers();
        }
        let mut facts = self.env.process.replication();
        facts.offset = self.replication.feed.end_offset();
        facts.stream_bytes = backlog.memory_bytes;
        if facts.backlog.is_some() {
            facts.backlog = Some(backlog);
        }
    }

    /// Turns the feed off, because no shard records commands any more. Does nothing if a reader has
    /// attached since there were `readers` in total, because its snapshot starts the records again.
    pub(super) fn end_feed(&mut self, readers: u64) {
        self.note_needs();
        if self.replication.feed.end_unread(readers) {
            self.env.process.replication().stream_bytes = 0;
            let text = "Replication backlog freed: no replica for repl-backlog-ttl.";
            self.env.process.log.notice(text);
        }
    }

    /// Begins to turn off a feed that had no readers for `repl-backlog-ttl`.
    pub(super) fn end_idle_feed(&mut self) {
        let (now_ms, ttl_ms) =
            (self.env.now.monotonic_ms(), self.env.config.repl_backlog_ttl.saturating_mul(1_000));
        if !self.replication.feed.is_on() || ttl_ms == 0 || self.replication.feed.has_readers() {
            self.replication.read_ms = now_ms;
        } else if now_ms - self.replication.read_ms > ttl_ms && !self.env.process.is_loading() {
            self.replication.read_ms = now_ms;
            let mut facts = self.env.process.replication();
            // A replica that resumes is a reader before it releases these facts.
            if self.replication.feed.has_readers() {
                return;
            }
            // From here on no replica can resume.
            facts.backlog = None;
            let readers = self.replication.feed.readers();
            drop(facts);
            self.post_barrier(Goal::FeedOff { readers });
        }
    }
}
