//! Commands on one string: GET, SET and what goes with them. Hot.

mod many;
mod number;
mod options;

use crate::exec::{Command, Context, Run};
use crate::keyspace::{Expiry, Key};
use crate::resp::{Args, Error, Reply};
use crate::spec::{Card, Category, Flag, Group, KeySpec};
use crate::value::string::{IntText, NewStr, Str};
use bytes::BytesMut;
use options::{Condition, Lifetime, Options, Unit};

/// The string commands.
pub static FAMILY: &[&Command] = &[
    &GET,
    &SET,
    &SETNX,
    &SETEX,
    &PSETEX,
    &GETSET,
    &GETDEL,
    &GETEX,
    &APPEND,
    &STRLEN,
    &number::INCR,
    &number::DECR,
    &number::INCRBY,
    &number::DECRBY,
    &number::INCRBYFLOAT,
    &many::MGET,
    &many::MSET,
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

/// Replies with the key's value, or with null; gives whether there is one.
#[inline]
fn reply_value(cx: &mut Context<'_>, key: &Key<'_>) -> Result<bool, Error> {
    let Some(view) = cx.slice.lookup(cx.db, key) else {
        cx.reply.null();
        return Ok(false);
    };
    reply_string(&mut cx.reply, view.string().ok_or(Error::WrongType)?);
    Ok(true)
}

/// A word as a value to keep: `large` is the buffer that was taken from it, if it had one.
#[inline]
fn new_value(word: &[u8], large: Option<BytesMut>) -> NewStr<'_> {
    match large {
        None => NewStr::from_bytes(word),
        Some(buffer) => NewStr::Large(buffer.freeze()),
    }
}

/// Sets the key at word 1 to the value at word `index`.
#[inline]
fn set_word(cx: &mut Context<'_>, args: &mut Args<'_>, index: usize, expiry: Expiry) {
    let large = args.take_large(index);
    let key = cx.key(args, 1);
    cx.slice.set(cx.db, &key, new_value(&args[index], large), expiry);
    cx.effects.changes += 1;
}

static GET: Command = Command {
    card: Card {
        name: "get",
        summary: "Returns the string value of a key.",
        since: "1.0.0",
        group: Group::String,
        complexity: "O(1)",
        arity: 2,
        flags: Flag::READONLY.and(Flag::FAST),
        categories: &[Category::String],
        tips: &[],
        keys: &[KeySpec::first("RO access")],
    },
    run: Run::Keys(get),
    subcommands: &[],
};

fn get(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    reply_value(cx, &key)?;
    Ok(())
}

static SET: Command = Command {
    card: Card {
        name: "set",
        summary: "Sets the string value of a key, ignoring its type. The key is created if it \
            doesn't exist.",
        since: "1.0.0",
        group: Group::String,
        complexity: "O(1)",
        arity: -3,
        flags: Flag::WRITE.and(Flag::DENYOOM),
        categories: &[Category::String],
        tips: &[],
        keys: &[KeySpec::first("RW access update variable_flags")
            .note("RW and ACCESS due to the optional `GET` argument")],
    },
    run: Run::Keys(set),
    subcommands: &[],
};

fn set(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if args.len() == 3 {
        set_word(cx, args, 2, Expiry::Clear);
        cx.reply.ok();
        return Ok(());
    }
    let options = Options::of_set(args)?;
    let expiry = match options.lifetime {
        Lifetime::Unsaid => Expiry::Clear,
        Lifetime::Word => Expiry::Keep,
        Lifetime::Given(unit, at) => Expiry::At(unit.deadline(&args[at], cx.now_ms, "set")?),
    };
    let is_past = matches!(expiry, Expiry::At(at) if cx.slice.is_past(at));
    if options.get || is_past || options.condition != Condition::Always {
        return set_if(cx, args, options, expiry, is_past);
    }
    set_word(cx, args, 2, expiry);
    cx.reply.ok();
    Ok(())
}

/// SET that has to look at the key first.
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
    let is_there = old.is_some();
    let is_wanted = match (options.condition, old) {
        (Condition::Always, _) => true,
        (Condition::Absent, old) => old.is_none(),
        (Condition::Present, old) => old.is_some(),
        (Condition::Equal(_), None) => false,
        (Condition::Equal(at), Some(old)) => {
            let old = old.string().ok_or(Error::WrongType)?;
            *old.text(&mut IntText::new()) == args[at]
        }
    };
    if is_wanted && !is_past {
        set_word(cx, args, 2, expiry);
    } else if is_wanted && is_there {
        cx.slice.expire(cx.db, &key);
        cx.effects.changes += 1;
    }
    match (options.get, is_wanted) {
        (true, _) => {}
        (false, true) => cx.reply.ok(),
        (false, false) => cx.reply.null(),
    }
    Ok(())
}

static SETNX: Command = Command {
    card: Card {
        name: "setnx",
        summary: "Sets the string value of a key only when the key doesn't exist.",
        since: "1.0.0",
        group: Group::String,
        complexity: "O(1)",
        arity: 3,
        flags: Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST),
        categories: &[Category::String],
        tips: &[],
        keys: &[KeySpec::first("OW insert")],
    },
    run: Run::Keys(setnx),
    subcommands: &[],
};

fn setnx(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let is_new = cx.slice.peek(cx.db, &key).is_none();
    if is_new {
        set_word(cx, args, 2, Expiry::Clear);
    }
    cx.reply.integer(i64::from(is_new));
    Ok(())
}

static SETEX: Command = Command {
    card: Card {
        name: "setex",
        summary: "Sets the string value and expiration time of a key. Creates the key if it \
            doesn't exist.",
        since: "2.0.0",
        group: Group::String,
        complexity: "O(1)",
        arity: 4,
        flags: Flag::WRITE.and(Flag::DENYOOM),
        categories: &[Category::String],
        tips: &[],
        keys: &[KeySpec::first("OW update")],
    },
    run: Run::Keys(setex),
    subcommands: &[],
};

fn setex(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let at = Unit::Seconds.deadline(&args[2], cx.now_ms, "setex")?;
    set_word(cx, args, 3, Expiry::At(at));
    cx.reply.ok();
    Ok(())
}

static PSETEX: Command = Command {
    card: Card {
        name: "psetex",
        summary: "Sets both string value and expiration time in milliseconds of a key. The key is \
            created if it doesn't exist.",
        since: "2.6.0",
        group: Group::String,
        complexity: "O(1)",
        arity: 4,
        flags: Flag::WRITE.and(Flag::DENYOOM),
        categories: &[Category::String],
        tips: &[],
        keys: &[KeySpec::first("OW update")],
    },
    run: Run::Keys(psetex),
    subcommands: &[],
};

fn psetex(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let at = Unit::Millis.deadline(&args[2], cx.now_ms, "psetex")?;
    set_word(cx, args, 3, Expiry::At(at));
    cx.reply.ok();
    Ok(())
}

static GETSET: Command = Command {
    card: Card {
        name: "getset",
        summary: "Returns the previous string value of a key after setting it to a new value.",
        since: "1.0.0",
        group: Group::String,
        complexity: "O(1)",
        arity: 3,
        flags: Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST),
        categories: &[Category::String],
        tips: &[],
        keys: &[KeySpec::first("RW access update")],
    },
    run: Run::Keys(getset),
    subcommands: &[],
};

fn getset(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    reply_value(cx, &key)?;
    set_word(cx, args, 2, Expiry::Clear);
    Ok(())
}

static GETDEL: Command = Command {
    card: Card {
        name: "getdel",
        summary: "Returns the string value of a key after deleting the key.",
        since: "6.2.0",
        group: Group::String,
        complexity: "O(1)",
        arity: 2,
        flags: Flag::WRITE.and(Flag::FAST),
        categories: &[Category::String],
        tips: &[],
        keys: &[KeySpec::first("RW access delete")],
    },
    run: Run::Keys(getdel),
    subcommands: &[],
};

fn getdel(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    if reply_value(cx, &key)? {
        cx.slice.remove(cx.db, &key);
        cx.effects.changes += 1;
    }
    Ok(())
}

static GETEX: Command = Command {
    card: Card {
        name: "getex",
        summary: "Returns the string value of a key after setting its expiration time.",
        since: "6.2.0",
        group: Group::String,
        complexity: "O(1)",
        arity: -2,
        flags: Flag::WRITE.and(Flag::FAST),
        categories: &[Category::String],
        tips: &[],
        keys: &[KeySpec::first("RW access update").note(
            "RW and UPDATE because it \
                changes the TTL",
        )],
    },
    run: Run::Keys(getex),
    subcommands: &[],
};

fn getex(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let options = Options::of_getex(args)?;
    let at = match options.lifetime {
        Lifetime::Given(unit, at) => Some(unit.deadline(&args[at], cx.now_ms, "getex")?),
        Lifetime::Unsaid | Lifetime::Word => None,
    };
    let key = cx.key(args, 1);
    let Some(view) = cx.slice.lookup(cx.db, &key) else {
        cx.reply.null();
        return Ok(());
    };
    reply_string(&mut cx.reply, view.string().ok_or(Error::WrongType)?);
    let had_expiry = view.expiry().is_some();
    match (at, options.lifetime) {
        (Some(at), _) if cx.slice.is_past(at) => {
            cx.slice.expire(cx.db, &key);
            cx.effects.changes += 1;
        }
        (Some(at), _) => {
            cx.slice.set_expiry(cx.db, &key, Some(at));
            cx.effects.changes += 1;
        }
        (None, Lifetime::Word) if had_expiry => {
            cx.slice.set_expiry(cx.db, &key, None);
            cx.effects.changes += 1;
        }
        (None, _) => {}
    }
    Ok(())
}

static APPEND: Command = Command {
    card: Card {
        name: "append",
        summary: "Appends a string to the value of a key. Creates the key if it doesn't exist.",
        since: "2.0.0",
        group: Group::String,
        complexity: "O(1). The amortized time complexity is O(1) assuming the appended value is \
            small and the already present value is of any size, since the dynamic string library \
            used by the server will double the free space available on every reallocation.",
        arity: 3,
        flags: Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST),
        categories: &[Category::String],
        tips: &[],
        keys: &[KeySpec::first("RW insert")],
    },
    run: Run::Keys(append),
    subcommands: &[],
};

fn append(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let Some(view) = cx.slice.peek(cx.db, &key) else {
        let len = args[2].len();
        set_word(cx, args, 2, Expiry::Clear);
        cx.reply.integer(len as i64);
        return Ok(());
    };
    let len = view.string().ok_or(Error::WrongType)?.len() + args[2].len();
    if len as u64 > cx.string_bytes_max {
        return Err(Error::StringTooLong);
    }
    let len = cx.slice.append(cx.db, &key, &args[2]);
    cx.effects.changes += 1;
    cx.reply.integer(len as i64);
    Ok(())
}

static STRLEN: Command = Command {
    card: Card {
        name: "strlen",
        summary: "Returns the length of a string value.",
        since: "2.2.0",
        group: Group::String,
        complexity: "O(1)",
        arity: 2,
        flags: Flag::READONLY.and(Flag::FAST),
        categories: &[Category::String],
        tips: &[],
        keys: &[KeySpec::first("RO")],
    },
    run: Run::Keys(strlen),
    subcommands: &[],
};

fn strlen(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let len = match cx.slice.lookup(cx.db, &key) {
        None => 0,
        Some(view) => view.string().ok_or(Error::WrongType)?.len(),
    };
    cx.reply.integer(len as i64);
    Ok(())
}

#[cfg(test)]
mod tests;
