//! EXEC: refused, run here in one step, or begun as a transaction of several shards.

use super::rounds::Task;
use crate::client::TransactionAttempt;
use crate::exec::Facts;
use crate::exec::Item;
use crate::io::ConnId;
use crate::keyspace::Caller;
use crate::mesh::FlightId;
use crate::partition::{Batch, BatchTiming, RunMode};
use crate::resp::{Error, Reply};
use crate::shard::state::Shard;
use crate::txn::Queue;

impl Shard {
    /// Runs the commands that the connection has queued.
    pub(in crate::shard) fn exec(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let queue = connection.queue.take().unwrap_or_default();
        let multi = connection.session.multi.take().expect("EXEC needs MULTI");
        let is_loader = connection.session.is_loader();
        let facts = if is_loader { Facts::NONE } else { self.env.facts };
        let error = if multi.is_doomed {
            Some(Error::ExecAbort)
        } else if multi.may_grow && facts.has(Facts::OUT_OF_MEMORY) {
            Some(Error::exec_abort(&Error::OutOfMemory))
        } else if multi.may_write && facts.has(Facts::DISK_ERROR) {
            Some(Error::exec_abort(&self.env.process.disk_error()))
        } else if multi.may_write && facts.has(Facts::FEW_REPLICAS) {
            Some(Error::exec_abort(&Error::NoReplicas))
        } else {
            None
        };
        let mut queue = queue;
        self.show_exec(conn, if error.is_none() { Some(&mut queue) } else { None });
        if let Some(error) = error {
            if let Some(entry) = self.env.process.commands.executor() {
                self.env.board.commands[usize::from(entry.index)].failed.add(1);
            }
            return self.refuse_exec(conn, &error);
        }
        self.check_queued(conn, &mut queue, 0);
        let watched = self.take_watched(conn);
        self.log_queued_requests(conn, &mut queue);
        self.begin_transaction(conn, queue, watched, true);
    }

    /// Replies to EXEC with an error. The queued commands are discarded.
    pub(in crate::shard) fn refuse_exec(&mut self, conn: ConnId, error: &Error) {
        self.unwatch(conn);
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let protocol = connection.session.protocol;
        Reply::new(&mut connection.outbox.output, protocol).error(error);
        self.env.board.error_reply(error.bytes());
    }

    /// Runs one command that gathers keys of several shards.
    pub(in crate::shard) fn run_gathering(&mut self, conn: ConnId, item: Item) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let (text, large) = connection.input.parts();
        let mut batch_args = crate::exec::BatchArgs { text, spans: &self.batch.spans, large };
        let mut queue = Box::<Queue>::default();
        queue.push(item.entry, item.slot, item.db, &mut batch_args.of(&item));
        connection.input.consume();
        let now_ms = self.env.now.monotonic_ms();
        connection.session.note_commands(1, Some(item.entry.index), now_ms);
        if item.entry.command.moves_slots {
            return self.begin_move(conn, &mut queue);
        }
        self.begin_transaction(conn, queue, Vec::new(), false);
    }

    fn begin_transaction(
        &mut self,
        conn: ConnId,
        mut queue: Box<Queue>,
        watched: Vec<u16>,
        is_exec: bool,
    ) {
        if is_exec && self.is_long(&queue) {
            return self.begin_steps(conn, queue, watched, is_exec);
        }
        let plan = self.plan(conn, &mut queue, &watched);
        if !is_exec && plan.gathers {
            let Some(own) = self.wait_for_carrier(conn, queue) else {
                self.transactions.plan = plan;
                return;
            };
            queue = own;
        }
        let is_watching = !watched.is_empty();
        let is_here = plan.shards.iter().all(|shard| usize::from(*shard) == self.env.me);
        let may_run = is_here && !plan.gathers && !plan.has_session;
        let may_run = may_run && !self.has_long_command(&mut queue);
        if may_run && !self.has_conflict(conn, &mut queue, is_watching) {
            assert!(is_exec, "a single command with all keys here is no transaction");
            self.transactions.plan = plan;
            return self.exec_here(conn, queue, is_watching);
        }
        let to = self.defer(conn);
        let (items, mut batch_args) = queue.parts();
        let may_block = !is_exec && items[0].entry.may_wait(&batch_args.of(&items[0]));
        let attempt =
            may_block.then(|| TransactionAttempt::new(self.begin_attempt(conn, to.flight), None));
        let task = Task { queue, is_exec, attempt };
        self.launch_transaction(to, task, plan, &watched);
    }

    /// Returns whether a command of a transaction whose keys are all here must be offloaded.
    fn has_long_command(&mut self, queue: &mut Queue) -> bool {
        let enough = self.env.config.offload_elements_min as usize;
        let may_be_long = |item: &Item| item.entry.may_be_long(item.argc as usize, enough);
        let (items, mut batch_args) = queue.parts();
        self.partition.may_offload()
            && items.iter().any(may_be_long)
            && self.partition.has_long(items, &mut batch_args)
    }

    /// Returns whether a transaction whose keys are all here would have to wait for a lock.
    fn has_conflict(&mut self, conn: ConnId, queue: &mut Queue, is_watching: bool) -> bool {
        if self.partition.has_no_locks() {
            return false;
        }
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let watcher = is_watching.then_some(connection.session.id);
        let (items, mut batch_args) = queue.parts();
        self.partition.would_wait(items, &mut batch_args, watcher)
    }

    /// Runs a transaction whose keys are all here, in one step.
    fn exec_here(&mut self, conn: ConnId, mut queue: Box<Queue>, is_watching: bool) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let (client, protocol) = (connection.session.id, connection.session.protocol);
        let begin = connection.outbox.output.mark();
        let caller = connection.begin_here(conn, self.env.me);
        let is_broken = is_watching && self.partition.is_watch_broken(client);
        if is_watching {
            self.partition.unwatch(client);
        }
        let (items, mut args) = queue.parts();
        if is_broken {
            Reply::new(&mut connection.outbox.output, protocol).null_array();
        } else if let Some(error) = self.partition.refusal_of_all(items, &mut args) {
            Reply::new(&mut connection.outbox.output, protocol).error(&error);
            self.env.board.error_reply(error.bytes());
        } else {
            self.run_queue(conn, &mut queue, caller);
        }
        self.env.board.counters.batches_local.add(1);
        self.hold_replies(conn, begin, FlightId(caller.flight));
        self.send_outgoing();
        queue.clear();
        let connection = self.connections.get_mut(conn).expect("connection is open");
        connection.queue = Some(queue);
        self.make_dirty(conn);
    }

    fn run_queue(&mut self, conn: ConnId, queue: &mut Queue, caller: Caller) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let protocol = connection.session.protocol;
        let output = &mut connection.outbox.output;
        let (items, mut args) = queue.parts();
        let items: &[Item] = items;
        Reply::new(output, protocol).array(items.len());
        let mut timing = BatchTiming::at_home(&self.env.thresholds, items, &mut args, output.len());
        let mut batch = Batch { items, args, output, ends: None, protocol };
        self.partition.run_local(&mut batch, RunMode::Transaction, caller, &mut timing);
        if timing.has_news(&self.env.thresholds) {
            self.log_queue(conn, queue, &timing);
        }
    }
}
