//! The limits of files that are being written, each with its unit and its reason.

/// Bytes of pieces that wait to be written. Above this limit the walks of a cut pause. It is some
/// milliseconds of work for a fast disk, and little beside the keys themselves.
pub const QUEUE_BYTES_MAX: usize = 16 << 20;

/// Bytes that are written between two syncs of a file with `rdb-save-incremental-fsync`. So the
/// kernel never has to write much at once.
pub const SYNC_BYTES: u64 = 4 << 20;
