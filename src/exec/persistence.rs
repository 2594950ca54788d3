//! Facts about the data files, for INFO and LASTSAVE, and file content that this server keeps
//! without using it. Plain data, which the shards update.

use crate::rdb::Kept;

/// Progress of a file that is being loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loading {
    /// Start of the load, Unix seconds.
    pub started_s: u64,
    /// Size of the file in bytes.
    pub total_bytes: u64,
    /// Bytes that were read so far.
    pub read_bytes: u64,
    /// Bytes of memory that the file's writer used.
    pub used_memory_bytes: u64,
}

/// Facts about saved and loaded files.
#[derive(Clone, Debug, Default)]
pub struct PersistenceFacts {
    /// Unknown content of a loaded file, which is written to the next file.
    pub kept: Kept,
    /// Unix seconds of the last snapshot, or of the start.
    pub saved_s: u64,
    /// Number of requested snapshots.
    pub saves: u64,
    /// Whether the last snapshot failed.
    pub has_save_failed: bool,
    /// Changes of all shards up to the last snapshot.
    pub saved_changes: u64,
    /// Progress of the load; none if no file is being loaded.
    pub loading: Option<Loading>,
    /// Number of keys of the last load.
    pub loaded_keys: u64,
    /// Number of keys of the last load that had expired.
    pub expired_keys: u64,
    /// Number of skipped keys of the last load: values without elements, and hashes whose fields
    /// had all expired.
    pub skipped_keys: [u64; 2],
}

impl PersistenceFacts {
    /// Adds to the counts of loaded, expired and skipped keys.
    pub fn add_loaded(&mut self, keys: u64, expired: u64, skipped: [u64; 2]) {
        self.loaded_keys += keys;
        self.expired_keys += expired;
        self.skipped_keys[0] += skipped[0];
        self.skipped_keys[1] += skipped[1];
    }
}
