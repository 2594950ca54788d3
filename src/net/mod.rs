//! Byte streams of a connection: received bytes, which are cut into commands, and replies to be
//! sent, both plain or in TLS records.
//!
//! Must not know: what a command means, keys, shards. Does not own a socket.

mod input;
mod outbox;
mod stream;
pub mod tls;

pub use input::{IDLE_TEXT_BYTES_MAX, Input, KEPT_TEXT_BYTES_MAX, Request};
pub use outbox::Outbox;
pub use stream::Stream;
