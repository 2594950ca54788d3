//! The locks of a unit with very many keys, as one set.
//!
//! A set does not store its keys. It is a filter of their hashes, one per mode:
//!
//! ```text
//!   hash   | word index: the top bits | ... | 4 bit numbers of 6 bits each |
//!   words  | 64 bits | 64 bits | 64 bits | ...      a power of two
//!   a key is in the set if its 4 bits are set in its word
//! ```
//! A key that is not in the set may seem to be in it, never the other way round. Such a key counts
//! as locked in every respect: other units wait for it, and the unit itself may use it. So a false
//! member only delays others. With [`KEYS_PER_WORD`] about one key in 1,000 is a false member.
//!
//! The word index of a smaller filter is a prefix of the index in a larger one. So two sets of
//! different sizes can be compared.

use super::key_lock::{KeyLock, Mode, Scope};

/// Keys per word of a filter.
const KEYS_PER_WORD: usize = 2;

/// The fewest words of a filter.
const WORDS_MIN: usize = 8;

/// The most words of a filter: 4 MiB. A set of more than a million keys has more false members.
const WORDS_MAX: usize = 1 << 19;

/// Number of bits of a key in its word.
const BITS_PER_KEY: u32 = 4;

/// Keys of a unit on one shard, with the modes of their locks.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    /// Number of keys that the set was made for.
    keys: usize,
    shared: Filter,
    exclusive: Filter,
}

/// A filter of hashes. It has no memory before the first hash.
#[derive(Clone, Debug, Default)]
struct Filter(Box<[u64]>);

/// Returns the bits of a hash in its word.
fn bits_of(hash: u64) -> u64 {
    (0..BITS_PER_KEY).map(|at| 1 << ((hash >> (6 * at)) & 63)).fold(0, |all, bit: u64| all | bit)
}

impl Filter {
    fn word_of(&self, hash: u64) -> usize {
        (hash >> (u64::BITS - self.0.len().trailing_zeros())) as usize
    }

    fn insert(&mut self, hash: u64, keys: usize) {
        if self.0.is_empty() {
            let words = (keys / KEYS_PER_WORD).clamp(WORDS_MIN, WORDS_MAX).next_power_of_two();
            self.0 = vec![0; words].into_boxed_slice();
        }
        let word = self.word_of(hash);
        self.0[word] |= bits_of(hash);
    }

    #[inline]
    fn has(&self, hash: u64) -> bool {
        !self.0.is_empty() && self.0[self.word_of(hash)] & bits_of(hash) == bits_of(hash)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether a hash may be in both filters.
    fn overlaps(&self, other: &Filter) -> bool {
        if self.is_empty() || other.is_empty() {
            return false;
        }
        let (few, many) = if self.0.len() < other.0.len() { (self, other) } else { (other, self) };
        let chunks = many.0.chunks_exact(many.0.len() / few.0.len());
        few.0.iter().zip(chunks).any(|(word, words)| words.iter().any(|other| word & other != 0))
    }
}

impl KeySet {
    /// Creates an empty set for about `keys` keys.
    pub fn new(keys: usize) -> KeySet {
        KeySet { keys, ..KeySet::default() }
    }

    /// Adds a key by its hash.
    pub fn insert(&mut self, hash: u64, mode: Mode) {
        match mode {
            Mode::Shared => self.shared.insert(hash, self.keys),
            Mode::Exclusive => self.exclusive.insert(hash, self.keys),
        }
    }

    /// Returns whether the set has no keys.
    pub fn is_empty(&self) -> bool {
        self.shared.is_empty() && self.exclusive.is_empty()
    }

    /// Returns whether any of the set's locks is exclusive.
    pub fn is_exclusive(&self) -> bool {
        !self.exclusive.is_empty()
    }

    /// Returns whether one of the set's locks conflicts with another unit's lock.
    pub fn conflicts(&self, other: KeyLock) -> bool {
        let is_exclusive = other.mode == Mode::Exclusive;
        match other.scope {
            // All locks on keys are of database 0, see `Scope::name`.
            Scope::Key { db, hash } => {
                db == 0 && (self.exclusive.has(hash) || is_exclusive && self.shared.has(hash))
            }
            Scope::Database(_) | Scope::All => {
                !self.exclusive.is_empty() || is_exclusive && !self.shared.is_empty()
            }
        }
    }

    /// Returns whether one of the set's locks conflicts with one of another unit's set.
    pub fn conflicts_with(&self, other: &KeySet) -> bool {
        self.exclusive.overlaps(&other.exclusive)
            || self.exclusive.overlaps(&other.shared)
            || self.shared.overlaps(&other.exclusive)
    }

    /// Returns whether the set includes the lock of a key, in the same or a stronger mode.
    pub fn covers(&self, hash: u64, mode: Mode) -> bool {
        self.exclusive.has(hash) || mode == Mode::Shared && self.shared.has(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use Mode::{Exclusive, Shared};

    fn key(hash: u64, mode: Mode) -> KeyLock {
        KeyLock { scope: Scope::Key { db: 0, hash }, mode }
    }

    fn set_of(hashes: &[u64], mode: Mode) -> KeySet {
        let mut set = KeySet::new(hashes.len());
        hashes.iter().for_each(|hash| set.insert(*hash, mode));
        set
    }

    #[test]
    fn a_key_of_the_set_is_always_found_and_another_one_rarely() {
        for count in [1, 10, 1_000, 100_000] {
            let mut rng = Rng::new(count);
            let hashes: Vec<u64> = (0..count).map(|_| rng.next_u64()).collect();
            let set = set_of(&hashes, Exclusive);
            assert!(hashes.iter().all(|hash| set.conflicts(key(*hash, Shared))));
            assert!(hashes.iter().all(|hash| set.covers(*hash, Exclusive)));
            let found = (0..100_000).filter(|_| set.covers(rng.next_u64(), Shared)).count();
            assert!(found < 500, "{found} of 100,000 keys seem to be among {count}");
        }
    }

    #[test]
    fn modes_conflict_like_those_of_single_locks() {
        let (shared, exclusive) = (set_of(&[1 << 60], Shared), set_of(&[1 << 60], Exclusive));
        let empty = KeySet::new(10);
        for (mode, conflicts) in [(Shared, false), (Exclusive, true)] {
            let all = KeyLock { scope: Scope::All, mode };
            assert_eq!(shared.conflicts(key(1 << 60, mode)), conflicts);
            assert_eq!(shared.conflicts(all), conflicts);
            assert!(exclusive.conflicts(key(1 << 60, mode)) && exclusive.conflicts(all));
            assert!(!empty.conflicts(all) && !empty.conflicts(key(1 << 60, mode)));
        }
        assert!(shared.covers(1 << 60, Shared) && !shared.covers(1 << 60, Exclusive));
        assert!(!shared.conflicts_with(&shared) && shared.conflicts_with(&exclusive));
        assert!(exclusive.conflicts_with(&shared) && exclusive.conflicts_with(&exclusive));
        assert!(!empty.conflicts_with(&exclusive) && empty.is_empty());
    }

    #[test]
    fn sets_of_different_sizes_with_a_common_key_conflict() {
        let mut rng = Rng::new(7);
        for _ in 0..1_000 {
            let common = rng.next_u64();
            let set_with = |rng: &mut Rng, count: u64| {
                let others: Vec<u64> = (0..count).map(|_| rng.next_u64()).collect();
                let mut set = set_of(&others, Shared);
                set.insert(common, Exclusive);
                set
            };
            let (few, many) = (set_with(&mut rng, 3), set_with(&mut rng, 200));
            assert!(few.conflicts_with(&many) && many.conflicts_with(&few));
        }
    }
}
