//! What all shards of a process share, and anyone may read: settings, boards, the command table.

use super::replication::ReplicationFacts;
use super::table::CommandTable;
use crate::base::clock::Clock;
use crate::config::ConfigCell;
use crate::control::ProcessMemory;
use crate::observe::{Boards, Log};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
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
    replication: Mutex<ReplicationFacts>,
    next_client_id: AtomicU64,
    stopping: AtomicBool,
    shutdown: AtomicU8,
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
            replication: Mutex::new(ReplicationFacts::new(parts.run_id.clone())),
            config: parts.config,
            boards: parts.boards,
            commands: parts.commands,
            log: parts.log,
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
        match self.shutdown.load(Ordering::SeqCst) {
            1 => Some(Shutdown::Command),
            2 => Some(Shutdown::Terminate),
            3 => Some(Shutdown::Interrupt),
            4 => Some(Shutdown::Failure),
            _ => None,
        }
    }
}
