//! Hashes, and the expiry of their fields.

use super::Part::{
    Count, Counted, Cursor, Either, Float, Integer, Key, Maybe, Member, Milliseconds, Pattern,
    Repeat, Seconds, Some, UnixMilliseconds, UnixSeconds, Value, Word,
};
use super::{Check, Command, Part, exact};

/// Mostly few fields. Many are near the number at which a hash changes its encoding, with lowered
/// settings.
const PAIRS: &[Part] = &[Either(&[
    &[Repeat(1, 3, &[Member, Value])],
    &[Repeat(1, 3, &[Member, Value])],
    &[Repeat(1, 12, &[Member, Value])],
    &[Repeat(1, 200, &[Member, Member])],
])];

const FIELDS: Part = Either(&[&[Word("FIELDS"), Counted(1, 4, &[Member])]]);

const EXPIRY: &[&[Part]] = &[
    &[Word("EX"), Seconds],
    &[Word("PX"), Milliseconds],
    &[Word("EXAT"), UnixSeconds],
    &[Word("PXAT"), UnixMilliseconds],
];

const CONDITION: Part =
    Maybe(&[Either(&[&[Word("NX")], &[Word("XX")], &[Word("GT")], &[Word("LT")]])]);

pub const FAMILY: &[Command] = &[
    exact("HSET", &[Key, Either(&[PAIRS])]).weighs(40),
    exact("HMSET", &[Key, Repeat(1, 4, &[Member, Value])]),
    exact("HSETNX", &[Key, Member, Value]),
    exact("HGET", &[Key, Member]),
    exact("HMGET", &[Key, Repeat(1, 6, &[Member])]),
    exact("HGETALL", &[Key]).compared(Check::AnyOrder),
    exact("HKEYS", &[Key]).compared(Check::AnyOrder),
    exact("HVALS", &[Key]).compared(Check::AnyOrder),
    exact("HLEN", &[Key]),
    exact("HSTRLEN", &[Key, Member]),
    exact("HEXISTS", &[Key, Member]),
    exact("HDEL", &[Key, Repeat(1, 8, &[Member])]).weighs(15),
    exact("HINCRBY", &[Key, Member, Integer]).weighs(15),
    exact("HINCRBYFLOAT", &[Key, Member, Float]).weighs(15),
    exact("HRANDFIELD", &[Key, Maybe(&[Count, Maybe(&[Word("WITHVALUES")])])])
        .compared(Check::Length),
    exact(
        "HSCAN",
        &[
            Key,
            Cursor,
            Some(&[&[Word("MATCH"), Pattern], &[Word("COUNT"), Count], &[Word("NOVALUES")]]),
        ],
    )
    .compared(Check::Walk),
    exact("HEXPIRE", &[Key, Seconds, CONDITION, CONDITION, FIELDS]),
    exact("HPEXPIRE", &[Key, Milliseconds, CONDITION, FIELDS]),
    exact("HEXPIREAT", &[Key, UnixSeconds, CONDITION, FIELDS]),
    exact("HPEXPIREAT", &[Key, UnixMilliseconds, CONDITION, FIELDS]),
    exact("HPERSIST", &[Key, FIELDS]),
    exact("HTTL", &[Key, FIELDS]).compared(Check::Seconds),
    exact("HPTTL", &[Key, FIELDS]).compared(Check::Milliseconds),
    exact("HEXPIRETIME", &[Key, FIELDS]).compared(Check::Seconds),
    exact("HPEXPIRETIME", &[Key, FIELDS]).compared(Check::Milliseconds),
    exact(
        "HSETEX",
        &[
            Key,
            Some(&[
                &[Either(&[&[Word("NX")], &[Word("XX")]])],
                &[Either(&[&[Word("FNX")], &[Word("FXX")]])],
                &[Either(EXPIRY)],
                &[Word("KEEPTTL")],
            ]),
            Word("FIELDS"),
            Counted(1, 4, &[Member, Value]),
        ],
    )
    .weighs(25),
    exact("HGETEX", &[Key, Some(&[&[Either(EXPIRY)], &[Word("PERSIST")]]), FIELDS]).weighs(20),
    exact("HGETDEL", &[Key, FIELDS]),
];
