//! Lists.

use super::Part::{Count, Counted, Either, Index, Integer, Key, Maybe, Repeat, Some, Value, Word};
use super::{Command, Part, exact};

const END: Part = Either(&[&[Word("LEFT")], &[Word("RIGHT")]]);

/// Short timeouts in seconds, or values that are no time.
const TIMEOUT: Part = Either(&[&[Word("0.001")], &[Word("0.003")], &[Value]]);

/// An index of at most 32 bits, because the reference looks at no others.
const PLACE: Part = Either(&[
    &[Word("0")],
    &[Word("1")],
    &[Word("2")],
    &[Word("-1")],
    &[Word("-3")],
    &[Word("100")],
    &[Word("x")],
]);

pub const FAMILY: &[Command] = &[
    exact("LPUSH", &[Key, Repeat(1, 6, &[Value])]).weighs(40),
    exact("RPUSH", &[Key, Repeat(1, 6, &[Value])]).weighs(40),
    exact("LPUSHX", &[Key, Repeat(1, 3, &[Value])]),
    exact("RPUSHX", &[Key, Repeat(1, 3, &[Value])]),
    exact("LPOP", &[Key, Maybe(&[Count])]),
    exact("RPOP", &[Key, Maybe(&[Count])]),
    exact("LLEN", &[Key]),
    exact("LINDEX", &[Key, Index]),
    exact("LRANGE", &[Key, Index, Index]).weighs(15),
    exact("LSET", &[Key, PLACE, Value]).weighs(15),
    exact("LINSERT", &[Key, Either(&[&[Word("BEFORE")], &[Word("AFTER")]]), Value, Value])
        .weighs(20),
    exact("LREM", &[Key, Index, Value]).weighs(15),
    exact("LTRIM", &[Key, Index, Index]),
    exact(
        "LPOS",
        &[
            Key,
            Value,
            Some(&[&[Word("RANK"), Index], &[Word("COUNT"), Integer], &[Word("MAXLEN"), Count]]),
        ],
    )
    .weighs(15),
    exact("LMOVE", &[Key, Key, END, END]).weighs(15),
    exact("RPOPLPUSH", &[Key, Key]),
    exact("LMPOP", &[Counted(1, 4, &[Key]), END, Maybe(&[Word("COUNT"), Count])]),
    exact("BLPOP", &[Repeat(1, 3, &[Key]), TIMEOUT]).weighs(6),
    exact("BRPOP", &[Repeat(1, 3, &[Key]), TIMEOUT]).weighs(6),
    exact("BLMOVE", &[Key, Key, END, END, TIMEOUT]).weighs(6),
    exact("BRPOPLPUSH", &[Key, Key, TIMEOUT]).weighs(6),
    exact("BLMPOP", &[TIMEOUT, Counted(1, 3, &[Key]), END, Maybe(&[Word("COUNT"), Count])])
        .weighs(6),
];
