//! The large form of a hash: a dense table with values as payloads, and a count of the fields that
//! expire.

use super::Field;
use crate::base::rng::Rng;
use crate::value::dense::{Dense, Element};

/// Pages that one call of [`Large::remove_expired`] visits.
const EXPIRE_PAGES: usize = 8;

/// Fields with values and optional expiries.
#[derive(Clone, Debug, Default)]
pub(super) struct Large {
    table: Dense,
    volatile: usize,
}

fn field_of(element: Element<'_>) -> Field<'_> {
    let value = element.payload.expect("a field has a value");
    Field { name: element.key, value, expiry: element.expiry }
}

impl Large {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn volatile_len(&self) -> usize {
        self.volatile
    }

    #[inline]
    pub(super) fn prefetch(&self, name: &[u8]) {
        self.table.prefetch(name);
    }

    #[inline]
    pub(super) fn get(&self, name: &[u8]) -> Option<Field<'_>> {
        self.table.get(name).map(field_of)
    }

    /// Updates the count of fields that expire, before the field `name` gets the expiry `expiry`.
    #[inline]
    fn recount(&mut self, name: &[u8], expiry: Option<u64>) {
        if self.volatile > 0 {
            let old = self.table.get(name).and_then(|element| element.expiry);
            self.volatile -= usize::from(old.is_some());
        }
        self.volatile += usize::from(expiry.is_some());
    }

    #[inline]
    pub(super) fn set(&mut self, name: &[u8], value: &[u8], expiry: Option<u64>) -> bool {
        self.recount(name, expiry);
        self.table.insert(name, Some(value), expiry)
    }

    pub(super) fn set_expiry(&mut self, name: &[u8], expiry: Option<u64>) -> bool {
        if !self.table.contains(name) {
            return false;
        }
        self.recount(name, expiry);
        self.table.set_expiry(name, expiry)
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> bool {
        self.recount(name, None);
        self.table.remove(name)
    }

    /// Removes some fields that expire before `horizon`, after passing each to `show`. Returns true
    /// when no such field is left.
    pub(super) fn remove_expired(&mut self, horizon: u64, show: &mut dyn FnMut(Field<'_>)) -> bool {
        let before = self.table.len();
        let is_over =
            self.table.expire_step(horizon, EXPIRE_PAGES, &mut |element| show(field_of(element)));
        self.volatile -= before - self.table.len();
        is_over
    }

    /// Returns a lower bound on the first expiry (Unix ms); none if no field expires.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        if self.volatile == 0 { None } else { self.table.next_expiry() }
    }

    pub(super) fn random(&self, rng: &mut Rng) -> Option<Field<'_>> {
        self.table.random(rng).map(field_of)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.table.iter().map(field_of)
    }

    pub(super) fn scan(&self, cursor: u64, visit: &mut dyn FnMut(Field<'_>)) -> u64 {
        self.table.scan(cursor, &mut |element| visit(field_of(element)))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.table.memory_bytes()
    }

    pub(super) fn free_step(&mut self) -> bool {
        self.table.free_step()
    }

    pub(super) fn check(&self) {
        self.table.check();
        let volatile = || self.table.iter().filter_map(|element| element.expiry);
        assert_eq!(volatile().count(), self.volatile);
        assert!(volatile().min() >= self.next_expiry(), "`next_expiry` is a lower bound");
    }
}
