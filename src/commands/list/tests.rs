//! Scripts of the list commands, with the replies of the reference server.

use crate::commands::testing::{Bench, check_feed, check_script, show};

#[test]
fn pushing_and_popping() {
    check_script(
        r#"
            LPUSH l a => :1 +1
            RPUSH l b c => :3 +2
            LPUSH l 1 2 -3 => :6 +3
            LRANGE l 0 -1 => ["-3" "2" "1" "a" "b" "c"]
            LPUSHX none x => :0
            RPUSHX none x y => :0
            LPUSHX l x y => :8 +2
            RPUSHX l 012 => :9 +1
            LLEN l => :9
            LLEN none => :0
            LPUSH l => -ERR wrong number of arguments for 'lpush' command
            LLEN => -ERR wrong number of arguments for 'llen' command
            SET s v => OK +1
            LPUSH s a => -WRONGTYPE Operation against a key holding the wrong kind of value
            RPUSHX s a => -WRONGTYPE Operation against a key holding the wrong kind of value
            LLEN s => -WRONGTYPE Operation against a key holding the wrong kind of value
            LPOP s => -WRONGTYPE Operation against a key holding the wrong kind of value
            LPOP s 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
            LPOP s x => -ERR value is out of range, must be positive
            LPOP l => "y" +1
            RPOP l => "012" +1
            LPOP l 2 => ["x" "-3"] +2
            RPOP l 2 => ["c" "b"] +2
            LPOP l 0 => []
            RPOP l -1 => -ERR value is out of range, must be positive
            RPOP l x => -ERR value is out of range, must be positive
            LPOP l 1 2 => -ERR wrong number of arguments for 'lpop' command
            RPOP l 1 2 => -ERR wrong number of arguments for 'rpop' command
            LPOP none => nil
            LPOP none 1 => nil
            LPOP none 0 => nil
            LPOP none -1 => -ERR value is out of range, must be positive
            RPOP l 100 => ["a" "1" "2"] +3
            EXISTS l => :0
            RPUSH l '' => :1 +1
            LRANGE l 0 -1 => [""]
            LPOP l => "" +1
            EXISTS l => :0
            "#,
    );
}

#[test]
fn reading() {
    check_script(
        r#"
            SET s v => OK +1
            # LINDEX, LRANGE
            RPUSH k a b c d e => :5 +5
            LINDEX k 0 => "a"
            LINDEX k -1 => "e"
            LINDEX k 4 => "e"
            LINDEX k 5 => nil
            LINDEX k -5 => "a"
            LINDEX k -6 => nil
            LINDEX k x => -ERR value is not an integer or out of range
            LINDEX none x => nil
            LINDEX s x => -WRONGTYPE Operation against a key holding the wrong kind of value
            LINDEX k 9223372036854775807 => nil
            LINDEX k -9223372036854775808 => nil
            LRANGE k 0 -1 => ["a" "b" "c" "d" "e"]
            LRANGE k 1 2 => ["b" "c"]
            LRANGE k -3 -2 => ["c" "d"]
            LRANGE k -100 100 => ["a" "b" "c" "d" "e"]
            LRANGE k 3 1 => []
            LRANGE k 5 9 => []
            LRANGE k 0 -6 => []
            LRANGE k -9223372036854775808 9223372036854775807 => ["a" "b" "c" "d" "e"]
            LRANGE k a 1 => -ERR value is not an integer or out of range
            LRANGE none a 1 => -ERR value is not an integer or out of range
            LRANGE none 0 1 => []
            LRANGE s 0 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
            LRANGE s 0 x => -ERR value is not an integer or out of range
            # LPOS
            RPUSH p a b c 1 2 3 c c => :8 +8
            LPOS p c => :2
            LPOS p c RANK 2 => :6
            LPOS p c RANK -1 => :7
            LPOS p c RANK -3 => :2
            LPOS p c RANK 4 => nil
            LPOS p c COUNT 0 => [:2 :6 :7]
            LPOS p c COUNT 2 => [:2 :6]
            LPOS p c COUNT 2 RANK -1 => [:7 :6]
            LPOS p c COUNT 0 RANK 2 => [:6 :7]
            LPOS p c MAXLEN 2 => nil
            LPOS p c MAXLEN 3 => :2
            LPOS p c MAXLEN 1 RANK -1 => :7
            LPOS p c MAXLEN 2 RANK -1 COUNT 0 => [:7 :6]
            LPOS p c COUNT 0 MAXLEN 3 => [:2]
            LPOS p 1 => :3
            LPOS p 01 => nil
            LPOS p x => nil
            LPOS p x COUNT 1 => []
            LPOS none x => nil
            LPOS none x COUNT 1 => []
            LPOS s x => -WRONGTYPE Operation against a key holding the wrong kind of value
            LPOS p c RANK x => -ERR value is not an integer or out of range
            LPOS p c RANK -9223372036854775807 => nil
            LPOS p c COUNT -1 => -ERR COUNT can't be negative
            LPOS p c COUNT x => -ERR COUNT can't be negative
            LPOS p c MAXLEN -1 => -ERR MAXLEN can't be negative
            LPOS p c MAXLEN x => -ERR MAXLEN can't be negative
            LPOS p c RANK => -ERR syntax error
            LPOS p c FOO 1 => -ERR syntax error
            LPOS none c FOO 1 => -ERR syntax error
            LPOS p c RANK 1 rank 2 => :6
            LPOS p => -ERR wrong number of arguments for 'lpos' command
            "#,
    );
}

#[test]
fn changing() {
    check_script(
        r#"
            SET s v => OK +1
            RPUSH k a b c d e => :5 +5
            # LSET
            LSET k 0 A => OK +1
            LSET k -1 E => OK +1
            LSET k 5 x => -ERR index out of range
            LSET k -6 x => -ERR index out of range
            LSET k x x => -ERR value is not an integer or out of range
            LSET none x x => -ERR no such key
            LSET none 0 x => -ERR no such key
            LSET s 0 x => -WRONGTYPE Operation against a key holding the wrong kind of value
            LSET s x x => -WRONGTYPE Operation against a key holding the wrong kind of value
            LSET k 2 77 => OK +1
            LRANGE k 0 -1 => ["A" "b" "77" "d" "E"]
            # LINSERT
            LINSERT k BEFORE 77 x => :6 +1
            LINSERT k after 77 y => :7 +1
            LINSERT k AFTER E z => :8 +1
            LINSERT k BEFORE A first => :9 +1
            LINSERT k BEFORE none x => :-1
            LINSERT none BEFORE a x => :0
            LINSERT k BESIDE a x => -ERR syntax error
            LINSERT none BESIDE a x => -ERR syntax error
            LINSERT k BEFORE a => -ERR wrong number of arguments for 'linsert' command
            LRANGE k 0 -1 => ["first" "A" "b" "x" "77" "y" "d" "E" "z"]
            # LREM
            RPUSH r a b a c a 1 a 1 => :8 +8
            LREM r 1 a => :1 +1
            LREM r -1 a => :1 +1
            LREM r 0 1 => :2 +2
            LREM r 0 none => :0
            LREM r x a => -ERR value is not an integer or out of range
            LREM none x a => -ERR value is not an integer or out of range
            LREM none 1 a => :0
            LREM s 1 a => -WRONGTYPE Operation against a key holding the wrong kind of value
            LRANGE r 0 -1 => ["b" "a" "c" "a"]
            LREM r 0 a => :2 +2
            LREM r -100 c => :1 +1
            LREM r 2 b => :1 +1
            EXISTS r => :0
            # LTRIM
            RPUSH t a b c d e => :5 +5
            LTRIM t 0 -1 => OK
            LTRIM t 1 -1 => OK +1
            LRANGE t 0 -1 => ["b" "c" "d" "e"]
            LTRIM t -3 100 => OK +1
            LRANGE t 0 -1 => ["c" "d" "e"]
            LTRIM t 0 1 => OK +1
            LRANGE t 0 -1 => ["c" "d"]
            LTRIM t x 1 => -ERR value is not an integer or out of range
            LTRIM none x 1 => -ERR value is not an integer or out of range
            LTRIM none 0 1 => OK
            LTRIM s 0 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
            LTRIM t 5 6 => OK +2
            EXISTS t => :0
            "#,
    );
}

#[test]
fn moving() {
    check_script(
        r#"
            SET s v => OK +1
            # LMOVE, RPOPLPUSH
            RPUSH f a b c => :3 +3
            LMOVE f g LEFT RIGHT => "a" +1
            LMOVE f g right left => "c" +1
            LMOVE f f LEFT LEFT => "b" +1
            LMOVE f g LEFT LEFT => "b" +1
            EXISTS f => :0
            LRANGE g 0 -1 => ["b" "c" "a"]
            RPOPLPUSH g g => "a" +1
            LRANGE g 0 -1 => ["a" "b" "c"]
            LMOVE g g LEFT RIGHT => "a" +1
            LRANGE g 0 -1 => ["b" "c" "a"]
            LMOVE none g LEFT LEFT => nil
            LMOVE none s LEFT LEFT => nil
            LMOVE g g LEFT UP => -ERR syntax error
            LMOVE g g UP LEFT => -ERR syntax error
            LMOVE none none UP LEFT => -ERR syntax error
            RPOPLPUSH none g => nil
            RPOPLPUSH g s => -WRONGTYPE Operation against a key holding the wrong kind of value
            RPOPLPUSH s g => -WRONGTYPE Operation against a key holding the wrong kind of value
            LLEN g => :3
            RPUSH one x => :1 +1
            LMOVE one one LEFT RIGHT => "x" +1
            RPOPLPUSH one two => "x" +1
            # LMPOP
            RPUSH m1 a b c => :3 +3
            RPUSH m2 d e f => :3 +3
            LMPOP 1 none LEFT => nil
            LMPOP 2 m1 m2 LEFT => ["m1" ["a"]] +1
            LMPOP 2 m1 m2 RIGHT COUNT 2 => ["m1" ["c" "b"]] +2
            LMPOP 2 m1 m2 RIGHT COUNT 10 => ["m2" ["f" "e" "d"]] +3
            EXISTS m2 => :0
            LMPOP 0 m1 LEFT => -ERR numkeys should be greater than 0
            LMPOP -1 m1 LEFT => -ERR numkeys should be greater than 0
            LMPOP x m1 LEFT => -ERR numkeys should be greater than 0
            LMPOP 2 m1 LEFT => -ERR syntax error
            LMPOP 3 m1 LEFT COUNT => -ERR syntax error
            LMPOP 1 m1 UP => -ERR syntax error
            LMPOP 1 m1 LEFT COUNT => -ERR syntax error
            LMPOP 1 m1 LEFT COUNT 0 => -ERR count should be greater than 0
            LMPOP 1 m1 LEFT COUNT -1 => -ERR count should be greater than 0
            LMPOP 1 m1 LEFT COUNT x => -ERR count should be greater than 0
            LMPOP 1 m1 LEFT COUNT 1 COUNT 2 => -ERR syntax error
            LMPOP 1 m1 LEFT COUNT 1 x => -ERR syntax error
            LMPOP 1 m1 LEFT FOO 1 => -ERR syntax error
            LMPOP 9223372036854775807 m1 LEFT => -ERR syntax error
            LMPOP 1 m1 => -ERR wrong number of arguments for 'lmpop' command
            "#,
    );
}

#[test]
fn blocking_commands_that_may_not_block() {
    check_script(
        r#"
            SET s v => OK +1
            BLPOP none 0 => nil
            BRPOP none none2 0.1 => nil
            BLMOVE none x LEFT LEFT 0 => nil
            BRPOPLPUSH none x 0 => nil
            BLMPOP 0 1 none LEFT => nil
            RPUSH b1 a b c d e f g h i => :9 +9
            BLPOP none b1 0 => ["b1" "a"] +1
            BRPOP b1 none 0 => ["b1" "i"] +1
            BLMOVE b1 b2 LEFT RIGHT 0 => "b" +1
            BRPOPLPUSH b1 b2 0 => "h" +1
            BLMPOP 0 2 none b1 LEFT COUNT 2 => ["b1" ["c" "d"]] +2
            BLMPOP 0 2 none b1 RIGHT => ["b1" ["g"]] +1
            LRANGE b2 0 -1 => ["h" "b"]
            BLPOP b1 x => -ERR timeout is not a float or out of range
            BLPOP b1 -1 => -ERR timeout is negative
            BLPOP b1 -0.0001 => ["b1" "e"] +1
            BLPOP b1 inf => -ERR timeout is out of range
            BLPOP b1 -inf => -ERR timeout is negative
            BLPOP b1 nan => -ERR timeout is not a float or out of range
            BLPOP b1 1e400 => -ERR timeout is out of range
            BLPOP b1 9223372036854775 => -ERR timeout is out of range
            BLPOP b1 0x7FFFFFFFFFFFFF => -ERR timeout is out of range
            BLPOP b1 9223372036854775808 => -ERR timeout is out of range
            BLPOP b1 1e-300 => ["b1" "f"] +1
            BLPOP s 0 => -WRONGTYPE Operation against a key holding the wrong kind of value
            BLPOP none s b1 0 => -WRONGTYPE Operation against a key holding the wrong kind of value
            BLMOVE b1 s LEFT LEFT 0 => nil
            BLMOVE none s LEFT LEFT 0 => nil
            BLMOVE b1 b1 UP LEFT 0 => -ERR syntax error
            BLMOVE b1 b1 LEFT LEFT x => -ERR timeout is not a float or out of range
            BRPOPLPUSH b1 b1 x => -ERR timeout is not a float or out of range
            BRPOPLPUSH b1 b1 -1 => -ERR timeout is negative
            BLMPOP x 1 b1 LEFT => -ERR timeout is not a float or out of range
            BLMPOP -1 1 b1 LEFT => -ERR timeout is negative
            BLMPOP -1 0 b1 LEFT => -ERR numkeys should be greater than 0
            BLMPOP 0 1 b1 LEFT COUNT 0 => -ERR count should be greater than 0
            BLMPOP 0 2 b1 LEFT => -ERR syntax error
            BLMPOP 0 1 s LEFT => -WRONGTYPE Operation against a key holding the wrong kind of value
            BLPOP b1 => -ERR wrong number of arguments for 'blpop' command
            "#,
    );
}

#[test]
fn bounds_of_ranks_and_counts() {
    let mut bench = Bench::new();
    bench.run(&["RPUSH", "k", "a", "b"]);
    let mut ask = |rank: &str| show(&bench.run(&["LPOS", "k", "a", "RANK", rank]));
    let zero = "-ERR RANK can't be zero: use 1 to start from the first match, 2 from the second \
        ... or use negative to start from the end of the list";
    assert_eq!(ask("0"), zero);
    let outside = "-ERR value is out of range, value must between -9223372036854775807 and \
        9223372036854775807";
    assert_eq!(ask("-9223372036854775808"), outside);
    assert_eq!(show(&bench.run(&["LREM", "k", "-9223372036854775808", "a"])), outside);
}

#[test]
fn propagation() {
    check_feed(
        r#"
        RPUSH l a b c d e f g h i j k m n o p => RPUSH l a b c d e f g h i j k m n o p
        LPUSHX none x =>
        LPUSHX l x => LPUSHX l x
        LPOP l => LPOP l
        RPOP l 2 => RPOP l 2
        LPOP l 0 =>
        LPOP none =>
        LSET l 0 A => LSET l 0 A
        LINSERT l AFTER A B => LINSERT l AFTER A B
        LINSERT l AFTER none B =>
        LREM l 0 B => LREM l 0 B
        LREM l 0 B =>
        LTRIM l 0 -1 =>
        LTRIM l 0 -2 => LTRIM l 0 -2
        LMOVE l k LEFT RIGHT => LMOVE l k LEFT RIGHT
        RPOPLPUSH l k => RPOPLPUSH l k
        LMPOP 2 none l LEFT => LPOP l 1
        LMPOP 2 l none RIGHT COUNT 2 => RPOP l 2
        LMPOP 2 k none RIGHT COUNT 20 => RPOP k 2
        LMPOP 2 k none RIGHT COUNT 20 =>
        BLPOP none l 0 => LPOP l
        BRPOP none l 0 => RPOP l
        BLMOVE l k left RIGHT 0 => LMOVE l k left RIGHT
        BRPOPLPUSH l k 0 => RPOPLPUSH l k
        BLMPOP 0 1 l LEFT COUNT 2 => LPOP l 2
        BLMPOP 0 1 l LEFT COUNT 20 => LPOP l 1
        BLPOP none 0 =>
        BLMOVE none k LEFT LEFT 0 =>
        "#,
    );
}

#[test]
fn rotating_a_list_keeps_its_expiry() {
    check_script(
        r#"
        RPUSH k a => :1 +1
        PEXPIRE k 100000 => :1 +1
        LMOVE k k LEFT RIGHT => "a" +1
        TTL k => :100
        LMOVE k other LEFT RIGHT => "a" +1
        TTL other => :-1
        "#,
    );
}
