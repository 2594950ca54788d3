//! Members are removed: by name, by place, by score, by text.

use super::bounds::{Bounds, By};
use crate::exec::{Command, Context, Run};
use crate::resp::{Args, Error};
use crate::spec::{Card, Category, Flag, Group, KeySpec};
use crate::value::sorted_set::SortedSet;

pub(super) static ZREM: Command = Command {
    card: Card {
        name: "zrem",
        summary: "Removes one or more members from a sorted set. Deletes the sorted set if all \
            members were removed.",
        since: "1.2.0",
        group: Group::SortedSet,
        complexity: "O(M*log(N)) with N being the number of elements in the sorted set and M the \
            number of elements to be removed.",
        arity: -3,
        flags: Flag::WRITE.and(Flag::FAST),
        categories: &[Category::SortedSet],
        tips: &[],
        keys: &[KeySpec::first("RW delete")],
    },
    run: Run::Keys(zrem),
    subcommands: &[],
};

fn zrem(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let mut removed = 0;
    if let Some(mut set) = cx.slice.edit::<SortedSet>(cx.db, &key)? {
        removed = args.iter_from(2).filter(|member| set.remove(member).is_some()).count();
        if removed > 0 {
            set.mark();
        }
    }
    cx.effects.changes += removed as u64;
    cx.reply.integer(removed as i64);
    Ok(())
}

pub(super) static ZREMRANGEBYRANK: Command = Command {
    card: Card {
        name: "zremrangebyrank",
        summary: "Removes members in a sorted set within a range of indexes. Deletes the sorted \
            set if all members were removed.",
        since: "2.0.0",
        group: Group::SortedSet,
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the \
            number of elements removed by the operation.",
        arity: 4,
        flags: Flag::WRITE,
        categories: &[Category::SortedSet],
        tips: &[],
        keys: &[KeySpec::first("RW delete")],
    },
    run: Run::Keys(zremrangebyrank),
    subcommands: &[],
};

fn zremrangebyrank(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    remove_range(cx, args, By::Rank)
}

pub(super) static ZREMRANGEBYSCORE: Command = Command {
    card: Card {
        name: "zremrangebyscore",
        summary: "Removes members in a sorted set within a range of scores. Deletes the sorted \
            set if all members were removed.",
        since: "1.2.0",
        group: Group::SortedSet,
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the \
            number of elements removed by the operation.",
        arity: 4,
        flags: Flag::WRITE,
        categories: &[Category::SortedSet],
        tips: &[],
        keys: &[KeySpec::first("RW delete")],
    },
    run: Run::Keys(zremrangebyscore),
    subcommands: &[],
};

fn zremrangebyscore(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    remove_range(cx, args, By::Score)
}

pub(super) static ZREMRANGEBYLEX: Command = Command {
    card: Card {
        name: "zremrangebylex",
        summary: "Removes members in a sorted set within a lexicographical range. Deletes the \
            sorted set if all members were removed.",
        since: "2.8.9",
        group: Group::SortedSet,
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the \
            number of elements removed by the operation.",
        arity: 4,
        flags: Flag::WRITE,
        categories: &[Category::SortedSet],
        tips: &[],
        keys: &[KeySpec::first("RW delete")],
    },
    run: Run::Keys(zremrangebylex),
    subcommands: &[],
};

fn zremrangebylex(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    remove_range(cx, args, By::Lex)
}

fn remove_range(cx: &mut Context<'_>, args: &Args<'_>, by: By) -> Result<(), Error> {
    let bounds = Bounds::parse(by, &args[2], &args[3])?;
    let key = cx.key(args, 1);
    let (mut removed, mut is_all) = (0, false);
    if let Some(mut set) = cx.slice.edit::<SortedSet>(cx.db, &key)? {
        let ranks = bounds.ranks(&set, false);
        removed = ranks.len();
        is_all = removed == set.len();
        if removed > 0 && !is_all {
            set.remove_ranks(ranks);
            set.mark();
        }
    }
    if is_all {
        // As a whole, so that a large one is freed bit by bit.
        cx.slice.remove(cx.db, &key);
    }
    cx.effects.changes += removed as u64;
    cx.reply.integer(removed as i64);
    Ok(())
}
