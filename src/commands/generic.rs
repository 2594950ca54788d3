//! Commands on keys of any type.

mod cluster_scan;
mod copy;
mod database;
mod expire;
mod object;
mod rename;
mod scan;

use super::each_key::each_key;
use crate::exec::{Command, Context, Merge};
use crate::keyspace::Event;
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Category, Flag, Group, KeySpec};

/// The generic commands.
pub static FAMILY: &[&Command] = &[
    &DEL,
    &UNLINK,
    &EXISTS,
    &TOUCH,
    &TYPE,
    &expire::EXPIRE,
    &expire::PEXPIRE,
    &expire::EXPIREAT,
    &expire::PEXPIREAT,
    &expire::TTL,
    &expire::PTTL,
    &expire::EXPIRETIME,
    &expire::PEXPIRETIME,
    &expire::PERSIST,
    &scan::KEYS,
    &scan::SCAN,
    &scan::RANDOMKEY,
    &cluster_scan::CLUSTERSCAN,
    &database::DBSIZE,
    &database::FLUSHDB,
    &database::FLUSHALL,
    &database::SWAPDB,
    &rename::RENAME,
    &rename::RENAMENX,
    &copy::COPY,
    &copy::MOVE,
    &object::OBJECT,
];

static DEL: Command = Command::per_key(
    del,
    Merge::Sum,
    Card::new("del", Group::Generic, "1.0.0")
        .summary("Deletes one or more keys.")
        .complexity(
            "O(N) where N is the number of keys that will be removed. When a key to remove holds \
             a value other than a string, the individual complexity for this key is O(M) where M \
             is the number of elements in the list, set, sorted set or hash. Removing a single \
             key that holds a string value is O(1).",
        )
        .arity(-2)
        .flags(Flag::WRITE)
        .categories(&[Category::Keyspace])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys(&[KeySpec::removes().to_end(1)])
        .args(&[Arg::key("key").repeated()]),
);

/// DEL and UNLINK are the same command here: both free large values step by step.
fn del(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let mut removed = 0;
    each_key(cx, args, 1, |cx, args, arg| {
        let key = arg.key(args);
        if cx.slice.remove(cx.db, &key) {
            cx.raise(&key, Event::Del, 1);
            removed += 1;
        }
    });
    cx.reply.integer(removed);
    Ok(())
}

static UNLINK: Command = Command::per_key(
    del,
    Merge::Sum,
    Card::new("unlink", Group::Generic, "4.0.0")
        .summary("Asynchronously deletes one or more keys.")
        .complexity(
            "O(1) for each key removed regardless of its size. Then the command does O(N) work in \
             a different thread in order to reclaim memory, where N is the number of allocations \
             the deleted objects where composed of.",
        )
        .steady()
        .arity(-2)
        .flags(Flag::WRITE.and(Flag::FAST))
        .categories(&[Category::Keyspace])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys(&[KeySpec::removes().to_end(1)])
        .args(&[Arg::key("key").repeated()]),
);

static EXISTS: Command = Command::per_key(
    exists,
    Merge::Sum,
    Card::new("exists", Group::Generic, "1.0.0")
        .summary("Determines whether one or more keys exist.")
        .complexity("O(N) where N is the number of keys to check.")
        .steady()
        .arity(-2)
        .flags(Flag::READONLY.and(Flag::FAST))
        .categories(&[Category::Keyspace])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys(&[KeySpec::inspects().to_end(1)])
        .history(&[("3.0.3", "Accepts multiple `key` arguments.")])
        .args(&[Arg::key("key").repeated()]),
);

fn exists(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let mut found = 0;
    each_key(cx, args, 1, |cx, args, arg| {
        found += i64::from(cx.slice.inspect(cx.db, &arg.key(args)).is_some());
    });
    cx.reply.integer(found);
    Ok(())
}

static TOUCH: Command = Command::per_key(
    touch,
    Merge::Sum,
    Card::new("touch", Group::Generic, "3.2.1")
        .summary(
            "Returns the number of existing keys out of those specified after updating the time \
             they were last accessed.",
        )
        .complexity("O(N) where N is the number of keys that will be touched.")
        .steady()
        .arity(-2)
        .flags(Flag::READONLY.and(Flag::FAST))
        .categories(&[Category::Keyspace])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys(&[KeySpec::inspects().to_end(1)])
        .args(&[Arg::key("key").repeated()]),
)
.always_touches();

fn touch(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let mut found = 0;
    each_key(cx, args, 1, |cx, args, arg| {
        found += i64::from(cx.slice.lookup(cx.db, &arg.key(args)).is_some());
    });
    cx.reply.integer(found);
    Ok(())
}

static TYPE: Command = Command::single(
    kind,
    Card::new("type", Group::Generic, "1.0.0")
        .summary("Determines the type of value stored at a key.")
        .constant_time()
        .arity(2)
        .flags(Flag::READONLY.and(Flag::FAST))
        .categories(&[Category::Keyspace])
        .keys(&[KeySpec::inspects()])
        .args(&[Arg::key("key")]),
);

fn kind(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let view = cx.slice.inspect(cx.db, &key);
    let name = view.map_or("none", |view| view.kind().name());
    cx.reply.simple(name);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::{check_feed, check_script};

    #[test]
    fn propagated_commands() {
        check_feed(
            r#"
            DEL a =>
            MSET a 1 b 2 c 3 => MSET a 1 b 2 c 3
            DEL a x => DEL a x
            TYPE b =>
            OBJECT ENCODING b =>
            UNLINK a =>
            SET e v => SET e v
            PEXPIREAT e {now+20} => PEXPIREAT e {now+20}
            EXISTS e =>
            ADVANCE 40
            EXISTS e => UNLINK e
            TOUCH b =>
            UNLINK b => UNLINK b
            "#,
        );
    }

    #[test]
    fn keys_of_any_type() {
        check_script(
            r#"
            DEL a => :0
            MSET a 1 b 2 c 3 => OK +3
            EXISTS a b c d => :3
            EXISTS a a a => :3
            EXISTS => -ERR wrong number of arguments for 'exists' command
            TOUCH a b d a => :3
            TOUCH => -ERR wrong number of arguments for 'touch' command
            DEL a a d => :1 +1
            DEL => -ERR wrong number of arguments for 'del' command
            UNLINK b c x => :2 +2
            UNLINK => -ERR wrong number of arguments for 'unlink' command
            TYPE a => none
            SET a 1 => OK +1
            TYPE a => string
            TYPE => -ERR wrong number of arguments for 'type' command
            TYPE a b => -ERR wrong number of arguments for 'type' command
            SET a v PX 20 => OK +1
            ADVANCE 40
            EXISTS a => :0
            TOUCH a => :0
            TYPE a => none
            DEL a => :0
            SET a v PX 20 => OK +1
            ADVANCE 40
            DEL a => :0
            SET a v PX 20 => OK +1
            ADVANCE 40
            UNLINK a => :0
            DBSIZE => :0
            "#,
        );
    }
}
