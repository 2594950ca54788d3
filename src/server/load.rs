//! Loading at the start: the main thread reads the file and sends its keys to the shards in bounded
//! batches.

use crate::base::slot::slot_of;
use crate::commands::restore_functions;
use crate::config::Config;
use crate::exec::{Loading, Process, Shutdown};
use crate::rdb::{Kept, Part};
use crate::script::RestorePolicy;
use crate::snapshot::{Batch, FileReader, Trust, keep_fact};
use crate::value::string::IntText;
use std::fs::File;
use std::io::ErrorKind;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

/// Largest number of batches that wait for one shard.
pub(super) const BATCHES_MAX: usize = 8;

/// Pause of the main thread between two checks of shards that are still loading.
const PAUSE: Duration = Duration::from_millis(1);

/// Opens the file to load, if there is one.
pub(super) fn open_file(config: &Config) -> Result<Option<File>, String> {
    let path = config.dir.join(&config.dbfilename);
    match File::open(&path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!(
            "Fatal error: can't open the RDB file {} for reading: {error}",
            config.dbfilename
        )),
    }
}

/// Channels through which the shards receive the keys of a file. The shards have all keys once it
/// is dropped.
pub(super) type KeySink = Vec<SyncSender<Batch>>;

/// The beginnings of errors about files that are not damaged.
const REFUSALS: [&str; 4] =
    ["Can't handle ", "Error reading the RDB file", "Unknown type or opcode", "Wrong signature"];

/// Why the data cannot be loaded, as lines for the log.
#[derive(Debug)]
pub(super) struct LoadFault {
    pub(super) lines: Vec<String>,
}

impl LoadFault {
    /// Creates a fault with one line.
    pub(super) fn of(line: String) -> LoadFault {
        LoadFault { lines: vec![line] }
    }

    /// Creates the fault of a snapshot that is loaded alone. As in the reference server, the last
    /// line tells a file that this server refuses from one that is damaged.
    fn of_snapshot(why: String) -> LoadFault {
        let is_refused = REFUSALS.iter().any(|refusal| why.starts_with(refusal));
        let end = match is_refused {
            true => "Fatal error loading the DB, check server logs. Exiting.",
            false => "Terminating server after rdb file reading failure.",
        };
        LoadFault { lines: vec![why, end.to_owned()] }
    }
}

/// Sends the keys of a file to the shards, and waits until all shards have stored theirs.
pub(super) fn load(
    process: &Process,
    config: &Config,
    file: File,
    shards: KeySink,
) -> Result<(), LoadFault> {
    load_snapshot(process, config, file, shards).map_err(LoadFault::of_snapshot)
}

fn load_snapshot(
    process: &Process,
    config: &Config,
    file: File,
    shards: KeySink,
) -> Result<(), String> {
    let started_ns = process.clock.monotonic_ns();
    let total_bytes = file.metadata().map_or(0, |facts| facts.len());
    let started_s = process.clock.unix_ms() / 1_000;
    let loading = Loading { started_s, total_bytes, ..Loading::default() };
    process.persistence().loading = Some(loading);
    let read = send_keys(process, config, file, &shards);
    drop(shards);
    while read.is_ok() && process.is_loading() && !process.is_stopping() {
        std::thread::sleep(PAUSE);
    }
    process.persistence().loading = None;
    read?;
    if process.stop_reason() == Some(Shutdown::Failure) {
        return Err("A shard could not load its keys".to_string());
    }
    if process.is_stopping() {
        return Ok(());
    }
    log_loaded(process);
    let seconds = (process.clock.monotonic_ns() - started_ns) as f64 / 1e9;
    process.log.notice(&format!("DB loaded from disk: {seconds:.3} seconds"));
    Ok(())
}

/// Logs how many keys of a snapshot were loaded.
pub(super) fn log_loaded(process: &Process) {
    let facts = process.persistence();
    let (keys, expired) = (facts.loaded_keys, facts.expired_keys);
    let [empty, fields] = facts.skipped_keys;
    drop(facts);
    let skipped = if empty > 0 { format!(", empty keys skipped: {empty}") } else { String::new() };
    process.log.notice(&format!(
        "Done loading RDB, keys loaded: {keys}, keys expired: {expired}{skipped}, \
         all fields expired hashes: {fields}."
    ));
}

/// Sends the keys of a file to the shards. Returns the offset of the snapshot's end in the file.
pub(super) fn send_keys(
    process: &Process,
    config: &Config,
    file: File,
    shards: &KeySink,
) -> Result<u64, String> {
    let trust =
        Trust { any_version: config.reads_any_rdb_version(), has_checksum: config.rdbchecksum };
    let mut reader = FileReader::open(file, trust)?;
    let map = process.slot_map.snapshot();
    let mut batches: Vec<Batch> = shards.iter().map(|_| Batch::default()).collect();
    let mut kept = Kept::default();
    let mut db = 0;
    let databases = config.database_count();
    let is_gone = |_| "A shard could not load its keys".to_string();
    loop {
        let full = reader.next(|part| {
            match part {
                Part::Database(number) if *number >= u64::from(databases) => {
                    return Err(format!(
                        "FATAL: Data file was created with a server configured to handle more \
                         than {databases} databases. Exiting"
                    ));
                }
                Part::Database(number) => db = *number as u32,
                Part::Entry(entry) => {
                    let buffer = &mut IntText::new();
                    let key = entry.key.bytes(buffer);
                    let slot = slot_of(key);
                    let shard = usize::from(map.owner(slot));
                    batches[shard].add(db, slot, key, entry);
                    return Ok(batches[shard].is_full().then_some(shard));
                }
                part => {
                    note_fact(process, part);
                    keep_fact(&mut kept, part);
                }
            }
            Ok(None)
        })?;
        let Some(full) = full else { break };
        if let Some(shard) = full {
            shards[shard].send(std::mem::take(&mut batches[shard])).map_err(is_gone)?;
            if let Some(loading) = &mut process.persistence().loading {
                loading.read_bytes = reader.offset();
            }
        }
    }
    for (shard, batch) in shards.iter().zip(batches) {
        shard.send(batch).map_err(is_gone)?;
    }
    let end = reader.offset();
    let functions = std::mem::take(&mut kept.functions);
    restore_functions(process, &functions, RestorePolicy::Append)
        .map_err(|error| format!("Failed to load function libraries: {}", error.text()))?;
    process.persistence().kept = kept;
    Ok(end)
}

/// Logs a fact that the file states about itself.
fn note_fact(process: &Process, part: &Part<'_>) {
    let Part::Aux(name, value) = part else { return };
    let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    let name = text(name.bytes(&mut IntText::new()));
    let value = text(value.bytes(&mut IntText::new()));
    let number = value.parse::<u64>().unwrap_or(0);
    let log = &process.log;
    match &name[..] {
        "redis-ver" => log.notice(&format!("Loading RDB produced by Redis version {value}")),
        "valkey-ver" => log.notice(&format!("Loading RDB produced by Valkey version {value}")),
        "ctime" => {
            let age_s = (process.clock.unix_ms() / 1_000).saturating_sub(number);
            log.notice(&format!("RDB age {age_s} seconds"));
        }
        "used-mem" => {
            let mb = number as f64 / f64::from(1 << 20);
            log.notice(&format!("RDB memory usage when created {mb:.2} Mb"));
            if let Some(loading) = &mut process.persistence().loading {
                loading.used_memory_bytes = number;
            }
        }
        name if name.starts_with('%') => log.notice(&format!("RDB '{name}': {value}")),
        _ => {}
    }
}
