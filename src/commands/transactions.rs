//! MULTI, EXEC, DISCARD, WATCH and UNWATCH. The shard holds the queue and carries out their
//! requests.

use crate::exec::{Command, InMulti, Multi, Request, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};

/// The transaction commands.
pub static FAMILY: &[&Command] = &[&MULTI, &EXEC, &DISCARD, &WATCH, &UNWATCH];

/// Flags of all transaction commands except EXEC.
const FLAGS: Flag =
    Flag::NOSCRIPT.and(Flag::LOADING).and(Flag::STALE).and(Flag::FAST).and(Flag::ALLOW_BUSY);

static MULTI: Command = Command::session(
    multi,
    Card::new("multi", Group::Transactions, "1.2.0")
        .summary("Starts a transaction.")
        .constant_time()
        .flags(FLAGS.and(Flag::NO_MULTI)),
)
.in_multi(InMulti::AtOnce);

fn multi(cx: &mut SessionContext<'_>, _: &mut Args<'_>) -> Result<(), Error> {
    assert!(cx.session.multi.is_none(), "a gate rejects it inside a transaction");
    cx.session.multi = Some(Multi { db: cx.session.db, ..Multi::default() });
    cx.reply.ok();
    Ok(())
}

static EXEC: Command = Command::session(
    exec,
    Card::new("exec", Group::Transactions, "1.2.0")
        .summary("Executes all commands in a transaction.")
        .complexity("Depends on commands in the transaction")
        .flags(Flag::NOSCRIPT.and(Flag::LOADING).and(Flag::STALE).and(Flag::SKIP_COMMANDLOG)),
)
.in_multi(InMulti::Executes);

fn exec(cx: &mut SessionContext<'_>, _: &mut Args<'_>) -> Result<(), Error> {
    if cx.session.multi.is_none() {
        return Err(Error::other("ERR EXEC without MULTI"));
    }
    cx.request = Some(Request::Exec);
    Ok(())
}

static DISCARD: Command = Command::session(
    discard,
    Card::new("discard", Group::Transactions, "2.0.0")
        .summary("Discards a transaction.")
        .complexity("O(N), when N is the number of queued commands")
        .steady()
        .flags(FLAGS),
)
.in_multi(InMulti::AtOnce);

fn discard(cx: &mut SessionContext<'_>, _: &mut Args<'_>) -> Result<(), Error> {
    if cx.session.multi.take().is_none() {
        return Err(Error::other("ERR DISCARD without MULTI"));
    }
    cx.request = Some(Request::Discard);
    cx.reply.ok();
    Ok(())
}

static WATCH: Command = Command::session(
    watch,
    Card::new("watch", Group::Transactions, "2.2.0")
        .summary("Monitors changes to keys to determine the execution of a transaction.")
        .complexity("O(1) for every key.")
        .steady()
        .arity(-2)
        .flags(FLAGS.and(Flag::NO_MULTI))
        .keys(&[KeySpec::inspects().to_end(1)])
        .args(&[Arg::key("key").repeated()]),
)
.in_multi(InMulti::AtOnce);

fn watch(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    assert!(cx.session.multi.is_none(), "a gate rejects it inside a transaction");
    cx.request = Some(Request::Watch(args.iter_from(1).map(<[u8]>::to_vec).collect()));
    Ok(())
}

static UNWATCH: Command = Command::session(
    unwatch,
    Card::new("unwatch", Group::Transactions, "2.2.0")
        .summary("Forgets about watched keys of a transaction.")
        .constant_time()
        .flags(FLAGS),
);

fn unwatch(cx: &mut SessionContext<'_>, _: &mut Args<'_>) -> Result<(), Error> {
    cx.request = Some(Request::Unwatch);
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::session_testing::SessionBench;

    #[test]
    fn requests_to_the_shard() {
        SessionBench::with(|_| {}).check_script(
            "
            EXEC => -ERR EXEC without MULTI
            DISCARD => -ERR DISCARD without MULTI
            UNWATCH => OK
            MULTI => OK
            EXEC => ?Exec
            DISCARD => OK
            DISCARD => -ERR DISCARD without MULTI
            ",
        );
    }
}
