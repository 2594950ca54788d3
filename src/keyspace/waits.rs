//! The awaited keys, for which clients are blocked. A changed key becomes ready; ready keys are in
//! the order of their changes. Which clients wait for which key is recorded above this layer.
//!
//! The awaited keys are stored in the slice beside the watches, so that they see every change at
//! once. A slice without watches and awaited keys pays one branch per change.
//!
//! ```text
//!   await_key    the key becomes awaited        forget_awaited   it is no longer awaited
//!   a change     awaited -> ready, once         take_ready       ready -> awaited
//! ```

use super::slice::{Key, Slice};
use crate::value::Kind;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;

/// Capacity, in keys, that is kept while no key is awaited.
const KEPT_MAX: usize = 256;

/// The awaited keys, and which of them are ready.
#[derive(Debug)]
pub struct Waits {
    keys: HashMap<u64, Vec<Awaited>, ahash::RandomState>,
    len: usize,
    ready: VecDeque<(usize, Box<[u8]>)>,
    /// Number of times that a change has made awaited keys ready.
    events: u64,
}

#[derive(Debug)]
struct Awaited {
    db: usize,
    bytes: Box<[u8]>,
    is_ready: bool,
}

impl Waits {
    /// Creates an empty set of awaited keys.
    pub fn new() -> Waits {
        // The hashes of keys are secret already, so these seeds need not be.
        let keys = HashMap::with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4));
        Waits { keys, len: 0, ready: VecDeque::new(), events: 0 }
    }

    /// Returns whether no key is awaited.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn find(&mut self, db: usize, hash: u64, bytes: &[u8]) -> Option<&mut Awaited> {
        let bucket = self.keys.get_mut(&hash)?;
        bucket.iter_mut().find(|key| key.db == db && *key.bytes == *bytes)
    }

    /// Makes a key ready that was set, changed or removed, if it is awaited.
    #[cold]
    pub fn note_changed(&mut self, db: usize, hash: u64, bytes: &[u8]) {
        let Some(key) = self.find(db, hash, bytes) else { return };
        if !std::mem::replace(&mut key.is_ready, true) {
            self.ready.push_back((db, bytes.into()));
        }
        self.events += 1;
    }

    /// Makes all awaited keys of some databases ready.
    #[cold]
    pub(super) fn note_all(&mut self, databases: Range<usize>) {
        self.events += 1;
        let mut ready: Vec<(usize, Box<[u8]>)> = Vec::new();
        for key in self.keys.values_mut().flatten() {
            if databases.contains(&key.db) && !std::mem::replace(&mut key.is_ready, true) {
                ready.push((key.db, key.bytes.clone()));
            }
        }
        // A map has no stable order.
        ready.sort_unstable();
        self.ready.extend(ready);
    }

    /// Asserts all invariants. O(keys), for tests.
    pub fn check(&self) {
        assert_eq!(self.len, self.keys.values().map(Vec::len).sum::<usize>());
        assert!(self.keys.values().all(|bucket| !bucket.is_empty()));
        for key in self.keys.values().flatten().filter(|key| key.is_ready) {
            let is_it = |ready: &(usize, Box<[u8]>)| ready.0 == key.db && ready.1 == key.bytes;
            assert!(self.ready.iter().any(is_it), "a ready key is listed");
        }
    }
}

impl Slice {
    /// Marks a key as awaited: until [`Slice::forget_awaited`], every change makes it ready.
    pub fn await_key(&mut self, db: usize, key: &Key<'_>) {
        let waits = &mut self.waits;
        if waits.find(db, key.hash, key.bytes).is_none() {
            let bucket = waits.keys.entry(key.hash).or_default();
            bucket.push(Awaited { db, bytes: key.bytes.into(), is_ready: false });
            waits.len += 1;
        }
    }

    /// Ends the state started by [`Slice::await_key`]: no client is blocked on the key any more.
    pub fn forget_awaited(&mut self, db: usize, key: &Key<'_>) {
        let waits = &mut self.waits;
        let Some(bucket) = waits.keys.get_mut(&key.hash) else { return };
        let before = bucket.len();
        bucket.retain(|awaited| awaited.db != db || *awaited.bytes != *key.bytes);
        waits.len -= before - bucket.len();
        if bucket.is_empty() {
            waits.keys.remove(&key.hash);
        }
        if waits.is_empty() {
            waits.keys.shrink_to(KEPT_MAX);
            waits.ready.shrink_to(KEPT_MAX);
        }
    }

    /// Makes an awaited key ready without a change.
    pub fn make_ready(&mut self, db: usize, key: &Key<'_>) {
        self.waits.note_changed(db, key.hash, key.bytes);
    }

    /// Makes an awaited key ready again, because a change could not be handled when it happened.
    pub fn make_ready_again(&mut self, db: usize, key: &Key<'_>) {
        let events = self.waits.events;
        self.make_ready(db, key);
        self.waits.events = events;
    }

    /// Returns a number that is greater after each change that has made an awaited key ready.
    pub fn ready_events(&self) -> u64 {
        self.waits.events
    }

    /// Returns the type of a key's value, or `None` for a missing or expired key. Does not remove
    /// an expired key.
    pub fn kind_of(&self, db: usize, key: &Key<'_>) -> Option<Kind> {
        let entry = self.find_hidden(db, key)?.entry();
        self.is_visible(entry).then(|| entry.kind())
    }

    /// Returns whether a key is ready.
    #[inline]
    pub fn has_ready(&self) -> bool {
        !self.waits.ready.is_empty()
    }

    /// Returns the number of ready keys.
    pub fn ready_len(&self) -> usize {
        self.waits.ready.len()
    }

    /// Keeps the first `len` ready keys; the later ones are no longer ready. Returns to an earlier
    /// result of [`Slice::ready_events`].
    pub fn truncate_ready(&mut self, len: usize, events: u64) {
        self.waits.events = events;
        while self.waits.ready.len() > len {
            let (db, bytes) = self.waits.ready.pop_back().expect("the queue is not empty");
            let hash = self.key(&bytes).hash;
            if let Some(key) = self.waits.find(db, hash, &bytes) {
                key.is_ready = false;
            }
        }
    }

    /// Returns the key that has been ready for longest, with its database. The key may no longer be
    /// awaited.
    pub fn take_ready(&mut self) -> Option<(usize, Box<[u8]>)> {
        let (db, bytes) = self.waits.ready.pop_front()?;
        let hash = self.key(&bytes).hash;
        if let Some(key) = self.waits.find(db, hash, &bytes) {
            key.is_ready = false;
        }
        Some((db, bytes))
    }

    /// Returns the number of awaited keys.
    pub fn awaited_keys(&self) -> usize {
        self.waits.len
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Event, Expiry, Slice, SliceOptions};
    use crate::value::string::NewStr;

    const START_MS: u64 = 1_800_000_000_000;

    fn slice() -> Slice {
        let options =
            SliceOptions { databases: 4, slots: (0..16384).into(), hash_seed: [1, 2], seed: 3 };
        let mut slice = Slice::new(options);
        slice.set_now(START_MS);
        slice
    }

    fn set(slice: &mut Slice, db: usize, name: &[u8], expiry: Expiry) {
        let key = slice.key(name);
        slice.set(db, &key, NewStr::from_bytes(b"12"), expiry);
        slice.raise(db, &key, Event::Set, 1);
    }

    fn wait_for(slice: &mut Slice, db: usize, name: &[u8]) {
        let key = slice.key(name);
        slice.await_key(db, &key);
        slice.check();
    }

    fn ready(slice: &mut Slice) -> Vec<(usize, Vec<u8>)> {
        slice.check();
        let ready = std::iter::from_fn(|| slice.take_ready());
        ready.map(|(db, key)| (db, key.into_vec())).collect()
    }

    #[test]
    fn changes_make_keys_ready_once_and_in_order() {
        let mut slice = slice();
        set(&mut slice, 0, b"a", Expiry::Clear);
        for name in [b"a", b"b", b"c"] {
            wait_for(&mut slice, 0, name);
        }
        assert!(!slice.has_ready() && slice.awaited_keys() == 3);
        for (db, name) in [(0, b"b"), (1, b"a"), (0, b"a"), (0, b"b")] {
            set(&mut slice, db, name, Expiry::Clear);
        }
        assert_eq!(ready(&mut slice), [(0, b"b".to_vec()), (0, b"a".to_vec())]);
        assert!(!slice.has_ready());
        let key = slice.key(b"b");
        slice.remove(0, &key);
        slice.raise(0, &key, Event::Del, 1);
        slice.make_ready(0, &key);
        assert_eq!(ready(&mut slice), [(0, b"b".to_vec())]);
        slice.forget_awaited(0, &key);
        slice.forget_awaited(0, &key);
        set(&mut slice, 0, b"b", Expiry::Clear);
        assert!(!slice.has_ready() && slice.awaited_keys() == 2);
    }

    #[test]
    fn every_kind_of_change_makes_keys_ready() {
        let mut slice = slice();
        wait_for(&mut slice, 0, b"k");
        wait_for(&mut slice, 2, b"k");
        let in_0 = [(0, b"k".to_vec())];
        set(&mut slice, 0, b"k", Expiry::At(START_MS + 10));
        assert_eq!(ready(&mut slice), in_0);
        slice.set_now(START_MS + 100);
        let key = slice.key(b"k");
        assert!(slice.peek(0, &key).is_none());
        assert_eq!(ready(&mut slice), in_0);
        set(&mut slice, 1, b"k", Expiry::Clear);
        assert_eq!(ready(&mut slice), []);
        slice.swap_databases(0, 1);
        assert_eq!(ready(&mut slice), in_0);
        let detached = slice.take(0, &key).expect("the swap moved the key here");
        slice.raise(0, &key, Event::MoveFrom, 1);
        assert_eq!(ready(&mut slice), in_0);
        slice.bring(0, &key, detached);
        assert_eq!(ready(&mut slice), []);
        slice.flush(None);
        assert_eq!(ready(&mut slice), [(0, b"k".to_vec()), (2, b"k".to_vec())]);
    }
}
