//! Keeps random commands from what would make a run slow, endless or a matter of luck.

use super::compare::Check;
use annulet::base::extended::Extended;
use annulet::base::number::parse_i64;

/// Expiries below this are over before a run is: they are moved behind it.
const SECONDS_MIN: i64 = 200_000;

/// A string may be made this long by one command, in bits.
const BITS_MAX: i64 = 1 << 19;

/// The last bit that a string may have.
const BIT_LAST: i64 = u32::MAX as i64;

/// Changes those words of a command that would do harm.
pub fn keep_harmless(words: &mut [Vec<u8>], protocol: u8) {
    let name = words[0].to_ascii_uppercase();
    match name.as_slice() {
        b"SET" | b"GETEX" | b"MSETEX" | b"HSETEX" | b"HGETEX" => keep_options_far(words),
        b"SETEX" | b"EXPIRE" | b"HEXPIRE" => keep_far(words.get_mut(2), SECONDS_MIN),
        b"PSETEX" | b"PEXPIRE" | b"RESTORE" | b"HPEXPIRE" => {
            keep_far(words.get_mut(2), SECONDS_MIN * 1_000);
        }
        b"SETRANGE" => keep_small(words.get_mut(2), BITS_MAX / 8, 512 << 20),
        b"SETBIT" => keep_small(words.get_mut(2), BITS_MAX, BIT_LAST),
        b"BITFIELD" => keep_fields_small(words),
        b"SPOP" => keep_pops_whole(words),
        b"SORT" => keep_stored_order_defined(words),
        b"BLPOP" | b"BRPOP" | b"BLMOVE" | b"BRPOPLPUSH" | b"BZPOPMIN" | b"BZPOPMAX" => {
            keep_timeout_short(words.last_mut());
        }
        b"BLMPOP" | b"BZMPOP" => keep_timeout_short(words.get_mut(1)),
        b"SRANDMEMBER" | b"HRANDFIELD" | b"ZRANDMEMBER" => keep_draws_short(words),
        b"WAIT" | b"WAITAOF" => keep_waits_short(words),
        b"XREAD" | b"XREADGROUP" => keep_blocks_short(words),
        b"XCLAIM" | b"XAUTOCLAIM" | b"XPENDING" => keep_idle_clear(words.get_mut(4)),
        b"MIGRATE" => {
            // Nobody listens on this port, and no name is looked up.
            let place = [b"127.0.0.1".to_vec(), b"1".to_vec()];
            words.iter_mut().skip(1).zip(place).for_each(|(word, fixed)| *word = fixed);
        }
        b"HELLO" => {
            let is_version = |word: &&mut Vec<u8>| matches!(parse_i64(word), Some(2 | 3));
            if let Some(word) = words.get_mut(1).filter(is_version) {
                *word = protocol.to_string().into_bytes();
            }
        }
        _ => {}
    }
}

/// How the replies are compared if not as the command's mostly are: a set has no order of its own,
/// and by some wishes SORT leaves it at that.
pub fn check_of(words: &[Vec<u8>]) -> Option<Check> {
    let has = |name: &str| has_option(words, name);
    match words[0].to_ascii_uppercase().as_slice() {
        b"SORT" | b"SORT_RO" if !has("BY") && !has("ALPHA") => None,
        b"SORT" | b"SORT_RO" if has("LIMIT") => Some(Check::Length),
        b"SORT" | b"SORT_RO" => Some(Check::AnyOrder),
        _ => None,
    }
}

fn has_option(words: &[Vec<u8>], name: &str) -> bool {
    words.iter().skip(2).any(|word| word.eq_ignore_ascii_case(name.as_bytes()))
}

/// What is stored has to be the same: numbers decide, and then the elements themselves.
fn keep_stored_order_defined(words: &mut [Vec<u8>]) {
    if !has_option(words, "STORE") || !has_option(words, "BY") {
        return;
    }
    for word in words.iter_mut().skip(2) {
        if word.eq_ignore_ascii_case(b"ALPHA") {
            *word = b"ASC".to_vec();
        }
    }
}

fn keep_far(word: Option<&mut Vec<u8>>, min: i64) {
    let Some(word) = word else { return };
    if let Some(number @ 1..) = parse_i64(word)
        && number < min
    {
        *word = (number + min).to_string().into_bytes();
    }
}

fn keep_options_far(words: &mut [Vec<u8>]) {
    for at in 1..words.len() - 1 {
        let min = match words[at].to_ascii_uppercase().as_slice() {
            b"EX" => SECONDS_MIN,
            b"PX" => SECONDS_MIN * 1_000,
            _ => continue,
        };
        keep_far(words.get_mut(at + 1), min);
    }
}

/// What lies between `max` and the server's own bound `last` is moved behind the latter.
fn keep_small(word: Option<&mut Vec<u8>>, max: i64, last: i64) {
    let Some(word) = word else { return };
    if parse_i64(word).is_some_and(|number| number > max && number <= last) {
        *word = (last + 1).to_string().into_bytes();
    }
}

fn keep_fields_small(words: &mut [Vec<u8>]) {
    for word in words.iter_mut().skip(2) {
        match word.strip_prefix(b"#") {
            Some(digits) => {
                if parse_i64(digits).is_some_and(|n| n > BITS_MAX / 64 && n <= BIT_LAST) {
                    *word = b"#4294967296".to_vec();
                }
            }
            None => keep_small(Some(word), BITS_MAX, BIT_LAST),
        }
    }
}

/// Which members go is each server's own, unless it is all of them or none.
fn keep_pops_whole(words: &mut [Vec<u8>]) {
    let is_whole = |word: &Vec<u8>| !parse_i64(word).is_some_and(|n| (1..100_000).contains(&n));
    if words.len() == 2 {
        words[1] = b"no key has this name".to_vec();
    } else if words.len() == 3 && !is_whole(&words[2]) {
        words[2] = b"100000".to_vec();
    }
}

/// A negative count is answered with so many, however few there are.
fn keep_draws_short(words: &mut [Vec<u8>]) {
    let is_long = |n| (-i64::MAX..-1_000).contains(&n);
    if words.len() >= 3 && parse_i64(&words[2]).is_some_and(is_long) {
        words[2] = b"-1000".to_vec();
    }
}

/// A timeout of 0 would wait for ever.
fn keep_waits_short(words: &mut [Vec<u8>]) {
    let at = if words[0].len() == b"WAIT".len() { 2 } else { 3 };
    let Some(word) = words.get_mut(at) else { return };
    if parse_i64(word).is_some_and(|ms| ms == 0 || ms > 5) {
        *word = b"5".to_vec();
    }
}

/// Whatever may be a time of seconds, and not one that is refused, becomes a short one.
fn keep_timeout_short(word: Option<&mut Vec<u8>>) {
    let Some(word) = word else { return };
    let is_negative = std::str::from_utf8(word)
        .is_ok_and(|text| text.parse().is_ok_and(|seconds: f64| seconds <= -1.0));
    if Extended::parse(word).is_some_and(Extended::is_finite) && !is_negative {
        *word = b"0.002".to_vec();
    }
}

/// The same for every word behind BLOCK.
fn keep_blocks_short(words: &mut [Vec<u8>]) {
    for at in 1..words.len() {
        if words[at - 1].eq_ignore_ascii_case(b"BLOCK")
            && parse_i64(&words[at]).is_some_and(|ms| ms == 0 || ms > 5)
        {
            words[at] = b"5".to_vec();
        }
    }
}

/// Whether a few milliseconds are over is a matter of luck.
fn keep_idle_clear(word: Option<&mut Vec<u8>>) {
    let Some(word) = word else { return };
    if parse_i64(word).is_some_and(|ms| ms > 0 && ms < 100_000_000_000) {
        *word = b"0".to_vec();
    }
}

#[test]
fn what_would_do_harm_is_changed() {
    let after = |line: &str| {
        let mut words: Vec<Vec<u8>> = line.split(' ').map(|word| word.into()).collect();
        keep_harmless(&mut words, 3);
        String::from_utf8(words.join(&b' ')).expect("it was text")
    };
    assert_eq!(after("set k 5 ex 10 px 7"), "set k 5 ex 200010 px 200000007");
    assert_eq!(after("EXPIRE k -5"), "EXPIRE k -5");
    assert_eq!(after("SETBIT k 4294967295 1"), "SETBIT k 4294967296 1");
    assert_eq!(after("BITFIELD k GET u8 #4000000"), "BITFIELD k GET u8 #4294967296");
    assert_eq!(after("WAIT 1 0"), "WAIT 1 5");
    assert_eq!(after("HELLO 2"), "HELLO 3");
    assert_eq!(after("BLPOP a b 0"), "BLPOP a b 0.002");
    assert_eq!(after("blpop a b -1"), "blpop a b -1");
    assert_eq!(after("BLMPOP 0x10 1 a LEFT"), "BLMPOP 0.002 1 a LEFT");
    assert_eq!(after("SPOP k 3"), "SPOP k 100000");
    assert_eq!(after("SPOP k 0"), "SPOP k 0");
    assert_eq!(after("SORT k BY w* ALPHA STORE d"), "SORT k BY w* ASC STORE d");
    assert_eq!(after("SORT k ALPHA STORE d"), "SORT k ALPHA STORE d");
    assert_eq!(after("SRANDMEMBER k -9000000"), "SRANDMEMBER k -1000");
    assert_eq!(after("MIGRATE host 6379 k 0 1"), "MIGRATE 127.0.0.1 1 k 0 1");
}
