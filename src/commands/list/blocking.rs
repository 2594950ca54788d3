//! Pops that block until a list has an item: BLPOP, BRPOP, BLMPOP.

use super::ends::{ManyPop, pop_command, popped};
use super::{limits, reply_item};
use crate::commands::args::deadline_at;
use crate::exec::{Command, Context, Null, Wait};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::Kind;
use crate::value::list::{End, List};

pub(super) static BLPOP: Command = Command::gather(
    blpop,
    Card::new("blpop", Group::List, "2.0.0")
        .summary(
            "Removes and returns the first element in a list. Blocks until an element is \
             available otherwise. Deletes the list if the last element was popped.",
        )
        .complexity("O(N) where N is the number of provided keys.")
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::BLOCKING))
        .keys(&[KeySpec::deletes().using_data().to_last(-2, 1)])
        .history(&[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")])
        .args(&[Arg::key("key").repeated(), Arg::double("timeout")]),
);

fn blpop(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    pop(cx, args, End::Left)
}

pub(super) static BRPOP: Command = Command::gather(
    brpop,
    Card::new("brpop", Group::List, "2.0.0")
        .summary(
            "Removes and returns the last element in a list. Blocks until an element is available \
             otherwise. Deletes the list if the last element was popped.",
        )
        .complexity("O(N) where N is the number of provided keys.")
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::BLOCKING))
        .keys(&[KeySpec::deletes().using_data().to_last(-2, 1)])
        .history(&[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")])
        .args(&[Arg::key("key").repeated(), Arg::double("timeout")]),
);

fn brpop(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    pop(cx, args, End::Right)
}

fn pop(cx: &mut Context<'_>, args: &Args<'_>, end: End) -> Result<(), Error> {
    let last = args.len() - 1;
    let deadline_ms = deadline_at(&args[last], cx.now_ms)?;
    let limits = limits(cx.config);
    for at in 1..last {
        if !cx.looks_at(&args[at]) {
            continue;
        }
        let key = cx.key(args, at);
        let Some(mut list) = cx.slice.edit::<List>(cx.db, &key)? else { continue };
        cx.reply.array(2);
        cx.reply.bulk(key.bytes);
        list.pop(end, |item| reply_item(&mut cx.reply, item));
        list.settle(&limits);
        list.raise(popped(end), 1);
        drop(list);
        cx.propagate(&[pop_command(end), key.bytes]);
        return Ok(());
    }
    cx.wait(wait((1..last).collect(), deadline_ms));
    Ok(())
}

pub(super) static BLMPOP: Command = Command::gather(
    blmpop,
    Card::new("blmpop", Group::List, "7.0.0")
        .summary(
            "Pops the first element from one of multiple lists. Blocks until an element is \
             available otherwise. Deletes the list if the last element was popped.",
        )
        .complexity(
            "O(N+M) where N is the number of provided keys and M is the number of elements \
             returned.",
        )
        .arity(-5)
        .flags(Flag::WRITE.and(Flag::BLOCKING).and(Flag::MOVABLEKEYS))
        .keys(&[KeySpec::deletes().using_data().at(2).counted(1)])
        .args(&[
            Arg::double("timeout"),
            Arg::integer("numkeys"),
            Arg::key("key").repeated(),
            Arg::choice("where", &["LEFT", "RIGHT"]),
            Arg::integer("count").after("COUNT").optional(),
        ]),
);

fn blmpop(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let many = ManyPop::parse(args, 2)?;
    let deadline_ms = deadline_at(&args[1], cx.now_ms)?;
    if !many.run(cx, args)? {
        cx.wait(wait((many.first..many.first + many.keys).collect(), deadline_ms));
    }
    Ok(())
}

/// Returns a wait until one of the keys is a list. `keys` holds the keys' argument indexes.
pub(super) fn wait(keys: Vec<usize>, deadline_ms: Option<u64>) -> Wait {
    let (kind, null) = (Kind::List, Null::Array);
    Wait { deadline_ms, keys, kind, wants_gone: false, null, args: None }
}
