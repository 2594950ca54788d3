#![allow(unsafe_code)]
//! The directory of a table: finds its buckets, in chunks of 32, through up to two levels. Hot.
//!
//! ```text
//!   buckets       root points at
//!   0             nothing
//!   1..=32        the chunk
//!   ..=16,384     a segment: an array of up to 512 Refs, each with a chunk and its summary
//!   more          an array of addresses of segments of 512 Refs
//!
//!   Ref, 16 bytes: address of the chunk | Tick: lower bound of its keys' expiry | 0
//! ```
//!
//! Only the last chunk and the last array may be shorter than full, and their length follows from
//! the number of buckets. A chunk takes the next of [`CHUNK_STEPS`] (each a size class), an array
//! the next power of two. No capacity is stored. The most that one step moves is an array of
//! addresses: 8 bytes per 16,384 buckets, or 6 KiB for 50M keys in one hash slot.

use super::bucket::{BUCKET_BYTES, Bucket};
use super::heap::Heap;
use crate::keyspace::tick::Tick;
use std::ptr::NonNull;

/// Buckets of a full chunk.
pub const CHUNK_BUCKETS: u32 = 32;

/// Chunks of a full segment.
const SEGMENT_CHUNKS: u32 = 512;

/// The possible capacities of a chunk, in buckets.
const CHUNK_STEPS: [u32; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32];

/// Items of the shortest array.
const ARRAY_MIN: u32 = 4;

const _: () = assert!(size_of::<Ref>() == 16);
const _: () = assert!(CHUNK_STEPS[CHUNK_STEPS.len() - 1] == CHUNK_BUCKETS);
const _: () = assert!(SEGMENT_CHUNKS.is_power_of_two() && CHUNK_BUCKETS.is_power_of_two());

/// A chunk and its summary: a tick before which none of its keys or elements has expired.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Ref {
    chunk: *mut u8,
    earliest: Tick,
    spare: u32,
}

/// The buckets of one table.
#[derive(Debug)]
pub struct Directory {
    root: *mut u8,
    buckets: u32,
}

/// Returns the capacity of the last chunk when it holds `len` buckets.
pub fn chunk_room(len: u32) -> u32 {
    assert!(0 < len && len <= CHUNK_BUCKETS);
    CHUNK_STEPS[CHUNK_STEPS.partition_point(|&step| step < len)]
}

/// Returns the capacity of an array when it holds `len` items.
fn array_room(len: u32) -> u32 {
    len.next_power_of_two().max(ARRAY_MIN)
}

impl Directory {
    /// A directory without buckets.
    pub const EMPTY: Directory = Directory { root: std::ptr::null_mut(), buckets: 0 };

    /// Returns the number of buckets.
    #[inline]
    pub fn len(&self) -> u32 {
        self.buckets
    }

    /// Returns the number of chunks.
    #[inline]
    pub fn chunks(&self) -> u32 {
        self.buckets.div_ceil(CHUNK_BUCKETS)
    }

    /// Returns whether one more bucket fits without an allocation.
    #[inline]
    pub fn has_room(&self) -> bool {
        let last = self.buckets % CHUNK_BUCKETS;
        last != 0 && chunk_room(last) > last
    }

    /// Returns the address of a bucket.
    #[inline]
    pub fn bucket(&self, number: u32) -> *mut Bucket {
        debug_assert!(number < self.buckets);
        if self.buckets <= CHUNK_BUCKETS {
            // SAFETY: the root is a chunk with at least this number of buckets.
            return unsafe { self.root.cast::<Bucket>().add(number as usize) };
        }
        let chunk = self.reference(number / CHUNK_BUCKETS);
        // SAFETY: the chunk's capacity covers all buckets that are in use.
        unsafe { (*chunk).chunk.cast::<Bucket>().add((number % CHUNK_BUCKETS) as usize) }
    }

    /// Returns the Ref of a chunk. A directory with only one chunk has no Refs.
    #[inline]
    fn reference(&self, chunk: u32) -> *mut Ref {
        let chunks = self.chunks();
        debug_assert!(1 < chunks && chunk < chunks);
        if chunks <= SEGMENT_CHUNKS {
            // SAFETY: the root is a segment with a Ref for each chunk.
            return unsafe { self.root.cast::<Ref>().add(chunk as usize) };
        }
        let (segment, place) = (chunk / SEGMENT_CHUNKS, chunk % SEGMENT_CHUNKS);
        // SAFETY: the root is an array of segments; all of them but the last are full.
        unsafe { (*self.root.cast::<*mut Ref>().add(segment as usize)).add(place as usize) }
    }

    /// Returns the summary of a chunk; `None` if there is only one, whose summary is in the table.
    pub fn earliest(&self, chunk: u32) -> Option<Tick> {
        // SAFETY: the Ref of an existing chunk.
        (self.chunks() > 1).then(|| unsafe { (*self.reference(chunk)).earliest })
    }

    /// Sets the summary of a chunk, if there are several chunks.
    pub fn put_earliest(&mut self, chunk: u32, earliest: Tick) {
        if self.chunks() > 1 {
            // SAFETY: the Ref of an existing chunk.
            unsafe { (*self.reference(chunk)).earliest = earliest };
        }
    }

    /// Adds an empty bucket at the end. `earliest` is the summary of the table; it becomes the
    /// summary of the first chunk when a second chunk is added.
    pub fn push(&mut self, heap: &mut Heap, earliest: Tick) {
        assert!(self.buckets < u32::MAX / 2, "buckets are counted in 31 bits");
        let used = self.buckets % CHUNK_BUCKETS;
        if used == 0 {
            let chunk = heap.alloc(chunk_room(1) as usize * BUCKET_BYTES);
            self.push_chunk(heap, chunk.as_ptr(), earliest);
        } else if chunk_room(used) == used {
            self.resize_last(heap, used, used + 1);
        }
        self.buckets += 1;
        // SAFETY: the bucket's memory is allocated and holds no bucket.
        unsafe { self.bucket(self.buckets - 1).write(Bucket::EMPTY) };
    }

    /// Removes the last bucket, which must be empty.
    pub fn pop(&mut self, heap: &mut Heap) {
        assert!(self.buckets > 0);
        let used = (self.buckets - 1) % CHUNK_BUCKETS + 1;
        if used == 1 {
            self.pop_chunk(heap);
        } else if chunk_room(used - 1) < chunk_room(used) {
            self.resize_last(heap, used, used - 1);
        }
        self.buckets -= 1;
    }

    /// Moves the last chunk from memory for `old` buckets to memory for `new` buckets.
    fn resize_last(&mut self, heap: &mut Heap, old: u32, new: u32) {
        let bytes = |buckets: u32| chunk_room(buckets) as usize * BUCKET_BYTES;
        let to = heap.alloc(bytes(new));
        let from = if self.buckets <= CHUNK_BUCKETS {
            std::mem::replace(&mut self.root, to.as_ptr())
        } else {
            let reference = self.reference(self.chunks() - 1);
            // SAFETY: the Ref of the last chunk.
            unsafe { std::mem::replace(&mut (*reference).chunk, to.as_ptr()) }
        };
        // SAFETY: both chunks have room for the shorter length. The old chunk was allocated for
        // `old` buckets, and nothing points at it any more.
        unsafe {
            to.as_ptr().copy_from_nonoverlapping(from, old.min(new) as usize * BUCKET_BYTES);
            heap.free(NonNull::new_unchecked(from), bytes(old));
        }
    }

    /// Adds a chunk after the last chunk, which is full.
    fn push_chunk(&mut self, heap: &mut Heap, chunk: *mut u8, earliest: Tick) {
        let chunks = self.chunks();
        if chunks == 0 {
            self.root = chunk;
            return;
        }
        let new = Ref { chunk, earliest: Tick::NEVER, spare: 0 };
        if chunks == 1 {
            let first = Ref { chunk: self.root, earliest, spare: 0 };
            let segment = heap.alloc(ARRAY_MIN as usize * size_of::<Ref>()).cast::<Ref>();
            // SAFETY: the segment has room for at least two Refs.
            unsafe {
                segment.write(first);
                segment.add(1).write(new);
            }
            self.root = segment.as_ptr().cast();
        } else if chunks < SEGMENT_CHUNKS {
            self.root = array_push(heap, self.root.cast::<Ref>(), chunks, new).cast();
        } else {
            self.push_chunk_deep(heap, chunks, new);
        }
    }

    /// Adds a chunk when there is, or will be, more than one segment.
    fn push_chunk_deep(&mut self, heap: &mut Heap, chunks: u32, new: Ref) {
        let place = chunks % SEGMENT_CHUNKS;
        if chunks == SEGMENT_CHUNKS {
            let array = heap.alloc(ARRAY_MIN as usize * size_of::<*mut Ref>()).cast();
            // SAFETY: the array has room for at least one address.
            unsafe { array.write(self.root.cast::<Ref>()) };
            self.root = array.as_ptr().cast();
        }
        if place == 0 {
            let segment = heap.alloc(SEGMENT_CHUNKS as usize * size_of::<Ref>()).cast::<Ref>();
            // SAFETY: the segment has room for the Refs of a full segment.
            unsafe { segment.write(new) };
            let segments = chunks / SEGMENT_CHUNKS;
            let array = self.root.cast::<*mut Ref>();
            self.root = array_push(heap, array, segments, segment.as_ptr()).cast();
        } else {
            // SAFETY: the last segment exists, and has room for the Refs of a full segment.
            unsafe {
                let segment = *self.root.cast::<*mut Ref>().add((chunks / SEGMENT_CHUNKS) as usize);
                segment.add(place as usize).write(new);
            }
        }
    }

    /// Removes the last chunk, which has one bucket.
    fn pop_chunk(&mut self, heap: &mut Heap) {
        let chunks = self.chunks();
        let chunk = self.bucket(self.buckets - 1).cast::<u8>();
        // SAFETY: the chunk was allocated for one bucket, and the pointer to it is removed next.
        unsafe { heap.free(NonNull::new_unchecked(chunk), chunk_room(1) as usize * BUCKET_BYTES) };
        if chunks == 1 {
            self.root = std::ptr::null_mut();
        } else if chunks == 2 {
            // SAFETY: the root is a segment of two Refs; the first chunk becomes the root.
            unsafe {
                let first = (*self.root.cast::<Ref>()).chunk;
                array_free(heap, self.root.cast::<Ref>(), 2);
                self.root = first;
            }
        } else if chunks <= SEGMENT_CHUNKS {
            self.root = array_pop(heap, self.root.cast::<Ref>(), chunks).cast();
        } else if chunks % SEGMENT_CHUNKS == 1 {
            let segments = chunks.div_ceil(SEGMENT_CHUNKS);
            let array = self.root.cast::<*mut Ref>();
            // SAFETY: the last segment holds only the removed chunk. If one segment is left, it is
            // full and becomes the root.
            unsafe {
                let last = *array.add(segments as usize - 1);
                array_free(heap, last, SEGMENT_CHUNKS);
                if segments == 2 {
                    self.root = (*array).cast();
                    array_free(heap, array, 2);
                } else {
                    self.root = array_pop(heap, array, segments).cast();
                }
            }
        }
    }

    /// Moves the last chunk and the array at the root if they are in retired regions of the slab.
    /// Full chunks and full segments are too large for the slab.
    pub fn evacuate(&mut self, heap: &mut Heap) {
        if self.buckets == 0 {
            return;
        }
        let chunks = self.chunks();
        let last = (self.buckets - 1) % CHUNK_BUCKETS + 1;
        let chunk = self.bucket((chunks - 1) * CHUNK_BUCKETS);
        if heap.slab.is_retired(chunk.addr()) {
            self.resize_last(heap, last, last);
        }
        if chunks == 1 || !heap.slab.is_retired(self.root.addr()) {
            return;
        }
        self.root = if chunks <= SEGMENT_CHUNKS {
            let segment = self.root.cast::<Ref>();
            array_move(heap, segment, chunks, array_room(chunks)).cast()
        } else {
            let segments = chunks.div_ceil(SEGMENT_CHUNKS);
            let array = self.root.cast::<*mut Ref>();
            array_move(heap, array, segments, array_room(segments)).cast()
        };
    }

    /// Returns the bytes that a directory of this number of buckets takes, with its chunks.
    pub fn bytes(buckets: u32) -> usize {
        Directory::array_bytes(buckets) + Directory::chunk_bytes(buckets)
    }

    /// Returns the bytes of the arrays that lead to the chunks.
    fn array_bytes(buckets: u32) -> usize {
        let chunks = buckets.div_ceil(CHUNK_BUCKETS);
        let bytes = |items: u32, item: usize| Heap::class(items as usize * item);
        match chunks {
            0 | 1 => 0,
            2..=SEGMENT_CHUNKS => bytes(array_room(chunks), size_of::<Ref>()),
            _ => {
                let segments = chunks.div_ceil(SEGMENT_CHUNKS);
                segments as usize * bytes(SEGMENT_CHUNKS, size_of::<Ref>())
                    + bytes(array_room(segments), size_of::<*mut Ref>())
            }
        }
    }

    /// Returns the bytes of the chunks.
    fn chunk_bytes(buckets: u32) -> usize {
        if buckets == 0 {
            return 0;
        }
        let last = (buckets - 1) % CHUNK_BUCKETS + 1;
        (buckets - last + chunk_room(last)) as usize * BUCKET_BYTES
    }
}

/// Appends to an array of `len` items, whose capacity is [`array_room`] of `len`.
fn array_push<T: Copy>(heap: &mut Heap, array: *mut T, len: u32, item: T) -> *mut T {
    let (old, new) = (array_room(len), array_room(len + 1));
    let array = if old == new { array } else { array_move(heap, array, len, new) };
    // SAFETY: the array has room for one more item.
    unsafe { array.add(len as usize).write(item) };
    array
}

/// Drops the last of `len` items; at least one must remain.
fn array_pop<T: Copy>(heap: &mut Heap, array: *mut T, len: u32) -> *mut T {
    let (old, new) = (array_room(len), array_room(len - 1));
    if old == new { array } else { array_move(heap, array, len, new) }
}

/// Moves an array to memory for `room` items.
fn array_move<T: Copy>(heap: &mut Heap, array: *mut T, len: u32, room: u32) -> *mut T {
    let to = heap.alloc(room as usize * size_of::<T>()).cast::<T>();
    // SAFETY: both arrays have room for the copied items.
    unsafe { to.as_ptr().copy_from_nonoverlapping(array, len.min(room) as usize) };
    array_free(heap, array, len);
    to.as_ptr()
}

/// Frees an array of `len` items, whose capacity is [`array_room`] of `len`.
fn array_free<T>(heap: &mut Heap, array: *mut T, len: u32) {
    let bytes = array_room(len) as usize * size_of::<T>();
    let array = NonNull::new(array).expect("an array has an address").cast();
    // SAFETY: the array was allocated with that size, and nothing points at it any more.
    unsafe { heap.free(array, bytes) }
}
