//! Sets.

use super::Part::{
    Count, Counted, Cursor, Either, Key, Maybe, Member, Pattern, Repeat, Some, Word,
};
use super::{Check, Command, Part, exact};

/// Mostly few members. Many are near the number at which a set changes its encoding.
const MEMBERS: &[Part] = &[Either(&[
    &[Repeat(1, 3, &[Member])],
    &[Repeat(1, 8, &[Member])],
    &[Repeat(1, 8, &[Member])],
    &[Repeat(1, 140, &[Member])],
])];

const SOURCES: &[Part] = &[Repeat(1, 4, &[Key])];

pub const FAMILY: &[Command] = &[
    exact("SADD", &[Key, Either(&[MEMBERS])]).weighs(40),
    exact("SREM", &[Key, Repeat(1, 12, &[Member])]).weighs(15),
    exact("SMOVE", &[Key, Key, Member]).weighs(15),
    exact("SISMEMBER", &[Key, Member]),
    exact("SMISMEMBER", &[Key, Repeat(1, 6, &[Member])]),
    exact("SCARD", &[Key]),
    exact("SMEMBERS", &[Key]).compared(Check::AnyOrder),
    exact("SPOP", &[Key, Maybe(&[Count])]).weighs(4).compared(Check::AnyOrder),
    exact("SRANDMEMBER", &[Key, Maybe(&[Count])]).compared(Check::Length),
    exact("SSCAN", &[Key, Cursor, Some(&[&[Word("MATCH"), Pattern], &[Word("COUNT"), Count]])])
        .compared(Check::Walk),
    exact("SINTER", SOURCES).compared(Check::AnyOrder),
    exact("SINTERCARD", &[Counted(1, 3, &[Key]), Maybe(&[Word("LIMIT"), Count])]),
    exact("SINTERSTORE", &[Key, Repeat(1, 3, &[Key])]),
    exact("SUNION", SOURCES).compared(Check::AnyOrder),
    exact("SUNIONSTORE", &[Key, Repeat(1, 3, &[Key])]),
    exact("SDIFF", SOURCES).compared(Check::AnyOrder),
    exact("SDIFFSTORE", &[Key, Repeat(1, 3, &[Key])]),
];
