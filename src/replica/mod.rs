//! The data that a primary sends to its replicas: the snapshot, then the feed.
//!
//! Must not know: sockets, other shards, where the feed is stored. The caller asks a link for
//! bytes; the backlog is a function that the caller passes in.
//!
//! ```text
//!   Snapshot --------------------------------------------Link::begin--------.
//!                                                                            v
//!   PSYNC --resumption--> an offset -----------------------Link::resume---> Link --next--> bytes
//! ```

mod link;
mod partial;

pub use link::{Link, Now, PIECE_BYTES_MAX, replica_name};
pub use partial::{Resumption, resumption};

/// The command in the feed that keeps an idle link alive.
pub const PING: &[u8] = b"*1\r\n$4\r\nping\r\n";

/// The command in the feed that asks all replicas to acknowledge at once.
pub const GETACK: &[u8] = b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n";
