//! Hash commands: HSET, HGET, HGETALL and others.
//!
//! All commands except HLEN hide expired fields ([`Seen`]) until housekeeping removes them.

mod exchange;
mod lifetime;
mod number;
mod options;
mod random;
mod scan;
mod write;

use crate::exec::{Command, Context};
use crate::resp::{Args, Error, Reply};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::hash::{Field, Hash, Limits};
use crate::value::pack::Item;

/// `FIELDS number field...`
const FIELDS: Arg =
    Arg::block("fields", &[Arg::integer("numfields").key_spec(0), Arg::string("field").repeated()])
        .after("FIELDS");

/// The hash commands.
pub static FAMILY: &[&Command] = &[
    &HGET,
    &HMGET,
    &HGETALL,
    &HKEYS,
    &HVALS,
    &HLEN,
    &HSTRLEN,
    &HEXISTS,
    &write::HSET,
    &write::HMSET,
    &write::HSETNX,
    &write::HDEL,
    &number::HINCRBY,
    &number::HINCRBYFLOAT,
    &random::HRANDFIELD,
    &scan::HSCAN,
    &lifetime::HEXPIRE,
    &lifetime::HPEXPIRE,
    &lifetime::HEXPIREAT,
    &lifetime::HPEXPIREAT,
    &lifetime::HTTL,
    &lifetime::HPTTL,
    &lifetime::HEXPIRETIME,
    &lifetime::HPEXPIRETIME,
    &lifetime::HPERSIST,
    &exchange::HSETEX,
    &exchange::HGETEX,
    &exchange::HGETDEL,
];

/// The fields that are visible to a command: the ones that have not expired.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Fields that expire before this time are hidden; Unix milliseconds.
    horizon_ms: u64,
}

impl Seen {
    fn of(cx: &Context<'_>) -> Seen {
        Seen { horizon_ms: cx.slice.horizon_ms() }
    }

    fn sees(self, field: &Field<'_>) -> bool {
        field.expiry.is_none_or(|at| at >= self.horizon_ms)
    }

    /// Returns a field if it is visible.
    #[inline]
    fn get<'h>(self, hash: &'h Hash, name: &[u8]) -> Option<Field<'h>> {
        hash.get(name).filter(|field| self.sees(field))
    }

    /// Returns all visible fields.
    fn all(self, hash: &Hash) -> impl Iterator<Item = Field<'_>> {
        hash.iter().filter(move |field| self.sees(field))
    }

    /// Returns whether a field exists and is hidden.
    fn hides(self, hash: &Hash, name: &[u8]) -> bool {
        hash.volatile_len() > 0 && hash.get(name).is_some_and(|field| !self.sees(&field))
    }

    /// Removes a field if it is visible. Returns whether it did.
    fn remove(self, hash: &mut Hash, name: &[u8]) -> bool {
        let is_seen = hash.volatile_len() == 0 || self.get(hash, name).is_some();
        is_seen && hash.remove(name)
    }
}

/// Returns the size limits of the listpack encoding.
fn limits_of(cx: &Context<'_>) -> Limits {
    Limits {
        listpack_entries: usize::try_from(cx.config.hash_max_listpack_entries)
            .unwrap_or(usize::MAX),
        listpack_value: usize::try_from(cx.config.hash_max_listpack_value).unwrap_or(usize::MAX),
    }
}

fn reply_item(reply: &mut Reply<'_>, item: &Item<'_>) {
    match *item {
        Item::Int(number) => reply.integer_bulk(number),
        Item::Bytes(bytes) => reply.bulk(bytes),
    }
}

fn reply_value(reply: &mut Reply<'_>, field: Option<Field<'_>>) {
    match field {
        Some(field) => reply_item(reply, &field.value),
        None => reply.null(),
    }
}

static HGET: Command = Command::single(
    hget,
    Card::new("hget", Group::Hash, "2.0.0")
        .summary("Returns the value of a field in a hash.")
        .constant_time()
        .arity(3)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key"), Arg::string("field")]),
);

fn hget(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let seen = Seen::of(cx);
    let key = cx.key(args, 1);
    let hash = cx.slice.read::<Hash>(cx.db, &key)?;
    let field = hash.and_then(|hash| seen.get(hash, &args[2]));
    reply_value(&mut cx.reply, field);
    Ok(())
}

static HMGET: Command = Command::single(
    hmget,
    Card::new("hmget", Group::Hash, "2.0.0")
        .summary("Returns the values of all fields in a hash.")
        .complexity("O(N) where N is the number of fields being requested.")
        .steady()
        .arity(-3)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key"), Arg::string("field").repeated()]),
);

fn hmget(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let seen = Seen::of(cx);
    let key = cx.key(args, 1);
    let hash = cx.slice.read::<Hash>(cx.db, &key)?;
    cx.reply.array(args.len() - 2);
    for name in args.iter_from(2) {
        let field = hash.and_then(|hash| seen.get(hash, name));
        reply_value(&mut cx.reply, field);
    }
    Ok(())
}

/// Replies with the visible fields, after their number.
fn reply_fields(
    cx: &mut Context<'_>,
    args: &Args<'_>,
    head: fn(&mut Reply<'_>, usize),
    show: fn(&mut Reply<'_>, &Field<'_>),
) -> Result<(), Error> {
    let seen = Seen::of(cx);
    let key = cx.key(args, 1);
    let Some(hash) = cx.slice.read::<Hash>(cx.db, &key)? else {
        head(&mut cx.reply, 0);
        return Ok(());
    };
    let hides_any = hash.volatile_len() > 0;
    let len = if hides_any { seen.all(hash).count() } else { hash.len() };
    head(&mut cx.reply, len);
    seen.all(hash).for_each(|field| show(&mut cx.reply, &field));
    Ok(())
}

static HGETALL: Command = Command::gather(
    hgetall,
    Card::new("hgetall", Group::Hash, "2.0.0")
        .summary("Returns all fields and values in a hash.")
        .complexity("O(N) where N is the size of the hash.")
        .arity(2)
        .flags(Flag::READONLY)
        .tips(&["nondeterministic_output_order"])
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key")]),
)
.offload();

fn hgetall(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    reply_fields(
        cx,
        args,
        |reply, len| reply.map(len),
        |reply, field| {
            reply_item(reply, &field.name);
            reply_item(reply, &field.value);
        },
    )
}

static HKEYS: Command = Command::gather(
    hkeys,
    Card::new("hkeys", Group::Hash, "2.0.0")
        .summary("Returns all fields in a hash.")
        .complexity("O(N) where N is the size of the hash.")
        .arity(2)
        .flags(Flag::READONLY)
        .tips(&["nondeterministic_output_order"])
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key")]),
)
.offload();

fn hkeys(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    reply_fields(
        cx,
        args,
        |reply, len| reply.array(len),
        |reply, field| reply_item(reply, &field.name),
    )
}

static HVALS: Command = Command::gather(
    hvals,
    Card::new("hvals", Group::Hash, "2.0.0")
        .summary("Returns all values in a hash.")
        .complexity("O(N) where N is the size of the hash.")
        .arity(2)
        .flags(Flag::READONLY)
        .tips(&["nondeterministic_output_order"])
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key")]),
)
.offload();

fn hvals(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    reply_fields(
        cx,
        args,
        |reply, len| reply.array(len),
        |reply, field| reply_item(reply, &field.value),
    )
}

static HLEN: Command = Command::single(
    hlen,
    Card::new("hlen", Group::Hash, "2.0.0")
        .summary("Returns the number of fields in a hash.")
        .constant_time()
        .arity(2)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::inspects()])
        .args(&[Arg::key("key")]),
);

/// Replies with the number of fields. As in the reference, hidden fields that are not removed yet
/// count.
fn hlen(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let len = cx.slice.read::<Hash>(cx.db, &key)?.map_or(0, Hash::len);
    cx.reply.integer(len as i64);
    Ok(())
}

static HSTRLEN: Command = Command::single(
    hstrlen,
    Card::new("hstrlen", Group::Hash, "3.2.0")
        .summary("Returns the length of the value of a field.")
        .constant_time()
        .arity(3)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::inspects()])
        .args(&[Arg::key("key"), Arg::string("field")]),
);

fn hstrlen(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let seen = Seen::of(cx);
    let key = cx.key(args, 1);
    let hash = cx.slice.read::<Hash>(cx.db, &key)?;
    let field = hash.and_then(|hash| seen.get(hash, &args[2]));
    cx.reply.integer(field.map_or(0, |field| field.value.len()) as i64);
    Ok(())
}

static HEXISTS: Command = Command::single(
    hexists,
    Card::new("hexists", Group::Hash, "2.0.0")
        .summary("Determines whether a field exists in a hash.")
        .constant_time()
        .arity(3)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::inspects()])
        .args(&[Arg::key("key"), Arg::string("field")]),
);

fn hexists(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let seen = Seen::of(cx);
    let key = cx.key(args, 1);
    let hash = cx.slice.read::<Hash>(cx.db, &key)?;
    let is_there = hash.is_some_and(|hash| seen.get(hash, &args[2]).is_some());
    cx.reply.integer(i64::from(is_there));
    Ok(())
}

#[cfg(test)]
mod tests;
