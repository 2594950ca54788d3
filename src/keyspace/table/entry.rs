#![allow(unsafe_code)]
//! An entry: one key with its expiry, and its value if the value is small, in one block. Hot.
//!
//! ```text
//!   byte   0        kind (low 4 bits) and flags
//!          1..4     access clock, 24 bits, little endian
//!          4..12    expiry, Unix milliseconds                  if EXPIRY
//!          + 1 | 4  length of the key                          4 if WIDE_KEY
//!          + 0|1|4  length of the value                        none unless INLINE; 4 if WIDE_VALUE
//!          + n      the key
//!          + n      the value: an i64 | the bytes | a pointer to a boxed value
//!
//!   flags  0x10 EXPIRY  0x20 WIDE_KEY  0x40 WIDE_VALUE  0x80 EDITED (changed in place: `raw`)
//!   kinds  0 INT  1 INLINE  2 LARGE  3 LIST  4 SET  5 ZSET  6 HASH  7 STREAM  8 LENT  9 DETACHED
//!          10..15 free; from LARGE to LENT the value is a pointer, see apart.rs
//! ```
//!
//! SET key:000042 "sixteen bytes..." PXAT 1704067200256 creates this entry of 40 bytes:
//!
//! ```text
//!   11  00 00 00  00 f5 51 c2 8c 01 00 00  0a  10  "key:000042"  "sixteen bytes..."
//! ```
//!
//! The fields are not aligned. The size class of the block follows from the entry's content, so
//! neither a size nor a capacity is stored. [`Entry::new`] makes an [`Entry`], which then is in
//! exactly one bucket or in one variable until [`Entry::free`]. Code that has an entry may read it.

use super::apart::Apart;
use super::heap::{Heap, prefetch};
use super::slab;
use crate::value::hash::Hash;
use crate::value::string::{INLINE_BYTES_MAX, Str};
use crate::value::{Container, Kind, ObjectRef};
use bytes::Bytes;
use std::marker::PhantomData;
use std::ptr::NonNull;

pub(super) const KIND_MASK: u8 = 0x0f;
pub(super) const INT: u8 = 0;
const INLINE: u8 = 1;
pub(super) const LARGE: u8 = 2;
pub(super) const LIST: u8 = 3;
pub(super) const SET: u8 = 4;
pub(super) const SORTED_SET: u8 = 5;
pub(super) const HASH: u8 = 6;
pub(super) const STREAM: u8 = 7;
pub(super) const LENT: u8 = 8;
pub(super) const DETACHED: u8 = 9;

const EXPIRY: u8 = 0x10;
const WIDE_KEY: u8 = 0x20;
const WIDE_VALUE: u8 = 0x40;
const EDITED: u8 = 0x80;

/// Bytes of an entry before its expiry: the kind and the access clock.
pub const HEADER_BYTES: usize = 4;

/// Bytes of an expiry, of an integer and of a pointer.
pub const FIELD_BYTES: usize = 8;

/// Bytes of a line of the processor's cache.
const LINE_BYTES: usize = 64;

/// Lines of a longer entry that are asked for behind the first two; the processor follows a longer
/// run by itself.
const TAIL_LINES_MAX: usize = 4;

/// The most that a narrow length can say.
const NARROW_MAX: usize = 255;

const _: () = assert!(INT < INLINE && INLINE < LARGE && LARGE < LIST && STREAM < LENT);
const _: () = assert!(LENT < DETACHED && DETACHED <= KIND_MASK);
const _: () = assert!(KIND_MASK & (EXPIRY | WIDE_KEY | WIDE_VALUE | EDITED) == 0);
const _: () = assert!(EXPIRY as usize / 2 == FIELD_BYTES);
const _: () = assert!(KIND_MASK ^ EXPIRY ^ WIDE_KEY ^ WIDE_VALUE ^ EDITED == 0xff);
const _: () = assert!(size_of::<Entry>() == FIELD_BYTES && size_of::<*mut Bytes>() == FIELD_BYTES);
// Sizes that the memory limits of the tests rely on. The key has 10 bytes; the values are 16 bytes,
// 16 bytes with an expiry, 64 bytes, and an integer.
const _: () = assert!(size_for(10, Some(16), false) == 32);
const _: () = assert!(size_for(10, Some(16), true) == 40);
const _: () = assert!(size_for(10, Some(64), false) == 80);
const _: () = assert!(size_for(10, None, false) == 23);

/// The value of a new entry.
#[derive(Debug)]
pub enum Payload<'v> {
    /// An integer.
    Int(i64),
    /// At most [`INLINE_BYTES_MAX`] bytes, in two parts.
    Inline(&'v [u8], &'v [u8]),
    /// A boxed value.
    Apart(Apart),
}

/// The fields of a new entry.
#[derive(Debug)]
pub struct Draft<'v> {
    /// Name of the key.
    pub key: &'v [u8],
    /// The value.
    pub payload: Payload<'v>,
    /// When the key expires, in Unix milliseconds.
    pub expiry: Option<u64>,
    /// The access clock.
    pub clock: u32,
    /// Whether the value was changed in place before.
    pub is_edited: bool,
}

/// Returns the bytes of an entry. `inline` is the length of an inline value, or `None` for other
/// kinds.
const fn size_for(key_len: usize, inline: Option<usize>, has_expiry: bool) -> usize {
    let expiry = if has_expiry { FIELD_BYTES } else { 0 };
    let value = match inline {
        None => FIELD_BYTES,
        Some(len) => len_bytes(len) + len,
    };
    HEADER_BYTES + expiry + len_bytes(key_len) + key_len + value
}

/// Returns the bytes of a length field.
const fn len_bytes(len: usize) -> usize {
    if len <= NARROW_MAX { 1 } else { 4 }
}

impl Draft<'_> {
    /// Returns the bytes of the entry.
    #[inline]
    pub fn size(&self) -> usize {
        size_for(self.key.len(), self.inline_len(), self.expiry.is_some())
    }

    #[inline]
    fn inline_len(&self) -> Option<usize> {
        match &self.payload {
            Payload::Inline(first, second) => Some(first.len() + second.len()),
            Payload::Int(_) | Payload::Apart(_) => None,
        }
    }

    #[inline]
    fn head(&self) -> u8 {
        let kind = match &self.payload {
            Payload::Int(_) => INT,
            Payload::Inline(..) => INLINE,
            Payload::Apart(apart) => apart.head(),
        };
        let wide_value = self.inline_len().is_some_and(|len| len > NARROW_MAX);
        kind | if self.expiry.is_some() { EXPIRY } else { 0 }
            | if self.key.len() > NARROW_MAX { WIDE_KEY } else { 0 }
            | if wide_value { WIDE_VALUE } else { 0 }
            | if self.is_edited { EDITED } else { 0 }
    }

    /// Writes the entry to `block`, which has at least [`Draft::size`] bytes and overlaps neither
    /// the key nor the value.
    #[inline]
    fn write(self, block: NonNull<u8>) -> Entry {
        let (head, inline_len) = (self.head(), self.inline_len());
        let clock = self.clock.to_le_bytes();
        let mut pen = Pen { at: block.as_ptr() };
        pen.bytes(&[head, clock[0], clock[1], clock[2]]);
        if let Some(at) = self.expiry {
            pen.bytes(&at.to_le_bytes());
        }
        pen.len(self.key.len());
        if let Some(len) = inline_len {
            assert!(len <= INLINE_BYTES_MAX, "a longer value is boxed");
            pen.len(len);
        }
        pen.bytes(self.key);
        match self.payload {
            Payload::Int(number) => pen.bytes(&number.to_le_bytes()),
            Payload::Inline(first, second) => {
                pen.bytes(first);
                pen.bytes(second);
            }
            Payload::Apart(apart) => pen.bytes(&apart.into_address().to_le_bytes()),
        }
        Entry(block)
    }
}

/// Writes fields one after the other.
struct Pen {
    at: *mut u8,
}

impl Pen {
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        // SAFETY: the block has room for all fields of the draft that it was sized for, and does
        // not overlap the draft's sources.
        unsafe {
            self.at.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            self.at = self.at.add(bytes.len());
        }
    }

    #[inline]
    fn len(&mut self, len: usize) {
        match len_bytes(len) {
            1 => self.bytes(&[len as u8]),
            _ => self.bytes(&u32::try_from(len).expect("a length is below 4 GiB").to_le_bytes()),
        }
    }
}

/// Returns whether two byte strings are equal; 8 to 16 bytes are compared without a call of
/// `memcmp`.
#[inline]
fn is_same(first: &[u8], second: &[u8]) -> bool {
    if first.len() <= 16
        && let (Some(first_head), Some(first_tail)) = (first.first_chunk(), first.last_chunk())
        && let (Some(second_head), Some(second_tail)) = (second.first_chunk(), second.last_chunk())
    {
        let head = u64::from_ne_bytes(*first_head) ^ u64::from_ne_bytes(*second_head);
        let tail = u64::from_ne_bytes(*first_tail) ^ u64::from_ne_bytes(*second_tail);
        return head | tail == 0;
    }
    first == second
}

/// Returns the type of the value of an entry of this kind.
fn kind_of(head: u8) -> Kind {
    match head {
        INT | INLINE | LARGE => Kind::String,
        LIST => Kind::List,
        SET => Kind::Set,
        SORTED_SET => Kind::SortedSet,
        HASH => Kind::Hash,
        STREAM => Kind::Stream,
        other => unreachable!("kind {other} of an entry"),
    }
}

/// Offsets and lengths of an entry's fields, in bytes.
#[derive(Clone, Copy)]
struct Shape {
    key_at: usize,
    key_len: usize,
    value_at: usize,
    value_len: usize,
}

/// A pointer to a live entry, see the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry(NonNull<u8>);

impl Entry {
    /// Allocates and writes an entry.
    #[inline]
    pub fn new(heap: &mut Heap, draft: Draft<'_>) -> Entry {
        let block = heap.alloc(draft.size());
        draft.write(block)
    }

    /// Overwrites this entry in its block, if the draft's size has the same size class. Otherwise
    /// returns the draft. The draft must not borrow from this entry, and a boxed value must have
    /// been taken out before.
    #[inline]
    pub fn rewrite<'v>(self, draft: Draft<'v>) -> Result<(), Draft<'v>> {
        if Heap::class(draft.size()) != Heap::class(self.size()) {
            return Err(draft);
        }
        draft.write(self.0);
        Ok(())
    }

    /// Frees the entry's block; a boxed value must have been taken out before.
    #[inline]
    pub fn free(self, heap: &mut Heap) {
        let size = self.size();
        // SAFETY: the block was allocated for a size of this class, and is not read afterwards.
        unsafe { heap.free(self.0, size) }
    }

    /// Moves the entry to another block. The old one must not be used afterwards.
    pub(super) fn relocate(self, heap: &mut Heap) -> Entry {
        let size = self.size();
        let block = heap.alloc(size);
        // SAFETY: both blocks have at least this size.
        unsafe { block.as_ptr().copy_from_nonoverlapping(self.0.as_ptr(), size) };
        self.free(heap);
        Entry(block)
    }

    /// Returns the bytes of the entry, which must not be used after it is changed or freed.
    pub(super) fn bytes<'a>(self) -> &'a [u8] {
        self.slice(0, self.size())
    }

    /// Creates an entry from the bytes of another one, which is not used any more.
    pub(super) fn of_bytes(heap: &mut Heap, bytes: &[u8]) -> Entry {
        let block = heap.alloc(bytes.len());
        // SAFETY: the new block has at least this size.
        unsafe { block.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Entry(block)
    }

    /// Returns the entry at an address that [`Entry::address`] returned.
    #[inline]
    pub fn at(address: u64) -> Entry {
        let pointer = std::ptr::with_exposed_provenance_mut::<u8>(address as usize);
        Entry(NonNull::new(pointer).expect("an entry has an address"))
    }

    /// Returns the address of the block.
    #[inline]
    pub fn address(self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }

    /// Asks the processor for the first two lines: most values end on the second.
    #[inline]
    pub fn prefetch(self) {
        let start = self.0.as_ptr().cast_const();
        prefetch(start);
        prefetch(start.wrapping_add(LINE_BYTES));
    }

    /// Asks the processor for the first line and for the header of the page of its block: what is
    /// read when the entry leaves. The entry may be gone by now.
    #[inline]
    pub fn prefetch_block(self) {
        let start = self.0.as_ptr().cast_const();
        prefetch(start);
        prefetch(start.map_addr(slab::page_of));
    }

    /// Asks the processor for the lines behind those two, up to [`TAIL_LINES_MAX`]; reads the head.
    #[inline]
    pub fn prefetch_end(self) {
        let start = self.0.as_ptr().cast_const();
        let end = start.wrapping_add(self.size()).addr();
        let mut line = start.wrapping_add(2 * LINE_BYTES - start.addr() % LINE_BYTES);
        for _ in 0..TAIL_LINES_MAX {
            if line.addr() >= end {
                break;
            }
            prefetch(line);
            line = line.wrapping_add(LINE_BYTES);
        }
    }

    #[inline]
    fn byte(self, at: usize) -> u8 {
        // SAFETY: only called with offsets of fields that exist according to the header byte.
        unsafe { self.0.as_ptr().add(at).read() }
    }

    #[inline]
    fn u32_at(self, at: usize) -> u32 {
        // SAFETY: only called with offsets of fields that exist according to the header byte.
        u32::from_le(unsafe { self.0.as_ptr().add(at).cast::<u32>().read_unaligned() })
    }

    #[inline]
    fn u64_at(self, at: usize) -> u64 {
        // SAFETY: only called with offsets of fields that exist according to the header byte.
        u64::from_le(unsafe { self.0.as_ptr().add(at).cast::<u64>().read_unaligned() })
    }

    #[inline]
    pub(super) fn put(self, at: usize, bytes: &[u8]) {
        // SAFETY: only called for fields that exist according to the header byte, by code that may
        // write.
        unsafe { self.0.as_ptr().add(at).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    }

    #[inline]
    pub(super) fn head(self) -> u8 {
        self.byte(0)
    }

    #[inline]
    fn shape(self) -> Shape {
        let head = self.head();
        let mut at = HEADER_BYTES + if head & EXPIRY != 0 { FIELD_BYTES } else { 0 };
        let key_len = if head & WIDE_KEY == 0 {
            at += 1;
            usize::from(self.byte(at - 1))
        } else {
            at += 4;
            self.u32_at(at - 4) as usize
        };
        let value_len = if head & KIND_MASK != INLINE {
            FIELD_BYTES
        } else if head & WIDE_VALUE == 0 {
            at += 1;
            usize::from(self.byte(at - 1))
        } else {
            at += 4;
            self.u32_at(at - 4) as usize
        };
        Shape { key_at: at, key_len, value_at: at + key_len, value_len }
    }

    #[inline]
    fn slice<'a>(self, at: usize, len: usize) -> &'a [u8] {
        // SAFETY: only called with the bounds of a field; the callers tie the lifetime.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().add(at), len) }
    }

    /// Returns the bytes of the entry, not rounded up to its size class.
    #[inline]
    pub fn size(self) -> usize {
        let shape = self.shape();
        shape.value_at + shape.value_len
    }

    /// Returns whether this is the entry of `key`.
    #[inline]
    pub fn is_key(self, key: &[u8]) -> bool {
        let head = self.head();
        if head & (WIDE_KEY | WIDE_VALUE) == 0 {
            // Both lengths take one byte, and an expiry's flag is twice its bytes.
            let len_at = HEADER_BYTES + usize::from(head & EXPIRY) / 2;
            let key_at = len_at + 1 + usize::from(head & KIND_MASK == INLINE);
            return usize::from(self.byte(len_at)) == key.len()
                && is_same(self.slice(key_at, key.len()), key);
        }
        let shape = self.shape();
        shape.key_len == key.len() && is_same(self.slice(shape.key_at, shape.key_len), key)
    }

    /// Returns the key, which must not be used after the entry is changed or freed.
    #[inline]
    pub fn key<'a>(self) -> &'a [u8] {
        let shape = self.shape();
        self.slice(shape.key_at, shape.key_len)
    }

    /// Returns when the key expires, in Unix milliseconds.
    #[inline]
    pub fn expiry(self) -> Option<u64> {
        (self.head() & EXPIRY != 0).then(|| self.u64_at(HEADER_BYTES))
    }

    /// Returns a lower bound, in Unix milliseconds: neither the key nor an element expires earlier.
    #[inline]
    pub fn moment(self) -> Option<u64> {
        let own = self.expiry();
        let elements = match self.head() & KIND_MASK {
            HASH | LENT => self.object::<Hash>().and_then(Container::next_expiry),
            _ => None,
        };
        own.into_iter().chain(elements).min()
    }

    /// Returns whether elements of the value have an expiry.
    #[inline]
    pub fn has_moments(self) -> bool {
        matches!(self.head() & KIND_MASK, HASH | LENT)
            && self.object::<Hash>().is_some_and(|hash| hash.next_expiry().is_some())
    }

    /// Overwrites the expiry of an entry that has one.
    pub fn put_expiry(self, at: u64) {
        assert!(self.head() & EXPIRY != 0, "an entry without an expiry has no room for one");
        self.put(HEADER_BYTES, &at.to_le_bytes());
    }

    /// Returns the access clock, 24 bits.
    #[inline]
    pub fn clock(self) -> u32 {
        self.u32_at(0) >> 8
    }

    /// Sets the access clock; does not write if the clock already has this value.
    #[inline]
    pub fn put_clock(self, clock: u32) {
        if self.clock() != clock {
            self.put(1, &clock.to_le_bytes()[..3]);
        }
    }

    /// Returns whether the value was changed in place.
    #[inline]
    pub fn is_edited(self) -> bool {
        self.head() & EDITED != 0
    }

    /// Records that the value was changed in place.
    pub fn mark_edited(self) {
        self.put(0, &[self.head() | EDITED]);
    }

    /// Returns the type of the value.
    pub fn kind(self) -> Kind {
        match self.head() & KIND_MASK {
            LENT => self.lent().kind(),
            DETACHED => kind_of(self.byte(self.value_at())),
            own => kind_of(own),
        }
    }

    /// Returns the value if it is a string. It must not be used after the entry is changed or
    /// freed.
    #[inline]
    pub fn string<'a>(self) -> Option<Str<'a>> {
        let shape = self.shape();
        match self.head() & KIND_MASK {
            INT => Some(Str::Int(self.u64_at(shape.value_at) as i64)),
            INLINE => Some(Str::Bytes(self.slice(shape.value_at, shape.value_len))),
            // SAFETY: the pointer leads to a box that this entry owns.
            LARGE => Some(Str::Large(unsafe { &*self.large_pointer() })),
            _ => None,
        }
    }

    /// Overwrites the value if it is an integer; otherwise returns false.
    #[inline]
    pub fn put_int(self, number: i64) -> bool {
        let is_int = self.head() & KIND_MASK == INT;
        if is_int {
            self.put(self.shape().value_at, &number.to_le_bytes());
        }
        is_int
    }

    /// Returns whether the value is a long string, which is boxed.
    #[inline]
    pub fn is_large(self) -> bool {
        self.head() & KIND_MASK == LARGE
    }

    /// Returns whether the value is boxed.
    #[inline]
    pub fn is_apart(self) -> bool {
        matches!(self.head() & KIND_MASK, LARGE..=LENT)
    }

    /// Returns the offset of the value in the entry.
    pub(super) fn value_at(self) -> usize {
        self.shape().value_at
    }

    pub(super) fn pointer<T>(self) -> *mut T {
        assert!(self.is_apart(), "only a boxed value has a pointer");
        let address = self.u64_at(self.shape().value_at) as usize;
        std::ptr::with_exposed_provenance_mut(address)
    }

    pub(super) fn large_pointer(self) -> *mut Bytes {
        assert!(self.is_large(), "the value is a long string");
        self.pointer()
    }

    /// Returns the number of bytes for which the buffer of a long string has room. Returns 0 if
    /// something else references the buffer, so that a change copies it.
    fn large_room(self) -> usize {
        // SAFETY: the entry owns the box; nothing else uses it while this function runs.
        let large = unsafe { &mut *self.large_pointer() };
        match std::mem::take(large).try_into_mut() {
            Ok(buffer) => {
                let room = buffer.capacity();
                *large = buffer.freeze();
                room
            }
            Err(shared) => {
                *large = shared;
                0
            }
        }
    }

    /// Appends `tail` and then zeros to an inline value, up to `len` bytes in all. Returns false,
    /// without a change, if the block has no room or the value is not inline.
    pub fn extend(self, tail: &[u8], len: usize) -> bool {
        let (head, shape) = (self.head(), self.shape());
        if head & KIND_MASK != INLINE || len > INLINE_BYTES_MAX {
            return false;
        }
        let old_len = shape.value_len;
        assert!(old_len + tail.len() <= len, "a value only grows here");
        let same_width = len_bytes(len) == len_bytes(old_len);
        let size = shape.value_at + len;
        if !same_width || Heap::class(size) != Heap::class(shape.value_at + old_len) {
            return false;
        }
        self.put(shape.value_at + old_len, tail);
        // SAFETY: the block is as large as its size class, which is also the class of the new size.
        unsafe {
            let end = self.0.as_ptr().add(shape.value_at + old_len + tail.len());
            end.write_bytes(0, len - old_len - tail.len());
        }
        let len_at = shape.key_at - len_bytes(len);
        self.put(len_at, &(len as u32).to_le_bytes()[..len_bytes(len)]);
        true
    }

    /// Returns the bytes of an inline value for changing them in place.
    pub fn inline_mut<'a>(self) -> Option<&'a mut [u8]> {
        let shape = self.shape();
        (self.head() & KIND_MASK == INLINE).then(|| {
            // SAFETY: the bounds of the value; only the caller uses the entry.
            unsafe {
                let start = self.0.as_ptr().add(shape.value_at);
                std::slice::from_raw_parts_mut(start, shape.value_len)
            }
        })
    }
}

/// Read access to a live entry.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    entry: Entry,
    life: PhantomData<&'a [u8]>,
}

impl<'a> View<'a> {
    /// Creates a view of an entry, which must not change while the view exists.
    #[inline]
    pub(in crate::keyspace) fn new(entry: Entry) -> View<'a> {
        View { entry, life: PhantomData }
    }

    /// Returns the key.
    pub fn key(&self) -> &'a [u8] {
        self.entry.key()
    }

    /// Returns the type of the value.
    pub fn kind(&self) -> Kind {
        self.entry.kind()
    }

    /// Returns the value if it is a string.
    #[inline]
    pub fn string(&self) -> Option<Str<'a>> {
        self.entry.string()
    }

    /// Returns the value if it has type `T`.
    #[inline]
    pub fn object<T: Container>(&self) -> Option<&'a T> {
        self.entry.object()
    }

    /// Returns the value if it has type `T`, and takes it back if it was lent and no reader is
    /// left. The caller has no other reference to the value.
    #[inline]
    pub(in crate::keyspace) fn reclaimed<T: Container>(&self) -> Option<&'a T> {
        self.entry.reclaimed()
    }

    /// Returns the name of the value's encoding, as OBJECT ENCODING replies it.
    pub fn encoding(&self) -> &'static str {
        match (self.string(), self.entry.any_object()) {
            (Some(value), _) => {
                let expires = self.expiry().is_some();
                value.encoding_name(self.is_edited(), self.key().len(), expires)
            }
            (None, Some(object)) => object.encoding(),
            (None, None) => unreachable!("a value is a string or of several elements"),
        }
    }

    /// Returns the number of elements of the value; 0 for a string.
    pub fn elements(&self) -> usize {
        self.with_object(|object| object.len()).unwrap_or(0)
    }

    /// Calls `look` with a value of several elements, of any type; returns `None` for a string.
    pub fn with_object<R>(&self, look: impl FnOnce(ObjectRef<'a>) -> R) -> Option<R> {
        self.entry.any_object().map(look)
    }

    /// Returns the number of bytes that are copied or cleared if the string is changed in place and
    /// has at least `len` bytes afterwards.
    pub fn bytes_to_move(&self, len: usize) -> usize {
        let old_len = match self.entry.is_large().then(|| self.string()) {
            Some(Some(value)) => value.len(),
            _ => return len,
        };
        match self.entry.large_room() {
            0 => len.max(old_len),
            room if len <= room => len.saturating_sub(old_len),
            _ => len,
        }
    }

    /// Returns when the key expires, in Unix milliseconds.
    #[inline]
    pub fn expiry(&self) -> Option<u64> {
        self.entry.expiry()
    }

    /// Returns the access clock, 24 bits; their meaning depends on `maxmemory-policy`.
    pub fn access_clock(&self) -> u32 {
        self.entry.clock()
    }

    /// Returns whether the value was changed in place since it was set.
    pub fn is_edited(&self) -> bool {
        self.entry.is_edited()
    }

    /// Returns the address of the entry. It stays the same as long as the entry's size class does.
    pub fn address(&self) -> u64 {
        self.entry.address()
    }

    /// Returns the bytes of the entry and of its value, in whole blocks. For a large value,
    /// estimates them from `samples` elements.
    pub fn memory_bytes(&self, samples: usize) -> usize {
        let apart = match self.entry.is_apart().then(|| self.entry.string()) {
            Some(Some(Str::Large(bytes))) => Heap::class(bytes.len()) + size_of::<Bytes>(),
            Some(_) => self.with_object(|object| object.memory_bytes(samples)).unwrap_or(0),
            None => 0,
        };
        Heap::class(self.entry.size()) + apart
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(draft: Draft<'_>) -> Vec<u8> {
        let mut heap = Heap::default();
        let entry = Entry::new(&mut heap, draft);
        let bytes = entry.slice(0, entry.size()).to_vec();
        if entry.is_apart() {
            let Apart::Large(large) = entry.take_apart() else { panic!("a long string") };
            assert_eq!(large.len(), 5_000);
        }
        entry.free(&mut heap);
        assert_eq!(heap.used_bytes(), 0);
        bytes
    }

    fn draft<'v>(key: &'v [u8], payload: Payload<'v>, expiry: Option<u64>) -> Draft<'v> {
        Draft { key, payload, expiry, clock: 0, is_edited: false }
    }

    #[test]
    fn the_layout_is_frozen() {
        let value = Payload::Inline(b"sixteen ", b"bytes...");
        let bytes = bytes_of(draft(b"key:000042", value, Some(1_704_067_200_256)));
        let mut expected = b"\x11\0\0\0\0\xf5\x51\xc2\x8c\x01\0\0\x0a\x10".to_vec();
        expected.extend_from_slice(b"key:000042sixteen bytes...");
        assert_eq!((&bytes, bytes.len()), (&expected, 40));
        let clocked = Draft { clock: 0x01_0203, ..draft(b"k", Payload::Int(-2), None) };
        let expected = b"\x00\x03\x02\x01\x01k\xfe\xff\xff\xff\xff\xff\xff\xff";
        assert_eq!(bytes_of(clocked), expected);
        let (key, value) = ([b'k'; 256], [b'v'; 257]);
        let edited = draft(&key, Payload::Inline(&value, b""), None);
        let bytes = bytes_of(Draft { is_edited: true, ..edited });
        assert_eq!(&bytes[..12], b"\xe1\0\0\0\x00\x01\0\0\x01\x01\0\0");
        assert_eq!(bytes.len(), 12 + 256 + 257);
        let large = Payload::Apart(Apart::Large(Box::new(Bytes::from(vec![1; 5_000]))));
        let bytes = bytes_of(draft(b"k", large, None));
        assert_eq!((bytes[0], bytes.len()), (LARGE, 4 + 1 + 1 + 8));
    }

    #[test]
    fn byte_strings_of_any_length_are_compared() {
        let text: Vec<u8> = (0..40).collect();
        for len in 0..text.len() {
            assert!(is_same(&text[..len], &text.clone()[..len]));
            for at in 0..len {
                let mut other = text[..len].to_vec();
                other[at] ^= 0x80;
                assert!(!is_same(&text[..len], &other));
            }
        }
    }
}
