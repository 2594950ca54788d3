//! ZRANDMEMBER and ZSCAN: random members, and iteration over all members.

use super::Members;
use crate::base::glob;
use crate::base::number::{FloatText, parse_cursor, parse_i64};
use crate::commands::args::{weigh_draw, weigh_scan};
use crate::exec::{Command, Context};
use crate::resp::{Args, Error, Mark, Output, Protocol, Reply};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::sorted_set::SortedSet;
use crate::value::string::IntText;
use std::collections::HashSet;

pub(super) static ZRANDMEMBER: Command = Command::single(
    zrandmember,
    Card::new("zrandmember", Group::SortedSet, "6.2.0")
        .summary("Returns one or more random members from a sorted set.")
        .complexity("O(N) where N is the number of members returned")
        .arity(-2)
        .flags(Flag::READONLY)
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::reads()])
        .args(&[
            Arg::key("key"),
            Arg::block("options", &[Arg::integer("count"), Arg::keyword("WITHSCORES").optional()])
                .optional(),
        ]),
)
.offload_by(weigh_draw);

fn zrandmember(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let Some(arg) = args.get(2) else {
        let mut rng = cx.slice.draw_rng();
        let key = cx.key(args, 1);
        match cx.slice.read::<SortedSet>(cx.db, &key)? {
            None => cx.reply.null(),
            Some(set) => {
                let rank = rng.below(set.len() as u64) as usize;
                let (member, _) = set.iter_from(rank).next().expect("a rank below the length");
                cx.reply.bulk(member.text(&mut IntText::new()));
            }
        }
        return Ok(());
    };
    let count = parse_i64(arg).ok_or(Error::NotInteger)?;
    if count == i64::MIN {
        return Err(Error::not_between(-i64::MAX, i64::MAX));
    }
    let with_scores = match args.get(3) {
        None => false,
        Some(arg) if args.len() == 4 && arg.eq_ignore_ascii_case(b"WITHSCORES") => true,
        Some(_) => return Err(Error::Syntax),
    };
    if with_scores && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(Error::OutOfRange);
    }
    some_members(cx, args, count, &Members { with_scores })
}

/// Replies with `count` random distinct members. If `count` is negative, replies with `-count`
/// random members that may repeat.
fn some_members(
    cx: &mut Context<'_>,
    args: &Args<'_>,
    count: i64,
    members: &Members,
) -> Result<(), Error> {
    let elements_max = cx.elements_max() as u64;
    let mut rng = cx.slice.draw_rng();
    let key = cx.key(args, 1);
    let Some(set) = cx.slice.read::<SortedSet>(cx.db, &key)? else {
        cx.reply.array(0);
        return Ok(());
    };
    let reply = &mut cx.reply;
    let len = set.len();
    if count < 0 {
        let count = count.unsigned_abs().min(elements_max);
        members.head(reply, count as usize);
        for _ in 0..count {
            let rank = rng.below(len as u64) as usize;
            let (member, score) = set.iter_from(rank).next().expect("a rank below the length");
            members.push(reply, &member, score);
        }
        return Ok(());
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(len);
    members.head(reply, count);
    if 3 * count > len {
        // For more than a third of the members, one pass over all members is cheaper. It selects
        // each with the probability (members still wanted) / (members not yet passed).
        let mut wanted = count;
        for (passed, (member, score)) in set.iter_from(0).enumerate() {
            if rng.below((len - passed) as u64) < wanted as u64 {
                members.push(reply, &member, score);
                wanted -= 1;
            }
        }
        return Ok(());
    }
    let mut drawn = HashSet::with_capacity(count);
    while drawn.len() < count {
        let rank = rng.below(len as u64) as usize;
        if drawn.insert(rank) {
            let (member, score) = set.iter_from(rank).next().expect("a rank below the length");
            members.push(reply, &member, score);
        }
    }
    Ok(())
}

/// Default of COUNT.
const COUNT_DEFAULT: usize = 10;

/// Parsed options of ZSCAN.
struct Scan<'a> {
    count: usize,
    /// MATCH; `None` matches every member.
    pattern: Option<&'a [u8]>,
    with_scores: bool,
}

impl<'a> Scan<'a> {
    fn parse(args: &'a Args<'_>) -> Result<Scan<'a>, Error> {
        let mut scan = Scan { count: COUNT_DEFAULT, pattern: None, with_scores: true };
        let mut index = 3;
        while let Some(option) = args.get(index) {
            let value = args.get(index + 1);
            match value {
                Some(value) if option.eq_ignore_ascii_case(b"COUNT") => {
                    let count = parse_i64(value).ok_or(Error::NotInteger)?;
                    let count = usize::try_from(count).ok().filter(|count| *count > 0);
                    scan.count = count.ok_or(Error::Syntax)?;
                    index += 2;
                }
                Some(value) if option.eq_ignore_ascii_case(b"MATCH") => {
                    scan.pattern = (value != b"*").then_some(value);
                    index += 2;
                }
                _ if option.eq_ignore_ascii_case(b"NOSCORES") => {
                    scan.with_scores = false;
                    index += 1;
                }
                _ if option.eq_ignore_ascii_case(b"NOVALUES") => {
                    return Err(Error::other("ERR NOVALUES option can only be used in HSCAN"));
                }
                _ => return Err(Error::Syntax),
            }
        }
        Ok(scan)
    }
}

pub(super) static ZSCAN: Command = Command::single(
    zscan,
    Card::new("zscan", Group::SortedSet, "2.8.0")
        .summary("Iterates over members and scores of a sorted set.")
        .complexity(
            "O(1) for every call. O(N) for a complete iteration, including enough command calls \
             for the cursor to return back to 0. N is the number of elements inside the \
             collection.",
        )
        .arity(-3)
        .flags(Flag::READONLY)
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::reads()])
        .history(&[("8.0.0", "Added noscores option.")])
        .args(&[
            Arg::key("key"),
            Arg::integer("cursor"),
            Arg::pattern("pattern").after("MATCH").optional(),
            Arg::integer("count").after("COUNT").optional(),
            Arg::keyword("NOSCORES").optional(),
        ]),
)
.offload_by(weigh_scan);

fn zscan(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let cursor = parse_cursor(&args[2]).ok_or_else(|| Error::other("ERR invalid cursor"))?;
    let key = cx.key(args, 1);
    let Some(set) = cx.slice.read::<SortedSet>(cx.db, &key)? else {
        cx.reply.array(2);
        cx.reply.bulk(b"0");
        cx.reply.array(0);
        return Ok(());
    };
    let scan = Scan::parse(args)?;
    // The reply's header needs the number of elements, so the elements go to a buffer first.
    let mut found = Output::default();
    let mut elements = Reply::new(&mut found, Protocol::Two);
    let mut count = 0;
    let mut buffer = IntText::new();
    // The reference shows the scores of its large form as `%.17g` does.
    let score_text = if set.is_packed() { FloatText::new } else { FloatText::with_17_digits };
    let cursor = set.scan(cursor, scan.count, |member, score| {
        let text = member.text(&mut buffer);
        if scan.pattern.is_some_and(|pattern| !glob::matches(pattern, text, false)) {
            return;
        }
        elements.bulk(text);
        count += 1;
        if scan.with_scores {
            elements.bulk(score_text(score).as_bytes());
            count += 1;
        }
    });
    cx.reply.array(2);
    cx.reply.bulk(itoa::Buffer::new().format(cursor).as_bytes());
    cx.reply.array(count);
    cx.reply.append_range(&found, found.range_from(Mark::default()));
    Ok(())
}
