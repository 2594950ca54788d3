//! The rounds of a transaction at its home shard.
//!
//! If each command of a transaction has its keys on one shard, the transaction takes one round,
//! like any batch. Otherwise its first round is one unit that acquires all locks, which stay until
//! the last round. The keys of a gathering command are fetched, the command runs on a workspace,
//! and changed values return to their owners. A command that discovers keys runs on the slices of
//! all partitions.

use super::planned::Plan;
use super::sliced::Needs;
use crate::client::{Flight, Spread, Transaction, TransactionAttempt, Woken};
use crate::exec::for_each_key_lock;
use crate::gate::Place;
use crate::mesh::{
    ClientRef, Envelope, ReplyAddress, ReplyTo, Stage, TransactionId, TxnPart, Work,
};
use crate::partition::logged_if_large;
use crate::resp::{Output, Protocol, Reply};
use crate::shard::remote::post::Parts;
use crate::shard::state::Shard;
use crate::shard::telemetry::large::LargeReplies;
use crate::spec::Flag;
use crate::txn::Queue;

/// Input of a transaction.
pub(super) struct Task {
    pub(super) queue: Box<Queue>,
    pub(super) is_exec: bool,
    pub(super) attempt: Option<TransactionAttempt>,
}

/// Inputs for launching a transaction.
pub(super) struct Launch<'a> {
    pub(super) to: ReplyAddress,
    pub(super) task: Task,
    pub(super) plan: Plan,
    /// Shards that keep watched keys of the client.
    pub(super) watched: &'a [u16],
    /// Id of the client.
    pub(super) watcher: u64,
    /// Protocol of the replies.
    pub(super) protocol: Protocol,
    /// Set if the work on it goes in steps.
    pub(super) steps: Option<StepsOf>,
}

/// What is known of a transaction whose work goes in steps.
pub(super) struct StepsOf {
    pub(super) needs: Needs,
    /// Flags that decide whether a pause delays it. None: no pause does.
    pub(super) flags: Option<Flag>,
}

impl Shard {
    /// Runs a blocked client's command that an owner of its keys has forwarded.
    pub(in crate::shard) fn begin_forwarded(
        &mut self,
        to: ReplyAddress,
        mut queue: Box<Queue>,
        attempt: TransactionAttempt,
    ) {
        let plan = self.plan(to.client.conn, &mut queue, &[]);
        assert!(plan.gathers, "a command with all keys on one shard is not forwarded");
        let task = Task { queue, is_exec: false, attempt: Some(attempt) };
        self.launch_transaction(to, task, plan, &[]);
    }

    pub(super) fn launch_transaction(
        &mut self,
        to: ReplyAddress,
        task: Task,
        plan: Plan,
        watched: &[u16],
    ) {
        let connection = self.connections.get_mut(to.client.conn).expect("connection is open");
        let (watcher, protocol) = (connection.session.id, connection.session.protocol);
        self.begin_rounds(Launch { to, task, plan, watched, watcher, protocol, steps: None });
    }

    /// Creates a transaction and sends its first round.
    pub(super) fn begin_rounds(&mut self, launch: Launch<'_>) {
        let Launch { to, task, plan, watched, watcher, protocol, steps } = launch;
        let Task { mut queue, is_exec, attempt } = task;
        self.transactions.next += 1;
        let is_watching = !watched.is_empty();
        // If the owner of the slot refuses EXEC, no command may have run anywhere.
        let is_checked = is_exec && self.slot_of_all(&mut queue).is_some();
        let is_first_empty = is_watching || is_checked;
        let mut transaction = Box::new(Transaction {
            id: TransactionId(self.transactions.next),
            to,
            now_us: None,
            protocol,
            queue,
            places: plan.places,
            is_exec,
            // Session commands run at home, and only after the check of watched keys.
            has_locks: plan.gathers
                || plan.has_ask
                || (is_first_empty && (plan.shards.len() > 1 || plan.has_session)),
            is_closing: false,
            next: 0,
            gathering: None,
            is_recorded: false,
            flight: Flight::default(),
            own: self.port.envelope(self.env.me),
            asks: Vec::new(),
            asking: None,
            holds: Vec::new(),
            records: Default::default(),
            is_sliced: steps.is_some(),
            pause_flags: steps.as_ref().and_then(|steps| steps.flags),
            spread: Spread::default(),
            collector: None,
            attempt,
        });
        let (items, mut batch_args) = transaction.queue.parts();
        transaction.flight.written = logged_if_large(&self.env.thresholds, items, &mut batch_args);
        self.open_parts(&mut transaction, &plan.shards, (watched, watcher));
        if let Some(StepsOf { needs, .. }) = steps {
            needs.state(&mut transaction);
        }
        if transaction.has_locks && is_first_empty {
            // No command runs before all shards have confirmed that the watched keys are unchanged,
            // and the owner of the slot of a cluster that all keys are here.
            self.send_round(transaction, true);
        } else {
            self.advance(transaction, true);
        }
    }

    /// Opens an envelope for each shard that takes part, with its locks and watched keys.
    fn open_parts(
        &mut self,
        transaction: &mut Transaction,
        shards: &[u16],
        (watched, watcher): (&[u16], u64),
    ) {
        let stage = if transaction.has_locks { Stage::Acquire } else { Stage::OneShot };
        transaction.flight.prepare(shards.len() + 1);
        for (part, &shard) in shards.iter().enumerate() {
            let mut envelope = self.port.envelope(usize::from(shard));
            envelope.part = part as u16;
            envelope.reply_to = ReplyTo::Transaction(transaction.id, transaction.to);
            envelope.protocol = transaction.protocol;
            let mut txn = Box::new(TxnPart::new(transaction.id, stage));
            txn.watcher = watched.contains(&shard).then_some(watcher);
            envelope.work = Work::Transaction(txn);
            transaction.flight.put_back(envelope);
        }
        transaction.own.part = shards.len() as u16;
        if transaction.has_locks && !transaction.is_sliced {
            self.collect_key_locks(transaction, shards);
        }
        self.carry_whole(transaction);
    }

    /// Writes into each part the locks that the commands need on its shard.
    fn collect_key_locks(&mut self, transaction: &mut Transaction, shards: &[u16]) {
        let (slice, router) = (self.partition.slice(), &self.env.router);
        let (items, mut batch_args) = transaction.queue.parts();
        for item in items {
            let args = batch_args.of(item);
            let hash = |key: &[u8]| slice.key(key).hash;
            for_each_key_lock(item, &args, &hash, &mut |arg, key_lock| {
                let owner = arg.map(|arg| router.owner_of(&args[arg]));
                for (part, shard) in shards.iter().enumerate() {
                    if owner.is_none_or(|owner| owner == *shard) {
                        transaction.flight.txn_mut(part).key_locks.push(key_lock);
                    }
                }
            });
        }
    }

    /// Processes the commands up to the next one that gathers its keys, and sends the round.
    pub(in crate::shard) fn advance(&mut self, mut transaction: Box<Transaction>, is_first: bool) {
        while transaction.next < transaction.places.len()
            && transaction.gathering.is_none()
            && transaction.asking.is_none()
        {
            if transaction.is_sliced && self.transactions.step_left == 0 {
                return self.split_later(transaction, is_first);
            }
            let at = transaction.next;
            let item = transaction.queue.items[at];
            if item.is_at_home() {
                if self.waits_for_round(&transaction, &item, is_first) {
                    break;
                }
                transaction.next += 1;
                self.count_step(&transaction, 1);
                self.run_own(&mut transaction, item);
            } else if transaction.has_slices() {
                let Some(rest) = self.advance_on_slices(transaction) else { return };
                transaction = rest;
            } else if transaction.discovers(at) {
                transaction.gathering = Some(at);
                transaction.next += 1;
                self.note_carrier(&transaction);
                self.request_slices(&mut transaction);
            } else if transaction.gathers(at) && item.entry.publishes() {
                if is_first || transaction.has_work_for_parts() {
                    // The commands before have to run first.
                    break;
                }
                transaction.next += 1;
                self.count_step(&transaction, 1);
                transaction = self.run_gathered(transaction, at).expect("it has no large keys");
            } else if transaction.gathers(at) {
                if !self.request_more_keys(&mut transaction, &item) {
                    return self.split_later(transaction, is_first);
                }
                transaction.gathering = Some(at);
                transaction.next += 1;
            } else {
                self.add_segment(&mut transaction);
            }
        }
        self.send_round(transaction, is_first);
    }

    /// Reduces what is left of the present step of a transaction.
    fn count_step(&mut self, transaction: &Transaction, commands: usize) {
        if transaction.is_sliced {
            let left = &mut self.transactions.step_left;
            *left = left.saturating_sub(commands);
        }
    }

    /// Adds the next commands to the parts of their shards, up to a command that runs at home.
    pub(super) fn add_segment(&mut self, transaction: &mut Transaction) {
        let (shards, count) = (self.env.router.shards(), transaction.parts());
        let has_slices = transaction.has_slices();
        let (flight, open) = (&mut transaction.flight, &mut self.remote.open);
        let mut parts = Parts::new(&mut self.port, flight, open, shards).reopen(count);
        let (items, mut batch_args) = transaction.queue.parts();
        let enough = self.env.config.offload_elements_min as usize;
        let (is_sliced, left) = (transaction.is_sliced, &mut self.transactions.step_left);
        while let Some(item) = items.get(transaction.next)
            && !(is_sliced && *left == 0)
        {
            let place = transaction.places[transaction.next];
            let gathers = place == Place::Several && item.entry.gathers_keys();
            let is_script_here = has_slices && item.entry.command.runs_commands;
            if gathers || is_script_here || item.is_at_home() {
                break;
            }
            let (router, args) = (&self.env.router, &mut batch_args);
            if is_sliced && item.entry.has_many_keys(item.argc as usize, enough) {
                if !parts.add_some_keys(item, args, router, &mut transaction.spread, left) {
                    break;
                }
            } else {
                parts.add(item, place, args, router);
                *left = left.saturating_sub(1);
            }
            transaction.next += 1;
        }
        parts.put_back();
    }

    /// Sends the parts that have work. The first and the last round send all parts.
    fn send_round(&mut self, mut transaction: Box<Transaction>, is_first: bool) {
        // A request takes effect before the locks are released.
        let is_done = transaction.next == transaction.places.len()
            && transaction.gathering.is_none()
            && transaction.asks.is_empty();
        let is_last = is_done && !(is_first && transaction.has_locks);
        transaction.is_closing = is_last;
        let are_replies_due = !transaction.asks.is_empty() || transaction.has_commands_out();
        // The locks of a unit in steps are released before its replies are merged.
        let is_alone = !self.may_forward(&transaction) && !self.must_tell(&transaction);
        let may_conclude = !transaction.is_sliced && is_alone;
        if is_last && !is_first && !are_replies_due && may_conclude {
            // All replies are here, so the client need not wait until the locks are released.
            return self.conclude(transaction, false);
        }
        for part in 0..transaction.parts() {
            if is_first || is_last || transaction.flight.has_work(part) {
                let mut envelope = transaction.flight.take(part);
                let txn = envelope.txn_mut();
                if !is_first {
                    txn.stage = if is_last { Stage::Release } else { Stage::Continue };
                    txn.records.absorb(&mut transaction.records);
                }
                self.remote.unit.push(envelope);
            }
        }
        let mut asks = std::mem::take(&mut transaction.asks);
        let out = self.remote.unit.len();
        transaction.flight.relaunch(out + asks.len());
        if out + asks.len() == 0 {
            return self.proceed(transaction);
        }
        self.env.board.counters.envelopes_posted.add((out + asks.len()) as u64);
        self.transactions.under_way.insert(transaction.id, transaction);
        if is_first && out > 0 {
            self.env.board.counters.batches_remote.add(1);
            self.post_unit();
        } else {
            self.post_next_round();
        }
        let sent = self.partition.moment();
        self.port.post(&mut asks, sent);
    }

    /// Posts the parts of the unit as the next round, which needs no credits.
    fn post_next_round(&mut self) {
        let sent = self.partition.moment();
        self.port.post_next(&mut self.remote.unit, sent);
    }

    /// Returns whether clients may be told of changed keys. They must be told before the client
    /// that has changed the keys gets its reply, so the reply waits until the keys are stored. But
    /// the last round of a command that stays blocked, or that was forwarded, tells this to the
    /// owners of its keys, so the transaction must conclude before that round.
    fn must_tell(&self, transaction: &Transaction) -> bool {
        let attempt = transaction.attempt.as_ref();
        if attempt.is_some_and(|attempt| attempt.stays_blocked || attempt.woken.is_some()) {
            return false;
        }
        let process = &self.env.process;
        self.env.config.notify_keyspace_events.publishes() || process.trackers.clients() > 0
    }

    /// Returns whether the last round may unblock clients whose commands use keys of several
    /// shards. If so, the reply waits until they were served.
    fn may_forward(&self, transaction: &Transaction) -> bool {
        let unblocks = |part: &Envelope| part.txn().is_some_and(TxnPart::may_unblock);
        let is_new = transaction.attempt.is_none();
        is_new && self.env.process.awaited.has_far() && transaction.flight.parts().any(unblocks)
    }

    /// Takes a reply for a transaction.
    pub(in crate::shard) fn land_transaction(
        &mut self,
        id: TransactionId,
        mut envelope: Box<Envelope>,
    ) {
        let Some(transaction) = self.transactions.under_way.get_mut(&id) else {
            // The transaction was concluded when its last parts were sent.
            self.land_forwarded(id, (envelope.owner, envelope.hold));
            return self.port.recycle(envelope);
        };
        transaction.holds.extend(envelope.hold.take().map(|hold| (envelope.owner, hold)));
        transaction.flight.land(envelope);
        if transaction.flight.has_landed() {
            let transaction = self.transactions.under_way.remove(&id).expect("checked above");
            self.settle_flight(transaction.to);
            self.proceed(transaction);
        }
    }

    /// Records that a round of a transaction is over. If it has locks, it has them all now.
    pub(super) fn settle_flight(&mut self, to: ReplyAddress) {
        let ClientRef { conn, generation } = to.client;
        let Some(connection) = self.connections.get_same(conn, generation) else { return };
        let mut flights = connection.flights.iter_mut();
        if let Some(flight) = flights.find(|flight| flight.number == to.flight) {
            flight.set_settled();
        }
    }

    /// Continues a transaction after all parts of a round have returned.
    fn proceed(&mut self, mut transaction: Box<Transaction>) {
        let is_broken = |part: &Envelope| part.txn().is_some_and(|txn| txn.is_broken);
        if transaction.flight.parts().any(is_broken) {
            return self.conclude(transaction, true);
        }
        self.end_ask(&mut transaction);
        if transaction.is_closing {
            return self.conclude(transaction, false);
        }
        let known_us = |part: &Envelope| part.txn().and_then(|txn| txn.now_us);
        // Commands on the session that ran before the first round have seen an earlier time.
        transaction.now_us = transaction.flight.parts().find_map(known_us).or(transaction.now_us);
        transaction.flight.next_round();
        if let Some(at) = transaction.gathering.take() {
            let now_us = transaction.now_us.expect("the owners of the keys have set it");
            let turn_us = self.partition.set_time(now_us);
            let rest = if transaction.discovers(at) {
                self.run_on_slices(transaction, at)
            } else {
                self.run_or_bring(transaction, at)
            };
            self.partition.set_time(turn_us);
            let Some(rest) = rest.and_then(|rest| self.carry_on(rest)) else { return };
            transaction = rest;
        }
        self.advance(transaction, false);
    }

    /// Lands the merged replies as the reply of the connection's flight, and releases the remaining
    /// locks.
    fn conclude(&mut self, mut transaction: Box<Transaction>, is_broken: bool) {
        let to = transaction.to;
        let attempt = transaction.attempt.take();
        if let Some(attempt) = &attempt {
            self.end_attempt(&mut transaction, attempt);
        }
        let woken = attempt.as_ref().and_then(|attempt| attempt.woken);
        if let Some(attempt) = attempt.filter(|attempt| attempt.stays_blocked) {
            self.release_parts(&mut transaction, woken);
            self.port.recycle(transaction.own);
            return self.block_at_owners(to, attempt, &transaction.queue);
        }
        if transaction.is_sliced && !is_broken {
            return self.merge_later(transaction);
        }
        let mut answer = self.answer_to(to);
        let mut reply = Reply::new(&mut answer.output, transaction.protocol);
        let refusal = |part: &Envelope| part.txn().and_then(|txn| txn.refused.clone());
        if let Some(error) = transaction.flight.parts().find_map(refusal) {
            reply.error(&error);
            self.env.board.error_reply(error.bytes());
        } else if is_broken {
            reply.null_array();
        } else {
            if transaction.is_exec {
                reply.array(transaction.places.len());
            }
            self.merge_replies(&mut transaction, &mut answer.output, to.client);
        }
        self.release_parts(&mut transaction, woken);
        self.end_transaction(transaction, answer);
    }

    /// Sends the reply of a transaction whose locks are released.
    pub(super) fn end_transaction(&mut self, transaction: Box<Transaction>, answer: Box<Envelope>) {
        let Transaction { to, mut flight, own, mut holds, is_exec, .. } = *transaction;
        let ClientRef { conn, generation } = to.client;
        if is_exec && let Some(connection) = self.connections.get_same(conn, generation) {
            connection.session.end_caching();
        }
        flight.drain().for_each(|part| self.port.recycle(part));
        self.port.recycle(own);
        self.hold_connection(to.client, &mut holds);
        self.land_answer(answer);
    }

    /// Merges the replies of all commands of a transaction into the connection's reply.
    fn merge_replies(
        &mut self,
        transaction: &mut Transaction,
        answer: &mut Output,
        client: ClientRef,
    ) {
        let own = std::mem::replace(&mut transaction.own, self.port.envelope(self.env.me));
        transaction.flight.put_back(own);
        let (rng, protocol) = (&mut self.rng, transaction.protocol);
        let mut replies = LargeReplies::new(&self.env.thresholds, answer.len());
        let draw = |below| rng.below(below);
        let see = |at, output: &Output| replies.see(at, output.len());
        transaction.flight.merge(protocol, answer, draw, see);
        if transaction.flight.is_notable() || !replies.found.is_empty() {
            let Transaction { flight, queue, .. } = transaction;
            self.log_flight(client, flight, &replies.found, Some(queue));
        }
    }

    /// Makes the owners store changed values and release their locks, if they have not yet. If the
    /// transaction ran a forwarded command, its owner is told after the last part has returned.
    fn release_parts(&mut self, transaction: &mut Transaction, woken: Option<Woken>) {
        if let Some(woken) = woken {
            let left = transaction.flight.parts().filter(|part| part.has_next_round()).count();
            self.await_forwarded(transaction.id, woken, left);
        }
        for mut envelope in transaction.flight.drain() {
            if envelope.has_next_round() {
                let txn = envelope.txn_mut();
                txn.stage = Stage::Release;
                txn.records.absorb(&mut transaction.records);
                envelope.drop_replies();
                self.remote.unit.push(envelope);
            } else {
                self.port.recycle(envelope);
            }
        }
        self.post_next_round();
        self.expect_effects();
    }
}
