//! Removes members by name, rank, score or text: ZREM and ZREMRANGEBYRANK, -SCORE, -LEX.

use super::bounds::{Bounds, By};
use crate::exec::{Command, Context, Weighing};
use crate::keyspace::Event;
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::sorted_set::SortedSet;

pub(super) static ZREM: Command = Command::single(
    zrem,
    Card::new("zrem", Group::SortedSet, "1.2.0")
        .summary(
            "Removes one or more members from a sorted set. Deletes the sorted set if all members \
             were removed.",
        )
        .complexity(
            "O(M*log(N)) with N being the number of elements in the sorted set and M the number \
             of elements to be removed.",
        )
        .steady()
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::FAST))
        .keys(&[KeySpec::deletes()])
        .history(&[("2.4.0", "Accepts multiple elements.")])
        .args(&[Arg::key("key"), Arg::string("member").repeated()]),
);

fn zrem(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let mut removed = 0;
    if let Some(mut set) = cx.slice.edit::<SortedSet>(cx.db, &key)? {
        removed = args.iter_from(2).filter(|member| set.remove(member).is_some()).count();
        if removed > 0 {
            set.raise(Event::ZRem, removed as u64);
        }
    }
    cx.reply.integer(removed as i64);
    Ok(())
}

pub(super) static ZREMRANGEBYRANK: Command = Command::single(
    zremrangebyrank,
    Card::new("zremrangebyrank", Group::SortedSet, "2.0.0")
        .summary(
            "Removes members in a sorted set within a range of indexes. Deletes the sorted set if \
             all members were removed.",
        )
        .complexity(
            "O(log(N)+M) with N being the number of elements in the sorted set and M the number \
             of elements removed by the operation.",
        )
        .arity(4)
        .flags(Flag::WRITE)
        .keys(&[KeySpec::deletes()])
        .args(&[Arg::key("key"), Arg::integer("start"), Arg::integer("stop")]),
)
.offload_by(weigh_by_rank);

fn weigh_by_rank(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    weigh(weighing, args, By::Rank)
}

fn zremrangebyrank(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    remove_range(cx, args, By::Rank)
}

pub(super) static ZREMRANGEBYSCORE: Command = Command::single(
    zremrangebyscore,
    Card::new("zremrangebyscore", Group::SortedSet, "1.2.0")
        .summary(
            "Removes members in a sorted set within a range of scores. Deletes the sorted set if \
             all members were removed.",
        )
        .complexity(
            "O(log(N)+M) with N being the number of elements in the sorted set and M the number \
             of elements removed by the operation.",
        )
        .arity(4)
        .flags(Flag::WRITE)
        .keys(&[KeySpec::deletes()])
        .args(&[Arg::key("key"), Arg::double("min"), Arg::double("max")]),
)
.offload_by(weigh_by_score);

fn weigh_by_score(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    weigh(weighing, args, By::Score)
}

fn zremrangebyscore(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    remove_range(cx, args, By::Score)
}

pub(super) static ZREMRANGEBYLEX: Command = Command::single(
    zremrangebylex,
    Card::new("zremrangebylex", Group::SortedSet, "2.8.9")
        .summary(
            "Removes members in a sorted set within a lexicographical range. Deletes the sorted \
             set if all members were removed.",
        )
        .complexity(
            "O(log(N)+M) with N being the number of elements in the sorted set and M the number \
             of elements removed by the operation.",
        )
        .arity(4)
        .flags(Flag::WRITE)
        .keys(&[KeySpec::deletes()])
        .args(&[Arg::key("key"), Arg::string("min"), Arg::string("max")]),
)
.offload_by(weigh_by_lex);

fn weigh_by_lex(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    weigh(weighing, args, By::Lex)
}

fn zremrangebylex(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    remove_range(cx, args, By::Lex)
}

/// Elements in whose time a member is found and removed.
const REMOVED_WEIGHT: usize = 3;

fn weigh(weighing: &Weighing<'_>, args: &Args<'_>, by: By) -> usize {
    let Some(set) = weighing.object::<SortedSet>(args, 1) else { return 0 };
    let weight = |count: usize| if count < set.len() { count * REMOVED_WEIGHT } else { 0 };
    if set.len() * REMOVED_WEIGHT < weighing.enough {
        return set.len();
    }
    // The whole set is removed as one value, and freed in small steps.
    Bounds::parse(by, &args[2], &args[3]).map_or(0, |bounds| weight(bounds.ranks(set, false).len()))
}

fn remove_range(cx: &mut Context<'_>, args: &Args<'_>, by: By) -> Result<(), Error> {
    let bounds = Bounds::parse(by, &args[2], &args[3])?;
    let key = cx.key(args, 1);
    let event = match by {
        By::Rank => Event::ZRemRangeByRank,
        By::Score => Event::ZRemRangeByScore,
        By::Lex => Event::ZRemRangeByLex,
    };
    let (mut removed, mut is_all) = (0, false);
    if let Some(mut set) = cx.slice.edit::<SortedSet>(cx.db, &key)? {
        let ranks = bounds.ranks(&set, false);
        removed = ranks.len();
        is_all = removed == set.len();
        if removed > 0 && !is_all {
            set.remove_ranks(ranks);
            set.raise(event, removed as u64);
        }
    }
    if is_all {
        // Removes the whole key, so that a large set is freed incrementally.
        cx.slice.remove(cx.db, &key);
        cx.raise(&key, event, removed as u64);
        cx.raise(&key, Event::Del, 0);
    }
    cx.reply.integer(removed as i64);
    Ok(())
}
