//! From the command line to a running server.

use super::arguments::{Errand, errand};
use super::check_rdb::check_rdb;
use super::cluster::join_cluster;
use super::crash::report_crashes;
use super::listen::open_all;
use super::load::{BATCHES_MAX, KeySink, LoadFault, load, open_file};
use super::load_aof::{AofLoad, end_loading, reloader};
use super::signals::stop_on_signals;
use super::supervise::Supervisor;
use super::threads::{Common, Parts, Seat, Seeds, build_process, run};
use crate::aof::{Folder, Intakes, Writer, check_aof};
use crate::base::alloc::used_bytes;
use crate::base::background::{ignore_hangup, leave_terminal};
use crate::base::clock::Clock;
use crate::base::rng::Rng;
use crate::base::system::fill_random;
use crate::base::thread::{
    allowed_cores, keep_to, parse_cores, raise_descriptor_limit, reserve_descriptors,
};
use crate::base::{syslog, title};
use crate::commands::{load_users, log_form};
use crate::config::{Config, FatalConfigError};
use crate::control::{Control, ProcessMemory, close_idle_peers};
use crate::exec::OffloadPool;
use crate::exec::{Process, Shutdown};
use crate::feed::Feed;
use crate::mesh::{Mesh, Rules};
use crate::observe::{Level, Log};
use crate::partition::Berths;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::Duration;

/// Pause between two looks for idle connections to other servers.
const IDLE_PEERS_PERIOD: Duration = Duration::from_secs(1);

/// Descriptors that the process needs besides one per client.
const RESERVED_DESCRIPTORS: u64 = 64;

/// Runs the errand that the command line (with the program's name) asks for.
pub fn main(argv: Vec<String>) -> ExitCode {
    let (program, args) = match argv.split_first() {
        Some((program, args)) => (program.as_str(), args),
        None => ("annulet", &[][..]),
    };
    let config = match errand(program, args) {
        Errand::Serve(config) => *config,
        Errand::CheckAof(path, options) => {
            let (mut out, mut answers) = (std::io::stdout().lock(), std::io::stdin().lock());
            let is_valid = check_aof(&path, options, &mut out, &mut answers);
            return if is_valid { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        Errand::Print(text) => {
            let printed = std::io::stdout().write_all(text.as_bytes());
            return if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        Errand::CheckRdb(path) => {
            let checked = check_rdb(&path, &mut std::io::stdout().lock());
            let is_whole = checked.is_ok_and(|is_whole| is_whole);
            return if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE };
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

/// Serves until the process is asked to stop. A failure is logged before it is returned.
fn serve(mut config: Config, argv: &[String]) -> Result<(), String> {
    let clock = Clock::System;
    let log = open_log(&config, &clock)?;
    let paths = paths(&config);
    let supervisor = Supervisor::find(config.supervised, &log);
    let is_background = config.daemonize && supervisor == Supervisor::None;
    ignore_hangup();
    // Before there is a second thread, because fork copies only the calling thread.
    if is_background && let Err(error) = leave_terminal() {
        let why = format!("Cannot start a background process: {error}");
        log.warning(&why);
        return Err(why);
    }
    if config.set_proc_title {
        title::make_room(argv.first().map_or("annulet", String::as_str));
    }
    let cores = cores(&config.server_cpulist, &log);
    let shards = if config.shards == 0 { cores.len() } else { config.shards as usize };
    let needed = u64::from(config.maxclients) + RESERVED_DESCRIPTORS;
    let descriptors = raise_descriptor_limit(needed);
    reserve_descriptors(descriptors.min(needed));
    let room = descriptors.saturating_sub(RESERVED_DESCRIPTORS);
    let is_short = room < u64::from(config.maxclients);
    if is_short {
        config.maxclients = room as u32;
    }
    let seeds = seeds(&config);
    crate::base::hash::set_seed(seeds.hash);
    let (control, memory) = start_control().map_err(|error| format!("{error}"))?;
    let run_id = run_id(seeds.random);
    let process = build_process(Parts { shards, memory, clock, log, run_id, paths, config });
    process.supervised.get_or_init(|| supervisor.word());
    if let Err(why) = load_users(&process) {
        process.log.warning(&why);
        control.stop();
        return Err(why);
    }
    let config = process.config.snapshot();
    greet(&process, &config, argv.len() > 1);
    if let Err(why) = join_cluster(&process, &config, Rng::new(!seeds.random)) {
        process.log.warning(&why);
        control.stop();
        return Err(why);
    }
    if let Err(error) = report_crashes(&process) {
        process.log.warning(&format!("Crash reports are not available: {error}"));
    }
    let pid_file = PidFile::write(&config, is_background, &process);
    if config.set_proc_title {
        title::set(|program| config.title(program));
    }
    if let Some(why) = control.fallback() {
        process.log.notice(&format!("Control runs without glommio: {why}"));
    }
    if is_short {
        process.log.warning(&format!(
            "maxclients is reduced to {room}: the limit of open descriptors is reached"
        ));
    }
    let result = configure_tls(&config, &process)
        .and_then(|()| run_shards(&process, &config, &cores, seeds, supervisor));
    control.stop();
    pid_file.remove(&process);
    if let Err(why) = &result {
        why.lines().for_each(|line| process.log.warning(line));
    }
    result
}

/// Starts the control thread and its periodic work, and returns what it knows of the memory.
fn start_control() -> std::io::Result<(Control, Arc<ProcessMemory>)> {
    let control = Control::start("control")?;
    let memory = ProcessMemory::open()?;
    ProcessMemory::watch(&memory, &control, used_bytes)?;
    control.every(IDLE_PEERS_PERIOD, || close_idle_peers(&Clock::System));
    Ok((control, memory))
}

/// Opens the log, after a check that it can be written.
fn open_log(config: &Config, clock: &Clock) -> Result<Log, String> {
    // File names without a folder are relative to `dir`.
    let entered = std::env::set_current_dir(&config.dir);
    let least = Level::from_index(config.loglevel as usize);
    let log = Log::new(config.logfile.clone(), least, clock.clone());
    if let Err(error) = entered.and_then(|()| log.check()) {
        let error = FatalConfigError::of_log_file(&error).to_string();
        eprintln!("{error}");
        return Err(error);
    }
    log.set_form(log_form(config));
    if config.syslog_enabled {
        syslog::open(&config.syslog_ident, config.syslog_facility as usize);
        log.add_syslog();
    }
    Ok(log)
}

/// Returns the cores for the shards: the cores of the list, if there is one, that the kernel
/// allows.
fn cores(list: &str, log: &Log) -> Vec<usize> {
    let allowed = allowed_cores().unwrap_or_else(|_| vec![0]);
    if list.is_empty() {
        return allowed;
    }
    let wanted = parse_cores(list).unwrap_or_default();
    let cores: Vec<usize> = allowed.iter().copied().filter(|core| wanted.contains(core)).collect();
    if cores.is_empty() {
        log.warning(&format!("'{list}' names no core that this process may use; using all cores"));
        return allowed;
    }
    if let Err(error) = keep_to(&cores) {
        log.warning(&format!("Cannot pin the process to the cores {list}: {error}"));
    }
    cores
}

/// The default pid file of a server in the background.
const PID_FILE: &str = "/var/run/annulet.pid";

/// The pid file, which exists as long as the process lives.
struct PidFile(Option<PathBuf>);

impl PidFile {
    fn write(config: &Config, is_background: bool, process: &Process) -> PidFile {
        let default = is_background.then(|| PathBuf::from(PID_FILE));
        let path = config.pidfile.clone().or(default);
        if let Some(path) = &path
            && let Err(error) = std::fs::write(path, format!("{}\n", std::process::id()))
        {
            process.log.warning(&format!("Failed to write PID file: {error}"));
        }
        PidFile(path)
    }

    fn remove(self, process: &Process) {
        if let PidFile(Some(path)) = self {
            process.log.notice("Removing the pid file.");
            // The file may never have been written.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn run_shards(
    process: &Arc<Process>,
    config: &Config,
    cores: &[usize],
    seeds: Seeds,
    supervisor: Supervisor,
) -> Result<(), String> {
    let listeners = open_all(config, process)?;
    let shards = process.shards();
    let mesh = Mesh::new(shards, Rules::default(), None);
    stop_on_signals(Arc::clone(process), Arc::clone(&mesh))?;
    let gathering = Arc::new(Barrier::new(shards + 1));
    // With an append-only file, the snapshot is not loaded.
    let file = if config.appendonly { None } else { open_file(config)? };
    let loads = config.appendonly || file.is_some();
    let (senders, mut intakes): (Vec<_>, Vec<_>) =
        (0..shards).map(|_| sync_channel(BATCHES_MAX)).unzip();
    if loads {
        let has_begun = process.loading.begin(shards, config.appendonly);
        assert!(has_begun, "nothing was loaded before");
    }
    crate::http::start(process, config)?;
    intakes.reverse();
    let mut listeners = Some(listeners);
    let mut threads = Vec::with_capacity(shards);
    let feed = Arc::new(Feed::new(Arc::clone(&mesh), process.clock.clone(), 0));
    let offload_pool = start_offload_pool(process, config);
    let offload_pool = offload_pool
        .map_err(|error| format!("Cannot start the threads of the offload pool: {error}"))?;
    let common = Common {
        process: Arc::clone(process),
        mesh: Arc::clone(&mesh),
        feed,
        berths: Berths::new(shards),
    };
    let later_intakes = Arc::new(Intakes::default());
    for me in 0..shards {
        let has_core = shards <= cores.len();
        let is_pinned = config.pin_shards && has_core;
        threads.push(spawn(Seat {
            me,
            common: common.clone(),
            seeds,
            core: is_pinned.then(|| cores[me]),
            has_core,
            offload_pool: offload_pool.clone(),
            listeners: listeners.take_if(|_| me == 0).unwrap_or_default(),
            intake: intakes.pop().filter(|_| loads),
            intakes: Arc::clone(&later_intakes),
            gathering: Arc::clone(&gathering),
        })?);
    }
    gathering.wait();
    let loaded = ready((&common, &later_intakes), config, file, senders);
    if loaded.is_ok() {
        supervisor.tell("STATUS=Ready to accept connections\n", &process.log);
        supervisor.tell("READY=1\n", &process.log);
    }
    if loaded.is_err() {
        process.stop(Shutdown::Failure);
        mesh.ring_all();
    }
    let result = wait_for(threads, process, &mesh);
    let result = match loaded {
        Ok(writer) => result.map(|()| end_writer(writer)),
        Err(fault) => Err(described(fault, result)),
    };
    farewell(process, config, result.is_ok());
    result
}

/// Loads the certificates and keys of TLS, if anything needs them.
fn configure_tls(config: &Config, process: &Process) -> Result<(), String> {
    if !config.uses_tls() {
        return Ok(());
    }
    match process.tls.configure(config, &process.clock) {
        Ok(hint) => hint.iter().for_each(|hint| process.log.warning(hint)),
        Err(why) => {
            process.log.warning(&why);
            return Err("Failed to configure TLS. Check logs for more info.".to_owned());
        }
    }
    Ok(())
}

/// Returns why the data cannot be loaded, as lines for the log. A shard that has failed is the
/// cause, and comes first.
fn described(fault: LoadFault, shards: Result<(), String>) -> String {
    let lines: Vec<String> = shards.err().into_iter().chain(fault.lines).collect();
    lines.join("\n")
}

/// Starts the threads of the offload pool, on separate cores if the settings say so.
fn start_offload_pool(process: &Process, config: &Config) -> std::io::Result<OffloadPool> {
    let own = parse_cores(&config.bio_cpulist).filter(|_| !config.bio_cpulist.is_empty());
    let before = allowed_cores();
    if let Some(cores) = &own
        && let Err(error) = keep_to(cores)
    {
        let list = &config.bio_cpulist;
        process.log.warning(&format!("Cannot pin the offload pool to the cores {list}: {error}"));
    }
    let offload_pool = OffloadPool::start();
    if let (Some(_), Ok(cores)) = (own, before) {
        // It cannot fail: these cores were allowed before.
        let _ = keep_to(&cores);
    }
    offload_pool
}

fn spawn(seat: Seat) -> Result<JoinHandle<Result<(), String>>, String> {
    let name = format!("shard-{}", seat.me);
    let process = Arc::clone(&seat.common.process);
    let mesh = Arc::clone(&seat.common.mesh);
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

/// Waits until all shards have ended; returns the first failure.
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
    let is_seen = !config.syslog_enabled && !log.has_file() && std::io::stdout().is_terminal();
    if config.always_show_logo || is_seen {
        log.raw(&logo(config));
    } else {
        let mode = if config.cluster_enabled { "cluster" } else { "standalone" };
        log.notice(&format!("Running mode={mode}, port={}.", config.shown_port()));
    }
    log.notice(&format!("Port: {}, PID: {pid}", config.shown_port()));
    if let Err(error) = process.oom_score.apply(config) {
        log.warning(&format!("Unable to write oom_score_adj: {error}"));
    }
    for (name, reason) in config.without_effect() {
        log.verbose(&format!("The setting '{name}' is accepted, without effect: {reason}"));
    }
}

fn logo(config: &Config) -> String {
    let (pid, version, port) = (std::process::id(), env!("CARGO_PKG_VERSION"), config.shown_port());
    let mode = if config.cluster_enabled { "cluster" } else { "standalone" };
    let path = config.unixsocket.as_ref().map_or("none".into(), |path| path.to_string_lossy());
    format!(
        "\n       .-=======-.\n     .'  .-----.  '.      Annulet {version}, 64 bit\n    \
         /  /       \\  \\     Running in {mode} mode\n   \
         |  |         |  |    Port: {port}\n    \
         \\  \\       /  /     Unix socket: {path}\n     \
         '.  '-----'  .'      PID: {pid}\n       '-=======-'\n\n"
    )
}

/// Loads the file, or the append-only file, and logs that the server accepts connections. Returns
/// the writer of the append-only file, if there is one.
fn ready(
    (common, intakes): (&Common, &Arc<Intakes>),
    config: &Config,
    file: Option<File>,
    keys: KeySink,
) -> Result<Option<Writer>, LoadFault> {
    let process = &common.process;
    if process.is_stopping() {
        return Ok(None);
    }
    let shards = process.shards();
    process.log.notice(&format!("Shards: {shards}"));
    process.log.notice("Server initialized");
    let mut writer = None;
    if let Some(file) = file {
        load(process, config, file, keys)?;
    } else if config.appendonly {
        writer = load_commands((common, intakes), config, keys)?;
    }
    if writer.is_none() && !config.appendonly && !process.is_stopping() {
        writer = Some(start_idle((common, intakes), config)?);
    }
    if process.is_stopping() {
        return Ok(writer);
    }
    if config.port != 0 {
        process.log.notice("Ready to accept connections tcp");
    }
    if config.unixsocket.is_some() {
        process.log.notice("Ready to accept connections unix");
    }
    if config.tls_port != 0 {
        process.log.notice("Ready to accept connections tls");
    }
    Ok(writer)
}

/// Loads the append-only file, and starts the thread that continues it.
fn load_commands(
    (common, intakes): (&Common, &Arc<Intakes>),
    config: &Config,
    keys: KeySink,
) -> Result<Option<Writer>, LoadFault> {
    let Common { process, mesh, feed, .. } = common;
    let folder = Folder::new(&config.dir, &config.appenddirname, &config.appendfilename);
    let manifest = folder.read_manifest();
    let mut manifest = manifest.map_err(|error| LoadFault { lines: error.log_lines() })?;
    let upgraded = folder.upgrade(&config.dir, &mut manifest).map_err(LoadFault::of)?;
    if let Some(line) = upgraded {
        process.log.notice(&line);
    }
    let sizes = AofLoad::new(process, config, mesh, &folder, keys).run(&manifest)?;
    if process.is_stopping() {
        return Ok(None);
    }
    let reloader = reloader(common, intakes);
    let writer = Writer::start((process, mesh, feed), folder, manifest, sizes, reloader);
    let writer = writer.map_err(LoadFault::of)?;
    end_loading(process, mesh);
    Ok(Some(writer))
}

/// Starts the thread of the append-only file, although there is none: it may be turned on.
fn start_idle(
    (common, intakes): (&Common, &Arc<Intakes>),
    config: &Config,
) -> Result<Writer, LoadFault> {
    let Common { process, mesh, feed, .. } = common;
    let folder = Folder::new(&config.dir, &config.appenddirname, &config.appendfilename);
    let manifest = folder.read_manifest();
    let manifest = manifest.map_err(|error| LoadFault { lines: error.log_lines() })?;
    let reloader = reloader(common, intakes);
    let writer = Writer::start((process, mesh, feed), folder, manifest, (0, 0), reloader);
    writer.map_err(LoadFault::of)
}

/// Waits until the append-only file has all commands.
fn end_writer(writer: Option<Writer>) {
    if let Some(writer) = writer {
        writer.finish();
    }
}

fn farewell(process: &Process, config: &Config, is_clean: bool) {
    if let Some(path) = &config.unixsocket {
        process.log.notice("Removing the unix socket file.");
        if let Err(error) = std::fs::remove_file(path) {
            process.log.warning(&format!("Cannot remove the unix socket file: {error}"));
        }
    }
    if is_clean {
        process.log.warning("Annulet is now ready to exit, bye bye...");
    }
}

/// Returns seeds from the settings if they give any, else from the kernel.
fn seeds(config: &Config) -> Seeds {
    let mut bytes = [0u8; 24];
    if fill_random(&mut bytes).is_err() {
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

fn paths(config: &Config) -> [String; 2] {
    let executable = std::env::current_exe().map(|path| path.display().to_string());
    let file = config.config_file.as_ref().map(|path| path.display().to_string());
    [executable.unwrap_or_default(), file.unwrap_or_default()]
}
