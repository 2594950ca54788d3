//! Tests of the bitmap commands: replies, changes and propagated commands.

use crate::commands::testing::{Bench, check_feed, check_script, show};
use crate::keyspace::Expiry;
use crate::resp::Protocol;
use crate::value::string::{INLINE_BYTES_MAX, NewStr, Str};

#[test]
fn bits_one_by_one() {
    check_script(
        r#"
        SETBIT k 7 1 => :0 +1
        SETBIT k 7 1 => :1
        SETBIT k 7 0 => :1 +1
        GETBIT k 7 => :0
        SETBIT k 8 0 => :0 +1
        SETBIT k 8 0 => :0
        STRLEN k => :2
        SETBIT k 100 1 => :0 +1
        GETBIT k 100 => :1
        GETBIT k 101 => :0
        GETBIT k 4294967295 => :0
        GETBIT k 4294967296 => -ERR bit offset is not an integer or out of range
        STRLEN k => :13
        SETBIT new 0 0 => :0 +1
        STRLEN new => :1
        SETBIT new 0 0 => :0
        SETBIT empty -1 1 => -ERR bit offset is not an integer or out of range
        SETBIT empty x 1 => -ERR bit offset is not an integer or out of range
        SETBIT empty 1.5 1 => -ERR bit offset is not an integer or out of range
        SETBIT empty 01 1 => -ERR bit offset is not an integer or out of range
        SETBIT empty #1 1 => -ERR bit offset is not an integer or out of range
        SETBIT empty '' 1 => -ERR bit offset is not an integer or out of range
        SETBIT empty 4294967296 1 => -ERR bit offset is not an integer or out of range
        SETBIT e 9223372036854775808 1 => -ERR bit offset is not an integer or out of range
        SETBIT empty 0 2 => -ERR bit is not an integer or out of range
        SETBIT empty 0 -1 => -ERR bit is not an integer or out of range
        SETBIT empty 0 x => -ERR bit is not an integer or out of range
        SETBIT empty 0 01 => -ERR bit is not an integer or out of range
        SETBIT empty x x => -ERR bit offset is not an integer or out of range
        SETBIT empty 0 => -ERR wrong number of arguments for 'setbit' command
        GETBIT empty 5 => :0
        GETBIT empty x => -ERR bit offset is not an integer or out of range
        GETBIT empty -1 => -ERR bit offset is not an integer or out of range
        GETBIT empty => -ERR wrong number of arguments for 'getbit' command
        EXISTS empty => :0
        # An integer is text.
        SET n 12 => OK +1
        GETBIT n 2 => :1
        GETBIT n 7 => :1
        GETBIT n 16 => :0
        SETBIT n 7 0 => :1 +1
        GET n => "02"
        SET n 5 => OK +1
        SETBIT n 0 0 => :0
        SETBIT n 15 1 => :0 +1
        STRLEN n => :2
        SET v a EX 100 => OK +1
        SETBIT v 6 1 => :0 +1
        GET v => "c"
        TTL v => :100
        "#,
    );
}

#[test]
fn bits_are_counted() {
    check_script(
        r#"
        SET k foobar => OK +1
        BITCOUNT k => :26
        BITCOUNT k 0 => :26
        BITCOUNT k 1 => :22
        BITCOUNT k -1 => :4
        BITCOUNT k -100 => :26
        BITCOUNT k 100 => :0
        BITCOUNT k 0 0 => :4
        BITCOUNT k 1 1 => :6
        BITCOUNT k 0 -5 => :10
        BITCOUNT k 1 1 BYTE => :6
        BITCOUNT k 5 30 BIT => :17
        BITCOUNT k 5 30 bit => :17
        BITCOUNT k 5 6 BIT => :2
        BITCOUNT k 8 15 BIT => :6
        BITCOUNT k 0 -1 BIT => :26
        BITCOUNT k -3 -1 BIT => :1
        BITCOUNT k 6 5 BIT => :0
        BITCOUNT k 48 50 BIT => :0
        BITCOUNT k -100 -200 => :0
        BITCOUNT k -200 -100 => :4
        BITCOUNT k -100 2 => :16
        BITCOUNT k 3 2 => :0
        BITCOUNT k 0 9223372036854775807 => :26
        BITCOUNT k -9223372036854775808 -1 BIT => :26
        BITCOUNT k 9223372036854775807 9223372036854775807 => :0
        BITCOUNT k x => -ERR value is not an integer or out of range
        BITCOUNT k 0 x => -ERR value is not an integer or out of range
        BITCOUNT k x 1 foo => -ERR value is not an integer or out of range
        BITCOUNT k 0 x foo => -ERR syntax error
        BITCOUNT k 0 1 foo => -ERR syntax error
        BITCOUNT k 0 1 BIT x => -ERR syntax error
        BITCOUNT => -ERR wrong number of arguments for 'bitcount' command
        BITCOUNT none => :0
        BITCOUNT none 0 -1 => :0
        BITCOUNT none x => -ERR value is not an integer or out of range
        SET e '' => OK +1
        BITCOUNT e => :0
        BITCOUNT e 0 -1 => :0
        BITCOUNT e -1 -1 BIT => :0
        SET n -123 => OK +1
        BITCOUNT n => :14
        BITCOUNT n 1 1 => :3
        "#,
    );
}

#[test]
fn bits_are_found() {
    check_script(
        r#"
        BITPOS none 1 => :-1
        BITPOS none 0 => :0
        BITPOS none 0 5 10 => :0
        BITPOS none 1 5 10 => :-1
        BITPOS none 2 => -ERR The bit argument must be 1 or 0.
        BITPOS none x => -ERR value is not an integer or out of range
        BITPOS none 0 x => -ERR value is not an integer or out of range
        BITPOS none 0 0 x => -ERR value is not an integer or out of range
        BITPOS none 0 0 x foo => -ERR syntax error
        BITPOS none 0 x 0 foo => -ERR value is not an integer or out of range
        BITPOS none 0 0 0 foo => -ERR syntax error
        BITPOS none 0 0 0 BIT x => -ERR syntax error
        BITPOS none => -ERR wrong number of arguments for 'bitpos' command
        SET e '' => OK +1
        BITPOS e 0 => :-1
        BITPOS e 1 => :-1
        BITPOS e 0 0 => :-1
        BITPOS e 0 0 -1 => :-1
        # Three bytes: 0x00 0x2a 0x7f.
        SETBIT k 10 1 => :0 +1
        SETBIT k 12 1 => :0 +1
        SETBIT k 14 1 => :0 +1
        BITFIELD k SET u8 16 127 => [:0] +1
        BITPOS k 1 => :10
        BITPOS k 0 => :0
        BITPOS k 1 1 => :10
        BITPOS k 1 2 => :17
        BITPOS k 1 0 0 => :-1
        BITPOS k 1 -1 => :17
        BITPOS k 1 -1 -1 => :17
        BITPOS k 0 2 2 => :16
        BITPOS k 1 3 => :-1
        BITPOS k 0 3 => :-1
        BITPOS k 1 11 -1 BIT => :12
        BITPOS k 1 12 12 BIT => :12
        BITPOS k 1 13 13 BIT => :-1
        BITPOS k 0 12 12 BIT => :-1
        BITPOS k 0 17 22 BIT => :-1
        BITPOS k 0 17 -1 BIT => :-1
        BITPOS k 0 12 22 BIT => :13
        BITPOS k 1 15 16 BIT => :-1
        BITPOS k 1 -7 -7 BIT => :17
        BITPOS k 1 -100 100 BIT => :10
        BITPOS k 1 2 1 => :-1
        BITPOS k 1 -100 -200 => :-1
        BITPOS k 0 -100 -200 => :0
        # All ones: without an end the zeros behind them count.
        BITFIELD f SET i24 0 -1 => [:0] +1
        BITPOS f 0 => :24
        BITPOS f 0 1 => :24
        BITPOS f 0 0 -1 => :-1
        BITPOS f 0 2 5 => :-1
        BITPOS f 0 3 => :-1
        BITPOS f 0 0 -1 BIT => :-1
        BITPOS f 1 5 -1 BIT => :5
        SET n 7 => OK +1
        BITPOS n 1 => :2
        BITPOS n 0 => :0
        "#,
    );
}

#[test]
fn strings_are_combined() {
    check_script(
        r#"
        SET a abc => OK +1
        SET b AB => OK +1
        SET n 123 => OK +1
        BITOP AND d a b => :3 +1
        BITCOUNT d => :4
        BITOP or d a b => :3 +1
        GET d => "abc"
        BITOP XOR d a b => :3 +1
        GET d => "  c"
        BITOP NOT d d => :3 +1
        STRLEN d => :3
        BITOP NOT d d => :3 +1
        GET d => "  c"
        BITOP AND d a => :3 +1
        GET d => "abc"
        BITOP OR d a n none => :3 +1
        GET d => "qrs"
        BITOP XOR d a a a => :3 +1
        GET d => "abc"
        BITOP AND d a none => :3 +1
        BITPOS d 1 => :-1
        BITOP AND a a b => :3 +1
        STRLEN a => :3
        BITOP DIFF d a b => -ERR syntax error
        BITOP foo d a b => -ERR syntax error
        BITOP '' d a b => -ERR syntax error
        BITOP NOT d a b => -ERR BITOP NOT must be called with a single source key.
        BITOP NOT d => -ERR wrong number of arguments for 'bitop' command
        BITOP AND d => -ERR wrong number of arguments for 'bitop' command
        EXISTS d => :1
        BITOP AND d none other => :0 +1
        EXISTS d => :0
        BITOP AND d none other => :0
        SET e '' => OK +1
        SET d v => OK +1
        BITOP NOT d e => :0 +1
        EXISTS d => :0
        SET d v EX 100 => OK +1
        BITOP OR d a => :3 +1
        TTL d => :-1
        BITOP NOT x y z => -ERR BITOP NOT must be called with a single source key.
        "#,
    );
}

#[test]
fn fields() {
    check_script(
        r#"
        BITFIELD none => []
        BITFIELD none GET u8 0 GET i64 100 => [:0 :0]
        EXISTS none => :0
        BITFIELD k SET u8 0 255 => [:0] +1
        BITFIELD k SET u8 0 255 => [:255]
        BITFIELD k GET u8 0 GET i8 0 GET u4 2 GET i1 0 GET u8 4 => [:255 :-1 :15 :-1 :240]
        BITFIELD k SET i5 10 -3 GET i5 10 GET u5 10 => [:0 :-3 :29] +1
        BITFIELD k SET u8 #1 65 SET u8 #2 66 GET u16 8 => [:58 :0 :16706] +2
        BITFIELD k INCRBY u8 0 10 => [:9] +1
        BITFIELD k INCRBY u8 0 0 => [:9]
        BITFIELD k INCRBY u8 0 -10 INCRBY u8 0 -1 => [:255 :254] +2
        BITFIELD k OVERFLOW SAT INCRBY u8 0 100 INCRBY u8 0 -300 => [:255 :0] +2
        BITFIELD k OVERFLOW FAIL INCRBY u8 0 -1 GET u8 0 INCRBY u8 0 1 => [nil :0 :1] +1
        BITFIELD k overflow wrap SET u8 0 257 => [:1]
        BITFIELD k overflow fail SET u8 0 -1 overflow sat SET u8 0 -1 => [nil :1] +1
        BITFIELD k SET i64 64 -9223372036854775808 INCRBY i64 64 -1 => [:0 :9223372036854775807] +2
        BITFIELD k OVERFLOW SAT INCRBY i64 64 1 => [:9223372036854775807]
        BITFIELD k SET u63 64 9223372036854775807 => [:4611686018427387903] +1
        BITFIELD k OVERFLOW SAT INCRBY u63 64 1 => [:9223372036854775807]
        BITFIELD k OVERFLOW WRAP INCRBY u63 64 2 GET i64 64 => [:1 :3] +1
        BITFIELD k OVERFLOW SAT SET i8 200 128 GET i8 200 => [:0 :127] +1
        BITFIELD k OVERFLOW SAT SET i8 200 -129 GET i8 200 => [:127 :-128] +1
        # Longer, and nothing but zeros.
        BITFIELD new SET u8 0 0 => [:0] +1
        BITFIELD new SET u8 0 0 => [:0]
        BITFIELD new SET u8 8 0 SET u8 0 0 GET u8 0 => [:0 :0 :0] +2
        BITFIELD failed OVERFLOW FAIL SET u2 0 4 => [nil]
        STRLEN failed => :1
        BITFIELD failed OVERFLOW FAIL SET u2 80 4 SET u2 0 0 SET u2 0 1 => [nil :0 :0] +2
        STRLEN failed => :11
        SET n 1 => OK +1
        BITFIELD n GET u8 0 => [:49]
        BITFIELD n INCRBY u8 0 1 => [:50] +1
        GET n => "2"
        "#,
    );
}

/// A number that is far too low saturates to the maximum, not to the minimum.
#[test]
fn numbers_far_too_low_saturate_to_the_maximum() {
    check_script(
        r#"
        BITFIELD k OVERFLOW SAT SET i5 0 -9223372036854775808 GET i5 0 => [:0 :15] +1
        BITFIELD k OVERFLOW SAT SET i5 0 -9223372036854775793 GET i5 0 => [:15 :15]
        BITFIELD k OVERFLOW SAT SET i5 0 -9223372036854775792 GET i5 0 => [:15 :-16] +1
        BITFIELD k OVERFLOW WRAP SET i5 0 -9223372036854775799 GET i5 0 => [:-16 :9] +1
        BITFIELD k OVERFLOW FAIL SET i5 0 -9223372036854775808 => [nil]
        BITFIELD k OVERFLOW SAT SET i64 0 -9223372036854775808 => [:5188146770730811392] +1
        BITFIELD k GET i64 0 => [:-9223372036854775808]
        BITFIELD k OVERFLOW SAT SET i63 0 -9223372036854775808 => [:-4611686018427387904] +1
        BITFIELD k GET i63 0 => [:4611686018427387903]
        BITFIELD k OVERFLOW SAT SET u5 0 -9223372036854775808 GET u5 0 => [:15 :31] +1
        "#,
    );
}

#[test]
fn malformed_fields_are_refused() {
    check_script(
        r#"
        # Mistakes change nothing.
        BITFIELD m SET => -ERR syntax error
        BITFIELD m SET u8 => -ERR syntax error
        BITFIELD m SET u8 0 => -ERR syntax error
        BITFIELD m SET u8 0 x => -ERR value is not an integer or out of range
        BITFIELD m SET u8 x 1 => -ERR bit offset is not an integer or out of range
        BITFIELD m SET u8 -1 1 => -ERR bit offset is not an integer or out of range
        BITFIELD m SET u8 # 1 => -ERR bit offset is not an integer or out of range
        BITFIELD m SET u8 '' 1 => -ERR bit offset is not an integer or out of range
        BITFIELD m SET u8 #x 1 => -ERR bit offset is not an integer or out of range
        BITFIELD m SET u8 #-1 1 => -ERR bit offset is not an integer or out of range
        BITFIELD m SET u8 4294967296 1 => -ERR bit offset is not an integer or out of range
        BITFIELD m SET u8 #536870912 1 => -ERR bit offset is not an integer or out of range
        BITFIELD m GET u8 => -ERR syntax error
        BITFIELD m GET => -ERR syntax error
        BITFIELD m OVERFLOW => -ERR syntax error
        BITFIELD m OVERFLOW foo => -ERR Invalid OVERFLOW type specified
        BITFIELD m OVERFLOW SAT => []
        BITFIELD m foo u8 0 => -ERR syntax error
        BITFIELD m SET u8 0 1 INCRBY u8 0 => -ERR syntax error
        BITFIELD m SET u8 0 1 foo => -ERR syntax error
        BITFIELD => -ERR wrong number of arguments for 'bitfield' command
        EXISTS m => :0
        BITFIELD k SET u8 0 255 SET u8 8 65 => [:0 :0] +2
        BITFIELD_RO k GET u8 0 GET u8 #1 => [:255 :65]
        BITFIELD_RO none GET u8 0 => [:0]
        BITFIELD_RO k OVERFLOW SAT GET u8 0 => [:255]
        BITFIELD_RO k => []
        BITFIELD_RO k SET u8 0 1 => -ERR BITFIELD_RO only supports the GET subcommand
        BITFIELD_RO k SET u8 0 x => -ERR value is not an integer or out of range
        BITFIELD_RO k GET u8 0 INCRBY u8 0 1 => -ERR BITFIELD_RO only supports the GET subcommand
        BITFIELD_RO k foo => -ERR syntax error
        BITFIELD_RO => -ERR wrong number of arguments for 'bitfield_ro' command
        "#,
    );
}

#[test]
fn types_of_fields() {
    let mut bench = Bench::new();
    for name in ["u64", "i65", "i0", "u0", "i-1", "x8", "U8", "u", "u08", "u 8", ""] {
        let refusal = "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not \
            supported but i64 is.";
        assert_eq!(show(&bench.run(&["BITFIELD", "k", "SET", name, "0", "1"])), refusal);
        assert_eq!(show(&bench.run(&["BITFIELD_RO", "k", "GET", name, "0"])), refusal);
    }
    for name in ["u1", "u63", "i1", "i64"] {
        assert_eq!(show(&bench.run(&["BITFIELD", "k", "GET", name, "0"])), "[:0]");
    }
    assert_eq!(bench.changes(), 0);
}

#[test]
fn a_failed_step_is_null_in_both_protocols() {
    let mut bench = Bench::new();
    let args = ["BITFIELD", "k", "OVERFLOW", "FAIL", "SET", "u1", "0", "2"];
    assert_eq!(bench.run_bytes(&args), b"*1\r\n$-1\r\n");
    bench.protocol = Protocol::Three;
    assert_eq!(bench.run_bytes(&args), b"*1\r\n_\r\n");
}

#[test]
fn offsets_end_at_the_limit() {
    let mut bench = Bench::new();
    bench.config.proto_max_bulk_len = 10;
    let refusal = "-ERR bit offset is not an integer or out of range";
    assert_eq!(show(&bench.run(&["SETBIT", "k", "80", "1"])), refusal);
    assert_eq!(show(&bench.run(&["GETBIT", "k", "80"])), refusal);
    assert_eq!(show(&bench.run(&["BITFIELD", "k", "SET", "u8", "80", "1"])), refusal);
    assert_eq!(show(&bench.run(&["BITFIELD", "k", "GET", "u8", "#10"])), refusal);
    assert_eq!(show(&bench.run(&["SETBIT", "k", "79", "1"])), ":0");
    // The last field may begin before the limit and end after it.
    assert_eq!(
        show(&bench.run(&["BITFIELD", "k", "SET", "i64", "79", "-1"])),
        "[:-9223372036854775808]"
    );
    assert_eq!(show(&bench.run(&["STRLEN", "k"])), ":18");
}

#[test]
fn a_large_value_is_changed_in_place() {
    let mut bench = Bench::new();
    let address = |bench: &mut Bench| {
        let key = bench.slice.key(b"k");
        match bench.slice.peek(0, &key).and_then(|view| view.string()) {
            Some(Str::Large(bytes)) => bytes.as_ptr() as usize,
            other => panic!("a large value, not {other:?}"),
        }
    };
    let bit = (INLINE_BYTES_MAX * 80).to_string();
    bench.run(&["SETBIT", "k", &bit, "1"]);
    let before = address(&mut bench);
    bench.run(&["SETBIT", "k", "9", "1"]);
    bench.run(&["BITFIELD", "k", "SET", "u8", "800", "255", "INCRBY", "i8", "900", "1"]);
    assert_eq!(address(&mut bench), before);
    assert_eq!(show(&bench.run(&["BITCOUNT", "k"])), ":11");
    assert_eq!(show(&bench.run(&["BITPOS", "k", "1", "1000", "-1", "BIT"])), format!(":{bit}"));
    // BITOP does not copy its sources. A result that replaces a source is a new value.
    bench.run(&["BITOP", "NOT", "k", "k"]);
    assert_eq!(show(&bench.run(&["BITPOS", "k", "0"])), ":9");
    bench.run(&["BITOP", "XOR", "k", "k", "k"]);
    assert_eq!(show(&bench.run(&["BITCOUNT", "k"])), ":0");
    bench.slice.check();
}

/// A value that was computed or written to has the encoding `raw`, as in the reference.
#[test]
fn encodings() {
    let mut bench = Bench::new();
    let encoding = |bench: &mut Bench, name: &[u8]| {
        let key = bench.slice.key(name);
        let view = bench.slice.peek(0, &key).expect("a key");
        view.string().expect("a string").encoding_name(view.is_edited(), 1, false)
    };
    bench.run(&["MSET", "n", "5", "s", "text"]);
    bench.run(&["BITOP", "OR", "d", "n"]);
    assert_eq!(encoding(&mut bench, b"d"), "raw");
    bench.run(&["GETBIT", "n", "0"]);
    bench.run(&["BITFIELD", "n", "GET", "u8", "0"]);
    assert_eq!(encoding(&mut bench, b"n"), "int");
    bench.run(&["SETBIT", "n", "0", "0"]);
    assert_eq!(encoding(&mut bench, b"n"), "raw");
    bench.run(&["BITFIELD", "s", "INCRBY", "u8", "0", "0"]);
    assert_eq!(encoding(&mut bench, b"s"), "raw");
    assert_eq!(bench.changes(), 3);
}

#[test]
fn an_expired_key_is_missing() {
    check_script(
        r#"
        SET k abc PX 20 => OK +1
        SET s abc PX 20 => OK +1
        SET d abc PX 20 => OK +1
        ADVANCE 40
        BITCOUNT k => :0
        BITOP OR d s => :0
        EXISTS d => :0
        SETBIT k 0 1 => :0 +1
        STRLEN k => :1
        TTL k => :-1
        "#,
    );
}

#[test]
fn propagated_commands() {
    check_feed(
        r#"
        SETBIT k 7 1 => SETBIT k 7 1
        SETBIT k 7 1 =>
        SETBIT k 16 0 => SETBIT k 16 0
        SETBIT k x 0 =>
        GETBIT k 7 =>
        BITCOUNT k =>
        BITFIELD k GET u8 0 =>
        BITFIELD k SET u8 0 1 =>
        BITFIELD k SET u8 0 2 GET u8 0 => BITFIELD k SET u8 0 2 GET u8 0
        BITFIELD k OVERFLOW FAIL SET u8 0 256 =>
        BITFIELD f OVERFLOW FAIL SET u8 0 256 => BITFIELD f OVERFLOW FAIL SET u8 0 256
        BITFIELD f OVERFLOW FAIL SET u8 0 256 =>
        BITOP NOT d k => BITOP NOT d k
        BITOP NOT d none => BITOP NOT d none
        BITOP NOT d none =>
        SET p v PX 20 => SET p v PXAT {now+20}
        ADVANCE 40
        SETBIT p 0 0 => UNLINK p | SETBIT p 0 0
        "#,
    );
}

#[test]
fn a_large_source_of_bytes_and_of_text() {
    let mut bench = Bench::new();
    let ones = vec![0xff; INLINE_BYTES_MAX + 1];
    let key = bench.slice.key(b"ones");
    bench.slice.set(0, &key, NewStr::Bytes(&ones), Expiry::Clear);
    bench.run(&["SET", "n", "17"]);
    let len = format!(":{}", INLINE_BYTES_MAX + 1);
    assert_eq!(show(&bench.run(&["BITOP", "AND", "d", "ones", "n"])), len);
    assert_eq!(show(&bench.run(&["BITCOUNT", "d"])), ":8");
    assert_eq!(show(&bench.run(&["BITOP", "XOR", "d", "n", "ones"])), len);
    assert_eq!(
        show(&bench.run(&["BITCOUNT", "d"])),
        format!(":{}", (INLINE_BYTES_MAX + 1) * 8 - 8)
    );
    assert_eq!(show(&bench.run(&["BITPOS", "ones", "0"])), format!(":{}", ones.len() * 8));
}

#[test]
fn writes_without_a_change_abort_no_watch() {
    let mut bench = Bench::new();
    bench.run(&["SET", "k", "12"]);
    let watched = |bench: &mut Bench| {
        let key = bench.slice.key(b"k");
        bench.slice.watch(1, 0, &key);
    };
    watched(&mut bench);
    bench.run(&["SETBIT", "k", "7", "1"]);
    bench.run(&["BITFIELD", "k", "SET", "u8", "0", "49", "GET", "u8", "8"]);
    assert!(!bench.slice.is_watch_broken(1));
    bench.run(&["BITFIELD", "k", "SET", "u8", "0", "50"]);
    assert!(bench.slice.is_watch_broken(1));
    bench.slice.unwatch(1);
    watched(&mut bench);
    bench.run(&["SETBIT", "k", "7", "1"]);
    assert!(bench.slice.is_watch_broken(1));
}
