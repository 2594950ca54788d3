//! Keys of any type, and whole databases.

use super::Part::{
    Count, Cursor, Database, Either, Index, Integer, Key, Maybe, Milliseconds, Pattern, Payload,
    Repeat, Some, TypeName, Value, Word,
};
use super::{Check, Command, Part, exact};

const SORTING: &[&[Part]] = &[
    &[Word("BY"), Pattern],
    &[Word("LIMIT"), Index, Index],
    &[Word("GET"), Pattern],
    &[Either(&[&[Word("ASC")], &[Word("DESC")]])],
    &[Word("ALPHA")],
];

pub const FAMILY: &[Command] = &[
    exact("DEL", &[Repeat(1, 3, &[Key])]),
    exact("UNLINK", &[Repeat(1, 3, &[Key])]),
    exact("EXISTS", &[Repeat(1, 5, &[Key])]),
    exact("TOUCH", &[Repeat(1, 5, &[Key])]),
    exact("TYPE", &[Key]),
    exact("RENAME", &[Key, Key]),
    exact("RENAMENX", &[Key, Key]),
    exact("COPY", &[Key, Key, Some(&[&[Word("DB"), Database], &[Word("REPLACE")]])]).weighs(15),
    exact("MOVE", &[Key, Database]),
    exact("SWAPDB", &[Database, Database]).weighs(4),
    exact("DBSIZE", &[]),
    exact("FLUSHDB", &[Maybe(&[Either(&[&[Word("SYNC")], &[Word("ASYNC")]])])]).weighs(4),
    exact("FLUSHALL", &[Maybe(&[Either(&[&[Word("SYNC")], &[Word("ASYNC")]])])]).weighs(3),
    exact("KEYS", &[Pattern]).compared(Check::AnyOrder),
    exact(
        "SCAN",
        &[
            Cursor,
            Some(&[&[Word("MATCH"), Pattern], &[Word("COUNT"), Count], &[Word("TYPE"), TypeName]]),
        ],
    )
    .compared(Check::Kind),
    exact("RANDOMKEY", &[]).compared(Check::Kind),
    exact("OBJECT ENCODING", &[Key]).compared(Check::Encoding),
    exact("OBJECT REFCOUNT", &[Key]).compared(Check::Holders),
    exact("OBJECT IDLETIME", &[Key]).compared(Check::Idle),
    exact("OBJECT FREQ", &[Key]),
    exact("OBJECT HELP", &[]).weighs(4),
    // The peer always writes its newest version; the values inside payloads are compared as keys.
    exact("DUMP", &[Key]).compared(Check::Kind),
    exact(
        "RESTORE",
        &[
            Key,
            Milliseconds,
            Payload,
            Some(&[
                &[Word("REPLACE")],
                &[Word("ABSTTL")],
                &[Word("IDLETIME"), Integer],
                &[Word("FREQ"), Integer],
            ]),
        ],
    )
    .weighs(15),
    exact("SORT", &[Key, Some(SORTING), Maybe(&[Word("STORE"), Key])]),
    exact("SORT_RO", &[Key, Some(SORTING)]),
    // The lag of the replica that follows Annulet is random.
    exact("WAIT", &[Count, Count]).compared(Check::Kind).weighs(4),
    exact("WAITAOF", &[Count, Count, Count]).weighs(4),
    exact(
        "MIGRATE",
        &[
            Value,
            Value,
            Key,
            Database,
            Count,
            Some(&[
                &[Word("COPY")],
                &[Word("REPLACE")],
                &[Either(&[&[Word("AUTH"), Value], &[Word("AUTH2"), Value, Value]])],
            ]),
            Maybe(&[Word("KEYS"), Repeat(1, 2, &[Key])]),
        ],
    )
    .weighs(6),
];
