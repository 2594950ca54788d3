//! Sorted set algebra: intersection, union and difference, as a reply or stored in a key.

mod combine;

use super::sorted_set::{Members, limits_of};
use crate::base::number::{parse_f64, parse_i64};
use crate::exec::{Command, Context};
use crate::keyspace::{Event, Expiry, Key};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::sorted_set::SortedSet;
use crate::value::string::IntText;
use crate::value::{Container, Kind};
use combine::{Aggregate, Combined, Source};

/// The commands that combine sorted sets.
pub static FAMILY: &[&Command] =
    &[&ZUNION, &ZINTER, &ZDIFF, &ZUNIONSTORE, &ZINTERSTORE, &ZDIFFSTORE, &ZINTERCARD];

/// Operation on the source sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

/// Use of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The reply is the result.
    Show,
    /// The result becomes the value of the key at argument 1.
    Store,
    /// The reply is the number of members.
    Count,
}

impl Form {
    /// Returns the index of the argument with the number of keys.
    fn count_at(self) -> usize {
        if self == Form::Store { 2 } else { 1 }
    }
}

/// Parsed options after the keys.
#[derive(Clone, Debug)]
struct Options {
    /// Factor of each key's scores.
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Maximum count; 0 means no limit.
    limit: u64,
}

impl Options {
    /// Parses the arguments from index `at` on, after the keys. `keys` is the number of keys.
    fn parse(
        args: &Args<'_>,
        mut at: usize,
        keys: usize,
        operation: Operation,
        form: Form,
    ) -> Result<Options, Error> {
        let mut options = Options {
            weights: vec![1.0; keys],
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: 0,
        };
        let may_weigh = operation != Operation::Diff && form != Form::Count;
        while at < args.len() {
            let left = args.len() - at;
            let is = |name: &[u8]| args[at].eq_ignore_ascii_case(name);
            if may_weigh && left > keys && is(b"WEIGHTS") {
                for (weight, arg) in options.weights.iter_mut().zip(args.iter_from(at + 1)) {
                    *weight =
                        parse_f64(arg).ok_or(Error::other("ERR weight value is not a float"))?;
                }
                at += 1 + keys;
            } else if may_weigh && left >= 2 && is(b"AGGREGATE") {
                options.aggregate = Aggregate::of(&args[at + 1]).ok_or(Error::Syntax)?;
                at += 2;
            } else if form == Form::Show && is(b"WITHSCORES") {
                options.with_scores = true;
                at += 1;
            } else if form == Form::Count && left >= 2 && is(b"LIMIT") {
                let limit = parse_i64(&args[at + 1]).and_then(|limit| u64::try_from(limit).ok());
                options.limit = limit.ok_or(Error::other("ERR LIMIT can't be negative"))?;
                at += 2;
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }
}

/// Parses the number of keys. Returns an error if fewer arguments follow.
fn key_count(args: &Args<'_>, form: Form, name: &str) -> Result<usize, Error> {
    let at = form.count_at();
    let count = parse_i64(&args[at]).ok_or(Error::NotInteger)?;
    if count < 1 {
        let text = format!("ERR at least 1 input key is needed for '{name}' command");
        return Err(Error::other(text));
    }
    let room = args.len() - at - 1;
    usize::try_from(count).ok().filter(|&count| count <= room).ok_or(Error::Syntax)
}

/// Looks up the keys from argument `first` on and returns them. Returns an error if a key holds a
/// value other than a set or a sorted set.
fn read_all<'k>(
    cx: &mut Context<'_>,
    args: &'k Args<'_>,
    first: usize,
    count: usize,
) -> Result<Vec<Key<'k>>, Error> {
    let keys: Vec<Key<'k>> = (first..first + count).map(|at| cx.key(args, at)).collect();
    for key in &keys {
        match cx.slice.lookup(cx.db, key).map(|view| view.kind()) {
            None | Some(Kind::Set | Kind::SortedSet) => {}
            Some(_) => return Err(Error::WrongType),
        }
    }
    Ok(keys)
}

fn run(
    cx: &mut Context<'_>,
    args: &Args<'_>,
    name: &str,
    operation: Operation,
    form: Form,
) -> Result<(), Error> {
    let count = key_count(args, form, name)?;
    let first = form.count_at() + 1;
    let keys = read_all(cx, args, first, count)?;
    let options = Options::parse(args, first + count, count, operation, form)?;
    let sources: Vec<Source<'_>> = keys
        .iter()
        .zip(&options.weights)
        .map(|(key, &weight)| Source::held(cx.slice, cx.db, key, weight))
        .collect();
    if form == Form::Count {
        let count = combine::count(sources, options.limit);
        cx.reply.integer(count as i64);
        return Ok(());
    }
    let combined = match operation {
        Operation::Union => combine::unite(sources, options.aggregate),
        Operation::Inter => combine::intersect(sources, options.aggregate),
        Operation::Diff => combine::subtract(&sources),
    };
    if form == Form::Show {
        let members = Members { with_scores: options.with_scores };
        members.head(&mut cx.reply, combined.len());
        for (member, score) in &combined {
            members.push(&mut cx.reply, member, *score);
        }
    } else {
        let stored = stored(&combined, cx);
        let event = match operation {
            Operation::Union => Event::ZUnionStore,
            Operation::Inter => Event::ZInterStore,
            Operation::Diff => Event::ZDiffStore,
        };
        store(cx, args, stored, event);
    }
    Ok(())
}

/// Builds a sorted set from the combined members.
fn stored(combined: &Combined<'_>, cx: &Context<'_>) -> Box<SortedSet> {
    let limits = limits_of(cx.config);
    let mut set = Box::<SortedSet>::default();
    let longest = combined.iter().map(|(member, _)| member.len()).max().unwrap_or(0);
    set.prepare(combined.len(), longest, &limits);
    let mut text = IntText::new();
    for (member, score) in combined {
        set.put(member.text(&mut text), *score, &limits);
    }
    set
}

/// Stores a result in the key at argument 1 and replies with its length. An empty result removes
/// the key.
fn store(cx: &mut Context<'_>, args: &Args<'_>, set: Box<SortedSet>, event: Event) {
    let key = cx.key(args, 1);
    let len = set.len();
    if len > 0 {
        cx.slice.set_object(cx.db, &key, set.into_object(), Expiry::Clear);
        cx.raise(&key, event, 1);
    } else if cx.slice.remove(cx.db, &key) {
        cx.raise(&key, Event::Del, 1);
    }
    cx.reply.integer(len as i64);
}

const WEIGHTS: Arg = Arg::integer("weight").after("WEIGHTS").optional().repeated();

const AGGREGATE: Arg =
    Arg::choice("aggregate", &["SUM", "MIN", "MAX"]).after("AGGREGATE").optional();

/// The arguments of ZUNION and ZINTER.
const SHOWN_ARGS: &[Arg] = &[
    Arg::integer("numkeys"),
    Arg::key("key").repeated(),
    WEIGHTS,
    AGGREGATE,
    Arg::keyword("WITHSCORES").optional(),
];

/// The arguments of ZUNIONSTORE and ZINTERSTORE.
const STORED_ARGS: &[Arg] = &[
    Arg::key("destination"),
    Arg::integer("numkeys"),
    Arg::key("key").key_spec(1).repeated(),
    WEIGHTS,
    AGGREGATE,
];

static ZUNION: Command = Command::gather(
    zunion,
    Card::new("zunion", Group::SortedSet, "6.2.0")
        .summary("Returns the union of multiple sorted sets.")
        .complexity(
            "O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M \
             being the number of elements in the resulting sorted set.",
        )
        .arity(-3)
        .flags(Flag::READONLY.and(Flag::MOVABLEKEYS))
        .keys(&[KeySpec::reads().counted(1)])
        .args(SHOWN_ARGS),
)
.offload();

fn zunion(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    run(cx, args, "zunion", Operation::Union, Form::Show)
}

static ZINTER: Command = Command::gather(
    zinter,
    Card::new("zinter", Group::SortedSet, "6.2.0")
        .summary("Returns the intersect of multiple sorted sets.")
        .complexity(
            "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being \
             the number of input sorted sets and M being the number of elements in the resulting \
             sorted set.",
        )
        .arity(-3)
        .flags(Flag::READONLY.and(Flag::MOVABLEKEYS))
        .keys(&[KeySpec::reads().counted(1)])
        .args(SHOWN_ARGS),
)
.offload();

fn zinter(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    run(cx, args, "zinter", Operation::Inter, Form::Show)
}

static ZDIFF: Command = Command::gather(
    zdiff,
    Card::new("zdiff", Group::SortedSet, "6.2.0")
        .summary("Returns the difference between multiple sorted sets.")
        .complexity(
            "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the \
             sets, N is the size of the first set, and K is the size of the result set.",
        )
        .arity(-3)
        .flags(Flag::READONLY.and(Flag::MOVABLEKEYS))
        .keys(&[KeySpec::reads().counted(1)])
        .args(&[
            Arg::integer("numkeys"),
            Arg::key("key").repeated(),
            Arg::keyword("WITHSCORES").optional(),
        ]),
)
.offload();

fn zdiff(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    run(cx, args, "zdiff", Operation::Diff, Form::Show)
}

static ZUNIONSTORE: Command = Command::gather(
    zunionstore,
    Card::new("zunionstore", Group::SortedSet, "2.0.0")
        .summary("Stores the union of multiple sorted sets in a key.")
        .complexity(
            "O(N)+O(M log(M)) with N being the sum of the sizes of the input sorted sets, and M \
             being the number of elements in the resulting sorted set.",
        )
        .arity(-4)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::MOVABLEKEYS))
        .keys(&[KeySpec::overwrites(), KeySpec::reads().at(2).counted(1)])
        .args(STORED_ARGS),
)
.offload();

fn zunionstore(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    run(cx, args, "zunionstore", Operation::Union, Form::Store)
}

static ZINTERSTORE: Command = Command::gather(
    zinterstore,
    Card::new("zinterstore", Group::SortedSet, "2.0.0")
        .summary("Stores the intersect of multiple sorted sets in a key.")
        .complexity(
            "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being \
             the number of input sorted sets and M being the number of elements in the resulting \
             sorted set.",
        )
        .arity(-4)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::MOVABLEKEYS))
        .keys(&[KeySpec::overwrites(), KeySpec::reads().at(2).counted(1)])
        .args(STORED_ARGS),
)
.offload();

fn zinterstore(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    run(cx, args, "zinterstore", Operation::Inter, Form::Store)
}

static ZDIFFSTORE: Command = Command::gather(
    zdiffstore,
    Card::new("zdiffstore", Group::SortedSet, "6.2.0")
        .summary("Stores the difference of multiple sorted sets in a key.")
        .complexity(
            "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the \
             sets, N is the size of the first set, and K is the size of the result set.",
        )
        .arity(-4)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::MOVABLEKEYS))
        .keys(&[KeySpec::overwrites(), KeySpec::reads().at(2).counted(1)])
        .args(&[
            Arg::key("destination"),
            Arg::integer("numkeys"),
            Arg::key("key").key_spec(1).repeated(),
        ]),
)
.offload();

fn zdiffstore(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    run(cx, args, "zdiffstore", Operation::Diff, Form::Store)
}

static ZINTERCARD: Command = Command::gather(
    zintercard,
    Card::new("zintercard", Group::SortedSet, "7.0.0")
        .summary("Returns the number of members of the intersect of multiple sorted sets.")
        .complexity(
            "O(N*K) worst case with N being the smallest input sorted set, K being the number of \
             input sorted sets.",
        )
        .arity(-3)
        .flags(Flag::READONLY.and(Flag::MOVABLEKEYS))
        .keys(&[KeySpec::reads().counted(1)])
        .args(&[
            Arg::integer("numkeys"),
            Arg::key("key").repeated(),
            Arg::integer("limit").after("LIMIT").optional(),
        ]),
)
.offload();

fn zintercard(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    run(cx, args, "zintercard", Operation::Inter, Form::Count)
}

#[cfg(test)]
mod tests;
