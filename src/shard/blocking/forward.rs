//! Forwarded commands: if a blocked client's command uses keys of several shards, it runs at the
//! client's home when an owner of its keys asks for that.
//!
//! ```text
//!   owner --Forward--> home: rounds of a transaction --last answer--> ForwardDone --> owner
//!                        '--a pause delays the command--> ForwardDelayed ------------> owner
//! ```

use super::Forwarding;
use crate::client::{Transaction, TransactionAttempt, Woken};
use crate::exec::{Facts, TicketState};
use crate::mesh::{
    Envelope, Forward, Forwarded, HoldId, Holder, OneWay, Registration, TransactionId,
};
use crate::shard::state::Shard;
use crate::txn::Queue;
use std::sync::Arc;

impl Shard {
    /// Runs the command of a blocked client of this shard, which an owner has forwarded.
    pub(in crate::shard) fn take_forward(&mut self, forward: Forward, part: &mut Envelope) {
        let Forward { to, ticket, key_arg, kind, id } = forward;
        let mut queue = Box::<Queue>::default();
        let owner = part.home;
        let (items, mut batch_args, ..) = part.parts();
        let item = items[0];
        queue.push(item.entry, item.slot, item.db, &mut batch_args.of(&item));
        let woken = Woken { key_arg, owner, kind, id };
        let giving_up = self.blocked_in(to).map(|blocked| blocked.giving_up);
        let facts = self.env.facts;
        let is_postponed = facts.has(Facts::MOVING);
        let is_postponed = is_postponed || facts.postpones(item.entry.command.card.flags);
        if giving_up == Some(None) && is_postponed {
            // The owner did not know of the pause or move yet.
            ticket.settle(TicketState::Waiting);
            return self.post_one_way(owner, OneWay::ForwardDelayed(id, ticket.number()));
        }
        if giving_up == Some(None) {
            let attempt = TransactionAttempt::new(ticket, Some(woken));
            return self.begin_forwarded(to, queue, attempt);
        }
        ticket.settle(TicketState::Cancelled);
        self.post_one_way(woken.owner, OneWay::ForwardDone(woken.id));
        match giving_up.flatten() {
            Some(why) => self.finish_giving_up(to.client.conn, why),
            // The client has left.
            None => self.forget_at(ticket.number(), &[woken.owner], None),
        }
    }

    /// Records the result of a command that may block and has run on keys of several shards. The
    /// last round tells the result to their owners.
    pub(in crate::shard) fn end_attempt(
        &mut self,
        transaction: &mut Transaction,
        attempt: &TransactionAttempt,
    ) {
        let to = transaction.to;
        if let Some(woken) = attempt.woken {
            let blocked = self.blocked_in(to).map(|blocked| blocked.giving_up);
            let stays_blocked = attempt.stays_blocked && blocked == Some(None);
            attempt.ticket.settle(match (attempt.stays_blocked, stays_blocked) {
                (false, _) => TicketState::Served,
                (true, true) => TicketState::Waiting,
                (true, false) => TicketState::Cancelled,
            });
            let forwarded = Forwarded { ticket: attempt.ticket.number(), stays_blocked };
            for part in transaction.parts_of(|shard| shard == woken.owner) {
                transaction.flight.txn_mut(part).forwarded = Some(forwarded);
            }
            if !attempt.stays_blocked && blocked.is_some() {
                self.end_block(to.client.conn, Some(woken.owner));
            }
        } else if let Some(wait) = &attempt.wait {
            let item = transaction.queue.items[0];
            let shards = self.shards_of(wait);
            for part in transaction.parts_of(|shard| shards.contains(&shard)) {
                let (ticket, wait) = (Arc::clone(&attempt.ticket), wait.clone());
                let registration = Registration { ticket, item, to, wait };
                transaction.flight.txn_mut(part).blocks = Some(Box::new(registration));
            }
        }
    }

    /// Records that the last round of a forwarded command was sent and `left` replies are expected.
    pub(in crate::shard) fn await_forwarded(
        &mut self,
        id: TransactionId,
        woken: Woken,
        left: usize,
    ) {
        assert!(left > 0, "a forwarded command has keys on several shards");
        self.blocking.forwards.insert(id, Forwarding { woken, left, holds: Vec::new() });
    }

    /// Counts a reply of a transaction that has concluded. After the last reply, tells the owner
    /// that the forwarded command is finished. A held reply counts when its hold ends.
    pub(in crate::shard) fn land_forwarded(
        &mut self,
        id: TransactionId,
        (owner, hold): (u16, Option<HoldId>),
    ) {
        let Some(forwarding) = self.blocking.forwards.get_mut(&id) else { return };
        if let Some(hold) = hold {
            return forwarding.holds.push((owner, hold));
        }
        forwarding.left -= 1;
        if forwarding.left == 0 {
            let woken = forwarding.woken;
            self.blocking.forwards.remove(&id);
            self.post_one_way(woken.owner, OneWay::ForwardDone(woken.id));
        }
    }

    /// Ends a hold on a reply, which waits in a connection, a transaction or a forwarded command.
    /// The reply may be gone: its client has left, or the reply belonged to the last round of a
    /// transaction that did not wait for it.
    pub(in crate::shard) fn release(&mut self, owner: u16, hold: HoldId, holder: Holder) {
        let ended = (owner, hold);
        if let Some(id) = holder.transaction {
            if let Some(transaction) = self.transactions.get_mut(id)
                && let Some(at) = transaction.holds.iter().position(|hold| *hold == ended)
            {
                transaction.holds.swap_remove(at);
                return;
            }
            let forwarding = self.blocking.forwards.get_mut(&id);
            if let Some(holds) = forwarding.map(|forwarding| &mut forwarding.holds)
                && let Some(at) = holds.iter().position(|hold| *hold == ended)
            {
                holds.swap_remove(at);
                return self.land_forwarded(id, (owner, None));
            }
        }
        let is_found = self.release_connection(holder.client, ended);
        debug_assert!(is_found || holder.transaction.is_some(), "a hold lasts until its release");
    }
}
