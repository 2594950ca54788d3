//! The commands of a transaction that run at its home: those on the session, and those that need
//! keys of several shards together, on a slice that holds nothing but these.

use super::Shard;
use super::cron::publish_stats;
use super::drain::{Settled, note_failure};
use super::notice::Look;
use super::wake::words_of;
use super::workshop::{Outcome, Owner, Setting, run_program};
use crate::client::{Flight, Program, Slot, Table};
use crate::exec::{BATCH_COMMANDS_MAX, Item, Mode, Records, Request, Runner, Session};
use crate::exec::{SessionContext, Visit, Words, visits_of};
use crate::io::ConnId;
use crate::keyspace::{ExpiryRole, Parcel, Slice, SliceOptions};
use crate::mesh::{Hold, Stage, Work};
use crate::resp::{Error, Reply};
use crate::txn::Queue;

/// Keys that roaming commands have among their words: SORT's own and its destination.
const KEYS_OF_WORDS_MAX: usize = 2;

impl Shard {
    /// Runs a transaction all of whose keys are here, in one piece.
    pub(super) fn exec_here(&mut self, conn: ConnId, mut queue: Box<Queue>, is_watching: bool) {
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let (client, protocol) = (connection.session.id, connection.session.protocol);
        self.moves.begun.clear();
        let is_broken = is_watching && self.slice.is_watch_broken(client);
        if is_watching {
            self.unwatch_here(client);
        }
        let mut records = self.records_now();
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let output = &mut connection.outbox.output;
        let (items, mut words) = queue.parts();
        if is_broken {
            Reply::new(output, protocol).null_array();
        } else {
            Reply::new(output, protocol).array(items.len());
            for batch in items.chunks(BATCH_COMMANDS_MAX) {
                self.run_batch_here(conn, batch, &mut words, records.as_mut());
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
        words: &mut Words<'_>,
        records: Option<&mut Records>,
    ) {
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let output = &mut connection.outbox.output;
        let started_ns = self.process.clock.monotonic_ns();
        let before = (started_ns, output.len());
        let mut look = Look::new(&self.thresholds, batch, words, before);
        let mut runner = Runner {
            slice: &mut self.slice,
            now_ms: self.now.unix_ms(),
            protocol: connection.session.protocol,
            config: &self.config,
            records,
            reach: None,
            is_whole: true,
            trial: Default::default(),
            effects: Default::default(),
        };
        let (board, clock) = (&self.board, &self.process.clock);
        runner.run(batch, words, output, |at, failed, output| {
            look.see(at, clock, output.len());
            if let Some(error) = failed {
                note_failure(board, batch[at].entry, error);
            }
        });
        let effects = runner.effects;
        let spent_ns = self.process.clock.monotonic_ns() - started_ns;
        if look.has_news(&self.thresholds, spent_ns) {
            let session = connection.session.clone();
            look.tell(spent_ns, &self.desk(), &session, (batch, words));
        }
        self.settle(Settled { effects, spent_ns, db: batch[0].db.into() }, batch);
    }

    /// Runs a command on the session inside a transaction; its reply is a part of its own.
    pub(super) fn run_own(&mut self, program: &mut Program, item: Item) {
        match self.run_on_session(program, item) {
            None => self.end_own(program),
            Some(request) => self.ask_inside(program, request),
        }
    }

    /// Runs a command on the session; its reply goes to the transaction's own part.
    fn run_on_session(&mut self, program: &mut Program, item: Item) -> Option<Request> {
        let started_ns = self.process.clock.monotonic_ns();
        let (_, mut words) = program.queue.parts();
        let mut args = words.args(&item);
        // The client may have left meanwhile; its transaction goes on.
        let mut nobody = Session::new(0, true, 0);
        let connection = self.connections.get_same(program.connection, program.generation);
        let session = connection.map_or(&mut nobody, |connection| &mut connection.session);
        let output = &mut program.own.output;
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
        let result = match item.entry.command.run.on_session() {
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
            program.own.spent.push((item.at, ns));
        }
        self.record_runs(item.entry, 1, ns);
        self.board.counters.commands_processed.add(1);
        request.filter(|_| result.is_ok())
    }

    /// A command inside a transaction asks something of this shard, or of all.
    fn ask_inside(&mut self, program: &mut Program, request: Request) {
        let protocol = program.protocol;
        let merge = match self.ask_merge(&request) {
            Some(merge) if self.port.has_all_credits() => merge,
            Some(_) => {
                let error = Error::other("ERR too much is under way to ask all shards, try again");
                Reply::new(&mut program.own.output, protocol).error(&error);
                return self.end_own(program);
            }
            None => {
                self.ask_here(program.connection, &request, &mut program.own.output);
                return self.end_own(program);
            }
        };
        let first = program.flight.members.len() as u32;
        for shard in 0..self.router.shards() {
            let mut envelope = self.port.envelope(shard);
            envelope.part = program.flight.add_part();
            envelope.connection = program.connection;
            envelope.generation = program.generation;
            envelope.protocol = protocol;
            envelope.work = Work::Ask(request.clone());
            let mut hold = Box::new(Hold::new(program.id, Stage::Only, program.now_us));
            hold.fetch_at = program.flight.order.len() as u32;
            envelope.hold = Some(hold);
            program.flight.members.push(envelope.part);
            program.asks.push(envelope);
        }
        let end = program.flight.members.len() as u32;
        program.flight.order.push(Slot::Merged(merge, first..end));
    }

    fn end_own(&mut self, program: &mut Program) {
        let end = program.own.output.mark();
        program.own.ends.push(end);
        program.flight.order.push(Slot::One(program.own.part));
    }

    /// Asks the owners for the values of a command's keys.
    pub(super) fn request_keys(&mut self, program: &mut Program, item: &Item) {
        let run = item.entry.command.run;
        assert!(run.is_joint(), "{} does not bring keys together", item.entry.name);
        let (_, mut words) = program.queue.parts();
        let args = words.args(item);
        let visits = visits_of(item, &args, self.slice.databases());
        for visit in visits {
            let owner = self.router.owner(visit.slot);
            let part = (0..usize::from(program.own.part))
                .find(|part| program.flight.owner(*part) == owner)
                .expect("the owners of its keys take part");
            let hold = program.flight.hold_mut(part);
            hold.fetch_at = item.at;
            hold.fetches.push(visit);
        }
    }

    /// Runs a command on the values that were fetched for it; those that it changes are to be
    /// stored in the next round. None: it runs in the workshop, and goes on when it has.
    pub(super) fn run_together(
        &mut self,
        mut program: Box<Program>,
        at: usize,
    ) -> Option<Box<Program>> {
        let mut table = program.table.take().unwrap_or_else(|| self.empty_table());
        for part in 0..usize::from(program.own.part) {
            for visit in std::mem::take(&mut program.flight.hold_mut(part).fetches) {
                self.lay_one(&mut table, part, visit);
            }
        }
        program.is_recorded = self.feed.is_on();
        if self.is_slow_program(&mut program, at, &table) {
            self.send_away(Owner::Program(program), at, table);
            return None;
        }
        let started_ns = self.process.clock.monotonic_ns();
        let protocol = program.protocol;
        let setting = Setting { config: &self.config, protocol, now_ms: self.now.unix_ms() };
        let before = program.own.output.mark();
        if !is_fitting(&mut table.slice, &mut program) {
            self.bring_back(&mut program.flight, *table);
            return Some(program);
        }
        let mut outcome = run_program(&mut program, at, &mut table, &setting);
        if let (Some(mut wait), Some(trial)) = (outcome.wait.take(), &mut program.trial) {
            program.own.ends.clear();
            let item = program.queue.items[at];
            let (_, mut words) = program.queue.parts();
            wait.words.get_or_insert_with(|| words_of(&item, &mut words));
            trial.waits_on = true;
            trial.wait = Some(wait);
            self.settle_wait(&outcome.effects);
            self.bring_back(&mut program.flight, *table);
        } else if table.reach.is_short() {
            assert!(outcome.effects.changes == 0, "a command changed something too early");
            program.own.output.truncate(before);
            program.own.ends.pop();
            self.request_more(&mut program, &mut table, at);
            program.table = Some(table);
            program.joint = Some(at);
        } else {
            self.end_together(&mut program, at, *table, (outcome, started_ns));
        }
        Some(program)
    }

    /// A command of a transaction has run in the workshop.
    pub(super) fn resume_program(
        &mut self,
        mut program: Box<Program>,
        at: usize,
        table: Table,
        outcome: (Outcome, u64),
    ) {
        self.end_together(&mut program, at, table, outcome);
        self.advance(program, false);
    }

    fn end_together(
        &mut self,
        program: &mut Program,
        at: usize,
        table: Table,
        (outcome, started_ns): (Outcome, u64),
    ) {
        let item = program.queue.items[at];
        self.settle_slow(outcome, &item, started_ns, &mut program.own.spent);
        program.flight.order.push(Slot::One(program.own.part));
        self.bring_back(&mut program.flight, table);
    }

    /// A table with nothing on it.
    pub(super) fn empty_table(&mut self) -> Box<Table> {
        let mut slice = self.scratch.take().unwrap_or_else(|| self.make_scratch());
        slice.set_now(self.now.unix_ms());
        slice.note_expired(self.feed.is_on());
        slice.set_frequency(self.frequency());
        Box::new(Table { slice, visits: Vec::new(), reach: Default::default() })
    }

    /// Puts what was fetched on the table.
    pub(super) fn lay_one(&mut self, table: &mut Table, part: usize, mut visit: Visit) {
        let Table { slice, visits, .. } = table;
        let key = slice.key_in_slot(&visit.key, visit.slot);
        if let Some(parcel) = visit.parcel.take() {
            slice.bring(usize::from(visit.db), &key, parcel);
        }
        if visit.mode == Mode::Exclusive {
            slice.watch(visits.len() as u64, usize::from(visit.db), &key);
        }
        visits.push((part, visit));
    }

    /// Takes everything off a table: what a command changed, or what its owner gave away, is to be
    /// brought back.
    pub(super) fn clear_table(&mut self, table: Table, bring: &mut dyn FnMut(usize, Visit)) {
        let Table { mut slice, visits, .. } = table;
        // What the command left due is to fall due at its owner, where the feed is told so.
        slice.set_role(ExpiryRole::Loading);
        for (number, (part, mut visit)) in visits.into_iter().enumerate() {
            let db = usize::from(visit.db);
            let key = slice.key_in_slot(&visit.key, visit.slot);
            let is_changed = slice.is_watch_broken(number as u64);
            slice.unwatch(number as u64);
            let parcel = slice.take_untold(db, &key);
            if visit.mode == Mode::Shared {
                // It was lent, if it is one of those that are not copied.
                parcel.into_iter().for_each(Parcel::forget);
            } else if is_changed || parcel.as_ref().is_some_and(Parcel::is_moved) {
                visit.parcel = parcel;
                visit.is_changed = is_changed;
                bring(part, visit);
            }
        }
        slice.set_role(ExpiryRole::Primary);
        publish_stats(&self.board, &mut slice);
        self.scratch.get_or_insert(slice);
    }

    /// Takes everything off a transaction's table, for the owners to store in the next round.
    fn bring_back(&mut self, flight: &mut Flight, table: Table) {
        self.clear_table(table, &mut |part, visit| flight.hold_mut(part).stores.push(visit));
    }

    /// Asks for the values of keys that a command came upon. All databases are locked for it.
    fn request_more(&mut self, program: &mut Program, table: &mut Table, at: usize) {
        let item = program.queue.items[at];
        let mut wanted: Vec<_> = table.reach.take_wanted().into_iter().collect();
        let is_here = |key: &[u8]| {
            table.visits.iter().take(KEYS_OF_WORDS_MAX).any(|(_, visit)| *visit.key == *key)
        };
        wanted.retain(|key| !is_here(key));
        for key in wanted {
            let slot = crate::base::slot::slot_of(&key);
            let owner = self.router.owner(slot);
            let part = (0..usize::from(program.own.part))
                .find(|part| program.flight.owner(*part) == owner)
                .expect("all shards take part");
            let (mode, db) = (Mode::Shared, item.db);
            let hold = program.flight.hold_mut(part);
            hold.fetch_at = item.at;
            let visit = Visit { db, slot, mode, key, parcel: None, is_changed: false };
            hold.fetches.push(visit);
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
fn is_fitting(slice: &mut Slice, program: &mut Program) -> bool {
    let Some(trial) = &mut program.trial else { return true };
    let Some(woken) = trial.woken else { return true };
    let key = slice.key(program.queue.word(0, woken.word));
    let db = usize::from(program.queue.items[0].db);
    trial.waits_on = slice.kind_of(db, &key) != Some(woken.kind);
    !trial.waits_on
}
