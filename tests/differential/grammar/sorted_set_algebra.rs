//! Unions, intersections and differences of sorted sets.

use super::Part::{Count, Counted, Either, Float, Index, Key, Maybe, Some, Word};
use super::{Command, Part, exact};

const WEIGHT: Part = Either(&[
    &[Word("1")],
    &[Word("2")],
    &[Word("-0.5")],
    &[Word("0")],
    &[Word("inf")],
    &[Index],
    &[Index],
    &[Float],
]);

const AGGREGATE: &[Part] =
    &[Word("AGGREGATE"), Either(&[&[Word("SUM")], &[Word("MIN")], &[Word("MAX")], &[Word("AVG")]])];

const SCORES: &[Part] = &[Word("WITHSCORES")];

/// Keys, the same number of weights, and the options behind them.
const SHOWN: Part = Either(&[
    &[Counted(1, 4, &[Key]), Some(&[AGGREGATE, SCORES])],
    &[Counted(1, 1, &[Key]), Some(&[&[Word("WEIGHTS"), WEIGHT], AGGREGATE, SCORES])],
    &[Counted(2, 2, &[Key]), Some(&[&[Word("WEIGHTS"), WEIGHT, WEIGHT], AGGREGATE, SCORES])],
    &[
        Counted(3, 3, &[Key]),
        Some(&[&[Word("WEIGHTS"), WEIGHT, WEIGHT, WEIGHT], AGGREGATE, SCORES]),
    ],
]);

const STORED: Part = Either(&[
    &[Counted(1, 4, &[Key]), Some(&[AGGREGATE])],
    &[Counted(1, 1, &[Key]), Some(&[&[Word("WEIGHTS"), WEIGHT], AGGREGATE])],
    &[Counted(2, 2, &[Key]), Some(&[&[Word("WEIGHTS"), WEIGHT, WEIGHT], AGGREGATE])],
    &[Counted(3, 3, &[Key]), Some(&[&[Word("WEIGHTS"), WEIGHT, WEIGHT, WEIGHT], AGGREGATE])],
]);

pub const FAMILY: &[Command] = &[
    exact("ZUNION", &[SHOWN]).weighs(15),
    exact("ZINTER", &[SHOWN]).weighs(15),
    exact("ZDIFF", &[Counted(1, 3, &[Key]), Maybe(SCORES)]).weighs(15),
    exact("ZUNIONSTORE", &[Key, STORED]).weighs(15),
    exact("ZINTERSTORE", &[Key, STORED]),
    exact("ZDIFFSTORE", &[Key, Counted(1, 3, &[Key])]),
    exact("ZINTERCARD", &[Counted(1, 3, &[Key]), Maybe(&[Word("LIMIT"), Count])]),
];
