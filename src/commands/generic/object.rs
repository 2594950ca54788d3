//! OBJECT: the encoding of a key's value, and when it was last used.

use crate::commands::help::{help_card, help_command};
use crate::exec::{Command, Context};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Category, Flag, Group, KeySpec};

pub(super) static OBJECT: Command = Command::container(
    Card::new("object", Group::Generic, "2.2.3")
        .summary("A container for object introspection commands.")
        .complexity("Depends on subcommand.")
        .arity(-2),
    &[&ENCODING, &FREQ, &IDLETIME, &REFCOUNT, &HELP],
);

/// The key of all subcommands is at argument 2.
const KEY: KeySpec = KeySpec::inspects().at(2);

static ENCODING: Command = Command::single(
    encoding,
    Card::new("encoding", Group::Generic, "2.2.3")
        .summary("Returns the internal encoding of an object.")
        .constant_time()
        .arity(3)
        .flags(Flag::READONLY)
        .categories(&[Category::Keyspace])
        .tips(&["nondeterministic_output"])
        .keys(&[KEY])
        .args(&[Arg::key("key")]),
);

/// Replies with the encoding that the value would have in the reference. It is derived from the
/// current key, value and expiry. In the reference a value stays `raw` if it once did not fit
/// another encoding.
fn encoding(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 2);
    match cx.slice.inspect_quietly(cx.db, &key) {
        None => cx.reply.null(),
        Some(view) => cx.reply.bulk(view.encoding().as_bytes()),
    }
    Ok(())
}

static FREQ: Command = Command::single(
    freq,
    Card::new("freq", Group::Generic, "4.0.0")
        .summary("Returns the logarithmic access frequency counter of an object.")
        .constant_time()
        .arity(3)
        .flags(Flag::READONLY)
        .categories(&[Category::Keyspace])
        .tips(&["nondeterministic_output"])
        .keys(&[KEY])
        .args(&[Arg::key("key")]),
);

fn freq(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 2);
    let Some(clock) = cx.slice.inspect_quietly(cx.db, &key).map(|view| view.access_clock()) else {
        cx.reply.null();
        return Ok(());
    };
    if !cx.config.maxmemory_policy.counts_uses() {
        return Err(Error::other(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please \
             note that when switching between policies at runtime LRU and LFU data will take some \
             time to adjust.",
        ));
    }
    cx.reply.integer(i64::from(cx.slice.use_count(clock)));
    Ok(())
}

static IDLETIME: Command = Command::single(
    idletime,
    Card::new("idletime", Group::Generic, "2.2.3")
        .summary("Returns the time since the last access to an object.")
        .constant_time()
        .arity(3)
        .flags(Flag::READONLY)
        .categories(&[Category::Keyspace])
        .tips(&["nondeterministic_output"])
        .keys(&[KEY])
        .args(&[Arg::key("key")]),
);

fn idletime(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 2);
    let Some(clock) = cx.slice.inspect_quietly(cx.db, &key).map(|view| view.access_clock()) else {
        cx.reply.null();
        return Ok(());
    };
    if cx.config.maxmemory_policy.counts_uses() {
        return Err(Error::other(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that \
             when switching between policies at runtime LRU and LFU data will take some time to \
             adjust.",
        ));
    }
    cx.reply.integer(i64::from(cx.slice.idle_s(clock)));
    Ok(())
}

static REFCOUNT: Command = Command::single(
    refcount,
    Card::new("refcount", Group::Generic, "2.2.3")
        .summary("Returns the reference count of a value of a key.")
        .constant_time()
        .arity(3)
        .flags(Flag::READONLY)
        .categories(&[Category::Keyspace])
        .tips(&["nondeterministic_output"])
        .keys(&[KEY])
        .args(&[Arg::key("key")]),
);

/// Replies 1: a value belongs to exactly one key.
fn refcount(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 2);
    match cx.slice.inspect_quietly(cx.db, &key) {
        None => cx.reply.null(),
        Some(_) => cx.reply.integer(1),
    }
    Ok(())
}

static HELP: Command =
    help_command(help_card(Group::Generic, "6.2.0").categories(&[Category::Keyspace]));

#[cfg(test)]
mod tests {
    use crate::commands::testing::{Bench, check_feed, check_script, show};
    use crate::config::MaxmemoryPolicy;
    use crate::keyspace::Frequency;

    #[test]
    fn a_value_is_described() {
        check_script(
            r#"
            OBJECT ENCODING none => nil
            OBJECT FREQ none => nil
            OBJECT IDLETIME none => nil
            OBJECT REFCOUNT none => nil
            SET k v => OK +1
            OBJECT ENCODING k => "embstr"
            object encoding k => "embstr"
            OBJECT REFCOUNT k => :1
            OBJECT IDLETIME k => :0
            ADVANCE 7500
            OBJECT IDLETIME k => :7
            TYPE k => string
            EXISTS k => :1
            OBJECT IDLETIME k => :7
            GET k => "v"
            OBJECT IDLETIME k => :0
            SET i 5 => OK +1
            OBJECT ENCODING i => "int"
            OBJECT REFCOUNT i => :1
            APPEND i x => :2 +1
            OBJECT ENCODING i => "raw"
            OBJECT ENCODING => -ERR wrong number of arguments for 'object|encoding' command
            OBJECT FREQ k l => -ERR wrong number of arguments for 'object|freq' command
            "#,
        );
    }

    #[test]
    fn expired_keys_are_removed() {
        check_feed(
            r#"
            SET e v => SET e v
            PEXPIREAT e {now+20} => PEXPIREAT e {now+20}
            ADVANCE 40
            OBJECT ENCODING e => UNLINK e
            OBJECT IDLETIME e =>
            "#,
        );
    }

    #[test]
    fn a_session_without_touch_keeps_the_idle_time() {
        let mut bench = Bench::new();
        bench.run(&["SET", "k", "v"]);
        bench.run(&["RPUSH", "l", "a"]);
        bench.advance_ms(5_000);
        bench.is_quiet = true;
        let quiet: [&[&str]; 5] = [
            &["GET", "k"],
            &["APPEND", "k", "w"],
            &["SET", "k", "v"],
            &["RPUSH", "l", "b"],
            &["RENAME", "k", "k"],
        ];
        for args in quiet {
            bench.run(args);
            assert_eq!(show(&bench.run(&["OBJECT", "IDLETIME", args[1]])), ":5", "{args:?}");
        }
        bench.run(&["TOUCH", "k"]);
        assert_eq!(show(&bench.run(&["OBJECT", "IDLETIME", "k"])), ":0");
        bench.is_quiet = false;
        bench.run(&["LLEN", "l"]);
        assert_eq!(show(&bench.run(&["OBJECT", "IDLETIME", "l"])), ":0");
    }

    #[test]
    fn frequency_or_idle_time() {
        let mut bench = Bench::new();
        bench.run(&["SET", "k", "v"]);
        let mut shown = |policy, subcommand| {
            bench.config.maxmemory_policy = policy;
            show(&bench.run(&["OBJECT", subcommand, "k"]))
        };
        let lru = MaxmemoryPolicy::AllkeysLru;
        let lfu = MaxmemoryPolicy::VolatileLfu;
        assert!(shown(lru, "FREQ").starts_with("-ERR An LFU maxmemory policy is not selected, "));
        assert!(shown(lfu, "IDLETIME").starts_with("-ERR An LFU maxmemory policy is selected, "));
        assert_eq!(shown(lru, "IDLETIME"), ":0");
    }

    #[test]
    fn uses_are_counted_under_an_lfu_policy() {
        let mut bench = Bench::new();
        bench.config.maxmemory_policy = MaxmemoryPolicy::AllkeysLfu;
        bench.slice.set_frequency(Some(Frequency { log_factor: 0, decay_minutes: 1 }));
        let mut count = |args: &[&str]| {
            bench.run(args);
            show(&bench.run(&["OBJECT", "FREQ", "k"]))
        };
        assert_eq!(count(&["SET", "k", "v"]), ":5");
        assert_eq!(count(&["GET", "k"]), ":6");
        assert_eq!(count(&["SET", "k", "1"]), ":7");
        assert_eq!(count(&["INCR", "k"]), ":8");
        assert_eq!(count(&["EXISTS", "k"]), ":8");
        assert_eq!(count(&["DEL", "k"]), "nil");
        assert_eq!(count(&["HSET", "k", "f", "v"]), ":5");
        assert_eq!(count(&["HGET", "k", "f"]), ":6");
    }
}
