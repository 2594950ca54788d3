//! The limits of the append-only file, each with its unit and its reason.

use std::time::Duration;

/// Bytes of the stream that are written at once: a few milliseconds of a fast disk, so that a sync
/// that replies wait for begins soon.
pub const WRITE_BYTES_MAX: usize = 4 << 20;

/// How long the thread rests after a write, unless replies wait for it: waking it costs a shard
/// about as much as a send.
pub const REST: Duration = Duration::from_millis(1);

/// How often the thread looks at the settings and at failures if nothing wakes it.
pub const TICK: Duration = Duration::from_millis(100);

/// How long the thread sleeps while there is no append-only file, and nothing wakes it.
pub const IDLE: Duration = Duration::from_secs(10);

/// Milliseconds between two syncs under `appendfsync everysec`.
pub const SYNC_MS: u64 = 1_000;

/// Milliseconds that writes wait for a sync that is in progress.
pub const POSTPONE_MS_MAX: u64 = 2_000;

/// Milliseconds between two attempts to write after a failure.
pub const RETRY_MS: u64 = 100;

/// Milliseconds between two log lines about failed writes.
pub const LOG_MS: u64 = 30_000;

/// Syncs that take fewer nanoseconds gain nothing from groups: waiting costs as much as the sync.
pub const GATHERED_SYNC_NS_MIN: u64 = 200_000;

/// The most nanoseconds that a write under `appendfsync always` waits for the commands of further
/// clients. Clients need about as long to answer.
pub const GATHER_NS_MAX: u64 = 2_000_000;
