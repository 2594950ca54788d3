//! Session commands, and other work without keys: queueing, refusing.

use crate::client::describe;
use crate::exec::{BatchArgs, Entry, Item, KeySlots, Replies, Request, SessionContext};
use crate::io::ConnId;
use crate::observe::Level;
use crate::partition::{logged, note_failure};
use crate::resp::{Error, ProtocolError, Reply};
use crate::shard::state::Shard;

impl Shard {
    /// Replies QUEUED to `count` commands.
    pub(in crate::shard) fn reply_queued(&mut self, conn: ConnId, count: usize) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        connection.input.consume();
        let protocol = connection.session.protocol;
        let mut reply = Reply::new(&mut connection.outbox.output, protocol);
        (0..count).for_each(|_| reply.simple("QUEUED"));
        let last = connection.session.last_command;
        connection.session.note_commands(count, last, self.env.now.monotonic_ms());
        let bytes = connection.queue.as_ref().map_or(0, |queue| queue.memory_bytes());
        let is_limited = !connection.session.is_loader();
        self.make_dirty(conn);
        if is_limited && bytes as u64 > self.env.config.client_query_buffer_limit {
            self.env.board.counters.query_limit_disconnections.add(1);
            self.close_for(conn, "its queued commands passed client-query-buffer-limit");
        }
    }

    /// Runs a session command, which may leave a request for the shard.
    pub(in crate::shard) fn run_session(&mut self, conn: ConnId, item: Item) {
        let started_ns = self.env.clock_ns();
        let (request, reply_bytes) = self.call_session(conn, item);
        let ns = self.env.clock_ns() - started_ns;
        // EXEC is shown after its commands.
        if self.env.process.monitors.is_on() && request != Some(Request::Exec) {
            self.show_batch(conn, Some(item));
        }
        let is_large = reply_bytes >= self.env.thresholds.reply_bytes;
        let goes_on = request.is_some() && self.env.thresholds.looks_back();
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let mut written = None;
        if goes_on || ns >= self.env.thresholds.run_ns || is_large {
            let (text, large) = connection.input.parts();
            let mut batch_args = BatchArgs { text, spans: &self.batch.spans, large };
            written = Some(logged(item.entry, &batch_args.of(&item)));
        }
        let is_replica = connection.session.replica.is_attached;
        if connection.session.replies == Replies::All {
            connection.outbox.unmute();
        }
        connection.input.consume();
        let last = Some(item.entry.index);
        connection.session.note_commands(1, last, self.env.now.monotonic_ms());
        self.make_dirty(conn);
        if is_replica {
            self.note_ack(conn);
        }
        if request.is_none() {
            self.trace_ran(conn, ns);
        }
        let asks_all =
            request.as_ref().is_some_and(|request| self.request_merge(request).is_some());
        if let Some(request) = request {
            self.carry_out(conn, request);
        }
        // A command that has blocked counts when it ends.
        if self.connections.get_mut(conn).is_none_or(|it| it.blocked.is_none()) {
            self.record_session(conn, item.entry, ns, asks_all);
        }
        if let Some(args) = written {
            self.log_session(conn, item.entry, args, (ns, reply_bytes));
        }
    }

    /// Records the run of a session command after its request, so that CONFIG RESETSTAT is the
    /// first command that counts again. If the request went to all shards, records it when they
    /// have replied.
    fn record_session(&mut self, conn: ConnId, entry: &'static Entry, ns: u64, asks_all: bool) {
        self.env.board.counters.commands_processed.add(1);
        let connection = self.connections.get_mut(conn).filter(|_| asks_all);
        match connection.and_then(|connection| connection.flights.last_mut()) {
            Some(flight) => (flight.asks, flight.own_ns) = (Some(entry), ns.max(1)),
            None => self.partition.record_runs(entry, 1, ns),
        }
    }

    /// Runs a session command. Returns its request, and the bytes of its reply.
    fn call_session(&mut self, conn: ConnId, item: Item) -> (Option<Request>, usize) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let (text, large) = connection.input.parts();
        let mut batch_args = BatchArgs { text, spans: &self.batch.spans, large };
        let mut args = batch_args.of(&item);
        let output = &mut connection.outbox.output;
        let (before, bytes_before) = (output.mark(), output.len());
        let mut context = SessionContext {
            is_in_exec: false,
            reply: Reply::new(output, connection.session.protocol),
            session: &mut connection.session,
            process: &self.env.process,
            entry: item.entry,
            now_us: self.env.now.unix_us,
            shard: self.env.me,
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
            note_failure(&self.env.board, item.entry, error);
        }
        let reply_bytes = connection.outbox.output.len() - bytes_before;
        (request.filter(|_| result.is_ok()), reply_bytes)
    }

    /// Replies with the error of a gate.
    pub(in crate::shard) fn refuse(
        &mut self,
        conn: ConnId,
        entry: Option<&'static Entry>,
        error: &Error,
    ) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        connection.input.consume();
        if let Some(entry) = entry {
            self.env.board.commands[usize::from(entry.index)].rejected.add(1);
        }
        self.make_dirty(conn);
        let connection = self.connections.get_mut(conn).expect("checked above");
        if entry.is_some_and(Entry::executes_queued) {
            self.show_exec(conn, None);
            let connection = self.connections.get_mut(conn).expect("checked above");
            connection.queue = None;
            connection.session.multi = None;
            return match error.is_redirection() {
                true => self.refuse_exec(conn, error),
                false => self.refuse_exec(conn, &Error::exec_abort(error)),
            };
        }
        let protocol = connection.session.protocol;
        Reply::new(&mut connection.outbox.output, protocol).error(error);
        let db = connection.session.db;
        if let Some(multi) = &mut connection.session.multi {
            multi.is_doomed = true;
            multi.db = db;
            // EXEC refuses it as doomed, wherever its keys are.
            (multi.slots, multi.is_of_pubsub) = (KeySlots::None, false);
        }
        self.env.board.error_reply(error.bytes());
    }

    /// Replies to bytes that are not a command, and closes the connection after the reply was sent.
    pub(in crate::shard) fn reject_bytes(&mut self, conn: ConnId, error: ProtocolError) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let protocol = connection.session.protocol;
        Reply::new(&mut connection.outbox.output, protocol).error_bytes(&error.text());
        connection.session.close_after_reply = true;
        if self.env.process.log.logs(Level::Verbose) {
            self.log_malformed(conn, &error);
        }
        self.make_dirty(conn);
    }

    /// Closes a connection that sends an HTTP request, without a reply.
    pub(in crate::shard) fn reject_http(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let address = connection.session.address.clone();
        if self.clients.attack_limit.allow(self.env.now.monotonic_ns).is_some() {
            self.env.process.log.warning(&format!(
                "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or \
                 Host: commands to Annulet. This is likely due to an attacker attempting to use \
                 Cross Protocol Scripting to compromise your Annulet instance. Connection from \
                 {address} aborted."
            ));
        }
        self.close(conn);
    }

    /// Logs that a client has requested a shutdown.
    pub(in crate::shard) fn log_shutdown(&mut self, conn: ConnId) {
        let session = &self.connections.get_mut(conn).expect("connection is open").session;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let [name, user] = match self.env.config.hide_user_data_from_log {
            true => ["*redacted*".to_string(), "*redacted*".to_string()],
            false => [text(&session.name), text(session.user_name())],
        };
        let (id, fd) = (session.id, session.descriptor);
        let (address, local) = (&session.address, &session.local_address);
        let (lib, version) = (text(&session.lib_name), text(&session.lib_version));
        self.env.process.log.notice(&format!(
            "User requested shutdown... (user request from 'id={id} addr={address} laddr={local} \
             fd={fd} name={name} user={user} lib-name={lib} lib-ver={version}')"
        ));
    }

    fn log_malformed(&mut self, conn: ConnId, error: &ProtocolError) {
        if self.clients.log_limit.allow(self.env.now.monotonic_ns).is_none() {
            return;
        }
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let (mut client, mut bytes) = (Vec::new(), "*redacted*".to_string());
        if self.env.config.hide_user_data_from_log {
            let session = &connection.session;
            client = format!("id={} addr={}", session.id, session.address).into_bytes();
        } else {
            describe(
                connection,
                self.env.process.commands,
                self.env.now.monotonic_ms(),
                &mut client,
            );
            bytes = sample(connection.input.pending_text());
        }
        let text = String::from_utf8_lossy(&error.text()).into_owned();
        let text = text.trim_start_matches("ERR Protocol error: ");
        let client = String::from_utf8_lossy(&client);
        let line = format!("Protocol error ({text}) from client: {client}. Query buffer: {bytes}");
        self.env.process.log.verbose(&line);
    }
}

/// Returns the head and the tail of some bytes, with dots for bytes that are not printable.
fn sample(bytes: &[u8]) -> String {
    /// The most bytes that are shown in full.
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
