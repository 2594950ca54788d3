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
    /// The last client.
    pub client: Refused,
}

/// Who was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A client, as CLIENT INFO describes it.
    Client(Vec<u8>),
    /// A connection of a shard, by its number and generation. The shard adds the description.
    Connection(u16, u32, u32),
}

impl Refused {
    /// Returns the shard that has to add a description, if it is missing.
    fn describer(&self) -> Option<u16> {
        match self {
            Refused::Client(_) => None,
            Refused::Connection(shard, ..) => Some(*shard),
        }
    }

    /// Returns the description; empty if it is missing.
    pub fn line(&self) -> &[u8] {
        match self {
            Refused::Client(line) => line,
            Refused::Connection(..) => b"",
        }
    }
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
    pub fn add(&self, mut key: LogKey, client: Refused, now_ms: u64, entries_max: usize) {
        key.object.truncate(NAME_BYTES_MAX);
        key.user.truncate(NAME_BYTES_MAX);
        let mut entries = self.lock();
        if entries_max == 0 {
            entries.list.clear();
            return;
        }
        let is_unknown = client.describer().is_some();
        let is_same = |entry: &LogEntry| {
            entry.key == key && entry.updated_ms.abs_diff(now_ms) <= SAME_ENTRY_MS_MAX
        };
        let known = entries.list.iter().take(COMPARED_MAX).position(is_same);
        let entry = match known.and_then(|at| entries.list.remove(at)) {
            Some(entry) => LogEntry { count: entry.count + 1, updated_ms: now_ms, client, ..entry },
            None => {
                let id = entries.next_id;
                entries.next_id += 1;
                let (created_ms, updated_ms) = (now_ms, now_ms);
                LogEntry { key, count: 1, id, created_ms, updated_ms, client }
            }
        };
        entries.list.push_front(entry);
        entries.list.truncate(entries_max);
        if is_unknown {
            self.has_unknown.store(true, Ordering::Release);
        }
    }

    /// Returns whether descriptions of connections are missing.
    #[inline]
    pub fn has_unknown(&self) -> bool {
        self.has_unknown.load(Ordering::Acquire)
    }

    /// Adds the missing descriptions of a shard's connections.
    pub fn describe(&self, shard: u16, mut line_of: impl FnMut(&Refused) -> Vec<u8>) {
        let mut entries = self.lock();
        let mut is_left = false;
        for entry in &mut entries.list {
            match entry.client.describer() {
                Some(home) if home == shard => {
                    entry.client = Refused::Client(line_of(&entry.client));
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
