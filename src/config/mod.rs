//! The settings: one card each, an immutable snapshot of all of them, and the cell that publishes
//! it.
//!
//! Must not know: the modules that use a setting. It touches only the file system, to check that a
//! directory exists and to rewrite the config file.
//!
//! ```text
//!   argv, config file --load--> Config --ConfigCell::new--> ConfigCell --get--> Arc<Config>
//!                                          CONFIG SET --set--^   (version + 1, shards poll it)
//! ```

mod accepted;
mod aof;
mod card;
mod cell;
mod choice;
mod clients;
mod cluster;
mod encodings;
mod events;
mod http;
mod load;
mod log;
mod memory;
mod network;
mod number;
mod persistence;
mod process;
mod replication;
mod rewrite;
mod shards;
mod tls;
mod words;

#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;

pub use card::{Applied, Kind, OnChange, Setting, Store, Value};
pub use cell::{Caller, Changes, ConfigCell, ConfigError, FollowUp};
pub use choice::{
    AclPubsubDefault, AppendFsync, EndpointType, IoDriver, LogFormat, LogLevel, LogTimestampFormat,
    MaxmemoryPolicy, OomScoreAdj, Permission, RdbVersionCheck, SaveBehavior, Supervised,
    SyslogFacility, TlsAuthClients, TlsClientUser,
};
pub use clients::{OutputLimit, OutputLimits};
pub use cluster::is_announceable;
pub use events::EventClasses;
pub use load::{FatalConfigError, Files, VERSION, expand_pattern, version_line};
pub use memory::HASH_SEED_BYTES_MAX;
pub use network::BIND_ADDRESSES_MAX;
pub use persistence::SavePoint;
pub use process::{OomScoreValues, TITLE_WORDS};
pub use rewrite::{replace_file, rewrite_file};
pub use shards::SHARDS_MAX;
pub use words::{quote, split_words};

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Declares [`Config`], and a blank value that the cards fill in.
macro_rules! config {
    ($($(#[$doc:meta])* $visible:vis $field:ident: $type:ty,)+) => {
        /// All settings at one moment. Each field has the name, unit and bounds of its setting.
        #[derive(Clone, Debug)]
        pub struct Config {
            $($(#[$doc])* $visible $field: $type,)+
        }

        impl Config {
            fn blank() -> Config {
                Config { $($field: Default::default(),)+ }
            }
        }
    };
}

config! {
    /// Number of shards; 0: one per core.
    pub shards: u32,
    /// Whether each shard is pinned to one core.
    pub pin_shards: bool,
    /// A command that touches at least this number of elements runs on the offload pool.
    pub offload_elements_min: u32,
    /// The driver of sockets.
    pub io_driver: IoDriver,

    /// The TCP port; 0: none.
    pub port: u16,
    /// Addresses to listen on; `*` means all, and an address with a leading `-` may fail.
    pub bind: Vec<String>,
    /// Path of the Unix domain socket to listen on.
    pub unixsocket: Option<PathBuf>,
    /// The mode of the Unix socket; 0: as the umask says.
    pub unixsocketperm: u32,
    /// The group of the Unix socket; empty: the process's group.
    pub unixsocketgroup: String,
    /// Connections that may wait to be accepted.
    pub tcp_backlog: u32,
    /// Seconds of silence before the kernel probes a peer; 0: never.
    pub tcp_keepalive: u32,
    /// Whether a server without a password serves only clients of this machine.
    pub protected_mode: bool,

    /// The TCP port of TLS; 0: none.
    pub tls_port: u16,
    /// The server's certificates.
    pub tls_cert_file: Option<PathBuf>,
    /// The private key of `tls_cert_file`.
    pub tls_key_file: Option<PathBuf>,
    /// The passphrase of `tls_key_file`; empty: none.
    pub tls_key_file_pass: Vec<u8>,
    /// The certificates of connections that this server opens.
    pub tls_client_cert_file: Option<PathBuf>,
    /// The private key of `tls_client_cert_file`.
    pub tls_client_key_file: Option<PathBuf>,
    /// The passphrase of `tls_client_key_file`; empty: none.
    pub tls_client_key_file_pass: Vec<u8>,
    /// The certificates of trusted authorities.
    pub tls_ca_cert_file: Option<PathBuf>,
    /// A folder with certificates of trusted authorities.
    pub tls_ca_cert_dir: Option<PathBuf>,
    /// Whether clients must have certificates.
    pub tls_auth_clients: TlsAuthClients,
    /// What of a client's certificate names its user.
    pub tls_auth_clients_user: TlsClientUser,
    /// The versions of TLS, by their names; empty: all that are supported.
    pub tls_protocols: String,
    /// The ciphers of TLS 1.2, as OpenSSL names them; empty: all that are supported.
    pub tls_ciphers: String,
    /// The ciphers of TLS 1.3; empty: all that are supported.
    pub tls_ciphersuites: String,
    /// Whether the server's order of ciphers counts and not the client's.
    pub tls_prefer_server_ciphers: bool,
    /// Whether clients may resume sessions.
    pub tls_session_caching: bool,
    /// Number of sessions that are kept; 0: as many as the server's own limit allows.
    pub tls_session_cache_size: u32,
    /// Seconds that a session is kept.
    pub tls_session_cache_timeout: u32,
    /// Seconds between two checks whether the files have changed; 0: no checks.
    pub tls_auto_reload_interval: u32,
    /// Whether replication uses TLS.
    pub tls_replication: bool,
    /// Whether the cluster bus uses TLS.
    pub tls_cluster: bool,
    /// Handshakes of TLS that a shard begins in a turn.
    pub max_new_tls_connections_per_cycle: u32,

    /// Largest number of connections.
    pub maxclients: u32,
    /// Seconds after which an idle client is disconnected; 0: never.
    pub timeout: u32,
    /// Seconds after which a client that never authenticated is disconnected; 0: never.
    pub authentication_timeout: u32,
    /// Largest length of an argument in bytes.
    pub proto_max_bulk_len: u64,
    /// Largest number of input bytes that a client may have queued.
    pub client_query_buffer_limit: u64,
    /// Largest numbers of unsent reply bytes, by class of client.
    pub client_output_buffer_limit: OutputLimits,
    /// Bytes that all clients together may use; negative: a percentage of `maxmemory`; 0: no limit.
    pub maxmemory_clients: i64,
    /// Keys that may be tracked for clients; 0 means no limit.
    pub tracking_table_max_keys: u64,
    /// The password of the default user; empty: none.
    pub requirepass: Vec<u8>,
    /// File of the users.
    pub aclfile: Option<PathBuf>,
    /// Which channels new users may use.
    pub acl_pubsub_default: AclPubsubDefault,
    /// Number of entries of ACL LOG.
    pub acllog_max_len: usize,

    /// Bytes that the data may use; 0: no limit.
    pub maxmemory: u64,
    /// Which keys are evicted when `maxmemory` is reached.
    pub maxmemory_policy: MaxmemoryPolicy,
    /// Keys that are compared for each key that is evicted, 1 to 64.
    pub maxmemory_samples: u32,
    /// How long evictions may keep a client waiting, 0 to 100; 10: half a millisecond, 100: for
    /// ever.
    pub maxmemory_eviction_tenacity: u32,
    /// Factor by which each further increment of a key's use counter becomes less likely.
    pub lfu_log_factor: u32,
    /// Minutes after which the counter of an unused key is decremented; 0: never.
    pub lfu_decay_time: u32,
    /// The seed of all hashes; empty: random.
    pub hash_seed: Vec<u8>,
    /// Effort spent on finding expired keys, 1 to 10.
    pub active_expire_effort: u32,
    /// Whether evicted values are freed in slices.
    pub lazyfree_lazy_eviction: bool,
    /// Whether expired values are freed in slices.
    pub lazyfree_lazy_expire: bool,
    /// Whether overwritten values are freed in slices.
    pub lazyfree_lazy_server_del: bool,
    /// Whether values that DEL deletes are freed in slices.
    pub lazyfree_lazy_user_del: bool,
    /// Whether values that FLUSHALL deletes are freed in slices.
    pub lazyfree_lazy_user_flush: bool,
    /// Whether memory is compacted while keys are in use.
    pub activedefrag: bool,
    /// Bytes of free memory between blocks below which nothing is compacted.
    pub active_defrag_ignore_bytes: u64,
    /// Percentage of free memory between blocks from which on it is compacted.
    pub active_defrag_threshold_lower: u32,
    /// Whether idle time is used for table growth.
    pub activerehashing: bool,

    /// Largest number of fields of a compact hash.
    pub hash_max_listpack_entries: u64,
    /// Largest field or value of a compact hash, in bytes.
    pub hash_max_listpack_value: u64,
    /// Largest number of members of a compact set of integers.
    pub set_max_intset_entries: u64,
    /// Largest number of members of any other compact set.
    pub set_max_listpack_entries: u64,
    /// Largest member of a compact set, in bytes.
    pub set_max_listpack_value: u64,
    /// Largest number of members of a compact sorted set.
    pub zset_max_listpack_entries: u64,
    /// Largest member of a compact sorted set, in bytes.
    pub zset_max_listpack_value: u64,
    /// Items of a node of a list; negative: a class of bytes.
    pub list_max_listpack_size: i32,
    /// Bytes of a node of a stream.
    pub stream_node_max_bytes: u64,
    /// Entries of a node of a stream; 0: no limit.
    pub stream_node_max_entries: u64,
    /// Largest size of a sparse HyperLogLog, in bytes.
    pub hll_sparse_max_bytes: u64,

    /// The TCP port of the metrics and the status page; 0: none.
    pub http_port: u16,
    /// Addresses of the HTTP port, in the form of `bind`.
    pub http_bind: Vec<String>,

    /// The lowest level that is logged.
    pub loglevel: LogLevel,
    /// The log file; none: the standard output.
    pub logfile: Option<PathBuf>,
    /// The layout of log lines.
    pub log_format: LogFormat,
    /// The form of timestamps in the log.
    pub log_timestamp_format: LogTimestampFormat,
    /// Whether data that clients have sent is kept out of the log.
    pub hide_user_data_from_log: bool,
    /// Whether log lines go to syslog too.
    pub syslog_enabled: bool,
    /// The name of this program in syslog.
    pub syslog_ident: String,
    /// The facility of log lines in syslog.
    pub syslog_facility: SyslogFacility,
    /// Whether the logo is logged even without a terminal.
    pub always_show_logo: bool,
    /// Microseconds from which a command is logged as slow; negative: never.
    pub commandlog_execution_slower_than: i64,
    /// Number of slow commands kept in the command log.
    pub commandlog_slow_execution_max_len: u64,
    /// Mean number of batches per batch with a traced request; 0: no tracing.
    pub latency_profile_interval: u32,
    /// Bytes from which a request is logged as large; negative: never.
    pub commandlog_request_larger_than: i64,
    /// Number of large requests kept in the command log.
    pub commandlog_large_request_max_len: u64,
    /// Bytes from which a reply is logged as large; negative: never.
    pub commandlog_reply_larger_than: i64,
    /// Number of large replies kept in the command log.
    pub commandlog_large_reply_max_len: u64,
    /// The events on keys that are published.
    pub notify_keyspace_events: EventClasses,
    /// Whether each command has a latency histogram.
    pub latency_tracking: bool,
    /// The percentiles in INFO latencystats, as the setting spells them.
    pub latency_tracking_info_percentiles: Vec<String>,
    /// Milliseconds from which on a running script makes the server busy; 0: never.
    pub busy_reply_threshold: u64,
    /// Whether scripts have `getfenv` and `setfenv`.
    pub lua_enable_insecure_api: bool,
    /// Milliseconds from which a latency event is recorded; 0: off.
    pub latency_monitor_threshold: u64,

    /// Number of databases.
    pub databases: u32,
    /// Housekeeping rounds per second, 1 to 500.
    pub hz: u32,
    /// Whether the server detaches from the terminal.
    pub daemonize: bool,
    /// The file for the process id.
    pub pidfile: Option<PathBuf>,
    /// The init system that watches the process.
    pub supervised: Supervised,
    /// Whether the server sets the process's title.
    pub set_proc_title: bool,
    /// The template of the title, with [`TITLE_WORDS`] in braces.
    pub proc_title_template: String,
    /// Which connections may change protected settings.
    pub enable_protected_configs: Permission,
    /// Which connections may use DEBUG.
    pub enable_debug_command: Permission,
    /// Which connections may use MODULE.
    pub enable_module_command: Permission,
    /// Whether replies say Redis instead of this server's name.
    pub extended_redis_compatibility: bool,

    /// Whether the server sets its score for the kernel's out-of-memory killer.
    pub oom_score_adj: OomScoreAdj,
    /// The scores, from -2000 to 2000 each.
    pub oom_score_adj_values: OomScoreValues,
    /// Whether a crash is reported in the log.
    pub crash_log_enabled: bool,
    /// Whether a panic ends the process by exit instead of a signal.
    pub use_exit_on_panic: bool,
    /// Milliseconds without a turn after which a shard's stack is logged; 0: never.
    pub watchdog_period: u32,
    /// The flags of SHUTDOWN that SIGINT implies.
    pub shutdown_on_sigint: Vec<String>,
    /// The flags of SHUTDOWN that SIGTERM implies.
    pub shutdown_on_sigterm: Vec<String>,
    /// The cores of the shards, in ranges; empty: all.
    pub server_cpulist: String,
    /// The cores of the threads of the offload pool, in ranges; empty: all.
    pub bio_cpulist: String,
    /// The cores of the thread that writes a data file, in ranges; empty: all.
    pub bgsave_cpulist: String,
    /// The cores of the thread that writes the base of an append-only file; empty: all.
    pub aof_rewrite_cpulist: String,

    /// When snapshots are taken automatically.
    pub save: Vec<SavePoint>,
    /// Whether there is an append-only file.
    pub appendonly: bool,
    /// Prefix of the names of the append-only files.
    pub appendfilename: String,
    /// Folder of the append-only files, in `dir`.
    pub appenddirname: String,
    /// When writes to the append-only file become durable.
    pub appendfsync: AppendFsync,
    /// Whether the append-only file is not synced while a snapshot is written.
    pub no_appendfsync_on_rewrite: bool,
    /// Whether a base is synced while it is written.
    pub aof_rewrite_incremental_fsync: bool,
    /// Whether an append-only file that ends within a command is loaded up to there.
    pub aof_load_truncated: bool,
    /// Whether a base has the form of a snapshot; otherwise it has commands.
    pub aof_use_rdb_preamble: bool,
    /// Whether the append-only file has annotations of the time.
    pub aof_timestamp_enabled: bool,
    /// Whether replaced files stay.
    pub aof_disable_auto_gc: bool,
    /// Growth of the append-only file in percent that starts a rewrite; 0: never.
    pub auto_aof_rewrite_percentage: u32,
    /// Bytes below which the append-only file is not rewritten.
    pub auto_aof_rewrite_min_size: u64,
    /// The folder of data files, as an absolute path; also the process's working directory.
    pub dir: PathBuf,
    /// The file name of the snapshot.
    pub dbfilename: String,
    /// Whether strings in a snapshot are compressed.
    pub rdbcompression: bool,
    /// Which versions of snapshots and payloads are accepted.
    pub rdb_version_check: RdbVersionCheck,
    /// Whether a snapshot ends with a checksum.
    pub rdbchecksum: bool,
    /// Whether writes are refused after a snapshot in the background has failed.
    pub stop_writes_on_bgsave_error: bool,
    /// Whether files are synced piece by piece while they are written.
    pub rdb_save_incremental_fsync: bool,
    /// Microseconds that the writer of a file sleeps for each key, for tests. If negative, the
    /// number of keys per microsecond.
    pub rdb_key_save_delay: i64,

    /// Bytes of the feed that are kept for replicas that reconnect.
    pub repl_backlog_size: u64,
    /// Seconds without replicas after which the backlog is freed; 0: never.
    pub repl_backlog_ttl: u64,
    /// Seconds between two PINGs to the replicas.
    pub repl_ping_replica_period: u32,
    /// Seconds of silence after which a replica is disconnected.
    pub repl_timeout: u32,
    /// Whether the kernel may delay small parts of the feed.
    pub repl_disable_tcp_nodelay: bool,
    /// Seconds that a snapshot waits for more replicas.
    pub repl_diskless_sync_delay: u32,
    /// Number of waiting replicas that ends `repl_diskless_sync_delay`; 0: none does.
    pub repl_diskless_sync_max_replicas: u32,
    /// Writes are refused with fewer good replicas than this; 0: never.
    pub min_replicas_to_write: u32,
    /// Largest number of silent seconds of a good replica; 0 disables `min_replicas_to_write`.
    pub min_replicas_max_lag: u32,
    /// Whether expired keys stay until the importing client deletes them.
    pub import_mode: bool,

    /// Whether the process is a node of a cluster.
    pub cluster_enabled: bool,
    /// Whether each shard listens on a port of its own, and is a node to clients of a cluster.
    pub cluster_shard_ports: bool,
    /// Whether CPU and bytes of commands are counted by hash slot.
    pub cluster_slot_stats_enabled: bool,
    /// Number of databases of a node of a cluster.
    pub cluster_databases: u32,
    /// Port of the cluster bus; 0: the data port plus 10,000.
    pub cluster_port: u16,
    /// Name of the file of nodes, in `dir`.
    pub cluster_config_file: String,
    /// Whether a change of the cluster is in effect even if the file of nodes cannot be written.
    pub cluster_config_save_behavior: SaveBehavior,
    /// Whether the cluster is down while a slot has no owner.
    pub cluster_require_full_coverage: bool,
    /// Whether commands that only read are served while the cluster is down.
    pub cluster_allow_reads_when_down: bool,
    /// Whether sharded pub/sub is served while the cluster is down.
    pub cluster_allow_pubsubshard_when_down: bool,
    /// Address that this node announces; empty: not known.
    pub cluster_announce_ip: String,
    /// Address for clients that have connected by IPv4; empty: `cluster_announce_ip`.
    pub cluster_announce_client_ipv4: String,
    /// Address for clients that have connected by IPv6; empty: `cluster_announce_ip`.
    pub cluster_announce_client_ipv6: String,
    /// Host name that this node announces.
    pub cluster_announce_hostname: String,
    /// Name of this node in logs.
    pub cluster_announce_human_nodename: String,
    /// Port that this node announces; 0: `port`.
    pub cluster_announce_port: u16,
    /// Port of TLS that this node announces.
    pub cluster_announce_tls_port: u16,
    /// Port of the cluster bus that this node announces; 0: the port of the bus.
    pub cluster_announce_bus_port: u16,
    /// Port that clients are told; 0: `cluster_announce_port`.
    pub cluster_announce_client_port: u16,
    /// Port of TLS that clients are told; 0: `cluster_announce_tls_port`.
    pub cluster_announce_client_tls_port: u16,
    /// What clients are told as the endpoint of a node.
    pub cluster_preferred_endpoint_type: EndpointType,

    /// The config file, as an absolute path.
    pub config_file: Option<PathBuf>,
    /// The arguments of each `user` directive.
    pub users: Vec<Vec<Vec<u8>>>,
    /// The old and new names of each `rename-command` directive; an empty new name removes the
    /// command.
    pub renamed_commands: Vec<(Vec<u8>, Vec<u8>)>,

    /// The values of settings without effect, by name.
    accepted: BTreeMap<&'static str, Value>,
}

/// Returns all cards.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    let areas = [
        shards::SETTINGS,
        network::SETTINGS,
        tls::SETTINGS,
        clients::SETTINGS,
        cluster::SETTINGS,
        memory::SETTINGS,
        encodings::SETTINGS,
        events::SETTINGS,
        http::SETTINGS,
        log::SETTINGS,
        process::SETTINGS,
        persistence::SETTINGS,
        aof::SETTINGS,
        replication::SETTINGS,
        accepted::SETTINGS,
    ];
    areas.into_iter().flatten()
}

/// A setting, with the name by which it was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named {
    /// The card.
    pub setting: &'static Setting,
    /// The name or alias that was used, in lower case.
    pub name: &'static str,
}

/// Finds a setting by name or alias, in any case.
pub(crate) fn find(name: &[u8]) -> Option<Named> {
    settings().find_map(|setting| {
        let is_it = |known: &&str| !known.is_empty() && name.eq_ignore_ascii_case(known.as_bytes());
        let name = [setting.name, setting.alias].into_iter().find(is_it)?;
        Some(Named { setting, name })
    })
}

impl Default for Config {
    fn default() -> Config {
        let mut config = Config::blank();
        for setting in settings() {
            setting.assign(&mut config, setting.default_value());
        }
        config
    }
}

impl Config {
    /// Returns the value of a setting by its exact name, in the form that CONFIG GET shows.
    pub fn text(&self, name: &str) -> Option<Vec<u8>> {
        find(name.as_bytes()).map(|named| named.setting.text(self))
    }

    /// Returns the number of databases.
    pub fn database_count(&self) -> u32 {
        if self.cluster_enabled { self.cluster_databases } else { self.databases }
    }

    /// Returns whether commands about the cluster are answered.
    pub fn has_nodes(&self) -> bool {
        self.cluster_enabled || self.cluster_shard_ports
    }

    /// Whether snapshots and payloads of unknown versions are accepted too.
    pub fn reads_any_rdb_version(&self) -> bool {
        self.rdb_version_check == RdbVersionCheck::Relaxed
    }

    /// Returns the settings that differ from their default although they have no effect, with the
    /// reason.
    pub fn without_effect(&self) -> Vec<(&'static str, &'static str)> {
        let differs = |setting: &&Setting| setting.value(self) != setting.default_value();
        let reason = |setting: &Setting| Some((setting.name, setting.without_effect()?));
        settings().filter(differs).filter_map(reason).collect()
    }

    /// Returns the port that the server is known by: the plain one if there is one, otherwise the
    /// port of TLS.
    pub fn shown_port(&self) -> u16 {
        if self.port != 0 { self.port } else { self.tls_port }
    }

    /// Whether anything needs the certificates of TLS.
    pub fn uses_tls(&self) -> bool {
        self.tls_port != 0 || self.tls_replication || self.tls_cluster
    }

    /// Clamps values that Valkey accepts but does not keep.
    fn settle(&mut self) {
        self.hz = self.hz.clamp(process::HZ_MIN, process::HZ_MAX);
        self.repl_backlog_size = self.repl_backlog_size.max(replication::BACKLOG_BYTES_MIN);
        if self.oom_score_adj == OomScoreAdj::Relative {
            self.oom_score_adj = OomScoreAdj::Yes;
        }
    }
}
