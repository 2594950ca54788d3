//! The wire: RESP2, RESP3 and inline bytes to [`Args`], and replies to bytes.
//!
//! Must not know: sockets, commands, keys.

mod args;
mod error;
mod inline;
mod parse;
mod read;
mod reply;

pub use args::{Args, LARGE_WORD_BYTES, Span};
pub use error::Error;
pub use parse::{LINE_BYTES_MAX, Limits, Parsed, Parser, ProtocolError};
pub use parse::{RESERVE_BYTES_MAX, TEXT_BYTES_MAX};
pub use read::{Value, reply_end};
pub use reply::{Mark, Output, Piece, Reply};

/// Which dialect of the protocol a client has asked for with HELLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// RESP2, until something else is asked for.
    #[default]
    Two,
    /// RESP3.
    Three,
}
