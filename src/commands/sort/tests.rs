//! Scripts of SORT, with the replies of the reference server.

use crate::commands::testing::{Bench, START_MS, check_feed, check_script, show};
use crate::keyspace::Expiry;
use crate::value::hash::{Hash, Limits as HashLimits};
use crate::value::set::{Limits as SetLimits, Set};
use crate::value::sorted_set::{Limits as SortedLimits, SortedSet};
use crate::value::{Container, Object};

fn put(bench: &mut Bench, key: &str, object: Object) {
    let key = bench.slice.key(key.as_bytes());
    bench.slice.set_object(0, &key, object, Expiry::Clear);
}

/// Runs the lines of a script on a bench and compares the replies, without the dirty counts.
fn check_on(bench: &mut Bench, script: &str) {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (command, expected) = line.split_once(" => ").expect("a command and its reply");
        let args: Vec<&str> = command.split(' ').collect();
        assert_eq!(show(&bench.run(&args)), expected, "{command}");
    }
}

#[test]
fn numbers_and_texts() {
    check_script(
        r#"
        RPUSH l 3 1 2 -5 10 1.5 => :6 +6
        SORT l => ["-5" "1" "1.5" "2" "3" "10"]
        SORT l DESC => ["10" "3" "2" "1.5" "1" "-5"]
        SORT l ALPHA => ["-5" "1" "1.5" "10" "2" "3"]
        SORT l ALPHA DESC => ["3" "2" "10" "1.5" "1" "-5"]
        SORT l LIMIT 1 2 => ["1" "1.5"]
        SORT l LIMIT -1 2 => ["-5" "1"]
        SORT l LIMIT 4 -1 => ["3" "10"]
        SORT l LIMIT 4 100 => ["3" "10"]
        SORT l LIMIT 0 0 => []
        SORT l LIMIT 6 1 => []
        SORT l LIMIT 9223372036854775807 9223372036854775807 => []
        SORT l LIMIT 0 -9223372036854775808 => ["-5" "1" "1.5" "2" "3" "10"]
        SORT l DESC LIMIT 0 2 ASC => ["-5" "1"]
        SORT l LIMIT a 1 => -ERR value is not an integer or out of range
        SORT l LIMIT 1 a => -ERR value is not an integer or out of range
        SORT l LIMIT 1 => -ERR syntax error
        SORT l FOO => -ERR syntax error
        SORT l BY => -ERR syntax error
        SORT l GET => -ERR syntax error
        SORT l STORE => -ERR syntax error
        SORT l ASC DESC ALPHA LIMIT => -ERR syntax error
        SORT_RO l => ["-5" "1" "1.5" "2" "3" "10"]
        SORT_RO l STORE x => -ERR syntax error
        SORT_RO l DESC LIMIT 0 1 => ["10"]
        SORT none => []
        SORT none LIMIT 0 1 => []
        SORT none BY nosort GET # => []
        SET s v => OK +1
        SORT s => -WRONGTYPE Operation against a key holding the wrong kind of value
        SORT s FOO => -ERR syntax error
        SORT => -ERR wrong number of arguments for 'sort' command
        RPUSH bad a b 1 => :3 +3
        SORT bad => -ERR One or more scores can't be converted into double
        SORT bad ALPHA => ["1" "a" "b"]
        SORT bad BY nosort => ["a" "b" "1"]
        SORT bad BY nosort DESC => ["1" "b" "a"]
        SORT bad BY nosort DESC LIMIT 1 1 => ["b"]
        SORT bad BY nosort LIMIT 1 1 => ["b"]
        SORT bad BY nosort LIMIT 1 0 => []
        SORT bad BY nosort LIMIT 5 1 => []
        SORT bad STORE x => -ERR One or more scores can't be converted into double
        EXISTS x => :0
        RPUSH odd inf -inf +1 1e2 .5 => :5 +5
        SORT odd => ["-inf" ".5" "+1" "1e2" "inf"]
        RPUSH ties b a d 01 1 1.0 => :6 +6
        SORT ties BY none* => ["01" "1" "1.0" "a" "b" "d"]
        SORT ties BY none* DESC => ["d" "b" "a" "1.0" "1" "01"]
        RPUSH num 1 01 1.0 +1 1e0 => :5 +5
        SORT num => ["+1" "01" "1" "1.0" "1e0"]
        SORT num DESC => ["1e0" "1.0" "1" "01" "+1"]
        "#,
    );
}

#[test]
fn patterns() {
    check_script(
        r#"
        RPUSH id 1 2 3 4 => :4 +4
        MSET w1 30 w2 10 w3 20 n1 one n2 two n3 three w4 5 => OK +7
        SORT id BY w* => ["4" "2" "3" "1"]
        SORT id BY w* DESC => ["1" "3" "2" "4"]
        SORT id BY w* GET n* => [nil "two" "three" "one"]
        SORT id GET w*->f => [nil nil nil nil]
        SORT id GET none => [nil nil nil nil]
        SORT id GET # => ["1" "2" "3" "4"]
        SORT id GET # GET # => ["1" "1" "2" "2" "3" "3" "4" "4"]
        SORT id BY n* ALPHA => ["4" "1" "3" "2"]
        SORT id BY n* ALPHA DESC LIMIT 0 2 => ["2" "3"]
        SORT id BY n* => -ERR One or more scores can't be converted into double
        SORT id BY # => ["1" "2" "3" "4"]
        SORT id BY nosort BY w* => ["1" "2" "3" "4"]
        SORT id BY w* BY nosort => ["1" "2" "3" "4"]
        SORT id BY w* LIMIT 1 2 GET n* => ["two" "three"]
        SORT_RO id BY w* GET n* => [nil "two" "three" "one"]
        SORT id BY none* GET n1 => [nil nil nil nil]
        "#,
    );
}

#[test]
fn storing() {
    check_script(
        r#"
        RPUSH id 1 2 3 => :3 +3
        MSET w1 30 w2 10 w3 20 n1 one n2 two => OK +5
        SORT id STORE d => :3 +3
        LRANGE d 0 -1 => ["1" "2" "3"]
        SORT id BY w* GET n* GET # STORE d => :6 +6
        LRANGE d 0 -1 => ["two" "2" "" "3" "one" "1"]
        SORT id DESC STORE id => :3 +3
        LRANGE id 0 -1 => ["3" "2" "1"]
        SORT none STORE d => :0 +1
        EXISTS d => :0
        SORT none STORE d => :0
        SET str v => OK +1
        EXPIRE str 100 => :1 +1
        SORT id STORE str => :3 +3
        TYPE str => list
        TTL str => :-1
        SORT id LIMIT 0 0 STORE str => :0 +1
        EXISTS str => :0
        SORT id STORE a STORE b => :3 +3
        EXISTS a b => :1
        OBJECT ENCODING b => "listpack"
        "#,
    );
}

fn hash(fields: &[(&str, &str, Option<u64>)]) -> Object {
    let limits = HashLimits { listpack_entries: 128, listpack_value: 64 };
    let mut hash = Hash::default();
    for (name, value, expiry) in fields {
        hash.set(name.as_bytes(), value.as_bytes(), *expiry, &limits);
    }
    Box::new(hash).into_object()
}

#[test]
fn fields_of_hashes() {
    let mut bench = Bench::new();
    bench.run(&["RPUSH", "id", "1", "2", "3", "4"]);
    bench.run(&["MSET", "w1", "30", "w2", "10", "w3", "20", "w4", "5"]);
    bench.run(&["MSET", "n1", "one", "n2", "two", "n3", "three"]);
    put(&mut bench, "h1", hash(&[("f", "3", None), ("g", "x", Some(START_MS + 1))]));
    put(&mut bench, "h2", hash(&[("f", "2", None)]));
    put(&mut bench, "h3", hash(&[("g", "y", None)]));
    check_on(
        &mut bench,
        r#"
        SORT id BY w* GET n* GET h*->f => [nil nil "two" "2" "three" nil "one" "3"]
        SORT id GET h*->g => ["x" nil "y" nil]
        SORT id GET h*-> => [nil nil nil nil]
        SORT id GET h->f* => [nil nil nil nil]
        SORT id GET h* => [nil nil nil nil]
        SORT id BY h*->f => ["3" "4" "2" "1"]
        SORT id BY h*->f DESC => ["1" "2" "4" "3"]
        SORT id BY h*->g ALPHA => ["2" "4" "1" "3"]
        "#,
    );
    bench.advance_ms(2);
    check_on(&mut bench, "SORT id GET h*->g => [nil nil \"y\" nil]");
}

#[test]
fn sets_and_sorted_sets() {
    let mut bench = Bench::new();
    let (mut set, mut sorted) = (Set::default(), SortedSet::default());
    let limits = SetLimits { intset_entries: 1, listpack_entries: 1, listpack_value: 1 };
    for member in ["b", "a", "c", "01"] {
        set.insert(member.as_bytes(), &limits);
    }
    let limits = SortedLimits { listpack_entries: 1, listpack_value: 1 };
    for (member, score) in [("a", 3.0), ("b", 1.0), ("c", 2.0), ("d", 2.0)] {
        sorted.put(member.as_bytes(), score, &limits);
    }
    put(&mut bench, "set", Box::new(set).into_object());
    put(&mut bench, "z", Box::new(sorted).into_object());
    check_on(
        &mut bench,
        r#"
        SORT set BY nosort STORE d => :4
        LRANGE d 0 -1 => ["01" "a" "b" "c"]
        SORT set ALPHA => ["01" "a" "b" "c"]
        SORT z ALPHA DESC => ["d" "c" "b" "a"]
        SORT z BY nosort => ["b" "c" "d" "a"]
        SORT z BY nosort DESC => ["a" "d" "c" "b"]
        SORT z BY nosort LIMIT 1 2 => ["c" "d"]
        SORT z BY nosort DESC LIMIT 1 2 => ["d" "c"]
        SORT z BY nosort LIMIT 3 9 => ["a"]
        SORT z BY nosort LIMIT 4 1 => []
        SORT z BY nosort DESC LIMIT 4 1 => []
        SORT z BY nosort DESC STORE d => :4
        LRANGE d 0 -1 => ["a" "d" "c" "b"]
        SORT z => -ERR One or more scores can't be converted into double
        "#,
    );
}

#[test]
fn a_nul_ends_the_comparison_unless_the_result_is_stored() {
    let mut bench = Bench::new();
    bench.run(&["RPUSH", "l", "a\0b", "a\0a"]);
    assert_eq!(show(&bench.run(&["SORT", "l", "ALPHA"])), "[\"a\0b\" \"a\0a\"]");
    bench.run(&["SORT", "l", "ALPHA", "STORE", "d"]);
    assert_eq!(show(&bench.run(&["LRANGE", "d", "0", "-1"])), "[\"a\0a\" \"a\0b\"]");
}

#[test]
fn an_empty_text_is_not_a_number() {
    let mut bench = Bench::new();
    bench.run(&["RPUSH", "l", "", "1"]);
    let refusal = "-ERR One or more scores can't be converted into double";
    assert_eq!(show(&bench.run(&["SORT", "l"])), refusal);
    bench.run(&["RPUSH", "nul", "\0", "1"]);
    assert_eq!(show(&bench.run(&["SORT", "nul"])), refusal);
}

#[test]
fn equal_elements_of_a_part_are_in_the_order_of_the_reference() {
    check_script(
        r#"
        RPUSH l 1 2 3 4 5 6 7 8 9 => :9 +9
        SORT l BY none* ALPHA => ["1" "2" "3" "4" "5" "6" "7" "8" "9"]
        SORT l BY none* ALPHA LIMIT 0 9 => ["1" "2" "3" "4" "5" "6" "7" "8" "9"]
        SORT l BY none* ALPHA LIMIT 0 4 => ["9" "2" "3" "4"]
        "#,
    );
}

#[test]
fn propagation() {
    check_feed(
        r#"
        RPUSH l 2 1 => RPUSH l 2 1
        SORT l =>
        SORT l STORE d => SORT l STORE d
        SORT none STORE e =>
        SORT none STORE d => SORT none STORE d
        "#,
    );
}
