//! One shard's board: what it has done and what it holds.

use super::command_log::Ring;
use super::counter::{Counter, Gauge, Peak};
use super::errors::Errors;
use super::latency::Latencies;
use super::stages::Stages;

/// Declares the counters of a board, and their plain sums over boards.
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
    /// Commands run, those inside transactions too.
    commands_processed,
    /// Connections that the acceptor has seen.
    connections_received,
    /// Connections that became clients.
    connections_accepted,
    /// Connections turned away because of `maxclients`.
    connections_rejected,
    /// Bytes from clients.
    net_input_bytes,
    /// Bytes to clients.
    net_output_bytes,
    /// Reads that found their key.
    keyspace_hits,
    /// Reads that did not.
    keyspace_misses,
    /// Expired keys met by a command.
    expired_lazy,
    /// Expired keys found by housekeeping.
    expired_active,
    /// Expired fields of hashes.
    expired_fields,
    /// Error replies.
    error_replies,
    /// Changes made to the keyspace.
    changes,
    /// Turns of the shard's loop.
    turns,
    /// Turns that slept in the kernel.
    parks,
    /// Doorbells rung at other shards.
    doorbells_rung,
    /// Times that the partition of a parked shard was borrowed.
    borrows,
    /// Batches whose keys were all at home.
    batches_local,
    /// Batches with a part on another shard.
    batches_remote,
    /// Envelopes put into other shards' inboxes.
    envelopes_posted,
    /// Times that a connection waited because another shard's inbox was full.
    stalled_on_credits,
    /// Reads from sockets that brought bytes.
    reads,
    /// Sends that were handed to the kernel.
    writes,
    /// Bytes to replicas, which count as bytes to clients too.
    replica_output_bytes,
    /// Turns that did something, if only housekeeping.
    cycles,
    /// Nanoseconds of work in these.
    cycle_ns_sum,
    /// Nanoseconds of housekeeping in them.
    tick_ns_sum,
    /// Nanoseconds of removing what is due and freeing what was removed.
    expire_ns_sum,
    /// Values freed bit by bit.
    freed_values,
    /// Passwords that were wrong.
    auth_failures,
    /// Clients dropped because they did not read their replies.
    output_limit_disconnections,
    /// Clients dropped because all together took too much memory.
    clients_evicted,
    /// Clients dropped because their query grew too large.
    query_limit_disconnections,
}

macro_rules! gauges {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// What one shard holds now.
        #[derive(Debug, Default)]
        pub struct GaugeBoard {
            $($(#[$doc])+ pub $name: Gauge,)+
        }

        /// What all shards hold now.
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
    /// Clients of this shard that watch keys, wherever those are.
    clients_watching,
    /// Keys of this shard that are watched.
    keys_watched,
    /// Keys of this shard that are waited for.
    keys_awaited,
    /// Those of them that somebody waits for who wants to know when they are gone.
    keys_awaited_gone,
    /// Bytes that clients take, replicas left out.
    normal_client_bytes,
    /// Bytes that the connections of replicas take.
    replica_client_bytes,
    /// Clients that wait for keys for a limited time.
    clients_in_timeout,
    /// Envelopes waiting in the shard's inbox when it last looked.
    inbox_depth,
    /// Slots that the shard owns.
    slots_owned,
    /// Values that wait to be freed bit by bit.
    unfreed_values,
}

/// The gauges of one numbered database on one shard.
#[derive(Debug, Default)]
pub struct DatabaseGauges {
    /// Keys.
    pub keys: Gauge,
    /// Keys with a time to live.
    pub volatile: Gauge,
    /// Keys with fields that have a time to live.
    pub with_moments: Gauge,
    /// Milliseconds that keys with a time to live have left, on average.
    pub ttl_ms: Gauge,
}

/// The counters of one command on one shard.
#[derive(Debug, Default)]
pub struct CommandCounters {
    /// Runs.
    pub calls: Counter,
    /// Nanoseconds in them.
    pub ns: Counter,
    /// Refused before they ran.
    pub rejected: Counter,
    /// Ran and ended in an error reply.
    pub failed: Counter,
}

/// What one shard records. It alone writes, on its own thread; anybody reads.
///
/// Aligned to two cache lines, since neighbouring lines are fetched in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub struct Board {
    /// What has been done.
    pub counters: Counters,
    /// What is held now.
    pub gauges: GaugeBoard,
    /// The longest turn, in nanoseconds of work.
    pub turn_ns: Peak,
    /// The deepest inbox, in envelopes.
    pub inbox: Peak,
    /// The most commands of one turn.
    pub turn_commands: Peak,
    /// The class of the largest client that may be evicted, from 1; 0: there is none.
    pub evictable_class: Gauge,
    /// The most bytes of input that one client had lately.
    pub input_peak_bytes: Gauge,
    /// The same of output.
    pub output_peak_bytes: Gauge,
    /// By database number.
    pub databases: Box<[DatabaseGauges]>,
    /// By the command's index.
    pub commands: Box<[CommandCounters]>,
    /// Latency histograms by the command's index.
    pub latencies: Latencies,
    /// How long traced requests stayed where.
    pub stages: Stages,
    /// Error replies by their first word.
    pub errors: Errors,
    /// Commands that are remembered, by [`super::LogKind`].
    pub(super) log: [Ring; 3],
}

const _: () = assert!(align_of::<Board>() == 128);

impl Board {
    /// An empty board for so many databases and commands.
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

    /// Counts an error reply; `text` is what follows its `-`.
    pub fn error_reply(&self, text: &[u8]) {
        self.counters.error_replies.add(1);
        self.errors.count(text);
    }
}
