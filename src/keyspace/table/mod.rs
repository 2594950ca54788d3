#![allow(unsafe_code)]
//! The keys of one hash slot of one database: a linear-hashing table of 64-byte buckets. Hot.
//!
//! Must not know: databases, commands, time other than ticks.
//!
//! ```text
//!   Table, 32 bytes       Directory            chunk: up to 32 buckets        entry
//!   keys, volatile        root ------------->  bucket 0   7 tags, 7 words ->  header, expiry,
//!   earliest tick         (or through an       bucket 1                       key, small value
//!   overflow buckets      array, see there)    ...            \-> overflow bucket
//!   buckets
//!
//!   hash, 64 bits   63..56 tag (0 reads as 1)       31..0 bucket
//!
//!   with n buckets, 2^k < n <= 2^(k+1), a hash h belongs to bucket h mod 2^(k+1) if this number is
//!   below n, otherwise to h mod 2^k. Growing by one splits bucket n - 2^k into n - 2^k and n.
//! ```
//!
//! A table grows and shrinks by one bucket at a time: the insert or removal that crosses the load
//! limit does one step, which visits at most two chains. A bucket covers all hashes that end in
//! certain bits. With the bits reversed, these hashes form an interval, which SCAN iterates over.

mod apart;
mod bucket;
mod compact;
mod directory;
mod entry;
mod heap;
mod loose;
mod slab;

pub use apart::Apart;
pub use bucket::Word;
pub use compact::{Limits, Plan};
pub use entry::{Draft, Entry, FIELD_BYTES, HEADER_BYTES, Payload, View};
pub use heap::{Heap, give_back};
pub use loose::LooseEntries;

use crate::base::rng::Rng;
use crate::keyspace::tick::Tick;
use bucket::{BUCKET_BYTES, Bucket, WORDS};
use directory::{CHUNK_BUCKETS, Directory};
use heap::prefetch;
use std::hash::{BuildHasher, Hasher};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// A bucket is added above this number of keys per 8 buckets if the last chunk has room for it.
const GROW_KEYS_EASY: u64 = 38;

/// A bucket is added above this number of keys per 8 buckets, even if memory must be allocated.
const GROW_KEYS: u64 = 40;

/// A bucket is removed below this number of keys per 8 buckets.
const SHRINK_KEYS: u64 = 20;

/// Entries of a chain that a random draw can choose.
const DRAW_MAX: u64 = 14;

/// Failed random draws after which the first entry from a random bucket on is taken.
const DRAW_TRIES_MAX: usize = 256;

const _: () = assert!(size_of::<Table>() == 32);
const _: () = assert!(SHRINK_KEYS < GROW_KEYS_EASY && GROW_KEYS_EASY <= GROW_KEYS);

/// The state that all tables of a slice share.
#[derive(Debug)]
pub struct Tools {
    /// Allocates entries and buckets.
    pub heap: Heap,
    /// The keyed hash function.
    pub hasher: ahash::RandomState,
    /// The version, 2 bits, of buckets that the last cut has saved, or has nothing to save of.
    pub version: u8,
}

impl Tools {
    /// Returns the hash of a key.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        hasher.finish()
    }
}

/// Returns the tag of a hash.
#[inline]
fn tag_of(hash: u64) -> u8 {
    ((hash >> 56) as u8).max(1)
}

/// Position of an entry's word in a table. Valid until the table is changed.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    bucket: NonNull<Bucket>,
    index: u8,
    /// Number of the bucket that starts the chain.
    number: u32,
}

impl Place {
    /// Returns the word.
    #[inline]
    pub fn word(self) -> Word {
        // SAFETY: the bucket still exists, because the table was not changed since.
        unsafe { self.bucket.as_ref() }.word(usize::from(self.index))
    }

    /// Returns the entry.
    #[inline]
    pub fn entry(self) -> Entry {
        self.word().entry()
    }
}

/// How far a look-up ahead of its time has come. Each step reads what the one before has asked the
/// processor for, and asks for what that leads to.
///
/// ```text
///   Bucket --tag found--> Entry --> End        (no tag found, not chained: End)
///      ^ '--chained-----.
///      '----------------'
/// ```
#[derive(Clone, Copy)]
pub enum Trail<'t> {
    /// Nothing more is known to be worth asking for.
    End,
    /// This bucket was asked for.
    Bucket(&'t Bucket),
    /// The first lines of this entry were asked for; it lives as long as the table is not changed.
    Entry(Entry, PhantomData<&'t Table>),
}

impl<'t> Trail<'t> {
    /// One step further, for the same hash.
    #[inline]
    pub fn follow(self, hash: u64) -> Trail<'t> {
        match self {
            Trail::End => Trail::End,
            Trail::Entry(entry, _) => {
                entry.prefetch_end();
                Trail::End
            }
            Trail::Bucket(bucket) => {
                if let Some(index) = bucket.matches(tag_of(hash)).next() {
                    let entry = bucket.word(index).entry();
                    entry.prefetch();
                    return Trail::Entry(entry, PhantomData);
                }
                let Some(next) = bucket.next() else { return Trail::End };
                prefetch(next.cast());
                // SAFETY: a bucket of the chain, there as long as the table is not changed.
                Trail::Bucket(unsafe { &*next })
            }
        }
    }
}

/// What a table takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableInfo {
    /// Keys, including expired keys that are not removed yet.
    pub keys: usize,
    /// Buckets that hashes lead to.
    pub buckets: usize,
    /// Buckets that are chained to others.
    pub overflow_buckets: usize,
    /// Chunks of buckets.
    pub chunks: usize,
    /// Bytes of the buckets and of the directory, without the entries.
    pub bytes: usize,
}

impl TableInfo {
    /// Adds the numbers of another table.
    pub fn add(&mut self, other: &TableInfo) {
        self.keys += other.keys;
        self.buckets += other.buckets;
        self.overflow_buckets += other.overflow_buckets;
        self.chunks += other.chunks;
        self.bytes += other.bytes;
    }

    /// Returns how many keys fit into the buckets that hashes lead to.
    pub fn places(&self) -> usize {
        self.buckets * WORDS
    }
}

/// The keys of one hash slot.
#[derive(Debug)]
pub struct Table {
    directory: Directory,
    keys: u32,
    volatile: u32,
    overflow: u32,
    earliest: Tick,
}

// SAFETY: a table owns what it points at.
unsafe impl Send for Table {}

impl Table {
    /// A table without keys; it allocates nothing.
    pub const EMPTY: Table = Table {
        directory: Directory::EMPTY,
        keys: 0,
        volatile: 0,
        overflow: 0,
        earliest: Tick::NEVER,
    };

    /// Returns the number of keys.
    #[inline]
    pub fn len(&self) -> usize {
        self.keys as usize
    }

    /// Returns the number of keys that have an expiry, or elements with an expiry.
    #[inline]
    pub fn volatile_len(&self) -> usize {
        self.volatile as usize
    }

    /// Returns a lower bound: no key or element has expired before this tick.
    #[inline]
    pub fn earliest(&self) -> Tick {
        self.earliest
    }

    /// Returns the number of buckets that hashes lead to.
    #[inline]
    pub fn buckets(&self) -> u32 {
        self.directory.len()
    }

    /// Returns the number of chunks.
    pub fn chunks(&self) -> u32 {
        self.directory.chunks()
    }

    /// Returns the number of the bucket that a hash leads to. The table must have a bucket.
    #[inline]
    fn number_of(&self, hash: u64) -> u32 {
        let buckets = self.directory.len();
        debug_assert!(buckets > 0);
        // With one bucket the mask is 1, and the last line maps both results to bucket 0.
        let mask = u32::MAX >> (buckets - 1).leading_zeros().min(31);
        let number = hash as u32 & mask;
        if number < buckets { number } else { number & (mask >> 1) }
    }

    /// Prefetches the table itself.
    #[inline]
    pub fn prefetch(&self) {
        prefetch(std::ptr::from_ref(self).cast());
    }

    /// Prefetches the bucket that a hash leads to.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        if self.keys > 0 {
            prefetch(self.directory.bucket(self.number_of(hash)).cast());
        }
    }

    /// Asks the processor for the entry that a hash leads to, or for the next bucket of the chain
    /// if the first one does not hold it; reads the first bucket.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        if self.keys == 0 {
            return;
        }
        // SAFETY: the bucket exists.
        let bucket = unsafe { &*self.directory.bucket(self.number_of(hash)) };
        if let Some(index) = bucket.matches(tag_of(hash)).next() {
            bucket.word(index).entry().prefetch();
        } else if let Some(next) = bucket.next() {
            prefetch(next.cast());
        }
    }

    /// Asks the processor for all entries of a bucket, without its overflow buckets.
    #[inline]
    pub fn prefetch_entries(&self, number: u32) {
        assert!(number < self.buckets());
        // SAFETY: the bucket exists.
        let bucket = unsafe { &*self.directory.bucket(number) };
        for index in bucket.places() {
            let address = bucket.word(index).entry().address();
            prefetch(std::ptr::with_exposed_provenance(address as usize));
        }
    }

    /// Asks the processor for a bucket.
    #[inline]
    pub fn prefetch_numbered(&self, number: u32) {
        assert!(number < self.buckets());
        prefetch(self.directory.bucket(number).cast());
    }

    /// Begins a look-up ahead of its time: asks the processor for the bucket that a hash leads to.
    #[inline]
    pub fn trail(&self, hash: u64) -> Trail<'_> {
        if self.keys == 0 {
            return Trail::End;
        }
        let bucket = self.directory.bucket(self.number_of(hash));
        prefetch(bucket.cast());
        // SAFETY: a bucket that is there as long as the table is not changed.
        Trail::Bucket(unsafe { &*bucket })
    }

    /// The place of a key.
    #[inline(always)]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        if self.keys == 0 {
            return None;
        }
        let number = self.number_of(hash);
        let tag = tag_of(hash);
        let mut at = self.directory.bucket(number);
        loop {
            // SAFETY: the bucket exists.
            let bucket = unsafe { &*at };
            for index in bucket.matches(tag) {
                if bucket.word(index).entry().is_key(key) {
                    let bucket = NonNull::from(bucket);
                    return Some(Place { bucket, index: index as u8, number });
                }
            }
            at = bucket.next()?;
        }
    }

    /// Adds an entry, whose key must not be in the table yet. A bucket that was empty gets the
    /// present version: there was nothing to save.
    pub fn insert(&mut self, tools: &mut Tools, hash: u64, entry: Entry) {
        let word = Word::new(entry);
        if self.directory.len() == 0 {
            self.directory.push(&mut tools.heap, self.earliest);
        }
        let number = self.number_of(hash);
        self.keys += 1;
        self.volatile += u32::from(word.is_volatile());
        self.note_expiry(number, entry);
        // SAFETY: the bucket exists; nothing else refers to it.
        if unsafe { (*self.directory.bucket(number)).is_empty() } {
            self.stamp(tools.version, number);
        }
        self.add(&mut tools.heap, number, tag_of(hash), word);
        let (keys, buckets) = (u64::from(self.keys) * 8, u64::from(self.buckets()));
        if keys > buckets * GROW_KEYS
            || (keys > buckets * GROW_KEYS_EASY && self.directory.has_room())
        {
            self.split(tools);
        }
    }

    /// Puts a word into a chain, and adds an overflow bucket if the chain is full.
    fn add(&mut self, heap: &mut Heap, number: u32, tag: u8, word: Word) {
        let mut at = self.directory.bucket(number);
        loop {
            // SAFETY: the bucket belongs to the chain; nothing else refers to it.
            let bucket = unsafe { &mut *at };
            if let Some(index) = bucket.free_place() {
                return bucket.put(index, tag, word);
            }
            if let Some(next) = bucket.next() {
                at = next;
                continue;
            }
            let last = (bucket.tag(WORDS - 1), bucket.word(WORDS - 1));
            let mut next = heap.alloc(BUCKET_BYTES).cast::<Bucket>();
            // SAFETY: the memory was just allocated for a bucket.
            let overflow = unsafe {
                next.write(Bucket::EMPTY);
                next.as_mut()
            };
            overflow.put(0, last.0, last.1);
            overflow.put(1, tag, word);
            bucket.clear(WORDS - 1);
            bucket.chain(next.as_ptr());
            self.overflow += 1;
            return;
        }
    }

    /// Takes an entry out of the table without shrinking it: no other entry moves to another chain.
    /// The caller owns the entry then.
    pub fn extract(&mut self, tools: &mut Tools, place: Place) -> Entry {
        let word = place.word();
        self.take(tools, place);
        assert!(self.keys > 0 && self.volatile >= u32::from(word.is_volatile()));
        self.keys -= 1;
        self.volatile -= u32::from(word.is_volatile());
        if self.volatile == 0 {
            self.earliest = Tick::NEVER;
        }
        word.entry()
    }

    /// Removes buckets that the number of keys does not justify, at most `steps` of them.
    pub fn shrink(&mut self, tools: &mut Tools, steps: usize) {
        for _ in 0..steps {
            let buckets = self.buckets();
            if self.keys == 0 && buckets > 0 {
                assert!(self.overflow == 0 && self.volatile == 0);
                self.directory.pop(&mut tools.heap);
            } else if buckets > 1 && u64::from(self.keys) * 8 < u64::from(buckets) * SHRINK_KEYS {
                self.merge(tools);
            } else {
                break;
            }
        }
    }

    /// Takes a word out of its chain, and closes the gap.
    fn take(&mut self, tools: &mut Tools, place: Place) {
        let index = usize::from(place.index);
        let mut parent: *mut Bucket = std::ptr::null_mut();
        let mut tail = self.directory.bucket(place.number);
        // SAFETY: the buckets belong to one chain, and nothing else refers to them. Each block
        // below borrows one of them at a time.
        unsafe {
            while let Some(next) = (*tail).next() {
                parent = tail;
                tail = next;
            }
            let hole = place.bucket.as_ptr();
            (*hole).clear(index);
            if parent.is_null() {
                return;
            }
            if tail != hole {
                let mover = (*tail).places().next().expect("an overflow bucket is not empty");
                let moved = ((*tail).tag(mover), (*tail).word(mover));
                (*tail).clear(mover);
                (*hole).put(index, moved.0, moved.1);
            }
            if (*tail).len() == 1 {
                let last = (*tail).places().next().expect("one entry is left");
                let moved = ((*tail).tag(last), (*tail).word(last));
                (*parent).unchain();
                (*parent).put(WORDS - 1, moved.0, moved.1);
                tools.heap.free(NonNull::new_unchecked(tail).cast(), BUCKET_BYTES);
                self.overflow -= 1;
            }
        }
    }

    /// Writes a version to a bucket.
    #[inline]
    pub fn stamp(&mut self, version: u8, number: u32) {
        // SAFETY: the bucket exists; nothing else refers to it.
        unsafe { (*self.directory.bucket(number)).stamp(version) };
    }

    /// Returns the version of a bucket.
    pub fn version_of(&self, number: u32) -> u8 {
        // SAFETY: the bucket exists.
        unsafe { (*self.directory.bucket(number)).version() }
    }

    /// Returns the number of the bucket that a hash leads to, if there is one.
    pub fn bucket_of(&self, hash: u64) -> Option<u32> {
        (self.buckets() > 0).then(|| self.number_of(hash))
    }

    /// Returns the buckets that the next step of shrinking merges, if it merges any.
    pub fn merging(&self) -> Option<[u32; 2]> {
        let is_due = u64::from(self.keys) * 8 < u64::from(self.buckets()) * SHRINK_KEYS;
        if self.keys == 0 || self.buckets() <= 1 || !is_due {
            return None;
        }
        let last = self.buckets() - 1;
        Some([last, last - (1 << last.ilog2())])
    }

    /// Replaces an entry by another one of the same key. The caller owns the old entry then.
    pub fn replace(&mut self, place: Place, entry: Entry) -> Entry {
        let old = place.word();
        self.put_word(place, old.is_volatile(), entry);
        old.entry()
    }

    /// Updates word and counters after an entry was rewritten in place. `was_volatile` describes
    /// the old entry.
    #[inline]
    pub fn rewritten(&mut self, place: Place, was_volatile: bool) {
        self.put_word(place, was_volatile, place.entry());
    }

    #[inline]
    fn put_word(&mut self, mut place: Place, was_volatile: bool, entry: Entry) {
        let word = Word::new(entry);
        // SAFETY: the bucket exists; nothing else refers to it.
        unsafe { place.bucket.as_mut() }.put_word(usize::from(place.index), word);
        self.volatile = self.volatile + u32::from(word.is_volatile()) - u32::from(was_volatile);
        if self.volatile == 0 {
            self.earliest = Tick::NEVER;
        }
        self.note_expiry(place.number, entry);
    }

    /// Lowers the summaries for an entry that is now in bucket `number`.
    #[inline]
    fn note_expiry(&mut self, number: u32, entry: Entry) {
        if let Some(at) = entry.moment() {
            self.note_earliest(number, Tick::of_expiry(at));
        }
    }

    fn note_earliest(&mut self, number: u32, tick: Tick) {
        self.earliest = self.earliest.min(tick);
        let chunk = number / CHUNK_BUCKETS;
        if self.directory.earliest(chunk).is_some_and(|earliest| tick < earliest) {
            self.directory.put_earliest(chunk, tick);
        }
    }

    /// Adds a bucket, and moves its entries there from the bucket that covered their hashes.
    fn split(&mut self, tools: &mut Tools) {
        let number = self.buckets();
        let source = number - (1 << number.ilog2());
        self.directory.push(&mut tools.heap, self.earliest);
        // Both keep the version: a cut that has not saved the bucket saves both.
        let version = self.version_of(source);
        self.redistribute(tools, source, source, version);
    }

    /// Removes the last bucket, and moves its entries to the bucket that covers their hashes then.
    fn merge(&mut self, tools: &mut Tools) {
        let last = self.buckets() - 1;
        let partner = last - (1 << last.ilog2());
        self.redistribute(tools, last, partner, tools.version);
        if last == CHUNK_BUCKETS {
            // The one chunk that is left uses the table's summary as its own.
            self.earliest = self.earliest.min(self.chunk_earliest(0));
        }
        self.directory.pop(&mut tools.heap);
    }

    /// Moves the entries of one chain to bucket `target`. If `target` equals `source`, moves each
    /// entry to the bucket of its hash.
    fn redistribute(&mut self, tools: &mut Tools, source: u32, target: u32, version: u8) {
        let bound = self.directory.earliest(source / CHUNK_BUCKETS).unwrap_or(self.earliest);
        let head = self.directory.bucket(source);
        // SAFETY: the bucket exists. Only this function uses its chain from here on.
        let mut chain = unsafe { head.replace(Bucket::EMPTY) };
        // SAFETY: as above.
        unsafe { (*head).stamp(version) };
        loop {
            for index in chain.places() {
                let (tag, word) = (chain.tag(index), chain.word(index));
                let number = if source != target {
                    target
                } else {
                    self.number_of(tools.hash(word.entry().key()))
                };
                if word.is_volatile() && number != source {
                    self.note_earliest(number, bound);
                }
                self.add(&mut tools.heap, number, tag, word);
                self.stamp(version, number);
            }
            let Some(next) = chain.next() else { return };
            // SAFETY: an overflow bucket that was allocated for this chain; nothing points at it
            // any more.
            unsafe {
                chain = next.read();
                tools.heap.free(NonNull::new_unchecked(next).cast(), BUCKET_BYTES);
            }
            self.overflow -= 1;
        }
    }

    /// Calls `visit` for each entry of a chain; `visit` must not change the entry.
    pub fn for_each_in_bucket(&self, number: u32, visit: &mut dyn FnMut(Word)) {
        assert!(number < self.buckets());
        let mut at = self.directory.bucket(number);
        loop {
            // SAFETY: the bucket exists.
            let bucket = unsafe { &*at };
            for index in bucket.places() {
                visit(bucket.word(index));
            }
            match bucket.next() {
                None => return,
                Some(next) => at = next,
            }
        }
    }

    /// Returns the place of the first entry of a chain for which `pick` returns true.
    pub fn find_in_bucket(&self, number: u32, pick: &mut dyn FnMut(Word) -> bool) -> Option<Place> {
        assert!(number < self.buckets());
        let mut at = self.directory.bucket(number);
        loop {
            // SAFETY: the bucket exists.
            let bucket = unsafe { &*at };
            if let Some(index) = bucket.places().find(|&index| pick(bucket.word(index))) {
                let bucket = NonNull::from(bucket);
                return Some(Place { bucket, index: index as u8, number });
            }
            at = bucket.next()?;
        }
    }

    /// Returns a random entry. Draws a bucket and an index until the chain has an entry with this
    /// index. All entries have the same probability, except those after the first [`DRAW_MAX`] of a
    /// chain.
    pub fn random(&self, rng: &mut Rng) -> Place {
        assert!(self.keys > 0);
        for _ in 0..DRAW_TRIES_MAX {
            let number = rng.below(u64::from(self.buckets())) as u32;
            let mut skip = rng.below(DRAW_MAX);
            let pick = &mut |_| {
                let is_it = skip == 0;
                skip = skip.wrapping_sub(1);
                is_it
            };
            if let Some(place) = self.find_in_bucket(number, pick) {
                return place;
            }
        }
        let first = rng.below(u64::from(self.buckets())) as u32;
        (first..self.buckets())
            .chain(0..first)
            .find_map(|number| self.find_in_bucket(number, &mut |_| true))
            .expect("a table with keys has an entry")
    }

    /// Returns the bucket that covers a position in the order of reversed hashes. Also returns the
    /// bucket's interval in that order, whose end is at most 2^32.
    pub fn bucket_at(&self, position: u32) -> (u32, std::ops::Range<u64>) {
        let number = self.number_of(u64::from(position.reverse_bits()));
        let buckets = self.buckets();
        let high = if buckets == 1 { 0 } else { (buckets - 1).ilog2() };
        // Number of low bits that select this bucket: one fewer for a bucket that is not split yet.
        let is_split = buckets > 1 && (number >= 1 << high || number + (1 << high) < buckets);
        let bits = high + u32::from(is_split);
        let width = 1u64 << (32 - bits);
        let start = u64::from(position) & !(width - 1);
        (number, start..start + width)
    }

    /// Returns the numbers of the buckets of a chunk.
    pub fn chunk_buckets(&self, chunk: u32) -> std::ops::Range<u32> {
        let start = chunk * CHUNK_BUCKETS;
        start..(start + CHUNK_BUCKETS).min(self.buckets())
    }

    /// Returns the summary of a chunk, a lower bound: no key or element has expired before this
    /// tick.
    pub fn chunk_earliest(&self, chunk: u32) -> Tick {
        self.directory.earliest(chunk).unwrap_or(self.earliest)
    }

    /// Sets the summary of a chunk, if there are several chunks; does not change the table's
    /// summary.
    pub fn put_chunk_earliest(&mut self, chunk: u32, earliest: Tick) {
        self.directory.put_earliest(chunk, earliest);
    }

    /// Sets the summary of the table. The caller guarantees that the tick is a lower bound.
    pub fn put_earliest(&mut self, earliest: Tick) {
        self.earliest = if self.volatile == 0 { Tick::NEVER } else { earliest };
    }

    /// Removes the last bucket and passes each of its entries to `give`. Returns false if there is
    /// no bucket. Only for a table that is being freed.
    pub fn demolish(&mut self, heap: &mut Heap, give: &mut dyn FnMut(&mut Heap, Entry)) -> bool {
        let Some(number) = self.buckets().checked_sub(1) else { return false };
        if let Some(before) = number.checked_sub(1) {
            self.for_each_in_bucket(before, &mut |word| {
                prefetch(std::ptr::with_exposed_provenance(word.entry().address() as usize));
            });
        }
        // SAFETY: the bucket exists, and is popped next.
        let mut chain = unsafe { self.directory.bucket(number).replace(Bucket::EMPTY) };
        loop {
            for index in chain.places() {
                self.keys -= 1;
                give(heap, chain.word(index).entry());
            }
            let Some(next) = chain.next() else { break };
            // SAFETY: an overflow bucket of this chain; nothing points at it any more.
            unsafe {
                chain = next.read();
                heap.free(NonNull::new_unchecked(next).cast(), BUCKET_BYTES);
            }
            self.overflow -= 1;
        }
        self.directory.pop(heap);
        assert!(self.buckets() > 0 || (self.keys == 0 && self.overflow == 0));
        true
    }

    /// Moves what is in retired regions: arrays and chunks of buckets. Call it before
    /// [`Table::evacuate`] on the buckets.
    pub fn evacuate_directory(&mut self, heap: &mut Heap) {
        self.directory.evacuate(heap);
    }

    /// Moves the entries and the overflow buckets of a chain that are in retired regions. Returns
    /// the numbers of entries that were moved and that stay.
    pub fn evacuate(&mut self, heap: &mut Heap, number: u32) -> [u64; 2] {
        assert!(number < self.buckets());
        let mut counts = [0; 2];
        let mut at = self.directory.bucket(number);
        loop {
            // SAFETY: the bucket belongs to the chain; nothing else refers to it.
            let bucket = unsafe { &mut *at };
            for index in bucket.places() {
                let word = bucket.word(index);
                let is_moved = heap.slab.is_retired(word.entry().address() as usize);
                if is_moved {
                    bucket.put_word(index, word.moved_to(word.entry().relocate(heap)));
                }
                counts[usize::from(!is_moved)] += 1;
            }
            let Some(mut next) = bucket.next() else { return counts };
            if heap.slab.is_retired(next.addr()) {
                let to = heap.alloc(BUCKET_BYTES).cast::<Bucket>();
                // SAFETY: an overflow bucket of this chain, to which only `bucket` points; the
                // memory was just allocated for a bucket.
                unsafe {
                    to.write(next.read());
                    heap.free(NonNull::new_unchecked(next).cast(), BUCKET_BYTES);
                }
                next = to.as_ptr();
                bucket.rechain(next);
            }
            at = next;
        }
    }

    /// Returns size and memory of the table.
    pub fn info(&self) -> TableInfo {
        TableInfo {
            keys: self.len(),
            buckets: self.buckets() as usize,
            overflow_buckets: self.overflow as usize,
            chunks: self.chunks() as usize,
            bytes: Table::bytes(self.shape()),
        }
    }

    /// Returns the number of buckets that hashes lead to, and of the buckets that are chained to
    /// others.
    #[inline]
    pub fn shape(&self) -> [u32; 2] {
        [self.buckets(), self.overflow]
    }

    /// Returns the bytes of the buckets and of the directory of a table with this shape.
    pub fn bytes([buckets, overflow]: [u32; 2]) -> usize {
        Directory::bytes(buckets) + overflow as usize * BUCKET_BYTES
    }

    /// Asserts all invariants. O(keys), for tests.
    pub fn check(&self, tools: &Tools) {
        let (mut keys, mut volatile, mut overflow) = (0, 0, 0);
        for number in 0..self.buckets() {
            let bound = self.chunk_earliest(number / CHUNK_BUCKETS);
            let mut at = self.directory.bucket(number);
            loop {
                // SAFETY: the bucket exists.
                let bucket = unsafe { &*at };
                for index in bucket.places() {
                    let word = bucket.word(index);
                    let hash = tools.hash(word.entry().key());
                    assert_eq!(self.number_of(hash), number, "an entry is in its bucket");
                    assert_eq!(bucket.tag(index), tag_of(hash));
                    assert_eq!(word, Word::new(word.entry()), "the word matches the entry");
                    if let Some(moment) = word.entry().moment() {
                        volatile += 1;
                        assert!(bound <= Tick::of_expiry(moment), "a summary is a lower bound");
                    }
                    keys += 1;
                }
                let Some(next) = bucket.next() else { break };
                // SAFETY: the bucket belongs to the chain.
                let tail = unsafe { &*next };
                assert!(tail.len() >= 2, "an overflow bucket holds at least 2 entries");
                assert_eq!(tail.version(), 0, "only the first bucket of a chain has a version");
                overflow += 1;
                at = next;
            }
        }
        assert_eq!((self.keys, self.volatile, self.overflow), (keys, volatile, overflow));
    }
}
