//! From argv to a running server.

use super::arguments::{Errand, errand};
use super::listen::open_all;
use super::load::{BATCHES_MAX, load, open_file};
use super::threads::{Parts, Seat, Seeds, build_process, run};
use crate::base::alloc::used_bytes;
use crate::base::clock::Clock;
use crate::base::rng::Rng;
use crate::base::thread::{allowed_cores, raise_descriptor_limit};
use crate::config::Config;
use crate::control::{Control, ProcessMemory};
use crate::exec::{Process, Shutdown};
use crate::feed::Feed;
use crate::mesh::{Mesh, Rules};
use crate::observe::{Level, Log};
use crate::shard::Workshop;
use crate::snapshot::Batch;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs::File;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;

/// Descriptors that the process needs besides those of its clients.
const RESERVED_DESCRIPTORS: u64 = 64;

/// Runs the errand that argv (with the program's name) asks for.
pub fn main(argv: Vec<String>) -> ExitCode {
    let config = match errand(&argv[1..]) {
        Errand::Serve(config) => *config,
        Errand::Print(text) => {
            let printed = std::io::stdout().write_all(text.as_bytes());
            return if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        Errand::Fail(text) => {
            eprint!("{text}");
            return ExitCode::FAILURE;
        }
    };
    match serve(config, &argv) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Serves until the process is told to stop. The reason of a failure has been logged.
fn serve(mut config: Config, argv: &[String]) -> Result<(), String> {
    let cores = allowed_cores().unwrap_or_else(|_| vec![0]);
    let shards = if config.shards == 0 { cores.len() } else { config.shards as usize };
    let descriptors = raise_descriptor_limit(u64::from(config.maxclients) + RESERVED_DESCRIPTORS);
    let room = descriptors.saturating_sub(RESERVED_DESCRIPTORS);
    let is_short = room < u64::from(config.maxclients);
    if is_short {
        config.maxclients = room as u32;
    }
    let clock = Clock::System;
    let seeds = seeds(&config);
    crate::base::hash::set_seed(seeds.hash);
    let log = Log::new(
        config.logfile.clone(),
        Level::from_index(config.loglevel as usize),
        clock.clone(),
    );
    let control = Control::start("control").map_err(|error| format!("{error}"))?;
    let memory = ProcessMemory::open().map_err(|error| format!("{error}"))?;
    if let Err(error) = ProcessMemory::watch(&memory, &control, used_bytes) {
        return Err(format!("{error}"));
    }
    let process = build_process(Parts {
        shards,
        memory,
        clock,
        log,
        run_id: run_id(seeds.random),
        paths: paths(argv),
        config,
    });
    let config = process.config.snapshot();
    greet(&process, &config, argv.len() > 1);
    if let Some(why) = control.fallback() {
        process.log.notice(&format!("Control runs without glommio: {why}"));
    }
    if is_short {
        process.log.warning(&format!("maxclients is {room}: no more descriptors are allowed"));
    }
    let result = run_shards(&process, &config, &cores, seeds);
    control.stop();
    if let Err(why) = &result {
        process.log.warning(why);
    }
    result
}

fn run_shards(
    process: &Arc<Process>,
    config: &Config,
    cores: &[usize],
    seeds: Seeds,
) -> Result<(), String> {
    let listeners = open_all(config, process)?;
    let shards = process.shards();
    let mesh = Mesh::new(shards, Rules::default(), None);
    stop_on_signals(Arc::clone(process), Arc::clone(&mesh))?;
    let gathering = Arc::new(Barrier::new(shards + 1));
    let file = open_file(config)?;
    let (senders, mut intakes): (Vec<_>, Vec<_>) =
        (0..shards).map(|_| sync_channel(BATCHES_MAX)).unzip();
    if file.is_some() {
        process.begin_loading();
    }
    crate::http::start(process, config)?;
    intakes.reverse();
    let mut listeners = Some(listeners);
    let mut threads = Vec::with_capacity(shards);
    let feed = Arc::new(Feed::new(Arc::clone(&mesh), process.clock.clone(), 0));
    let workshops = Workshop::start(&mesh, shards);
    let workshops = workshops.map_err(|error| format!("No threads for long commands: {error}"))?;
    for (me, workshop) in workshops.into_iter().enumerate() {
        let has_core = shards <= cores.len();
        let is_pinned = config.pin_shards && has_core;
        threads.push(spawn(Seat {
            me,
            process: Arc::clone(process),
            mesh: Arc::clone(&mesh),
            feed: Arc::clone(&feed),
            seeds,
            core: is_pinned.then(|| cores[me]),
            has_core,
            workshop: Some(workshop),
            listeners: listeners.take_if(|_| me == 0).unwrap_or_default(),
            intake: intakes.pop().filter(|_| file.is_some()),
            gathering: Arc::clone(&gathering),
        })?);
    }
    gathering.wait();
    let loaded = ready(process, config, file, senders);
    if let Err(why) = &loaded {
        process.log.warning(why);
        process.log.warning("Terminating server after rdb file reading failure.");
        process.log.warning("Fatal error loading the DB, check server logs. Exiting.");
        process.stop(Shutdown::Failure);
        mesh.ring_all();
    }
    let result = wait_for(threads, process, &mesh);
    let result = result.and(loaded);
    farewell(process, config);
    result
}

fn spawn(seat: Seat) -> Result<JoinHandle<Result<(), String>>, String> {
    let name = format!("shard-{}", seat.me);
    let process = Arc::clone(&seat.process);
    let mesh = Arc::clone(&seat.mesh);
    let life = move || {
        let result = run(seat);
        if result.is_err() {
            process.stop(Shutdown::Failure);
            mesh.ring_all();
        }
        result
    };
    let spawned = std::thread::Builder::new().name(name).spawn(life);
    spawned.map_err(|error| format!("A shard's thread could not be started: {error}"))
}

/// Waits until all shards have ended; the first failure is the result.
fn wait_for(
    threads: Vec<JoinHandle<Result<(), String>>>,
    process: &Process,
    mesh: &Mesh,
) -> Result<(), String> {
    let mut result = Ok(());
    for thread in threads {
        let ended = thread.join().unwrap_or_else(|_| Err("A shard has panicked".to_string()));
        if ended.is_err() && result.is_ok() {
            process.stop(Shutdown::Failure);
            mesh.ring_all();
            result = ended;
        }
    }
    result
}

/// SIGTERM and SIGINT stop the process in order.
fn stop_on_signals(process: Arc<Process>, mesh: Arc<Mesh>) -> Result<(), String> {
    let signals = Signals::new([SIGTERM, SIGINT]);
    let mut signals = signals.map_err(|error| format!("No signal handler: {error}"))?;
    let life = move || {
        let mut was_asked = false;
        for signal in signals.forever() {
            let (why, name) = match signal {
                SIGINT => (Shutdown::Interrupt, "SIGINT"),
                _ => (Shutdown::Terminate, "SIGTERM"),
            };
            process.log.warning(&format!("Received {name} scheduling shutdown..."));
            // Who asks twice does not want to wait.
            let saves = !process.config.snapshot().save.is_empty();
            if saves && !std::mem::replace(&mut was_asked, true) {
                process.stop_saving(why);
            } else {
                process.stop(why);
            }
            mesh.ring_all();
        }
    };
    let spawned = std::thread::Builder::new().name("signals".to_string()).spawn(life);
    spawned.map(drop).map_err(|error| format!("No thread for signals: {error}"))
}

fn greet(process: &Process, config: &Config, has_arguments: bool) {
    let log = &process.log;
    let (pid, version) = (std::process::id(), env!("CARGO_PKG_VERSION"));
    log.notice("oO0OoO0OoO0Oo Annulet is starting oO0OoO0OoO0Oo");
    log.notice(&format!("Annulet version={version}, bits=64, pid={pid}, just started"));
    if has_arguments {
        log.notice("Configuration loaded");
    } else {
        log.warning("Warning: no config file specified, using the default config.");
    }
    log.notice(&format!("Running mode=standalone, port={}.", config.port));
    log.notice(&format!("Port: {}, PID: {pid}", config.port));
    if config.appendonly {
        log.warning("Warning: there is no append-only file yet: 'appendonly' has no effect.");
    }
    if !config.save.is_empty() {
        log.notice("The keys are saved by SAVE and at the end, and not in between yet.");
    }
    for (name, reason) in config.without_effect() {
        log.verbose(&format!("The setting '{name}' is accepted, without effect: {reason}"));
    }
}

/// Loads the file, and says that clients may come.
fn ready(
    process: &Process,
    config: &Config,
    file: Option<File>,
    senders: Vec<SyncSender<Batch>>,
) -> Result<(), String> {
    if process.is_stopping() {
        return Ok(());
    }
    let shards = process.shards();
    process.log.notice(&format!("Shards: {shards}"));
    process.log.notice("Server initialized");
    if let Some(file) = file {
        load(process, config, file, senders)?;
    }
    if process.is_stopping() {
        return Ok(());
    }
    if config.port != 0 {
        process.log.notice("Ready to accept connections tcp");
    }
    if config.unixsocket.is_some() {
        process.log.notice("Ready to accept connections unix");
    }
    Ok(())
}

fn farewell(process: &Process, config: &Config) {
    match process.stop_reason() {
        Some(Shutdown::Command) => process.log.warning("User requested shutdown..."),
        Some(Shutdown::Failure) | None => {}
        Some(_) => process.log.warning("Received shutdown signal during operation"),
    }
    if let Some(path) = &config.unixsocket {
        process.log.notice("Removing the unix socket file.");
        if let Err(error) = std::fs::remove_file(path) {
            process.log.warning(&format!("The unix socket file stays: {error}"));
        }
    }
    process.log.warning("Annulet is now ready to exit, bye bye...");
}

/// Seeds from the settings where they give one, else from the kernel.
fn seeds(config: &Config) -> Seeds {
    let mut bytes = [0u8; 24];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    if read.is_err() {
        bytes[..8].copy_from_slice(&Clock::System.unix_us().to_le_bytes());
        bytes[8..16].copy_from_slice(&u64::from(std::process::id()).to_le_bytes());
    }
    let mut given = [0u8; 16];
    for (at, byte) in config.hash_seed.iter().enumerate() {
        given[at % 16] = given[at % 16].rotate_left(3) ^ byte;
    }
    let hash = if config.hash_seed.is_empty() { &bytes[8..24] } else { &given[..] };
    let word = |at: usize| u64::from_le_bytes(hash[at..at + 8].try_into().expect("8 bytes"));
    let random = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"));
    Seeds { random, hash: [word(0), word(8)] }
}

fn run_id(seed: u64) -> String {
    let mut rng = Rng::new(seed);
    let words = [rng.next_u64(), rng.next_u64(), rng.next_u64()];
    format!("{:016x}{:016x}{:016x}", words[0], words[1], words[2])[..40].to_string()
}

fn paths(argv: &[String]) -> [String; 2] {
    let executable = std::env::current_exe().map(|path| path.display().to_string());
    let file = argv.get(1).filter(|word| !word.starts_with('-'));
    let file = file.and_then(|word| std::fs::canonicalize(word).ok());
    [executable.unwrap_or_default(), file.map(|p| p.display().to_string()).unwrap_or_default()]
}
