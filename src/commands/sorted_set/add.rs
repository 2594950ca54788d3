//! ZADD and ZINCRBY: set members and their scores. Hot.

use super::limits_of;
use crate::base::number::parse_f64;
use crate::exec::{Command, Context};
use crate::keyspace::Event;
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::sorted_set::{Limits, Put, SortedSet};

/// Options of ZADD.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    /// NX: only adds new members.
    is_nx: bool,
    /// XX: only updates existing members.
    is_xx: bool,
    /// GT: only raises the score of an existing member.
    is_gt: bool,
    /// LT: only lowers the score of an existing member.
    is_lt: bool,
    /// CH: the reply counts changed scores too.
    is_ch: bool,
    /// INCR: adds to the old score and replies with the sum.
    is_incr: bool,
}

impl Options {
    /// Parses the options from argument 2 on. Returns them and the index of the first argument
    /// after them.
    fn parse(args: &Args<'_>, mut options: Options) -> (Options, usize) {
        let mut index = 2;
        while let Some(arg) = args.get(index) {
            let flag = match arg {
                arg if arg.eq_ignore_ascii_case(b"NX") => &mut options.is_nx,
                arg if arg.eq_ignore_ascii_case(b"XX") => &mut options.is_xx,
                arg if arg.eq_ignore_ascii_case(b"GT") => &mut options.is_gt,
                arg if arg.eq_ignore_ascii_case(b"LT") => &mut options.is_lt,
                arg if arg.eq_ignore_ascii_case(b"CH") => &mut options.is_ch,
                arg if arg.eq_ignore_ascii_case(b"INCR") => &mut options.is_incr,
                _ => break,
            };
            *flag = true;
            index += 1;
        }
        (options, index)
    }

    /// Returns an error if the options exclude each other or do not fit the number of pairs.
    fn check(&self, pairs: usize) -> Result<(), Error> {
        if self.is_nx && self.is_xx {
            return Err(Error::other("ERR XX and NX options at the same time are not compatible"));
        }
        let limits = usize::from(self.is_gt) + usize::from(self.is_lt) + usize::from(self.is_nx);
        if limits > 1 {
            return Err(Error::other(
                "ERR GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        if self.is_incr && pairs > 1 {
            return Err(Error::other("ERR INCR option supports a single increment-element pair"));
        }
        Ok(())
    }

    fn event(&self) -> Event {
        if self.is_incr { Event::ZIncr } else { Event::ZAdd }
    }

    /// Returns the new score of a member with score `old`, or `None` to leave the member unchanged.
    /// Returns NaN if an infinity was added to the opposite infinity.
    #[inline]
    fn decide(&self, old: Option<f64>, score: f64) -> Option<f64> {
        let Some(old) = old else { return (!self.is_xx).then_some(score) };
        if self.is_nx {
            return None;
        }
        let score = if self.is_incr { old + score } else { score };
        let refused = (self.is_lt && score >= old) || (self.is_gt && score <= old);
        (!refused).then_some(score)
    }
}

/// Result over all members of one command.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    added: u64,
    moved: u64,
    /// New score of the last member; `None` if the options left it unchanged.
    score: Option<f64>,
}

pub(super) static ZADD: Command = Command::single(
    zadd,
    Card::new("zadd", Group::SortedSet, "1.2.0")
        .summary(
            "Adds one or more members to a sorted set, or updates their scores. Creates the key \
             if it doesn't exist.",
        )
        .complexity(
            "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
        )
        .steady()
        .arity(-4)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::updates()])
        .history(&[
            ("2.4.0", "Accepts multiple elements."),
            ("3.0.2", "Added the `XX`, `NX`, `CH` and `INCR` options."),
            ("6.2.0", "Added the `GT` and `LT` options."),
        ])
        .args(&[
            Arg::key("key"),
            Arg::choice("condition", &["NX", "XX"]).since("3.0.2").optional(),
            Arg::choice("comparison", &["GT", "LT"]).since("6.2.0").optional(),
            Arg::keyword("CH").named("change").since("3.0.2").optional(),
            Arg::keyword("INCR").named("increment").since("3.0.2").optional(),
            Arg::block("data", &[Arg::double("score"), Arg::string("member")]).repeated(),
        ]),
);

fn zadd(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    add(cx, args, Options::default())
}

pub(super) static ZINCRBY: Command = Command::single(
    zincrby,
    Card::new("zincrby", Group::SortedSet, "1.2.0")
        .summary("Increments the score of a member in a sorted set.")
        .complexity("O(log(N)) where N is the number of elements in the sorted set.")
        .steady()
        .arity(4)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::updates().using_data()])
        .args(&[Arg::key("key"), Arg::integer("increment"), Arg::string("member")]),
);

fn zincrby(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    add(cx, args, Options { is_incr: true, ..Options::default() })
}

fn add(cx: &mut Context<'_>, args: &Args<'_>, options: Options) -> Result<(), Error> {
    let (options, first) = Options::parse(args, options);
    let rest = args.len() - first;
    if rest == 0 || !rest.is_multiple_of(2) {
        return Err(Error::Syntax);
    }
    options.check(rest / 2)?;
    // Parses all scores before the first change, so that an error changes nothing.
    let mut pairs = Pairs { args, first, first_score: 0.0 };
    let mut longest = 0;
    for index in (first..args.len()).step_by(2) {
        let score = parse_f64(&args[index]).ok_or(Error::NotFloat)?;
        longest = longest.max(args[index + 1].len());
        if index == first {
            pairs.first_score = score;
        }
    }
    let key = cx.key(args, 1);
    let limits = limits_of(cx.config);
    let outcome = if options.is_xx {
        match cx.slice.edit::<SortedSet>(cx.db, &key)? {
            None => Outcome::default(),
            Some(mut set) => {
                set.prepare(rest / 2, longest, &limits);
                let outcome = put_all(&mut set, &pairs, &options, &limits)?;
                if outcome.moved > 0 {
                    set.raise(options.event(), outcome.moved);
                }
                outcome
            }
        }
    } else {
        let mut set = cx.slice.edit_or_new::<SortedSet>(cx.db, &key)?;
        set.prepare(rest / 2, longest, &limits);
        let outcome = put_all(&mut set, &pairs, &options, &limits)?;
        if outcome.added + outcome.moved > 0 {
            set.raise(options.event(), outcome.added + outcome.moved);
        }
        outcome
    };
    match outcome.score {
        Some(score) if options.is_incr => cx.reply.double(score),
        None if options.is_incr => cx.reply.null(),
        _ => {
            let moved = if options.is_ch { outcome.moved } else { 0 };
            cx.reply.integer((outcome.added + moved) as i64);
        }
    }
    Ok(())
}

/// Pairs of a score and a member, from argument `first` on. Keeps the first score parsed, because
/// most commands have a single pair.
struct Pairs<'a> {
    args: &'a Args<'a>,
    first: usize,
    first_score: f64,
}

/// Sets the members to the scores before them. Returns an error if a sum is NaN.
#[inline]
fn put_all(
    set: &mut SortedSet,
    pairs: &Pairs<'_>,
    options: &Options,
    limits: &Limits,
) -> Result<Outcome, Error> {
    let Pairs { args, first, first_score } = *pairs;
    let mut outcome = Outcome::default();
    for index in (first..args.len()).step_by(2) {
        let score = match index {
            index if index == first => first_score,
            index => parse_f64(&args[index]).ok_or(Error::NotFloat)?,
        };
        let mut is_nan = false;
        let put = set.change(&args[index + 1], limits, |old| {
            let score = options.decide(old, score);
            is_nan = score.is_some_and(f64::is_nan);
            outcome.score = score;
            if is_nan { None } else { score }
        });
        if is_nan {
            return Err(Error::other("ERR resulting score is not a number (NaN)"));
        }
        match put {
            Some(Put::New) => outcome.added += 1,
            Some(Put::Moved) => outcome.moved += 1,
            Some(Put::Same) | None => {}
        }
    }
    Ok(outcome)
}
