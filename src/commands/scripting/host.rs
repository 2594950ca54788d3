//! What a running script asks of the server: commands, log lines, the time to end.

use crate::acl::{DenialContext, LogKey, Refused, User};
use crate::commands::is_secret;
use crate::config::quote;
use crate::exec::{
    CommandTable, Entry, Facts, Item, KeySlots, Nested, Process, Request, RunningScript,
    ScriptProgress, Scripting, Session, SessionContext, SuspendedScript, count_denial,
};
use crate::gate::{KeysHere, SlotUse, UNKNOWN_CLIENT, check_keys, check_slot};
use crate::observe::{Board, REDACTED};
use crate::resp::{Args, Error, Output, Protocol, Reply};
use crate::script::{AclAnswer, Host, LogLevel, Propagation, Ran, ScriptFlags, Verdict};
use crate::spec::Flag;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The reply to a command that scripts must not run.
pub(super) const FORBIDDEN: &str = "ERR This Valkey command is not allowed from script";

/// Nanoseconds of a script's slice. Then other work has its turn.
const SLICE_NS_MAX: u64 = 500_000;

/// Returns what a script with these flags may do, or why it must not run now. `only_reads` tells
/// whether a command runs it that allows no writes.
pub(super) fn may_run(
    flags: ScriptFlags,
    only_reads: bool,
    (facts, process): (Facts, &Process),
) -> Result<ScriptProgress, Error> {
    if flags.has(ScriptFlags::COMPAT) {
        return Ok(ScriptProgress { only_reads, crosses_slots: true, ..Default::default() });
    }
    if flags.has(ScriptFlags::NO_CLUSTER) && process.is_cluster {
        let text = "ERR Can not run script on cluster, 'no-cluster' flag is set.";
        return Err(Error::other(text));
    }
    if !flags.has(ScriptFlags::NO_WRITES) {
        if facts.has(Facts::DISK_ERROR) {
            return Err(process.disk_error());
        }
        if only_reads {
            return Err(Error::other(
                "ERR Can not execute a script with write flag using *_ro command.",
            ));
        }
        if facts.has(Facts::FEW_REPLICAS) {
            return Err(Error::NoReplicas);
        }
    }
    if facts.has(Facts::OUT_OF_MEMORY)
        && !flags.has(ScriptFlags::ALLOW_OOM)
        && !flags.has(ScriptFlags::NO_WRITES)
    {
        return Err(Error::other(
            "OOM allow-oom flag is not set on the script, can not run it when used memory > \
             'maxmemory'",
        ));
    }
    Ok(ScriptProgress {
        only_reads: only_reads || flags.has(ScriptFlags::NO_WRITES),
        allows_oom: flags.has(ScriptFlags::ALLOW_OOM),
        crosses_slots: flags.has(ScriptFlags::ALLOW_CROSS_SLOT),
        ..Default::default()
    })
}

/// Who runs a script.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    /// Name of the function; none for EVAL.
    pub(super) function: Option<&'a [u8]>,
    /// Returns the arguments of the command that runs it.
    pub(super) args: &'a dyn Fn() -> Vec<Box<[u8]>>,
}

/// Runs the commands of one script.
pub(super) struct ScriptHost<'a> {
    nested: Nested<'a>,
    process: &'a Process,
    board: &'a Board,
    facts: Facts,
    shard: usize,
    may_suspend: bool,
    progress: ScriptProgress,
    /// Describes the script for the list of long runs.
    caller: Option<Caller<'a>>,
    /// The script's entry in the list of long runs, once it is there.
    running: Option<Arc<RunningScript>>,
    /// What the script's commands on the session see and change.
    session: Session,
    /// Monotonic nanoseconds of the start of this slice.
    began_ns: u64,
    /// Number of pauses in this slice.
    pauses: u32,
    /// Monotonic nanoseconds at the end of the last command.
    ended_ns: u64,
}

impl<'a> ScriptHost<'a> {
    /// Creates the host of a script that begins, or of a long run that continues. The rules of
    /// `user` restrict its commands.
    pub(super) fn new(
        mut nested: Nested<'a>,
        scripting: &Scripting<'a>,
        progress: ScriptProgress,
        user: Option<Arc<User>>,
        (caller, running): (Option<Caller<'a>>, Option<Arc<RunningScript>>),
    ) -> ScriptHost<'a> {
        let mut session = Session::new(0, true, 0);
        session.db = progress.db;
        session.set_user(user);
        nested.set_propagates(!progress.is_muted);
        let began_ns = match running {
            None => progress.started_ns,
            Some(_) => scripting.process.clock.monotonic_ns(),
        };
        ScriptHost {
            nested,
            process: scripting.process,
            board: scripting.board,
            facts: scripting.facts,
            shard: scripting.shard,
            may_suspend: scripting.may_suspend,
            progress,
            caller,
            running,
            session,
            began_ns,
            pauses: 0,
            ended_ns: began_ns,
        }
    }

    /// Ends the script's slice. Returns the script if it is suspended. `now_ms` is the Unix time
    /// that the script sees.
    pub(super) fn end(mut self, ran: Ran, now_ms: u64) -> Option<Box<SuspendedScript>> {
        self.progress.db = self.session.db;
        if let Ran::Suspended(run) = ran {
            let running = self.running.take().expect("a pause has listed the script");
            let progress = self.progress;
            let records = None;
            let user = self.session.user.take();
            let suspended = SuspendedScript { run, running, progress, user, now_ms, records };
            return Some(Box::new(suspended));
        }
        if let Some(running) = &self.running {
            self.process.running.remove(running);
        }
        if ran == Ran::Failed {
            self.board.commands[usize::from(self.nested.item().entry.index)].failed.add(1);
        }
        None
    }

    /// Lists the script among the long runs.
    #[cold]
    fn list(&mut self) -> Arc<RunningScript> {
        let started_ms = self.progress.started_ns / 1_000_000;
        let caller = self.caller.expect("a script that continues is listed");
        let function = caller.function.map(|name| String::from_utf8_lossy(name).into_owned());
        let running = Arc::new(RunningScript::new(started_ms, function, (caller.args)()));
        if self.progress.has_written {
            running.note_write();
        }
        self.process.running.add(&running);
        running
    }

    /// Returns the command that the arguments name, unless the script must not run it now.
    fn admit(&mut self, args: &Args<'_>) -> Result<&'static Entry, Error> {
        let entry = find(self.process.commands, args)?;
        self.check(entry, args).inspect_err(|_| {
            self.board.commands[usize::from(entry.index)].rejected.add(1);
        })?;
        Ok(entry)
    }

    fn check(&mut self, entry: &'static Entry, args: &Args<'_>) -> Result<(), Error> {
        let flags = entry.command.card.flags;
        if !entry.command.card.takes(args.len()) {
            return Err(wrong_arity());
        }
        let allows_all = || self.process.allows_all_in_scripts.load(Ordering::Relaxed);
        if flags.has(Flag::NOSCRIPT) && !allows_all() {
            return Err(Error::other(FORBIDDEN));
        }
        let may_grow = self.progress.has_written || self.progress.allows_oom;
        if flags.has(Flag::DENYOOM) && self.facts.has(Facts::OUT_OF_MEMORY) && !may_grow {
            return Err(Error::OutOfMemory);
        }
        let writes = flags.has(Flag::WRITE);
        if self.progress.only_reads && (writes || flags.has(Flag::MAY_REPLICATE)) {
            return Err(Error::other("ERR Write commands are not allowed from read-only scripts."));
        }
        self.permit(entry, args)?;
        if self.facts.has(Facts::CLUSTER) {
            self.check_slot(entry, args)?;
        }
        if writes && !self.progress.has_written {
            if self.facts.has(Facts::FEW_REPLICAS) {
                return Err(Error::NoReplicas);
            }
            if self.facts.has(Facts::DISK_ERROR) {
                return Err(self.process.disk_error());
            }
            self.progress.has_written = true;
            if let Some(running) = &self.running {
                running.note_write();
            }
        }
        Ok(())
    }

    /// Refuses a command that the rules of the script's user forbid.
    fn permit(&self, entry: &'static Entry, args: &Args<'_>) -> Result<(), Error> {
        let Some(denial) = self.session.refusal(entry, args, self.process.databases) else {
            return Ok(());
        };
        let user = self.session.user.as_ref().expect("only rules of a user forbid commands");
        count_denial(self.board, denial.reason);
        let key = LogKey {
            reason: denial.reason,
            context: DenialContext::Script,
            object: entry.denied_object(denial, args),
            user: user.name.to_vec(),
        };
        let entries_max = self.nested.config().acllog_max_len;
        let client = match self.nested.caller() {
            Some(client) => Refused::Connection(client.home, client.conn, client.generation),
            None => Refused::Client(Vec::new()),
        };
        self.process.acl.log.add(key, client, self.process.clock.unix_ms(), entries_max);
        let text = denial.text(user, &entry.name, None);
        Err(Error::quoting(&[b"ERR ACL failure in script: ", &text]))
    }

    /// Refuses a command on keys of another node of the cluster, or of a slot that the script must
    /// not use.
    fn check_slot(&mut self, entry: &'static Entry, args: &Args<'_>) -> Result<(), Error> {
        let far = || Error::other("ERR Attempted to access a non local key in a cluster node");
        let slot = match entry.key_slots(args) {
            KeySlots::None => return Ok(()),
            KeySlots::One(slot) => slot,
            KeySlots::Several => return Err(far()),
        };
        let Some(cluster) = self.process.cluster.get() else { return Ok(()) };
        let nodes = cluster.nodes();
        if !(nodes.is_mine(slot) && nodes.is_up(true)) {
            let is_asking = self.nested.item().is_asking;
            let slot_use = SlotUse::of(entry, slot, is_asking);
            check_slot(&nodes, slot_use, self.process, UNKNOWN_CLIENT).map_err(|error| {
                let name = &entry.name;
                match error.bytes() {
                    b"CLUSTERDOWN The cluster is down" => Error::other(format!(
                        "ERR Can not execute a command '{name}' while the cluster is down"
                    )),
                    bytes if bytes.ends_with(b"only accepts read commands") => {
                        Error::other(format!(
                            "ERR Can not execute a write command '{name}' while the cluster is \
                             down and readonly"
                        ))
                    }
                    _ => far(),
                }
            })?;
        }
        if nodes.opening(slot).is_some() {
            // The keys of EVAL are known to be here; a script may use others.
            let (mut keys, with) = (KeysHere::default(), (entry, self.session.db));
            self.nested.look_at(slot, |slice| keys.look_in(with, args, slice));
            let here = check_keys(&nodes, slot, keys, self.process, UNKNOWN_CLIENT);
            here.map_err(|_| far())?;
        }
        let own = *self.progress.slot.get_or_insert(slot);
        if own != slot && !self.progress.crosses_slots {
            return Err(Error::other(
                "ERR Script attempted to access keys that do not hash to the same slot",
            ));
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
                let databases = self.process.databases;
                let user = self.session.user_in((entry, self.session.db), args, databases);
                let with = (entry, self.session.db, user);
                self.nested.run(with, args, (protocol, out), self.process)
            }
        }
    }

    /// Shows a command to all monitors. They see it in their next turn.
    #[cold]
    fn show(&self, entry: &Entry, args: &Args<'_>) {
        let flags = entry.command.card.flags;
        if flags.has(Flag::ADMIN) || flags.has(Flag::SKIP_MONITOR) {
            return;
        }
        let db = self.session.db;
        let write = |us: u64, lines: &mut Vec<u8>| {
            let (seconds, us) = (us / 1_000_000, us % 1_000_000);
            lines.extend_from_slice(format!("+{seconds}.{us:06} [{db} lua]").as_bytes());
            for at in 0..args.len() {
                lines.push(b' ');
                let is_hidden = is_secret(entry, args.len(), &|at| &args[at], at);
                quote(if is_hidden { REDACTED } else { &args[at] }, lines);
            }
            lines.extend_from_slice(b"\r\n");
        };
        self.process.monitors.show(self.process.clock.unix_us(), write, |_| {});
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
            is_in_exec: false,
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
            Some(Request::Wait { wish, .. }) if result.is_ok() => {
                let facts = self.process.replication();
                let acked = facts.acks(self.process.aof.synced()).count(wish, facts.offset);
                acked.reply(&mut Reply::new(out, protocol));
                Ok(())
            }
            Some(Request::DebugSleep(us)) if result.is_ok() => {
                self.process.clock.sleep_us(us);
                Reply::new(out, protocol).ok();
                Ok(())
            }
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
                if self.process.monitors.is_on() {
                    self.show(entry, &args);
                }
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
        let is_killed = self.running.as_ref().is_some_and(|running| running.is_killed());
        if is_killed || self.process.is_stopping() {
            return Verdict::Kill;
        }
        if self.running.is_some() && self.process.ends_scripts() {
            self.nested.void_unit();
            return Verdict::Kill;
        }
        let pauses = self.pauses;
        self.pauses += 1;
        // A limit of 1 makes every script long, for tests.
        let is_forced = pauses > 0 && self.nested.config().offload_elements_min == 1;
        let is_over = self.process.clock.monotonic_ns() - self.began_ns >= SLICE_NS_MAX;
        if !is_over && !is_forced {
            return Verdict::Continue;
        }
        if self.running.is_none() {
            self.running = Some(self.list());
        }
        if self.may_suspend { Verdict::Suspend } else { Verdict::Continue }
    }

    fn log(&mut self, level: LogLevel, line: &[u8]) {
        log(self.process, level, line);
    }

    fn acl_check(&mut self, args: Args<'_>) -> AclAnswer {
        match find(self.process.commands, &args) {
            Ok(entry) if self.session.refusal(entry, &args, self.process.databases).is_some() => {
                AclAnswer::Denied
            }
            Ok(_) => AclAnswer::Allowed,
            Err(_) => AclAnswer::Invalid,
        }
    }

    fn set_propagation(&mut self, to: Propagation) {
        self.progress.is_muted = !to.to_replicas;
        self.nested.set_propagates(to.to_replicas);
    }

    fn count_error(&mut self, text: &[u8]) {
        self.board.script_error(text);
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

/// Returns the user whose rules restrict the commands of a script; none if no rules do. A user that
/// was deleted meanwhile may do nothing.
pub(super) fn user_of(item: &Item, process: &Process) -> Option<Arc<User>> {
    match item.user {
        0 => None,
        id => Some(process.acl.by_id(id).unwrap_or_else(|| Arc::new(User::nobody(id)))),
    }
}

fn wrong_arity() -> Error {
    Error::other("ERR Wrong number of args calling command from script")
}

/// Writes a line of a script to the log.
pub(super) fn log(process: &Process, level: LogLevel, line: &[u8]) {
    let line = String::from_utf8_lossy(line);
    match level {
        LogLevel::Debug => process.log.debug(&line),
        LogLevel::Verbose => process.log.verbose(&line),
        LogLevel::Notice => process.log.notice(&line),
        LogLevel::Warning => process.log.warning(&line),
    }
}
