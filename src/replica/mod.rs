//! What a primary sends its replicas: the snapshot, then the feed.
//!
//! Must not know: sockets, other shards, where the feed is kept. A link is asked for bytes and
//! gives some; the backlog is a function that it is handed.
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

/// The command in the feed that keeps a silent link alive.
pub const PING: &[u8] = b"*1\r\n$4\r\nping\r\n";

/// The command in the feed by which all replicas are asked to acknowledge at once.
pub const GETACK: &[u8] = b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n";
