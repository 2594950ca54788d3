//! WAIT: a client waits until replicas have acknowledged its writes. It is a blocked client without
//! keys.
//!
//! ```text
//!   WAIT --> New --one barrier for all of a turn--> Marking --its mark is in the stream--> At
//!     the client's reply: enough replicas have acknowledged the offset, or the client gives up
//! ```
//! At most one entry per connection. An entry ends with the blocked state of its client.

use super::{AckPoint, AckWait, Goal};
use crate::client::{GivingUp, TimeoutReply, Waiting};
use crate::io::ConnId;
use crate::mesh::BarrierId;
use crate::resp::Reply;
use crate::shard::state::Shard;

/// Returns the number of replicas that have acknowledged `offset`. `acked` is in descending order.
fn count_acks(acked: &[u64], offset: u64) -> usize {
    acked.partition_point(|acked| *acked >= offset)
}

impl Shard {
    /// WAIT: replies with the number of replicas that have acknowledged all earlier writes, once
    /// they are enough.
    pub(in crate::shard) fn wait_for_acks(&mut self, conn: ConnId, replicas: i64, timeout_ms: u64) {
        let is_enough = usize::try_from(replicas).map_or(true, |wanted| wanted == 0);
        if is_enough {
            let acked = self.acked_so_far();
            let connection = self.connections.get_mut(conn).expect("connection is open");
            let protocol = connection.session.protocol;
            let mut reply = Reply::new(&mut connection.outbox.output, protocol);
            return reply.integer(acked as i64);
        }
        let to = self.defer(conn);
        let ticket = self.begin_attempt(conn, to.flight);
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let last = connection.session.last_command.and_then(|at| self.env.process.commands.at(at));
        let entry = last.expect("WAIT is the connection's last command");
        let wait = AckWait { replicas: replicas as usize, point: AckPoint::New };
        self.replication.acks.waits.insert(conn, wait);
        self.replication.acks.is_stale = true;
        self.replication.feed.set_awaited(self.env.me, true);
        let deadline_ms = (timeout_ms > 0).then(|| self.env.now.unix_ms() + timeout_ms);
        let (on_timeout, shards) = (TimeoutReply::Acks, Vec::new());
        self.begin_waiting(to, &ticket, Waiting { entry, deadline_ms, on_timeout, shards });
    }

    fn acked_so_far(&self) -> usize {
        self.env.process.replication().acked(self.replication.feed.end_offset())
    }

    /// Returns the number of replicas that have acknowledged the writes before a WAIT.
    pub(in crate::shard) fn acks_of(&self, conn: ConnId) -> usize {
        match self.replication.acks.waits.get(&conn).map(|wait| wait.point) {
            Some(AckPoint::At(offset)) => self.env.process.replication().acked(offset),
            _ => self.acked_so_far(),
        }
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
        let acked = self.env.process.replication().acked_offsets();
        if !self.replication.acks.is_stale && acked == self.replication.acks.seen {
            return;
        }
        self.replication.acks.is_stale = false;
        let waits = &self.replication.acks.waits;
        let is_over = |wait: &AckWait| match wait.point {
            AckPoint::At(offset) => count_acks(&acked, offset) >= wait.replicas,
            _ => false,
        };
        let over = waits.iter().filter(|(_, wait)| is_over(wait));
        let over: Vec<ConnId> = over.map(|(conn, _)| *conn).collect();
        let has_new = waits.values().any(|wait| wait.point == AckPoint::New);
        self.replication.acks.seen = acked;
        for conn in over {
            self.give_up(conn, GivingUp::Timeout);
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
        if self.replication.feed.is_on() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_count_that_have_acknowledged_an_offset() {
        let acked = [30, 20, 20, 5];
        let counts = [0, 5, 6, 20, 21, 31].map(|offset| count_acks(&acked, offset));
        assert_eq!(counts, [4, 4, 3, 3, 1, 0]);
    }
}
