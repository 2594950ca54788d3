//! Reads single members and counts members: ZCARD, ZSCORE, ZMSCORE, ZRANK, ZREVRANK, ZCOUNT,
//! ZLEXCOUNT.

use super::bounds::{Bounds, By};
use crate::exec::{Command, Context};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::sorted_set::SortedSet;

pub(super) static ZCARD: Command = Command::single(
    zcard,
    Card::new("zcard", Group::SortedSet, "1.2.0")
        .summary("Returns the number of members in a sorted set.")
        .constant_time()
        .arity(2)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::inspects()])
        .args(&[Arg::key("key")]),
);

fn zcard(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let len = cx.slice.read::<SortedSet>(cx.db, &key)?.map_or(0, SortedSet::len);
    cx.reply.integer(len as i64);
    Ok(())
}

pub(super) static ZSCORE: Command = Command::single(
    zscore,
    Card::new("zscore", Group::SortedSet, "1.2.0")
        .summary("Returns the score of a member in a sorted set.")
        .constant_time()
        .arity(3)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key"), Arg::string("member")]),
);

fn zscore(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let set = cx.slice.read::<SortedSet>(cx.db, &key)?;
    match set.and_then(|set| set.score(&args[2])) {
        Some(score) => cx.reply.double(score),
        None => cx.reply.null(),
    }
    Ok(())
}

pub(super) static ZMSCORE: Command = Command::single(
    zmscore,
    Card::new("zmscore", Group::SortedSet, "6.2.0")
        .summary("Returns the score of one or more members in a sorted set.")
        .complexity("O(N) where N is the number of members being requested.")
        .steady()
        .arity(-3)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key"), Arg::string("member").repeated()]),
);

fn zmscore(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let set = cx.slice.read::<SortedSet>(cx.db, &key)?;
    cx.reply.array(args.len() - 2);
    for member in args.iter_from(2) {
        match set.and_then(|set| set.score(member)) {
            Some(score) => cx.reply.double(score),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

pub(super) static ZRANK: Command = Command::single(
    zrank,
    Card::new("zrank", Group::SortedSet, "2.0.0")
        .summary("Returns the index of a member in a sorted set ordered by ascending scores.")
        .complexity("O(log(N))")
        .steady()
        .arity(-3)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::reads()])
        .history(&[("7.2.0", "Added the optional `WITHSCORE` argument.")])
        .args(&[Arg::key("key"), Arg::string("member"), Arg::keyword("WITHSCORE").optional()]),
);

fn zrank(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    rank(cx, args, "zrank", false)
}

pub(super) static ZREVRANK: Command = Command::single(
    zrevrank,
    Card::new("zrevrank", Group::SortedSet, "2.0.0")
        .summary("Returns the index of a member in a sorted set ordered by descending scores.")
        .complexity("O(log(N))")
        .steady()
        .arity(-3)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::reads()])
        .history(&[("7.2.0", "Added the optional `WITHSCORE` argument.")])
        .args(&[Arg::key("key"), Arg::string("member"), Arg::keyword("WITHSCORE").optional()]),
);

fn zrevrank(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    rank(cx, args, "zrevrank", true)
}

fn rank(cx: &mut Context<'_>, args: &Args<'_>, name: &str, is_reverse: bool) -> Result<(), Error> {
    let with_score = match args.get(3) {
        _ if args.len() > 4 => return Err(Error::wrong_arity(name)),
        None => false,
        Some(arg) if arg.eq_ignore_ascii_case(b"WITHSCORE") => true,
        Some(_) => return Err(Error::Syntax),
    };
    let key = cx.key(args, 1);
    let found = cx.slice.read::<SortedSet>(cx.db, &key)?.and_then(|set| {
        let (rank, score) = set.rank_and_score(&args[2])?;
        Some((if is_reverse { set.len() - 1 - rank } else { rank }, score))
    });
    match found {
        None if with_score => cx.reply.null_array(),
        None => cx.reply.null(),
        Some((rank, score)) => {
            if with_score {
                cx.reply.array(2);
            }
            cx.reply.integer(rank as i64);
            if with_score {
                cx.reply.double(score);
            }
        }
    }
    Ok(())
}

pub(super) static ZCOUNT: Command = Command::single(
    zcount,
    Card::new("zcount", Group::SortedSet, "2.0.0")
        .summary("Returns the count of members in a sorted set that have scores within a range.")
        .complexity("O(log(N)) with N being the number of elements in the sorted set.")
        .steady()
        .arity(4)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key"), Arg::double("min"), Arg::double("max")]),
);

fn zcount(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    count(cx, args, By::Score)
}

pub(super) static ZLEXCOUNT: Command = Command::single(
    zlexcount,
    Card::new("zlexcount", Group::SortedSet, "2.8.9")
        .summary("Returns the number of members in a sorted set within a lexicographical range.")
        .complexity("O(log(N)) with N being the number of elements in the sorted set.")
        .steady()
        .arity(4)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key"), Arg::string("min"), Arg::string("max")]),
);

fn zlexcount(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    count(cx, args, By::Lex)
}

fn count(cx: &mut Context<'_>, args: &Args<'_>, by: By) -> Result<(), Error> {
    let bounds = Bounds::parse(by, &args[2], &args[3])?;
    let key = cx.key(args, 1);
    let set = cx.slice.read::<SortedSet>(cx.db, &key)?;
    let count = set.map_or(0, |set| bounds.ranks(set, false).len());
    cx.reply.integer(count as i64);
    Ok(())
}
