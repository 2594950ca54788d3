//! Commands on the state of a connection.

use super::Part::{Database, Key, Maybe, Protocol, Value, Word};
use super::{Check, Command, exact};

pub const FAMILY: &[Command] = &[
    exact("SELECT", &[Database]),
    exact("PING", &[Maybe(&[Value])]),
    exact("ECHO", &[Value]),
    exact("RESET", &[]).weighs(3),
    exact("CLIENT SETNAME", &[Key]).weighs(4),
    exact("CLIENT GETNAME", &[]).weighs(4),
    exact("HELLO", &[Maybe(&[Protocol, Maybe(&[Word("SETNAME"), Key])])])
        .weighs(4)
        .compared(Check::Kind),
];
