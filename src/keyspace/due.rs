//! What falls due: keys, and elements of values at their moments.
//!
//! A moment is when an element of a value expires by itself, today a field of a hash. The word of a
//! key and the summaries above it know of the first one, as they know of the key's own expiry.

use super::slice::{ExpiryRole, Key, Slice};
use super::table::{Entry, Place};

/// What was removed because it was due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The database.
    pub db: u16,
    /// The key.
    pub key: Box<[u8]>,
    /// These fields of its hash; none: the key itself.
    pub fields: Option<Vec<Box<[u8]>>>,
}

impl Slice {
    /// Remembers, if somebody wants to know, that a key was removed because it was due.
    pub(super) fn note_key_gone(&mut self, db: usize, key: &[u8]) {
        if let Some(expired) = &mut self.expired {
            expired.push(Expired { db: db as u16, key: key.into(), fields: None });
        }
    }

    /// Counts an entry in or out that has elements with an expiry.
    pub(super) fn note_moments(&mut self, db: usize, entry: Entry, on: bool) {
        if entry.has_moments() {
            self.databases[db].note_moments(on, entry.expiry().is_some());
        }
    }

    /// Takes note of what has become of the moments at which elements of the value at a place
    /// expire, the first of which was `old`.
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
            let tools = &self.tools;
            let was_volatile = place.word().is_volatile();
            self.databases[db].change(index, |table| table.rewritten(tools, place, was_volatile));
        }
    }

    /// Elements that expire before this moment (Unix milliseconds) are hidden.
    #[inline]
    pub fn horizon_ms(&self) -> u64 {
        if self.role == ExpiryRole::Loading { 0 } else { self.now_ms }
    }

    /// Counts fields of hashes that a command removed because they are due, or replaced.
    pub fn count_expired_fields(&mut self, fields: u64) {
        self.stats.expired_fields += fields;
    }

    /// Says whether the keys that fall due are to be remembered for [`Slice::drain_expired`].
    pub fn note_expired(&mut self, on: bool) {
        match (on, &self.expired) {
            (true, None) => self.expired = Some(Vec::new()),
            (false, Some(_)) => self.expired = None,
            _ => {}
        }
    }

    /// Whether [`Slice::drain_expired`] has something to give.
    #[inline]
    pub fn has_expired(&self) -> bool {
        self.expired.as_ref().is_some_and(|expired| !expired.is_empty())
    }

    /// What fell due and was removed since the last call.
    pub fn drain_expired(&mut self) -> impl Iterator<Item = Expired> {
        self.expired.iter_mut().flat_map(|expired| expired.drain(..))
    }

    /// How many keys of a database have elements with an expiry.
    pub fn with_moments_len(&self, db: usize) -> usize {
        self.databases[db].with_moments_len()
    }
}
