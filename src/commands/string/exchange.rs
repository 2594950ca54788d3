//! Commands that read and change a string in one step: GETSET, GETDEL, GETEX, DELIFEQ.

use super::options::{Lifetime, Options};
use super::{expire_at_once, is_text, reply_string, reply_value, set_from_arg};
use crate::commands::arg_groups::EXPIRATION_OR_PERSIST;
use crate::exec::{Command, Context};
use crate::keyspace::{Event, Expiry};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};

pub(super) static GETSET: Command = Command::single(
    getset,
    Card::new("getset", Group::String, "1.0.0")
        .summary("Returns the previous string value of a key after setting it to a new value.")
        .constant_time()
        .arity(3)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::updates().using_data()])
        .args(&[Arg::key("key"), Arg::string("value")]),
);

fn getset(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    reply_value(cx, &key)?;
    cx.propagate(&[b"SET", &args[1], &args[2]]);
    set_from_arg(cx, args, 2, Expiry::Clear);
    Ok(())
}

pub(super) static GETDEL: Command = Command::single(
    getdel,
    Card::new("getdel", Group::String, "6.2.0")
        .summary("Returns the string value of a key after deleting the key.")
        .constant_time()
        .arity(2)
        .flags(Flag::WRITE.and(Flag::FAST))
        .keys(&[KeySpec::deletes().using_data()])
        .args(&[Arg::key("key")]),
);

fn getdel(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    if reply_value(cx, &key)? {
        cx.slice.remove(cx.db, &key);
        cx.raise(&key, Event::Del, 1);
        cx.propagate(&[b"DEL", key.bytes]);
    }
    Ok(())
}

pub(super) static GETEX: Command = Command::single(
    getex,
    Card::new("getex", Group::String, "6.2.0")
        .summary("Returns the string value of a key after setting its expiration time.")
        .constant_time()
        .arity(-2)
        .flags(Flag::WRITE.and(Flag::FAST))
        .keys(&[KeySpec::updates().using_data().note("RW and UPDATE because it changes the TTL")])
        .args(&[Arg::key("key"), EXPIRATION_OR_PERSIST.optional()]),
);

fn getex(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let options = Options::of_getex(args)?;
    let at = match options.lifetime {
        Lifetime::Given(unit, at) => Some(unit.deadline(&args[at], cx.now_ms, "getex")?),
        Lifetime::Unspecified | Lifetime::Keyword => None,
    };
    let key = cx.key(args, 1);
    let Some(view) = cx.slice.lookup(cx.db, &key) else {
        cx.reply.null();
        return Ok(());
    };
    reply_string(&mut cx.reply, view.string().ok_or(Error::WrongType)?);
    let had_expiry = view.expiry().is_some();
    match (at, options.lifetime) {
        (Some(at), _) if cx.slice.is_past(at) => expire_at_once(cx, &key),
        (Some(at), _) => {
            cx.slice.set_expiry(cx.db, &key, Some(at));
            cx.raise(&key, Event::Expire, 1);
            cx.propagate(&[b"PEXPIREAT", key.bytes, itoa::Buffer::new().format(at).as_bytes()]);
        }
        (None, Lifetime::Keyword) if had_expiry => {
            cx.slice.set_expiry(cx.db, &key, None);
            cx.raise(&key, Event::Persist, 1);
            cx.propagate(&[b"PERSIST", key.bytes]);
        }
        (None, _) => {}
    }
    Ok(())
}

pub(super) static DELIFEQ: Command = Command::single(
    delifeq,
    Card::new("delifeq", Group::String, "9.0.0")
        .summary("Delete key if value matches string.")
        .constant_time()
        .arity(3)
        .flags(Flag::WRITE.and(Flag::FAST))
        .keys(&[KeySpec::removes()])
        .args(&[Arg::key("key"), Arg::string("value")]),
);

fn delifeq(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let is_equal = match cx.slice.peek(cx.db, &key) {
        None => false,
        Some(view) => is_text(view.string().ok_or(Error::WrongType)?, &args[2]),
    };
    if is_equal {
        cx.slice.remove(cx.db, &key);
        cx.raise(&key, Event::Del, 1);
        cx.propagate(&[b"DEL", key.bytes]);
    }
    cx.reply.integer(i64::from(is_equal));
    Ok(())
}
