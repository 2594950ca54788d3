//! Sorted sets.

use super::Part::{
    Count, Counted, Cursor, Either, Float, Index, Key, Maybe, Member, Pattern, Repeat, Some, Value,
    Word,
};
use super::{Check, Command, Part, exact};

/// A key that only the commands on ranges of texts use, in which all scores are equal. With
/// different scores such a range has no meaning.
const TEXTS: Part = Word("lexicon");

/// Mostly scores that are close to each other.
const SCORE: Part = Either(&[
    &[Word("0")],
    &[Word("1")],
    &[Word("1.5")],
    &[Word("2")],
    &[Word("-3")],
    &[Index],
    &[Index],
    &[Float],
]);

/// Mostly few members. Many are near the number at which a sorted set changes its encoding.
const PAIRS: Part = Either(&[
    &[Repeat(1, 3, &[SCORE, Member])],
    &[Repeat(1, 3, &[SCORE, Member])],
    &[Repeat(1, 12, &[SCORE, Member])],
    &[Repeat(1, 140, &[SCORE, Member])],
]);

/// A bound of a range of scores.
const SCORE_END: Part = Either(&[
    &[SCORE],
    &[SCORE],
    &[Word("-inf")],
    &[Word("+inf")],
    &[Word("(1")],
    &[Word("(-2")],
    &[Word("(0.5")],
    &[Word("(")],
    &[Word("(x")],
    &[Value],
]);

/// A bound of a range of texts.
const TEXT_END: Part = Either(&[
    &[Word("-")],
    &[Word("+")],
    &[Word("[b")],
    &[Word("(b")],
    &[Word("[12")],
    &[Word("(5")],
    &[Word("[")],
    &[Word("(")],
    &[Word("[member")],
    &[Member],
]);

const LIMIT: &[Part] = &[Word("LIMIT"), Index, Count];

const END: Part = Either(&[&[Word("MIN")], &[Word("MAX")]]);

/// Short timeouts in seconds, or values that are no time.
const TIMEOUT: Part = Either(&[&[Word("0.001")], &[Word("0.003")], &[Value]]);

/// Options that may follow the bounds of a range.
const RANGE: &[&[Part]] = &[&[Word("REV")], &[Word("WITHSCORES")], LIMIT];

const RANGES: &[&[Part]] = &[
    &[Key, Index, Index, Some(RANGE)],
    &[Key, SCORE_END, SCORE_END, Word("BYSCORE"), Some(RANGE)],
    &[TEXTS, TEXT_END, TEXT_END, Word("BYLEX"), Some(RANGE)],
];

pub const FAMILY: &[Command] = &[
    exact(
        "ZADD",
        &[Either(&[
            &[Key, PAIRS],
            &[
                Key,
                Some(&[
                    &[Either(&[&[Word("NX")], &[Word("XX")]])],
                    &[Either(&[&[Word("GT")], &[Word("LT")]])],
                    &[Word("CH")],
                ]),
                Repeat(1, 4, &[SCORE, Member]),
            ],
            &[
                Key,
                Maybe(&[Either(&[&[Word("NX")], &[Word("XX")], &[Word("GT")], &[Word("LT")]])]),
                Word("INCR"),
                SCORE,
                Member,
            ],
            &[TEXTS, Repeat(1, 10, &[Word("0"), Member])],
        ])],
    )
    .weighs(60),
    exact("ZINCRBY", &[Key, SCORE, Member]).weighs(15),
    exact("ZREM", &[Key, Repeat(1, 12, &[Member])]).weighs(15),
    exact("ZCARD", &[Key]),
    exact("ZSCORE", &[Key, Member]),
    exact("ZMSCORE", &[Key, Repeat(1, 6, &[Member])]),
    exact("ZRANK", &[Key, Member, Maybe(&[Word("WITHSCORE")])]),
    exact("ZREVRANK", &[Key, Member, Maybe(&[Word("WITHSCORE")])]),
    exact("ZCOUNT", &[Key, SCORE_END, SCORE_END]),
    exact("ZLEXCOUNT", &[TEXTS, TEXT_END, TEXT_END]),
    exact("ZRANGE", &[Either(RANGES)]).weighs(30),
    exact("ZREVRANGE", &[Key, Index, Index, Maybe(&[Word("WITHSCORES")])]),
    exact("ZRANGEBYSCORE", &[Key, SCORE_END, SCORE_END, Some(&[&[Word("WITHSCORES")], LIMIT])]),
    exact("ZREVRANGEBYSCORE", &[Key, SCORE_END, SCORE_END, Some(&[&[Word("WITHSCORES")], LIMIT])]),
    exact("ZRANGEBYLEX", &[TEXTS, TEXT_END, TEXT_END, Some(&[LIMIT])]),
    exact("ZREVRANGEBYLEX", &[TEXTS, TEXT_END, TEXT_END, Some(&[LIMIT])]),
    exact("ZRANGESTORE", &[Key, Either(RANGES)]).weighs(20),
    exact("ZREMRANGEBYRANK", &[Key, Index, Index]),
    exact("ZREMRANGEBYSCORE", &[Key, SCORE_END, SCORE_END]),
    exact("ZREMRANGEBYLEX", &[TEXTS, TEXT_END, TEXT_END]),
    exact("ZPOPMIN", &[Key, Maybe(&[Count])]),
    exact("ZPOPMAX", &[Key, Maybe(&[Count])]),
    exact("ZMPOP", &[Counted(1, 3, &[Key]), END, Maybe(&[Word("COUNT"), Count])]),
    exact("BZPOPMIN", &[Repeat(1, 3, &[Key]), TIMEOUT]).weighs(6),
    exact("BZPOPMAX", &[Repeat(1, 3, &[Key]), TIMEOUT]).weighs(6),
    exact("BZMPOP", &[TIMEOUT, Counted(1, 3, &[Key]), END, Maybe(&[Word("COUNT"), Count])])
        .weighs(6),
    exact("ZRANDMEMBER", &[Key, Maybe(&[Count, Maybe(&[Word("WITHSCORES")])])])
        .compared(Check::Length),
    exact(
        "ZSCAN",
        &[
            Key,
            Cursor,
            Some(&[&[Word("MATCH"), Pattern], &[Word("COUNT"), Count], &[Word("NOSCORES")]]),
        ],
    )
    .compared(Check::Walk),
];
