//! MULTI, EXEC and what goes with them. The shard keeps the queue; these say what becomes of it.

use crate::exec::{Command, Entry, Multi, Request, Run, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Card, Category, Flag, Group, KeySpec};

/// The commands of transactions.
pub static FAMILY: &[&Command] = &[&MULTI, &EXEC, &DISCARD, &WATCH, &UNWATCH];

/// What all of them but EXEC have in common.
const FLAGS: Flag =
    Flag::NOSCRIPT.and(Flag::LOADING).and(Flag::STALE).and(Flag::FAST).and(Flag::ALLOW_BUSY);

static MULTI: Command = Command {
    card: Card {
        name: "multi",
        summary: "Starts a transaction.",
        since: "1.2.0",
        group: Group::Transactions,
        complexity: "O(1)",
        arity: 1,
        flags: FLAGS.and(Flag::NO_MULTI),
        categories: &[Category::Transaction],
        tips: &[],
        keys: &[],
    },
    run: Run::Immediate(multi),
    subcommands: &[],
};

fn multi(cx: &mut SessionContext<'_>, _: &mut Args<'_>) -> Result<(), Error> {
    assert!(cx.session.multi.is_none(), "a gate refuses it inside a transaction");
    cx.session.multi = Some(Multi::default());
    cx.reply.ok();
    Ok(())
}

/// Whether a command is EXEC: when that is refused, the transaction ends with it.
pub fn is_exec(entry: &Entry) -> bool {
    std::ptr::eq(entry.command, &EXEC)
}

static EXEC: Command = Command {
    card: Card {
        name: "exec",
        summary: "Executes all commands in a transaction.",
        since: "1.2.0",
        group: Group::Transactions,
        complexity: "Depends on commands in the transaction",
        arity: 1,
        flags: Flag::NOSCRIPT.and(Flag::LOADING).and(Flag::STALE).and(Flag::SKIP_COMMANDLOG),
        categories: &[Category::Transaction],
        tips: &[],
        keys: &[],
    },
    run: Run::Immediate(exec),
    subcommands: &[],
};

fn exec(cx: &mut SessionContext<'_>, _: &mut Args<'_>) -> Result<(), Error> {
    if cx.session.multi.is_none() {
        return Err(Error::other("ERR EXEC without MULTI"));
    }
    cx.request = Some(Request::Exec);
    Ok(())
}

static DISCARD: Command = Command {
    card: Card {
        name: "discard",
        summary: "Discards a transaction.",
        since: "2.0.0",
        group: Group::Transactions,
        complexity: "O(N), when N is the number of queued commands",
        arity: 1,
        flags: FLAGS,
        categories: &[Category::Transaction],
        tips: &[],
        keys: &[],
    },
    run: Run::Immediate(discard),
    subcommands: &[],
};

fn discard(cx: &mut SessionContext<'_>, _: &mut Args<'_>) -> Result<(), Error> {
    if cx.session.multi.take().is_none() {
        return Err(Error::other("ERR DISCARD without MULTI"));
    }
    cx.request = Some(Request::Discard);
    cx.reply.ok();
    Ok(())
}

static WATCH: Command = Command {
    card: Card {
        name: "watch",
        summary: "Monitors changes to keys to determine the execution of a transaction.",
        since: "2.2.0",
        group: Group::Transactions,
        complexity: "O(1) for every key.",
        arity: -2,
        flags: FLAGS.and(Flag::NO_MULTI),
        categories: &[Category::Transaction],
        tips: &[],
        keys: &[KeySpec::all("RO", 1)],
    },
    run: Run::Immediate(watch),
    subcommands: &[],
};

fn watch(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    assert!(cx.session.multi.is_none(), "a gate refuses it inside a transaction");
    cx.request = Some(Request::Watch(args.iter_from(1).map(<[u8]>::to_vec).collect()));
    Ok(())
}

static UNWATCH: Command = Command {
    card: Card {
        name: "unwatch",
        summary: "Forgets about watched keys of a transaction.",
        since: "2.2.0",
        group: Group::Transactions,
        complexity: "O(1)",
        arity: 1,
        flags: FLAGS,
        categories: &[Category::Transaction],
        tips: &[],
        keys: &[],
    },
    run: Run::Session(unwatch),
    subcommands: &[],
};

fn unwatch(cx: &mut SessionContext<'_>, _: &mut Args<'_>) -> Result<(), Error> {
    cx.request = Some(Request::Unwatch);
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::session_testing::SessionBench;

    #[test]
    fn what_is_asked_of_the_shard() {
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
