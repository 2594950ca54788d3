//! Transactions at home: EXEC, and single commands on keys of several shards.
//!
//! A transaction whose commands each find their keys on one shard takes one round, like any batch.
//! Otherwise its shards are told first what it will touch, all in one unit, and keep that locked
//! until the last round. Keys that a command needs together are fetched, the command runs on a
//! slice that holds nothing else, and what it changed goes back.

use super::Shard;
use super::command_log::{LargeReplies, written_large};
use super::post::{Awaited, Parts};
use crate::client::{Flight, Transaction, TransactionAttempt, Woken};
use crate::exec::{Item, SessionContext, for_each_key_lock};
use crate::gate::{Facts, Place};
use crate::io::ConnId;
use crate::mesh::{Envelope, Stage, TxnPart};
use crate::resp::{Error, Output, Reply};
use crate::txn::Queue;

/// Where the commands of a transaction run. Kept for reuse.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// For each command.
    places: Vec<Place>,
    /// The shards that take part.
    shards: Vec<u16>,
    /// Whether a command needs keys of several shards together.
    has_joint: bool,
    /// Whether a command runs on the session.
    has_session: bool,
    /// Whether one of these may ask something of all shards: others are not to see the keys before
    /// that is answered.
    has_ask: bool,
}

/// What a program is to do.
struct Task {
    queue: Box<Queue>,
    is_exec: bool,
    attempt: Option<TransactionAttempt>,
}

impl Plan {
    fn clear(&mut self) {
        self.places.clear();
        self.shards.clear();
        self.has_joint = false;
        self.has_session = false;
        self.has_ask = false;
    }

    fn add(&mut self, shard: u16) {
        if !self.shards.contains(&shard) {
            self.shards.push(shard);
        }
    }
}

impl Shard {
    /// Runs what the connection has queued.
    pub(super) fn exec(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let queue = connection.queue.take().unwrap_or_default();
        let multi = connection.session.multi.take().expect("EXEC has seen it");
        let error = if multi.is_doomed {
            Some(Error::ExecAbort)
        } else if multi.may_grow && self.facts.has(Facts::OUT_OF_MEMORY) {
            Some(Error::exec_abort(&Error::OutOfMemory))
        } else if multi.may_write && self.facts.has(Facts::FEW_REPLICAS) {
            Some(Error::exec_abort(&Error::NoReplicas))
        } else {
            None
        };
        let mut queue = queue;
        self.show_exec(conn, if error.is_none() { Some(&mut queue) } else { None });
        if let Some(error) = error {
            if let Some(entry) = self.process.commands.executor() {
                self.board.commands[usize::from(entry.index)].failed.add(1);
            }
            return self.refuse_exec(conn, &error);
        }
        let watched = self.take_watched(conn);
        self.log_queued_requests(conn, &mut queue);
        self.start_transaction(conn, queue, watched, true);
    }

    /// Replies to EXEC that nothing was run. What is queued is gone.
    pub(super) fn refuse_exec(&mut self, conn: ConnId, error: &Error) {
        self.unwatch(conn);
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let protocol = connection.session.protocol;
        Reply::new(&mut connection.outbox.output, protocol).error(error);
        self.board.error_reply(error.bytes());
    }

    /// Runs one command whose keys are on several shards.
    pub(super) fn run_joint(&mut self, conn: ConnId, item: Item) {
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let (text, large) = connection.input.parts();
        let mut batch_args = crate::exec::BatchArgs { text, spans: &self.batch.spans, large };
        let mut queue = Box::<Queue>::default();
        queue.push(item.entry, item.slot, item.db, &mut batch_args.of(&item));
        connection.input.consume();
        let now_ms = self.now.monotonic_ms();
        connection.session.note_commands(1, Some(item.entry.index), now_ms);
        self.start_transaction(conn, queue, Vec::new(), false);
    }

    /// Runs the command of a client that waited, and was woken by one of its keys.
    pub(super) fn start_move(
        &mut self,
        awaited: Awaited,
        mut queue: Box<Queue>,
        attempt: TransactionAttempt,
    ) {
        let plan = self.plan(awaited.conn, &mut queue, &[]);
        assert!(plan.has_joint, "with all keys on one shard its owner serves it");
        let task = Task { queue, is_exec: false, attempt: Some(attempt) };
        self.launch_transaction(awaited, task, plan, &[]);
    }

    fn start_transaction(
        &mut self,
        conn: ConnId,
        mut queue: Box<Queue>,
        watched: Vec<u16>,
        is_exec: bool,
    ) {
        let plan = self.plan(conn, &mut queue, &watched);
        let is_watching = !watched.is_empty();
        let is_here = plan.shards.iter().all(|shard| usize::from(*shard) == self.me);
        let may_run = is_here && !plan.has_joint && !plan.has_session;
        if may_run && !self.has_conflict(conn, &mut queue, is_watching) {
            assert!(is_exec, "one command whose keys are here is no transaction");
            self.plan = plan;
            return self.exec_here(conn, queue, is_watching);
        }
        let awaited = self.defer(conn);
        let may_wait = !is_exec && queue.items[0].entry.may_wait();
        let attempt = may_wait.then(|| {
            let ticket = self.begin_attempt(conn, awaited.flight);
            TransactionAttempt { ticket, woken: None, wait: None, waits_on: false }
        });
        self.launch_transaction(awaited, Task { queue, is_exec, attempt }, plan, &watched);
    }

    fn launch_transaction(&mut self, awaited: Awaited, task: Task, plan: Plan, watched: &[u16]) {
        let Task { queue, is_exec, attempt } = task;
        self.next_transaction += 1;
        let is_watching = !watched.is_empty();
        let connection = self.connections.get_mut(awaited.conn).expect("it is being served");
        let mut transaction = Box::new(Transaction {
            id: self.next_transaction,
            connection: awaited.conn,
            generation: awaited.generation,
            flight_number: awaited.flight,
            now_us: self.now.unix_us,
            protocol: connection.session.protocol,
            queue,
            places: plan.places,
            is_exec,
            // Commands on the session run at home, and not before the verdict on watched keys.
            has_locks: plan.has_joint
                || plan.has_ask
                || (is_watching && (plan.shards.len() > 1 || plan.has_session)),
            is_closing: false,
            next: 0,
            joint: None,
            table: None,
            is_recorded: false,
            flight: Flight::default(),
            own: self.port.envelope(self.me),
            asks: Vec::new(),
            records: Default::default(),
            attempt,
        });
        let (items, mut batch_args) = transaction.queue.parts();
        transaction.flight.written = written_large(&self.thresholds, items, &mut batch_args);
        self.open_parts(&mut transaction, &plan.shards, watched);
        if transaction.has_locks && is_watching {
            // Nothing runs before all shards have said that the watched keys are as they were.
            self.send_round(transaction, true);
        } else {
            self.advance(transaction, true);
        }
    }

    /// Finds out where each command runs, on which database, and which shards take part.
    fn plan(&mut self, conn: ConnId, queue: &mut Queue, watched: &[u16]) -> Plan {
        let mut plan = std::mem::take(&mut self.plan);
        plan.clear();
        plan.shards.extend_from_slice(watched);
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let session = &connection.session;
        let (mut db, is_quiet) = (session.db, session.is_no_touch);
        let sees_due = session.is_import_source;
        let mut ahead = None;
        let (items, mut batch_args) = queue.parts();
        for item in items {
            let mut args = batch_args.of(item);
            let entry = item.entry;
            let mut place = Place::Shard(self.me as u16);
            if let Some(run) = entry.on_session().filter(|_| entry.selects_database()) {
                let mut unread = Output::default();
                let mut context = SessionContext {
                    session: ahead.get_or_insert_with(|| session.clone()),
                    process: &self.process,
                    entry,
                    now_us: self.now.unix_us,
                    shard: self.me,
                    reply: Reply::new(&mut unread, session.protocol),
                    request: None,
                };
                // A database that cannot be selected is refused when its turn comes.
                let _ = run(&mut context, &mut args);
                db = context.session.db;
            } else if entry.on_session().is_none() {
                (place, item.slot) = self.router.place(entry, &args, self.me as u16);
                let boards = &self.process.boards;
                let keys = &|| boards.database(db)[0];
                place = self.router.walk_place(entry, &args, place, keys);
                item.db = db as u16;
                item.sees_due = sees_due;
                item.is_quiet = is_quiet;
                let is_joint = entry.gathers_keys();
                plan.has_joint |= place == Place::Several && is_joint;
                self.router.for_each_shard(entry, &args, place, &mut |shard| plan.add(shard));
            }
            let is_session = entry.on_session().is_some();
            plan.has_session |= is_session;
            plan.has_ask |= entry.command.asks_shards;
            plan.places.push(place);
        }
        plan.shards.sort_unstable();
        plan
    }

    /// Whether a transaction whose keys are all here would have to wait for another.
    fn has_conflict(&mut self, conn: ConnId, queue: &mut Queue, is_watching: bool) -> bool {
        if self.locks.is_empty() {
            return false;
        }
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let watcher = is_watching.then_some(connection.session.id);
        let (items, mut batch_args) = queue.parts();
        self.is_in_the_way(items, &mut batch_args, watcher)
    }

    /// An envelope for each shard that takes part, with what it locks and watches there.
    fn open_parts(&mut self, transaction: &mut Transaction, shards: &[u16], watched: &[u16]) {
        let (watcher, connection) = {
            let connection =
                self.connections.get_mut(transaction.connection).expect("it is served");
            (connection.session.id, transaction.connection)
        };
        let stage = if transaction.has_locks { Stage::Acquire } else { Stage::OneShot };
        transaction.flight.prepare(shards.len() + 1);
        for (part, &shard) in shards.iter().enumerate() {
            let mut envelope = self.port.envelope(usize::from(shard));
            envelope.part = part as u16;
            envelope.connection = connection;
            envelope.generation = transaction.generation;
            envelope.protocol = transaction.protocol;
            let mut hold = Box::new(TxnPart::new(transaction.id, stage, transaction.now_us));
            hold.watcher = watched.contains(&shard).then_some(watcher);
            envelope.hold = Some(hold);
            transaction.flight.put_back(envelope);
        }
        transaction.own.part = shards.len() as u16;
        if transaction.has_locks {
            self.collect_key_locks(transaction, shards);
        }
    }

    /// Writes into each part what the commands mean to touch on its shard.
    fn collect_key_locks(&mut self, transaction: &mut Transaction, shards: &[u16]) {
        let (slice, router) = (&self.slice, self.router);
        let (items, mut batch_args) = transaction.queue.parts();
        for item in items {
            let args = batch_args.of(item);
            let hash = |word: &[u8]| slice.key(word).hash;
            for_each_key_lock(item.entry, &args, &hash, &mut |word, key_lock| {
                for (part, shard) in shards.iter().enumerate() {
                    if word.is_none_or(|word| router.owner_of(&args[word]) == *shard) {
                        transaction.flight.hold_mut(part).key_locks.push(key_lock);
                    }
                }
            });
        }
    }

    /// Works through the commands up to the next that needs keys brought together, and sends the
    /// round.
    pub(super) fn advance(&mut self, mut transaction: Box<Transaction>, is_first: bool) {
        while transaction.next < transaction.places.len() && transaction.joint.is_none() {
            let item = transaction.queue.items[transaction.next];
            if item.entry.on_session().is_some() {
                transaction.next += 1;
                self.run_own(&mut transaction, item);
            } else if transaction.is_joint(transaction.next) {
                transaction.joint = Some(transaction.next);
                transaction.next += 1;
                self.request_keys(&mut transaction, &item);
            } else {
                self.add_segment(&mut transaction);
            }
        }
        self.send_round(transaction, is_first);
    }

    /// Adds the next commands to the parts of their shards, as far as they are of that kind.
    fn add_segment(&mut self, transaction: &mut Transaction) {
        let (shards, count) = (self.router.shards(), usize::from(transaction.own.part));
        let mut parts = Parts::reopen(&mut self.port, &mut transaction.flight, shards, count);
        let (items, mut batch_args) = transaction.queue.parts();
        while let Some(item) = items.get(transaction.next) {
            let place = transaction.places[transaction.next];
            let is_joint = place == Place::Several && item.entry.gathers_keys();
            if is_joint || item.entry.is_session() {
                break;
            }
            parts.add(item, place, &mut batch_args, self.router);
            transaction.next += 1;
        }
        parts.put_back();
    }

    /// Sends those parts that have something to do; all of them in the first and the last round.
    fn send_round(&mut self, mut transaction: Box<Transaction>, is_first: bool) {
        let is_done = transaction.next == transaction.places.len() && transaction.joint.is_none();
        let is_last = is_done && !(is_first && transaction.has_locks);
        transaction.is_closing = is_last;
        let are_replies_due = !transaction.asks.is_empty()
            || transaction.flight.parts().any(|part| !part.items.is_empty());
        if is_last && !is_first && !are_replies_due && !self.may_wake_far(&transaction) {
            // The replies are here: the client need not wait until the locks are gone.
            return self.conclude(transaction, false);
        }
        let mut out = Vec::new();
        for part in 0..usize::from(transaction.own.part) {
            if is_first || is_last || transaction.flight.has_work(part) {
                let mut envelope = transaction.flight.take(part);
                let hold = envelope.hold.as_mut().expect("a part of a transaction has one");
                if !is_first {
                    hold.stage = if is_last { Stage::Release } else { Stage::Continue };
                    hold.records.absorb(&mut transaction.records);
                }
                out.push(envelope);
            }
        }
        let asks = std::mem::take(&mut transaction.asks);
        transaction.flight.relaunch(out.len() + asks.len());
        if out.is_empty() && asks.is_empty() {
            return self.proceed(transaction);
        }
        self.board.counters.envelopes_posted.add((out.len() + asks.len()) as u64);
        self.transactions.insert(transaction.id, transaction);
        self.post_round(out, asks, is_first);
    }

    /// Whether the last round may wake clients who use keys of several shards: the reply is to come
    /// when they are served.
    fn may_wake_far(&self, transaction: &Transaction) -> bool {
        let wakes = |part: &Envelope| {
            part.hold.as_ref().is_some_and(|hold| !hold.stores.is_empty() || !hold.ready.is_empty())
        };
        let is_new = transaction.attempt.is_none();
        is_new && self.process.has_far_waiters() && transaction.flight.parts().any(wakes)
    }

    // Boxed, because an envelope keeps its address on its way.
    #[allow(clippy::vec_box)]
    fn post_round(&mut self, out: Vec<Box<Envelope>>, asks: Vec<Box<Envelope>>, is_first: bool) {
        if is_first && !out.is_empty() {
            self.board.counters.batches_remote.add(1);
            self.post_unit(out);
        } else {
            let sent = self.moment();
            out.into_iter().for_each(|envelope| self.port.post_next(envelope, sent));
        }
        let sent = self.moment();
        asks.into_iter().for_each(|ask| self.port.post(std::iter::once(ask), sent));
    }

    /// A part of a transaction is back.
    pub(super) fn land_transaction(&mut self, envelope: Box<Envelope>) {
        let hold = envelope.hold.as_ref().expect("a part of a transaction has one");
        let id = hold.transaction;
        let Some(transaction) = self.transactions.get_mut(&id) else {
            // It was over when its last parts were sent.
            self.land_moved(id);
            return self.port.recycle(envelope);
        };
        transaction.flight.land(envelope);
        if transaction.flight.has_landed() {
            let transaction = self.transactions.remove(&id).expect("looked at above");
            self.proceed(transaction);
        }
    }

    /// All parts of a round are back: what comes next.
    fn proceed(&mut self, mut transaction: Box<Transaction>) {
        let is_broken = |part: &Envelope| part.hold.as_ref().is_some_and(|hold| hold.is_broken);
        if transaction.flight.parts().any(is_broken) {
            return self.conclude(transaction, true);
        }
        if transaction.is_closing {
            return self.conclude(transaction, false);
        }
        transaction.flight.next_round();
        if let Some(at) = transaction.joint.take() {
            let turn = self.set_time(transaction.now_us);
            let rest = self.run_together(transaction, at);
            self.set_time(turn);
            let Some(rest) = rest else { return };
            transaction = rest;
        }
        self.advance(transaction, false);
    }

    /// Lands the merged replies as the answer to the connection's flight. Locks that are still
    /// held are given back.
    fn conclude(&mut self, mut transaction: Box<Transaction>, is_broken: bool) {
        let (conn, generation) = (transaction.connection, transaction.generation);
        let awaited = Awaited { conn, generation, flight: transaction.flight_number };
        let attempt = transaction.attempt.take();
        if let Some(attempt) = &attempt {
            self.end_attempt(&mut transaction, awaited, attempt);
        }
        let moved = attempt.as_ref().and_then(|attempt| attempt.woken);
        if let Some(attempt) = attempt.filter(|attempt| attempt.waits_on) {
            self.close_parts(&mut transaction, moved);
            self.port.recycle(transaction.own);
            return self.wait_at_owners(awaited, attempt, &transaction.queue);
        }
        let mut answer = self.answer_to(awaited);
        let mut reply = Reply::new(&mut answer.output, transaction.protocol);
        if is_broken {
            reply.null_array();
        } else {
            if transaction.is_exec {
                reply.array(transaction.places.len());
            }
            let own = std::mem::replace(&mut transaction.own, self.port.envelope(self.me));
            transaction.flight.put_back(own);
            let (rng, protocol) = (&mut self.rng, transaction.protocol);
            let mut replies = LargeReplies::new(&self.thresholds, answer.output.len());
            let draw = |below| rng.below(below);
            let see = |at, output: &Output| replies.see(at, output.len());
            transaction.flight.merge(protocol, &mut answer.output, draw, see);
            if transaction.flight.is_notable() || !replies.found.is_empty() {
                let Transaction { flight, queue, .. } = &mut *transaction;
                self.log_flight((conn, generation), flight, &replies.found, Some(queue));
            }
        }
        self.close_parts(&mut transaction, moved);
        self.port.recycle(transaction.own);
        self.land_answer(answer);
    }

    /// Has the owners put back what was changed and let go, as far as they have not. If it ran the
    /// command of a client that waited, the owner that has woken it is told when all that is over.
    fn close_parts(&mut self, transaction: &mut Transaction, moved: Option<Woken>) {
        if let Some(woken) = moved {
            let has_next =
                |part: &&Envelope| part.hold.as_ref().is_some_and(|hold| hold.stage.has_next());
            let left = transaction.flight.parts().filter(has_next).count();
            self.await_moved(transaction, woken, left);
        }
        for mut envelope in transaction.flight.drain() {
            match &mut envelope.hold {
                Some(hold) if hold.stage.has_next() => {
                    hold.stage = Stage::Release;
                    hold.records.absorb(&mut transaction.records);
                    envelope.drop_replies();
                    self.port.post_next(envelope, self.moment());
                }
                _ => self.port.recycle(envelope),
            }
        }
    }
}
