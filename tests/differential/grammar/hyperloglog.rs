//! HyperLogLogs. PFSELFTEST is left out, because it keeps the peer busy for seconds; so is PFDEBUG
//! SIMD, to which the peer replies twice when it refuses the argument.

use super::Part::{Either, Integer, Key, Member, Repeat, Value, Word};
use super::{Command, Part, exact};

/// Mostly keys that hold only HyperLogLogs.
const SKETCH: Part =
    Either(&[&[Word("visitors")], &[Word("{tag}visitors")], &[Word("guests")], &[Key]]);

/// Mostly few elements; many make a value dense.
const ELEMENTS: Part = Either(&[
    &[Repeat(0, 3, &[Member])],
    &[Repeat(0, 3, &[Member])],
    &[Repeat(0, 12, &[Member])],
    &[Repeat(0, 6, &[Value])],
    &[Repeat(1, 400, &[Integer])],
]);

pub const FAMILY: &[Command] = &[
    exact("PFADD", &[SKETCH, ELEMENTS]).weighs(20),
    exact("PFCOUNT", &[SKETCH]),
    exact("PFCOUNT", &[Repeat(1, 4, &[SKETCH])]),
    exact("PFMERGE", &[SKETCH, Repeat(0, 3, &[SKETCH])]),
    exact(
        "PFDEBUG",
        &[Either(&[
            &[Word("ENCODING"), SKETCH],
            &[Word("ENCODING"), SKETCH],
            &[Word("DECODE"), SKETCH],
            &[Word("DECODE"), SKETCH],
            &[Word("GETREG"), SKETCH],
            &[Word("TODENSE"), SKETCH],
            &[Word("NOTHING"), SKETCH],
        ])],
    )
    .weighs(3),
];
