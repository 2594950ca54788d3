//! Opening the files at the start, and deleting replaced ones.

use super::folder::Folder;
use super::incr::IncrFile;
use super::manifest::Manifest;
use crate::config::Config;
use crate::exec::Process;
use crate::rdb::{Kept, Preamble};
use crate::snapshot::{Snapshot, SnapshotReader};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Version of Valkey whose behaviour this server has.
const VALKEY_VERSION: &str = "9.1.0";

/// Opens the file of commands that is continued. Creates what is missing: the folder, an empty
/// base, a file of commands. The error is a line for the log.
pub(super) fn open_files(
    process: &Process,
    config: &Config,
    folder: &Folder,
    manifest: &mut Manifest,
) -> Result<IncrFile, String> {
    folder.create()?;
    if manifest.is_empty() {
        let is_rdb = config.aof_use_rdb_preamble;
        let base = manifest.add_base(folder.prefix(), is_rdb).clone();
        if is_rdb {
            write_empty_base(process, folder.path(), &base.text(), config.rdbchecksum)?;
        } else {
            write_empty_commands(process, config, &folder.path_of(&base.name))?;
        }
        let line = format!("Creating AOF base file {} on server start", base.text());
        process.log.notice(&line);
    }
    let is_new = manifest.incrs.is_empty();
    if is_new {
        manifest.add_incr(folder.prefix());
    }
    let incr = manifest.incrs.last().expect("added above").clone();
    let file = folder.open_incr(&incr.name)?;
    if manifest.text() != folder.manifest_text() {
        folder.write_manifest(manifest)?;
    }
    let size = file.metadata().map_or(0, |facts| facts.len());
    let what = if is_new { "Creating" } else { "Opening" };
    process.log.notice(&format!("{what} AOF incr file {} on server start", incr.text()));
    Ok(IncrFile::new(file, size))
}

/// Bytes of a piece of a base without keys.
const BASE_PIECE_BYTES: usize = 64 << 10;

/// Writes a base without keys, in the form of a snapshot.
fn write_empty_base(
    process: &Process,
    folder: &Path,
    name: &str,
    has_checksum: bool,
) -> Result<(), String> {
    let kept = Kept { functions: process.functions.texts(), ..Kept::default() };
    let preamble = Preamble {
        valkey_version: VALKEY_VERSION,
        written_s: process.clock.unix_ms() / 1_000,
        used_memory_bytes: crate::base::alloc::used_bytes(),
        origin: None,
        kept: &kept,
        is_aof_base: true,
    };
    let mut reader = SnapshotReader::new(Arc::new(Snapshot::new(&preamble, &[], has_checksum)));
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next_piece(BASE_PIECE_BYTES) {
        bytes.extend_from_slice(&piece);
    }
    let draft = folder.join(format!("temp-{}.rdb", std::process::id()));
    let written = fs::write(&draft, bytes)
        .and_then(|()| fs::File::open(&draft)?.sync_all())
        .and_then(|()| fs::rename(&draft, folder.join(name)));
    written.map_err(|error| format!("Write error while saving DB to the disk: {error}"))
}

/// Writes a base without keys, in the form of commands.
fn write_empty_commands(process: &Process, config: &Config, path: &Path) -> Result<(), String> {
    let now_s = process.clock.unix_ms() / 1_000;
    let text =
        if config.aof_timestamp_enabled { format!("#TS:{now_s}\r\n") } else { String::new() };
    let written = fs::write(path, text).and_then(|()| fs::File::open(path)?.sync_all());
    written.map_err(|error| format!("Write error writing append only file on disk: {error}"))
}

/// Deletes the files whose content a rewrite has replaced.
pub(super) fn delete_history(process: &Process, folder: &Folder, manifest: &mut Manifest) {
    if process.config.snapshot().aof_disable_auto_gc || manifest.history.is_empty() {
        return;
    }
    for entry in std::mem::take(&mut manifest.history) {
        let line = format!("Removing the history file {} in the background", entry.text());
        process.log.notice(&line);
        // The manifest below no longer lists it, so a file that stays does no harm.
        let _ = fs::remove_file(folder.path_of(&entry.name));
    }
    if let Err(line) = folder.write_manifest(manifest) {
        process.log.warning(&line);
    }
}
