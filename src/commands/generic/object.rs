//! OBJECT: how a key's value is kept, and when it was last used.

use crate::commands::help::{help_card, help_command};
use crate::exec::{Command, Context};
use crate::resp::{Args, Error};
use crate::spec::{Card, Category, Flag, Group, KeySpec};

pub(super) static OBJECT: Command = Command::container(
    Card::new("object", Group::Generic, "2.2.3")
        .summary("A container for object introspection commands.")
        .complexity("Depends on subcommand.")
        .arity(-2),
    &[&ENCODING, &FREQ, &IDLETIME, &REFCOUNT, &HELP],
);

/// The key of all subcommands, at word 2.
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
        .keys(&[KEY]),
);

/// The reference's name for how the value would be kept there. It is told from the key, the value
/// and the expiry as they are now; there a value stays `raw` that once did not fit.
fn encoding(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 2);
    match cx.slice.inspect(cx.db, &key) {
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
        .keys(&[KEY]),
);

fn freq(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 2);
    let Some(clock) = cx.slice.inspect(cx.db, &key).map(|view| view.access_clock()) else {
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
        .keys(&[KEY]),
);

fn idletime(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 2);
    let Some(clock) = cx.slice.inspect(cx.db, &key).map(|view| view.access_clock()) else {
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
        .keys(&[KEY]),
);

/// A value belongs to one key alone.
fn refcount(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 2);
    match cx.slice.inspect(cx.db, &key) {
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
    fn what_is_told_of_a_value() {
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
    fn due_keys_go() {
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
    fn who_does_not_touch_leaves_the_idle_time() {
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
        for words in quiet {
            bench.run(words);
            assert_eq!(show(&bench.run(&["OBJECT", "IDLETIME", words[1]])), ":5", "{words:?}");
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
        let mut told = |policy, subcommand| {
            bench.config.maxmemory_policy = policy;
            show(&bench.run(&["OBJECT", subcommand, "k"]))
        };
        let lru = MaxmemoryPolicy::AllkeysLru;
        let lfu = MaxmemoryPolicy::VolatileLfu;
        assert!(told(lru, "FREQ").starts_with("-ERR An LFU maxmemory policy is not selected, "));
        assert!(told(lfu, "IDLETIME").starts_with("-ERR An LFU maxmemory policy is selected, "));
        assert_eq!(told(lru, "IDLETIME"), ":0");
    }

    #[test]
    fn uses_are_counted_under_an_lfu_policy() {
        let mut bench = Bench::new();
        bench.config.maxmemory_policy = MaxmemoryPolicy::AllkeysLfu;
        bench.slice.set_frequency(Some(Frequency { log_factor: 0, decay_minutes: 1 }));
        let mut count = |words: &[&str]| {
            bench.run(words);
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
