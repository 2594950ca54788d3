//! The feed's bounds, each with its unit and its reason.

/// Bytes that a shard may have handed over and that are not in the stream yet. Above it the shard
/// serves no sockets until the merger has caught up. Parts out of its inbox run all the same, or
/// the others' units would never be whole: what comes on top is bounded by the mesh's credits.
pub const LANE_BYTES_MAX: usize = 64 << 20;

/// Bytes of a backlog's block. What is freed and what is sent at a stretch is this much.
pub const BACKLOG_BLOCK_BYTES: usize = 64 << 10;

/// Bytes of stream that one call of the merger makes, about: some hundred microseconds of copying.
/// The rest is left to the next shard that comes by.
pub const MERGE_BYTES_MAX: u64 = 512 << 10;

/// Bytes that an emptied buffer between shard and merger keeps for reuse.
pub const POOLED_BYTES_MAX: usize = 256 << 10;
