//! Bytes that grow without moving: a row of segments, addressed by their offset in the whole. Hot.
//!
//! ```text
//!   sealed:  | 0 ... | start 1 ... | start 2 ... |   full segments, usually none
//!   tail:                                        base ... len()
//! ```
//! Few bytes are one segment, which grows like a vector. A full segment of at least
//! [`SEGMENT_BYTES`] is sealed, and the next one begins. What is written in one step, after
//! [`Segments::room`], lies in one segment.

use std::borrow::Cow;
use std::ops::Range;

/// The fewest bytes of a sealed segment.
pub const SEGMENT_BYTES: usize = 256 * 1024;

/// A row of segments.
#[derive(Debug, Default)]
pub struct Segments {
    tail: Vec<u8>,
    /// Sealed segments with their start offsets.
    sealed: Vec<(usize, Vec<u8>)>,
    /// Offset of the tail.
    base: usize,
}

impl Segments {
    /// Returns the number of bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.base + self.tail.len()
    }

    /// Returns whether there are no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes of memory.
    pub fn capacity(&self) -> usize {
        let sealed: usize = self.sealed.iter().map(|(_, segment)| segment.capacity()).sum();
        self.tail.capacity() + sealed
    }

    /// Reserves memory in one segment for the next `bytes` bytes.
    #[inline]
    pub fn room(&mut self, bytes: usize) {
        if self.tail.capacity() - self.tail.len() < bytes {
            self.grow(bytes);
        }
    }

    #[cold]
    fn grow(&mut self, bytes: usize) {
        if self.tail.len() < SEGMENT_BYTES {
            return self.tail.reserve(bytes);
        }
        let next = Vec::with_capacity(bytes.max(SEGMENT_BYTES));
        let full = std::mem::replace(&mut self.tail, next);
        let start = self.base;
        self.base += full.len();
        self.sealed.push((start, full));
    }

    /// Appends bytes.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        self.room(bytes.len());
        self.tail.extend_from_slice(bytes);
    }

    /// Appends the first `len` of a few bytes. Faster than [`Segments::push`], which must ask how
    /// many they are.
    #[inline]
    pub fn push_first<const N: usize>(&mut self, bytes: [u8; N], len: usize) {
        self.room(N);
        self.tail.extend_from_slice(&bytes);
        self.tail.truncate(self.tail.len() - (N - len));
    }

    /// Appends `len` bytes of an iterator.
    pub fn push_all(&mut self, len: usize, bytes: impl Iterator<Item = u8>) {
        self.room(len);
        self.tail.extend(bytes);
    }

    /// Appends a range of other segments.
    #[inline]
    pub fn push_range(&mut self, from: &Segments, range: Range<usize>) {
        if from.base == 0 {
            self.push(&from.tail[range]);
        } else {
            from.slices(range).for_each(|slice| self.push(slice));
        }
    }

    /// Removes the bytes from offset `at` on.
    pub fn truncate(&mut self, at: usize) {
        while at < self.base {
            let (start, segment) = self.sealed.pop().expect("a base has segments before it");
            (self.base, self.tail) = (start, segment);
        }
        self.tail.truncate(at - self.base);
    }

    /// Returns the index of the sealed segment with offset `at`, which is below the base.
    fn segment_of(&self, at: usize) -> usize {
        debug_assert!(at < self.base);
        self.sealed.partition_point(|(start, _)| *start <= at) - 1
    }

    /// Iterates over the parts of a range, in order.
    pub fn slices(&self, range: Range<usize>) -> impl Iterator<Item = &[u8]> {
        assert!(range.start <= range.end && range.end <= self.len());
        let first = match range.start < self.base {
            true => self.segment_of(range.start),
            false => self.sealed.len(),
        };
        let sealed = self.sealed[first..].iter().map(|(start, segment)| (*start, segment));
        let all = sealed.chain([(self.base, &self.tail)]);
        let part = move |(start, segment): (usize, &'_ Vec<u8>)| {
            let from = range.start.max(start) - start;
            let to = range.end.clamp(start, start + segment.len()) - start;
            (from, to)
        };
        all.map(move |(start, segment)| {
            let (from, to) = part((start, segment));
            &segment[from.min(to)..to]
        })
        .filter(|slice| !slice.is_empty())
    }

    /// Returns a range, as a copy if it lies in several segments.
    pub fn range(&self, range: Range<usize>) -> Cow<'_, [u8]> {
        let mut slices = self.slices(range);
        let first = slices.next().unwrap_or_default();
        let Some(second) = slices.next() else { return Cow::Borrowed(first) };
        let rest: Vec<&[u8]> = slices.collect();
        Cow::Owned([&[first, second], &rest[..]].concat().concat())
    }

    /// Inserts a few bytes at an offset.
    pub fn insert(&mut self, at: usize, bytes: &[u8]) {
        if at >= self.base {
            let tail = at - self.base;
            self.tail.splice(tail..tail, bytes.iter().copied());
            return;
        }
        let index = self.segment_of(at);
        let (start, segment) = &mut self.sealed[index];
        let within = at - *start;
        segment.splice(within..within, bytes.iter().copied());
        self.sealed[index + 1..].iter_mut().for_each(|(start, _)| *start += bytes.len());
        self.base += bytes.len();
    }

    /// Moves the bytes from offset `at` on into another row.
    pub fn split_off(&mut self, at: usize) -> Segments {
        if at >= self.base {
            let tail = self.tail.split_off(at - self.base);
            return Segments { tail, sealed: Vec::new(), base: 0 };
        }
        let index = self.segment_of(at);
        let mut rest = self.sealed.split_off(index);
        let tail = std::mem::take(&mut self.tail);
        let base = self.base - at;
        let (start, first) = &mut rest[0];
        let moved = first.split_off(at - *start);
        (self.base, self.tail) = (*start, std::mem::replace(first, moved));
        *start = at;
        rest.iter_mut().for_each(|(start, _)| *start -= at);
        Segments { tail, sealed: rest, base }
    }

    /// Removes everything and keeps the memory, unless it has more than `bytes_max` bytes.
    pub fn clear(&mut self, bytes_max: usize) {
        self.sealed = Vec::new();
        self.base = 0;
        self.tail.clear();
        if self.tail.capacity() > bytes_max {
            self.tail = Vec::new();
        }
    }

    /// Removes and returns all segments with bytes, in order.
    pub fn take(&mut self) -> impl Iterator<Item = Vec<u8>> {
        let Segments { tail, sealed, .. } = std::mem::take(self);
        let sealed = sealed.into_iter().map(|(_, segment)| segment);
        sealed.chain([tail]).filter(|segment| !segment.is_empty())
    }

    /// Uses the memory of a buffer if there is none yet.
    pub fn reuse(&mut self, mut buffer: Vec<u8>) {
        if self.tail.capacity() == 0 && self.base == 0 {
            buffer.clear();
            self.tail = buffer;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    /// Compares with a plain vector.
    fn check(segments: &Segments, plain: &[u8], rng: &mut Rng) {
        assert_eq!((segments.len(), segments.is_empty()), (plain.len(), plain.is_empty()));
        let mut below = |end: usize| rng.below(end as u64 + 1) as usize;
        let end = below(plain.len());
        let start = below(end);
        assert!(*segments.range(start..end) == plain[start..end]);
        assert!(segments.slices(start..end).collect::<Vec<_>>().concat() == plain[start..end]);
    }

    #[test]
    fn segments_behave_like_one_vector() {
        for seed in 0..20 {
            let mut rng = Rng::new(seed);
            let (mut segments, mut plain) = (Segments::default(), Vec::new());
            for step in 0..200 {
                let any = rng.below(plain.len() as u64 + 1) as usize;
                match rng.below(12) {
                    0 => {
                        segments.truncate(any);
                        plain.truncate(any);
                    }
                    1 => {
                        segments.insert(any, b"*12\r\n");
                        plain.splice(any..any, *b"*12\r\n");
                    }
                    2 => {
                        let (rest, plain_rest) = (segments.split_off(any), plain.split_off(any));
                        check(&segments, &plain, &mut rng);
                        check(&rest, &plain_rest, &mut rng);
                        if rng.below(2) == 0 {
                            (segments, plain) = (rest, plain_rest);
                        }
                    }
                    _ => {
                        let len = rng.below(100_000) as usize;
                        segments.push(&vec![step as u8; len]);
                        plain.extend(vec![step as u8; len]);
                    }
                }
                check(&segments, &plain, &mut rng);
            }
            assert!(segments.take().collect::<Vec<_>>().concat() == plain);
            assert!(segments.is_empty());
        }
    }

    #[test]
    fn much_memory_is_freed_and_little_is_kept() {
        for (bytes, kept) in [(1_000, true), (150_000, false), (600_000, false)] {
            let mut segments = Segments::default();
            (0..bytes / 100).for_each(|_| segments.push(&[1; 100]));
            segments.clear(64 << 10);
            assert!(segments.is_empty());
            assert_eq!(segments.capacity() > 0, kept, "{bytes} bytes: {}", segments.capacity());
        }
    }

    #[test]
    fn a_full_segment_stays_where_it_is() {
        let mut segments = Segments::default();
        while segments.sealed.is_empty() {
            segments.push(&[1; 1_000]);
        }
        let address = segments.sealed[0].1.as_ptr();
        (0..10_000).for_each(|_| segments.push(&[2; 1_000]));
        assert_eq!(segments.sealed[0].1.as_ptr(), address);
        assert!(segments.sealed.iter().all(|(_, it)| it.len() >= SEGMENT_BYTES));
        assert!(segments.capacity() < segments.len() * 5 / 4 + 2 * SEGMENT_BYTES);
    }
}
