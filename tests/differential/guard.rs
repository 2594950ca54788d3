//! Changes random commands that would make a run slow, endless or random.

use super::compare::Check;
use annulet::base::extended::Extended;
use annulet::base::number::parse_i64;

/// Key of the sorted set for ranges of texts.
const TEXTS: &[u8] = b"lexicon";

/// Expiries below this number of seconds would end during a run, so they are moved beyond it.
const SECONDS_MIN: i64 = 200_000;

/// Largest length in bits to which one command may extend a string.
const BITS_MAX: i64 = 1 << 19;

/// The last bit that a string may have.
const BIT_LAST: i64 = u32::MAX as i64;

/// Changes the arguments of a command that would do harm.
pub fn keep_harmless(args: &mut [Vec<u8>], protocol: u8) {
    let name = args[0].to_ascii_uppercase();
    keep_scores_equal(&name, args);
    match name.as_slice() {
        b"SET" | b"GETEX" | b"MSETEX" | b"HSETEX" | b"HGETEX" => keep_options_far(args),
        b"SETEX" | b"EXPIRE" | b"HEXPIRE" => keep_far(args.get_mut(2), SECONDS_MIN),
        b"PSETEX" | b"PEXPIRE" | b"RESTORE" | b"HPEXPIRE" => {
            keep_far(args.get_mut(2), SECONDS_MIN * 1_000);
        }
        b"SETRANGE" => keep_small(args.get_mut(2), BITS_MAX / 8, 512 << 20),
        b"SETBIT" => keep_small(args.get_mut(2), BITS_MAX, BIT_LAST),
        b"BITFIELD" => keep_fields_small(args),
        b"SPOP" => keep_pops_whole(args),
        b"GEOSEARCH" | b"GEOSEARCHSTORE" => keep_centre_on_map(args),
        b"SORT" => keep_stored_order_defined(args),
        b"ZRANGE" | b"ZRANGESTORE" | b"ZRANGEBYSCORE" | b"ZREVRANGEBYSCORE" | b"ZRANGEBYLEX"
        | b"ZREVRANGEBYLEX" => keep_offsets_defined(args),
        b"BLPOP" | b"BRPOP" | b"BLMOVE" | b"BRPOPLPUSH" | b"BZPOPMIN" | b"BZPOPMAX" => {
            keep_timeout_short(args.last_mut());
        }
        b"BLMPOP" | b"BZMPOP" => keep_timeout_short(args.get_mut(1)),
        b"SRANDMEMBER" | b"HRANDFIELD" | b"ZRANDMEMBER" => keep_draws_short(args),
        b"WAIT" | b"WAITAOF" => keep_waits_short(args),
        b"XREAD" | b"XREADGROUP" => keep_blocks_short(args),
        b"XCLAIM" | b"XAUTOCLAIM" | b"XPENDING" => keep_idle_clear(args.get_mut(4)),
        b"MIGRATE" => {
            // No server listens on this port, and no name is looked up.
            let place = [b"127.0.0.1".to_vec(), b"1".to_vec()];
            args.iter_mut().skip(1).zip(place).for_each(|(arg, fixed)| *arg = fixed);
        }
        b"HELLO" => {
            let is_version = |arg: &&mut Vec<u8>| matches!(parse_i64(arg), Some(2 | 3));
            if let Some(arg) = args.get_mut(1).filter(is_version) {
                *arg = protocol.to_string().into_bytes();
            }
        }
        _ => {}
    }
}

/// Returns how the replies are compared, if not as usual for the command. A set has no order, and
/// SORT keeps it unordered with some options.
pub fn check_of(args: &[Vec<u8>]) -> Option<Check> {
    let has = |name: &str| has_option(args, name);
    match args[0].to_ascii_uppercase().as_slice() {
        b"SORT" | b"SORT_RO" if !has("BY") && !has("ALPHA") => None,
        b"SORT" | b"SORT_RO" if has("LIMIT") => Some(Check::Length),
        b"SORT" | b"SORT_RO" => Some(Check::AnyOrder),
        _ => None,
    }
}

/// Keeps all scores of the sorted set for ranges of texts equal, because other ranges have no
/// meaning. A command made with a mistake may give it other scores, or other members.
fn keep_scores_equal(name: &[u8], args: &mut [Vec<u8>]) {
    let place = match name {
        b"ZADD" | b"ZLEXCOUNT" | b"ZRANGE" | b"ZRANGEBYLEX" | b"ZREVRANGEBYLEX"
        | b"ZREMRANGEBYLEX" => 1,
        b"ZRANGESTORE" => 2,
        _ => 0,
    };
    for (at, arg) in args.iter_mut().enumerate() {
        if *arg == TEXTS && (at != place || at == 0) {
            arg.extend_from_slice(b"-not");
        }
    }
    if name == b"ZADD" && args.get(1).is_some_and(|key| key == TEXTS) {
        args.iter_mut().skip(2).step_by(2).for_each(|score| *score = b"0".to_vec());
    }
}

fn has_option(args: &[Vec<u8>], name: &str) -> bool {
    args.iter().skip(2).any(|arg| arg.eq_ignore_ascii_case(name.as_bytes()))
}

/// Makes the stored order well-defined: by numbers, then by the elements themselves.
fn keep_stored_order_defined(args: &mut [Vec<u8>]) {
    if !has_option(args, "STORE") || !has_option(args, "BY") {
        return;
    }
    for arg in args.iter_mut().skip(2) {
        if arg.eq_ignore_ascii_case(b"ALPHA") {
            *arg = b"ASC".to_vec();
        }
    }
}

fn keep_far(arg: Option<&mut Vec<u8>>, min: i64) {
    let Some(arg) = arg else { return };
    if let Some(number @ 1..) = parse_i64(arg)
        && number < min
    {
        *arg = (number + min).to_string().into_bytes();
    }
}

fn keep_options_far(args: &mut [Vec<u8>]) {
    for at in 1..args.len() - 1 {
        let min = match args[at].to_ascii_uppercase().as_slice() {
            b"EX" => SECONDS_MIN,
            b"PX" => SECONDS_MIN * 1_000,
            _ => continue,
        };
        keep_far(args.get_mut(at + 1), min);
    }
}

/// Moves a number between `max` and the server's own bound `last` beyond `last`.
fn keep_small(arg: Option<&mut Vec<u8>>, max: i64, last: i64) {
    let Some(arg) = arg else { return };
    if parse_i64(arg).is_some_and(|number| number > max && number <= last) {
        *arg = (last + 1).to_string().into_bytes();
    }
}

fn keep_fields_small(args: &mut [Vec<u8>]) {
    for arg in args.iter_mut().skip(2) {
        match arg.strip_prefix(b"#") {
            Some(digits) => {
                if parse_i64(digits).is_some_and(|n| n > BITS_MAX / 64 && n <= BIT_LAST) {
                    *arg = b"#4294967296".to_vec();
                }
            }
            None => keep_small(Some(arg), BITS_MAX, BIT_LAST),
        }
    }
}

/// Makes SPOP remove all members or none, because each server chooses other members.
fn keep_pops_whole(args: &mut [Vec<u8>]) {
    let is_whole = |arg: &Vec<u8>| !parse_i64(arg).is_some_and(|n| (1..100_000).contains(&n));
    if args.len() == 2 {
        args[1] = b"no key has this name".to_vec();
    } else if args.len() == 3 && !is_whole(&args[2]) {
        args[2] = b"100000".to_vec();
    }
}

/// Brings the corners of a polygon to similar longitudes if their centre is near a pole. If the
/// centre is beyond the edge of the map, the reference server searches in cells that it never sets.
fn keep_centre_on_map(args: &mut [Vec<u8>]) {
    let Some(at) = args.iter().position(|arg| arg.eq_ignore_ascii_case(b"BYPOLYGON")) else {
        return;
    };
    let number = |arg: &[u8]| std::str::from_utf8(arg).ok().and_then(|text| text.parse().ok());
    let Some(Some(count)) = args.get(at + 1).map(|arg| parse_i64(arg)) else { return };
    let end = (at + 2).saturating_add(usize::try_from(count).unwrap_or(0).saturating_mul(2));
    let end = end.min(args.len());
    let (mut x, mut y, mut z) = (0.0, 0.0, 0.0);
    for corner in args[at + 2..end].chunks_exact(2) {
        let [Some(longitude), Some(latitude)] = [number(&corner[0]), number(&corner[1])] else {
            return;
        };
        let (longitude, latitude): (f64, f64) = (longitude, latitude);
        let (longitude, latitude) = (longitude.to_radians(), latitude.to_radians());
        x += latitude.cos() * longitude.cos();
        y += latitude.cos() * longitude.sin();
        z += latitude.sin();
    }
    if z.atan2(x.hypot(y)).to_degrees().abs() > 85.0 {
        for longitude in args[at + 2..end].iter_mut().step_by(2) {
            *longitude = format!("{}", number(longitude).unwrap_or(0.0) / 10.0).into_bytes();
        }
    }
}

/// Makes a negative offset behind LIMIT positive. With a negative one the reference server replies
/// nothing from a small set, and members from the wrong end of a large one. Annulet replies with
/// nothing in both cases.
fn keep_offsets_defined(args: &mut [Vec<u8>]) {
    for at in 1..args.len() {
        if args[at - 1].eq_ignore_ascii_case(b"LIMIT")
            && let Some(number @ ..0) = parse_i64(&args[at])
        {
            args[at] = number.unsigned_abs().to_string().into_bytes();
        }
    }
}

/// Raises a very negative count, because the reply has that many elements even for a small set.
fn keep_draws_short(args: &mut [Vec<u8>]) {
    let is_long = |n| (-i64::MAX..-1_000).contains(&n);
    if args.len() >= 3 && parse_i64(&args[2]).is_some_and(is_long) {
        args[2] = b"-1000".to_vec();
    }
}

/// Replaces a timeout of 0, which would wait for ever, and long ones.
fn keep_waits_short(args: &mut [Vec<u8>]) {
    let at = if args[0].len() == b"WAIT".len() { 2 } else { 3 };
    let Some(arg) = args.get_mut(at) else { return };
    if parse_i64(arg).is_some_and(|ms| ms == 0 || ms > 5) {
        *arg = b"5".to_vec();
    }
}

/// Replaces a valid timeout in seconds by a short one.
fn keep_timeout_short(arg: Option<&mut Vec<u8>>) {
    let Some(arg) = arg else { return };
    let is_negative = std::str::from_utf8(arg)
        .is_ok_and(|text| text.parse().is_ok_and(|seconds: f64| seconds <= -1.0));
    if Extended::parse(arg).is_some_and(Extended::is_finite) && !is_negative {
        *arg = b"0.002".to_vec();
    }
}

/// Replaces every valid timeout behind BLOCK by a short one.
fn keep_blocks_short(args: &mut [Vec<u8>]) {
    for at in 1..args.len() {
        if args[at - 1].eq_ignore_ascii_case(b"BLOCK")
            && parse_i64(&args[at]).is_some_and(|ms| ms == 0 || ms > 5)
        {
            args[at] = b"5".to_vec();
        }
    }
}

/// Replaces times of a few milliseconds, because it is random whether they have passed.
fn keep_idle_clear(arg: Option<&mut Vec<u8>>) {
    let Some(arg) = arg else { return };
    if parse_i64(arg).is_some_and(|ms| ms > 0 && ms < 100_000_000_000) {
        *arg = b"0".to_vec();
    }
}

#[test]
fn harmful_arguments_are_changed() {
    let after = |line: &str| {
        let mut args: Vec<Vec<u8>> = line.split(' ').map(|arg| arg.into()).collect();
        keep_harmless(&mut args, 3);
        String::from_utf8(args.join(&b' ')).expect("the arguments are text")
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
    assert_eq!(after("ZRANGE k - + bylex limit -3 -1"), "ZRANGE k - + bylex limit 3 -1");
    assert_eq!(after("ZRANGEBYSCORE k 0 1 LIMIT -x 1"), "ZRANGEBYSCORE k 0 1 LIMIT -x 1");
    assert_eq!(
        after("GEOSEARCH k BYPOLYGON 4 10 38.76 160 36.73 -142 -25 11 35.9"),
        "GEOSEARCH k BYPOLYGON 4 1 38.76 16 36.73 -14.2 -25 1.1 35.9"
    );
    let known = "GEOSEARCH k BYPOLYGON 3 10 38 16 37 -14 -25 ASC";
    assert_eq!(after(known), known);
    assert_eq!(after("SRANDMEMBER k -9000000"), "SRANDMEMBER k -1000");
    assert_eq!(after("MIGRATE host 6379 k 0 1"), "MIGRATE 127.0.0.1 1 k 0 1");
}

#[test]
fn the_scores_of_the_texts_stay_equal() {
    for (made, kept) in [
        ("ZADD lexicon 5 a 0 b", "ZADD lexicon 0 a 0 b"),
        ("ZADD lexicon a 0 b", "ZADD lexicon 0 0 0"),
        ("ZADD k 1 lexicon", "ZADD k 1 lexicon-not"),
        ("ZINCRBY lexicon 5 a", "ZINCRBY lexicon-not 5 a"),
        ("zrangestore lexicon k 0 1", "zrangestore lexicon-not k 0 1"),
        ("ZRANGESTORE k lexicon - + BYLEX", "ZRANGESTORE k lexicon - + BYLEX"),
        ("ZLEXCOUNT lexicon - +", "ZLEXCOUNT lexicon - +"),
    ] {
        let mut args: Vec<Vec<u8>> = made.split(' ').map(|arg| arg.as_bytes().to_vec()).collect();
        keep_harmless(&mut args, 2);
        let args: Vec<_> = args.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
        assert_eq!(args.join(" "), kept);
    }
}
