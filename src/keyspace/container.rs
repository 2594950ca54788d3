//! Values of several elements (lists, sets, hashes, sorted sets, streams): reading and editing in
//! place.

use super::event::Event;
use super::slice::{Expiry, Key, Slice};
use super::table::{Apart, Payload, Place};
use crate::value::{Container, Object, WrongKind};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// A key's value while it is being changed.
///
/// The editing code calls [`Edit::raise`] or its siblings after a change. If the value is empty
/// (void) when the `Edit` is dropped, the `Edit` removes the key and raises [`Event::Del`].
pub struct Edit<'s, T: Container> {
    slice: &'s mut Slice,
    db: usize,
    key: Key<'s>,
    place: Place,
    is_changed: bool,
    /// Whether the key was created for the edit and has no event yet.
    is_new: bool,
    /// The earliest expiry of an element when the edit began, Unix milliseconds.
    moment: Option<u64>,
    kind: PhantomData<T>,
}

impl<T: Container> Edit<'_, T> {
    /// Reports that the value was changed, like [`Slice::raise`].
    #[inline]
    pub fn raise(&mut self, event: Event, changes: u64) {
        self.is_changed = true;
        self.begin_events();
        self.slice.raise(self.db, &self.key, event, changes);
    }

    /// Reports an event that breaks no watches and wakes no blocked clients, like
    /// [`Slice::announce`].
    pub fn announce(&mut self, event: Event, changes: u64) {
        self.is_changed = true;
        self.begin_events();
        self.slice.announce(self.db, &self.key, event, changes);
    }

    /// Counts changes of the value that have no event, break no watches and wake no blocked
    /// clients.
    pub fn count_changes(&mut self, changes: u64) {
        self.is_changed = true;
        self.slice.count_changes(changes);
    }

    /// Logs that the key is new, before the first event.
    #[inline]
    fn begin_events(&mut self) {
        if std::mem::take(&mut self.is_new) {
            self.slice.log_new(self.db, &self.key);
        }
    }
}

impl<T: Container> Deref for Edit<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.place.entry().object().expect("the type was checked when the edit began")
    }
}

impl<T: Container> DerefMut for Edit<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.place.entry().owned_mut().expect("the type was checked when the edit began")
    }
}

impl<T: Container> Drop for Edit<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let (db, key) = (self.db, self.key);
        let moment = self.next_expiry();
        if moment != self.moment {
            self.slice.moments_changed(db, &key, self.place, self.moment, moment);
        }
        if self.is_void() {
            debug_assert!(self.is_changed || self.is_new, "the last element goes with an event");
            self.slice.remove_place(db, &key, self.place);
            if self.is_changed {
                self.slice.raise(db, &key, Event::Del, 0);
            }
        }
    }
}

impl Slice {
    /// Returns the key's value for a command that uses it. Counts a hit or a miss and sets the
    /// access clock.
    #[inline]
    pub fn read<T: Container>(
        &mut self,
        db: usize,
        key: &Key<'_>,
    ) -> Result<Option<&T>, WrongKind> {
        match self.lookup(db, key) {
            None => Ok(None),
            Some(view) => view.reclaimed().map(Some).ok_or(WrongKind),
        }
    }

    /// Returns the value of a key that the same command has just read; has no side effects. No key
    /// expires meanwhile, so a command can borrow the values of several keys at once.
    pub fn held<T: Container>(&self, db: usize, key: &Key<'_>) -> Option<&T> {
        let entry = self.table(db, key)?.find(key.hash, key.bytes)?.entry();
        if self.is_visible(entry) { entry.object() } else { None }
    }

    /// Starts to edit the key's value; returns `None` if there is no such key.
    #[inline]
    pub fn edit<'s, T: Container>(
        &'s mut self,
        db: usize,
        key: &Key<'s>,
    ) -> Result<Option<Edit<'s, T>>, WrongKind> {
        let Some(place) = self.find(db, key) else { return Ok(None) };
        self.mark_used(place);
        self.edit_at(db, key, place).map(Some)
    }

    #[inline]
    fn edit_at<'s, T: Container>(
        &'s mut self,
        db: usize,
        key: &Key<'s>,
        place: Place,
    ) -> Result<Edit<'s, T>, WrongKind> {
        self.before_change(db, key);
        let value = place.entry().owned_mut::<T>().ok_or(WrongKind)?;
        let moment = value.next_expiry();
        let (key, kind) = (*key, PhantomData);
        let (is_changed, is_new) = (false, false);
        Ok(Edit { slice: self, db, key, place, is_changed, is_new, moment, kind })
    }

    /// Starts to edit the key's value; creates an empty one if there is no such key.
    #[inline]
    pub fn edit_or_new<'s, T: Container>(
        &'s mut self,
        db: usize,
        key: &Key<'s>,
    ) -> Result<Edit<'s, T>, WrongKind> {
        if let Some(place) = self.find(db, key) {
            self.mark_used(place);
            return self.edit_at(db, key, place);
        }
        self.put_silently(db, key, Box::<T>::default().into_object());
        let place = self.find_hidden(db, key).expect("the key was just created");
        let mut edit = self.edit_at(db, key, place)?;
        edit.is_new = true;
        Ok(edit)
    }

    #[inline]
    fn mark_used(&mut self, place: Place) {
        let entry = place.entry();
        entry.put_clock(self.access.used(entry.clock()));
    }

    fn put_silently(&mut self, db: usize, key: &Key<'_>, object: Object) {
        let was_silent = self.set_silent(true);
        let payload = Payload::Apart(Apart::Object(object));
        self.put(db, key, None, payload, Expiry::Clear);
        self.set_silent(was_silent);
    }

    /// Frees an object that was taken out of a value, in small steps if it is large.
    pub fn bury(&mut self, object: Object) {
        self.graveyard.bury_apart(Apart::Object(object));
    }

    /// Sets a key to an object and replaces any old value. An empty (void) object removes the key.
    pub fn set_object(&mut self, db: usize, key: &Key<'_>, object: Object, expiry: Expiry) {
        if object.is_void() {
            self.remove(db, key);
            return;
        }
        let place = self.find(db, key);
        self.put(db, key, place, Payload::Apart(Apart::Object(object)), expiry);
    }
}
