//! Tests of the hash commands.

use crate::base::rng::Rng;
use crate::commands::testing::{Bench, START_MS, check_feed, check_script, show};
use crate::keyspace::ExpiryRole;
use crate::resp::{Protocol, Value};
use std::collections::BTreeMap;

#[test]
fn setting_and_reading() {
    check_script(
        r#"
        HSET h a 1 b two => :2 +2
        HSET h a 3 c '' => :1 +2
        HGET h a => "3"
        HGET h c => ""
        HGET h x => nil
        HGET none a => nil
        HMGET h a x b a => ["3" nil "two" "3"]
        HMGET none a b => [nil nil]
        HGETALL h => ["a" "3" "b" "two" "c" ""]
        HKEYS h => ["a" "b" "c"]
        HVALS h => ["3" "two" ""]
        HGETALL none => []
        HKEYS none => []
        HLEN h => :3
        HLEN none => :0
        HSTRLEN h b => :3
        HSTRLEN h x => :0
        HSTRLEN none x => :0
        HEXISTS h a => :1
        HEXISTS h x => :0
        HEXISTS none x => :0
        HMSET h a 5 d 6 => OK +2
        HSETNX h a 7 => :0
        HSETNX h e 7 => :1 +1
        HSETNX new e 7 => :1 +1
        HDEL h a x a b => :2 +2
        HDEL h c d e => :3 +3
        EXISTS h => :0
        HDEL h c => :0
        HSET h a => -ERR wrong number of arguments for 'hset' command
        HSET h a 1 b => -ERR wrong number of arguments for 'hset' command
        HMSET h a 1 b => -ERR wrong number of arguments for 'hmset' command
        TYPE new => hash
        SET s v => OK +1
        HSET s a 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        HGET s a => -WRONGTYPE Operation against a key holding the wrong kind of value
        HMGET s a => -WRONGTYPE Operation against a key holding the wrong kind of value
        HDEL s a => -WRONGTYPE Operation against a key holding the wrong kind of value
        HGETALL s => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn numbers() {
    check_script(
        r#"
        HINCRBY h n 5 => :5 +1
        HINCRBY h n -7 => :-2 +1
        HINCRBY h n x => -ERR value is not an integer or out of range
        HSET h t text m 9223372036854775807 s '' => :3 +3
        HINCRBY h t 1 => -ERR hash value is not an integer
        HINCRBY h s 1 => -ERR hash value is not an integer
        HINCRBY h m 1 => -ERR increment or decrement would overflow
        HINCRBYFLOAT h n 1.5 => "-0.5" +1
        HINCRBYFLOAT h f 3.0e3 => "3000" +1
        HINCRBYFLOAT h t 1 => -ERR hash value is not a float
        HINCRBYFLOAT h n x => -ERR value is not a valid float
        HINCRBYFLOAT h n inf => -ERR value is NaN or Infinity
        HSET h i inf => :1 +1
        HINCRBYFLOAT h i 1 => -ERR increment would produce NaN or Infinity
        HGET h f => "3000"
        SET s v => OK +1
        HINCRBY s n 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        HINCRBYFLOAT s n 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        HINCRBY s n x => -ERR value is not an integer or out of range
        "#,
    );
}

#[test]
fn walking_and_drawing() {
    check_script(
        r#"
        HSCAN none 0 => ["0" []]
        HSCAN none x => -ERR invalid cursor
        HSCAN none 0 FOO => ["0" []]
        HSET h a 1 b 2 => :2 +2
        HSCAN h 0 => ["0" ["a" "1" "b" "2"]]
        HSCAN h 0 MATCH b* => ["0" ["b" "2"]]
        HSCAN h 0 novalues MATCH * => ["0" ["a" "b"]]
        HSCAN h 0 COUNT 0 => -ERR syntax error
        HSCAN h 0 COUNT x => -ERR value is not an integer or out of range
        HSCAN h 0 TYPE hash => -ERR syntax error
        HSCAN h 0 NOSCORES => -ERR NOSCORES option can only be used in ZSCAN
        HSCAN h 0 COUNT => -ERR syntax error
        HRANDFIELD none => nil
        HRANDFIELD none 3 => []
        HRANDFIELD h 0 => []
        HRANDFIELD h 5 => ["a" "b"]
        HRANDFIELD h 5 withvalues => ["a" "1" "b" "2"]
        HRANDFIELD h x => -ERR value is not an integer or out of range
        HRANDFIELD h 1 FOO => -ERR syntax error
        HRANDFIELD h 1 WITHVALUES x => -ERR syntax error
        HRANDFIELD h -9223372036854775807 WITHVALUES => -ERR value is out of range
        "#,
    );
    let mut bench = Bench::new();
    bench.run(&["HSET", "h", "a", "1", "b", "2", "c", "3"]);
    let Value::Array(drawn) = bench.run(&["HRANDFIELD", "h", "-20"]) else {
        panic!("not an array")
    };
    assert_eq!(drawn.len(), 20);
    let Value::Array(drawn) = bench.run(&["HRANDFIELD", "h", "2", "WITHVALUES"]) else { panic!() };
    assert_eq!(drawn.len(), 4);
    bench.protocol = Protocol::Three;
    let Value::Array(drawn) = bench.run(&["HRANDFIELD", "h", "2", "WITHVALUES"]) else { panic!() };
    assert!(drawn.iter().all(|pair| matches!(pair, Value::Array(pair) if pair.len() == 2)));
    assert!(matches!(bench.run(&["HGETALL", "h"]), Value::Map(_)));
}

#[test]
fn large_hashes() {
    let mut bench = Bench::new();
    let names: Vec<String> = (0..2_000).map(|number| format!("field:{number}")).collect();
    for name in &names {
        bench.run(&["HSET", "h", name, "v"]);
    }
    assert_eq!(show(&bench.run(&["OBJECT", "ENCODING", "h"])), "\"hashtable\"");
    let mut seen = std::collections::BTreeSet::new();
    let mut cursor = "0".to_string();
    loop {
        let reply = bench.run(&["HSCAN", "h", &cursor, "NOVALUES", "COUNT", "100"]);
        let Value::Array(parts) = reply else { panic!("not an array") };
        let (Value::Bulk(next), Value::Array(fields)) = (&parts[0], &parts[1]) else { panic!() };
        seen.extend(fields.iter().map(show));
        cursor = String::from_utf8(next.clone()).unwrap();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen.len(), 2_000);
    for count in ["5", "900", "1999", "2000", "5000"] {
        let Value::Array(drawn) = bench.run(&["HRANDFIELD", "h", count]) else { panic!() };
        let distinct: std::collections::BTreeSet<_> = drawn.iter().map(show).collect();
        assert_eq!(distinct.len(), drawn.len());
        assert_eq!(drawn.len(), count.parse::<usize>().unwrap().min(2_000));
    }
    for name in &names {
        assert_eq!(show(&bench.run(&["HDEL", "h", name])), ":1");
    }
    assert_eq!(show(&bench.run(&["EXISTS", "h"])), ":0");
    bench.slice.check();
}

#[test]
fn fields_expire() {
    check_script(
        r#"
        HSET h a 1 b 2 c 3 => :3 +3
        HEXPIRE h 10 FIELDS 2 a x => [:1 :-2] +1
        OBJECT ENCODING h => "hashtable"
        HTTL h FIELDS 3 a b x => [:10 :-1 :-2]
        HPTTL h FIELDS 1 a => [:10000]
        HEXPIRETIME h FIELDS 1 a => [:{now_s+10}]
        HPEXPIRETIME h FIELDS 1 a => [:{now+10000}]
        HTTL none FIELDS 2 a b => [:-2 :-2]
        HPEXPIRE h 500 GT FIELDS 2 a b => [:0 :0]
        HPEXPIRE h 500 LT FIELDS 2 a b => [:1 :1] +2
        HPEXPIRE h 700 NX FIELDS 2 a c => [:0 :1] +1
        HPEXPIRE h 800 XX FIELDS 1 c => [:1] +1
        "#,
    );
    check_script(
        r#"
        HSET h a 1 b 2 => :2 +2
        HPEXPIRE h 20 FIELDS 1 a => [:1] +1
        ADVANCE 20
        HGET h a => "1"
        ADVANCE 1
        HGET h a => nil
        HGETALL h => ["b" "2"]
        HKEYS h => ["b"]
        HLEN h => :2
        HEXISTS h a => :0
        HSTRLEN h a => :0
        HMGET h a b => [nil "2"]
        HDEL h a => :0
        HTTL h FIELDS 2 a b => [:-2 :-1]
        HPERSIST h FIELDS 1 a => [:-2]
        HEXPIRE h 5 FIELDS 1 a => [:-2]
        HSCAN h 0 => ["0" ["b" "2"]]
        HRANDFIELD h -2 => ["b" "b"]
        HRANDFIELD h 5 => ["b"]
        HGETDEL h FIELDS 2 a b => [nil "2"] +1
        HRANDFIELD h => nil
        HRANDFIELD h 2 => []
        EXISTS h => :1
        HLEN h => :1
        HSETNX h a 7 => :1 +1
        HTTL h FIELDS 1 a => [:-1]
        "#,
    );
}

#[test]
fn an_expiry_in_the_past_removes_the_field() {
    check_script(
        r#"
        HSET h a 1 b 2 => :2 +2
        HEXPIREAT h 1 FIELDS 2 a x => [:2 :-2] +1
        OBJECT ENCODING h => "listpack"
        HEXPIRE h 0 FIELDS 1 b => [:2] +1
        EXISTS h => :0
        HEXPIRE h 10 FIELDS 1 b => [:-2]
        HSETEX h EXAT 1 FIELDS 1 a 1 => :1
        EXISTS h => :0
        HSET h a 1 b 2 => :2 +2
        HSETEX h PX 0 FIELDS 2 a 1 x 1 => :1 +1
        HGETEX h PXAT 5 FIELDS 2 b x => ["2" nil] +1
        EXISTS h => :0
        HEXPIRE h -1 FIELDS 1 a => -ERR invalid expire time in 'hexpire' command
        HEXPIRE h 9223372036854775807 FIELDS 1 a => -ERR invalid expire time in 'hexpire' command
        HPEXPIRE h 9223372036854775807 FIELDS 1 a => -ERR invalid expire time in 'hpexpire' command
        "#,
    );
}

#[test]
fn refusals_of_field_lists() {
    let mismatch =
        "-ERR numfields should be greater than 0 and match the provided number of fields";
    let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    check_script(
        r#"
        SET s v => OK +1
        HEXPIRE h 5 FIELDS 2 a => {m}
        HEXPIRE h 5 FIELDS 0 a => {m}
        HEXPIRE h 5 FIELDS -1 a => {m}
        HEXPIRE h 5 FIELDS x a => -ERR value is not an integer or out of range
        HEXPIRE h 5 FOO 1 a => {m}
        HEXPIRE h 5 FOO FIELDS 1 a => -ERR Unsupported option FOO
        HEXPIRE h 5 NX XX FIELDS 1 a => -ERR {nx} at the same time are not compatible
        HEXPIRE h 5 GT LT FIELDS 1 a => -ERR GT and LT options at the same time are not compatible
        HEXPIRE h x FIELDS 1 a => -ERR value is not an integer or out of range
        HEXPIRE s 5 FIELDS 1 a => {w}
        HTTL h FIELDS 2 a => -ERR syntax error
        HTTL h FOO 1 a => -ERR syntax error
        HTTL h FIELDS x a => -ERR value is not an integer or out of range
        HTTL s FIELDS 1 a => {w}
        HPERSIST h FIELDS 2 a => {m}
        HPERSIST h FOO 1 a => -ERR syntax error
        HPERSIST s FIELDS 1 a => {w}
        HGETDEL h FIELDS 2 a => {m}
        HGETDEL h FOO 1 a => -ERR syntax error
        HGETDEL s FIELDS 1 a => {w}
        HGETEX h FIELDS 2 a => {m}
        HGETEX h FOO 1 a => {m}
        HGETEX h EX FIELDS 1 a => -ERR syntax error
        HGETEX h NX FIELDS 1 a => -ERR syntax error
        HGETEX h EX 5 PERSIST FIELDS 1 a => -ERR syntax error
        HGETEX h EX -5 FIELDS 1 a => -ERR invalid expire time in 'hgetex' command
        HGETEX s FIELDS 1 a => {w}
        HSETEX h FIELDS 2 a 1 => {m}
        HSETEX h NX XX FIELDS 1 a 1 => -ERR syntax error
        HSETEX h FNX FXX FIELDS 1 a 1 => -ERR syntax error
        HSETEX h EX 5 KEEPTTL FIELDS 1 a 1 => -ERR syntax error
        HSETEX h PERSIST FIELDS 1 a 1 => -ERR syntax error
        HSETEX h EX x FIELDS 1 a 1 => -ERR value is not an integer or out of range
        HSETEX h EX -1 FIELDS 1 a 1 => -ERR invalid expire time in 'hsetex' command
        HSETEX s FIELDS 1 a 1 => {w}
        EXISTS h => :0
        "#
        .replace("{m}", mismatch)
        .replace("{w}", wrong)
        .replace("{nx}", "NX and XX, GT or LT options")
        .as_str(),
    );
}

#[test]
fn setting_with_conditions_and_expiries() {
    check_script(
        r#"
        HSETEX h XX FIELDS 1 a 1 => :0
        HSETEX h FXX FIELDS 1 a 1 => :0
        HSETEX h NX FNX FIELDS 2 a 1 b 2 => :1 +2
        OBJECT ENCODING h => "listpack"
        HSETEX h NX FIELDS 1 a 1 => :0
        HSETEX h FNX FIELDS 2 x 1 a 1 => :0
        HSETEX h FXX FIELDS 2 x 1 a 1 => :0
        HSETEX h XX FXX EX 10 FIELDS 1 a 5 => :1 +1
        HTTL h FIELDS 2 a b => [:10 :-1]
        HSETEX h KEEPTTL FIELDS 2 a 6 b 7 => :1 +2
        HTTL h FIELDS 2 a b => [:10 :-1]
        HGET h a => "6"
        HINCRBY h a 1 => :7 +1
        HTTL h FIELDS 1 a => [:10]
        HSET h a 1 => :0 +1
        HTTL h FIELDS 1 a => [:-1]
        HGETEX h EX 20 FIELDS 2 a x => ["1" nil] +1
        HTTL h FIELDS 1 a => [:20]
        HGETEX h FIELDS 1 a => ["1"]
        HGETEX h PERSIST FIELDS 2 a b => ["1" "7"] +1
        HTTL h FIELDS 1 a => [:-1]
        HPERSIST h FIELDS 2 a x => [:-1 :-2]
        HPEXPIREAT h {now+50} FIELDS 1 a => [:1] +1
        HPERSIST h FIELDS 2 a b => [:1 :-1] +1
        HGETEX none EX 5 FIELDS 1 a => [nil]
        HGETDEL none FIELDS 1 a => [nil]
        HGETDEL h FIELDS 4 a a b x => ["1" nil "7" nil] +2
        EXISTS h => :0
        "#,
    );
}

#[test]
fn propagated_commands() {
    check_feed(
        r#"
        HSET h a 1 b 2 => HSET h a 1 b 2
        HSETNX h a 1 =>
        HSETNX h c 1 => HSETNX h c 1
        HINCRBY h a 5 => HINCRBY h a 5
        HINCRBYFLOAT h a 0.5 => HSET h a 6.5
        HDEL h x =>
        HDEL h c => HDEL h c
        HEXPIRE h 10 FIELDS 1 a => HPEXPIREAT h {now+10000} FIELDS 1 a
        HPEXPIREAT h {now+9000} LT FIELDS 2 a x => HPEXPIREAT h {now+9000} LT FIELDS 2 a x
        HEXPIRE h 10 NX FIELDS 1 a =>
        HSETNX h d 1 => HSET h d 1
        HINCRBY h d 1 => HSET h d 2
        HINCRBY h a 1 =>
        HSET h a 6 => HSET h a 6
        HSETEX h EX 9 FIELDS 1 a 7 => HSETEX h PXAT {now+9000} FIELDS 1 a 7
        HINCRBY h a 1 => HSETEX h PXAT {now+9000} FIELDS 1 a 8
        HINCRBYFLOAT h a 1 => HSETEX h PXAT {now+9000} FIELDS 1 a 9
        HSETEX h FIELDS 1 z 1 => HSETEX h FIELDS 1 z 1
        HSETEX h PXAT {now+10} FIELDS 1 z 1 => HSETEX h PXAT {now+10} FIELDS 1 z 1
        HSETEX h KEEPTTL XX FIELDS 1 z 1 => HSETEX h KEEPTTL FIELDS 1 z 1
        HGETEX h FIELDS 1 a =>
        HGETEX h EX 5 FIELDS 2 a x => HPEXPIREAT h {now+5000} FIELDS 1 a
        HGETEX h PERSIST FIELDS 2 a b => HPERSIST h FIELDS 1 a
        HGETEX h PX 0 FIELDS 2 x a => HDEL h a
        HPERSIST h FIELDS 2 a b =>
        ADVANCE 11
        HSETEX h KEEPTTL FIELDS 2 z 1 b 2 => HDEL h z | HSETEX h KEEPTTL FIELDS 2 z 1 b 2
        HSETEX h EX 0 FIELDS 2 z 1 y 1 => HDEL h z
        HGETDEL h FIELDS 2 b x => HGETDEL h FIELDS 2 b x
        HEXPIRE h 0 FIELDS 2 d x => HDEL h d
        "#,
    );
}

#[test]
fn hidden_fields_are_not_propagated() {
    check_feed(
        r#"
        HSET h a 1 b 2 c 3 d 4 => HSET h a 1 b 2 c 3 d 4
        HPEXPIREAT h {now+10} FIELDS 1 a => HPEXPIREAT h {now+10} FIELDS 1 a
        HPEXPIREAT h {now+9000} FIELDS 1 b => HPEXPIREAT h {now+9000} FIELDS 1 b
        ADVANCE 11
        HPERSIST h FIELDS 2 a x =>
        HPERSIST h FIELDS 2 a b => HPERSIST h FIELDS 1 b
        HPEXPIREAT h {now+9000} FIELDS 3 a x b => HPEXPIREAT h {now+9000} FIELDS 1 b
        HEXPIRE h 10 NX FIELDS 3 a b c => HPEXPIREAT h {now+10011} FIELDS 1 c
        HEXPIRE h 10 FIELDS 1 a =>
        HGETEX h PERSIST FIELDS 2 a b => HPERSIST h FIELDS 1 b
        HGETDEL h FIELDS 3 a x c => HDEL h c
        HDEL h a b x b => HDEL h b
        COPY h g => COPY h g | HDEL g a
        HSETEX h KEEPTTL FIELDS 1 a 5 => HDEL h a | HSETEX h KEEPTTL FIELDS 1 a 5
        "#,
    );
}

#[test]
fn a_copy_leaves_hidden_fields_out() {
    let mut bench = Bench::new();
    bench.run(&["HSET", "h", "a", "1", "b", "2"]);
    bench.run(&["HPEXPIRE", "h", "10", "FIELDS", "1", "a"]);
    bench.run(&["HSET", "all", "a", "1"]);
    bench.run(&["HPEXPIRE", "all", "10", "FIELDS", "1", "a"]);
    bench.run(&["SET", "old", "v"]);
    bench.advance_ms(11);
    assert_eq!(show(&bench.run(&["COPY", "h", "g"])), ":1");
    assert_eq!(show(&bench.run(&["HLEN", "g"])), ":1");
    assert_eq!(show(&bench.run(&["COPY", "all", "old", "REPLACE"])), ":1");
    assert_eq!(show(&bench.run(&["EXISTS", "old"])), ":0");
    bench.slice.check();
}

fn expired_fields(bench: &mut Bench) -> Vec<(String, usize)> {
    bench.slice.housekeep(&mut || false);
    let gone: Vec<_> = bench.slice.drain_expired().collect();
    gone.iter()
        .map(|gone| {
            let key = String::from_utf8(gone.key.to_vec()).unwrap();
            (key, gone.fields.as_ref().map_or(0, Vec::len))
        })
        .collect()
}

#[test]
fn housekeeping_removes_expired_fields() {
    let mut bench = Bench::new();
    bench.record();
    let fields: Vec<String> = (0..5_000).map(|number| format!("f{number}")).collect();
    for name in &fields {
        bench.run(&["HSETEX", "big", "PX", "1000", "FIELDS", "1", name, "v"]);
    }
    bench.run(&["HSETEX", "h", "PX", "5000", "FIELDS", "2", "a", "1", "b", "2"]);
    bench.run(&["HSET", "h", "c", "3"]);
    bench.run(&["PEXPIRE", "h", "100000"]);
    bench.slice.check();
    assert_eq!((bench.slice.volatile_len(0), bench.slice.with_moments_len(0)), (1, 2));
    assert_eq!(expired_fields(&mut bench), []);
    bench.advance_ms(1_500);
    assert_eq!(show(&bench.run(&["HLEN", "big"])), ":5000");
    bench.slice.set_active_expiry(false);
    assert_eq!(expired_fields(&mut bench), []);
    bench.slice.set_active_expiry(true);
    let gone = expired_fields(&mut bench);
    assert_eq!(gone.iter().map(|gone| gone.1).sum::<usize>(), 5_000);
    assert!(gone.iter().all(|gone| gone.0 == "big" && gone.1 <= 1_024));
    assert_eq!(gone.last(), Some(&("big".to_string(), 0)));
    bench.slice.check();
    assert_eq!(show(&bench.run(&["EXISTS", "big", "h"])), ":1");
    bench.run(&["COPY", "h", "copy"]);
    bench.run(&["RENAME", "h", "other"]);
    bench.run(&["PERSIST", "other"]);
    bench.slice.check();
    assert_eq!((bench.slice.volatile_len(0), bench.slice.with_moments_len(0)), (1, 2));
    bench.advance_ms(5_000);
    let mut gone = expired_fields(&mut bench);
    gone.sort();
    assert_eq!(gone, [("copy".to_string(), 2), ("other".to_string(), 2)]);
    assert_eq!((bench.slice.volatile_len(0), bench.slice.with_moments_len(0)), (1, 0));
    assert_eq!(show(&bench.run(&["HGETALL", "copy"])), "[\"c\" \"3\"]");
    bench.slice.check();
    assert_eq!(bench.slice.stats().expired_fields, 5_004);
}

#[test]
fn hashes_with_volatile_fields_are_counted_through_all_changes() {
    let mut bench = Bench::new();
    let run = |bench: &mut Bench, line: &str| {
        bench.run(&line.split(' ').collect::<Vec<_>>());
        bench.slice.check();
        bench.slice.with_moments_len(0)
    };
    assert_eq!(run(&mut bench, "HSETEX h EX 100 FIELDS 1 a 1"), 1);
    assert_eq!(run(&mut bench, "HSET h b 1"), 1);
    assert_eq!(run(&mut bench, "HPERSIST h FIELDS 1 a"), 0);
    assert_eq!(run(&mut bench, "HEXPIRE h 100 FIELDS 2 a b"), 1);
    assert_eq!(run(&mut bench, "EXPIRE h 200"), 1);
    assert_eq!(run(&mut bench, "HDEL h a"), 1);
    assert_eq!(run(&mut bench, "COPY h i"), 2);
    assert_eq!(run(&mut bench, "PERSIST i"), 2);
    assert_eq!(run(&mut bench, "HDEL h b"), 1);
    assert_eq!(run(&mut bench, "MOVE i 1"), 0);
    assert_eq!(run(&mut bench, "SWAPDB 0 1"), 1);
    assert_eq!(run(&mut bench, "SET i v"), 0);
    assert_eq!(run(&mut bench, "HSETEX h EX 100 FIELDS 1 a 1"), 1);
    assert_eq!(run(&mut bench, "RENAME h i"), 1);
    assert_eq!(run(&mut bench, "HSETEX h EX 100 FIELDS 1 a 1"), 2);
    assert_eq!(run(&mut bench, "DEL h"), 1);
    assert_eq!(run(&mut bench, "FLUSHALL"), 0);
}

/// The expiry of each field of each key.
type Model = BTreeMap<String, BTreeMap<String, Option<u64>>>;

/// Runs one random command on the server and on the model.
fn random_step(bench: &mut Bench, model: &mut Model, rng: &mut Rng, now_ms: u64) {
    let key = format!("k{}", rng.below(120));
    let other = format!("k{}", rng.below(120));
    let field = format!("f{}", rng.below(if key == "k0" { 3_000 } else { 8 }));
    let ms = rng.below(40_000) + 1;
    let at = Some(now_ms + ms);
    let ms = ms.to_string();
    let mut run = |args: &[&str]| show(&bench.run(args));
    match rng.below(20) {
        0..9 => {
            run(&["HSETEX", &key, "PX", &ms, "FIELDS", "1", &field, "v"]);
            model.entry(key).or_default().insert(field, at);
        }
        9..12 => {
            run(&["HSET", &key, &field, "v"]);
            model.entry(key).or_default().insert(field, None);
        }
        12 => {
            if run(&["HPERSIST", &key, "FIELDS", "1", &field]) == "[:1]" {
                model.get_mut(&key).unwrap().insert(field, None);
            }
        }
        13 => {
            if run(&["HDEL", &key, &field]) == ":1" {
                model.get_mut(&key).unwrap().remove(&field);
            }
        }
        14 => {
            run(&["DEL", &key]);
            model.remove(&key);
        }
        15 if run(&["EXISTS", &key]) == ":1" => {
            run(&["RENAME", &key, &other]);
            let fields = model.remove(&key).unwrap();
            model.insert(other, fields);
        }
        16 if key != other && run(&["EXISTS", &key]) == ":1" => {
            run(&["COPY", &key, &other, "REPLACE"]);
            let fields = model[&key].clone();
            model.insert(other, fields);
        }
        17 => drop(run(&["EXPIRE", &key, "1000000"])),
        18 => drop(run(&["PERSIST", &key])),
        _ => drop(run(&["HGETALL", &key])),
    }
}

#[test]
fn expired_fields_are_removed_under_random_commands() {
    for seed in 0..6 {
        let (mut bench, mut rng) = (Bench::new(), Rng::new(seed));
        let (mut model, mut now_ms) = (Model::new(), START_MS);
        for number in 0..3_000 {
            random_step(&mut bench, &mut model, &mut rng, now_ms);
            if rng.below(8) == 0 {
                let ms = rng.below(700);
                now_ms += ms;
                bench.advance_ms(ms);
            }
            if rng.below(6) == 0 {
                let mut steps = rng.below(12);
                bench.slice.housekeep(&mut || {
                    steps = steps.saturating_sub(1);
                    steps == 0
                });
            }
            if number % 200 == 0 {
                while bench.slice.housekeep(&mut || false).more {}
                bench.slice.check();
            }
            let is_expired = |at: &Option<u64>| at.is_some_and(|at| at < now_ms);
            model.values_mut().for_each(|fields| fields.retain(|_, at| !is_expired(at)));
        }
        bench.advance_ms(50_000);
        while bench.slice.housekeep(&mut || false).more {}
        bench.slice.check();
        model.values_mut().for_each(|fields| fields.retain(|_, at| at.is_none()));
        model.retain(|_, fields| !fields.is_empty());
        assert_eq!(bench.slice.len(0), model.len());
        for (key, fields) in &model {
            assert_eq!(show(&bench.run(&["HLEN", key])), format!(":{}", fields.len()));
        }
    }
}

#[test]
fn only_a_primary_removes_expired_fields() {
    let mut bench = Bench::new();
    let run =
        |bench: &mut Bench, line: &str| show(&bench.run(&line.split(' ').collect::<Vec<_>>()));
    run(&mut bench, "HSETEX h PX 20 FIELDS 2 a 1 b 2");
    run(&mut bench, "HSET h c 3");
    bench.advance_ms(1_000);
    bench.slice.set_role(ExpiryRole::Loading);
    assert_eq!(run(&mut bench, "HMGET h a b c"), "[\"1\" \"2\" \"3\"]");
    bench.slice.set_role(ExpiryRole::Replica);
    bench.slice.housekeep(&mut || false);
    assert_eq!(run(&mut bench, "HMGET h a b c"), "[nil nil \"3\"]");
    assert_eq!(run(&mut bench, "HLEN h"), ":3");
    // A replica keeps fields whose expiry is in the past, until the primary removes them.
    assert_eq!(run(&mut bench, "HSETEX h PXAT 5 FIELDS 1 d 4"), ":1");
    assert_eq!(run(&mut bench, "HPEXPIREAT h 5 FIELDS 1 c"), "[:1]");
    assert_eq!(run(&mut bench, "HSET h a 5"), ":0");
    assert_eq!(run(&mut bench, "HLEN h"), ":4");
    bench.slice.check();
    bench.slice.set_role(ExpiryRole::Primary);
    bench.slice.housekeep(&mut || false);
    assert_eq!(run(&mut bench, "HGETALL h"), "[\"a\" \"5\"]");
    assert_eq!(run(&mut bench, "HLEN h"), ":1");
    bench.slice.check();
}
