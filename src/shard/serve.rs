//! The spine: from the bytes of a connection to its replies, or to the shards that have the keys.
//! Hot.

use super::Shard;
use super::command_log::{BatchTiming, Reporter, shown};
use super::drain::{Settled, note_failure};
use super::gather::{Gathered, Gatherer};
use super::hold::collect_key_locks;
use super::limits::{BATCHES_PER_TURN_MAX, OUTPUT_BYTES_SHARD};
use super::profile::Probe;
use super::slow::has_slow;
use super::wake::{Waker, args_of};
use crate::client::{Serving, describe};
use crate::exec::{BATCH_COMMANDS_MAX, Effects, Entry, Item, Records, Replies, Request, Runner};
use crate::exec::{BatchArgs, BlockingAttempt, SessionContext, Wait};
use crate::gate::Facts;
use crate::io::ConnId;
use crate::mesh::Registration;
use crate::observe::Level;
use crate::resp::{Error, ProtocolError, Reply};

impl Shard {
    /// Runs what is at the head of the connection's input, batch by batch.
    pub(super) fn serve(&mut self, conn: ConnId) {
        for _ in 0..BATCHES_PER_TURN_MAX {
            self.port.mesh().point();
            let one_in_flight = self.port.mesh().rules().one_in_flight;
            let mut gatherer = self.gatherer();
            let Some(connection) = self.connections.get_mut(conn) else { return };
            if connection.serving(one_in_flight) != Serving::Open {
                return;
            }
            if !self.port.has_all_credits() {
                return self.stall(conn);
            }
            connection.is_starved = false;
            gatherer.facts.set(Facts::OF_REPLICA, connection.link.is_some());
            let has_all_replies = connection.session.replies == Replies::All;
            if !has_all_replies {
                gatherer.commands_max = 1;
            }
            let gathered = gatherer.gather(connection, &mut self.batch, &self.process.boards);
            let has_begun = !matches!(gathered, Gathered::Nothing | Gathered::Postponed(_));
            if !has_all_replies && has_begun {
                connection.turn_replies();
            }
            let is_alone = connection.flights.is_empty();
            if connection.input.may_hold(self.thresholds.request_bytes) {
                self.log_requests(conn, gathered.alone());
            }
            if has_all_replies && self.profile.is_due() {
                self.trace_begin(conn, &gathered);
            }
            if self.process.monitors.is_on() && gathered.runs_keys() {
                self.show_batch(conn, gathered.alone());
            }
            match gathered {
                Gathered::Nothing => return self.settle_input(conn),
                Gathered::Keys if self.batch.is_local && is_alone => self.run_or_wait(conn),
                Gathered::Keys => self.post_batch(conn),
                Gathered::Joint(item) => self.run_joint(conn, item),
                Gathered::Queued(count) => self.reply_queued(conn, count),
                Gathered::Session(item) => self.run_session(conn, item),
                Gathered::Postponed(entry) => return self.postpone(conn, entry),
                Gathered::Refused(entry, error) => self.refuse(conn, entry, &error),
                Gathered::Malformed(error) => return self.reject_bytes(conn, error),
            }
            self.check_output(conn);
        }
        self.make_ready(conn);
    }

    fn gatherer(&self) -> Gatherer {
        Gatherer {
            table: self.process.commands,
            router: self.router,
            home: self.me as u16,
            facts: self.facts,
            bulk_len_max: self.config.proto_max_bulk_len,
            commands_max: self.commands_max(),
        }
    }

    /// Commands of the next batch at most. While too much output waits it is one: how much a
    /// batch replies is known only when it has run.
    fn commands_max(&self) -> usize {
        let is_crowded = self.buffered_bytes > OUTPUT_BYTES_SHARD;
        let wanted = if is_crowded { 1 } else { BATCH_COMMANDS_MAX };
        self.port.mesh().batch_commands_max(wanted)
    }

    /// Runs the batch here, or lets it wait in its order for transactions that are in its way, or
    /// for itself where it would take long.
    fn run_or_wait(&mut self, conn: ConnId) {
        let is_bulky = self.batch.is_bulky && self.offload_pool.is_some();
        if self.locks.is_empty() && !is_bulky {
            return self.run_here(conn);
        }
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let (text, large) = connection.input.parts();
        let mut batch_args = BatchArgs { text, spans: &self.batch.spans, large };
        let items = &self.batch.items;
        let is_slow = self.offload_pool.is_some() && has_slow(&self.slice, items, &mut batch_args);
        let mut key_locks = Vec::new();
        if !is_slow && !self.locks.is_empty() {
            collect_key_locks(&self.slice, items, &mut batch_args, &mut key_locks);
        }
        if is_slow || self.locks.conflicts(key_locks) {
            self.post_batch(conn);
        } else {
            self.run_here(conn);
        }
    }

    /// Says of so many commands that they wait for EXEC.
    fn reply_queued(&mut self, conn: ConnId, count: usize) {
        let connection = self.connections.get_mut(conn).expect("it is being served");
        connection.input.consume();
        let protocol = connection.session.protocol;
        let mut reply = Reply::new(&mut connection.outbox.output, protocol);
        (0..count).for_each(|_| reply.simple("QUEUED"));
        let last = connection.session.last_command;
        connection.session.note_commands(count, last, self.now.monotonic_ms());
        let bytes = connection.queue.as_ref().map_or(0, |queue| queue.memory_bytes());
        self.make_dirty(conn);
        if bytes as u64 > self.config.client_query_buffer_limit {
            self.board.counters.query_limit_disconnections.add(1);
            self.close_for(conn, "its queued commands passed client-query-buffer-limit");
        }
    }

    /// Runs the batch on this shard's own slice.
    fn run_here(&mut self, conn: ConnId) {
        self.forwarded.begun.clear();
        let mut records = self.records_now();
        let started_ns = self.process.clock.monotonic_ns();
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let (text, large) = connection.input.parts();
        let mut batch_args = BatchArgs { text, spans: &self.batch.spans, large };
        let before = (started_ns, connection.outbox.output.len());
        let mut timing =
            BatchTiming::new(&self.thresholds, &self.batch.items, &mut batch_args, before);
        timing.probe = Probe::new(self.batch.traced, started_ns);
        let (effects, wait) = self.run_stretches(conn, &mut records, &mut timing);
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let db = connection.session.db;
        if let Some(wait) = wait {
            self.settle_wait(&effects);
            return self.wait_here(conn, wait, records);
        }
        let spent_ns = self.process.clock.monotonic_ns() - started_ns;
        if timing.has_news(&self.thresholds, spent_ns) {
            self.tell_here(conn, &timing, spent_ns);
        }
        let connection = self.connections.get_mut(conn).expect("it is being served");
        connection.input.consume();
        let last = self.batch.items.last().map(|item| item.entry.index);
        let now_ms = self.now.monotonic_ms();
        connection.session.note_commands(self.batch.items.len(), last, now_ms);
        let items = std::mem::take(&mut self.batch.items);
        self.settle(Settled { effects, spent_ns, db }, &items);
        self.batch.items = items;
        if records.is_some() {
            self.write_down_here(records, false);
        }
        self.hold_connection(conn);
        if self.batch.traced.is_some() {
            self.trace_ran(conn, timing.probe.spent_ns());
        }
        self.board.counters.batches_local.add(1);
        self.make_dirty(conn);
    }

    /// Runs the batch, and behind each command that woke others, those.
    #[inline]
    fn run_stretches(
        &mut self,
        conn: ConnId,
        records: &mut Option<Records>,
        timing: &mut BatchTiming,
    ) -> (Effects, Option<Wait>) {
        let mut effects = Effects::default();
        let (mut done, mut wait) = (0, None);
        while done < self.batch.items.len() {
            let items = &self.batch.items[done..];
            let connection = self.connections.get_mut(conn).expect("it is being served");
            let (text, large) = connection.input.parts();
            let mut batch_args = BatchArgs { text, spans: &self.batch.spans, large };
            let mut runner = Runner {
                slice: &mut self.slice,
                now_ms: self.now.unix_ms(),
                protocol: connection.session.protocol,
                config: &self.config,
                records: records.as_mut(),
                reach: None,
                is_whole: false,
                attempt: BlockingAttempt {
                    may_wait: self.batch.may_wait,
                    ..BlockingAttempt::default()
                },
                effects,
            };
            let (board, clock) = (&self.board, &self.process.clock);
            let output = &mut connection.outbox.output;
            let count = runner.run(items, &mut batch_args, output, |at, failed, output| {
                timing.see(done + at, clock, output.len());
                if let Some(error) = failed {
                    note_failure(board, items[at].entry, error);
                }
            });
            effects = runner.effects;
            wait = runner.attempt.wait.take();
            done += count;
            if self.slice.has_ready() {
                let at = self.batch.items[done - 1].at;
                self.wake(Waker { at, lock: None, records: records.as_mut() });
            }
        }
        (effects, wait)
    }

    /// Says of the batch that has run here what is to be said.
    #[cold]
    fn tell_here(&mut self, conn: ConnId, timing: &BatchTiming, spent_ns: u64) {
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let (text, large) = connection.input.parts();
        let mut batch_args = BatchArgs { text, spans: &self.batch.spans, large };
        let reporter = Reporter {
            boards: &self.process.boards,
            config: &self.config,
            thresholds: &self.thresholds,
            shard: self.me,
            unix_s: self.now.unix_us / 1_000_000,
        };
        timing.tell(spent_ns, &reporter, &connection.session, (&self.batch.items, &mut batch_args));
    }

    /// The only command of the batch, whose keys are here, waits for them.
    fn wait_here(&mut self, conn: ConnId, mut wait: Wait, records: Option<Records>) {
        let item = self.batch.items[0];
        let awaited = self.defer(conn);
        let ticket = self.begin_attempt(conn, awaited.flight);
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let (text, large) = connection.input.parts();
        let mut batch_args = BatchArgs { text, spans: &self.batch.spans, large };
        wait.args.get_or_insert_with(|| args_of(&item, &mut batch_args));
        connection.input.consume();
        let now_ms = self.now.monotonic_ms();
        connection.session.note_commands(1, Some(item.entry.index), now_ms);
        let protocol = connection.session.protocol;
        self.block(awaited, &ticket, item.entry, &wait, vec![self.me as u16]);
        let is = Registration { ticket, item, flight: awaited.flight, wait };
        self.register(is, awaited.of(self.me), protocol);
        self.write_down_here(records, false);
    }

    /// Runs a command on the session; it may leave a request for the shard.
    fn run_session(&mut self, conn: ConnId, item: Item) {
        let started_ns = self.process.clock.monotonic_ns();
        let (request, reply_bytes) = self.call_session(conn, item);
        let ns = self.process.clock.monotonic_ns() - started_ns;
        // EXEC is shown behind its commands.
        if self.process.monitors.is_on() && request != Some(Request::Exec) {
            self.show_batch(conn, Some(item));
        }
        let is_large = reply_bytes >= self.thresholds.reply_bytes;
        let goes_on = request.is_some() && self.thresholds.looks_back();
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let mut written = None;
        if goes_on || ns >= self.thresholds.run_ns || is_large {
            let (text, large) = connection.input.parts();
            let mut batch_args = BatchArgs { text, spans: &self.batch.spans, large };
            written = Some(shown(item.entry, &batch_args.of(&item)));
        }
        let is_replica = connection.session.replica.is_attached;
        if connection.session.replies == Replies::All {
            connection.outbox.unmute();
        }
        connection.input.consume();
        let last = Some(item.entry.index);
        connection.session.note_commands(1, last, self.now.monotonic_ms());
        self.make_dirty(conn);
        if is_replica {
            self.note_ack(conn);
        }
        if request.is_none() {
            self.trace_ran(conn, ns);
        }
        let asks_all = request.as_ref().is_some_and(|request| self.ask_merge(request).is_some());
        if let Some(request) = request {
            self.ask(conn, request);
        }
        self.record_session(conn, item.entry, ns, asks_all);
        if let Some(batch_args) = written {
            self.log_session(conn, item.entry, batch_args, (ns, reply_bytes));
        }
    }

    /// Records the run of a command on the session: behind what it asks for, so that CONFIG
    /// RESETSTAT is the first that counts again; one that asks all shards, when they have answered.
    fn record_session(&mut self, conn: ConnId, entry: &'static Entry, ns: u64, asks_all: bool) {
        self.board.counters.commands_processed.add(1);
        let connection = self.connections.get_mut(conn).filter(|_| asks_all);
        match connection.and_then(|connection| connection.flights.last_mut()) {
            Some(flight) => (flight.asks, flight.own_ns) = (Some(entry), ns.max(1)),
            None => self.record_runs(entry, 1, ns),
        }
    }

    /// Runs a command on the session: what it asks for, and how many bytes it has replied.
    fn call_session(&mut self, conn: ConnId, item: Item) -> (Option<Request>, usize) {
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let (text, large) = connection.input.parts();
        let mut batch_args = BatchArgs { text, spans: &self.batch.spans, large };
        let mut args = batch_args.of(&item);
        let output = &mut connection.outbox.output;
        let (before, bytes_before) = (output.mark(), output.len());
        let mut context = SessionContext {
            reply: Reply::new(output, connection.session.protocol),
            session: &mut connection.session,
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
        let argv_bytes = match request {
            Some(_) => batch_args.of(&item).iter_from(0).map(<[u8]>::len).sum(),
            None => 0,
        };
        connection.argv_bytes = argv_bytes;
        if let Err(error) = &result {
            output.truncate(before);
            Reply::new(output, connection.session.protocol).error(error);
            note_failure(&self.board, item.entry, error);
        }
        let reply_bytes = connection.outbox.output.len() - bytes_before;
        (request.filter(|_| result.is_ok()), reply_bytes)
    }

    /// Replies with the error of a gate.
    fn refuse(&mut self, conn: ConnId, entry: Option<&'static Entry>, error: &Error) {
        let connection = self.connections.get_mut(conn).expect("it is being served");
        connection.input.consume();
        if let Some(entry) = entry {
            self.board.commands[usize::from(entry.index)].rejected.add(1);
        }
        self.make_dirty(conn);
        let connection = self.connections.get_mut(conn).expect("looked at above");
        if entry.is_some_and(Entry::executes_queued) {
            self.show_exec(conn, None);
            let connection = self.connections.get_mut(conn).expect("looked at above");
            connection.queue = None;
            connection.session.multi = None;
            return self.refuse_exec(conn, &Error::exec_abort(error));
        }
        let protocol = connection.session.protocol;
        Reply::new(&mut connection.outbox.output, protocol).error(error);
        if let Some(multi) = &mut connection.session.multi {
            multi.is_doomed = true;
        }
        self.board.error_reply(error.bytes());
    }

    /// The bytes are no command: says so, and ends the connection once that has left.
    fn reject_bytes(&mut self, conn: ConnId, error: ProtocolError) {
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let protocol = connection.session.protocol;
        Reply::new(&mut connection.outbox.output, protocol).error_bytes(&error.text());
        connection.session.close_after_reply = true;
        if self.process.log.logs(Level::Verbose) {
            self.log_malformed(conn, &error);
        }
        self.make_dirty(conn);
    }

    fn log_malformed(&mut self, conn: ConnId, error: &ProtocolError) {
        if self.log_limit.allow(self.now.monotonic_ns).is_none() {
            return;
        }
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let (mut client, mut bytes) = (Vec::new(), "*redacted*".to_string());
        if self.config.hide_user_data_from_log {
            let session = &connection.session;
            client = format!("id={} addr={}", session.id, session.address).into_bytes();
        } else {
            describe(connection, self.process.commands, self.now.monotonic_ms(), &mut client);
            bytes = sample(connection.input.pending_text());
        }
        let text = String::from_utf8_lossy(&error.text()).into_owned();
        let text = text.trim_start_matches("ERR Protocol error: ");
        let client = String::from_utf8_lossy(&client);
        let line = format!("Protocol error ({text}) from client: {client}. Query buffer: {bytes}");
        self.process.log.verbose(&line);
    }

    /// Looks at what waits to be sent, once much does.
    #[inline]
    pub(super) fn check_output(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(conn).expect("it is being served");
        connection.outbox.drop_muted();
        self.count_bytes(conn);
        let connection = self.connections.get_mut(conn).expect("it is being served");
        if connection.outbox.pending_bytes() > self.clients.output_bytes_free {
            self.limit_output(conn);
        } else {
            connection.output_over_ms = None;
        }
    }
}

/// The head and the tail of some bytes, as far as they can be printed.
fn sample(bytes: &[u8]) -> String {
    /// Bytes that are shown in full.
    const BYTES_MAX: usize = 128;
    let text = |bytes: &[u8]| -> String {
        let shown = |byte: &u8| if (b' '..=b'~').contains(byte) { *byte as char } else { '.' };
        bytes.iter().map(shown).collect()
    };
    if bytes.len() < BYTES_MAX {
        return format!("'{}'", text(bytes));
    }
    let (head, rest) = bytes.split_at(BYTES_MAX / 2);
    let (middle, tail) = rest.split_at(rest.len() - BYTES_MAX / 2);
    format!("'{}' (... more {} bytes ...) '{}'", text(head), middle.len(), text(tail))
}
