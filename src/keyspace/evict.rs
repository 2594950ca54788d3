//! Eviction: keys leave because memory is full. Hot while memory is full: every write evicts.
//!
//! ```text
//!   hand    walks over the buckets of all databases, round after round. Each step reads the
//!           bucket whose entries the step before has asked the processor for, and asks for the
//!           bucket after the next one
//!   pool    the best candidates that the hand has passed, the best one last
//!
//!   evict:  the hand passes `samples` keys --rank--> pool --best one, if nobody has used it
//!           since--> leaves
//! ```
//! The hand passes every key once per round, so each candidate is the best of all keys that it
//! passed lately. A sample drawn with replacement, as the reference server takes, sees some keys
//! often and others never. The pool carries good candidates over to the next eviction.
//!
//! Under LRU a key that was used again since it was written ages at its true rate. Other keys age
//! up to [`AGING_MAX`] times as fast: see `aging`.
//!
//! A candidate is found again by its bucket's word. The word may belong to another key by then; its
//! rank is computed anew, so such a key leaves only if it is a candidate as good.

use super::access::Access;
use super::database::{Database, GROUP_TABLES};
use super::event::Event;
use super::expire::IsKept;
use super::slice::Slice;
use super::table::{Entry, Place, Table, Word};
use crate::base::alloc::used_bytes;
use crate::config::MaxmemoryPolicy;

/// Candidates that the pool holds.
const POOL_MAX: usize = 16;

/// Buckets that the hand passes at most for one eviction. Volatile keys may be rare.
const STEP_BUCKETS: usize = 64;

/// The most keys that the hand passes in advance: the places of one bucket.
const SURPLUS_MAX: usize = 7;

/// Evictions that the means over victims go back.
const VICTIMS: u32 = 64;

/// How much faster keys may age that were not used again.
const AGING_MAX: u64 = 2;

/// Random positions that one eviction tries.
const RANDOM_TRIES_MAX: usize = 16;

/// Which keys are evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvictionRule {
    /// The order of the keys, and whether keys without an expiry stay.
    pub policy: MaxmemoryPolicy,
    /// Keys that the hand passes for each key that is evicted.
    pub samples: usize,
}

impl EvictionRule {
    fn may_evict(self, entry: Entry) -> bool {
        !entry.is_detached() && (!self.policy.spares_persistent() || entry.expiry().is_some())
    }
}

/// Whether an eviction goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More memory is needed.
    Needed,
    /// There is room enough.
    Enough,
    /// The time is over.
    Late,
}

/// How an eviction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evicted {
    /// There is room enough.
    Enough,
    /// More memory is needed, and keys to evict may be left.
    Unfinished,
    /// More memory is needed, and there is no key that may be evicted.
    Exhausted,
}

/// A key that may be evicted.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// The higher, the sooner the key leaves.
    rank: u64,
    at: Position,
    word: Word,
}

/// A bucket: database, table, number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Position {
    db: usize,
    index: usize,
    number: u32,
}

/// The state of eviction.
#[derive(Debug, Default)]
pub(super) struct Eviction {
    /// The bucket that the hand reads next; its entries were asked for.
    hand: Position,
    /// The bucket that the hand reads after that; it was asked for.
    ahead: Position,
    /// In ascending order of ranks, at most [`POOL_MAX`].
    pool: Vec<Candidate>,
    /// Keys that the hand has passed in addition to the samples of all evictions so far: it passes
    /// whole buckets.
    surplus: usize,
    /// The rule by which the pool was ranked.
    ranked_by: Option<MaxmemoryPolicy>,
    /// Rounds over all databases since a key was last evicted.
    idle_rounds: usize,
    victims: Victims,
}

/// What the last keys were that were evicted, about [`VICTIMS`] of them.
#[derive(Debug, Default)]
struct Victims {
    /// Number of evictions that the means include.
    seen: u32,
    /// Mean of the bytes that each has freed.
    bytes: f64,
    /// Mean of the ranks of the last victim of each eviction; 0 if the policy is random.
    rank: f64,
    /// Rank of the last victim.
    last_rank: u64,
}

impl Victims {
    /// Includes the victims of an eviction in the means.
    fn add(&mut self, bytes_each: u64) {
        self.seen = (self.seen + 1).min(VICTIMS);
        let share = 1.0 / f64::from(self.seen);
        self.bytes += (bytes_each as f64 - self.bytes) * share;
        self.rank += (self.last_rank as f64 - self.rank) * share;
    }
}

impl Eviction {
    /// Returns whether the pool has a place for a candidate of this rank.
    fn has_place_for(&self, rank: u64) -> bool {
        self.pool.len() < POOL_MAX || rank > self.pool[0].rank
    }

    /// Adds a candidate that the pool has a place for, unless it has it already.
    fn add(&mut self, candidate: Candidate) {
        if self.pool.iter().any(|it| it.word == candidate.word) {
            return;
        }
        if self.pool.len() == POOL_MAX {
            self.pool.remove(0);
        }
        let at = self.pool.partition_point(|it| it.rank < candidate.rank);
        self.pool.insert(at, candidate);
    }
}

impl Slice {
    /// Evicts keys by a rule, and frees what was removed before, as long as `progress` asks for it.
    /// Evicts no keys that `is_kept` excludes. Asks `progress` before each step, which takes about
    /// 100 us at most, and passes it the bytes that were freed so far. These are the bytes of keys
    /// and values: an eviction that also counted the messages that it causes might never end.
    pub fn evict(
        &mut self,
        rule: EvictionRule,
        is_kept: Option<IsKept<'_>>,
        progress: &mut dyn FnMut(u64) -> Progress,
    ) -> Evicted {
        if self.eviction.ranked_by != Some(rule.policy) {
            self.eviction.pool.clear();
            self.eviction.victims = Victims::default();
            self.eviction.ranked_by = Some(rule.policy);
        }
        self.eviction.idle_rounds = 0;
        self.graveyard.begin_round();
        let mut freed_bytes = 0;
        let before = self.stats.evicted;
        let evicted = self.evict_on(rule, is_kept, progress, &mut freed_bytes);
        if let Some(bytes_each) = freed_bytes.checked_div(self.stats.evicted - before) {
            self.eviction.victims.add(bytes_each);
        }
        evicted
    }

    fn evict_on(
        &mut self,
        rule: EvictionRule,
        is_kept: Option<IsKept<'_>>,
        progress: &mut dyn FnMut(u64) -> Progress,
        freed_bytes: &mut u64,
    ) -> Evicted {
        loop {
            match progress(*freed_bytes) {
                Progress::Enough => return Evicted::Enough,
                Progress::Late => return Evicted::Unfinished,
                Progress::Needed => {}
            }
            // Memory that is about to be free needs no further victims.
            let used_bytes = used_bytes();
            if self.graveyard.step(&mut self.tools.heap) {
                *freed_bytes += bytes_since(used_bytes);
                continue;
            }
            if !self.has_evictable(rule.policy) {
                return Evicted::Exhausted;
            }
            let is_random = rule.policy.is_random();
            let found = if is_random {
                self.random_victim(rule, is_kept)
            } else {
                self.best(rule, is_kept)
            };
            match found {
                Some((db, index, place)) => {
                    *freed_bytes += self.evict_at(db, index, place);
                    self.eviction.idle_rounds = 0;
                }
                // Units have locked all that may be evicted.
                None if self.eviction.idle_rounds > 1 => return Evicted::Unfinished,
                None => {}
            }
        }
    }

    /// Returns whether there are keys that the policy may evict.
    pub fn has_evictable(&self, policy: MaxmemoryPolicy) -> bool {
        self.evictable(policy) > 0
    }

    /// Returns the number of keys that the policy may evict.
    fn evictable(&self, policy: MaxmemoryPolicy) -> usize {
        let databases = self.databases.iter();
        match policy {
            MaxmemoryPolicy::NoEviction => 0,
            _ if policy.spares_persistent() => databases.map(Database::volatile_len).sum(),
            _ => databases.map(Database::len).sum(),
        }
    }

    /// Returns how much this slice should contribute to an eviction, relative to other slices: the
    /// bytes of its keys that may be evicted, estimated, times the mean age of victims under LRU.
    /// As long as none was evicted, the bytes are estimated as `usual_bytes`. Returns 0 if there is
    /// no such key.
    pub fn evictable_weight(&self, policy: MaxmemoryPolicy, usual_bytes: u64) -> u64 {
        use MaxmemoryPolicy::{AllkeysLru, VolatileLru};
        let Victims { seen, bytes, rank, .. } = self.eviction.victims;
        let all_bytes = match self.evictable(policy) {
            0 => return 0,
            _ if seen == 0 => usual_bytes as f64,
            keys => keys as f64 * bytes,
        };
        let age = match policy {
            AllkeysLru | VolatileLru => rank + 1.0,
            _ => 1.0,
        };
        (all_bytes * age).max(1.0) as u64
    }

    /// Returns a random number.
    pub fn draw_random(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// Removes a key. Returns the bytes that this has freed.
    fn evict_at(&mut self, db: usize, index: usize, place: Place) -> u64 {
        let entry = self.take_unasked(db, index, place);
        if self.is_heard() {
            let key = self.key_in_slot(entry.key(), index as u16);
            self.raise(db, &key, Event::Evicted, 0);
        }
        self.stats.evicted += 1;
        let used_bytes = used_bytes();
        self.graveyard.bury_entry(&mut self.tools.heap, entry);
        self.shrink(db, index, 2);
        self.trim(db, index / GROUP_TABLES);
        bytes_since(used_bytes)
    }

    /// Moves the hand on and returns the best candidate that is still as good.
    fn best(
        &mut self,
        rule: EvictionRule,
        is_kept: Option<IsKept<'_>>,
    ) -> Option<(usize, usize, Place)> {
        let mut passed = self.eviction.surplus;
        for _ in 0..STEP_BUCKETS {
            if passed >= rule.samples && !self.eviction.pool.is_empty() {
                break;
            }
            passed += self.pass_bucket(rule, is_kept);
        }
        self.eviction.surplus = passed.saturating_sub(rule.samples).min(SURPLUS_MAX);
        while let Some(candidate) = self.eviction.pool.pop() {
            let Position { db, index, number } = candidate.at;
            let Some(table) = self.bucket_table(candidate.at) else { continue };
            let Some(place) = table.find_in_bucket(number, &mut |word| word == candidate.word)
            else {
                continue;
            };
            let entry = place.entry();
            let is_locked = is_kept.is_some_and(|it| it(self.tools.hash(entry.key())));
            let is_as_good = rank(rule.policy, &self.access, entry) >= candidate.rank;
            if rule.may_evict(entry) && is_as_good && !is_locked {
                self.eviction.victims.last_rank = candidate.rank;
                self.ask_for_best();
                return Some((db, index, place));
            }
        }
        None
    }

    /// Passes the bucket at the hand, and offers its keys to the pool. Returns the number of keys.
    fn pass_bucket(&mut self, rule: EvictionRule, is_kept: Option<IsKept<'_>>) -> usize {
        let at = self.eviction.hand;
        self.advance_hand(rule.policy);
        let Slice { databases, tools, eviction, access, .. } = self;
        let Some(table) = databases.get(at.db).and_then(|it| it.table(at.index)) else { return 0 };
        if at.number >= table.buckets() {
            return 0;
        }
        let mut passed = 0;
        table.for_each_in_bucket(at.number, &mut |word| {
            if rule.policy.spares_persistent() && !word.is_volatile() {
                return;
            }
            let entry = word.entry();
            if !rule.may_evict(entry) {
                return;
            }
            passed += 1;
            let rank = rank(rule.policy, access, entry);
            if eviction.has_place_for(rank)
                && !is_kept.is_some_and(|it| it(tools.hash(entry.key())))
            {
                eviction.add(Candidate { rank, at, word });
            }
        });
        passed
    }

    /// Moves the hand to the next bucket of a table with keys that may be evicted. Asks the
    /// processor for the entries of that bucket, and for the bucket behind it.
    fn advance_hand(&mut self, policy: MaxmemoryPolicy) {
        let at = self.eviction.ahead;
        if let Some(table) = self.bucket_table(at) {
            table.prefetch_entries(at.number);
        }
        self.eviction.hand = at;
        self.eviction.ahead = self.next_position(at, policy);
    }

    /// Returns the table of a bucket, if the bucket exists.
    #[inline]
    fn bucket_table(&self, at: Position) -> Option<&Table> {
        let table = self.databases.get(at.db)?.table(at.index)?;
        (at.number < table.buckets()).then_some(table)
    }

    /// Returns the next bucket of a table with keys that may be evicted, and asks the processor for
    /// it.
    fn next_position(&mut self, mut at: Position, policy: MaxmemoryPolicy) -> Position {
        at.number += 1;
        for _ in 0..=self.databases.len() {
            let Some(database) = self.databases.get(at.db) else {
                at = Position::default();
                self.eviction.idle_rounds += 1;
                continue;
            };
            let next = if policy.spares_persistent() {
                database.next_volatile(at.index)
            } else {
                database.next_occupied(at.index)
            };
            let Some(index) = next else {
                at = Position { db: at.db + 1, ..Position::default() };
                continue;
            };
            let number = if index == at.index { at.number } else { 0 };
            let table = database.table(index).expect("a table with keys exists");
            if number < table.buckets() {
                at = Position { index, number, ..at };
                table.prefetch_numbered(number);
                break;
            }
            at = Position { index: index + 1, number: 0, ..at };
        }
        at
    }

    /// Asks the processor for the best candidate, which the next eviction looks at.
    fn ask_for_best(&self) {
        let Some(candidate) = self.eviction.pool.last() else { return };
        if let Some(table) = self.bucket_table(candidate.at) {
            table.prefetch_numbered(candidate.at.number);
        }
        candidate.word.entry().prefetch_block();
    }

    /// Returns a random key that may be evicted, or the next one behind a random position.
    fn random_victim(
        &mut self,
        rule: EvictionRule,
        is_kept: Option<IsKept<'_>>,
    ) -> Option<(usize, usize, Place)> {
        let spares = rule.policy.spares_persistent();
        for _ in 0..RANDOM_TRIES_MAX {
            let count = |db: &Database| {
                if spares { db.volatile_len() } else { db.len() }
            };
            let keys: usize = self.databases.iter().map(count).sum();
            let mut rank = self.rng.below(keys as u64) as usize;
            let db = self.databases.iter().position(|it| {
                let is_it = rank < count(it);
                rank = if is_it { rank } else { rank - count(it) };
                is_it
            })?;
            let database = &self.databases[db];
            let index = if spares {
                let from =
                    usize::from(self.slots.nth(self.rng.below(u64::from(self.slots.len())) as u16));
                database.next_volatile(from).or_else(|| database.next_volatile(0))?
            } else {
                database.table_of_rank(rank)
            };
            let table = database.table(index).expect("a table with keys exists");
            let place = if spares {
                let first = self.rng.below(u64::from(table.buckets())) as u32;
                let pick = &mut |word: Word| word.is_volatile() && rule.may_evict(word.entry());
                let numbers = (first..table.buckets()).chain(0..first);
                numbers.take(STEP_BUCKETS).find_map(|number| table.find_in_bucket(number, pick))
            } else {
                Some(table.random(&mut self.rng))
            };
            let Some(place) = place else { continue };
            let hash = || self.tools.hash(place.entry().key());
            if rule.may_evict(place.entry()) && !is_kept.is_some_and(|it| it(hash())) {
                return Some((db, index, place));
            }
        }
        self.eviction.idle_rounds += 1;
        None
    }
}

/// Returns how many fewer bytes are in use than `before` were.
fn bytes_since(before: u64) -> u64 {
    before.saturating_sub(used_bytes())
}

/// Returns how soon a key leaves under a policy: the higher, the sooner.
#[inline]
fn rank(policy: MaxmemoryPolicy, access: &Access, entry: Entry) -> u64 {
    use MaxmemoryPolicy::*;
    match policy {
        // Among keys with as many uses, chance decides: in a loop over more keys than there is room
        // for, the oldest key would always leave just before its turn.
        AllkeysLfu | VolatileLfu => {
            u64::from(u8::MAX - access.count(entry.clock())) << u8::BITS
                | chance(entry, 1 << u8::BITS)
        }
        VolatileTtl => u64::MAX - entry.expiry().unwrap_or(u64::MAX),
        _ => u64::from(access.idle_s(entry.clock())) * aging(access, entry),
    }
}

/// Returns how much faster than others a key ages under LRU: 1 if it was used again since it was
/// written, otherwise 1 to [`AGING_MAX`] by chance, but always the same.
///
/// Keys that nobody uses again, as a scan leaves them, so leave before keys that are in use. By
/// chance, because a loop over more keys than there is room for would otherwise evict each key
/// before its turn comes: now some keys last until they are used again, and stay from then on.
#[inline]
fn aging(access: &Access, entry: Entry) -> u64 {
    if access.is_reused(entry.clock()) {
        return 1;
    }
    1 + chance(entry, AGING_MAX)
}

/// Returns a number below `end`, by chance, but always the same for an entry.
#[inline]
fn chance(entry: Entry, end: u64) -> u64 {
    let random = entry.address().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (random * end) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{Expiry, SliceOptions};
    use crate::value::string::NewStr;

    const START_MS: u64 = 1_800_000_000_000;

    fn slice_with(keys: u64) -> Slice {
        let options =
            SliceOptions { databases: 3, slots: (0..16384).into(), hash_seed: [1, 2], seed: 3 };
        let mut slice = Slice::new(options);
        slice.set_now(START_MS);
        (0..keys).for_each(|number| set(&mut slice, 0, number, Expiry::Clear));
        slice
    }

    fn set(slice: &mut Slice, db: usize, number: u64, expiry: Expiry) {
        let name = number.to_string();
        let key = slice.key(name.as_bytes());
        slice.set(db, &key, NewStr::from_bytes(b"value"), expiry);
    }

    fn has(slice: &mut Slice, db: usize, number: u64) -> bool {
        let name = number.to_string();
        let key = slice.key(name.as_bytes());
        slice.peek(db, &key).is_some()
    }

    fn rule(policy: MaxmemoryPolicy) -> EvictionRule {
        EvictionRule { policy, samples: 5 }
    }

    /// Evicts this number of keys, or as many as there are.
    fn evict(slice: &mut Slice, policy: MaxmemoryPolicy, keys: u64) -> Evicted {
        evict_beside(slice, policy, keys, None)
    }

    fn evict_beside(
        slice: &mut Slice,
        policy: MaxmemoryPolicy,
        keys: u64,
        is_kept: Option<IsKept<'_>>,
    ) -> Evicted {
        let mut steps = 0;
        let mut progress = |_| {
            steps += 1;
            if steps > keys { Progress::Enough } else { Progress::Needed }
        };
        slice.evict(rule(policy), is_kept, &mut progress)
    }

    #[test]
    fn keys_that_were_not_used_for_long_leave_first() {
        for policy in [MaxmemoryPolicy::AllkeysLru, MaxmemoryPolicy::VolatileLru] {
            let mut slice = slice_with(0);
            for number in 0..10_000 {
                set(&mut slice, 0, number, Expiry::At(START_MS * 2));
                let name = number.to_string();
                let key = slice.key(name.as_bytes());
                slice.set_idle(0, &key, number as u32);
            }
            assert_eq!(evict(&mut slice, policy, 3_000), Evicted::Enough);
            assert_eq!(slice.stats().evicted, 3_000);
            slice.check();
            let old = (7_000..10_000).filter(|&number| !has(&mut slice, 0, number)).count();
            let young = (0..4_000).filter(|&number| !has(&mut slice, 0, number)).count();
            assert!(old > 2_000 && young < 60, "{policy:?}: {old} old and {young} young keys left");
        }
    }

    #[test]
    fn keys_that_are_rarely_used_or_expire_soon_leave_first() {
        let mut slice = slice_with(0);
        slice.set_frequency(Some(crate::keyspace::Frequency { log_factor: 10, decay_minutes: 1 }));
        for number in 0..5_000 {
            set(&mut slice, number as usize % 3, number, Expiry::At(START_MS * 2 - number));
            let name = number.to_string();
            let key = slice.key(name.as_bytes());
            slice.set_use_count(number as usize % 3, &key, (number / 20) as u8);
        }
        evict(&mut slice, MaxmemoryPolicy::AllkeysLfu, 1_000);
        let mut gone = |range: std::ops::Range<u64>| {
            range.filter(|&number| !has(&mut slice, number as usize % 3, number)).count()
        };
        let (rare, often) = (gone(0..1_500), gone(3_000..5_000));
        assert!(rare > 800 && often < 20, "{rare} rarely and {often} often used keys are gone");
        evict(&mut slice, MaxmemoryPolicy::VolatileTtl, 1_000);
        let late = gone_of(&mut slice, 4_000..5_000);
        assert!(late > 600, "{late} of the keys that expire first are gone");
        slice.check();
    }

    fn gone_of(slice: &mut Slice, range: std::ops::Range<u64>) -> usize {
        range.filter(|&number| !has(slice, number as usize % 3, number)).count()
    }

    #[test]
    fn volatile_policies_spare_other_keys() {
        use MaxmemoryPolicy::*;
        for policy in [VolatileLru, VolatileLfu, VolatileRandom, VolatileTtl] {
            let mut slice = slice_with(20_000);
            (0..40).for_each(|number| set(&mut slice, 1, number, Expiry::At(START_MS + 9)));
            assert_eq!(evict(&mut slice, policy, u64::MAX), Evicted::Exhausted);
            assert_eq!((slice.len(0), slice.len(1)), (20_000, 0), "{policy:?}");
            assert!(!slice.has_evictable(policy));
            slice.check();
        }
        let mut slice = slice_with(10);
        assert_eq!(evict(&mut slice, NoEviction, 1), Evicted::Exhausted);
        assert_eq!(slice.len(0), 10);
    }

    #[test]
    fn locked_keys_stay() {
        use MaxmemoryPolicy::*;
        for policy in [AllkeysLru, AllkeysLfu, AllkeysRandom] {
            let mut slice = slice_with(100);
            let locked = slice.key(b"7").hash;
            let is_locked = |hash| hash == locked;
            let end = evict_beside(&mut slice, policy, u64::MAX, Some(&is_locked));
            assert_eq!((end, slice.len(0)), (Evicted::Unfinished, 1), "{policy:?}");
            assert!(has(&mut slice, 0, 7));
            assert_eq!(evict(&mut slice, policy, u64::MAX), Evicted::Exhausted);
            assert_eq!(slice.len(0), 0);
        }
    }

    #[test]
    fn keys_that_were_used_again_stay_longer() {
        let mut slice = slice_with(10_000);
        slice.set_now(START_MS + 10_000);
        for number in 0..3_000 {
            let name = number.to_string();
            let key = slice.key(name.as_bytes());
            slice.lookup(0, &key);
        }
        slice.set_now(START_MS + 15_000);
        (10_000..13_000).for_each(|number| set(&mut slice, 0, number, Expiry::Clear));
        slice.set_now(START_MS + 30_000);
        assert_eq!(evict(&mut slice, MaxmemoryPolicy::AllkeysLru, 8_000), Evicted::Enough);
        // Idle for 20 seconds after a second use, for 30 and for 15 without one.
        let [reused, old, young] = [0..3_000, 3_000..10_000, 10_000..13_000]
            .map(|mut range| range.by_ref().filter(|&it| !has(&mut slice, 0, it)).count());
        assert!(reused < 90, "{reused} reused keys are gone");
        assert!(old > 6_000 && young > 500, "{old} of 7,000 and {young} of 3,000 are gone");
        slice.check();
    }

    #[test]
    fn a_candidate_that_is_used_again_stays() {
        let mut slice = slice_with(10);
        slice.set_now(START_MS + 100_000);
        evict(&mut slice, MaxmemoryPolicy::AllkeysLru, 1);
        let left: Vec<u64> = (0..10).filter(|&number| has(&mut slice, 0, number)).collect();
        for &number in &left[1..] {
            let name = number.to_string();
            let key = slice.key(name.as_bytes());
            slice.lookup(0, &key);
        }
        evict(&mut slice, MaxmemoryPolicy::AllkeysLru, 1);
        assert!(!has(&mut slice, 0, left[0]), "the only key that was not used since");
    }

    #[test]
    fn what_is_being_freed_needs_no_further_victims() {
        let mut slice = slice_with(0);
        let key = slice.key(b"large");
        slice.set(0, &key, NewStr::from_bytes(&vec![b'x'; 8 << 20]), Expiry::At(START_MS + 1));
        set(&mut slice, 0, 1, Expiry::At(START_MS + 2));
        assert_eq!(evict(&mut slice, MaxmemoryPolicy::VolatileTtl, 8), Evicted::Enough);
        assert!(has(&mut slice, 0, 1), "a megabyte of the string goes with each step");
        assert_eq!(evict(&mut slice, MaxmemoryPolicy::VolatileTtl, 2), Evicted::Enough);
        assert!(!has(&mut slice, 0, 1));
    }
}
