//! ZPOPMIN, ZPOPMAX and ZMPOP: pop members from one end. Hot.

use crate::base::number::parse_i64;
use crate::exec::{Command, Context, Weighing, count_at};
use crate::keyspace::{Event, Key};
use crate::resp::{Args, Error, Protocol};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::sorted_set::{End, SortedSet};
use crate::value::string::IntText;
use std::ops::Range;

/// Layout of the reply with the popped members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A flat array of members and scores.
    Flat,
    /// An array of pairs, each a member and its score.
    Pairs,
    /// A flat array of the key, then members and scores.
    KeyFlat,
    /// The key, then an array of pairs.
    KeyPairs,
}

/// Pops up to `count` members from the key's sorted set and replies with them. Returns their
/// number, or `None`, without a reply, if there is no such key.
pub(super) fn take(
    cx: &mut Context<'_>,
    key: &Key<'_>,
    end: End,
    count: usize,
    shape: Shape,
) -> Result<Option<usize>, Error> {
    let Some(mut set) = cx.slice.edit::<SortedSet>(cx.db, key)? else { return Ok(None) };
    let taken = count.min(set.len());
    if taken == 0 {
        cx.reply.array(0);
        return Ok(Some(0));
    }
    let reply = &mut cx.reply;
    match shape {
        Shape::Flat => reply.array(2 * taken),
        Shape::Pairs => reply.array(taken),
        Shape::KeyFlat => {
            reply.array(2 * taken + 1);
            reply.bulk(key.bytes);
        }
        Shape::KeyPairs => {
            reply.array(2);
            reply.bulk(key.bytes);
            reply.array(taken);
        }
    }
    let is_nested = matches!(shape, Shape::Pairs | Shape::KeyPairs);
    let mut text = IntText::new();
    set.pop(end, taken, |member, score| {
        if is_nested {
            reply.array(2);
        }
        reply.bulk(member.text(&mut text));
        reply.double(score);
    });
    set.raise(popped(end), taken as u64);
    drop(set);
    Ok(Some(taken))
}

fn popped(end: End) -> Event {
    match end {
        End::Min => Event::ZPopMin,
        End::Max => Event::ZPopMax,
    }
}

/// Returns the command that propagates a pop from an end.
pub(super) fn name_of(end: End) -> &'static [u8] {
    match end {
        End::Min => b"ZPOPMIN",
        End::Max => b"ZPOPMAX",
    }
}

pub(super) static ZPOPMIN: Command = Command::single(
    zpopmin,
    Card::new("zpopmin", Group::SortedSet, "5.0.0")
        .summary(
            "Returns the lowest-scoring members from a sorted set after removing them. Deletes \
             the sorted set if the last member was popped.",
        )
        .complexity(
            "O(log(N)*M) with N being the number of elements in the sorted set, and M being the \
             number of elements popped.",
        )
        .steady()
        .arity(-2)
        .flags(Flag::WRITE.and(Flag::FAST))
        .keys(&[KeySpec::deletes().using_data()])
        .args(&[Arg::key("key"), Arg::integer("count").optional()]),
)
.offload_by(weigh_pop);

/// Elements in whose time a member is popped.
const POPPED_WEIGHT: usize = 4;

fn weigh_pop(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    let Some(count) = count_at(args, 2) else { return 0 };
    weighing.part(args, 1, count.saturating_mul(POPPED_WEIGHT))
}

fn zpopmin(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    pop(cx, args, End::Min)
}

pub(super) static ZPOPMAX: Command = Command::single(
    zpopmax,
    Card::new("zpopmax", Group::SortedSet, "5.0.0")
        .summary(
            "Returns the highest-scoring members from a sorted set after removing them. Deletes \
             the sorted set if the last member was popped.",
        )
        .complexity(
            "O(log(N)*M) with N being the number of elements in the sorted set, and M being the \
             number of elements popped.",
        )
        .steady()
        .arity(-2)
        .flags(Flag::WRITE.and(Flag::FAST))
        .keys(&[KeySpec::deletes().using_data()])
        .args(&[Arg::key("key"), Arg::integer("count").optional()]),
)
.offload_by(weigh_pop);

fn zpopmax(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    pop(cx, args, End::Max)
}

fn pop(cx: &mut Context<'_>, args: &Args<'_>, end: End) -> Result<(), Error> {
    let count = match args.get(2) {
        _ if args.len() > 3 => return Err(Error::Syntax),
        None => None,
        Some(arg) => {
            let count = parse_i64(arg).and_then(|count| usize::try_from(count).ok());
            Some(count.ok_or(Error::NotPositive)?)
        }
    };
    let is_nested = count.is_some() && cx.reply.protocol() == Protocol::Three;
    let shape = if is_nested { Shape::Pairs } else { Shape::Flat };
    let key = cx.key(args, 1);
    if take(cx, &key, end, count.unwrap_or(1), shape)?.is_none() {
        cx.reply.array(0);
    }
    Ok(())
}

/// Parsed arguments of ZMPOP and BZMPOP.
#[derive(Clone, Debug)]
pub(super) struct ManyPop {
    /// Argument indexes of the keys.
    pub keys: Range<usize>,
    pub end: End,
    pub count: usize,
}

impl ManyPop {
    /// Parses the arguments from index `first` on, which holds the number of keys.
    pub(super) fn parse(args: &Args<'_>, first: usize) -> Result<ManyPop, Error> {
        let positive = |arg: &[u8]| {
            let number = parse_i64(arg).and_then(|number| usize::try_from(number).ok());
            number.filter(|number| *number > 0)
        };
        let keys = positive(&args[first])
            .ok_or_else(|| Error::other("ERR numkeys should be greater than 0"))?;
        let at = first.saturating_add(keys).saturating_add(1);
        let end = match args.get(at) {
            Some(arg) if arg.eq_ignore_ascii_case(b"MIN") => End::Min,
            Some(arg) if arg.eq_ignore_ascii_case(b"MAX") => End::Max,
            _ => return Err(Error::Syntax),
        };
        let mut count = None;
        let mut index = at + 1;
        while let Some(arg) = args.get(index) {
            let is_count = count.is_none() && arg.eq_ignore_ascii_case(b"COUNT");
            let value = args.get(index + 1).filter(|_| is_count).ok_or(Error::Syntax)?;
            let not_positive = || Error::other("ERR count should be greater than 0");
            count = Some(positive(value).ok_or_else(not_positive)?);
            index += 2;
        }
        Ok(ManyPop { keys: first + 1..at, end, count: count.unwrap_or(1) })
    }
}

pub(super) static ZMPOP: Command = Command::gather(
    zmpop,
    Card::new("zmpop", Group::SortedSet, "7.0.0")
        .summary(
            "Returns the highest- or lowest-scoring members from one or more sorted sets after \
             removing them. Deletes the sorted set if the last member was popped.",
        )
        .complexity(
            "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of \
             elements in the sorted set, and M being the number of elements popped.",
        )
        .arity(-4)
        .flags(Flag::WRITE.and(Flag::MOVABLEKEYS))
        .keys(&[KeySpec::deletes().using_data().counted(1)])
        .args(&[
            Arg::integer("numkeys"),
            Arg::key("key").repeated(),
            Arg::choice("where", &["MIN", "MAX"]),
            Arg::integer("count").after("COUNT").optional(),
        ]),
);

fn zmpop(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let many = ManyPop::parse(args, 1)?;
    for at in many.keys.clone() {
        let key = cx.key(args, at);
        if let Some(taken) = take(cx, &key, many.end, many.count, Shape::KeyPairs)? {
            let count = taken.to_string();
            cx.propagate(&[name_of(many.end), key.bytes, count.as_bytes()]);
            return Ok(());
        }
    }
    cx.reply.null_array();
    Ok(())
}
