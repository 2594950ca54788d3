//! The bounds of the HTTP port, each with what happens when it is reached.

use std::time::Duration;

/// Connections at once. A further one is told to come later, and closed.
pub const CONNECTIONS_MAX: usize = 32;

/// Bytes of a request's head. A longer one is refused with 431.
pub const REQUEST_BYTES_MAX: usize = 8 << 10;

/// Header lines of a request. One with more is refused with 431.
pub const HEADERS_MAX: usize = 64;

/// From the first byte of a request to the end of its head; a slower one is refused with 408. And
/// from a new connection to its first byte; one that says nothing is closed.
pub const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);

/// Silence between two requests that are answered, after which the connection is closed: longer
/// than the minute that a scraper may have between two scrapes.
pub const IDLE_TIME_MAX: Duration = Duration::from_secs(75);

/// For a response to leave. The connection of a peer that does not read it is closed.
pub const RESPONSE_TIME_MAX: Duration = Duration::from_secs(10);

/// Bytes that a refused peer may still have under way, and are thrown away so that it can read
/// the refusal; then the connection is reset.
pub const LINGER_BYTES_MAX: usize = 64 << 10;

/// How long that takes at most.
pub const LINGER_TIME_MAX: Duration = Duration::from_secs(1);

/// Connections that wait to be accepted, for each address.
pub const BACKLOG: i32 = 64;

/// Stack of a connection's thread: requests and responses are on the heap.
pub const STACK_BYTES: usize = 512 << 10;

/// Databases that have metrics even when they are empty.
pub const DATABASES_EMPTY_MAX: usize = 16;

/// Commands of the status, those with the most calls first.
pub const COMMANDS_MAX: usize = 12;

/// Slow commands of the status, the newest first.
pub const SLOW_ENTRIES_MAX: u64 = 12;

/// Bytes of a slow command that are shown; the rest is left out.
pub const SLOW_COMMAND_BYTES_MAX: usize = 160;
