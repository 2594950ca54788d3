//! A cut: the keys of the slice as they were at one moment, passed to a consumer step by step while
//! the slice goes on changing.
//!
//! ```text
//!   begin_cut     the moment
//!   walk_cut      saves bucket after bucket ------.
//!   a change of   saves the key before it changes -+--> consumer     each key once
//!   any key                                        |
//!   cut_free      saves keys of earlier units -----'
//!   end_cut       when all keys are saved
//! ```
//! A bucket has a version of two bits. A cut begins with a new version. A bucket with this version
//! is saved; the keys of every other bucket are as they were at the cut, except the early ones. A
//! key is early if it is about to change and its bucket is not saved. It is saved at once, and the
//! walk passes it over. If there are too many early keys, the whole bucket is saved instead. While
//! there is no cut, a change pays one branch.
//!
//! ```text
//!   version of a bucket   older: not saved --save_bucket--> the cut's: saved, may change
//!   split                 both halves keep the version of the bucket
//!   merge                 both buckets are saved before
//!   new key               is early, so it is not part of the cut; in an empty bucket, it is saved
//! ```
//! No bucket with keys may have the version of the next cut. So a cut always walks to its end: if
//! nobody wants it any more, it stamps the rest of the buckets without saving them. An empty bucket
//! may have any version, and gets the present one with its first key.
//!
//! # Databases
//!
//! A cut has the databases of its moment, its sources. SWAPDB exchanges the numbers of two sources.
//! A flush sets the tables of a source aside: nobody changes them any more, and the walk goes on
//! over them. The new database under the number is not part of the cut.
//!
//! # Large values
//!
//! A value of many elements takes long to save, so the consumer shares it by a counted reference,
//! and saves it when it wants. A change copies the value while the consumer has not let go of it.
//!
//! # Held keys
//!
//! The units that have requested locks before the cut are part of it, also if they change keys
//! later. Their keys are held: their values may be away, and nobody else may change them. When the
//! last unit that holds a key is over, the key is saved as it is then. Until then `owed` has the
//! names of the held keys whose buckets were saved without them, and of the changed ones. Both are
//! bounded by the keys of the units.

use super::database::Database;
use super::early::EarlyKeys;
use super::slice::{Key, Slice};
use super::table::{Entry, Place, Table, View};
use crate::value::Object;
use std::any::Any;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

/// A value with at least this number of elements is lent, not saved at once.
const LENT_ELEMENTS_MIN: usize = 2_000;

/// Buckets that a walk saves between two looks at the time.
const STEP_BUCKETS: usize = 4;

/// Takes the keys of a cut.
pub trait Consumer: Any + Debug + Send {
    /// Takes a key. `db` is the number of its database at the cut.
    fn save(&mut self, db: usize, key: &View<'_>);

    /// Takes a key with a value of many elements, which it shares.
    fn lend(&mut self, db: usize, key: &[u8], expiry: Option<u64>, value: Arc<Object>);

    /// Returns whether the walk must pause. Keys that are about to change come nevertheless.
    fn is_full(&self) -> bool;

    /// Returns whether nobody wants the keys any more.
    fn is_abandoned(&self) -> bool;
}

/// A database as it was at the cut.
#[derive(Debug)]
struct Source {
    /// Its tables, if the database was flushed since.
    aside: Option<Database>,
    is_walked: bool,
}

/// A key that is held, with its database.
type Name = (usize, Box<[u8]>);

/// A cut of a slice.
#[derive(Debug)]
pub struct Cut {
    consumer: Box<dyn Consumer>,
    /// By the numbers of the databases at the cut.
    sources: Vec<Source>,
    /// For each database, the source that is under its number now.
    current: Vec<Option<usize>>,
    /// Hashes of the held keys, with the number of units that hold each.
    held: HashMap<u64, usize>,
    /// Held keys to save when they are free, by their hashes.
    owed: HashMap<u64, Vec<Name>>,
    /// Keys that the walk passes over.
    early: EarlyKeys,
    /// Where the walk is: source, table, bucket.
    at: (usize, usize, u32),
}

impl Cut {
    fn new(
        (databases, keys): (usize, usize),
        held: HashMap<u64, usize>,
        consumer: Box<dyn Consumer>,
    ) -> Cut {
        let source = |_| Source { aside: None, is_walked: false };
        Cut {
            consumer,
            sources: (0..databases).map(source).collect(),
            current: (0..databases).map(Some).collect(),
            held,
            owed: HashMap::new(),
            early: EarlyKeys::new(keys),
            at: (0, 0, 0),
        }
    }

    /// Returns whether all keys are saved.
    fn is_complete(&self) -> bool {
        self.at.0 == self.sources.len() && self.held.is_empty()
    }

    /// Saves a key later, when no unit holds it any more.
    fn owe(&mut self, db: usize, hash: u64, key: &[u8]) {
        let owed = self.owed.entry(hash).or_default();
        if !owed.iter().any(|(other_db, other)| *other_db == db && **other == *key) {
            owed.push((db, key.into()));
        }
    }

    /// Passes a key to the consumer.
    fn save(&mut self, source: usize, entry: Entry) {
        debug_assert!(!entry.is_detached(), "a value that is away is held");
        if self.consumer.is_abandoned() {
            return;
        }
        let is_large = entry.any_object().is_some_and(|it| it.len() >= LENT_ELEMENTS_MIN);
        match is_large.then(|| entry.lend()).flatten() {
            Some(value) => self.consumer.lend(source, entry.key(), entry.expiry(), value),
            None => self.consumer.save(source, &View::new(entry)),
        }
    }

    /// Saves the keys of a bucket that are not early. `db` is the present number of the source.
    fn save_bucket(
        &mut self,
        (source, db): (usize, usize),
        (table, number): (&Table, u32),
        hash_of: &dyn Fn(&[u8]) -> u64,
    ) {
        table.for_each_in_bucket(number, &mut |word| {
            let entry = word.entry();
            if self.held.is_empty() && self.early.is_empty() {
                return self.save(source, entry);
            }
            let hash = hash_of(entry.key());
            if self.early.remove(source, hash) {
                return;
            }
            match self.held.contains_key(&hash) {
                true => self.owe(db, hash, entry.key()),
                false => self.save(source, entry),
            }
        });
    }
}

impl Slice {
    /// Begins a cut of the present keys. `held` has the hashes of the keys whose exclusive locks
    /// were requested before, each with the number of its units.
    pub fn begin_cut(&mut self, held: HashMap<u64, usize>, consumer: Box<dyn Consumer>) {
        assert!(self.cut.is_none(), "a cut ends before the next one begins");
        self.tools.version = (self.tools.version + 1) % 4;
        let keys = self.databases.iter().map(|database| database.len()).sum();
        self.cut = Some(Box::new(Cut::new((self.databases.len(), keys), held, consumer)));
    }

    /// Ends the cut if all its keys are saved. Returns its consumer.
    pub fn end_cut(&mut self) -> Option<Box<dyn Consumer>> {
        let cut = self.cut.take_if(|cut| cut.is_complete())?;
        debug_assert!(cut.owed.is_empty() && cut.sources.iter().all(|it| it.aside.is_none()));
        Some(cut.consumer)
    }

    /// Returns the consumer of the cut, if there is a cut and its consumer has this type.
    pub fn cut_consumer<C: Consumer>(&mut self) -> Option<&mut C> {
        let consumer: &mut dyn Any = &mut *self.cut.as_mut()?.consumer;
        consumer.downcast_mut()
    }

    /// Returns whether the cut must wait for units that hold keys.
    pub fn has_held(&self) -> bool {
        self.cut.as_ref().is_some_and(|cut| !cut.held.is_empty())
    }

    /// Returns whether the walk of the cut must pause.
    pub fn is_cut_full(&self) -> bool {
        self.cut.as_ref().is_some_and(|cut| cut.consumer.is_full())
    }

    /// Saves a key if a cut needs it. Call it before every change of the key: of its
    /// value, its expiry or its existence.
    #[inline]
    pub(super) fn before_change(&mut self, db: usize, key: &Key<'_>) {
        if self.cut.is_some() {
            self.save_before_change(db, key);
        }
    }

    /// Saves the key of an entry if a cut needs it. Call it before a change of the entry.
    #[inline]
    pub(super) fn before_change_at(&mut self, db: usize, index: usize, place: Place) {
        if self.cut.is_some() {
            let key = self.key_in_slot(place.entry().key(), index as u16);
            self.save_before_change(db, &key);
        }
    }

    #[cold]
    fn save_before_change(&mut self, db: usize, key: &Key<'_>) {
        let index = self.index_of(key.slot);
        let Slice { cut, databases, tools, .. } = self;
        let Some(cut) = cut else { return };
        let is_held = cut.held.contains_key(&key.hash);
        if is_held {
            cut.owe(db, key.hash, key.bytes);
        }
        let Some(source) = cut.current[db] else { return };
        let Some(table) = databases[db].table(index) else { return };
        let Some(number) = table.bucket_of(key.hash) else { return };
        if table.version_of(number) == tools.version {
            return;
        }
        if cut.early.is_full() {
            return self.save_bucket(db, (index, number));
        }
        if cut.early.insert(source, key.hash)
            && !is_held
            && let Some(place) = table.find(key.hash, key.bytes)
        {
            cut.save(source, place.entry());
        }
    }

    /// Saves a bucket of a present table and stamps it, if it is not saved.
    fn save_bucket(&mut self, db: usize, (index, number): (usize, u32)) {
        let Slice { cut, databases, tools, .. } = self;
        let Some(cut) = cut else { return };
        let Some(source) = cut.current[db] else { return };
        let table = databases[db].table(index).expect("the caller has found it");
        if table.version_of(number) == tools.version {
            return;
        }
        let hash_of = |key: &[u8]| tools.hash(key);
        cut.save_bucket((source, db), (table, number), &hash_of);
        databases[db].change(index, |table| table.stamp(tools.version, number));
    }

    /// Shrinks a table while a cut is under way, in at most `steps` steps.
    #[cold]
    pub(super) fn shrink_in_cut(&mut self, db: usize, index: usize, steps: usize) {
        for _ in 0..steps {
            self.save_merging(db, index);
            let tools = &mut self.tools;
            self.databases[db].change(index, |table| table.shrink(tools, 1));
        }
    }

    /// Saves the two buckets that the next step of shrinking a table merges.
    fn save_merging(&mut self, db: usize, index: usize) {
        let pair = self.databases[db].table(index).and_then(Table::merging);
        for number in pair.into_iter().flatten() {
            self.save_bucket(db, (index, number));
        }
    }

    /// Goes on with the walk until `is_over` returns true, the consumer is full or the walk is at
    /// its end. Returns whether it is at its end.
    pub fn walk_cut(&mut self, is_over: &mut dyn FnMut() -> bool) -> bool {
        loop {
            let Some(cut) = &mut self.cut else { return true };
            if cut.at.0 == cut.sources.len() {
                return true;
            }
            let is_full = cut.consumer.is_full() && !cut.consumer.is_abandoned();
            if is_full || is_over() {
                return false;
            }
            for _ in 0..STEP_BUCKETS {
                self.walk_step();
            }
        }
    }

    /// Saves the next bucket of the walk, or goes on to the next table or source.
    fn walk_step(&mut self) {
        let Some(cut) = &mut self.cut else { return };
        let (source, index, number) = cut.at;
        if source == cut.sources.len() {
            return;
        }
        let db = cut.current.iter().position(|current| *current == Some(source));
        let database = match (&cut.sources[source].aside, db) {
            (Some(aside), _) => aside,
            (None, Some(db)) => &self.databases[db],
            (None, None) => unreachable!("a source is under a number or aside"),
        };
        let Some(occupied) = database.next_occupied(index) else {
            return self.end_source(source);
        };
        let number = if occupied == index { number } else { 0 };
        let table = database.table(occupied).expect("an occupied table exists");
        if number >= table.buckets() {
            cut.at = (source, occupied + 1, 0);
            return;
        }
        cut.at = (source, occupied, number + 1);
        if let Some(db) = db {
            return self.save_bucket(db, (occupied, number));
        }
        if table.version_of(number) == self.tools.version {
            return;
        }
        let aside = cut.sources[source].aside.take().expect("it is aside");
        let table = aside.table(occupied).expect("an occupied table exists");
        let hash_of = |key: &[u8]| self.tools.hash(key);
        cut.save_bucket((source, source), (table, number), &hash_of);
        cut.sources[source].aside = Some(aside);
    }

    /// Ends the walk over a source.
    fn end_source(&mut self, source: usize) {
        let cut = self.cut.as_mut().expect("the caller has checked it");
        cut.at = (source + 1, 0, 0);
        cut.sources[source].is_walked = true;
        if let Some(aside) = cut.sources[source].aside.take() {
            self.graveyard.bury_tables(aside.into_tables());
        }
    }

    /// Frees a held key, because a unit that holds it is over. Saves the key if the unit was the
    /// last one.
    pub fn cut_free(&mut self, hash: u64) {
        let Some(cut) = &mut self.cut else { return };
        let Some(units) = cut.held.get_mut(&hash) else { return };
        *units -= 1;
        if *units > 0 {
            return;
        }
        cut.held.remove(&hash);
        for (db, name) in cut.owed.remove(&hash).unwrap_or_default() {
            let key = self.key(&name);
            let found = self.find_hidden(db, &key);
            let Some(cut) = &mut self.cut else { return };
            if let (Some(place), Some(source)) = (found, cut.current[db]) {
                cut.save(source, place.entry());
            }
        }
    }

    /// Takes over the tables of a database that is flushed, if the cut still has to walk over them.
    /// Otherwise returns them.
    pub(super) fn set_aside(&mut self, db: usize, old: Database) -> Option<Database> {
        let Some(cut) = &mut self.cut else { return Some(old) };
        match cut.current[db].take() {
            Some(source) if !cut.sources[source].is_walked => {
                cut.sources[source].aside = Some(old);
                None
            }
            _ => Some(old),
        }
    }

    /// Exchanges the sources of two databases.
    pub(super) fn swap_sources(&mut self, first: usize, second: usize) {
        if let Some(cut) = &mut self.cut {
            cut.current.swap(first, second);
        }
    }

    /// Drops the cut, and frees the tables that it has set aside.
    pub(super) fn drop_cut(&mut self) {
        for source in self.cut.take().into_iter().flat_map(|cut| cut.sources) {
            if let Some(aside) = source.aside {
                self.graveyard.bury_tables(aside.into_tables());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Expiry, Slice, SliceOptions};
    use super::*;
    use crate::base::rng::Rng;
    use crate::config::MaxmemoryPolicy;
    use crate::keyspace::{EvictionRule, Progress};
    use crate::value::set::{Limits, Set};
    use crate::value::string::{IntText, NewStr};
    use crate::value::{Container, Item, ObjectRef};
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    const START_MS: u64 = 1_800_000_000_000;
    const DATABASES: usize = 3;
    const LIMITS: Limits = Limits { intset_entries: 8, listpack_entries: 8, listpack_value: 8 };

    /// Database and key -> expiry, elements or text.
    type State = BTreeMap<(usize, Vec<u8>), (Option<u64>, Vec<Vec<u8>>)>;

    fn elements(object: ObjectRef<'_>) -> Vec<Vec<u8>> {
        let ObjectRef::Set(set) = object else { panic!("only sets are stored") };
        let text = |item: Item<'_>| match item {
            Item::Int(number) => number.to_string().into_bytes(),
            Item::Bytes(bytes) => bytes.to_vec(),
        };
        let mut all: Vec<Vec<u8>> = set.iter().map(text).collect();
        all.sort_unstable();
        all
    }

    fn entry_of(view: &View<'_>) -> (Option<u64>, Vec<Vec<u8>>) {
        let text = view.string().map(|text| vec![text.text(&mut IntText::new()).to_vec()]);
        let value = text.or_else(|| view.with_object(elements));
        (view.expiry(), value.expect("a string or a set"))
    }

    fn state(slice: &mut Slice) -> State {
        let mut all = State::new();
        for db in 0..DATABASES {
            let mut cursor = 0;
            loop {
                cursor = slice.scan(db, cursor, &mut |key, view, _| {
                    all.insert((db, key.to_vec()), entry_of(view));
                });
                if cursor == 0 {
                    break;
                }
            }
        }
        all
    }

    /// Keeps what it is given, each key once.
    #[derive(Clone, Debug, Default)]
    struct Kept {
        saved: Arc<Mutex<State>>,
        lent: Arc<Mutex<usize>>,
        is_abandoned: bool,
    }

    impl Kept {
        fn keep(&self, db: usize, key: &[u8], entry: (Option<u64>, Vec<Vec<u8>>)) {
            let before = self.saved.lock().expect("no panic").insert((db, key.to_vec()), entry);
            assert!(before.is_none(), "a key is saved once");
        }
    }

    impl Consumer for Kept {
        fn save(&mut self, db: usize, key: &View<'_>) {
            self.keep(db, key.key(), entry_of(key));
        }

        fn lend(&mut self, db: usize, key: &[u8], expiry: Option<u64>, value: Arc<Object>) {
            *self.lent.lock().expect("no panic") += 1;
            self.keep(db, key, (expiry, elements(value.by_ref())));
        }

        fn is_full(&self) -> bool {
            false
        }

        fn is_abandoned(&self) -> bool {
            self.is_abandoned
        }
    }

    fn name(number: u64) -> Vec<u8> {
        // A few hash slots with many keys, so that tables grow and shrink.
        format!("{{{}}}:{number}", number % 3).into_bytes()
    }

    fn fill(slice: &mut Slice, db: usize, name: &[u8], members: u64) {
        let mut set = Set::default();
        for at in 0..members {
            set.insert(format!("m{at}").as_bytes(), &LIMITS);
        }
        let key = slice.key(name);
        slice.set_object(db, &key, Box::new(set).into_object(), Expiry::Clear);
    }

    /// Changes a key at random.
    fn change(slice: &mut Slice, rng: &mut Rng, db: usize, name: &[u8]) {
        let key = slice.key(name);
        let is_set = slice.kind_of(db, &key) == Some(crate::value::Kind::Set);
        let at = Expiry::At(START_MS + rng.below(2_000));
        match rng.below(10) {
            0 | 1 => slice.set(db, &key, NewStr::Int(rng.below(1 << 40) as i64), Expiry::Keep),
            2 => slice.set(db, &key, NewStr::from_bytes(&vec![b'x'; rng.below(90) as usize]), at),
            3 if !is_set => drop(slice.append(db, &key, b"more")),
            4 if !is_set => slice.update_int(db, &key, 7),
            5 => drop(slice.set_expiry(db, &key, Some(START_MS + rng.below(3_000)))),
            6 => drop(slice.set_expiry(db, &key, None)),
            7 => fill(slice, db, name, 1 + rng.below(20)),
            8 if is_set => {
                if let Ok(Some(mut edit)) = slice.edit::<Set>(db, &key) {
                    edit.insert(b"new", &LIMITS);
                    edit.remove(b"m0");
                    edit.count_changes(1);
                }
            }
            _ => drop(slice.remove(db, &key)),
        }
    }

    /// Runs one cut while keys change at random. Returns the number of values that were lent.
    fn cut_at_random(slice: &mut Slice, rng: &mut Rng, now_ms: &mut u64) -> usize {
        let mut wanted = state(slice);
        let mut left: Vec<Vec<u8>> = (0..rng.below(4)).map(|_| name(rng.below(900))).collect();
        let mut units: HashMap<u64, usize> = HashMap::new();
        left.iter().for_each(|name| *units.entry(slice.key(name).hash).or_default() += 1);
        let kept = Kept { is_abandoned: rng.below(4) == 0, ..Kept::default() };
        slice.begin_cut(units, Box::new(kept.clone()));
        if rng.below(2) == 0 {
            let early = &mut slice.cut.as_mut().expect("it has just begun").early;
            early.set_len_max(rng.below(20) as usize);
        }
        while slice.end_cut().is_none() {
            for _ in 0..rng.below(30) {
                let (db, number) = (rng.below(3) as usize, rng.below(901));
                match number {
                    900 => change(slice, rng, db, b"large"),
                    _ if left.contains(&name(number)) => {}
                    _ => change(slice, rng, db, &name(number)),
                }
            }
            if !left.is_empty() && rng.below(8) == 0 {
                let unit = left.swap_remove(rng.below(left.len() as u64) as usize);
                (0..DATABASES).for_each(|db| change(slice, rng, db, &unit));
                let present = state(slice);
                for db in 0..DATABASES {
                    let key = (db, unit.clone());
                    match present.get(&key) {
                        Some(entry) => drop(wanted.insert(key, entry.clone())),
                        None => drop(wanted.remove(&key)),
                    }
                }
                let hash = slice.key(&unit).hash;
                slice.cut_free(hash);
            }
            if rng.below(20) == 0 {
                let locked: Vec<u64> = left.iter().map(|name| slice.key(name).hash).collect();
                let mut steps = rng.below(9);
                let mut progress = |_| {
                    steps = steps.saturating_sub(1);
                    if steps == 0 { Progress::Late } else { Progress::Needed }
                };
                let rule = EvictionRule { policy: MaxmemoryPolicy::AllkeysRandom, samples: 5 };
                slice.evict(rule, Some(&|hash| locked.contains(&hash)), &mut progress);
            }
            match if left.is_empty() { rng.below(120) } else { 120 } {
                0 => slice.flush(Some(rng.below(3) as usize)),
                1 => slice.flush(None),
                2 | 3 => slice.swap_databases(rng.below(3) as usize, rng.below(3) as usize),
                4..8 => {
                    *now_ms += rng.below(300);
                    slice.set_now(*now_ms);
                    slice.housekeep(&mut || false);
                }
                _ => {}
            }
            let mut steps = rng.below(4);
            slice.walk_cut(&mut || {
                steps = steps.wrapping_sub(1);
                steps == u64::MAX
            });
        }
        slice.check();
        if !kept.is_abandoned {
            assert_eq!(*kept.saved.lock().expect("no panic"), wanted);
        }
        *kept.lent.lock().expect("no panic")
    }

    #[test]
    fn a_cut_has_the_keys_of_its_moment() {
        let mut lent = 0;
        for seed in 0..16 {
            let mut rng = Rng::new(seed);
            let options = SliceOptions {
                databases: DATABASES,
                slots: (0..16384).into(),
                hash_seed: [1, 2],
                seed,
            };
            let mut slice = Slice::new(options);
            let mut now_ms = START_MS;
            slice.set_now(now_ms);
            for number in 0..900 {
                let (db, name) = (rng.below(3) as usize, name(number));
                change(&mut slice, &mut rng, db, &name);
            }
            for _ in 0..8 {
                fill(&mut slice, 0, b"large", LENT_ELEMENTS_MIN as u64);
                lent += cut_at_random(&mut slice, &mut rng, &mut now_ms);
            }
        }
        assert!(lent > 0, "large values are lent");
    }
}
