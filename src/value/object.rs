//! What all types of several elements have in common, and one of any type.

use super::hash::Hash;
use super::list::List;
use super::set::Set;
use super::sorted_set::SortedSet;
use super::stream::Stream;
use std::fmt::Debug;

/// What type of value a key has.
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
    /// The name, as TYPE replies it and as SCAN takes it.
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

/// The value is of another type than was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongKind;

/// A value of several elements. A key owns it in a box, so that it moves without its elements.
#[allow(clippy::len_without_is_empty)]
pub trait Container: Default + Clone + Debug + Send + Sized + 'static {
    /// The type.
    const KIND: Kind;

    /// How many elements there are.
    fn len(&self) -> usize;

    /// Whether a key with this value is to be removed. A stream may stay without entries.
    fn is_void(&self) -> bool {
        self.len() == 0
    }

    /// What OBJECT ENCODING calls the form in which it is kept.
    fn encoding(&self) -> &'static str;

    /// Bytes of memory behind the box, guessed from `samples` elements where it is large; 0 looks
    /// at all of them.
    fn memory_bytes(&self, samples: usize) -> usize;

    /// How many pieces of memory there are to be freed, more or less.
    fn pieces(&self) -> usize {
        self.len()
    }

    /// Frees some elements, at most about 100 us of work; true when what is left can be dropped
    /// in no time. Nothing else is asked of the value after the first call.
    fn free_step(&mut self) -> bool;

    /// A moment (Unix milliseconds) before which none of its elements expires by itself; none if
    /// none ever does.
    fn next_expiry(&self) -> Option<u64> {
        None
    }

    /// Looks at everything and asserts what must hold. O(n), for tests.
    fn check(&self);

    /// As one of any type.
    fn into_object(self: Box<Self>) -> Object;
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

/// Calls a method of [`Container`] on whichever type it is.
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
    /// The type.
    pub fn kind(&self) -> Kind {
        match self {
            Object::List(_) => Kind::List,
            Object::Set(_) => Kind::Set,
            Object::SortedSet(_) => Kind::SortedSet,
            Object::Hash(_) => Kind::Hash,
            Object::Stream(_) => Kind::Stream,
        }
    }

    /// How many elements there are.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        each!(self, value => value.len())
    }

    /// Whether a key with this value is to be removed.
    pub fn is_void(&self) -> bool {
        each!(self, value => value.is_void())
    }

    /// See [`Container::encoding`].
    pub fn encoding(&self) -> &'static str {
        each!(self, value => value.encoding())
    }

    /// See [`Container::pieces`].
    pub fn pieces(&self) -> usize {
        each!(self, value => value.pieces())
    }

    /// See [`Container::free_step`].
    pub fn free_step(&mut self) -> bool {
        each!(self, value => value.free_step())
    }

    /// See [`Container::memory_bytes`]; the box included.
    pub fn memory_bytes(&self, samples: usize) -> usize {
        each!(self, value => size_of_val(&**value) + value.memory_bytes(samples))
    }
}

/// The one impl block of each type that names its variant.
macro_rules! container_object {
    ($variant:ident) => {
        fn into_object(self: Box<Self>) -> $crate::value::Object {
            $crate::value::Object::$variant(self)
        }
    };
}
pub(super) use container_object;
