//! The limits of the feed, each with its unit and its reason.

/// Bytes that a shard may have handed over and that are not in the stream yet. Above this limit the
/// shard serves no sockets until the merger has caught up. It still runs parts from its inbox,
/// because otherwise units of other shards would never be complete. The mesh's credits bound these
/// parts.
pub const LANE_BYTES_MAX: usize = 64 << 20;

/// Bytes of the stream that the append-only file may still need. Above this limit commands that
/// write wait until the file needs at most half of it. A slow disk at 50 MB/s has them durable in
/// 5 s.
pub const DISK_BYTES_MAX: u64 = 256 << 20;

/// Bytes of a backlog block: the unit of freeing and of sending.
pub const BACKLOG_BLOCK_BYTES: usize = 64 << 10;

/// Approximate limit of the stream bytes that one call of the merger writes: some hundred
/// microseconds of copying. The next shard that calls the merger continues.
pub const MERGE_BYTES_MAX: u64 = 512 << 10;

/// Capacity in bytes that an emptied buffer between shard and merger keeps.
pub const POOLED_BYTES_MAX: usize = 256 << 10;
