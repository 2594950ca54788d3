//! WAIT: a client waits until replicas have acknowledged its writes.

use super::Goal;
use crate::io::ConnId;
use crate::mesh::BarrierId;
use crate::resp::Reply;
use crate::shard::state::Shard;

impl Shard {
    /// WAIT: replies with the number of replicas that have acknowledged all earlier writes, once
    /// they are enough.
    pub(in crate::shard) fn wait_for_acks(&mut self, conn: ConnId, replicas: i64, timeout_ms: u64) {
        let offset = self.replication.feed.end_offset();
        let acked = self.env.process.replication().acked(offset);
        let is_enough = usize::try_from(replicas).map_or(true, |wanted| wanted == 0);
        let connection = self.connections.get_mut(conn).expect("connection is open");
        if is_enough {
            let protocol = connection.session.protocol;
            let mut reply = Reply::new(&mut connection.outbox.output, protocol);
            return reply.integer(acked as i64);
        }
        let waiter = self.defer(conn);
        let until_ms = (timeout_ms > 0).then(|| self.env.now.monotonic_ms() + timeout_ms);
        let goal = Goal::Acks { waiter, replicas: replicas as usize, until_ms };
        self.post_barrier(goal);
    }

    /// Replies to a WAIT if enough replicas have acknowledged, or its timeout has passed.
    fn check_acks(&mut self, number: BarrierId) {
        let Some(barrier) = self.barriers.under_way.get(&number) else { return };
        let Goal::Acks { waiter, replicas, until_ms } = barrier.goal else { return };
        let acked = barrier.offset.map_or(0, |offset| self.env.process.replication().acked(offset));
        let is_over = until_ms.is_some_and(|until| self.env.now.monotonic_ms() >= until);
        let is_gone =
            self.connections.get_same(waiter.client.conn, waiter.client.generation).is_none();
        if acked < replicas && !is_over && !is_gone {
            return;
        }
        self.barriers.under_way.remove(&number);
        self.note_needs();
        let mut answer = self.answer_to(waiter);
        Reply::new(&mut answer.output, Default::default()).integer(acked as i64);
        self.land_answer(answer);
    }

    pub(super) fn check_waits(&mut self) {
        let waits: Vec<BarrierId> = self.barriers.under_way.keys().copied().collect();
        waits.into_iter().for_each(|number| self.check_acks(number));
    }

    /// Asks replicas for acknowledgements, because the mark of a WAIT is in the stream. Replicas
    /// then acknowledge at once and not at their own pace.
    pub(super) fn ask_for_acks(&mut self, number: BarrierId) {
        let ask: [&[u8]; 3] = [b"REPLCONF", b"GETACK", b"*"];
        let ((), merged) = self.replication.feed.with_stream(|stream| stream.inject(&ask));
        self.after_merge(merged);
        self.check_acks(number);
    }
}
