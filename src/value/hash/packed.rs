//! The packed form of a hash: one block of memory, read from front to back.
//!
//! ```text
//!   number of fields, u32 | name | value | name | value | ...
//! ```
//! Names and values are packed items ([`super::super::pack`]), in insertion order. The fields `a` =
//! `1` and `bc` = `xyz` are `02 00 00 00  01 61  c1  02 62 63  03 78 79 7a`. A hash without fields
//! has no block.

use super::Field;
use crate::base::alloc::class_bytes;
use crate::value::pack::{self, Item};
use std::ops::Range;

/// Bytes before the first name.
const HEAD_BYTES: usize = 4;

/// Fields with values, packed.
#[derive(Clone, Debug, Default)]
pub(super) struct Packed {
    bytes: Box<[u8]>,
}

/// Where the name and the value of a field lie in the block.
struct Span {
    name: usize,
    value: usize,
    end: usize,
}

impl Packed {
    pub(super) fn len(&self) -> usize {
        self.bytes.first_chunk().map_or(0, |&head| u32::from_le_bytes(head) as usize)
    }

    /// Returns the packed names and values.
    fn body(&self) -> &[u8] {
        self.bytes.get(HEAD_BYTES..).unwrap_or_default()
    }

    fn find(&self, name: &[u8]) -> Option<Span> {
        let name = Item::of(name);
        let mut rest = self.body();
        while !rest.is_empty() {
            let start = self.bytes.len() - rest.len();
            let (found, behind_name) = pack::read(rest);
            let (_, behind_value) = pack::read(behind_name);
            if found == name {
                let value = self.bytes.len() - behind_name.len();
                return Some(Span {
                    name: start,
                    value,
                    end: self.bytes.len() - behind_value.len(),
                });
            }
            rest = behind_value;
        }
        None
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<Field<'_>> {
        let span = self.find(name)?;
        let (name, _) = pack::read(&self.bytes[span.name..]);
        let (value, _) = pack::read(&self.bytes[span.value..]);
        Some(Field { name, value, expiry: None })
    }

    /// Sets the value of a field. Returns true if the field is new.
    pub(super) fn set(&mut self, name: &[u8], value: &[u8]) -> bool {
        let value = Item::of(value);
        match self.find(name) {
            Some(span) => {
                self.splice(span.value..span.end, &[value], 0);
                false
            }
            None => {
                let end = self.bytes.len();
                self.splice(end..end, &[Item::of(name), value], 1);
                true
            }
        }
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> bool {
        let Some(span) = self.find(name) else { return false };
        self.splice(span.name..span.end, &[], -1);
        true
    }

    /// Replaces a range of bytes by packed items, and adds `fields` to the number of fields.
    fn splice(&mut self, range: Range<usize>, items: &[Item<'_>], fields: i32) {
        let added = items.iter().map(pack::size).sum::<usize>();
        if added == range.len() {
            // A value that changes often, such as a counter, usually keeps its size.
            let mut out = &mut self.bytes[range];
            for item in items {
                let mut one = Vec::with_capacity(pack::size(item));
                pack::write(&mut one, item);
                out[..one.len()].copy_from_slice(&one);
                out = &mut out[one.len()..];
            }
            return;
        }
        let count = u32::try_from(self.len() as i64 + i64::from(fields)).expect("few fields");
        if count == 0 {
            self.bytes = Box::default();
            return;
        }
        let mut bytes = std::mem::take(&mut self.bytes).into_vec();
        if bytes.is_empty() {
            bytes.reserve_exact(HEAD_BYTES + added);
            bytes.resize(HEAD_BYTES, 0);
        }
        let range = range.start.max(HEAD_BYTES)..range.end.max(HEAD_BYTES);
        let tail = bytes.len() - range.end;
        bytes.reserve_exact(added.saturating_sub(range.len()));
        // New items in the middle are packed in a buffer first and then spliced in.
        if tail == 0 {
            bytes.truncate(range.start);
            items.iter().for_each(|item| pack::write(&mut bytes, item));
        } else {
            let mut new = Vec::with_capacity(added);
            items.iter().for_each(|item| pack::write(&mut new, item));
            bytes.splice(range, new);
        }
        bytes[..HEAD_BYTES].copy_from_slice(&count.to_le_bytes());
        self.bytes = bytes.into_boxed_slice();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        let mut rest = self.body();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (name, behind_name) = pack::read(rest);
            let (value, behind_value) = pack::read(behind_name);
            rest = behind_value;
            Some(Field { name, value, expiry: None })
        })
    }

    pub(super) fn memory_bytes(&self) -> usize {
        if self.bytes.is_empty() { 0 } else { class_bytes(self.bytes.len()) }
    }

    pub(super) fn check(&self) {
        assert_eq!(self.iter().count(), self.len(), "the head has the number of fields");
        assert!(self.len() > 0 || self.bytes.is_empty(), "a hash without fields has no block");
        let mut names: Vec<_> = self.iter().map(|field| field.name.to_vec()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), self.len(), "field names are unique");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_frozen() {
        let mut packed = Packed::default();
        assert!(packed.set(b"a", b"1"));
        assert!(packed.set(b"bc", b"xyz"));
        assert_eq!(*packed.bytes, *b"\x02\0\0\0\x01a\xc1\x02bc\x03xyz");
        assert!(!packed.set(b"a", b"31"));
        assert_eq!(*packed.bytes, *b"\x02\0\0\0\x01a\xdf\x02bc\x03xyz");
        assert!(!packed.set(b"a", b"long"));
        assert_eq!(*packed.bytes, *b"\x02\0\0\0\x01a\x04long\x02bc\x03xyz");
        assert!(packed.remove(b"a") && !packed.remove(b"a"));
        assert_eq!(*packed.bytes, *b"\x01\0\0\0\x02bc\x03xyz");
        assert!(packed.remove(b"bc"));
        assert_eq!((packed.bytes.len(), packed.memory_bytes()), (0, 0));
    }

    #[test]
    fn ten_short_fields_fit_256_bytes() {
        let mut packed = Packed::default();
        for number in 0..10 {
            packed.set(format!("field:{number}").as_bytes(), &[b'v'; 16]);
        }
        assert_eq!((packed.bytes.len(), packed.memory_bytes()), (254, 256));
    }
}
