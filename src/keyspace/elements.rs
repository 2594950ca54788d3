//! Prefetching of the elements of large values. Hot.

use super::slice::{Key, Slice};
use super::table::View;
use crate::value::hash::Hash;
use crate::value::set::Set;

/// A value whose elements are stored in separate memory pages.
#[derive(Clone, Copy)]
pub enum Elements<'a> {
    /// Hash fields.
    Hash(&'a Hash),
    /// Set members.
    Set(&'a Set),
}

impl Elements<'_> {
    /// Prefetches the memory page where an element would be.
    #[inline]
    pub fn prefetch(self, element: &[u8]) {
        match self {
            Elements::Hash(hash) => hash.prefetch(element),
            Elements::Set(set) => set.prefetch(element),
        }
    }
}

impl Slice {
    /// Returns the value of a key if it is a large hash or a set, for prefetching elements.
    pub fn elements(&self, db: usize, key: &Key<'_>) -> Option<Elements<'_>> {
        let place = self.table(db, key)?.find(key.hash, key.bytes)?;
        let view = View::new(place.entry());
        let hash = || view.object::<Hash>().filter(|hash| !hash.is_packed()).map(Elements::Hash);
        hash().or_else(|| view.object::<Set>().map(Elements::Set))
    }
}
