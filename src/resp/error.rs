//! Every mistake that a client can make, with the exact words that go over the wire.
//! The texts are those of Valkey 9.1: clients match on them.

use std::borrow::Cow;

/// A client's mistake. [`Error::text`] is what follows the `-` of an error reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Words that do not follow the command's grammar.
    Syntax,
    /// The value is of another type than the command works on.
    WrongType,
    /// Not a 64-bit signed integer.
    NotInteger,
    /// Not a floating point number.
    NotFloat,
    /// Any text of a single place; it starts with its error code (`ERR ...`).
    Other(Cow<'static, str>),
}

impl Error {
    /// The reply's text, without `-` and line end.
    pub fn text(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Error::Syntax => "ERR syntax error",
            Error::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            Error::NotInteger => "ERR value is not an integer or out of range",
            Error::NotFloat => "ERR value is not a valid float",
            Error::Other(text) => return text.clone(),
        })
    }
}
