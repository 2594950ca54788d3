//! Patterns by the text that a channel must begin or end with, so that a message is compared with
//! few of many patterns.
//!
//! ```text
//!   news.*      begins with "news."      by prefix
//!   *.eu        ends with ".eu"          by suffix
//!   h?llo*      begins with "h"          by prefix
//!   *news*      neither                  compared with every message
//! ```
//! The beginnings are sorted. Those of a channel are found from the longest to the shortest: the
//! greatest beginning that is not greater than the channel is one of the channel's, or the two
//! differ somewhere, and no longer common part is left. So the number of steps is at most the
//! length of the channel, and usually the number of its beginnings.

use crate::base::glob;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;

type Sorted = BTreeMap<Box<[u8]>, Vec<Bytes>>;

/// The patterns that have subscriptions.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    by_prefix: Sorted,
    /// By suffix, with its bytes reversed.
    by_suffix: Sorted,
    others: Vec<Bytes>,
}

/// Returns the literal beginning of a pattern.
fn prefix_of(pattern: &[u8]) -> &[u8] {
    let is_special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
    &pattern[..pattern.iter().position(is_special).unwrap_or(pattern.len())]
}

/// Returns the literal end of a pattern, reversed.
fn suffix_of(pattern: &[u8]) -> Box<[u8]> {
    // A bracket may be open from anywhere before its end, and a backslash may precede.
    if pattern.contains(&b'[') || pattern.contains(&b'\\') {
        return Box::default();
    }
    let plain = pattern.iter().rev().take_while(|byte| !matches!(byte, b'*' | b'?'));
    plain.copied().collect()
}

impl Patterns {
    /// Returns the list that has a pattern, if it has one of the sorted ones.
    fn place(&mut self, pattern: &[u8]) -> Option<(&mut Sorted, Box<[u8]>)> {
        let prefix = prefix_of(pattern);
        if !prefix.is_empty() {
            return Some((&mut self.by_prefix, prefix.into()));
        }
        let suffix = suffix_of(pattern);
        (!suffix.is_empty()).then_some((&mut self.by_suffix, suffix))
    }

    /// Adds a pattern that is not there.
    pub(super) fn add(&mut self, pattern: Bytes) {
        match self.place(&pattern) {
            Some((sorted, key)) => sorted.entry(key).or_default().push(pattern),
            None => self.others.push(pattern),
        }
    }

    /// Removes a pattern.
    pub(super) fn remove(&mut self, pattern: &[u8]) {
        let remove_from = |list: &mut Vec<Bytes>| {
            let at = list.iter().position(|other| **other == *pattern);
            list.swap_remove(at.expect("only a pattern that is there is removed"));
            list.is_empty()
        };
        match self.place(pattern) {
            Some((sorted, key)) => {
                let list = sorted.get_mut(&key).expect("the pattern is there");
                if remove_from(list) {
                    sorted.remove(&key);
                }
            }
            None => {
                remove_from(&mut self.others);
            }
        }
    }

    /// Calls `visit` with each pattern that matches a channel.
    pub(super) fn for_each_match(&self, channel: &[u8], visit: &mut dyn FnMut(&Bytes)) {
        let mut check = |list: &[Bytes]| {
            let matching = list.iter().filter(|pattern| glob::matches(pattern, channel, false));
            matching.for_each(&mut *visit);
        };
        for_each_beginning(&self.by_prefix, channel, &mut check);
        if !self.by_suffix.is_empty() {
            let reversed: Vec<u8> = channel.iter().rev().copied().collect();
            for_each_beginning(&self.by_suffix, &reversed, &mut check);
        }
        check(&self.others);
    }
}

/// Calls `visit` with the patterns of each key that a text begins with.
fn for_each_beginning(sorted: &Sorted, text: &[u8], visit: &mut dyn FnMut(&[Bytes])) {
    let mut end = text.len();
    while end > 0 {
        let until = (Bound::Unbounded, Bound::Included(&text[..end]));
        let Some((key, list)) = sorted.range::<[u8], _>(until).next_back() else { return };
        let common = key.iter().zip(text).take_while(|(a, b)| a == b).count();
        if common == key.len() {
            visit(list);
            end = common - 1;
        } else {
            end = common;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    fn found(patterns: &Patterns, channel: &[u8]) -> Vec<Bytes> {
        let mut found = Vec::new();
        patterns.for_each_match(channel, &mut |pattern| found.push(pattern.clone()));
        found.sort();
        found
    }

    #[test]
    fn the_index_finds_what_a_comparison_with_all_finds() {
        let mut rng = Rng::new(1);
        let mut draw = |letters: &[u8], len_max: u64| -> Vec<u8> {
            let len = rng.below(len_max + 1);
            (0..len).map(|_| letters[rng.below(letters.len() as u64) as usize]).collect()
        };
        let (mut patterns, mut all) = (Patterns::default(), Vec::<Bytes>::new());
        for round in 0..4_000 {
            let pattern = Bytes::from(draw(b"abab*?[]\\^-", 7));
            match all.iter().position(|other| *other == pattern) {
                Some(at) => {
                    patterns.remove(&pattern);
                    all.swap_remove(at);
                }
                None => {
                    patterns.add(pattern.clone());
                    all.push(pattern);
                }
            }
            if round % 4 == 0 {
                let channel = draw(b"ab", 9);
                let is_match = |pattern: &&Bytes| glob::matches(pattern, &channel, false);
                let mut expected: Vec<Bytes> = all.iter().filter(is_match).cloned().collect();
                expected.sort();
                assert_eq!(found(&patterns, &channel), expected, "{channel:?}");
            }
        }
        for pattern in all {
            patterns.remove(&pattern);
        }
        assert!(patterns.by_prefix.is_empty() && patterns.by_suffix.is_empty());
        assert!(patterns.others.is_empty());
    }

    #[test]
    fn many_patterns_are_not_all_compared() {
        let mut patterns = Patterns::default();
        for number in 0..10_000 {
            patterns.add(Bytes::from(format!("user:{number}:*")));
            patterns.add(Bytes::from(format!("*:{number}")));
        }
        let mut visited = 0;
        let mut count = |list: &[Bytes]| visited += list.len();
        for_each_beginning(&patterns.by_prefix, b"user:1234:new", &mut count);
        assert_eq!(visited, 1);
        assert_eq!(found(&patterns, b"user:1234:77").len(), 2);
    }
}
