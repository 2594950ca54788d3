//! COMMANDLOG: commands that took long, or that had a large request or reply. SLOWLOG is the older
//! name of the part about slow commands.

use super::help::{help_card, help_command};
use crate::base::number::parse_i64;
use crate::config::Config;
use crate::exec::{Command, SessionContext};
use crate::observe::LogKind;
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group};

pub(super) static COMMANDLOG: Command = Command::container(
    Card::new("commandlog", Group::Server, "8.1.0")
        .summary("A container for command log commands.")
        .complexity("Depends on subcommand.")
        .arity(-2),
    &[&GET, &LEN, &RESET, &HELP],
);

static GET: Command = Command::session(
    get,
    Card::new("get", Group::Server, "8.1.0")
        .summary("Returns the specified command log's entries.")
        .complexity("O(N) where N is the number of entries returned")
        .arity(4)
        .flags(Flag::ADMIN.and(Flag::LOADING).and(Flag::STALE))
        .tips(&["request_policy:all_nodes", "nondeterministic_output"])
        .args(&[
            Arg::integer("count"),
            Arg::choice("type", &["SLOW", "LARGE-REQUEST", "LARGE-REPLY"]),
        ]),
);

fn get(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let count = read_count(&args[2])?;
    let kind = read_kind(&args[3])?;
    show(cx, kind, count);
    Ok(())
}

/// Returns the number of entries to show; `None` for all.
fn read_count(arg: &[u8]) -> Result<Option<u64>, Error> {
    match parse_i64(arg).filter(|count| *count >= -1) {
        Some(count) => Ok(u64::try_from(count).ok()),
        None => Err(Error::other("ERR count should be greater than or equal to -1")),
    }
}

fn read_kind(arg: &[u8]) -> Result<LogKind, Error> {
    let is = |kind: &LogKind| arg.eq_ignore_ascii_case(kind.word().as_bytes());
    LogKind::ALL.into_iter().find(is).ok_or_else(|| {
        Error::other("ERR type should be one of the following: slow, large-request, large-reply")
    })
}

/// Returns the maximum number of entries of this kind that are kept.
fn entries_max(config: &Config, kind: LogKind) -> u64 {
    match kind {
        LogKind::Slow => config.commandlog_slow_execution_max_len,
        LogKind::LargeRequest => config.commandlog_large_request_max_len,
        LogKind::LargeReply => config.commandlog_large_reply_max_len,
    }
}

fn show(cx: &mut SessionContext<'_>, kind: LogKind, count: Option<u64>) {
    let entries_max = entries_max(&cx.process.config.snapshot(), kind);
    let count = count.unwrap_or(entries_max).min(entries_max);
    let entries = cx.process.boards.logged(kind, count);
    let reply = &mut cx.reply;
    reply.array(entries.len());
    for entry in entries {
        reply.array(6);
        reply.integer(entry.id as i64);
        reply.integer(entry.unix_s as i64);
        reply.integer(entry.value as i64);
        reply.array(entry.args.len());
        entry.args.iter().for_each(|arg| reply.bulk(arg));
        reply.bulk(entry.address.as_bytes());
        reply.bulk(&entry.name);
    }
}

static LEN: Command = Command::session(
    len,
    Card::new("len", Group::Server, "8.1.0")
        .summary("Returns the number of entries in the specified type of command log.")
        .constant_time()
        .arity(3)
        .flags(Flag::ADMIN.and(Flag::LOADING).and(Flag::STALE))
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"])
        .args(&[Arg::choice("type", &["SLOW", "LARGE-REQUEST", "LARGE-REPLY"])]),
);

fn len(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    count(cx, read_kind(&args[2])?);
    Ok(())
}

fn count(cx: &mut SessionContext<'_>, kind: LogKind) {
    let entries_max = entries_max(&cx.process.config.snapshot(), kind);
    cx.reply.integer(cx.process.boards.logged_len(kind, entries_max) as i64);
}

static RESET: Command = Command::session(
    reset,
    Card::new("reset", Group::Server, "8.1.0")
        .summary("Clears all entries from the specified type of command log.")
        .complexity("O(N) where N is the number of entries in the commandlog")
        .arity(3)
        .flags(Flag::ADMIN.and(Flag::LOADING).and(Flag::STALE))
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .args(&[Arg::choice("type", &["SLOW", "LARGE-REQUEST", "LARGE-REPLY"])]),
);

fn reset(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    cx.process.boards.clear_logged(read_kind(&args[2])?);
    cx.reply.ok();
    Ok(())
}

static HELP: Command = help_command(
    help_card(Group::Server, "8.1.0")
        .summary("Shows helpful text about the different subcommands."),
);

pub(super) static SLOWLOG: Command = Command::container(
    Card::new("slowlog", Group::Server, "2.2.12")
        .summary("A container for slow log commands.")
        .complexity("Depends on subcommand.")
        .arity(-2),
    &[&SLOW_GET, &SLOW_LEN, &SLOW_RESET, &SLOW_HELP],
);

static SLOW_GET: Command = Command::session(
    slow_get,
    Card::new("get", Group::Server, "2.2.12")
        .summary("Returns the slow log's entries.")
        .complexity("O(N) where N is the number of entries returned")
        .arity(-2)
        .flags(Flag::ADMIN.and(Flag::LOADING).and(Flag::STALE))
        .tips(&["request_policy:all_nodes", "nondeterministic_output"])
        .history(&[("4.0.0", "Added client IP address, port and name to the reply.")])
        .args(&[Arg::integer("count").optional()]),
);

/// Number of entries that SLOWLOG GET shows without a count.
const SLOW_COUNT: u64 = 10;

fn slow_get(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let count = match args.len() {
        2 => Some(SLOW_COUNT),
        3 => read_count(&args[2])?,
        _ => return Err(Error::subcommand_syntax(b"slowlog", &args[1])),
    };
    show(cx, LogKind::Slow, count);
    Ok(())
}

static SLOW_LEN: Command = Command::session(
    slow_len,
    Card::new("len", Group::Server, "2.2.12")
        .summary("Returns the number of entries in the slow log.")
        .constant_time()
        .arity(2)
        .flags(Flag::ADMIN.and(Flag::LOADING).and(Flag::STALE))
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"]),
);

fn slow_len(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    count(cx, LogKind::Slow);
    Ok(())
}

static SLOW_RESET: Command = Command::session(
    slow_reset,
    Card::new("reset", Group::Server, "2.2.12")
        .summary("Clears all entries from the slow log.")
        .complexity("O(N) where N is the number of entries in the slowlog")
        .arity(2)
        .flags(Flag::ADMIN.and(Flag::LOADING).and(Flag::STALE))
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
);

fn slow_reset(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    cx.process.boards.clear_logged(LogKind::Slow);
    cx.reply.ok();
    Ok(())
}

static SLOW_HELP: Command = help_command(
    help_card(Group::Server, "6.2.0")
        .summary("Shows helpful text about the different subcommands."),
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::session_testing::SessionBench;
    use crate::observe::LogEntry;

    #[test]
    fn entries_are_shown_counted_and_reset() {
        let mut bench = SessionBench::new();
        for value in 0..12 {
            let entry = LogEntry {
                id: 0,
                unix_s: 1_800_000_000,
                value,
                args: vec![b"PING"[..].into()],
                address: "10.0.0.1:1".to_string(),
                name: b"me".to_vec(),
            };
            bench.process.boards.log(value as usize % 2, LogKind::Slow, entry.clone(), 128);
            bench.process.boards.log(0, LogKind::LargeReply, entry, 128);
        }
        bench.check_script(
            "
            COMMANDLOG LEN slow => :12
            COMMANDLOG LEN LARGE-REPLY => :12
            COMMANDLOG LEN large-request => :0
            SLOWLOG LEN => :12
            SLOWLOG GET 1
                | => [[:11 :1800000000 :11 [\"PING\"] \"10.0.0.1:1\" \"me\"]]
            COMMANDLOG GET 0 slow => []
            COMMANDLOG RESET large-reply => OK
            COMMANDLOG LEN large-reply => :0
            COMMANDLOG GET -1 large-reply => []
            SLOWLOG RESET => OK
            SLOWLOG GET -1 => []
            COMMANDLOG GET -2 slow => -ERR count should be greater than or equal to -1
            COMMANDLOG GET x slow => -ERR count should be greater than or equal to -1
            COMMANDLOG GET 1 x => -ERR type should be one of the following: slow, large-request,
                | large-reply
            SLOWLOG GET -2 => -ERR count should be greater than or equal to -1
            SLOWLOG GET 1 2 => -ERR unknown subcommand or wrong number of arguments for 'GET'. Try
                | SLOWLOG HELP.
            ",
        );
    }

    #[test]
    fn ten_entries_are_shown_by_default() {
        let mut bench = SessionBench::new();
        for value in 0..12 {
            let (args, address, name) = (Vec::new(), String::new(), Vec::new());
            let entry = LogEntry { id: 0, unix_s: 0, value, args, address, name };
            bench.process.boards.log(0, LogKind::Slow, entry, 11);
        }
        for (args, count) in [(&["SLOWLOG", "GET"][..], 10), (&["SLOWLOG", "GET", "-1"], 11)] {
            match bench.run(args) {
                Some(crate::resp::Value::Array(entries)) => assert_eq!(entries.len(), count),
                other => panic!("{other:?}"),
            }
        }
    }
}
