//! What is known of the files that keep the data: what INFO and LASTSAVE read, and what a file
//! held that means nothing here. Plain data, which the shards keep up to date.

use crate::rdb::Kept;

/// A file that is being loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loading {
    /// Unix seconds of the start.
    pub started_s: u64,
    /// Bytes of the file.
    pub total_bytes: u64,
    /// Bytes of it that were read.
    pub read_bytes: u64,
    /// Bytes of memory that its writer used.
    pub used_memory_bytes: u64,
}

/// Files that were written and loaded.
#[derive(Clone, Debug, Default)]
pub struct PersistenceFacts {
    /// What was found and is to be handed back.
    pub kept: Kept,
    /// Unix seconds of the last snapshot, or of the start.
    pub saved_s: u64,
    /// Snapshots that were asked for.
    pub saves: u64,
    /// Whether the last one failed.
    pub has_save_failed: bool,
    /// All shards' changes up to the last snapshot.
    pub saved_changes: u64,
    /// The file that is being loaded now.
    pub loading: Option<Loading>,
    /// Keys that the last load has brought.
    pub loaded_keys: u64,
    /// Keys that were due when they were loaded last.
    pub expired_keys: u64,
    /// Values without elements, and hashes of which all fields were due, that were loaded last.
    pub skipped_keys: [u64; 2],
}

impl PersistenceFacts {
    /// Keys were loaded, due, or skipped.
    pub fn add_loaded(&mut self, keys: u64, expired: u64, skipped: [u64; 2]) {
        self.loaded_keys += keys;
        self.expired_keys += expired;
        self.skipped_keys[0] += skipped[0];
        self.skipped_keys[1] += skipped[1];
    }
}
