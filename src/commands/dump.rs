//! DUMP and RESTORE: values in serialized form.

use crate::base::number::parse_i64;
use crate::exec::{Command, Context, Weighing, removal_word};
use crate::keyspace::{Event, Expiry};
use crate::rdb::{Encoder, Fault, Limits, Reading, Value, open_payload};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Category, Flag, Group, KeySpec};
use crate::value::string::{IntText, NewStr};
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, Ordering};

/// The DUMP commands.
pub static FAMILY: &[&Command] = &[&DUMP, &RESTORE, &RESTORE_ASKING];

/// Whether payloads with a wrong checksum are accepted; set by DEBUG SET-SKIP-CHECKSUM-VALIDATION.
pub(super) static SKIPS_CHECKSUM: AtomicBool = AtomicBool::new(false);

/// Maximum idle time in seconds that the access clock can represent.
const IDLE_S_MAX: i64 = 0xff_ffff;

static DUMP: Command = Command::single(
    dump,
    Card::new("dump", Group::Generic, "2.6.0")
        .summary("Returns a serialized representation of the value stored at a key.")
        .complexity(
            "O(1) to access the key and additional O(N*M) to serialize it, where N is the number \
             of objects composing the value and M their average size. For small string values the \
             time complexity is thus O(1)+O(1*M) where M is small, so simply O(1).",
        )
        .arity(2)
        .flags(Flag::READONLY)
        .categories(&[Category::Keyspace])
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key")]),
)
.offload();

fn dump(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let Some(view) = cx.slice.lookup(cx.db, &key) else {
        cx.reply.null();
        return Ok(());
    };
    let mut payload = Vec::new();
    let mut encoder = Encoder::new(&mut payload, cx.config.rdbcompression);
    match view.string() {
        Some(value) => encoder.string_payload(&value),
        None => {
            let dumped = view.with_object(|object| encoder.object_payload(object));
            dumped.expect("an object that is no string has elements");
        }
    }
    cx.reply.bulk(&payload);
    Ok(())
}

/// Bytes of a payload that are decoded in the time of one element.
const DECODED_BYTES: usize = 8;

fn weigh_restore(_: &Weighing<'_>, args: &Args<'_>) -> usize {
    args[3].len() / DECODED_BYTES
}

static RESTORE: Command =
    Command::single(restore, restore_card("restore", Group::Generic, "2.6.0", Flag::NONE))
        .offload_by(weigh_restore);

static RESTORE_ASKING: Command = Command::single(
    restore,
    restore_card("restore-asking", Group::Server, "3.0.0", Flag::ASKING)
        .summary("An internal command for migrating keys in a cluster.")
        .internal(),
)
.offload_by(weigh_restore);

/// The arguments of RESTORE.
const ARGS: &[Arg] = &[
    Arg::key("key"),
    Arg::integer("ttl"),
    Arg::string("serialized-value"),
    Arg::keyword("REPLACE").since("3.0.0").optional(),
    Arg::keyword("ABSTTL").since("5.0.0").optional(),
    Arg::integer("seconds").after("IDLETIME").since("5.0.0").optional(),
    Arg::integer("frequency").after("FREQ").since("5.0.0").optional(),
];

/// The one key that RESTORE creates.
const KEY: &[KeySpec] = &[KeySpec::overwrites()];

const fn restore_card(name: &'static str, group: Group, since: &'static str, flag: Flag) -> Card {
    Card::new(name, group, since)
        .summary("Creates a key from the serialized representation of a value.")
        .complexity(
            "O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, \
             where N is the number of objects composing the value and M their average size. For \
             small string values the time complexity is thus O(1)+O(1*M) where M is small, so \
             simply O(1). However for sorted set values the complexity is O(N*M*log(N)) because \
             inserting values into sorted sets is O(log(N)).",
        )
        .arity(-4)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(flag))
        .categories(&[Category::Keyspace, Category::Dangerous])
        .keys(KEY)
        .history(&[
            ("3.0.0", "Added the `REPLACE` modifier."),
            ("5.0.0", "Added the `ABSTTL` modifier."),
            ("5.0.0", "Added the `IDLETIME` and `FREQ` options."),
        ])
        .args(ARGS)
}

/// The options of RESTORE, which follow the payload.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    replaces: bool,
    is_absolute: bool,
    idle_s: Option<i64>,
    frequency: Option<i64>,
}

impl Options {
    fn of(args: &Args<'_>) -> Result<Options, Error> {
        let mut options = Options::default();
        let mut at = 4;
        while at < args.len() {
            let arg = &args[at];
            let number = || args.get(at + 1).map(|arg| parse_i64(arg).ok_or(Error::NotInteger));
            if arg.eq_ignore_ascii_case(b"replace") {
                options.replaces = true;
            } else if arg.eq_ignore_ascii_case(b"absttl") {
                options.is_absolute = true;
            } else if arg.eq_ignore_ascii_case(b"idletime") && options.frequency.is_none() {
                let idle_s = number().ok_or(Error::Syntax)??;
                if idle_s < 0 {
                    return Err(Error::other("ERR Invalid IDLETIME value, must be >= 0"));
                }
                options.idle_s = Some(idle_s);
                at += 1;
            } else if arg.eq_ignore_ascii_case(b"freq") && options.idle_s.is_none() {
                let frequency = number().ok_or(Error::Syntax)??;
                if !(0..=255).contains(&frequency) {
                    let text = "ERR Invalid FREQ value, must be >= 0 and <= 255";
                    return Err(Error::other(text));
                }
                options.frequency = Some(frequency);
                at += 1;
            } else {
                return Err(Error::Syntax);
            }
            at += 1;
        }
        Ok(options)
    }
}

fn restore(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let options = Options::of(args)?;
    let key = cx.key(args, 1);
    if !options.replaces && cx.slice.peek(cx.db, &key).is_some() {
        return Err(Error::BusyKey);
    }
    let ttl = parse_i64(&args[2]).ok_or(Error::NotInteger)?;
    let ttl = u64::try_from(ttl);
    let ttl = ttl.map_err(|_| Error::other("ERR Invalid TTL value, must be >= 0"))?;
    let limits = Limits::of(cx.config);
    let value = read_value(cx, &args[3], &limits)?;
    let was_there = options.replaces && cx.slice.remove(cx.db, &key);
    let start = if options.is_absolute { 0 } else { cx.now_ms };
    // As in the reference, a sum beyond the range of 64-bit integers counts as a time in the past.
    let moment = |ttl: u64| ttl.checked_add(start).filter(|at| i64::try_from(*at).is_ok());
    let expiry = (ttl > 0).then(|| moment(ttl).unwrap_or(0));
    if expiry.is_some_and(|at| cx.slice.is_past(at)) {
        if was_there {
            cx.propagate(&[removal_word(cx.config.lazyfree_lazy_server_del), key.bytes]);
            cx.raise(&key, Event::Del, 1);
        }
        cx.reply.ok();
        return Ok(());
    }
    let how = expiry.map_or(Expiry::Clear, Expiry::At);
    match value {
        Value::Object(object) => cx.slice.set_object(cx.db, &key, object, how),
        Value::String(text) => {
            let text = Bytes::copy_from_slice(text.bytes(&mut IntText::new()));
            let value = match parse_i64(&text) {
                Some(number) => NewStr::Int(number),
                None => NewStr::Large(text),
            };
            cx.slice.set(cx.db, &key, value, how);
        }
    }
    let keeps_time = !cx.config.maxmemory_policy.counts_uses();
    if let Some(idle_s) = options.idle_s.filter(|_| keeps_time) {
        cx.slice.set_idle(cx.db, &key, idle_s.min(IDLE_S_MAX) as u32);
    }
    if let Some(count) = options.frequency.filter(|_| cx.config.maxmemory_policy.counts_uses()) {
        cx.slice.set_use_count(cx.db, &key, count as u8);
    }
    if let (Some(at), false) = (expiry, options.is_absolute)
        && cx.is_recorded()
    {
        let mut digits = itoa::Buffer::new();
        let mut propagated: Vec<&[u8]> = args.iter_from(0).collect();
        propagated[2] = digits.format(at).as_bytes();
        propagated.push(b"ABSTTL");
        cx.propagate(&propagated);
    }
    cx.raise(&key, Event::Restore, 1);
    cx.reply.ok();
    Ok(())
}

/// Decodes the value in a payload.
fn read_value<'p>(
    cx: &mut Context<'_>,
    payload: &'p [u8],
    limits: &Limits,
) -> Result<Value<'p>, Error> {
    let reads_any = cx.config.reads_any_rdb_version();
    let has_checksum = !SKIPS_CHECKSUM.load(Ordering::Relaxed);
    let Some((dialect, body)) = open_payload(payload, reads_any, has_checksum) else {
        return Err(Error::other("ERR DUMP payload version or checksum are wrong"));
    };
    let reading = Reading { limits, due_before_ms: None };
    reading.payload(dialect, body).map_err(|fault| {
        if let Fault::Corrupt(why) = fault {
            cx.effects.note = Some(why);
        }
        Error::other("ERR Bad data format")
    })
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::{Bench, show};
    use crate::resp::Value;

    fn dumped(bench: &mut Bench, key: &str) -> Vec<u8> {
        match bench.run(&["DUMP", key]) {
            Value::Bulk(payload) => payload,
            other => panic!("{other:?}"),
        }
    }

    /// Runs RESTORE of a payload with further arguments. Returns the reply as text.
    fn restored(bench: &mut Bench, key: &str, ttl: &str, payload: &[u8], more: &[&str]) -> String {
        let mut args: Vec<&[u8]> = vec![b"RESTORE", key.as_bytes(), ttl.as_bytes(), payload];
        args.extend(more.iter().map(|arg| arg.as_bytes()));
        let shown = show(&bench.run(&args));
        bench.slice.check();
        shown
    }

    #[test]
    fn a_dumped_value_is_restored() {
        let mut bench = Bench::new();
        let commands = [
            vec!["SET", "int", "12"],
            vec!["SET", "text", "a text that is longer than twenty bytes, aaaaaaaaaaaaaaaaaaaa"],
            vec!["RPUSH", "list", "a", "12", "b"],
            vec!["SADD", "set", "1", "2", "x"],
            vec!["ZADD", "zset", "1.5", "a", "-1", "b"],
            vec!["HSET", "hash", "f", "v", "g", "12"],
            vec!["XADD", "stream", "5-1", "f", "v"],
        ];
        for args in commands {
            bench.run(&args);
            let (key, other) = (args[1], format!("{}:2", args[1]));
            let payload = dumped(&mut bench, key);
            assert_eq!(restored(&mut bench, &other, "0", &payload, &[]), "OK", "{key}");
            let digests = [key, &other].map(|key| {
                let key = bench.slice.key(key.as_bytes());
                bench.slice.value_digest(0, &key)
            });
            assert_eq!(digests[0], digests[1], "{key}");
            assert_eq!(dumped(&mut bench, &other), payload);
        }
        assert_eq!(show(&bench.run(&["DUMP", "none"])), "nil");
    }

    #[test]
    fn restore_parses_its_options() {
        let mut bench = Bench::new();
        bench.run(&["SET", "k", "old"]);
        let payload = dumped(&mut bench, "k");
        bench.run(&["SET", "k", "new"]);
        let cases: [(&str, &[&str], &str); 12] = [
            ("0", &[], "-BUSYKEY Target key name already exists."),
            ("x", &["REPLACE"], "-ERR value is not an integer or out of range"),
            ("-1", &["REPLACE"], "-ERR Invalid TTL value, must be >= 0"),
            ("0", &["x"], "-ERR syntax error"),
            ("0", &["REPLACE", "IDLETIME"], "-ERR syntax error"),
            ("0", &["REPLACE", "IDLETIME", "1", "FREQ", "1"], "-ERR syntax error"),
            ("0", &["REPLACE", "IDLETIME", "-1"], "-ERR Invalid IDLETIME value, must be >= 0"),
            ("0", &["FREQ", "256"], "-ERR Invalid FREQ value, must be >= 0 and <= 255"),
            ("0", &["FREQ", "x"], "-ERR value is not an integer or out of range"),
            ("0", &["REPLACE", "FREQ", "255"], "OK"),
            ("0", &["replace", "idletime", "100"], "OK"),
            ("100", &["REPLACE"], "OK"),
        ];
        for (ttl, more, expected) in cases {
            assert_eq!(restored(&mut bench, "k", ttl, &payload, more), expected, "{more:?}");
            if more.contains(&"idletime") {
                assert_eq!(show(&bench.run(&["OBJECT", "IDLETIME", "k"])), ":100");
            }
        }
        assert_eq!(show(&bench.run(&["PTTL", "k"])), ":100");
        let mut wrong = payload.clone();
        wrong[0] = 200;
        let error = "-ERR DUMP payload version or checksum are wrong";
        assert_eq!(restored(&mut bench, "new", "0", &wrong, &[]), error);
        assert_eq!(restored(&mut bench, "new", "0", b"short", &[]), error);
        wrong.truncate(wrong.len() - 10);
        crate::rdb::seal_payload(&mut wrong, 10);
        assert_eq!(restored(&mut bench, "new", "0", &wrong, &[]), "-ERR Bad data format");
    }

    #[test]
    fn a_relative_expiry_is_propagated_as_absolute() {
        let mut bench = Bench::new();
        bench.run(&["SET", "k", "v"]);
        let payload = dumped(&mut bench, "k");
        bench.record();
        let now = crate::commands::testing::START_MS;
        let propagated_args = |bench: &Bench| {
            let all = bench.recorded();
            all.iter().map(|line| line.split(' ').map(String::from).collect()).collect()
        };
        restored(&mut bench, "k", "50", &payload, &["REPLACE"]);
        let lines: Vec<Vec<String>> = propagated_args(&bench);
        assert_eq!(lines[0][2], (now + 50).to_string());
        assert_eq!(lines[0].last().expect("arguments"), "ABSTTL");
        restored(&mut bench, "k", "5", &payload, &["REPLACE", "ABSTTL"]);
        assert_eq!(bench.recorded(), ["UNLINK k"], "it had already expired");
        assert_eq!(restored(&mut bench, "k", "5", &payload, &["ABSTTL"]), "OK");
        assert_eq!(bench.recorded(), [""; 0]);
        assert_eq!(show(&bench.run(&["EXISTS", "k"])), ":0");
    }
}
