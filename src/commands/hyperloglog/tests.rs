//! Tests of the HyperLogLog commands.

use crate::commands::testing::{Bench, check_feed, check_script, show};
use crate::resp::Value;
use crate::value::hyperloglog::DENSE_BYTES;

#[test]
fn adding_and_counting() {
    check_script(
        r#"
        PFADD h => :1 +1
        PFADD h => :0
        PFCOUNT h => :0 +1
        PFCOUNT h => :0
        PFADD h a b c a => :1 +3
        PFADD h a b c => :0
        PFCOUNT h => :3 +1
        PFCOUNT h => :3
        OBJECT ENCODING h => "raw"
        PFCOUNT none => :0
        PFADD g c d => :1 +3
        PFCOUNT h g none => :4
        PFCOUNT h h => :3
        PFADD e '' => :1 +2
        PFCOUNT e => :1 +1
        PFDEBUG DECODE e => "Z:5938 v:2,1 Z:10445"
        EXPIRE h 100 => :1 +1
        PFADD h x y z => :1 +3
        TTL h => :100
        PFADD => -ERR wrong number of arguments for 'pfadd' command
        PFCOUNT => -ERR wrong number of arguments for 'pfcount' command
        "#,
    );
}

#[test]
fn merging() {
    check_script(
        r#"
        PFADD a 1 2 3 => :1 +4
        PFADD b 3 4 5 => :1 +4
        PFMERGE d a b none => OK +1
        PFCOUNT d => :5 +1
        PFCOUNT d => :5
        PFMERGE d => OK +1
        PFCOUNT d => :5 +1
        PFMERGE new => OK +1
        PFDEBUG DECODE new => "Z:16384"
        PFCOUNT new => :0 +1
        PFDEBUG ENCODING d => sparse
        PFDEBUG TODENSE b => :1 +1
        PFDEBUG TODENSE b => :0
        PFMERGE d b => OK +1
        PFDEBUG ENCODING d => dense
        PFCOUNT d => :5 +1
        STRLEN d => :12304
        PFADD d 6 => :1 +1
        PFADD d 6 => :0
        PFCOUNT d => :6 +1
        PFCOUNT d a => :6
        PFMERGE a d => OK +1
        PFCOUNT a => :6 +1
        PFMERGE => -ERR wrong number of arguments for 'pfmerge' command
        "#,
    );
}

#[test]
fn a_value_that_is_no_hyperloglog_is_refused() {
    check_script(
        r#"
        SET s text => OK +1
        SET n 12 => OK +1
        PFADD s x => -WRONGTYPE Key is not a valid HyperLogLog string value.
        PFADD n x => -WRONGTYPE Key is not a valid HyperLogLog string value.
        PFCOUNT s => -WRONGTYPE Key is not a valid HyperLogLog string value.
        PFCOUNT none s => -WRONGTYPE Key is not a valid HyperLogLog string value.
        PFMERGE none s => -WRONGTYPE Key is not a valid HyperLogLog string value.
        PFMERGE n => -WRONGTYPE Key is not a valid HyperLogLog string value.
        PFDEBUG GETREG n => -WRONGTYPE Key is not a valid HyperLogLog string value.
        PFADD h a => :1 +2
        APPEND h x => :22 +1
        PFADD h a => :0
        PFCOUNT h => -INVALIDOBJ Corrupted HLL object detected
        PFCOUNT h none => -INVALIDOBJ Corrupted HLL object detected
        PFMERGE d h => -INVALIDOBJ Corrupted HLL object detected
        EXISTS d => :0
        PFDEBUG TODENSE h => -INVALIDOBJ Corrupted HLL object detected
        PFDEBUG GETREG h => -INVALIDOBJ Corrupted HLL object detected
        PFADD g a => :1 +2
        SETRANGE g 18 '' => :21
        SET t HYLL => OK +1
        PFCOUNT t => -WRONGTYPE Key is not a valid HyperLogLog string value.
        "#,
    );
    let mut bench = Bench::new();
    let broken: &[u8] = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80\x43\xe7\x84";
    bench.run(&[&b"SET"[..], b"h", broken]);
    // The first element raises a register in the intact part, the second one has no register.
    let reply = bench.run(&["PFADD", "h", "c", "b", "a"]);
    assert_eq!(show(&reply), "-INVALIDOBJ Corrupted HLL object detected");
    assert_eq!(bench.changes(), 1);
}

#[test]
fn debugging() {
    check_script(
        r#"
        PFDEBUG ENCODING none => -ERR The specified key does not exist
        PFADD h a b => :1 +3
        PFDEBUG nothing h => -ERR Unknown PFDEBUG subcommand 'nothing'
        PFDEBUG decode h => "Z:12711 v:2,1 Z:3068 v:1,1 Z:603"
        PFDEBUG todense h => :1 +1
        PFDEBUG decode h => -ERR HLL encoding is not sparse
        PFDEBUG SIMD maybe => -ERR Argument must be ON or OFF
        PFDEBUG SIMD OFF => disabled
        PFCOUNT h h => :2
        PFMERGE d h => OK +1
        PFDEBUG simd on => enabled
        PFCOUNT h h => :2
        PFCOUNT d => :2 +1
        PFDEBUG h => -ERR wrong number of arguments for 'pfdebug' command
        "#,
    );
    let mut bench = Bench::new();
    bench.run(&["PFADD", "h", "a", "b"]);
    let Value::Array(registers) = bench.run(&["PFDEBUG", "GETREG", "h"]) else {
        panic!("not an array")
    };
    assert_eq!(registers.len(), 16_384);
    let raised: Vec<_> = registers.iter().filter(|rank| **rank != Value::Integer(0)).collect();
    assert_eq!(raised, [&Value::Integer(2), &Value::Integer(1)]);
    assert_eq!(show(&bench.run(&["STRLEN", "h"])), format!(":{DENSE_BYTES}"));
}

#[test]
fn a_setting_limits_the_size_of_sparse_values() {
    for (bytes_max, encoding) in [(30, "dense"), (3000, "sparse")] {
        let mut bench = Bench::new();
        bench.config.hll_sparse_max_bytes = bytes_max;
        for number in 0..100 {
            bench.run(&["PFADD", "h", &number.to_string()]);
        }
        assert_eq!(show(&bench.run(&["PFDEBUG", "ENCODING", "h"])), encoding);
        assert_eq!(show(&bench.run(&["PFCOUNT", "h"])), ":100");
        bench.slice.check();
    }
}

#[test]
fn propagated_commands() {
    check_feed(
        r#"
        PFADD h a b => PFADD h a b
        PFADD h a =>
        PFCOUNT h => PFCOUNT h
        PFCOUNT h =>
        PFADD g c => PFADD g c
        PFCOUNT h g =>
        PFMERGE d h g => PFMERGE d h g
        PFDEBUG ENCODING d =>
        PFDEBUG GETREG d => PFDEBUG GETREG d
        PFDEBUG GETREG d =>
        PFDEBUG TODENSE h => PFDEBUG TODENSE h
        "#,
    );
}
