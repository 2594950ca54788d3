//! SCRIPT: the scripts that the process knows.

use super::confined;
use crate::commands::help::{help_card, help_command};
use crate::exec::{Command, SessionContext};
use crate::resp::{Args, Error};
use crate::script::Origin;
use crate::spec::{Arg, Card, Flag, Group};

/// SCRIPT and its subcommands.
pub(super) static SCRIPT: Command = Command::container(
    Card::new("script", Group::Scripting, "2.6.0")
        .summary("A container for Lua scripts management commands.")
        .complexity("Depends on subcommand.")
        .arity(-2),
    &[&DEBUG, &EXISTS, &FLUSH, &HELP, &KILL, &LOAD, &SHOW],
);

/// Whether values are freed in the background.
pub(super) const FLUSH_TYPE: Arg = Arg::choice("flush-type", &["ASYNC", "SYNC"]).optional();

const FLAGS: Flag = Flag::NOSCRIPT.and(Flag::STALE);

static DEBUG: Command = Command::session(
    debug,
    Card::new("debug", Group::Scripting, "3.2.0")
        .summary("Sets the debug mode of server-side Lua scripts.")
        .complexity("O(1)")
        .arity(-3)
        .args(&[
            Arg::choice("mode", &["YES", "SYNC", "NO"]),
            Arg::string("engine").optional().since("9.1.0"),
        ])
        .flags(Flag::NOSCRIPT),
);

/// Refuses what the reference refuses for an engine without a debugger.
fn debug(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if args.len() > 4 {
        return Err(Error::subcommand_syntax(&args[0], &args[1]));
    }
    if let Some(engine) = args.get(3).filter(|engine| !engine.eq_ignore_ascii_case(b"lua")) {
        let (before, after) = (b"ERR No scripting engine found with name '", b"' to enable debug");
        return Err(Error::quoting(&[before, engine, after]));
    }
    match args[2].to_ascii_lowercase().as_slice() {
        b"no" => cx.reply.ok(),
        b"yes" | b"sync" => {
            return Err(Error::other(
                "ERR The scripting engine 'LUA' does not support interactive script debugging",
            ));
        }
        _ => return Err(Error::other("ERR Use SCRIPT DEBUG YES/SYNC/NO")),
    }
    Ok(())
}

static EXISTS: Command = Command::session(
    exists,
    Card::new("exists", Group::Scripting, "2.6.0")
        .summary("Determines whether server-side Lua scripts exist in the script cache.")
        .complexity(
            "O(N) with N being the number of scripts to check (so checking a single script is an \
             O(1) operation).",
        )
        .arity(-3)
        .args(&[Arg::string("sha1").repeated()])
        .tips(&["request_policy:all_shards", "response_policy:agg_logical_and"])
        .flags(FLAGS),
);

fn exists(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    cx.reply.array(args.len() - 2);
    for sha in args.iter_from(2) {
        cx.reply.integer(cx.process.scripts.by_sha(sha).is_some().into());
    }
    Ok(())
}

static FLUSH: Command = Command::session(
    flush,
    Card::new("flush", Group::Scripting, "2.6.0")
        .summary("Removes all server-side Lua scripts from the script cache.")
        .complexity("O(N) with N being the number of scripts in cache")
        .arity(-2)
        .args(&[FLUSH_TYPE.since("6.2.0")])
        .history(&[("6.2.0", "Added the `ASYNC` and `SYNC` flushing mode modifiers.")])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .flags(FLAGS),
);

fn flush(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let is_mode =
        |arg: &[u8]| arg.eq_ignore_ascii_case(b"sync") || arg.eq_ignore_ascii_case(b"async");
    if args.len() > 3 || args.get(2).is_some_and(|arg| !is_mode(arg)) {
        return Err(Error::other("ERR SCRIPT FLUSH only support SYNC|ASYNC option"));
    }
    cx.process.scripts.flush();
    cx.reply.ok();
    Ok(())
}

static HELP: Command = help_command(help_card(Group::Scripting, "5.0.0"));

static KILL: Command = Command::session(
    kill,
    Card::new("kill", Group::Scripting, "2.6.0")
        .summary("Terminates a server-side Lua script during execution.")
        .constant_time()
        .arity(2)
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"])
        .flags(Flag::NOSCRIPT.and(Flag::ALLOW_BUSY)),
);

fn kill(cx: &mut SessionContext<'_>, _: &mut Args<'_>) -> Result<(), Error> {
    cx.process.running.kill(false)?;
    cx.reply.ok();
    Ok(())
}

static LOAD: Command = Command::session(
    load,
    Card::new("load", Group::Scripting, "2.6.0")
        .summary("Loads a server-side Lua script to the script cache.")
        .complexity("O(N) with N being the length in bytes of the script body.")
        .arity(3)
        .args(&[Arg::string("script")])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .flags(FLAGS),
);

fn load(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let script = confined::add(cx.process, &args[2], Origin::Load)?;
    cx.reply.bulk(script.sha().as_bytes());
    Ok(())
}

static SHOW: Command = Command::session(
    show,
    Card::new("show", Group::Scripting, "8.0.0")
        .summary("Show server-side Lua script in the script cache.")
        .complexity("O(1).")
        .arity(3)
        .args(&[Arg::string("sha1")])
        .flags(FLAGS),
);

fn show(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let script = cx.process.scripts.by_sha(&args[2]).ok_or(Error::NoScript)?;
    cx.reply.bulk(script.body());
    Ok(())
}
