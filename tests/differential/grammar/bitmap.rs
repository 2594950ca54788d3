//! Strings as rows of bits.

use super::Part::{
    Bit, BitOffset, Either, Encoding, FieldOffset, Index, Integer, Key, Maybe, Repeat, Word,
};
use super::{Command, Part, exact};

const UNIT: Part = Maybe(&[Either(&[&[Word("BYTE")], &[Word("BIT")]])]);

pub const FAMILY: &[Command] = &[
    exact("SETBIT", &[Key, BitOffset, Bit]),
    exact("GETBIT", &[Key, BitOffset]),
    exact("BITCOUNT", &[Key, Maybe(&[Index, Maybe(&[Index, UNIT])])]),
    exact("BITPOS", &[Key, Bit, Maybe(&[Index, Maybe(&[Index, UNIT])])]).weighs(15),
    exact(
        "BITOP",
        &[Either(&[
            &[Word("AND"), Key, Repeat(1, 4, &[Key])],
            &[Word("OR"), Key, Repeat(1, 4, &[Key])],
            &[Word("XOR"), Key, Repeat(1, 4, &[Key])],
            &[Word("NOT"), Key, Key],
            &[Word("NOT"), Key, Repeat(1, 3, &[Key])],
        ])],
    ),
    exact(
        "BITFIELD",
        &[
            Key,
            Repeat(
                0,
                4,
                &[Either(&[
                    &[Word("GET"), Encoding, FieldOffset],
                    &[Word("SET"), Encoding, FieldOffset, Integer],
                    &[Word("INCRBY"), Encoding, FieldOffset, Integer],
                    &[
                        Word("OVERFLOW"),
                        Either(&[&[Word("WRAP")], &[Word("SAT")], &[Word("FAIL")]]),
                    ],
                ])],
            ),
        ],
    )
    .weighs(20),
    exact("BITFIELD_RO", &[Key, Repeat(0, 3, &[Word("GET"), Encoding, FieldOffset])]),
];
