//! Hashes: fields with values, each of which may expire.
//!
//! ```text
//!   Packed   a number of fields, then name and value of each, packed       "listpack"
//!   Large    a table of fields, and the moments at which they expire       "hashtable"
//! ```
//! A hash is packed while it has few and short fields that do not expire ([`Limits`]); it never
//! goes back.

mod large;
mod packed;
#[cfg(test)]
mod tests;

use super::object::{Container, Kind, container_object};
use super::pack::Item;
use crate::base::rng::Rng;
use large::Large;
use packed::Packed;

/// Fields in no order, each once, with a value and perhaps a moment at which it expires.
///
/// Time is not known here: a field whose moment has passed is there until it is removed, and
/// whoever asks compares.
#[derive(Clone, Debug)]
pub struct Hash(Form);

#[derive(Clone, Debug)]
enum Form {
    Packed(Packed),
    Large(Box<Large>),
}

const _: () = assert!(size_of::<Hash>() == 16);

/// A field with what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name.
    pub name: Item<'a>,
    /// Its value.
    pub value: Item<'a>,
    /// When it expires, Unix milliseconds.
    pub expiry: Option<u64>,
}

/// Up to which size the compact form serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fields.
    pub listpack_entries: usize,
    /// Bytes of a name or a value.
    pub listpack_value: usize,
}

impl Default for Hash {
    fn default() -> Hash {
        Hash(Form::Packed(Packed::default()))
    }
}

impl Hash {
    /// How many fields there are.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Packed(packed) => packed.len(),
            Form::Large(large) => large.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Asks for what is looked at to find a field.
    #[inline]
    pub fn prefetch(&self, name: &[u8]) {
        if let Form::Large(large) = &self.0 {
            large.prefetch(name);
        }
    }

    /// Whether the hash has its compact form. Then no field expires.
    pub fn is_packed(&self) -> bool {
        matches!(self.0, Form::Packed(_))
    }

    /// A field.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<Field<'_>> {
        match &self.0 {
            Form::Packed(packed) => packed.get(name),
            Form::Large(large) => large.get(name),
        }
    }

    /// Gives up the compact form if so many fields are about to be set at once that it does not
    /// serve, even if some of them are the same.
    pub fn expect(&mut self, fields: usize, limits: &Limits) {
        if fields > limits.listpack_entries {
            self.large();
        }
    }

    /// Gives a field a value and an expiry, whatever it had before; true if it is new.
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

    /// Sets or clears when a field expires; false if there is no such field.
    pub fn set_expiry(&mut self, name: &[u8], expiry: Option<u64>) -> bool {
        if let Form::Packed(packed) = &self.0 {
            let is_there = packed.get(name).is_some();
            if !is_there || expiry.is_none() {
                return is_there;
            }
        }
        self.large().set_expiry(name, expiry)
    }

    /// Removes a field; false if it was not there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        match &mut self.0 {
            Form::Packed(packed) => packed.remove(name),
            Form::Large(large) => large.remove(name),
        }
    }

    /// Removes some of the fields that expire before a moment, at most about 100 us of work, and
    /// shows each first; true when there are no more.
    pub fn remove_due(&mut self, horizon: u64, show: &mut dyn FnMut(Field<'_>)) -> bool {
        match &mut self.0 {
            Form::Packed(_) => true,
            Form::Large(large) => large.remove_due(horizon, show),
        }
    }

    /// How many fields expire.
    pub fn volatile_len(&self) -> usize {
        match &self.0 {
            Form::Packed(_) => 0,
            Form::Large(large) => large.volatile_len(),
        }
    }

    /// A field, every one with the same chance; none if there are none.
    pub fn random(&self, rng: &mut Rng) -> Option<Field<'_>> {
        match &self.0 {
            Form::Packed(packed) => {
                let len = packed.len() as u64;
                if len == 0 { None } else { packed.iter().nth(rng.below(len) as usize) }
            }
            Form::Large(large) => large.random(rng),
        }
    }

    /// All fields, each once.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        let (packed, large) = match &self.0 {
            Form::Packed(packed) => (Some(packed.iter()), None),
            Form::Large(large) => (None, Some(large.iter())),
        };
        packed.into_iter().flatten().chain(large.into_iter().flatten())
    }

    /// Shows some fields, and gives the cursor for the next call; 0 after the last. A walk starts
    /// with 0 and meets every field that is there all the time.
    pub fn scan(&self, cursor: u64, visit: &mut dyn FnMut(Field<'_>)) -> u64 {
        match &self.0 {
            Form::Packed(packed) => {
                packed.iter().for_each(visit);
                0
            }
            Form::Large(large) => large.scan(cursor, visit),
        }
    }

    /// The large form, which it has from now on.
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
            Form::Packed(_) => unreachable!("it was just made large"),
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
