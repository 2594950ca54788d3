//! The commands of a transaction that run at its home: those on the session, and those that need
//! keys of several shards together, on a slice that holds nothing but these.

use super::Shard;
use super::command_log::BatchTiming;
use super::cron::publish_stats;
use super::drain::{Settled, note_failure};
use super::offload_pool::{Outcome, Owner, Setting, run_transaction};
use super::wake::args_of;
use crate::client::{Flight, ReplySource, Transaction, Workspace};
use crate::exec::{BATCH_COMMANDS_MAX, Item, Mode, Records, Request, Runner, Session};
use crate::exec::{BatchArgs, RemoteKey, SessionContext, remote_keys_of};
use crate::io::ConnId;
use crate::keyspace::{DetachedValue, ExpiryRole, Slice, SliceOptions};
use crate::mesh::{Stage, TxnPart, Work};
use crate::resp::{Error, Reply};
use crate::txn::Queue;

/// Keys that roaming commands have among their words: SORT's own and its destination.
const KEYS_OF_WORDS_MAX: usize = 2;

impl Shard {
    /// Runs a transaction all of whose keys are here, in one piece.
    pub(super) fn exec_here(&mut self, conn: ConnId, mut queue: Box<Queue>, is_watching: bool) {
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let (client, protocol) = (connection.session.id, connection.session.protocol);
        self.forwarded.begun.clear();
        let is_broken = is_watching && self.slice.is_watch_broken(client);
        if is_watching {
            self.unwatch_here(client);
        }
        let mut records = self.records_now();
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let output = &mut connection.outbox.output;
        let (items, mut batch_args) = queue.parts();
        if is_broken {
            Reply::new(output, protocol).null_array();
        } else {
            Reply::new(output, protocol).array(items.len());
            for batch in items.chunks(BATCH_COMMANDS_MAX) {
                self.run_batch_here(conn, batch, &mut batch_args, records.as_mut());
            }
        }
        self.board.counters.batches_local.add(1);
        self.write_down_here(records, true);
        self.wake_behind(None);
        self.hold_connection(conn);
        queue.clear();
        let connection = self.connections.get_mut(conn).expect("it is being served");
        connection.queue = Some(queue);
        self.make_dirty(conn);
    }

    fn run_batch_here(
        &mut self,
        conn: ConnId,
        batch: &[Item],
        batch_args: &mut BatchArgs<'_>,
        records: Option<&mut Records>,
    ) {
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let output = &mut connection.outbox.output;
        let started_ns = self.process.clock.monotonic_ns();
        let before = (started_ns, output.len());
        let mut timing = BatchTiming::new(&self.thresholds, batch, batch_args, before);
        let mut runner = Runner {
            slice: &mut self.slice,
            now_ms: self.now.unix_ms(),
            protocol: connection.session.protocol,
            config: &self.config,
            records,
            reach: None,
            is_whole: true,
            attempt: Default::default(),
            effects: Default::default(),
        };
        let (board, clock) = (&self.board, &self.process.clock);
        runner.run(batch, batch_args, output, |at, failed, output| {
            timing.see(at, clock, output.len());
            if let Some(error) = failed {
                note_failure(board, batch[at].entry, error);
            }
        });
        let effects = runner.effects;
        let spent_ns = self.process.clock.monotonic_ns() - started_ns;
        if timing.has_news(&self.thresholds, spent_ns) {
            let session = connection.session.clone();
            timing.tell(spent_ns, &self.reporter(), &session, (batch, batch_args));
        }
        self.settle(Settled { effects, spent_ns, db: batch[0].db.into() }, batch);
    }

    /// Runs a command on the session inside a transaction; its reply is a part of its own.
    pub(super) fn run_own(&mut self, transaction: &mut Transaction, item: Item) {
        match self.run_on_session(transaction, item) {
            None => self.end_own(transaction),
            Some(request) => {
                let is_asked = self.ask_merge(&request).is_some();
                debug_assert!(!is_asked || item.entry.command.asks_shards, "{}", item.entry.name);
                self.ask_inside(transaction, request);
            }
        }
    }

    /// Runs a command on the session; its reply goes to the transaction's own part.
    fn run_on_session(&mut self, transaction: &mut Transaction, item: Item) -> Option<Request> {
        let started_ns = self.process.clock.monotonic_ns();
        let (_, mut batch_args) = transaction.queue.parts();
        let mut args = batch_args.of(&item);
        // The client may have left meanwhile; its transaction goes on.
        let mut nobody = Session::new(0, true, 0);
        let connection = self.connections.get_same(transaction.connection, transaction.generation);
        let session = connection.map_or(&mut nobody, |connection| &mut connection.session);
        let output = &mut transaction.own.output;
        let before = output.mark();
        let protocol = session.protocol;
        let mut context = SessionContext {
            reply: Reply::new(output, protocol),
            session,
            process: &self.process,
            entry: item.entry,
            now_us: self.now.unix_us,
            shard: self.me,
            request: None,
        };
        let result = match item.entry.on_session() {
            Some(run) => run(&mut context, &mut args),
            None => Err(Error::wrong_arity(&item.entry.name)),
        };
        let request = context.request.take();
        if let Err(error) = &result {
            output.truncate(before);
            Reply::new(output, protocol).error(error);
            note_failure(&self.board, item.entry, error);
        }
        let ns = self.process.clock.monotonic_ns() - started_ns;
        if ns >= self.thresholds.run_ns {
            transaction.own.spent.push((item.at, ns));
        }
        self.record_runs(item.entry, 1, ns);
        self.board.counters.commands_processed.add(1);
        request.filter(|_| result.is_ok())
    }

    /// A command inside a transaction asks something of this shard, or of all.
    fn ask_inside(&mut self, transaction: &mut Transaction, request: Request) {
        let protocol = transaction.protocol;
        let merge = match self.ask_merge(&request) {
            Some(merge) if self.port.has_all_credits() => merge,
            Some(_) => {
                let error = Error::other("ERR too much is under way to ask all shards, try again");
                Reply::new(&mut transaction.own.output, protocol).error(&error);
                return self.end_own(transaction);
            }
            None => {
                self.ask_here(transaction.connection, &request, &mut transaction.own.output);
                return self.end_own(transaction);
            }
        };
        let first = transaction.flight.members.len() as u32;
        for shard in 0..self.router.shards() {
            let mut envelope = self.port.envelope(shard);
            envelope.part = transaction.flight.add_part();
            envelope.connection = transaction.connection;
            envelope.generation = transaction.generation;
            envelope.protocol = protocol;
            envelope.work = Work::Ask(request.clone());
            let mut hold =
                Box::new(TxnPart::new(transaction.id, Stage::OneShot, transaction.now_us));
            hold.fetch_at = transaction.flight.order.len() as u32;
            envelope.hold = Some(hold);
            transaction.flight.members.push(envelope.part);
            transaction.asks.push(envelope);
        }
        let end = transaction.flight.members.len() as u32;
        transaction.flight.order.push(ReplySource::Merged(merge, first..end));
    }

    fn end_own(&mut self, transaction: &mut Transaction) {
        let end = transaction.own.output.mark();
        transaction.own.ends.push(end);
        transaction.flight.order.push(ReplySource::One(transaction.own.part));
    }

    /// Asks the owners for the values of a command's keys.
    pub(super) fn request_keys(&mut self, transaction: &mut Transaction, item: &Item) {
        assert!(item.entry.gathers_keys(), "{} does not bring keys together", item.entry.name);
        let (_, mut batch_args) = transaction.queue.parts();
        let args = batch_args.of(item);
        let remote_keys = remote_keys_of(item, &args, self.slice.databases());
        for remote_key in remote_keys {
            let owner = self.router.owner(remote_key.slot);
            let part = (0..usize::from(transaction.own.part))
                .find(|part| transaction.flight.owner(*part) == owner)
                .expect("the owners of its keys take part");
            let hold = transaction.flight.hold_mut(part);
            hold.fetch_at = item.at;
            hold.fetches.push(remote_key);
        }
    }

    /// Runs a command on the values that were fetched for it; those that it changes are to be
    /// stored in the next round. None: it runs in the workshop, and goes on when it has.
    pub(super) fn run_together(
        &mut self,
        mut transaction: Box<Transaction>,
        at: usize,
    ) -> Option<Box<Transaction>> {
        let mut table = transaction.table.take().unwrap_or_else(|| self.empty_table());
        for part in 0..usize::from(transaction.own.part) {
            for remote_key in std::mem::take(&mut transaction.flight.hold_mut(part).fetches) {
                self.lay_one(&mut table, part, remote_key);
            }
        }
        transaction.is_recorded = self.feed.is_on();
        if self.is_slow_transaction(&mut transaction, at, &table) {
            self.send_away(Owner::Transaction(transaction), at, table);
            return None;
        }
        let started_ns = self.process.clock.monotonic_ns();
        let protocol = transaction.protocol;
        let setting = Setting { config: &self.config, protocol, now_ms: self.now.unix_ms() };
        let before = transaction.own.output.mark();
        if !is_fitting(&mut table.slice, &mut transaction) {
            self.bring_back(&mut transaction.flight, *table);
            return Some(transaction);
        }
        let mut outcome = run_transaction(&mut transaction, at, &mut table, &setting);
        if let (Some(mut wait), Some(attempt)) = (outcome.wait.take(), &mut transaction.attempt) {
            transaction.own.ends.clear();
            let item = transaction.queue.items[at];
            let (_, mut batch_args) = transaction.queue.parts();
            wait.args.get_or_insert_with(|| args_of(&item, &mut batch_args));
            attempt.waits_on = true;
            attempt.wait = Some(wait);
            self.settle_wait(&outcome.effects);
            self.bring_back(&mut transaction.flight, *table);
        } else if table.reach.is_short() {
            assert!(outcome.effects.changes == 0, "a command changed something too early");
            transaction.own.output.truncate(before);
            transaction.own.ends.pop();
            self.request_more(&mut transaction, &mut table, at);
            transaction.table = Some(table);
            transaction.joint = Some(at);
        } else {
            self.end_together(&mut transaction, at, *table, (outcome, started_ns));
        }
        Some(transaction)
    }

    /// A command of a transaction has run in the workshop.
    pub(super) fn resume_transaction(
        &mut self,
        mut transaction: Box<Transaction>,
        at: usize,
        table: Workspace,
        outcome: (Outcome, u64),
    ) {
        self.end_together(&mut transaction, at, table, outcome);
        self.advance(transaction, false);
    }

    fn end_together(
        &mut self,
        transaction: &mut Transaction,
        at: usize,
        table: Workspace,
        (outcome, started_ns): (Outcome, u64),
    ) {
        let item = transaction.queue.items[at];
        self.settle_slow(outcome, &item, started_ns, &mut transaction.own.spent);
        transaction.flight.order.push(ReplySource::One(transaction.own.part));
        self.bring_back(&mut transaction.flight, table);
    }

    /// A table with nothing on it.
    pub(super) fn empty_table(&mut self) -> Box<Workspace> {
        let mut slice = self.scratch.take().unwrap_or_else(|| self.make_scratch());
        slice.set_now(self.now.unix_ms());
        slice.note_expired(self.feed.is_on());
        slice.set_frequency(self.frequency());
        Box::new(Workspace { slice, remote_keys: Vec::new(), reach: Default::default() })
    }

    /// Puts what was fetched on the table.
    pub(super) fn lay_one(
        &mut self,
        table: &mut Workspace,
        part: usize,
        mut remote_key: RemoteKey,
    ) {
        let Workspace { slice, remote_keys, .. } = table;
        let key = slice.key_in_slot(&remote_key.key, remote_key.slot);
        if let Some(detached) = remote_key.value.take() {
            slice.bring(usize::from(remote_key.db), &key, detached);
        }
        if remote_key.mode == Mode::Exclusive {
            slice.watch(remote_keys.len() as u64, usize::from(remote_key.db), &key);
        }
        remote_keys.push((part, remote_key));
    }

    /// Takes everything off a table: what a command changed, or what its owner gave away, is to be
    /// brought back.
    pub(super) fn clear_table(
        &mut self,
        table: Workspace,
        bring: &mut dyn FnMut(usize, RemoteKey),
    ) {
        let Workspace { mut slice, remote_keys, .. } = table;
        // What the command left due is to fall due at its owner, where the feed is told so.
        slice.set_role(ExpiryRole::Loading);
        for (number, (part, mut remote_key)) in remote_keys.into_iter().enumerate() {
            let db = usize::from(remote_key.db);
            let key = slice.key_in_slot(&remote_key.key, remote_key.slot);
            let is_changed = slice.is_watch_broken(number as u64);
            slice.unwatch(number as u64);
            let detached = slice.take_silently(db, &key);
            if remote_key.mode == Mode::Shared {
                // It was lent, if it is one of those that are not copied.
                detached.into_iter().for_each(DetachedValue::forget);
            } else if is_changed || detached.as_ref().is_some_and(DetachedValue::is_moved) {
                remote_key.value = detached;
                remote_key.is_changed = is_changed;
                bring(part, remote_key);
            }
        }
        slice.set_role(ExpiryRole::Primary);
        publish_stats(&self.board, &mut slice);
        self.scratch.get_or_insert(slice);
    }

    /// Takes everything off a transaction's table, for the owners to store in the next round.
    fn bring_back(&mut self, flight: &mut Flight, table: Workspace) {
        self.clear_table(table, &mut |part, remote_key| {
            flight.hold_mut(part).stores.push(remote_key)
        });
    }

    /// Asks for the values of keys that a command came upon. All databases are locked for it.
    fn request_more(&mut self, transaction: &mut Transaction, table: &mut Workspace, at: usize) {
        let item = transaction.queue.items[at];
        let mut wanted: Vec<_> = table.reach.take_wanted().into_iter().collect();
        let is_here = |key: &[u8]| {
            table
                .remote_keys
                .iter()
                .take(KEYS_OF_WORDS_MAX)
                .any(|(_, remote_key)| *remote_key.key == *key)
        };
        wanted.retain(|key| !is_here(key));
        for key in wanted {
            let slot = crate::base::slot::slot_of(&key);
            let owner = self.router.owner(slot);
            let part = (0..usize::from(transaction.own.part))
                .find(|part| transaction.flight.owner(*part) == owner)
                .expect("all shards take part");
            let (mode, db) = (Mode::Shared, item.db);
            let hold = transaction.flight.hold_mut(part);
            hold.fetch_at = item.at;
            let remote_key = RemoteKey { db, slot, mode, key, value: None, is_changed: false };
            hold.fetches.push(remote_key);
        }
    }

    fn make_scratch(&self) -> Box<Slice> {
        Box::new(Slice::new(SliceOptions {
            databases: self.slice.databases(),
            slots: 0..crate::base::slot::SLOT_COUNT,
            hash_seed: self.hash_seed,
            seed: 0,
        }))
    }
}

/// Whether the key that woke a command still has a value for it; if not, it waits on.
fn is_fitting(slice: &mut Slice, transaction: &mut Transaction) -> bool {
    let Some(attempt) = &mut transaction.attempt else { return true };
    let Some(woken) = attempt.woken else { return true };
    let key = slice.key(transaction.queue.word(0, woken.word));
    let db = usize::from(transaction.queue.items[0].db);
    attempt.waits_on = slice.kind_of(db, &key) != Some(woken.kind);
    !attempt.waits_on
}
