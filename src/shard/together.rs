//! The commands of a transaction that run at its home: those on the session, and those that need
//! keys of several shards together, on a slice that holds nothing but these.

use super::Shard;
use super::cron::publish_stats;
use super::drain::{Settled, note_failure};
use crate::client::{Program, Slot};
use crate::exec::{BATCH_COMMANDS_MAX, Item, Mode, Records, Request, Run, Runner, Session};
use crate::exec::{SessionContext, Visit, Words, mode_of};
use crate::io::ConnId;
use crate::keyspace::{ExpiryRole, Slice, SliceOptions};
use crate::mesh::{Hold, Stage, Work};
use crate::resp::{Error, Reply};
use crate::txn::Queue;

impl Shard {
    /// Runs a transaction all of whose keys are here, in one piece.
    pub(super) fn exec_here(&mut self, conn: ConnId, mut queue: Box<Queue>, is_watching: bool) {
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let (client, protocol) = (connection.session.id, connection.session.protocol);
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
        let started_ns = self.process.clock.monotonic_ns();
        let mut runner = Runner {
            slice: &mut self.slice,
            now_ms: self.now.unix_ms(),
            protocol: connection.session.protocol,
            config: &self.config,
            records,
            is_part: false,
            effects: Default::default(),
        };
        let board = &self.board;
        runner.run(batch, words, &mut connection.outbox.output, |at, failed, _| {
            if let Some(error) = failed {
                note_failure(board, batch[at].entry, error);
            }
        });
        let settled = Settled { effects: runner.effects, started_ns, db: batch[0].db.into() };
        self.settle(settled, batch);
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
        self.record_runs(item.entry, 1, self.process.clock.monotonic_ns() - started_ns);
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
            envelope.hold = Some(Box::new(Hold::new(program.id, Stage::Only, program.now_us)));
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
        let Run::Joint(_, database_of) = item.entry.command.run else {
            unreachable!("{} does not bring keys together", item.entry.name)
        };
        let (_, mut words) = program.queue.parts();
        let args = words.args(item);
        let keys = item.entry.key_words(&args).expect("it has keys on several shards");
        for part in 0..usize::from(program.own.part) {
            let shard = program.flight.owner(part);
            let is_its = |(word, _): &&(usize, _)| self.router.owner_of(&args[*word]) == shard;
            for (word, spec) in keys.iter().filter(is_its) {
                let db = database_of(&args, *word, usize::from(item.db));
                if db >= self.slice.databases() {
                    // The command refuses itself before it looks at the key.
                    continue;
                }
                let db = db as u16;
                let visit = Visit {
                    db,
                    slot: crate::base::slot::slot_of(&args[*word]),
                    mode: mode_of(spec),
                    key: args[*word].into(),
                    parcel: None,
                };
                let hold = program.flight.hold_mut(part);
                hold.fetch_at = item.at;
                let fetches = &mut hold.fetches;
                let is_same = |other: &&mut Visit| other.db == db && other.key == visit.key;
                match fetches.iter_mut().find(is_same) {
                    None => fetches.push(visit),
                    Some(other) if visit.mode == Mode::Exclusive => other.mode = visit.mode,
                    Some(_) => {}
                }
            }
        }
    }

    /// Runs a command on the values that were fetched for it; those that it changes are to be
    /// stored in the next round.
    pub(super) fn run_together(&mut self, program: &mut Program, at: usize) {
        let mut slice = self.scratch.take().unwrap_or_else(|| self.make_scratch());
        slice.set_now(self.now.unix_ms());
        slice.note_expired(self.feed.is_on());
        let mut visits = Vec::new();
        for part in 0..usize::from(program.own.part) {
            let fetched = std::mem::take(&mut program.flight.hold_mut(part).fetches);
            visits.extend(fetched.into_iter().map(|visit| (part, visit)));
        }
        for (number, (_, visit)) in visits.iter_mut().enumerate() {
            let key = slice.key_in_slot(&visit.key, visit.slot);
            if let Some(parcel) = visit.parcel.take() {
                slice.import(usize::from(visit.db), &key, parcel);
            }
            if visit.mode == Mode::Exclusive {
                slice.watch(number as u64, usize::from(visit.db), &key);
            }
        }
        self.run_on(&mut slice, program, at);
        // What the command left due is to fall due at its owner, where the feed is told so.
        slice.set_role(ExpiryRole::Loading);
        for (number, (part, mut visit)) in visits.into_iter().enumerate() {
            let db = usize::from(visit.db);
            let key = slice.key_in_slot(&visit.key, visit.slot);
            if visit.mode == Mode::Exclusive && slice.is_watch_broken(number as u64) {
                visit.parcel = slice.export(db, &key);
                let stored = visit.clone();
                program.flight.hold_mut(part).stores.push(stored);
            }
            slice.unwatch(number as u64);
            slice.remove(db, &key);
        }
        slice.set_role(ExpiryRole::Primary);
        slice.housekeep(&mut || false);
        publish_stats(&self.board, &mut slice);
        self.scratch = Some(slice);
    }

    fn make_scratch(&self) -> Box<Slice> {
        Box::new(Slice::new(SliceOptions {
            databases: self.slice.databases(),
            slots: 0..crate::base::slot::SLOT_COUNT,
            hash_seed: self.hash_seed,
            seed: 0,
        }))
    }

    fn run_on(&mut self, slice: &mut Slice, program: &mut Program, at: usize) {
        let started_ns = self.process.clock.monotonic_ns();
        let item = program.queue.items[at];
        let (_, mut words) = program.queue.parts();
        let mut runner = Runner {
            slice,
            now_ms: self.now.unix_ms(),
            protocol: program.protocol,
            config: &self.config,
            records: self.feed.is_on().then_some(&mut program.records),
            is_part: false,
            effects: Default::default(),
        };
        let board = &self.board;
        let own = &mut program.own;
        runner.run(&[item], &mut words, &mut own.output, |_, failed, output| {
            own.ends.push(output.mark());
            if let Some(error) = failed {
                note_failure(board, item.entry, error);
            }
        });
        let settled = Settled { effects: runner.effects, started_ns, db: item.db.into() };
        program.flight.order.push(Slot::One(program.own.part));
        self.settle(settled, &[item]);
    }
}
