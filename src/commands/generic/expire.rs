//! The expiry of keys: commands that set it, read it or remove it.

use crate::base::number::parse_i64;
use crate::commands::args::Conditions;
use crate::exec::{Command, Context};
use crate::keyspace::Event;
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Category, Flag, Group, KeySpec};

/// Sets the expiry of the key at argument 1 to `start` plus `scale` times the number at argument 2,
/// in Unix milliseconds. A time before 1970 counts as 0.
fn expire_from(
    cx: &mut Context<'_>,
    args: &Args<'_>,
    start: u64,
    scale: i64,
    command: &str,
) -> Result<(), Error> {
    let conditions = Conditions::of(args, 3..args.len())?;
    let number = parse_i64(&args[2]).ok_or(Error::NotInteger)?;
    let at = number.checked_mul(scale).and_then(|ms| ms.checked_add(start as i64));
    let at = at.ok_or_else(|| Error::invalid_expire(command))?.max(0) as u64;
    let key = cx.key(args, 1);
    let old = cx.slice.peek(cx.db, &key).map(|view| view.expiry());
    let is_allowed = old.is_some_and(|old| conditions.allow(old, at));
    if is_allowed {
        if cx.slice.is_past(at) {
            cx.slice.expire(cx.db, &key);
            cx.raise(&key, Event::Expired, 1);
            let name = cx.expire_word();
            cx.propagate(&[name, key.bytes]);
        } else {
            cx.slice.set_expiry(cx.db, &key, Some(at));
            cx.raise(&key, Event::Expire, 1);
            propagate_expiry(cx, args, start != 0 || scale != 1, at);
        }
    }
    cx.reply.integer(i64::from(is_allowed));
    Ok(())
}

/// Propagates an expiry as PEXPIREAT in Unix milliseconds, with the conditions of the command. Does
/// nothing if the command already has that form, because then the command itself is propagated.
fn propagate_expiry(cx: &mut Context<'_>, args: &Args<'_>, is_rewritten: bool, at: u64) {
    if !cx.is_recorded() || !is_rewritten {
        return;
    }
    let mut digits = itoa::Buffer::new();
    let mut propagated = vec![b"PEXPIREAT", &args[1], digits.format(at).as_bytes()];
    propagated.extend(args.iter_from(3));
    cx.propagate(&propagated);
}

/// The condition on the expiry that a key has.
const CONDITION: Arg = Arg::choice("condition", &["NX", "XX", "GT", "LT"]).since("7.0.0");

pub(super) static EXPIRE: Command = Command::single(
    expire,
    Card::new("expire", Group::Generic, "1.0.0")
        .summary("Sets the expiration time of a key in seconds.")
        .constant_time()
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::FAST))
        .categories(&[Category::Keyspace])
        .keys(&[KeySpec::updates()])
        .history(&[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")])
        .args(&[Arg::key("key"), Arg::integer("seconds"), CONDITION.optional()]),
);

fn expire(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    expire_from(cx, args, cx.now_ms, 1_000, "expire")
}

pub(super) static PEXPIRE: Command = Command::single(
    pexpire,
    Card::new("pexpire", Group::Generic, "2.6.0")
        .summary("Sets the expiration time of a key in milliseconds.")
        .constant_time()
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::FAST))
        .categories(&[Category::Keyspace])
        .keys(&[KeySpec::updates()])
        .history(&[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")])
        .args(&[Arg::key("key"), Arg::integer("milliseconds"), CONDITION.optional()]),
);

fn pexpire(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    expire_from(cx, args, cx.now_ms, 1, "pexpire")
}

pub(super) static EXPIREAT: Command = Command::single(
    expireat,
    Card::new("expireat", Group::Generic, "1.2.0")
        .summary("Sets the expiration time of a key to a Unix timestamp.")
        .constant_time()
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::FAST))
        .categories(&[Category::Keyspace])
        .keys(&[KeySpec::updates()])
        .history(&[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")])
        .args(&[Arg::key("key"), Arg::unix_time("unix-time-seconds"), CONDITION.optional()]),
);

fn expireat(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    expire_from(cx, args, 0, 1_000, "expireat")
}

pub(super) static PEXPIREAT: Command = Command::single(
    pexpireat,
    Card::new("pexpireat", Group::Generic, "2.6.0")
        .summary("Sets the expiration time of a key to a Unix milliseconds timestamp.")
        .constant_time()
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::FAST))
        .categories(&[Category::Keyspace])
        .keys(&[KeySpec::updates()])
        .history(&[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")])
        .args(&[Arg::key("key"), Arg::unix_time("unix-time-milliseconds"), CONDITION.optional()]),
);

fn pexpireat(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    expire_from(cx, args, 0, 1, "pexpireat")
}

/// Replies with the result of `shown` for the expiry of the key at argument 1. Replies -1 if the
/// key has no expiry, -2 if there is no such key.
fn reply_expiry(
    cx: &mut Context<'_>,
    args: &Args<'_>,
    shown: impl Fn(u64) -> u64,
) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let number = match cx.slice.inspect(cx.db, &key).map(|view| view.expiry()) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => shown(at) as i64,
    };
    cx.reply.integer(number);
    Ok(())
}

/// Returns milliseconds as seconds, rounded to the nearest.
fn seconds(ms: u64) -> u64 {
    (ms + 500) / 1_000
}

pub(super) static TTL: Command = Command::single(
    ttl,
    Card::new("ttl", Group::Generic, "1.0.0")
        .summary("Returns the expiration time in seconds of a key.")
        .constant_time()
        .arity(2)
        .flags(Flag::READONLY.and(Flag::FAST))
        .categories(&[Category::Keyspace])
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::reads()])
        .history(&[("2.8.0", "Added the -2 reply.")])
        .args(&[Arg::key("key")]),
);

fn ttl(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let now_ms = cx.now_ms;
    reply_expiry(cx, args, |at| seconds(at.saturating_sub(now_ms)))
}

pub(super) static PTTL: Command = Command::single(
    pttl,
    Card::new("pttl", Group::Generic, "2.6.0")
        .summary("Returns the expiration time in milliseconds of a key.")
        .constant_time()
        .arity(2)
        .flags(Flag::READONLY.and(Flag::FAST))
        .categories(&[Category::Keyspace])
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::reads()])
        .history(&[("2.8.0", "Added the -2 reply.")])
        .args(&[Arg::key("key")]),
);

fn pttl(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let now_ms = cx.now_ms;
    reply_expiry(cx, args, |at| at.saturating_sub(now_ms))
}

pub(super) static EXPIRETIME: Command = Command::single(
    expiretime,
    Card::new("expiretime", Group::Generic, "7.0.0")
        .summary("Returns the expiration time of a key as a Unix timestamp.")
        .constant_time()
        .arity(2)
        .flags(Flag::READONLY.and(Flag::FAST))
        .categories(&[Category::Keyspace])
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key")]),
);

fn expiretime(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    reply_expiry(cx, args, seconds)
}

pub(super) static PEXPIRETIME: Command = Command::single(
    pexpiretime,
    Card::new("pexpiretime", Group::Generic, "7.0.0")
        .summary("Returns the expiration time of a key as a Unix milliseconds timestamp.")
        .constant_time()
        .arity(2)
        .flags(Flag::READONLY.and(Flag::FAST))
        .categories(&[Category::Keyspace])
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key")]),
);

fn pexpiretime(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    reply_expiry(cx, args, |at| at)
}

pub(super) static PERSIST: Command = Command::single(
    persist,
    Card::new("persist", Group::Generic, "2.2.0")
        .summary("Removes the expiration time of a key.")
        .constant_time()
        .arity(2)
        .flags(Flag::WRITE.and(Flag::FAST))
        .categories(&[Category::Keyspace])
        .keys(&[KeySpec::updates()])
        .args(&[Arg::key("key")]),
);

fn persist(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let old = cx.slice.peek(cx.db, &key).and_then(|view| view.expiry());
    if old.is_some() {
        cx.slice.set_expiry(cx.db, &key, None);
        cx.raise(&key, Event::Persist, 1);
    }
    cx.reply.integer(i64::from(old.is_some()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::{Bench, check_feed, check_script};

    #[test]
    fn propagated_commands() {
        check_feed(
            r#"
            EXPIRE none 100 =>
            SET k v => SET k v
            EXPIRE k 100 => PEXPIREAT k {now+100000}
            EXPIRE k 100 NX =>
            EXPIRE k 200 xx gt => PEXPIREAT k {now+200000} xx gt
            PEXPIRE k 100000 => PEXPIREAT k {now+100000}
            EXPIREAT k {now_s+100} => PEXPIREAT k {now+100000}
            PEXPIREAT k {now+200000} GT XX => PEXPIREAT k {now+200000} GT XX
            pexpireat k {now+200000} => pexpireat k {now+200000}
            TTL k =>
            PERSIST k => PERSIST k
            PERSIST k =>
            EXPIRE k -1 => UNLINK k
            EXPIRE k -1 =>
            SET k v => SET k v
            PEXPIREAT k 1 => UNLINK k
            SET k v => SET k v
            EXPIREAT k 1 LT => UNLINK k
            SET k v => SET k v
            PEXPIRE k 20 => PEXPIREAT k {now+20}
            ADVANCE 40
            PERSIST k => UNLINK k
            SET k v => SET k v
            PEXPIREAT k {now+60} => PEXPIREAT k {now+60}
            ADVANCE 40
            EXPIRE k 0 => UNLINK k
            "#,
        );
        let mut bench = Bench::new();
        bench.config.lazyfree_lazy_expire = false;
        bench.record();
        bench.run(&["SET", "k", "v"]);
        bench.run(&["EXPIRE", "k", "0"]);
        assert_eq!(bench.recorded(), ["DEL k"]);
    }

    #[test]
    fn expiries_are_set_and_shown() {
        check_script(
            r#"
            TTL k => :-2
            PTTL k => :-2
            EXPIRETIME k => :-2
            PEXPIRETIME k => :-2
            SET k v => OK +1
            TTL k => :-1
            PTTL k => :-1
            EXPIRETIME k => :-1
            PEXPIRETIME k => :-1
            EXPIRE k 100 => :1 +1
            TTL k => :100
            PERSIST k => :1 +1
            PERSIST k => :0
            PERSIST none => :0
            TTL k => :-1
            PEXPIRE k 100400 => :1 +1
            TTL k => :100
            PEXPIRE k 100600 => :1 +1
            TTL k => :101
            EXPIREAT k {now_s+1000} => :1 +1
            EXPIRETIME k => :{now_s+1000}
            PEXPIREAT k {now+1000000} => :1 +1
            PEXPIRETIME k => :{now+1000000}
            EXPIRE none 100 => :0
            EXPIRE none x => -ERR value is not an integer or out of range
            EXPIRE none 100 FOO => -ERR Unsupported option FOO
            EXPIRE none 9223372036854775807 => -ERR invalid expire time in 'expire' command
            "#,
        );
    }

    #[test]
    fn conditions() {
        check_script(
            r#"
            SET k v => OK +1
            EXPIRE k 100 XX => :0
            TTL k => :-1
            EXPIRE k 100 GT => :0
            TTL k => :-1
            EXPIRE k 100 LT => :1 +1
            TTL k => :100
            EXPIRE k 200 NX => :0
            EXPIRE k 200 LT => :0
            EXPIRE k 50 GT => :0
            EXPIRE k 200 GT => :1 +1
            TTL k => :200
            EXPIRE k 100 LT => :1 +1
            TTL k => :100
            EXPIRE k 150 xx => :1 +1
            EXPIRE k 160 XX GT => :1 +1
            EXPIRE k 150 XX LT => :1 +1
            EXPIRE k 160 XX LT => :0
            EXPIRE k 160 XX XX => :1 +1
            TTL k => :160
            PERSIST k => :1 +1
            EXPIRE k 160 XX LT => :0
            EXPIRE k 160 NX => :1 +1
        EXPIRE k 160 NX XX => -ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE k 160 XX NX => -ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE k 160 NX GT => -ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE k 160 NX LT => -ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE k 160 GT LT => -ERR GT and LT options at the same time are not compatible
        EXPIRE k 1 NX GT LT => -ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE k 160 XX GT LT => -ERR GT and LT options at the same time are not compatible
            EXPIRE k 160 FOO => -ERR Unsupported option FOO
            EXPIRE k x FOO => -ERR Unsupported option FOO
        EXPIRE k x NX GT => -ERR NX and XX, GT or LT options at the same time are not compatible
            EXPIRE k x => -ERR value is not an integer or out of range
            EXPIRE k '' => -ERR value is not an integer or out of range
            EXPIRE k 1.5 => -ERR value is not an integer or out of range
            EXPIRE k => -ERR wrong number of arguments for 'expire' command
            PEXPIREAT k {now+500000} => :1 +1
            PEXPIREAT k {now+500000} NX => :0
            PEXPIREAT k 1000 GT => :0
            EXISTS k => :1
            "#,
        );
    }

    #[test]
    fn bounds() {
        check_script(
            r#"
            SET k v => OK +1
            EXPIRE k 9223372036854775807 => -ERR invalid expire time in 'expire' command
            EXPIRE k 9223372036854775 => -ERR invalid expire time in 'expire' command
            EXPIRE k 9223372036854776 => -ERR invalid expire time in 'expire' command
            EXPIRE k -9223372036854776 => -ERR invalid expire time in 'expire' command
            PEXPIRE k 9223372036854775807 => -ERR invalid expire time in 'pexpire' command
            EXPIREAT k 9223372036854775 => :1 +1
            EXPIRETIME k => :9223372036854775
            EXPIREAT k 9223372036854776 => -ERR invalid expire time in 'expireat' command
            PEXPIREAT k 9223372036854775807 => :1 +1
            PEXPIRETIME k => :9223372036854775807
            EXPIREAT k 9223372036854775808 => -ERR value is not an integer or out of range
            "#,
        );
    }

    #[test]
    fn an_expiry_in_the_past_removes_the_key() {
        check_script(
            r#"
            SET k v => OK +1
            EXPIRE k 0 => :1 +1
            EXISTS k => :0
            EXPIRE k 0 => :0
            SET k v => OK +1
            EXPIRE k -1 => :1 +1
            GET k => nil
            SET k v => OK +1
            PEXPIRE k -9223372036854775808 => :1 +1
            GET k => nil
            SET k v => OK +1
            PEXPIREAT k -1 => :1 +1
            GET k => nil
            SET k v => OK +1
            EXPIREAT k 0 => :1 +1
            GET k => nil
            SET k v => OK +1
            EXPIREAT k -9223372036854775 => :1 +1
            GET k => nil
            SET k v => OK +1
            EXPIRE k -9223372036854775 => :1 +1
            EXISTS k => :0
            SET k v => OK +1
            EXPIREAT k 1 LT => :1 +1
            EXISTS k => :0
            SET k v EX 100 => OK +1
            EXPIRE k -1 GT => :0
            EXPIRE k -1 NX => :0
            EXPIRE k -1 XX => :1 +1
            EXISTS k => :0
            SET k v => OK +1
            PEXPIRE k 30 => :1 +1
            PEXPIRE k 60 => :1 +1
            ADVANCE 45
            GET k => "v"
            ADVANCE 45
            GET k => nil
            PERSIST k => :0
            SET k v PX 20 => OK +1
            ADVANCE 40
            PERSIST k => :0
            EXPIRE k 100 => :0
            TTL k => :-2
            "#,
        );
    }

    #[test]
    fn other_commands() {
        check_script(
            r#"
            SET k v EX 100 => OK +1
            APPEND k w => :2 +1
            TTL k => :100
            SET k v => OK +1
            TTL k => :-1
            EXPIRETIME => -ERR wrong number of arguments for 'expiretime' command
            EXPIRE k 100 NX FOO => -ERR Unsupported option FOO
            PEXPIRE k x => -ERR value is not an integer or out of range
            PEXPIRE k 9223372036854775807 => -ERR invalid expire time in 'pexpire' command
            EXPIREAT k 9223372036854775807 => -ERR invalid expire time in 'expireat' command
            PEXPIREAT k 9223372036854775808 => -ERR value is not an integer or out of range
            PEXPIREAT k x => -ERR value is not an integer or out of range
            "#,
        );
    }
}
