#![allow(unsafe_code)]
//! The keys of one slot of one database: a linear-hashing table of 64-byte buckets. Hot.
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
//!   with n buckets, 2^k < n <= 2^(k+1), a hash belongs in bucket h mod 2^(k+1) if that is below
//!   n, and in h mod 2^k if not. Growing by one splits bucket n - 2^k in two: n - 2^k and n.
//! ```
//!
//! So a table grows and shrinks by one bucket at a time, with the insert or removal that passes
//! the load, and no step looks at more than two chains. A bucket stands for all hashes that end
//! in certain bits; read backwards these bits are an interval, which is what SCAN walks.

mod bucket;
mod directory;
mod entry;
mod heap;
mod slab;

pub use bucket::Word;
pub use entry::{Apart, Draft, Entry, Payload, View};
pub use heap::{Heap, give_back};

use crate::base::rng::Rng;
use crate::keyspace::tick::Tick;
use bucket::{BUCKET_BYTES, Bucket, WORDS};
use directory::{CHUNK_BUCKETS, Directory};
use heap::prefetch;
use std::hash::{BuildHasher, Hasher};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// A bucket is added when there are more keys per 8 buckets than this, and memory for it is there.
const GROW_KEYS_EASY: u64 = 38;

/// A bucket is added when there are more keys per 8 buckets than this, whatever it takes.
const GROW_KEYS: u64 = 40;

/// A bucket is removed when there are fewer keys per 8 buckets than this.
const SHRINK_KEYS: u64 = 20;

/// Entries of a chain that a random draw chooses from.
const DRAW_MAX: u64 = 14;

/// Draws before the first entry from a random bucket on is taken.
const DRAW_TRIES_MAX: usize = 256;

const _: () = assert!(size_of::<Table>() == 32);
const _: () = assert!(SHRINK_KEYS < GROW_KEYS_EASY && GROW_KEYS_EASY <= GROW_KEYS);

/// What the tables of a slice share.
#[derive(Debug)]
pub struct Tools {
    /// Where entries and buckets come from.
    pub heap: Heap,
    /// The keyed hash.
    pub hasher: ahash::RandomState,
    /// The version that buckets are stamped with when they are written, 2 bits.
    pub version: u8,
}

impl Tools {
    /// The hash of a key.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        hasher.finish()
    }
}

/// The tag of a hash.
#[inline]
fn tag_of(hash: u64) -> u8 {
    ((hash >> 56) as u8).max(1)
}

/// Where an entry's word lies. Good until the table is changed.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    bucket: NonNull<Bucket>,
    index: u8,
    /// The number of the bucket that the chain starts at.
    number: u32,
}

impl Place {
    /// The word.
    #[inline]
    pub fn word(self) -> Word {
        // SAFETY: the place is of a bucket that is there, as the table was not changed since.
        unsafe { self.bucket.as_ref() }.word(usize::from(self.index))
    }

    /// The entry.
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
    /// Keys, expired ones that were not yet removed included.
    pub keys: usize,
    /// Buckets that hashes lead to.
    pub buckets: usize,
    /// Buckets that are chained to others.
    pub overflow_buckets: usize,
    /// Chunks of buckets.
    pub chunks: usize,
    /// Bytes of all that but the entries.
    pub bytes: usize,
}

impl TableInfo {
    /// Adds what another table takes.
    pub fn add(&mut self, other: &TableInfo) {
        self.keys += other.keys;
        self.buckets += other.buckets;
        self.overflow_buckets += other.overflow_buckets;
        self.chunks += other.chunks;
        self.bytes += other.bytes;
    }

    /// Keys that there is a place for in the buckets that hashes lead to.
    pub fn places(&self) -> usize {
        self.buckets * WORDS
    }
}

/// The keys of one slot.
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
    /// A table without keys; takes no memory of its own.
    pub const EMPTY: Table = Table {
        directory: Directory::EMPTY,
        keys: 0,
        volatile: 0,
        overflow: 0,
        earliest: Tick::NEVER,
    };

    /// How many keys there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.keys as usize
    }

    /// How many keys have an expiry, or elements that have one.
    #[inline]
    pub fn volatile_len(&self) -> usize {
        self.volatile as usize
    }

    /// A tick before which no key is due.
    #[inline]
    pub fn earliest(&self) -> Tick {
        self.earliest
    }

    /// How many buckets hashes lead to.
    #[inline]
    pub fn buckets(&self) -> u32 {
        self.directory.len()
    }

    /// How many chunks there are.
    pub fn chunks(&self) -> u32 {
        self.directory.chunks()
    }

    /// The number of the bucket that a hash leads to. There must be one.
    #[inline]
    fn number_of(&self, hash: u64) -> u32 {
        let buckets = self.directory.len();
        debug_assert!(buckets > 0);
        // One bucket gives mask 1, and both hashes lead to bucket 0 below.
        let mask = u32::MAX >> (buckets - 1).leading_zeros().min(31);
        let number = hash as u32 & mask;
        if number < buckets { number } else { number & (mask >> 1) }
    }

    /// Asks the processor for the table itself.
    #[inline]
    pub fn prefetch(&self) {
        prefetch(std::ptr::from_ref(self).cast());
    }

    /// Asks the processor for the bucket that a hash leads to.
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
        // SAFETY: a bucket that is there.
        let bucket = unsafe { &*self.directory.bucket(self.number_of(hash)) };
        if let Some(index) = bucket.matches(tag_of(hash)).next() {
            bucket.word(index).entry().prefetch();
        } else if let Some(next) = bucket.next() {
            prefetch(next.cast());
        }
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
            // SAFETY: a bucket that is there.
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

    /// Adds an entry whose key is not there yet.
    pub fn insert(&mut self, tools: &mut Tools, hash: u64, entry: Entry) {
        let word = Word::new(entry);
        if self.directory.len() == 0 {
            self.directory.push(&mut tools.heap, self.earliest);
        }
        let number = self.number_of(hash);
        self.keys += 1;
        self.volatile += u32::from(word.is_volatile());
        self.note_due(number, entry);
        self.add(tools, number, tag_of(hash), word);
        let (keys, buckets) = (u64::from(self.keys) * 8, u64::from(self.buckets()));
        if keys > buckets * GROW_KEYS
            || (keys > buckets * GROW_KEYS_EASY && self.directory.has_room())
        {
            self.split(tools);
        }
    }

    /// Puts a word into a chain.
    fn add(&mut self, tools: &mut Tools, number: u32, tag: u8, word: Word) {
        let mut at = self.directory.bucket(number);
        // SAFETY: a bucket that is there.
        unsafe { (*at).stamp(tools.version) };
        loop {
            // SAFETY: a bucket of the chain; nobody else refers to it.
            let bucket = unsafe { &mut *at };
            if let Some(index) = bucket.free_place() {
                return bucket.put(index, tag, word);
            }
            if let Some(next) = bucket.next() {
                at = next;
                continue;
            }
            let last = (bucket.tag(WORDS - 1), bucket.word(WORDS - 1));
            let mut next = tools.heap.alloc(BUCKET_BYTES).cast::<Bucket>();
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

    /// Takes an entry out of the table; it is the caller's then.
    pub fn remove(&mut self, tools: &mut Tools, place: Place) -> Entry {
        let entry = self.extract(tools, place);
        self.shrink(tools, 2);
        entry
    }

    /// The same, but no other entry leaves its chain.
    pub fn extract(&mut self, tools: &mut Tools, place: Place) -> Entry {
        let word = place.word();
        self.touch(tools, place);
        self.take(tools, place);
        assert!(self.keys > 0 && self.volatile >= u32::from(word.is_volatile()));
        self.keys -= 1;
        self.volatile -= u32::from(word.is_volatile());
        if self.volatile == 0 {
            self.earliest = Tick::NEVER;
        }
        word.entry()
    }

    /// Removes buckets that the load does not ask for, at most `steps` of them.
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
        // SAFETY: buckets of one chain, which nobody else refers to; each block below borrows one
        // of them at a time.
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
                let last = (*tail).places().next().expect("one is left");
                let moved = ((*tail).tag(last), (*tail).word(last));
                (*parent).unchain();
                (*parent).put(WORDS - 1, moved.0, moved.1);
                tools.heap.free(NonNull::new_unchecked(tail).cast(), BUCKET_BYTES);
                self.overflow -= 1;
            }
        }
    }

    /// Says that the entry at a place is written: stamps the bucket.
    #[inline]
    pub fn touch(&mut self, tools: &Tools, place: Place) {
        // SAFETY: a bucket that is there; nobody else refers to it.
        unsafe { (*self.directory.bucket(place.number)).stamp(tools.version) };
    }

    /// Puts another entry of the same key in the place of one, which is the caller's then.
    pub fn replace(&mut self, tools: &Tools, place: Place, entry: Entry) -> Entry {
        let old = place.word();
        self.put_word(tools, place, old.is_volatile(), entry);
        old.entry()
    }

    /// Says that an entry was rewritten in place, where `was_volatile` tells of it as it was.
    #[inline]
    pub fn rewritten(&mut self, tools: &Tools, place: Place, was_volatile: bool) {
        self.put_word(tools, place, was_volatile, place.entry());
    }

    #[inline]
    fn put_word(&mut self, tools: &Tools, mut place: Place, was_volatile: bool, entry: Entry) {
        self.touch(tools, place);
        let word = Word::new(entry);
        // SAFETY: a bucket that is there; nobody else refers to it.
        unsafe { place.bucket.as_mut() }.put_word(usize::from(place.index), word);
        self.volatile = self.volatile + u32::from(word.is_volatile()) - u32::from(was_volatile);
        if self.volatile == 0 {
            self.earliest = Tick::NEVER;
        }
        self.note_due(place.number, entry);
    }

    /// Keeps the summaries below an entry that is now in bucket `number`.
    #[inline]
    fn note_due(&mut self, number: u32, entry: Entry) {
        if let Some(at) = entry.moment() {
            self.note_earliest(number, Tick::due(at));
        }
    }

    fn note_earliest(&mut self, number: u32, tick: Tick) {
        self.earliest = self.earliest.min(tick);
        let chunk = number / CHUNK_BUCKETS;
        if self.directory.earliest(chunk).is_some_and(|earliest| tick < earliest) {
            self.directory.put_earliest(chunk, tick);
        }
    }

    /// Adds a bucket and gives it its share of the one that stood for its hashes.
    fn split(&mut self, tools: &mut Tools) {
        let number = self.buckets();
        let source = number - (1 << number.ilog2());
        self.directory.push(&mut tools.heap, self.earliest);
        self.redistribute(tools, source, source);
    }

    /// Removes the last bucket and gives its entries to the one that stands for them then.
    fn merge(&mut self, tools: &mut Tools) {
        let last = self.buckets() - 1;
        let partner = last - (1 << last.ilog2());
        self.redistribute(tools, last, partner);
        if last == CHUNK_BUCKETS {
            // One chunk is left, whose summary is the table's from here on.
            self.earliest = self.earliest.min(self.chunk_earliest(0));
        }
        self.directory.pop(&mut tools.heap);
    }

    /// Puts the entries of one chain where they belong: in bucket `target`, or, when that is
    /// where they are, by their hashes.
    fn redistribute(&mut self, tools: &mut Tools, source: u32, target: u32) {
        let bound = self.directory.earliest(source / CHUNK_BUCKETS).unwrap_or(self.earliest);
        let head = self.directory.bucket(source);
        // SAFETY: a bucket that is there. Its chain is this function's alone from here on.
        let mut chain = unsafe { head.replace(Bucket::EMPTY) };
        // SAFETY: as above.
        unsafe { (*head).stamp(tools.version) };
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
                self.add(tools, number, tag, word);
            }
            let Some(next) = chain.next() else { return };
            // SAFETY: an overflow bucket that was allocated for this chain, which nobody points at
            // any more.
            unsafe {
                chain = next.read();
                tools.heap.free(NonNull::new_unchecked(next).cast(), BUCKET_BYTES);
            }
            self.overflow -= 1;
        }
    }

    /// Calls `visit` for each entry of a chain, which it must not change.
    pub fn for_each_in_bucket(&self, number: u32, visit: &mut dyn FnMut(Word)) {
        assert!(number < self.buckets());
        let mut at = self.directory.bucket(number);
        loop {
            // SAFETY: a bucket that is there.
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

    /// The place of the first entry of a chain that `pick` wants.
    pub fn find_in_bucket(&self, number: u32, pick: &mut dyn FnMut(Word) -> bool) -> Option<Place> {
        assert!(number < self.buckets());
        let mut at = self.directory.bucket(number);
        loop {
            // SAFETY: a bucket that is there.
            let bucket = unsafe { &*at };
            if let Some(index) = bucket.places().find(|&index| pick(bucket.word(index))) {
                let bucket = NonNull::from(bucket);
                return Some(Place { bucket, index: index as u8, number });
            }
            at = bucket.next()?;
        }
    }

    /// A random entry: a bucket and a number are drawn until there is an entry of that number in
    /// the chain, so every entry has the same chance, but for those behind [`DRAW_MAX`].
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

    /// The bucket that stands for a position in the order of reversed hashes, and where in that
    /// order the bucket ends (exclusive, at most 2^32).
    pub fn bucket_at(&self, position: u32) -> (u32, u64) {
        let number = self.number_of(u64::from(position.reverse_bits()));
        let buckets = self.buckets();
        let high = if buckets == 1 { 0 } else { (buckets - 1).ilog2() };
        // The bits that tell this bucket: one fewer for those that are not yet split.
        let is_split = buckets > 1 && (number >= 1 << high || number + (1 << high) < buckets);
        let bits = high + u32::from(is_split);
        let width = 1u64 << (32 - bits);
        (number, (u64::from(position) & !(width - 1)) + width)
    }

    /// The buckets of a chunk.
    pub fn chunk_buckets(&self, chunk: u32) -> std::ops::Range<u32> {
        let start = chunk * CHUNK_BUCKETS;
        start..(start + CHUNK_BUCKETS).min(self.buckets())
    }

    /// The summary of a chunk: a tick before which none of its keys is due.
    pub fn chunk_earliest(&self, chunk: u32) -> Tick {
        self.directory.earliest(chunk).unwrap_or(self.earliest)
    }

    /// Sets the summary of a chunk; the table's own is not raised by it.
    pub fn put_chunk_earliest(&mut self, chunk: u32, earliest: Tick) {
        self.directory.put_earliest(chunk, earliest);
    }

    /// Sets the summary of the table. The caller answers for its being a lower bound.
    pub fn put_earliest(&mut self, earliest: Tick) {
        self.earliest = if self.volatile == 0 { Tick::NEVER } else { earliest };
    }

    /// Removes the last bucket with all that is in it; each entry is handed to `give`. False if
    /// there is no bucket. Only for a table that is being taken down.
    pub fn demolish(&mut self, heap: &mut Heap, give: &mut dyn FnMut(&mut Heap, Entry)) -> bool {
        let Some(number) = self.buckets().checked_sub(1) else { return false };
        if let Some(before) = number.checked_sub(1) {
            self.for_each_in_bucket(before, &mut |word| {
                prefetch(std::ptr::with_exposed_provenance(word.entry().address() as usize));
            });
        }
        // SAFETY: a bucket that is there, and is popped next.
        let mut chain = unsafe { self.directory.bucket(number).replace(Bucket::EMPTY) };
        loop {
            for index in chain.places() {
                self.keys -= 1;
                give(heap, chain.word(index).entry());
            }
            let Some(next) = chain.next() else { break };
            // SAFETY: an overflow bucket of this chain, which nobody points at any more.
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

    /// What the table takes.
    pub fn info(&self) -> TableInfo {
        TableInfo {
            keys: self.len(),
            buckets: self.buckets() as usize,
            overflow_buckets: self.overflow as usize,
            chunks: self.chunks() as usize,
            bytes: self.directory.chunk_bytes()
                + self.directory.array_bytes()
                + self.overflow as usize * BUCKET_BYTES,
        }
    }

    /// Looks at everything and asserts what must hold. O(keys), for tests.
    pub fn check(&self, tools: &Tools) {
        let (mut keys, mut volatile, mut overflow) = (0, 0, 0);
        for number in 0..self.buckets() {
            let bound = self.chunk_earliest(number / CHUNK_BUCKETS);
            let mut at = self.directory.bucket(number);
            loop {
                // SAFETY: a bucket that is there.
                let bucket = unsafe { &*at };
                for index in bucket.places() {
                    let word = bucket.word(index);
                    let hash = tools.hash(word.entry().key());
                    assert_eq!(self.number_of(hash), number, "an entry is in its bucket");
                    assert_eq!(bucket.tag(index), tag_of(hash));
                    assert_eq!(word, Word::new(word.entry()), "the word tells of the entry");
                    if let Some(moment) = word.entry().moment() {
                        volatile += 1;
                        assert!(bound <= Tick::due(moment), "a summary is a lower bound");
                    }
                    keys += 1;
                }
                let Some(next) = bucket.next() else { break };
                // SAFETY: a bucket of the chain.
                let tail = unsafe { &*next };
                assert!(tail.len() >= 2, "a short overflow bucket is folded back");
                assert_eq!(tail.version(), 0, "the first bucket of a chain has its version");
                overflow += 1;
                at = next;
            }
        }
        assert_eq!((self.keys, self.volatile, self.overflow), (keys, volatile, overflow));
    }
}
