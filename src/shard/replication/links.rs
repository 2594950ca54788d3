//! Replicas: their links, the barriers for snapshots and WAIT, and the periodic work for replicas.
//!
//! ```text
//!   SYNC, PSYNC --the backlog has it------------------------------------> link streams
//!        |
//!        '--> FeedOn to all --> Cut to all, one unit --> a file --read by a thread per replica--.
//!                                   '--> mark --merged--> offset       link sends, then streams
//!   WAIT -------------------> Mark to all, one unit --merged--> offset --> GETACK --> acks, time
//! ```
//! The snapshot is a file without a name (`file_cut.rs`), so it takes little memory however slow a
//! replica is. The process writes one file at a time: another shard's replicas wait.

use super::OVER_LIMIT;
use crate::exec::Facts;
use crate::exec::{BacklogFacts, SyncFrom};
use crate::io::ConnId;
use crate::replica::{Link, Now as LinkNow, Resumption, replica_name, resumption};
use crate::resp::{Error, Reply};
use crate::shard::limits::LINK_BYTES_MAX;
use crate::shard::state::Shard;
use std::sync::Arc;

impl Shard {
    pub(super) fn link_now(&self) -> LinkNow {
        LinkNow { monotonic_ms: self.env.now.monotonic_ms(), unix_ms: self.env.now.unix_ms() }
    }

    /// Makes the connection a replica.
    pub(in crate::shard) fn attach_replica(&mut self, conn: ConnId, from: SyncFrom) {
        let now = self.link_now();
        self.refresh_facts();
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let protocol = connection.session.protocol;
        if !connection.outbox.is_empty() {
            let error = Error::other("ERR SYNC and PSYNC are invalid with pending output");
            return Reply::new(&mut connection.outbox.output, protocol).error(&error);
        }
        let session = &mut connection.session;
        session.replica.is_attached = true;
        session.replica.is_old = from.psync.is_none();
        let name = replica_name(session);
        let mut facts = self.env.process.replication();
        let wanted = from.psync.as_ref();
        let verdict = wanted.map(|(id, byte)| resumption(&facts, id, *byte, &name));
        if let Some(Resumption::From(offset)) = verdict {
            facts.syncs_partial += 1;
            connection.link =
                Some(Box::new(Link::resume(&connection.session, &facts.replid, offset, now)));
            let line = connection.link.as_ref().expect("just made").line(&connection.session);
            facts.put(line);
            // While the facts are locked, so that the feed is not turned off meanwhile.
            self.replication.feed.begin_reading(self.env.me, offset);
            drop(facts);
            let what = "Partial resynchronization request accepted from replica";
            self.env.process.log.notice(&format!("{what} {name} at offset {offset}."));
            self.replication.links.push(conn);
            self.note_needs();
            return self.pump(conn);
        }
        if facts.backlog.is_none() {
            // The feed was never read, or was turned off since: it begins a new history.
            let replid = (0..5).map(|_| format!("{:08x}", self.rng.below(1 << 32))).collect();
            facts.renew(replid);
            let first_byte = self.replication.feed.end_offset() + 1;
            facts.backlog = Some(BacklogFacts { first_byte, len: 0, memory_bytes: 0 });
        }
        facts.syncs_full += 1;
        facts.syncs_partial_refused += u64::from(matches!(verdict, Some(Resumption::Refused(_))));
        let link = Link::new(&connection.session, now);
        facts.put(link.line(&connection.session));
        connection.link = Some(Box::new(link));
        let feed = &self.replication.feed;
        feed.begin_reading(self.env.me, feed.end_offset());
        drop(facts);
        if let Some(Resumption::Refused(why)) = verdict {
            self.env.process.log.notice(&why);
        }
        self.env.process.log.notice(&format!("Replica {name} asks for synchronization"));
        self.replication.links.push(conn);
        self.take_snapshot();
    }

    /// Serves marks, WAIT, and the links if the stream has grown. Runs once per turn.
    pub(in crate::shard) fn serve_links(&mut self) {
        // Also marks of a feed that has ended since.
        if self.has_marks() {
            self.take_marks();
        }
        self.release_durable();
        if !self.replication.files.is_empty() {
            self.advance_files();
        }
        self.check_acks();
        self.check_load();
        self.feed_links();
        if self.has_new_stream() {
            self.replication.stream_seen = self.replication.feed.end_offset();
            for at in (0..self.replication.links.len()).rev() {
                if let Some(&conn) = self.replication.links.get(at) {
                    self.pump(conn);
                }
            }
        }
    }

    /// Returns whether the stream has grown since the links were last served. If another shard
    /// extended the stream, it rings afterwards.
    pub(in crate::shard) fn has_new_stream(&self) -> bool {
        !self.replication.links.is_empty()
            && self.replication.feed.end_offset() != self.replication.stream_seen
    }

    /// Returns whether a mark was reached that may be one of this shard's barriers. The shard may
    /// have merged it itself when it was about to park.
    pub(in crate::shard) fn has_marks(&self) -> bool {
        !self.barriers.is_empty() && self.replication.feed.has_marks()
    }

    /// Gives a replica what there is for it, as far as its output has room.
    pub(in crate::shard) fn pump(&mut self, conn: ConnId) {
        let now = self.link_now();
        let feed = Arc::clone(&self.replication.feed);
        let (mut is_behind, mut has_grown) = (false, false);
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(link) = &mut connection.link else { return };
        let before = link.line(&connection.session).state;
        loop {
            let room = LINK_BYTES_MAX.saturating_sub(connection.outbox.pending_bytes());
            let piece = link.next(room, now, &mut |offset, bytes_max| {
                let read =
                    |stream: &mut crate::feed::Stream| stream.backlog().read(offset, bytes_max);
                let (piece, merged) = feed.with_stream(read);
                is_behind |= merged.is_behind || merged.has_grown;
                has_grown |= merged.has_grown;
                piece
            });
            let Some(piece) = piece else { break };
            connection.outbox.output.append_raw(&piece);
        }
        let limit = self.env.config.client_output_buffer_limit.replica;
        let (end, keep_bytes) = (feed.end_offset(), self.env.config.repl_backlog_size);
        let is_over = link.is_over(end, limit, keep_bytes, now);
        let (is_lost, is_done) = (link.is_lost(), link.is_done());
        let line = link.line(&connection.session);
        if line.state != before {
            self.env.process.replication().put(line);
        }
        connection.session.close_after_reply |= is_done;
        self.replication.is_behind |= is_behind;
        self.note_needs();
        if has_grown {
            self.nudge_readers();
        }
        if is_lost {
            return self.close_for(conn, "the backlog no longer holds its offset");
        }
        if is_over {
            self.env.board.counters.output_limit_disconnections.add(1);
            return self.close_for(conn, OVER_LIMIT);
        }
        self.make_dirty(conn);
    }

    /// Records an acknowledgement of a replica.
    pub(in crate::shard) fn note_ack(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        if let Some(link) = &connection.link {
            let line = link.line(&connection.session);
            self.env.process.replication().put(line);
            // A WAIT on any shard may need it. A shard that misses the bell checks at its next
            // tick.
            self.replication.feed.listeners().for_each(|shard| self.port.nudge(shard));
        }
    }

    /// Runs the periodic work for replicas.
    pub(in crate::shard) fn tick_links(&mut self) {
        if self.env.me == 0 {
            self.ping_replicas();
            self.end_idle_feed();
            self.settle_ending();
        }
        let (now, timeout_s) = (self.link_now(), self.env.config.repl_timeout);
        for conn in self.replication.links.clone() {
            let Some(connection) = self.connections.get_mut(conn) else { continue };
            let Some(link) = &mut connection.link else { continue };
            link.tick(now);
            if let Some(what) = link.timed_out(&connection.session, now, timeout_s) {
                let why = format!("Disconnecting timedout replica ({what})");
                self.close_for(conn, &why);
            } else {
                self.pump(conn);
            }
        }
    }

    fn ping_replicas(&mut self) {
        let period_ms = u64::from(self.env.config.repl_ping_replica_period) * 1_000;
        let now_ms = self.env.now.monotonic_ms();
        let is_paused = self.env.facts.has(Facts::PAUSED_WRITES);
        if !self.replication.feed.is_on()
            || is_paused
            || now_ms < self.replication.pinged_ms + period_ms
        {
            return;
        }
        self.replication.pinged_ms = now_ms;
        if !self.env.process.replication().replicas.is_empty() {
            let ((), merged) =
                self.replication.feed.with_stream(|stream| stream.inject(&[b"ping"]));
            self.after_merge(merged);
        }
    }

    /// Removes the link of a connection that closes, if it is a replica.
    pub(in crate::shard) fn detach_replica(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.link.take().is_none() {
            return;
        }
        let name = replica_name(&connection.session);
        let client = connection.session.id;
        self.replication.links.retain(|link| *link != conn);
        self.env.process.replication().remove(client);
        self.env.process.log.notice(&format!("Connection with replica {name} lost."));
        self.drop_unwanted_file();
        self.note_needs();
    }
}
