//! DEBUG: what tests and people who look for a fault need.

use super::help::write_help;
use crate::base::number::parse_f64;
use crate::exec::{Command, Request, Run, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Card, Flag, Group};

/// What HELP shows.
const HELP: [&str; 8] = [
    "JMAP",
    "    Write the shape of all tables to the log.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Keep keys that are due until somebody asks for them (0), or not (1).",
    "SLEEP <seconds>",
    "    Let all shards stand still for so long, which may be a fraction.",
    "HELP",
    "    Show this.",
];

pub(super) static DEBUG: Command = Command {
    card: Card {
        name: "debug",
        summary: "A container for debugging commands.",
        since: "1.0.0",
        group: Group::Server,
        complexity: "Depends on subcommand.",
        arity: -2,
        flags: Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::LOADING).and(Flag::STALE),
        categories: &[],
        tips: &[],
        keys: &[],
    },
    run: Run::Session(debug),
    subcommands: &[],
};

fn debug(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let permission = cx.process.config.snapshot().enable_debug_command;
    if !permission.allows(cx.session.is_local()) {
        return Err(Error::other(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \
             \"local\", you can run it from a local connection, otherwise you need to set this \
             option in the configuration file, and then restart the server.",
        ));
    }
    let name = args[1].to_ascii_lowercase();
    match (&name[..], args.get(2), args.len()) {
        (b"jmap", None, _) => cx.request = Some(Request::LogTable),
        (b"set-active-expire", Some(word), 3) => {
            cx.request = Some(Request::ActiveExpire(leading_number(word) != 0));
        }
        (b"sleep", Some(word), 3) => {
            // A float turns to an integer by saturation; what is no number is 0.
            let seconds = parse_f64(word).unwrap_or(0.0);
            cx.request = Some(Request::DebugSleep((seconds * 1e6) as u64));
        }
        (b"help", None, _) => write_help(cx, "debug", &HELP.map(str::to_string)),
        _ => return Err(Error::subcommand_syntax(b"debug", &args[1])),
    }
    Ok(())
}

/// The integer that a word starts with; 0 without one.
fn leading_number(word: &[u8]) -> i64 {
    let sign = usize::from(matches!(word.first(), Some(b'-' | b'+')));
    let digits = word[sign..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number: i64, digit| {
        number.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::session_testing::{SessionBench, show};
    use crate::config::Permission;

    #[test]
    fn debug_asks_all_shards() {
        SessionBench::with(|config| config.enable_debug_command = Permission::Yes).check_script(
            "
            DEBUG SLEEP 0.25 => ?DebugSleep(250000)
            DEBUG sleep -1 => ?DebugSleep(0)
            DEBUG SLEEP x => ?DebugSleep(0)
            DEBUG SLEEP => -ERR unknown subcommand or wrong number of arguments for 'SLEEP'. Try
                | DEBUG HELP.
            DEBUG SET-ACTIVE-EXPIRE 0 => ?ActiveExpire(false)
            DEBUG SET-ACTIVE-EXPIRE 1x => ?ActiveExpire(true)
            DEBUG SET-ACTIVE-EXPIRE x => ?ActiveExpire(false)
            DEBUG JMAP => ?LogTable
            DEBUG JMAP x => -ERR unknown subcommand or wrong number of arguments for 'JMAP'. Try
                | DEBUG HELP.
            DEBUG FOO => -ERR unknown subcommand or wrong number of arguments for 'FOO'. Try DEBUG
                | HELP.
            DEBUG => -ERR wrong number of arguments for 'debug' command
            ",
        );
    }

    #[test]
    fn debug_is_for_those_who_may() {
        let sleep = ["DEBUG", "SLEEP", "0"];
        let mut bench = SessionBench::new();
        let shown = show(&bench.run(&sleep).expect("a reply"));
        assert!(shown.starts_with("-ERR DEBUG command not allowed. If the enable-debug-command"));
        let mut bench = SessionBench::with(|c| c.enable_debug_command = Permission::Local);
        assert!(bench.run(&sleep).is_some(), "the session comes from elsewhere");
        bench.session.address = "127.0.0.1:1".to_string();
        assert_eq!(bench.run(&sleep), None);
        assert_eq!(bench.request, Some(Request::DebugSleep(0)));
    }
}
