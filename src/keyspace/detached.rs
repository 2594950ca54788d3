//! Values outside of their slice: what a command over several shards works on, and what RENAME and
//! COPY move or copy.
//!
//! ```text
//!   export   a copy: short strings by value, long strings by reference, other types element by
//!            element
//!   take     the value itself; the key is removed
//!   fetch    for a command on another shard, while the key is locked here:
//!              to write  the value itself (detached); import or restore brings it back. A short
//!                        string is copied, and the slice keeps its own
//!              to read   the value is lent: the slice keeps it, the other shard must not free it
//! ```

use super::slice::{Expiry, Key, Slice};
use super::table::{Apart, Payload};
use crate::value::Object;
use crate::value::string::Str;
use bytes::Bytes;
use std::mem::ManuallyDrop;

/// An owned or lent value with its expiry and access clock, which may travel to another shard.
#[derive(Debug)]
pub struct DetachedValue {
    value: Value,
    /// When the key expires, in Unix milliseconds.
    pub expiry: Option<u64>,
    /// Access clock of the key.
    clock: u32,
    is_edited: bool,
}

#[derive(Debug)]
enum Value {
    Int(i64),
    /// A short string, stored inside its entry.
    Inline(Box<[u8]>),
    /// A long string; shared, not copied.
    Large(Bytes),
    /// A value of several elements, owned.
    Object(Object),
    /// A value of several elements that its slice still owns. Only read, and never freed from here.
    Lent(ManuallyDrop<Object>),
}

impl DetachedValue {
    fn plain(value: Value, expiry: Option<u64>, clock: u32) -> DetachedValue {
        DetachedValue { value, expiry, clock, is_edited: false }
    }

    /// Forgets an object that was imported from a lent value: its slice still owns it.
    pub fn forget(self) {
        if let Value::Object(object) = self.value {
            std::mem::forget(object);
        }
    }
}

impl Slice {
    /// Returns a copy of a key's value. Counts no hit or miss and leaves the access clock alone.
    pub fn export(&mut self, db: usize, key: &Key<'_>) -> Option<DetachedValue> {
        let entry = self.find(db, key)?.entry();
        let (expiry, clock) = (entry.expiry(), entry.clock());
        if let Some(object) = entry.alias() {
            let value = Value::Object(Object::clone(&object));
            return Some(DetachedValue::plain(value, expiry, clock));
        }
        let value = entry.string().expect("a value without elements is a string");
        // Under another key, the string may fit into the entry; it stays `raw`, as in the reference
        // server.
        let name = value.encoding_name(entry.is_edited(), key.bytes.len(), expiry.is_some());
        let value = match value {
            Str::Int(number) => Value::Int(number),
            Str::Bytes(bytes) => Value::Inline(bytes.into()),
            Str::Large(bytes) => Value::Large(bytes.clone()),
        };
        let is_edited = name == "raw";
        Some(DetachedValue { is_edited, ..DetachedValue::plain(value, expiry, clock) })
    }

    /// Removes a key and returns its value.
    pub fn take(&mut self, db: usize, key: &Key<'_>) -> Option<DetachedValue> {
        let detached = self.take_silently(db, key)?;
        self.note_change(db, key);
        Some(detached)
    }

    /// Removes a key and returns its value, without breaking watches or waking blocked clients.
    pub fn take_silently(&mut self, db: usize, key: &Key<'_>) -> Option<DetachedValue> {
        let place = self.find(db, key)?;
        let entry = place.entry();
        if entry.is_apart() && !entry.is_large() {
            let entry = self.unlink_place(db, key, place);
            let (expiry, clock) = (entry.expiry(), entry.clock());
            let Apart::Object(object) = entry.take_apart() else {
                unreachable!("the entry was checked above")
            };
            entry.free(&mut self.tools.heap);
            let value = Value::Object(object);
            return Some(DetachedValue::plain(value, expiry, clock));
        }
        let detached = self.export(db, key)?;
        if entry.is_large() {
            // Freed at once, so that nothing else references the buffer.
            let entry = self.unlink_place(db, key, place);
            drop(entry.take_apart());
            entry.free(&mut self.tools.heap);
            return Some(detached);
        }
        self.remove_place(db, key, place);
        Some(detached)
    }

    /// Returns a key's value for a command that runs on another shard. The key must be locked
    /// meanwhile: exclusively if `to_write`, otherwise at least shared.
    pub fn fetch(&mut self, db: usize, key: &Key<'_>, to_write: bool) -> Option<DetachedValue> {
        let entry = self.find(db, key)?.entry();
        if !to_write {
            // A lent value does not come back, so the access clock is set now.
            entry.put_clock(self.access.used(entry.clock()));
        }
        match entry.alias() {
            None if entry.is_large() && to_write => self.take_silently(db, key),
            None => self.export(db, key),
            Some(_) if to_write => self.take_silently(db, key),
            Some(object) => {
                let (expiry, clock) = (entry.expiry(), entry.clock());
                Some(DetachedValue::plain(Value::Lent(object), expiry, clock))
            }
        }
    }

    /// Sets a key to a detached value with its expiry, and replaces any old value.
    pub fn import(&mut self, db: usize, key: &Key<'_>, detached: DetachedValue) {
        let bytes;
        let payload = match detached.value {
            Value::Int(number) => Payload::Int(number),
            Value::Inline(inline) => {
                bytes = inline;
                Payload::Inline(&bytes, &[])
            }
            Value::Large(bytes) => {
                self.note_string(bytes.len());
                Payload::Apart(Apart::Large(Box::new(bytes)))
            }
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

    /// Sets a key to a detached value that comes back or is lent. Under an LFU policy the access
    /// clock of the value's key is kept.
    pub fn bring(&mut self, db: usize, key: &Key<'_>, detached: DetachedValue) {
        let clock = detached.clock;
        self.import(db, key, detached);
        if self.access.counts()
            && let Some(place) = self.find(db, key)
        {
            place.entry().put_clock(clock);
        }
    }

    /// Puts an unchanged detached value back under its key, without breaking watches or waking
    /// blocked clients.
    pub fn restore(&mut self, db: usize, key: &Key<'_>, detached: DetachedValue) {
        let was_silent = self.set_silent(true);
        self.bring(db, key, detached);
        self.set_silent(was_silent);
    }
}
