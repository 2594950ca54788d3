//! Settings of Valkey that are accepted, kept and shown, but have no effect.
//!
//! Each group gives its reason. A setting that could do harm if it is ignored refuses every value
//! but its default. A setting leaves this file when it gets an effect.

use super::card::{Kind, Setting, Store, Value, any_text};
use super::network::read_bind;
use super::number::parse_loose;

const INT_MIN: i128 = i32::MIN as i128;
const INT_MAX: i128 = i32::MAX as i128;
const UINT_MAX: i128 = u32::MAX as i128;
const LONG_MAX: i128 = i64::MAX as i128;
const ULONG_MAX: i128 = u64::MAX as i128;
const PORT: Kind = Kind::Int(0, 65_535);
const TEXT: Kind = Kind::Text(any_text);
const LOADING: &str = "loading goes in steps of its own";
const SYNC_FILES: &str = "a snapshot for replicas has no name on disk, so no file is left";
const DISKLESS: &str = "a snapshot for replicas goes through a file that has no name";
const LAST_WAIT: &str = "not yet: a shutdown does not wait for replicas";
const REPLICATION: &str = "not yet: being a replica";
const CLUSTER: &str = "not yet: the cluster bus";
const DHE: &str = "there are no DHE ciphers";
const THREADS: &str = "shards replace I/O threads";
const COMPRESSION: &str = "inner nodes of lists are not compressed";
const DEFRAGMENTATION: &str = "defragmentation has fixed shares of a shard's time";
const JEMALLOC: &str = "the allocator is mimalloc, which returns free memory itself";
const HUGE_PAGES: &str = "the server never requests huge pages";
const MARKS: &str = "sockets get no mark";
const MEMORY_TEST: &str = "a crash runs no memory test";
const WARNINGS: &str = "no warning stops the start";
const COLLATION: &str = "SORT compares bytes";
const ASSERTIONS: &str = "assertions are always on";
const CONTEXT: &str = "kept for clients that read it";
const MPTCP: &str = "Multipath TCP is not supported";
const RDMA: &str = "RDMA is not supported";

const fn accept(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    because: &'static str,
) -> Setting {
    Setting::new(name, kind, default, Store::Accepted { because })
}

/// The cards of these settings.
#[rustfmt::skip]
pub(super) static SETTINGS: &[Setting] = &[
    accept("rdb-del-sync-files", Kind::Bool, "no", SYNC_FILES),
    accept("key-load-delay", Kind::Int(INT_MIN, INT_MAX), "0", LOADING).hidden(),
    accept(
        "loading-process-events-interval-bytes",
        Kind::Int(1024, INT_MAX),
        "2097152",
        LOADING,
    ).hidden(),
    accept("repl-diskless-sync", Kind::Bool, "yes", DISKLESS),
    accept("dual-channel-replication-enabled", Kind::Bool, "no", REPLICATION),
    accept(
        "repl-diskless-load",
        Kind::Choice(&["disabled", "on-empty-db", "swapdb", "flush-before-load"]),
        "disabled",
        REPLICATION,
    ).not_while_loading(),
    accept("replica-lazy-flush", Kind::Bool, "yes", REPLICATION).alias("slave-lazy-flush"),
    accept("replica-serve-stale-data", Kind::Bool, "yes", REPLICATION)
        .alias("slave-serve-stale-data"),
    accept("replica-read-only", Kind::Bool, "yes", REPLICATION).alias("slave-read-only"),
    accept("replica-ignore-maxmemory", Kind::Bool, "yes", REPLICATION)
        .alias("slave-ignore-maxmemory"),
    accept("replica-announced", Kind::Bool, "yes", REPLICATION),
    accept("replica-ignore-disk-write-errors", Kind::Bool, "no", REPLICATION),
    accept("replica-announce-ip", TEXT, "", REPLICATION).alias("slave-announce-ip"),
    accept("replica-announce-port", PORT, "0", REPLICATION).alias("slave-announce-port"),
    accept("replica-priority", Kind::Int(0, INT_MAX), "100", REPLICATION).alias("slave-priority"),
    accept("primaryuser", TEXT, "", REPLICATION).alias("masteruser").sensitive(),
    accept("primaryauth", TEXT, "", REPLICATION).alias("masterauth").sensitive(),
    accept("bind-source-addr", TEXT, "", REPLICATION),
    accept(
        "propagation-error-behavior",
        Kind::Choice(&["ignore", "panic", "panic-on-replicas"]),
        "ignore",
        REPLICATION,
    ),
    accept("cluster-node-timeout", Kind::Int(0, LONG_MAX), "15000", CLUSTER),
    accept("cluster-ping-interval", Kind::Int(0, LONG_MAX), "0", CLUSTER).hidden(),
    accept("cluster-manual-failover-timeout", Kind::Int(1, INT_MAX), "5000", CLUSTER),
    accept("cluster-migration-barrier", Kind::Int(0, INT_MAX), "1", CLUSTER),
    accept("cluster-replica-validity-factor", Kind::Int(0, INT_MAX), "10", CLUSTER)
        .alias("cluster-slave-validity-factor"),
    accept("cluster-replica-no-failover", Kind::Bool, "no", CLUSTER)
        .alias("cluster-slave-no-failover"),
    accept("cluster-allow-replica-migration", Kind::Bool, "yes", CLUSTER),
    accept("cluster-slot-migration-log-max-len", Kind::Int(0, LONG_MAX), "1000", CLUSTER),
    accept("cluster-blacklist-ttl", Kind::Int(0, LONG_MAX), "60", CLUSTER),
    accept("cluster-link-sendbuf-limit", Kind::Memory(0, ULONG_MAX), "0", CLUSTER),
    accept("cluster-message-gossip-perc", Kind::Int(1, 100), "10", CLUSTER).hidden(),
    accept("slot-migration-max-failover-repl-bytes", Kind::SignedMemory(-1, LONG_MAX), "0", CLUSTER)
        ,
    accept("availability-zone", TEXT, "", CLUSTER),
    accept("tls-dh-params-file", TEXT, "", DHE),
    accept("io-threads", Kind::Int(1, 256), "1", THREADS),
    accept("io-threads-always-active", Kind::Bool, "no", THREADS).hidden(),
    accept("prefetch-batch-max-size", Kind::Int(0, 128), "16", THREADS),
    accept("min-io-threads-avoid-copy-reply", Kind::Int(0, INT_MAX), "7", THREADS).hidden(),
    accept("min-string-size-avoid-copy-reply", Kind::Int(0, INT_MAX), "16384", THREADS).hidden(),
    accept("min-string-size-avoid-copy-reply-threaded", Kind::Int(0, INT_MAX), "65536", THREADS)
        .hidden(),
    accept("max-new-connections-per-cycle", Kind::Int(1, 1000), "10", THREADS),
    accept("list-compress-depth", Kind::Int(0, INT_MAX), "0", COMPRESSION),
    accept("active-defrag-cycle-min", Kind::Int(1, 99), "1", DEFRAGMENTATION),
    accept("active-defrag-cycle-max", Kind::Int(1, 99), "25", DEFRAGMENTATION),
    accept("active-defrag-cycle-us", Kind::Int(0, 100000), "500", DEFRAGMENTATION),
    accept("active-defrag-threshold-upper", Kind::Int(0, 1000), "100", DEFRAGMENTATION),
    accept("active-defrag-max-scan-fields", Kind::Int(1, LONG_MAX), "1000", DEFRAGMENTATION),
    accept("jemalloc-bg-thread", Kind::Bool, "yes", JEMALLOC),
    accept("disable-thp", Kind::Bool, "yes", HUGE_PAGES).immutable(),
    accept("socket-mark-id", Kind::Int(0, UINT_MAX), "0", MARKS).immutable(),
    accept("crash-memcheck-enabled", Kind::Bool, "yes", MEMORY_TEST),
    accept("ignore-warnings", TEXT, "", WARNINGS),
    accept("locale-collate", Kind::Text(read_locale), "", COLLATION),
    accept("enable-debug-assert", Kind::Bool, "no", ASSERTIONS).immutable().hidden(),
    accept("debug-context", TEXT, "", CONTEXT).hidden(),
    accept("shutdown-timeout", Kind::Int(0, INT_MAX), "10", LAST_WAIT),
    accept("replicaof", Kind::Words(read_replicaof), "", REPLICATION)
        .alias("slaveof").immutable().refusing("replication is not available in this version"),
    accept("mptcp", Kind::Bool, "no", MPTCP)
        .immutable().refusing("MPTCP is not supported on this platform"),
    accept("repl-mptcp", Kind::Bool, "no", MPTCP)
        .immutable().refusing("MPTCP is not supported on this platform"),
    accept("rdma-bind", Kind::Words(read_bind), "", RDMA).refusing("No RDMA building support."),
    accept("rdma-port", PORT, "0", RDMA).refusing("No RDMA building support."),
    accept("rdma-rx-size", Kind::Int(65536, 16777216), "1048576", RDMA).immutable(),
    accept("rdma-completion-vector", Kind::Int(-1, 1024), "-1", RDMA).immutable(),
];

/// Checks that the text has the form of a locale's name; whether the locale exists is not checked.
fn read_locale(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    let (language, _) = name.split_at(name.iter().position(|byte| *byte == b'_').unwrap_or(0));
    let is_language = (2..=3).contains(&language.len());
    let is_named = is_language && language.iter().all(u8::is_ascii_lowercase);
    let plain: [&[u8]; 5] = [b"", b"C", b"POSIX", b"C.UTF-8", b"C.utf8"];
    if plain.contains(&name) || is_named {
        return any_text(name);
    }
    Err("Invalid locale name")
}

fn read_replicaof(args: &[&[u8]], _: &Value) -> Result<Value, String> {
    match args {
        [] => Ok(Value::Words(Vec::new())),
        [no, one] if no.eq_ignore_ascii_case(b"no") && one.eq_ignore_ascii_case(b"one") => {
            Ok(Value::Words(Vec::new()))
        }
        [host, port] => match parse_loose(port, 10) {
            Some(0..=65_535) => Ok(Value::Words(vec![host.to_vec(), port.to_vec()])),
            _ => Err("Invalid primary port".to_owned()),
        },
        _ => Err("wrong number of arguments".to_owned()),
    }
}
