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

use crate::exec::{Intent, Mode, Scope};
use std::collections::btree_map::BTreeMap;
use std::collections::{HashMap, VecDeque};

/// The number of a claim on its shard; later ones have greater numbers.
pub type ClaimId = u64;

/// The most queues whose room is kept when there are no claims.
const KEPT_QUEUES_MAX: usize = 256;

/// The most wide intents whose room is kept when there are no claims.
const KEPT_WIDE_MAX: usize = 64;

/// The claims on one shard in the order of their arrival.
#[derive(Debug)]
pub struct Intents {
    queues: HashMap<(u16, u64), Queue, ahash::RandomState>,
    wide: Vec<(ClaimId, Intent)>,
    claims: BTreeMap<ClaimId, Claim>,
    next_id: ClaimId,
}

#[derive(Debug)]
struct Claim {
    /// Each scope once, with its stronger mode.
    intents: Box<[Intent]>,
    blockers: usize,
}

/// The intents for one key in the order of their claims, each claim once. Never empty.
#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<(ClaimId, Mode)>,
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

impl Intent {
    fn conflicts(self, other: Intent) -> bool {
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
    fn admit(&mut self) -> Option<ClaimId> {
        let &(id, mode) = self.entries.get(self.admitted)?;
        let both_share = mode == Mode::Shared && self.front_mode() == Some(Mode::Shared);
        if self.admitted > 0 && !both_share {
            return None;
        }
        self.admitted += 1;
        Some(id)
    }

    /// Takes the admitted intent of a claim away.
    fn remove(&mut self, id: ClaimId) {
        let at = self.entries.binary_search_by_key(&id, |&(id, _)| id);
        let at = at.expect("a claim stands in the queues of its keys");
        assert!(at < self.admitted, "a granted claim is admitted everywhere");
        self.entries.remove(at);
        self.admitted -= 1;
    }
}

impl Default for Intents {
    fn default() -> Intents {
        Intents::new()
    }
}

impl Intents {
    /// No claims.
    pub fn new() -> Intents {
        Intents {
            // Hashes of keys are secret already: these seeds need not be.
            queues: HashMap::with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4)),
            wide: Vec::new(),
            claims: BTreeMap::new(),
            next_id: 0,
        }
    }

    /// Whether there is no claim, and so nothing to wait for.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// How many claims there are, granted and waiting.
    pub fn len(&self) -> usize {
        self.claims.len()
    }

    /// Whether a claim that was made and not released is granted.
    pub fn is_granted(&self, id: ClaimId) -> bool {
        self.claims[&id].blockers == 0
    }

    /// Whether a unit with these intents would have to wait if it came now.
    pub fn conflicts(&self, intents: impl IntoIterator<Item = Intent>) -> bool {
        !self.is_empty() && intents.into_iter().any(|intent| self.conflicts_with(intent))
    }

    fn conflicts_with(&self, intent: Intent) -> bool {
        let is_held = match intent.scope {
            Scope::Key { db, hash } => {
                self.queues.get(&(db, hash)).is_some_and(|queue| queue.conflicts(intent.mode))
            }
            _ => {
                let mut others = self.claims.values().flat_map(|claim| claim.intents.iter());
                return others.any(|other| other.conflicts(intent));
            }
        };
        is_held || self.wide.iter().any(|(_, other)| other.conflicts(intent))
    }

    /// Whether what follows at once from a granted claim, as its end (none: from what is no claim
    /// and happens now), would touch what others have claimed that may not come behind it: earlier
    /// ones, and those that are granted.
    pub fn is_in_the_way(&self, intent: Intent, own: Option<ClaimId>) -> bool {
        let comes_first = |id: ClaimId| match own {
            None => true,
            Some(own) => id != own && (id < own || self.is_granted(id)),
        };
        let in_queue = match intent.scope {
            Scope::Key { db, hash } => self.queues.get(&(db, hash)).is_some_and(|queue| {
                let is_both = |mode| intent.mode == Mode::Exclusive || mode == Mode::Exclusive;
                queue.entries.iter().any(|&(id, mode)| is_both(mode) && comes_first(id))
            }),
            _ => unreachable!("only keys are looked at"),
        };
        let is_wide = |&(id, other): &(ClaimId, Intent)| other.conflicts(intent) && comes_first(id);
        in_queue || self.wide.iter().any(is_wide)
    }

    /// Makes a claim behind all that are there; says whether it is granted at once.
    pub fn claim(&mut self, intents: &[Intent]) -> (ClaimId, bool) {
        let id = self.next_id;
        self.next_id += 1;
        let mut claim = Claim { intents: Box::default(), blockers: 0 };
        let mut taken = Vec::with_capacity(intents.len());
        // The stronger mode of a scope comes first, so that the weaker one is found to be there.
        for mode in [Mode::Exclusive, Mode::Shared] {
            for &intent in intents.iter().filter(|intent| intent.mode == mode) {
                if self.is_taken(id, intent.scope) {
                    continue;
                }
                claim.blockers += self.blockers_of(intent);
                taken.push(intent);
                self.enter(id, intent);
            }
        }
        claim.intents = taken.into_boxed_slice();
        let is_granted = claim.blockers == 0;
        self.claims.insert(id, claim);
        (id, is_granted)
    }

    /// Whether the claim that is being made has an intent for this very scope.
    fn is_taken(&self, id: ClaimId, scope: Scope) -> bool {
        match scope {
            Scope::Key { db, hash } => {
                let back = self.queues.get(&(db, hash)).and_then(|queue| queue.entries.back());
                back.is_some_and(|&(last, _)| last == id)
            }
            _ => {
                let mut own = self.wide.iter().rev().take_while(|(other, _)| *other == id);
                own.any(|(_, intent)| intent.scope == scope)
            }
        }
    }

    /// What of the claims that are there an intent of a new one has to wait for. The new claim is
    /// not yet among `claims`, and its wide intents do not count.
    fn blockers_of(&self, intent: Intent) -> usize {
        let earlier = |id: ClaimId| id + 1 < self.next_id;
        let wide = self.wide.iter().filter(|(id, other)| earlier(*id) && other.conflicts(intent));
        let in_way = wide.count();
        match intent.scope {
            Scope::Key { db, hash } => {
                let queue = self.queues.get(&(db, hash));
                in_way + usize::from(queue.is_some_and(|queue| queue.conflicts(intent.mode)))
            }
            _ => {
                let others = self.claims.values().flat_map(|claim| claim.intents.iter());
                let is_narrow = |other: &&Intent| !other.scope.is_wide();
                in_way + others.filter(is_narrow).filter(|other| other.conflicts(intent)).count()
            }
        }
    }

    fn enter(&mut self, id: ClaimId, intent: Intent) {
        match intent.scope {
            Scope::Key { db, hash } => {
                let queue = self.queues.entry((db, hash)).or_default();
                queue.entries.push_back((id, intent.mode));
                queue.admit();
            }
            _ => self.wide.push((id, intent)),
        }
    }

    /// Ends a granted claim; the claims that are granted by that come to the end of `granted`, in
    /// their order.
    pub fn release(&mut self, id: ClaimId, granted: &mut Vec<ClaimId>) {
        let claim = self.claims.remove(&id).expect("a claim is released once");
        assert!(claim.blockers == 0, "only a granted claim is released");
        let first = granted.len();
        let wide_len = self.wide.len();
        self.wide.retain(|&(other, _)| other != id);
        let was_wide = self.wide.len() < wide_len;
        for &intent in &claim.intents {
            if let Scope::Key { db, hash } = intent.scope {
                self.leave((db, hash), id, granted);
            }
            for at in 0..self.wide.len() {
                let (other_id, other) = self.wide[at];
                if other_id > id && other.conflicts(intent) {
                    discount(&mut self.claims, other_id, granted);
                }
            }
        }
        if was_wide {
            let wide = claim.intents.iter().filter(|intent| intent.scope.is_wide());
            self.discount_keys(id, &wide.copied().collect::<Vec<_>>(), granted);
        }
        granted[first..].sort_unstable();
        if self.is_empty() {
            self.give_back();
        }
    }

    /// Takes a claim out of the queue of one of its keys.
    fn leave(&mut self, key: (u16, u64), id: ClaimId, granted: &mut Vec<ClaimId>) {
        let queue = self.queues.get_mut(&key).expect("a claim stands in the queues of its keys");
        queue.remove(id);
        while let Some(admitted) = queue.admit() {
            discount(&mut self.claims, admitted, granted);
        }
        if queue.entries.is_empty() {
            self.queues.remove(&key);
        }
    }

    /// Tells the key intents of later claims that the wide ones of a claim are gone.
    fn discount_keys(&mut self, id: ClaimId, wide: &[Intent], granted: &mut Vec<ClaimId>) {
        for (&later, claim) in self.claims.range_mut(id + 1..) {
            let keys = claim.intents.iter().filter(|intent| !intent.scope.is_wide());
            let in_way = |key: &Intent| wide.iter().filter(|other| other.conflicts(*key)).count();
            let pairs: usize = keys.map(in_way).sum();
            assert!(pairs <= claim.blockers, "every pair was counted");
            claim.blockers -= pairs;
            if pairs > 0 && claim.blockers == 0 {
                granted.push(later);
            }
        }
    }

    /// Gives back the room that many claims have taken.
    fn give_back(&mut self) {
        assert!(self.queues.is_empty() && self.wide.is_empty(), "they belong to claims");
        self.queues.shrink_to(KEPT_QUEUES_MAX);
        self.wide.shrink_to(KEPT_WIDE_MAX);
    }

    /// Looks at everything and asserts what must hold. O(intents^2), for tests.
    pub fn check(&self) {
        let mut in_queues = 0;
        for (&(db, hash), queue) in &self.queues {
            assert!(!queue.entries.is_empty(), "an empty queue is taken away");
            assert!(queue.entries.iter().is_sorted_by(|first, second| first.0 < second.0));
            let is_shared = |entry: &&(ClaimId, Mode)| entry.1 == Mode::Shared;
            let shared = queue.entries.iter().take_while(is_shared).count();
            assert_eq!(queue.admitted, shared.max(1));
            for &(id, mode) in &queue.entries {
                let intent = Intent { scope: Scope::Key { db, hash }, mode };
                assert!(self.claims[&id].intents.contains(&intent));
            }
            in_queues += queue.entries.len();
        }
        assert!(self.wide.iter().is_sorted_by_key(|&(id, _)| id));
        assert!(self.wide.iter().all(|(id, intent)| self.claims[id].intents.contains(intent)));
        let intents = || self.claims.values().flat_map(|claim| claim.intents.iter());
        assert_eq!(in_queues + self.wide.len(), intents().count());
        assert_eq!(self.wide.len(), intents().filter(|intent| intent.scope.is_wide()).count());
        for (&id, claim) in &self.claims {
            assert!(id < self.next_id);
            let earlier = || self.claims.range(..id).flat_map(|(_, other)| other.intents.iter());
            let blockers = claim.intents.iter().map(|intent| {
                let in_way = || earlier().filter(|other| other.conflicts(*intent));
                let is_pair = |other: &&Intent| intent.scope.is_wide() || other.scope.is_wide();
                let pairs = in_way().filter(is_pair).count();
                pairs + usize::from(in_way().count() > pairs)
            });
            assert_eq!(claim.blockers, blockers.sum::<usize>());
        }
    }
}

/// Takes one blocker from a claim.
fn discount(claims: &mut BTreeMap<ClaimId, Claim>, id: ClaimId, granted: &mut Vec<ClaimId>) {
    let claim = claims.get_mut(&id).expect("what is queued is a claim's");
    assert!(claim.blockers > 0, "what was counted is discounted once");
    claim.blockers -= 1;
    if claim.blockers == 0 {
        granted.push(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use Mode::{Exclusive, Shared};

    fn key(hash: u64, mode: Mode) -> Intent {
        Intent { scope: Scope::Key { db: 0, hash }, mode }
    }

    fn wide(scope: Scope, mode: Mode) -> Intent {
        Intent { scope, mode }
    }

    /// Releases a claim and gives those that are granted by it.
    fn release(intents: &mut Intents, id: ClaimId) -> Vec<ClaimId> {
        let mut granted = Vec::new();
        intents.release(id, &mut granted);
        intents.check();
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
        let mut intents = Intents::new();
        let (first, is_granted) = intents.claim(&[key(1, Shared)]);
        assert!(is_granted && !intents.conflicts([key(1, Shared)]));
        assert!(intents.conflicts([key(2, Exclusive), key(1, Exclusive)]));
        let (writer, is_granted) = intents.claim(&[key(1, Exclusive)]);
        assert!(!is_granted && intents.conflicts([key(1, Shared)]));
        let (second, is_second) = intents.claim(&[key(1, Shared)]);
        let (third, is_third) = intents.claim(&[key(1, Shared)]);
        assert!(!is_second && !is_third);
        assert_eq!(release(&mut intents, first), [writer]);
        assert_eq!(release(&mut intents, writer), [second, third]);
        assert!(intents.is_granted(second) && intents.is_granted(third));
        assert!(release(&mut intents, third).is_empty());
        assert_eq!(intents.len(), 1);
        assert!(release(&mut intents, second).is_empty());
        assert!(intents.is_empty());
    }

    #[test]
    fn a_claim_does_not_wait_for_itself() {
        let mut intents = Intents::new();
        let all = wide(Scope::All, Exclusive);
        let database = wide(Scope::Database(0), Exclusive);
        let twice = [key(1, Shared), key(1, Exclusive), key(1, Shared), all, database, all];
        let (first, is_granted) = intents.claim(&twice);
        assert!(is_granted);
        intents.check();
        let (second, is_granted) = intents.claim(&[key(1, Shared), key(1, Shared), database]);
        assert!(!is_granted);
        intents.check();
        assert_eq!(release(&mut intents, first), [second]);
        assert!(release(&mut intents, second).is_empty());
        let (empty, is_granted) = intents.claim(&[]);
        assert!(is_granted);
        assert!(release(&mut intents, empty).is_empty());
    }

    #[test]
    fn wide_intents_wait_and_hold_up() {
        let mut intents = Intents::new();
        let (writer, _) = intents.claim(&[key(1, Exclusive)]);
        let (reader, _) = intents.claim(&[key(2, Shared)]);
        assert!(intents.conflicts([wide(Scope::Database(0), Shared)]));
        assert!(!intents.conflicts([wide(Scope::Database(1), Exclusive)]));
        let (database, is_granted) = intents.claim(&[wide(Scope::Database(0), Shared)]);
        assert!(!is_granted);
        let (late_reader, is_granted) = intents.claim(&[key(2, Shared)]);
        assert!(is_granted);
        let (late_writer, is_granted) = intents.claim(&[key(3, Exclusive), key(4, Exclusive)]);
        assert!(!is_granted && intents.conflicts([key(4, Shared)]));
        let (all, is_granted) = intents.claim(&[wide(Scope::All, Exclusive)]);
        assert!(!is_granted && intents.conflicts([key(9, Shared)]));
        assert_eq!(release(&mut intents, writer), [database]);
        assert_eq!(release(&mut intents, database), [late_writer]);
        assert!(release(&mut intents, late_writer).is_empty());
        assert!(release(&mut intents, reader).is_empty());
        assert_eq!(release(&mut intents, late_reader), [all]);
        assert!(release(&mut intents, all).is_empty());
    }

    #[test]
    fn what_follows_at_once_comes_before_what_waits_behind() {
        let mut intents = Intents::new();
        let is_held = |intents: &Intents, hash, own| {
            let modes = [Exclusive, Shared];
            modes.map(|mode| intents.is_in_the_way(key(hash, mode), own))
        };
        let (earlier, _) = intents.claim(&[key(1, Shared), key(9, Exclusive)]);
        let (own, is_granted) = intents.claim(&[key(2, Exclusive), key(1, Shared)]);
        assert!(is_granted);
        let (later, is_granted) = intents.claim(&[key(2, Exclusive), key(3, Exclusive)]);
        assert!(!is_granted);
        let (beside, is_granted) = intents.claim(&[key(4, Exclusive)]);
        assert!(is_granted);
        assert_eq!(is_held(&intents, 2, Some(own)), [false, false]);
        assert_eq!(is_held(&intents, 1, Some(own)), [true, false]);
        assert_eq!(is_held(&intents, 9, Some(own)), [true, true]);
        assert_eq!(is_held(&intents, 3, Some(own)), [false, false], "it waits for its own");
        assert_eq!(is_held(&intents, 4, Some(own)), [true, true], "it may have begun");
        assert_eq!(is_held(&intents, 3, None), [true, true], "what is here came before");
        assert_eq!(is_held(&intents, 5, None), [false, false]);
        let (all, is_granted) = intents.claim(&[wide(Scope::All, Exclusive)]);
        assert!(!is_granted);
        assert_eq!(is_held(&intents, 2, Some(own)), [false, false]);
        assert_eq!(is_held(&intents, 5, None), [true, true]);
        for (id, granted) in [
            (earlier, vec![]),
            (own, vec![later]),
            (later, vec![]),
            (beside, vec![all]),
            (all, vec![]),
        ] {
            assert_eq!(release(&mut intents, id), granted);
        }
    }

    #[test]
    fn memory_is_given_back() {
        let mut intents = Intents::new();
        let many: Vec<Intent> = (0..100_000).map(|hash| key(hash, Shared)).collect();
        let ids: Vec<ClaimId> = (0..100)
            .map(|_| intents.claim(&[wide(Scope::All, Shared), wide(Scope::Database(1), Shared)]).0)
            .collect();
        let (id, is_granted) = intents.claim(&many);
        assert!(is_granted && intents.queues.capacity() >= many.len());
        let mut granted = Vec::new();
        intents.release(id, &mut granted);
        for id in ids {
            intents.release(id, &mut granted);
        }
        assert!(intents.is_empty() && granted.is_empty());
        assert!(intents.queues.capacity() < 4 * KEPT_QUEUES_MAX);
        assert!(intents.wide.capacity() <= KEPT_WIDE_MAX);
    }

    /// A claim of the model: its number, all its intents as they were asked for, whether it is
    /// granted.
    type ModelClaim = (ClaimId, Vec<Intent>, bool);

    /// Grants what no earlier claim conflicts with; gives what was not granted before.
    fn rescan(model: &mut [ModelClaim]) -> Vec<ClaimId> {
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

    fn conflict(some: &[Intent], others: &[Intent]) -> bool {
        some.iter().any(|intent| others.iter().any(|other| intent.conflicts(*other)))
    }

    fn random_intents(rng: &mut Rng, wide_percent: u64) -> Vec<Intent> {
        let mode = |rng: &mut Rng| if rng.below(2) == 0 { Shared } else { Exclusive };
        let count = rng.below(5);
        let intent = |_| {
            let mode = mode(rng);
            let db = rng.below(3) as u16;
            let scope = match rng.below(200) {
                dice if dice < wide_percent => Scope::All,
                dice if dice < wide_percent * 2 => Scope::Database(db),
                _ => Scope::Key { db, hash: rng.below(6) },
            };
            Intent { scope, mode }
        };
        (0..count).map(intent).collect()
    }

    fn run(seed: u64, steps: usize, wide_percent: u64) {
        let mut rng = Rng::new(seed);
        let mut intents = Intents::new();
        let mut model: Vec<ModelClaim> = Vec::new();
        for step in 0..steps {
            // Phases of more claims and of more releases, so that it is long and empty in turns.
            let is_growing = (step / 60) % 2 == 0;
            let held = model.iter().filter(|(_, _, is_granted)| *is_granted).count();
            if held == 0 || rng.below(10) < if is_growing { 6 } else { 2 } {
                let own = random_intents(&mut rng, wide_percent);
                let is_free = model.iter().all(|(_, others, _)| !conflict(others, &own));
                assert_eq!(intents.conflicts(own.iter().copied()), !is_free);
                let (id, is_granted) = intents.claim(&own);
                assert_eq!(is_granted, is_free);
                assert!(model.last().is_none_or(|(last, _, _)| *last < id));
                model.push((id, own, is_granted));
            } else {
                let held = model.iter().enumerate().filter(|(_, (_, _, is_granted))| *is_granted);
                let held: Vec<usize> = held.map(|(at, _)| at).collect();
                let (id, ..) = model.remove(held[rng.below(held.len() as u64) as usize]);
                let mut granted = vec![ClaimId::MAX];
                intents.release(id, &mut granted);
                assert_eq!(granted[1..], rescan(&mut model));
            }
            assert_eq!((intents.len(), intents.is_empty()), (model.len(), model.is_empty()));
            for (id, _, is_granted) in &model {
                assert_eq!(intents.is_granted(*id), *is_granted);
            }
            intents.check();
        }
        while let Some(at) = model.iter().position(|(_, _, is_granted)| *is_granted) {
            let (id, ..) = model.remove(at);
            assert_eq!(release(&mut intents, id), rescan(&mut model));
        }
        assert!(model.is_empty() && intents.is_empty(), "the first claim always is granted");
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
            let mut shards = [Intents::new(), Intents::new(), Intents::new()];
            let mut units: Vec<Vec<(usize, ClaimId)>> = Vec::new();
            for _ in 0..200 {
                let mut claims = Vec::new();
                for (at, shard) in shards.iter_mut().enumerate() {
                    if rng.below(2) == 0 {
                        claims.push((at, shard.claim(&random_intents(&mut rng, 3)).0));
                    }
                }
                units.push(claims);
            }
            while !units.is_empty() {
                let is_ready = |unit: &Vec<(usize, ClaimId)>| {
                    unit.iter().all(|&(at, id)| shards[at].is_granted(id))
                };
                let ready: Vec<usize> = (0..units.len()).filter(|&n| is_ready(&units[n])).collect();
                assert!(ready.contains(&0), "the first unit waits for none");
                for (at, id) in units.remove(ready[rng.below(ready.len() as u64) as usize]) {
                    release(&mut shards[at], id);
                }
            }
            assert!(shards.iter().all(Intents::is_empty));
        }
    }
}
