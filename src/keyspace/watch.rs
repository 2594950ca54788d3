//! The watches of WATCH: who is told that a key was changed since it was watched.
//!
//! They lie in the slice, so that they see every change at the moment it is made. A slice that
//! nobody watches pays one branch per change.
//!
//! ```text
//!   nobody --watch--> Watching: its keys    --unwatch--> nobody
//!                        |  one of them is changed
//!                        v
//!                     Broken: no keys       --unwatch--> nobody
//!
//!   keys      hash -> name, database, who watches it (ascending), each with `was_due`
//!   watchers  watcher -> its keys
//!   broken    watchers that are broken; they watch nothing until they unwatch
//! ```
//!
//! A key that is due is not there for clients, but may still lie in its table. `was_due` says that
//! it lay there so when it was watched: then its removal changes nothing for the watcher. For one
//! who saw the key, its falling due is a change, removed or not.

use super::slice::{Key, Slice};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

/// Who watches: a number that is unique in the process.
pub type WatcherId = u64;

/// The most keys, and the most watchers, whose room is kept when nothing is watched.
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
    /// Each watcher once, in ascending order, with `was_due`. Never empty.
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

/// What lies in the table under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Absent,
    /// It is hidden from clients.
    Due,
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
    /// Nobody watches.
    pub fn new() -> Watches {
        let state = || ahash::RandomState::with_seeds(1, 2, 3, 4);
        Watches {
            keys: Map::with_hasher(state()),
            keys_len: 0,
            watchers: Map::with_hasher(state()),
            broken: HashSet::with_hasher(state()),
        }
    }

    /// Whether no key is watched.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.keys_len == 0
    }

    fn watch(&mut self, watcher: WatcherId, db: usize, key: &Key<'_>, was_due: bool) {
        if self.broken.contains(&watcher) {
            return;
        }
        let bucket = self.keys.entry(key.hash).or_default();
        let at = bucket.iter().position(|watched| watched.name.is(db, key.bytes));
        let at = at.unwrap_or_else(|| {
            let name = Name { db, slot: key.slot, hash: key.hash, bytes: key.bytes.into() };
            bucket.push(WatchedKey { name, watches: Vec::new() });
            self.keys_len += 1;
            bucket.len() - 1
        });
        let WatchedKey { name, watches } = &mut bucket[at];
        if let Err(place) = watches.binary_search_by_key(&watcher, |&(id, _)| id) {
            watches.insert(place, (watcher, was_due));
            self.watchers.entry(watcher).or_default().push(name.clone());
        }
    }

    /// Ends all watches of a watcher.
    fn release(&mut self, watcher: WatcherId) {
        for name in self.watchers.remove(&watcher).unwrap_or_default() {
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
        if self.is_empty() {
            assert!(self.keys.is_empty() && self.watchers.is_empty());
            self.keys.shrink_to(KEPT_MAX);
            self.watchers.shrink_to(KEPT_MAX);
        }
    }

    fn break_all(&mut self, watchers: Vec<WatcherId>) {
        for watcher in watchers {
            self.release(watcher);
            self.broken.insert(watcher);
        }
    }

    /// Takes note that a key was set, changed or removed, whether due or not.
    #[cold]
    pub fn note_changed(&mut self, db: usize, hash: u64, bytes: &[u8]) {
        self.judge(db, hash, bytes, |_| None);
    }

    /// Takes note that a due key was taken out of its table.
    #[cold]
    pub fn note_due_gone(&mut self, db: usize, hash: u64, bytes: &[u8]) {
        self.judge(db, hash, bytes, |was_due| was_due.then_some(false));
    }

    /// Asks for each watch of a key what becomes of its `was_due`; none breaks the watcher.
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
        for (watcher, was_due) in watches {
            match verdict(*was_due) {
                None => broken.push(*watcher),
                Some(is_due) => *was_due = is_due,
            }
        }
        self.break_all(broken);
    }

    fn names(&self) -> Vec<Name> {
        self.keys.values().flatten().map(|watched| watched.name.clone()).collect()
    }

    /// Looks at everything and asserts what must hold. O(watches), for tests.
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
                assert!(!self.broken.contains(watcher), "who is broken watches nothing");
            }
        }
        let watches = watched().map(|watched| watched.watches.len()).sum::<usize>();
        assert_eq!(watches, self.watchers.values().map(Vec::len).sum::<usize>());
        assert!(self.watchers.values().all(|names| !names.is_empty()));
    }
}

impl Slice {
    /// Has a watcher told of changes of a key, from now on until [`Slice::unwatch`]. One who is
    /// broken already stays so.
    pub fn watch(&mut self, watcher: WatcherId, db: usize, key: &Key<'_>) {
        let was_due = self.presence(db, key) == Presence::Due;
        self.watches.watch(watcher, db, key, was_due);
    }

    /// Whether a key of the watcher was changed since it was watched: set, even to the value that
    /// it had, changed, removed, flushed, swapped away or in; or it was there and is due now.
    pub fn is_watch_broken(&mut self, watcher: WatcherId) -> bool {
        if !self.watches.broken.contains(&watcher) && self.has_fallen_due(watcher) {
            self.watches.break_all(vec![watcher]);
        }
        self.watches.broken.contains(&watcher)
    }

    /// Ends all watches of a watcher, which is not broken any more.
    pub fn unwatch(&mut self, watcher: WatcherId) {
        self.watches.release(watcher);
        self.watches.broken.remove(&watcher);
        if self.watches.broken.is_empty() {
            self.watches.broken.shrink_to(KEPT_MAX);
        }
    }

    /// The keys of a watcher that is not broken: their databases and hashes.
    pub fn watched_by(&self, watcher: WatcherId) -> impl Iterator<Item = (usize, u64)> {
        let names = self.watches.watchers.get(&watcher).into_iter().flatten();
        names.map(|name| (name.db, name.hash))
    }

    /// How many keys are watched, each counted once.
    pub fn watched_keys(&self) -> usize {
        self.watches.keys_len
    }

    /// How many watchers watch keys of this slice; broken ones do not.
    pub fn watchers(&self) -> usize {
        self.watches.watchers.len()
    }

    fn presence(&self, db: usize, key: &Key<'_>) -> Presence {
        match self.find_hidden(db, key) {
            None => Presence::Absent,
            Some(place) if self.is_visible(place.entry()) => Presence::Live,
            Some(_) => Presence::Due,
        }
    }

    /// Whether a key of the watcher was not due when it was watched and is now.
    fn has_fallen_due(&self, watcher: WatcherId) -> bool {
        let Some(names) = self.watches.watchers.get(&watcher) else { return false };
        names.iter().any(|name| {
            if self.presence(name.db, &name.key()) != Presence::Due {
                return false;
            }
            let bucket = &self.watches.keys[&name.hash];
            let watched = bucket.iter().find(|watched| watched.name.is(name.db, &name.bytes));
            let watches = &watched.expect("a watched key is listed").watches;
            let at = watches.binary_search_by_key(&watcher, |&(id, _)| id);
            !watches[at.expect("a watcher is listed under its keys")].1
        })
    }

    /// Takes note that databases are about to be emptied: keys that are not there do not change.
    #[cold]
    pub(super) fn note_flush(&mut self, databases: Range<usize>) {
        for name in self.watches.names() {
            let is_flushed = databases.contains(&name.db);
            if is_flushed && self.presence(name.db, &name.key()) != Presence::Absent {
                self.watches.note_due_gone(name.db, name.hash, &name.bytes);
            }
        }
    }

    /// Takes note that two databases are about to be exchanged. A key that is in neither does not
    /// change, nor does one that clients see in neither.
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
            self.watches.judge(name.db, name.hash, &name.bytes, |was_due| {
                let was_seen = !was_due && before != Presence::Absent;
                let is_changed = was_seen || after == Presence::Live;
                (!is_changed).then_some(after == Presence::Due)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Expiry, ExpiryRole, Slice, SliceOptions};
    use super::*;
    use crate::base::rng::Rng;
    use crate::value::string::NewStr;

    const START_MS: u64 = 1_800_000_000_000;

    /// Watches `k` of database 0, unless a test says otherwise.
    const WATCHER: WatcherId = 7;

    fn slice() -> Slice {
        let options = SliceOptions { databases: 4, slots: 0..16384, hash_seed: [1, 2], seed: 3 };
        let mut slice = Slice::new(options);
        slice.set_now(START_MS);
        slice
    }

    fn set(slice: &mut Slice, db: usize, name: &[u8], expiry: Expiry) {
        let key = slice.key(name);
        slice.set(db, &key, NewStr::from_bytes(b"12"), expiry);
    }

    fn watch(slice: &mut Slice, watcher: WatcherId, db: usize, name: &[u8]) {
        let key = slice.key(name);
        slice.watch(watcher, db, &key);
        slice.check();
    }

    /// Whether what `change` does to a slice that holds `k` breaks a watch of it. Asserts that it
    /// does not break a watch of another key, nor of this one in another database.
    fn breaks(prepare: impl Fn(&mut Slice), change: impl Fn(&mut Slice, &Key<'_>)) -> bool {
        let mut slice = slice();
        prepare(&mut slice);
        watch(&mut slice, WATCHER, 0, b"k");
        watch(&mut slice, 8, 0, b"other");
        watch(&mut slice, 9, 3, b"k");
        assert!(!slice.is_watch_broken(WATCHER));
        let key = slice.key(b"k");
        change(&mut slice, &key);
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

    /// A key that is due, and not removed by setting the time.
    fn with_due(slice: &mut Slice) {
        with_volatile(slice);
        slice.set_now(START_MS + 1_000);
    }

    #[test]
    fn every_way_to_set_breaks() {
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
                let detached = slice.export(1, key).expect("it was set");
                slice.import(0, key, detached);
            }));
        }
    }

    #[test]
    fn removal_breaks_if_there_was_something() {
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
    fn an_expiry_breaks_if_it_is_set_or_cleared() {
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
    fn reading_and_refusing_do_not_break() {
        assert!(!breaks(with_volatile, |slice, key| {
            assert!(slice.lookup(0, key).is_some() && slice.inspect(0, key).is_some());
            assert!(slice.peek(0, key).is_some() && slice.export(0, key).is_some());
            assert!(slice.random(0).is_some());
            slice.scan(0, 0, &mut |_, _, _| {});
            slice.change_int(0, key, |_| Err(())).expect_err("it is refused");
            slice.housekeep(&mut || false);
        }));
    }

    #[test]
    fn falling_due_breaks_however_it_is_noticed() {
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
            assert!(!slice.remove(0, key), "it is hidden");
            assert_eq!((slice.len(0), slice.watchers()), (0, 2));
        }));
        assert!(!breaks(with_volatile, |slice, _| {
            slice.set_role(ExpiryRole::Loading);
            slice.set_now(later);
        }));
    }

    #[test]
    fn what_was_due_when_it_was_watched_may_go() {
        assert!(!breaks(with_due, |slice, key| {
            assert!(slice.peek(0, key).is_none());
            assert_eq!(slice.len(0), 0);
        }));
        assert!(!breaks(with_due, |slice, _| {
            slice.set_now(START_MS + 10_000);
            assert_eq!(slice.housekeep(&mut || false).expired, 1);
        }));
        assert!(!breaks(with_due, |slice, key| assert!(!slice.remove(0, key))));
        assert!(!breaks(with_due, |slice, _| slice.flush(None)));
        assert!(!breaks(with_due, |slice, key| {
            slice.set_role(ExpiryRole::Replica);
            assert!(!slice.remove(0, key));
        }));
        assert!(breaks(with_due, |slice, _| set(slice, 0, b"k", Expiry::Clear)));
        assert!(breaks(with_due, |slice, key| {
            assert!(slice.peek(0, key).is_none());
            set(slice, 0, b"k", Expiry::Clear);
        }));
        assert!(breaks(with_due, |slice, key| {
            slice.flush(None);
            set(slice, 0, b"k", Expiry::At(START_MS + 2_000));
            assert!(slice.remove(0, key));
        }));
        assert!(breaks(with_due, |slice, _| {
            slice.set_role(ExpiryRole::Replica);
            set(slice, 0, b"k", Expiry::Clear);
        }));
    }

    #[test]
    fn a_flush_breaks_watches_of_keys_that_are_there() {
        assert!(breaks(with_key, |slice, _| slice.flush(None)));
        assert!(breaks(with_key, |slice, _| slice.flush(Some(0))));
        assert!(!breaks(with_key, |slice, _| slice.flush(Some(1))));
        assert!(!breaks(|_| {}, |slice, _| slice.flush(None)));
        // It fell due after it was watched, and nobody has noticed before the flush.
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
        // What is due counts as there only for those who have seen it.
        let due_other = |slice: &mut Slice| {
            set(slice, 1, b"k", Expiry::At(START_MS + 100));
            slice.set_now(START_MS + 1_000);
        };
        assert!(!breaks(due_other, swap));
        assert!(!breaks(with_due, swap));
        let both_due = |slice: &mut Slice| {
            with_volatile(slice);
            due_other(slice);
        };
        assert!(!breaks(both_due, swap));
        assert!(!breaks(both_due, |slice, _| {
            slice.swap_databases(0, 1);
            slice.flush(None);
        }));
        assert!(breaks(
            |slice| {
                due_other(slice);
                with_key(slice);
            },
            swap
        ));
        assert!(breaks(
            |slice| {
                with_due(slice);
                other(slice);
            },
            swap
        ));
        assert!(!breaks(due_other, |slice, key| {
            slice.swap_databases(0, 1);
            assert!(slice.peek(0, key).is_none());
            assert_eq!(slice.len(0), 0);
        }));
    }

    #[test]
    fn watchers_come_and_go() {
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
        assert!(slice.is_watch_broken(1) && slice.watches.is_empty(), "it stays so");
        slice.unwatch(1);
        assert!(!slice.is_watch_broken(1));
        watch(&mut slice, 1, 0, b"b");
        assert_eq!((slice.watched_keys(), slice.watchers()), (1, 1));
    }

    #[test]
    fn a_slice_that_nobody_watches_keeps_nothing() {
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

    /// Watches some keys that no other watcher does.
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

    /// The expiry of a key if clients see it, and how often it was changed.
    type Seen = (Option<Option<u64>>, u64);

    /// What the watches are compared with: what every watcher saw of its keys.
    #[derive(Default)]
    struct Model {
        changes: HashMap<(usize, u64), u64>,
        watched: HashMap<WatcherId, HashMap<(usize, u64), Seen>>,
        broken: HashSet<WatcherId>,
    }

    impl Model {
        /// What is seen of a key now; does not remove it if it is due.
        fn seen(&self, slice: &Slice, at: (usize, u64)) -> Seen {
            let name = at.1.to_string();
            let place = slice.find_hidden(at.0, &slice.key(name.as_bytes()));
            let entry = place.map(|place| place.entry()).filter(|entry| slice.is_visible(*entry));
            (entry.map(|entry| entry.expiry()), self.changes.get(&at).copied().unwrap_or_default())
        }

        fn change(&mut self, at: (usize, u64)) {
            *self.changes.entry(at).or_default() += 1;
        }

        /// Changes the keys that are seen in database 0 or 1, in both.
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
            model.change(at);
        }
    }

    /// A watch is broken just if something else is seen of a key, or it was changed.
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
