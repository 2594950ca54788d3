//! Scripts of the sorted set commands, with the replies of the reference server.

use crate::commands::FAMILIES;
use crate::commands::testing::{Bench, check_feed, check_script, show};
use crate::exec::CommandTable;
use crate::resp::Protocol;

#[test]
fn adding() {
    check_script(
        r#"
        ZADD z 1 a => :1 +1
        ZADD z 1 a => :0
        ZADD z 2 a 3 b => :1 +2
        ZADD z CH 4 a 3 b 5 c => :2 +2
        ZADD z NX 9 a 9 d => :1 +1
        ZADD z XX 8 a 8 e => :0 +1
        ZADD z XX CH 7 a 8 e => :1 +1
        ZADD z GT CH 6 a 10 d 1 f => :2 +2
        ZADD z LT CH 8 a 3 d => :1 +1
        ZADD z INCR 1.5 a => "8.5" +1
        ZADD z NX INCR 1 a => nil
        ZADD z XX INCR 1 zz => nil
        ZADD z GT INCR -1 a => nil
        ZADD z LT INCR -1 a => "7.5" +1
        ZADD nosuch XX 1 a => :0
        ZADD nosuch XX INCR 1 a => nil
        EXISTS nosuch => :0
        ZINCRBY z 0 a => "7.5"
        ZINCRBY new -2 a => "-2" +1
        ZADD z 1 => -ERR wrong number of arguments for 'zadd' command
        ZADD z 1 a 2 => -ERR syntax error
        ZADD z NX XX => -ERR syntax error
        ZADD z NX XX 1 a => -ERR XX and NX options at the same time are not compatible
        ZADD z NX GT 1 a => -ERR GT, LT, and/or NX options at the same time are not compatible
        ZADD z LT GT 1 a => -ERR GT, LT, and/or NX options at the same time are not compatible
        ZADD z LT NX 1 a => -ERR GT, LT, and/or NX options at the same time are not compatible
        ZADD z INCR 1 a 2 b => -ERR INCR option supports a single increment-element pair
        ZADD z 1 a x b => -ERR value is not a valid float
        ZADD z nan a => -ERR value is not a valid float
        ZADD z 1e400 a => -ERR value is not a valid float
        ZADD z inf a => :0 +1
        ZINCRBY z -inf a => -ERR resulting score is not a number (NaN)
        ZINCRBY z x a => -ERR value is not a valid float
        ZADD n -0 a => :1 +1
        ZSCORE n a => "0"
        ZADD m INCR -0 a => "-0" +1
        SET s v => OK +1
        ZADD s 1 a => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZADD s x a => -ERR value is not a valid float
        ZADD s XX 1 a => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn reading() {
    check_script(
        r#"
        ZADD z 1 a 2 b 3 c 3 d => :4 +4
        ZCARD z => :4
        ZCARD nosuch => :0
        ZSCORE z c => "3"
        ZSCORE z x => nil
        ZSCORE nosuch x => nil
        ZMSCORE z a x c => ["1" nil "3"]
        ZMSCORE nosuch a => [nil]
        ZRANK z a => :0
        ZRANK z d => :3
        ZREVRANK z d => :0
        ZRANK z x => nil
        ZRANK z c WITHSCORE => [:2 "3"]
        ZREVRANK z c withscore => [:1 "3"]
        ZRANK z x WITHSCORE => nil
        ZRANK z c WITHSCORES => -ERR syntax error
        ZRANK z c WITHSCORE x => -ERR wrong number of arguments for 'zrank' command
        ZCOUNT z 1 3 => :4
        ZCOUNT z (1 (3 => :1
        ZCOUNT z -inf +inf => :4
        ZCOUNT z 3 1 => :0
        ZCOUNT z '' ( => :0
        ZCOUNT z -1e400 1e400 => :4
        ZCOUNT nosuch 1 2 => :0
        ZCOUNT z x 2 => -ERR min or max is not a float
        ZCOUNT z nan 2 => -ERR min or max is not a float
        ZLEXCOUNT z - + => :4
        ZLEXCOUNT z [b (d => :2
        ZLEXCOUNT z (b + => :2
        ZLEXCOUNT z + - => :0
        ZLEXCOUNT z b + => -ERR min or max not valid string range item
        SET s v => OK +1
        ZCARD s => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZMSCORE s a => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn ranges() {
    check_script(
        r#"
        ZADD z 1 a 2 b 3 c 4 d => :4 +4
        ZRANGE z 0 -1 => ["a" "b" "c" "d"]
        ZRANGE z 1 2 WITHSCORES => ["b" "2" "c" "3"]
        ZRANGE z -2 100 => ["c" "d"]
        ZRANGE z 2 1 => []
        ZRANGE z 0 0 REV => ["d"]
        ZREVRANGE z 0 1 WITHSCORES => ["d" "4" "c" "3"]
        ZRANGE z 2 3 BYSCORE => ["b" "c"]
        ZRANGE z 3 2 BYSCORE REV => ["c" "b"]
        ZRANGE z -inf +inf BYSCORE LIMIT 1 2 => ["b" "c"]
        ZRANGE z +inf -inf BYSCORE REV LIMIT 1 2 WITHSCORES => ["c" "3" "b" "2"]
        ZRANGE z -inf +inf BYSCORE LIMIT -1 2 => []
        ZRANGE z -inf +inf BYSCORE LIMIT 0 -1 => ["a" "b" "c" "d"]
        ZRANGE z 0 -1 LIMIT 0 -1 => ["a" "b" "c" "d"]
        ZRANGEBYSCORE z (1 3 => ["b" "c"]
        ZRANGEBYSCORE z (1 3 LIMIT 1 1 => ["c"]
        ZREVRANGEBYSCORE z 3 (1 WITHSCORES => ["c" "3" "b" "2"]
        ZRANGEBYLEX z [b + => ["b" "c" "d"]
        ZREVRANGEBYLEX z + [b => ["d" "c" "b"]
        ZRANGE z [a (c BYLEX => ["a" "b"]
        ZRANGE z (c [a BYLEX REV => ["b" "a"]
        ZRANGE z 0 -1 BYSCORE BYLEX => -ERR syntax error
        ZRANGEBYSCORE z 0 -1 REV => -ERR syntax error
        ZRANGE z 0 -1 BYSCORE LIMIT 1 => -ERR syntax error
        ZRANGE z 0 -1 BYSCORE LIMIT x 1 => -ERR value is not an integer or out of range
        ZRANGE z x 1 => -ERR value is not an integer or out of range
        ZRANGE nosuch 0 -1 => []
        ZRANGESTORE y z 1 2 => :2 +1
        ZRANGE y 0 -1 WITHSCORES => ["b" "2" "c" "3"]
        ZRANGESTORE y z 3 -inf BYSCORE REV LIMIT 0 1 => :1 +1
        ZRANGE y 0 -1 => ["c"]
        ZRANGESTORE y z 0 0 WITHSCORES => -ERR syntax error
        ZRANGESTORE y nosuch 0 0 => :0 +1
        EXISTS y => :0
        ZRANGESTORE y nosuch 0 0 => :0
        ZRANGESTORE z z 0 1 => :2 +1
        ZRANGE z 0 -1 => ["a" "b"]
        SET s v => OK +1
        ZRANGE s 0 -1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZRANGESTORE y s 0 0 => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZRANGESTORE s z 0 0 => :1 +1
        TYPE s => zset
        "#,
    );
}

#[test]
fn a_range_by_rank_is_stored_in_the_form_for_its_length() {
    let mut bench = Bench::new();
    bench.config.zset_max_listpack_entries = 2;
    bench.run(&["ZADD", "z", "1", "a", "2", "b", "-0", "c"]);
    let cases: &[(&[&str], &str)] = &[
        (&["ZRANGESTORE", "y", "z", "0", "-1"], "$2\r\n-0\r\n"),
        (&["ZRANGESTORE", "y", "z", "-inf", "+inf", "BYSCORE"], "$1\r\n0\r\n"),
        (&["ZRANGESTORE", "y", "z", "0", "1"], "$1\r\n0\r\n"),
    ];
    for (args, shown) in cases {
        bench.run(args);
        assert_eq!(bench.run_bytes(&["ZSCORE", "y", "c"]), shown.as_bytes(), "{args:?}");
    }
}

#[test]
fn long_error_texts() {
    check_script(
        "ZADD z 1 a => :1 +1
        ZRANGE z 0 -1 LIMIT 0 1 => -ERR syntax error, LIMIT is only supported in combination with \
            either BYSCORE or BYLEX
        ZRANGE z - + BYLEX WITHSCORES => -ERR syntax error, WITHSCORES not supported in \
            combination with BYLEX
        ZRANDMEMBER z -9223372036854775808 => -ERR value is out of range, value must between \
            -9223372036854775807 and 9223372036854775807",
    );
}

#[test]
fn removing() {
    check_script(
        r#"
        ZADD z 1 a 2 b 3 c 4 d 5 e => :5 +5
        ZREM z a x b => :2 +2
        ZREM nosuch a => :0
        ZREMRANGEBYRANK z 0 0 => :1 +1
        ZREMRANGEBYRANK z 5 9 => :0
        ZREMRANGEBYSCORE z (4 9 => :1 +1
        ZREMRANGEBYSCORE z x 9 => -ERR min or max is not a float
        ZREMRANGEBYRANK z x 9 => -ERR value is not an integer or out of range
        ZREMRANGEBYLEX z x [c => -ERR min or max not valid string range item
        ZREMRANGEBYLEX z - [c => :0
        ZRANGE z 0 -1 => ["d"]
        ZREM z d d => :1 +1
        EXISTS z => :0
        ZADD z 0 a 0 b 0 c => :3 +3
        ZREMRANGEBYLEX z [a (c => :2 +2
        ZREMRANGEBYLEX z - + => :1 +1
        EXISTS z => :0
        ZREMRANGEBYSCORE nosuch 0 1 => :0
        "#,
    );
}

#[test]
fn popping() {
    check_script(
        r#"
        ZADD z 1 a 2 b 3 c 4 d 5 e => :5 +5
        ZPOPMIN z => ["a" "1"] +1
        ZPOPMAX z 2 => ["e" "5" "d" "4"] +2
        ZPOPMIN z 0 => []
        ZPOPMIN z -1 => -ERR value is out of range, must be positive
        ZPOPMIN z x => -ERR value is out of range, must be positive
        ZPOPMIN z 1 1 => -ERR syntax error
        ZPOPMIN nosuch => []
        ZPOPMIN nosuch 0 => []
        ZPOPMIN z 10 => ["b" "2" "c" "3"] +2
        EXISTS z => :0
        ZADD kb 1 a 2 b => :2 +2
        ZMPOP 2 ka kb MIN => ["kb" [["a" "1"]]] +1
        ZMPOP 2 ka kb MAX COUNT 5 => ["kb" [["b" "2"]]] +1
        ZMPOP 1 ka MIN => nil
        ZMPOP 0 z MIN => -ERR numkeys should be greater than 0
        ZMPOP x z MIN => -ERR numkeys should be greater than 0
        ZMPOP 1 z FOO => -ERR syntax error
        ZMPOP 3 z MIN => -ERR syntax error
        ZMPOP 1 z MIN COUNT 0 => -ERR count should be greater than 0
        ZMPOP 1 z MIN COUNT 1 COUNT 1 => -ERR syntax error
        ZADD z 1 a 2 b 3 c => :3 +3
        BZPOPMIN nosuch z 0 => ["z" "a" "1"] +1
        BZPOPMAX z 0 => ["z" "c" "3"] +1
        BZMPOP 0 2 nosuch z MIN COUNT 3 => ["z" [["b" "2"]]] +1
        BZPOPMIN nosuch -1 => -ERR timeout is negative
        BZPOPMIN nosuch nan => -ERR timeout is not a float or out of range
        BZPOPMIN nosuch inf => -ERR timeout is out of range
        BZPOPMIN nosuch 9223372036854775 => -ERR timeout is out of range
        BZMPOP x 1 nosuch MIN => -ERR timeout is not a float or out of range
        BZMPOP x 1 nosuch MINX => -ERR syntax error
        BZMPOP 0 0 nosuch MIN => -ERR numkeys should be greater than 0
        "#,
    );
}

#[test]
fn random_members_and_scans() {
    check_script(
        r#"
        ZRANDMEMBER nosuch => nil
        ZRANDMEMBER nosuch 5 => []
        ZADD z 1 a => :1 +1
        ZRANDMEMBER z => "a"
        ZRANDMEMBER z 5 => ["a"]
        ZRANDMEMBER z 0 => []
        ZRANDMEMBER z -3 WITHSCORES => ["a" "1" "a" "1" "a" "1"]
        ZRANDMEMBER z x => -ERR value is not an integer or out of range
        ZRANDMEMBER z 1 x => -ERR syntax error
        ZRANDMEMBER z -9223372036854775807 WITHSCORES => -ERR value is out of range
        ZSCAN z 0 => ["0" ["a" "1"]]
        ZSCAN z 0 NOSCORES => ["0" ["a"]]
        ZSCAN z 0 MATCH b* COUNT 5 => ["0" []]
        ZSCAN nosuch 0 COUNT 0 => ["0" []]
        ZSCAN z 0 COUNT 0 => -ERR syntax error
        ZSCAN z 0 COUNT x => -ERR value is not an integer or out of range
        ZSCAN z x => -ERR invalid cursor
        ZSCAN z 0 NOVALUES => -ERR NOVALUES option can only be used in HSCAN
        ZSCAN z 0 TYPE zset => -ERR syntax error
        "#,
    );
}

#[test]
fn a_scan_shows_17_digits_of_the_large_form() {
    for (entries, shown) in [(128, "$6\r\n4.5233\r\n"), (0, "$18\r\n4.5232999999999999\r\n")] {
        let mut bench = Bench::new();
        bench.config.zset_max_listpack_entries = entries;
        bench.run(&["ZADD", "z", "4.5233", "a"]);
        let expected = format!("*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n{shown}");
        assert_eq!(bench.run_bytes(&["ZSCAN", "z", "0"]), expected.as_bytes());
    }
}

#[test]
fn scores_and_pairs_in_resp3() {
    let mut bench = Bench::new();
    bench.protocol = Protocol::Three;
    let cases: &[(&[&str], &str)] = &[
        (&["ZADD", "z", "1", "a", "2.5", "b"], ":2\r\n"),
        (&["ZADD", "z", "INCR", "1", "a"], ",2\r\n"),
        (&["ZSCORE", "z", "b"], ",2.5\r\n"),
        (&["ZMSCORE", "z", "b", "x"], "*2\r\n,2.5\r\n_\r\n"),
        (&["ZRANK", "z", "b", "WITHSCORE"], "*2\r\n:1\r\n,2.5\r\n"),
        (&["ZRANK", "z", "x", "WITHSCORE"], "_\r\n"),
        (&["ZRANGE", "z", "0", "0", "WITHSCORES"], "*1\r\n*2\r\n$1\r\na\r\n,2\r\n"),
        (
            &["ZRANDMEMBER", "z", "5", "WITHSCORES"],
            "*2\r\n*2\r\n$1\r\na\r\n,2\r\n*2\r\n$1\r\nb\r\n,2.5\r\n",
        ),
        (&["ZSCAN", "z", "0", "MATCH", "b"], "*2\r\n$1\r\n0\r\n*2\r\n$1\r\nb\r\n$3\r\n2.5\r\n"),
        (&["ZPOPMIN", "z"], "*2\r\n$1\r\na\r\n,2\r\n"),
        (&["ZPOPMIN", "z", "2"], "*1\r\n*2\r\n$1\r\nb\r\n,2.5\r\n"),
        (&["ZPOPMIN", "z"], "*0\r\n"),
        (&["ZMPOP", "1", "z", "MIN"], "_\r\n"),
    ];
    for (args, expected) in cases {
        let shown = String::from_utf8_lossy(&bench.run_bytes(args)).into_owned();
        assert_eq!(shown, *expected, "{args:?}");
    }
}

#[test]
fn propagation() {
    check_feed(
        r#"
        ZADD z 1 a 2 b 3 c 4 d 5 e => ZADD z 1 a 2 b 3 c 4 d 5 e
        ZADD z 1 a =>
        ZADD z INCR 1 a => ZADD z INCR 1 a
        ZINCRBY z 1 a => ZINCRBY z 1 a
        ZREM z x =>
        ZPOPMIN z => ZPOPMIN z
        ZPOPMAX nosuch =>
        ZMPOP 1 z MAX COUNT 2 => ZPOPMAX z 2
        ZMPOP 1 nosuch MAX =>
        BZPOPMIN nosuch z 0 => ZPOPMIN z
        BZMPOP 0 1 z MIN COUNT 7 => ZPOPMIN z 1
        ZADD z 1 a 2 b => ZADD z 1 a 2 b
        ZRANGESTORE y z 0 -1 => ZRANGESTORE y z 0 -1
        ZRANGESTORE y nosuch 0 -1 => ZRANGESTORE y nosuch 0 -1
        ZRANGESTORE y nosuch 0 -1 =>
        ZREMRANGEBYRANK z 0 0 => ZREMRANGEBYRANK z 0 0
        ZREMRANGEBYSCORE z 0 9 => ZREMRANGEBYSCORE z 0 9
        "#,
    );
}

#[test]
fn a_negative_offset_selects_nothing() {
    for members in [3, 300] {
        let mut bench = Bench::new();
        for member in 0..members {
            bench.run(&["ZADD", "z", &member.to_string(), &format!("m{member}")]);
        }
        for offset in ["-1", "-2", "-9223372036854775808"] {
            for command in ["ZRANGEBYSCORE", "ZREVRANGEBYSCORE"] {
                let range = if command == "ZRANGEBYSCORE" { ["0", "2"] } else { ["2", "0"] };
                let args = [command, "z", range[0], range[1], "LIMIT", offset, "2"];
                assert_eq!(show(&bench.run(&args)), "[]", "{members} members, {args:?}");
            }
        }
    }
}

#[test]
fn counted_keys_are_not_plain_key_arguments() {
    let table = CommandTable::new(FAMILIES);
    let entry = table.find(b"zmpop").expect("a command");
    assert!(entry.plain_key_args(5).is_none());
    let entry = table.find(b"bzpopmin").expect("a command");
    assert!(entry.plain_key_args(4).is_some_and(|args| args.eq([1, 2])));
}
