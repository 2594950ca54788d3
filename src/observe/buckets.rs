//! Counts of durations by class, allocated as classes are used. Hot: every batch counts in one.
//!
//! The classes are the ones of a hdrhistogram with `1 << BITS` sub-buckets, so that [`Buckets`] can
//! be added to such a histogram without loss. A class below `1 << BITS` is one value. Above, each
//! power of two has half as many classes, all of the same width:
//!
//! ```text
//!   BITS = 8     values   0 .. 256      256 .. 512        512 .. 1024      ...
//!                width    1             2                 4
//!                index    0 .. 256      256 .. 384        384 .. 512       ...
//!
//!   900 = 0b11_1000_0100: 2 bits beyond 8, so index = (2 << 7) + (900 >> 2) = 256 + 225 = 481
//! ```
//! 32 classes are a page. `places` has a byte per page: 0 for a page without counts, or the page's
//! place in `counts`, plus 1. Most commands need a few pages: an array of all classes would take
//! 24 KiB for `BITS = 8` and a second, this takes 384 bytes for the first duration.

use hdrhistogram::Histogram;

/// Classes per page.
const PAGE_CLASSES: usize = 32;

/// Counts by class, in `PAGES` pages at most.
#[derive(Debug)]
pub(super) struct Buckets<const BITS: u32, const PAGES: usize> {
    places: [u8; PAGES],
    counts: Vec<[u64; PAGE_CLASSES]>,
}

impl<const BITS: u32, const PAGES: usize> Default for Buckets<BITS, PAGES> {
    fn default() -> Self {
        Buckets { places: [0; PAGES], counts: Vec::new() }
    }
}

impl<const BITS: u32, const PAGES: usize> Buckets<BITS, PAGES> {
    /// The largest value that has a class.
    pub(super) const VALUE_MAX: u64 = {
        assert!(PAGES < u8::MAX as usize && BITS >= 1);
        let halves = (PAGES * PAGE_CLASSES) >> (BITS - 1);
        assert!(halves >= 2 && (halves as u32 + BITS - 1) < u64::BITS);
        (1 << (halves as u32 + BITS - 2)) - 1
    };

    /// Counts a value `count` times. The value must have a class.
    #[inline]
    pub(super) fn add(&mut self, value: u64, count: u64) {
        let class = class_of::<BITS>(value);
        let place = match self.places[class / PAGE_CLASSES] {
            0 => self.add_page(class / PAGE_CLASSES),
            place => usize::from(place) - 1,
        };
        self.counts[place][class % PAGE_CLASSES] += count;
    }

    /// Adds a page of zeros, and returns its place.
    #[cold]
    fn add_page(&mut self, page: usize) -> usize {
        let place = self.counts.len();
        assert!(place < PAGES && self.places[page] == 0);
        if place == self.counts.capacity() {
            self.counts.reserve_exact(1 + place / 4);
        }
        self.counts.push([0; PAGE_CLASSES]);
        self.places[page] = place as u8 + 1;
        place
    }

    /// Adds all counts to a histogram with the same classes.
    pub(super) fn add_to(&self, sum: &mut Histogram<u64>) {
        for (page, place) in self.places.iter().enumerate().filter(|(_, place)| **place > 0) {
            for (at, count) in self.counts[usize::from(*place) - 1].iter().enumerate() {
                if *count > 0 {
                    let value = lowest_value::<BITS>(page * PAGE_CLASSES + at);
                    sum.record_n(value, *count).expect("the histogram has the same classes");
                }
            }
        }
    }
}

/// Returns the class of a value.
#[inline]
fn class_of<const BITS: u32>(value: u64) -> usize {
    let beyond = (u64::BITS - value.leading_zeros()).saturating_sub(BITS);
    ((beyond as usize) << (BITS - 1)) + (value >> beyond) as usize
}

/// Returns the lowest value of a class.
fn lowest_value<const BITS: u32>(class: usize) -> u64 {
    let beyond = (class >> (BITS - 1)).saturating_sub(1);
    ((class - (beyond << (BITS - 1))) as u64) << beyond
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    type Small = Buckets<8, 96>;

    #[test]
    fn a_class_has_one_lowest_value() {
        for class in 0..96 * PAGE_CLASSES {
            let low = lowest_value::<8>(class);
            assert_eq!(class_of::<8>(low), class);
            assert_eq!(class_of::<8>(lowest_value::<8>(class + 1) - 1), class);
        }
        assert_eq!(class_of::<8>(900), 481);
        assert_eq!(class_of::<8>(Small::VALUE_MAX), 96 * PAGE_CLASSES - 1);
        assert_eq!(Small::VALUE_MAX, (1 << 30) - 1);
    }

    #[test]
    fn figures_are_equal_to_a_histogram_of_all_values() {
        let bounds = || Histogram::<u64>::new_with_bounds(1, 1_000_000_000, 2).unwrap();
        let mut rng = Rng::new(7);
        let (mut all, mut sum, mut buckets) = (bounds(), bounds(), Small::default());
        for _ in 0..10_000 {
            let value = (rng.below(1 << 30) >> rng.below(30)).clamp(1, 1_000_000_000);
            let count = 1 + rng.below(5);
            all.record_n(value, count).unwrap();
            buckets.add(value, count);
        }
        buckets.add_to(&mut sum);
        assert_eq!(sum, all);
        for quantile in [0.0, 0.5, 0.99, 0.999, 1.0] {
            assert_eq!(sum.value_at_quantile(quantile), all.value_at_quantile(quantile));
        }
        assert_eq!((sum.min(), sum.max()), (all.min(), all.max()));
    }

    #[test]
    fn the_first_value_takes_one_page() {
        let mut buckets = Small::default();
        buckets.add(700, 1);
        buckets.add(710, 1);
        assert_eq!((buckets.counts.len(), buckets.counts.capacity()), (1, 1));
        assert!(size_of::<Small>() <= 128);
    }
}
