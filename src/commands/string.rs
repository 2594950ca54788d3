//! Commands on strings: GET, SET and their variants; the other string commands are in the folder.
//! Hot.

mod exchange;
mod feed;
mod lcs;
mod many;
mod number;
mod options;
mod part;

use crate::exec::{ArgAt, Command, Context};
use crate::keyspace::{Event, Expiry, Key};
use crate::resp::{Args, Error, Reply};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::string::{IntText, NewStr, Str};
use bytes::BytesMut;
use options::{Condition, Options, Unit};

/// The string commands.
pub static FAMILY: &[&Command] = &[
    &GET,
    &SET,
    &SETNX,
    &SETEX,
    &PSETEX,
    &exchange::GETSET,
    &exchange::GETDEL,
    &exchange::GETEX,
    &exchange::DELIFEQ,
    &part::APPEND,
    &part::STRLEN,
    &part::GETRANGE,
    &part::SUBSTR,
    &part::SETRANGE,
    &number::INCR,
    &number::DECR,
    &number::INCRBY,
    &number::DECRBY,
    &number::INCRBYFLOAT,
    &many::MGET,
    &many::MSET,
    &many::MSETNX,
    &many::MSETEX,
    &lcs::LCS,
];

/// Replies with a string.
#[inline]
fn reply_string(reply: &mut Reply<'_>, value: Str<'_>) {
    match value {
        Str::Int(number) => reply.integer_bulk(number),
        Str::Bytes(bytes) => reply.bulk(bytes),
        Str::Large(bytes) => reply.bulk_shared(bytes.clone()),
    }
}

/// Replies with the key's value, or with null if there is no such key. Returns whether the key
/// exists.
#[inline]
fn reply_value(cx: &mut Context<'_>, key: &Key<'_>) -> Result<bool, Error> {
    let Some(view) = cx.slice.lookup(cx.db, key) else {
        cx.reply.null();
        return Ok(false);
    };
    reply_string(&mut cx.reply, view.string().ok_or(Error::WrongType)?);
    Ok(true)
}

/// Returns whether a string equals `text`.
fn is_text(value: Str<'_>, text: &[u8]) -> bool {
    value.text(&mut IntText::new()) == text
}

/// Returns an argument as a new value. `large` is the argument's buffer, if it had its own.
#[inline]
fn new_value(arg: &[u8], large: Option<BytesMut>) -> NewStr<'_> {
    match large {
        None => NewStr::from_bytes(arg),
        Some(buffer) => NewStr::Large(buffer.freeze()),
    }
}

/// Sets the key at argument 1 to the value at argument `index`.
#[inline]
fn set_from_arg(cx: &mut Context<'_>, args: &mut Args<'_>, index: usize, expiry: Expiry) {
    let large = args.take_large(index);
    let key = cx.key(args, 1);
    cx.slice.set(cx.db, &key, new_value(&args[index], large), expiry);
    cx.raise(&key, Event::Set, 1);
    if matches!(expiry, Expiry::At(_)) {
        cx.raise(&key, Event::Expire, 0);
    }
}

/// Removes an existing key that was given an expiry in the past. Propagates only the removal.
fn expire_at_once(cx: &mut Context<'_>, key: &Key<'_>) {
    cx.slice.expire(cx.db, key);
    cx.raise(key, Event::Expired, 1);
    cx.propagate(&[cx.expire_word(), key.bytes]);
}

static GET: Command = Command::single(
    get,
    Card::new("get", Group::String, "1.0.0")
        .summary("Returns the string value of a key.")
        .constant_time()
        .arity(2)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key")]),
);

fn get(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    reply_value(cx, &key)?;
    Ok(())
}

static SET: Command = Command::single(
    set,
    Card::new("set", Group::String, "1.0.0")
        .summary(
            "Sets the string value of a key, ignoring its type. The key is created if it doesn't \
             exist.",
        )
        .constant_time()
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .keys(&[KeySpec::updates()
            .using_data()
            .varying()
            .note("RW and ACCESS due to the optional `GET` argument")])
        .history(&[
            ("2.6.12", "Added the `EX`, `PX`, `NX` and `XX` options."),
            ("6.0.0", "Added the `KEEPTTL` option."),
            ("6.2.0", "Added the `GET`, `EXAT` and `PXAT` option."),
            ("7.0.0", "Allowed the `NX` and `GET` options to be used together."),
            ("8.1.0", "Added the `IFEQ` option."),
        ])
        .args(&[
            Arg::key("key"),
            Arg::string("value"),
            Arg::one_of(
                "condition",
                &[
                    Arg::keyword("NX").since("2.6.12"),
                    Arg::keyword("XX").since("2.6.12"),
                    Arg::string("comparison-value")
                        .after("IFEQ")
                        .summary(
                            "Sets the key's value only if the current value matches the specified \
                             comparison value.",
                        )
                        .since("8.1.0"),
                ],
            )
            .optional(),
            Arg::keyword("GET").since("6.2.0").optional(),
            Arg::one_of(
                "expiration",
                &[
                    Arg::integer("seconds").after("EX").since("2.6.12"),
                    Arg::integer("milliseconds").after("PX").since("2.6.12"),
                    Arg::unix_time("unix-time-seconds").after("EXAT").since("6.2.0"),
                    Arg::unix_time("unix-time-milliseconds").after("PXAT").since("6.2.0"),
                    Arg::keyword("KEEPTTL").since("6.0.0"),
                ],
            )
            .optional(),
        ]),
)
.key_use(set_use);

/// Returns the key spec of one SET: with GET it also reads the old value.
fn set_use(argc: usize, arg: ArgAt<'_>) -> KeySpec {
    let has_get = (3..argc).any(|at| arg(at).eq_ignore_ascii_case(b"get"));
    if has_get { KeySpec::updates().using_data() } else { KeySpec::overwrites() }
}

fn set(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if args.len() == 3 {
        set_from_arg(cx, args, 2, Expiry::Clear);
        cx.reply.ok();
        return Ok(());
    }
    let options = Options::of_set(args)?;
    let expiry = options.expiry(args, cx.now_ms, "set")?;
    let is_past = matches!(expiry, Expiry::At(at) if cx.slice.is_past(at));
    if options.get || is_past || options.condition != Condition::Always {
        return set_if(cx, args, options, expiry, is_past);
    }
    feed::propagate_set(cx, args, &options, expiry);
    set_from_arg(cx, args, 2, expiry);
    cx.reply.ok();
    Ok(())
}

/// Runs a SET that depends on the old value, or whose expiry is in the past.
fn set_if(
    cx: &mut Context<'_>,
    args: &mut Args<'_>,
    options: Options,
    expiry: Expiry,
    is_past: bool,
) -> Result<(), Error> {
    let key = cx.key(args, 1);
    if options.get {
        reply_value(cx, &key)?;
    }
    let old = cx.slice.peek(cx.db, &key);
    let exists = old.is_some();
    let is_wanted = match (options.condition, old) {
        (Condition::Always, _) => true,
        (Condition::Absent, old) => old.is_none(),
        (Condition::Present, old) => old.is_some(),
        (Condition::Equal(_), None) => false,
        (Condition::Equal(at), Some(old)) => {
            is_text(old.string().ok_or(Error::WrongType)?, &args[at])
        }
    };
    if is_wanted && !is_past {
        feed::propagate_set(cx, args, &options, expiry);
        set_from_arg(cx, args, 2, expiry);
    } else if is_wanted && exists {
        expire_at_once(cx, &key);
    }
    match (options.get, is_wanted) {
        (true, _) => {}
        (false, true) => cx.reply.ok(),
        (false, false) => cx.reply.null(),
    }
    Ok(())
}

static SETNX: Command = Command::single(
    setnx,
    Card::new("setnx", Group::String, "1.0.0")
        .summary("Sets the string value of a key only when the key doesn't exist.")
        .constant_time()
        .arity(3)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::creates()])
        .args(&[Arg::key("key"), Arg::string("value")]),
);

fn setnx(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let is_new = cx.slice.peek(cx.db, &key).is_none();
    if is_new {
        set_from_arg(cx, args, 2, Expiry::Clear);
    }
    cx.reply.integer(i64::from(is_new));
    Ok(())
}

static SETEX: Command = Command::single(
    setex,
    Card::new("setex", Group::String, "2.0.0")
        .summary(
            "Sets the string value and expiration time of a key. Creates the key if it doesn't \
             exist.",
        )
        .constant_time()
        .arity(4)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .keys(&[KeySpec::overwrites()])
        .args(&[Arg::key("key"), Arg::integer("seconds"), Arg::string("value")]),
);

fn setex(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let at = Unit::Seconds.deadline(&args[2], cx.now_ms, "setex")?;
    feed::propagate_set_until(cx, b"SET", args, 3, at);
    set_from_arg(cx, args, 3, Expiry::At(at));
    cx.reply.ok();
    Ok(())
}

static PSETEX: Command = Command::single(
    psetex,
    Card::new("psetex", Group::String, "2.6.0")
        .summary(
            "Sets both string value and expiration time in milliseconds of a key. The key is \
             created if it doesn't exist.",
        )
        .constant_time()
        .arity(4)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .keys(&[KeySpec::overwrites()])
        .args(&[Arg::key("key"), Arg::integer("milliseconds"), Arg::string("value")]),
);

fn psetex(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let at = Unit::Millis.deadline(&args[2], cx.now_ms, "psetex")?;
    feed::propagate_set_until(cx, b"SET", args, 3, at);
    set_from_arg(cx, args, 3, Expiry::At(at));
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests;
