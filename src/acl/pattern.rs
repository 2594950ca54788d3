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

    #[test]
    fn no_match_is_excluded_by_its_head() {
        let mut rng = Rng::new(5);
        let mut text = |letters: &[u8], len_max: u64| -> Vec<u8> {
            let len = rng.below(len_max + 1);
            (0..len).map(|_| letters[rng.below(letters.len() as u64) as usize]).collect()
        };
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
}
