//! What is said of commands that have run: the command log, and the latency events `command` and
//! `fast-command`.
//!
//! A clock is read per batch and not per command. A batch that took less than the thresholds holds
//! no slow command, so nothing more is to be known of it. In one that took more, the durations of
//! those commands are wanted whose work may have grown: a command that is steady (`Entry`) takes
//! less than the least threshold that matters by itself, and its batch's average will do. So the
//! clock is read behind each command of a batch if one of them is not steady, or if the threshold
//! is as low as a steady command's own time ([`EACH_NS_BELOW`]).
//!
//! Who knows what:
//!
//! ```text
//!   home    the client, the size of request and reply, the args (still in the parts' envelopes)
//!   owner   the duration, which goes home in `Envelope::spent` if it is over the thresholds
//! ```
//! The entry is made at home, one per command of the client. A command whose parts ran on several
//! shards took as long as the longest of them: they ran beside each other. EXEC is none itself, its
//! commands are.

use super::Shard;
use super::connections::Connections;
use super::profile::Probe;
use crate::base::clock::Clock;
use crate::client::Flight;
use crate::commands::shown_args;
use crate::config::Config;
use crate::exec::{BatchArgs, Entry, Item, Session};
use crate::io::ConnId;
use crate::mesh::Envelope;
use crate::observe::{Boards, LogEntry, LogKind, LoggedArgs};
use crate::resp::Args;
use crate::spec::Flag;
use crate::txn::Queue;

/// Nanoseconds: with a threshold below this, every command's end is looked at.
const EACH_NS_BELOW: u64 = 1_000_000;

/// From where on something is said of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thresholds {
    /// Nanoseconds from which on a run is looked at: the least of the next two.
    pub(super) run_ns: u64,
    slow_ns: u64,
    event_ns: u64,
    /// Bytes on the wire; the most there is: never.
    pub(super) request_bytes: usize,
    /// The same of a reply.
    pub(super) reply_bytes: usize,
}

impl Thresholds {
    /// As the settings say.
    pub(super) fn new(config: &Config) -> Thresholds {
        let at_least = |limit: i64, entries_max: u64| {
            u64::try_from(limit).ok().filter(|_| entries_max > 0).unwrap_or(u64::MAX)
        };
        let bytes = |limit, entries_max| {
            usize::try_from(at_least(limit, entries_max)).unwrap_or(usize::MAX)
        };
        let slow_us = at_least(
            config.commandlog_execution_slower_than,
            config.commandlog_slow_execution_max_len,
        );
        let event_ms = config.latency_monitor_threshold;
        let slow_ns = slow_us.saturating_mul(1_000);
        let event_ns = if event_ms == 0 { u64::MAX } else { event_ms.saturating_mul(1_000_000) };
        Thresholds {
            run_ns: slow_ns.min(event_ns),
            slow_ns,
            event_ns,
            request_bytes: bytes(
                config.commandlog_request_larger_than,
                config.commandlog_large_request_max_len,
            ),
            reply_bytes: bytes(
                config.commandlog_reply_larger_than,
                config.commandlog_large_reply_max_len,
            ),
        }
    }

    /// Whether something may be said of a command after it has run.
    pub(super) fn looks_back(&self) -> bool {
        self.run_ns != u64::MAX || self.reply_bytes != usize::MAX
    }

    /// Whether each command's end is to be looked at, and not the batch's only.
    fn is_each(&self, items: &[Item]) -> bool {
        if items.len() < 2 || self.run_ns == u64::MAX {
            return false;
        }
        self.run_ns < EACH_NS_BELOW || items.iter().any(|item| !item.entry.is_steady())
    }
}

/// What is noticed of a batch while it runs.
#[derive(Debug)]
pub(super) struct BatchTiming {
    /// Looks at the command whose request is traced.
    pub(super) probe: Probe,
    is_each: bool,
    started_ns: u64,
    /// Monotonic nanoseconds, one per command if each is looked at.
    ends_ns: Vec<u64>,
    reply_bytes_min: usize,
    /// Where the last reply ended.
    end: usize,
    /// Large replies: places and bytes.
    large: Vec<(usize, u64)>,
    /// The args of those whose large args their run takes.
    written: Vec<(u32, &'static Entry, LoggedArgs)>,
}

impl BatchTiming {
    /// A batch begins; the output has so many bytes.
    #[inline]
    pub(super) fn new(
        thresholds: &Thresholds,
        items: &[Item],
        batch_args: &mut BatchArgs<'_>,
        (started_ns, end): (u64, usize),
    ) -> BatchTiming {
        BatchTiming {
            probe: Probe::new(None, started_ns),
            is_each: thresholds.is_each(items),
            started_ns,
            ends_ns: Vec::new(),
            reply_bytes_min: thresholds.reply_bytes,
            end,
            large: Vec::new(),
            written: written_large(thresholds, items, batch_args),
        }
    }

    /// The same at an owner, where the size of replies does not matter.
    pub(super) fn at_owner(
        thresholds: &Thresholds,
        items: &[Item],
        started_ns: u64,
    ) -> BatchTiming {
        BatchTiming {
            probe: Probe::new(None, started_ns),
            is_each: thresholds.is_each(items),
            started_ns,
            ends_ns: Vec::new(),
            reply_bytes_min: usize::MAX,
            end: 0,
            large: Vec::new(),
            written: Vec::new(),
        }
    }

    /// A command has ended, and its reply where the output has so many bytes.
    #[inline]
    pub(super) fn see(&mut self, at: usize, clock: &Clock, end: usize) {
        self.probe.pass(at, clock);
        let bytes = end - self.end.min(end);
        if bytes >= self.reply_bytes_min {
            self.large.push((at, bytes as u64));
        }
        self.end = end;
        if self.is_each {
            self.ends_ns.push(clock.monotonic_ns());
        }
    }

    /// How long the command at a place of a batch of `count` took, nanoseconds.
    fn of(&self, at: usize, count: usize, spent_ns: u64) -> u64 {
        let Some(end) = self.ends_ns.get(at) else { return spent_ns / count.max(1) as u64 };
        end - at.checked_sub(1).map_or(self.started_ns, |before| self.ends_ns[before])
    }

    /// The commands that took long, in a batch of `count`: their places and nanoseconds.
    pub(super) fn slow(
        &self,
        thresholds: &Thresholds,
        count: usize,
        spent_ns: u64,
    ) -> impl Iterator<Item = (usize, u64)> {
        let run_ns = thresholds.run_ns;
        // A batch that took less as a whole has none.
        let count_seen = if spent_ns >= run_ns { count } else { 0 };
        let all = (0..count_seen).map(move |at| (at, self.of(at, count, spent_ns)));
        all.filter(move |(_, ns)| *ns >= run_ns)
    }

    /// Whether there is something to be said of the batch, which took so long.
    #[inline]
    pub(super) fn has_news(&self, thresholds: &Thresholds, spent_ns: u64) -> bool {
        spent_ns >= thresholds.run_ns || !self.large.is_empty()
    }

    /// Says of a session's commands what is to be said.
    #[cold]
    pub(super) fn tell(
        &self,
        spent_ns: u64,
        reporter: &Reporter<'_>,
        session: &Session,
        (items, batch_args): (&[Item], &mut BatchArgs<'_>),
    ) {
        let mut args_at = |at: usize| {
            let item = &items[at];
            let written = self.written.iter().find(|(number, ..)| *number == item.at);
            written.map_or_else(|| shown(item.entry, &batch_args.of(item)), |found| found.2.clone())
        };
        for (at, ns) in self.slow(reporter.thresholds, items.len(), spent_ns) {
            reporter.ran(session, items[at].entry, &args_at(at), ns);
        }
        for &(at, bytes) in &self.large {
            let args = args_at(at);
            reporter.log(session, items[at].entry, &args, (LogKind::LargeReply, bytes));
        }
    }
}

/// Large replies of a flight while they are merged: places and bytes.
#[derive(Debug)]
pub(super) struct LargeReplies {
    bytes_min: usize,
    end: usize,
    pub(super) found: Vec<(usize, u64)>,
}

impl LargeReplies {
    /// Looks at what goes behind the first `end` bytes of an output.
    pub(super) fn new(thresholds: &Thresholds, end: usize) -> LargeReplies {
        LargeReplies { bytes_min: thresholds.reply_bytes, end, found: Vec::new() }
    }

    /// The reply of the command at a place ends where the output has `end` bytes.
    #[inline]
    pub(super) fn see(&mut self, at: usize, end: usize) {
        let bytes = end - self.end;
        if bytes >= self.bytes_min {
            self.found.push((at, bytes as u64));
        }
        self.end = end;
    }
}

/// Where things are said, apart from what they are said of.
pub(super) struct Reporter<'a> {
    pub(super) boards: &'a Boards,
    pub(super) config: &'a Config,
    pub(super) thresholds: &'a Thresholds,
    pub(super) shard: usize,
    /// Unix time, seconds.
    pub(super) unix_s: u64,
}

impl Reporter<'_> {
    /// Something else took so long, of which there is an event.
    pub(super) fn event(&self, event: &'static str, ns: u64) {
        if ns >= self.thresholds.event_ns {
            self.boards.events.add(event, self.unix_s, ns / 1_000_000);
        }
    }

    /// A command of the session took so long.
    pub(super) fn ran(&self, session: &Session, entry: &Entry, args: &LoggedArgs, ns: u64) {
        let is_fast = entry.command.card.flags.has(Flag::FAST);
        self.event(if is_fast { "fast-command" } else { "command" }, ns);
        if ns >= self.thresholds.slow_ns {
            self.log(session, entry, args, (LogKind::Slow, ns / 1_000));
        }
    }

    /// A command of the session is remembered for something.
    pub(super) fn log(
        &self,
        session: &Session,
        entry: &Entry,
        args: &LoggedArgs,
        (kind, value): (LogKind, u64),
    ) {
        if entry.command.card.flags.has(Flag::SKIP_COMMANDLOG) {
            return;
        }
        let entries_max = match kind {
            LogKind::Slow => self.config.commandlog_slow_execution_max_len,
            LogKind::LargeRequest => self.config.commandlog_large_request_max_len,
            LogKind::LargeReply => self.config.commandlog_large_reply_max_len,
        };
        let entry = LogEntry {
            id: 0,
            unix_s: self.unix_s,
            value,
            args: args.clone(),
            address: session.address.clone(),
            name: session.name.clone(),
        };
        self.boards.log(self.shard, kind, entry, entries_max);
    }
}

/// The args of a command as they are remembered.
pub(super) fn shown(entry: &Entry, args: &Args<'_>) -> LoggedArgs {
    shown_args(entry, args.len(), &|at| &args[at])
}

/// Bytes of a command on the wire, as an array of bulk texts.
fn wire_bytes(args: &Args<'_>) -> usize {
    let digits = |number: usize| number.checked_ilog10().unwrap_or(0) as usize + 1;
    let word = |word: &[u8]| word.len() + digits(word.len()) + 5;
    args.iter_from(0).map(word).sum::<usize>() + digits(args.len()) + 3
}

/// A large request: its args as they are remembered, and its bytes.
type Large = (&'static Entry, LoggedArgs, u64);

/// The commands of so many bytes or more.
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
            found.push((item.entry, shown(item.entry, &args), bytes as u64));
        }
    }
    found
}

impl Shard {
    /// Where things are said.
    pub(super) fn reporter(&mut self) -> Reporter<'_> {
        self.reporter_beside().0
    }

    /// The same, beside those of whom they are said.
    fn reporter_beside(&mut self) -> (Reporter<'_>, &mut Connections) {
        let reporter = Reporter {
            boards: &self.process.boards,
            config: &self.config,
            thresholds: &self.thresholds,
            shard: self.me,
            unix_s: self.now.unix_us / 1_000_000,
        };
        (reporter, &mut self.connections)
    }

    /// Says of a command on the session, which has run and has asked what it was to ask, what is
    /// to be said: now, or when the answer to what it has asked is there.
    #[cold]
    pub(super) fn log_session(
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
        if ns >= reporter.thresholds.run_ns {
            reporter.ran(&connection.session, entry, &args, ns);
        }
        if reply_bytes >= reporter.thresholds.reply_bytes {
            let bytes = reply_bytes as u64;
            reporter.log(&connection.session, entry, &args, (LogKind::LargeReply, bytes));
        }
    }

    /// Says which of the commands at the head of the connection's input are large.
    #[cold]
    pub(super) fn log_requests(&mut self, conn: ConnId, alone: Option<Item>) {
        let connection = self.connections.get_mut(conn).expect("it is being served");
        let (text, large) = connection.input.parts();
        let mut batch_args = BatchArgs { text, spans: &self.batch.spans, large };
        let items = self.batch.items.iter().chain(&alone);
        let found = large_among(items, &mut batch_args, self.thresholds.request_bytes);
        self.log_large_requests(conn, &found);
    }

    /// The same for what has been queued.
    pub(super) fn log_queued_requests(&mut self, conn: ConnId, queue: &mut Queue) {
        if queue.wire_bytes_max() < self.thresholds.request_bytes {
            return;
        }
        let (items, mut batch_args) = queue.parts();
        let found = large_among(items.iter(), &mut batch_args, self.thresholds.request_bytes);
        self.log_large_requests(conn, &found);
    }

    fn log_large_requests(&mut self, conn: ConnId, found: &[Large]) {
        let (reporter, connections) = self.reporter_beside();
        let connection = connections.get_mut(conn).expect("it is being served");
        for (entry, args, bytes) in found {
            reporter.log(&connection.session, entry, args, (LogKind::LargeRequest, *bytes));
        }
    }

    /// Says of a flight that has landed what its parts have found out. `replies` are large ones by
    /// their place; the args are in the parts, where they have not been written down, or in the
    /// queue of the transaction that it is.
    #[cold]
    pub(super) fn log_flight(
        &mut self,
        (conn, generation): (ConnId, u32),
        flight: &Flight,
        replies: &[(usize, u64)],
        mut queue: Option<&mut Queue>,
    ) {
        let (reporter, connections) = self.reporter_beside();
        let Some(connection) = connections.get_same(conn, generation) else { return };
        let session = &connection.session;
        let mut find = |at: usize| match (flight.written_at(at), &mut queue) {
            (Some(written), _) => Some(written),
            (None, Some(queue)) => {
                let (items, mut batch_args) = queue.parts();
                let item = items.get(at)?;
                Some((item.entry, shown(item.entry, &batch_args.of(item))))
            }
            (None, None) => args_in_parts(flight, at),
        };
        for (at, ns) in flight.spent() {
            if ns >= reporter.thresholds.run_ns
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

    /// Says of a command that waited, and has been served, how long that took.
    pub(super) fn log_served(&mut self, part: &Envelope) {
        let Some(&(_, ns)) = part.spent.first() else { return };
        let Some(item) = part.items.first() else { return };
        let connection = self.connections.get_same(part.connection, part.generation);
        let Some(connection) = connection else { return };
        let (entry, session) = (item.entry, connection.session.clone());
        let args = shown_args(entry, item.argc as usize, &|at| part.word(0, at));
        self.reporter().ran(&session, entry, &args, ns);
    }
}

/// The args of those commands that have large ones, which their run takes.
#[inline]
pub(super) fn written_large(
    thresholds: &Thresholds,
    items: &[Item],
    batch_args: &mut BatchArgs<'_>,
) -> Vec<(u32, &'static Entry, LoggedArgs)> {
    if batch_args.large.is_empty() || !thresholds.looks_back() {
        return Vec::new();
    }
    let mut written = Vec::new();
    for item in items {
        let spans = &batch_args.spans[item.first as usize..(item.first + item.argc) as usize];
        if spans.iter().any(|span| span.large_index().is_some()) {
            written.push((item.at, item.entry, shown(item.entry, &batch_args.of(item))));
        }
    }
    written
}

/// The args of a command of a flight, put together from its parts: one that went to several by
/// their keys has these in the order of their shards.
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
        args.extend((from..item.argc as usize).map(|word| part.word(number, word)));
    }
    let entry = entry?;
    Some((entry, shown_args(entry, args.len(), &|at| args[at])))
}
