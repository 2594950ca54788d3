//! CLIENT PAUSE and CLIENT UNPAUSE: commands of clients wait for a limited time.

use crate::base::number::parse_i64;
use crate::exec::{Command, Pause, Request, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group};

pub(super) static PAUSE: Command = Command::session(
    pause,
    Card::new("pause", Group::Connection, "3.0.0")
        .summary("Suspends commands processing.")
        .constant_time()
        .arity(-3)
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::LOADING).and(Flag::STALE))
        .history(&[("6.2.0", "`CLIENT PAUSE WRITE` mode added along with the `mode` option.")])
        .args(&[
            Arg::integer("timeout"),
            Arg::choice("mode", &["WRITE", "ALL"]).since("6.2.0").optional(),
        ]),
)
.asks_shards();

fn pause(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    // As in the reference, further arguments disable the check of the mode.
    let is_all = match args.len() {
        4 if args[3].eq_ignore_ascii_case(b"write") => false,
        4 if !args[3].eq_ignore_ascii_case(b"all") => {
            return Err(Error::other("ERR CLIENT PAUSE mode must be WRITE or ALL"));
        }
        _ => true,
    };
    let now_ms = cx.now_us / 1_000;
    let until_ms = read_end(&args[2], now_ms)?;
    cx.process.pause(Pause { until_ms, is_all }, now_ms);
    cx.request = Some(Request::Pause);
    Ok(())
}

/// Returns the end of the pause, in Unix milliseconds, from an argument that gives its length in
/// milliseconds. Returns 0 for a pause of 0.
fn read_end(arg: &[u8], now_ms: u64) -> Result<u64, Error> {
    let not_a_time = Error::other("ERR timeout is not an integer or out of range");
    match parse_i64(arg) {
        None => Err(not_a_time),
        Some(ms) if ms < 0 => Err(Error::other("ERR timeout is negative")),
        Some(ms) if ms > i64::MAX - now_ms as i64 => {
            Err(Error::other("ERR timeout is out of range"))
        }
        Some(0) => Ok(0),
        Some(ms) => Ok(now_ms + ms as u64),
    }
}

pub(super) static UNPAUSE: Command = Command::session(
    unpause,
    Card::new("unpause", Group::Connection, "6.2.0")
        .summary("Resumes processing commands from paused clients.")
        .complexity("O(N) Where N is the number of paused clients")
        .arity(2)
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::LOADING).and(Flag::STALE)),
)
.asks_shards();

fn unpause(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    cx.process.unpause();
    cx.request = Some(Request::Unpause);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::session_testing::{START_MS, SessionBench};
    use crate::exec::Pause;

    #[test]
    fn arguments_are_refused_like_the_reference() {
        let mut bench = SessionBench::new();
        bench.check_script(
            "
            CLIENT PAUSE x => -ERR timeout is not an integer or out of range
            CLIENT PAUSE -1 => -ERR timeout is negative
            CLIENT PAUSE 9223372036854775807 => -ERR timeout is out of range
            CLIENT PAUSE 10 foo => -ERR CLIENT PAUSE mode must be WRITE or ALL
            CLIENT PAUSE => -ERR wrong number of arguments for 'client|pause' command
            CLIENT UNPAUSE 1 => -ERR wrong number of arguments for 'client|unpause' command
            ",
        );
        assert_eq!(bench.process.paused(START_MS), None);
    }

    #[test]
    fn the_later_end_and_the_stricter_mode_win() {
        let mut bench = SessionBench::new();
        for (args, after_ms, is_all) in [
            (&["CLIENT", "PAUSE", "100", "write"][..], 100, false),
            (&["CLIENT", "PAUSE", "10"], 100, true),
            (&["CLIENT", "PAUSE", "200", "WRITE"], 200, true),
            (&["CLIENT", "PAUSE", "0", "all", "more"], 200, true),
        ] {
            assert_eq!(bench.run(args), None);
            let pause = Pause { until_ms: START_MS + after_ms, is_all };
            assert_eq!(bench.process.paused(START_MS), Some(pause));
        }
        assert_eq!(bench.process.paused(START_MS + 200), None);
        bench.run(&["CLIENT", "UNPAUSE"]);
        assert_eq!(bench.process.paused(START_MS), None);
        bench.run(&["CLIENT", "PAUSE", "0"]);
        assert_eq!(bench.process.paused(START_MS), None);
    }
}
