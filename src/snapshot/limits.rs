//! The limits of files that are being written, each with its unit and its reason.

/// Bytes of pieces that wait to be written. Above this limit the walks of a cut pause. It is some
/// milliseconds of work for a fast disk, and little beside the keys themselves.
pub const QUEUE_BYTES_MAX: usize = 16 << 20;

/// Bytes of pieces above which the shards serve no sockets until some are written. Walks pause long
/// before, but a key that changes is pushed whatever waits: a disk that is slower than the changes
/// slows them down. It is a few percent of the memory for which a save takes long.
pub const CHANGED_BYTES_MAX: usize = 64 << 20;

/// Bytes that are written between two syncs of a file with `rdb-save-incremental-fsync`. So the
/// kernel never has to write much at once.
pub const SYNC_BYTES: u64 = 4 << 20;
