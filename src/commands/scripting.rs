//! EVAL and its kin, and SCRIPT.
//!
//! # Where a script runs
//!
//! A script is **confined** if its text proves that it uses only the keys among its arguments
//! ([`crate::script::is_confined`]).
//!
//! ```text
//!   one shard                          on its partition, at a stretch
//!   confined, keys of one partition    there, at a stretch
//!   confined, keys of several          at home, on the values, which are gathered under locks
//!   not confined                       at home, on the slices of all partitions, which are locked
//! ```
//! A script never learns where it runs, and gives the same result everywhere. It is never stopped
//! because it touches a key, so no script is torn. To its shard a script is one command, so its
//! writes are one unit for other clients, for blocked clients and for the feed.

mod confined;
mod functions;
mod host;
mod lex;
mod library_proof;
mod manage;

use crate::base::number::parse_i64;
use crate::exec::{Command, Context, KeySlots, Process, SuspendedScript};
use crate::resp::{Args, Error};
use crate::script::{Function, Invocation, Origin, Script, ScriptFlags, script_header};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
pub use functions::restore_functions;
use host::{Caller, ScriptHost};
use std::sync::Arc;

/// The commands of this file.
pub static FAMILY: &[&Command] = &[
    &EVAL, //
    &EVALSHA,
    &EVAL_RO,
    &EVALSHA_RO,
    &FCALL,
    &FCALL_RO,
    &functions::FUNCTION,
    &manage::SCRIPT,
];

/// Flags of all commands that run scripts.
const FLAGS: Flag = Flag::NOSCRIPT
    .and(Flag::STALE)
    .and(Flag::SKIP_MONITOR)
    .and(Flag::NO_MANDATORY_KEYS)
    .and(Flag::MOVABLEKEYS);

/// Index of a script's first key among the arguments.
const FIRST_KEY: usize = 3;

/// Arguments of the commands that run a script or a function, which the first one names.
const fn args_of(first: &'static str) -> [Arg; 4] {
    [
        Arg::string(first),
        Arg::integer("numkeys"),
        Arg::key("key").optional().repeated(),
        Arg::string("arg").optional().repeated(),
    ]
}

const SCRIPT_ARGS: &[Arg] = &args_of("script");
const SHA_ARGS: &[Arg] = &args_of("sha1");
const FUNCTION_ARGS: &[Arg] = &args_of("function");

/// Keys of a script that may write.
const WRITTEN: &[KeySpec] = &[KeySpec::updates()
    .using_data()
    .at(2)
    .counted(1)
    .note("We cannot tell how the keys will be used so we assume the worst, RW and UPDATE")];

/// Keys of a script that only reads.
const READ: &[KeySpec] = &[KeySpec::reads()
    .at(2)
    .counted(1)
    .note("We cannot tell how the keys will be used so we assume the worst, RO and ACCESS")];

static EVAL: Command = Command::discovers(
    eval,
    may_stray,
    Card::new("eval", Group::Scripting, "2.6.0")
        .summary("Executes a server-side Lua script.")
        .complexity("Depends on the script that is executed.")
        .arity(-3)
        .args(SCRIPT_ARGS)
        .flags(FLAGS.and(Flag::MAY_REPLICATE))
        .keys(WRITTEN),
)
.runs_commands(resume)
.only_reads(reads_by_text);

static EVALSHA: Command = Command::discovers(
    eval_sha,
    may_stray_by_sha,
    Card::new("evalsha", Group::Scripting, "2.6.0")
        .summary("Executes a server-side Lua script by SHA1 digest.")
        .complexity("Depends on the script that is executed.")
        .arity(-3)
        .args(SHA_ARGS)
        .flags(FLAGS.and(Flag::MAY_REPLICATE))
        .keys(&[KeySpec::updates().using_data().at(2).counted(1)]),
)
.runs_commands(resume)
.only_reads(reads_by_sha);

static EVAL_RO: Command = Command::discovers(
    eval,
    may_stray,
    Card::new("eval_ro", Group::Scripting, "7.0.0")
        .summary("Executes a read-only server-side Lua script.")
        .complexity("Depends on the script that is executed.")
        .arity(-3)
        .args(SCRIPT_ARGS)
        .flags(FLAGS.and(Flag::READONLY))
        .keys(READ),
)
.runs_commands(resume);

static EVALSHA_RO: Command = Command::discovers(
    eval_sha,
    may_stray_by_sha,
    Card::new("evalsha_ro", Group::Scripting, "7.0.0")
        .summary("Executes a read-only server-side Lua script by SHA1 digest.")
        .complexity("Depends on the script that is executed.")
        .arity(-3)
        .args(SHA_ARGS)
        .flags(FLAGS.and(Flag::READONLY))
        .keys(&[KeySpec::reads().at(2).counted(1)]),
)
.runs_commands(resume);

static FCALL: Command = Command::discovers(
    fcall,
    may_stray_in_function,
    Card::new("fcall", Group::Scripting, "7.0.0")
        .summary("Invokes a function.")
        .complexity("Depends on the function that is executed.")
        .arity(-3)
        .args(FUNCTION_ARGS)
        .flags(FLAGS.and(Flag::MAY_REPLICATE))
        .keys(WRITTEN),
)
.runs_commands(resume)
.only_reads(reads_by_name);

static FCALL_RO: Command = Command::discovers(
    fcall,
    may_stray_in_function,
    Card::new("fcall_ro", Group::Scripting, "7.0.0")
        .summary("Invokes a read-only function.")
        .complexity("Depends on the function that is executed.")
        .arity(-3)
        .args(FUNCTION_ARGS)
        .flags(FLAGS.and(Flag::READONLY))
        .keys(READ),
)
.runs_commands(resume);

/// Returns whether the script may use keys that are not among its arguments. A script that does not
/// compile uses none.
fn may_stray(args: &Args<'_>, process: &Process) -> bool {
    known(process, &args[1]).is_ok_and(|script| !script.is_confined())
}

/// Returns the script with this text, which is known from now on.
fn known(process: &Process, body: &[u8]) -> Result<Arc<Script>, Error> {
    match process.scripts.by_body(body) {
        Some(script) => Ok(script),
        None => confined::add(process, body, Origin::Eval),
    }
}

/// Like [`may_stray`]. No keys are used if the script is unknown.
fn may_stray_by_sha(args: &Args<'_>, process: &Process) -> bool {
    process.scripts.by_sha(&args[1]).is_some_and(|script| !script.is_confined())
}

/// Returns whether the script declares that it changes nothing.
fn reads_by_text(args: &Args<'_>, _: &Process) -> bool {
    script_header(&args[1]).is_ok_and(|(flags, _)| flags.has(ScriptFlags::NO_WRITES))
}

/// See [`reads_by_text`]. An unknown script may be one that writes.
fn reads_by_sha(args: &Args<'_>, process: &Process) -> bool {
    let script = process.scripts.by_sha(&args[1]);
    script.is_some_and(|script| script.flags().has(ScriptFlags::NO_WRITES))
}

/// See [`reads_by_text`]. An unknown function may be one that writes.
fn reads_by_name(args: &Args<'_>, process: &Process) -> bool {
    let libraries = process.functions.libraries();
    let function = libraries.find(&args[1]);
    function.is_some_and(|function| function.flags().has(ScriptFlags::NO_WRITES))
}

fn eval(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let keys = key_count(args)?;
    let script = known(process_of(cx), &args[1])?;
    if !script.is_confined() && !cx.has_all_keys() {
        // It did not compile when its way was chosen, as its Lua state had no memory left.
        return Err(Error::other("ERR Error compiling script (new function): not enough memory"));
    }
    run(cx, args, Body::Script(&script), keys)
}

fn eval_sha(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let keys = key_count(args)?;
    let script = process_of(cx).scripts.by_sha(&args[1]).ok_or(Error::NoScript)?;
    if !script.is_confined() && !cx.has_all_keys() {
        // It was loaded after this command had been sent to the owner of its keys, and then it is
        // as if it was loaded after the command.
        return Err(Error::NoScript);
    }
    run(cx, args, Body::Script(&script), keys)
}

/// Returns whether the function may use keys that are not among its arguments. An unknown function
/// uses none.
fn may_stray_in_function(args: &Args<'_>, process: &Process) -> bool {
    process.functions.libraries().find(&args[1]).is_some_and(|function| !function.is_confined())
}

fn fcall(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let not_found = || Error::other("ERR Function not found");
    let libraries = process_of(cx).functions.libraries();
    let mut function = libraries.find(&args[1]).ok_or_else(not_found)?;
    let before = function.before();
    if !function.is_confined() && !cx.has_all_keys() {
        // It was loaded after this command had been sent to the owner of its keys. So the command
        // runs the function that was there then, if any was.
        function = before.as_ref().ok_or_else(not_found)?;
    }
    let bad_number = || Error::other("ERR Bad number of keys provided");
    parse_i64(&args[2]).ok_or_else(bad_number)?;
    run(cx, args, Body::Function(function), key_count(args)?)
}

fn process_of<'a>(cx: &Context<'a>) -> &'a Process {
    cx.scripting.as_ref().expect("the card says that it runs commands").process
}

/// Returns the number of keys among the arguments.
fn key_count(args: &Args<'_>) -> Result<usize, Error> {
    let keys = parse_i64(&args[2]).ok_or(Error::NotInteger)?;
    match usize::try_from(keys) {
        Err(_) => Err(Error::other("ERR Number of keys can't be negative")),
        Ok(keys) if keys > args.len() - 3 => {
            Err(Error::other("ERR Number of keys can't be greater than number of args"))
        }
        Ok(keys) => Ok(keys),
    }
}

/// What EVAL and FCALL run.
enum Body<'a> {
    Script(&'a Arc<Script>),
    Function(&'a Function),
}

impl Body<'_> {
    fn flags(&self) -> ScriptFlags {
        match self {
            Body::Script(script) => script.flags(),
            Body::Function(function) => function.flags(),
        }
    }
}

/// Runs a script or a function with the arguments of EVAL or a similar command.
fn run(cx: &mut Context<'_>, args: &Args<'_>, body: Body<'_>, keys: usize) -> Result<(), Error> {
    let only_reads = cx.entry().command.card.flags.has(Flag::READONLY);
    let (db, now_ms) = (cx.db, cx.now_ms);
    let parts = cx.script_parts();
    let scripting = parts.scripting;
    let process = scripting.process;
    let mut progress =
        host::may_run(body.flags(), only_reads, (scripting.facts, scripting.process))?;
    progress.db = db;
    if let KeySlots::One(slot) = parts.nested.item().entry.key_slots(args) {
        progress.slot = Some(slot);
    }
    progress.started_ns = process.clock.monotonic_ns();
    let caller = Caller {
        function: match &body {
            Body::Script(_) => None,
            Body::Function(function) => Some(function.name()),
        },
        args: &|| args.iter_from(0).map(Box::from).collect(),
    };
    let with = (Some(caller), None);
    let user = host::user_of(parts.nested.item(), process);
    let mut host = ScriptHost::new(parts.nested, &scripting, progress, user, with);
    let invocation = Invocation { args, first_key: FIRST_KEY, keys };
    let ran = match body {
        Body::Script(script) => {
            process.scripts.note_use(script);
            scripting.vm.run_script(script, &invocation, &mut host, parts.reply)
        }
        Body::Function(function) => {
            scripting.vm.run_function(function, &invocation, &mut host, parts.reply)
        }
    };
    cx.suspended = host.end(ran, now_ms);
    Ok(())
}

/// Continues the suspended script of a command.
#[allow(clippy::boxed_local)] // As the cards need it.
fn resume(
    cx: &mut Context<'_>,
    _: &mut Args<'_>,
    script: Box<SuspendedScript>,
) -> Result<(), Error> {
    let SuspendedScript { run, running, progress, user, now_ms, .. } = *script;
    let parts = cx.script_parts();
    let scripting = parts.scripting;
    let with = (None, Some(running));
    let mut host = ScriptHost::new(parts.nested, &scripting, progress, user, with);
    let ran = scripting.vm.resume(run, &mut host, parts.reply);
    cx.suspended = host.end(ran, now_ms);
    Ok(())
}
