//! ACL LOG: the latest refusals. Similar ones are one entry with a count.

use super::check::Reason;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Milliseconds between two similar refusals that are one entry.
const SAME_ENTRY_MS_MAX: u64 = 60_000;

/// Number of the latest entries that a new refusal is compared with.
const COMPARED_MAX: usize = 10;

/// The most bytes of a name that an entry keeps. Clients choose names, and there may be many
/// entries.
const NAME_BYTES_MAX: usize = 16 << 10;

/// Where a refused command came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialContext {
    /// From a client.
    TopLevel,
    /// From a client, between MULTI and EXEC.
    Multi,
    /// From a script.
    Script,
}

/// What makes refusals similar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogKey {
    /// What the user lacks.
    pub reason: Reason,
    /// Where the command came from.
    pub context: DenialContext,
    /// Name of the command, key, channel or database.
    pub object: Vec<u8>,
    /// Name of the user.
    pub user: Vec<u8>,
}

/// One entry.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// What its refusals have in common.
    pub key: LogKey,
    /// Number of refusals.
    pub count: u64,
    /// Number of the entry, from 0.
    pub id: u64,
    /// Unix milliseconds of the first refusal.
    pub created_ms: u64,
    /// Unix milliseconds of the last refusal.
    pub updated_ms: u64,
    /// The last client, as CLIENT INFO describes it.
    pub client: Vec<u8>,
    /// Shard and number of a connection whose description is still to be added.
    unknown: Option<(u16, u64)>,
}

/// Who was refused.
#[derive(Clone, Debug)]
pub enum Refused {
    /// A client, as CLIENT INFO describes it.
    Client(Vec<u8>),
    /// A connection: its shard, and its number there. The shard adds the description.
    Connection(u16, u64),
}

/// The latest refusals of the process.
#[derive(Debug, Default)]
pub struct AclLog {
    entries: Mutex<Entries>,
    has_unknown: AtomicBool,
}

#[derive(Debug, Default)]
struct Entries {
    /// The latest first.
    list: VecDeque<LogEntry>,
    next_id: u64,
}

impl AclLog {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a refusal. Keeps at most `entries_max` entries.
    pub fn add(&self, mut key: LogKey, who: Refused, now_ms: u64, entries_max: usize) {
        key.object.truncate(NAME_BYTES_MAX);
        key.user.truncate(NAME_BYTES_MAX);
        let mut entries = self.lock();
        if entries_max == 0 {
            entries.list.clear();
            return;
        }
        let (client, unknown) = match who {
            Refused::Client(line) => (line, None),
            Refused::Connection(shard, number) => (Vec::new(), Some((shard, number))),
        };
        let is_same = |entry: &LogEntry| {
            entry.key == key && entry.updated_ms.abs_diff(now_ms) <= SAME_ENTRY_MS_MAX
        };
        let known = entries.list.iter().take(COMPARED_MAX).position(is_same);
        let entry = match known.and_then(|at| entries.list.remove(at)) {
            Some(entry) => {
                LogEntry { count: entry.count + 1, updated_ms: now_ms, client, unknown, ..entry }
            }
            None => {
                let id = entries.next_id;
                entries.next_id += 1;
                let (created_ms, updated_ms) = (now_ms, now_ms);
                LogEntry { key, count: 1, id, created_ms, updated_ms, client, unknown }
            }
        };
        entries.list.push_front(entry);
        entries.list.truncate(entries_max);
        if unknown.is_some() {
            self.has_unknown.store(true, Ordering::Release);
        }
    }

    /// Adds the descriptions of a shard's connections. Costs one comparison if none is missing.
    #[inline]
    pub fn describe(&self, shard: u16, line_of: impl FnMut(u64) -> Vec<u8>) {
        if self.has_unknown.load(Ordering::Acquire) {
            self.describe_unknown(shard, line_of);
        }
    }

    #[cold]
    fn describe_unknown(&self, shard: u16, mut line_of: impl FnMut(u64) -> Vec<u8>) {
        let mut entries = self.lock();
        let mut is_left = false;
        for entry in &mut entries.list {
            match entry.unknown {
                Some((home, number)) if home == shard => {
                    entry.client = line_of(number);
                    entry.unknown = None;
                }
                Some(_) => is_left = true,
                None => {}
            }
        }
        self.has_unknown.store(is_left, Ordering::Release);
    }

    /// Returns at most `count` entries, the latest first.
    pub fn latest(&self, count: usize) -> Vec<LogEntry> {
        self.lock().list.iter().take(count).cloned().collect()
    }

    /// Removes all entries.
    pub fn clear(&self) {
        self.lock().list.clear();
    }
}
