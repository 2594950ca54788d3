//! What a running script asks of the server: commands, log lines, the time to end.

use crate::exec::{
    CommandTable, Entry, Facts, Nested, Process, Scripting, Session, SessionContext,
};
use crate::observe::Board;
use crate::resp::{Args, Error, Output, Protocol, Reply};
use crate::script::{AclAnswer, Host, LogLevel, Propagation, ScriptFlags, Verdict};
use crate::spec::Flag;

/// The reply to a command that scripts must not run.
const FORBIDDEN: &str = "ERR This Valkey command is not allowed from script";

/// What a script may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Whether it must not write.
    only_reads: bool,
    /// Whether it may use more memory although `maxmemory` is reached.
    allows_oom: bool,
}

impl Limits {
    /// Returns what a script with these flags may do, or why it must not run now. `only_reads`
    /// tells whether a command runs it that allows no writes.
    pub(super) fn of(flags: ScriptFlags, only_reads: bool, facts: Facts) -> Result<Limits, Error> {
        if flags.is_compat() {
            return Ok(Limits { only_reads, allows_oom: false });
        }
        if !flags.no_writes() {
            if only_reads {
                return Err(Error::other(
                    "ERR Can not execute a script with write flag using *_ro command.",
                ));
            }
            if facts.has(Facts::FEW_REPLICAS) {
                return Err(Error::NoReplicas);
            }
        }
        let allows_oom = flags.allow_oom() || flags.no_writes();
        if facts.has(Facts::OUT_OF_MEMORY) && !allows_oom {
            return Err(Error::other(
                "OOM allow-oom flag is not set on the script, can not run it when used memory > \
                 'maxmemory'",
            ));
        }
        let only_reads = only_reads || flags.no_writes();
        Ok(Limits { only_reads, allows_oom: flags.allow_oom() })
    }
}

/// Runs the commands of one script.
pub(super) struct ScriptHost<'a> {
    nested: Nested<'a>,
    process: &'a Process,
    board: &'a Board,
    facts: Facts,
    shard: usize,
    limits: Limits,
    /// What the script's commands on the session see and change.
    session: Session,
    /// Whether the script has run a command that may write. Then nothing stops it any more.
    has_written: bool,
    /// Monotonic nanoseconds at the end of the last command.
    ended_ns: u64,
}

impl<'a> ScriptHost<'a> {
    /// Creates the host of a script.
    pub(super) fn new(
        nested: Nested<'a>,
        scripting: &Scripting<'a>,
        limits: Limits,
    ) -> ScriptHost<'a> {
        let mut session = Session::new(0, true, 0);
        session.db = usize::from(nested.item().db);
        ScriptHost {
            nested,
            process: scripting.process,
            board: scripting.board,
            facts: scripting.facts,
            shard: scripting.shard,
            limits,
            session,
            has_written: false,
            ended_ns: scripting.process.clock.monotonic_ns(),
        }
    }

    /// Counts a run of the script that has failed.
    pub(super) fn count_failure(&self) {
        self.board.commands[usize::from(self.nested.item().entry.index)].failed.add(1);
    }

    /// Returns the command that the arguments name, unless the script must not run it now.
    fn admit(&mut self, args: &Args<'_>) -> Result<&'static Entry, Error> {
        let entry = find(self.process.commands, args)?;
        self.check(entry, args).inspect_err(|_| {
            self.board.commands[usize::from(entry.index)].rejected.add(1);
        })?;
        Ok(entry)
    }

    fn check(&mut self, entry: &Entry, args: &Args<'_>) -> Result<(), Error> {
        let flags = entry.command.card.flags;
        if !entry.command.card.takes(args.len()) {
            return Err(wrong_arity());
        }
        if flags.has(Flag::NOSCRIPT) {
            return Err(Error::other(FORBIDDEN));
        }
        let may_grow = self.has_written || self.limits.allows_oom;
        if flags.has(Flag::DENYOOM) && self.facts.has(Facts::OUT_OF_MEMORY) && !may_grow {
            return Err(Error::OutOfMemory);
        }
        let writes = flags.has(Flag::WRITE);
        if self.limits.only_reads && (writes || flags.has(Flag::MAY_REPLICATE)) {
            return Err(Error::other("ERR Write commands are not allowed from read-only scripts."));
        }
        if writes && !self.has_written {
            if self.facts.has(Facts::FEW_REPLICAS) {
                return Err(Error::NoReplicas);
            }
            self.has_written = true;
        }
        Ok(())
    }

    /// Runs a command that the script may run.
    fn run(
        &mut self,
        entry: &'static Entry,
        args: &mut Args<'_>,
        protocol: Protocol,
        out: &mut Output,
    ) -> Result<(), Error> {
        match entry.on_session() {
            Some(_) => self.run_on_session(entry, args, protocol, out),
            None => {
                let with = (entry, self.session.db);
                self.nested.run(with, args, (protocol, out), self.process)
            }
        }
    }

    fn run_on_session(
        &mut self,
        entry: &'static Entry,
        args: &mut Args<'_>,
        protocol: Protocol,
        out: &mut Output,
    ) -> Result<(), Error> {
        let run = entry.on_session().expect("checked by the caller");
        let mark = out.mark();
        let mut context = SessionContext {
            session: &mut self.session,
            process: self.process,
            entry,
            now_us: self.nested.now_ms() * 1_000,
            shard: self.shard,
            reply: Reply::new(out, protocol),
            request: None,
        };
        let result = run(&mut context, args);
        // No script may wait for other shards.
        let result = match context.request {
            Some(_) => result.and(Err(Error::other(FORBIDDEN))),
            None => result,
        };
        result.inspect_err(|error| {
            out.truncate(mark);
            Reply::new(out, protocol).error(error);
        })
    }

    /// Counts a command that has run.
    fn count(&mut self, entry: &Entry, result: &Result<(), Error>) {
        let now_ns = self.process.clock.monotonic_ns();
        let spent_ns = now_ns.saturating_sub(std::mem::replace(&mut self.ended_ns, now_ns));
        let index = usize::from(entry.index);
        let counters = &self.board.commands[index];
        counters.calls.add(1);
        counters.ns.add(spent_ns);
        self.board.counters.commands_processed.add(1);
        if self.nested.config().latency_tracking {
            self.board.latencies.record(index, spent_ns, 1);
        }
        if let Err(error) = result {
            counters.failed.add(1);
            self.board.error_reply(error.bytes());
        }
    }
}

impl Host for ScriptHost<'_> {
    fn call(&mut self, mut args: Args<'_>, protocol: Protocol, reply: &mut Output) {
        match self.admit(&args) {
            Ok(entry) => {
                let result = self.run(entry, &mut args, protocol, reply);
                self.count(entry, &result);
            }
            Err(error) => {
                self.board.error_reply(error.bytes());
                Reply::new(reply, protocol).error(&error);
            }
        }
    }

    fn pause(&mut self) -> Verdict {
        if self.process.is_stopping() { Verdict::Kill } else { Verdict::Continue }
    }

    fn log(&mut self, level: LogLevel, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        match level {
            LogLevel::Debug => self.process.log.debug(&line),
            LogLevel::Verbose => self.process.log.verbose(&line),
            LogLevel::Notice => self.process.log.notice(&line),
            LogLevel::Warning => self.process.log.warning(&line),
        }
    }

    fn acl_check(&mut self, args: Args<'_>) -> AclAnswer {
        match find(self.process.commands, &args) {
            Ok(entry) if entry.command.card.takes(args.len()) => AclAnswer::Allowed,
            _ => AclAnswer::Invalid,
        }
    }

    fn set_propagation(&mut self, to: Propagation) {
        self.nested.set_propagates(to.to_replicas);
    }

    fn count_error(&mut self, text: &[u8]) {
        self.board.error_reply(text);
    }
}

/// Returns the command or subcommand that the arguments name.
fn find(table: &'static CommandTable, args: &Args<'_>) -> Result<&'static Entry, Error> {
    let entry = table
        .find(&args[0])
        .ok_or_else(|| Error::other("ERR Unknown command called from script"))?;
    if entry.subcommands.is_empty() {
        return Ok(entry);
    }
    let name = args.get(1).ok_or_else(wrong_arity)?;
    let missing = || Error::unknown_subcommand(entry.name.as_bytes(), name);
    entry.subcommand(name).ok_or_else(missing)
}

fn wrong_arity() -> Error {
    Error::other("ERR Wrong number of args calling command from script")
}
