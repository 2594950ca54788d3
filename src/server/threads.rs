//! What the process is made of, and one thread per shard.

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
use crate::shard::{Shard, ShardParts};
use crate::snapshot::Batch;
use std::os::fd::OwnedFd;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Barrier, OnceLock};

/// What a process is built from.
pub struct Parts {
    /// The settings.
    pub config: Config,
    /// How many shards, at least one.
    pub shards: usize,
    /// The time.
    pub clock: Clock,
    /// The log.
    pub log: Log,
    /// What is known of the process's memory.
    pub memory: Arc<ProcessMemory>,
    /// 40 hexadecimal digits.
    pub run_id: String,
    /// Path of the executable, and of the config file or empty.
    pub paths: [String; 2],
}

/// The table of all commands, built once.
pub(super) fn command_table() -> &'static CommandTable {
    static TABLE: OnceLock<CommandTable> = OnceLock::new();
    TABLE.get_or_init(|| CommandTable::new(commands::FAMILIES))
}

/// The table with the names that the settings give.
fn table_of(config: &Config) -> &'static CommandTable {
    let renames = &config.renamed_commands;
    if renames.is_empty() {
        return command_table();
    }
    // It lives as long as the process, of which there is one.
    Box::leak(Box::new(CommandTable::renamed(commands::FAMILIES, renames)))
}

/// The process that shards then belong to.
pub fn build_process(parts: Parts) -> Arc<Process> {
    let commands = table_of(&parts.config);
    let databases = parts.config.databases as usize;
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

/// What all shards of a process share.
#[derive(Clone)]
pub struct Common {
    /// The process.
    pub process: Arc<Process>,
    /// The inboxes.
    pub mesh: Arc<Mesh>,
    /// What the shards propagate.
    pub feed: Arc<Feed>,
    /// Where partitions lie while their shards are parked.
    pub berths: Berths,
}

/// Returns one shard of the process, on the calling thread.
pub fn build_shard(me: usize, common: &Common, driver: Box<dyn Driver>, seeds: Seeds) -> Shard {
    let Common { process, mesh, feed, berths } = common.clone();
    mesh.set_bell(me, driver.doorbell());
    Shard::new(ShardParts {
        me,
        driver,
        port: Port::new(mesh, me),
        berths,
        process,
        feed,
        seed: seeds.random.wrapping_add(me as u64),
        hash_seed: seeds.hash,
    })
}

/// Where random numbers and hashes start.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    /// For random numbers.
    pub random: u64,
    /// For the hash of keys, the same on all shards.
    pub hash: [u64; 2],
}

/// What the thread of a shard is given.
pub(super) struct Seat {
    pub(super) me: usize,
    pub(super) common: Common,
    pub(super) seeds: Seeds,
    pub(super) core: Option<usize>,
    /// Whether there are as many cores as shards.
    pub(super) has_core: bool,
    /// Runs what would hold up the shard.
    pub(super) offload_pool: OffloadPool,
    /// Listening sockets; only the acceptor has any.
    pub(super) listeners: Vec<(ListenerId, OwnedFd)>,
    /// The keys of a file, if one is loaded.
    pub(super) intake: Option<Receiver<Batch>>,
    /// All shards are there before one accepts.
    pub(super) gathering: Arc<Barrier>,
}

/// The life of a shard's thread. An error is the reason why the process cannot go on.
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
            return Err(format!("Shard {} has no way to the kernel: {error}", seat.me));
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
    shard.set_core_own(seat.has_core);
    shard.set_offload_pool(&seat.offload_pool);
    if let Some(intake) = seat.intake.take() {
        shard.set_intake(intake);
    }
    seat.gathering.wait();
    shard.run().map_err(|error| format!("Shard {} cannot go on: {error}", seat.me))
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
