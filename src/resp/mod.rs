//! The wire protocol: parses RESP and inline requests into [`Args`], and writes RESP2 and RESP3
//! replies.
//!
//! Must not know: sockets, commands, keys.

mod ahead;
mod args;
mod error;
mod inline;
mod parse;
mod read;
mod reply;
mod segments;

pub use ahead::second_arg;
pub use args::{Args, LARGE_WORD_BYTES, Span};
pub use error::Error;
pub use parse::{LINE_BYTES_MAX, Limits, Parsed, Parser, ProtocolError};
pub use parse::{RESERVE_BYTES_MAX, TEXT_BYTES_MAX, resize_capacity};
pub use read::{Value, reply_end};
pub use reply::{Mark, Output, Piece, Reply};

/// The protocol version of a client, which HELLO selects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// RESP2, the default.
    #[default]
    Two,
    /// RESP3.
    Three,
}
