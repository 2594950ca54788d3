//! Hashes: fields with values. A field may expire.
//!
//! ```text
//!   Packed   a number of fields, then name and value of each, packed       "listpack"
//!   Large    a table of fields, and the moments at which they expire       "hashtable"
//! ```
//! A hash is packed while it has few, short fields ([`Limits`]) and no field has an expiry. A large
//! hash never becomes packed again.

mod large;
mod packed;
#[cfg(test)]
mod tests;

use super::object::{Container, Kind, container_object};
use super::pack::Item;
use crate::base::rng::Rng;
use large::Large;
use packed::Packed;

/// Fields in no order, each name once, with a value and an optional expiry.
///
/// This type does not know the time. An expired field is present until it is removed, so readers
/// must compare its expiry with the clock.
#[derive(Clone, Debug)]
pub struct Hash(Form);

#[derive(Clone, Debug)]
enum Form {
    Packed(Packed),
    Large(Box<Large>),
}

const _: () = assert!(size_of::<Hash>() == 16);

/// A field with its value and expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Name.
    pub name: Item<'a>,
    /// Value.
    pub value: Item<'a>,
    /// Expiry, in Unix milliseconds.
    pub expiry: Option<u64>,
}

/// The size limits of the packed form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Highest number of fields.
    pub listpack_entries: usize,
    /// Highest length of a name or a value, in bytes.
    pub listpack_value: usize,
}

impl Default for Hash {
    fn default() -> Hash {
        Hash(Form::Packed(Packed::default()))
    }
}

impl Hash {
    /// Returns the number of fields.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Packed(packed) => packed.len(),
            Form::Large(large) => large.len(),
        }
    }

    /// Returns whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Prefetches the memory where the field would be found.
    #[inline]
    pub fn prefetch(&self, name: &[u8]) {
        if let Form::Large(large) = &self.0 {
            large.prefetch(name);
        }
    }

    /// Returns whether the hash is packed. No field of a packed hash expires.
    pub fn is_packed(&self) -> bool {
        matches!(self.0, Form::Packed(_))
    }

    /// Returns a field by name, expired or not.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<Field<'_>> {
        match &self.0 {
            Form::Packed(packed) => packed.get(name),
            Form::Large(large) => large.get(name),
        }
    }

    /// Converts to the large form if setting `fields` fields at once may exceed the limit, even if
    /// some names repeat.
    pub fn expect(&mut self, fields: usize, limits: &Limits) {
        if fields > limits.listpack_entries {
            self.large();
        }
    }

    /// Sets the value and the expiry (Unix ms) of a field, and replaces both if the field exists.
    /// Returns true if the field is new.
    pub fn set(&mut self, name: &[u8], value: &[u8], expiry: Option<u64>, limits: &Limits) -> bool {
        if let Form::Packed(packed) = &mut self.0 {
            let longest = name.len().max(value.len());
            if expiry.is_none() && longest <= limits.listpack_value {
                let is_new = packed.set(name, value);
                if packed.len() > limits.listpack_entries {
                    self.large();
                }
                return is_new;
            }
        }
        self.large().set(name, value, expiry)
    }

    /// Sets or clears the expiry (Unix ms) of a field. Returns false if there is no such field.
    pub fn set_expiry(&mut self, name: &[u8], expiry: Option<u64>) -> bool {
        if let Form::Packed(packed) = &self.0 {
            let is_there = packed.get(name).is_some();
            if !is_there || expiry.is_none() {
                return is_there;
            }
        }
        self.large().set_expiry(name, expiry)
    }

    /// Removes a field. Returns false if there was none.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        match &mut self.0 {
            Form::Packed(packed) => packed.remove(name),
            Form::Large(large) => large.remove(name),
        }
    }

    /// Removes some fields that expire before `horizon` (Unix ms), after passing each to `show`: at
    /// most about 100 us of work. Returns true when no such field is left.
    pub fn remove_expired(&mut self, horizon: u64, show: &mut dyn FnMut(Field<'_>)) -> bool {
        match &mut self.0 {
            Form::Packed(_) => true,
            Form::Large(large) => large.remove_expired(horizon, show),
        }
    }

    /// Returns the number of fields that have an expiry.
    pub fn volatile_len(&self) -> usize {
        match &self.0 {
            Form::Packed(_) => 0,
            Form::Large(large) => large.volatile_len(),
        }
    }

    /// Returns a random field, drawn uniformly; none if there are no fields.
    pub fn random(&self, rng: &mut Rng) -> Option<Field<'_>> {
        match &self.0 {
            Form::Packed(packed) => {
                let len = packed.len() as u64;
                if len == 0 { None } else { packed.iter().nth(rng.below(len) as usize) }
            }
            Form::Large(large) => large.random(rng),
        }
    }

    /// Iterates over all fields, each once.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        let (packed, large) = match &self.0 {
            Form::Packed(packed) => (Some(packed.iter()), None),
            Form::Large(large) => (None, Some(large.iter())),
        };
        packed.into_iter().flatten().chain(large.into_iter().flatten())
    }

    /// Passes some fields to `visit` and returns the cursor for the next call; 0 at the end. A scan
    /// starts with cursor 0 and visits every field that is present throughout.
    pub fn scan(&self, cursor: u64, visit: &mut dyn FnMut(Field<'_>)) -> u64 {
        match &self.0 {
            Form::Packed(packed) => {
                packed.iter().for_each(visit);
                0
            }
            Form::Large(large) => large.scan(cursor, visit),
        }
    }

    /// Converts to the large form if needed, and returns it.
    fn large(&mut self) -> &mut Large {
        if let Form::Packed(packed) = &self.0 {
            let mut large = Box::<Large>::default();
            for field in packed.iter() {
                large.set(&field.name.to_vec(), &field.value.to_vec(), None);
            }
            self.0 = Form::Large(large);
        }
        match &mut self.0 {
            Form::Large(large) => large,
            Form::Packed(_) => unreachable!("the hash has just become large"),
        }
    }
}

impl Container for Hash {
    const KIND: Kind = Kind::Hash;

    fn len(&self) -> usize {
        Hash::len(self)
    }

    fn encoding(&self) -> &'static str {
        if self.is_packed() { "listpack" } else { "hashtable" }
    }

    fn memory_bytes(&self, _samples: usize) -> usize {
        match &self.0 {
            Form::Packed(packed) => packed.memory_bytes(),
            Form::Large(large) => size_of::<Large>() + large.memory_bytes(),
        }
    }

    fn free_step(&mut self) -> bool {
        match &mut self.0 {
            Form::Packed(_) => true,
            Form::Large(large) => large.free_step(),
        }
    }

    fn next_expiry(&self) -> Option<u64> {
        match &self.0 {
            Form::Packed(_) => None,
            Form::Large(large) => large.next_expiry(),
        }
    }

    fn check(&self) {
        match &self.0 {
            Form::Packed(packed) => packed.check(),
            Form::Large(large) => large.check(),
        }
    }

    container_object!(Hash);
}
