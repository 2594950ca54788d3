//! WAIT, WAITAOF: a client waits until replicas, or the append-only file, have its writes. It is a
//! blocked client without keys.
//!
//! ```text
//!   WAIT --> New --one barrier for all of a turn--> Marking --its mark is in the stream--> At
//!     the client's reply: the offset is acknowledged, or the client gives up
//! ```
//! At most one entry per connection. An entry ends with the blocked state of its client.

use super::{AckPoint, AckWait, Goal};
use crate::client::{GivingUp, TimeoutReply, Waiting};
use crate::exec::{AckCount, AckWish, Acks};
use crate::io::ConnId;
use crate::mesh::BarrierId;
use crate::resp::Reply;
use crate::shard::state::Shard;

impl Shard {
    /// WAIT, WAITAOF: replies with who has acknowledged all earlier writes, once they are enough.
    pub(in crate::shard) fn wait_for_acks(&mut self, conn: ConnId, wish: AckWish, timeout_ms: u64) {
        if wish.is_empty() {
            let acked = self.acked_so_far(wish);
            let connection = self.connections.get_mut(conn).expect("connection is open");
            let protocol = connection.session.protocol;
            return acked.reply(&mut Reply::new(&mut connection.outbox.output, protocol));
        }
        let to = self.defer(conn);
        let ticket = self.begin_attempt(conn, to.flight);
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let last = connection.session.last_command.and_then(|at| self.env.process.commands.at(at));
        let entry = last.expect("WAIT is the connection's last command");
        self.replication.acks.waits.insert(conn, AckWait { wish, point: AckPoint::New });
        self.replication.acks.is_stale = true;
        self.replication.feed.set_awaited(self.env.me, true);
        let deadline_ms = (timeout_ms > 0).then(|| self.env.now.unix_ms() + timeout_ms);
        let (on_timeout, shards) = (TimeoutReply::Acks, Vec::new());
        self.begin_waiting(
            to,
            &ticket,
            Waiting { entry, args: None, deadline_ms, on_timeout, shards },
        );
    }

    fn acks_now(&self) -> Acks {
        let process = &self.env.process;
        process.replication().acks(process.aof.synced())
    }

    /// Counts who has acknowledged all that is in the stream.
    pub(in crate::shard) fn acked_so_far(&self, wish: AckWish) -> AckCount {
        self.acks_now().count(wish, self.replication.feed.end_offset())
    }

    /// Counts who has acknowledged the writes before the WAIT of a client, if it waits.
    pub(in crate::shard) fn acks_of(&self, conn: ConnId) -> Option<AckCount> {
        let wait = self.replication.acks.waits.get(&conn)?;
        Some(match wait.point {
            AckPoint::At(offset) => self.acks_now().count(wait.wish, offset),
            _ => self.acked_so_far(wait.wish),
        })
    }

    /// Removes the entry of a WAIT that has ended.
    pub(in crate::shard) fn forget_acks(&mut self, conn: ConnId) {
        self.replication.acks.waits.remove(&conn);
        if self.replication.acks.is_empty() {
            self.replication.feed.set_awaited(self.env.me, false);
        }
    }

    /// Posts one barrier for all new entries, and replies to clients for which enough replicas have
    /// acknowledged. Called once per turn.
    pub(super) fn check_acks(&mut self) {
        if self.replication.acks.is_empty() {
            return;
        }
        let (acked, has_file) = (self.acks_now(), self.env.config.appendonly);
        let acks = &mut self.replication.acks;
        if !acks.is_stale && acked == acks.seen && has_file == acks.had_file {
            return;
        }
        acks.is_stale = false;
        let is_over = |wait: &AckWait| match wait.point {
            _ if wait.wish.needs_local() && !has_file => Some(GivingUp::NoFile),
            AckPoint::At(offset) => {
                acked.count(wait.wish, offset).meets(wait.wish).then_some(GivingUp::Timeout)
            }
            _ => None,
        };
        let over = acks.waits.iter().filter_map(|(conn, wait)| Some((*conn, is_over(wait)?)));
        let over: Vec<(ConnId, GivingUp)> = over.collect();
        let has_new = acks.waits.values().any(|wait| wait.point == AckPoint::New);
        (acks.seen, acks.had_file) = (acked, has_file);
        for (conn, why) in over {
            self.give_up(conn, why);
        }
        if has_new {
            let number = self.post_barrier(Goal::Acks);
            self.move_acks(AckPoint::New, AckPoint::Marking(number));
        }
    }

    /// Asks replicas for acknowledgements, because the mark of some WAITs is in the stream, at this
    /// offset. Replicas then acknowledge at once and not at their own pace.
    pub(super) fn ask_for_acks(&mut self, number: BarrierId, offset: u64) {
        if !self.move_acks(AckPoint::Marking(number), AckPoint::At(offset)) {
            return;
        }
        let mut waits = self.replication.acks.waits.values();
        if waits.any(|wait| wait.wish.replicas() > 0) && self.replication.feed.is_on() {
            let ask: [&[u8]; 3] = [b"REPLCONF", b"GETACK", b"*"];
            let ((), merged) = self.replication.feed.with_stream(|stream| stream.inject(&ask));
            self.after_merge(merged);
        }
        self.check_acks();
    }

    /// Moves all entries at a point to another. Returns whether there was any.
    fn move_acks(&mut self, from: AckPoint, to: AckPoint) -> bool {
        let acks = &mut self.replication.acks;
        let mut found = false;
        for wait in acks.waits.values_mut().filter(|wait| wait.point == from) {
            wait.point = to;
            found = true;
        }
        acks.is_stale |= found;
        found
    }
}
