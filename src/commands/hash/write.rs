//! Setting and removing fields: HSET, HMSET, HSETNX, HDEL. Hot.

use super::exchange::propagate_removed;
use super::{Seen, limits_of};
use crate::exec::{Command, Context};
use crate::keyspace::{Event, Slice};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::hash::Hash;

/// Returns whether a write to the field replaces an expired one. The expired field then counts as
/// removed first.
pub(super) fn replaces_expired(
    slice_is_past: impl Fn(u64) -> bool,
    hash: &Hash,
    name: &[u8],
) -> bool {
    hash.volatile_len() > 0
        && hash.get(name).and_then(|field| field.expiry).is_some_and(slice_is_past)
}

/// Returns a copy of [`Slice::is_past`] that can be used while a value is edited.
pub(super) fn is_past(slice: &Slice) -> impl Fn(u64) -> bool + Copy + use<> {
    // A time in the past stays in the past, so one bound is enough: the latest such time.
    let latest = slice.past_until_ms();
    move |at| latest.is_some_and(|latest| at <= latest)
}

/// Sets the fields given from argument 2 on. Returns how many of them are new.
fn set_fields(cx: &mut Context<'_>, args: &Args<'_>, command: &str) -> Result<i64, Error> {
    if args.len() % 2 == 1 {
        return Err(Error::wrong_arity(command));
    }
    let limits = limits_of(cx);
    let key = cx.key(args, 1);
    let is_past = is_past(cx.slice);
    let pairs = (args.len() - 2) / 2;
    let mut hash = cx.slice.edit_or_new::<Hash>(cx.db, &key)?;
    hash.expect(pairs, &limits);
    let (mut created, mut expired) = (0, 0);
    for at in (2..args.len()).step_by(2) {
        let was_expired = replaces_expired(is_past, &hash, &args[at]);
        let is_new = hash.set(&args[at], &args[at + 1], None, &limits);
        created += i64::from(is_new || was_expired);
        expired += u64::from(was_expired);
    }
    if expired > 0 {
        hash.raise(Event::HExpired, 0);
    }
    hash.raise(Event::HSet, pairs as u64);
    drop(hash);
    cx.slice.count_expired_fields(expired);
    Ok(created)
}

pub(super) static HSET: Command = Command::single(
    hset,
    Card::new("hset", Group::Hash, "2.0.0")
        .summary("Creates or modifies the value of a field in a hash.")
        .complexity(
            "O(1) for each field/value pair added, so O(N) to add N field/value pairs when the \
             command is called with multiple field/value pairs.",
        )
        .steady()
        .arity(-4)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::updates()])
        .history(&[("4.0.0", "Accepts multiple `field` and `value` arguments.")])
        .args(&[
            Arg::key("key"),
            Arg::block("data", &[Arg::string("field"), Arg::string("value")]).repeated(),
        ]),
);

fn hset(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let created = set_fields(cx, args, "hset")?;
    cx.reply.integer(created);
    Ok(())
}

pub(super) static HMSET: Command = Command::single(
    hmset,
    Card::new("hmset", Group::Hash, "2.0.0")
        .summary("Sets the values of multiple fields.")
        .complexity("O(N) where N is the number of fields being set.")
        .steady()
        .arity(-4)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::updates()])
        .args(&[
            Arg::key("key"),
            Arg::block("data", &[Arg::string("field"), Arg::string("value")]).repeated(),
        ]),
);

fn hmset(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    set_fields(cx, args, "hmset")?;
    cx.reply.ok();
    Ok(())
}

pub(super) static HSETNX: Command = Command::single(
    hsetnx,
    Card::new("hsetnx", Group::Hash, "2.0.0")
        .summary("Sets the value of a field in a hash only when the field doesn't exist.")
        .constant_time()
        .arity(4)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::inserts()])
        .args(&[Arg::key("key"), Arg::string("field"), Arg::string("value")]),
);

fn hsetnx(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let (limits, seen) = (limits_of(cx), Seen::of(cx));
    let key = cx.key(args, 1);
    let is_past = is_past(cx.slice);
    let mut hash = cx.slice.edit_or_new::<Hash>(cx.db, &key)?;
    if seen.get(&hash, &args[2]).is_some() {
        drop(hash);
        cx.reply.integer(0);
        return Ok(());
    }
    let has_volatile = hash.volatile_len() > 0;
    let was_expired = replaces_expired(is_past, &hash, &args[2]);
    hash.expect(1, &limits);
    hash.set(&args[2], &args[3], None, &limits);
    if was_expired {
        hash.raise(Event::HExpired, 0);
    }
    hash.raise(Event::HSet, 1);
    drop(hash);
    cx.slice.count_expired_fields(u64::from(was_expired));
    if has_volatile {
        // Elsewhere an expired field may still exist, and HSETNX would not set it.
        cx.propagate(&[b"HSET", key.bytes, &args[2], &args[3]]);
    }
    cx.reply.integer(1);
    Ok(())
}

pub(super) static HDEL: Command = Command::single(
    hdel,
    Card::new("hdel", Group::Hash, "2.0.0")
        .summary(
            "Deletes one or more fields and their values from a hash. Deletes the hash if no \
             fields remain.",
        )
        .complexity("O(N) where N is the number of fields to be removed.")
        .steady()
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::FAST))
        .keys(&[KeySpec::deletes()])
        .history(&[("2.4.0", "Accepts multiple `field` arguments.")])
        .args(&[Arg::key("key"), Arg::string("field").repeated()]),
);

fn hdel(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let seen = Seen::of(cx);
    let key = cx.key(args, 1);
    let (mut removed, mut has_hidden) = (0, false);
    let mut gone = Vec::new();
    if let Some(mut hash) = cx.slice.edit::<Hash>(cx.db, &key)? {
        let has_volatile = hash.volatile_len() > 0;
        for name in args.iter_from(2) {
            has_hidden |= has_volatile && seen.hides(&hash, name);
            let is_removed = seen.remove(&mut hash, name);
            removed += u64::from(is_removed);
            if has_volatile && is_removed {
                gone.push(name);
            }
        }
        if removed > 0 {
            hash.raise(Event::HDel, removed);
        }
    }
    cx.reply.integer(removed as i64);
    if !gone.is_empty() && has_hidden {
        // A hidden field was not removed, so it stays elsewhere too.
        propagate_removed(cx, &key, &gone);
    }
    Ok(())
}
