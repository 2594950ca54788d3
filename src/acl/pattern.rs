//! Patterns of keys and channels. Hot: every key of a restricted user's command passes here.

use crate::base::glob;
use std::collections::HashMap;

/// Access to a key: a set of bits.
pub(super) const READ: u8 = 1;

/// See [`READ`].
pub(super) const WRITE: u8 = 2;

/// How a pattern is matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The whole pattern is literal.
    Literal,
    /// A literal text, and a star behind it.
    Prefix,
    /// Any other pattern.
    Glob,
}

/// A glob pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) text: Box<[u8]>,
    form: Form,
    /// The first bytes that each match has, as [`head_of`] packs them, and which of its bits count.
    /// So most patterns are excluded without a look at their text.
    head: u64,
    mask: u64,
}

/// Packs the first 8 bytes of a name; zeros stand for bytes that it does not have.
#[inline]
pub(super) fn head_of(name: &[u8]) -> u64 {
    let mut head = [0; 8];
    match name.first_chunk() {
        Some(first) => head = *first,
        None => head[..name.len()].copy_from_slice(name),
    }
    u64::from_le_bytes(head)
}

impl Pattern {
    pub(super) fn new(text: &[u8]) -> Pattern {
        let form = match text.split_last() {
            _ if glob::is_literal(text) => Form::Literal,
            Some((b'*', prefix)) if glob::is_literal(prefix) => Form::Prefix,
            _ => Form::Glob,
        };
        let is_special = |byte: &u8| b"*?[\\".contains(byte);
        let fixed = text.iter().position(is_special).unwrap_or(text.len()).min(8);
        let mask = head_of(&[0xff; 8][..fixed]);
        Pattern { text: text.into(), form, head: head_of(&text[..fixed]), mask }
    }

    /// Returns whether it may match a name with this head.
    #[inline]
    pub(super) fn may_match(&self, head: u64) -> bool {
        (self.head ^ head) & self.mask == 0
    }

    #[inline]
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        match self.form {
            Form::Literal => *self.text == *name,
            // No star matches an empty text, see [`glob::matches`].
            Form::Prefix => !name.is_empty() && name.starts_with(&self.text[..self.text.len() - 1]),
            Form::Glob => glob::matches(&self.text, name, false),
        }
    }
}

/// Number of buckets of a [`KeyIndex`].
const BUCKETS: usize = 32;

/// Number of patterns of keys from which on an index is faster than a look at each.
const KEYS_INDEXED_MIN: usize = 4;

/// Finds the patterns that a key may match by one of its first 8 bytes.
///
/// ```text
///   key --byte `at` % 32--> bucket: bit n is set if pattern n, n + 64, ... may match
/// ```
/// A pattern without a fixed byte at this place is in all buckets. The place is the one that
/// divides the patterns best. `tenant:1:*` and `tenant:2:*` differ in byte 7.
#[derive(Clone, Debug)]
pub(super) struct KeyIndex {
    /// Bits by which a head is shifted for the byte.
    shift: u32,
    buckets: [u64; BUCKETS],
    /// The bits of the patterns that give an access, by the access.
    giving: [u64; 4],
}

impl KeyIndex {
    /// Creates the index of a list of patterns; none if they are few.
    pub(super) fn new(keys: &[KeyPattern]) -> Option<Box<KeyIndex>> {
        if keys.len() < KEYS_INDEXED_MIN {
            return None;
        }
        let largest = |index: &KeyIndex| {
            let sizes = index.buckets.iter().map(|bits| bits.count_ones());
            sizes.max().expect("there are buckets")
        };
        let indexes = (0..u64::BITS / 8).map(|at| KeyIndex::by_byte(keys, at * 8));
        indexes.min_by_key(largest).map(Box::new)
    }

    fn by_byte(keys: &[KeyPattern], shift: u32) -> KeyIndex {
        let mut index = KeyIndex { shift, buckets: [0; BUCKETS], giving: [0; 4] };
        for (number, key) in keys.iter().enumerate() {
            let bit = 1 << (number % 64);
            let is_fixed = key.pattern.mask >> shift & 0xff != 0;
            let bucket = index.bucket(key.pattern.head);
            for (at, bits) in index.buckets.iter_mut().enumerate() {
                if !is_fixed || at == bucket {
                    *bits |= bit;
                }
            }
            for (access, bits) in index.giving.iter_mut().enumerate() {
                if usize::from(key.access) & access == access {
                    *bits |= bit;
                }
            }
        }
        index
    }

    #[inline]
    fn bucket(&self, head: u64) -> usize {
        (head >> self.shift) as usize % BUCKETS
    }

    /// Returns whether one of the patterns gives this access to a key.
    #[inline]
    pub(super) fn gives(&self, keys: &[KeyPattern], key: &[u8], access: u8) -> bool {
        let head = head_of(key);
        let mut bits = self.buckets[self.bucket(head)] & self.giving[usize::from(access % 4)];
        while bits != 0 {
            let first = bits.trailing_zeros() as usize;
            if keys[first..].iter().step_by(64).any(|one| one.gives(key, head, access)) {
                return true;
            }
            bits &= bits - 1;
        }
        false
    }
}

/// Number of patterns from which on an index finds one.
const INDEXED_MIN: usize = 32;

/// Where each of many patterns is in its list, so that adding one does not compare it with all.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(HashMap<Box<[u8]>, usize>);

impl Places {
    /// Returns where a text is in a list, whose texts `texts` returns. Between two calls the list
    /// may only grow, unless [`Places::clear`] is called.
    pub(super) fn find<'t>(
        &mut self,
        text: &[u8],
        texts: impl ExactSizeIterator<Item = &'t [u8]>,
    ) -> Option<usize> {
        if texts.len() < INDEXED_MIN {
            return texts.into_iter().position(|known| known == text);
        }
        for (at, known) in texts.enumerate().skip(self.0.len()) {
            self.0.insert(known.into(), at);
        }
        self.0.get(text).copied()
    }

    /// Forgets all places.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// A pattern of keys, with the access that it gives.
#[derive(Clone, Debug)]
pub(super) struct KeyPattern {
    pub(super) pattern: Pattern,
    pub(super) access: u8,
}

impl KeyPattern {
    /// Returns whether it gives this access to a key with this head.
    #[inline]
    pub(super) fn gives(&self, key: &[u8], head: u64, access: u8) -> bool {
        self.access & access == access && self.pattern.may_match(head) && self.pattern.matches(key)
    }

    /// Appends the rule that sets the pattern.
    pub(super) fn describe(&self, out: &mut Vec<u8>) {
        let head: &[u8] = match self.access {
            READ => b"%R~",
            WRITE => b"%W~",
            _ => b"~",
        };
        out.extend_from_slice(head);
        out.extend_from_slice(&self.pattern.text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    #[test]
    fn all_forms_match_like_globs() {
        let names: [&[u8]; 6] = [b"", b"a", b"ab", b"abc", b"b", b"a*"];
        for text in ["", "*", "a", "a*", "a?", "*b", "[ab]*", "ab*", "a\\*", "a**"] {
            let pattern = Pattern::new(text.as_bytes());
            for name in names {
                let expected = glob::matches(text.as_bytes(), name, false);
                assert_eq!(pattern.matches(name), expected, "{text} {name:?}");
            }
        }
    }

    /// Draws a text of at most `len_max` letters.
    fn text(rng: &mut Rng, letters: &[u8], len_max: u64) -> Vec<u8> {
        let len = rng.below(len_max + 1);
        (0..len).map(|_| letters[rng.below(letters.len() as u64) as usize]).collect()
    }

    #[test]
    fn no_match_is_excluded_by_its_head() {
        let mut rng = Rng::new(5);
        let mut text = |letters: &[u8], len_max| text(&mut rng, letters, len_max);
        let (mut matched, mut excluded) = (0, 0);
        for _ in 0..200_000 {
            let pattern = Pattern::new(&text(b"ab\0aaab*?[]\\^-", 11));
            let name = text(b"ab\0aaa*", 11);
            let may_match = pattern.may_match(head_of(&name));
            assert!(
                may_match || !glob::matches(&pattern.text, &name, false),
                "{pattern:?} {name:?}"
            );
            matched += usize::from(pattern.matches(&name));
            excluded += usize::from(!may_match);
        }
        assert!(matched > 1_000 && excluded > 100_000, "{matched} {excluded}");
    }

    #[test]
    fn an_index_gives_what_its_patterns_give() {
        let mut rng = Rng::new(7);
        let mut text = |letters: &[u8], len_max| text(&mut rng, letters, len_max);
        let (mut given, mut refused) = (0, 0);
        for round in 0..400 {
            let keys: Vec<KeyPattern> = (0..4 + round % 150)
                .map(|number| {
                    let letters: &[u8] = if number % 9 == 0 { b"ab\0*?[]" } else { b"ab\0cdA" };
                    let pattern = Pattern::new(&[text(letters, 9), b"*".to_vec()].concat());
                    KeyPattern { pattern, access: 1 + (number % 3) as u8 }
                })
                .collect();
            let index = KeyIndex::new(&keys).expect("there are enough");
            for _ in 0..50 {
                let key = text(b"ab\0cdA", 12);
                for access in 0..4 {
                    let head = head_of(&key);
                    let expected = keys.iter().any(|one| one.gives(&key, head, access));
                    assert_eq!(index.gives(&keys, &key, access), expected, "{keys:?} {key:?}");
                    given += usize::from(expected);
                    refused += usize::from(!expected);
                }
            }
        }
        assert!(given > 1_000 && refused > 1_000, "{given} {refused}");
    }
}
