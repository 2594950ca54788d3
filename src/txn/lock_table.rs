//! The claims on one shard: who may go on, and who waits for whom. First come, first served.
//!
//! A unit of several rounds says in its first round what it will use on each shard: its intents.
//! All intents of a unit on a shard are one claim.
//!
//! ```text
//!            no earlier claim conflicts
//!   claim ---------------------------------> Granted --release--> gone
//!     |                                         ^
//!     |  an earlier claim conflicts             |  the last such claim is gone
//!     +---------------> Waiting ----------------+
//! ```
//!
//! Two intents conflict if their scopes overlap and one of them is exclusive; two claims conflict
//! if any of their intents do. A claim that waits holds up later ones as a granted one does, so
//! nothing that conflicts overtakes and nothing starves.
//!
//! # Why nothing deadlocks
//!
//! A claim waits only for claims that came to its shard before it, and a unit claims everything
//! in one step: it never claims while it holds. Units with claims on several shards come to all
//! of them in one order (rule 4 of the mesh). Suppose units waited for each other in a circle.
//! Each step of the circle leads, on one shard, to a claim that came earlier there; the circle
//! changes shards only at units that have claims on several. So it would lead from each of these
//! to one that is earlier in their one order, and never back. A circle within one shard would
//! lead back in that shard's order. Hence the waits have no circle, and of all units that are not
//! done the first waits for none: it ends, and so does every other after it.
//!
//! # How it is kept
//!
//! ```text
//!   queues   key -> its intents in the order of claims: [ admitted | not yet ]
//!            admitted is one exclusive intent, or as many shared ones as stand in front
//!   wide     intents for a database or for all, in the order of claims
//!   claims   id -> intents, blockers
//!   blockers = own key intents that are not admitted in their queues
//!            + pairs of an own intent and one of an earlier claim that conflict, one being wide
//! ```
//!
//! A claim is granted when it has no blockers. While no wide intent is there, a claim costs its
//! own keys, and a release these and the intents that it admits (and a search among the claims).
//! With wide intents there it may cost all claims.

use crate::exec::{KeyLock, Mode, Scope};
use std::collections::btree_map::BTreeMap;
use std::collections::{HashMap, VecDeque};

/// The number of a claim on its shard; later ones have greater numbers.
pub type LockId = u64;

/// The most queues whose room is kept when there are no claims.
const KEPT_QUEUES_MAX: usize = 256;

/// The most wide intents whose room is kept when there are no claims.
const KEPT_WIDE_MAX: usize = 64;

/// The claims on one shard in the order of their arrival.
#[derive(Debug)]
pub struct LockTable {
    queues: HashMap<(u16, u64), Queue, ahash::RandomState>,
    wide: Vec<(LockId, KeyLock)>,
    requests: BTreeMap<LockId, LockRequest>,
    next_id: LockId,
}

#[derive(Debug)]
struct LockRequest {
    /// Each scope once, with its stronger mode.
    key_locks: Box<[KeyLock]>,
    blockers: usize,
}

/// The intents for one key in the order of their claims, each claim once. Never empty.
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
    /// Whether an intent that comes now would wait.
    fn conflicts(&self, mode: Mode) -> bool {
        // Were all shared, then all were admitted.
        let is_shared = self.front_mode() == Some(Mode::Shared);
        let may_share = is_shared && self.admitted == self.entries.len();
        !self.entries.is_empty() && (mode == Mode::Exclusive || !may_share)
    }

    fn front_mode(&self) -> Option<Mode> {
        self.entries.front().map(|&(_, mode)| mode)
    }

    /// The claim whose intent is admitted now, if one is. To be asked until there is none.
    fn admit(&mut self) -> Option<LockId> {
        let &(id, mode) = self.entries.get(self.admitted)?;
        let both_share = mode == Mode::Shared && self.front_mode() == Some(Mode::Shared);
        if self.admitted > 0 && !both_share {
            return None;
        }
        self.admitted += 1;
        Some(id)
    }

    /// Takes the admitted intent of a claim away.
    fn remove(&mut self, id: LockId) {
        let at = self.entries.binary_search_by_key(&id, |&(id, _)| id);
        let at = at.expect("a lock stands in the queues of its keys");
        assert!(at < self.admitted, "a granted lock is admitted everywhere");
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
    /// No claims.
    pub fn new() -> LockTable {
        LockTable {
            // Hashes of keys are secret already: these seeds need not be.
            queues: HashMap::with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4)),
            wide: Vec::new(),
            requests: BTreeMap::new(),
            next_id: 0,
        }
    }

    /// Whether there is no claim, and so nothing to wait for.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// How many claims there are, granted and waiting.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether a claim that was made and not released is granted.
    pub fn is_granted(&self, id: LockId) -> bool {
        self.requests[&id].blockers == 0
    }

    /// Whether a unit with these intents would have to wait if it came now.
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
                return others.any(|other| other.conflicts(key_lock));
            }
        };
        is_held || self.wide.iter().any(|(_, other)| other.conflicts(key_lock))
    }

    /// Whether what follows at once from a granted claim, as its end (none: from what is no claim
    /// and happens now), would touch what others have claimed that may not come behind it: earlier
    /// ones, and those that are granted.
    pub fn is_in_the_way(&self, key_lock: KeyLock, own: Option<LockId>) -> bool {
        let comes_first = |id: LockId| match own {
            None => true,
            Some(own) => id != own && (id < own || self.is_granted(id)),
        };
        let in_queue = match key_lock.scope {
            Scope::Key { db, hash } => self.queues.get(&(db, hash)).is_some_and(|queue| {
                let is_both = |mode| key_lock.mode == Mode::Exclusive || mode == Mode::Exclusive;
                queue.entries.iter().any(|&(id, mode)| is_both(mode) && comes_first(id))
            }),
            _ => unreachable!("only keys are looked at"),
        };
        let is_wide =
            |&(id, other): &(LockId, KeyLock)| other.conflicts(key_lock) && comes_first(id);
        in_queue || self.wide.iter().any(is_wide)
    }

    /// Makes a claim behind all that are there; says whether it is granted at once.
    pub fn request(&mut self, key_locks: &[KeyLock]) -> (LockId, bool) {
        let id = self.next_id;
        self.next_id += 1;
        let mut lock = LockRequest { key_locks: Box::default(), blockers: 0 };
        let mut taken = Vec::with_capacity(key_locks.len());
        // The stronger mode of a scope comes first, so that the weaker one is found to be there.
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
        let is_granted = lock.blockers == 0;
        self.requests.insert(id, lock);
        (id, is_granted)
    }

    /// Whether the claim that is being made has an intent for this very scope.
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

    /// What of the claims that are there an intent of a new one has to wait for. The new claim is
    /// not yet among `claims`, and its wide intents do not count.
    fn blockers_of(&self, key_lock: KeyLock) -> usize {
        let earlier = |id: LockId| id + 1 < self.next_id;
        let wide = self.wide.iter().filter(|(id, other)| earlier(*id) && other.conflicts(key_lock));
        let in_way = wide.count();
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

    /// Ends a granted claim; the claims that are granted by that come to the end of `granted`, in
    /// their order.
    pub fn release(&mut self, id: LockId, granted: &mut Vec<LockId>) {
        let lock = self.requests.remove(&id).expect("a lock is released once");
        assert!(lock.blockers == 0, "only a granted lock is released");
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

    /// Takes a claim out of the queue of one of its keys.
    fn leave(&mut self, key: (u16, u64), id: LockId, granted: &mut Vec<LockId>) {
        let queue = self.queues.get_mut(&key).expect("a lock stands in the queues of its keys");
        queue.remove(id);
        while let Some(admitted) = queue.admit() {
            discount(&mut self.requests, admitted, granted);
        }
        if queue.entries.is_empty() {
            self.queues.remove(&key);
        }
    }

    /// Tells the key intents of later claims that the wide ones of a claim are gone.
    fn discount_keys(&mut self, id: LockId, wide: &[KeyLock], granted: &mut Vec<LockId>) {
        for (&later, lock) in self.requests.range_mut(id + 1..) {
            let keys = lock.key_locks.iter().filter(|key_lock| !key_lock.scope.is_wide());
            let in_way = |key: &KeyLock| wide.iter().filter(|other| other.conflicts(*key)).count();
            let pairs: usize = keys.map(in_way).sum();
            assert!(pairs <= lock.blockers, "every pair was counted");
            lock.blockers -= pairs;
            if pairs > 0 && lock.blockers == 0 {
                granted.push(later);
            }
        }
    }

    /// Gives back the room that many claims have taken.
    fn give_back(&mut self) {
        assert!(self.queues.is_empty() && self.wide.is_empty(), "they belong to requests");
        self.queues.shrink_to(KEPT_QUEUES_MAX);
        self.wide.shrink_to(KEPT_WIDE_MAX);
    }

    /// Looks at everything and asserts what must hold. O(intents^2), for tests.
    pub fn check(&self) {
        let mut in_queues = 0;
        for (&(db, hash), queue) in &self.queues {
            assert!(!queue.entries.is_empty(), "an empty queue is taken away");
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
                pairs + usize::from(in_way().count() > pairs)
            });
            assert_eq!(lock.blockers, blockers.sum::<usize>());
        }
    }
}

/// Takes one blocker from a claim.
fn discount(requests: &mut BTreeMap<LockId, LockRequest>, id: LockId, granted: &mut Vec<LockId>) {
    let lock = requests.get_mut(&id).expect("what is queued is a lock's");
    assert!(lock.blockers > 0, "what was counted is discounted once");
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

    /// Releases a claim and gives those that are granted by it.
    fn release(key_locks: &mut LockTable, id: LockId) -> Vec<LockId> {
        let mut granted = Vec::new();
        key_locks.release(id, &mut granted);
        key_locks.check();
        granted
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
    fn a_shared_intent_does_not_overtake_an_exclusive_one() {
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
    fn a_claim_does_not_wait_for_itself() {
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
    fn wide_locks_wait_and_hold_up() {
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
    fn what_follows_at_once_comes_before_what_waits_behind() {
        let mut key_locks = LockTable::new();
        let is_held = |key_locks: &LockTable, hash, own| {
            let modes = [Exclusive, Shared];
            modes.map(|mode| key_locks.is_in_the_way(key(hash, mode), own))
        };
        let (earlier, _) = key_locks.request(&[key(1, Shared), key(9, Exclusive)]);
        let (own, is_granted) = key_locks.request(&[key(2, Exclusive), key(1, Shared)]);
        assert!(is_granted);
        let (later, is_granted) = key_locks.request(&[key(2, Exclusive), key(3, Exclusive)]);
        assert!(!is_granted);
        let (beside, is_granted) = key_locks.request(&[key(4, Exclusive)]);
        assert!(is_granted);
        assert_eq!(is_held(&key_locks, 2, Some(own)), [false, false]);
        assert_eq!(is_held(&key_locks, 1, Some(own)), [true, false]);
        assert_eq!(is_held(&key_locks, 9, Some(own)), [true, true]);
        assert_eq!(is_held(&key_locks, 3, Some(own)), [false, false], "it waits for its own");
        assert_eq!(is_held(&key_locks, 4, Some(own)), [true, true], "it may have begun");
        assert_eq!(is_held(&key_locks, 3, None), [true, true], "what is here came before");
        assert_eq!(is_held(&key_locks, 5, None), [false, false]);
        let (all, is_granted) = key_locks.request(&[wide(Scope::All, Exclusive)]);
        assert!(!is_granted);
        assert_eq!(is_held(&key_locks, 2, Some(own)), [false, false]);
        assert_eq!(is_held(&key_locks, 5, None), [true, true]);
        for (id, granted) in [
            (earlier, vec![]),
            (own, vec![later]),
            (later, vec![]),
            (beside, vec![all]),
            (all, vec![]),
        ] {
            assert_eq!(release(&mut key_locks, id), granted);
        }
    }

    #[test]
    fn memory_is_given_back() {
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

    /// A claim of the model: its number, all its intents as they were asked for, whether it is
    /// granted.
    type ModelClaim = (LockId, Vec<KeyLock>, bool);

    /// Grants what no earlier claim conflicts with; gives what was not granted before.
    fn rescan(model: &mut [ModelClaim]) -> Vec<LockId> {
        let mut granted = Vec::new();
        for at in 0..model.len() {
            let (earlier, rest) = model.split_at_mut(at);
            let (id, own, is_granted) = &mut rest[0];
            let is_free = earlier.iter().all(|(_, others, _)| !conflict(others, own));
            assert!(is_free || !*is_granted, "what is granted stays granted");
            if is_free && !*is_granted {
                *is_granted = true;
                granted.push(*id);
            }
        }
        granted
    }

    fn conflict(some: &[KeyLock], others: &[KeyLock]) -> bool {
        some.iter().any(|key_lock| others.iter().any(|other| key_lock.conflicts(*other)))
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
        let mut model: Vec<ModelClaim> = Vec::new();
        for step in 0..steps {
            // Phases of more claims and of more releases, so that it is long and empty in turns.
            let is_growing = (step / 60) % 2 == 0;
            let held = model.iter().filter(|(_, _, is_granted)| *is_granted).count();
            if held == 0 || rng.below(10) < if is_growing { 6 } else { 2 } {
                let own = random_key_locks(&mut rng, wide_percent);
                let is_free = model.iter().all(|(_, others, _)| !conflict(others, &own));
                assert_eq!(key_locks.conflicts(own.iter().copied()), !is_free);
                let (id, is_granted) = key_locks.request(&own);
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
        assert!(model.is_empty() && key_locks.is_empty(), "the first lock always is granted");
    }

    #[test]
    fn random_claims_agree_with_a_rescan() {
        for seed in 0..20 {
            run(seed, 1_500, [0, 1, 5, 30][seed as usize % 4]);
        }
    }

    /// Units over several shards, posted in one order, with units of one shard in between: all end.
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
                        requests.push((at, shard.request(&random_key_locks(&mut rng, 3)).0));
                    }
                }
                units.push(requests);
            }
            while !units.is_empty() {
                let is_ready = |unit: &Vec<(usize, LockId)>| {
                    unit.iter().all(|&(at, id)| shards[at].is_granted(id))
                };
                let ready: Vec<usize> = (0..units.len()).filter(|&n| is_ready(&units[n])).collect();
                assert!(ready.contains(&0), "the first unit waits for none");
                for (at, id) in units.remove(ready[rng.below(ready.len() as u64) as usize]) {
                    release(&mut shards[at], id);
                }
            }
            assert!(shards.iter().all(LockTable::is_empty));
        }
    }
}
