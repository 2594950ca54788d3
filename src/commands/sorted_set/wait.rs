//! Pops that block until a sorted set has a member: BZPOPMIN, BZPOPMAX, BZMPOP.

use super::pop::{ManyPop, Shape, name_of, take};
use crate::commands::args::deadline_at;
use crate::exec::{Command, Context, Null, Wait};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::Kind;
use crate::value::sorted_set::End;

pub(super) static BZPOPMIN: Command = Command::gather(
    bzpopmin,
    Card::new("bzpopmin", Group::SortedSet, "5.0.0")
        .summary(
            "Removes and returns the member with the lowest score from one or more sorted sets. \
             Blocks until a member is available otherwise. Deletes the sorted set if the last \
             element was popped.",
        )
        .complexity("O(log(N)) with N being the number of elements in the sorted set.")
        .steady()
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::BLOCKING).and(Flag::FAST))
        .keys(&[KeySpec::deletes().using_data().to_last(-2, 1)])
        .history(&[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")])
        .args(&[Arg::key("key").repeated(), Arg::double("timeout")]),
);

fn bzpopmin(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    wait_for_one(cx, args, End::Min)
}

pub(super) static BZPOPMAX: Command = Command::gather(
    bzpopmax,
    Card::new("bzpopmax", Group::SortedSet, "5.0.0")
        .summary(
            "Removes and returns the member with the highest score from one or more sorted sets. \
             Blocks until a member is available otherwise. Deletes the sorted set if the last \
             element was popped.",
        )
        .complexity("O(log(N)) with N being the number of elements in the sorted set.")
        .steady()
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::BLOCKING).and(Flag::FAST))
        .keys(&[KeySpec::deletes().using_data().to_last(-2, 1)])
        .history(&[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")])
        .args(&[Arg::key("key").repeated(), Arg::double("timeout")]),
);

fn bzpopmax(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    wait_for_one(cx, args, End::Max)
}

fn wait_for_one(cx: &mut Context<'_>, args: &Args<'_>, end: End) -> Result<(), Error> {
    let last = args.len() - 1;
    let deadline_ms = deadline_at(&args[last], cx.now_ms)?;
    for at in 1..last {
        if !cx.looks_at(&args[at]) {
            continue;
        }
        let key = cx.key(args, at);
        if take(cx, &key, end, 1, Shape::KeyFlat)?.is_some() {
            cx.propagate(&[name_of(end), key.bytes]);
            return Ok(());
        }
    }
    wait(cx, deadline_ms, (1..last).collect());
    Ok(())
}

pub(super) static BZMPOP: Command = Command::gather(
    bzmpop,
    Card::new("bzmpop", Group::SortedSet, "7.0.0")
        .summary(
            "Removes and returns a member by score from one or more sorted sets. Blocks until a \
             member is available otherwise. Deletes the sorted set if the last element was \
             popped.",
        )
        .complexity(
            "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of \
             elements in the sorted set, and M being the number of elements popped.",
        )
        .arity(-5)
        .flags(Flag::WRITE.and(Flag::BLOCKING).and(Flag::MOVABLEKEYS))
        .keys(&[KeySpec::deletes().using_data().at(2).counted(1)])
        .args(&[
            Arg::double("timeout"),
            Arg::integer("numkeys"),
            Arg::key("key").repeated(),
            Arg::choice("where", &["MIN", "MAX"]),
            Arg::integer("count").after("COUNT").optional(),
        ]),
);

fn bzmpop(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let many = ManyPop::parse(args, 2)?;
    let deadline_ms = deadline_at(&args[1], cx.now_ms)?;
    for at in many.keys.clone() {
        if !cx.looks_at(&args[at]) {
            continue;
        }
        let key = cx.key(args, at);
        if let Some(taken) = take(cx, &key, many.end, many.count, Shape::KeyPairs)? {
            let count = taken.to_string();
            cx.propagate(&[name_of(many.end), key.bytes, count.as_bytes()]);
            return Ok(());
        }
    }
    wait(cx, deadline_ms, many.keys.collect());
    Ok(())
}

fn wait(cx: &mut Context<'_>, deadline_ms: Option<u64>, keys: Vec<usize>) {
    cx.wait(Wait {
        deadline_ms,
        keys,
        kind: Kind::SortedSet,
        wants_gone: false,
        null: Null::Array,
        args: None,
    });
}
