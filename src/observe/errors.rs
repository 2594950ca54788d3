//! Error replies by their first word, as INFO errorstats shows them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Different words that are counted; scripts can make up any number of them.
pub const ERROR_WORDS_MAX: usize = 128;

/// Bytes of a word that are kept.
const WORD_BYTES_MAX: usize = 64;

/// Counts what came when there was no room for another word.
pub(super) const OVERFLOW_WORD: &str = "ERRORSTATS_OVERFLOW";

/// One shard's error replies. A lock is fine: errors are rare, and readers rarer.
#[derive(Debug, Default)]
pub struct Errors(Mutex<HashMap<String, u64>>);

impl Errors {
    /// Counts an error reply; `text` is what follows its `-`.
    pub fn count(&self, text: &[u8]) {
        let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
        let word = String::from_utf8_lossy(&text[..end.min(WORD_BYTES_MAX)]);
        let mut counts = self.lock();
        if let Some(count) = counts.get_mut(&*word) {
            *count += 1;
            return;
        }
        // One more than the maximum: the word that counts the rest.
        let room = counts.len() < ERROR_WORDS_MAX;
        let word = if room { word.into_owned() } else { OVERFLOW_WORD.to_owned() };
        *counts.entry(word).or_insert(0) += 1;
        assert!(counts.len() <= ERROR_WORDS_MAX + 1, "error words are bounded");
    }

    /// The words and their counts.
    pub fn counts(&self) -> Vec<(String, u64)> {
        let mut counts: Vec<_> = self.lock().iter().map(|(w, n)| (w.clone(), *n)).collect();
        counts.sort_unstable();
        counts
    }

    /// Forgets all.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        // The map is whole at every point where a thread could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_up_to_a_bound() {
        let errors = Errors::default();
        errors.count(b"ERR one");
        errors.count(b"ERR two");
        errors.count(b"OOM");
        assert_eq!(errors.counts(), [("ERR".to_owned(), 2), ("OOM".to_owned(), 1)]);
        for word in 0..500 {
            errors.count(format!("W{word}").as_bytes());
        }
        let counts = errors.counts();
        assert_eq!(counts.len(), ERROR_WORDS_MAX + 1);
        assert_eq!(counts.iter().map(|(_, n)| n).sum::<u64>(), 503);
        errors.clear();
        assert!(errors.counts().is_empty());
    }
}
