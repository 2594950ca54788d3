//! Buckets: 64 bytes with the tags and words of up to 7 entries. Hot.
//!
//! ```text
//!   byte 0..7   tags: 8 bits of the entry's hash, 1..=255; 0 = free
//!        7      control: 0x80 CHAINED | 0x03 version | 0x7c free
//!        8..64  7 words
//!
//!   word        63         62..48            47..0
//!               expires    unit, see tick    address of the entry
//! ```
//!
//! In a chained bucket, word 6 is the address of the next bucket of the chain. Tag 6 is 0 then, so
//! a lookup does not take the word for an entry. An overflow bucket holds at least 2 entries.

use super::entry::Entry;
use crate::keyspace::tick::{Tick, UNIT_BITS};

/// Words of a bucket.
pub const WORDS: usize = 7;

/// Bytes of a bucket.
pub const BUCKET_BYTES: usize = 64;

/// Bits of an address; addresses in user space have 47.
const ADDRESS_BITS: u32 = 48;
const ADDRESS_MASK: u64 = (1 << ADDRESS_BITS) - 1;
const EXPIRES: u64 = 1 << 63;

const CHAINED: u64 = 0x80 << 56;
const VERSION_SHIFT: u32 = 56;
const VERSION_MASK: u64 = 0x03 << VERSION_SHIFT;

/// The low and the high bit of each tag.
const LOW_BITS: u64 = 0x0001_0101_0101_0101;
const HIGH_BITS: u64 = LOW_BITS << 7;
const TAGS_MASK: u64 = (1 << 56) - 1;

const _: () = assert!(size_of::<Bucket>() == BUCKET_BYTES);
const _: () = assert!(ADDRESS_BITS + UNIT_BITS + 1 == u64::BITS);
const _: () = assert!(WORDS as u32 == LOW_BITS.count_ones());

/// An entry's address with its coarse expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word(u64);

impl Word {
    /// Creates the word of an entry.
    #[inline]
    pub fn new(entry: Entry) -> Word {
        let address = entry.address();
        assert!(address & !ADDRESS_MASK == 0, "user space ends below 2^48");
        match entry.moment() {
            None => Word(address),
            Some(at) => {
                Word(EXPIRES | (u64::from(Tick::of_expiry(at).unit()) << ADDRESS_BITS) | address)
            }
        }
    }

    /// Returns the entry.
    #[inline]
    pub fn entry(self) -> Entry {
        Entry::at(self.0 & ADDRESS_MASK)
    }

    /// Returns the word of the same entry after it was moved to another address.
    pub fn moved_to(self, entry: Entry) -> Word {
        Word(self.0 & !ADDRESS_MASK | entry.address())
    }

    /// Returns whether the entry has an expiry, or elements with an expiry.
    #[inline]
    pub fn is_volatile(self) -> bool {
        self.0 & EXPIRES != 0
    }

    /// Returns the unit of the earliest expiry among the key and its elements.
    pub fn unit(self) -> Option<u16> {
        self.is_volatile().then_some(((self.0 & !EXPIRES) >> ADDRESS_BITS) as u16)
    }
}

/// Seven tagged words, or six and the address of an overflow bucket.
#[repr(C)]
#[derive(Debug)]
pub struct Bucket {
    meta: u64,
    words: [u64; WORDS],
}

/// A set of places in a bucket, as the high bits of their tags.
#[derive(Clone, Copy)]
pub struct Places(u64);

impl Iterator for Places {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let place = self.0.trailing_zeros() as usize / 8;
        self.0 &= self.0 - 1;
        Some(place)
    }
}

impl Bucket {
    /// A bucket without entries.
    pub const EMPTY: Bucket = Bucket { meta: 0, words: [0; WORDS] };

    /// Returns the places with this tag, which must not be 0.
    #[inline]
    pub fn matches(&self, tag: u8) -> Places {
        debug_assert!(tag != 0);
        Places(HIGH_BITS & !nonzero(self.meta ^ (u64::from(tag) * LOW_BITS)))
    }

    /// Returns the places that hold entries.
    #[inline]
    pub fn places(&self) -> Places {
        Places(HIGH_BITS & nonzero(self.meta))
    }

    /// Returns whether the bucket has no entries.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of entries in the bucket.
    pub fn len(&self) -> usize {
        self.places().0.count_ones() as usize
    }

    /// Returns a free place.
    #[inline]
    pub fn free_place(&self) -> Option<usize> {
        let usable = if self.is_chained() { HIGH_BITS >> 8 } else { HIGH_BITS };
        Places(usable & !nonzero(self.meta)).next()
    }

    /// Returns the word at a place that holds an entry.
    #[inline]
    pub fn word(&self, place: usize) -> Word {
        debug_assert!(self.tag(place) != 0);
        Word(self.words[place])
    }

    /// Returns the tag at a place; 0 if the place is free.
    #[inline]
    pub fn tag(&self, place: usize) -> u8 {
        assert!(place < WORDS);
        (self.meta >> (place * 8)) as u8
    }

    /// Puts a tag and a word at a place.
    #[inline]
    pub fn put(&mut self, place: usize, tag: u8, word: Word) {
        assert!(tag != 0 && (place < WORDS - 1 || !self.is_chained()));
        self.clear(place);
        self.meta |= u64::from(tag) << (place * 8);
        self.words[place] = word.0;
    }

    /// Replaces the word at a place; the new entry must have the same key.
    #[inline]
    pub fn put_word(&mut self, place: usize, word: Word) {
        assert!(self.tag(place) != 0, "the place holds an entry");
        self.words[place] = word.0;
    }

    /// Frees a place.
    #[inline]
    pub fn clear(&mut self, place: usize) {
        assert!(place < WORDS);
        self.meta &= !(0xff << (place * 8));
    }

    /// Returns whether the last word is the address of the next bucket.
    #[inline]
    pub fn is_chained(&self) -> bool {
        self.meta & CHAINED != 0
    }

    /// Returns the address of the next bucket of the chain.
    #[inline]
    pub fn next(&self) -> Option<*mut Bucket> {
        self.is_chained()
            .then(|| std::ptr::with_exposed_provenance_mut(self.words[WORDS - 1] as usize))
    }

    /// Chains a bucket to this one, whose last place must be free.
    pub fn chain(&mut self, next: *mut Bucket) {
        assert!(!self.is_chained() && self.tag(WORDS - 1) == 0);
        self.meta |= CHAINED;
        self.words[WORDS - 1] = next.expose_provenance() as u64;
    }

    /// Replaces the address of the next bucket after it was moved.
    pub fn rechain(&mut self, next: *mut Bucket) {
        assert!(self.is_chained());
        self.words[WORDS - 1] = next.expose_provenance() as u64;
    }

    /// Removes the link to the next bucket.
    pub fn unchain(&mut self) {
        assert!(self.is_chained());
        self.meta &= !CHAINED;
    }

    /// Returns the version in which the bucket was last changed.
    pub fn version(&self) -> u8 {
        ((self.meta & VERSION_MASK) >> VERSION_SHIFT) as u8
    }

    /// Sets the version, 2 bits, in which the bucket was last changed.
    #[inline]
    pub fn stamp(&mut self, version: u8) {
        debug_assert!(version < 4);
        let version = u64::from(version) << VERSION_SHIFT;
        if self.meta & VERSION_MASK != version {
            self.meta = self.meta & !VERSION_MASK | version;
        }
    }
}

/// Returns the high bit of each tag that is not zero; other bits are undefined.
#[inline]
fn nonzero(meta: u64) -> u64 {
    let low_seven = !HIGH_BITS & TAGS_MASK;
    ((meta & low_seven) + low_seven) | meta
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Draft, Payload};
    use super::super::heap::Heap;
    use super::*;

    #[test]
    fn tags_are_found_exactly() {
        let mut heap = Heap::default();
        let payload = Payload::Int(1);
        let draft = Draft { key: b"k", payload, expiry: Some(5), clock: 0, is_edited: false };
        let entry = Entry::new(&mut heap, draft);
        let word = Word::new(entry);
        assert_eq!((word.entry(), word.unit(), word.is_volatile()), (entry, Some(0), true));
        let mut bucket = Bucket::EMPTY;
        bucket.stamp(3);
        for (place, tag) in [(0, 1), (1, 0x80), (2, 0x81), (4, 1), (6, 255)] {
            bucket.put(place, tag, word);
        }
        assert_eq!(bucket.matches(1).collect::<Vec<_>>(), [0, 4]);
        assert_eq!(bucket.matches(0x81).collect::<Vec<_>>(), [2]);
        assert_eq!(bucket.matches(2).count(), 0);
        assert_eq!(bucket.places().collect::<Vec<_>>(), [0, 1, 2, 4, 6]);
        assert_eq!((bucket.free_place(), bucket.version(), bucket.len()), (Some(3), 3, 5));
        bucket.put(3, 9, word);
        bucket.put(5, 9, word);
        assert_eq!(bucket.free_place(), None);
        bucket.clear(6);
        let mut next = Bucket::EMPTY;
        bucket.chain(&mut next);
        assert_eq!((bucket.free_place(), bucket.matches(255).count()), (None, 0));
        assert_eq!(bucket.meta.to_le_bytes(), [1, 0x80, 0x81, 9, 1, 9, 0, 0x83]);
        entry.free(&mut heap);
    }
}
