//! Facts about the data files, for INFO and LASTSAVE, and file content that this server keeps
//! without using it. Plain data, which the shards update.

use crate::rdb::Kept;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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

/// The kind of a file that is being written from a cut of all partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotKind {
    /// The data file: BGSAVE, SAVE, SHUTDOWN, a save point.
    Save,
    /// The base of the append-only file.
    AofBase,
    /// The snapshot for replicas.
    Replicas,
}

/// What any thread may read and ask of a file that is being written.
#[derive(Debug, Default)]
pub struct SnapshotProgress {
    is_unwanted: AtomicBool,
    keys: AtomicU64,
    peak_bytes: AtomicU64,
}

impl SnapshotProgress {
    /// Asks the writer to give the file up. The caller rings the doorbells of all shards.
    pub fn abandon(&self) {
        self.is_unwanted.store(true, Ordering::SeqCst);
    }

    /// Returns whether nobody wants the file any more.
    pub fn is_abandoned(&self) -> bool {
        self.is_unwanted.load(Ordering::SeqCst)
    }

    /// Counts keys that were written.
    pub fn add_keys(&self, keys: u64) {
        self.keys.fetch_add(keys, Ordering::Relaxed);
    }

    /// Returns the number of keys that were written.
    pub fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    /// Records the bytes of memory that keys on their way to the file take.
    pub fn note_bytes(&self, bytes: u64) {
        self.peak_bytes.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Returns the most bytes of memory that keys on their way to the file have taken.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes.load(Ordering::Relaxed)
    }
}

/// The file that is being written from a cut of all partitions. The process writes one at a time.
#[derive(Clone, Debug)]
pub struct SnapshotUnderWay {
    /// Its kind.
    pub kind: SnapshotKind,
    /// Whether no client waits for it, so that it is given up when a later file replaces it.
    pub is_replaceable: bool,
    /// Start, Unix seconds.
    pub started_s: u64,
    /// Number of keys at the start.
    pub keys: u64,
    /// Its progress.
    pub progress: Arc<SnapshotProgress>,
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
    /// Whether the last snapshot in the background failed, and no other has succeeded since.
    pub has_save_failed: bool,
    /// Unix seconds of the last attempt to make a snapshot in the background.
    pub save_tried_s: u64,
    /// Seconds that the last snapshot in the background took.
    pub save_took_s: Option<u64>,
    /// Most bytes of memory that the keys on their way to the last file took.
    pub save_peak_bytes: u64,
    /// Number of commands that have removed all keys, as far as the data file heeds them.
    pub flushes_seen: u64,
    /// Whether a command has removed all keys, and the data file still has them.
    pub is_flush_unsaved: bool,
    /// Whether a snapshot begins as soon as possible.
    pub is_save_scheduled: bool,
    /// The file that is being written from a cut of all partitions.
    pub under_way: Option<SnapshotUnderWay>,
    /// The save in the background, from its request to its end. It may wait until another file is
    /// written.
    pub background: Option<SnapshotUnderWay>,
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
    /// Returns whether the base of the append-only file is being written.
    pub fn is_rewriting(&self) -> bool {
        self.under_way.as_ref().is_some_and(|it| it.kind == SnapshotKind::AofBase)
    }

    /// Adds to the counts of loaded, expired and skipped keys.
    pub fn add_loaded(&mut self, keys: u64, expired: u64, skipped: [u64; 2]) {
        self.loaded_keys += keys;
        self.expired_keys += expired;
        self.skipped_keys[0] += skipped[0];
        self.skipped_keys[1] += skipped[1];
    }
}
