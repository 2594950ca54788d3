//! Scripts of the set commands, with the replies of the reference server.

use crate::commands::testing::{Bench, check_feed, check_script, show};
use crate::resp::{Protocol, Value};
use std::collections::BTreeSet;

#[test]
fn members() {
    check_script(
        r#"
        SADD s 3 1 2 1 => :3 +3
        SADD s 3 => :0
        SMEMBERS s => ["1" "2" "3"]
        SCARD s => :3
        SISMEMBER s 2 => :1
        SISMEMBER s 02 => :0
        SISMEMBER s x => :0
        SMISMEMBER s 1 x 3 => [:1 :0 :1]
        OBJECT ENCODING s => "intset"
        SADD s b '' => :2 +2
        OBJECT ENCODING s => "listpack"
        SMEMBERS s => ["1" "2" "3" "b" ""]
        SREM s 2 x b b => :2 +2
        SREM s => -ERR wrong number of arguments for 'srem' command
        SMEMBERS s => ["1" "3" ""]
        SREM s 1 3 '' 1 => :3 +3
        EXISTS s => :0
        SREM s 1 => :0
        SCARD s => :0
        SISMEMBER s 1 => :0
        SMISMEMBER s 1 2 => [:0 :0]
        SMEMBERS s => []
        SET str v => OK +1
        SADD str a => -WRONGTYPE Operation against a key holding the wrong kind of value
        SREM str a => -WRONGTYPE Operation against a key holding the wrong kind of value
        SCARD str => -WRONGTYPE Operation against a key holding the wrong kind of value
        SISMEMBER str a => -WRONGTYPE Operation against a key holding the wrong kind of value
        SMISMEMBER str a => -WRONGTYPE Operation against a key holding the wrong kind of value
        SMEMBERS str => -WRONGTYPE Operation against a key holding the wrong kind of value
        SADD e x => :1 +1
        PEXPIRE e 20 => :1 +1
        SADD e y => :1 +1
        PTTL e => :20
        ADVANCE 40
        SCARD e => :0
        SADD e z => :1 +1
        TTL e => :-1
        TYPE e => set
        "#,
    );
}

#[test]
fn moving() {
    check_script(
        r#"
        SMOVE none b x => :0
        SET str v => OK +1
        SMOVE none str x => :0
        SMOVE str none x => -WRONGTYPE Operation against a key holding the wrong kind of value
        SADD a 1 2 => :2 +2
        SMOVE a str 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        SMOVE a str 9 => -WRONGTYPE Operation against a key holding the wrong kind of value
        SMOVE a a 1 => :1
        SMOVE a a 9 => :0
        SMOVE a b 9 => :0
        SMOVE a b 1 => :1 +2
        SMEMBERS b => ["1"]
        OBJECT ENCODING b => "intset"
        SADD a 1 => :1 +1
        SMOVE a b 1 => :1 +1
        SMOVE a b 2 => :1 +2
        EXISTS a => :0
        SMEMBERS b => ["1" "2"]
        "#,
    );
}

#[test]
fn algebra() {
    check_script(
        r#"
        SADD a 1 2 3 4 => :4 +4
        SADD b 3 4 5 => :3 +3
        SADD c 4 x => :2 +2
        SET str v => OK +1
        SINTER a b => ["3" "4"]
        SINTER a b c => ["4"]
        SINTER a none => []
        SINTER a a => ["1" "2" "3" "4"]
        SINTER none str => -WRONGTYPE Operation against a key holding the wrong kind of value
        SUNION a b none => ["1" "2" "3" "4" "5"]
        SUNION none => []
        SUNION a str => -WRONGTYPE Operation against a key holding the wrong kind of value
        SDIFF a b => ["1" "2"]
        SDIFF a a => []
        SDIFF none a => []
        SDIFF a none => ["1" "2" "3" "4"]
        SDIFF c a => ["x"]
        SINTERCARD 2 a b => :2
        SINTERCARD 2 a b LIMIT 1 => :1
        SINTERCARD 2 a b limit 0 => :2
        SINTERCARD 2 a b LIMIT 5 LIMIT 1 => :1
        SINTERCARD 2 a none => :0
        SINTERCARD 1 a => :4
        SINTERCARD 0 a => -ERR numkeys should be greater than 0
        SINTERCARD x a => -ERR numkeys should be greater than 0
        SINTERCARD 3 a b => -ERR Number of keys can't be greater than number of args
        SINTERCARD 1 a LIMIT => -ERR syntax error
        SINTERCARD 1 a b => -ERR syntax error
        SINTERCARD 1 a FOO 1 => -ERR syntax error
        SINTERCARD 1 a LIMIT -1 => -ERR LIMIT can't be negative
        SINTERCARD 1 a LIMIT x => -ERR LIMIT can't be negative
        SINTERCARD 1 str => -WRONGTYPE Operation against a key holding the wrong kind of value
        SINTERSTORE d a b => :2 +1
        SMEMBERS d => ["3" "4"]
        OBJECT ENCODING d => "intset"
        SINTERSTORE d c c => :2 +1
        OBJECT ENCODING d => "listpack"
        SINTERSTORE d c a => :1 +1
        OBJECT ENCODING d => "intset"
        PEXPIRE d 1000 => :1 +1
        SUNIONSTORE d a c => :5 +1
        TTL d => :-1
        OBJECT ENCODING d => "listpack"
        SDIFFSTORE d a b c => :2 +1
        SMEMBERS d => ["1" "2"]
        SDIFFSTORE d a a => :0 +1
        EXISTS d => :0
        SDIFFSTORE d a a => :0
        SINTERSTORE str a none => :0 +1
        EXISTS str => :0
        SINTERSTORE a a b => :2 +1
        SMEMBERS a => ["3" "4"]
        SUNIONSTORE a a b => :3 +1
        SUNIONSTORE none2 none none => :0
        SET str v => OK +1
        SUNIONSTORE d str => -WRONGTYPE Operation against a key holding the wrong kind of value
        SUNIONSTORE str a => :3 +1
        TYPE str => set
        "#,
    );
}

#[test]
fn scanning_and_random_members() {
    check_script(
        r#"
        SSCAN none 0 => ["0" []]
        SSCAN none x => -ERR invalid cursor
        SSCAN none 0 FOO => ["0" []]
        SADD s 1 2 30 => :3 +3
        SSCAN s 0 => ["0" ["1" "2" "30"]]
        SSCAN s 7 => ["0" ["1" "2" "30"]]
        SSCAN s 0 MATCH 3* => ["0" ["30"]]
        SSCAN s 0 COUNT 1 match * => ["0" ["1" "2" "30"]]
        SSCAN s 0 COUNT 0 => -ERR syntax error
        SSCAN s 0 COUNT x => -ERR value is not an integer or out of range
        SSCAN s 0 COUNT => -ERR syntax error
        SSCAN s 0 TYPE set => -ERR syntax error
        SSCAN s 0 NOVALUES => -ERR NOVALUES option can only be used in HSCAN
        SSCAN s 0 NOSCORES => -ERR NOSCORES option can only be used in ZSCAN
        SET str v => OK +1
        SSCAN str 0 FOO => -WRONGTYPE Operation against a key holding the wrong kind of value
        SRANDMEMBER none => nil
        SRANDMEMBER none 3 => []
        SRANDMEMBER none x => -ERR value is not an integer or out of range
        SRANDMEMBER s 1 2 => -ERR syntax error
        SRANDMEMBER s 0 => []
        SRANDMEMBER s 3 => ["1" "2" "30"]
        SRANDMEMBER s 9 => ["1" "2" "30"]
        SRANDMEMBER str => -WRONGTYPE Operation against a key holding the wrong kind of value
        SADD one x => :1 +1
        SRANDMEMBER one => "x"
        SRANDMEMBER one -3 => ["x" "x" "x"]
        SPOP none => nil
        SPOP none 2 => []
        SPOP none x => -ERR value is out of range, must be positive
        SPOP s -1 => -ERR value is out of range, must be positive
        SPOP s 1 2 => -ERR syntax error
        SPOP str => -WRONGTYPE Operation against a key holding the wrong kind of value
        SPOP str 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        SPOP s 0 => []
        SPOP one => "x" +1
        EXISTS one => :0
        SPOP s 3 => ["1" "2" "30"] +3
        EXISTS s => :0
        "#,
    );
}

#[test]
fn a_count_that_cannot_be_negated() {
    let mut bench = Bench::new();
    let reply = show(&bench.run(&["SRANDMEMBER", "s", &i64::MIN.to_string()]));
    let bounds = "value must between -9223372036854775807 and 9223372036854775807";
    assert_eq!(reply, format!("-ERR value is out of range, {bounds}"));
}

fn texts(value: Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().map(show).collect(),
        other => panic!("no array: {other:?}"),
    }
}

#[test]
fn large_sets_scan_random_members_and_pop() {
    let mut bench = Bench::new();
    let mut all = BTreeSet::new();
    for number in 0..1_000 {
        let member = format!("m{number}");
        bench.run(&["SADD", "s", &member]);
        all.insert(format!("\"{member}\""));
    }
    assert_eq!(show(&bench.run(&["OBJECT", "ENCODING", "s"])), "\"hashtable\"");
    for count in ["1", "10", "100", "5000"] {
        let (mut cursor, mut met, mut calls) = ("0".to_string(), BTreeSet::new(), 0);
        loop {
            let Value::Array(parts) = bench.run(&["SSCAN", "s", &cursor, "COUNT", count]) else {
                panic!("an array");
            };
            cursor = show(&parts[0]).trim_matches('"').to_string();
            met.extend(texts(parts[1].clone()));
            calls += 1;
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(met, all);
        assert!(calls <= 1 + 1_000 / count.parse::<usize>().expect("a number").min(16));
    }
    for count in [1, 5, 400, 999] {
        let drawn = texts(bench.run(&["SRANDMEMBER", "s", &count.to_string()]));
        assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), count);
        assert!(drawn.iter().all(|member| all.contains(member)));
        assert_eq!(texts(bench.run(&["SRANDMEMBER", "s", &format!("-{count}")])).len(), count);
    }
    for (count, left, encoding) in [(100, 900, "hashtable"), (890, 10, "listpack")] {
        let popped = texts(bench.run(&["SPOP", "s", &count.to_string()]));
        assert_eq!(popped.len(), count);
        assert!(popped.iter().all(|member| all.remove(member)));
        assert_eq!(show(&bench.run(&["SCARD", "s"])), format!(":{left}"));
        assert_eq!(show(&bench.run(&["OBJECT", "ENCODING", "s"])), format!("\"{encoding}\""));
        bench.slice.check();
    }
    assert_eq!(texts(bench.run(&["SMEMBERS", "s"])).into_iter().collect::<BTreeSet<_>>(), all);
}

#[test]
fn propagation() {
    check_feed(
        r#"
        SADD s 1 2 1 => SADD s 1 2 1
        SADD s 1 =>
        SREM s 9 =>
        SREM s 9 1 => SREM s 9 1
        SPOP s => SREM s 2
        SPOP s =>
        SADD s 1 2 => SADD s 1 2
        SPOP s 5 => UNLINK s
        SADD s 1 2 => SADD s 1 2
        SPOP s 0 =>
        SMOVE s t 1 => SMOVE s t 1
        SMOVE s t 1 =>
        SMOVE s s 2 =>
        SUNIONSTORE d s t => SUNIONSTORE d s t
        SINTERSTORE d s t => SINTERSTORE d s t
        SINTERSTORE d s t =>
        SDIFFSTORE d s t => SDIFFSTORE d s t
        SRANDMEMBER s =>
        SINTER s t =>
        "#,
    );
}

#[test]
fn popped_members_are_propagated_in_chunks() {
    let mut bench = Bench::new();
    for number in 0..3_000 {
        bench.run(&["SADD", "s", &format!("m{number}")]);
    }
    bench.record();
    let popped = texts(bench.run(&["SPOP", "s", "2500"]));
    let recorded = bench.recorded();
    let lens: Vec<usize> = recorded.iter().map(|line| line.split(' ').count() - 2).collect();
    assert_eq!(lens, [1_024, 1_024, 452]);
    assert!(recorded.iter().all(|line| line.starts_with("SREM s m")));
    let propagated: BTreeSet<String> = recorded
        .iter()
        .flat_map(|line| line.split(' ').skip(2))
        .map(|member| format!("\"{member}\""))
        .collect();
    assert_eq!(propagated, popped.into_iter().collect());
}

#[test]
fn sets_in_resp3() {
    let mut bench = Bench::new();
    bench.protocol = Protocol::Three;
    let wire = |bench: &mut Bench, line: &str| {
        let args: Vec<&str> = line.split(' ').collect();
        String::from_utf8(bench.run_bytes(&args)).expect("text")
    };
    bench.run(&["SADD", "s", "1", "x"]);
    for (line, expected) in [
        ("SMEMBERS s", "~2\r\n$1\r\n1\r\n$1\r\nx\r\n"),
        ("SMEMBERS none", "~0\r\n"),
        ("SINTER s s", "~2\r\n$1\r\n1\r\n$1\r\nx\r\n"),
        ("SINTER s none", "~0\r\n"),
        ("SUNION none", "~0\r\n"),
        ("SDIFF s s", "~0\r\n"),
        ("SRANDMEMBER s 5", "*2\r\n$1\r\n1\r\n$1\r\nx\r\n"),
        ("SRANDMEMBER none", "_\r\n"),
        ("SPOP none", "_\r\n"),
        ("SPOP none 3", "~0\r\n"),
        ("SPOP s 0", "~0\r\n"),
        ("SMISMEMBER s 1 2", "*2\r\n:1\r\n:0\r\n"),
        ("SSCAN s 0", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\n1\r\n$1\r\nx\r\n"),
        ("SPOP s 2", "~2\r\n$1\r\n1\r\n$1\r\nx\r\n"),
    ] {
        assert_eq!(wire(&mut bench, line), expected, "{line}");
    }
}

#[test]
fn random_members_stop_at_the_output_buffer_limit() {
    let mut bench = Bench::new();
    bench.config.client_output_buffer_limit.normal.hard_bytes = 100_000;
    bench.run(&["SADD", "s", "a"]);
    bench.run(&["HSET", "h", "f", "v"]);
    bench.run(&["ZADD", "z", "1", "m"]);
    for (command, key) in [("SRANDMEMBER", "s"), ("HRANDFIELD", "h"), ("ZRANDMEMBER", "z")] {
        let Value::Array(elements) = bench.run(&[command, key, "-999999999"]) else { panic!() };
        assert_eq!(elements.len(), 25_001, "{command}");
    }
}
