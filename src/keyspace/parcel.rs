//! A key's value out of its slice: what a command over several shards is given to work on, and
//! what RENAME and COPY put elsewhere.

use super::slice::{Expiry, Key, Slice};
use super::table::Payload;
use crate::value::string::Str;
use bytes::Bytes;

/// A value with what belongs to it, owned: it may travel to another shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    value: Value,
    /// When the key expires, Unix milliseconds.
    pub expiry: Option<u64>,
    is_edited: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Int(i64),
    /// Small, and kept beside its key.
    Inline(Box<[u8]>),
    /// Large; shared, not copied.
    Large(Bytes),
}

impl Slice {
    /// A copy of a key's value; counts nothing and leaves the access clock alone.
    pub fn export(&mut self, db: usize, key: &Key<'_>) -> Option<Parcel> {
        let entry = self.find(db, key)?.entry();
        let value = entry.string().expect("strings are all that there is");
        // With another key it may fit beside it, and yet stays `raw`, as with the reference.
        let expires = entry.expiry().is_some();
        let name = value.encoding_name(entry.is_edited(), key.bytes.len(), expires);
        let value = match value {
            Str::Int(number) => Value::Int(number),
            Str::Bytes(bytes) => Value::Inline(bytes.into()),
            Str::Large(bytes) => Value::Large(bytes.clone()),
        };
        Some(Parcel { value, expiry: entry.expiry(), is_edited: name == "raw" })
    }

    /// A key's value, which is no longer there after.
    pub fn take(&mut self, db: usize, key: &Key<'_>) -> Option<Parcel> {
        let parcel = self.export(db, key)?;
        let was_there = self.remove(db, key);
        assert!(was_there, "it has just been found");
        Some(parcel)
    }

    /// Gives a key the value of a parcel and its expiry, whatever it had before.
    pub fn import(&mut self, db: usize, key: &Key<'_>, parcel: Parcel) {
        let payload = match &parcel.value {
            Value::Int(number) => Payload::Int(*number),
            Value::Inline(bytes) => Payload::Inline(bytes, &[]),
            Value::Large(bytes) => Payload::Large(Box::new(bytes.clone())),
        };
        let expiry = parcel.expiry.map_or(Expiry::Clear, Expiry::At);
        let place = self.find(db, key);
        self.put(db, key, place, payload, expiry);
        if parcel.is_edited
            && let Some(place) = self.find(db, key)
        {
            place.entry().mark_edited();
        }
    }
}
