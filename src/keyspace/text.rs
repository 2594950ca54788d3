//! Strings changed in place: integers that are incremented, text that is appended to. Hot.

use super::slice::{Expiry, Key, Slice};
use super::table::{Apart, Draft, Payload, Place, View};
use crate::value::string::{INLINE_BYTES_MAX, IntText, NewStr};
use std::convert::Infallible;

impl Slice {
    /// Sets a key to the integer that `change` computes from its value (`None` if there is no such
    /// key) and keeps the expiry. Works in place if the value already is an integer. If `change`
    /// fails, the key stays unchanged.
    #[inline]
    pub fn change_int<E>(
        &mut self,
        db: usize,
        key: &Key<'_>,
        change: impl FnOnce(Option<View<'_>>) -> Result<i64, E>,
    ) -> Result<i64, E> {
        let found = self.find(db, key);
        let number = change(found.map(|place| View::new(place.entry())))?;
        self.before_change(db, key);
        if let Some(place) = found
            && place.entry().put_int(number)
        {
            let entry = place.entry();
            entry.put_clock(self.access.used(entry.clock()));
            self.note_change(db, key);
        } else {
            self.put(db, key, found, Payload::Int(number), Expiry::Keep);
        }
        Ok(number)
    }

    /// Sets a key to an integer and keeps the expiry; works in place if the value already is an
    /// integer.
    pub fn update_int(&mut self, db: usize, key: &Key<'_>, number: i64) {
        let Ok(_) = self.change_int(db, key, |_| Ok::<_, Infallible>(number));
    }

    /// Appends to a string and returns the new length in bytes; creates a missing key. The key must
    /// not hold another type.
    pub fn append(&mut self, db: usize, key: &Key<'_>, tail: &[u8]) -> usize {
        let Some(place) = self.find(db, key) else {
            self.set(db, key, NewStr::from_bytes(tail), Expiry::Clear);
            return tail.len();
        };
        let old_len = place.entry().string().expect("the key holds a string").len();
        self.extend(db, key, place, tail, old_len + tail.len());
        old_len + tail.len()
    }

    /// Returns the bytes of a string, extended with zeros to at least `min_len` bytes; creates a
    /// missing key. An integer is converted to text. The key must not hold another type.
    pub fn string_mut(&mut self, db: usize, key: &Key<'_>, min_len: usize) -> &mut [u8] {
        self.lengthen(db, key, min_len);
        self.string_bytes(db, key)
    }

    /// Returns the bytes of a string like [`Slice::string_mut`], for a caller that may leave the
    /// value as it was. A caller that changes it must raise an event.
    pub fn string_mut_silently(&mut self, db: usize, key: &Key<'_>, min_len: usize) -> &mut [u8] {
        let was_silent = self.set_silent(true);
        self.lengthen(db, key, min_len);
        self.set_silent(was_silent);
        self.string_bytes(db, key)
    }

    fn lengthen(&mut self, db: usize, key: &Key<'_>, min_len: usize) {
        if let Some(place) = self.find(db, key) {
            let old_len = place.entry().string().expect("the key holds a string").len();
            self.extend(db, key, place, &[], old_len.max(min_len));
        } else {
            self.put(db, key, None, Payload::Inline(&[], &[]), Expiry::Clear);
            if self.is_silent {
                self.log_new(db, key);
            }
            let place = self.find_hidden(db, key).expect("the key was just created");
            place.entry().mark_edited();
            self.extend(db, key, place, &[], min_len);
        }
    }

    fn string_bytes(&mut self, db: usize, key: &Key<'_>) -> &mut [u8] {
        let entry = self.find_hidden(db, key).expect("the key exists").entry();
        if entry.is_large() {
            let len = entry.string().map_or(0, |value| value.len());
            return entry.large_mut(&[], len);
        }
        entry.inline_mut().expect("the value was converted to text")
    }

    /// Appends `tail` and then zeros to a string, up to `len` bytes in all.
    fn extend(&mut self, db: usize, key: &Key<'_>, place: Place, tail: &[u8], len: usize) {
        self.before_change(db, key);
        let entry = place.entry();
        entry.put_clock(self.access.used(entry.clock()));
        self.note_string(len);
        if entry.is_large() {
            entry.large_mut(tail, len);
            return self.note_change(db, key);
        }
        if entry.extend(tail, len) {
            entry.mark_edited();
            return self.note_change(db, key);
        }
        let mut buffer = IntText::new();
        let value = entry.string().expect("the key holds a string");
        let text = value.text(&mut buffer);
        let mut rest;
        let payload = if len > INLINE_BYTES_MAX {
            let mut bytes = bytes::BytesMut::with_capacity(len);
            bytes.extend_from_slice(text);
            bytes.extend_from_slice(tail);
            bytes.resize(len, 0);
            Payload::Apart(Apart::Large(Box::new(bytes.freeze())))
        } else if text.len() + tail.len() == len {
            Payload::Inline(text, tail)
        } else {
            rest = tail.to_vec();
            rest.resize(len - text.len(), 0);
            Payload::Inline(text, &rest)
        };
        let draft = Draft {
            key: key.bytes,
            payload,
            expiry: entry.expiry(),
            clock: entry.clock(),
            is_edited: true,
        };
        self.renew(db, key, place, draft);
    }
}
