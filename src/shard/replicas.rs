//! Replicas: their links, the barriers over all shards that a snapshot or WAIT needs, and what is
//! done for them by the clock.
//!
//! ```text
//!   SYNC, PSYNC --the backlog has it------------------------------------> link streams
//!        |
//!        '--> FeedOn to all --> Snapshot to all, one unit --> bodies
//!                                    |                           '--> link sends, then streams
//!                                    '--> mark --merged--> offset --'
//!   WAIT -------------------> Mark to all, one unit --merged--> offset --> GETACK --> acks or time
//! ```
//! A snapshot is a copy of each shard's slice, made where its part comes in the shard's order: the
//! shard does nothing else meanwhile.

use super::Shard;
use super::limits::LINK_BYTES_MAX;
use super::post::Awaited;
use super::save::Saving;
use crate::exec::{BacklogFacts, Request, SyncFrom};
use crate::gate::Facts;
use crate::io::ConnId;
use crate::mesh::{Envelope, Work};
use crate::rdb::{Kept, Origin, Preamble};
use crate::replica::{Link, Now as LinkNow, Resumption, replica_name, resumption};
use crate::resp::{Error, Reply};
use crate::snapshot::{Share, Snapshot};
use bytes::Bytes;
use std::sync::Arc;

/// A connection number that no connection has: answers to it belong to a barrier, or to nobody.
pub(super) const NO_CONNECTION: ConnId = ConnId::MAX;

/// Why a connection with too much output ends, for the log.
pub(super) const OVER_LIMIT: &str = "its output buffer passed client-output-buffer-limit";

/// The version of Valkey that this server behaves as.
pub(super) const VALKEY_VERSION: &str = "9.1.0";

/// What is done when all shards have answered and the mark is in the stream.
#[derive(Debug)]
pub(super) struct Barrier {
    goal: Goal,
    /// Answers that are due.
    waiting: usize,
    bodies: Vec<Bytes>,
    /// The mark's place in the stream.
    offset: Option<u64>,
    /// The stream is kept from here on.
    need: u64,
}

#[derive(Debug)]
pub(super) enum Goal {
    /// All shards heed the clock; then the snapshot.
    FeedOn,
    /// The snapshot.
    Snapshot,
    /// Nobody has read the feed for long: it ends.
    FeedOff,
    /// The file, by this request.
    Save(Saving, Request),
    /// CLIENT PAUSE: all shards take note, then what was under way is over.
    Pause { waiter: Awaited, is_settled: bool },
    /// WAIT, and how many replicas it is for, until when (monotonic milliseconds; none: for ever).
    Acks { waiter: Awaited, replicas: usize, until_ms: Option<u64> },
}

impl Shard {
    fn link_now(&self) -> LinkNow {
        LinkNow { monotonic_ms: self.now.monotonic_ms(), unix_ms: self.now.unix_ms() }
    }

    /// The connection becomes a replica.
    pub(super) fn attach_replica(&mut self, conn: ConnId, from: SyncFrom) {
        let now = self.link_now();
        self.refresh_facts();
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let protocol = connection.session.protocol;
        if !connection.outbox.is_empty() {
            let error = Error::other("ERR SYNC and PSYNC are invalid with pending output");
            return Reply::new(&mut connection.outbox.output, protocol).error(&error);
        }
        let session = &mut connection.session;
        session.replica.is_attached = true;
        session.replica.is_old = from.psync.is_none();
        let name = replica_name(session);
        let mut facts = self.process.replication();
        let wanted = from.psync.as_ref();
        let verdict = wanted.map(|(id, byte)| resumption(&facts, id, *byte, &name));
        if let Some(Resumption::From(offset)) = verdict {
            facts.syncs_partial += 1;
            connection.link =
                Some(Box::new(Link::resume(&connection.session, &facts.replid, offset, now)));
            let line = connection.link.as_ref().expect("just made").line(&connection.session);
            facts.put(line);
            drop(facts);
            let what = "Partial resynchronization request accepted from replica";
            self.process.log.notice(&format!("{what} {name} at offset {offset}."));
            self.links.push(conn);
            self.note_needs();
            return self.pump(conn);
        }
        if facts.backlog.is_none() {
            // Nobody has read this feed, or it was let go of: it has a history of its own.
            let replid = (0..5).map(|_| format!("{:08x}", self.rng.below(1 << 32))).collect();
            facts.renew(replid);
            let first_byte = self.feed.end_offset() + 1;
            facts.backlog = Some(BacklogFacts { first_byte, len: 0, memory_bytes: 0 });
        }
        facts.syncs_full += 1;
        facts.syncs_partial_refused += u64::from(matches!(verdict, Some(Resumption::Refused(_))));
        let link = Link::new(&connection.session, now);
        facts.put(link.line(&connection.session));
        connection.link = Some(Box::new(link));
        drop(facts);
        if let Some(Resumption::Refused(why)) = verdict {
            self.process.log.notice(&why);
        }
        self.process.log.notice(&format!("Replica {name} asks for synchronization"));
        self.links.push(conn);
        self.take_snapshot();
    }

    /// Asks all shards for their share of a goal.
    pub(super) fn post_barrier(&mut self, goal: Goal) {
        // 0 is the flight of what is sent for nobody.
        self.next_barrier = self.next_barrier.checked_add(1).unwrap_or(1);
        let number = self.next_barrier;
        let id = ((self.me as u64) << 32) | u64::from(number);
        let request = match &goal {
            Goal::FeedOn => Request::FeedOn,
            Goal::Snapshot => Request::Snapshot(id),
            Goal::FeedOff => Request::FeedOff,
            Goal::Pause { is_settled: false, .. } => Request::Pause,
            Goal::Pause { is_settled: true, .. } => Request::Passed,
            Goal::Acks { .. } => Request::Mark(id),
            Goal::Save(_, request) => request.clone(),
        };
        let shards = self.router.shards();
        let need = self.feed.end_offset();
        let bodies = vec![Bytes::new(); shards];
        let barrier = Barrier { goal, waiting: shards, bodies, offset: None, need };
        self.barriers.insert(number, barrier);
        self.note_needs();
        if !self.port.has_all_credits() {
            return self.barriers_due.push((number, request));
        }
        self.send_barrier(number, &request);
    }

    fn send_barrier(&mut self, number: u32, request: &Request) {
        let mut envelopes = Vec::new();
        for shard in 0..self.router.shards() {
            let mut envelope = self.port.envelope(shard);
            envelope.part = shard as u16;
            envelope.connection = NO_CONNECTION;
            envelope.flight = number;
            envelope.work = Work::Ask(request.clone());
            envelopes.push(envelope);
        }
        self.post_unit(envelopes);
    }

    /// An answer to a barrier, or one that nobody waits for.
    pub(super) fn land_barrier(&mut self, mut envelope: Box<Envelope>) {
        let number = envelope.flight;
        if let Some(barrier) = self.barriers.get_mut(&number) {
            barrier.waiting -= 1;
            barrier.bodies[usize::from(envelope.owner)] = envelope.body.take().unwrap_or_default();
        }
        self.port.recycle(envelope);
        self.settle_barrier(number);
    }

    /// Marks of this shard's barriers may have been reached.
    fn take_marks(&mut self) {
        let me = self.me as u64;
        let (marks, merged) =
            self.feed.with_stream(|stream| stream.take_marks(|id| id >> 32 == me));
        self.is_feed_behind |= merged.is_behind;
        for mark in marks {
            let number = mark.id as u32;
            if let Some(barrier) = self.barriers.get_mut(&number) {
                barrier.offset = Some(mark.offset);
            }
            self.settle_barrier(number);
        }
    }

    /// Does what a barrier is for, once all that it needs is there.
    fn settle_barrier(&mut self, number: u32) {
        let Some(barrier) = self.barriers.get(&number) else { return };
        let has_mark = matches!(barrier.goal, Goal::Snapshot | Goal::Acks { .. });
        if barrier.waiting > 0 || (barrier.offset.is_none() && has_mark) {
            return;
        }
        match barrier.goal {
            Goal::FeedOn => {
                self.barriers.remove(&number);
                self.post_barrier(Goal::Snapshot);
            }
            Goal::FeedOff => {
                let barrier = self.barriers.remove(&number).expect("looked at above");
                let is_over = barrier.bodies.iter().all(Bytes::is_empty);
                self.end_feed(is_over);
            }
            Goal::Snapshot => {
                let barrier = self.barriers.remove(&number).expect("looked at above");
                self.begin_links(barrier);
            }
            Goal::Pause { waiter, is_settled } => {
                self.barriers.remove(&number);
                self.note_needs();
                self.go_on_pausing(waiter, is_settled);
            }
            Goal::Save(saving, _) => {
                let barrier = self.barriers.remove(&number).expect("looked at above");
                self.note_needs();
                self.finish_save(saving, barrier.bodies);
            }
            Goal::Acks { .. } => {
                // Whoever has it all says so at once, and not in its own time.
                let ask: [&[u8]; 3] = [b"REPLCONF", b"GETACK", b"*"];
                let ((), merged) = self.feed.with_stream(|stream| stream.inject(&ask));
                self.after_merge(merged);
                self.check_acks(number);
            }
        }
    }

    /// No shard writes anything down any more: the stream is let go of, unless somebody has begun
    /// to read it meanwhile, who takes a snapshot.
    fn end_feed(&mut self, is_over: bool) {
        self.note_needs();
        if self.feed.readers().next().is_some() {
            return;
        }
        if !is_over {
            return self.post_barrier(Goal::FeedOff);
        }
        self.feed.set_on(false);
        let end = self.feed.end_offset();
        self.feed.with_stream(|stream| stream.restart(end));
        self.process.log.notice("Replication backlog freed: no replica for repl-backlog-ttl.");
    }

    /// Ends a feed that nobody has read for `repl-backlog-ttl`.
    fn end_idle_feed(&mut self) {
        let (now_ms, ttl_ms) = (self.now.monotonic_ms(), self.config.repl_backlog_ttl * 1_000);
        if !self.feed.is_on() || ttl_ms == 0 || self.feed.readers().next().is_some() {
            self.read_ms = now_ms;
        } else if now_ms - self.read_ms > ttl_ms {
            self.read_ms = now_ms;
            let mut facts = self.process.replication();
            // From here on nobody can go on where it was.
            facts.backlog = None;
            drop(facts);
            self.post_barrier(Goal::FeedOff);
        }
    }

    /// A snapshot is there: all replicas that wait get it, whenever they came.
    fn begin_links(&mut self, barrier: Barrier) {
        let offset = barrier.offset.expect("the mark has been reached");
        let replid = self.process.replication().replid.clone();
        let kept = self.process.persistence().kept.clone();
        let kept = [kept, Kept::default()];
        let preamble = |leaves_out_functions: bool| Preamble {
            valkey_version: VALKEY_VERSION,
            written_s: self.now.unix_ms() / 1_000,
            used_memory_bytes: crate::base::alloc::used_bytes(),
            origin: Some(Origin { replid: &replid, offset, db: 0 }),
            kept: &kept[usize::from(leaves_out_functions)],
        };
        let has_checksum = self.config.rdbchecksum;
        let shares: Vec<Share> = barrier.bodies.into_iter().map(Share::read).collect();
        let made = [(false, false), (false, true), (true, false), (true, true)].map(
            |(leaves_out_keys, leaves_out_functions)| {
                let shares = if leaves_out_keys { &[] } else { &shares[..] };
                let preamble = preamble(leaves_out_functions);
                Arc::new(Snapshot::new(&preamble, shares, has_checksum))
            },
        );
        let now = self.link_now();
        for conn in self.links.clone() {
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
    }

    /// Has a snapshot taken if a replica waits for one. One at a time: it is in memory until the
    /// last of those that it was taken for has got it.
    fn take_snapshot(&mut self) {
        let is_for_links =
            |barrier: &Barrier| matches!(barrier.goal, Goal::FeedOn | Goal::Snapshot);
        let links =
            || self.links.iter().filter_map(|conn| self.connections.get(*conn)?.link.as_ref());
        let is_due =
            links().any(|link| link.is_waiting()) && !links().any(|link| link.is_sending());
        if is_due && !self.barriers.values().any(is_for_links) {
            self.feed.set_on(true);
            self.post_barrier(Goal::FeedOn);
        }
    }

    /// WAIT: how many replicas have what was written before, once they are enough.
    pub(super) fn wait_for_acks(&mut self, conn: ConnId, replicas: i64, timeout_ms: u64) {
        let offset = self.feed.end_offset();
        let acked = self.process.replication().acked(offset);
        let is_enough = usize::try_from(replicas).map_or(true, |wanted| wanted == 0);
        let connection = self.connections.get_mut(conn).expect("it is being served");
        if is_enough {
            let protocol = connection.session.protocol;
            let mut reply = Reply::new(&mut connection.outbox.output, protocol);
            return reply.integer(acked as i64);
        }
        let waiter = self.defer(conn);
        let until_ms = (timeout_ms > 0).then(|| self.now.monotonic_ms() + timeout_ms);
        let goal = Goal::Acks { waiter, replicas: replicas as usize, until_ms };
        self.post_barrier(goal);
    }

    /// Answers a WAIT whose replicas are enough, or whose time is over.
    fn check_acks(&mut self, number: u32) {
        let Some(barrier) = self.barriers.get(&number) else { return };
        let Goal::Acks { waiter, replicas, until_ms } = barrier.goal else { return };
        let acked = barrier.offset.map_or(0, |offset| self.process.replication().acked(offset));
        let is_over = until_ms.is_some_and(|until| self.now.monotonic_ms() >= until);
        let is_gone = self.connections.get_same(waiter.conn, waiter.generation).is_none();
        if acked < replicas && !is_over && !is_gone {
            return;
        }
        self.barriers.remove(&number);
        self.note_needs();
        let mut answer = self.answer_to(waiter);
        Reply::new(&mut answer.output, Default::default()).integer(acked as i64);
        self.land_answer(answer);
    }

    fn check_waits(&mut self) {
        let waits: Vec<u32> = self.barriers.keys().copied().collect();
        waits.into_iter().for_each(|number| self.check_acks(number));
    }

    /// Once per turn: marks, who waits for replicas, and the links if the stream has grown.
    pub(super) fn serve_links(&mut self) {
        // A barrier may be gone before its mark is reached: a WAIT whose time was over.
        if self.feed.is_on() && self.feed.has_marks() {
            self.take_marks();
        }
        if !self.barriers.is_empty() {
            self.check_waits();
        }
        if self.has_new_stream() {
            self.stream_seen = self.feed.end_offset();
            for at in (0..self.links.len()).rev() {
                if let Some(&conn) = self.links.get(at) {
                    self.pump(conn);
                }
            }
        }
    }

    /// Whether the stream has grown since the links were looked at: by this shard, or by another,
    /// which rings after that.
    pub(super) fn has_new_stream(&self) -> bool {
        !self.links.is_empty() && self.feed.end_offset() != self.stream_seen
    }

    /// Gives a replica what there is for it, as far as its output has room.
    pub(super) fn pump(&mut self, conn: ConnId) {
        let now = self.link_now();
        let feed = Arc::clone(&self.feed);
        let mut is_behind = false;
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
                piece
            });
            let Some(piece) = piece else { break };
            connection.outbox.output.append_raw(&piece);
        }
        let limit = self.config.client_output_buffer_limit.replica;
        let (end, keep_bytes) = (feed.end_offset(), self.config.repl_backlog_size);
        let is_over = link.is_over(end, limit, keep_bytes, now);
        let (is_lost, is_done) = (link.is_lost(), link.is_done());
        let line = link.line(&connection.session);
        if line.state != before {
            self.process.replication().put(line);
        }
        connection.session.close_after_reply |= is_done;
        self.is_feed_behind |= is_behind;
        self.note_needs();
        if is_lost {
            return self.close_for(conn, "its place in the feed is no longer kept");
        }
        if is_over {
            self.board.counters.output_limit_disconnections.add(1);
            return self.close_for(conn, OVER_LIMIT);
        }
        self.make_dirty(conn);
    }

    /// A replica has said how far it is.
    pub(super) fn note_ack(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(conn).expect("it is being served");
        if let Some(link) = &connection.link {
            let line = link.line(&connection.session);
            self.process.replication().put(line);
            // Somebody may wait for it; one who misses the bell looks at the next tick.
            self.feed.readers().for_each(|shard| self.port.nudge(shard));
        }
    }

    /// Says from where on this shard needs the stream.
    fn note_needs(&mut self) {
        let links = self.links.iter().filter_map(|&conn| {
            let connection = self.connections.get(conn)?;
            // One that waits needs what its barrier needs.
            connection.link.as_ref()?.held_offset()
        });
        let barriers = self.barriers.values().map(|it| it.offset.unwrap_or(it.need));
        let has_any = !self.links.is_empty() || !self.barriers.is_empty();
        let need = links.chain(barriers).min();
        let end = self.feed.end_offset();
        self.feed.set_need(self.me, has_any.then(|| need.unwrap_or(end)));
    }

    /// Brings the facts that INFO shows up to date, and lets go of what nobody needs.
    pub(super) fn refresh_facts(&mut self) {
        if !self.feed.is_on() {
            return;
        }
        let keep_bytes = self.config.repl_backlog_size;
        let min_need = self.feed.min_need();
        let (backlog, merged) = self.feed.with_stream(|stream| {
            stream.trim(keep_bytes, min_need);
            let backlog = stream.backlog();
            let first_byte = backlog.first_offset() + 1;
            BacklogFacts { first_byte, len: backlog.len(), memory_bytes: backlog.len() }
        });
        self.is_feed_behind |= merged.is_behind || merged.has_grown;
        let mut facts = self.process.replication();
        facts.offset = self.feed.end_offset();
        if facts.backlog.is_some() {
            facts.backlog = Some(backlog);
        }
    }

    /// What is due for replicas by the clock.
    pub(super) fn tick_links(&mut self) {
        if !self.port.has_all_credits() {
            return;
        }
        if let Some((number, request)) = self.barriers_due.pop() {
            self.send_barrier(number, &request);
        }
        self.check_waits();
        if self.me == 0 {
            self.ping_replicas();
            self.end_idle_feed();
        }
        self.take_snapshot();
        let (now, timeout_s) = (self.link_now(), self.config.repl_timeout);
        for conn in self.links.clone() {
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
        let period_ms = u64::from(self.config.repl_ping_replica_period) * 1_000;
        let now_ms = self.now.monotonic_ms();
        let is_paused = self.facts.has(Facts::PAUSED_WRITES);
        if !self.feed.is_on() || is_paused || now_ms < self.pinged_ms + period_ms {
            return;
        }
        self.pinged_ms = now_ms;
        if !self.process.replication().replicas.is_empty() {
            let ((), merged) = self.feed.with_stream(|stream| stream.inject(&[b"ping"]));
            self.after_merge(merged);
        }
    }

    /// Whether something waits that the clock has to look at often.
    pub(super) fn has_waits(&self) -> bool {
        !self.barriers.is_empty()
    }

    /// A connection ends that may have been a replica.
    pub(super) fn detach_replica(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.link.take().is_none() {
            return;
        }
        let name = replica_name(&connection.session);
        let client = connection.session.id;
        self.links.retain(|link| *link != conn);
        self.process.replication().remove(client);
        self.process.log.notice(&format!("Connection with replica {name} lost."));
        self.note_needs();
    }
}
