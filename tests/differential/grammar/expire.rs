//! Expiry of keys.

use super::Part::{Either, Key, Maybe, Milliseconds, Seconds, UnixMilliseconds, UnixSeconds, Word};
use super::{Check, Command, Part, exact};

const CONDITION: Part =
    Maybe(&[Either(&[&[Word("NX")], &[Word("XX")], &[Word("GT")], &[Word("LT")]])]);

/// Also two conditions; some pairs are invalid.
const CONDITIONS: Part = Maybe(&[CONDITION, CONDITION]);

pub const FAMILY: &[Command] = &[
    exact("EXPIRE", &[Key, Seconds, CONDITION, CONDITIONS]),
    exact("PEXPIRE", &[Key, Milliseconds, CONDITION, CONDITIONS]),
    exact("EXPIREAT", &[Key, UnixSeconds, CONDITION, CONDITIONS]),
    exact("PEXPIREAT", &[Key, UnixMilliseconds, CONDITION, CONDITIONS]),
    exact("PERSIST", &[Key]),
    exact("TTL", &[Key]).compared(Check::Seconds),
    exact("PTTL", &[Key]).compared(Check::Milliseconds),
    exact("EXPIRETIME", &[Key]).compared(Check::Seconds),
    exact("PEXPIRETIME", &[Key]).compared(Check::Milliseconds),
];
