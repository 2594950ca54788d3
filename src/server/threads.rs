//! The construction of the process, and one thread per shard.

use crate::aof::Intakes;
use crate::base::clock::Clock;
use crate::base::crash::add_stack;
use crate::base::thread::pin_to;
use crate::commands;
use crate::config::{Config, ConfigCell, IoDriver};
use crate::control::ProcessMemory;
use crate::exec::OffloadPool;
use crate::exec::{CommandTable, Process, ProcessParts};
use crate::feed::Feed;
use crate::io::{self, Driver, ListenerId, Options, Preference, Socket};
use crate::mesh::{Mesh, Port};
use crate::observe::{Boards, Log};
use crate::partition::Berths;
use crate::shard::limits::POLLS_MAX;
use crate::shard::{Shard, ShardParts};
use crate::snapshot::Batch;
use std::os::fd::OwnedFd;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Barrier, OnceLock};

/// The parts that a process is built from.
pub struct Parts {
    /// The settings.
    pub config: Config,
    /// The number of shards, at least one.
    pub shards: usize,
    /// The source of time.
    pub clock: Clock,
    /// The log.
    pub log: Log,
    /// The record of the process's memory.
    pub memory: Arc<ProcessMemory>,
    /// The run id: 40 hexadecimal digits.
    pub run_id: String,
    /// The paths of the executable and of the config file (or empty).
    pub paths: [String; 2],
}

/// Returns the table of all commands, built once.
pub(super) fn command_table() -> &'static CommandTable {
    static TABLE: OnceLock<CommandTable> = OnceLock::new();
    TABLE.get_or_init(|| CommandTable::new(commands::FAMILIES))
}

/// Returns the command table with the settings' renames.
fn table_of(config: &Config) -> &'static CommandTable {
    let renames = &config.renamed_commands;
    if renames.is_empty() {
        return command_table();
    }
    // Leaked: it must live as long as the process, and there is only one.
    Box::leak(Box::new(CommandTable::renamed(commands::FAMILIES, renames)))
}

/// Creates the process that the shards will belong to.
pub fn build_process(parts: Parts) -> Arc<Process> {
    let commands = table_of(&parts.config);
    let databases = parts.config.database_count() as usize;
    Arc::new(Process::new(ProcessParts {
        boards: Boards::new(parts.shards, databases, commands.len()),
        config: ConfigCell::new(parts.config),
        commands,
        log: parts.log,
        clock: parts.clock,
        run_id: parts.run_id,
        paths: parts.paths,
        memory: parts.memory,
    }))
}

/// The parts of a process that all its shards share.
#[derive(Clone)]
pub struct Common {
    /// The process.
    pub process: Arc<Process>,
    /// The inboxes.
    pub mesh: Arc<Mesh>,
    /// The feed, to which the shards propagate their writes.
    pub feed: Arc<Feed>,
    /// The berths, which hold the partitions of parked shards.
    pub berths: Berths,
}

/// Creates one shard of the process on the calling thread.
pub fn build_shard(me: usize, common: &Common, driver: Box<dyn Driver>, seeds: Seeds) -> Shard {
    let Common { process, mesh, feed, berths } = common.clone();
    mesh.set_bell(me, driver.doorbell());
    Shard::new(ShardParts {
        me,
        driver,
        port: Port::new(mesh, process.clock.clone(), me),
        berths,
        process,
        feed,
        seed: seeds.random.wrapping_add(me as u64),
        hash_seed: seeds.hash,
    })
}

/// The seeds of random numbers and hashes.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    /// The seed of random numbers.
    pub random: u64,
    /// The seed of the hash of keys, equal on all shards.
    pub hash: [u64; 2],
}

/// The inputs of a shard's thread.
pub(super) struct Seat {
    pub(super) me: usize,
    pub(super) common: Common,
    pub(super) seeds: Seeds,
    pub(super) core: Option<usize>,
    /// Whether there are as many cores as shards.
    pub(super) has_core: bool,
    /// The pool that runs offloaded commands.
    pub(super) offload_pool: OffloadPool,
    /// Listening sockets; only the accepting shard has any.
    pub(super) listeners: Vec<(ListenerId, OwnedFd)>,
    /// Receives the keys of the file, if one is loaded.
    pub(super) intake: Option<Receiver<Batch>>,
    /// Where it finds the keys of DEBUG LOADAOF.
    pub(super) intakes: Arc<Intakes>,
    /// Makes all shards ready before one of them accepts.
    pub(super) gathering: Arc<Barrier>,
}

/// Runs a shard's thread until the shard ends. An error is the reason why the process cannot
/// continue.
pub(super) fn run(mut seat: Seat) -> Result<(), String> {
    add_stack();
    let config = seat.common.process.config.snapshot();
    if let Some(core) = seat.core
        && let Err(error) = pin_to(core)
    {
        seat.common.process.log.warning(&format!("Shard {} is not pinned: {error}", seat.me));
    }
    let opened = io::open(preference(config.io_driver), &options(&config));
    let (mut driver, fallback) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            seat.gathering.wait();
            return Err(format!("Shard {} cannot open its I/O driver: {error}", seat.me));
        }
    };
    if seat.me == 0 {
        announce(&seat.common.process, driver.as_ref(), fallback);
        for (number, listener) in std::mem::take(&mut seat.listeners) {
            if let Err(error) = driver.listen(number, Socket::Kernel(listener)) {
                seat.gathering.wait();
                return Err(format!("Failed listening: {error}"));
            }
        }
    }
    let mut shard = build_shard(seat.me, &seat.common, driver, seat.seeds);
    shard.set_polls_max(if seat.has_core { POLLS_MAX } else { 0 });
    shard.set_offload_pool(&seat.offload_pool);
    shard.write_files_on_threads();
    shard.set_intakes(&seat.intakes);
    if let Some(intake) = seat.intake.take() {
        shard.set_intake(intake);
    }
    seat.gathering.wait();
    shard.run().map_err(|error| format!("Shard {} cannot continue: {error}", seat.me))
}

fn announce(process: &Process, driver: &dyn Driver, fallback: Option<String>) {
    let name = driver.name();
    process.driver_name.get_or_init(|| name);
    match fallback {
        None => process.log.notice(&format!("I/O driver: {name}")),
        Some(why) => process.log.warning(&format!("I/O driver: {name}, because {why}")),
    }
}

fn preference(driver: IoDriver) -> Preference {
    match driver {
        IoDriver::Auto => Preference::Auto,
        IoDriver::Uring => Preference::Uring,
        IoDriver::Epoll => Preference::Epoll,
    }
}

fn options(config: &Config) -> Options {
    Options { keepalive_s: config.tcp_keepalive, ..Options::default() }
}
