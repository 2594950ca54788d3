//! Keeps random commands from what would make a run slow, endless or a matter of luck.

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
        b"SET" | b"GETEX" | b"MSETEX" => keep_options_far(words),
        b"SETEX" | b"EXPIRE" => keep_far(words.get_mut(2), SECONDS_MIN),
        b"PSETEX" | b"PEXPIRE" | b"RESTORE" => keep_far(words.get_mut(2), SECONDS_MIN * 1_000),
        b"SETRANGE" => keep_small(words.get_mut(2), BITS_MAX / 8, 512 << 20),
        b"SETBIT" => keep_small(words.get_mut(2), BITS_MAX, BIT_LAST),
        b"BITFIELD" => keep_fields_small(words),
        b"WAIT" | b"WAITAOF" => keep_waits_short(words),
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

/// A timeout of 0 would wait for ever.
fn keep_waits_short(words: &mut [Vec<u8>]) {
    let at = if words[0].len() == b"WAIT".len() { 2 } else { 3 };
    let Some(word) = words.get_mut(at) else { return };
    if parse_i64(word).is_some_and(|ms| ms == 0 || ms > 5) {
        *word = b"5".to_vec();
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
    assert_eq!(after("MIGRATE host 6379 k 0 1"), "MIGRATE 127.0.0.1 1 k 0 1");
}
