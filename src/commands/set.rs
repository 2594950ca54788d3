//! Commands on sets.

mod algebra;
mod random;
mod walk;

use crate::exec::{Command, Context};
use crate::keyspace::Event;
use crate::resp::{Args, Error, Reply};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::Item;
use crate::value::set::{Limits, Set};

/// The set commands.
pub static FAMILY: &[&Command] = &[
    &SADD,
    &SREM,
    &SMOVE,
    &SISMEMBER,
    &SMISMEMBER,
    &SCARD,
    &SMEMBERS,
    &walk::SSCAN,
    &random::SPOP,
    &random::SRANDMEMBER,
    &algebra::SINTER,
    &algebra::SINTERCARD,
    &algebra::SINTERSTORE,
    &algebra::SUNION,
    &algebra::SUNIONSTORE,
    &algebra::SDIFF,
    &algebra::SDIFFSTORE,
];

/// Returns the maximum sizes of the compact encodings according to the settings.
fn limits(cx: &Context<'_>) -> Limits {
    Limits {
        intset_entries: cx.config.set_max_intset_entries as usize,
        listpack_entries: cx.config.set_max_listpack_entries as usize,
        listpack_value: cx.config.set_max_listpack_value as usize,
    }
}

fn reply_item(reply: &mut Reply<'_>, item: &Item<'_>) {
    match *item {
        Item::Int(number) => reply.integer_bulk(number),
        Item::Bytes(bytes) => reply.bulk(bytes),
    }
}

static SADD: Command = Command::single(
    sadd,
    Card::new("sadd", Group::Set, "1.0.0")
        .summary("Adds one or more members to a set. Creates the key if it doesn't exist.")
        .complexity(
            "O(1) for each element added, so O(N) to add N elements when the command is called \
             with multiple arguments.",
        )
        .steady()
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::inserts()])
        .history(&[("2.4.0", "Accepts multiple `member` arguments.")])
        .args(&[Arg::key("key"), Arg::string("member").repeated()]),
);

fn sadd(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let limits = limits(cx);
    let key = cx.key(args, 1);
    let count = args.len() - 2;
    let mut set = cx.slice.edit_or_new::<Set>(cx.db, &key)?;
    if set.is_empty() {
        *set = Set::beginning_with(&args[2], count, &limits);
    } else {
        set.expect(count, &limits);
    }
    let mut added = 0;
    for index in 2..args.len() {
        added += u64::from(set.insert(&args[index], &limits));
    }
    if added > 0 {
        set.raise(Event::SAdd, added);
    }
    cx.reply.integer(added as i64);
    Ok(())
}

static SREM: Command = Command::single(
    srem,
    Card::new("srem", Group::Set, "1.0.0")
        .summary(
            "Removes one or more members from a set. Deletes the set if the last member was \
             removed.",
        )
        .complexity("O(N) where N is the number of members to be removed.")
        .steady()
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::FAST))
        .keys(&[KeySpec::deletes()])
        .history(&[("2.4.0", "Accepts multiple `member` arguments.")])
        .args(&[Arg::key("key"), Arg::string("member").repeated()]),
);

fn srem(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let mut removed = 0;
    if let Some(mut set) = cx.slice.edit::<Set>(cx.db, &key)? {
        for index in 2..args.len() {
            removed += u64::from(set.remove(&args[index]));
        }
        if removed > 0 {
            set.raise(Event::SRem, removed);
        }
    }
    cx.reply.integer(removed as i64);
    Ok(())
}

static SMOVE: Command = Command::gather(
    smove,
    Card::new("smove", Group::Set, "1.0.0")
        .summary("Moves a member from one set to another.")
        .constant_time()
        .arity(4)
        .flags(Flag::WRITE.and(Flag::FAST))
        .keys(&[KeySpec::deletes().using_data(), KeySpec::inserts().at(2)])
        .args(&[Arg::key("source"), Arg::key("destination").key_spec(1), Arg::string("member")]),
);

fn smove(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let limits = limits(cx);
    let (from, to, member) = (cx.key(args, 1), cx.key(args, 2), &args[3]);
    if cx.slice.edit::<Set>(cx.db, &from)?.is_none() {
        cx.reply.integer(0);
        return Ok(());
    }
    cx.slice.edit::<Set>(cx.db, &to)?;
    let mut source = cx.slice.edit::<Set>(cx.db, &from)?.expect("the same key was found above");
    let exists = source.contains(member);
    if exists && from.bytes != to.bytes {
        source.remove(member);
        source.raise(Event::SRem, 1);
        drop(source);
        let mut target = cx.slice.edit_or_new::<Set>(cx.db, &to)?;
        if target.is_empty() {
            *target = Set::beginning_with(member, 1, &limits);
        }
        if target.insert(member, &limits) {
            target.raise(Event::SAdd, 1);
        }
    }
    cx.reply.integer(i64::from(exists));
    Ok(())
}

static SISMEMBER: Command = Command::single(
    sismember,
    Card::new("sismember", Group::Set, "1.0.0")
        .summary("Determines whether a member belongs to a set.")
        .constant_time()
        .arity(3)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::inspects()])
        .args(&[Arg::key("key"), Arg::string("member")]),
);

fn sismember(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let set = cx.slice.read::<Set>(cx.db, &key)?;
    cx.reply.integer(i64::from(set.is_some_and(|set| set.contains(&args[2]))));
    Ok(())
}

static SMISMEMBER: Command = Command::single(
    smismember,
    Card::new("smismember", Group::Set, "6.2.0")
        .summary("Determines whether multiple members belong to a set.")
        .complexity("O(N) where N is the number of elements being checked for membership")
        .steady()
        .arity(-3)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key"), Arg::string("member").repeated()]),
);

fn smismember(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let set = cx.slice.read::<Set>(cx.db, &key)?;
    cx.reply.array(args.len() - 2);
    for index in 2..args.len() {
        cx.reply.integer(i64::from(set.is_some_and(|set| set.contains(&args[index]))));
    }
    Ok(())
}

static SCARD: Command = Command::single(
    scard,
    Card::new("scard", Group::Set, "1.0.0")
        .summary("Returns the number of members in a set.")
        .constant_time()
        .arity(2)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::inspects()])
        .args(&[Arg::key("key")]),
);

fn scard(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let set = cx.slice.read::<Set>(cx.db, &key)?;
    cx.reply.integer(set.map_or(0, Set::len) as i64);
    Ok(())
}

static SMEMBERS: Command = Command::gather(
    smembers,
    Card::new("smembers", Group::Set, "1.0.0")
        .summary("Returns all members of a set.")
        .complexity("O(N) where N is the set cardinality.")
        .arity(2)
        .flags(Flag::READONLY)
        .tips(&["nondeterministic_output_order"])
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key")]),
)
.offload();

fn smembers(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let set = cx.slice.read::<Set>(cx.db, &key)?;
    cx.reply.set(set.map_or(0, Set::len));
    set.into_iter().flat_map(Set::iter).for_each(|member| reply_item(&mut cx.reply, &member));
    Ok(())
}

#[cfg(test)]
mod tests;
