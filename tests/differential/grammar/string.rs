//! Strings: texts and numbers.

use super::Part::{
    ByteOffset, Counted, Either, Float, Index, Integer, Key, Maybe, Milliseconds, Repeat, Seconds,
    Some, UnixMilliseconds, UnixSeconds, Value, Word,
};
use super::{Command, Part, exact};

const EXPIRY: Part = Either(&[
    &[Word("EX"), Seconds],
    &[Word("PX"), Milliseconds],
    &[Word("EXAT"), UnixSeconds],
    &[Word("PXAT"), UnixMilliseconds],
    &[Word("KEEPTTL")],
]);

pub const FAMILY: &[Command] = &[
    exact(
        "SET",
        &[
            Key,
            Value,
            Some(&[
                &[Either(&[&[Word("NX")], &[Word("XX")], &[Word("IFEQ"), Value]])],
                &[Word("GET")],
                &[EXPIRY],
            ]),
        ],
    )
    .weighs(40),
    exact("GET", &[Key]).weighs(15),
    exact(
        "GETEX",
        &[
            Key,
            Maybe(&[Either(&[
                &[Word("EX"), Seconds],
                &[Word("PX"), Milliseconds],
                &[Word("EXAT"), UnixSeconds],
                &[Word("PXAT"), UnixMilliseconds],
                &[Word("PERSIST")],
            ])]),
        ],
    )
    .weighs(15),
    exact("GETSET", &[Key, Value]),
    exact("GETDEL", &[Key]),
    exact("DELIFEQ", &[Key, Value]),
    exact("SETNX", &[Key, Value]),
    exact("SETEX", &[Key, Seconds, Value]),
    exact("PSETEX", &[Key, Milliseconds, Value]),
    exact("MGET", &[Repeat(1, 5, &[Key])]),
    exact("MSET", &[Repeat(1, 4, &[Key, Value])]).weighs(15),
    exact("MSETNX", &[Repeat(1, 3, &[Key, Value])]),
    exact(
        "MSETEX",
        &[
            Counted(1, 4, &[Key, Value]),
            Some(&[&[Either(&[&[Word("NX")], &[Word("XX")]])], &[EXPIRY]]),
        ],
    )
    .weighs(20),
    exact("STRLEN", &[Key]),
    exact("APPEND", &[Key, Value]),
    exact("GETRANGE", &[Key, Index, Index]),
    exact("SUBSTR", &[Key, Index, Index]),
    exact("SETRANGE", &[Key, ByteOffset, Value]),
    exact("INCR", &[Key]),
    exact("DECR", &[Key]),
    exact("INCRBY", &[Key, Integer]),
    exact("DECRBY", &[Key, Integer]),
    exact("INCRBYFLOAT", &[Key, Float]),
    exact(
        "LCS",
        &[
            Key,
            Key,
            Some(&[
                &[Word("LEN")],
                &[Word("IDX")],
                &[Word("IDX"), Word("MINMATCHLEN"), Index],
                &[Word("WITHMATCHLEN")],
            ]),
        ],
    ),
];
