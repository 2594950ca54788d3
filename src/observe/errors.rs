//! Error replies by their first word, for INFO errorstats.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Number of different words above which further words of scripts share one entry; a script could
/// make up any number.
pub const ERROR_WORDS_MAX: usize = 128;

/// Number of further words for errors of commands. There are fewer.
const OWN_WORDS_MAX: usize = 64;

/// Number of bytes that are kept of a word.
const WORD_BYTES_MAX: usize = 64;

/// Name of the entry that counts all further words.
pub(super) const OVERFLOW_WORD: &str = "ERRORSTATS_OVERFLOW";

/// Who has made an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorOrigin {
    /// A command, whose error words are a closed set.
    Command,
    /// A script.
    Script,
}

impl ErrorOrigin {
    /// Returns whether a further word of this origin has its own entry beside `words` others.
    pub(super) fn has_room(self, words: usize) -> bool {
        match self {
            ErrorOrigin::Command => words < ERROR_WORDS_MAX + OWN_WORDS_MAX,
            ErrorOrigin::Script => words < ERROR_WORDS_MAX,
        }
    }
}

/// Error replies with one first word.
#[derive(Clone, Copy, Debug)]
pub struct ErrorCount {
    /// Number of replies.
    pub replies: u64,
    /// The origin of the first of them, or a command if there was one.
    pub origin: ErrorOrigin,
}

/// One shard's error replies. A lock is acceptable, because errors are rare and readers are rarer.
#[derive(Debug, Default)]
pub struct Errors(Mutex<HashMap<String, ErrorCount>>);

impl Errors {
    /// Counts an error reply; `text` follows its `-`.
    pub fn count(&self, text: &[u8], origin: ErrorOrigin) {
        let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
        let word = String::from_utf8_lossy(&text[..end.min(WORD_BYTES_MAX)]);
        let mut counts = self.lock();
        if let Some(count) = counts.get_mut(&*word) {
            count.replies += 1;
            if origin == ErrorOrigin::Command {
                count.origin = origin;
            }
            return;
        }
        let has_room = origin.has_room(counts.len());
        let word = if has_room { word.into_owned() } else { OVERFLOW_WORD.to_owned() };
        counts.entry(word).or_insert(ErrorCount { replies: 0, origin }).replies += 1;
        let bound = ERROR_WORDS_MAX + OWN_WORDS_MAX + 1;
        assert!(counts.len() <= bound, "error words are bounded");
    }

    /// Returns the words and their counts, first the words of commands.
    pub fn counts(&self) -> Vec<(String, ErrorCount)> {
        let mut counts: Vec<_> = self.lock().iter().map(|(w, n)| (w.clone(), *n)).collect();
        counts.sort_unstable_by(|(one, it), (other, its)| {
            (it.origin as u8, one).cmp(&(its.origin as u8, other))
        });
        counts
    }

    /// Clears all counts.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, ErrorCount>> {
        // The map is consistent wherever a thread could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_scripts_are_counted_up_to_a_bound() {
        let errors = Errors::default();
        errors.count(b"ERR one", ErrorOrigin::Command);
        errors.count(b"ERR two", ErrorOrigin::Script);
        errors.count(b"OOM", ErrorOrigin::Command);
        for word in 0..500 {
            errors.count(format!("W{word}").as_bytes(), ErrorOrigin::Script);
        }
        errors.count(b"BUSY late", ErrorOrigin::Command);
        let counts = errors.counts();
        let commands = counts[..3].iter().map(|(word, count)| (word.as_str(), count.replies));
        assert_eq!(commands.collect::<Vec<_>>(), [("BUSY", 1), ("ERR", 2), ("OOM", 1)]);
        assert_eq!(counts.len(), ERROR_WORDS_MAX + 2, "with BUSY and the entry of all others");
        assert_eq!(counts.iter().map(|(_, n)| n.replies).sum::<u64>(), 504);
        errors.clear();
        assert!(errors.counts().is_empty());
    }

    #[test]
    fn words_of_commands_are_bounded_too() {
        let errors = Errors::default();
        for word in 0..500 {
            errors.count(format!("W{word}").as_bytes(), ErrorOrigin::Command);
        }
        assert_eq!(errors.counts().len(), ERROR_WORDS_MAX + OWN_WORDS_MAX + 1);
    }
}
