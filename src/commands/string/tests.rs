//! Scripts of the string commands, with the replies of the reference server.

use crate::commands::testing::{Bench, check_script, show};
use crate::keyspace::Slice;
use crate::resp::{Protocol, Value};
use crate::value::string::Str;

#[test]
fn get_and_set() {
    check_script(
        r#"
        GET k => nil
        SET k v => OK +1
        GET k => "v"
        SET k 10 => OK +1
        GET k => "10"
        SET k 010 => OK +1
        GET k => "010"
        SET '' empty => OK +1
        GET '' => "empty"
        SET k '' => OK +1
        GET k => ""
        SET => -ERR wrong number of arguments for 'set' command
        SET k => -ERR wrong number of arguments for 'set' command
        GET => -ERR wrong number of arguments for 'get' command
        GET a b => -ERR wrong number of arguments for 'get' command
        SET k v NX => nil
        SET k v XX => OK +1
        SET n v XX => nil
        SET n v NX => OK +1
        SET n w NX => nil
        GET n => "v"
        SET n w XX GET => "v" +1
        SET n x NX GET => "w"
        GET n => "w"
        SET new x NX GET => nil +1
        GET new => "x"
        SET new2 x XX GET => nil
        GET new2 => nil
        SET k v nx => nil
        SET k v Ex 100 => OK +1
        TTL k => :100
        SET k v => OK +1
        TTL k => :-1
        SET k v EX 100 => OK +1
        SET k w KEEPTTL => OK +1
        TTL k => :100
        SET k w keepttl KEEPTTL => OK +1
        SET k v IFEQ w => OK +1
        GET k => "v"
        SET k v IFEQ other => nil
        GET k => "v"
        SET k 5 => OK +1
        SET k 6 IFEQ 5 => OK +1
        SET k 7 IFEQ 05 => nil
        SET k 8 IFEQ 5 GET => "6"
        SET k 8 IFEQ 6 GET => "6" +1
        GET k => "8"
        SET none 8 IFEQ 6 => nil
        SET none 8 IFEQ 6 GET => nil
        SET none '' IFEQ '' => nil
        "#,
    );
}

#[test]
fn set_rejects_contradicting_options() {
    check_script(
        r#"
        SET k x => OK +1
        SET k v NX XX => -ERR syntax error
        SET k v XX NX => -ERR syntax error
        SET k v NX NX => nil
        SET k v XX XX => OK +1
        SET k v NX IFEQ v => -ERR syntax error
        SET k v IFEQ v NX => -ERR syntax error
        SET k v IFEQ => -ERR syntax error
        SET k v IFEQ v IFEQ v => -ERR syntax error
        SET k v GET GET => "v" +1
        SET k v EX => -ERR syntax error
        SET k v PX => -ERR syntax error
        SET k v EXAT => -ERR syntax error
        SET k v PXAT => -ERR syntax error
        SET k v EX 10 PX 10 => -ERR syntax error
        SET k v EX 10 EXAT 10 => -ERR syntax error
        SET k v EX 10 KEEPTTL => -ERR syntax error
        SET k v KEEPTTL EX 10 => -ERR syntax error
        SET k v PXAT 10 PX 5 => -ERR syntax error
        SET k v EX 10 EX 20 => OK +1
        TTL k => :20
        SET k v PX 10000 PX 20000 => OK +1
        TTL k => :20
        SET k v PERSIST => -ERR syntax error
        SET k v FOO => -ERR syntax error
        SET k v EX 10 FOO => -ERR syntax error
        SET k v NX EX => -ERR syntax error
        SET k v EX NX => -ERR value is not an integer or out of range
        SET k v EX '' => -ERR value is not an integer or out of range
        SET k v EX 1.5 => -ERR value is not an integer or out of range
        SET k v EX 0 => -ERR invalid expire time in 'set' command
        SET k v EX -1 => -ERR invalid expire time in 'set' command
        SET k v PX 0 => -ERR invalid expire time in 'set' command
        SET k v PX -5 => -ERR invalid expire time in 'set' command
        SET k v EXAT 0 => -ERR invalid expire time in 'set' command
        SET k v EXAT -1 => -ERR invalid expire time in 'set' command
        SET k v PXAT 0 => -ERR invalid expire time in 'set' command
        SET k v EX 9223372036854775807 => -ERR invalid expire time in 'set' command
        SET k v EX 9223372036854775 => -ERR invalid expire time in 'set' command
        SET k v EX 9223372036854776 => -ERR invalid expire time in 'set' command
        SET k v PX 9223372036854775807 => -ERR invalid expire time in 'set' command
        SET k v PX 9223370000000000000 => OK +1
        SET k v PXAT 9223372036854775807 => OK +1
        PEXPIRETIME k => :9223372036854775807
        SET k v EXAT 9223372036854775 => OK +1
        SET k v EXAT 9223372036854776 => -ERR invalid expire time in 'set' command
        SET k v EX 99999999999999999999 => -ERR value is not an integer or out of range
        SET k v XX EX 0 => -ERR invalid expire time in 'set' command
        SET k v FOO EX 0 => -ERR syntax error
        "#,
    );
}

#[test]
fn set_with_a_past_expiry_removes_the_key() {
    check_script(
        r#"
        SET k v => OK +1
        SET k v PXAT 1 => OK +1
        GET k => nil
        SET k v PXAT 1 => OK
        SET k v EXAT 1 => OK
        SET k v => OK +1
        SET k w EXAT 1 GET => "v" +1
        GET k => nil
        SET k w EXAT 1 GET => nil
        SET k v NX EXAT 1 => OK
        SET k v => OK +1
        SET k v NX EXAT 1 => nil
        GET k => "v"
        SET k v XX EXAT 1 => OK +1
        GET k => nil
        SET k v XX EXAT 1 => nil
        SET k v => OK +1
        SET k v IFEQ v PXAT 1 => OK +1
        EXISTS k => :0
        SET k v PXAT {now+100000} => OK +1
        PEXPIRETIME k => :{now+100000}
        SET k v EXAT {now_s+100} => OK +1
        EXPIRETIME k => :{now_s+100}
        SET k v PX 30 => OK +1
        GET k => "v"
        ADVANCE 50
        GET k => nil
        SET k v NX PX 20 => OK +1
        ADVANCE 40
        SET k w NX => OK +1
        SET k v PX 20 => OK +1
        ADVANCE 40
        SET k x XX => nil
        SET k v PX 20 => OK +1
        ADVANCE 40
        SET k x GET => nil +1
        SET k v PX 20 => OK +1
        ADVANCE 40
        SET k x KEEPTTL => OK +1
        TTL k => :-1
        "#,
    );
}

#[test]
fn setnx_setex_psetex() {
    check_script(
        r#"
        SET k x => OK +1
        DEL k => :1 +1
        SETNX k v => :1 +1
        SETNX k w => :0
        GET k => "v"
        SETNX k => -ERR wrong number of arguments for 'setnx' command
        SETEX k 10 v => OK +1
        TTL k => :10
        SETEX k 0 v => -ERR invalid expire time in 'setex' command
        SETEX k -1 v => -ERR invalid expire time in 'setex' command
        SETEX k x v => -ERR value is not an integer or out of range
        SETEX k 9223372036854776 v => -ERR invalid expire time in 'setex' command
        SETEX k 10 => -ERR wrong number of arguments for 'setex' command
        PSETEX k 10000 v => OK +1
        TTL k => :10
        PSETEX k 0 v => -ERR invalid expire time in 'psetex' command
        PSETEX k x v => -ERR value is not an integer or out of range
        PSETEX k 9223372036854775807 v => -ERR invalid expire time in 'psetex' command
        "#,
    );
}

#[test]
fn getset_getdel() {
    check_script(
        r#"
        SET k x => OK +1
        DEL k => :1 +1
        GETSET k a => nil +1
        GETSET k 7 => "a" +1
        GET k => "7"
        SET k v EX 100 => OK +1
        GETSET k w => "v" +1
        TTL k => :-1
        GETDEL k => "w" +1
        GETDEL k => nil
        GETDEL => -ERR wrong number of arguments for 'getdel' command
        GETSET k => -ERR wrong number of arguments for 'getset' command
        "#,
    );
}

#[test]
fn getex() {
    check_script(
        r#"
        GETEX k => nil
        SET k v => OK +1
        GETEX k => "v"
        TTL k => :-1
        GETEX k EX 100 => "v" +1
        TTL k => :100
        GETEX k PX 100000 => "v" +1
        GETEX k EXAT {now_s+50} => "v" +1
        GETEX k PXAT {now+60000} => "v" +1
        PEXPIRETIME k => :{now+60000}
        GETEX k => "v"
        TTL k => :60
        GETEX k PERSIST => "v" +1
        TTL k => :-1
        GETEX k PERSIST => "v"
        GETEX k persist PERSIST => "v"
        GETEX k EX 10 PERSIST => -ERR syntax error
        GETEX k PERSIST EX 10 => -ERR syntax error
        GETEX k KEEPTTL => -ERR syntax error
        GETEX k NX => -ERR syntax error
        GETEX k EX => -ERR syntax error
        GETEX k EX 0 => -ERR invalid expire time in 'getex' command
        GETEX k EX x => -ERR value is not an integer or out of range
        GETEX k PX -1 => -ERR invalid expire time in 'getex' command
        GETEX k EX 9223372036854775807 => -ERR invalid expire time in 'getex' command
        GETEX none EX 0 => -ERR invalid expire time in 'getex' command
        GETEX none EX 10 => nil
        GETEX none PERSIST => nil
        GETEX k EX 10 EX 20 => "v" +1
        TTL k => :20
        GETEX k EXAT 1 => "v" +1
        EXISTS k => :0
        GETEX k EXAT 1 => nil
        SET k v => OK +1
        GETEX k PXAT {now-1} => "v" +1
        GET k => nil
        "#,
    );
}

#[test]
fn append_strlen() {
    check_script(
        r#"
        DEL k => :0
        STRLEN k => :0
        APPEND k 12 => :2 +1
        APPEND k 3 => :3 +1
        GET k => "123"
        STRLEN k => :3
        APPEND k '' => :3 +1
        APPEND e '' => :0 +1
        GET e => ""
        EXISTS e => :1
        SET k v EX 100 => OK +1
        APPEND k w => :2 +1
        TTL k => :100
        STRLEN k => :2
        SET k -9223372036854775808 => OK +1
        STRLEN k => :20
        STRLEN => -ERR wrong number of arguments for 'strlen' command
        APPEND k => -ERR wrong number of arguments for 'append' command
        "#,
    );
}

#[test]
fn parts_read() {
    check_script(
        r#"
        GETRANGE k 0 -1 => ""
        SET k Hello => OK +1
        GETRANGE k 0 3 => "Hell"
        SUBSTR k 0 3 => "Hell"
        GETRANGE k -3 -1 => "llo"
        GETRANGE k 0 -1 => "Hello"
        GETRANGE k 1 100 => "ello"
        GETRANGE k -100 100 => "Hello"
        GETRANGE k -100 -99 => "H"
        GETRANGE k -99 -100 => ""
        GETRANGE k 3 1 => ""
        GETRANGE k -1 -3 => ""
        GETRANGE k 5 5 => ""
        GETRANGE k 4 4 => "o"
        GETRANGE k 4 -1 => "o"
        GETRANGE k 4 -2 => ""
        GETRANGE k -9223372036854775808 9223372036854775807 => "Hello"
        GETRANGE k 9223372036854775807 -1 => ""
        SET k '' => OK +1
        GETRANGE k 0 -1 => ""
        GETRANGE k 0 0 => ""
        SET k -1234 => OK +1
        GETRANGE k 0 1 => "-1"
        GETRANGE none x 1 => -ERR value is not an integer or out of range
        GETRANGE none 1 x => -ERR value is not an integer or out of range
        GETRANGE none 1 9223372036854775808 => -ERR value is not an integer or out of range
        GETRANGE k 1 => -ERR wrong number of arguments for 'getrange' command
        SUBSTR k 1 => -ERR wrong number of arguments for 'substr' command
        "#,
    );
}

#[test]
fn parts_overwritten() {
    check_script(
        r#"
        SETRANGE k 0 '' => :0
        SETRANGE k 5 '' => :0
        EXISTS k => :0
        SETRANGE k 0 ab => :2 +1
        GET k => "ab"
        SETRANGE k 1 '' => :2
        SETRANGE k 99 '' => :2
        SETRANGE k 1 xyz => :4 +1
        GET k => "axyz"
        SETRANGE k 0 b => :4 +1
        GET k => "bxyz"
        SET k 12345 EX 100 => OK +1
        SETRANGE k 1 9 => :5 +1
        GET k => "19345"
        TTL k => :100
        INCR k => :19346 +1
        SETRANGE k -1 x => -ERR offset is out of range
        SETRANGE k -1 '' => -ERR offset is out of range
        SETRANGE k x x => -ERR value is not an integer or out of range
        SETRANGE k 1 => -ERR wrong number of arguments for 'setrange' command
        SETRANGE none -1 x => -ERR offset is out of range
        SETRANGE k 536870911 xx => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        SETRANGE n 536870912 x => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        SETRANGE n 9223372036854775808 x => -ERR value is not an integer or out of range
        SETRANGE n 9223372036854775807 '' => :0
        SET k v PX 20 => OK +1
        ADVANCE 40
        SETRANGE k 0 x => :1 +1
        TTL k => :-1
        "#,
    );
}

#[test]
fn a_gap_is_filled_with_zeros() {
    let mut bench = Bench::new();
    assert_eq!(bench.run(&["SETRANGE", "k", "3", "x"]), Value::Integer(4));
    assert_eq!(bench.run(&["GET", "k"]), Value::Bulk(b"\0\0\0x".to_vec()));
    assert_eq!(bench.run(&["SETRANGE", "k", "40000", "y"]), Value::Integer(40_001));
    assert_eq!(bench.run(&["GETRANGE", "k", "39999", "-1"]), Value::Bulk(b"\0y".to_vec()));
    assert_eq!(bench.run(&["GETRANGE", "k", "0", "3"]), Value::Bulk(b"\0\0\0x".to_vec()));
    assert_eq!(bench.run(&["SETRANGE", "k", "1", "z"]), Value::Integer(40_001));
    assert_eq!(bench.run(&["GETRANGE", "k", "0", "3"]), Value::Bulk(b"\0z\0x".to_vec()));
}

#[test]
fn a_large_part_is_sent_by_reference() {
    let mut bench = Bench::new();
    bench.run(&["SET", "k", &"ab".repeat(50_000)]);
    let part = bench.run(&["GETRANGE", "k", "1", "-2"]);
    assert_eq!(part, Value::Bulk("ba".repeat(49_999).into_bytes()));
    assert_eq!(bench.run(&["GETRANGE", "k", "-2", "-1"]), Value::Bulk(b"ab".to_vec()));
    assert_eq!(bench.run(&["GETRANGE", "k", "3", "2"]), Value::Bulk(Vec::new()));
}

#[test]
fn delifeq() {
    check_script(
        r#"
        DELIFEQ k v => :0
        SET k v => OK +1
        DELIFEQ k w => :0
        DELIFEQ k v => :1 +1
        EXISTS k => :0
        SET k 5 => OK +1
        DELIFEQ k 05 => :0
        DELIFEQ k 5 => :1 +1
        SET k '' => OK +1
        DELIFEQ k '' => :1 +1
        DELIFEQ k '' => :0
        DELIFEQ k => -ERR wrong number of arguments for 'delifeq' command
        SET k v PX 20 => OK +1
        ADVANCE 40
        DELIFEQ k v => :0
        "#,
    );
}

#[test]
fn msetnx() {
    check_script(
        r#"
        MSETNX a 1 b 2 => :1 +2
        MSETNX b 3 c 3 => :0
        MSETNX c 3 b 3 => :0
        MGET a b c => ["1" "2" nil]
        MSETNX c 1 c 2 => :1 +2
        GET c => "2"
        MSETNX => -ERR wrong number of arguments for 'msetnx' command
        MSETNX a => -ERR wrong number of arguments for 'msetnx' command
        MSETNX x 1 y => -ERR wrong number of arguments for 'msetnx' command
        SET p v PX 20 => OK +1
        MSETNX p w => :0
        ADVANCE 40
        MSETNX p w q w => :1 +2
        TTL p => :-1
        "#,
    );
}

#[test]
fn msetex() {
    check_script(
        r#"
        MSETEX 2 a 1 b 2 EX 100 => :1 +2
        TTL b => :100
        MSETEX 1 a 2 KEEPTTL => :1 +1
        TTL a => :100
        MSETEX 1 a 2 => :1 +1
        TTL a => :-1
        MSETEX 2 a x c x NX => :0
        MSETEX 2 a x c x XX => :0
        MGET a b c => ["2" "2" nil]
        MSETEX 2 c x d x nx PX 5000 => :1 +2
        PTTL d => :5000
        MSETEX 2 c y d y PXAT {now+7000} XX => :1 +2
        PEXPIRETIME d => :{now+7000}
        MSETEX 2 e 1 e 2 NX KEEPTTL KEEPTTL NX => :1 +2
        GET e => "2"
        MSETEX 1 e 3 EX 10 EX 20 => :1 +1
        TTL e => :20
        MSETEX 2 e 3 f 3 EXAT 1 => :1 +2
        MGET e f => [nil nil]
        MSETEX 2 g 1 g 2 PXAT 1 => :1 +2
        DBSIZE => :5
        GET g => nil
        DBSIZE => :4
        "#,
    );
}

#[test]
fn msetex_errors() {
    check_script(
        r#"
        MSETEX 1 a => -ERR wrong number of arguments for 'msetex' command
        MSETEX 0 a 1 => -ERR invalid numkeys value or out of range
        MSETEX -1 a 1 => -ERR invalid numkeys value or out of range
        MSETEX x a 1 => -ERR invalid numkeys value or out of range
        MSETEX 1.5 a 1 => -ERR invalid numkeys value or out of range
        MSETEX 2147483648 a 1 => -ERR invalid numkeys value or out of range
        MSETEX 2147483647 a 1 => -ERR syntax error
        MSETEX 2 a 1 => -ERR syntax error
        MSETEX 2 a 1 b => -ERR syntax error
        MSETEX 1 a 1 b => -ERR syntax error
        MSETEX 1 a 1 NX XX => -ERR syntax error
        MSETEX 1 a 1 GET => -ERR syntax error
        MSETEX 1 a 1 IFEQ 1 => -ERR syntax error
        MSETEX 1 a 1 PERSIST => -ERR syntax error
        MSETEX 1 a 1 EX => -ERR syntax error
        MSETEX 1 a 1 EX 10 KEEPTTL => -ERR syntax error
        MSETEX 1 a 1 KEEPTTL PX 10 => -ERR syntax error
        MSETEX 1 a 1 EX 10 PX 10 => -ERR syntax error
        MSETEX 1 a 1 EX x => -ERR value is not an integer or out of range
        MSETEX 1 a 1 EX 0 => -ERR invalid expire time in 'msetex' command
        MSETEX 1 a 1 PXAT -1 => -ERR invalid expire time in 'msetex' command
        MSETEX 1 a 1 XX EX 0 => -ERR invalid expire time in 'msetex' command
        MSETEX 1 a 1 EX 9223372036854775807 => -ERR invalid expire time in 'msetex' command
        EXISTS a => :0
        "#,
    );
}

#[test]
fn nulls_in_resp3() {
    let mut bench = Bench::new();
    bench.protocol = Protocol::Three;
    for command in ["GET k", "SET k v XX", "SET k v XX GET", "GETDEL k", "GETEX k", "SET k v GET"] {
        let args: Vec<&str> = command.split(' ').collect();
        assert_eq!(bench.run_bytes(&args), b"_\r\n", "{command}");
    }
    assert_eq!(bench.run_bytes(&["MGET", "k", "none"]), b"*2\r\n$1\r\nv\r\n_\r\n");
    assert_eq!(bench.run_bytes(&["GETSET", "none", "v"]), b"_\r\n");
}

#[test]
fn hits_and_misses_count_as_in_the_reference() {
    let mut bench = Bench::new();
    let cases = [
        ("SET k v", [0, 0, 0]),
        ("GET k", [1, 0, 0]),
        ("GET x", [0, 1, 0]),
        ("EXISTS k x", [1, 1, 0]),
        ("TOUCH k x", [1, 1, 0]),
        ("TYPE k", [1, 0, 0]),
        ("TTL k", [1, 0, 0]),
        ("TTL x", [0, 1, 0]),
        ("STRLEN k", [1, 0, 0]),
        ("MGET k x k", [2, 1, 0]),
        ("SET k v GET", [1, 0, 0]),
        ("SET k v XX GET", [1, 0, 0]),
        ("SET k v NX", [0, 0, 0]),
        ("SETNX k v", [0, 0, 0]),
        ("GETSET y v", [0, 1, 0]),
        ("GETEX k EX 100", [1, 0, 0]),
        ("PERSIST k", [0, 0, 0]),
        ("EXPIRE k 100", [0, 0, 0]),
        ("INCR n", [0, 0, 0]),
        ("APPEND k v", [0, 0, 0]),
        ("INCRBYFLOAT n 1", [0, 0, 0]),
        ("DEL y x", [0, 0, 0]),
        ("KEYS *", [0, 0, 0]),
        ("SCAN 0", [0, 0, 0]),
        ("RANDOMKEY", [0, 0, 0]),
        ("GETDEL k", [1, 0, 0]),
        ("GETDEL k", [0, 1, 0]),
        ("SET k v", [0, 0, 0]),
        ("EXPIRE k 0", [0, 0, 1]),
        ("SET k v", [0, 0, 0]),
        ("SET k v PXAT 1", [0, 0, 1]),
        ("SET k v", [0, 0, 0]),
        ("GETEX k PXAT 1", [1, 0, 1]),
        ("SET k v PXAT 1 GET", [0, 1, 0]),
    ];
    let cases = cases.into_iter().chain([
        ("MSET a ab b cab", [0, 0, 0]),
        ("GETRANGE a 0 1", [1, 0, 0]),
        ("SUBSTR x 0 1", [0, 1, 0]),
        ("SETRANGE a 0 a", [0, 0, 0]),
        ("LCS a x", [1, 1, 0]),
        ("LCS a b FOO", [2, 0, 0]),
        ("MSETNX a 1 c 2", [0, 0, 0]),
        ("MSETEX 1 a ab XX", [0, 0, 0]),
        ("DELIFEQ a ab", [0, 0, 0]),
        ("DELIFEQ a ab", [0, 0, 0]),
    ]);
    for (command, expected) in cases {
        let before = bench.counters();
        bench.run(&command.split(' ').collect::<Vec<_>>());
        let after = bench.counters();
        let counted = [0, 1, 2].map(|at| after[at] - before[at]);
        assert_eq!(counted, expected, "{command}");
    }
    bench.run(&["SET", "k", "v", "PX", "10"]);
    bench.advance_ms(11);
    let before = bench.counters();
    assert_eq!(bench.run(&["GET", "k"]), Value::Null);
    let after = bench.counters();
    assert_eq!([0, 1, 2].map(|at| after[at] - before[at]), [0, 1, 1]);
}

/// Returns the address of a key's large value.
fn address(slice: &mut Slice, key: &[u8]) -> usize {
    let key = slice.key(key);
    match slice.peek(0, &key).and_then(|view| view.string()) {
        Some(Str::Large(bytes)) => bytes.as_ptr() as usize,
        other => panic!("no large value: {other:?}"),
    }
}

#[test]
fn large_values_are_moved_and_not_copied() {
    let mut bench = Bench::new();
    let value = vec![b'x'; 100_000];
    let commands: [&[&[u8]]; 6] = [
        &[b"SET", b"k", &value],
        &[b"SET", b"k", &value, b"XX", b"GET", b"EX", b"10"],
        &[b"GETSET", b"k", &value],
        &[b"SETEX", b"k", b"10", &value],
        &[b"PSETEX", b"k", b"10000", &value],
        &[b"MSET", b"a", b"1", b"k", &value, b"b", b"2"],
    ];
    for command in commands {
        bench.run(command);
        assert_eq!(address(&mut bench.slice, b"k"), bench.large_addresses[0]);
        assert_eq!(bench.run(&["GET", "k"]), Value::Bulk(value.clone()));
    }
    for command in [[&b"APPEND"[..], b"new", &value], [b"SETNX", b"new too", &value]] {
        bench.run(&command);
        assert_eq!(address(&mut bench.slice, command[1]), bench.large_addresses[0]);
    }
    let bulk = Value::Bulk(value.clone());
    assert_eq!(bench.run(&["MGET", "k", "new"]), Value::Array(vec![bulk.clone(), bulk]));
    assert_eq!(show(&bench.run(&["STRLEN", "k"])), ":100000");
    assert_eq!(show(&bench.run(&["APPEND", "k", "tail"])), ":100004");
    assert_eq!(show(&bench.run(&["STRLEN", "new"])), ":100000");
    assert_eq!(show(&bench.run(&["SET", "k", "v", "IFEQ", "x"])), "nil");
    let equal: [&[u8]; 5] = [b"SET", b"new", &value, b"IFEQ", &value];
    assert_eq!(show(&bench.run(&equal)), "OK", "both arguments have buffers of their own");
    assert_eq!(show(&bench.run(&["INCR", "k"])), "-ERR value is not an integer or out of range");
    assert_eq!(show(&bench.run(&["INCRBYFLOAT", "k", "1"])), "-ERR value is not a valid float");
}

#[test]
fn strings_do_not_grow_past_the_limit() {
    let mut bench = Bench::new();
    bench.config.proto_max_bulk_len = 10;
    let too_long = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    bench.run(&["SET", "k", "12345678"]);
    assert_eq!(show(&bench.run(&["APPEND", "k", "abc"])), too_long);
    assert_eq!(show(&bench.run(&["APPEND", "k", "ab"])), ":10");
    assert_eq!(show(&bench.run(&["APPEND", "k", "a"])), too_long);
    assert_eq!(show(&bench.run(&["APPEND", "k", ""])), ":10");
    assert_eq!(show(&bench.run(&["GET", "k"])), "\"12345678ab\"");
    assert_eq!(bench.changes(), 3);
    assert_eq!(show(&bench.run(&["SETRANGE", "k", "9", "cd"])), too_long);
    assert_eq!(show(&bench.run(&["SETRANGE", "k", "9", "c"])), ":10");
    bench.config.proto_max_bulk_len = 5;
    assert_eq!(show(&bench.run(&["SETRANGE", "k", "3", "xy"])), ":10");
    assert_eq!(show(&bench.run(&["SETRANGE", "k", "4", "xy"])), too_long);
    assert_eq!(show(&bench.run(&["SETRANGE", "k", "6", ""])), ":10");
    assert_eq!(show(&bench.run(&["SETRANGE", "new", "3", "xyz"])), too_long);
    assert_eq!(show(&bench.run(&["SETRANGE", "new", "9223372036854775807", "x"])), too_long);
    assert_eq!(show(&bench.run(&["EXISTS", "new"])), ":0");
}
