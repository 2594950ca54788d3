//! Byte streams: what has come in of a connection, cut into commands, and what is to go out.
//!
//! Must not know: what a command means, keys, shards. It owns no socket.

mod input;
mod outbox;

pub use input::{IDLE_TEXT_BYTES_MAX, Input, KEPT_TEXT_BYTES_MAX, Request};
pub use outbox::Outbox;
