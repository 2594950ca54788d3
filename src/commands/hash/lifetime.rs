//! When fields expire: to set it, to ask for it, to undo it.

use super::Seen;
use super::exchange::tell_removed;
use super::options::{Fields, Unit, mismatch};
use crate::commands::words::Conditions;
use crate::exec::{Command, Context, Run};
use crate::resp::{Args, Error};
use crate::spec::{Card, Category, Flag, Group, KeySpec};
use crate::value::hash::Hash;

/// The reply about a field that is not there.
const NO_FIELD: i64 = -2;

/// The reply about a field that does not expire.
const NO_EXPIRY: i64 = -1;

/// Sets when fields expire: the number at word 2, of a unit.
fn expire_fields(
    cx: &mut Context<'_>,
    args: &Args<'_>,
    unit: Unit,
    command: &str,
) -> Result<(), Error> {
    let fields = Fields::find(args, 3)?;
    let conditions = Conditions::of(args, 3..fields.word)?;
    let fields = fields.counted(args, 1, mismatch)?;
    let at = unit.deadline(&args[2], cx.now_ms, command)?;
    let seen = Seen::of(cx);
    let is_past = cx.slice.is_past(at);
    let key = cx.key(args, 1);
    let Some(mut hash) = cx.slice.edit::<Hash>(cx.db, &key)? else {
        cx.reply.array(args.len() - fields.first);
        (fields.first..args.len()).for_each(|_| cx.reply.integer(NO_FIELD));
        return Ok(());
    };
    cx.reply.array(args.len() - fields.first);
    let mut removed = Vec::new();
    let mut changes = 0;
    for name in args.iter_from(fields.first) {
        let result = match seen.get(&hash, name).map(|field| field.expiry) {
            None => NO_FIELD,
            Some(old) if !conditions.allow(old, at) => 0,
            Some(_) if is_past => {
                hash.remove(name);
                removed.push(name);
                2
            }
            Some(_) => {
                hash.set_expiry(name, Some(at));
                1
            }
        };
        changes += u64::from(result > 0);
        cx.reply.integer(result);
    }
    if changes > 0 {
        hash.mark();
    }
    drop(hash);
    cx.effects.changes += changes;
    if !removed.is_empty() {
        cx.slice.count_expired_fields(removed.len() as u64);
        tell_removed(cx, &key, &removed);
    } else if changes > 0 && (unit.is_relative || unit.scale != 1) && cx.is_recorded() {
        let mut digits = itoa::Buffer::new();
        let mut words = vec![b"HPEXPIREAT", key.bytes, digits.format(at).as_bytes()];
        words.extend(args.iter_from(3));
        cx.propagate(&words);
    }
    Ok(())
}

pub(super) static HEXPIRE: Command = Command {
    card: Card {
        name: "hexpire",
        summary: "Sets expiry time on hash fields.",
        since: "9.0.0",
        group: Group::Hash,
        complexity: "O(N) where N is the number of specified fields.",
        arity: -6,
        flags: Flag::WRITE.and(Flag::FAST),
        categories: &[Category::Hash],
        tips: &[],
        keys: &[KeySpec::first("RW update")],
    },
    run: Run::Keys(hexpire),
    subcommands: &[],
};

fn hexpire(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    expire_fields(cx, args, Unit { scale: 1_000, is_relative: true }, "hexpire")
}

pub(super) static HPEXPIRE: Command = Command {
    card: Card {
        name: "hpexpire",
        summary: "Sets expiry time on hash object.",
        since: "9.0.0",
        group: Group::Hash,
        complexity: "O(N) where N is the number of specified fields.",
        arity: -6,
        flags: Flag::WRITE.and(Flag::FAST),
        categories: &[Category::Hash],
        tips: &[],
        keys: &[KeySpec::first("RW update")],
    },
    run: Run::Keys(hpexpire),
    subcommands: &[],
};

fn hpexpire(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    expire_fields(cx, args, Unit { scale: 1, is_relative: true }, "hpexpire")
}

pub(super) static HEXPIREAT: Command = Command {
    card: Card {
        name: "hexpireat",
        summary: "Sets expiry time on hash fields.",
        since: "9.0.0",
        group: Group::Hash,
        complexity: "O(N) where N is the number of specified fields.",
        arity: -6,
        flags: Flag::WRITE.and(Flag::FAST),
        categories: &[Category::Hash],
        tips: &[],
        keys: &[KeySpec::first("RW update")],
    },
    run: Run::Keys(hexpireat),
    subcommands: &[],
};

fn hexpireat(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    expire_fields(cx, args, Unit { scale: 1_000, is_relative: false }, "hexpireat")
}

pub(super) static HPEXPIREAT: Command = Command {
    card: Card {
        name: "hpexpireat",
        summary: "Sets expiration time on hash field.",
        since: "9.0.0",
        group: Group::Hash,
        complexity: "O(N) where N is the number of specified fields.",
        arity: -6,
        flags: Flag::WRITE.and(Flag::FAST),
        categories: &[Category::Hash],
        tips: &[],
        keys: &[KeySpec::first("RW update")],
    },
    run: Run::Keys(hpexpireat),
    subcommands: &[],
};

fn hpexpireat(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    expire_fields(cx, args, Unit { scale: 1, is_relative: false }, "hpexpireat")
}

/// Replies of each field what `show` makes of its expiry.
fn reply_expiries(
    cx: &mut Context<'_>,
    args: &Args<'_>,
    show: impl Fn(u64) -> u64,
) -> Result<(), Error> {
    let fields = Fields::behind_key(args, || Error::Syntax)?;
    let seen = Seen::of(cx);
    let key = cx.key(args, 1);
    let hash = cx.slice.read::<Hash>(cx.db, &key)?;
    cx.reply.array(args.len() - fields.first);
    for name in args.iter_from(fields.first) {
        let field = hash.and_then(|hash| seen.get(hash, name));
        cx.reply.integer(match field.map(|field| field.expiry) {
            None => NO_FIELD,
            Some(None) => NO_EXPIRY,
            Some(Some(at)) => show(at) as i64,
        });
    }
    Ok(())
}

/// Milliseconds as the nearest second.
fn seconds(ms: u64) -> u64 {
    (ms + 500) / 1_000
}

pub(super) static HTTL: Command = Command {
    card: Card {
        name: "httl",
        summary: "Returns the remaining time to live (in seconds) of a hash key's field(s) that \
            have an associated expiration.",
        since: "9.0.0",
        group: Group::Hash,
        complexity: "O(N) where N is the number of specified fields.",
        arity: -5,
        flags: Flag::READONLY.and(Flag::FAST),
        categories: &[Category::Hash],
        tips: &[],
        keys: &[KeySpec::first("RO access")],
    },
    run: Run::Keys(httl),
    subcommands: &[],
};

fn httl(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let now_ms = cx.now_ms;
    reply_expiries(cx, args, |at| seconds(at.saturating_sub(now_ms)))
}

pub(super) static HPTTL: Command = Command {
    card: Card {
        name: "hpttl",
        summary: "Returns the remaining time to live in milliseconds of a hash key's field(s) \
            that have an associated expiration.",
        since: "9.0.0",
        group: Group::Hash,
        complexity: "O(N) where N is the number of specified fields.",
        arity: -5,
        flags: Flag::READONLY.and(Flag::FAST),
        categories: &[Category::Hash],
        tips: &[],
        keys: &[KeySpec::first("RO access")],
    },
    run: Run::Keys(hpttl),
    subcommands: &[],
};

fn hpttl(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let now_ms = cx.now_ms;
    reply_expiries(cx, args, |at| at.saturating_sub(now_ms))
}

pub(super) static HEXPIRETIME: Command = Command {
    card: Card {
        name: "hexpiretime",
        summary: "Returns Unix timestamps in seconds since the epoch at which the given key's \
            field(s) will expire.",
        since: "9.0.0",
        group: Group::Hash,
        complexity: "O(N) where N is the number of specified fields.",
        arity: -5,
        flags: Flag::READONLY.and(Flag::FAST),
        categories: &[Category::Hash],
        tips: &[],
        keys: &[KeySpec::first("RO access")],
    },
    run: Run::Keys(hexpiretime),
    subcommands: &[],
};

fn hexpiretime(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    reply_expiries(cx, args, seconds)
}

pub(super) static HPEXPIRETIME: Command = Command {
    card: Card {
        name: "hpexpiretime",
        summary: "Returns the Unix timestamp in milliseconds since Unix epoch at which the given \
            key's field(s) will expire.",
        since: "9.0.0",
        group: Group::Hash,
        complexity: "O(N) where N is the number of specified fields.",
        arity: -5,
        flags: Flag::READONLY.and(Flag::FAST),
        categories: &[Category::Hash],
        tips: &[],
        keys: &[KeySpec::first("RO access")],
    },
    run: Run::Keys(hpexpiretime),
    subcommands: &[],
};

fn hpexpiretime(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    reply_expiries(cx, args, |at| at)
}

pub(super) static HPERSIST: Command = Command {
    card: Card {
        name: "hpersist",
        summary: "Remove the existing expiration on a hash key's field(s).",
        since: "9.0.0",
        group: Group::Hash,
        complexity: "O(N) where N is the number of specified fields.",
        arity: -5,
        flags: Flag::WRITE.and(Flag::FAST),
        categories: &[Category::Hash],
        tips: &[],
        keys: &[KeySpec::first("RW update")],
    },
    run: Run::Keys(hpersist),
    subcommands: &[],
};

fn hpersist(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let fields = Fields::behind_key(args, mismatch)?;
    let seen = Seen::of(cx);
    let key = cx.key(args, 1);
    let mut hash = cx.slice.edit::<Hash>(cx.db, &key)?;
    cx.reply.array(args.len() - fields.first);
    for name in args.iter_from(fields.first) {
        let field = hash.as_ref().and_then(|hash| seen.get(hash, name));
        let result = match field.map(|field| field.expiry) {
            None => NO_FIELD,
            Some(None) => NO_EXPIRY,
            Some(Some(_)) => 1,
        };
        if result > 0
            && let Some(hash) = &mut hash
        {
            hash.set_expiry(name, None);
            hash.mark();
            cx.effects.changes += 1;
        }
        cx.reply.integer(result);
    }
    Ok(())
}
