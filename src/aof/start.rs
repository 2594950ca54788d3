//! Opening the files at the start, and deleting replaced ones.

use super::folder::Folder;
use super::incr::IncrFile;
use super::manifest::Manifest;
use super::storage::write_all;
use crate::base::system::error_text;
use crate::config::Config;
use crate::exec::Process;
use crate::rdb::{Kept, Preamble};
use crate::snapshot::{Snapshot, SnapshotReader, VALKEY_VERSION};
use std::sync::Arc;

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
        let bytes = match is_rdb {
            true => empty_snapshot(process, config.rdbchecksum),
            false => empty_commands(process, config),
        };
        write_base(folder, &base.text(), &bytes)?;
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
    // A process before this one may have ended before its last bytes and names were durable.
    file.sync().map_err(|error| {
        let (name, why) = (incr.text(), error_text(&error));
        format!("Can't fsync the append-only file {name}: {why}")
    })?;
    folder.sync_names()?;
    let size = file.size().unwrap_or(0);
    let what = if is_new { "Creating" } else { "Opening" };
    process.log.notice(&format!("{what} AOF incr file {} on server start", incr.text()));
    Ok(IncrFile::new(file, size))
}

/// Bytes of a snapshot that are written at once.
const PIECE_BYTES: usize = 64 << 10;

/// Returns a base without keys, in the form of a snapshot.
fn empty_snapshot(process: &Process, has_checksum: bool) -> Vec<u8> {
    let kept = Kept { functions: process.functions.texts(), ..Kept::default() };
    let preamble = Preamble {
        valkey_version: VALKEY_VERSION,
        written_s: process.clock.unix_ms() / 1_000,
        used_memory_bytes: crate::base::alloc::used_bytes(),
        origin: None,
        is_aof_base: true,
        kept: &kept,
    };
    let snapshot = Arc::new(Snapshot::new(&preamble, &[], has_checksum));
    let mut reader = SnapshotReader::new(snapshot);
    std::iter::from_fn(|| reader.next_piece(PIECE_BYTES)).flatten().collect()
}

/// Returns a base without keys, in the form of commands.
fn empty_commands(process: &Process, config: &Config) -> Vec<u8> {
    let now_s = process.clock.unix_ms() / 1_000;
    let text = format!("#TS:{now_s}\r\n");
    if config.aof_timestamp_enabled { text.into_bytes() } else { Vec::new() }
}

/// Writes a base, completely or not at all. The error is a line for the log.
fn write_base(folder: &Folder, name: &str, bytes: &[u8]) -> Result<(), String> {
    let draft = folder.path().join(format!("temp-rewriteaof-{}.aof", std::process::id()));
    let written = folder.create_new(&draft).and_then(|file| {
        write_all(&*file, bytes)?;
        file.sync()
    });
    written.map_err(|error| {
        let why = error_text(&error);
        format!("Write error writing append only file on disk: {why}")
    })?;
    folder.storage.rename(&draft, &folder.path().join(name)).map_err(|error| {
        let why = error_text(&error);
        format!("Error moving temp append only file on the final destination: {why}")
    })
}
