//! The slice: every operation on keys, and lazy expiry. Hot.
//!
//! Time stands still between two calls of [`Slice::set_now`]. A key is due when now is later than
//! its expiry. What a due key is to an operation follows from the [`ExpiryRole`]: a primary
//! removes it and goes on as if it had not been there; a replica sees no key either, but leaves
//! its removal to the primary; a loader sees it as any other.

use super::access::{Access, Frequency};
use super::database::Database;
use super::due::Expired;
use super::expire::Sweep;
use super::graveyard::Graveyard;
use super::stats::Stats;
use super::table::{Apart, Draft, Entry, Heap, Payload, Place, Table, TableInfo, Tools, View};
use super::waits::Waits;
use super::watch::Watches;
use crate::base::rng::Rng;
use crate::value::hash::Hash;
use crate::value::set::Set;
use crate::value::string::{INLINE_BYTES_MAX, NewStr, Str};
use bytes::Bytes;
use std::ops::Range;

/// A key with what is needed to find it.
#[derive(Clone, Copy, Debug)]
pub struct Key<'k> {
    /// The key's name.
    pub bytes: &'k [u8],
    /// Its slot, which the slice owns.
    pub slot: u16,
    /// Its hash under the slice's seed.
    pub hash: u64,
}

/// What a slice is made with.
#[derive(Clone, Debug)]
pub struct SliceOptions {
    /// How many numbered databases there are.
    pub databases: usize,
    /// The slots that the slice owns.
    pub slots: Range<u16>,
    /// The secret of the hash.
    pub hash_seed: [u64; 2],
    /// What [`Slice::random`] draws from.
    pub seed: u64,
}

/// What becomes of the expiry when a value is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The key does not expire.
    Clear,
    /// It is as it was; a new key does not expire.
    Keep,
    /// The key expires at this time, in Unix milliseconds.
    At(u64),
}

/// Who removes due keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryRole {
    /// This slice does.
    Primary,
    /// The primary does; until then they are hidden.
    Replica,
    /// Nobody, and they are shown: what is loaded may be overwritten by what comes later.
    Loading,
}

/// One shard's share of the keys of all databases.
#[derive(Debug)]
pub struct Slice {
    pub(super) databases: Vec<Database>,
    pub(super) tools: Tools,
    pub(super) graveyard: Graveyard,
    pub(super) sweep: Sweep,
    pub(super) stats: Stats,
    pub(super) slots: Range<u16>,
    pub(super) now_ms: u64,
    pub(super) role: ExpiryRole,
    pub(super) access: Access,
    /// The table whose keys' times are looked at next.
    ttl_cursor: usize,
    /// What fell due since it was asked for, while somebody wants to know.
    pub(super) expired: Option<Vec<Expired>>,
    pub(super) watches: Watches,
    pub(super) waits: Waits,
    /// Watches and waits are not told of changes right now.
    is_untold: bool,
    rng: Rng,
}

/// Tries of [`Slice::random`] to find a key that is not due.
const RANDOM_TRIES_MAX: usize = 100;

/// Buckets that one sample of the times to live looks at.
const TTL_BUCKETS: usize = 16;

/// A value whose elements lie in pages of their own.
#[derive(Clone, Copy)]
pub enum Elements<'a> {
    /// Fields.
    Hash(&'a Hash),
    /// Members.
    Set(&'a Set),
}

impl Elements<'_> {
    /// Asks for the page where an element would be.
    #[inline]
    pub fn prefetch(self, element: &[u8]) {
        match self {
            Elements::Hash(hash) => hash.prefetch(element),
            Elements::Set(set) => set.prefetch(element),
        }
    }
}

impl Slice {
    /// A slice without keys, at Unix time 0.
    pub fn new(options: SliceOptions) -> Slice {
        assert!(options.databases > 0, "there is at least database 0");
        assert!(options.slots.end <= crate::base::slot::SLOT_COUNT);
        let [first, second] = options.hash_seed;
        let hasher = ahash::RandomState::with_seeds(first, second, !first, !second);
        Slice {
            databases: (0..options.databases).map(|_| Database::EMPTY).collect(),
            tools: Tools { heap: Heap::default(), hasher, version: 0 },
            graveyard: Graveyard::default(),
            sweep: Sweep::default(),
            stats: Stats::default(),
            slots: options.slots,
            now_ms: 0,
            role: ExpiryRole::Primary,
            access: Access::new(options.seed),
            ttl_cursor: 0,
            expired: None,
            watches: Watches::new(),
            waits: Waits::new(),
            is_untold: false,
            rng: Rng::new(options.seed),
        }
    }

    /// Says what time it is, in Unix milliseconds; once per turn.
    pub fn set_now(&mut self, unix_ms: u64) {
        self.now_ms = unix_ms;
        self.access.set_now(unix_ms);
    }

    /// Says who removes due keys; gives who did before.
    pub fn set_role(&mut self, role: ExpiryRole) -> ExpiryRole {
        std::mem::replace(&mut self.role, role)
    }

    /// How many databases there are.
    pub fn databases(&self) -> usize {
        self.databases.len()
    }

    /// The slots that this slice owns.
    pub fn slots(&self) -> Range<u16> {
        self.slots.clone()
    }

    /// A key, with its slot computed.
    #[inline]
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        self.key_in_slot(bytes, crate::base::slot::slot_of(bytes))
    }

    /// A key whose slot is known.
    #[inline]
    pub fn key_in_slot<'k>(&self, bytes: &'k [u8], slot: u16) -> Key<'k> {
        Key { bytes, slot, hash: self.tools.hash(bytes) }
    }

    /// The number of a slot among this slice's.
    #[inline]
    pub(super) fn index_of(&self, slot: u16) -> usize {
        debug_assert!(self.slots.contains(&slot), "a key is sent to the slice that owns its slot");
        usize::from(slot.wrapping_sub(self.slots.start))
    }

    #[inline]
    pub(super) fn table(&self, db: usize, key: &Key<'_>) -> Option<&Table> {
        self.databases[db].table(self.index_of(key.slot))
    }

    /// First stage of a batch: asks for what leads to the key's bucket.
    #[inline]
    pub fn prefetch_slot(&self, db: usize, key: &Key<'_>) {
        if let Some(table) = self.table(db, key) {
            table.prefetch();
        }
    }

    /// Second stage: asks for the key's bucket.
    #[inline]
    pub fn prefetch_bucket(&self, db: usize, key: &Key<'_>) {
        if let Some(table) = self.table(db, key) {
            table.prefetch_bucket(key.hash);
        }
    }

    /// Third stage: reads the bucket and asks for the key's entry.
    #[inline]
    pub fn prefetch_entry(&self, db: usize, key: &Key<'_>) {
        if let Some(table) = self.table(db, key) {
            table.prefetch_entry(key.hash);
        }
    }

    /// A large hash or set, to ask for what leads to its elements.
    pub fn elements(&self, db: usize, key: &Key<'_>) -> Option<Elements<'_>> {
        let place = self.table(db, key)?.find(key.hash, key.bytes)?;
        let view = View::new(place.entry());
        let hash = || view.object::<Hash>().filter(|hash| !hash.is_packed()).map(Elements::Hash);
        hash().or_else(|| view.object::<Set>().map(Elements::Set))
    }

    /// Whether an expiry has passed.
    #[inline]
    pub(super) fn is_due(&self, expiry: Option<u64>) -> bool {
        expiry.is_some_and(|at| self.now_ms > at)
    }

    /// Whether a key that is given this expiry is rather removed at once.
    pub fn is_past(&self, at: u64) -> bool {
        self.past_until_ms().is_some_and(|until| at <= until)
    }

    /// The last moment that is past in that sense; none: whatever expires is kept.
    pub fn past_until_ms(&self) -> Option<u64> {
        (self.role == ExpiryRole::Primary).then_some(self.now_ms)
    }

    /// Whether operations may see an entry.
    pub(super) fn is_visible(&self, entry: Entry) -> bool {
        self.role == ExpiryRole::Loading || !self.is_due(entry.expiry())
    }

    /// The place of a key that is not due; a due one is removed if that is this slice's task.
    #[inline]
    pub(super) fn find(&mut self, db: usize, key: &Key<'_>) -> Option<Place> {
        let place = self.table(db, key)?.find(key.hash, key.bytes)?;
        if !place.word().is_volatile() || self.is_visible(place.entry()) {
            return Some(place);
        }
        if self.role == ExpiryRole::Primary {
            self.expire_lazily(db, self.index_of(key.slot), place);
        }
        None
    }

    #[cold]
    fn expire_lazily(&mut self, db: usize, index: usize, place: Place) {
        self.stats.expired_lazy += 1;
        self.expire_at(db, index, place);
        self.shrink(db, index, 2);
    }

    /// Gives memory of a table back that has lost keys.
    pub(super) fn shrink(&mut self, db: usize, index: usize, steps: usize) {
        let tools = &mut self.tools;
        self.databases[db].change(index, |table| table.shrink(tools, steps));
    }

    /// Takes a due key away. Every removal for that reason passes here. The table is not made
    /// smaller, for the caller may be walking over it.
    pub(super) fn expire_at(&mut self, db: usize, index: usize, place: Place) {
        assert!(self.role == ExpiryRole::Primary && self.is_due(place.entry().expiry()));
        let tools = &mut self.tools;
        let entry = self.databases[db].change(index, |table| table.extract(tools, place));
        self.note_moments(db, entry, false);
        self.note_key_gone(db, entry.key());
        if self.is_heard() {
            let hash = self.tools.hash(entry.key());
            self.watches.note_due_gone(db, hash, entry.key());
            self.waits.note_changed(db, hash, entry.key());
        }
        self.dispose(entry);
    }

    /// Whether somebody watches a key or waits for one.
    #[inline]
    fn is_heard(&self) -> bool {
        !self.watches.is_empty() || !self.waits.is_empty()
    }

    /// Tells watches and waits that a key is changed. Every change passes here but those of
    /// [`Slice::expire_at`], [`Slice::flush`] and [`Slice::swap_databases`].
    #[inline]
    pub fn note_change(&mut self, db: usize, key: &Key<'_>) {
        if self.is_heard() && !self.is_untold {
            self.watches.note_changed(db, key.hash, key.bytes);
            self.waits.note_changed(db, key.hash, key.bytes);
        }
    }

    /// Frees an entry, or has its large value freed bit by bit.
    fn dispose(&mut self, entry: Entry) {
        self.graveyard.bury_entry(&mut self.tools.heap, entry);
    }

    /// The key's value, for a command that uses it: counts a hit or a miss, sets the access clock.
    #[inline]
    pub fn lookup(&mut self, db: usize, key: &Key<'_>) -> Option<View<'_>> {
        match self.find(db, key) {
            None => {
                self.stats.misses += 1;
                None
            }
            Some(place) => {
                self.stats.hits += 1;
                let entry = place.entry();
                entry.put_clock(self.access.used(entry.clock()));
                Some(View::new(entry))
            }
        }
    }

    /// The key's value, for a command that asks about it: counts a hit or a miss, and leaves the
    /// access clock alone.
    pub fn inspect(&mut self, db: usize, key: &Key<'_>) -> Option<View<'_>> {
        let found = self.find(db, key);
        match found {
            None => self.stats.misses += 1,
            Some(_) => self.stats.hits += 1,
        }
        found.map(|place| View::new(place.entry()))
    }

    /// The key's value; counts nothing and leaves the access clock alone.
    #[inline]
    pub fn peek(&mut self, db: usize, key: &Key<'_>) -> Option<View<'_>> {
        self.find(db, key).map(|place| View::new(place.entry()))
    }

    /// Puts a key's access clock to what it showed before.
    pub fn put_access_clock(&mut self, db: usize, key: &Key<'_>, clock: u32) {
        if let Some(place) = self.find(db, key) {
            place.entry().put_clock(clock);
        }
    }

    /// Says that a key was last used so many seconds ago.
    pub fn set_idle(&mut self, db: usize, key: &Key<'_>, idle_s: u32) {
        if let Some(place) = self.find(db, key) {
            place.entry().put_clock(self.access.idle(idle_s));
        }
    }

    /// Seconds since a key was last used whose access clock shows this, modulo 2^24.
    pub fn idle_s(&self, clock: u32) -> u32 {
        self.access.idle_s(clock)
    }

    /// Says how uses of keys are counted (an LFU policy); none: only the last one's time is kept.
    pub fn set_frequency(&mut self, frequency: Option<Frequency>) {
        self.access.set_frequency(frequency);
    }

    /// How often a key is used whose access clock shows this: a logarithm, 0 to 255.
    pub fn use_count(&self, clock: u32) -> u8 {
        self.access.count(clock)
    }

    /// Says how often a key has been used.
    pub fn set_use_count(&mut self, db: usize, key: &Key<'_>, count: u8) {
        if let Some(place) = self.find(db, key) {
            place.entry().put_clock(self.access.with_count(count));
        }
    }

    /// Sets a key to a string, whatever it was before.
    pub fn set(&mut self, db: usize, key: &Key<'_>, value: NewStr<'_>, expiry: Expiry) {
        let large;
        let payload = match value {
            NewStr::Int(number) => Payload::Int(number),
            NewStr::Bytes(bytes) if bytes.len() <= INLINE_BYTES_MAX => Payload::Inline(bytes, &[]),
            NewStr::Bytes(bytes) => {
                Payload::Apart(Apart::Large(Box::new(Bytes::copy_from_slice(bytes))))
            }
            NewStr::Large(bytes) if bytes.len() > INLINE_BYTES_MAX => {
                Payload::Apart(Apart::Large(Box::new(bytes)))
            }
            NewStr::Large(bytes) => {
                large = bytes;
                Payload::Inline(&large, &[])
            }
        };
        let place = self.find(db, key);
        self.put(db, key, place, payload, expiry);
    }

    /// Sets a key that was found at `place`, or not at all.
    #[inline]
    pub(super) fn put(
        &mut self,
        db: usize,
        key: &Key<'_>,
        place: Option<Place>,
        payload: Payload<'_>,
        expiry: Expiry,
    ) {
        // What a replica hides is replaced, and not doubled.
        let place = match place {
            None if self.role == ExpiryRole::Replica => self.find_hidden(db, key),
            found => found,
        };
        let expiry = match expiry {
            Expiry::Clear => None,
            Expiry::At(at) => Some(at),
            Expiry::Keep => place.and_then(|place| place.entry().expiry()),
        };
        let clock = match place {
            None => self.access.fresh(),
            Some(place) => self.access.used(place.entry().clock()),
        };
        let draft = Draft { key: key.bytes, payload, expiry, clock, is_edited: false };
        self.note_change(db, key);
        match place {
            None => self.insert(db, key, draft),
            Some(place) => self.overwrite(db, key, place, draft),
        }
    }

    /// The place of a key, be it due.
    pub(super) fn find_hidden(&self, db: usize, key: &Key<'_>) -> Option<Place> {
        self.table(db, key)?.find(key.hash, key.bytes)
    }

    pub(super) fn insert(&mut self, db: usize, key: &Key<'_>, draft: Draft<'_>) {
        let index = self.index_of(key.slot);
        let tools = &mut self.tools;
        let database = &mut self.databases[db];
        database.prepare(self.slots.len());
        let entry = Entry::new(&mut tools.heap, draft);
        database.change(index, |table| table.insert(tools, key.hash, entry));
        self.note_moments(db, entry, true);
    }

    /// Replaces an entry by a draft that refers to nothing of it.
    fn overwrite(&mut self, db: usize, key: &Key<'_>, place: Place, draft: Draft<'_>) {
        let entry = place.entry();
        let was_volatile = place.word().is_volatile();
        self.note_moments(db, entry, false);
        if entry.is_apart() {
            self.graveyard.bury_apart(entry.take_apart());
        }
        match entry.rewrite(draft) {
            Ok(()) => {
                let index = self.index_of(key.slot);
                let tools = &self.tools;
                self.databases[db]
                    .change(index, |table| table.rewritten(tools, place, was_volatile));
                self.note_moments(db, entry, true);
            }
            Err(draft) => self.renew(db, key, place, draft),
        }
    }

    /// Replaces an entry by a draft, which may refer to it, in a block of its own.
    pub(super) fn renew(&mut self, db: usize, key: &Key<'_>, place: Place, draft: Draft<'_>) {
        self.note_change(db, key);
        let index = self.index_of(key.slot);
        let new = Entry::new(&mut self.tools.heap, draft);
        let tools = &self.tools;
        let old = self.databases[db].change(index, |table| table.replace(tools, place, new));
        self.note_moments(db, new, true);
        old.free(&mut self.tools.heap);
    }

    /// Says that the value at a place is changed without its entry being replaced.
    pub(super) fn touch(&mut self, db: usize, key: &Key<'_>, place: Place) {
        self.note_change(db, key);
        let index = self.index_of(key.slot);
        let tools = &self.tools;
        self.databases[db].change(index, |table| table.touch(tools, place));
    }

    /// Removes a key; false if there was none or it was due already.
    pub fn remove(&mut self, db: usize, key: &Key<'_>) -> bool {
        let is_replica = self.role == ExpiryRole::Replica;
        let found = self.find(db, key);
        let is_found = found.is_some();
        let place = if is_replica { found.or_else(|| self.find_hidden(db, key)) } else { found };
        if let Some(place) = place {
            self.remove_place(db, key, place);
            if is_found {
                self.note_change(db, key);
            } else if !self.watches.is_empty() {
                self.watches.note_due_gone(db, key.hash, key.bytes);
            }
        }
        is_found
    }

    /// Removes a key that was found, and tells nobody.
    pub(super) fn remove_place(&mut self, db: usize, key: &Key<'_>, place: Place) {
        let entry = self.unlink_place(db, key, place);
        self.dispose(entry);
    }

    /// Takes the entry of a key that was found out of its table, and tells nobody.
    pub(super) fn unlink_place(&mut self, db: usize, key: &Key<'_>, place: Place) -> Entry {
        let index = self.index_of(key.slot);
        let tools = &mut self.tools;
        let entry = self.databases[db].change(index, |table| table.remove(tools, place));
        self.note_moments(db, entry, false);
        entry
    }

    /// Removes a key whose time has come, though its expiry may not say so, and counts it as
    /// expired; false if there was none.
    pub fn expire(&mut self, db: usize, key: &Key<'_>) -> bool {
        let is_removed = self.remove(db, key);
        self.stats.expired_lazy += u64::from(is_removed);
        is_removed
    }

    /// Sets or clears when a key expires (Unix milliseconds); false if there is no such key.
    pub fn set_expiry(&mut self, db: usize, key: &Key<'_>, at: Option<u64>) -> bool {
        let Some(place) = self.find(db, key) else { return false };
        let entry = place.entry();
        entry.put_clock(self.access.used(entry.clock()));
        match (entry.expiry(), at) {
            (None, None) => {}
            (Some(_), Some(at)) => {
                self.note_change(db, key);
                entry.put_expiry(at);
                let index = self.index_of(key.slot);
                let tools = &self.tools;
                self.databases[db].change(index, |table| table.rewritten(tools, place, true));
            }
            _ => {
                self.note_moments(db, entry, false);
                let payload = if entry.is_apart() {
                    Payload::Apart(entry.take_apart())
                } else {
                    match entry.string().expect("all that lies in an entry is a string") {
                        Str::Int(number) => Payload::Int(number),
                        Str::Bytes(bytes) => Payload::Inline(bytes, &[]),
                        Str::Large(_) => unreachable!("it was taken out"),
                    }
                };
                let (clock, is_edited) = (entry.clock(), entry.is_edited());
                let draft = Draft { key: key.bytes, payload, expiry: at, clock, is_edited };
                self.renew(db, key, place, draft);
            }
        }
        true
    }

    /// Says whether changes are kept from the watches; gives what was said before.
    pub(super) fn set_untold(&mut self, on: bool) -> bool {
        std::mem::replace(&mut self.is_untold, on)
    }

    /// How many keys a database holds, due ones that were not yet removed included.
    pub fn len(&self, db: usize) -> usize {
        self.databases[db].len()
    }

    /// Whether a database holds no keys.
    pub fn is_empty(&self, db: usize) -> bool {
        self.len(db) == 0
    }

    /// How many keys of a database have an expiry.
    pub fn volatile_len(&self, db: usize) -> usize {
        self.databases[db].volatile_len()
    }

    /// How many keys of a database lie in a slot of this slice.
    pub fn slot_len(&self, db: usize, slot: u16) -> usize {
        assert!(self.slots.contains(&slot));
        self.databases[db].table(self.index_of(slot)).map_or(0, Table::len)
    }

    /// A key, every one with about the same chance; none if there is none or if many in a row
    /// were due. Where nobody removes due keys here and all keys may be due, one that is.
    pub fn random(&mut self, db: usize) -> Option<Vec<u8>> {
        let mut due = None;
        for _ in 0..RANDOM_TRIES_MAX {
            let keys = self.databases[db].len();
            if keys == 0 {
                return None;
            }
            let rank = self.rng.below(keys as u64) as usize;
            let index = self.databases[db].table_of_rank(rank);
            let table = self.databases[db].table(index).expect("a rank is of a table");
            let place = table.random(&mut self.rng);
            if self.is_visible(place.entry()) {
                return Some(place.entry().key().to_vec());
            }
            if self.role == ExpiryRole::Primary {
                self.expire_lazily(db, index, place);
            } else if self.volatile_len(db) == keys {
                due = Some(place);
            }
        }
        due.map(|place| place.entry().key().to_vec())
    }

    /// A source of random numbers that goes on from this slice's.
    pub fn draw_rng(&mut self) -> Rng {
        Rng::new(self.rng.next_u64())
    }

    /// Removes all keys of a database, or of all of them. The memory is freed by
    /// [`Slice::housekeep`].
    pub fn flush(&mut self, db: Option<usize>) {
        let range = db.map_or(0..self.databases.len(), |db| db..db + 1);
        if self.is_heard() {
            self.note_flush(range.clone());
            self.waits.note_all(range.clone());
        }
        for db in range {
            self.sweep_stop(db);
            let old = std::mem::replace(&mut self.databases[db], Database::EMPTY).into_tables();
            if db == 0 {
                // It is used again; what it takes empty shall not look as if keys took it.
                self.databases[db].prepare(old.len());
            }
            self.graveyard.bury_tables(old);
        }
    }

    /// Exchanges the keys of two databases.
    pub fn swap_databases(&mut self, first: usize, second: usize) {
        if first != second && self.is_heard() {
            self.note_swap(first, second);
            self.waits.note_all(first..first + 1);
            self.waits.note_all(second..second + 1);
        }
        self.sweep_stop(first);
        self.sweep_stop(second);
        self.databases.swap(first, second);
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Sets the counters to zero.
    pub fn reset_stats(&mut self) {
        self.stats = Stats::default();
    }

    /// Takes note of values that were freed bit by bit, and says how many still wait.
    pub fn unfreed_values(&mut self) -> usize {
        self.stats.freed_values += self.graveyard.take_freed();
        self.graveyard.len()
    }

    /// How many milliseconds some keys of a database have left to live, on average; each call looks
    /// at others. None: it has met none.
    pub fn sample_ttl_ms(&mut self, db: usize) -> Option<u64> {
        let database = &self.databases[db];
        let next = database.next_volatile(self.ttl_cursor).or_else(|| database.next_volatile(0));
        let index = next?;
        self.ttl_cursor = index + 1;
        let table = database.table(index)?;
        let buckets = table.buckets();
        let first = (self.now_ms / 100) as u32 % buckets.max(1);
        let (mut sum_ms, mut count) = (0, 0);
        for number in (first..buckets).chain(0..first).take(TTL_BUCKETS) {
            table.for_each_in_bucket(number, &mut |word| {
                if let Some(expiry_ms) = word.entry().expiry() {
                    sum_ms += expiry_ms.saturating_sub(self.now_ms);
                    count += 1;
                }
            });
        }
        (count > 0).then(|| sum_ms / count)
    }

    /// What the tables of a database take. O(slots).
    pub fn table_info(&self, db: usize) -> TableInfo {
        let mut sum = TableInfo::default();
        let mut next = self.databases[db].next_occupied(0);
        while let Some(index) = next {
            sum.add(&self.databases[db].table(index).expect("it has keys").info());
            next = self.databases[db].next_occupied(index + 1);
        }
        sum
    }

    /// Bytes of all entries and buckets, large values and the roots of databases not included.
    pub fn heap_bytes(&self) -> usize {
        self.tools.heap.used_bytes()
    }

    /// Looks at everything and asserts what must hold. O(keys), for tests.
    pub fn check(&self) {
        self.watches.check();
        self.waits.check();
        for database in &self.databases {
            database.check();
            let mut next = database.next_occupied(0);
            let (mut volatile, mut with_moments) = (0, 0);
            while let Some(index) = next {
                let table = database.table(index).expect("it has keys");
                table.check(&self.tools);
                for number in 0..table.buckets() {
                    table.for_each_in_bucket(number, &mut |word| {
                        volatile += usize::from(word.entry().expiry().is_some());
                        with_moments += usize::from(word.entry().has_moments());
                    });
                }
                next = database.next_occupied(index + 1);
            }
            let counted = (database.volatile_len(), database.with_moments_len());
            assert_eq!(counted, (volatile, with_moments));
        }
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        self.flush(None);
        self.graveyard.clear(&mut self.tools.heap);
    }
}
