//! The wire: RESP2, RESP3 and inline bytes to [`Args`], and replies to bytes.
//!
//! Must not know: sockets, commands, keys.

mod args;
mod error;

pub use args::{Args, Span};
pub use error::Error;
