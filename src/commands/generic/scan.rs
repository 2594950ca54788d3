//! Commands over the keys of a database: KEYS, SCAN, RANDOMKEY.

use crate::base::glob;
use crate::base::number::{parse_cursor, parse_i64};
use crate::base::slot::SLOT_COUNT;
use crate::commands::cluster::slot_arg;
use crate::exec::{Command, Context, Merge, Walk, WalkFn, Weighing, option_count};
use crate::keyspace::Slice;
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Category, Flag, Group};

/// Number of keys that a SCAN without COUNT asks for.
const COUNT_DEFAULT: u64 = 10;

/// Maximum number of steps of a SCAN per element of its COUNT. In a nearly empty table a step may
/// find no element.
const STEPS_PER_ELEMENT: u64 = 10;

/// The type names that SCAN accepts. A type need not have any keys.
const TYPE_NAMES: [&str; 6] = ["string", "list", "set", "zset", "hash", "stream"];

/// Elements in whose time a walk passes one key.
const KEY_WEIGHT: usize = 2;

/// Runs a walk in one step.
fn run_whole(walk: WalkFn, cx: &mut Context<'_>, args: &Args<'_>) -> Result<(), Error> {
    let mut state = Walk::whole();
    while !walk(&mut state, cx, args)? {}
    Ok(())
}

/// Returns the pattern, or `None` for `*`, which matches every key including the empty one.
fn pattern_of(arg: &[u8]) -> Option<&[u8]> {
    (arg != b"*").then_some(arg)
}

fn matches(pattern: Option<&[u8]>, key: &[u8]) -> bool {
    pattern.is_none_or(|pattern| glob::matches(pattern, key, false))
}

pub(super) static KEYS: Command = Command::all_shards(
    keys,
    Merge::Concat,
    Card::new("keys", Group::Generic, "1.0.0")
        .summary("Returns all key names that match a pattern.")
        .complexity(
            "O(N) with N being the number of keys in the database, under the assumption that the \
             key names in the database and the given pattern have limited length.",
        )
        .arity(2)
        .flags(Flag::READONLY)
        .categories(&[Category::Keyspace, Category::Dangerous])
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .args(&[Arg::pattern("pattern")]),
)
.slices(walk_keys, weigh_keys)
.surveys_keys();

fn keys(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    run_whole(walk_keys, cx, args)
}

fn weigh_keys(weighing: &Weighing<'_>, _: &Args<'_>) -> usize {
    weighing.keys() * KEY_WEIGHT
}

fn walk_keys(walk: &mut Walk, cx: &mut Context<'_>, args: &Args<'_>) -> Result<bool, Error> {
    let pattern = pattern_of(&args[1]);
    let mut cursor = walk.begin().unwrap_or(0);
    while walk.step() {
        cursor = cx.slice.scan(cx.db, cursor, &mut |key, _, is_expired| {
            walk.pass();
            if !is_expired && matches(pattern, key) {
                walk.add(key);
            }
        });
        if cursor == 0 {
            walk.reply(&mut cx.reply);
            return Ok(true);
        }
    }
    walk.pause(cursor);
    Ok(false)
}

/// The options of SCAN and CLUSTERSCAN.
pub(super) struct Scan<'a> {
    pub(super) count: u64,
    pub(super) pattern: Option<&'a [u8]>,
    type_name: Option<&'static str>,
    /// The only slot that CLUSTERSCAN walks over.
    pub(super) slot: Option<u16>,
}

impl<'a> Scan<'a> {
    fn of(args: &'a Args<'_>) -> Result<Scan<'a>, Error> {
        Scan::read(args, false)
    }

    /// Reads the options. `takes_slot` says whether SLOT is one.
    pub(super) fn read(args: &'a Args<'_>, takes_slot: bool) -> Result<Scan<'a>, Error> {
        let mut scan = Scan { count: COUNT_DEFAULT, pattern: None, type_name: None, slot: None };
        let mut index = 2;
        while index < args.len() {
            let option = &args[index];
            let value = args.get(index + 1);
            match value {
                Some(value) if option.eq_ignore_ascii_case(b"COUNT") => {
                    let count = parse_i64(value).ok_or(Error::NotInteger)?;
                    scan.count = u64::try_from(count).map_err(|_| Error::Syntax)?;
                    if count == 0 {
                        return Err(Error::Syntax);
                    }
                }
                Some(value) if option.eq_ignore_ascii_case(b"MATCH") => {
                    scan.pattern = pattern_of(value);
                }
                Some(value) if option.eq_ignore_ascii_case(b"TYPE") => {
                    scan.type_name = Some(type_named(value)?);
                }
                Some(value) if takes_slot && option.eq_ignore_ascii_case(b"SLOT") => {
                    if scan.slot.is_some() {
                        return Err(Error::other("ERR SLOT option can only be specified once"));
                    }
                    scan.slot = Some(slot_arg(value)?);
                }
                _ => return Err(refusal(option)),
            }
            index += 2;
        }
        Ok(scan)
    }

    fn wants(&self, key: &[u8], type_name: &str) -> bool {
        self.type_name.is_none_or(|wanted| wanted == type_name) && matches(self.pattern, key)
    }
}

/// Returns the type with this name, in upper or lower case.
fn type_named(arg: &[u8]) -> Result<&'static str, Error> {
    let known = TYPE_NAMES.iter().find(|name| name.as_bytes().eq_ignore_ascii_case(arg));
    known.copied().ok_or_else(|| Error::quoting(&[b"ERR unknown type name '", arg, b"'"]))
}

/// Returns the error for an option that SCAN does not accept.
fn refusal(option: &[u8]) -> Error {
    if option.eq_ignore_ascii_case(b"NOVALUES") {
        Error::other("ERR NOVALUES option can only be used in HSCAN")
    } else if option.eq_ignore_ascii_case(b"NOSCORES") {
        Error::other("ERR NOSCORES option can only be used in ZSCAN")
    } else {
        Error::Syntax
    }
}

pub(super) static SCAN: Command = Command::cursor(
    scan,
    Merge::Walk,
    Card::new("scan", Group::Generic, "2.8.0")
        .summary("Iterates over the key names in the database.")
        .complexity(
            "O(1) for every call. O(N) for a complete iteration, including enough command calls \
             for the cursor to return back to 0. N is the number of elements inside the \
             collection.",
        )
        .arity(-2)
        .flags(Flag::READONLY)
        .categories(&[Category::Keyspace])
        .tips(&["nondeterministic_output", "request_policy:special", "response_policy:special"])
        .history(&[("6.0.0", "Added the `TYPE` subcommand.")])
        .args(&[
            Arg::integer("cursor"),
            Arg::pattern("pattern").after("MATCH").optional(),
            Arg::integer("count").after("COUNT").optional(),
            Arg::string("type").after("TYPE").since("6.0.0").optional(),
        ]),
)
.slices(walk_scan, weigh_scan)
.surveys_keys();

fn scan(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    run_whole(walk_scan, cx, args)
}

fn weigh_scan(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    let count = option_count(args, 2, b"COUNT").unwrap_or(COUNT_DEFAULT as usize);
    let count = if weighing.is_part() { usize::MAX } else { count };
    weighing.keys().min(count) * KEY_WEIGHT
}

/// Replies with the next keys of a walk. The low bits of the cursor are the hash slot at which the
/// walk continues, and so determine the shard. A walk over all keys goes from slot to slot in
/// ascending order, whichever shards own them. A part of a walk over all shards returns all keys of
/// its shard.
fn walk_scan(walk: &mut Walk, cx: &mut Context<'_>, args: &Args<'_>) -> Result<bool, Error> {
    let Some(first) = parse_cursor(&args[1]) else {
        return Err(Error::other("ERR invalid cursor"));
    };
    let scan = Scan::of(args)?;
    let mut cursor = walk.begin().unwrap_or(first);
    let last = last_slot(cx, cursor);
    let count = if cx.is_part { u64::MAX } else { scan.count };
    let mut is_over = false;
    while !is_over {
        if !walk.step() {
            walk.pause(cursor);
            return Ok(false);
        }
        let db = cx.db;
        cursor = scan_bucket(walk, (cx.slice, db), &scan, cursor, last);
        is_over = cursor == 0 || has_enough(walk, count);
    }
    if !cx.is_part {
        if cursor == 0 && last < SLOT_COUNT - 1 {
            cursor = u64::from(last) + 1;
        }
        cx.reply.array(2);
        cx.reply.bulk(itoa::Buffer::new().format(cursor).as_bytes());
    }
    walk.reply(&mut cx.reply);
    Ok(true)
}

/// Returns the last slot of a call: the slots from the cursor on that this shard has without a gap.
/// The last of all slots, if the client sees only the keys of this shard.
fn last_slot(cx: &Context<'_>, cursor: u64) -> u16 {
    if cx.is_part || cx.is_on_port() {
        return SLOT_COUNT - 1;
    }
    let slots = cx.slice.slots();
    let first = slots.next((cursor & u64::from(SLOT_COUNT - 1)) as u16);
    first.map_or(SLOT_COUNT - 1, |first| slots.run_end(first) - 1)
}

/// Returns whether a call with this COUNT has done its part.
pub(super) fn has_enough(walk: &Walk, count: u64) -> bool {
    walk.seen() >= count || walk.steps() >= count.saturating_mul(STEPS_PER_ELEMENT)
}

/// Adds the keys of one bucket and returns the next cursor. The walk ends behind the slot `last`.
pub(super) fn scan_bucket(
    walk: &mut Walk,
    (slice, db): (&mut Slice, usize),
    scan: &Scan<'_>,
    cursor: u64,
    last: u16,
) -> u64 {
    let mut expired = Vec::new();
    let cursor = slice.scan_until(db, cursor, last, &mut |key, view, is_expired| {
        walk.pass();
        if !scan.wants(key, view.kind().name()) {
            return;
        }
        if is_expired {
            expired.push(key.to_vec());
        } else {
            walk.add(key);
        }
    });
    // As in the reference, keys that would be shown but have expired are removed now.
    for key in expired.drain(..) {
        let key = slice.key(&key);
        slice.expire_unasked(db, &key);
    }
    cursor
}

pub(super) static RANDOMKEY: Command = Command::all_shards(
    randomkey,
    Merge::Draw,
    Card::new("randomkey", Group::Generic, "1.0.0")
        .summary("Returns a random key name from the database.")
        .constant_time()
        .flags(Flag::READONLY)
        .categories(&[Category::Keyspace])
        .tips(&["request_policy:all_shards", "response_policy:special", "nondeterministic_output"]),
)
.surveys_keys();

/// Replies with a random key. A part adds a weight to its key: the number of keys that it was drawn
/// from.
fn randomkey(cx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.slice.random(cx.db);
    if cx.is_part {
        let weight = if key.is_some() { cx.slice.len(cx.db) } else { 0 };
        cx.reply.array(2);
        cx.reply.integer(weight as i64);
    }
    match key {
        None => cx.reply.null(),
        Some(key) => cx.reply.bulk(&key),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::base::slot::slot_of;
    use crate::commands::testing::{Bench, check_script, show};
    use crate::resp::Value;
    use std::collections::BTreeSet;
    use std::ops::Range;

    /// The hash slots of three slices.
    const SLICES: [Range<u16>; 3] = [0..5_000, 5_000..11_000, 11_000..16_384];

    /// Returns the three slices of a server, with `keys` keys in all.
    fn three_slices(keys: usize) -> Vec<Bench> {
        let mut benches: Vec<Bench> = SLICES.map(Bench::of_slots).into();
        for number in 0..keys {
            let key = format!("key:{number}");
            let at = SLICES.iter().position(|slots| slots.contains(&slot_of(key.as_bytes())));
            benches[at.expect("every slot is owned")].run(&["SET", &key, "v"]);
        }
        for bench in &mut benches {
            bench.is_part = true;
        }
        benches
    }

    /// Returns the elements of an array.
    fn elements(value: Value) -> Vec<Value> {
        match value {
            Value::Array(values) => values,
            other => panic!("no array: {other:?}"),
        }
    }

    /// Follows the cursor over all slices. Returns the keys in the order of the replies, and the
    /// number of calls.
    fn walk(benches: &mut [Bench], options: &[&str]) -> (Vec<String>, usize) {
        let (mut keys, mut calls) = (Vec::new(), 0);
        let mut cursor = "0".to_string();
        loop {
            let slot = (cursor.parse::<u64>().expect("a cursor") % 16_384) as u16;
            let at = SLICES.iter().position(|slots| slots.contains(&slot)).expect("owned");
            let reply = benches[at].run(&[&["SCAN", &cursor], options].concat());
            let mut parts = elements(reply).into_iter();
            cursor = show(&parts.next().expect("a cursor")).trim_matches('"').to_string();
            keys.extend(elements(parts.next().expect("keys")).iter().map(show));
            calls += 1;
            if cursor == "0" {
                return (keys, calls);
            }
        }
    }

    #[test]
    fn a_scan_removes_expired_keys_that_it_would_show() {
        for (options, left) in [(&[][..], 1), (&["MATCH", "other*"], 2), (&["TYPE", "list"], 2)] {
            let mut bench = Bench::new();
            bench.slice.set_active_expiry(false);
            bench.run(&["SET", "stays", "v"]);
            bench.run(&["SET", "goes", "v", "PX", "5"]);
            bench.advance_ms(10);
            bench.run(&[&["SCAN", "0", "COUNT", "100"], options].concat());
            assert_eq!(bench.slice.len(0), left, "{options:?}");
        }
    }

    #[test]
    fn a_walk_over_slices_shows_every_key_once() {
        let mut benches = three_slices(2_000);
        let all: BTreeSet<String> = (0..2_000).map(|n| format!("\"key:{n}\"")).collect();
        for (count, calls_max) in [("1", 2_003), ("10", 203), ("100", 23), ("100000", 3)] {
            let (keys, calls) = walk(&mut benches, &["COUNT", count]);
            assert_eq!(keys.len(), 2_000);
            assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), all);
            assert!(calls <= calls_max, "{calls} calls of {count}");
        }
        let (keys, _) = walk(&mut benches, &["MATCH", "key:1?"]);
        assert_eq!(keys.len(), 10);
        let (keys, _) = walk(&mut benches, &["TYPE", "list"]);
        assert!(keys.is_empty());
    }

    #[test]
    fn a_walk_over_nothing_ends() {
        let (keys, calls) = walk(&mut three_slices(0), &[]);
        assert!(keys.is_empty());
        assert_eq!(calls, 3, "one call per slice");
    }

    #[test]
    fn invented_cursors_are_accepted() {
        let mut bench = Bench::new();
        bench.run(&["SET", "k", "v"]);
        for cursor in ["1", "16383", "16384", "123456789012", "18446744073709551615"] {
            let parts = elements(bench.run(&["SCAN", cursor]));
            assert_eq!(parts.len(), 2);
        }
    }

    #[test]
    fn a_part_of_all_keys() {
        let mut benches = three_slices(300);
        let mut parts = benches.iter_mut().map(|bench| elements(bench.run(&["KEYS", "key:*"])));
        assert_eq!(parts.by_ref().map(|keys| keys.len()).sum::<usize>(), 300);
    }

    #[test]
    fn a_part_of_a_draw_has_a_weight() {
        let mut benches = three_slices(100);
        for bench in &mut benches {
            let size = bench.run(&["DBSIZE"]);
            let part = elements(bench.run(&["RANDOMKEY"]));
            assert_eq!(part.len(), 2);
            assert_eq!(part[0], size);
            assert!(matches!(&part[1], Value::Bulk(key) if key.starts_with(b"key:")));
            bench.run(&["FLUSHALL"]);
            assert_eq!(show(&bench.run(&["RANDOMKEY"])), "[:0 nil]");
        }
        let mut bench = benches.pop().expect("three");
        bench.is_part = false;
        assert_eq!(show(&bench.run(&["RANDOMKEY"])), "nil");
    }

    #[test]
    fn expired_keys_have_no_weight() {
        let mut bench = Bench::new();
        bench.is_part = true;
        bench.run(&["SET", "k", "v", "PX", "10"]);
        bench.advance_ms(11);
        assert_eq!(show(&bench.run(&["RANDOMKEY"])), "[:0 nil]");
    }

    #[test]
    fn one_key_and_no_key() {
        check_script(
            r#"
            DBSIZE => :0
            KEYS * => []
            RANDOMKEY => nil
            SCAN 0 => ["0" []]
            SCAN => -ERR wrong number of arguments for 'scan' command
            KEYS => -ERR wrong number of arguments for 'keys' command
            SET foo 1 => OK +1
            KEYS * => ["foo"]
            KEYS f?o => ["foo"]
            KEYS x* => []
            KEYS '' => []
            RANDOMKEY => "foo"
            SCAN 0 => ["0" ["foo"]]
            SCAN 0 MATCH f* => ["0" ["foo"]]
            SCAN 0 MATCH x => ["0" []]
            SCAN 0 COUNT 5 => ["0" ["foo"]]
            SCAN 0 TYPE string => ["0" ["foo"]]
            SCAN 0 TYPE STRING => ["0" ["foo"]]
            SCAN 0 TYPE hash => ["0" []]
            SCAN 0 TYPE foo => -ERR unknown type name 'foo'
            SCAN 0 TYPE => -ERR syntax error
            SCAN 0 COUNT => -ERR syntax error
            SCAN 0 MATCH => -ERR syntax error
            SCAN 0 COUNT 0 => -ERR syntax error
            SCAN 0 COUNT -1 => -ERR syntax error
            SCAN 0 COUNT x => -ERR value is not an integer or out of range
            SCAN 0 COUNT 0 TYPE foo => -ERR syntax error
            SCAN 0 FOO => -ERR syntax error
            SCAN 0 FOO 1 => -ERR syntax error
            SCAN 0 NOVALUES => -ERR NOVALUES option can only be used in HSCAN
            SCAN 0 NOSCORES => -ERR NOSCORES option can only be used in ZSCAN
            SCAN 0 novalues COUNT x => -ERR NOVALUES option can only be used in HSCAN
            SCAN 0 MATCH a MATCH f* COUNT 7 type string => ["0" ["foo"]]
            SCAN x => -ERR invalid cursor
            SCAN -1 => -ERR invalid cursor
            SCAN 1.5 => -ERR invalid cursor
            SCAN '' => -ERR invalid cursor
            SCAN x FOO => -ERR invalid cursor
            SCAN 18446744073709551616 => -ERR invalid cursor
            SCAN 00 => ["0" ["foo"]]
            SCAN +0 => ["0" ["foo"]]
            SCAN -0 => ["0" ["foo"]]
            SCAN 0 TYPE list TYPE string => ["0" ["foo"]]
            SCAN 0 COUNT 0 FOO => -ERR syntax error
            SCAN 0 TYPE foo COUNT 0 => -ERR unknown type name 'foo'
            SCAN 0 COUNT 9223372036854775807 => ["0" ["foo"]]
            SET '' e => OK +1
            DBSIZE => :2
            DEL foo => :1 +1
            KEYS * => [""]
            KEYS ** => []
            KEYS '' => [""]
            SCAN 0 => ["0" [""]]
            SCAN 0 MATCH * => ["0" [""]]
            SCAN 0 MATCH ** => ["0" []]
            SET t v PX 20 => OK +1
            ADVANCE 40
            KEYS * => [""]
            SCAN 0 => ["0" [""]]
            DEL '' => :1 +1
            RANDOMKEY => nil
            "#,
        );
    }
}
