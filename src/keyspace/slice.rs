//! The slice: all operations on keys, and lazy expiry. Hot.
//!
//! Time stands still between two calls of [`Slice::set_now`]. A key has expired when the current
//! time is later than its expiry. The [`ExpiryRole`] decides how operations treat an expired key. A
//! primary removes the key, then continues as if it did not exist. A replica hides the key and
//! leaves its removal to the primary. A loader treats it like any other key.

use super::access::{Access, Frequency};
use super::chores::Chores;
use super::cut::Cut;
use super::database::Database;
use super::event::Event;
use super::evict::Eviction;
use super::expire::Sweep;
use super::expired::{Expired, Kept};
use super::funnel::Funnel;
use super::graveyard::Graveyard;
use super::stats::Stats;
use super::table::{Apart, Draft, Entry, Heap, Payload, Place, Table, TableInfo, Tools, View};
use super::tracking::Tracking;
use super::waits::Waits;
use super::watch::Watches;
use crate::base::rng::Rng;
use crate::base::slot_map::SlotSet;
use crate::value::string::{INLINE_BYTES_MAX, NewStr, Str};
use bytes::Bytes;

/// A key's name with its hash slot and hash.
#[derive(Clone, Copy, Debug)]
pub struct Key<'k> {
    /// The key's name.
    pub bytes: &'k [u8],
    /// The key's hash slot, which the slice owns.
    pub slot: u16,
    /// The hash of the name under the slice's seed.
    pub hash: u64,
}

/// The parameters of [`Slice::new`].
#[derive(Clone, Debug)]
pub struct SliceOptions {
    /// Number of databases.
    pub databases: usize,
    /// The hash slots that the slice owns.
    pub slots: SlotSet,
    /// The secret seed of the hash function.
    pub hash_seed: [u64; 2],
    /// The seed of the slice's random numbers, for example of [`Slice::random`].
    pub seed: u64,
}

/// The new expiry of a key when its value is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The expiry is removed.
    Clear,
    /// The expiry is kept; a new key gets none.
    Keep,
    /// The expiry is set to this time, in Unix milliseconds.
    At(u64),
}

/// How a slice treats expired keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryRole {
    /// This slice removes them.
    Primary,
    /// The primary removes them; until then this slice hides them.
    Replica,
    /// This slice hides them during a pause. A write that still runs is run as on a primary.
    Paused,
    /// Expired keys are visible and kept, because the data that is being loaded may overwrite them
    /// later.
    Loading,
}

/// One shard's part of the keys of all databases.
#[derive(Debug)]
pub struct Slice {
    pub(super) databases: Vec<Database>,
    pub(super) tools: Tools,
    pub(super) graveyard: Graveyard,
    pub(super) sweep: Sweep,
    pub(super) eviction: Eviction,
    pub(super) chores: Chores,
    pub(super) stats: Stats,
    pub(super) slots: SlotSet,
    pub(super) now_ms: u64,
    pub(super) role: ExpiryRole,
    pub(super) access: Access,
    /// The table that the next call of [`Slice::sample_ttl_ms`] starts at.
    ttl_cursor: usize,
    /// Records of expired keys and fields that were removed; `None` if records are disabled.
    pub(super) expired: Option<Vec<Expired>>,
    pub(super) watches: Watches,
    pub(super) waits: Waits,
    pub(super) tracking: Tracking,
    /// The cut that is under way.
    pub(super) cut: Option<Box<Cut>>,
    /// Expired keys that stay.
    pub(super) kept: Kept,
    pub(super) funnel: Funnel,
    /// Whether changes are silent: they need no event, and new keys are not logged.
    pub(super) is_silent: bool,
    /// Whether there ever was a string of at least [`LONG_STRING_BYTES`].
    has_long_strings: bool,
    pub(super) rng: Rng,
}

/// Attempts of [`Slice::random`] to find a key that has not expired.
const RANDOM_TRIES_MAX: usize = 100;

/// Buckets that one call of [`Slice::sample_ttl_ms`] reads.
const TTL_BUCKETS: usize = 16;

/// Bytes from which on copying a string takes too long for one step of a shard.
const LONG_STRING_BYTES: usize = 512 << 10;

impl Slice {
    /// Creates a slice without keys, at Unix time 0.
    pub fn new(options: SliceOptions) -> Slice {
        assert!(options.databases > 0, "a slice has at least database 0");
        let [first, second] = options.hash_seed;
        let hasher = ahash::RandomState::with_seeds(first, second, !first, !second);
        Slice::empty(options.databases, options.slots, hasher, options.seed)
    }

    fn empty(databases: usize, slots: SlotSet, hasher: ahash::RandomState, seed: u64) -> Slice {
        Slice {
            databases: (0..databases).map(|_| Database::EMPTY).collect(),
            tools: Tools { heap: Heap::default(), hasher, version: 0 },
            graveyard: Graveyard::default(),
            sweep: Sweep::default(),
            eviction: Eviction::default(),
            chores: Chores::default(),
            stats: Stats::default(),
            slots,
            now_ms: 0,
            role: ExpiryRole::Primary,
            access: Access::new(seed),
            ttl_cursor: 0,
            expired: None,
            watches: Watches::new(),
            waits: Waits::new(),
            tracking: Tracking::new(),
            cut: None,
            kept: Kept::default(),
            funnel: Funnel::default(),
            is_silent: false,
            has_long_strings: false,
            rng: Rng::new(seed),
        }
    }

    /// Returns a slice without keys that has the same hash slots, databases and hashes of keys.
    pub fn stand_in(&self) -> Slice {
        let hasher = self.tools.hasher.clone();
        Slice::empty(self.databases.len(), self.slots.clone(), hasher, 0)
    }

    /// Sets the current time, in Unix milliseconds. The time must not change within a turn.
    pub fn set_now(&mut self, unix_ms: u64) {
        self.now_ms = unix_ms;
        self.access.set_now(unix_ms);
    }

    /// Returns the role.
    pub fn role(&self) -> ExpiryRole {
        self.role
    }

    /// Returns whether expired keys are hidden and stay.
    #[inline]
    fn hides_expired(&self) -> bool {
        matches!(self.role, ExpiryRole::Replica | ExpiryRole::Paused)
    }

    /// Returns whether a pause keeps expired keys.
    #[inline]
    pub fn is_paused(&self) -> bool {
        self.role == ExpiryRole::Paused
    }

    /// Sets the role and returns the previous one.
    pub fn set_role(&mut self, role: ExpiryRole) -> ExpiryRole {
        std::mem::replace(&mut self.role, role)
    }

    /// Returns the number of databases.
    pub fn databases(&self) -> usize {
        self.databases.len()
    }

    /// Returns the hash slots that this slice owns.
    pub fn slots(&self) -> &SlotSet {
        &self.slots
    }

    /// Returns whether this slice owns a hash slot.
    pub fn owns(&self, slot: u16) -> bool {
        self.slots.contains(slot)
    }

    /// Returns a key and computes its hash slot.
    #[inline]
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        self.key_in_slot(bytes, crate::base::slot::slot_of(bytes))
    }

    /// Returns a key whose hash slot is known.
    #[inline]
    pub fn key_in_slot<'k>(&self, bytes: &'k [u8], slot: u16) -> Key<'k> {
        Key { bytes, slot, hash: self.tools.hash(bytes) }
    }

    /// Returns the number of the tables of a hash slot, which this slice owns.
    #[inline]
    pub(super) fn index_of(&self, slot: u16) -> usize {
        debug_assert!(self.owns(slot), "a key is sent to the slice that owns its slot");
        usize::from(slot)
    }

    #[inline]
    pub(super) fn table(&self, db: usize, key: &Key<'_>) -> Option<&Table> {
        self.databases[db].table(self.index_of(key.slot))
    }

    /// Prefetches what leads to the key's bucket: the first stage of a batch.
    #[inline]
    pub fn prefetch_slot(&self, db: usize, key: &Key<'_>) {
        if let Some(table) = self.table(db, key) {
            table.prefetch();
        }
    }

    /// Prefetches the key's bucket: the second stage of a batch.
    #[inline]
    pub fn prefetch_bucket(&self, db: usize, key: &Key<'_>) {
        if let Some(table) = self.table(db, key) {
            table.prefetch_bucket(key.hash);
        }
    }

    /// Reads the key's bucket and prefetches the key's entry: the third stage of a batch.
    #[inline]
    pub fn prefetch_entry(&self, db: usize, key: &Key<'_>) {
        if let Some(table) = self.table(db, key) {
            table.prefetch_entry(key.hash);
        }
    }

    /// Returns whether an expiry has passed.
    #[inline]
    pub(super) fn is_expired(&self, expiry: Option<u64>) -> bool {
        expiry.is_some_and(|at| self.now_ms > at)
    }

    /// Returns whether a key that gets this expiry (Unix milliseconds) must be removed at once.
    pub fn is_past(&self, at: u64) -> bool {
        self.past_until_ms().is_some_and(|until| at <= until)
    }

    /// Returns the latest expiry for which [`Slice::is_past`] holds, in Unix milliseconds; `None`
    /// if keys are kept whatever their expiry.
    pub fn past_until_ms(&self) -> Option<u64> {
        (self.role == ExpiryRole::Primary).then_some(self.now_ms)
    }

    /// Returns whether operations may see an entry.
    pub(super) fn is_visible(&self, entry: Entry) -> bool {
        self.role == ExpiryRole::Loading || !self.is_expired(entry.expiry())
    }

    /// Returns the place of a key that has not expired. Removes an expired key if this slice is a
    /// primary.
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

    /// Removes an expired key. A stub stays for its transaction, and a key that other units use.
    #[cold]
    fn expire_lazily(&mut self, db: usize, index: usize, place: Place) {
        if place.entry().is_detached() || self.keeps_expired(db, place) {
            return;
        }
        self.stats.expired_lazy += 1;
        self.expire_at(db, index, place);
        self.shrink(db, index, 2);
    }

    /// Shrinks a table that has lost keys, in at most `steps` steps.
    pub(super) fn shrink(&mut self, db: usize, index: usize, steps: usize) {
        if self.cut.is_some() {
            return self.shrink_in_cut(db, index, steps);
        }
        let tools = &mut self.tools;
        self.databases[db].change(index, |table| table.shrink(tools, steps));
    }

    /// Removes an expired key; every removal because of expiry goes through here. Does not shrink
    /// the table, because the calling code may be iterating over it.
    pub(super) fn expire_at(&mut self, db: usize, index: usize, place: Place) {
        assert!(self.role == ExpiryRole::Primary && self.is_expired(place.entry().expiry()));
        let entry = self.take_unasked(db, index, place);
        self.raise_expired(db, entry.key());
        self.dispose(entry);
    }

    /// Takes an entry out of its table that no command has removed, and records that its key is
    /// gone. Does not shrink the table.
    pub(super) fn take_unasked(&mut self, db: usize, index: usize, place: Place) -> Entry {
        self.before_change_at(db, index, place);
        let tools = &mut self.tools;
        let entry = self.databases[db].change(index, |table| table.extract(tools, place));
        self.note_moments(db, entry, false);
        self.note_key_gone(db, entry.key());
        entry
    }

    /// Frees an entry; frees its value in small steps if the value is large.
    fn dispose(&mut self, entry: Entry) {
        self.graveyard.bury_entry(&mut self.tools.heap, entry);
    }

    /// Returns the key's value for a command that uses it. Counts a hit or a miss and sets the
    /// access clock.
    #[inline]
    pub fn lookup(&mut self, db: usize, key: &Key<'_>) -> Option<View<'_>> {
        match self.find(db, key) {
            None => {
                self.note_miss(db, key);
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

    /// Returns the key's value for a command that asks about it. Counts a hit or a miss and leaves
    /// the access clock alone.
    pub fn inspect(&mut self, db: usize, key: &Key<'_>) -> Option<View<'_>> {
        let found = self.find(db, key);
        match found {
            None => self.note_miss(db, key),
            Some(_) => self.stats.hits += 1,
        }
        found.map(|place| View::new(place.entry()))
    }

    /// Returns the key's value for OBJECT, like [`Slice::inspect`]. A miss has no event.
    pub fn inspect_quietly(&mut self, db: usize, key: &Key<'_>) -> Option<View<'_>> {
        let found = self.find(db, key);
        match found {
            None => self.stats.misses += 1,
            Some(_) => self.stats.hits += 1,
        }
        found.map(|place| View::new(place.entry()))
    }

    fn note_miss(&mut self, db: usize, key: &Key<'_>) {
        self.stats.misses += 1;
        self.funnel.log(db, key.bytes, Event::KeyMiss);
    }

    /// Returns the key's value. Counts no hit or miss and leaves the access clock alone.
    #[inline]
    pub fn peek(&mut self, db: usize, key: &Key<'_>) -> Option<View<'_>> {
        self.find(db, key).map(|place| View::new(place.entry()))
    }

    /// Sets the access clock of a key to the bits that it had before.
    pub fn put_access_clock(&mut self, db: usize, key: &Key<'_>, clock: u32) {
        if let Some(place) = self.find(db, key) {
            place.entry().put_clock(clock);
        }
    }

    /// Sets the access clock of a key as if it was last used `idle_s` seconds ago.
    pub fn set_idle(&mut self, db: usize, key: &Key<'_>, idle_s: u32) {
        if let Some(place) = self.find(db, key) {
            place.entry().put_clock(self.access.idle(idle_s));
        }
    }

    /// Returns the seconds since the last use of a key with this access clock, modulo 2^24.
    pub fn idle_s(&self, clock: u32) -> u32 {
        self.access.idle_s(clock)
    }

    /// Sets the parameters of LFU counters; `None` records only the time of the last use.
    pub fn set_frequency(&mut self, frequency: Option<Frequency>) {
        self.access.set_frequency(frequency);
    }

    /// Returns the LFU counter, 0 to 255, of a key with this access clock.
    pub fn use_count(&self, clock: u32) -> u8 {
        self.access.count(clock)
    }

    /// Sets the LFU counter of a key.
    pub fn set_use_count(&mut self, db: usize, key: &Key<'_>, count: u8) {
        if let Some(place) = self.find(db, key) {
            place.entry().put_clock(self.access.with_count(count));
        }
    }

    /// Sets a key to a string, and replaces any old value.
    pub fn set(&mut self, db: usize, key: &Key<'_>, value: NewStr<'_>, expiry: Expiry) {
        let large;
        let payload = match value {
            NewStr::Int(number) => Payload::Int(number),
            NewStr::Bytes(bytes) if bytes.len() <= INLINE_BYTES_MAX => Payload::Inline(bytes, &[]),
            NewStr::Bytes(bytes) => {
                self.note_string(bytes.len());
                Payload::Apart(Apart::Large(Box::new(Bytes::copy_from_slice(bytes))))
            }
            NewStr::Large(bytes) if bytes.len() > INLINE_BYTES_MAX => {
                self.note_string(bytes.len());
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

    /// Records that a string of this number of bytes was stored.
    pub(super) fn note_string(&mut self, bytes: usize) {
        self.has_long_strings |= bytes >= LONG_STRING_BYTES;
    }

    /// Records whether there may be a string that takes long to copy.
    pub(super) fn set_long_strings(&mut self, on: bool) {
        self.has_long_strings |= on;
    }

    /// Returns whether there may be a string that takes long to copy.
    pub fn has_long_strings(&self) -> bool {
        self.has_long_strings
    }

    /// Seeds the random numbers.
    pub fn seed(&mut self, seed: u64) {
        self.rng = Rng::new(seed);
    }

    /// Sets a key; `place` is the result of [`Slice::find`] for the key.
    #[inline]
    pub(super) fn put(
        &mut self,
        db: usize,
        key: &Key<'_>,
        place: Option<Place>,
        payload: Payload<'_>,
        expiry: Expiry,
    ) {
        let expiry = match expiry {
            Expiry::Clear => None,
            Expiry::At(at) => Some(at),
            Expiry::Keep => place.and_then(|place| place.entry().expiry()),
        };
        // An expired key that is hidden must be replaced, not inserted a second time.
        let place = match place {
            None if self.hides_expired() => self.find_replaced(db, key),
            found => found,
        };
        let clock = match place {
            None => self.access.fresh(),
            Some(place) => self.access.used(place.entry().clock()),
        };
        let draft = Draft { key: key.bytes, payload, expiry, clock, is_edited: false };
        self.before_change(db, key);
        self.note_change(db, key);
        match place {
            None => self.insert(db, key, draft),
            Some(place) => self.overwrite(db, key, place, draft),
        }
    }

    /// Returns the place of an expired key that is hidden and is about to be replaced. Records that
    /// the expired key is gone, because a replica may still have it.
    #[cold]
    fn find_replaced(&mut self, db: usize, key: &Key<'_>) -> Option<Place> {
        let place = self.find_hidden(db, key)?;
        self.note_key_gone(db, key.bytes);
        Some(place)
    }

    /// Returns the place of a key, expired or not.
    pub(super) fn find_hidden(&self, db: usize, key: &Key<'_>) -> Option<Place> {
        self.table(db, key)?.find(key.hash, key.bytes)
    }

    fn insert(&mut self, db: usize, key: &Key<'_>, draft: Draft<'_>) {
        let index = self.index_of(key.slot);
        let tools = &mut self.tools;
        let database = &mut self.databases[db];
        database.prepare(index);
        let entry = Entry::new(&mut tools.heap, draft);
        database.change(index, |table| table.insert(tools, key.hash, entry));
        self.note_moments(db, entry, true);
        if self.funnel.is_logging() && !self.is_silent {
            self.log_new(db, key);
        }
    }

    /// Replaces an entry by a draft that does not borrow from the entry.
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
                self.databases[db].change(index, |table| table.rewritten(place, was_volatile));
                self.note_moments(db, entry, true);
            }
            Err(draft) => self.renew(db, key, place, draft),
        }
    }

    /// Replaces an entry by a draft in a new block; the draft may borrow from the old entry.
    pub(super) fn renew(&mut self, db: usize, key: &Key<'_>, place: Place, draft: Draft<'_>) {
        self.note_change(db, key);
        let index = self.index_of(key.slot);
        let new = Entry::new(&mut self.tools.heap, draft);
        let old = self.databases[db].change(index, |table| table.replace(place, new));
        self.note_moments(db, new, true);
        old.free(&mut self.tools.heap);
    }

    /// Removes a key. Returns false if the key did not exist or had expired.
    pub fn remove(&mut self, db: usize, key: &Key<'_>) -> bool {
        let found = self.find(db, key);
        let is_found = found.is_some();
        let place =
            if self.hides_expired() { found.or_else(|| self.find_hidden(db, key)) } else { found };
        if let Some(place) = place {
            self.remove_place(db, key, place);
            if is_found {
                self.note_change(db, key);
            } else {
                self.note_key_gone(db, key.bytes);
                if !self.watches.is_empty() {
                    self.watches.note_expired_removed(db, key.hash, key.bytes);
                }
            }
        }
        is_found
    }

    /// Removes a key that was found, without reporting the change.
    pub(super) fn remove_place(&mut self, db: usize, key: &Key<'_>, place: Place) {
        let entry = self.unlink_place(db, key, place);
        self.dispose(entry);
    }

    /// Takes the entry of a key that was found out of its table, without reporting the change.
    pub(super) fn unlink_place(&mut self, db: usize, key: &Key<'_>, place: Place) -> Entry {
        let index = self.index_of(key.slot);
        self.before_change(db, key);
        let tools = &mut self.tools;
        let entry = self.databases[db].change(index, |table| table.extract(tools, place));
        self.shrink(db, index, 2);
        self.note_moments(db, entry, false);
        entry
    }

    /// Removes a key as expired, even if its expiry has not passed, and counts it as expired.
    /// Returns false if there is no such key.
    pub fn expire(&mut self, db: usize, key: &Key<'_>) -> bool {
        let is_removed = self.remove(db, key);
        self.stats.expired_lazy += u64::from(is_removed);
        is_removed
    }

    /// Sets or removes the expiry of a key (Unix milliseconds). Returns false if there is no such
    /// key.
    pub fn set_expiry(&mut self, db: usize, key: &Key<'_>, at: Option<u64>) -> bool {
        let Some(place) = self.find(db, key) else { return false };
        self.before_change(db, key);
        let entry = place.entry();
        entry.put_clock(self.access.used(entry.clock()));
        match (entry.expiry(), at) {
            (None, None) => {}
            (Some(_), Some(at)) => {
                self.note_change(db, key);
                entry.put_expiry(at);
                let index = self.index_of(key.slot);
                self.databases[db].change(index, |table| table.rewritten(place, true));
            }
            _ => {
                self.note_moments(db, entry, false);
                let payload = if entry.is_apart() {
                    Payload::Apart(entry.take_apart())
                } else {
                    match entry.string().expect("a value inside an entry is a string") {
                        Str::Int(number) => Payload::Int(number),
                        Str::Bytes(bytes) => Payload::Inline(bytes, &[]),
                        Str::Large(_) => unreachable!("a boxed value was taken out above"),
                    }
                };
                let (clock, is_edited) = (entry.clock(), entry.is_edited());
                let draft = Draft { key: key.bytes, payload, expiry: at, clock, is_edited };
                self.renew(db, key, place, draft);
            }
        }
        true
    }

    /// Sets whether changes are silent and returns the previous setting. Silent changes need no
    /// event.
    pub fn set_silent(&mut self, on: bool) -> bool {
        std::mem::replace(&mut self.is_silent, on)
    }

    /// Returns the number of keys in a database, including expired keys that are not removed yet.
    pub fn len(&self, db: usize) -> usize {
        self.databases[db].len()
    }

    /// Returns whether a database has no keys.
    pub fn is_empty(&self, db: usize) -> bool {
        self.len(db) == 0
    }

    /// Returns the number of keys in a database that have an expiry.
    pub fn volatile_len(&self, db: usize) -> usize {
        self.databases[db].volatile_len()
    }

    /// Returns the number of keys of a database in a hash slot of this slice.
    pub fn slot_len(&self, db: usize, slot: u16) -> usize {
        assert!(self.owns(slot));
        self.databases[db].table(self.index_of(slot)).map_or(0, Table::len)
    }

    /// Returns a random key, each with about the same probability. Returns `None` if the database
    /// is empty, or after `RANDOM_TRIES_MAX` expired keys in a row. May return an expired key if
    /// all keys are volatile and this slice does not remove expired keys.
    pub fn random(&mut self, db: usize) -> Option<Vec<u8>> {
        let mut expired = None;
        for _ in 0..RANDOM_TRIES_MAX {
            let keys = self.databases[db].len();
            if keys == 0 {
                return None;
            }
            let rank = self.rng.below(keys as u64) as usize;
            let index = self.databases[db].table_of_rank(rank);
            let table = self.databases[db].table(index).expect("every rank belongs to a table");
            let place = table.random(&mut self.rng);
            if self.is_visible(place.entry()) {
                return Some(place.entry().key().to_vec());
            }
            if self.role == ExpiryRole::Primary {
                if !self.kept.unasked {
                    self.expire_lazily(db, index, place);
                }
            } else if self.volatile_len(db) == keys {
                expired = Some(place);
            }
        }
        expired.map(|place| place.entry().key().to_vec())
    }

    /// Returns a new random number generator, seeded by this slice's generator.
    pub fn draw_rng(&mut self) -> Rng {
        Rng::new(self.rng.next_u64())
    }

    /// Returns the counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Resets the counters to zero.
    pub fn reset_stats(&mut self) {
        self.stats = Stats::default();
    }

    /// Adds the values that were freed in small steps to the counters. Returns the number of values
    /// and tables that still wait to be freed.
    pub fn unfreed_values(&mut self) -> usize {
        self.stats.freed_values += self.graveyard.take_freed();
        self.graveyard.len()
    }

    /// Returns whether values or tables were removed that wait to be freed, and that no earlier
    /// call of [`Slice::housekeep`] or [`Slice::free_removed`] has seen.
    #[inline]
    pub fn has_removed(&self) -> bool {
        self.graveyard.has_news()
    }

    /// Frees removed values and tables until none is left or `is_over` returns true, which is
    /// called before each step. Returns whether some are left.
    pub fn free_removed(&mut self, is_over: &mut dyn FnMut() -> bool) -> bool {
        self.graveyard.free(&mut self.tools.heap, is_over)
    }

    /// Returns the average time to live of some keys of a database, in milliseconds. Each call
    /// samples other keys. Returns `None` if the sample has no key with an expiry.
    pub fn sample_ttl_ms(&mut self, db: usize) -> Option<u64> {
        let database = &self.databases[db];
        let next = database.next_volatile(self.ttl_cursor).or_else(|| database.next_volatile(0));
        let index = next?;
        self.ttl_cursor = index + 1;
        let table = database.table(index)?;
        let buckets = table.buckets();
        let first = (self.now_ms / 100) as u32 % buckets.max(1);
        // Wider, because a client may set the largest expiry of 64 bits.
        let (mut sum_ms, mut count) = (0_u128, 0);
        for number in (first..buckets).chain(0..first).take(TTL_BUCKETS) {
            table.for_each_in_bucket(number, &mut |word| {
                if let Some(expiry_ms) = word.entry().expiry() {
                    sum_ms += u128::from(expiry_ms.saturating_sub(self.now_ms));
                    count += 1;
                }
            });
        }
        (count > 0).then(|| (sum_ms / count) as u64)
    }

    /// Returns the memory use of a database's tables. O(slots).
    pub fn table_info(&self, db: usize) -> TableInfo {
        let mut sum = TableInfo::default();
        let mut next = self.databases[db].next_occupied(0);
        while let Some(index) = next {
            sum.add(&self.databases[db].table(index).expect("an occupied table exists").info());
            next = self.databases[db].next_occupied(index + 1);
        }
        sum
    }

    /// Returns the bytes of all entries and buckets, without large values and without the arrays of
    /// tables.
    pub fn heap_bytes(&self) -> usize {
        self.tools.heap.used_bytes()
    }

    /// Asserts all invariants of the slice. O(keys), for tests.
    pub fn check(&self) {
        self.watches.check();
        self.waits.check();
        for database in &self.databases {
            database.check();
            let mut next = database.next_occupied(0);
            let (mut volatile, mut with_moments) = (0, 0);
            while let Some(index) = next {
                let table = database.table(index).expect("an occupied table exists");
                table.check(&self.tools);
                for number in 0..table.buckets() {
                    let mut keys = 0;
                    table.for_each_in_bucket(number, &mut |_| keys += 1);
                    let is_saved = table.version_of(number) == self.tools.version;
                    assert!(keys == 0 || is_saved || self.cut.is_some(), "a cut walks to its end");
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
        self.drop_cut();
        self.flush(None);
        self.graveyard.clear(&mut self.tools.heap);
    }
}
