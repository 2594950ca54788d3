//! Watches of WATCH: which watchers must learn that a key was changed after it was watched.
//!
//! The watches are stored in the slice, so that they see every change at once. A slice without
//! watches and awaited keys pays one branch per change.
//!
//! ```text
//!   no watches --watch--> Watching: its keys    --unwatch--> no watches
//!                            |  one of them is changed
//!                            v
//!                         Broken: no keys       --unwatch--> no watches
//!
//!   keys      hash -> name, database, its watchers (ascending), each with `was_expired`
//!   watchers  watcher -> its keys
//!   broken    watchers that are broken; they watch nothing until they unwatch
//! ```
//!
//! Clients do not see an expired key, but the key may still be in its table. `was_expired` says
//! that the key was in this state when it was watched. Its removal is then no change for the
//! watcher. If the watcher saw the key before, its expiry is a change, whether the key has been
//! removed or not.

use super::slice::{Key, Slice};
use crate::base::slot_map::SlotSet;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

/// Identifies a watcher; unique in the process.
pub type WatcherId = u64;

/// Capacity, in keys and in watchers, that is kept while nothing is watched.
const KEPT_MAX: usize = 256;

type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// All watches on the keys of a slice.
#[derive(Debug)]
pub struct Watches {
    keys: Map<u64, Vec<WatchedKey>>,
    keys_len: usize,
    watchers: Map<WatcherId, Vec<Name>>,
    broken: HashSet<WatcherId, ahash::RandomState>,
}

#[derive(Debug)]
struct WatchedKey {
    name: Name,
    /// The watchers, each once, in ascending order, with `was_expired`. Never empty.
    watches: Vec<(WatcherId, bool)>,
}

/// A key of a database.
#[derive(Clone, Debug)]
struct Name {
    db: usize,
    slot: u16,
    hash: u64,
    bytes: Arc<[u8]>,
}

/// The watch of one key on its way to another slice.
#[derive(Debug)]
pub(super) struct MovedWatch {
    watcher: WatcherId,
    name: Name,
    was_expired: bool,
}

/// State of a key in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Absent,
    /// In the table, but hidden from clients.
    Expired,
    Live,
}

impl Name {
    fn key(&self) -> Key<'_> {
        Key { bytes: &self.bytes, slot: self.slot, hash: self.hash }
    }

    fn is(&self, db: usize, bytes: &[u8]) -> bool {
        self.db == db && *self.bytes == *bytes
    }
}

impl Watches {
    /// Creates an empty set of watches.
    pub fn new() -> Watches {
        let state = || ahash::RandomState::with_seeds(1, 2, 3, 4);
        Watches {
            keys: Map::with_hasher(state()),
            keys_len: 0,
            watchers: Map::with_hasher(state()),
            broken: HashSet::with_hasher(state()),
        }
    }

    /// Returns whether no key is watched.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.keys_len == 0
    }

    fn watch(&mut self, watcher: WatcherId, db: usize, key: &Key<'_>, was_expired: bool) {
        if self.broken.contains(&watcher) {
            return;
        }
        // Nearly all hashes have one key, and nearly all keys one watcher.
        let bucket = self.keys.entry(key.hash).or_insert_with(|| Vec::with_capacity(1));
        let at = bucket.iter().position(|watched| watched.name.is(db, key.bytes));
        let at = at.unwrap_or_else(|| {
            let name = Name { db, slot: key.slot, hash: key.hash, bytes: key.bytes.into() };
            bucket.push(WatchedKey { name, watches: Vec::with_capacity(1) });
            self.keys_len += 1;
            bucket.len() - 1
        });
        let WatchedKey { name, watches } = &mut bucket[at];
        if let Err(place) = watches.binary_search_by_key(&watcher, |&(id, _)| id) {
            watches.insert(place, (watcher, was_expired));
            self.watchers.entry(watcher).or_default().push(name.clone());
        }
    }

    /// Ends all watches of a watcher.
    fn release(&mut self, watcher: WatcherId) {
        for name in self.watchers.remove(&watcher).unwrap_or_default() {
            self.forget(watcher, &name);
        }
        if self.is_empty() {
            assert!(self.keys.is_empty() && self.watchers.is_empty());
            self.keys.shrink_to(KEPT_MAX);
            self.watchers.shrink_to(KEPT_MAX);
        }
    }

    /// Removes a watcher from the list of a key's watchers.
    fn forget(&mut self, watcher: WatcherId, name: &Name) {
        let bucket = self.keys.get_mut(&name.hash).expect("a watched key is listed");
        let at = bucket.iter().position(|watched| watched.name.is(name.db, &name.bytes));
        let at = at.expect("a watched key is listed");
        let watches = &mut bucket[at].watches;
        let place = watches.binary_search_by_key(&watcher, |&(id, _)| id);
        watches.remove(place.expect("a watcher is listed under its keys"));
        if watches.is_empty() {
            bucket.swap_remove(at);
            self.keys_len -= 1;
        }
        if bucket.is_empty() {
            self.keys.remove(&name.hash);
        }
    }

    fn break_all(&mut self, watchers: Vec<WatcherId>) {
        for watcher in watchers {
            self.release(watcher);
            self.broken.insert(watcher);
        }
    }

    /// Breaks the watches of a key that was set, changed or removed, whether it had expired or not.
    #[cold]
    pub fn note_changed(&mut self, db: usize, hash: u64, bytes: &[u8]) {
        self.judge(db, hash, bytes, |_| None);
    }

    /// Records that an expired key was removed: breaks the watches of a key that was live when
    /// watched.
    #[cold]
    pub fn note_expired_removed(&mut self, db: usize, hash: u64, bytes: &[u8]) {
        self.judge(db, hash, bytes, |was_expired| was_expired.then_some(false));
    }

    /// Calls `verdict` with `was_expired` of each watch of a key. `Some` is its new value; `None`
    /// breaks the watcher.
    fn judge(
        &mut self,
        db: usize,
        hash: u64,
        bytes: &[u8],
        verdict: impl Fn(bool) -> Option<bool>,
    ) {
        let Some(bucket) = self.keys.get_mut(&hash) else { return };
        let found = bucket.iter_mut().find(|watched| watched.name.is(db, bytes));
        let Some(WatchedKey { watches, .. }) = found else { return };
        let mut broken = Vec::new();
        for (watcher, was_expired) in watches {
            match verdict(*was_expired) {
                None => broken.push(*watcher),
                Some(is_expired) => *was_expired = is_expired,
            }
        }
        self.break_all(broken);
    }

    /// Takes the watches of the keys in some hash slots.
    pub(super) fn take_slots(&mut self, slots: &SlotSet) -> Vec<MovedWatch> {
        let mut moved = Vec::new();
        for WatchedKey { name, watches } in self.keys.values().flatten() {
            if slots.contains(name.slot) {
                let of = |&(watcher, was_expired)| MovedWatch {
                    watcher,
                    name: name.clone(),
                    was_expired,
                };
                moved.extend(watches.iter().map(of));
            }
        }
        for MovedWatch { watcher, name, .. } in &moved {
            self.forget(*watcher, name);
            let names = self.watchers.get_mut(watcher).expect("a watcher is listed");
            names.retain(|other| !other.is(name.db, &name.bytes));
            if names.is_empty() {
                self.watchers.remove(watcher);
            }
        }
        moved
    }

    /// Adds watches that another slice had.
    pub(super) fn put_watches(&mut self, moved: Vec<MovedWatch>) {
        for MovedWatch { watcher, name, was_expired } in moved {
            self.watch(watcher, name.db, &name.key(), was_expired);
        }
    }

    fn names(&self) -> Vec<Name> {
        self.keys.values().flatten().map(|watched| watched.name.clone()).collect()
    }

    /// Asserts all invariants. O(watches), for tests.
    pub fn check(&self) {
        let watched = || self.keys.values().flatten();
        assert!(self.keys.values().all(|bucket| !bucket.is_empty()));
        assert_eq!(self.keys_len, watched().count());
        for WatchedKey { name, watches } in watched() {
            assert!(!watches.is_empty() && watches.is_sorted_by(|one, next| one.0 < next.0));
            for (watcher, _) in watches {
                let names = &self.watchers[watcher];
                let same = names.iter().filter(|other| other.is(name.db, &name.bytes));
                assert_eq!(same.count(), 1, "a key is watched once");
                assert!(!self.broken.contains(watcher), "a broken watcher watches nothing");
            }
        }
        let watches = watched().map(|watched| watched.watches.len()).sum::<usize>();
        assert_eq!(watches, self.watchers.values().map(Vec::len).sum::<usize>());
        assert!(self.watchers.values().all(|names| !names.is_empty()));
    }
}

impl Slice {
    /// Starts to watch a key; a change of the key before [`Slice::unwatch`] breaks the watcher. A
    /// watcher that is already broken stays broken.
    pub fn watch(&mut self, watcher: WatcherId, db: usize, key: &Key<'_>) {
        let was_expired = self.presence(db, key) == Presence::Expired;
        self.watches.watch(watcher, db, key, was_expired);
    }

    /// Returns whether a key of the watcher was changed after it was watched. Changes are: set
    /// (even to the same value), edited, removed, flushed, swapped away or in, and expired.
    pub fn is_watch_broken(&mut self, watcher: WatcherId) -> bool {
        if !self.watches.broken.contains(&watcher) && self.has_newly_expired(watcher) {
            self.watches.break_all(vec![watcher]);
        }
        self.watches.broken.contains(&watcher)
    }

    /// Ends all watches of a watcher, which is no longer broken then.
    pub fn unwatch(&mut self, watcher: WatcherId) {
        self.watches.release(watcher);
        self.watches.broken.remove(&watcher);
        if self.watches.broken.is_empty() {
            self.watches.broken.shrink_to(KEPT_MAX);
        }
    }

    /// Returns the database and the hash of each key of a watcher; nothing for a broken watcher.
    pub fn watched_by(&self, watcher: WatcherId) -> impl Iterator<Item = (usize, u64)> {
        let names = self.watches.watchers.get(&watcher).into_iter().flatten();
        names.map(|name| (name.db, name.hash))
    }

    /// Returns the number of watched keys, each counted once.
    pub fn watched_keys(&self) -> usize {
        self.watches.keys_len
    }

    /// Returns the number of watchers with keys in this slice, without broken ones.
    pub fn watchers(&self) -> usize {
        self.watches.watchers.len()
    }

    fn presence(&self, db: usize, key: &Key<'_>) -> Presence {
        match self.find_hidden(db, key) {
            None => Presence::Absent,
            Some(place) if self.is_visible(place.entry()) => Presence::Live,
            Some(_) => Presence::Expired,
        }
    }

    /// Returns whether a key of the watcher had not expired when it was watched and has expired
    /// now.
    fn has_newly_expired(&self, watcher: WatcherId) -> bool {
        let Some(names) = self.watches.watchers.get(&watcher) else { return false };
        names.iter().any(|name| {
            if self.presence(name.db, &name.key()) != Presence::Expired {
                return false;
            }
            let bucket = &self.watches.keys[&name.hash];
            let watched = bucket.iter().find(|watched| watched.name.is(name.db, &name.bytes));
            let watches = &watched.expect("a watched key is listed").watches;
            let at = watches.binary_search_by_key(&watcher, |&(id, _)| id);
            !watches[at.expect("a watcher is listed under its keys")].1
        })
    }

    /// Records that databases are about to be emptied. A key that does not exist is not changed.
    #[cold]
    pub(super) fn note_flush(&mut self, databases: Range<usize>) {
        for name in self.watches.names() {
            let is_flushed = databases.contains(&name.db);
            if is_flushed && self.presence(name.db, &name.key()) != Presence::Absent {
                self.watches.note_expired_removed(name.db, name.hash, &name.bytes);
            }
        }
    }

    /// Records that two databases are about to be exchanged. A key is not changed if it exists in
    /// neither database, or if clients see it in neither.
    #[cold]
    pub(super) fn note_swap(&mut self, first: usize, second: usize) {
        for name in self.watches.names() {
            let other = match name.db {
                db if db == first => second,
                db if db == second => first,
                _ => continue,
            };
            let before = self.presence(name.db, &name.key());
            let after = self.presence(other, &name.key());
            if (before, after) == (Presence::Absent, Presence::Absent) {
                continue;
            }
            self.watches.judge(name.db, name.hash, &name.bytes, |was_expired| {
                let was_seen = !was_expired && before != Presence::Absent;
                let is_changed = was_seen || after == Presence::Live;
                (!is_changed).then_some(after == Presence::Expired)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Event, Expiry, ExpiryRole, Slice, SliceOptions};
    use super::*;
    use crate::base::rng::Rng;
    use crate::value::string::NewStr;

    const START_MS: u64 = 1_800_000_000_000;

    /// Watches `k` of database 0, unless a test says otherwise.
    const WATCHER: WatcherId = 7;

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

    fn watch(slice: &mut Slice, watcher: WatcherId, db: usize, name: &[u8]) {
        let key = slice.key(name);
        slice.watch(watcher, db, &key);
        slice.check();
    }

    /// Returns whether `change` to a slice that holds `k` breaks a watch of `k`. Asserts that it
    /// breaks no watch of another key, nor of `k` in another database.
    fn breaks(prepare: impl Fn(&mut Slice), change: impl Fn(&mut Slice, &Key<'_>)) -> bool {
        let mut slice = slice();
        prepare(&mut slice);
        watch(&mut slice, WATCHER, 0, b"k");
        watch(&mut slice, 8, 0, b"other");
        watch(&mut slice, 9, 3, b"k");
        assert!(!slice.is_watch_broken(WATCHER));
        let key = slice.key(b"k");
        slice.begin_command();
        change(&mut slice, &key);
        for (db, name) in slice.take_unraised() {
            let key = slice.key(&name);
            slice.signal(db, &key);
        }
        slice.check();
        assert!(!slice.is_watch_broken(8) && !slice.is_watch_broken(9));
        slice.is_watch_broken(WATCHER)
    }

    fn with_key(slice: &mut Slice) {
        set(slice, 0, b"k", Expiry::Clear);
    }

    fn with_volatile(slice: &mut Slice) {
        set(slice, 0, b"k", Expiry::At(START_MS + 100));
    }

    fn with_text(slice: &mut Slice) {
        let key = slice.key(b"k");
        slice.set(0, &key, NewStr::from_bytes(b"some text"), Expiry::Clear);
    }

    fn with_large(slice: &mut Slice) {
        let key = slice.key(b"k");
        slice.set(0, &key, NewStr::from_bytes(&[b'x'; 100_000]), Expiry::Clear);
    }

    /// Sets a key that has expired but is not removed yet.
    fn with_expired(slice: &mut Slice) {
        with_volatile(slice);
        slice.set_now(START_MS + 1_000);
    }

    #[test]
    fn every_way_to_set_breaks_a_watch() {
        for prepare in [|_: &mut Slice| {}, with_key, with_volatile, with_text, with_large] {
            for expiry in [Expiry::Clear, Expiry::Keep, Expiry::At(START_MS + 500)] {
                assert!(breaks(prepare, |slice, _| set(slice, 0, b"k", expiry)));
            }
            assert!(breaks(prepare, |slice, key| slice.update_int(0, key, 12)));
            assert!(breaks(prepare, |slice, key| {
                slice.append(0, key, b"tail");
            }));
            assert!(breaks(prepare, |slice, key| {
                slice.append(0, key, &[b'y'; 100_000]);
            }));
            assert!(breaks(prepare, |slice, key| {
                slice.string_mut(0, key, 3);
            }));
            assert!(breaks(prepare, |slice, key| {
                slice.string_mut(0, key, 200_000);
            }));
            assert!(breaks(prepare, |slice, key| {
                set(slice, 1, b"k", Expiry::Clear);
                let detached = slice.export(1, key).expect("the key was set");
                slice.import(0, key, detached);
            }));
        }
    }

    #[test]
    fn removal_breaks_a_watch_if_the_key_existed() {
        for (prepare, is_there) in [(with_key as fn(&mut Slice), true), (|_| {}, false)] {
            assert_eq!(breaks(prepare, |slice, key| assert_eq!(slice.remove(0, key), is_there)), {
                is_there
            });
            assert_eq!(breaks(prepare, |slice, key| assert_eq!(slice.expire(0, key), is_there)), {
                is_there
            });
        }
    }

    #[test]
    fn setting_or_clearing_an_expiry_breaks_a_watch() {
        let at = Some(START_MS + 100);
        for (prepare, expiry, is_change) in [
            (with_key as fn(&mut Slice), at, true),
            (with_large, at, true),
            (with_volatile, at, true),
            (with_volatile, None, true),
            (with_key, None, false),
            (|_| {}, at, false),
        ] {
            let set_expiry = |slice: &mut Slice, key: &Key<'_>| {
                slice.set_expiry(0, key, expiry);
            };
            assert_eq!(breaks(prepare, set_expiry), is_change);
        }
    }

    #[test]
    fn reads_and_failed_changes_break_no_watch() {
        assert!(!breaks(with_volatile, |slice, key| {
            assert!(slice.lookup(0, key).is_some() && slice.inspect(0, key).is_some());
            assert!(slice.peek(0, key).is_some() && slice.export(0, key).is_some());
            assert!(slice.random(0).is_some());
            slice.scan(0, 0, &mut |_, _, _| {});
            slice.change_int(0, key, |_| Err(())).expect_err("the change fails");
            slice.housekeep(&mut || false);
        }));
    }

    #[test]
    fn expiry_breaks_a_watch_however_it_is_detected() {
        let later = START_MS + 10_000;
        assert!(breaks(with_volatile, |slice, _| slice.set_now(later)));
        assert!(breaks(with_volatile, |slice, key| {
            slice.set_now(later);
            assert!(slice.peek(0, key).is_none());
            assert_eq!((slice.len(0), slice.watchers()), (0, 2));
        }));
        assert!(breaks(with_volatile, |slice, _| {
            slice.set_now(later);
            assert_eq!(slice.housekeep(&mut || false).expired, 1);
            assert_eq!(slice.watchers(), 2);
        }));
        assert!(breaks(with_volatile, |slice, key| {
            slice.set_role(ExpiryRole::Replica);
            slice.set_now(later);
            assert!(!slice.remove(0, key), "the key is hidden");
            assert_eq!((slice.len(0), slice.watchers()), (0, 2));
        }));
        assert!(!breaks(with_volatile, |slice, _| {
            slice.set_role(ExpiryRole::Loading);
            slice.set_now(later);
        }));
    }

    #[test]
    fn removing_a_key_that_was_expired_when_watched_breaks_no_watch() {
        assert!(!breaks(with_expired, |slice, key| {
            assert!(slice.peek(0, key).is_none());
            assert_eq!(slice.len(0), 0);
        }));
        assert!(!breaks(with_expired, |slice, _| {
            slice.set_now(START_MS + 10_000);
            assert_eq!(slice.housekeep(&mut || false).expired, 1);
        }));
        assert!(!breaks(with_expired, |slice, key| assert!(!slice.remove(0, key))));
        assert!(!breaks(with_expired, |slice, _| slice.flush(None)));
        assert!(!breaks(with_expired, |slice, key| {
            slice.set_role(ExpiryRole::Replica);
            assert!(!slice.remove(0, key));
        }));
        assert!(breaks(with_expired, |slice, _| set(slice, 0, b"k", Expiry::Clear)));
        assert!(breaks(with_expired, |slice, key| {
            assert!(slice.peek(0, key).is_none());
            set(slice, 0, b"k", Expiry::Clear);
        }));
        assert!(breaks(with_expired, |slice, key| {
            slice.flush(None);
            set(slice, 0, b"k", Expiry::At(START_MS + 2_000));
            assert!(slice.remove(0, key));
        }));
        assert!(breaks(with_expired, |slice, _| {
            slice.set_role(ExpiryRole::Replica);
            set(slice, 0, b"k", Expiry::Clear);
        }));
    }

    #[test]
    fn a_flush_breaks_watches_of_existing_keys() {
        assert!(breaks(with_key, |slice, _| slice.flush(None)));
        assert!(breaks(with_key, |slice, _| slice.flush(Some(0))));
        assert!(!breaks(with_key, |slice, _| slice.flush(Some(1))));
        assert!(!breaks(|_| {}, |slice, _| slice.flush(None)));
        // The key expired after it was watched, and was not accessed before the flush.
        assert!(breaks(with_volatile, |slice, _| {
            slice.set_now(START_MS + 10_000);
            slice.flush(Some(0));
        }));
    }

    #[test]
    fn a_swap_breaks_watches_of_keys_in_either_database() {
        let other = |slice: &mut Slice| set(slice, 1, b"k", Expiry::Clear);
        let swap = |slice: &mut Slice, _: &Key<'_>| slice.swap_databases(0, 1);
        let swap_back = |slice: &mut Slice, _: &Key<'_>| slice.swap_databases(1, 0);
        for swap in [swap, swap_back] {
            assert!(breaks(with_key, swap));
            assert!(breaks(other, swap));
            assert!(!breaks(|_| {}, swap));
        }
        let both = |slice: &mut Slice| [with_key, other].iter().for_each(|make| make(slice));
        assert!(breaks(both, swap));
        assert!(!breaks(both, |slice, _| slice.swap_databases(1, 2)));
        assert!(!breaks(both, |slice, _| slice.swap_databases(0, 0)));
        // An expired key in a swapped database counts as existing only for a watcher that saw the
        // key.
        let expired_other = |slice: &mut Slice| {
            set(slice, 1, b"k", Expiry::At(START_MS + 100));
            slice.set_now(START_MS + 1_000);
        };
        assert!(!breaks(expired_other, swap));
        assert!(!breaks(with_expired, swap));
        let both_expired = |slice: &mut Slice| {
            with_volatile(slice);
            expired_other(slice);
        };
        assert!(!breaks(both_expired, swap));
        assert!(!breaks(both_expired, |slice, _| {
            slice.swap_databases(0, 1);
            slice.flush(None);
        }));
        assert!(breaks(
            |slice| {
                expired_other(slice);
                with_key(slice);
            },
            swap
        ));
        assert!(breaks(
            |slice| {
                with_expired(slice);
                other(slice);
            },
            swap
        ));
        assert!(!breaks(expired_other, |slice, key| {
            slice.swap_databases(0, 1);
            assert!(slice.peek(0, key).is_none());
            assert_eq!(slice.len(0), 0);
        }));
    }

    #[test]
    fn watchers_watch_and_unwatch() {
        let mut slice = slice();
        watch(&mut slice, 1, 0, b"a");
        watch(&mut slice, 1, 0, b"a");
        watch(&mut slice, 1, 1, b"a");
        watch(&mut slice, 2, 0, b"a");
        assert_eq!((slice.watched_keys(), slice.watchers()), (2, 2));
        slice.unwatch(2);
        slice.unwatch(2);
        slice.unwatch(99);
        assert_eq!((slice.watched_keys(), slice.watchers()), (2, 1));
        set(&mut slice, 1, b"a", Expiry::Clear);
        slice.check();
        assert!(slice.is_watch_broken(1) && !slice.is_watch_broken(2));
        assert_eq!((slice.watched_keys(), slice.watchers()), (0, 0));
        watch(&mut slice, 1, 0, b"b");
        assert!(
            slice.is_watch_broken(1) && slice.watches.is_empty(),
            "a broken watcher stays broken"
        );
        slice.unwatch(1);
        assert!(!slice.is_watch_broken(1));
        watch(&mut slice, 1, 0, b"b");
        assert_eq!((slice.watched_keys(), slice.watchers()), (1, 1));
    }

    #[test]
    fn a_slice_without_watches_keeps_no_memory() {
        let mut slice = slice();
        let is_bare = |slice: &Slice| {
            let Watches { keys, watchers, broken, .. } = &slice.watches;
            keys.capacity() + watchers.capacity() + broken.capacity() == 0
        };
        for number in 0..1_000u32 {
            let name = number.to_string();
            set(&mut slice, 0, name.as_bytes(), Expiry::At(START_MS + u64::from(number)));
            let key = slice.key(name.as_bytes());
            slice.append(0, &key, b"tail");
            slice.set_expiry(0, &key, Some(START_MS + u64::from(number) * 2));
            slice.remove(1, &key);
        }
        slice.set_now(START_MS + 1_500);
        slice.housekeep(&mut || false);
        slice.swap_databases(0, 1);
        slice.flush(None);
        assert!(slice.watches.is_empty() && is_bare(&slice));
        for watcher in 0..1_000u64 {
            watch_all(&mut slice, watcher);
        }
        (0..1_000).for_each(|watcher| slice.unwatch(watcher));
        let Watches { keys, watchers, .. } = &slice.watches;
        assert!(slice.watches.is_empty() && keys.capacity() + watchers.capacity() < 8 * KEPT_MAX);
    }

    /// Watches some keys that no other watcher watches.
    fn watch_all(slice: &mut Slice, watcher: WatcherId) {
        for number in 0..3 {
            let name = format!("{watcher}:{number}");
            let key = slice.key(name.as_bytes());
            slice.watch(watcher, 0, &key);
        }
    }

    /// Keys and watchers of the model.
    const KEYS: u64 = 4;
    const WATCHERS: u64 = 6;

    /// The expiry of a key if clients see it, and the number of its changes.
    type Seen = (Option<Option<u64>>, u64);

    /// The model: for each watcher, the state of its keys when they were watched.
    #[derive(Default)]
    struct Model {
        changes: HashMap<(usize, u64), u64>,
        watched: HashMap<WatcherId, HashMap<(usize, u64), Seen>>,
        broken: HashSet<WatcherId>,
    }

    impl Model {
        /// Returns the current state of a key, without removing an expired one.
        fn seen(&self, slice: &Slice, at: (usize, u64)) -> Seen {
            let name = at.1.to_string();
            let place = slice.find_hidden(at.0, &slice.key(name.as_bytes()));
            let entry = place.map(|place| place.entry()).filter(|entry| slice.is_visible(*entry));
            (entry.map(|entry| entry.expiry()), self.changes.get(&at).copied().unwrap_or_default())
        }

        fn change(&mut self, at: (usize, u64)) {
            *self.changes.entry(at).or_default() += 1;
        }

        /// Counts a change, in both databases, for each key that is visible in database 0 or 1.
        fn swap(&mut self, slice: &Slice) {
            for number in 0..KEYS {
                let is_seen = |db| self.seen(slice, (db, number)).0.is_some();
                if is_seen(0) || is_seen(1) {
                    (0..2).for_each(|db| self.change((db, number)));
                }
            }
        }

        fn compare(&mut self, slice: &mut Slice) {
            slice.watches.check();
            for watcher in 0..WATCHERS {
                let mut keys = self.watched.get(&watcher).into_iter().flatten();
                if keys.any(|(&at, before)| *before != self.seen(slice, at)) {
                    self.broken.insert(watcher);
                }
                assert_eq!(slice.is_watch_broken(watcher), self.broken.contains(&watcher));
            }
        }
    }

    fn step(slice: &mut Slice, model: &mut Model, rng: &mut Rng, now_ms: &mut u64) {
        let at = (rng.below(2) as usize, rng.below(KEYS));
        let name = at.1.to_string();
        let key = slice.key(name.as_bytes());
        let expiry = *now_ms + rng.below(60);
        let watcher = rng.below(WATCHERS);
        let is_change = match rng.below(12) {
            0 => {
                set(slice, at.0, name.as_bytes(), Expiry::At(expiry));
                true
            }
            1 => slice.remove(at.0, &key),
            2 => slice.set_expiry(at.0, &key, Some(expiry)),
            3 => {
                slice.lookup(at.0, &key);
                false
            }
            4 => {
                *now_ms += rng.below(50);
                slice.set_now(*now_ms);
                false
            }
            5 => slice.housekeep(&mut || false).more,
            6 if rng.below(4) == 0 => {
                slice.flush(Some(at.0));
                false
            }
            7 if rng.below(4) == 0 => {
                model.swap(slice);
                slice.swap_databases(0, 1);
                false
            }
            8 => {
                slice.unwatch(watcher);
                model.watched.remove(&watcher);
                model.broken.remove(&watcher);
                false
            }
            _ => {
                slice.watch(watcher, at.0, &key);
                let seen = model.seen(slice, at);
                model.watched.entry(watcher).or_default().entry(at).or_insert(seen);
                false
            }
        };
        if is_change {
            slice.signal(at.0, &key);
            model.change(at);
        }
    }

    /// A watch is broken if and only if the visible state of a key differs or the key was changed.
    #[test]
    fn random_changes_agree_with_a_model() {
        for seed in 0..20 {
            let mut rng = Rng::new(seed);
            let mut slice = slice();
            let mut model = Model::default();
            let mut now_ms = START_MS;
            let mut broken_sum = 0;
            for _ in 0..3_000 {
                step(&mut slice, &mut model, &mut rng, &mut now_ms);
                model.compare(&mut slice);
                broken_sum += model.broken.len();
            }
            assert!((1_000..17_000).contains(&broken_sum), "of 18,000: {broken_sum}");
        }
    }
}
