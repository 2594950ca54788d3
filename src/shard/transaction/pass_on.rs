//! A script that has the slices of all partitions passes them on to the next script of its shard's
//! clients, instead of returning them.
//!
//! ```text
//!   script A    Acquire --> slices are here, A runs, A's client has its reply
//!   script B               waits for A's slices -----> B runs, B's client has its reply
//!   ...                                                ... Release: the slices return
//! ```
//! A script that is not confined needs all slices, and fetching them costs two rounds. So a shard
//! has one unit that fetches them, the carrier. Later scripts of its clients wait for the carrier.
//!
//! # Why the order is kept
//!
//! A script B that the carrier takes along runs between its request and its reply, while the unit
//! has locked everything, exclusively. It comes before the units that wait for the locks, although
//! some were posted earlier. None of these has taken effect anywhere, because each conflicts with
//! the lock on each of its partitions. So no client can tell that they were posted earlier. The
//! carrier takes no script along if a key is ready for a blocked client, which comes first.

use super::offload::Waiting;
use super::rounds::Task;
use crate::client::Transaction;
use crate::exec::Item;
use crate::io::ConnId;
use crate::shard::limits::CARRY_NS_MAX;
use crate::shard::state::Shard;
use crate::txn::Queue;

impl Shard {
    /// Makes a script that is not confined wait for the unit that fetches the slices. Returns the
    /// script if there is no such unit.
    pub(super) fn wait_for_carrier(
        &mut self,
        conn: ConnId,
        queue: Box<Queue>,
    ) -> Option<Box<Queue>> {
        let [item] = &queue.items[..] else { return Some(queue) };
        if !is_carried(item) || !self.transactions.has_carrier {
            return Some(queue);
        }
        let to = self.defer(conn);
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let protocol = connection.session.protocol;
        self.transactions.carried.push_back(Waiting { to, queue, protocol });
        None
    }

    /// Records that the unit of a single command fetches the slices, if it will pass them on.
    pub(super) fn note_carrier(&mut self, transaction: &Transaction) {
        if !transaction.is_exec && is_carried(&transaction.queue.items[0]) {
            self.transactions.has_carrier = true;
        }
    }

    /// Runs further scripts on the slices of a unit whose only command has run, for a limited time.
    /// Returns none if one is suspended; the unit continues when it is over.
    pub(super) fn carry_on(&mut self, mut unit: Box<Transaction>) -> Option<Box<Transaction>> {
        if unit.is_exec || !is_carried(&unit.queue.items[0]) {
            return Some(unit);
        }
        let until_ns = self.env.clock_ns() + CARRY_NS_MAX;
        while self.may_carry(&unit) && self.env.clock_ns() < until_ns {
            let next = self.transactions.carried.pop_front().expect("checked by may_carry");
            self.hand_on(&mut unit, next);
            unit = self.run_on_slices(unit, 0)?;
        }
        self.end_carrier();
        Some(unit)
    }

    /// Returns whether the unit's command was an ordinary short one and another one waits.
    fn may_carry(&self, unit: &Transaction) -> bool {
        let is_plain = unit.own.spent.is_empty() && !unit.flight.is_notable();
        is_plain && !self.transactions.carried.is_empty() && !unit.has_ready()
    }

    /// Replies to the unit's client, and puts the next script in place of the unit's.
    fn hand_on(&mut self, unit: &mut Transaction, next: Waiting) {
        let mut answer = self.answer_to(unit.to);
        answer.output.append_moved(std::mem::take(&mut unit.own.output));
        unit.own.ends.clear();
        unit.flight.order.clear();
        self.land_answer(answer);
        let Waiting { to, queue, protocol } = next;
        (unit.to, unit.queue, unit.protocol) = (to, queue, protocol);
        self.settle_flight(to);
        let now_us = self.env.process.clock.unix_us();
        self.partition.heed_time(now_us);
        unit.now_us = unit.now_us.max(Some(now_us));
    }

    /// Records that the unit returns its slices. The scripts that still wait get a unit of their
    /// own.
    fn end_carrier(&mut self) {
        self.transactions.has_carrier = false;
        while let Some(Waiting { to, mut queue, .. }) = self.transactions.carried.pop_front() {
            let client = to.client;
            if self.connections.get_same(client.conn, client.generation).is_none() {
                // As if its command had not been read before it left.
                continue;
            }
            let plan = self.plan(client.conn, &mut queue, &[]);
            let task = Task { queue, is_exec: false, attempt: None };
            return self.launch_transaction(to, task, plan, &[]);
        }
    }
}

/// Returns whether a single command may run on the slices of another one's unit.
fn is_carried(item: &Item) -> bool {
    item.entry.command.runs_commands && item.discovers
}
