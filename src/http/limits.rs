//! The limits of the HTTP port, each with the effect of reaching it.

use std::time::Duration;

/// Open connections. A further connection gets 503 and is closed.
pub const CONNECTIONS_MAX: usize = 32;

/// Bytes of a request's head. A longer head is refused with 431.
pub const REQUEST_BYTES_MAX: usize = 8 << 10;

/// Header lines of a request. A request with more of them is refused with 431.
pub const HEADERS_MAX: usize = 64;

/// Time from the first byte of a request to the end of its head; a slower request is refused with
/// 408. Also the time from a new connection to its first byte; a silent connection is closed.
pub const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);

/// Idle time after an answered request, after which the connection is closed. It is longer than the
/// minute that may lie between two scrapes.
pub const IDLE_TIME_MAX: Duration = Duration::from_secs(75);

/// Time for sending a response. If the peer does not read it, the connection is closed.
pub const RESPONSE_TIME_MAX: Duration = Duration::from_secs(10);

/// Bytes that a refused peer may still send; they are discarded so that the peer can read the
/// refusal. After more of them the connection is reset.
pub const LINGER_BYTES_MAX: usize = 64 << 10;

/// Time for which the input of a refused peer is discarded.
pub const LINGER_TIME_MAX: Duration = Duration::from_secs(1);

/// Connections that wait to be accepted, for each address.
pub const BACKLOG: i32 = 64;

/// Stack of a connection's thread. It is small because requests and responses are on the heap.
pub const STACK_BYTES: usize = 512 << 10;

/// Databases that have metrics even when they are empty.
pub const DATABASES_EMPTY_MAX: usize = 16;

/// Commands in the status; the commands with the most calls are chosen.
pub const COMMANDS_MAX: usize = 12;

/// Ranges of slots of a shard in the status; the lowest are chosen.
pub const SLOT_RANGES_MAX: usize = 8;

/// Slow commands in the status; the newest are chosen.
pub const SLOW_ENTRIES_MAX: u64 = 12;

/// Bytes of a slow command that the status shows; the rest is cut off.
pub const SLOW_COMMAND_BYTES_MAX: usize = 160;
