//! A key's value out of its slice: what a command over several shards is given to work on, and
//! what RENAME and COPY put elsewhere.
//!
//! ```text
//!   export   a copy: strings by value, long ones shared, other types element by element
//!   take     the value itself; the key is gone
//!   fetch    for a command elsewhere, while its key is locked here:
//!              to write  the value itself, which comes back by import or restore
//!              to read   the value lent: the slice keeps it, and the other end forgets it
//! ```

use super::slice::{Expiry, Key, Slice};
use super::table::{Apart, Payload};
use crate::value::Object;
use crate::value::string::Str;
use bytes::Bytes;
use std::mem::ManuallyDrop;

/// A value with what belongs to it, owned: it may travel to another shard.
#[derive(Debug)]
pub struct DetachedValue {
    value: Value,
    /// When the key expires, Unix milliseconds.
    pub expiry: Option<u64>,
    /// The access clock of its key.
    clock: u32,
    is_edited: bool,
}

#[derive(Debug)]
enum Value {
    Int(i64),
    /// Small, and kept beside its key.
    Inline(Box<[u8]>),
    /// Large; shared, not copied.
    Large(Bytes),
    /// Of several elements.
    Object(Object),
    /// The same, while its owner keeps it. Only read, and never freed from here.
    Lent(ManuallyDrop<Object>),
}

impl DetachedValue {
    /// Whether it is the only place where its value is, so that it has to come back.
    pub fn is_moved(&self) -> bool {
        matches!(self.value, Value::Object(_))
    }

    /// Ends what was imported from a parcel that was lent.
    pub fn forget(self) {
        if let Value::Object(object) = self.value {
            std::mem::forget(object);
        }
    }
}

impl Slice {
    /// A copy of a key's value; counts nothing and leaves the access clock alone.
    pub fn export(&mut self, db: usize, key: &Key<'_>) -> Option<DetachedValue> {
        let entry = self.find(db, key)?.entry();
        let (expiry, clock) = (entry.expiry(), entry.clock());
        if let Some(object) = entry.alias() {
            let value = Value::Object(Object::clone(&object));
            return Some(DetachedValue { value, expiry, clock, is_edited: false });
        }
        let value = entry.string().expect("what has no elements is a string");
        // With another key it may fit beside it, and yet stays `raw`, as with the reference.
        let name = value.encoding_name(entry.is_edited(), key.bytes.len(), expiry.is_some());
        let value = match value {
            Str::Int(number) => Value::Int(number),
            Str::Bytes(bytes) => Value::Inline(bytes.into()),
            Str::Large(bytes) => Value::Large(bytes.clone()),
        };
        Some(DetachedValue { value, expiry, clock, is_edited: name == "raw" })
    }

    /// A key's value, which is no longer there after.
    pub fn take(&mut self, db: usize, key: &Key<'_>) -> Option<DetachedValue> {
        let detached = self.take_silently(db, key)?;
        self.note_change(db, key);
        Some(detached)
    }

    /// The same, and watches are told nothing.
    pub fn take_silently(&mut self, db: usize, key: &Key<'_>) -> Option<DetachedValue> {
        let place = self.find(db, key)?;
        let entry = place.entry();
        if entry.is_apart() && !entry.is_large() {
            let entry = self.unlink_place(db, key, place);
            let (expiry, clock) = (entry.expiry(), entry.clock());
            let Apart::Object(object) = entry.take_apart() else { unreachable!("looked at above") };
            entry.free(&mut self.tools.heap);
            let value = Value::Object(object);
            return Some(DetachedValue { value, expiry, clock, is_edited: false });
        }
        let detached = self.export(db, key)?;
        self.remove_place(db, key, place);
        Some(detached)
    }

    /// A key's value for a command that runs elsewhere, while nobody else touches the key here (or
    /// everybody only reads it, unless `to_write`).
    pub fn fetch(&mut self, db: usize, key: &Key<'_>, to_write: bool) -> Option<DetachedValue> {
        let entry = self.find(db, key)?.entry();
        if !to_write {
            // What is only read does not come back: this is its use.
            entry.put_clock(self.access.used(entry.clock()));
        }
        match entry.alias() {
            None => self.export(db, key),
            Some(_) if to_write => self.take_silently(db, key),
            Some(object) => {
                let (expiry, clock) = (entry.expiry(), entry.clock());
                Some(DetachedValue { value: Value::Lent(object), expiry, clock, is_edited: false })
            }
        }
    }

    /// Gives a key the value of a parcel and its expiry, whatever it had before.
    pub fn import(&mut self, db: usize, key: &Key<'_>, detached: DetachedValue) {
        let bytes;
        let payload = match detached.value {
            Value::Int(number) => Payload::Int(number),
            Value::Inline(inline) => {
                bytes = inline;
                Payload::Inline(&bytes, &[])
            }
            Value::Large(bytes) => Payload::Apart(Apart::Large(Box::new(bytes))),
            Value::Object(object) => Payload::Apart(Apart::Object(object)),
            Value::Lent(object) => Payload::Apart(Apart::Object(ManuallyDrop::into_inner(object))),
        };
        let expiry = detached.expiry.map_or(Expiry::Clear, Expiry::At);
        let place = self.find(db, key);
        self.put(db, key, place, payload, expiry);
        if detached.is_edited
            && let Some(place) = self.find(db, key)
        {
            place.entry().mark_edited();
        }
    }

    /// The same for a value that has been away, or is for a while: where uses are counted, those of
    /// its key go with it.
    pub fn bring(&mut self, db: usize, key: &Key<'_>, detached: DetachedValue) {
        let clock = detached.clock;
        self.import(db, key, detached);
        if self.access.counts()
            && let Some(place) = self.find(db, key)
        {
            place.entry().put_clock(clock);
        }
    }

    /// Gives a key the value back that was fetched, unchanged. Watches are told nothing.
    pub fn restore(&mut self, db: usize, key: &Key<'_>, detached: DetachedValue) {
        let was_untold = self.set_untold(true);
        self.bring(db, key, detached);
        self.set_untold(was_untold);
    }
}
