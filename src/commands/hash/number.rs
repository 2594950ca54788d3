//! Fields that are numbers: HINCRBY and HINCRBYFLOAT.

use super::write::{is_past, replaces_expired};
use super::{Seen, limits_of};
use crate::base::extended::Extended;
use crate::base::number::parse_i64;
use crate::exec::{Command, Context};
use crate::keyspace::Event;
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::hash::Hash;
use crate::value::pack::Item;

/// The result of a change of a number, as needed for propagation.
struct Changed {
    /// The new value as text.
    value: Vec<u8>,
    /// The expiry of the field, which does not change; Unix milliseconds.
    expiry: Option<u64>,
    /// Whether the hash had fields with an expiry.
    has_volatile: bool,
}

/// Sets the field at argument 2 to the text that `change` makes of its value. The field keeps its
/// expiry.
fn change(
    cx: &mut Context<'_>,
    args: &Args<'_>,
    event: Event,
    change: impl FnOnce(Option<Item<'_>>) -> Result<Vec<u8>, Error>,
) -> Result<Changed, Error> {
    let (limits, seen) = (limits_of(cx), Seen::of(cx));
    let key = cx.key(args, 1);
    let is_past = is_past(cx.slice);
    let mut hash = cx.slice.edit_or_new::<Hash>(cx.db, &key)?;
    let field = seen.get(&hash, &args[2]);
    let expiry = field.and_then(|field| field.expiry);
    let value = change(field.map(|field| field.value))?;
    let has_volatile = hash.volatile_len() > 0;
    let was_expired = replaces_expired(is_past, &hash, &args[2]);
    hash.set(&args[2], &value, expiry, &limits);
    if was_expired {
        hash.raise(Event::HExpired, 0);
    }
    hash.raise(event, 1);
    drop(hash);
    cx.slice.count_expired_fields(u64::from(was_expired));
    Ok(Changed { value, expiry, has_volatile })
}

/// Propagates the new value of the field, with its expiry.
fn propagate_value(cx: &mut Context<'_>, args: &Args<'_>, changed: &Changed) {
    let (key, name, value) = (&args[1], &args[2], &changed.value[..]);
    match changed.expiry {
        None => cx.propagate(&[b"HSET", key, name, value]),
        Some(at) => {
            let mut digits = itoa::Buffer::new();
            let at = digits.format(at).as_bytes();
            cx.propagate(&[b"HSETEX", key, b"PXAT", at, b"FIELDS", b"1", name, value]);
        }
    }
}

pub(super) static HINCRBY: Command = Command::single(
    hincrby,
    Card::new("hincrby", Group::Hash, "2.0.0")
        .summary(
            "Increments the integer value of a field in a hash by a number. Uses 0 as initial \
             value if the field doesn't exist.",
        )
        .constant_time()
        .arity(4)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::updates().using_data()])
        .args(&[Arg::key("key"), Arg::string("field"), Arg::integer("increment")]),
);

fn hincrby(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let increment = parse_i64(&args[3]).ok_or(Error::NotInteger)?;
    let mut sum = 0;
    let changed = change(cx, args, Event::HIncrBy, |old| {
        let old = match old {
            None => 0,
            Some(Item::Int(number)) => number,
            Some(Item::Bytes(_)) => return Err(Error::other("ERR hash value is not an integer")),
        };
        sum = old.checked_add(increment).ok_or(Error::IncrementOverflow)?;
        Ok(itoa::Buffer::new().format(sum).as_bytes().to_vec())
    })?;
    if changed.has_volatile {
        // Elsewhere an expired field may still exist, so the increment could have another result
        // there.
        propagate_value(cx, args, &changed);
    }
    cx.reply.integer(sum);
    Ok(())
}

pub(super) static HINCRBYFLOAT: Command = Command::single(
    hincrbyfloat,
    Card::new("hincrbyfloat", Group::Hash, "2.6.0")
        .summary(
            "Increments the floating point value of a field by a number. Uses 0 as initial value \
             if the field doesn't exist.",
        )
        .constant_time()
        .arity(4)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::updates().using_data()])
        .args(&[Arg::key("key"), Arg::string("field"), Arg::double("increment")]),
);

fn hincrbyfloat(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let increment = Extended::parse(&args[3]).ok_or(Error::NotFloat)?;
    if !increment.is_finite() {
        return Err(Error::other("ERR value is NaN or Infinity"));
    }
    let changed = change(cx, args, Event::HIncrByFloat, |old| {
        let old = match old {
            None => Extended::ZERO,
            Some(Item::Int(number)) => Extended::from_i64(number),
            Some(Item::Bytes(text)) => {
                Extended::parse(text).ok_or(Error::other("ERR hash value is not a float"))?
            }
        };
        Ok(old.checked_add(increment).ok_or(Error::NanOrInfinity)?.text())
    })?;
    // Other machines may add floating point numbers with another result.
    propagate_value(cx, args, &changed);
    cx.reply.bulk(&changed.value);
    Ok(())
}
