//! Values outside of their slice: what a command over several shards works on, and what RENAME and
//! COPY move or copy.
//!
//! ```text
//!   export   a copy: short strings by value, long strings by reference, other types element by
//!            element
//!   take     the value itself; the key is removed
//!   fetch    for a command on another shard, while the key is locked here:
//!              to write  the value itself (detached); a stub stays in its place, until `bring`
//!                        brings the value back, or the key is removed. A short string is
//!                        copied, and the slice keeps its own
//!              to read   the value is lent: the slice and the reader own it together
//! ```
//! A lent value may be removed from its slice at any time. Whichever owner lets go last frees it.
//!
//! A stub is a key without a value: it is counted and shown with its type, and nothing can be read
//! from it. It does not expire: after its expiry it is hidden, and whatever its transaction stores
//! takes its place.

use super::slice::{Expiry, Key, Slice};
use super::table::{Apart, Payload, Place};
use crate::value::hash::Field;
use crate::value::string::Str;
use crate::value::{Object, ObjectRef};
use bytes::Bytes;
use std::sync::Arc;

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
    /// A value of several elements that its slice shares. Only read.
    Lent(Arc<Object>),
}

impl DetachedValue {
    fn plain(value: Value, expiry: Option<u64>, clock: u32) -> DetachedValue {
        DetachedValue { value, expiry, clock, is_edited: false }
    }

    /// Returns whether the value is boxed. Such a value leaves its slice if it is fetched to write.
    pub fn is_boxed(&self) -> bool {
        matches!(self.value, Value::Object(_) | Value::Large(_))
    }

    /// Returns the number of the value's elements, or its bytes in units of `unit_bytes` if these
    /// are more. Bytes are estimated from `samples` of the elements.
    pub fn elements(&self, unit_bytes: usize, samples: usize) -> usize {
        let whole =
            |object: ObjectRef<'_>| object.len().max(object.memory_bytes(samples) / unit_bytes);
        match &self.value {
            Value::Int(_) | Value::Inline(_) => 1,
            Value::Large(bytes) => bytes.len() / unit_bytes,
            Value::Object(object) => whole(object.by_ref()),
            Value::Lent(object) => whole(object.by_ref()),
        }
    }

    /// Returns whether the value has no elements, so that no key may hold it.
    pub fn is_void(&self) -> bool {
        matches!(&self.value, Value::Object(object) if object.is_void())
    }

    /// Removes the elements of an owned value that expire before `horizon_ms` (Unix milliseconds).
    /// Returns their names.
    pub fn remove_expired(&mut self, horizon_ms: u64) -> Vec<Vec<u8>> {
        let mut removed = Vec::new();
        if let Value::Object(Object::Hash(hash)) = &mut self.value {
            let mut note = |field: Field<'_>| removed.push(field.name.to_vec());
            while !hash.remove_expired(horizon_ms, &mut note) {}
        }
        removed
    }
}

impl Slice {
    /// Returns a copy of a key's value. Counts no hit or miss and leaves the access clock alone.
    pub fn export(&mut self, db: usize, key: &Key<'_>) -> Option<DetachedValue> {
        let entry = self.find(db, key)?.entry();
        let (expiry, clock) = (entry.expiry(), entry.clock());
        if let Some(object) = entry.any_object() {
            let value = Value::Object(object.to_object());
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
            let object = entry.take_apart().into_object().expect("the entry was checked above");
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

    /// Removes a key, without breaking watches or waking blocked clients.
    pub fn discard(&mut self, db: usize, key: &Key<'_>) {
        if let Some(place) = self.find(db, key) {
            self.remove_place(db, key, place);
        }
    }

    /// Removes a key because it has expired away from its slice.
    pub fn discard_expired(&mut self, db: usize, key: &Key<'_>) {
        self.discard(db, key);
        self.watches.note_expired_removed(db, key.hash, key.bytes);
    }

    /// Takes a boxed value out of its entry. A stub stays. A value that somebody still reads is
    /// copied, except a string.
    fn detach(&mut self, db: usize, key: &Key<'_>, place: Place) -> DetachedValue {
        self.before_change(db, key);
        let entry = place.entry();
        let was_volatile = place.word().is_volatile();
        self.note_moments(db, entry, false);
        let is_raw = |text: Str<'_>| {
            text.encoding_name(entry.is_edited(), key.bytes.len(), entry.expiry().is_some())
                == "raw"
        };
        let is_edited = entry.string().is_some_and(is_raw);
        let value = match entry.detach() {
            Apart::Large(bytes) => Value::Large(*bytes),
            apart => Value::Object(apart.into_object().expect("it is not a string")),
        };
        let index = self.index_of(key.slot);
        self.databases[db].change(index, |table| table.rewritten(place, was_volatile));
        let (expiry, clock) = (entry.expiry(), entry.clock());
        DetachedValue { is_edited, ..DetachedValue::plain(value, expiry, clock) }
    }

    /// Returns a key's value for a command that runs on another shard. The key must be locked
    /// meanwhile: exclusively if `to_write`, otherwise at least shared.
    pub fn fetch(&mut self, db: usize, key: &Key<'_>, to_write: bool) -> Option<DetachedValue> {
        let place = self.find(db, key)?;
        let entry = place.entry();
        if !to_write {
            // A lent value does not come back, so the access clock is set now.
            entry.put_clock(self.access.used(entry.clock()));
        }
        if to_write && (entry.any_object().is_some() || entry.is_large()) {
            return Some(self.detach(db, key, place));
        }
        match entry.lend() {
            None => self.export(db, key),
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
            Value::Lent(object) => Payload::Apart(Apart::Lent(object)),
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

    /// Sets a key to a detached value that comes back or is lent. The value needs no event: if a
    /// command has changed it, the command's events were raised where it ran, and the caller calls
    /// [`Slice::signal`]. Keeps the access clock of the value's key.
    pub fn bring(&mut self, db: usize, key: &Key<'_>, detached: DetachedValue) {
        let clock = detached.clock;
        let was_silent = self.set_silent(true);
        self.import(db, key, detached);
        self.set_silent(was_silent);
        if let Some(place) = self.find(db, key) {
            place.entry().put_clock(clock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::tick::TICK_MS;
    use crate::keyspace::{Event, ExpiryRole, SliceOptions};
    use crate::value::Container;
    use crate::value::hash::{self, Hash};
    use crate::value::set::{self, Set};
    use crate::value::string::NewStr;
    use std::sync::Weak;

    const MEMBERS: usize = 2_000;
    const LIMITS: set::Limits =
        set::Limits { intset_entries: 8, listpack_entries: 8, listpack_value: 8 };
    const HASH_LIMITS: hash::Limits = hash::Limits { listpack_entries: 8, listpack_value: 8 };
    const NOW_MS: u64 = 1_800_000_000_000;

    fn slice() -> Slice {
        let options =
            SliceOptions { databases: 2, slots: (0..16384).into(), hash_seed: [1, 2], seed: 3 };
        let mut slice = Slice::new(options);
        slice.set_now(NOW_MS);
        slice
    }

    fn member(number: usize) -> Vec<u8> {
        format!("member:{number}").into_bytes()
    }

    /// Creates a set at `k` and lends it.
    fn lent_set(slice: &mut Slice, expiry: Expiry) -> Arc<Object> {
        let mut set = Set::default();
        for number in 0..MEMBERS {
            set.insert(&member(number), &LIMITS);
        }
        let key = slice.key(b"k");
        slice.set_object(0, &key, Box::new(set).into_object(), expiry);
        lend(slice)
    }

    fn lend(slice: &mut Slice) -> Arc<Object> {
        let key = slice.key(b"k");
        match slice.fetch(0, &key, false).expect("the key exists").value {
            Value::Lent(object) => object,
            other => panic!("{other:?} is not lent"),
        }
    }

    fn count(object: &Object) -> usize {
        let set = Set::of_object(object).expect("a set");
        (0..MEMBERS).filter(|&number| set.contains(&member(number))).count()
    }

    /// Runs `vanish` while another thread reads the lent set of key `k`, once with the reader as
    /// the last owner and once with the slice as the last owner. Nothing may leak.
    fn survives(expiry: Expiry, vanish: impl Fn(&mut Slice)) {
        let mut slice = slice();
        let object = lent_set(&mut slice, expiry);
        let weak: Weak<Object> = Arc::downgrade(&object);
        let reader = std::thread::spawn(move || (0..20).map(|_| count(&object)).sum::<usize>());
        vanish(&mut slice);
        slice.check();
        assert_eq!(reader.join().expect("it reads valid memory"), 20 * MEMBERS);
        while !slice.housekeep(&mut || false).more && weak.strong_count() > 1 {}
        let key = slice.key(b"k");
        slice.remove(0, &key);
        slice.flush(None);
        slice.housekeep(&mut || false);
        assert_eq!(weak.strong_count(), 0, "the last owner frees it");
        slice.check();
    }

    #[test]
    fn a_lent_value_may_vanish_at_any_time() {
        let later = Expiry::At(NOW_MS + 5);
        survives(later, |slice| {
            slice.set_now(NOW_MS + 6);
            let key = slice.key(b"k");
            assert!(slice.lookup(0, &key).is_none());
        });
        survives(later, |slice| {
            slice.set_now(NOW_MS + 60_000);
            assert_eq!(slice.housekeep(&mut || false).expired, 1);
        });
        survives(Expiry::Clear, |slice| slice.flush(None));
        survives(Expiry::Clear, |slice| slice.flush(Some(0)));
        survives(Expiry::Clear, |slice| {
            slice.swap_databases(0, 1);
            slice.flush(Some(1));
        });
        survives(Expiry::Clear, |slice| slice.swap_databases(0, 1));
        survives(Expiry::Clear, |slice| {
            let key = slice.key(b"k");
            assert!(slice.remove(0, &key));
        });
        survives(Expiry::Clear, |slice| {
            let key = slice.key(b"k");
            slice.set(0, &key, NewStr::from_bytes(b"short"), Expiry::Clear);
        });
        survives(Expiry::Clear, |slice| {
            let key = slice.key(b"k");
            assert!(slice.set_expiry(0, &key, Some(NOW_MS + 1)));
        });
        survives(Expiry::Clear, |slice| {
            let (key, other) = (slice.key(b"k"), slice.key(b"other"));
            let detached = slice.take(0, &key).expect("the key exists");
            slice.import(0, &other, detached);
        });
        survives(Expiry::Clear, |slice| {
            let key = slice.key(b"k");
            let detached = slice.fetch(0, &key, true).expect("the key exists");
            assert!(matches!(detached.value, Value::Object(_)));
            slice.bring(0, &key, detached);
        });
    }

    #[test]
    fn a_lent_value_is_copied_before_it_is_changed() {
        let mut slice = slice();
        let object = lent_set(&mut slice, Expiry::Clear);
        let key = slice.key(b"k");
        let mut edit = slice.edit::<Set>(0, &key).expect("a set").expect("the key exists");
        for number in 1..MEMBERS {
            assert!(edit.remove(&member(number)));
        }
        edit.raise(Event::SAdd, 1);
        drop(edit);
        assert_eq!(count(&object), MEMBERS);
        assert_eq!(slice.read::<Set>(0, &key).expect("a set").expect("the key exists").len(), 1);
        assert_eq!(Arc::strong_count(&object), 1, "the slice owns its copy alone");
        assert!(slice.edit::<Hash>(0, &key).is_err());
        slice.check();
    }

    #[test]
    fn a_value_is_taken_back_after_its_last_reader() {
        let mut slice = slice();
        let (first, second) = (lent_set(&mut slice, Expiry::Clear), lend(&mut slice));
        let key = slice.key(b"k");
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(slice.look(0, &key).expect("the key exists").encoding(), "hashtable");
        assert!(slice.read::<Hash>(0, &key).is_err());
        let weak = Arc::downgrade(&first);
        drop((first, second));
        assert_eq!(slice.read::<Set>(0, &key).expect("a set").expect("a value").len(), MEMBERS);
        assert_eq!(weak.strong_count(), 0, "the value is in its box again");
        assert_eq!(slice.look(0, &key).expect("the key exists").elements(), MEMBERS);
        slice.check();
    }

    #[test]
    fn the_fields_of_a_lent_hash_expire_after_its_last_reader() {
        let mut slice = slice();
        let key = slice.key(b"k");
        let mut hash = slice.edit_or_new::<Hash>(0, &key).expect("a new key");
        for name in [&b"stays"[..], b"goes"] {
            hash.set(name, b"value", None, &HASH_LIMITS);
        }
        hash.set_expiry(b"goes", Some(NOW_MS + 5));
        hash.raise(Event::HSet, 1);
        drop(hash);
        let lent = lend(&mut slice);
        slice.check();
        slice.set_now(NOW_MS + 60_000);
        slice.housekeep(&mut || false);
        assert_eq!((lent.by_ref().len(), slice.stats().expired_fields), (2, 0));
        slice.check();
        drop(lent);
        // The sweep has left the fields: it looks at them again in the next tick.
        slice.set_now(NOW_MS + 60_000 + TICK_MS);
        slice.housekeep(&mut || false);
        assert_eq!(slice.stats().expired_fields, 1);
        assert_eq!(slice.read::<Hash>(0, &key).expect("a hash").expect("a value").len(), 1);
        slice.check();
    }

    #[test]
    fn a_workspace_gives_lent_values_back() {
        let (mut slice, mut workspace) = (slice(), slice());
        workspace.set_role(ExpiryRole::Loading);
        let object = lent_set(&mut slice, Expiry::At(NOW_MS + 5));
        let weak = Arc::downgrade(&object);
        drop(object);
        let key = slice.key(b"k");
        let detached = slice.fetch(0, &key, false).expect("the key exists");
        workspace.bring(0, &key, detached);
        slice.set_now(NOW_MS + 6);
        assert!(slice.peek(0, &key).is_none());
        assert_eq!(weak.strong_count(), 1);
        workspace.discard(0, &key);
        workspace.housekeep(&mut || false);
        assert_eq!((weak.strong_count(), workspace.len(0)), (0, 0));
    }

    /// Creates a hash at `k` with a field that expires, and detaches it.
    fn detached_hash(slice: &mut Slice, expiry: Expiry) -> DetachedValue {
        let mut hash = Hash::default();
        hash.set(b"stays", b"value", None, &HASH_LIMITS);
        hash.set(b"goes", b"value", Some(NOW_MS + 100_000), &HASH_LIMITS);
        let key = slice.key(b"k");
        slice.set_object(0, &key, Box::new(hash).into_object(), expiry);
        slice.check();
        let detached = slice.fetch(0, &key, true).expect("the key exists");
        slice.check();
        detached
    }

    /// Returns the keys that a scan shows, with their types.
    fn shown(slice: &mut Slice) -> Vec<(Vec<u8>, &'static str)> {
        let (mut seen, mut cursor) = (Vec::new(), 0);
        loop {
            cursor = slice.scan(0, cursor, &mut |key, view, is_expired| {
                if !is_expired {
                    seen.push((key.to_vec(), view.kind().name()));
                }
            });
            if cursor == 0 {
                return seen;
            }
        }
    }

    #[test]
    fn a_stub_is_counted_and_shown_and_the_value_returns() {
        let mut slice = slice();
        let detached = detached_hash(&mut slice, Expiry::Clear);
        let key = slice.key(b"k");
        assert_eq!((slice.len(0), slice.random(0)), (1, Some(b"k".to_vec())));
        assert_eq!(shown(&mut slice), [(b"k".to_vec(), "hash")]);
        assert!(slice.look(0, &key).is_none(), "a stub has no value");
        assert_eq!(slice.kind_of(0, &key), Some(crate::value::Kind::Hash));
        assert_eq!(slice.with_moments_len(0), 0);
        slice.bring(0, &key, detached);
        assert_eq!(slice.with_moments_len(0), 1);
        assert_eq!(slice.read::<Hash>(0, &key).expect("a hash").expect("a value").len(), 2);
        slice.check();
        assert!(slice.remove(0, &key));
        slice.check();
    }

    #[test]
    fn a_long_string_leaves_a_stub() {
        let mut slice = slice();
        let key = slice.key(b"k");
        let text = vec![b'x'; 100_000];
        slice.set(0, &key, NewStr::from_bytes(&text), Expiry::At(NOW_MS + 5));
        let detached = slice.fetch(0, &key, true).expect("the key exists");
        assert!(detached.is_boxed());
        assert_eq!(shown(&mut slice), [(b"k".to_vec(), "string")]);
        assert!(slice.look(0, &key).is_none(), "a stub has no value");
        slice.check();
        slice.bring(0, &key, detached);
        let view = slice.look(0, &key).expect("the key exists");
        assert_eq!((view.string().map(|it| it.len()), view.encoding()), (Some(100_000), "raw"));
        assert_eq!((slice.len(0), slice.volatile_len(0)), (1, 1));
        slice.check();
    }

    #[test]
    fn a_stub_hides_after_its_expiry_and_does_not_expire() {
        let mut slice = slice();
        let detached = detached_hash(&mut slice, Expiry::At(NOW_MS + 5));
        let key = slice.key(b"k");
        slice.set_now(NOW_MS + 60_000);
        assert_eq!(slice.housekeep(&mut || false).expired, 0);
        assert!(slice.peek(0, &key).is_none() && slice.random(0).is_none());
        assert!(shown(&mut slice).is_empty());
        assert_eq!((slice.len(0), slice.stats().expired()), (1, 0));
        slice.check();
        let role = slice.set_role(ExpiryRole::Loading);
        slice.bring(0, &key, detached);
        slice.set_role(role);
        slice.set_now(NOW_MS + 61_000);
        assert_eq!(slice.housekeep(&mut || false).expired, 1, "the value has come back expired");
        assert_eq!(slice.len(0), 0);
        slice.check();
    }

    #[test]
    fn a_stub_is_replaced_or_removed_by_its_transaction() {
        let mut slice = slice();
        let key = slice.key(b"k");
        drop(detached_hash(&mut slice, Expiry::At(NOW_MS + 5)));
        slice.set(0, &key, NewStr::from_bytes(b"7"), Expiry::Clear);
        assert_eq!((slice.len(0), slice.volatile_len(0)), (1, 0));
        slice.check();
        drop(detached_hash(&mut slice, Expiry::At(NOW_MS + 5)));
        slice.set_now(NOW_MS + 6);
        slice.set_role(ExpiryRole::Loading);
        slice.discard_expired(0, &key);
        assert_eq!((slice.len(0), slice.volatile_len(0)), (0, 0));
        slice.check();
    }
}
