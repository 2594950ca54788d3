//! The board of one shard: its counters, gauges and histograms.

use super::command_log::Ring;
use super::counter::{Counter, Gauge, Peak};
use super::errors::{ErrorOrigin, Errors};
use super::latency::Latencies;
use super::stages::Stages;

/// Declares the counters of a board, and their sums over boards.
macro_rules! counters {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// Counters of one shard since its start.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])+ pub $name: Counter,)+
        }

        /// Counters of all shards since the last reset.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Totals {
            $($(#[$doc])+ pub $name: u64,)+
        }

        impl Totals {
            pub(super) fn add(&mut self, counters: &Counters) {
                $(self.$name = self.$name.wrapping_add(counters.$name.get());)+
            }

            pub(super) fn subtract(&mut self, earlier: &Totals) {
                $(self.$name = self.$name.wrapping_sub(earlier.$name);)+
            }
        }
    };
}

counters! {
    /// Commands run, including commands inside transactions.
    commands_processed,
    /// Connections accepted from the listening sockets.
    connections_received,
    /// Connections that became clients.
    connections_accepted,
    /// Connections refused because of `maxclients`.
    connections_rejected,
    /// Bytes received from clients.
    net_input_bytes,
    /// Bytes sent to clients.
    net_output_bytes,
    /// Reads that found their key.
    keyspace_hits,
    /// Reads that did not find their key.
    keyspace_misses,
    /// Expired keys found by a command.
    expired_lazy,
    /// Expired keys found by housekeeping.
    expired_active,
    /// Expired fields of hashes, found either way.
    expired_fields,
    /// Error replies.
    error_replies,
    /// Changes of the keyspace.
    changes,
    /// Turns of the shard's loop.
    turns,
    /// Turns that slept in the kernel.
    parks,
    /// Doorbells rung at other shards.
    doorbells_rung,
    /// Times that the partition of a parked shard was borrowed.
    borrows,
    /// Batches whose keys were all on this shard.
    batches_local,
    /// Batches with a part on another shard.
    batches_remote,
    /// Envelopes put into other shards' inboxes.
    envelopes_posted,
    /// Times that a connection waited because another shard's inbox was full.
    stalled_on_credits,
    /// Socket reads that returned bytes.
    reads,
    /// Sends handed to the kernel.
    writes,
    /// Bytes sent to replicas; `net_output_bytes` includes them.
    replica_output_bytes,
    /// Turns that did some work, even if only housekeeping.
    cycles,
    /// Nanoseconds of work in `cycles`.
    cycle_ns_sum,
    /// Nanoseconds of housekeeping in `cycles`.
    tick_ns_sum,
    /// Nanoseconds of deleting expired keys and freeing deleted values.
    expire_ns_sum,
    /// Keys evicted because memory was full.
    evicted,
    /// Values freed in slices.
    freed_values,
    /// Commands that have removed all keys.
    flushes,
    /// Entries that compactions have moved.
    entries_moved,
    /// Entries that compactions have passed and not moved.
    entries_not_moved,
    /// Nanoseconds of compactions.
    compact_ns_sum,
    /// Wrong passwords.
    auth_failures,
    /// Certificates of clients that name no user.
    certificates_denied,
    /// Commands in forbidden databases.
    databases_denied,
    /// Forbidden commands.
    commands_denied,
    /// Commands on forbidden keys.
    keys_denied,
    /// Commands on forbidden channels.
    channels_denied,
    /// Clients disconnected because they did not read their replies.
    output_limit_disconnections,
    /// Clients disconnected because all clients together used too much memory.
    clients_evicted,
    /// Clients disconnected because their query grew too large.
    query_limit_disconnections,
}

macro_rules! gauges {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// Gauges of one shard.
        #[derive(Debug, Default)]
        pub struct GaugeBoard {
            $($(#[$doc])+ pub $name: Gauge,)+
        }

        /// Gauges of all shards.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Gauges {
            $($(#[$doc])+ pub $name: i64,)+
        }

        impl Gauges {
            pub(super) fn add(&mut self, board: &GaugeBoard) {
                $(self.$name = self.$name.wrapping_add(board.$name.get());)+
            }
        }
    };
}

gauges! {
    /// Connected clients.
    clients,
    /// Clients blocked on keys.
    clients_blocked,
    /// Clients of this shard that watch keys of any shard.
    clients_watching,
    /// Keys of this shard that are watched.
    keys_watched,
    /// Keys of this shard that clients are blocked on.
    keys_awaited,
    /// Keys in `keys_awaited` with a client that also waits for the key's removal.
    keys_awaited_gone,
    /// Keys of this shard that are tracked for clients.
    tracked_keys,
    /// Clients of all tracked keys, each counted once a key.
    tracked_readers,
    /// Bytes that clients without replicas use.
    normal_client_bytes,
    /// Bytes that the connections of replicas use.
    replica_client_bytes,
    /// Clients blocked on keys with a timeout.
    clients_in_timeout,
    /// Envelopes in the shard's inbox at its last drain.
    inbox_depth,
    /// Hash slots that the shard owns.
    slots_owned,
    /// Values that wait to be freed in slices.
    unfreed_values,
    /// Whether the shard compacts memory: 1 or 0.
    compacting,
    /// Bytes of the Lua state for scripts.
    eval_vm_bytes,
    /// Bytes of the Lua state for functions.
    functions_vm_bytes,
}

/// The gauges of one database on one shard.
#[derive(Debug, Default)]
pub struct DatabaseGauges {
    /// Number of keys.
    pub keys: Gauge,
    /// Number of keys with a time to live.
    pub volatile: Gauge,
    /// Number of keys with fields that have a time to live.
    pub with_moments: Gauge,
    /// Bytes of the tables that lead to the keys.
    pub table_bytes: Gauge,
    /// Average time to live in milliseconds, over the keys that have one.
    pub ttl_ms: Gauge,
}

/// The counters of one command on one shard.
#[derive(Debug, Default)]
pub struct CommandCounters {
    /// Number of runs.
    pub calls: Counter,
    /// Nanoseconds of all runs.
    pub ns: Counter,
    /// Number of calls refused before they ran.
    pub rejected: Counter,
    /// Number of runs that ended in an error reply.
    pub failed: Counter,
}

/// The records of one shard. Only the shard writes it, on its own thread; any thread may read it.
///
/// Aligned to two cache lines, because the processor fetches neighbouring lines in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub struct Board {
    /// Counters since the start.
    pub counters: Counters,
    /// Gauges of the present state.
    pub gauges: GaugeBoard,
    /// The longest turn, in nanoseconds of work.
    pub turn_ns: Peak,
    /// The deepest inbox, in envelopes.
    pub inbox: Peak,
    /// The largest number of commands in one turn.
    pub turn_commands: Peak,
    /// The class of the largest client that may be evicted, from 1; 0: there is none; -1: the shard
    /// knows no limit.
    pub evictable_class: Gauge,
    /// The largest recent size of one client's input, in bytes.
    pub input_peak_bytes: Gauge,
    /// The largest recent size of one client's output, in bytes.
    pub output_peak_bytes: Gauge,
    /// Gauges by database number.
    pub databases: Box<[DatabaseGauges]>,
    /// Counters by the command's index.
    pub commands: Box<[CommandCounters]>,
    /// Latency histograms by the command's index.
    pub latencies: Latencies,
    /// Durations of traced requests by stage.
    pub stages: Stages,
    /// Error replies by their first word.
    pub errors: Errors,
    /// Entries of the command log, by [`super::LogKind`].
    pub(super) log: [Ring; 3],
}

const _: () = assert!(align_of::<Board>() == 128);

impl Board {
    /// Creates an empty board for this number of databases and commands.
    pub fn new(databases: usize, commands: usize) -> Board {
        assert!(databases > 0, "there is always a database 0");
        Board {
            counters: Counters::default(),
            gauges: GaugeBoard::default(),
            turn_ns: Peak::default(),
            inbox: Peak::default(),
            turn_commands: Peak::default(),
            evictable_class: Gauge::default(),
            input_peak_bytes: Gauge::default(),
            output_peak_bytes: Gauge::default(),
            databases: (0..databases).map(|_| DatabaseGauges::default()).collect(),
            commands: (0..commands).map(|_| CommandCounters::default()).collect(),
            latencies: Latencies::new(commands),
            stages: Stages::new(commands),
            errors: Errors::default(),
            log: Default::default(),
        }
    }

    /// Counts an error reply; `text` follows its `-`.
    pub fn error_reply(&self, text: &[u8]) {
        self.counters.error_replies.add(1);
        self.errors.count(text, ErrorOrigin::Command);
    }

    /// Counts an error that a script has made.
    pub fn script_error(&self, text: &[u8]) {
        self.counters.error_replies.add(1);
        self.errors.count(text, ErrorOrigin::Script);
    }
}
