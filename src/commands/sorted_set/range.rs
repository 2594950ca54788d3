//! Ranges of members: ZRANGE with all its options, and the older command for each option.

use super::Members;
use super::bounds::{Bounds, By};
use crate::base::number::parse_i64;
use crate::commands::arg_groups::LIMIT;
use crate::exec::{Command, Context, Weighing};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::Item;
use crate::value::sorted_set::SortedSet;
use std::ops::Range;

/// Properties of a range command that its name determines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// Argument index of the sorted set's key.
    pub key: usize,
    /// Kind of the bounds; `None` if an option may choose it.
    pub by: Option<By>,
    /// Whether the order is descending; `None` if an option may choose it.
    pub is_reverse: Option<bool>,
    /// Whether the command stores the members instead of replying with them.
    pub is_store: bool,
}

/// Parsed range of members.
#[derive(Clone, Copy, Debug)]
pub(super) struct Selection<'a> {
    bounds: Bounds<'a>,
    is_reverse: bool,
    with_scores: bool,
    /// Number of members to skip.
    offset: i64,
    /// Maximum number of members; negative for all.
    limit: i64,
}

impl<'a> Selection<'a> {
    /// Parses the arguments after the key.
    pub(super) fn parse(args: &'a Args<'_>, form: Form) -> Result<Selection<'a>, Error> {
        let (mut by, mut is_reverse) = (form.by, form.is_reverse);
        let (mut with_scores, mut offset, mut limit) = (false, 0, -1);
        let mut index = form.key + 3;
        while let Some(arg) = args.get(index) {
            if !form.is_store && arg.eq_ignore_ascii_case(b"WITHSCORES") {
                with_scores = true;
            } else if arg.eq_ignore_ascii_case(b"LIMIT") && index + 2 < args.len() {
                offset = parse_i64(&args[index + 1]).ok_or(Error::NotInteger)?;
                limit = parse_i64(&args[index + 2]).ok_or(Error::NotInteger)?;
                index += 2;
            } else if is_reverse.is_none() && arg.eq_ignore_ascii_case(b"REV") {
                is_reverse = Some(true);
            } else if by.is_none() && arg.eq_ignore_ascii_case(b"BYLEX") {
                by = Some(By::Lex);
            } else if by.is_none() && arg.eq_ignore_ascii_case(b"BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(Error::Syntax);
            }
            index += 1;
        }
        let (by, is_reverse) = (by.unwrap_or(By::Rank), is_reverse.unwrap_or(false));
        if limit != -1 && by == By::Rank {
            return Err(Error::other(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE \
                 or BYLEX",
            ));
        }
        if with_scores && by == By::Lex {
            return Err(Error::other(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let (mut min, mut max) = (&args[form.key + 1], &args[form.key + 2]);
        if is_reverse && by != By::Rank {
            (min, max) = (max, min);
        }
        let bounds = Bounds::parse(by, min, max)?;
        Ok(Selection { bounds, is_reverse, with_scores, offset, limit })
    }

    /// Returns whether the bounds are ranks.
    pub(super) fn is_by_rank(&self) -> bool {
        matches!(self.bounds, Bounds::Rank(..))
    }

    /// Returns the ranks of the selected members, in ascending order.
    pub(super) fn ranks(&self, set: &SortedSet) -> Range<usize> {
        let all = self.bounds.ranks(set, self.is_reverse);
        if self.is_by_rank() {
            return all;
        }
        // A negative offset selects nothing. In the reference server it does so on small sets, and
        // on large ones it counts from the far end of the range.
        let len = all.len();
        let skipped = usize::try_from(self.offset).unwrap_or(len).min(len);
        let taken = usize::try_from(self.limit).unwrap_or(len).min(len - skipped);
        if self.is_reverse {
            let end = all.end - skipped;
            end - taken..end
        } else {
            let start = all.start + skipped;
            start..start + taken
        }
    }

    /// Calls `each` with the members at these ranks, in the selection's order.
    #[inline]
    pub(super) fn for_each(
        &self,
        set: &SortedSet,
        ranks: Range<usize>,
        mut each: impl FnMut(Item<'_>, f64),
    ) {
        if ranks.is_empty() {
            return;
        }
        let count = ranks.len();
        if self.is_reverse {
            let members = set.iter_back_from(ranks.end - 1).take(count);
            members.for_each(|(member, score)| each(member, score));
        } else {
            let members = set.iter_from(ranks.start).take(count);
            members.for_each(|(member, score)| each(member, score));
        }
    }
}

/// Replies with the members of a range.
fn show(
    cx: &mut Context<'_>,
    args: &Args<'_>,
    by: Option<By>,
    is_reverse: Option<bool>,
) -> Result<(), Error> {
    let form = Form { key: 1, by, is_reverse, is_store: false };
    let selection = Selection::parse(args, form)?;
    let key = cx.key(args, 1);
    let Some(set) = cx.slice.read::<SortedSet>(cx.db, &key)? else {
        cx.reply.array(0);
        return Ok(());
    };
    let ranks = selection.ranks(set);
    let members = Members { with_scores: selection.with_scores };
    members.head(&mut cx.reply, ranks.len());
    selection.for_each(set, ranks, |member, score| members.push(&mut cx.reply, &member, score));
    Ok(())
}

/// Elements in whose time a member is found and written with its score.
const SHOWN_WEIGHT: usize = 2;

fn weigh(
    weighing: &Weighing<'_>,
    args: &Args<'_>,
    by: Option<By>,
    is_reverse: Option<bool>,
) -> usize {
    let Some(view) = weighing.value(args, 1) else { return 0 };
    let Some(set) = view.object::<SortedSet>() else { return 0 };
    let form = Form { key: 1, by, is_reverse, is_store: false };
    let Ok(selection) = Selection::parse(args, form) else { return 0 };
    let is_small = set.len() * SHOWN_WEIGHT < weighing.enough && !selection.is_by_rank();
    let count = if is_small { set.len() } else { selection.ranks(set).len() };
    weighing.part_of(&view, count).max(count * SHOWN_WEIGHT)
}

pub(super) static ZRANGE: Command = Command::single(
    zrange,
    Card::new("zrange", Group::SortedSet, "1.2.0")
        .summary("Returns members in a sorted set within a range of indexes.")
        .complexity(
            "O(log(N)+M) with N being the number of elements in the sorted set and M the number \
             of elements returned.",
        )
        .arity(-4)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads()])
        .history(&[("6.2.0", "Added the `REV`, `BYSCORE`, `BYLEX` and `LIMIT` options.")])
        .args(&[
            Arg::key("key"),
            Arg::string("start"),
            Arg::string("stop"),
            Arg::choice("sortby", &["BYSCORE", "BYLEX"]).since("6.2.0").optional(),
            Arg::keyword("REV").since("6.2.0").optional(),
            LIMIT.since("6.2.0").optional(),
            Arg::keyword("WITHSCORES").optional(),
        ]),
)
.offload_by(weigh_range);

fn weigh_range(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    weigh(weighing, args, None, None)
}

fn zrange(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    show(cx, args, None, None)
}

pub(super) static ZREVRANGE: Command = Command::single(
    zrevrange,
    Card::new("zrevrange", Group::SortedSet, "1.2.0")
        .summary("Returns members in a sorted set within a range of indexes in reverse order.")
        .complexity(
            "O(log(N)+M) with N being the number of elements in the sorted set and M the number \
             of elements returned.",
        )
        .arity(-4)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads()])
        .args(&[
            Arg::key("key"),
            Arg::integer("start"),
            Arg::integer("stop"),
            Arg::keyword("WITHSCORES").optional(),
        ]),
)
.offload_by(weigh_rev_range);

fn weigh_rev_range(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    weigh(weighing, args, Some(By::Rank), Some(true))
}

fn zrevrange(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    show(cx, args, Some(By::Rank), Some(true))
}

pub(super) static ZRANGEBYSCORE: Command = Command::single(
    zrangebyscore,
    Card::new("zrangebyscore", Group::SortedSet, "1.0.5")
        .summary("Returns members in a sorted set within a range of scores.")
        .complexity(
            "O(log(N)+M) with N being the number of elements in the sorted set and M the number \
             of elements being returned. If M is constant (e.g. always asking for the first 10 \
             elements with LIMIT), you can consider it O(log(N)).",
        )
        .arity(-4)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads()])
        .history(&[("2.0.0", "Added the `WITHSCORES` modifier.")])
        .args(&[
            Arg::key("key"),
            Arg::double("min"),
            Arg::double("max"),
            Arg::keyword("WITHSCORES").since("2.0.0").optional(),
            LIMIT.optional(),
        ]),
)
.offload_by(weigh_by_score);

fn weigh_by_score(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    weigh(weighing, args, Some(By::Score), Some(false))
}

fn zrangebyscore(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    show(cx, args, Some(By::Score), Some(false))
}

pub(super) static ZREVRANGEBYSCORE: Command = Command::single(
    zrevrangebyscore,
    Card::new("zrevrangebyscore", Group::SortedSet, "2.2.0")
        .summary("Returns members in a sorted set within a range of scores in reverse order.")
        .complexity(
            "O(log(N)+M) with N being the number of elements in the sorted set and M the number \
             of elements being returned. If M is constant (e.g. always asking for the first 10 \
             elements with LIMIT), you can consider it O(log(N)).",
        )
        .arity(-4)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads()])
        .history(&[("2.1.6", "`min` and `max` can be exclusive.")])
        .args(&[
            Arg::key("key"),
            Arg::double("max"),
            Arg::double("min"),
            Arg::keyword("WITHSCORES").optional(),
            LIMIT.optional(),
        ]),
)
.offload_by(weigh_rev_by_score);

fn weigh_rev_by_score(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    weigh(weighing, args, Some(By::Score), Some(true))
}

fn zrevrangebyscore(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    show(cx, args, Some(By::Score), Some(true))
}

pub(super) static ZRANGEBYLEX: Command = Command::single(
    zrangebylex,
    Card::new("zrangebylex", Group::SortedSet, "2.8.9")
        .summary("Returns members in a sorted set within a lexicographical range.")
        .complexity(
            "O(log(N)+M) with N being the number of elements in the sorted set and M the number \
             of elements being returned. If M is constant (e.g. always asking for the first 10 \
             elements with LIMIT), you can consider it O(log(N)).",
        )
        .arity(-4)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key"), Arg::string("min"), Arg::string("max"), LIMIT.optional()]),
)
.offload_by(weigh_by_lex);

fn weigh_by_lex(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    weigh(weighing, args, Some(By::Lex), Some(false))
}

fn zrangebylex(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    show(cx, args, Some(By::Lex), Some(false))
}

pub(super) static ZREVRANGEBYLEX: Command = Command::single(
    zrevrangebylex,
    Card::new("zrevrangebylex", Group::SortedSet, "2.8.9")
        .summary("Returns members in a sorted set within a lexicographical range in reverse order.")
        .complexity(
            "O(log(N)+M) with N being the number of elements in the sorted set and M the number \
             of elements being returned. If M is constant (e.g. always asking for the first 10 \
             elements with LIMIT), you can consider it O(log(N)).",
        )
        .arity(-4)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key"), Arg::string("max"), Arg::string("min"), LIMIT.optional()]),
)
.offload_by(weigh_rev_by_lex);

fn weigh_rev_by_lex(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    weigh(weighing, args, Some(By::Lex), Some(true))
}

fn zrevrangebylex(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    show(cx, args, Some(By::Lex), Some(true))
}
