//! The hash of elements inside values. All shards use one key, so that a value may move between
//! shards.

use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;

static STATE: OnceLock<ahash::RandomState> = OnceLock::new();

fn state() -> &'static ahash::RandomState {
    STATE.get_or_init(|| state_of([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]))
}

fn state_of([first, second]: [u64; 2]) -> ahash::RandomState {
    ahash::RandomState::with_seeds(second, first, !second, !first)
}

/// Sets the secret key; call it at the start, before anything is hashed. Otherwise a fixed key is
/// used.
pub fn set_seed(seed: [u64; 2]) {
    // Several servers in one process share the first key.
    let _ = STATE.set(state_of(seed));
}

/// Returns a hasher for a table whose keys a client chooses.
pub fn table_hasher() -> ahash::RandomState {
    state().clone()
}

/// Returns the hash of an element.
#[inline]
pub fn hash_of(bytes: &[u8]) -> u64 {
    let mut hasher = state().build_hasher();
    hasher.write(bytes);
    hasher.finish()
}
