//! State that all shards of a process share and any thread may read: settings, boards, the command
//! table.

use super::aof::AofState;
use super::awaited::Awaited;
use super::client_homes::ClientHomes;
use super::functions::Functions;
use super::loading::{LoadProgress, LoadStage};
use super::pause::Pause;
use super::persistence::PersistenceFacts;
use super::replication::ReplicationFacts;
use super::room::Room;
use super::running::RunningScripts;
use super::slot_moves::SlotMoves;
use super::subscription::EventSubscription;
use super::table::CommandTable;
use super::tracking::Trackers;
use crate::acl::Acl;
use crate::base::clock::Clock;
use crate::base::slot_map::{SlotMap, SlotMapCell};
use crate::cluster::Cluster;
use crate::config::{Config, ConfigCell};
use crate::control::{Listeners, OomScore, ProcessMemory};
use crate::net::tls::Tls;
use crate::observe::{Boards, Log, Monitors};
use crate::pubsub::PubSub;
use crate::resp::Error;
use crate::script::Scripts;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The process as its shards see it.
pub struct Process {
    /// The settings.
    pub config: ConfigCell,
    /// One board per shard, with its counters and gauges.
    pub boards: Boards,
    /// Which partition has which hash slot.
    pub slot_map: SlotMapCell,
    /// Slots that move from one partition to another.
    pub slot_moves: SlotMoves,
    /// The command table.
    pub commands: &'static CommandTable,
    /// Number of databases.
    pub databases: usize,
    /// Whether the process is a node of a cluster.
    pub is_cluster: bool,
    /// The cluster, set at the start if the process is a node of one, or if its shards are nodes
    /// to clients.
    pub cluster: std::sync::OnceLock<Cluster>,
    /// The users and their rules.
    pub acl: Acl,
    /// The log.
    pub log: Log,
    /// Clients that receive every command (MONITOR).
    pub monitors: Monitors,
    /// The subscriber of events on keys.
    pub events: EventSubscription,
    /// Channels and patterns that clients have subscribed to.
    pub pubsub: PubSub,
    /// Clients that are tracking.
    pub trackers: Trackers,
    /// Where the connections of all clients are.
    pub client_homes: ClientHomes,
    /// Source of the time.
    pub clock: Clock,
    /// Run id: 40 hexadecimal digits, new at every start.
    pub run_id: String,
    /// Unix time of the start in seconds.
    pub started_s: u64,
    /// Name of shard 0's driver, set at its start: `io_uring`, `epoll`, `simulated`.
    pub driver_name: std::sync::OnceLock<&'static str>,
    /// Paths of the executable and of the config file (which may be empty).
    pub paths: [String; 2],
    /// Memory of the process as the kernel reports it, with peaks.
    pub memory: Arc<ProcessMemory>,
    /// Memory against its limit.
    pub room: Room,
    /// Scripts that EVAL and SCRIPT LOAD have brought.
    pub scripts: Scripts,
    /// The function libraries.
    pub functions: Functions,
    /// Whether scripts may run commands that the card forbids to scripts (DEBUG).
    pub allows_all_in_scripts: AtomicBool,
    /// Scripts that run for long.
    pub running: RunningScripts,
    /// Connections per shard, including connections that are being handed to it.
    pub clients: Vec<AtomicU64>,
    /// Sockets that the process listens on.
    pub listeners: Listeners,
    /// Certificates, keys and rules of TLS.
    pub tls: Tls,
    /// Setting of the kernel's OOM score.
    pub oom_score: OomScore,
    /// Supervisor of the process, set at the start: `no`, `systemd`, `upstart`.
    pub supervised: std::sync::OnceLock<&'static str>,
    /// Whether periodic work is off (DEBUG PAUSE-CRON).
    pub is_cron_paused: AtomicBool,
    pause: Mutex<Option<Pause>>,
    eviction: Mutex<()>,
    /// How long idle connections keep their output buffers.
    pub reply_buffers: ReplyBuffers,
    replication: Mutex<ReplicationFacts>,
    persistence: Mutex<PersistenceFacts>,
    /// The append-only file.
    pub aof: AofState,
    /// The stage of loading.
    pub loading: LoadProgress,
    /// Whether the last snapshot in the background failed.
    pub has_save_failed: AtomicBool,
    /// Requested shutdown that saves the data first: the reason and [`FORCED`]. 0 for none.
    saving_stop: AtomicU8,
    /// Whether a shutdown that saves first was requested and has not failed yet.
    is_stop_pending: AtomicBool,
    ends_scripts: AtomicBool,
    /// The keys for which clients of any shard are blocked.
    pub awaited: Awaited,
    next_client_id: AtomicU64,
    stopping: AtomicBool,
    shutdown: AtomicU8,
}

/// Milliseconds until an idle connection releases its output buffer.
pub const REPLY_BUFFER_IDLE_MS: u64 = 2_000;

/// How long idle connections keep their output buffers, and how limits count the buffers. DEBUG
/// changes these values.
#[derive(Debug)]
pub struct ReplyBuffers {
    /// Milliseconds until an idle connection releases its buffer.
    pub idle_ms: AtomicU64,
    /// Whether connections never release their buffers.
    pub are_kept: AtomicBool,
    /// Whether limits count unsent output from its first byte on.
    pub are_limited: AtomicBool,
    /// Whether connections by TLS send nothing.
    pub is_tls_held: AtomicBool,
}

impl Default for ReplyBuffers {
    fn default() -> ReplyBuffers {
        ReplyBuffers {
            idle_ms: AtomicU64::new(REPLY_BUFFER_IDLE_MS),
            are_kept: AtomicBool::new(false),
            are_limited: AtomicBool::new(false),
            is_tls_held: AtomicBool::new(false),
        }
    }
}

/// Reason of a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Shutdown {
    /// A client sent SHUTDOWN.
    Command = 1,
    /// The process received SIGTERM.
    Terminate = 2,
    /// The process received SIGINT.
    Interrupt = 3,
    /// A shard failed.
    Failure = 4,
}

impl Shutdown {
    fn from_number(number: u8) -> Option<Shutdown> {
        match number {
            1 => Some(Shutdown::Command),
            2 => Some(Shutdown::Terminate),
            3 => Some(Shutdown::Interrupt),
            4 => Some(Shutdown::Failure),
            _ => None,
        }
    }
}

/// Marks a shutdown that happens even if the data cannot be saved.
const FORCED: u8 = 0x80;

/// Marks a shutdown that does not save the data.
const UNSAVED: u8 = 0x40;

/// Arguments of [`Process::new`].
pub struct ProcessParts {
    /// The settings.
    pub config: ConfigCell,
    /// One board per shard.
    pub boards: Boards,
    /// The command table.
    pub commands: &'static CommandTable,
    /// The log.
    pub log: Log,
    /// Source of the time.
    pub clock: Clock,
    /// Run id, made of random digits.
    pub run_id: String,
    /// Paths of the executable and of the config file (which may be empty).
    pub paths: [String; 2],
    /// Memory of the process.
    pub memory: Arc<ProcessMemory>,
}

impl Process {
    /// Creates a process that does not serve yet.
    pub fn new(parts: ProcessParts) -> Process {
        let started_s = parts.clock.unix_ms() / 1_000;
        let clients = parts.boards.iter().map(|_| AtomicU64::new(0)).collect();
        let acl = Acl::new(parts.commands.catalogue());
        acl.set_default_password(&parts.config.snapshot().requirepass);
        let shards = parts.boards.iter().count();
        Process {
            pubsub: PubSub::new(shards, &parts.run_id),
            slot_map: SlotMapCell::new(SlotMap::equal(shards)),
            slot_moves: SlotMoves::default(),
            clients,
            listeners: Listeners::default(),
            tls: Tls::default(),
            oom_score: OomScore::default(),
            supervised: std::sync::OnceLock::new(),
            is_cron_paused: AtomicBool::new(false),
            pause: Mutex::new(None),
            eviction: Mutex::new(()),
            reply_buffers: ReplyBuffers::default(),
            replication: Mutex::new(ReplicationFacts::new(parts.run_id.clone())),
            persistence: Mutex::new(PersistenceFacts {
                saved_s: started_s,
                ..PersistenceFacts::default()
            }),
            aof: AofState::default(),
            loading: LoadProgress::default(),
            has_save_failed: AtomicBool::new(false),
            saving_stop: AtomicU8::new(0),
            is_stop_pending: AtomicBool::new(false),
            ends_scripts: AtomicBool::new(false),
            awaited: Awaited::default(),
            is_cluster: parts.config.snapshot().cluster_enabled,
            databases: parts.config.snapshot().database_count() as usize,
            cluster: std::sync::OnceLock::new(),
            config: parts.config,
            boards: parts.boards,
            commands: parts.commands,
            acl,
            log: parts.log,
            monitors: Monitors::default(),
            events: EventSubscription::default(),
            trackers: Trackers::default(),
            client_homes: ClientHomes::default(),
            clock: parts.clock,
            run_id: parts.run_id,
            started_s,
            driver_name: std::sync::OnceLock::new(),
            paths: parts.paths,
            memory: parts.memory,
            room: Room::new(shards),
            scripts: Scripts::default(),
            functions: Functions::default(),
            allows_all_in_scripts: AtomicBool::new(false),
            running: RunningScripts::default(),
            next_client_id: AtomicU64::new(1),
            stopping: AtomicBool::new(false),
            shutdown: AtomicU8::new(0),
        }
    }

    /// Returns the number of shards.
    pub fn shards(&self) -> usize {
        self.clients.len()
    }

    /// Locks the replication facts. Hold the lock for a few instructions and never wait while
    /// holding it.
    pub fn replication(&self) -> MutexGuard<'_, ReplicationFacts> {
        // Plain data: each change is complete before a panic is possible.
        self.replication.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the persistence facts. Hold the lock for a few instructions.
    pub fn persistence(&self) -> MutexGuard<'_, PersistenceFacts> {
        self.persistence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether writes are refused with these settings, because the data cannot be written
    /// to disk.
    pub fn has_disk_error(&self, config: &Config) -> bool {
        self.refuses_after_save(config) || self.aof.failure().is_some()
    }

    fn refuses_after_save(&self, config: &Config) -> bool {
        self.has_save_failed.load(Ordering::Relaxed)
            && config.stop_writes_on_bgsave_error
            && !config.save.is_empty()
    }

    /// Returns the error of writes while the data cannot be written to disk.
    pub fn disk_error(&self) -> Error {
        let is_of_save = self.refuses_after_save(&self.config.snapshot());
        if let Some(error) = self.aof.error().filter(|_| !is_of_save) {
            return error;
        }
        let name = self.server_name();
        Error::other(format!(
            "MISCONF {name} is configured to save RDB snapshots, but it's currently unable to \
             persist to disk. Commands that may modify the data set are disabled, because this \
             instance is configured to report errors during writes if RDB snapshotting fails \
             (stop-writes-on-bgsave-error option). Please check the {name} logs for details about \
             the RDB error."
        ))
    }

    /// Returns the name of the server in errors.
    fn server_name(&self) -> &'static str {
        let is_redis = self.config.snapshot().extended_redis_compatibility;
        if is_redis { "Redis" } else { "Valkey" }
    }

    /// Locks client eviction: one shard at a time disconnects clients that use too much memory.
    pub fn evict(&self) -> MutexGuard<'_, ()> {
        self.eviction.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a pause. A pause that is in effect is extended and never shortened. Shards apply the
    /// pause when they are notified.
    pub fn pause(&self, pause: Pause, now_ms: u64) {
        let mut now = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        let joined = match now.filter(|before| !before.is_over(now_ms)) {
            Some(before) => before.join(pause),
            None => pause,
        };
        *now = Some(joined).filter(|pause| !pause.is_over(now_ms));
    }

    /// Removes the pause.
    pub fn unpause(&self) {
        *self.pause.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns the pause that is in effect at `now_ms`, Unix milliseconds.
    pub fn paused(&self, now_ms: u64) -> Option<Pause> {
        let now = *self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        now.filter(|pause| !pause.is_over(now_ms))
    }

    /// Returns whether data is being loaded.
    pub fn is_loading(&self) -> bool {
        self.loading.stage() != LoadStage::None
    }

    /// Requests a shutdown that saves the data first. If the save fails, the process stops only if
    /// `is_forced`. The first reason counts.
    pub fn stop_saving(&self, why: Shutdown, is_forced: bool) {
        let wish = why as u8 | if is_forced { FORCED } else { 0 };
        self.is_stop_pending.store(true, Ordering::SeqCst);
        let _ = self.saving_stop.compare_exchange(0, wish, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Returns whether [`Process::stop_saving`] requested a shutdown that was not cancelled.
    pub fn is_stop_pending(&self) -> bool {
        self.is_stop_pending.load(Ordering::SeqCst)
    }

    /// Cancels the requested shutdown: a client aborted it, or the data could not be saved.
    pub fn take_back_stop(&self) {
        self.is_stop_pending.store(false, Ordering::SeqCst);
    }

    /// Requests a shutdown that does not save the data, and writes the append-only file. The first
    /// reason counts.
    pub fn stop_unsaved(&self, why: Shutdown, is_forced: bool) {
        self.is_stop_pending.store(true, Ordering::SeqCst);
        let wish = why as u8 | UNSAVED | if is_forced { FORCED } else { 0 };
        let _ = self.saving_stop.compare_exchange(0, wish, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Takes the requested shutdown: its reason, whether it is forced, and whether it saves first.
    pub fn take_saving_stop(&self) -> Option<(Shutdown, bool, bool)> {
        if self.saving_stop.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let wish = self.saving_stop.swap(0, Ordering::SeqCst);
        let why = Shutdown::from_number(wish & !(FORCED | UNSAVED));
        why.map(|why| (why, wish & FORCED != 0, wish & UNSAVED == 0))
    }

    /// Returns the next client id. Ids start at 1 and are never reused.
    pub fn client_id(&self) -> u64 {
        self.next_client_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes scripts that run for long end now, and leave nothing in the stream: the process stops
    /// behind the end of the stream, which units of such scripts hold up.
    pub fn end_scripts(&self) {
        self.ends_scripts.store(true, Ordering::SeqCst);
    }

    /// Returns whether [`Process::end_scripts`] was called.
    #[inline]
    pub fn ends_scripts(&self) -> bool {
        self.ends_scripts.load(Ordering::Relaxed)
    }

    /// Requests that all shards stop. The first reason counts. The caller must ring the doorbells.
    pub fn stop(&self, why: Shutdown) {
        let first =
            self.shutdown.compare_exchange(0, why as u8, Ordering::SeqCst, Ordering::SeqCst);
        if first.is_ok() {
            self.stopping.store(true, Ordering::SeqCst);
        }
    }

    /// Returns whether a stop was requested.
    #[inline]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Returns the reason of the stop.
    pub fn stop_reason(&self) -> Option<Shutdown> {
        Shutdown::from_number(self.shutdown.load(Ordering::SeqCst))
    }
}
