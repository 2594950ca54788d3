//! The [`Container`] trait that all multi-element types implement, and [`Object`], one value of any
//! such type.

use super::hash::Hash;
use super::list::List;
use super::set::Set;
use super::sorted_set::SortedSet;
use super::stream::Stream;
use std::fmt::Debug;

/// The type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    String,
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set.
    SortedSet,
    /// A hash.
    Hash,
    /// A stream.
    Stream,
}

impl Kind {
    /// Returns the name that TYPE replies and that SCAN's TYPE option accepts.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::SortedSet => "zset",
            Kind::Hash => "hash",
            Kind::Stream => "stream",
        }
    }
}

/// Error: the value has a different type than the operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongKind;

/// A value of several elements. A key owns the value in a box, so moving the key does not move the
/// elements. Several threads may read a value at the same time (`Sync`): reading it changes
/// nothing, not even a cache.
#[allow(clippy::len_without_is_empty)]
pub trait Container: Default + Clone + Debug + Send + Sync + Sized + 'static {
    /// Type of the value.
    const KIND: Kind;

    /// Returns the number of elements.
    fn len(&self) -> usize;

    /// Returns whether the keyspace must delete a key with this value. A stream may stay without
    /// entries.
    fn is_void(&self) -> bool {
        self.len() == 0
    }

    /// Returns the name of the current encoding, as OBJECT ENCODING replies it.
    fn encoding(&self) -> &'static str;

    /// Returns the bytes of memory behind the box. Large values may estimate from `samples`
    /// elements; with `samples` 0 every element is counted.
    fn memory_bytes(&self, samples: usize) -> usize;

    /// Returns the approximate number of allocations to free.
    fn pieces(&self) -> usize {
        self.len()
    }

    /// Frees some elements: at most about 100 us of work. Returns true when dropping the rest takes
    /// negligible time. After the first call the value must not be used for anything else.
    fn free_step(&mut self) -> bool;

    /// Returns a lower bound on the first expiry of any element (Unix milliseconds). Returns none
    /// if no element expires.
    fn next_expiry(&self) -> Option<u64> {
        None
    }

    /// Asserts the invariants of every element. O(n), for tests.
    fn check(&self);

    /// Converts the boxed value into an [`Object`].
    fn into_object(self: Box<Self>) -> Object;

    /// Returns the value inside an [`Object`], if it has this type.
    fn of_object(object: &Object) -> Option<&Self>;
}

/// A value of several elements, of any type.
#[derive(Clone, Debug)]
pub enum Object {
    /// A list.
    List(Box<List>),
    /// A set.
    Set(Box<Set>),
    /// A sorted set.
    SortedSet(Box<SortedSet>),
    /// A hash.
    Hash(Box<Hash>),
    /// A stream.
    Stream(Box<Stream>),
}

/// A borrowed value of several elements, of any type.
#[derive(Clone, Copy, Debug)]
pub enum ObjectRef<'a> {
    /// A list.
    List(&'a List),
    /// A set.
    Set(&'a Set),
    /// A sorted set.
    SortedSet(&'a SortedSet),
    /// A hash.
    Hash(&'a Hash),
    /// A stream.
    Stream(&'a Stream),
}

/// Calls a method of [`Container`] on the value inside an [`Object`], whatever its type.
macro_rules! each {
    ($object:expr, $value:ident => $result:expr) => {
        match $object {
            Object::List($value) => $result,
            Object::Set($value) => $result,
            Object::SortedSet($value) => $result,
            Object::Hash($value) => $result,
            Object::Stream($value) => $result,
        }
    };
}

impl Object {
    /// Returns the type.
    pub fn kind(&self) -> Kind {
        match self {
            Object::List(_) => Kind::List,
            Object::Set(_) => Kind::Set,
            Object::SortedSet(_) => Kind::SortedSet,
            Object::Hash(_) => Kind::Hash,
            Object::Stream(_) => Kind::Stream,
        }
    }

    /// Returns the value as a reference.
    pub fn by_ref(&self) -> ObjectRef<'_> {
        match self {
            Object::List(list) => ObjectRef::List(list),
            Object::Set(set) => ObjectRef::Set(set),
            Object::SortedSet(set) => ObjectRef::SortedSet(set),
            Object::Hash(hash) => ObjectRef::Hash(hash),
            Object::Stream(stream) => ObjectRef::Stream(stream),
        }
    }

    /// Returns whether the keyspace must delete a key with this value. See [`Container::is_void`].
    pub fn is_void(&self) -> bool {
        each!(self, value => value.is_void())
    }

    /// Returns the approximate number of allocations to free. See [`Container::pieces`].
    pub fn pieces(&self) -> usize {
        each!(self, value => value.pieces())
    }

    /// Frees some elements; true when the rest can be dropped at once. See
    /// [`Container::free_step`].
    pub fn free_step(&mut self) -> bool {
        each!(self, value => value.free_step())
    }
}

/// Calls a method of [`Container`] on the value inside an [`ObjectRef`], whatever its type.
macro_rules! each_ref {
    ($object:expr, $value:ident => $result:expr) => {
        match $object {
            ObjectRef::List($value) => $result,
            ObjectRef::Set($value) => $result,
            ObjectRef::SortedSet($value) => $result,
            ObjectRef::Hash($value) => $result,
            ObjectRef::Stream($value) => $result,
        }
    };
}

impl ObjectRef<'_> {
    /// Returns the number of elements.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(self) -> usize {
        each_ref!(self, value => value.len())
    }

    /// Returns the name of the current encoding. See [`Container::encoding`].
    pub fn encoding(self) -> &'static str {
        each_ref!(self, value => value.encoding())
    }

    /// Returns the bytes of memory, including the box. See [`Container::memory_bytes`].
    pub fn memory_bytes(self, samples: usize) -> usize {
        each_ref!(self, value => size_of_val(value) + value.memory_bytes(samples))
    }

    /// Returns a copy of the value.
    pub fn to_object(self) -> Object {
        each_ref!(self, value => Box::new(value.clone()).into_object())
    }
}

/// Implements [`Container::into_object`] and [`Container::of_object`] for the type of the given
/// variant.
macro_rules! container_object {
    ($variant:ident) => {
        fn into_object(self: Box<Self>) -> $crate::value::Object {
            $crate::value::Object::$variant(self)
        }

        fn of_object(object: &$crate::value::Object) -> Option<&Self> {
            match object {
                $crate::value::Object::$variant(value) => Some(value),
                _ => None,
            }
        }
    };
}
pub(super) use container_object;
