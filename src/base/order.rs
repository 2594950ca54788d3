//! Sorting as clients of the reference server see it: the order of equal elements is fixed, and any
//! comparison function is allowed.
//!
//! ```text
//!   sort         merge sort: equal elements keep their order
//!   sort_part    quicksort after Bentley and McIlroy, "Engineering a Sort Function"; it skips
//!                parts without a wanted index, and equal elements may change their order
//! ```

use std::cmp::Ordering;
use std::ops::Range;

/// Sorts all elements; equal elements keep their order. An inconsistent comparison gives some
/// order.
pub fn sort<T: Clone>(items: &mut [T], compare: &impl Fn(&T, &T) -> Ordering) {
    if items.len() < 2 {
        return;
    }
    let (left, right) = items.split_at_mut(items.len() / 2);
    sort(left, compare);
    sort(right, compare);
    let (left, right) = (left.to_vec(), right.to_vec());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    for place in items {
        let takes_left = match (left.peek(), right.peek()) {
            (Some(one), Some(other)) => compare(one, other).is_le(),
            (one, _) => one.is_some(),
        };
        let next = if takes_left { left.next() } else { right.next() };
        *place = next.expect("as many as there are places");
    }
}

/// Largest number of elements that are sorted by insertion.
const INSERTED_MAX: usize = 6;

/// Number of elements from which the pivot is chosen among nine.
const NINE_MIN: usize = 41;

/// Sorts only as far as needed for the indices `wanted` to hold their final elements.
pub fn sort_part<T>(
    mut items: &mut [T],
    mut wanted: Range<usize>,
    compare: &impl Fn(&T, &T) -> Ordering,
) {
    loop {
        let len = items.len();
        if len <= INSERTED_MAX {
            return insert_all(items, compare);
        }
        let (lower, higher) = partition(items, compare);
        if lower > 1 && wanted.start < lower && wanted.end > 0 {
            sort_part(&mut items[..lower], wanted.clone(), compare);
        }
        let start = len - higher;
        if higher <= 1 || wanted.end <= start || wanted.start >= len {
            return;
        }
        items = &mut items[start..];
        wanted = wanted.start.saturating_sub(start)..wanted.end - start;
    }
}

fn insert_all<T>(items: &mut [T], compare: &impl Fn(&T, &T) -> Ordering) {
    for end in 1..items.len() {
        let mut at = end;
        while at > 0 && compare(&items[at - 1], &items[at]).is_gt() {
            items.swap(at - 1, at);
            at -= 1;
        }
    }
}

/// Moves the elements below the pivot to the start and the elements above it to the end. Returns
/// the number of each.
fn partition<T>(items: &mut [T], compare: &impl Fn(&T, &T) -> Ordering) -> (usize, usize) {
    let len = items.len();
    let pivot = pivot_of(items, compare);
    items.swap(0, pivot);
    // Equal elements gather at both ends: ..a and d.. hold them, a..b is below the pivot, c..d
    // above.
    let (mut a, mut b, mut c, mut d) = (1, 1, len - 1, len - 1);
    loop {
        while b <= c {
            match compare(&items[b], &items[0]) {
                Ordering::Greater => break,
                Ordering::Equal => {
                    items.swap(a, b);
                    a += 1;
                }
                Ordering::Less => {}
            }
            b += 1;
        }
        while b <= c {
            match compare(&items[c], &items[0]) {
                Ordering::Less => break,
                Ordering::Equal => {
                    items.swap(c, d);
                    d -= 1;
                }
                Ordering::Greater => {}
            }
            c -= 1;
        }
        if b > c {
            break;
        }
        items.swap(b, c);
        b += 1;
        c -= 1;
    }
    let count = a.min(b - a);
    (0..count).for_each(|at| items.swap(at, b - count + at));
    let count = (d - c).min(len - 1 - d);
    (0..count).for_each(|at| items.swap(b + at, len - count + at));
    (b - a, d - c)
}

fn pivot_of<T>(items: &[T], compare: &impl Fn(&T, &T) -> Ordering) -> usize {
    let len = items.len();
    let (mut low, mut middle, mut high) = (0, len / 2, len - 1);
    let median = |a: usize, b: usize, c: usize| {
        let is_less = |one: usize, other: usize| compare(&items[one], &items[other]).is_lt();
        if is_less(a, b) {
            return if is_less(b, c) {
                b
            } else if is_less(a, c) {
                c
            } else {
                a
            };
        }
        if compare(&items[b], &items[c]).is_gt() {
            b
        } else if is_less(a, c) {
            a
        } else {
            c
        }
    };
    if len == INSERTED_MAX + 1 {
        return middle;
    }
    if len >= NINE_MIN {
        let step = len / 8;
        low = median(low, low + step, low + 2 * step);
        middle = median(middle - step, middle, middle + step);
        high = median(high - 2 * step, high - step, high);
    }
    median(low, middle, high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    #[test]
    fn equal_elements_stay_in_their_order() {
        let mut rng = Rng::new(1);
        for len in 0..60 {
            let items: Vec<(u64, u64)> = (0..len).map(|at| (rng.below(8), at)).collect();
            let (mut ours, mut expected) = (items.clone(), items);
            sort(&mut ours, &|one, other| one.0.cmp(&other.0));
            expected.sort_by_key(|item| item.0);
            assert_eq!(ours, expected);
        }
    }

    #[test]
    fn the_wanted_indices_are_right() {
        let mut rng = Rng::new(2);
        for round in 0..2_000 {
            let (len, values) = (rng.below(120) as usize + 1, rng.below(200) + 1);
            let items: Vec<u64> = (0..len).map(|_| rng.below(values)).collect();
            let start = rng.below(len as u64) as usize;
            let end = start + 1 + rng.below((len - start) as u64) as usize;
            let (mut ours, mut expected) = (items.clone(), items);
            sort_part(&mut ours, start..end, &u64::cmp);
            expected.sort();
            assert_eq!(ours[start..end], expected[start..end], "round {round}");
            ours.sort();
            assert_eq!(ours, expected, "nothing is lost");
        }
    }

    #[test]
    fn an_inconsistent_comparison_does_no_harm() {
        let mut rng = Rng::new(3);
        for len in [5, 7, 8, 39, 41, 200] {
            let mut items: Vec<f64> =
                (0..len).map(|_| [f64::NAN, 1.0, 2.0, 3.0][rng.below(4) as usize]).collect();
            let compare = |one: &f64, other: &f64| match () {
                () if one > other => Ordering::Greater,
                () if one == other => Ordering::Equal,
                () => Ordering::Less,
            };
            sort_part(&mut items, 0..3, &compare);
            sort(&mut items, &compare);
            assert_eq!(items.len(), len);
        }
    }
}
