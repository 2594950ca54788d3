//! The expiry of fields: commands that set it, read it or remove it.

use super::FIELDS;
use super::Seen;
use super::exchange::{Effect, propagate_effect, propagate_removed};
use super::options::{Fields, Unit, mismatch};
use crate::commands::args::Conditions;
use crate::exec::{Command, Context};
use crate::keyspace::Event;
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::hash::Hash;

/// The reply for a field that does not exist.
const NO_FIELD: i64 = -2;

/// The reply for a field without an expiry.
const NO_EXPIRY: i64 = -1;

/// Sets the expiry of fields to the number at argument 2, in `unit`. Fields whose new expiry is in
/// the past are removed.
fn expire_fields(
    cx: &mut Context<'_>,
    args: &Args<'_>,
    unit: Unit,
    command: &str,
) -> Result<(), Error> {
    let fields = Fields::find(args, 3)?;
    let conditions = Conditions::of(args, 3..fields.keyword)?;
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
    let (mut removed, mut changed, mut has_hidden) = (Vec::new(), Vec::new(), false);
    for name in args.iter_from(fields.first) {
        let result = match seen.get(&hash, name).map(|field| field.expiry) {
            None => {
                has_hidden |= seen.hides(&hash, name);
                NO_FIELD
            }
            Some(old) if !conditions.allow(old, at) => 0,
            Some(_) if is_past => {
                hash.remove(name);
                removed.push(name);
                2
            }
            Some(_) => {
                hash.set_expiry(name, Some(at));
                changed.push(name);
                1
            }
        };
        cx.reply.integer(result);
    }
    let changes = removed.len() + changed.len();
    if changes > 0 {
        let event = if is_past { Event::HExpired } else { Event::HExpire };
        hash.raise(event, changes as u64);
    }
    drop(hash);
    if !removed.is_empty() {
        cx.slice.count_expired_fields(removed.len() as u64);
        propagate_removed(cx, &key, &removed);
    } else if changes > 0 && has_hidden {
        propagate_effect(cx, &key, Effect::ExpireAt(at), &changed);
    } else if changes > 0 && (unit.is_relative || unit.scale != 1) && cx.is_recorded() {
        let mut digits = itoa::Buffer::new();
        let mut propagated = vec![b"HPEXPIREAT", key.bytes, digits.format(at).as_bytes()];
        propagated.extend(args.iter_from(3));
        cx.propagate(&propagated);
    }
    Ok(())
}

pub(super) static HEXPIRE: Command = Command::single(
    hexpire,
    Card::new("hexpire", Group::Hash, "9.0.0")
        .summary("Sets expiry time on hash fields.")
        .complexity("O(N) where N is the number of specified fields.")
        .steady()
        .arity(-6)
        .flags(Flag::WRITE.and(Flag::FAST))
        .keys(&[KeySpec::updates()])
        .args(&[
            Arg::key("key"),
            Arg::integer("seconds"),
            Arg::choice("condition", &["NX", "XX", "GT", "LT"]).optional(),
            Arg::block("fields", &[Arg::integer("numfields"), Arg::string("field").repeated()])
                .after("FIELDS"),
        ]),
);

fn hexpire(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    expire_fields(cx, args, Unit { scale: 1_000, is_relative: true }, "hexpire")
}

/// The condition on the expiry that a field has.
const CONDITION: Arg = Arg::choice("condition", &["NX", "XX", "GT", "LT"]).since("9.0.0");

pub(super) static HPEXPIRE: Command = Command::single(
    hpexpire,
    Card::new("hpexpire", Group::Hash, "9.0.0")
        .summary("Sets expiry time on hash object.")
        .complexity("O(N) where N is the number of specified fields.")
        .steady()
        .arity(-6)
        .flags(Flag::WRITE.and(Flag::FAST))
        .keys(&[KeySpec::updates()])
        .args(&[Arg::key("key"), Arg::integer("milliseconds"), CONDITION.optional(), FIELDS]),
);

fn hpexpire(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    expire_fields(cx, args, Unit { scale: 1, is_relative: true }, "hpexpire")
}

pub(super) static HEXPIREAT: Command = Command::single(
    hexpireat,
    Card::new("hexpireat", Group::Hash, "9.0.0")
        .summary("Sets expiry time on hash fields.")
        .complexity("O(N) where N is the number of specified fields.")
        .steady()
        .arity(-6)
        .flags(Flag::WRITE.and(Flag::FAST))
        .keys(&[KeySpec::updates()])
        .args(&[Arg::key("key"), Arg::integer("unix-time-seconds"), CONDITION.optional(), FIELDS]),
);

fn hexpireat(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    expire_fields(cx, args, Unit { scale: 1_000, is_relative: false }, "hexpireat")
}

pub(super) static HPEXPIREAT: Command = Command::single(
    hpexpireat,
    Card::new("hpexpireat", Group::Hash, "9.0.0")
        .summary("Sets expiration time on hash field.")
        .complexity("O(N) where N is the number of specified fields.")
        .steady()
        .arity(-6)
        .flags(Flag::WRITE.and(Flag::FAST))
        .keys(&[KeySpec::updates()])
        .args(&[
            Arg::key("key"),
            Arg::integer("unix-time-milliseconds"),
            CONDITION.optional(),
            FIELDS,
        ]),
);

fn hpexpireat(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    expire_fields(cx, args, Unit { scale: 1, is_relative: false }, "hpexpireat")
}

/// Replies for each field with the result of `show` for its expiry.
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

/// Returns milliseconds as seconds, rounded to the nearest.
fn seconds(ms: u64) -> u64 {
    (ms + 500) / 1_000
}

pub(super) static HTTL: Command = Command::single(
    httl,
    Card::new("httl", Group::Hash, "9.0.0")
        .summary(
            "Returns the remaining time to live (in seconds) of a hash key's field(s) that have \
             an associated expiration.",
        )
        .complexity("O(N) where N is the number of specified fields.")
        .steady()
        .arity(-5)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key"), FIELDS]),
);

fn httl(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let now_ms = cx.now_ms;
    reply_expiries(cx, args, |at| seconds(at.saturating_sub(now_ms)))
}

pub(super) static HPTTL: Command = Command::single(
    hpttl,
    Card::new("hpttl", Group::Hash, "9.0.0")
        .summary(
            "Returns the remaining time to live in milliseconds of a hash key's field(s) that \
             have an associated expiration.",
        )
        .complexity("O(N) where N is the number of specified fields.")
        .steady()
        .arity(-5)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key"), FIELDS]),
);

fn hpttl(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let now_ms = cx.now_ms;
    reply_expiries(cx, args, |at| at.saturating_sub(now_ms))
}

pub(super) static HEXPIRETIME: Command = Command::single(
    hexpiretime,
    Card::new("hexpiretime", Group::Hash, "9.0.0")
        .summary(
            "Returns Unix timestamps in seconds since the epoch at which the given key's field(s) \
             will expire.",
        )
        .complexity("O(N) where N is the number of specified fields.")
        .steady()
        .arity(-5)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key"), FIELDS]),
);

fn hexpiretime(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    reply_expiries(cx, args, seconds)
}

pub(super) static HPEXPIRETIME: Command = Command::single(
    hpexpiretime,
    Card::new("hpexpiretime", Group::Hash, "9.0.0")
        .summary(
            "Returns the Unix timestamp in milliseconds since Unix epoch at which the given key's \
             field(s) will expire.",
        )
        .complexity("O(N) where N is the number of specified fields.")
        .steady()
        .arity(-5)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key"), FIELDS]),
);

fn hpexpiretime(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    reply_expiries(cx, args, |at| at)
}

pub(super) static HPERSIST: Command = Command::single(
    hpersist,
    Card::new("hpersist", Group::Hash, "9.0.0")
        .summary("Remove the existing expiration on a hash key's field(s).")
        .complexity("O(N) where N is the number of specified fields.")
        .steady()
        .arity(-5)
        .flags(Flag::WRITE.and(Flag::FAST))
        .keys(&[KeySpec::updates()])
        .args(&[Arg::key("key"), FIELDS]),
);

fn hpersist(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let fields = Fields::behind_key(args, mismatch)?;
    let seen = Seen::of(cx);
    let key = cx.key(args, 1);
    let mut hash = cx.slice.edit::<Hash>(cx.db, &key)?;
    cx.reply.array(args.len() - fields.first);
    let (mut changed, mut has_hidden) = (Vec::new(), false);
    for name in args.iter_from(fields.first) {
        has_hidden |= hash.as_ref().is_some_and(|hash| seen.hides(hash, name));
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
            changed.push(name);
        }
        cx.reply.integer(result);
    }
    if let Some(hash) = hash.as_mut().filter(|_| !changed.is_empty()) {
        hash.raise(Event::HPersist, changed.len() as u64);
    }
    drop(hash);
    if !changed.is_empty() && has_hidden {
        propagate_effect(cx, &key, Effect::Persist, &changed);
    }
    Ok(())
}
