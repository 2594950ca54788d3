//! Client tracking: the clients that may have copies of values of this slice, and what they must be
//! told when a key changes.
//!
//! ```text
//!   not tracked --a tracking client reads the key--> tracked: its readers
//!        ^                                               |
//!        '---- the key changes, or there are too many ---'
//!              keys: each reader gets an invalidation
//! ```
//! A key is tracked by its name alone: a change in any database invalidates it, as in the reference
//! server. Clients in broadcasting mode are not listed here: they get all changes of keys with
//! their prefixes ([`Prefixes`]).
//!
//! The slice only collects invalidations ([`Slice::take_invalidations`]). Its partition sends them,
//! before the reply of the command that has changed the keys. If one batch brings very many, all
//! tracking clients are told instead that all keys are invalid.

use super::slice::Slice;
use crate::base::slot::slot_of;
use crate::base::slot_map::SlotSet;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The most invalidations of one batch: for each changed key its readers, and its prefixes. About
/// 10 MB.
pub const INVALIDATIONS_MAX: usize = 64 << 10;

/// The most tracked keys of a slice that are looked at when slots move; about 300 us. Beyond it the
/// clients are told that all keys are invalid.
const TRACKED_MOVED_MAX: usize = 10_000;

/// Capacity, in keys, that is kept while nothing is tracked.
const KEPT_MAX: usize = 256;

/// A client whose command runs on the slice, as the client's home shard identifies it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The client's home shard.
    pub home: u16,
    /// Number of the connection at its home.
    pub conn: u32,
    /// Distinguishes a reused connection number from its predecessor.
    pub generation: u32,
    /// Number of the connection's batch that the command belongs to.
    pub flight: u32,
}

impl Caller {
    /// Returns whether both are the same client.
    pub fn is_same_client(&self, other: &Caller) -> bool {
        let client = |caller: &Caller| (caller.home, caller.conn, caller.generation);
        client(self) == client(other)
    }
}

/// The prefixes of all clients in broadcasting mode, for all slices.
#[derive(Clone, Debug, Default)]
pub struct Prefixes {
    /// Per prefix, the shards that have such clients.
    homes: HashMap<Arc<[u8]>, Vec<PrefixHome>>,
    /// The different lengths of the prefixes, each with the number of prefixes.
    lens: Vec<(usize, usize)>,
}

/// The clients of one shard with a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PrefixHome {
    shard: u16,
    clients: u32,
}

impl Prefixes {
    /// Returns whether no client is in broadcasting mode.
    pub fn is_empty(&self) -> bool {
        self.homes.is_empty()
    }

    /// Returns the number of different prefixes.
    pub fn len(&self) -> usize {
        self.homes.len()
    }

    /// Records that a client of this shard gets the changes of keys with a prefix.
    pub fn add(&mut self, prefix: &Arc<[u8]>, shard: u16) {
        if !self.homes.contains_key(prefix) {
            self.homes.insert(Arc::clone(prefix), Vec::new());
            match self.lens.iter_mut().find(|(len, _)| *len == prefix.len()) {
                Some((_, count)) => *count += 1,
                None => self.lens.push((prefix.len(), 1)),
            }
        }
        let homes = self.homes.get_mut(prefix).expect("added above");
        match homes.iter_mut().find(|home| home.shard == shard) {
            Some(home) => home.clients += 1,
            None => homes.push(PrefixHome { shard, clients: 1 }),
        }
    }

    /// Records that a client of this shard no longer gets the changes of keys with a prefix.
    pub fn remove(&mut self, prefix: &[u8], shard: u16) {
        let homes = self.homes.get_mut(prefix).expect("the client has added the prefix");
        let at = homes.iter().position(|home| home.shard == shard);
        let at = at.expect("the client has added the prefix");
        homes[at].clients -= 1;
        if homes[at].clients == 0 {
            homes.swap_remove(at);
        }
        if homes.is_empty() {
            self.homes.remove(prefix);
            let at = self.lens.iter().position(|(len, _)| *len == prefix.len());
            let at = at.expect("each prefix counts");
            self.lens[at].1 -= 1;
            if self.lens[at].1 == 0 {
                self.lens.swap_remove(at);
            }
        }
    }

    /// Iterates over the prefixes of a key. One lookup for each different length.
    fn of<'p>(&'p self, key: &'p [u8]) -> impl Iterator<Item = &'p Arc<[u8]>> {
        let lens = self.lens.iter().filter(|(len, _)| *len <= key.len());
        lens.filter_map(|(len, _)| self.homes.get_key_value(&key[..*len]).map(|(prefix, _)| prefix))
    }

    /// Iterates over the shards that have clients with a prefix.
    pub fn homes_of(&self, prefix: &[u8]) -> impl Iterator<Item = u16> {
        self.homes.get(prefix).into_iter().flatten().map(|home| home.shard)
    }
}

/// What a slice must know about tracking clients.
#[derive(Clone, Debug, Default)]
pub struct TrackersView {
    /// Version of the view; every change has a new one.
    pub version: u64,
    /// Whether any client is tracking.
    pub is_used: bool,
    /// The prefixes of clients in broadcasting mode.
    pub prefixes: Arc<Prefixes>,
}

/// Names of changed keys, each with the client that has changed it last; none if it has expired.
pub type ChangedKeys = BTreeMap<Arc<[u8]>, Option<Caller>>;

/// Something that clients must be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// To one client: this key.
    Key {
        /// Name of the key.
        key: Arc<[u8]>,
        /// The client, with its batch after whose replies it must be told.
        to: Caller,
        /// Whether a command of this client has changed the key.
        is_own: bool,
    },
    /// To all clients with this prefix in broadcasting mode: these keys.
    Prefix {
        /// The prefix.
        prefix: Arc<[u8]>,
        /// The keys in ascending order, each with the client that has changed it last.
        keys: ChangedKeys,
    },
    /// To all tracking clients: all keys, because databases were flushed by a command of this
    /// client.
    All(Option<Caller>),
}

impl Invalidation {
    /// Returns the number of keys that it names, or 1.
    pub fn weight(&self) -> usize {
        match self {
            Invalidation::Key { .. } | Invalidation::All(_) => 1,
            Invalidation::Prefix { keys, .. } => keys.len(),
        }
    }
}

/// A tracked key.
#[derive(Debug)]
struct Row {
    name: Arc<[u8]>,
    /// The readers, in ascending order of their homes and connections. Never empty.
    readers: Vec<Caller>,
}

/// A tracked key on its way to another slice.
#[derive(Debug)]
pub(super) struct MovedRow(Row);

/// Tracked keys of a slice.
#[derive(Debug)]
pub(super) struct Tracking {
    index: HashMap<Arc<[u8]>, u32, ahash::RandomState>,
    rows: Vec<Row>,
    /// Number of readers of all keys.
    readers: usize,
    trackers: TrackersView,
    /// The client whose command runs.
    caller: Option<Caller>,
    /// Invalidations that were not taken yet, without those of prefixes.
    found: Vec<Invalidation>,
    /// Changed keys by prefix that were not taken yet.
    changed: BTreeMap<Arc<[u8]>, ChangedKeys>,
    /// Number of invalidations in `found` and `changed`; more if a key has changed repeatedly.
    collected: usize,
}

impl Tracking {
    pub fn new() -> Tracking {
        Tracking {
            index: HashMap::with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4)),
            rows: Vec::new(),
            readers: 0,
            trackers: TrackersView::default(),
            caller: None,
            found: Vec::new(),
            changed: BTreeMap::new(),
            collected: 0,
        }
    }

    /// Returns whether changes of keys matter.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.trackers.is_used
    }

    fn add(&mut self, name: &[u8], reader: Caller) {
        let at = match self.index.get(name) {
            Some(at) => *at as usize,
            None => {
                let name: Arc<[u8]> = name.into();
                self.index.insert(Arc::clone(&name), self.rows.len() as u32);
                self.rows.push(Row { name, readers: Vec::with_capacity(1) });
                self.rows.len() - 1
            }
        };
        let readers = &mut self.rows[at].readers;
        match readers.binary_search_by_key(&(reader.home, reader.conn), |it| (it.home, it.conn)) {
            // A predecessor with the same connection number is gone.
            Ok(place) => readers[place] = reader,
            Err(place) => {
                readers.insert(place, reader);
                self.readers += 1;
            }
        }
    }

    fn remove(&mut self, at: usize) -> Row {
        let row = self.rows.swap_remove(at);
        self.index.remove(&row.name);
        if let Some(moved) = self.rows.get(at) {
            *self.index.get_mut(&moved.name).expect("each row is indexed") = at as u32;
        }
        self.readers -= row.readers.len();
        if self.rows.is_empty() {
            assert!(self.index.is_empty() && self.readers == 0);
            self.index.shrink_to(KEPT_MAX);
            self.rows.shrink_to(KEPT_MAX);
        }
        row
    }

    #[cold]
    fn note_changed(&mut self, key: &[u8], has_expired: bool) {
        let changer = self.caller.filter(|_| !has_expired);
        for prefix in self.trackers.prefixes.of(key) {
            let keys = self.changed.entry(Arc::clone(prefix)).or_default();
            keys.insert(key.into(), changer);
            self.collected += 1;
        }
        if let Some(at) = self.index.get(key) {
            let row = self.remove(*at as usize);
            self.invalidate(row);
        }
        self.limit_collected();
    }

    /// Replaces the invalidations by the one for all keys if there are too many. It names no
    /// client: then each client is told on both sides of the replies that it waits for.
    fn limit_collected(&mut self) {
        if self.collected > INVALIDATIONS_MAX {
            self.changed = BTreeMap::new();
            self.found = vec![Invalidation::All(None)];
            self.collected = 1;
        }
    }

    fn invalidate(&mut self, row: Row) {
        self.collected += row.readers.len();
        for reader in row.readers {
            let own = self.caller.filter(|caller| caller.is_same_client(&reader));
            let key = Arc::clone(&row.name);
            let to = own.unwrap_or(reader);
            self.found.push(Invalidation::Key { key, to, is_own: own.is_some() });
        }
    }

    /// Takes the tracked keys in some hash slots. If there are very many tracked keys, forgets all
    /// of them instead, and all tracking clients are told that all keys are invalid.
    pub(super) fn take_slots(&mut self, slots: &SlotSet) -> Vec<MovedRow> {
        if self.rows.len() > TRACKED_MOVED_MAX {
            self.note_flush(true);
            return Vec::new();
        }
        let is_moved = |row: &Row| slots.contains(slot_of(&row.name));
        let at: Vec<usize> = (0..self.rows.len()).filter(|at| is_moved(&self.rows[*at])).collect();
        // From the last one on, because the last row takes the place of a removed one.
        at.into_iter().rev().map(|at| MovedRow(self.remove(at))).collect()
    }

    /// Adds tracked keys that another slice had.
    pub(super) fn put_rows(&mut self, rows: Vec<MovedRow>) {
        for MovedRow(row) in rows {
            row.readers.iter().for_each(|reader| self.add(&row.name, *reader));
        }
    }

    fn note_flush(&mut self, tells: bool) {
        self.index.clear();
        self.index.shrink_to(KEPT_MAX);
        self.rows = Vec::new();
        self.readers = 0;
        if tells {
            self.found.push(Invalidation::All(self.caller));
        }
    }
}

impl Slice {
    /// Invalidates a key that was changed by the running command, or removed after its expiry.
    #[inline]
    pub(super) fn note_tracked(&mut self, key: &[u8], has_expired: bool) {
        if self.tracking.is_on() {
            self.tracking.note_changed(key, has_expired);
        }
    }

    /// Forgets all tracked keys, because databases are flushed. The slice with hash slot 0 tells
    /// the clients, once for all slices.
    pub(super) fn note_tracked_flush(&mut self) {
        let tells = self.tracking.is_on() && self.owns(0);
        self.tracking.note_flush(tells);
    }

    /// Sets the client whose commands run from here on; none for work of the server itself. Returns
    /// the client before.
    #[inline]
    pub fn enter_caller(&mut self, caller: Option<Caller>) -> Option<Caller> {
        std::mem::replace(&mut self.tracking.caller, caller)
    }

    /// Returns the client whose commands run; none for work of the server itself.
    pub fn caller(&self) -> Option<Caller> {
        self.tracking.caller
    }

    /// Returns whether any client is tracking.
    #[inline]
    pub fn has_trackers(&self) -> bool {
        self.tracking.is_on()
    }

    /// Records that the client whose command runs has read a key, which may be missing.
    pub fn track(&mut self, key: &[u8]) {
        if let Some(caller) = self.tracking.caller {
            self.tracking.add(key, caller);
        }
    }

    /// Sets what is known about tracking clients.
    pub fn set_trackers(&mut self, view: TrackersView) {
        let TrackersView { is_used, prefixes, .. } = &view;
        assert!(*is_used || prefixes.is_empty(), "a client in broadcasting mode is tracking");
        self.tracking.trackers = view;
    }

    /// Returns the version of what is known about tracking clients.
    #[inline]
    pub fn trackers_version(&self) -> u64 {
        self.tracking.trackers.version
    }

    /// Returns the number of tracked keys.
    pub fn tracked_keys(&self) -> usize {
        self.tracking.rows.len()
    }

    /// Returns the number of readers of all tracked keys.
    pub fn tracked_readers(&self) -> usize {
        self.tracking.readers
    }

    /// Stops tracking a random key. Its readers are told, although it has not changed.
    pub fn untrack_random(&mut self) {
        let at = self.draw_rng().below(self.tracking.rows.len() as u64) as usize;
        let row = self.tracking.remove(at);
        self.tracking.invalidate(row);
        self.tracking.limit_collected();
    }

    /// Returns whether [`Slice::take_invalidations`] has any.
    #[inline]
    pub fn has_invalidations(&self) -> bool {
        !self.tracking.found.is_empty() || !self.tracking.changed.is_empty()
    }

    /// Returns and forgets the invalidations: those of tracked keys in the order of the changes,
    /// then those of prefixes in the order of the prefixes.
    pub fn take_invalidations(&mut self) -> Vec<Invalidation> {
        self.tracking.collected = 0;
        let mut found = std::mem::take(&mut self.tracking.found);
        let changed = std::mem::take(&mut self.tracking.changed).into_iter();
        found.extend(changed.map(|(prefix, keys)| Invalidation::Prefix { prefix, keys }));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Event, Expiry, SliceOptions};
    use super::*;
    use crate::value::string::NewStr;

    const A: Caller = Caller { home: 0, conn: 1, generation: 1, flight: 7 };
    const B: Caller = Caller { home: 1, conn: 1, generation: 1, flight: 9 };

    fn view(is_used: bool, prefixes: Prefixes) -> TrackersView {
        TrackersView { version: 1, is_used, prefixes: Arc::new(prefixes) }
    }

    fn slice() -> Slice {
        let options =
            SliceOptions { databases: 2, slots: (0..16384).into(), hash_seed: [1, 2], seed: 3 };
        let mut slice = Slice::new(options);
        slice.set_now(1_800_000_000_000);
        slice.set_trackers(view(true, Prefixes::default()));
        slice
    }

    fn set(slice: &mut Slice, caller: Option<Caller>, db: usize, name: &[u8]) {
        slice.enter_caller(caller);
        let key = slice.key(name);
        slice.set(db, &key, NewStr::from_bytes(b"12"), Expiry::Clear);
        slice.raise(db, &key, Event::Set, 1);
    }

    fn track(slice: &mut Slice, caller: Caller, name: &[u8]) {
        slice.enter_caller(Some(caller));
        slice.track(name);
    }

    fn key(name: &[u8], to: Caller, is_own: bool) -> Invalidation {
        Invalidation::Key { key: name.into(), to, is_own }
    }

    #[test]
    fn each_reader_is_told_once() {
        let mut slice = slice();
        set(&mut slice, Some(B), 0, b"k");
        assert!(!slice.has_invalidations(), "nothing is tracked");
        track(&mut slice, A, b"k");
        track(&mut slice, Caller { flight: 8, ..A }, b"k");
        track(&mut slice, B, b"k");
        track(&mut slice, B, b"other");
        assert_eq!((slice.tracked_keys(), slice.tracked_readers()), (2, 3));
        // The change of another database counts, and the own flight is the present one.
        set(&mut slice, Some(Caller { flight: 10, ..B }), 1, b"k");
        let expected = [
            key(b"k", Caller { flight: 8, ..A }, false),
            key(b"k", Caller { flight: 10, ..B }, true),
        ];
        assert_eq!(slice.take_invalidations(), expected);
        set(&mut slice, Some(A), 0, b"k");
        assert!(!slice.has_invalidations());
        assert_eq!((slice.tracked_keys(), slice.tracked_readers()), (1, 1));
    }

    #[test]
    fn very_many_invalidations_become_one_for_all_keys() {
        let mut prefixes = Prefixes::default();
        prefixes.add(&b"p"[..].into(), 0);
        for prefix in ["", "p"] {
            let mut slice = slice();
            slice.set_trackers(view(true, prefixes.clone()));
            let names: Vec<String> =
                (0..=INVALIDATIONS_MAX).map(|number| format!("{prefix}{number}")).collect();
            for name in names.iter().filter(|_| prefix.is_empty()) {
                track(&mut slice, A, name.as_bytes());
            }
            let (last, others) = names.split_last().expect("there are names");
            others.iter().for_each(|name| set(&mut slice, Some(B), 0, name.as_bytes()));
            let weight: usize = slice.take_invalidations().iter().map(Invalidation::weight).sum();
            assert_eq!(weight, INVALIDATIONS_MAX);
            for name in others.iter().filter(|_| prefix.is_empty()) {
                track(&mut slice, A, name.as_bytes());
            }
            others.iter().for_each(|name| set(&mut slice, Some(B), 0, name.as_bytes()));
            set(&mut slice, Some(B), 0, last.as_bytes());
            assert_eq!(slice.take_invalidations(), [Invalidation::All(None)]);
            assert!(!slice.has_invalidations());
        }
    }

    #[test]
    fn a_reused_connection_number_replaces_its_predecessor() {
        let mut slice = slice();
        track(&mut slice, A, b"k");
        let next = Caller { generation: 2, ..A };
        track(&mut slice, next, b"k");
        assert_eq!(slice.tracked_readers(), 1);
        set(&mut slice, None, 0, b"k");
        assert_eq!(slice.take_invalidations(), [key(b"k", next, false)]);
    }

    #[test]
    fn prefixes_collect_their_keys() {
        let mut prefixes = Prefixes::default();
        for (prefix, shard) in [(&b"b"[..], 0), (b"", 1), (b"a", 1), (b"a", 1), (b"a", 0)] {
            prefixes.add(&prefix.into(), shard);
        }
        assert_eq!(prefixes.len(), 3);
        let mut slice = slice();
        slice.set_trackers(view(true, prefixes.clone()));
        for (name, caller) in [(&b"a2"[..], A), (b"a1", A), (b"c", A), (b"a2", B)] {
            set(&mut slice, Some(caller), 0, name);
        }
        let told = |prefix: &[u8], keys: &[(&[u8], Caller)]| Invalidation::Prefix {
            prefix: prefix.into(),
            keys: keys.iter().map(|(name, caller)| ((*name).into(), Some(*caller))).collect(),
        };
        let expected = [
            told(b"", &[(b"a1", A), (b"a2", B), (b"c", A)]),
            told(b"a", &[(b"a1", A), (b"a2", B)]),
        ];
        assert_eq!(slice.take_invalidations(), expected);

        prefixes.remove(b"a", 1);
        assert_eq!(prefixes.homes_of(b"a").collect::<Vec<_>>(), [1, 0]);
        prefixes.remove(b"a", 1);
        prefixes.remove(b"a", 0);
        prefixes.remove(b"", 1);
        assert_eq!(prefixes.len(), 1);
        slice.set_trackers(view(true, prefixes));
        set(&mut slice, Some(A), 0, b"a1");
        assert!(!slice.has_invalidations());
    }

    #[test]
    fn a_flush_forgets_all_keys_and_one_slice_tells_it() {
        let mut slice = slice();
        track(&mut slice, A, b"k");
        slice.flush(Some(1));
        assert_eq!(slice.take_invalidations(), [Invalidation::All(Some(A))]);
        assert_eq!((slice.tracked_keys(), slice.tracked_readers()), (0, 0));
        slice.enter_caller(None);
        slice.flush(None);
        assert_eq!(slice.take_invalidations(), [Invalidation::All(None)]);
        // Without tracking clients nobody is told.
        track(&mut slice, A, b"k");
        slice.set_trackers(view(false, Prefixes::default()));
        slice.flush(None);
        assert!(!slice.has_invalidations() && slice.tracked_keys() == 0);
    }

    #[test]
    fn random_keys_are_untracked() {
        let mut slice = slice();
        let names: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
        names.iter().for_each(|name| track(&mut slice, A, name.as_bytes()));
        slice.enter_caller(None);
        for left in (0..100).rev() {
            slice.untrack_random();
            assert_eq!(slice.tracked_keys(), left);
        }
        let mut told: Vec<_> = slice.take_invalidations();
        told.sort_by_key(|it| format!("{it:?}"));
        let mut expected: Vec<_> =
            names.iter().map(|name| key(name.as_bytes(), A, false)).collect();
        expected.sort_by_key(|it| format!("{it:?}"));
        assert_eq!(told, expected);
    }
}
