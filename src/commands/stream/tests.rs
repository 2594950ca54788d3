//! Scripts of the stream commands: replies, dirty counts, propagated commands.

use crate::commands::testing::{self, Bench, show};
use crate::resp::Protocol;

/// Joins the lines of a script that end with a backslash with the next line.
fn joined(script: &str) -> String {
    let mut text = String::new();
    for line in script.lines().map(str::trim_start) {
        match line.strip_suffix('\\') {
            Some(begin) => text.push_str(begin),
            None => text.extend([line, "\n"]),
        }
    }
    text
}

fn check_script(script: &str) {
    testing::check_script(&joined(script));
}

fn check_feed(script: &str) {
    testing::check_feed(&joined(script));
}

#[test]
fn adding() {
    check_script(
        r#"
        XADD s 1-1 a 1 b 2 => "1-1" +1
        XADD s 1-* a 1 => "1-2" +1
        XADD s 1-2 a 1 => -ERR The ID specified in XADD is equal or smaller than the target \
            stream top item
        XADD s 0-* a 1 => -ERR The ID specified in XADD is equal or smaller than the target \
            stream top item
        XADD s 0-0 a 1 => -ERR The ID specified in XADD must be greater than 0-0
        XADD s 0 a 1 => -ERR The ID specified in XADD must be greater than 0-0
        XADD s x a 1 => -ERR Invalid stream ID specified as stream command argument
        XADD s + a 1 => -ERR Invalid stream ID specified as stream command argument
        XADD s * a 1 b => -ERR wrong number of arguments for 'xadd' command
        XADD s MAXLEN 1 MAXLEN 1 => -ERR syntax error, MAXLEN and MINID options at the same time \
            are not compatible
        XADD s MAXLEN -1 * a 1 => -ERR The MAXLEN argument must be >= 0.
        XADD s MAXLEN ~ 1 LIMIT -1 * a 1 => -ERR The LIMIT argument must be >= 0.
        XADD s LIMIT 1 * a 1 => -ERR syntax error, LIMIT cannot be used without specifying a \
            trimming strategy
        XADD s LIMIT 0 * a 1 => -ERR syntax error, LIMIT cannot be used without the special ~ option
        XADD s MAXLEN 1 LIMIT 0 * a 1 => -ERR syntax error, LIMIT cannot be used without the \
            special ~ option
        XADD s * a 1 => "{now}-0" +1
        XADD s * a 1 => "{now}-1" +1
        ADVANCE 7
        XADD s * a 1 => "{now+7}-0" +1
        XADD s 18446744073709551615-18446744073709551614 a 1 => \
            "18446744073709551615-18446744073709551614" +1
        XADD s * a 1 => "18446744073709551615-18446744073709551615" +1
        XADD s * a 1 => -ERR The stream has exhausted the last possible ID, unable to add more items
        XADD none NOMKSTREAM * a 1 => nil
        EXISTS none => :0
        XADD none 0-* a 1 => "0-1" +1
        SET t v => OK +1
        XADD t * a 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        XADD t NOMKSTREAM * a 1 => -WRONGTYPE Operation against a key holding the wrong kind of \
            value
        XLEN s => :7
        TYPE s => stream
        OBJECT ENCODING s => "stream"
        "#,
    );
}

#[test]
fn trimming_and_deleting() {
    check_script(
        r#"
        XADD s 1 a 1 => "1-0" +1
        XADD s 2 a 1 => "2-0" +1
        XADD s 3 a 1 => "3-0" +1
        XADD s 4 a 1 => "4-0" +1
        XADD s MAXLEN = 4 5 b 1 => "5-0" +1
        XTRIM s MAXLEN ~ 2 => :0
        XTRIM s MINID 3 => :1 +1
        XTRIM s MAXLEN 2 => :1 +1
        XTRIM s FOO 2 => -ERR syntax error
        XTRIM s LIMIT 0 LIMIT 0 => -ERR syntax error, XTRIM must be called with a trimming strategy
        XTRIM none MAXLEN 0 => :0
        XRANGE s - + => [["4-0" ["a" "1"]] ["5-0" ["b" "1"]]]
        XDEL s 4 4 9 => :1 +1
        XDEL s 5 x => -ERR Invalid stream ID specified as stream command argument
        XDEL none x => :0
        XTRIM s MAXLEN 0 => :1 +1
        EXISTS s => :1
        XRANGE s - + => []
        XADD s 4 a 1 => -ERR The ID specified in XADD is equal or smaller than the target stream \
            top item
        XSETID s 3 => -ERR The ID specified in XSETID is smaller than current max_deleted_entry_id
        XSETID s 6 ENTRIESADDED 9 MAXDELETEDID 5 => OK +1
        XSETID s 6 MAXDELETEDID 7 => -ERR The ID specified in XSETID is smaller than the \
            provided max_deleted_entry_id
        XSETID s 6 ENTRIESADDED -1 => -ERR entries_added must be positive
        XSETID s 6 ENTRIESADDED => -ERR syntax error
        XSETID none 6 => -ERR no such key
        XADD s 7 a 1 => "7-0" +1
        XSETID s 6 => -ERR The ID specified in XSETID is smaller than the target stream top item
        XSETID s 8 ENTRIESADDED 0 => -ERR The entries_added specified in XSETID is smaller than \
            the target stream length
        "#,
    );
}

#[test]
fn ranges() {
    check_script(
        r#"
        XADD s 1-1 a 1 => "1-1" +1
        XADD s 1-2 a 2 => "1-2" +1
        XADD s 2-0 a 3 => "2-0" +1
        XRANGE s 1 1 => [["1-1" ["a" "1"]] ["1-2" ["a" "2"]]]
        XRANGE s (1-1 (2 => [["1-2" ["a" "2"]] ["2-0" ["a" "3"]]]
        XREVRANGE s + (1-1 COUNT 1 => [["2-0" ["a" "3"]]]
        XREVRANGE s 1 - => [["1-2" ["a" "2"]] ["1-1" ["a" "1"]]]
        XRANGE s - + COUNT 0 => nil
        XRANGE none - + COUNT 0 => []
        XRANGE s - + COUNT => -ERR syntax error
        XRANGE s - + COUNT x => -ERR value is not an integer or out of range
        XRANGE s (- + => -ERR Invalid stream ID specified as stream command argument
        XRANGE s (18446744073709551615-18446744073709551615 + => -ERR invalid start ID for the \
            interval
        XRANGE s - (0-0 => -ERR invalid end ID for the interval
        XREAD STREAMS s none 1-1 0 => [["s" [["1-2" ["a" "2"]] ["2-0" ["a" "3"]]]]]
        XREAD COUNT 1 STREAMS s s 0 1-1 => [["s" [["1-1" ["a" "1"]]]] ["s" [["1-2" ["a" "2"]]]]]
        XREAD STREAMS s + => [["s" [["2-0" ["a" "3"]]]]]
        XREAD STREAMS s $ => nil
        XREAD BLOCK 0 STREAMS s $ => nil
        XREAD BLOCK -1 STREAMS s $ => -ERR timeout is negative
        XREAD STREAMS s none 1 => -ERR Unbalanced 'xread' list of streams: for each stream key \
            an ID or '$' must be specified.
        XREAD GROUP g c STREAMS s 1 => -ERR The GROUP option is only supported by XREADGROUP. \
            You called XREAD instead.
        XREAD COUNT 1 STREAMS => -ERR syntax error
        "#,
    );
}

#[test]
fn groups() {
    check_script(
        r#"
        XGROUP CREATE s g $ => -ERR The XGROUP subcommand requires the key to exist. Note that \
            for CREATE you may want to use the MKSTREAM option to create an empty stream \
            automatically.
        XGROUP CREATE s g x MKSTREAM => -ERR Invalid stream ID specified as stream command argument
        EXISTS s => :0
        XGROUP CREATE s g $ MKSTREAM => OK +1
        XGROUP CREATE s g $ => -BUSYGROUP Consumer Group name already exists
        XADD s 1 a 1 => "1-0" +1
        XADD s 2 a 2 => "2-0" +1
        XADD s 3 a 3 => "3-0" +1
        XREADGROUP GROUP g c COUNT 2 STREAMS s > => [["s" [["1-0" ["a" "1"]] ["2-0" ["a" "2"]]]]] +2
        XREADGROUP GROUP g c COUNT 2 STREAMS s 1 => [["s" [["2-0" ["a" "2"]]]]] +1
        XPENDING s g => [:2 "1-0" "2-0" [["c" "2"]]]
        XPENDING s g - + 5 => [["1-0" "c" :0 :1] ["2-0" "c" :0 :2]]
        ADVANCE 50
        XPENDING s g IDLE 50 (1 + 5 c => [["2-0" "c" :50 :2]]
        XPENDING s g IDLE 51 - + 5 c => []
        XPENDING s g - + 5 none => []
        XCLAIM s g d 51 1 => [] +1
        XCLAIM s g d 50 1 2 JUSTID RETRYCOUNT 9 => ["1-0" "2-0"] +2
        XDEL s 1 => :1 +1
        XREADGROUP GROUP g d STREAMS s 0 => [["s" [["1-0" nil] ["2-0" ["a" "2"]]]]] +1
        XAUTOCLAIM s g e 0 - COUNT 1 => ["2-0" [] ["1-0"]] +2
        XAUTOCLAIM s g e 0 2 COUNT 1 => ["0-0" [["2-0" ["a" "2"]]] []] +1
        XINFO CONSUMERS s g => [["name" "c" "pending" :0 "idle" :50 "inactive" :50] ["name" "d" \
            "pending" :0 "idle" :0 "inactive" :0] ["name" "e" "pending" :1 "idle" :0 "inactive" \
            :0]]
        XINFO GROUPS s => [["name" "g" "consumers" :3 "pending" :1 "last-delivered-id" "2-0" \
            "entries-read" :2 "lag" :1]]
        XCLAIM s g d 0 3 FORCE LASTID 3 => [["3-0" ["a" "3"]]] +1
        XPENDING s g 3 3 1 => [["3-0" "d" :0 :2]]
        XACK s g 3 3 9 => :1 +1
        XACK s g x => -ERR Invalid stream ID specified as stream command argument
        XACK s none x => :0
        XGROUP DELCONSUMER s g e => :1 +1
        XGROUP DELCONSUMER s g e => :0
        XGROUP CREATECONSUMER s g e => :1 +1
        XGROUP CREATECONSUMER s g e => :0
        XPENDING s g => [:0 nil nil nil]
        XGROUP SETID s g 1 ENTRIESREAD 7 => OK +1
        XGROUP SETID s none 1 => -NOGROUP No such consumer group 'none' for key name 's'
        XREADGROUP GROUP none c STREAMS s > => -NOGROUP No such key 's' or consumer group 'none' \
            in XREADGROUP with GROUP option
        XREADGROUP GROUP g c NOACK STREAMS s > => [["s" [["2-0" ["a" "2"]] ["3-0" ["a" "3"]]]]] +1
        XREADGROUP GROUP g c NOACK STREAMS s > => nil
        XGROUP DESTROY s g => :1 +1
        XGROUP DESTROY s g => :0
        XPENDING s g => -NOGROUP No such key 's' or consumer group 'g'
        XINFO STREAM s => ["length" :2 "radix-tree-keys" :1 "radix-tree-nodes" :2 \
            "last-generated-id" "3-0" "max-deleted-entry-id" "1-0" "entries-added" :3 \
            "recorded-first-entry-id" "2-0" "groups" :0 "first-entry" ["2-0" ["a" "2"]] \
            "last-entry" ["3-0" ["a" "3"]]]
        "#,
    );
}

#[test]
fn replies_in_resp3() {
    let mut bench = Bench::new();
    bench.protocol = Protocol::Three;
    let mut run = |line: &str| {
        let args: Vec<&str> = line.split(' ').collect();
        String::from_utf8(bench.run_bytes(&args)).unwrap().replace("\r\n", " ")
    };
    run("XADD s 1-1 a 1");
    assert_eq!(run("XREAD STREAMS s 0"), "%1 $1 s *1 *2 $3 1-1 *2 $1 a $1 1 ");
    assert_eq!(run("XREAD STREAMS s 1-1"), "_ ");
    run("XGROUP CREATE s g 0 ENTRIESREAD 0");
    let group = "*1 %6 $4 name $1 g $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 0-0 \
        $12 entries-read :0 $3 lag :1 ";
    assert_eq!(run("XINFO GROUPS s"), group);
    assert!(run("XINFO STREAM s").starts_with("%10 $6 length :1 "));
    assert!(run("XINFO STREAM s FULL").starts_with("%9 $6 length :1 "));
    run("XGROUP SETID s g 0-5");
    assert!(run("XINFO GROUPS s").ends_with("entries-read _ $3 lag :1 "));
}

#[test]
fn propagation() {
    check_feed(
        r#"
        XADD s * a 1 => XADD s {now}-0 a 1
        XADD s {now}-* a 1 => XADD s {now}-1 a 1
        XADD s {now+5} a 1 => XADD s {now+5} a 1
        XADD s MAXLEN ~ 1 LIMIT 5 * a 1 => XADD s MAXLEN = 4 LIMIT 5 {now+5}-1 a 1
        XADD s MAXLEN 3 {now+6} a 1 => XADD s MAXLEN 3 {now+6} a 1
        XADD s MINID ~ 5 {now+7} a 1 => XADD s MINID = {now}-0 {now+7} a 1
        XTRIM s MAXLEN ~ 2 =>
        XTRIM s MAXLEN 2 => XTRIM s MAXLEN 2
        XTRIM s MAXLEN ~ 0 => XTRIM s MAXLEN = 0
        XADD s MINID ~ {now+8} {now+7}-7 a 1 => XADD s MINID = \
            18446744073709551615-18446744073709551615 {now+7}-7 a 1
        XADD s NOMKSTREAM {now+9} a 1 => XADD s NOMKSTREAM {now+9} a 1
        XGROUP CREATE s g 0 => XGROUP CREATE s g 0
        XREADGROUP GROUP g c STREAMS s > => XCLAIM s g c 0 {now+9}-0 TIME {now} RETRYCOUNT 1 \
            FORCE JUSTID LASTID {now+9}-0 | XGROUP SETID s g {now+9}-0 ENTRIESREAD 8
        XREADGROUP GROUP g c STREAMS s 0 =>
        XREADGROUP GROUP g d STREAMS s > => XGROUP CREATECONSUMER s g d
        XREADGROUP GROUP g d STREAMS s > =>
        XREADGROUP GROUP g h STREAMS s 0 => XGROUP CREATECONSUMER s g h
        XCLAIM s g i 0 1-1 => XGROUP CREATECONSUMER s g i
        XCLAIM s g i 0 1-1 =>
        XAUTOCLAIM s g j 0 {now+99} => XGROUP CREATECONSUMER s g j
        XREADGROUP GROUP g e NOACK STREAMS s > => XGROUP CREATECONSUMER s g e
        XREADGROUP GROUP g e NOACK STREAMS s > =>
        XCLAIM s g d 0 {now+9} => XCLAIM s g d 0 {now+9} TIME {now} RETRYCOUNT 3 FORCE JUSTID \
            LASTID {now+9}-0
        XCLAIM s g d 99 {now+9} LASTID {now+12} => XGROUP SETID s g {now+12}-0 ENTRIESREAD 8
        XCLAIM s g d 99 {now+9} =>
        XAUTOCLAIM s g c 0 - => XCLAIM s g c 0 {now+9}-0 TIME {now} RETRYCOUNT 4 FORCE JUSTID \
            LASTID {now+12}-0
        XDEL s {now+9} => XDEL s {now+9}
        XDEL s {now+9} =>
        XAUTOCLAIM s g d 0 - => XCLAIM s g c 0 {now+9}-0 TIME {now} RETRYCOUNT 4 FORCE JUSTID \
            LASTID {now+12}-0
        XACK s g {now+9} =>
        XGROUP CREATECONSUMER s g f => XGROUP CREATECONSUMER s g f
        XGROUP CREATECONSUMER s g f =>
        XGROUP DESTROY s g => XGROUP DESTROY s g
        XSETID s {now+20} => XSETID s {now+20}
        "#,
    );
}

#[test]
fn nodes_follow_the_settings() {
    let mut bench = Bench::new();
    bench.config.stream_node_max_entries = 2;
    for _ in 0..7 {
        bench.run(&["XADD", "s", "*", "a", "1"]);
    }
    assert_eq!(show(&bench.run(&["XTRIM", "s", "MAXLEN", "~", "4"])), ":2");
    assert_eq!(show(&bench.run(&["XTRIM", "s", "MAXLEN", "~", "0", "LIMIT", "1"])), ":0");
    assert_eq!(show(&bench.run(&["XTRIM", "s", "MAXLEN", "~", "0", "LIMIT", "0"])), ":5");
}

#[test]
fn the_end_of_a_group_breaks_no_watch() {
    let mut bench = Bench::new();
    bench.run(&["XADD", "s", "1-1", "a", "1"]);
    bench.run(&["XGROUP", "CREATE", "s", "g", "0"]);
    let key = bench.slice.key(b"s");
    bench.slice.watch(7, 0, &key);
    bench.slice.await_key(0, &key);
    assert_eq!(show(&bench.run(&["XGROUP", "DESTROY", "s", "g"])), ":1");
    assert!(!bench.slice.is_watch_broken(7));
    assert!(bench.slice.has_ready(), "clients that are blocked on the group reply with an error");
}
