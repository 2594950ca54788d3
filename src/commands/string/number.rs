//! Numbers in strings: INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT. Hot.

use crate::base::extended::Extended;
use crate::base::number::parse_i64;
use crate::exec::{Command, Context};
use crate::keyspace::{Event, Expiry};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::string::{NewStr, Str};

/// Adds `increment` to the key at argument 1 and replies with the sum.
#[inline]
fn add(cx: &mut Context<'_>, args: &Args<'_>, increment: i64) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let sum = cx.slice.change_int(cx.db, &key, |old| {
        let old = match old {
            None => 0,
            Some(view) => {
                let value = view.string().ok_or(Error::WrongType)?;
                value.as_int().ok_or(Error::NotInteger)?
            }
        };
        old.checked_add(increment).ok_or(Error::IncrementOverflow)
    })?;
    cx.raise(&key, Event::IncrBy, 1);
    cx.reply.integer(sum);
    Ok(())
}

pub(super) static INCR: Command = Command::single(
    incr,
    Card::new("incr", Group::String, "1.0.0")
        .summary(
            "Increments the integer value of a key by one. Uses 0 as initial value if the key \
             doesn't exist.",
        )
        .constant_time()
        .arity(2)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::updates().using_data()])
        .args(&[Arg::key("key")]),
);

fn incr(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    add(cx, args, 1)
}

pub(super) static DECR: Command = Command::single(
    decr,
    Card::new("decr", Group::String, "1.0.0")
        .summary(
            "Decrements the integer value of a key by one. Uses 0 as initial value if the key \
             doesn't exist.",
        )
        .constant_time()
        .arity(2)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::updates().using_data()])
        .args(&[Arg::key("key")]),
);

fn decr(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    add(cx, args, -1)
}

pub(super) static INCRBY: Command = Command::single(
    incrby,
    Card::new("incrby", Group::String, "1.0.0")
        .summary(
            "Increments the integer value of a key by a number. Uses 0 as initial value if the \
             key doesn't exist.",
        )
        .constant_time()
        .arity(3)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::updates().using_data()])
        .args(&[Arg::key("key"), Arg::integer("increment")]),
);

fn incrby(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let increment = parse_i64(&args[2]).ok_or(Error::NotInteger)?;
    add(cx, args, increment)
}

pub(super) static DECRBY: Command = Command::single(
    decrby,
    Card::new("decrby", Group::String, "1.0.0")
        .summary(
            "Decrements the integer value of a key by a number. Uses 0 as initial value if the \
             key doesn't exist.",
        )
        .constant_time()
        .arity(3)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::updates().using_data()])
        .args(&[Arg::key("key"), Arg::integer("decrement")]),
);

fn decrby(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let decrement = parse_i64(&args[2]).ok_or(Error::NotInteger)?;
    let increment = decrement.checked_neg().ok_or(Error::DecrementOverflow)?;
    add(cx, args, increment)
}

pub(super) static INCRBYFLOAT: Command = Command::single(
    incrbyfloat,
    Card::new("incrbyfloat", Group::String, "2.6.0")
        .summary(
            "Increments the floating point value of a key by a number. Uses 0 as initial value if \
             the key doesn't exist.",
        )
        .constant_time()
        .arity(3)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::updates().using_data()])
        .args(&[Arg::key("key"), Arg::double("increment")]),
);

fn incrbyfloat(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let old = match cx.slice.peek(cx.db, &key) {
        None => Extended::ZERO,
        Some(view) => match view.string().ok_or(Error::WrongType)? {
            Str::Int(number) => Extended::from_i64(number),
            Str::Bytes(text) => Extended::parse(text).ok_or(Error::NotFloat)?,
            Str::Large(text) => Extended::parse(text).ok_or(Error::NotFloat)?,
        },
    };
    let increment = Extended::parse(&args[2]).ok_or(Error::NotFloat)?;
    let sum = old.checked_add(increment).ok_or(Error::NanOrInfinity)?.text();
    // Like the reference server, stores the sum as text even if it is an integer.
    cx.slice.set(cx.db, &key, NewStr::Bytes(&sum), Expiry::Keep);
    cx.raise(&key, Event::IncrByFloat, 1);
    // Propagates the sum, because other machines may add floats differently.
    cx.propagate(&[b"SET", key.bytes, &sum, b"KEEPTTL"]);
    cx.reply.bulk(&sum);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check_script;

    #[test]
    fn integers() {
        check_script(
            r#"
            INCR n => :1 +1
            INCR n => :2 +1
            GET n => "2"
            DECR n => :1 +1
            DECR m => :-1 +1
            INCRBY n 10 => :11 +1
            INCRBY n -20 => :-9 +1
            DECRBY n 5 => :-14 +1
            DECRBY n -5 => :-9 +1
            GET n => "-9"
            INCR => -ERR wrong number of arguments for 'incr' command
            INCRBY n => -ERR wrong number of arguments for 'incrby' command
            INCRBY n x => -ERR value is not an integer or out of range
            INCRBY n 1.5 => -ERR value is not an integer or out of range
            INCRBY n '' => -ERR value is not an integer or out of range
            INCRBY n +1 => -ERR value is not an integer or out of range
            INCRBY n 01 => -ERR value is not an integer or out of range
            INCRBY n 9223372036854775808 => -ERR value is not an integer or out of range
            DECRBY n x => -ERR value is not an integer or out of range
            DECRBY n -9223372036854775808 => -ERR decrement would overflow
            SET n 9223372036854775807 => OK +1
            INCR n => -ERR increment or decrement would overflow
            INCRBY n 1 => -ERR increment or decrement would overflow
            INCRBY n 0 => :9223372036854775807 +1
            INCRBY n -9223372036854775808 => :-1 +1
            DECRBY n 9223372036854775807 => :-9223372036854775808 +1
            GET n => "-9223372036854775808"
            SET n -9223372036854775808 => OK +1
            DECR n => -ERR increment or decrement would overflow
            DECRBY n 1 => -ERR increment or decrement would overflow
            INCRBY n -1 => -ERR increment or decrement would overflow
            DECRBY n -9223372036854775808 => -ERR decrement would overflow
            SET n abc => OK +1
            INCR n => -ERR value is not an integer or out of range
            INCRBY n x => -ERR value is not an integer or out of range
            DECRBY n -9223372036854775808 => -ERR decrement would overflow
            SET n '' => OK +1
            INCR n => -ERR value is not an integer or out of range
            SET n 007 => OK +1
            INCR n => -ERR value is not an integer or out of range
            SET n 5 EX 100 => OK +1
            INCR n => :6 +1
            TTL n => :100
            SET n 1 => OK +1
            APPEND n 2 => :2 +1
            INCR n => :13 +1
            GET n => "13"
            SET n 5 PX 20 => OK +1
            ADVANCE 40
            INCR n => :1 +1
            TTL n => :-1
            "#,
        );
    }

    #[test]
    fn floats() {
        check_script(
            r#"
            INCRBYFLOAT f 1.5 => "1.5" +1
            INCRBYFLOAT f 1.5 => "3" +1
            GET f => "3"
            INCR f => :4 +1
            INCRBYFLOAT f -5 => "-1" +1
            INCRBYFLOAT f 0.1 => "-0.9" +1
            INCRBYFLOAT f 3.0e3 => "2999.10000000000000009" +1
            INCRBYFLOAT f x => -ERR value is not a valid float
            INCRBYFLOAT f '' => -ERR value is not a valid float
            INCRBYFLOAT f nan => -ERR value is not a valid float
            INCRBYFLOAT f inf => -ERR increment would produce NaN or Infinity
            INCRBYFLOAT f -inf => -ERR increment would produce NaN or Infinity
            INCRBYFLOAT f 1e5000 => -ERR value is not a valid float
            INCRBYFLOAT f => -ERR wrong number of arguments for 'incrbyfloat' command
            SET f abc => OK +1
            INCRBYFLOAT f 1 => -ERR value is not a valid float
            INCRBYFLOAT f x => -ERR value is not a valid float
            SET f inf => OK +1
            INCRBYFLOAT f 1 => -ERR increment would produce NaN or Infinity
            INCRBYFLOAT f nan => -ERR value is not a valid float
            SET f 10 EX 100 => OK +1
            INCRBYFLOAT f 1 => "11" +1
            TTL f => :100
            SET f 5.0e3 => OK +1
            INCRBYFLOAT f 2.0e2 => "5200" +1
            SET f 1 => OK +1
            INCRBYFLOAT f -1 => "0" +1
            GET f => "0"
            SET f 9223372036854775807 => OK +1
            INCRBYFLOAT f 1 => "9223372036854775808" +1
            INCR f => -ERR value is not an integer or out of range
            SET f 0.1 => OK +1
            INCRBYFLOAT f 0.2 => "0.3" +1
            "#,
        );
    }
}
