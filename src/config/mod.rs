//! The settings: one card each, an immutable snapshot of them all, and the cell that publishes it.
//!
//! Must not know: who acts on a setting. Only std's file system is touched, to see whether a
//! directory exists and to rewrite the config file.
//!
//! ```text
//!   argv, config file --load--> Config --ConfigCell::new--> ConfigCell --get--> Arc<Config>
//!                                          CONFIG SET --set--^   (version + 1, shards poll it)
//! ```

mod accepted;
mod card;
mod cell;
mod choice;
mod clients;
mod encodings;
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
mod words;

#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;

pub use card::{Applied, Kind, OnChange, Setting, Store, Value};
pub use cell::{Caller, Changes, ConfigCell, ConfigError, FollowUp};
pub use choice::{
    IoDriver, LogFormat, LogLevel, LogTimestampFormat, MaxmemoryPolicy, OomScoreAdj, Permission,
    RdbVersionCheck, Supervised, SyslogFacility,
};
pub use clients::{OutputLimit, OutputLimits};
pub use load::{FatalConfigError, Files, VERSION, expand_pattern, version_line};
pub use memory::HASH_SEED_BYTES_MAX;
pub use network::BIND_ADDRESSES_MAX;
pub use persistence::SavePoint;
pub use process::{OomScoreValues, TITLE_WORDS};
pub use rewrite::rewrite_file;
pub use shards::SHARDS_MAX;
pub use words::quote;

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Declares [`Config`], and a blank one for the cards to fill in.
macro_rules! config {
    ($($(#[$doc:meta])* $visible:vis $field:ident: $type:ty,)+) => {
        /// All settings at one moment. Fields are named as their settings; units and bounds are
        /// theirs.
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
    /// How many shards; 0 is one per core.
    pub shards: u32,
    /// Whether each shard keeps to one core.
    pub pin_shards: bool,
    /// Which driver moves the bytes.
    pub io_driver: IoDriver,

    /// The TCP port; 0 is none.
    pub port: u16,
    /// Addresses to listen on; `*` is all, a leading `-` lets one fail.
    pub bind: Vec<String>,
    /// Where to listen for local connections.
    pub unixsocket: Option<PathBuf>,
    /// The mode of that socket; 0 leaves it to the umask.
    pub unixsocketperm: u32,
    /// The group that it belongs to; empty leaves it to the process's.
    pub unixsocketgroup: String,
    /// Connections that may wait to be accepted.
    pub tcp_backlog: u32,
    /// Seconds of silence until the kernel asks whether the peer lives; 0 never.
    pub tcp_keepalive: u32,
    /// Whether a server without a password serves this machine only.
    pub protected_mode: bool,

    /// Connections at once.
    pub maxclients: u32,
    /// Seconds after which an idle client is dropped; 0 never.
    pub timeout: u32,
    /// Bytes of the longest argument.
    pub proto_max_bulk_len: u64,
    /// Bytes that a client may have waiting to be run.
    pub client_query_buffer_limit: u64,
    /// Bytes that a client may leave unread.
    pub client_output_buffer_limit: OutputLimits,
    /// Bytes that all clients together may take; negative: a percentage of `maxmemory`; 0 is no
    /// limit.
    pub maxmemory_clients: i64,
    /// The password of the default user; empty is none.
    pub requirepass: Vec<u8>,

    /// Bytes that data may take; 0 is no limit.
    pub maxmemory: u64,
    /// What goes when they are taken.
    pub maxmemory_policy: MaxmemoryPolicy,
    /// How much rarer each further step of a key's use counter is.
    pub lfu_log_factor: u32,
    /// Minutes after which an unused key's counter loses one; 0 never.
    pub lfu_decay_time: u32,
    /// The seed of all hashes; empty is a random one.
    pub hash_seed: Vec<u8>,
    /// How eagerly expired keys are looked for, 1 to 10.
    pub active_expire_effort: u32,
    /// Free in slices what is evicted.
    pub lazyfree_lazy_eviction: bool,
    /// Free in slices what has expired.
    pub lazyfree_lazy_expire: bool,
    /// Free in slices what is overwritten.
    pub lazyfree_lazy_server_del: bool,
    /// Free in slices what DEL deletes.
    pub lazyfree_lazy_user_del: bool,
    /// Free in slices what FLUSHALL deletes.
    pub lazyfree_lazy_user_flush: bool,
    /// Whether idle time goes into table growth.
    pub activerehashing: bool,

    /// Fields of a hash up to which it is kept compact.
    pub hash_max_listpack_entries: u64,
    /// Bytes of a field or value up to which its hash is kept compact.
    pub hash_max_listpack_value: u64,
    /// Members of a set of integers up to which it is kept compact.
    pub set_max_intset_entries: u64,
    /// Members of another set up to which it is kept compact.
    pub set_max_listpack_entries: u64,
    /// Bytes of a member up to which its set is kept compact.
    pub set_max_listpack_value: u64,
    /// Members of a sorted set up to which it is kept compact.
    pub zset_max_listpack_entries: u64,
    /// Bytes of a member up to which its sorted set is kept compact.
    pub zset_max_listpack_value: u64,
    /// Items of a node of a list; negative: a class of bytes.
    pub list_max_listpack_size: i32,
    /// Bytes of a node of a stream.
    pub stream_node_max_bytes: u64,
    /// Entries of a node of a stream; 0 is no limit.
    pub stream_node_max_entries: u64,
    /// Bytes of a HyperLogLog up to which it is kept sparse.
    pub hll_sparse_max_bytes: u64,

    /// The TCP port of the metrics and the page; 0 is none.
    pub http_port: u16,
    /// Addresses to serve them on, written as those of `bind`.
    pub http_bind: Vec<String>,

    /// The least level that is logged.
    pub loglevel: LogLevel,
    /// Where to; none is the standard output.
    pub logfile: Option<PathBuf>,
    /// How its lines are laid out.
    pub log_format: LogFormat,
    /// How they tell the time.
    pub log_timestamp_format: LogTimestampFormat,
    /// Whether nothing that clients have sent gets into the log.
    pub hide_user_data_from_log: bool,
    /// Whether lines go to syslog too.
    pub syslog_enabled: bool,
    /// What they are marked with there.
    pub syslog_ident: String,
    /// What they are filed under there.
    pub syslog_facility: SyslogFacility,
    /// Show the logo even if nobody looks.
    pub always_show_logo: bool,
    /// Microseconds from which on a command is slow; negative never.
    pub commandlog_execution_slower_than: i64,
    /// Slow commands that are remembered.
    pub commandlog_slow_execution_max_len: u64,
    /// One of so many batches has a request that is traced through its stages, in the mean; 0 none.
    pub latency_profile_interval: u32,
    /// Bytes from which on a request is large; negative never.
    pub commandlog_request_larger_than: i64,
    /// Large requests that are remembered.
    pub commandlog_large_request_max_len: u64,
    /// Bytes from which on a reply is large; negative never.
    pub commandlog_reply_larger_than: i64,
    /// Large replies that are remembered.
    pub commandlog_large_reply_max_len: u64,
    /// Whether each command has a latency histogram.
    pub latency_tracking: bool,
    /// The percentiles in INFO latencystats, as they are written there.
    pub latency_tracking_info_percentiles: Vec<String>,
    /// Milliseconds from which on a latency event is kept; 0 is off.
    pub latency_monitor_threshold: u64,

    /// Numbered databases.
    pub databases: u32,
    /// Housekeeping rounds per second, 1 to 500.
    pub hz: u32,
    /// Run in the background.
    pub daemonize: bool,
    /// Where to write the process id.
    pub pidfile: Option<PathBuf>,
    /// Which init system watches.
    pub supervised: Supervised,
    /// Whether the process shows a title of its own.
    pub set_proc_title: bool,
    /// That title, with [`TITLE_WORDS`] in braces.
    pub proc_title_template: String,
    /// Who may change protected settings.
    pub enable_protected_configs: Permission,
    /// Who may use DEBUG.
    pub enable_debug_command: Permission,
    /// Who may use MODULE.
    pub enable_module_command: Permission,
    /// Whether replies name Redis where they would name this server.
    pub extended_redis_compatibility: bool,

    /// Whether the kernel is told how soon to end this process when memory runs out.
    pub oom_score_adj: OomScoreAdj,
    /// How soon, -2000 to 2000 each.
    pub oom_score_adj_values: OomScoreValues,
    /// Whether a crash is reported in the log.
    pub crash_log_enabled: bool,
    /// Whether a panic ends the process by exit, and not by a signal.
    pub use_exit_on_panic: bool,
    /// Milliseconds without a turn after which a shard's stack is logged; 0 never.
    pub watchdog_period: u32,
    /// The flags of SHUTDOWN that SIGINT stands for.
    pub shutdown_on_sigint: Vec<String>,
    /// The same of SIGTERM.
    pub shutdown_on_sigterm: Vec<String>,
    /// The cores that shards may use, in ranges; empty is all.
    pub server_cpulist: String,
    /// The same for the threads that run long commands.
    pub bio_cpulist: String,

    /// When snapshots are due.
    pub save: Vec<SavePoint>,
    /// Whether there is an append-only file.
    pub appendonly: bool,
    /// Where files are, as an absolute path; the process's working directory.
    pub dir: PathBuf,
    /// The name of the snapshot.
    pub dbfilename: String,
    /// Whether strings of a snapshot are packed.
    pub rdbcompression: bool,
    /// Which versions of snapshots and payloads are read.
    pub rdb_version_check: RdbVersionCheck,
    /// Whether a snapshot ends with a checksum.
    pub rdbchecksum: bool,

    /// Bytes of the feed that are kept for replicas that come back.
    pub repl_backlog_size: u64,
    /// Seconds without replicas until those bytes are given up; 0 never.
    pub repl_backlog_ttl: u64,
    /// Seconds between two PINGs to the replicas.
    pub repl_ping_replica_period: u32,
    /// Seconds of silence after which a replica is dropped.
    pub repl_timeout: u32,
    /// Whether the kernel may hold small pieces of the feed back.
    pub repl_disable_tcp_nodelay: bool,
    /// Seconds that a snapshot waits for more replicas.
    pub repl_diskless_sync_delay: u32,
    /// So many waiting replicas end that delay; 0 is no such number.
    pub repl_diskless_sync_max_replicas: u32,
    /// Writes are refused with fewer good replicas; 0 never.
    pub min_replicas_to_write: u32,
    /// Seconds of silence up to which a replica is good; 0 turns that refusal off.
    pub min_replicas_max_lag: u32,
    /// Whether keys that are due wait for the client that imports them to remove them.
    pub import_mode: bool,

    /// The config file, as an absolute path.
    pub config_file: Option<PathBuf>,
    /// The words of each `user` directive, after `user`.
    pub users: Vec<Vec<Vec<u8>>>,
    /// The old and new names of each `rename-command` directive; an empty new name removes it.
    pub renamed_commands: Vec<(Vec<u8>, Vec<u8>)>,

    /// The values of settings that nothing acts on, by name.
    accepted: BTreeMap<&'static str, Value>,
}

/// All cards.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    let areas = [
        shards::SETTINGS,
        network::SETTINGS,
        clients::SETTINGS,
        memory::SETTINGS,
        encodings::SETTINGS,
        http::SETTINGS,
        log::SETTINGS,
        process::SETTINGS,
        persistence::SETTINGS,
        replication::SETTINGS,
        accepted::SETTINGS,
    ];
    areas.into_iter().flatten()
}

/// A setting as somebody named it.
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
    /// The value of any setting by its exact name, in the form that CONFIG GET shows.
    pub fn text(&self, name: &str) -> Option<Vec<u8>> {
        find(name.as_bytes()).map(|named| named.setting.text(self))
    }

    /// Whether snapshots and payloads of versions that are not known are read too.
    pub fn reads_any_rdb_version(&self) -> bool {
        self.rdb_version_check == RdbVersionCheck::Relaxed
    }

    /// Settings that differ from their default although nothing acts on them, with the reason.
    pub fn without_effect(&self) -> Vec<(&'static str, &'static str)> {
        let differs = |setting: &&Setting| setting.value(self) != setting.default_value();
        let reason = |setting: &Setting| Some((setting.name, setting.without_effect()?));
        settings().filter(differs).filter_map(reason).collect()
    }

    /// Brings values that Valkey takes but does not keep into their bounds.
    fn settle(&mut self) {
        self.hz = self.hz.clamp(process::HZ_MIN, process::HZ_MAX);
        self.repl_backlog_size = self.repl_backlog_size.max(replication::BACKLOG_BYTES_MIN);
        if self.oom_score_adj == OomScoreAdj::Relative {
            self.oom_score_adj = OomScoreAdj::Yes;
        }
    }
}
