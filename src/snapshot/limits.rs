//! The limits of files that are being written, each with its unit and its reason.

/// Bytes of pieces that wait to be written. Above this limit the walks of a cut pause. It is some
/// milliseconds of work for a fast disk, and little beside the keys themselves.
pub const QUEUE_BYTES_MAX: usize = 8 << 20;

/// Bytes of pieces above which the shards serve no sockets until some are written. Walks pause long
/// before, but a key that changes is pushed whatever waits: a disk that is slower than the changes
/// slows them down. If the keys take much memory, the limit is one in [`CHANGED_SHARE`] bytes of
/// it.
pub const CHANGED_BYTES_MIN: usize = 24 << 20;

/// The part of the memory that waiting pieces may take.
pub const CHANGED_SHARE: usize = 16;

/// Bytes after which the kernel is told to write a file with `rdb-save-incremental-fsync` to the
/// disk. It has at most about twice as many to write, so the last sync is short.
pub const SYNC_BYTES: u64 = 4 << 20;

/// Bytes that are read at once from the file that replicas receive.
pub const SEND_PIECE_BYTES: u64 = 256 << 10;

/// Pieces of this file that wait for one replica: about as much as a socket takes in a turn.
pub const SEND_PIECES_MAX: usize = 4;
