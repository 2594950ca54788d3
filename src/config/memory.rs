//! Settings of memory, expiry and freeing.

use super::MaxmemoryPolicy;
use super::card::{Kind, Setting, any_text, field};

/// Largest length of `hash-seed` in bytes.
pub const HASH_SEED_BYTES_MAX: usize = 256;

const SLICES: &str = "large values are always freed in slices";
const GROWTH: &str = "tables grow by a bucket per step at all times";
const EFFORT: &str = "each turn deletes all expired keys that it finds, within a time limit";
const INT_MAX: i128 = i32::MAX as i128;

/// The cards of these settings.
pub(super) static SETTINGS: &[Setting] = &[
    Setting::new("maxmemory", Kind::Memory(0, u64::MAX as i128), "0", field!(maxmemory))
        .shards_settle(),
    Setting::new(
        "maxmemory-policy",
        Kind::Choice(MaxmemoryPolicy::WORDS),
        "noeviction",
        field!(maxmemory_policy),
    )
    .shards_settle(),
    Setting::new("maxmemory-samples", Kind::Int(1, 64), "5", field!(maxmemory_samples)),
    Setting::new(
        "maxmemory-eviction-tenacity",
        Kind::Int(0, 100),
        "10",
        field!(maxmemory_eviction_tenacity),
    ),
    Setting::new("lfu-log-factor", Kind::Int(0, INT_MAX), "10", field!(lfu_log_factor))
        .shards_settle(),
    Setting::new("lfu-decay-time", Kind::Int(0, INT_MAX), "1", field!(lfu_decay_time))
        .shards_settle(),
    Setting::new("hash-seed", Kind::Text(read_hash_seed), "", field!(hash_seed)).immutable(),
    Setting::new("active-expire-effort", Kind::Int(1, 10), "1", field!(active_expire_effort))
        .idle(EFFORT),
    Setting::new("lazyfree-lazy-eviction", Kind::Bool, "yes", field!(lazyfree_lazy_eviction)),
    Setting::new("lazyfree-lazy-expire", Kind::Bool, "yes", field!(lazyfree_lazy_expire)),
    Setting::new("lazyfree-lazy-server-del", Kind::Bool, "yes", field!(lazyfree_lazy_server_del)),
    Setting::new("lazyfree-lazy-user-del", Kind::Bool, "yes", field!(lazyfree_lazy_user_del))
        .idle(SLICES),
    Setting::new("lazyfree-lazy-user-flush", Kind::Bool, "yes", field!(lazyfree_lazy_user_flush))
        .idle(SLICES),
    Setting::new("activedefrag", Kind::Bool, "no", field!(activedefrag)),
    Setting::new(
        "active-defrag-ignore-bytes",
        Kind::Memory(1, i64::MAX as i128),
        "100mb",
        field!(active_defrag_ignore_bytes),
    ),
    Setting::new(
        "active-defrag-threshold-lower",
        Kind::Int(0, 1000),
        "10",
        field!(active_defrag_threshold_lower),
    ),
    Setting::new("activerehashing", Kind::Bool, "yes", field!(activerehashing)).idle(GROWTH),
];

fn read_hash_seed(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    if text.len() > HASH_SEED_BYTES_MAX {
        return Err("hash-seed must be less than or equal to 256 characters");
    }
    any_text(text)
}
