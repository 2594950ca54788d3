//! The command log and the latency events `command` and `fast-command`.
//!
//! ```text
//!   home    knows the client, the size of request and reply, the arguments (in the parts)
//!   owner   knows the duration, which goes home in `Envelope::spent` if it is over a threshold
//! ```
//! The entry is made at home, one for each command of the client. If a command has parts on several
//! shards, they run at the same time. So the command counts with the time of its longest part. EXEC
//! itself makes no entry, but its commands do.

use crate::client::Flight;
use crate::commands::shown_args;
use crate::exec::{BatchArgs, Entry, Item, Session};
use crate::io::ConnId;
use crate::mesh::{ClientRef, Envelope};
use crate::observe::{LogEntry, LogKind, LoggedArgs};
use crate::partition::{BatchTiming, Env, logged};
use crate::resp::Args;
use crate::shard::connections::table::Connections;
use crate::shard::state::Shard;
use crate::spec::Flag;
use crate::txn::Queue;

/// Writes entries of the command log, and latency events.
pub(in crate::shard) struct Reporter<'a> {
    env: &'a Env,
}

impl Reporter<'_> {
    fn unix_s(&self) -> u64 {
        self.env.now.unix_us / 1_000_000
    }

    /// Records a latency event of `ns` nanoseconds if it reaches the threshold.
    pub(in crate::shard) fn event(&self, event: &'static str, ns: u64) {
        if ns >= self.env.thresholds.event_ns {
            self.env.process.boards.events.add(event, self.unix_s(), ns / 1_000_000);
        }
    }

    /// Records that a command of the session took `ns` nanoseconds.
    fn ran(&self, session: &Session, entry: &Entry, args: &LoggedArgs, ns: u64) {
        let is_fast = entry.command.card.flags.has(Flag::FAST);
        self.event(if is_fast { "fast-command" } else { "command" }, ns);
        if ns >= self.env.thresholds.slow_ns {
            self.log(session, entry, args, (LogKind::Slow, ns / 1_000));
        }
    }

    /// Writes an entry for a command of the session.
    fn log(
        &self,
        session: &Session,
        entry: &Entry,
        args: &LoggedArgs,
        (kind, value): (LogKind, u64),
    ) {
        if entry.command.card.flags.has(Flag::SKIP_COMMANDLOG) {
            return;
        }
        let config = &self.env.config;
        let entries_max = match kind {
            LogKind::Slow => config.commandlog_slow_execution_max_len,
            LogKind::LargeRequest => config.commandlog_large_request_max_len,
            LogKind::LargeReply => config.commandlog_large_reply_max_len,
        };
        let entry = LogEntry {
            id: 0,
            unix_s: self.unix_s(),
            value,
            args: args.clone(),
            address: session.address.clone(),
            name: session.name.clone(),
        };
        self.env.process.boards.log(self.env.me, kind, entry, entries_max);
    }

    /// Writes the entries of a session's commands that have run at home.
    #[cold]
    fn log_items(
        &self,
        session: &Session,
        timing: &BatchTiming,
        items: &[Item],
        batch_args: &mut BatchArgs<'_>,
    ) {
        let mut args_at = |at: usize| {
            let item = &items[at];
            let written = timing.written.iter().find(|(number, ..)| *number == item.at);
            let now = || logged(item.entry, &batch_args.of(item));
            written.map_or_else(now, |found| found.2.clone())
        };
        for (at, ns) in timing.slow(&self.env.thresholds, items.len()) {
            self.ran(session, items[at].entry, &args_at(at), ns);
        }
        for &(at, bytes) in &timing.large {
            let args = args_at(at);
            self.log(session, items[at].entry, &args, (LogKind::LargeReply, bytes));
        }
    }
}

/// Returns the bytes of a command on the wire, as an array of bulk strings.
fn wire_bytes(args: &Args<'_>) -> usize {
    let digits = |number: usize| number.checked_ilog10().unwrap_or(0) as usize + 1;
    let bulk = |arg: &[u8]| arg.len() + digits(arg.len()) + 5;
    args.iter_from(0).map(bulk).sum::<usize>() + digits(args.len()) + 3
}

/// A large request: its entry, its stored arguments, and its bytes.
type Large = (&'static Entry, LoggedArgs, u64);

/// Returns the commands of at least `bytes_min` bytes.
fn large_among<'i>(
    items: impl Iterator<Item = &'i Item>,
    batch_args: &mut BatchArgs<'_>,
    bytes_min: usize,
) -> Vec<Large> {
    let mut found = Vec::new();
    for item in items {
        let args = batch_args.of(item);
        let bytes = wire_bytes(&args);
        if bytes >= bytes_min {
            found.push((item.entry, logged(item.entry, &args), bytes as u64));
        }
    }
    found
}

impl Shard {
    /// Returns the writer of entries and events.
    pub(in crate::shard) fn reporter(&mut self) -> Reporter<'_> {
        self.reporter_beside().0
    }

    fn reporter_beside(&mut self) -> (Reporter<'_>, &mut Connections) {
        (Reporter { env: &self.env }, &mut self.connections)
    }

    /// Logs the batch that has just run here.
    #[cold]
    pub(in crate::shard) fn log_batch(&mut self, conn: ConnId, timing: &BatchTiming) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let (text, large) = connection.input.parts();
        let mut batch_args = BatchArgs { text, spans: &self.batch.spans, large };
        let reporter = Reporter { env: &self.env };
        reporter.log_items(&connection.session, timing, &self.batch.items, &mut batch_args);
    }

    /// Logs the queued commands that EXEC has just run here.
    #[cold]
    pub(in crate::shard) fn log_queue(
        &mut self,
        conn: ConnId,
        queue: &mut Queue,
        timing: &BatchTiming,
    ) {
        let (reporter, connections) = self.reporter_beside();
        let Some(connection) = connections.get_mut(conn) else { return };
        let (items, mut batch_args) = queue.parts();
        reporter.log_items(&connection.session, timing, items, &mut batch_args);
    }

    /// Logs a session command that has run and has made its request. If all shards must reply to
    /// the request, the entry is made when they have replied.
    #[cold]
    pub(in crate::shard) fn log_session(
        &mut self,
        conn: ConnId,
        entry: &'static Entry,
        args: LoggedArgs,
        (ns, reply_bytes): (u64, usize),
    ) {
        let (reporter, connections) = self.reporter_beside();
        let Some(connection) = connections.get_mut(conn) else { return };
        if let Some(flight) = connection.flights.last_mut() {
            flight.written.push((0, entry, args));
            flight.own_ns = ns.max(1);
            return;
        }
        let thresholds = reporter.env.thresholds;
        if ns >= thresholds.run_ns {
            reporter.ran(&connection.session, entry, &args, ns);
        }
        if reply_bytes >= thresholds.reply_bytes {
            let bytes = reply_bytes as u64;
            reporter.log(&connection.session, entry, &args, (LogKind::LargeReply, bytes));
        }
    }

    /// Logs the large requests at the head of the connection's input.
    #[cold]
    pub(in crate::shard) fn log_requests(&mut self, conn: ConnId, alone: Option<Item>) {
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let (text, large) = connection.input.parts();
        let mut batch_args = BatchArgs { text, spans: &self.batch.spans, large };
        let items = self.batch.items.iter().chain(&alone);
        let found = large_among(items, &mut batch_args, self.env.thresholds.request_bytes);
        self.log_large_requests(conn, &found);
    }

    /// Logs the large requests among the queued commands.
    pub(in crate::shard) fn log_queued_requests(&mut self, conn: ConnId, queue: &mut Queue) {
        if queue.wire_bytes_max() < self.env.thresholds.request_bytes {
            return;
        }
        let (items, mut batch_args) = queue.parts();
        let found = large_among(items.iter(), &mut batch_args, self.env.thresholds.request_bytes);
        self.log_large_requests(conn, &found);
    }

    fn log_large_requests(&mut self, conn: ConnId, found: &[Large]) {
        let (reporter, connections) = self.reporter_beside();
        let connection = connections.get_mut(conn).expect("connection is open");
        for (entry, args, bytes) in found {
            reporter.log(&connection.session, entry, args, (LogKind::LargeRequest, *bytes));
        }
    }

    /// Logs what the parts of a complete flight have reported. `replies` are large replies by
    /// command index. The arguments come from the flight if stored earlier, else from the
    /// transaction's queue, else from the parts.
    #[cold]
    pub(in crate::shard) fn log_flight(
        &mut self,
        client: ClientRef,
        flight: &Flight,
        replies: &[(usize, u64)],
        mut queue: Option<&mut Queue>,
    ) {
        let (reporter, connections) = self.reporter_beside();
        let Some(connection) = connections.get_same(client.conn, client.generation) else {
            return;
        };
        let session = &connection.session;
        let mut find = |at: usize| match (flight.written_at(at), &mut queue) {
            (Some(written), _) => Some(written),
            (None, Some(queue)) => {
                let (items, mut batch_args) = queue.parts();
                let item = items.get(at)?;
                Some((item.entry, logged(item.entry, &batch_args.of(item))))
            }
            (None, None) => args_in_parts(flight, at),
        };
        for (at, ns) in flight.spent() {
            if ns >= reporter.env.thresholds.run_ns
                && let Some((entry, args)) = find(at)
            {
                reporter.ran(session, entry, &args, ns);
            }
        }
        for &(at, bytes) in replies {
            if let Some((entry, args)) = find(at) {
                reporter.log(session, entry, &args, (LogKind::LargeReply, bytes));
            }
        }
    }

    /// Logs a blocked client's command that an owner has served.
    pub(in crate::shard) fn log_served(&mut self, client: ClientRef, part: &Envelope) {
        let Some(&(_, ns)) = part.spent.first() else { return };
        let Some(item) = part.items.first() else { return };
        let (reporter, connections) = self.reporter_beside();
        let Some(connection) = connections.get_same(client.conn, client.generation) else {
            return;
        };
        let args = shown_args(item.entry, item.argc as usize, &|at| part.arg(0, at));
        reporter.ran(&connection.session, item.entry, &args, ns);
    }
}

/// Returns the arguments of a flight's command, collected from its parts. A command that was split
/// by its keys lists the keys in the order of the shards.
fn args_in_parts(flight: &Flight, at: usize) -> Option<(&'static Entry, LoggedArgs)> {
    let mut entry = None;
    let mut args: Vec<&[u8]> = Vec::new();
    for (part, number) in flight.pieces(at) {
        let item = part.items.get(number)?;
        let from = usize::from(entry.is_some());
        if entry.is_some() && item.is_part {
            break;
        }
        entry = Some(item.entry);
        args.extend((from..item.argc as usize).map(|arg| part.arg(number, arg)));
    }
    let entry = entry?;
    Some((entry, shown_args(entry, args.len(), &|at| args[at])))
}
