//! Commands on many strings. MGET and MSET run in parts, each on the keys of one shard. MSETNX and
//! MSETEX depend on all keys, so they run on all of them together.

use super::options::{Condition, Options};
use super::{feed, new_value, reply_string};
use crate::base::number::parse_i64;
use crate::commands::arg_groups::EXPIRATION_OR_KEEPTTL;
use crate::commands::each_key::each_key;
use crate::exec::{Command, Context, Merge};
use crate::keyspace::{Event, Expiry};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use std::ops::Range;

pub(super) static MGET: Command = Command::per_key(
    mget,
    Merge::ByKey,
    Card::new("mget", Group::String, "1.0.0")
        .summary("Atomically returns the string values of one or more keys.")
        .complexity("O(N) where N is the number of keys to retrieve.")
        .steady()
        .arity(-2)
        .flags(Flag::READONLY.and(Flag::FAST))
        .tips(&["request_policy:multi_shard"])
        .keys(&[KeySpec::reads().to_end(1)])
        .args(&[Arg::key("key").repeated()]),
);

fn mget(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    cx.reply.array(args.len() - 1);
    each_key(cx, args, 1, |cx, args, key_arg| {
        let view = cx.slice.lookup(cx.db, &key_arg.key(args));
        match view.and_then(|view| view.string()) {
            None => cx.reply.null(),
            Some(value) => reply_string(&mut cx.reply, value),
        }
        cx.reply.element_end();
    });
    Ok(())
}

pub(super) static MSET: Command = Command::per_key(
    mset,
    Merge::Ok,
    Card::new("mset", Group::String, "1.0.1")
        .summary("Atomically creates or modifies the string values of one or more keys.")
        .complexity("O(N) where N is the number of keys to set.")
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .keys(&[KeySpec::overwrites().to_end(2)])
        .args(&[Arg::block("data", &[Arg::key("key"), Arg::string("value")]).repeated()]),
);

fn mset(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if args.len().is_multiple_of(2) {
        return Err(Error::wrong_arity("mset"));
    }
    set_all(cx, args);
    cx.reply.ok();
    Ok(())
}

/// Sets the key at every second argument to the value after it.
fn set_all(cx: &mut Context<'_>, args: &mut Args<'_>) {
    each_key(cx, args, 2, |cx, args, key_arg| {
        let large = args.take_large(key_arg.index + 1);
        let value = new_value(&args[key_arg.index + 1], large);
        let key = key_arg.key(args);
        cx.slice.set(cx.db, &key, value, Expiry::Clear);
        cx.raise(&key, Event::Set, 1);
    });
}

pub(super) static MSETNX: Command = Command::gather(
    msetnx,
    Card::new("msetnx", Group::String, "1.0.1")
        .summary(
            "Atomically modifies the string values of one or more keys only when all keys don't \
             exist.",
        )
        .complexity("O(N) where N is the number of keys to set.")
        .arity(-3)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .keys(&[KeySpec::creates().to_end(2)])
        .args(&[Arg::block("data", &[Arg::key("key"), Arg::string("value")]).repeated()]),
);

fn msetnx(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if args.len().is_multiple_of(2) {
        return Err(Error::wrong_arity("msetnx"));
    }
    let is_free = are_all(cx, args, 1..args.len(), Condition::Absent);
    if is_free {
        set_all(cx, args);
    }
    cx.reply.integer(i64::from(is_free));
    Ok(())
}

/// Returns whether the condition holds for the key at every second argument of the range. Stops at
/// the first key that fails.
fn are_all(
    cx: &mut Context<'_>,
    args: &Args<'_>,
    range: Range<usize>,
    condition: Condition,
) -> bool {
    range.step_by(2).all(|at| {
        let key = cx.key(args, at);
        match condition {
            Condition::Always => true,
            Condition::Absent => cx.slice.peek(cx.db, &key).is_none(),
            Condition::Present => cx.slice.peek(cx.db, &key).is_some(),
            Condition::Equal(_) => unreachable!("only SET has IFEQ"),
        }
    })
}

pub(super) static MSETEX: Command = Command::gather(
    msetex,
    Card::new("msetex", Group::String, "9.1.0")
        .summary(
            "Atomically creates or modifies the string values of one or more keys, and optionally \
             set their expiration.",
        )
        .complexity("O(N) where N is the number of keys to set.")
        .arity(-4)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::MOVABLEKEYS))
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .keys(&[KeySpec::overwrites().counted(2)])
        .args(&[
            Arg::integer("numkeys"),
            Arg::block("data", &[Arg::key("key"), Arg::string("value")]).repeated(),
            Arg::choice("condition", &["NX", "XX"]).optional(),
            EXPIRATION_OR_KEEPTTL.optional(),
        ]),
);

fn msetex(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let count = parse_i64(&args[1]).filter(|count| (1..=i64::from(i32::MAX)).contains(count));
    let count = count.ok_or(Error::other("ERR invalid numkeys value or out of range"))?;
    let options_at = 2 + 2 * count as usize;
    if options_at > args.len() {
        return Err(Error::Syntax);
    }
    let options = Options::of_msetex(args, options_at)?;
    let expiry = options.expiry(args, cx.now_ms, "msetex")?;
    let is_wanted = are_all(cx, args, 2..options_at, options.condition);
    if is_wanted {
        feed::propagate_msetex(cx, args, options_at, &options, expiry);
        for at in (2..options_at).step_by(2) {
            let large = args.take_large(at + 1);
            let key = cx.key(args, at);
            // An expiry in the past is stored too; the key then expires at once.
            cx.slice.set(cx.db, &key, new_value(&args[at + 1], large), expiry);
            cx.raise(&key, Event::Set, 1);
            if matches!(expiry, Expiry::At(_)) {
                cx.raise(&key, Event::Expire, 0);
            }
        }
    }
    cx.reply.integer(i64::from(is_wanted));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check_script;

    #[test]
    fn many_strings() {
        check_script(
            r#"
            MSET a 1 b 2 c x => OK +3
            MGET a b c d a => ["1" "2" "x" nil "1"]
            MGET => -ERR wrong number of arguments for 'mget' command
            MSET => -ERR wrong number of arguments for 'mset' command
            MSET a => -ERR wrong number of arguments for 'mset' command
            MSET a 1 b => -ERR wrong number of arguments for 'mset' command
            MSET a 1 b 2 c => -ERR wrong number of arguments for 'mset' command
            MSET a 1 a 2 => OK +2
            GET a => "2"
            MSET '' e a '' => OK +2
            MGET '' a => ["e" ""]
            SET a v EX 100 => OK +1
            MSET a w => OK +1
            TTL a => :-1
            SET p v PX 20 => OK +1
            ADVANCE 40
            MGET p a => [nil "w"]
            DBSIZE => :4
            "#,
        );
    }
}
