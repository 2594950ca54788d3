//! FUNCTION: the libraries of functions.
//!
//! A command that changes the libraries runs on the partition of its home shard, because it is
//! propagated. The set of libraries is one for the process, and is replaced at once.

use super::library_proof::is_confined_library;
use super::manage::FLUSH_TYPE;
use super::process_of;
use crate::commands::help::{help_card, help_command};
use crate::exec::{Command, Context, Process, SessionContext};
use crate::rdb::{dump_functions, read_functions};
use crate::resp::{Args, Error, Output, Protocol};
use crate::script::{AclAnswer, Host, Libraries, LogLevel, Propagation, RestorePolicy, Verdict};
use crate::spec::{Arg, Card, Flag, Group};
use bytes::Bytes;

/// Milliseconds that the code of a library may run when it is loaded.
const LOAD_MS_MAX: u64 = 500;

/// FUNCTION and its subcommands.
pub(super) static FUNCTION: Command = Command::container(
    Card::new("function", Group::Scripting, "7.0.0")
        .summary("A container for function commands.")
        .complexity("Depends on subcommand.")
        .arity(-2),
    &[&DELETE, &DUMP, &FLUSH, &HELP, &KILL, &LIST, &LOAD, &RESTORE, &STATS],
);

/// Tips of the commands that change the libraries.
const CHANGE_TIPS: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

static DELETE: Command = Command::gather(
    delete,
    Card::new("delete", Group::Scripting, "7.0.0")
        .summary("Deletes a library and its functions.")
        .constant_time()
        .arity(3)
        .args(&[Arg::string("library-name")])
        .flags(Flag::WRITE.and(Flag::NOSCRIPT))
        .tips(CHANGE_TIPS),
)
.uses_scripting();

fn delete(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    change(cx, |libraries| libraries.delete(&args[2]))?;
    cx.reply.ok();
    Ok(())
}

/// Replaces the libraries, and counts the change.
fn change(
    cx: &mut Context<'_>,
    change: impl FnOnce(&Libraries) -> Result<Libraries, Error>,
) -> Result<(), Error> {
    process_of(cx).functions.change(|libraries, _| Ok((change(libraries)?, ())))?;
    cx.slice.count_changes(1);
    Ok(())
}

static DUMP: Command = Command::session(
    dump,
    Card::new("dump", Group::Scripting, "7.0.0")
        .summary("Dumps all libraries into a serialized binary payload.")
        .complexity("O(N) where N is the number of functions")
        .arity(2)
        .flags(Flag::NOSCRIPT),
);

fn dump(cx: &mut SessionContext<'_>, _: &mut Args<'_>) -> Result<(), Error> {
    let libraries = cx.process.functions.libraries();
    let is_packing = cx.process.config.snapshot().rdbcompression;
    let payload = dump_functions(libraries.iter().map(|library| library.text()), is_packing);
    cx.reply.bulk(&payload);
    Ok(())
}

static FLUSH: Command = Command::gather(
    flush,
    Card::new("flush", Group::Scripting, "7.0.0")
        .summary("Deletes all libraries and functions.")
        .complexity("O(N) where N is the number of functions deleted")
        .arity(-2)
        .args(&[FLUSH_TYPE])
        .flags(Flag::WRITE.and(Flag::NOSCRIPT))
        .tips(CHANGE_TIPS),
)
.uses_scripting();

fn flush(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if args.len() > 3 {
        return Err(Error::subcommand_syntax(b"function", &args[1]));
    }
    let is_mode =
        |arg: &[u8]| arg.eq_ignore_ascii_case(b"sync") || arg.eq_ignore_ascii_case(b"async");
    if args.get(2).is_some_and(|arg| !is_mode(arg)) {
        return Err(Error::other("ERR FUNCTION FLUSH only supports SYNC|ASYNC option"));
    }
    change(cx, |_| Ok(Libraries::default()))?;
    cx.reply.ok();
    Ok(())
}

static HELP: Command = help_command(help_card(Group::Scripting, "7.0.0"));

static KILL: Command = Command::session(
    kill,
    Card::new("kill", Group::Scripting, "7.0.0")
        .summary("Terminates a function during execution.")
        .constant_time()
        .arity(2)
        .flags(Flag::NOSCRIPT.and(Flag::ALLOW_BUSY))
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"]),
);

fn kill(cx: &mut SessionContext<'_>, _: &mut Args<'_>) -> Result<(), Error> {
    cx.process.running.kill(true)?;
    cx.reply.ok();
    Ok(())
}

static LIST: Command = Command::session(
    list,
    Card::new("list", Group::Scripting, "7.0.0")
        .summary("Returns information about all libraries.")
        .complexity("O(N) where N is the number of functions")
        .arity(-2)
        .args(&[
            Arg::string("library-name-pattern").after("LIBRARYNAME").optional(),
            Arg::keyword("WITHCODE").optional(),
        ])
        .flags(Flag::NOSCRIPT)
        .tips(&["nondeterministic_output_order"]),
);

fn list(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let (mut with_code, mut pattern, mut at) = (false, None, 2);
    while at < args.len() {
        if !with_code && args[at].eq_ignore_ascii_case(b"withcode") {
            with_code = true;
        } else if pattern.is_none() && args[at].eq_ignore_ascii_case(b"libraryname") {
            at += 1;
            let missing = || Error::other("ERR library name argument was not given");
            pattern = Some(args.get(at).ok_or_else(missing)?);
        } else {
            return Err(Error::quoting(&[b"ERR Unknown argument ", &args[at]]));
        }
        at += 1;
    }
    cx.process.functions.libraries().list(pattern, with_code, &mut cx.reply);
    Ok(())
}

static LOAD: Command = Command::gather(
    load,
    Card::new("load", Group::Scripting, "7.0.0")
        .summary("Creates a library.")
        .complexity("O(1) (considering compilation time is redundant)")
        .arity(-3)
        .args(&[Arg::keyword("REPLACE").optional(), Arg::string("function-code")])
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::NOSCRIPT))
        .tips(CHANGE_TIPS),
)
.uses_scripting();

fn load(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let (mut replaces, code) = (false, args.len() - 1);
    for at in 2..code {
        if !args[at].eq_ignore_ascii_case(b"replace") {
            return Err(Error::quoting(&[b"ERR Unknown option given: ", &args[at]]));
        }
        replaces = true;
    }
    let process = process_of(cx);
    let mut host = LoadHost::new(process);
    let name = process
        .functions
        .change(|libraries, loader| libraries.load(&args[code], replaces, loader, &mut host))?;
    cx.slice.count_changes(1);
    cx.reply.bulk(&name);
    Ok(())
}

static RESTORE: Command = Command::gather(
    restore,
    Card::new("restore", Group::Scripting, "7.0.0")
        .summary("Restores all libraries from a payload.")
        .complexity("O(N) where N is the number of functions on the payload")
        .arity(-3)
        .args(&[
            Arg::string("serialized-value"),
            Arg::choice("policy", &["FLUSH", "APPEND", "REPLACE"]).optional(),
        ])
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::NOSCRIPT))
        .tips(CHANGE_TIPS),
)
.uses_scripting();

fn restore(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if args.len() > 4 {
        return Err(Error::subcommand_syntax(b"function", &args[1]));
    }
    let policies: [(&[u8], RestorePolicy); 3] = [
        (b"append", RestorePolicy::Append),
        (b"replace", RestorePolicy::Replace),
        (b"flush", RestorePolicy::Flush),
    ];
    let policy = match args.get(3) {
        None => RestorePolicy::Append,
        Some(arg) => {
            let found = policies.into_iter().find(|(name, _)| arg.eq_ignore_ascii_case(name));
            let unknown = || {
                Error::other(
                    "ERR Wrong restore policy given, value should be either FLUSH, APPEND or \
                     REPLACE.",
                )
            };
            found.ok_or_else(unknown)?.1
        }
    };
    let texts = read_functions(&args[2])?;
    let process = process_of(cx);
    let mut host = LoadHost::new(process);
    process.functions.change(|libraries, loader| {
        Ok((libraries.restore(texts, policy, loader, &mut host)?, ()))
    })?;
    cx.slice.count_changes(1);
    cx.reply.ok();
    Ok(())
}

/// Restores the libraries of a loaded file.
pub fn restore_functions(
    process: &Process,
    texts: &[Bytes],
    policy: RestorePolicy,
) -> Result<(), Error> {
    let mut host = LoadHost::new(process);
    process
        .functions
        .change(|libraries, loader| Ok((libraries.restore(texts, policy, loader, &mut host)?, ())))
}

static STATS: Command = Command::session(
    stats,
    Card::new("stats", Group::Scripting, "7.0.0")
        .summary("Returns information about a function during execution.")
        .constant_time()
        .arity(2)
        .flags(Flag::NOSCRIPT.and(Flag::ALLOW_BUSY))
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
);

fn stats(cx: &mut SessionContext<'_>, _: &mut Args<'_>) -> Result<(), Error> {
    let oldest = cx.process.running.oldest();
    if oldest.as_ref().is_some_and(|script| script.function.is_none()) {
        return Err(Error::BusyScript);
    }
    cx.reply.map(2);
    cx.reply.bulk(b"running_script");
    match oldest {
        None => cx.reply.null(),
        Some(script) => {
            let now_ms = cx.process.clock.monotonic_ns() / 1_000_000;
            cx.reply.map(3);
            cx.reply.bulk(b"name");
            cx.reply.bulk(script.function.as_deref().unwrap_or_default().as_bytes());
            cx.reply.bulk(b"command");
            cx.reply.array(script.args.len());
            script.args.iter().for_each(|arg| cx.reply.bulk(arg));
            cx.reply.bulk(b"duration_ms");
            cx.reply.integer(now_ms.saturating_sub(script.started_ms) as i64);
        }
    }
    let (libraries, functions) = cx.process.functions.libraries().counts();
    cx.reply.bulk(b"engines");
    cx.reply.map(1);
    cx.reply.bulk(b"LUA");
    cx.reply.map(2);
    cx.reply.bulk(b"libraries_count");
    cx.reply.integer(libraries as i64);
    cx.reply.bulk(b"functions_count");
    cx.reply.integer(functions as i64);
    Ok(())
}

/// What the code of a library that is being loaded asks of the server.
struct LoadHost<'a> {
    process: &'a Process,
    started_ns: u64,
}

impl<'a> LoadHost<'a> {
    fn new(process: &'a Process) -> LoadHost<'a> {
        LoadHost { process, started_ns: process.clock.monotonic_ns() }
    }
}

impl Host for LoadHost<'_> {
    fn call(&mut self, _: Args<'_>, protocol: Protocol, reply: &mut Output) {
        let error = Error::other(super::host::FORBIDDEN);
        crate::resp::Reply::new(reply, protocol).error(&error);
    }

    fn pause(&mut self) -> Verdict {
        let spent_ns = self.process.clock.monotonic_ns() - self.started_ns;
        let is_over = spent_ns > LOAD_MS_MAX * 1_000_000 || self.process.is_stopping();
        if is_over { Verdict::Timeout } else { Verdict::Continue }
    }

    fn log(&mut self, level: LogLevel, line: &[u8]) {
        super::host::log(self.process, level, line);
    }

    fn acl_check(&mut self, _: Args<'_>) -> AclAnswer {
        AclAnswer::Invalid
    }

    fn set_propagation(&mut self, _: Propagation) {}

    fn is_confined(&self, library: &[u8]) -> bool {
        is_confined_library(library, self.process.commands)
    }

    fn count_error(&mut self, _: &[u8]) {}
}
