//! Set algebra: intersection, union and difference, as a reply or stored in a key.

use super::{limits, reply_item};
use crate::base::number::parse_i64;
use crate::exec::{Command, Context};
use crate::keyspace::{Event, Expiry, Key, Slice};
use crate::resp::{Args, Error, Mark, Output, Reply};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::set::{Limits, Set};
use crate::value::{Container, Item};
use std::cmp::Reverse;
use std::ops::Range;

/// Sets of the source keys, in argument order; `None` for a missing key.
type Sources<'s> = Vec<Option<&'s Set>>;

/// Looks up the keys at a range of arguments, so that [`sources`] can borrow their sets together.
/// Returns the keys.
fn read_all<'k>(
    cx: &mut Context<'_>,
    args: &'k Args<'_>,
    range: Range<usize>,
) -> Result<Vec<Key<'k>>, Error> {
    let keys: Vec<Key<'k>> = range.map(|at| cx.key(args, at)).collect();
    for key in &keys {
        cx.slice.read::<Set>(cx.db, key)?;
    }
    Ok(keys)
}

/// Borrows the sets of keys that [`read_all`] has looked up.
fn sources<'s>(slice: &'s Slice, db: usize, keys: &[Key<'_>]) -> Sources<'s> {
    keys.iter().map(|key| slice.held::<Set>(db, key)).collect()
}

/// Stores a result in a key and replies with its length. An empty result removes the key.
fn store(cx: &mut Context<'_>, key: &Key<'_>, result: Set, event: Event) {
    let len = result.len();
    if len > 0 {
        cx.slice.set_object(cx.db, key, Box::new(result).into_object(), Expiry::Clear);
        cx.raise(key, event, 1);
    } else if cx.slice.remove(cx.db, key) {
        cx.raise(key, Event::Del, 1);
    }
    cx.reply.integer(len as i64);
}

fn reply_set(reply: &mut Reply<'_>, result: &Set) {
    reply.set(result.len());
    result.iter().for_each(|member| reply_item(reply, &member));
}

/// Calls `show` for each member of the smallest set that all other sets contain too. Stops when
/// `show` returns false. Calls nothing if a source is missing.
fn intersect(sources: &Sources<'_>, show: &mut dyn FnMut(Item<'_>) -> bool) {
    let Some(mut sets) = sources.iter().copied().collect::<Option<Vec<&Set>>>() else { return };
    sets.sort_by_key(|set| set.len());
    let (first, others) = sets.split_first().expect("at least one key is given");
    let others: Vec<&Set> =
        others.iter().copied().filter(|set| !std::ptr::eq(*set, *first)).collect();
    for member in first.iter() {
        if others.iter().all(|set| set.contains_item(&member)) && !show(member) {
            return;
        }
    }
}

pub(super) static SINTER: Command = Command::gather(
    sinter,
    Card::new("sinter", Group::Set, "1.0.0")
        .summary("Returns the intersect of multiple sets.")
        .complexity(
            "O(N*M) worst case where N is the cardinality of the smallest set and M is the number \
             of sets.",
        )
        .arity(-2)
        .flags(Flag::READONLY)
        .tips(&["nondeterministic_output_order"])
        .keys(&[KeySpec::reads().to_end(1)])
        .args(&[Arg::key("key").repeated()]),
)
.offload();

fn sinter(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let keys = read_all(cx, args, 1..args.len())?;
    let mut found = Output::default();
    let mut count = 0;
    let protocol = cx.reply.protocol();
    intersect(&sources(cx.slice, cx.db, &keys), &mut |member| {
        reply_item(&mut Reply::new(&mut found, protocol), &member);
        count += 1;
        true
    });
    cx.reply.set(count);
    cx.reply.append_range(&found, found.range_from(Mark::default()));
    Ok(())
}

pub(super) static SINTERCARD: Command = Command::gather(
    sintercard,
    Card::new("sintercard", Group::Set, "7.0.0")
        .summary("Returns the number of members of the intersect of multiple sets.")
        .complexity(
            "O(N*M) worst case where N is the cardinality of the smallest set and M is the number \
             of sets.",
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

fn sintercard(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let count = parse_i64(&args[1]).filter(|count| *count > 0);
    let count = count.ok_or(Error::other("ERR numkeys should be greater than 0"))?;
    if count > args.len() as i64 - 2 {
        return Err(Error::other("ERR Number of keys can't be greater than number of args"));
    }
    let options_at = 2 + count as usize;
    let mut limit = 0;
    for index in (options_at..args.len()).step_by(2) {
        let Some(value) = args.get(index + 1) else { return Err(Error::Syntax) };
        if !args[index].eq_ignore_ascii_case(b"LIMIT") {
            return Err(Error::Syntax);
        }
        let number = parse_i64(value).and_then(|number| u64::try_from(number).ok());
        limit = number.ok_or(Error::other("ERR LIMIT can't be negative"))?;
    }
    let keys = read_all(cx, args, 2..options_at)?;
    let mut found = 0;
    intersect(&sources(cx.slice, cx.db, &keys), &mut |_| {
        found += 1;
        found != limit
    });
    cx.reply.integer(found as i64);
    Ok(())
}

pub(super) static SINTERSTORE: Command = Command::gather(
    sinterstore,
    Card::new("sinterstore", Group::Set, "1.0.0")
        .summary("Stores the intersect of multiple sets in a key.")
        .complexity(
            "O(N*M) worst case where N is the cardinality of the smallest set and M is the number \
             of sets.",
        )
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .keys(&[KeySpec::overwrites(), KeySpec::reads().at(2).to_end(1)])
        .args(&[Arg::key("destination"), Arg::key("key").key_spec(1).repeated()]),
)
.offload();

fn sinterstore(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let limits = limits(cx);
    let keys = read_all(cx, args, 2..args.len())?;
    let sources = sources(cx.slice, cx.db, &keys);
    let smallest = sources.iter().flatten().min_by_key(|set| set.len());
    let is_ints = smallest.is_some_and(|set| set.encoding() == "intset");
    let mut result = if is_ints { Set::of_ints() } else { Set::packed() };
    let mut all_ints = true;
    intersect(&sources, &mut |member| {
        all_ints &= matches!(member, Item::Int(_));
        result.insert_item(&member, &limits)
    });
    if all_ints {
        result.make_ints(&limits);
    }
    let key = cx.key(args, 1);
    store(cx, &key, result, Event::SInterStore);
    Ok(())
}

/// Adds the members of all sources to `result` and returns it.
fn unite(sources: &Sources<'_>, mut result: Set, limits: &Limits) -> Set {
    for member in sources.iter().flatten().flat_map(|set| set.iter()) {
        result.insert_item(&member, limits);
    }
    result
}

/// Creates the empty set for a result that is replied and not stored. It uses the integer form if
/// all sources do, so that the reply is in ascending order.
fn empty_for_reply(sources: &Sources<'_>) -> Set {
    let all_ints = sources.iter().flatten().all(|set| set.encoding() == "intset");
    if all_ints { Set::of_ints() } else { Set::dense() }
}

pub(super) static SUNION: Command = Command::gather(
    sunion,
    Card::new("sunion", Group::Set, "1.0.0")
        .summary("Returns the union of multiple sets.")
        .complexity("O(N) where N is the total number of elements in all given sets.")
        .arity(-2)
        .flags(Flag::READONLY)
        .tips(&["nondeterministic_output_order"])
        .keys(&[KeySpec::reads().to_end(1)])
        .args(&[Arg::key("key").repeated()]),
)
.offload();

fn sunion(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let limits = limits(cx);
    let keys = read_all(cx, args, 1..args.len())?;
    let sources = sources(cx.slice, cx.db, &keys);
    let result = unite(&sources, empty_for_reply(&sources), &limits);
    reply_set(&mut cx.reply, &result);
    Ok(())
}

pub(super) static SUNIONSTORE: Command = Command::gather(
    sunionstore,
    Card::new("sunionstore", Group::Set, "1.0.0")
        .summary("Stores the union of multiple sets in a key.")
        .complexity("O(N) where N is the total number of elements in all given sets.")
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .keys(&[KeySpec::overwrites(), KeySpec::reads().at(2).to_end(1)])
        .args(&[Arg::key("destination"), Arg::key("key").key_spec(1).repeated()]),
)
.offload();

fn sunionstore(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let limits = limits(cx);
    let keys = read_all(cx, args, 2..args.len())?;
    let result = unite(&sources(cx.slice, cx.db, &keys), Set::of_ints(), &limits);
    let key = cx.key(args, 1);
    store(cx, &key, result, Event::SUnionStore);
    Ok(())
}

/// Adds to `result` the members of the first set that no other set contains, and returns it.
///
/// There are two algorithms. The choice between them is the reference server's, because the form
/// of the result can depend on it.
fn subtract(sources: &Sources<'_>, mut result: Set, limits: &Limits) -> Set {
    let (Some(first), others) = (sources[0], &sources[1..]) else { return result };
    let mut others: Vec<&Set> = others.iter().copied().flatten().collect();
    if others.iter().any(|set| std::ptr::eq(*set, first)) {
        return result;
    }
    let lookups = first.len() * (1 + others.len()) / 2;
    let removals = first.len() + others.iter().map(|set| set.len()).sum::<usize>();
    if lookups <= removals {
        others.sort_by_key(|set| Reverse(set.len()));
        let stays = |member: &Item<'_>| !others.iter().any(|set| set.contains_item(member));
        for member in first.iter().filter(stays) {
            result.insert_item(&member, limits);
        }
        return result;
    }
    for member in first.iter() {
        result.insert_item(&member, limits);
    }
    for set in others {
        for member in set.iter() {
            result.remove_item(&member);
        }
        if result.is_empty() {
            break;
        }
    }
    result
}

pub(super) static SDIFF: Command = Command::gather(
    sdiff,
    Card::new("sdiff", Group::Set, "1.0.0")
        .summary("Returns the difference of multiple sets.")
        .complexity("O(N) where N is the total number of elements in all given sets.")
        .arity(-2)
        .flags(Flag::READONLY)
        .tips(&["nondeterministic_output_order"])
        .keys(&[KeySpec::reads().to_end(1)])
        .args(&[Arg::key("key").repeated()]),
)
.offload();

fn sdiff(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let limits = limits(cx);
    let keys = read_all(cx, args, 1..args.len())?;
    let sources = sources(cx.slice, cx.db, &keys);
    let result = subtract(&sources, empty_for_reply(&sources), &limits);
    reply_set(&mut cx.reply, &result);
    Ok(())
}

pub(super) static SDIFFSTORE: Command = Command::gather(
    sdiffstore,
    Card::new("sdiffstore", Group::Set, "1.0.0")
        .summary("Stores the difference of multiple sets in a key.")
        .complexity("O(N) where N is the total number of elements in all given sets.")
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .keys(&[KeySpec::overwrites(), KeySpec::reads().at(2).to_end(1)])
        .args(&[Arg::key("destination"), Arg::key("key").key_spec(1).repeated()]),
)
.offload();

fn sdiffstore(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let limits = limits(cx);
    let keys = read_all(cx, args, 2..args.len())?;
    let result = subtract(&sources(cx.slice, cx.db, &keys), Set::of_ints(), &limits);
    let key = cx.key(args, 1);
    store(cx, &key, result, Event::SDiffStore);
    Ok(())
}
