//! The command log: commands that took long, or that had a large request or a large reply.
//!
//! Each shard keeps those of its own clients in rings on its board; what is shown is the newest of
//! all. Numbers are given by the process, so that they grow over all shards.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Words of a command that an entry keeps; the last of them then says how many are left out.
pub const LOGGED_WORDS_MAX: usize = 32;

/// Bytes of a word that an entry keeps.
pub const LOGGED_WORD_BYTES_MAX: usize = 128;

/// What stands in place of a secret.
pub const REDACTED: &[u8] = b"(redacted)";

/// What a command is remembered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// Its run took long; its value is microseconds.
    Slow,
    /// It was large; its value is bytes.
    LargeRequest,
    /// Its reply was; its value is bytes.
    LargeReply,
}

impl LogKind {
    /// All kinds.
    pub const ALL: [LogKind; 3] = [LogKind::Slow, LogKind::LargeRequest, LogKind::LargeReply];

    /// The word for it in COMMANDLOG.
    pub fn word(self) -> &'static str {
        ["slow", "large-request", "large-reply"][self as usize]
    }
}

/// The words of a command as an entry keeps them.
pub type LoggedArgs = Vec<Box<[u8]>>;

/// One command that is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Unique among those of its kind, growing.
    pub id: u64,
    /// Unix time, seconds.
    pub unix_s: u64,
    /// Microseconds, or bytes.
    pub value: u64,
    /// What was sent.
    pub args: LoggedArgs,
    /// The client's address.
    pub address: String,
    /// The client's name.
    pub name: Vec<u8>,
}

/// A command's words, cut to what an entry keeps of them.
pub fn logged_args<'a>(
    count: usize,
    word: impl Fn(usize) -> &'a [u8],
    is_secret: impl Fn(usize) -> bool,
) -> LoggedArgs {
    let kept = count.min(LOGGED_WORDS_MAX);
    let one = |at: usize| {
        if kept < count && at + 1 == kept {
            return format!("... ({} more arguments)", count - kept + 1).into_bytes().into();
        }
        if is_secret(at) { REDACTED.into() } else { cut(word(at)).into_owned().into() }
    };
    (0..kept).map(one).collect()
}

/// A word, or its beginning and how much is left out.
fn cut(word: &[u8]) -> Cow<'_, [u8]> {
    if word.len() <= LOGGED_WORD_BYTES_MAX {
        return Cow::Borrowed(word);
    }
    let mut kept = word[..LOGGED_WORD_BYTES_MAX].to_vec();
    let more = word.len() - LOGGED_WORD_BYTES_MAX;
    kept.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
    Cow::Owned(kept)
}

/// One shard's entries of one kind, the newest first. A lock is fine: what is remembered is rare,
/// and who reads it rarer.
#[derive(Debug, Default)]
pub(super) struct Ring(Mutex<VecDeque<LogEntry>>);

impl Ring {
    fn lock(&self) -> MutexGuard<'_, VecDeque<LogEntry>> {
        // The list is whole at every point where a thread could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an entry, and no more than `entries_max`.
    pub(super) fn push(&self, entry: LogEntry, entries_max: usize) {
        let mut entries = self.lock();
        entries.push_front(entry);
        entries.truncate(entries_max);
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// The newest entries, so many at most.
    pub(super) fn newest(&self, count: usize) -> Vec<LogEntry> {
        self.lock().iter().take(count).cloned().collect()
    }
}

/// The numbers of entries, by kind.
#[derive(Debug, Default)]
pub(super) struct LogIds([AtomicU64; 3]);

impl LogIds {
    pub(super) fn next(&self, kind: LogKind) -> u64 {
        self.0[kind as usize].fetch_add(1, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(words: &[&[u8]], is_secret: impl Fn(usize) -> bool) -> Vec<String> {
        let kept = logged_args(words.len(), |at| words[at], is_secret);
        kept.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }

    #[test]
    fn words_are_cut_as_the_reference_cuts_them() {
        let long = vec![b'A'; 129];
        let kept = shown(&[b"set", b"key", &long[..128], &long], |at| at == 1);
        assert_eq!(kept[..2], ["set", "(redacted)"]);
        assert_eq!(kept[2].len(), 128);
        assert_eq!(kept[3], format!("{}... (1 more bytes)", "A".repeat(128)));
        let many = vec![&b"x"[..]; 33];
        assert_eq!(shown(&many[..32], |_| false).last().unwrap(), "x");
        let kept = shown(&many, |_| true);
        assert_eq!((kept.len(), kept[31].as_str()), (32, "... (2 more arguments)"));
    }
}
