//! Expired keys and elements: their records, and the expiry times of elements.
//!
//! An element of a value may have an expiry; today only hash fields do. In identifiers such an
//! expiry is a `moment`. The bucket word of a key and the summaries above it cover the earliest
//! moment and the expiry of the key.

use super::slice::{ExpiryRole, Key, Slice};
use super::table::{Entry, Place};

/// A record of a key or of hash fields that were removed because they had expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Number of the database.
    pub db: u16,
    /// Name of the key.
    pub key: Box<[u8]>,
    /// The removed fields of the hash; `None` if the key itself was removed.
    pub fields: Option<Vec<Box<[u8]>>>,
}

/// Expired keys that commands leave where they are. They are hidden.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Whether commands leave all of them that they did not ask for.
    pub unasked: bool,
    /// Hashes of keys that other units use, each with whether the command propagates.
    keys: Vec<(u64, bool)>,
}

impl Slice {
    /// Sets whether RANDOMKEY and SCAN leave expired keys there, because these commands take no
    /// locks: a transaction may have locked such a key and propagates it later.
    #[inline]
    pub fn keep_unasked(&mut self, on: bool) {
        self.kept.unasked = on;
    }

    /// Sets the hashes of the keys that commands leave there if they have expired, because other
    /// units use these keys and may see an earlier time. No command may write to them meanwhile.
    /// The second value says that the command is propagated. A replica must remove the key ahead of
    /// it, because what the command does depends on that.
    #[inline]
    pub fn keep_expired(&mut self, hashes: impl IntoIterator<Item = (u64, bool)>) {
        self.kept.keys.clear();
        self.kept.keys.extend(hashes);
    }

    /// Returns whether the key at a place stays although it has expired. Records its removal if the
    /// running command is propagated.
    pub(super) fn keeps_expired(&mut self, db: usize, place: Place) -> bool {
        if self.kept.keys.is_empty() {
            return false;
        }
        let key = place.entry().key();
        let hash = self.tools.hash(key);
        let mut found = self.kept.keys.iter().filter(|it| it.0 == hash).peekable();
        let is_kept = found.peek().is_some();
        if found.any(|it| it.1) && !self.has_noted(db, key) {
            self.note_key_gone(db, key);
        }
        is_kept
    }

    /// Returns whether the removal of a key is recorded. O(records).
    fn has_noted(&self, db: usize, key: &[u8]) -> bool {
        let is_it = |gone: &Expired| usize::from(gone.db) == db && *gone.key == *key;
        let records = self.expired.iter().flatten();
        records.filter(|gone| gone.fields.is_none()).any(is_it)
    }

    /// Removes an expired key that a command has come across, unless such keys are kept.
    pub fn expire_unasked(&mut self, db: usize, key: &Key<'_>) {
        if !self.kept.unasked {
            let is_gone = self.find(db, key).is_none();
            debug_assert!(is_gone, "an expired key is invisible");
        }
    }

    /// Records that an expired key was removed, if [`Slice::note_expired`] has enabled the records.
    pub(super) fn note_key_gone(&mut self, db: usize, key: &[u8]) {
        if let Some(expired) = &mut self.expired {
            expired.push(Expired { db: db as u16, key: key.into(), fields: None });
        }
    }

    /// Counts an entry in (`on`) or out, if it has elements with an expiry.
    pub(super) fn note_moments(&mut self, db: usize, entry: Entry, on: bool) {
        self.databases[db].note_entry(entry, on);
    }

    /// Updates counters and summaries after the earliest expiry among the elements of a value has
    /// changed from `old` to `new` (Unix milliseconds).
    pub(super) fn moments_changed(
        &mut self,
        db: usize,
        key: &Key<'_>,
        place: Place,
        old: Option<u64>,
        new: Option<u64>,
    ) {
        if old.is_some() != new.is_some() {
            let has_expiry = place.entry().expiry().is_some();
            self.databases[db].note_moments(new.is_some(), has_expiry);
        }
        if old != new {
            let index = self.index_of(key.slot);
            let was_volatile = place.word().is_volatile();
            self.databases[db].change(index, |table| table.rewritten(place, was_volatile));
        }
    }

    /// Returns the time (Unix milliseconds) before which elements count as expired and are hidden.
    #[inline]
    pub fn horizon_ms(&self) -> u64 {
        if self.role == ExpiryRole::Loading { 0 } else { self.now_ms }
    }

    /// Counts hash fields that a command removed because of a past expiry, or replaced after their
    /// expiry.
    pub fn count_expired_fields(&mut self, fields: u64) {
        self.stats.expired_fields += fields;
    }

    /// Enables or disables the records for [`Slice::drain_expired`].
    pub fn note_expired(&mut self, on: bool) {
        match (on, &self.expired) {
            (true, None) => self.expired = Some(Vec::new()),
            (false, Some(_)) => self.expired = None,
            _ => {}
        }
    }

    /// Returns whether [`Slice::drain_expired`] has records.
    #[inline]
    pub fn has_expired(&self) -> bool {
        self.expired.as_ref().is_some_and(|expired| !expired.is_empty())
    }

    /// Returns and forgets the records of the keys and fields removed since the last call.
    pub fn drain_expired(&mut self) -> impl Iterator<Item = Expired> {
        self.expired.iter_mut().flat_map(|expired| expired.drain(..))
    }

    /// Forgets the records of keys for whose hashes `is_own` holds.
    pub fn forget_expired(&mut self, is_own: &dyn Fn(u64) -> bool) {
        let tools = &self.tools;
        if let Some(expired) = &mut self.expired {
            expired.retain(|gone| !is_own(tools.hash(&gone.key)));
        }
    }

    /// Returns the bytes of a database's tables, without the entries.
    pub fn table_bytes(&self, db: usize) -> usize {
        self.databases[db].table_bytes()
    }

    /// Returns the number of keys of a database that have elements with an expiry.
    pub fn with_moments_len(&self, db: usize) -> usize {
        self.databases[db].with_moments_len()
    }
}
