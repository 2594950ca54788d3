//! Single members and numbers of members: ZCARD, ZSCORE, ZRANK, ZCOUNT and their like.

use super::bounds::{Bounds, By};
use crate::exec::{Command, Context, Run};
use crate::resp::{Args, Error};
use crate::spec::{Card, Category, Flag, Group, KeySpec};
use crate::value::sorted_set::SortedSet;

pub(super) static ZCARD: Command = Command {
    card: Card {
        name: "zcard",
        summary: "Returns the number of members in a sorted set.",
        since: "1.2.0",
        group: Group::SortedSet,
        complexity: "O(1)",
        arity: 2,
        flags: Flag::READONLY.and(Flag::FAST),
        categories: &[Category::SortedSet],
        tips: &[],
        keys: &[KeySpec::first("RO")],
    },
    run: Run::Keys(zcard),
    subcommands: &[],
};

fn zcard(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let len = cx.slice.read::<SortedSet>(cx.db, &key)?.map_or(0, SortedSet::len);
    cx.reply.integer(len as i64);
    Ok(())
}

pub(super) static ZSCORE: Command = Command {
    card: Card {
        name: "zscore",
        summary: "Returns the score of a member in a sorted set.",
        since: "1.2.0",
        group: Group::SortedSet,
        complexity: "O(1)",
        arity: 3,
        flags: Flag::READONLY.and(Flag::FAST),
        categories: &[Category::SortedSet],
        tips: &[],
        keys: &[KeySpec::first("RO access")],
    },
    run: Run::Keys(zscore),
    subcommands: &[],
};

fn zscore(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let set = cx.slice.read::<SortedSet>(cx.db, &key)?;
    match set.and_then(|set| set.score(&args[2])) {
        Some(score) => cx.reply.double(score),
        None => cx.reply.null(),
    }
    Ok(())
}

pub(super) static ZMSCORE: Command = Command {
    card: Card {
        name: "zmscore",
        summary: "Returns the score of one or more members in a sorted set.",
        since: "6.2.0",
        group: Group::SortedSet,
        complexity: "O(N) where N is the number of members being requested.",
        arity: -3,
        flags: Flag::READONLY.and(Flag::FAST),
        categories: &[Category::SortedSet],
        tips: &[],
        keys: &[KeySpec::first("RO access")],
    },
    run: Run::Keys(zmscore),
    subcommands: &[],
};

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

pub(super) static ZRANK: Command = Command {
    card: Card {
        name: "zrank",
        summary: "Returns the index of a member in a sorted set ordered by ascending scores.",
        since: "2.0.0",
        group: Group::SortedSet,
        complexity: "O(log(N))",
        arity: -3,
        flags: Flag::READONLY.and(Flag::FAST),
        categories: &[Category::SortedSet],
        tips: &[],
        keys: &[KeySpec::first("RO access")],
    },
    run: Run::Keys(zrank),
    subcommands: &[],
};

fn zrank(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    rank(cx, args, "zrank", false)
}

pub(super) static ZREVRANK: Command = Command {
    card: Card {
        name: "zrevrank",
        summary: "Returns the index of a member in a sorted set ordered by descending scores.",
        since: "2.0.0",
        group: Group::SortedSet,
        complexity: "O(log(N))",
        arity: -3,
        flags: Flag::READONLY.and(Flag::FAST),
        categories: &[Category::SortedSet],
        tips: &[],
        keys: &[KeySpec::first("RO access")],
    },
    run: Run::Keys(zrevrank),
    subcommands: &[],
};

fn zrevrank(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    rank(cx, args, "zrevrank", true)
}

fn rank(cx: &mut Context<'_>, args: &Args<'_>, name: &str, is_reverse: bool) -> Result<(), Error> {
    let with_score = match args.get(3) {
        _ if args.len() > 4 => return Err(Error::wrong_arity(name)),
        None => false,
        Some(word) if word.eq_ignore_ascii_case(b"WITHSCORE") => true,
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

pub(super) static ZCOUNT: Command = Command {
    card: Card {
        name: "zcount",
        summary: "Returns the count of members in a sorted set that have scores within a range.",
        since: "2.0.0",
        group: Group::SortedSet,
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        arity: 4,
        flags: Flag::READONLY.and(Flag::FAST),
        categories: &[Category::SortedSet],
        tips: &[],
        keys: &[KeySpec::first("RO access")],
    },
    run: Run::Keys(zcount),
    subcommands: &[],
};

fn zcount(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    count(cx, args, By::Score)
}

pub(super) static ZLEXCOUNT: Command = Command {
    card: Card {
        name: "zlexcount",
        summary: "Returns the number of members in a sorted set within a lexicographical range.",
        since: "2.8.9",
        group: Group::SortedSet,
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        arity: 4,
        flags: Flag::READONLY.and(Flag::FAST),
        categories: &[Category::SortedSet],
        tips: &[],
        keys: &[KeySpec::first("RO access")],
    },
    run: Run::Keys(zlexcount),
    subcommands: &[],
};

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
