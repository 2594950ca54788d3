//! Commands on sets.

mod algebra;
mod random;
mod walk;

use crate::exec::{Command, Context, Run, same_database};
use crate::resp::{Args, Error, Reply};
use crate::spec::{Begin, Card, Category, Find, Flag, Group, KeySpec};
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

/// Up to which size the compact forms serve, as it is set.
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

static SADD: Command = Command {
    card: Card {
        name: "sadd",
        summary: "Adds one or more members to a set. Creates the key if it doesn't exist.",
        since: "1.0.0",
        group: Group::Set,
        complexity: "O(1) for each element added, so O(N) to add N elements when the command is \
            called with multiple arguments.",
        arity: -3,
        flags: Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST),
        categories: &[Category::Set],
        tips: &[],
        keys: &[KeySpec::first("RW insert")],
    },
    run: Run::Keys(sadd),
    subcommands: &[],
};

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
        set.mark();
    }
    drop(set);
    cx.effects.changes += added;
    cx.reply.integer(added as i64);
    Ok(())
}

static SREM: Command = Command {
    card: Card {
        name: "srem",
        summary: "Removes one or more members from a set. Deletes the set if the last member was \
            removed.",
        since: "1.0.0",
        group: Group::Set,
        complexity: "O(N) where N is the number of members to be removed.",
        arity: -3,
        flags: Flag::WRITE.and(Flag::FAST),
        categories: &[Category::Set],
        tips: &[],
        keys: &[KeySpec::first("RW delete")],
    },
    run: Run::Keys(srem),
    subcommands: &[],
};

fn srem(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let mut removed = 0;
    if let Some(mut set) = cx.slice.edit::<Set>(cx.db, &key)? {
        for index in 2..args.len() {
            removed += u64::from(set.remove(&args[index]));
        }
        if removed > 0 {
            set.mark();
        }
    }
    cx.effects.changes += removed;
    cx.reply.integer(removed as i64);
    Ok(())
}

static SMOVE: Command = Command {
    card: Card {
        name: "smove",
        summary: "Moves a member from one set to another.",
        since: "1.0.0",
        group: Group::Set,
        complexity: "O(1)",
        arity: 4,
        flags: Flag::WRITE.and(Flag::FAST),
        categories: &[Category::Set],
        tips: &[],
        keys: &[
            KeySpec::first("RW access delete"),
            KeySpec {
                flags: "RW insert",
                notes: "",
                begin: Begin::Index(2),
                find: Find::Range { last: 0, step: 1 },
            },
        ],
    },
    run: Run::Joint(smove, same_database),
    subcommands: &[],
};

fn smove(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let limits = limits(cx);
    let (from, to, member) = (cx.key(args, 1), cx.key(args, 2), &args[3]);
    if cx.slice.edit::<Set>(cx.db, &from)?.is_none() {
        cx.reply.integer(0);
        return Ok(());
    }
    cx.slice.edit::<Set>(cx.db, &to)?;
    let mut source = cx.slice.edit::<Set>(cx.db, &from)?.expect("it has just been there");
    let is_there = source.contains(member);
    if is_there && from.bytes != to.bytes {
        source.remove(member);
        source.mark();
        drop(source);
        cx.effects.changes += 1;
        let mut target = cx.slice.edit_or_new::<Set>(cx.db, &to)?;
        if target.is_empty() {
            *target = Set::beginning_with(member, 1, &limits);
        }
        if target.insert(member, &limits) {
            target.mark();
            cx.effects.changes += 1;
        }
    }
    cx.reply.integer(i64::from(is_there));
    Ok(())
}

static SISMEMBER: Command = Command {
    card: Card {
        name: "sismember",
        summary: "Determines whether a member belongs to a set.",
        since: "1.0.0",
        group: Group::Set,
        complexity: "O(1)",
        arity: 3,
        flags: Flag::READONLY.and(Flag::FAST),
        categories: &[Category::Set],
        tips: &[],
        keys: &[KeySpec::first("RO")],
    },
    run: Run::Keys(sismember),
    subcommands: &[],
};

fn sismember(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let set = cx.slice.read::<Set>(cx.db, &key)?;
    cx.reply.integer(i64::from(set.is_some_and(|set| set.contains(&args[2]))));
    Ok(())
}

static SMISMEMBER: Command = Command {
    card: Card {
        name: "smismember",
        summary: "Determines whether multiple members belong to a set.",
        since: "6.2.0",
        group: Group::Set,
        complexity: "O(N) where N is the number of elements being checked for membership",
        arity: -3,
        flags: Flag::READONLY.and(Flag::FAST),
        categories: &[Category::Set],
        tips: &[],
        keys: &[KeySpec::first("RO access")],
    },
    run: Run::Keys(smismember),
    subcommands: &[],
};

fn smismember(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let set = cx.slice.read::<Set>(cx.db, &key)?;
    cx.reply.array(args.len() - 2);
    for index in 2..args.len() {
        cx.reply.integer(i64::from(set.is_some_and(|set| set.contains(&args[index]))));
    }
    Ok(())
}

static SCARD: Command = Command {
    card: Card {
        name: "scard",
        summary: "Returns the number of members in a set.",
        since: "1.0.0",
        group: Group::Set,
        complexity: "O(1)",
        arity: 2,
        flags: Flag::READONLY.and(Flag::FAST),
        categories: &[Category::Set],
        tips: &[],
        keys: &[KeySpec::first("RO")],
    },
    run: Run::Keys(scard),
    subcommands: &[],
};

fn scard(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let set = cx.slice.read::<Set>(cx.db, &key)?;
    cx.reply.integer(set.map_or(0, Set::len) as i64);
    Ok(())
}

static SMEMBERS: Command = Command {
    card: Card {
        name: "smembers",
        summary: "Returns all members of a set.",
        since: "1.0.0",
        group: Group::Set,
        complexity: "O(N) where N is the set cardinality.",
        arity: 2,
        flags: Flag::READONLY,
        categories: &[Category::Set],
        tips: &["nondeterministic_output_order"],
        keys: &[KeySpec::first("RO access")],
    },
    run: Run::Bulky(smembers, same_database),
    subcommands: &[],
};

fn smembers(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let set = cx.slice.read::<Set>(cx.db, &key)?;
    cx.reply.set(set.map_or(0, Set::len));
    set.into_iter().flat_map(Set::iter).for_each(|member| reply_item(&mut cx.reply, &member));
    Ok(())
}

#[cfg(test)]
mod tests;
