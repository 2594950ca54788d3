//! The lock table of one shard: which lock requests are granted and which wait. First come, first
//! served.
//!
//! A unit of several rounds states in its first round all keys that it will use on each shard, as
//! key locks. All key locks of a unit on a shard form one lock request. A unit with very many keys
//! states them as one set ([`KeySet`]), in addition to its other key locks.
//!
//! ```text
//!            no earlier request conflicts
//!   request -------------------------------> Granted --release--> gone
//!     |                                         ^
//!     |  an earlier request conflicts           |  the last such request is gone
//!     +---------------> Waiting ----------------+
//! ```
//!
//! Two key locks conflict if their scopes overlap and at least one is exclusive. Two requests
//! conflict if any of their key locks do. A waiting request blocks later ones just as a granted one
//! does. So no request overtakes a conflicting one, and no request starves.
//!
//! # Why nothing deadlocks
//!
//! Rule 1: a request waits only for requests that reached its shard earlier. Rule 2: a unit
//! requests all its locks in one step, so it never requests locks while it holds some. Rule 3:
//! units with requests on several shards reach all these shards in one order (rule 4 of the mesh).
//!
//! Suppose that some units wait for each other in a circle. By rule 1, each step of the circle
//! leads to a request that reached the same shard earlier. The circle changes shards only at units
//! with requests on several shards. So by rule 3 it leads from each of these units to an earlier
//! one in their order, and never back. A circle within one shard would lead back in the order of
//! this shard, which rule 1 excludes. Hence the waits have no circle. The first of all unfinished
//! units waits for none and ends, and so does every unit after it.
//!
//! # Data structure
//!
//! ```text
//!   queues   key -> its key locks in the order of requests: [ admitted | not yet ]
//!            admitted is one exclusive lock, or all shared locks at the front
//!   wide     locks on a database or on everything, in the order of requests
//!   sets     sets of keys, in the order of requests
//!   requests id -> key locks, blockers
//!   blockers = own locks on keys that are not admitted in their queues
//!            + conflicting pairs of an own and an earlier lock, at least one of them wide or a set
//! ```
//!
//! # Why a set may be inexact
//!
//! A set may seem to have a key that it does not have. Every question about the set has the same
//! answer as long as the set exists. So the set locks exactly the keys that it seems to have: the
//! unit has more locks than it needs. All rules above hold for these locks.
//!
//! A set costs its unit some nanoseconds per key, while the keys are placed. Entries in `queues`
//! would cost ten times as much in one step: 10 ms for 100,000 keys, and as much to release them.
//! Others pay one comparison per lock and set while the set exists.
//!
//! # Cost
//!
//! A request without blockers is granted. Without wide locks, the cost of a request is proportional
//! to its own keys. The cost of a release is proportional to its own keys and the locks that it
//! admits, plus a search among the requests. With wide locks or sets, each may visit all requests.

use crate::exec::{KeyLock, KeySet, Mode, Scope};
use std::collections::btree_map::BTreeMap;
use std::collections::{HashMap, VecDeque};

/// Number of a lock request on its shard. Later requests have greater numbers.
pub type LockId = u64;

/// The most queues whose memory is kept when there are no requests.
const KEPT_QUEUES_MAX: usize = 256;

/// The most wide locks whose memory is kept when there are no requests.
const KEPT_WIDE_MAX: usize = 64;

/// The lock requests on one shard in the order of their arrival.
#[derive(Debug)]
pub struct LockTable {
    queues: HashMap<(u16, u64), Queue, ahash::RandomState>,
    wide: Vec<(LockId, KeyLock)>,
    /// At most one per unit with very many keys, so at most one per connection.
    sets: Vec<(LockId, Box<KeySet>)>,
    requests: BTreeMap<LockId, LockRequest>,
    next_id: LockId,
}

#[derive(Debug)]
struct LockRequest {
    /// Each scope once, with its stronger mode.
    key_locks: Box<[KeyLock]>,
    blockers: usize,
}

/// The locks on one key in the order of their requests, each request once. Never empty.
#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<(LockId, Mode)>,
    admitted: usize,
}

impl Scope {
    fn is_wide(self) -> bool {
        !matches!(self, Scope::Key { .. })
    }

    fn db(self) -> Option<u16> {
        match self {
            Scope::Key { db, .. } | Scope::Database(db) => Some(db),
            Scope::All => None,
        }
    }

    fn overlaps(self, other: Scope) -> bool {
        match (self.db(), other.db()) {
            (None, _) | (_, None) => true,
            (Some(db), Some(other_db)) if db != other_db => false,
            _ => self.is_wide() || other.is_wide() || self == other,
        }
    }
}

impl KeyLock {
    fn conflicts(self, other: KeyLock) -> bool {
        let is_exclusive = self.mode == Mode::Exclusive || other.mode == Mode::Exclusive;
        is_exclusive && self.scope.overlaps(other.scope)
    }
}

impl Queue {
    /// Returns whether a lock requested now would wait.
    fn conflicts(&self, mode: Mode) -> bool {
        // If all locks were shared, all would be admitted.
        let is_shared = self.front_mode() == Some(Mode::Shared);
        let may_share = is_shared && self.admitted == self.entries.len();
        !self.entries.is_empty() && (mode == Mode::Exclusive || !may_share)
    }

    fn front_mode(&self) -> Option<Mode> {
        self.entries.front().map(|&(_, mode)| mode)
    }

    /// Admits the next lock if possible and returns its request. Call it until it returns none.
    fn admit(&mut self) -> Option<LockId> {
        let &(id, mode) = self.entries.get(self.admitted)?;
        let both_share = mode == Mode::Shared && self.front_mode() == Some(Mode::Shared);
        if self.admitted > 0 && !both_share {
            return None;
        }
        self.admitted += 1;
        Some(id)
    }

    /// Removes the admitted lock of a request.
    fn remove(&mut self, id: LockId) {
        let at = self.entries.binary_search_by_key(&id, |&(id, _)| id);
        let at = at.expect("a request is in the queues of its keys");
        assert!(at < self.admitted, "a granted request is admitted in all queues");
        self.entries.remove(at);
        self.admitted -= 1;
    }
}

impl Default for LockTable {
    fn default() -> LockTable {
        LockTable::new()
    }
}

impl LockTable {
    /// Creates a table without requests.
    pub fn new() -> LockTable {
        LockTable {
            // The hashes of keys are secret, so these seeds need not be.
            queues: HashMap::with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4)),
            wide: Vec::new(),
            sets: Vec::new(),
            requests: BTreeMap::new(),
            next_id: 0,
        }
    }

    /// Returns whether there are no requests, so that nothing needs to wait.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Returns the number of requests, granted and waiting.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Returns whether a request, which was not released, is granted.
    pub fn is_granted(&self, id: LockId) -> bool {
        self.requests[&id].blockers == 0
    }

    /// Returns whether a request is granted and excludes every other unit.
    pub fn has_everything(&self, id: LockId) -> bool {
        let everything = KeyLock { scope: Scope::All, mode: Mode::Exclusive };
        self.is_granted(id) && self.requests[&id].key_locks.contains(&everything)
    }

    /// Returns whether a unit with these key locks would have to wait now.
    pub fn conflicts(&self, key_locks: impl IntoIterator<Item = KeyLock>) -> bool {
        !self.is_empty() && key_locks.into_iter().any(|key_lock| self.conflicts_with(key_lock))
    }

    fn conflicts_with(&self, key_lock: KeyLock) -> bool {
        let is_held = match key_lock.scope {
            Scope::Key { db, hash } => {
                self.queues.get(&(db, hash)).is_some_and(|queue| queue.conflicts(key_lock.mode))
            }
            _ => {
                let mut others = self.requests.values().flat_map(|lock| lock.key_locks.iter());
                others.any(|other| other.conflicts(key_lock))
            }
        };
        is_held
            || self.wide.iter().any(|(_, other)| other.conflicts(key_lock))
            || self.sets.iter().any(|(_, set)| set.conflicts(key_lock))
    }

    /// Returns whether a request includes `key_lock`, in the same or a stronger mode.
    pub fn covers(&self, own: LockId, key_lock: KeyLock) -> bool {
        let is_strong = |mode| mode == Mode::Exclusive || key_lock.mode == Mode::Shared;
        let in_queue = match key_lock.scope {
            Scope::Key { db, hash } => self.queues.get(&(db, hash)).is_some_and(|queue| {
                queue.entries.iter().any(|&(id, mode)| id == own && is_strong(mode))
            }),
            _ => unreachable!("only locks on keys are checked"),
        };
        let is_wide = |&(id, other): &(LockId, KeyLock)| {
            id == own && is_strong(other.mode) && other.scope.overlaps(key_lock.scope)
        };
        in_queue || self.wide.iter().any(is_wide) || self.set_covers(own, key_lock)
    }

    /// Returns whether a request other than `own`, granted or waiting, has a key with this hash,
    /// and `own` does not exclude it.
    pub fn shares(&self, own: Option<LockId>, hash: u64) -> bool {
        let key_lock = KeyLock { scope: Scope::name(hash), mode: Mode::Exclusive };
        if own.is_some_and(|own| self.covers(own, key_lock)) {
            return false;
        }
        let is_other = |id: LockId| Some(id) != own;
        let in_queue = |queue: &Queue| queue.entries.iter().any(|&(id, _)| is_other(id));
        self.queues.get(&(0, hash)).is_some_and(in_queue)
            || self.wide.iter().any(|&(id, wide)| is_other(id) && wide.conflicts(key_lock))
            || self.sets.iter().any(|(id, set)| is_other(*id) && set.conflicts(key_lock))
    }

    fn set_covers(&self, own: LockId, key_lock: KeyLock) -> bool {
        let Scope::Key { hash, .. } = key_lock.scope else { return false };
        let set = self.sets.iter().find(|(id, _)| *id == own);
        set.is_some_and(|(_, set)| set.covers(hash, key_lock.mode))
    }

    /// Returns whether a request, granted or waiting, has a lock with exactly this scope, or a set
    /// with this key.
    pub fn has(&self, scope: Scope) -> bool {
        match scope {
            Scope::Key { db, hash } => {
                let is_in_set = self.sets.iter().any(|(_, set)| set.covers(hash, Mode::Shared));
                is_in_set || self.queues.contains_key(&(db, hash))
            }
            _ => self.wide.iter().any(|(_, key_lock)| key_lock.scope == scope),
        }
    }

    /// Returns whether a request, granted or waiting, has a lock on a database or on everything.
    pub fn has_wide(&self) -> bool {
        !self.wide.is_empty()
    }

    /// Returns the hashes of all keys that requests, granted or waiting, lock exclusively, each
    /// with the number of its requests. Returns none if a request locks exclusively more than
    /// single keys: a database, everything or a set.
    pub fn exclusive_keys(&self) -> Option<HashMap<u64, usize>> {
        let is_exclusive = |(_, key_lock): &(LockId, KeyLock)| key_lock.mode == Mode::Exclusive;
        let has_set = self.sets.iter().any(|(_, set)| set.is_exclusive());
        if has_set || self.wide.iter().any(is_exclusive) {
            return None;
        }
        let mut keys = HashMap::new();
        for id in self.requests.keys() {
            self.exclusive_of(*id).for_each(|hash| *keys.entry(hash).or_default() += 1);
        }
        Some(keys)
    }

    /// Returns the hashes of the keys that a request locks exclusively one by one.
    pub fn exclusive_of(&self, id: LockId) -> impl Iterator<Item = u64> + '_ {
        let key_locks = self.requests.get(&id).map_or(&[][..], |lock| &lock.key_locks);
        key_locks.iter().filter_map(|key_lock| match (key_lock.scope, key_lock.mode) {
            (Scope::Key { hash, .. }, Mode::Exclusive) => Some(hash),
            _ => None,
        })
    }

    /// Returns the id of the next request. Earlier requests have smaller ids.
    pub fn next_id(&self) -> LockId {
        self.next_id
    }

    /// Adds a request behind all others. Returns its id and whether it is granted at once.
    pub fn request(&mut self, key_locks: &[KeyLock]) -> (LockId, bool) {
        self.request_set(key_locks, None)
    }

    /// Adds a request for key locks and for a set of keys, like [`LockTable::request`].
    pub fn request_set(
        &mut self,
        key_locks: &[KeyLock],
        set: Option<Box<KeySet>>,
    ) -> (LockId, bool) {
        let id = self.next_id;
        self.next_id += 1;
        let mut lock = LockRequest { key_locks: Box::default(), blockers: 0 };
        let mut taken = Vec::with_capacity(key_locks.len());
        // The stronger mode of a scope comes first, so that the weaker one is skipped.
        for mode in [Mode::Exclusive, Mode::Shared] {
            for &key_lock in key_locks.iter().filter(|key_lock| key_lock.mode == mode) {
                if self.is_taken(id, key_lock.scope) {
                    continue;
                }
                lock.blockers += self.blockers_of(key_lock);
                taken.push(key_lock);
                self.enter(id, key_lock);
            }
        }
        lock.key_locks = taken.into_boxed_slice();
        if let Some(set) = set.filter(|set| !set.is_empty()) {
            lock.blockers += self.blockers_of_set(&set);
            self.sets.push((id, set));
        }
        let is_granted = lock.blockers == 0;
        self.requests.insert(id, lock);
        (id, is_granted)
    }

    /// Returns whether the request being added already has a lock with exactly this scope.
    fn is_taken(&self, id: LockId, scope: Scope) -> bool {
        match scope {
            Scope::Key { db, hash } => {
                let back = self.queues.get(&(db, hash)).and_then(|queue| queue.entries.back());
                back.is_some_and(|&(last, _)| last == id)
            }
            _ => {
                let mut own = self.wide.iter().rev().take_while(|(other, _)| *other == id);
                own.any(|(_, key_lock)| key_lock.scope == scope)
            }
        }
    }

    /// Returns the number of blockers of one key lock of the request being added. That request is
    /// not yet in `requests`, and its own wide locks do not count.
    fn blockers_of(&self, key_lock: KeyLock) -> usize {
        let earlier = |id: LockId| id + 1 < self.next_id;
        let wide = self.wide.iter().filter(|(id, other)| earlier(*id) && other.conflicts(key_lock));
        let sets = self.sets.iter().filter(|(_, set)| set.conflicts(key_lock));
        let in_way = wide.count() + sets.count();
        match key_lock.scope {
            Scope::Key { db, hash } => {
                let queue = self.queues.get(&(db, hash));
                in_way + usize::from(queue.is_some_and(|queue| queue.conflicts(key_lock.mode)))
            }
            _ => {
                let others = self.requests.values().flat_map(|lock| lock.key_locks.iter());
                let is_narrow = |other: &&KeyLock| !other.scope.is_wide();
                in_way + others.filter(is_narrow).filter(|other| other.conflicts(key_lock)).count()
            }
        }
    }

    /// Returns the number of earlier locks and sets that conflict with the set of the request being
    /// added.
    fn blockers_of_set(&self, set: &KeySet) -> usize {
        let others = self.requests.values().flat_map(|lock| lock.key_locks.iter());
        let sets = self.sets.iter().filter(|(_, other)| other.conflicts_with(set));
        others.filter(|other| set.conflicts(**other)).count() + sets.count()
    }

    fn enter(&mut self, id: LockId, key_lock: KeyLock) {
        match key_lock.scope {
            Scope::Key { db, hash } => {
                let queue = self.queues.entry((db, hash)).or_default();
                queue.entries.push_back((id, key_lock.mode));
                queue.admit();
            }
            _ => self.wide.push((id, key_lock)),
        }
    }

    /// Releases a granted request. Appends the requests that this grants to `granted`, in their
    /// order.
    pub fn release(&mut self, id: LockId, granted: &mut Vec<LockId>) {
        let lock = self.requests.remove(&id).expect("a request is released once");
        assert!(lock.blockers == 0, "only a granted request is released");
        let first = granted.len();
        let wide_len = self.wide.len();
        self.wide.retain(|&(other, _)| other != id);
        let was_wide = self.wide.len() < wide_len;
        for &key_lock in &lock.key_locks {
            if let Scope::Key { db, hash } = key_lock.scope {
                self.leave((db, hash), id, granted);
            }
            for at in 0..self.wide.len() {
                let (other_id, other) = self.wide[at];
                if other_id > id && other.conflicts(key_lock) {
                    discount(&mut self.requests, other_id, granted);
                }
            }
            for (other_id, set) in &self.sets {
                if *other_id > id && set.conflicts(key_lock) {
                    discount(&mut self.requests, *other_id, granted);
                }
            }
        }
        if let Some(at) = self.sets.iter().position(|(other, _)| *other == id) {
            let (_, set) = self.sets.remove(at);
            self.discount_set(id, &set, granted);
        }
        if was_wide {
            let wide = lock.key_locks.iter().filter(|key_lock| key_lock.scope.is_wide());
            self.discount_keys(id, &wide.copied().collect::<Vec<_>>(), granted);
        }
        granted[first..].sort_unstable();
        if self.is_empty() {
            self.give_back();
        }
    }

    /// Removes a request from the queue of one of its keys.
    fn leave(&mut self, key: (u16, u64), id: LockId, granted: &mut Vec<LockId>) {
        let queue = self.queues.get_mut(&key).expect("a request is in the queues of its keys");
        queue.remove(id);
        while let Some(admitted) = queue.admit() {
            discount(&mut self.requests, admitted, granted);
        }
        if queue.entries.is_empty() {
            self.queues.remove(&key);
        }
    }

    /// Removes the wide locks of a request from the blockers of later requests' locks on keys.
    fn discount_keys(&mut self, id: LockId, wide: &[KeyLock], granted: &mut Vec<LockId>) {
        for (&later, lock) in self.requests.range_mut(id + 1..) {
            let keys = lock.key_locks.iter().filter(|key_lock| !key_lock.scope.is_wide());
            let in_way = |key: &KeyLock| wide.iter().filter(|other| other.conflicts(*key)).count();
            let pairs: usize = keys.map(in_way).sum();
            assert!(pairs <= lock.blockers, "every pair was counted as a blocker");
            lock.blockers -= pairs;
            if pairs > 0 && lock.blockers == 0 {
                granted.push(later);
            }
        }
    }

    /// Removes a set from the blockers of later requests.
    fn discount_set(&mut self, id: LockId, set: &KeySet, granted: &mut Vec<LockId>) {
        for (&later, lock) in self.requests.range_mut(id + 1..) {
            let keys = lock.key_locks.iter().filter(|key_lock| set.conflicts(**key_lock));
            let sets = self.sets.iter().filter(|(other, _)| *other == later);
            let pairs = keys.count() + sets.filter(|(_, other)| other.conflicts_with(set)).count();
            assert!(pairs <= lock.blockers, "every pair was counted as a blocker");
            lock.blockers -= pairs;
            if pairs > 0 && lock.blockers == 0 {
                granted.push(later);
            }
        }
    }

    /// Releases excess memory.
    fn give_back(&mut self) {
        let has_none = self.queues.is_empty() && self.wide.is_empty() && self.sets.is_empty();
        assert!(has_none, "queued locks and sets belong to requests");
        self.queues.shrink_to(KEPT_QUEUES_MAX);
        self.wide.shrink_to(KEPT_WIDE_MAX);
        self.sets = Vec::new();
    }

    /// Asserts all invariants. O(locks^2), for tests.
    pub fn check(&self) {
        let mut in_queues = 0;
        for (&(db, hash), queue) in &self.queues {
            assert!(!queue.entries.is_empty(), "an empty queue is removed");
            assert!(queue.entries.iter().is_sorted_by(|first, second| first.0 < second.0));
            let is_shared = |entry: &&(LockId, Mode)| entry.1 == Mode::Shared;
            let shared = queue.entries.iter().take_while(is_shared).count();
            assert_eq!(queue.admitted, shared.max(1));
            for &(id, mode) in &queue.entries {
                let key_lock = KeyLock { scope: Scope::Key { db, hash }, mode };
                assert!(self.requests[&id].key_locks.contains(&key_lock));
            }
            in_queues += queue.entries.len();
        }
        assert!(self.wide.iter().is_sorted_by_key(|&(id, _)| id));
        assert!(
            self.wide.iter().all(|(id, key_lock)| self.requests[id].key_locks.contains(key_lock))
        );
        let key_locks = || self.requests.values().flat_map(|lock| lock.key_locks.iter());
        assert_eq!(in_queues + self.wide.len(), key_locks().count());
        assert_eq!(
            self.wide.len(),
            key_locks().filter(|key_lock| key_lock.scope.is_wide()).count()
        );
        for (&id, lock) in &self.requests {
            assert!(id < self.next_id);
            let earlier =
                || self.requests.range(..id).flat_map(|(_, other)| other.key_locks.iter());
            let blockers = lock.key_locks.iter().map(|key_lock| {
                let in_way = || earlier().filter(|other| other.conflicts(*key_lock));
                let is_pair = |other: &&KeyLock| key_lock.scope.is_wide() || other.scope.is_wide();
                let pairs = in_way().filter(is_pair).count();
                let sets = self.sets.iter().filter(|(other, _)| *other < id);
                let sets = sets.filter(|(_, set)| set.conflicts(*key_lock)).count();
                sets + pairs + usize::from(in_way().count() > pairs)
            });
            let own = self.sets.iter().find(|(other, _)| *other == id);
            let of_set = own.map_or(0, |(_, set)| {
                let sets = self.sets.iter().filter(|(other, _)| *other < id);
                let sets = sets.filter(|(_, other)| other.conflicts_with(set)).count();
                sets + earlier().filter(|other| set.conflicts(**other)).count()
            });
            assert_eq!(lock.blockers, of_set + blockers.sum::<usize>());
        }
        assert!(self.sets.is_sorted_by_key(|&(id, _)| id));
        assert!(self.sets.iter().all(|(id, _)| self.requests.contains_key(id)));
    }
}

/// Removes one blocker from a request.
fn discount(requests: &mut BTreeMap<LockId, LockRequest>, id: LockId, granted: &mut Vec<LockId>) {
    let lock = requests.get_mut(&id).expect("a queued lock belongs to a request");
    assert!(lock.blockers > 0, "each blocker is removed once");
    lock.blockers -= 1;
    if lock.blockers == 0 {
        granted.push(id);
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

    fn wide(scope: Scope, mode: Mode) -> KeyLock {
        KeyLock { scope, mode }
    }

    /// Releases a request and returns the requests that this grants.
    fn release(key_locks: &mut LockTable, id: LockId) -> Vec<LockId> {
        let mut granted = Vec::new();
        key_locks.release(id, &mut granted);
        key_locks.check();
        granted
    }

    #[test]
    fn a_key_is_shared_with_all_that_it_does_not_exclude() {
        let mut table = LockTable::new();
        let (reader, _) = table.request(&[key(1, Shared), key(2, Shared)]);
        assert!(table.shares(None, 1) && !table.shares(Some(reader), 1));
        assert!(!table.shares(None, 3));
        let (other, _) = table.request(&[key(1, Shared)]);
        assert!(table.shares(Some(reader), 1) && !table.shares(Some(reader), 2));
        let (writer, is_granted) = table.request(&[key(2, Exclusive)]);
        assert!(!is_granted && table.shares(Some(reader), 2), "it waits");
        release(&mut table, reader);
        release(&mut table, other);
        let (waiting, _) = table.request(&[key(2, Shared)]);
        assert!(!table.shares(Some(writer), 2), "nobody uses it beside its writer");
        assert!(table.shares(Some(waiting), 2));
        let (_, is_granted) = table.request(&[wide(Scope::All, Shared)]);
        assert!(!is_granted && table.shares(None, 3) && table.shares(Some(waiting), 3));
    }

    #[test]
    fn scopes_overlap_both_ways() {
        let key = |db, hash| Scope::Key { db, hash };
        for (first, second, is_overlap) in [
            (key(0, 1), key(0, 1), true),
            (key(0, 1), key(0, 2), false),
            (key(0, 1), key(1, 1), false),
            (key(0, 1), Scope::Database(0), true),
            (key(0, 1), Scope::Database(1), false),
            (key(3, 1), Scope::All, true),
            (Scope::Database(2), Scope::Database(2), true),
            (Scope::Database(2), Scope::Database(3), false),
            (Scope::Database(2), Scope::All, true),
            (Scope::All, Scope::All, true),
        ] {
            assert_eq!(first.overlaps(second), is_overlap, "{first:?} {second:?}");
            assert_eq!(second.overlaps(first), is_overlap, "{second:?} {first:?}");
            let conflicts = |a, b| wide(first, a).conflicts(wide(second, b));
            assert!(!conflicts(Shared, Shared));
            assert_eq!(conflicts(Shared, Exclusive), is_overlap);
            assert_eq!(conflicts(Exclusive, Shared), is_overlap);
            assert_eq!(conflicts(Exclusive, Exclusive), is_overlap);
        }
    }

    #[test]
    fn a_shared_lock_does_not_overtake_an_exclusive_one() {
        let mut key_locks = LockTable::new();
        let (first, is_granted) = key_locks.request(&[key(1, Shared)]);
        assert!(is_granted && !key_locks.conflicts([key(1, Shared)]));
        assert!(key_locks.conflicts([key(2, Exclusive), key(1, Exclusive)]));
        let (writer, is_granted) = key_locks.request(&[key(1, Exclusive)]);
        assert!(!is_granted && key_locks.conflicts([key(1, Shared)]));
        let (second, is_second) = key_locks.request(&[key(1, Shared)]);
        let (third, is_third) = key_locks.request(&[key(1, Shared)]);
        assert!(!is_second && !is_third);
        assert_eq!(release(&mut key_locks, first), [writer]);
        assert_eq!(release(&mut key_locks, writer), [second, third]);
        assert!(key_locks.is_granted(second) && key_locks.is_granted(third));
        assert!(release(&mut key_locks, third).is_empty());
        assert_eq!(key_locks.len(), 1);
        assert!(release(&mut key_locks, second).is_empty());
        assert!(key_locks.is_empty());
    }

    #[test]
    fn a_request_does_not_wait_for_itself() {
        let mut key_locks = LockTable::new();
        let all = wide(Scope::All, Exclusive);
        let database = wide(Scope::Database(0), Exclusive);
        let twice = [key(1, Shared), key(1, Exclusive), key(1, Shared), all, database, all];
        let (first, is_granted) = key_locks.request(&twice);
        assert!(is_granted);
        key_locks.check();
        let (second, is_granted) = key_locks.request(&[key(1, Shared), key(1, Shared), database]);
        assert!(!is_granted);
        key_locks.check();
        assert_eq!(release(&mut key_locks, first), [second]);
        assert!(release(&mut key_locks, second).is_empty());
        let (empty, is_granted) = key_locks.request(&[]);
        assert!(is_granted);
        assert!(release(&mut key_locks, empty).is_empty());
    }

    #[test]
    fn wide_locks_wait_and_block_later_requests() {
        let mut key_locks = LockTable::new();
        let (writer, _) = key_locks.request(&[key(1, Exclusive)]);
        let (reader, _) = key_locks.request(&[key(2, Shared)]);
        assert!(key_locks.conflicts([wide(Scope::Database(0), Shared)]));
        assert!(!key_locks.conflicts([wide(Scope::Database(1), Exclusive)]));
        let (database, is_granted) = key_locks.request(&[wide(Scope::Database(0), Shared)]);
        assert!(!is_granted);
        let (late_reader, is_granted) = key_locks.request(&[key(2, Shared)]);
        assert!(is_granted);
        let (late_writer, is_granted) = key_locks.request(&[key(3, Exclusive), key(4, Exclusive)]);
        assert!(!is_granted && key_locks.conflicts([key(4, Shared)]));
        let (all, is_granted) = key_locks.request(&[wide(Scope::All, Exclusive)]);
        assert!(!is_granted && key_locks.conflicts([key(9, Shared)]));
        assert_eq!(release(&mut key_locks, writer), [database]);
        assert_eq!(release(&mut key_locks, database), [late_writer]);
        assert!(release(&mut key_locks, late_writer).is_empty());
        assert!(release(&mut key_locks, reader).is_empty());
        assert_eq!(release(&mut key_locks, late_reader), [all]);
        assert!(release(&mut key_locks, all).is_empty());
    }

    #[test]
    fn a_request_covers_its_own_keys() {
        let mut key_locks = LockTable::new();
        let modes = [Exclusive, Shared];
        let covers = |key_locks: &LockTable, own, hash| {
            modes.map(|mode| key_locks.covers(own, key(hash, mode)))
        };
        let (first, _) = key_locks.request(&[key(1, Shared), key(2, Exclusive)]);
        let (second, is_granted) = key_locks.request(&[key(2, Exclusive), key(3, Shared)]);
        assert!(!is_granted);
        assert_eq!(covers(&key_locks, first, 1), [false, true]);
        assert_eq!(covers(&key_locks, first, 2), [true, true]);
        assert_eq!(covers(&key_locks, first, 3), [false, false]);
        assert_eq!(covers(&key_locks, second, 2), [true, true]);
        let (all, _) = key_locks.request(&[wide(Scope::All, Shared), key(5, Exclusive)]);
        assert_eq!(covers(&key_locks, all, 4), [false, true]);
        assert_eq!(covers(&key_locks, all, 5), [true, true]);
    }

    #[test]
    fn a_set_locks_its_keys_and_lets_others_pass() {
        let mut key_locks = LockTable::new();
        let mut rng = Rng::new(1);
        let hashes: Vec<u64> = (0..1_000).map(|_| rng.next_u64()).collect();
        let mut set = KeySet::new(hashes.len());
        hashes.iter().for_each(|hash| set.insert(*hash, Exclusive));
        let (reader, _) = key_locks.request(&[key(hashes[7], Shared)]);
        let (many, is_granted) = key_locks.request_set(&[key(5, Shared)], Some(Box::new(set)));
        assert!(!is_granted, "a key of the set is locked");
        key_locks.check();
        let (stranger, is_granted) = key_locks.request(&[key(rng.next_u64(), Exclusive)]);
        assert!(is_granted, "a stranger passes");
        let (late, is_granted) = key_locks.request(&[key(hashes[8], Shared)]);
        assert!(!is_granted && key_locks.conflicts([wide(Scope::All, Shared)]));
        assert!(!key_locks.conflicts([key(5, Shared)]) && key_locks.conflicts([key(5, Exclusive)]));
        key_locks.check();
        assert_eq!(release(&mut key_locks, reader), [many]);
        assert!(key_locks.covers(many, key(hashes[9], Exclusive)));
        assert!(key_locks.covers(many, key(5, Shared)));
        assert_eq!(release(&mut key_locks, many), [late]);
        assert!(release(&mut key_locks, late).is_empty());
        assert!(release(&mut key_locks, stranger).is_empty());
        assert!(key_locks.is_empty());
    }

    #[test]
    fn memory_is_released() {
        let mut key_locks = LockTable::new();
        let many: Vec<KeyLock> = (0..100_000).map(|hash| key(hash, Shared)).collect();
        let ids: Vec<LockId> = (0..100)
            .map(|_| {
                key_locks.request(&[wide(Scope::All, Shared), wide(Scope::Database(1), Shared)]).0
            })
            .collect();
        let (id, is_granted) = key_locks.request(&many);
        assert!(is_granted && key_locks.queues.capacity() >= many.len());
        let mut granted = Vec::new();
        key_locks.release(id, &mut granted);
        for id in ids {
            key_locks.release(id, &mut granted);
        }
        assert!(key_locks.is_empty() && granted.is_empty());
        assert!(key_locks.queues.capacity() < 4 * KEPT_QUEUES_MAX);
        assert!(key_locks.wide.capacity() <= KEPT_WIDE_MAX);
    }

    /// Locks as requested: key locks, and a set.
    type Wanted = (Vec<KeyLock>, Option<Box<KeySet>>);

    /// A request of the model: its number, its locks, and whether it is granted.
    type ModelRequest = (LockId, Wanted, bool);

    /// Grants the requests without an earlier conflicting one. Returns the newly granted requests.
    fn rescan(model: &mut [ModelRequest]) -> Vec<LockId> {
        let mut granted = Vec::new();
        for at in 0..model.len() {
            let (earlier, rest) = model.split_at_mut(at);
            let (id, own, is_granted) = &mut rest[0];
            let is_free = earlier.iter().all(|(_, others, _)| !conflict(others, own));
            assert!(is_free || !*is_granted, "a granted request stays granted");
            if is_free && !*is_granted {
                *is_granted = true;
                granted.push(*id);
            }
        }
        granted
    }

    fn conflict((some, set): &Wanted, (others, other_set): &Wanted) -> bool {
        let meets = |set: &Option<Box<KeySet>>, key_lock: &KeyLock| {
            set.as_ref().is_some_and(|set| set.conflicts(*key_lock))
        };
        some.iter().any(|key_lock| others.iter().any(|other| key_lock.conflicts(*other)))
            || some.iter().any(|key_lock| meets(other_set, key_lock))
            || others.iter().any(|key_lock| meets(set, key_lock))
            || set.as_ref().zip(other_set.as_ref()).is_some_and(|(a, b)| a.conflicts_with(b))
    }

    /// Returns random locks, some of them with a set of keys.
    fn random_locks(rng: &mut Rng, wide_percent: u64) -> Wanted {
        let key_locks = random_key_locks(rng, wide_percent);
        let count = if rng.below(3) == 0 { rng.below(8) } else { 0 };
        let mut set = KeySet::new(count as usize);
        for _ in 0..count {
            let mode = if rng.below(2) == 0 { Shared } else { Exclusive };
            set.insert(rng.below(6), mode);
        }
        (key_locks, (count > 0).then_some(Box::new(set)))
    }

    fn random_key_locks(rng: &mut Rng, wide_percent: u64) -> Vec<KeyLock> {
        let mode = |rng: &mut Rng| if rng.below(2) == 0 { Shared } else { Exclusive };
        let count = rng.below(5);
        let key_lock = |_| {
            let mode = mode(rng);
            let db = rng.below(3) as u16;
            let scope = match rng.below(200) {
                dice if dice < wide_percent => Scope::All,
                dice if dice < wide_percent * 2 => Scope::Database(db),
                _ => Scope::Key { db, hash: rng.below(6) },
            };
            KeyLock { scope, mode }
        };
        (0..count).map(key_lock).collect()
    }

    fn run(seed: u64, steps: usize, wide_percent: u64) {
        let mut rng = Rng::new(seed);
        let mut key_locks = LockTable::new();
        let mut model: Vec<ModelRequest> = Vec::new();
        for step in 0..steps {
            // Alternates between phases with more requests and phases with more releases, so that
            // the table gets long and empty in turns.
            let is_growing = (step / 60) % 2 == 0;
            let held = model.iter().filter(|(_, _, is_granted)| *is_granted).count();
            if held == 0 || rng.below(10) < if is_growing { 6 } else { 2 } {
                let own = random_locks(&mut rng, wide_percent);
                let is_free = model.iter().all(|(_, others, _)| !conflict(others, &own));
                if own.1.is_none() {
                    assert_eq!(key_locks.conflicts(own.0.iter().copied()), !is_free);
                }
                let (id, is_granted) = key_locks.request_set(&own.0, own.1.clone());
                assert_eq!(is_granted, is_free);
                assert!(model.last().is_none_or(|(last, _, _)| *last < id));
                model.push((id, own, is_granted));
            } else {
                let held = model.iter().enumerate().filter(|(_, (_, _, is_granted))| *is_granted);
                let held: Vec<usize> = held.map(|(at, _)| at).collect();
                let (id, ..) = model.remove(held[rng.below(held.len() as u64) as usize]);
                let mut granted = vec![LockId::MAX];
                key_locks.release(id, &mut granted);
                assert_eq!(granted[1..], rescan(&mut model));
            }
            assert_eq!((key_locks.len(), key_locks.is_empty()), (model.len(), model.is_empty()));
            for (id, _, is_granted) in &model {
                assert_eq!(key_locks.is_granted(*id), *is_granted);
            }
            key_locks.check();
        }
        while let Some(at) = model.iter().position(|(_, _, is_granted)| *is_granted) {
            let (id, ..) = model.remove(at);
            assert_eq!(release(&mut key_locks, id), rescan(&mut model));
        }
        assert!(model.is_empty() && key_locks.is_empty(), "the first request is always granted");
    }

    #[test]
    fn random_requests_match_a_rescan() {
        for seed in 0..20 {
            run(seed, 1_500, [0, 1, 5, 30][seed as usize % 4]);
        }
    }

    /// Posts units on several shards in one order, with units on one shard in between. All units
    /// must end.
    #[test]
    fn one_order_on_all_shards_lets_every_unit_end() {
        for seed in 0..20 {
            let mut rng = Rng::new(seed);
            let mut shards = [LockTable::new(), LockTable::new(), LockTable::new()];
            let mut units: Vec<Vec<(usize, LockId)>> = Vec::new();
            for _ in 0..200 {
                let mut requests = Vec::new();
                for (at, shard) in shards.iter_mut().enumerate() {
                    if rng.below(2) == 0 {
                        let (key_locks, set) = random_locks(&mut rng, 3);
                        requests.push((at, shard.request_set(&key_locks, set).0));
                    }
                }
                units.push(requests);
            }
            while !units.is_empty() {
                let is_ready = |unit: &Vec<(usize, LockId)>| {
                    unit.iter().all(|&(at, id)| shards[at].is_granted(id))
                };
                let ready: Vec<usize> = (0..units.len()).filter(|&n| is_ready(&units[n])).collect();
                assert!(ready.contains(&0), "the first unit waits for no other");
                for (at, id) in units.remove(ready[rng.below(ready.len() as u64) as usize]) {
                    release(&mut shards[at], id);
                }
            }
            assert!(shards.iter().all(LockTable::is_empty));
        }
    }
}
