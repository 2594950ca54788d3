#![allow(unsafe_code)]
//! Values outside of their entry: long strings, and values of several elements. Hot.
//!
//! ```text
//!            the entry's pointer leads to      owners
//!   plain    a box of the value's type         the entry
//!   lent     an Object with a count (Arc)      the entry, and readers on any thread
//!   detached nothing: only the type is kept    a transaction, which stores a value at its end
//!
//!   plain --lend--> lent --reclaim: the last reader has let go--> plain
//!                        '--owned_mut: somebody still reads--> plain, with a copy
//! ```
//! Nobody changes an object that has more than one owner. Whichever owner lets go last frees it, so
//! an entry with a lent value may be removed at any time.

use super::entry::{
    DETACHED, Entry, HASH, INT, KIND_MASK, LARGE, LENT, LIST, SET, SORTED_SET, STREAM,
};
use crate::value::string::large_grown;
use crate::value::{Container, Kind, Object, ObjectRef};
use bytes::Bytes;
use std::sync::Arc;

/// A value outside of its entry.
#[derive(Debug)]
pub enum Apart {
    /// A long string.
    Large(Box<Bytes>),
    /// A value of several elements.
    Object(Object),
    /// A value of several elements that has been lent.
    Lent(Arc<Object>),
}

/// Returns the kind of an entry that owns a boxed value of this type.
const fn head_of(kind: Kind) -> u8 {
    match kind {
        Kind::String => LARGE,
        Kind::List => LIST,
        Kind::Set => SET,
        Kind::SortedSet => SORTED_SET,
        Kind::Hash => HASH,
        Kind::Stream => STREAM,
    }
}

impl Apart {
    pub(super) fn head(&self) -> u8 {
        match self {
            Apart::Large(_) => LARGE,
            Apart::Object(object) => head_of(object.kind()),
            Apart::Lent(_) => LENT,
        }
    }

    /// Returns the address of the value, and gives up its ownership.
    pub(super) fn into_address(self) -> u64 {
        fn expose<T>(value: Box<T>) -> u64 {
            Box::into_raw(value).expose_provenance() as u64
        }
        match self {
            Apart::Large(bytes) => expose(bytes),
            Apart::Object(Object::List(list)) => expose(list),
            Apart::Object(Object::Set(set)) => expose(set),
            Apart::Object(Object::SortedSet(set)) => expose(set),
            Apart::Object(Object::Hash(hash)) => expose(hash),
            Apart::Object(Object::Stream(stream)) => expose(stream),
            Apart::Lent(object) => Arc::into_raw(object).expose_provenance() as u64,
        }
    }
}

impl Entry {
    /// Returns the value if it has type `T`. It must not be used after it is changed or freed.
    #[inline]
    pub fn object<'a, T: Container>(self) -> Option<&'a T> {
        let kind = self.head() & KIND_MASK;
        if kind == head_of(T::KIND) {
            // SAFETY: the kind tells the type of the box, which this entry owns.
            return Some(unsafe { &*self.pointer::<T>() });
        }
        if kind == LENT { self.lent_object() } else { None }
    }

    #[cold]
    fn lent_object<'a, T: Container>(self) -> Option<&'a T> {
        T::of_object(self.lent())
    }

    /// Returns the value for changing it, if the entry alone owns it and it has type `T`. Only the
    /// caller may use it meanwhile.
    #[inline]
    fn object_mut<'a, T: Container>(self) -> Option<&'a mut T> {
        let is_it = self.head() & KIND_MASK == head_of(T::KIND);
        // SAFETY: as above; only the caller uses the entry.
        is_it.then(|| unsafe { &mut *self.pointer::<T>() })
    }

    /// Returns the value for changing it, if it has type `T`. Copies a lent value that somebody
    /// still reads. References to the value must not be used afterwards.
    #[inline]
    pub fn owned_mut<'a, T: Container>(self) -> Option<&'a mut T> {
        self.object_mut().or_else(|| self.own_lent())
    }

    #[cold]
    fn own_lent<'a, T: Container>(self) -> Option<&'a mut T> {
        if !self.is_lent() || self.kind() != T::KIND {
            return None;
        }
        let object = self.take_apart().into_object().expect("only objects are lent");
        self.put_apart(Apart::Object(object));
        self.object_mut()
    }

    /// Returns the value if it has type `T`, and takes a lent value back if no reader is left.
    /// References to the value must not be used afterwards.
    #[inline]
    pub fn reclaimed<'a, T: Container>(self) -> Option<&'a T> {
        if self.head() & KIND_MASK == head_of(T::KIND) {
            return self.object();
        }
        self.reclaim_lent()
    }

    #[cold]
    fn reclaim_lent<'a, T: Container>(self) -> Option<&'a T> {
        self.reclaim();
        self.object()
    }

    /// Returns the value, if it has several elements. It must not be used after it is changed or
    /// freed.
    pub fn any_object<'a>(self) -> Option<ObjectRef<'a>> {
        // SAFETY: the kind tells what the pointer leads to, and the entry owns it.
        let object = unsafe {
            match self.head() & KIND_MASK {
                LIST => ObjectRef::List(&*self.pointer()),
                SET => ObjectRef::Set(&*self.pointer()),
                SORTED_SET => ObjectRef::SortedSet(&*self.pointer()),
                HASH => ObjectRef::Hash(&*self.pointer()),
                STREAM => ObjectRef::Stream(&*self.pointer()),
                LENT => self.lent().by_ref(),
                _ => return None,
            }
        };
        Some(object)
    }

    /// Returns a lent value.
    pub(super) fn lent<'a>(self) -> &'a Object {
        assert!(self.is_lent(), "only a lent value is shared");
        // SAFETY: this entry is one of the owners.
        unsafe { &*self.pointer::<Object>() }
    }

    /// Returns whether the value has been lent and was not taken back yet.
    #[inline]
    pub fn is_lent(self) -> bool {
        self.head() & KIND_MASK == LENT
    }

    /// Shares a value of several elements with a reader. Returns `None` for a string.
    pub fn lend(self) -> Option<Arc<Object>> {
        if !self.is_apart() || self.is_large() {
            return None;
        }
        let object = match self.take_apart() {
            Apart::Lent(object) => object,
            Apart::Object(object) => Arc::new(object),
            Apart::Large(_) => unreachable!("the kind was checked above"),
        };
        self.put_apart(Apart::Lent(Arc::clone(&object)));
        Some(object)
    }

    /// Takes a lent value back if no reader is left. Returns whether the entry is the only owner of
    /// its value. References to the value must not be used afterwards.
    #[cold]
    pub fn reclaim(self) -> bool {
        if !self.is_lent() {
            return true;
        }
        let Apart::Lent(object) = self.take_apart() else {
            unreachable!("the kind was checked above")
        };
        let (apart, is_alone) = match Arc::try_unwrap(object) {
            Ok(object) => (Apart::Object(object), true),
            Err(object) => (Apart::Lent(object), false),
        };
        self.put_apart(apart);
        is_alone
    }

    /// Takes a boxed value out of the entry, which becomes a stub: it keeps its key, its expiry and
    /// the type of the value.
    pub fn detach(self) -> Apart {
        assert!(self.is_apart(), "only a boxed value leaves its entry");
        let head = head_of(self.kind());
        let apart = self.take_apart();
        self.put(0, &[self.head() & !KIND_MASK | DETACHED]);
        self.put(self.value_at(), &[head]);
        apart
    }

    /// Returns whether the entry is a stub, whose value is with a transaction.
    #[inline]
    pub fn is_detached(self) -> bool {
        self.head() & KIND_MASK == DETACHED
    }

    /// Takes a boxed value out of the entry. The entry is an integer then, and may be freed or
    /// rewritten.
    pub fn take_apart(self) -> Apart {
        // SAFETY: the kind tells what the pointer leads to. The entry owns it until the header byte
        // is overwritten below.
        let apart = unsafe {
            match self.head() & KIND_MASK {
                LIST => Apart::Object(Object::List(Box::from_raw(self.pointer()))),
                SET => Apart::Object(Object::Set(Box::from_raw(self.pointer()))),
                SORTED_SET => Apart::Object(Object::SortedSet(Box::from_raw(self.pointer()))),
                HASH => Apart::Object(Object::Hash(Box::from_raw(self.pointer()))),
                STREAM => Apart::Object(Object::Stream(Box::from_raw(self.pointer()))),
                LENT => Apart::Lent(Arc::from_raw(self.pointer::<Object>().cast_const())),
                _ => Apart::Large(Box::from_raw(self.large_pointer())),
            }
        };
        self.put(0, &[self.head() & !KIND_MASK | INT]);
        self.put_int(0);
        apart
    }

    /// Puts a boxed value into an entry from which [`Entry::take_apart`] has taken the value.
    fn put_apart(self, apart: Apart) {
        assert!(self.head() & KIND_MASK == INT, "the entry owns nothing else");
        let at = self.value_at();
        self.put(0, &[self.head() & !KIND_MASK | apart.head()]);
        self.put(at, &apart.into_address().to_le_bytes());
    }

    /// Appends `tail` and then zeros to a long string, up to `len` bytes in all. Returns its bytes
    /// for changing them in place. A string that a reply shares is copied first.
    pub fn large_mut<'a>(self, tail: &[u8], len: usize) -> &'a mut [u8] {
        // SAFETY: the entry owns the box; nothing else uses it while the entry is changed.
        let large = unsafe { &mut *self.large_pointer() };
        let mut buffer = large_grown(std::mem::take(large), tail, len);
        let start = buffer.as_mut_ptr();
        *large = buffer.freeze();
        assert_eq!(large.as_ptr(), start.cast_const(), "freezing moves nothing");
        // SAFETY: only this entry owns the buffer. It is read only through `large`, which is not
        // used as long as the caller uses these bytes.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }
}

impl Apart {
    /// Returns a value of several elements; copies one that others read. Returns `None` for a
    /// string.
    pub fn into_object(self) -> Option<Object> {
        match self {
            Apart::Large(_) => None,
            Apart::Object(object) => Some(object),
            Apart::Lent(object) => Some(Arc::unwrap_or_clone(object)),
        }
    }
}
