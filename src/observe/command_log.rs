//! The command log: commands that were slow, or that had a large request or a large reply.
//!
//! Each shard keeps the entries of its own clients in rings on its board; a reader sees the newest
//! of all shards. The process numbers the entries, so that numbers grow over all shards.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Arguments of a command that an entry keeps; the last of them then says how many are left out.
pub const LOGGED_ARGS_MAX: usize = 32;

/// Bytes of an argument that an entry keeps.
pub const LOGGED_ARG_BYTES_MAX: usize = 128;

/// Text shown instead of a secret.
pub const REDACTED: &[u8] = b"(redacted)";

/// Why a command is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// Its run was slow; the value is in microseconds.
    Slow,
    /// Its request was large; the value is in bytes.
    LargeRequest,
    /// Its reply was large; the value is in bytes.
    LargeReply,
}

impl LogKind {
    /// All kinds.
    pub const ALL: [LogKind; 3] = [LogKind::Slow, LogKind::LargeRequest, LogKind::LargeReply];

    /// Returns the kind's name in COMMANDLOG.
    pub fn word(self) -> &'static str {
        ["slow", "large-request", "large-reply"][self as usize]
    }
}

/// The arguments of a command as an entry keeps them.
pub type LoggedArgs = Vec<Box<[u8]>>;

/// One entry of the command log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The entry's number: unique within its kind, growing.
    pub id: u64,
    /// Unix time in seconds.
    pub unix_s: u64,
    /// The value in microseconds or bytes, as the kind says.
    pub value: u64,
    /// The command's arguments, cut to size.
    pub args: LoggedArgs,
    /// The client's address.
    pub address: String,
    /// The client's name.
    pub name: Vec<u8>,
}

/// Cuts a command's arguments to the part that an entry keeps.
pub fn logged_args<'a>(
    count: usize,
    arg: impl Fn(usize) -> &'a [u8],
    is_secret: impl Fn(usize) -> bool,
) -> LoggedArgs {
    let kept = count.min(LOGGED_ARGS_MAX);
    let one = |at: usize| {
        if kept < count && at + 1 == kept {
            return format!("... ({} more arguments)", count - kept + 1).into_bytes().into();
        }
        if is_secret(at) { REDACTED.into() } else { cut(arg(at)).into_owned().into() }
    };
    (0..kept).map(one).collect()
}

/// Returns an argument, or its beginning and how many bytes are left out.
fn cut(arg: &[u8]) -> Cow<'_, [u8]> {
    if arg.len() <= LOGGED_ARG_BYTES_MAX {
        return Cow::Borrowed(arg);
    }
    let mut kept = arg[..LOGGED_ARG_BYTES_MAX].to_vec();
    let more = arg.len() - LOGGED_ARG_BYTES_MAX;
    kept.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
    Cow::Owned(kept)
}

/// One shard's entries of one kind, the newest first. A lock is acceptable, because entries are
/// rare and readers are rarer.
#[derive(Debug, Default)]
pub(super) struct Ring(Mutex<VecDeque<LogEntry>>);

impl Ring {
    fn lock(&self) -> MutexGuard<'_, VecDeque<LogEntry>> {
        // The list is consistent wherever a thread could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry, and keeps at most `entries_max`.
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

    /// Returns the newest entries, at most `count`.
    pub(super) fn newest(&self, count: usize) -> Vec<LogEntry> {
        self.lock().iter().take(count).cloned().collect()
    }
}

/// The last number given to an entry, by kind.
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

    fn shown(args: &[&[u8]], is_secret: impl Fn(usize) -> bool) -> Vec<String> {
        let kept = logged_args(args.len(), |at| args[at], is_secret);
        kept.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
    }

    #[test]
    fn arguments_are_cut_as_in_the_reference() {
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
