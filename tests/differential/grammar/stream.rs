//! Streams. Ids are explicit and do not depend on the clock.

use super::Part::{
    Count, Either, Id, IdBound, Integer, Key, Maybe, Member, MinIdle, Name, NewId, Repeat, Some,
    UnixMilliseconds, Value, Word,
};
use super::{Check, Command, Part, exact};

const FIELDS: Part = Repeat(1, 3, &[Member, Value]);

const ABOUT: Part = Maybe(&[Either(&[&[Word("~")], &[Word("=")]])]);

const LIMIT: Part = Maybe(&[Word("LIMIT"), Count]);

const TRIM: Part =
    Either(&[&[Word("MAXLEN"), ABOUT, Count, LIMIT], &[Word("MINID"), ABOUT, Id, LIMIT]]);

const COUNT: Part = Maybe(&[Word("COUNT"), Count]);

const OPTIONS: Part =
    Some(&[&[Word("COUNT"), Count], &[Word("BLOCK"), Either(&[&[Word("1")], &[Count]])]]);

const SEEN: Part = Either(&[&[Id], &[Id], &[Word("$")], &[Word("+")], &[Word("0")]]);

const WANTED: Part = Either(&[&[Word(">")], &[Word(">")], &[Word("0")], &[Id]]);

const ENTRIES_READ: Part = Maybe(&[Word("ENTRIESREAD"), Either(&[&[Count], &[Integer]])]);

const CLAIMING: Part = Some(&[
    &[Word("IDLE"), Count],
    &[Word("TIME"), UnixMilliseconds],
    &[Word("RETRYCOUNT"), Count],
    &[Word("FORCE")],
    &[Word("JUSTID")],
    &[Word("LASTID"), Id],
]);

const PENDING: Part =
    Maybe(&[Maybe(&[Word("IDLE"), MinIdle]), IdBound, IdBound, Count, Maybe(&[Name])]);

pub const FAMILY: &[Command] = &[
    exact("XADD", &[Key, NewId, FIELDS]).weighs(60),
    exact("XADD", &[Key, Some(&[&[Word("NOMKSTREAM")], &[TRIM]]), NewId, FIELDS]).weighs(20),
    exact("XTRIM", &[Key, TRIM]),
    exact(
        "XSETID",
        &[Key, Id, Some(&[&[Word("ENTRIESADDED"), Count], &[Word("MAXDELETEDID"), Id]])],
    )
    .weighs(5),
    exact("XLEN", &[Key]),
    exact("XRANGE", &[Key, IdBound, IdBound, COUNT]),
    exact("XREVRANGE", &[Key, IdBound, IdBound, COUNT]),
    exact("XDEL", &[Key, Repeat(1, 4, &[Id])]),
    exact(
        "XREAD",
        &[
            OPTIONS,
            Word("STREAMS"),
            Either(&[&[Key, SEEN], &[Key, Key, SEEN, SEEN], &[Key, Key, Key, SEEN, SEEN, SEEN]]),
        ],
    )
    .weighs(15),
    exact(
        "XREADGROUP",
        &[
            Word("GROUP"),
            Name,
            Name,
            OPTIONS,
            Maybe(&[Word("NOACK")]),
            Word("STREAMS"),
            Either(&[&[Key, WANTED], &[Key, WANTED], &[Key, Key, WANTED, WANTED]]),
        ],
    )
    .weighs(30),
    exact(
        "XGROUP CREATE",
        &[
            Key,
            Name,
            Either(&[&[Word("0")], &[Word("$")], &[Id]]),
            Maybe(&[Word("MKSTREAM")]),
            ENTRIES_READ,
        ],
    )
    .weighs(30),
    exact("XGROUP SETID", &[Key, Name, Either(&[&[Word("$")], &[IdBound]]), ENTRIES_READ]),
    exact("XGROUP DESTROY", &[Key, Name]).weighs(3),
    exact("XGROUP CREATECONSUMER", &[Key, Name, Name]),
    exact("XGROUP DELCONSUMER", &[Key, Name, Name]).weighs(5),
    exact("XGROUP HELP", &[]).weighs(4),
    exact("XACK", &[Key, Name, Repeat(1, 4, &[Id])]),
    exact("XPENDING", &[Key, Name, PENDING]).weighs(15).compared(Check::Times),
    exact("XCLAIM", &[Key, Name, Name, MinIdle, Repeat(1, 4, &[Id]), CLAIMING]).weighs(20),
    exact(
        "XAUTOCLAIM",
        &[Key, Name, Name, MinIdle, IdBound, Some(&[&[Word("COUNT"), Count], &[Word("JUSTID")]])],
    )
    .weighs(15),
    exact("XINFO STREAM", &[Key]),
    exact("XINFO STREAM", &[Key, Word("FULL"), COUNT]).compared(Check::Times),
    exact("XINFO GROUPS", &[Key]),
    exact("XINFO CONSUMERS", &[Key, Name]).compared(Check::Times),
    exact("XINFO HELP", &[]).weighs(4),
];
