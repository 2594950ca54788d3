//! Values of several elements: read in place, changed in place.

use super::slice::{Expiry, Key, Slice};
use super::table::{Apart, Payload, Place};
use crate::value::{Container, Object, WrongKind};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// A key's value while it is being changed.
///
/// Whoever changes it says so by [`Edit::mark`]; then watches are told when the edit ends. A key
/// whose value is void by then is removed.
pub struct Edit<'s, T: Container> {
    slice: &'s mut Slice,
    db: usize,
    key: Key<'s>,
    place: Place,
    is_changed: bool,
    /// The first moment at which an element expired when the edit began.
    moment: Option<u64>,
    /// Changed, and watches are not told.
    is_changed_untold: bool,
    kind: PhantomData<T>,
}

impl<T: Container> Edit<'_, T> {
    /// Says that the value was changed.
    pub fn mark(&mut self) {
        self.is_changed = true;
    }

    /// The same for a change that watches are not told of.
    pub fn mark_untold(&mut self) {
        self.is_changed_untold = true;
    }
}

impl<T: Container> Deref for Edit<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.place.entry().object().expect("looked at when the edit began")
    }
}

impl<T: Container> DerefMut for Edit<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.place.entry().object_mut().expect("looked at when the edit began")
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
            self.slice.remove_place(db, &key, self.place);
            if self.is_changed {
                self.slice.note_change(db, &key);
            }
        } else if self.is_changed {
            self.slice.touch(db, &key, self.place);
        } else if self.is_changed_untold {
            let was_untold = self.slice.set_untold(true);
            self.slice.touch(db, &key, self.place);
            self.slice.set_untold(was_untold);
        }
    }
}

impl Slice {
    /// The key's value, for a command that uses it: counts a hit or a miss, sets the access clock.
    #[inline]
    pub fn read<T: Container>(
        &mut self,
        db: usize,
        key: &Key<'_>,
    ) -> Result<Option<&T>, WrongKind> {
        match self.lookup(db, key) {
            None => Ok(None),
            Some(view) => view.object().map(Some).ok_or(WrongKind),
        }
    }

    /// The value of a key that has just been read; counts nothing. Nothing falls due meanwhile, so
    /// the values of several keys can be looked at together.
    pub fn held<T: Container>(&self, db: usize, key: &Key<'_>) -> Option<&T> {
        let entry = self.table(db, key)?.find(key.hash, key.bytes)?.entry();
        if self.is_visible(entry) { entry.object() } else { None }
    }

    /// The key's value, to be changed; none if there is no such key.
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
        let entry = place.entry();
        if entry.object::<T>().is_none() {
            return Err(WrongKind);
        }
        let moment = entry.object::<T>().and_then(T::next_expiry);
        let (key, kind) = (*key, PhantomData);
        let (is_changed, is_changed_untold) = (false, false);
        Ok(Edit { slice: self, db, key, place, is_changed, is_changed_untold, moment, kind })
    }

    /// The key's value, to be changed; a void one is made if there is no such key.
    #[inline]
    pub fn edit_or_new<'s, T: Container>(
        &'s mut self,
        db: usize,
        key: &Key<'s>,
    ) -> Result<Edit<'s, T>, WrongKind> {
        let place = match self.find(db, key) {
            Some(place) => {
                self.mark_used(place);
                place
            }
            None => {
                self.put_untold(db, key, Box::<T>::default().into_object());
                self.find_hidden(db, key).expect("it was just put there")
            }
        };
        self.edit_at(db, key, place)
    }

    #[inline]
    fn mark_used(&mut self, place: Place) {
        let entry = place.entry();
        entry.put_clock(self.access.used(entry.clock()));
    }

    fn put_untold(&mut self, db: usize, key: &Key<'_>, object: Object) {
        let was_untold = self.set_untold(true);
        let payload = Payload::Apart(Apart::Object(object));
        self.put(db, key, None, payload, Expiry::Clear);
        self.set_untold(was_untold);
    }

    /// Frees what was taken out of a value, bit by bit if it is much.
    pub fn bury(&mut self, object: Object) {
        self.graveyard.bury_apart(Apart::Object(object));
    }

    /// Sets a key to a value, whatever it was before. A void value removes the key.
    pub fn set_object(&mut self, db: usize, key: &Key<'_>, object: Object, expiry: Expiry) {
        if object.is_void() {
            self.remove(db, key);
            return;
        }
        let place = self.find(db, key);
        self.put(db, key, place, Payload::Apart(Apart::Object(object)), expiry);
    }
}
