//! What all shards of a process share, and anyone may read: settings, boards, the command table.

use super::pause::Pause;
use super::persistence::PersistenceFacts;
use super::replication::ReplicationFacts;
use super::table::CommandTable;
use crate::base::clock::Clock;
use crate::config::ConfigCell;
use crate::control::{Listeners, OomScore, ProcessMemory};
use crate::observe::{Boards, Log, Monitors};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The process as its shards see it.
pub struct Process {
    /// The settings.
    pub config: ConfigCell,
    /// One board per shard: its counters and gauges.
    pub boards: Boards,
    /// The commands.
    pub commands: &'static CommandTable,
    /// The log.
    pub log: Log,
    /// The clients that are shown every command.
    pub monitors: Monitors,
    /// The time.
    pub clock: Clock,
    /// 40 hexadecimal digits, new at every start.
    pub run_id: String,
    /// Unix time of the start, seconds.
    pub started_s: u64,
    /// The driver that shard 0 runs on, set at its start: `io_uring`, `epoll`, `simulated`.
    pub driver_name: std::sync::OnceLock<&'static str>,
    /// Path of the executable, of the config file (or empty).
    pub paths: [String; 2],
    /// The memory of the process as the kernel sees it, and peaks.
    pub memory: Arc<ProcessMemory>,
    /// Connections per shard, those on their way to it included.
    pub clients: Vec<AtomicU64>,
    /// The sockets that it listens on.
    pub listeners: Listeners,
    /// How soon the kernel ends it when memory runs out.
    pub oom_score: OomScore,
    /// Who watches it, set at the start: `no`, `systemd`, `upstart`.
    pub supervised: std::sync::OnceLock<&'static str>,
    /// Nothing is done by the clock: DEBUG PAUSE-CRON.
    pub is_cron_paused: AtomicBool,
    pause: Mutex<Option<Pause>>,
    eviction: Mutex<()>,
    /// How long idle connections keep their output buffers.
    pub reply_buffers: ReplyBuffers,
    replication: Mutex<ReplicationFacts>,
    persistence: Mutex<PersistenceFacts>,
    /// Shards that have not got all of the file that is being loaded.
    shards_loading: AtomicUsize,
    /// How a stop was asked for that is to save the data first.
    saving_stop: AtomicU8,
    /// A signal has asked for such a stop, and it has not failed yet.
    is_stop_pending: AtomicBool,
    /// Clients that wait for a key and use keys of other shards then.
    far_waiters: AtomicUsize,
    next_client_id: AtomicU64,
    stopping: AtomicBool,
    shutdown: AtomicU8,
}

/// Milliseconds after which an idle connection gives its output buffer back.
pub const REPLY_BUFFER_IDLE_MS: u64 = 2_000;

/// How long idle connections keep their output buffers, and what limits make of them; DEBUG
/// changes it.
#[derive(Debug)]
pub struct ReplyBuffers {
    /// They give them back after so many milliseconds.
    pub idle_ms: AtomicU64,
    /// They never do.
    pub are_kept: AtomicBool,
    /// Limits look at unsent output from its first byte on.
    pub are_limited: AtomicBool,
}

impl Default for ReplyBuffers {
    fn default() -> ReplyBuffers {
        ReplyBuffers {
            idle_ms: AtomicU64::new(REPLY_BUFFER_IDLE_MS),
            are_kept: AtomicBool::new(false),
            are_limited: AtomicBool::new(false),
        }
    }
}

/// How a stop was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Shutdown {
    /// SHUTDOWN of a client.
    Command = 1,
    /// SIGTERM.
    Terminate = 2,
    /// SIGINT.
    Interrupt = 3,
    /// A shard could not go on.
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

/// Marks a wish to stop that is granted even if the data cannot be saved.
const FORCED: u8 = 0x80;

/// What [`Process::new`] is given.
pub struct ProcessParts {
    /// The settings.
    pub config: ConfigCell,
    /// One board per shard.
    pub boards: Boards,
    /// The commands.
    pub commands: &'static CommandTable,
    /// The log.
    pub log: Log,
    /// The time.
    pub clock: Clock,
    /// Random bytes for the run id.
    pub run_id: String,
    /// Path of the executable, of the config file (or empty).
    pub paths: [String; 2],
    /// What is known of the process's memory.
    pub memory: Arc<ProcessMemory>,
}

impl Process {
    /// A process that has not begun to serve.
    pub fn new(parts: ProcessParts) -> Process {
        let started_s = parts.clock.unix_ms() / 1_000;
        let clients = parts.boards.iter().map(|_| AtomicU64::new(0)).collect();
        Process {
            clients,
            listeners: Listeners::default(),
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
            shards_loading: AtomicUsize::new(0),
            saving_stop: AtomicU8::new(0),
            is_stop_pending: AtomicBool::new(false),
            far_waiters: AtomicUsize::new(0),
            config: parts.config,
            boards: parts.boards,
            commands: parts.commands,
            log: parts.log,
            monitors: Monitors::default(),
            clock: parts.clock,
            run_id: parts.run_id,
            started_s,
            driver_name: std::sync::OnceLock::new(),
            paths: parts.paths,
            memory: parts.memory,
            next_client_id: AtomicU64::new(1),
            stopping: AtomicBool::new(false),
            shutdown: AtomicU8::new(0),
        }
    }

    /// How many shards it has.
    pub fn shards(&self) -> usize {
        self.clients.len()
    }

    /// The feed and the replicas. Held for a few instructions: whoever has it waits for nothing.
    pub fn replication(&self) -> MutexGuard<'_, ReplicationFacts> {
        // Plain data: each change of it is whole before anything can panic.
        self.replication.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files that keep the data. Held for a few instructions.
    pub fn persistence(&self) -> MutexGuard<'_, PersistenceFacts> {
        self.persistence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One shard at a time ends clients because they take too much memory.
    pub fn evict(&self) -> MutexGuard<'_, ()> {
        self.eviction.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clients' commands are to wait; a pause that is there already stays as far as it goes. Shards
    /// take note when they are told to.
    pub fn pause(&self, pause: Pause, now_ms: u64) {
        let mut now = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        let joined = match now.filter(|before| !before.is_over(now_ms)) {
            Some(before) => before.join(pause),
            None => pause,
        };
        *now = Some(joined).filter(|pause| !pause.is_over(now_ms));
    }

    /// They are to wait no more.
    pub fn unpause(&self) {
        *self.pause.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The pause that holds at a time, Unix milliseconds.
    pub fn paused(&self, now_ms: u64) -> Option<Pause> {
        let now = *self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        now.filter(|pause| !pause.is_over(now_ms))
    }

    /// A client that uses keys of other shards when it is woken begins to wait, or ends.
    pub fn count_far_waiter(&self, waits: bool) {
        match waits {
            true => self.far_waiters.fetch_add(1, Ordering::SeqCst),
            false => self.far_waiters.fetch_sub(1, Ordering::SeqCst),
        };
    }

    /// Whether there is such a client.
    pub fn has_far_waiters(&self) -> bool {
        self.far_waiters.load(Ordering::SeqCst) > 0
    }

    /// All shards are to load what they are sent.
    pub fn begin_loading(&self) {
        self.shards_loading.store(self.shards(), Ordering::SeqCst);
    }

    /// A shard has got all.
    pub fn shard_loaded(&self) {
        let before = self.shards_loading.fetch_sub(1, Ordering::SeqCst);
        assert!(before > 0, "each shard says so once");
    }

    /// Whether a shard has not got all yet.
    pub fn is_loading(&self) -> bool {
        self.shards_loading.load(Ordering::SeqCst) > 0
    }

    /// Asks for a stop that saves the data first, or stops without if `is_forced` and that fails;
    /// the first reason stands.
    pub fn stop_saving(&self, why: Shutdown, is_forced: bool) {
        let wish = why as u8 | if is_forced { FORCED } else { 0 };
        self.is_stop_pending.store(true, Ordering::SeqCst);
        let _ = self.saving_stop.compare_exchange(0, wish, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Whether a stop that saves the data first was asked for by [`Process::stop_saving`] and has
    /// not been taken back.
    pub fn is_stop_pending(&self) -> bool {
        self.is_stop_pending.load(Ordering::SeqCst)
    }

    /// The stop does not come: it was taken back, or the data could not be saved.
    pub fn take_back_stop(&self) {
        self.is_stop_pending.store(false, Ordering::SeqCst);
    }

    /// Takes the reason of a stop that is to save the data first, and whether it is forced.
    pub fn take_saving_stop(&self) -> Option<(Shutdown, bool)> {
        if self.saving_stop.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let wish = self.saving_stop.swap(0, Ordering::SeqCst);
        Shutdown::from_number(wish & !FORCED).map(|why| (why, wish & FORCED != 0))
    }

    /// The next client id; ids start at 1 and are never given twice.
    pub fn client_id(&self) -> u64 {
        self.next_client_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks all shards to stop; the first reason stands. Whoever calls it rings the doorbells.
    pub fn stop(&self, why: Shutdown) {
        let first =
            self.shutdown.compare_exchange(0, why as u8, Ordering::SeqCst, Ordering::SeqCst);
        if first.is_ok() {
            self.stopping.store(true, Ordering::SeqCst);
        }
    }

    /// Whether a stop was asked for.
    #[inline]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Why it stops.
    pub fn stop_reason(&self) -> Option<Shutdown> {
        Shutdown::from_number(self.shutdown.load(Ordering::SeqCst))
    }
}
