//! Transactions. An open transaction is closed sooner than these weights suggest.

use super::Part::{Key, Repeat};
use super::{Command, exact};

pub const FAMILY: &[Command] = &[
    exact("MULTI", &[]).weighs(12),
    exact("EXEC", &[]).weighs(6),
    exact("DISCARD", &[]).weighs(4),
    exact("WATCH", &[Repeat(1, 3, &[Key])]).weighs(15),
    exact("UNWATCH", &[]).weighs(4),
];
