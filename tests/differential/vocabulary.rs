//! Values for the open parts of the grammar: few keys, and values near limits.

use annulet::base::rng::Rng;

/// A source of random decisions.
pub struct Dice(Rng);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(Rng::new(seed))
    }

    /// Returns a number in `0..bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// Returns a number in `from..=to`.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    fn text(&mut self, from: &[&[u8]]) -> Vec<u8> {
        self.pick(from).to_vec()
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }
}

/// All keys. They are in several hash slots, some in the same one by their hash tags.
pub const KEYS: &[&[u8]] = &[
    b"a",
    b"b",
    b"counter",
    b"text",
    b"bits",
    b"{tag}one",
    b"{tag}two",
    b"{tag}three",
    b"x{}y",
    b"",
    b"\xff\x00\r\n*1\r\n",
    b"a name that is longer than most others are, of eighty bytes, so that it fills more",
];

const BOUNDS: &[&[u8]] = &[
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"-9223372036854775809",
    b"9223372036854775806",
    b"18446744073709551615",
    b"2147483647",
    b"2147483648",
    b"-2147483649",
    b"4294967295",
    b"4294967296",
];

const NEARLY_INTEGERS: &[&[u8]] =
    &[b"", b" 1", b"1 ", b"+1", b"01", b"-0", b"1.0", b"1e3", b"0x10", b"ten", b"1\x00"];

const FLOATS: &[&[u8]] = &[
    b"0",
    b"1",
    b"-1",
    b"0.1",
    b"-2.5",
    b"3.0e3",
    b"5e-324",
    b"1e17",
    b"1e308",
    b"1.7e308",
    b"1e400",
    b"1e5000",
    b"0.30000000000000004",
    b"100000000000000000000",
    b"-0",
    b"inf",
    b"-inf",
    b"nan",
    b" 1.5",
    b"1.5 ",
    b"1,5",
    b"0x1p3",
    b"",
];

const TEXTS: &[&[u8]] = &[
    b"",
    b"a",
    b"value",
    b"hello world",
    b"ohmytext",
    b"mynewtext",
    b"VALUE",
    b"\x00",
    b"\r\n",
    b"\xff\xff\xff",
    b"one\0two\r\nthree",
    b"1.5",
    b"3.0e3",
    b" 7",
    b"007",
    b"nan",
    b"EX",
    b"NX",
    b"GET",
];

const PATTERNS: &[&[u8]] = &[
    b"*",
    b"*",
    b"?",
    b"a*",
    b"*t*",
    b"{tag}*",
    b"{tag}one",
    b"[ab]",
    b"[^a]*",
    b"[a-c]*",
    b"\\*",
    b"",
    b"**",
    b"counter",
    b"?ext",
    b"#",
    b"key:*",
    b"[",
    b"nosort",
    b"[b-",
];

const TYPES: &[&[u8]] = &[b"string", b"STRING", b"list", b"hash", b"zset", b"stream", b"nosuch"];

const ENCODINGS: &[&[u8]] = &[
    b"u1", b"u8", b"u7", b"i5", b"i16", b"u32", b"i64", b"u63", b"u64", b"i65", b"i0", b"u0",
    b"I8", b"U8", b"x8", b"i", b"i1", b"i63",
];

pub fn key(dice: &mut Dice) -> Vec<u8> {
    dice.text(KEYS)
}

pub fn value(dice: &mut Dice) -> Vec<u8> {
    match dice.below(20) {
        0..=4 => dice.between(0, 12).to_string().into_bytes(),
        5 => dice.between(9_990, 10_010).to_string().into_bytes(),
        6 => dice.text(BOUNDS),
        7 => dice.text(NEARLY_INTEGERS),
        8 => dice.text(FLOATS),
        9..=14 => dice.text(TEXTS),
        15 => {
            // Near the length at which a string is no longer embedded.
            let len = dice.between(20, 140);
            vec![b'e'; len as usize]
        }
        16 => key(dice),
        17 => {
            let len = dice.below(40);
            dice.bytes(len)
        }
        18 => {
            let len = dice.below(300);
            dice.bytes(len)
        }
        _ => {
            let len = if dice.one_in(10) { dice.below(5_000) } else { dice.below(600) };
            vec![b"xyz\0"[dice.below(4) as usize]; len as usize]
        }
    }
}

/// Mostly one of a few members; sometimes a longer one, or one that no set has yet.
pub fn member(dice: &mut Dice) -> Vec<u8> {
    match dice.below(40) {
        0..=14 => dice.between(0, 12).to_string().into_bytes(),
        15..=19 => (dice.below(1_400) as i64 - 700).to_string().into_bytes(),
        20..=32 => vec![b"abcdefg"[dice.below(7) as usize]],
        33..=35 => dice.text(TEXTS),
        36 => {
            // Near the length at which a member turns a set into a table.
            let len = dice.between(62, 66);
            vec![b'm'; len as usize]
        }
        37 => dice.text(BOUNDS),
        38 => dice.text(NEARLY_INTEGERS),
        _ => value(dice),
    }
}

pub fn integer(dice: &mut Dice) -> Vec<u8> {
    match dice.below(10) {
        0..=4 => (dice.below(41) as i64 - 20).to_string().into_bytes(),
        5 | 6 => (dice.below(1 << 40) as i64 - (1 << 39)).to_string().into_bytes(),
        7 | 8 => dice.text(BOUNDS),
        _ => dice.text(NEARLY_INTEGERS),
    }
}

/// A small count, so that a command that waits for it ends soon.
pub fn count(dice: &mut Dice) -> Vec<u8> {
    match dice.below(8) {
        0 => integer(dice),
        _ => dice.below(6).to_string().into_bytes(),
    }
}

pub fn index(dice: &mut Dice) -> Vec<u8> {
    match dice.below(10) {
        0..=6 => (dice.below(25) as i64 - 12).to_string().into_bytes(),
        7 => (dice.below(2_000) as i64 - 1_000).to_string().into_bytes(),
        _ => integer(dice),
    }
}

pub fn float(dice: &mut Dice) -> Vec<u8> {
    match dice.below(4) {
        0 => integer(dice),
        1 => format!("{}.{}", dice.below(100) as i64 - 50, dice.below(10_000)).into_bytes(),
        _ => dice.text(FLOATS),
    }
}

/// Mostly near other longitudes, so that searches find something.
pub fn longitude(dice: &mut Dice) -> Vec<u8> {
    match dice.below(30) {
        0 => dice.text(&[b"180", b"-180", b"0", b"179.9999", b"180.0001", b"-200", b"1e2", b"x"]),
        1..=4 => degrees(dice, 0, 170),
        5 => degrees(dice, -170, 170),
        _ => degrees(dice, 12, 3),
    }
}

/// Mostly near other latitudes, so that searches find something.
pub fn latitude(dice: &mut Dice) -> Vec<u8> {
    match dice.below(30) {
        0 => dice.text(&[b"85.05112878", b"-85.05112878", b"85.06", b"0", b"-91", b"inf", b""]),
        1..=4 => degrees(dice, 0, 70),
        5 => degrees(dice, -60, 60),
        _ => degrees(dice, 38, 3),
    }
}

/// At most `spread` from the middle; some values are whole numbers.
fn degrees(dice: &mut Dice, middle: i64, spread: i64) -> Vec<u8> {
    if dice.one_in(5) {
        return (middle - spread + dice.below(2 * spread as u64 + 1) as i64).to_string().into();
    }
    let millionths = dice.below(2_000_000 * spread as u64) as i64;
    let degrees = (middle - spread) as f64 + millionths as f64 / 1_000_000.0;
    degrees.to_string().into_bytes()
}

/// The distance of a search.
pub fn length(dice: &mut Dice) -> Vec<u8> {
    match dice.below(20) {
        0 => float(dice),
        1 => dice.text(&[b"0", b"-1", b"20000", b"20037726.37", b"6371000", b"1e8", b"0.5"]),
        2..=5 => dice.between(1, 100_000).to_string().into_bytes(),
        _ => dice.between(1, 900).to_string().into_bytes(),
    }
}

pub fn bit(dice: &mut Dice) -> Vec<u8> {
    match dice.below(10) {
        0 => dice.text(&[b"2", b"-1", b"", b"one", b"01", b"10"]),
        _ => dice.below(2).to_string().into_bytes(),
    }
}

pub fn byte_offset(dice: &mut Dice) -> Vec<u8> {
    match dice.below(20) {
        0..=11 => dice.below(20).to_string().into_bytes(),
        12..=15 => dice.below(150).to_string().into_bytes(),
        16 => dice.below(8_000).to_string().into_bytes(),
        _ => integer(dice),
    }
}

pub fn bit_offset(dice: &mut Dice) -> Vec<u8> {
    match dice.below(20) {
        0..=15 => dice.below(200).to_string().into_bytes(),
        16 => dice.below(50_000).to_string().into_bytes(),
        _ => integer(dice),
    }
}

pub fn encoding(dice: &mut Dice) -> Vec<u8> {
    match dice.below(3) {
        0 => dice.text(ENCODINGS),
        1 => format!("i{}", dice.between(1, 64)).into_bytes(),
        _ => format!("u{}", dice.between(1, 63)).into_bytes(),
    }
}

pub fn field_offset(dice: &mut Dice) -> Vec<u8> {
    let mut text = if dice.one_in(3) { b"#".to_vec() } else { Vec::new() };
    text.extend(match dice.below(12) {
        0 => integer(dice),
        _ => dice.below(130).to_string().into_bytes(),
    });
    text
}

/// Expiries that do not end during a run: they are in the past, now, or far away.
pub fn seconds(dice: &mut Dice) -> Vec<u8> {
    match dice.below(16) {
        0 => dice.text(BOUNDS),
        1 => dice.text(NEARLY_INTEGERS),
        2 => dice.text(&[b"0", b"-1", b"-100000", b"9223372036854775", b"-9223372036854776"]),
        _ => dice.between(200_000, 1_000_000_000).to_string().into_bytes(),
    }
}

pub fn milliseconds(dice: &mut Dice) -> Vec<u8> {
    match dice.below(16) {
        0 => dice.text(BOUNDS),
        1 => dice.text(NEARLY_INTEGERS),
        2..=4 => dice.text(&[b"0", b"0", b"-1", b"9223370000000000000"]),
        _ => dice.between(200_000_000, 1_000_000_000_000).to_string().into_bytes(),
    }
}

pub fn unix_seconds(dice: &mut Dice) -> Vec<u8> {
    match dice.below(16) {
        0 => integer(dice),
        1 => dice.text(&[b"0", b"-1", b"9223372036854775", b"9223372036854776"]),
        2 => dice.between(1, 1_000_000_000).to_string().into_bytes(),
        _ => dice.between(4_000_000_000, 9_000_000_000).to_string().into_bytes(),
    }
}

pub fn unix_milliseconds(dice: &mut Dice) -> Vec<u8> {
    match dice.below(16) {
        0 => integer(dice),
        1 => dice.text(&[b"0", b"-1", b"9223372036854775807"]),
        2 => dice.between(1, 1_000_000_000_000).to_string().into_bytes(),
        _ => dice.between(4_000_000_000_000, 9_000_000_000_000).to_string().into_bytes(),
    }
}

pub fn database(dice: &mut Dice) -> Vec<u8> {
    match dice.below(12) {
        0 => dice.text(&[b"15", b"16", b"-1", b"one", b"", b"99999999999999999999"]),
        _ => dice.below(4).to_string().into_bytes(),
    }
}

pub fn pattern(dice: &mut Dice) -> Vec<u8> {
    if dice.one_in(5) { key(dice) } else { dice.text(PATTERNS) }
}

pub fn cursor(dice: &mut Dice) -> Vec<u8> {
    match dice.below(10) {
        0 => dice.text(&[b"-1", b"x", b"", b"18446744073709551616", b" 0"]),
        _ => b"0".to_vec(),
    }
}

pub fn type_name(dice: &mut Dice) -> Vec<u8> {
    if dice.one_in(2) { b"string".to_vec() } else { dice.text(TYPES) }
}

/// Most ids follow all others of a few milliseconds. None depends on the clock.
pub fn new_id(dice: &mut Dice) -> Vec<u8> {
    match dice.below(12) {
        0..=7 => b"3-*".to_vec(),
        8 => format!("{}-*", dice.below(4)).into_bytes(),
        9 => id(dice),
        _ => format!("3-{}", dice.below(200)).into_bytes(),
    }
}

pub fn id(dice: &mut Dice) -> Vec<u8> {
    match dice.below(16) {
        0 => integer(dice),
        1 => format!("{}-{}", dice.below(5), dice.below(1 << 40)).into_bytes(),
        2 => dice.text(&[
            b"-",
            b"+",
            b"0-0",
            b"1-",
            b"3-3-3",
            b" 3-1",
            b"3-01",
            b"03-1",
            b"18446744073709551615-18446744073709551615",
            b"18446744073709551616",
        ]),
        3 => dice.below(5).to_string().into_bytes(),
        _ => format!("3-{}", dice.below(40)).into_bytes(),
    }
}

pub fn id_bound(dice: &mut Dice) -> Vec<u8> {
    match dice.below(6) {
        0 => b"-".to_vec(),
        1 => b"+".to_vec(),
        2 => [b"(", &*id(dice)].concat(),
        _ => id(dice),
    }
}

pub fn name(dice: &mut Dice) -> Vec<u8> {
    dice.text(&[b"alice", b"bob", b"alice", b"bob", b"", b"GROUP", b"al\0ice"])
}

/// Idle times that differ by more than the clocks do: passed at once, or never.
pub fn min_idle(dice: &mut Dice) -> Vec<u8> {
    dice.text(&[b"0", b"0", b"0", b"-1", b"500000000000", b"x"])
}

/// A value that fits no part in particular.
pub fn any(dice: &mut Dice) -> Vec<u8> {
    match dice.below(5) {
        0 => key(dice),
        1 => integer(dice),
        2 => dice.text(&[
            b"NX", b"XX", b"GET", b"EX", b"PX", b"KEEPTTL", b"REPLACE", b"DB", b"MATCH", b"COUNT",
            b"GT", b"LT", b"PERSIST", b"IFEQ", b"LEN", b"BYTE", b"STORE", b"nosuch",
        ]),
        _ => value(dice),
    }
}
