//! Writing a snapshot to disk. The old file stays complete until a rename replaces it.

use super::image::{Snapshot, SnapshotReader};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// Bytes per write.
const PIECE_BYTES: usize = 1 << 20;

/// Writes a snapshot to a file of a directory, completely or not at all. The error tells which step
/// has failed.
pub fn write_file(dir: &Path, name: &str, snapshot: Arc<Snapshot>) -> Result<(), String> {
    let draft = dir.join(format!("temp-{}.rdb", std::process::id()));
    let file = File::create(&draft).map_err(|error| {
        let (name, dir) = (draft.display(), dir.display());
        format!(
            "Failed opening the temp RDB file {name} (in server root dir {dir}) for saving: {error}"
        )
    })?;
    let written = write_all(file, snapshot)
        .map_err(|error| format!("Write error while saving DB to the disk: {error}"));
    let moved = written.and_then(|()| {
        fs::rename(&draft, dir.join(name)).map_err(|error| {
            format!(
                "Error moving temp DB file {} on the final destination {name}: {error}",
                draft.display()
            )
        })
    });
    if moved.is_err() {
        // The partial file is useless. Whether its removal fails does not matter.
        let _ = fs::remove_file(&draft);
        return moved;
    }
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|error| format!("Failed to fsync directory while saving DB: {error}"))
}

fn write_all(mut file: File, snapshot: Arc<Snapshot>) -> io::Result<()> {
    let mut reader = SnapshotReader::new(snapshot);
    while let Some(piece) = reader.next_piece(PIECE_BYTES) {
        file.write_all(&piece)?;
    }
    file.sync_all()
}
