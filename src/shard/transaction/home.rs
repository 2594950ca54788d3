//! The commands of a transaction that run at its home: session commands, and commands that gather
//! keys of several shards and run on a workspace.

use super::offload::{HomeScript, TransactionJob, run_at_home};
use crate::acl::{Denial, Reason, UserId};
use crate::client::{Flight, ReplySource, Transaction};
use crate::exec::{
    Item, OffloadedRun, Request, Session, SessionContext, TrackingMode, Workspace, long_weight,
    remote_keys_of,
};
use crate::mesh::{ClientRef, ReplyAddress, ReplyTo, Work};
use crate::partition::{args_of, note_failure};
use crate::resp::{Error, Reply};
use crate::shard::state::Shard;

impl Shard {
    /// Runs a session command inside a transaction. Its reply goes to the transaction's own part,
    /// or it sends a request to all shards.
    pub(in crate::shard) fn run_own(&mut self, transaction: &mut Transaction, item: Item) {
        if let Some(reason) = item.refused {
            self.refuse_own(transaction, (&item, reason));
            return self.end_own(transaction);
        }
        let users = self.users_of(transaction);
        let request = self.run_on_session(transaction, item);
        if users != self.users_of(transaction) {
            self.check_rest(transaction);
        }
        match request {
            None => self.end_own(transaction),
            Some(request) => {
                let is_asked = self.request_merge(&request).is_some();
                debug_assert!(!is_asked || item.entry.command.asks_shards, "{}", item.entry.name);
                self.ask_inside(transaction, request);
            }
        }
    }

    /// Returns whether a session command waits until the round of the commands before it is over.
    ///
    /// A request to all shards does not wait for locks. So it is sent behind the round that
    /// acquires them, and behind the commands of that round. In broadcasting mode a client is told
    /// of changes when all commands have run, as in the reference, so nothing waits for these.
    pub(super) fn waits_for_round(
        &mut self,
        transaction: &Transaction,
        item: &Item,
        is_first: bool,
    ) -> bool {
        let command = &item.entry.command;
        if !command.follows_commands || !transaction.has_work_for_parts() {
            return is_first && command.asks_shards;
        }
        let ClientRef { conn, generation } = transaction.to.client;
        let connection = self.connections.get_same(conn, generation);
        let tracking = connection.and_then(|connection| connection.session.tracking.as_ref());
        tracking.is_none_or(|tracking| tracking.mode != TrackingMode::Broadcast)
    }

    /// Replies to a command that the rules of the client's user forbid by now.
    fn refuse_own(&mut self, transaction: &mut Transaction, (item, reason): (&Item, Reason)) {
        let ClientRef { conn, generation } = transaction.to.client;
        if self.connections.get_same(conn, generation).is_some() {
            let (_, mut batch_args) = transaction.queue.parts();
            self.log_refused(conn, item, &batch_args.of(item));
        }
        let error = Error::other(Denial { reason, at: 0 }.exec_text());
        Reply::new(&mut transaction.own.output, transaction.protocol).error(&error);
        self.env.board.error_reply(error.bytes());
    }

    /// Returns the version of the users, and the user of a transaction's client.
    fn users_of(&mut self, transaction: &Transaction) -> (u64, UserId) {
        let ClientRef { conn, generation } = transaction.to.client;
        let connection = self.connections.get_same(conn, generation);
        let user = connection.and_then(|connection| connection.session.user.as_ref());
        (self.env.process.acl.version(), user.map_or(0, |user| user.id))
    }

    /// Checks the commands of a transaction that have not run, because an earlier one has changed
    /// its user. Without its user, the client is the default user until the connection closes.
    #[cold]
    fn check_rest(&mut self, transaction: &mut Transaction) {
        let ClientRef { conn, generation } = transaction.to.client;
        let acl = &self.env.process.acl;
        let Some(connection) = self.connections.get_same(conn, generation) else { return };
        if connection.session.refresh_user(acl).is_none() {
            connection.session.close_after_reply |= connection.session.user.is_some();
            connection.session.begin_as_default(acl);
        }
        let next = transaction.next;
        self.check_queued(conn, &mut transaction.queue, next);
    }

    /// Runs a session command. Its reply goes to the transaction's own part. Returns its request,
    /// if any.
    fn run_on_session(&mut self, transaction: &mut Transaction, item: Item) -> Option<Request> {
        let (started_ns, client) = (self.env.clock_ns(), transaction.to.client);
        let (_, mut batch_args) = transaction.queue.parts();
        let mut args = batch_args.of(&item);
        // The client may have left meanwhile. Its transaction still continues.
        let mut departed = Session::new(0, true, 0);
        let connection = self.connections.get_same(client.conn, client.generation);
        let session = connection.map_or(&mut departed, |connection| &mut connection.session);
        let output = &mut transaction.own.output;
        let before = output.mark();
        let (protocol, tracked) = (session.protocol, session.tracks_reads());
        let clock = &self.env.process.clock;
        let now_us = *transaction.now_us.get_or_insert_with(|| clock.unix_us());
        let mut context = SessionContext {
            is_in_exec: true,
            reply: Reply::new(output, protocol),
            session,
            process: &self.env.process,
            entry: item.entry,
            now_us,
            shard: self.env.me,
            request: None,
        };
        let result = match item.entry.on_session() {
            Some(run) => run(&mut context, &mut args),
            None => Err(Error::wrong_arity(&item.entry.name)),
        };
        let request = context.request.take();
        let tracks = context.session.tracks_reads();
        if tracks != tracked {
            transaction.queue.items[transaction.next..].iter_mut().for_each(|item| {
                item.is_tracked = tracks;
            });
        }
        if let Err(error) = &result {
            output.truncate(before);
            Reply::new(output, protocol).error(error);
            note_failure(&self.env.board, item.entry, error);
        }
        let ns = self.env.clock_ns() - started_ns;
        if ns >= self.env.thresholds.run_ns {
            transaction.own.spent.push((item.at, ns));
        }
        self.partition.record_runs(item.entry, 1, ns);
        self.env.board.counters.commands_processed.add(1);
        request.filter(|_| result.is_ok())
    }

    /// Carries out a request of a command inside a transaction: on this shard, or on all shards.
    fn ask_inside(&mut self, transaction: &mut Transaction, request: Request) {
        let protocol = transaction.protocol;
        if matches!(request, Request::Subscribe(..) | Request::Unsubscribe(..)) {
            self.subscribe_inside(transaction, &request);
            return self.end_own(transaction);
        }
        let Some(merge) = self.request_merge(&request) else {
            let conn = transaction.to.client.conn;
            self.carry_out_here(conn, &request, &mut transaction.own.output, true);
            return self.end_own(transaction);
        };
        for shard in 0..self.env.router.shards() {
            let mut envelope = self.port.envelope(shard);
            envelope.part = transaction.flight.add_part();
            envelope.reply_to = ReplyTo::Transaction(transaction.id, transaction.to);
            envelope.protocol = protocol;
            let at = transaction.flight.order.len() as u32;
            envelope.work = Work::Control { request: request.clone(), at };
            transaction.asks.push(envelope);
        }
        transaction.asking = Some(merge);
    }

    /// Carries out a request about subscriptions. Messages that arrive from now on come behind the
    /// reply of the transaction.
    fn subscribe_inside(&mut self, transaction: &mut Transaction, request: &Request) {
        let (protocol, ReplyAddress { client, .. }) = (transaction.protocol, transaction.to);
        let connection = self.connections.get_same(client.conn, client.generation);
        let output = &mut transaction.own.output;
        if connection.is_none_or(|connection| connection.is_closing) {
            return Reply::new(output, protocol).null();
        }
        self.settle_flight(transaction.to);
        self.carry_out_here(client.conn, request, output, true);
    }

    /// Merges the replies of all shards to a command's request into the command's own reply.
    pub(super) fn end_ask(&mut self, transaction: &mut Transaction) {
        let Some(merge) = transaction.asking.take() else { return };
        let answers = transaction.flight.take_from(transaction.parts() + 1);
        let mut flight = Flight::default();
        flight.launch(answers.len());
        flight.members = (0..answers.len() as u16).collect();
        flight.order.push(ReplySource::Merged(merge, 0..answers.len() as u32));
        for (part, mut answer) in answers.into_iter().enumerate() {
            answer.part = part as u16;
            flight.land(answer);
        }
        let rng = &mut self.rng;
        let own = &mut transaction.own;
        flight.merge(transaction.protocol, &mut own.output, |below| rng.below(below), |_, _| {});
        own.spent.extend(flight.spent().iter().map(|(at, ns)| (*at as u32, *ns)));
        flight.drain().for_each(|answer| self.port.recycle(answer));
        self.end_own(transaction);
    }

    fn end_own(&mut self, transaction: &mut Transaction) {
        let end = transaction.own.output.mark();
        transaction.own.ends.push(end);
        transaction.flight.order.push(ReplySource::One(transaction.own.part));
    }

    /// Requests the values of a command's keys from their owners.
    pub(in crate::shard) fn request_keys(&mut self, transaction: &mut Transaction, item: &Item) {
        assert!(item.entry.gathers_keys(), "{} does not gather keys", item.entry.name);
        self.begin_fetching(transaction, item);
        let (_, mut batch_args) = transaction.queue.parts();
        let args = batch_args.of(item);
        let remote_keys = remote_keys_of(item, &args, self.partition.slice().databases());
        for remote_key in remote_keys {
            let owner = self.env.router.owner(remote_key.slot);
            let part = (0..transaction.parts())
                .find(|part| transaction.flight.owner(*part) == owner)
                .expect("the owners of its keys take part");
            transaction.flight.txn_mut(part).fetches.push(remote_key);
        }
    }

    /// Tells the parts for which command their shards fetch keys in the next round.
    pub(super) fn begin_fetching(&self, transaction: &mut Transaction, item: &Item) {
        let (_, mut batch_args) = transaction.queue.parts();
        let is_tracked = item.is_tracked
            && item.entry.may_read_tracked()
            && !item.entry.tracked_args(&batch_args.of(item)).is_empty();
        for part in 0..transaction.parts() {
            let txn = transaction.flight.txn_mut(part);
            (txn.fetch_at, txn.fetch_writes) = (item.at, item.entry.may_change_keys());
            txn.is_tracked = is_tracked;
        }
    }

    /// Runs a command on the values that were fetched for it. The next round stores the values that
    /// it changes. Returns none if the command is offloaded, or its script is suspended; the
    /// transaction continues when that is over.
    pub(super) fn run_gathered(
        &mut self,
        mut transaction: Box<Transaction>,
        at: usize,
    ) -> Option<Box<Transaction>> {
        let mut workspace = self.open_for(&mut transaction);
        for part in 0..transaction.parts() {
            for remote_key in std::mem::take(&mut transaction.flight.txn_mut(part).fetches) {
                workspace.add(part, remote_key);
            }
        }
        let elements = self.long_weight(&mut transaction, at, &workspace);
        self.run_on_workspace(transaction, at, workspace, elements)
    }

    /// Returns an empty workspace for a command of a transaction.
    pub(super) fn open_for(&mut self, transaction: &mut Transaction) -> Box<Workspace> {
        transaction.is_recorded = self.replication.feed.is_on();
        self.partition.open_workspace(transaction.is_recorded)
    }

    /// Runs a command on a workspace that has its values, like [`Shard::run_gathered`]. It is
    /// offloaded if its weight in elements is given.
    pub(super) fn run_on_workspace(
        &mut self,
        mut transaction: Box<Transaction>,
        at: usize,
        mut workspace: Box<Workspace>,
        elements: Option<usize>,
    ) -> Option<Box<Transaction>> {
        let started_ns = self.env.clock_ns();
        let now_ms = self.partition.env().now.unix_ms();
        if let Some(elements) = elements {
            let config = self.env.config.clone();
            let job = TransactionJob::new(transaction, at, workspace, (config, now_ms), started_ns);
            let offloads = self.transactions.offloads.as_mut().expect("checked before");
            offloads.send(job, elements, TransactionJob::run);
            return None;
        }
        if !is_fitting(&mut workspace, &mut transaction) {
            self.store_later(&mut transaction.flight, *workspace);
            return Some(transaction);
        }
        self.begin_cause(&transaction);
        let with = (&*self.env.config, now_ms, Some(self.partition.home_scripting()));
        let mut ran = run_at_home(&mut transaction, at, with, |item, batch_args, with| {
            workspace.run(item, batch_args, with)
        });
        if let Some(script) = ran.suspended.take() {
            self.partition.tell(&ran.events);
            self.partition.end_cause();
            let waiting = HomeScript { transaction, at, workspace, script, started_ns };
            self.transactions.scripts.push_back(waiting);
            return None;
        }
        self.partition.end_cause();
        self.settle_gathered(transaction, at, *workspace, (ran, started_ns))
    }

    /// Ends a command that has run on fetched values: it has replied, or it blocks. Returns none if
    /// the values are taken from the workspace in steps; the transaction continues afterwards.
    fn settle_gathered(
        &mut self,
        mut transaction: Box<Transaction>,
        at: usize,
        workspace: Workspace,
        (mut ran, started_ns): (OffloadedRun, u64),
    ) -> Option<Box<Transaction>> {
        let (Some(mut wait), Some(attempt)) = (ran.wait.take(), &mut transaction.attempt) else {
            return self.end_gathered(transaction, at, workspace, (ran, started_ns));
        };
        transaction.own.ends.clear();
        let item = transaction.queue.items[at];
        let (_, mut batch_args) = transaction.queue.parts();
        wait.args.get_or_insert_with(|| args_of(&item, &mut batch_args));
        attempt.stays_blocked = true;
        attempt.wait = Some(wait);
        self.env.board.counters.changes.add(ran.effects.changes);
        self.partition.tell(&ran.events);
        self.store_later(&mut transaction.flight, workspace);
        Some(transaction)
    }

    /// Sets the connection whose command runs at home.
    pub(super) fn begin_cause(&mut self, transaction: &Transaction) {
        let to = ReplyTo::Transaction(transaction.id, transaction.to);
        self.partition.begin_cause(self.env.me as u16, to);
    }

    /// Takes back finished jobs of the pool, for parts and for transactions. Returns whether there
    /// were any.
    pub(in crate::shard) fn receive_offloaded(&mut self) -> bool {
        let mut found = self.partition.receive_offloaded();
        if found {
            self.send_outgoing();
        }
        while let Some(job) =
            self.transactions.offloads.as_mut().and_then(|offloads| offloads.receive())
        {
            found = true;
            let (transaction, at, workspace, ran) = job.into_parts();
            if let Some(transaction) = self.settle_gathered(transaction, at, *workspace, ran) {
                self.advance(transaction, false);
            }
        }
        found
    }

    /// Runs the next slices of long work on the partition. Returns whether there was any.
    pub(in crate::shard) fn run_slices(&mut self) -> bool {
        let found = self.partition.run_slices();
        if found {
            self.send_outgoing();
        }
        found
    }

    /// Returns the weight of a transaction's command that must be offloaded.
    fn long_weight(
        &self,
        transaction: &mut Transaction,
        at: usize,
        workspace: &Workspace,
    ) -> Option<usize> {
        if self.transactions.offloads.is_none() || transaction.has_slices() {
            return None;
        }
        let item = transaction.queue.items[at];
        let (_, mut batch_args) = transaction.queue.parts();
        let enough = self.env.config.offload_elements_min as usize;
        long_weight(&workspace.slice, &item, &mut batch_args, enough)
    }

    /// Ends a command that has replied, see [`Shard::settle_gathered`].
    pub(super) fn end_gathered(
        &mut self,
        mut transaction: Box<Transaction>,
        at: usize,
        workspace: Workspace,
        (ran, started_ns): (OffloadedRun, u64),
    ) -> Option<Box<Transaction>> {
        let item = transaction.queue.items[at];
        self.begin_cause(&transaction);
        self.partition.settle_offloaded(ran, &item, started_ns, &mut transaction.own.spent);
        self.partition.end_cause();
        transaction.flight.order.push(ReplySource::One(transaction.own.part));
        if self.goes_in_steps(&transaction, workspace.remote_keys.len()) {
            self.close_later(transaction, workspace);
            return None;
        }
        self.store_later(&mut transaction.flight, workspace);
        Some(transaction)
    }

    /// Makes the owners store the values of a workspace in the next round.
    fn store_later(&mut self, flight: &mut Flight, workspace: Workspace) {
        self.partition.close_workspace(workspace, &mut |part, remote_key| {
            flight.txn_mut(part).stores.push(remote_key);
        });
    }
}

/// Returns whether the key that a command waits for still has a value for it. If not, the command
/// stays blocked. A command that waits for several keys finds out when it runs.
fn is_fitting(workspace: &mut Workspace, transaction: &mut Transaction) -> bool {
    let Some(attempt) = &mut transaction.attempt else { return true };
    let Some(woken) = attempt.woken else { return true };
    let Some(key_arg) = woken.key_arg else { return true };
    let key = workspace.slice.key(transaction.queue.arg(0, key_arg));
    let db = usize::from(transaction.queue.items[0].db);
    attempt.stays_blocked = workspace.slice.kind_of(db, &key) != Some(woken.kind);
    !attempt.stays_blocked
}
