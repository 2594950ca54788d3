//! Error replies by their first word, for INFO errorstats.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Number of different words that are counted; a script could make up any number.
pub const ERROR_WORDS_MAX: usize = 128;

/// Number of bytes that are kept of a word.
const WORD_BYTES_MAX: usize = 64;

/// Name of the entry that counts all further words.
pub(super) const OVERFLOW_WORD: &str = "ERRORSTATS_OVERFLOW";

/// One shard's error replies. A lock is acceptable, because errors are rare and readers are rarer.
#[derive(Debug, Default)]
pub struct Errors(Mutex<HashMap<String, u64>>);

impl Errors {
    /// Counts an error reply; `text` follows its `-`.
    pub fn count(&self, text: &[u8]) {
        let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
        let word = String::from_utf8_lossy(&text[..end.min(WORD_BYTES_MAX)]);
        let mut counts = self.lock();
        if let Some(count) = counts.get_mut(&*word) {
            *count += 1;
            return;
        }
        // There is one entry more than the maximum: the entry of all further words.
        let room = counts.len() < ERROR_WORDS_MAX;
        let word = if room { word.into_owned() } else { OVERFLOW_WORD.to_owned() };
        *counts.entry(word).or_insert(0) += 1;
        assert!(counts.len() <= ERROR_WORDS_MAX + 1, "error words are bounded");
    }

    /// Returns the words and their counts.
    pub fn counts(&self) -> Vec<(String, u64)> {
        let mut counts: Vec<_> = self.lock().iter().map(|(w, n)| (w.clone(), *n)).collect();
        counts.sort_unstable();
        counts
    }

    /// Clears all counts.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        // The map is consistent wherever a thread could panic.
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
