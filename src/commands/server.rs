//! Server commands: time, shutdown, saving. Lists the server commands of other files too.

use super::{command, command_log, config, debug, info, latency, lolwut, memory, monitor};
use crate::exec::{BackgroundSave, Command, Request, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Category, Flag, Group};

/// The server commands: of this file, and of the files for one command each.
pub static FAMILY: &[&Command] = &[
    &TIME,
    &SHUTDOWN,
    &SAVE,
    &BGSAVE,
    &BGREWRITEAOF,
    &LASTSAVE,
    &command::COMMAND,
    &command_log::COMMANDLOG,
    &command_log::SLOWLOG,
    &config::CONFIG,
    &debug::DEBUG,
    &info::INFO,
    &latency::LATENCY,
    &lolwut::LOLWUT,
    &memory::MEMORY,
    &monitor::MONITOR,
];

static BGREWRITEAOF: Command = Command::session(
    bgrewriteaof,
    Card::new("bgrewriteaof", Group::Server, "1.0.0")
        .summary("Asynchronously rewrites the append-only file to disk.")
        .constant_time()
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::NO_ASYNC_LOADING)),
);

fn bgrewriteaof(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    cx.request = Some(Request::RewriteAof);
    Ok(())
}

static TIME: Command = Command::session(
    time,
    Card::new("time", Group::Server, "2.6.0")
        .summary("Returns the server time.")
        .constant_time()
        .flags(Flag::LOADING.and(Flag::STALE).and(Flag::FAST))
        .tips(&["nondeterministic_output"]),
);

fn time(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    cx.reply.array(2);
    cx.reply.integer_bulk((cx.now_us / 1_000_000) as i64);
    cx.reply.integer_bulk((cx.now_us % 1_000_000) as i64);
    Ok(())
}

static SHUTDOWN: Command = Command::session(
    shutdown,
    Card::new("shutdown", Group::Server, "1.0.0")
        .summary("Synchronously saves the database(s) to disk and shuts down the server.")
        .complexity(
            "O(N) when saving, where N is the total number of keys in all databases when saving \
             data, otherwise O(1)",
        )
        .arity(-1)
        .flags(
            Flag::ADMIN
                .and(Flag::NOSCRIPT)
                .and(Flag::LOADING)
                .and(Flag::STALE)
                .and(Flag::NO_MULTI)
                .and(Flag::ALLOW_BUSY),
        )
        .history(&[
            ("7.0.0", "Added the `NOW`, `FORCE` and `ABORT` modifiers."),
            ("9.0.0", "Added the `SAFE` and `FAILOVER` modifiers."),
        ])
        .args(&[Arg::one_of(
            "abort-selector",
            &[
                Arg::block(
                    "save-selector-block",
                    &[
                        Arg::choice("save-selector", &["NOSAVE", "SAVE"]).optional(),
                        Arg::keyword("NOW").since("7.0.0").optional(),
                        Arg::keyword("FORCE").since("7.0.0").optional(),
                        Arg::keyword("SAFE").since("9.0.0").optional(),
                        Arg::keyword("FAILOVER").since("9.0.0").optional(),
                    ],
                ),
                Arg::keyword("ABORT").since("7.0.0"),
            ],
        )
        .optional()]),
);

fn shutdown(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let known: [&[u8]; 7] = [b"nosave", b"save", b"now", b"force", b"safe", b"failover", b"abort"];
    let mut given = [false; 7];
    for arg in args.iter_from(1) {
        let at = known.iter().position(|known| arg.eq_ignore_ascii_case(known));
        given[at.ok_or(Error::Syntax)?] = true;
    }
    let [nosave, save, _, force, _, failover, abort] = given;
    if (nosave && save) || (abort && given[..6].contains(&true)) {
        return Err(Error::Syntax);
    }
    if failover {
        return Err(Error::other("ERR SHUTDOWN FAILOVER is only supported in cluster mode."));
    }
    if abort {
        if cx.process.take_saving_stop().is_none() {
            return Err(Error::other("ERR No shutdown in progress."));
        }
        cx.process.take_back_stop();
        cx.process.log.notice("Shutdown manually aborted.");
        cx.reply.ok();
        return Ok(());
    }
    let snapshot = cx.process.config.snapshot();
    let now_ms = cx.process.clock.monotonic_ns() / 1_000_000;
    if !nosave && cx.process.running.are_busy(now_ms, snapshot.busy_reply_threshold) {
        return Err(cx.process.running.busy_error());
    }
    let saves = !nosave && (save || !snapshot.save.is_empty());
    cx.request = Some(Request::Shutdown { saves, is_forced: force });
    Ok(())
}

static SAVE: Command = Command::session(
    save,
    Card::new("save", Group::Server, "1.0.0")
        .summary("Synchronously saves the database(s) to disk.")
        .complexity("O(N) where N is the total number of keys in all databases")
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::NO_ASYNC_LOADING).and(Flag::NO_MULTI)),
);

fn save(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    cx.request = Some(Request::Save);
    Ok(())
}

static BGSAVE: Command = Command::session(
    bgsave,
    Card::new("bgsave", Group::Server, "1.0.0")
        .summary("Asynchronously saves the database(s) to disk.")
        .constant_time()
        .arity(-1)
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::NO_ASYNC_LOADING))
        .history(&[
            ("3.2.2", "Added the `SCHEDULE` option."),
            ("8.1.0", "Added the `CANCEL` option."),
        ])
        .args(&[Arg::one_of(
            "operation",
            &[Arg::keyword("SCHEDULE").since("3.2.2"), Arg::keyword("CANCEL").since("8.1.0")],
        )
        .optional()]),
);

fn bgsave(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let wish = match args.len() {
        1 => BackgroundSave::Now,
        2 if args[1].eq_ignore_ascii_case(b"schedule") => BackgroundSave::Scheduled,
        2 if args[1].eq_ignore_ascii_case(b"cancel") => BackgroundSave::Cancel,
        _ => return Err(Error::Syntax),
    };
    cx.request = Some(Request::BackgroundSave(wish));
    Ok(())
}

static LASTSAVE: Command = Command::session(
    lastsave,
    Card::new("lastsave", Group::Server, "1.0.0")
        .summary("Returns the Unix timestamp of the last successful save to disk.")
        .constant_time()
        .flags(Flag::LOADING.and(Flag::STALE).and(Flag::FAST))
        .categories(&[Category::Admin, Category::Dangerous])
        .tips(&["nondeterministic_output"]),
);

fn lastsave(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    cx.reply.integer(cx.process.persistence().saved_s as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::session_testing::SessionBench;

    #[test]
    fn time_is_the_start_of_the_turn() {
        SessionBench::new().check_script(r#"TIME => ["1800000000" "123000"]"#);
    }

    #[test]
    fn abort_cancels_a_shutdown_by_signal() {
        let mut bench = SessionBench::new();
        bench.process.stop_saving(crate::exec::Shutdown::Interrupt, true);
        assert!(bench.process.is_stop_pending());
        bench.check_script(
            "
            SHUTDOWN ABORT => OK
            SHUTDOWN ABORT => -ERR No shutdown in progress.
            ",
        );
        assert!(!bench.process.is_stop_pending());
        bench.process.stop_saving(crate::exec::Shutdown::Interrupt, true);
        let asked = bench.process.take_saving_stop();
        assert_eq!(asked, Some((crate::exec::Shutdown::Interrupt, true, true)));
    }

    #[test]
    fn shutdown_options() {
        SessionBench::new().check_script(
            "
            SHUTDOWN => ?Shutdown { saves: true, is_forced: false }
            SHUTDOWN NOSAVE NOW FORCE => ?Shutdown { saves: false, is_forced: true }
            SHUTDOWN SAVE FORCE => ?Shutdown { saves: true, is_forced: true }
            SHUTDOWN SAVE => ?Shutdown { saves: true, is_forced: false }
            SHUTDOWN SAVE NOSAVE => -ERR syntax error
            SHUTDOWN x => -ERR syntax error
            SHUTDOWN ABORT => -ERR No shutdown in progress.
            SHUTDOWN ABORT NOW => -ERR syntax error
            SHUTDOWN FAILOVER => -ERR SHUTDOWN FAILOVER is only supported in cluster mode.
            ",
        );
    }
}
