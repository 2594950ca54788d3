//! Settings of a primary towards its replicas.

use super::card::{Kind, Setting, field};

const SECONDS_MAX: i128 = i32::MAX as i128;
const COUNT_MAX: i128 = i32::MAX as i128;
const LONG_MAX: i128 = i64::MAX as i128;

/// Lower bound to which `repl-backlog-size` is clamped.
pub(super) const BACKLOG_BYTES_MIN: u64 = 16 << 10;

const DELAY: &str = "a replica that asks gets its snapshot at once";
const NODELAY: &str = "output to replicas is never delayed";

/// The cards of these settings.
pub(super) static SETTINGS: &[Setting] = &[
    Setting::new("repl-backlog-size", Kind::Memory(1, LONG_MAX), "10mb", field!(repl_backlog_size)),
    Setting::new("repl-backlog-ttl", Kind::Int(0, LONG_MAX), "3600", field!(repl_backlog_ttl)),
    Setting::new(
        "repl-ping-replica-period",
        Kind::Int(1, SECONDS_MAX),
        "10",
        field!(repl_ping_replica_period),
    )
    .alias("repl-ping-slave-period"),
    Setting::new("repl-timeout", Kind::Int(1, SECONDS_MAX), "60", field!(repl_timeout)),
    Setting::new("repl-disable-tcp-nodelay", Kind::Bool, "no", field!(repl_disable_tcp_nodelay))
        .idle(NODELAY),
    Setting::new(
        "repl-diskless-sync-delay",
        Kind::Int(0, SECONDS_MAX),
        "5",
        field!(repl_diskless_sync_delay),
    )
    .idle(DELAY),
    Setting::new(
        "repl-diskless-sync-max-replicas",
        Kind::Int(0, COUNT_MAX),
        "0",
        field!(repl_diskless_sync_max_replicas),
    )
    .idle(DELAY),
    Setting::new(
        "min-replicas-to-write",
        Kind::Int(0, COUNT_MAX),
        "0",
        field!(min_replicas_to_write),
    )
    .shards_settle()
    .alias("min-slaves-to-write"),
    Setting::new(
        "min-replicas-max-lag",
        Kind::Int(0, SECONDS_MAX),
        "10",
        field!(min_replicas_max_lag),
    )
    .shards_settle()
    .alias("min-slaves-max-lag"),
    Setting::new("import-mode", Kind::Bool, "no", field!(import_mode)).shards_settle(),
];
