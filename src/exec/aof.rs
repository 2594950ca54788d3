//! The append-only file as shards, commands and its own thread see it: facts, orders, failures.

use super::process::Shutdown;
use crate::base::system::error_text;
use crate::resp::Error;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Whether commands are appended.
///
/// ```text
///   Off --CONFIG SET appendonly yes--> Beginning --its first base is written--> On
///    ^                                     |                                    |
///    '---------------- CONFIG SET appendonly no --------------------------------'
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AofMode {
    /// There is no append-only file.
    #[default]
    Off,
    /// The first base is being written. What follows its cut goes to a temporary file.
    Beginning,
    /// Commands are appended.
    On,
}

/// Facts about the append-only file. Plain data, which its thread and the shards update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AofFacts {
    /// Whether commands are appended.
    pub mode: AofMode,
    /// Whether its thread has yet to end the file that was turned off.
    pub is_ending: bool,
    /// Whether its thread runs.
    pub has_thread: bool,
    /// Bytes of all its files.
    pub current_size: u64,
    /// Bytes after the last rewrite.
    pub base_size: u64,
    /// Bytes that are not written yet.
    pub unwritten: u64,
    /// Number of syncs that are in progress.
    pub syncs: u64,
    /// Number of writes that did not wait for a slow sync.
    pub delayed: u64,
    /// Number of times that commands that write waited because the files were too far behind.
    pub pauses: u64,
    /// The rewrites.
    pub rewrites: RewriteFacts,
}

/// Facts about the rewrites of the append-only file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RewriteFacts {
    /// Number of rewrites that were begun.
    pub begun: u64,
    /// Whether a rewrite begins as soon as possible.
    pub is_scheduled: bool,
    /// Whether a client was told that a rewrite has started. It begins when the one that was given
    /// up has ended.
    pub is_promised: bool,
    /// Whether the rewrite in progress is given up.
    pub is_given_up: bool,
    /// Start of the rewrite in progress, Unix seconds.
    pub started_s: u64,
    /// Seconds that the last rewrite took.
    pub took_s: Option<u64>,
    /// Whether the last rewrite failed.
    pub has_failed: bool,
    /// Number of rewrites that have failed since the last one that succeeded.
    pub failures: u64,
    /// Minutes of the last pause after repeated failures.
    pub pause_minutes: u64,
    /// Unix seconds when the pause after repeated failures ends; 0 without a pause.
    pub paused_until_s: u64,
}

impl RewriteFacts {
    /// Records that no rewrite is to begin. Returns whether one was to begin.
    pub fn unplan(&mut self) -> bool {
        self.is_promised = false;
        std::mem::take(&mut self.is_scheduled)
    }
}

/// Failures in a row from which on rewrites pause.
const FAILURES_MAX: u64 = 3;

/// The longest pause after repeated failures.
const PAUSE_MINUTES_MAX: u64 = 60;

impl RewriteFacts {
    /// Returns whether no rewrite may begin by itself, because the last ones have failed. Returns
    /// the minutes if a pause begins.
    pub fn is_paused(&mut self, now_s: u64) -> (bool, Option<u64>) {
        if self.failures < FAILURES_MAX {
            (self.pause_minutes, self.paused_until_s) = (0, 0);
            return (false, None);
        }
        if self.paused_until_s != 0 {
            let is_over = now_s >= self.paused_until_s;
            if is_over {
                self.paused_until_s = 0;
            }
            return (!is_over, None);
        }
        self.pause_minutes = (self.pause_minutes * 2).clamp(1, PAUSE_MINUTES_MAX);
        self.paused_until_s = now_s + self.pause_minutes * 60;
        (true, Some(self.pause_minutes))
    }
}

/// What a shard asks of the thread of the append-only file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AofOrder {
    /// Write and sync the stream up to an offset, then stop the process.
    Stop {
        /// Offset of the stream.
        offset: u64,
        /// Reason of the stop.
        why: Shutdown,
    },
    /// Begin to read the stream at an offset.
    Begin {
        /// Offset of the stream.
        offset: u64,
        /// Number of the last rewrite that began before. If it is still in progress, its base is
        /// given up: the new file does not follow it.
        rewrite: u64,
    },
    /// Append no more commands.
    End,
    /// Write and sync the stream up to an offset, then load the files.
    Load {
        /// Offset of the stream.
        offset: u64,
        /// The shard that waits for the end of it.
        home: usize,
    },
    /// A base was written, or was not.
    EndRewrite {
        /// Number of the rewrite: how many have begun, it included.
        number: u64,
        /// The form of the complete base; none if it is not complete.
        written: Option<BaseForm>,
    },
}

/// The form of the base of an append-only file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseForm {
    /// A snapshot in the RDB format.
    Snapshot,
    /// Commands that create the keys.
    Commands,
}

/// The append-only file as the shards see it.
#[derive(Debug)]
pub struct AofState {
    facts: Mutex<AofFacts>,
    orders: Mutex<VecDeque<AofOrder>>,
    /// Error number of the last write; 0 if it succeeded.
    write_failure: AtomicI32,
    /// Error number of the last sync; 0 if it succeeded.
    sync_failure: AtomicI32,
    is_rewriting: AtomicBool,
    /// How DEBUG LOADAOF has ended: 0 not yet, 1 with an error, 2 well.
    loaded: AtomicU8,
    /// Offset of the stream up to which the files are durable, or [`NO_OFFSET`].
    synced: AtomicU64,
    /// Microseconds that the thread sleeps before each write, for tests of slow disks.
    write_delay_us: AtomicU32,
}

/// The offset while there is no append-only file, or its first base is being written.
const NO_OFFSET: u64 = u64::MAX;

impl Default for AofState {
    fn default() -> AofState {
        AofState {
            facts: Mutex::default(),
            orders: Mutex::default(),
            write_failure: AtomicI32::new(0),
            sync_failure: AtomicI32::new(0),
            is_rewriting: AtomicBool::new(false),
            loaded: AtomicU8::new(0),
            synced: AtomicU64::new(NO_OFFSET),
            write_delay_us: AtomicU32::new(0),
        }
    }
}

impl AofState {
    /// Returns the offset of the stream up to which the append-only file is durable.
    pub fn synced(&self) -> Option<u64> {
        Some(self.synced.load(Ordering::SeqCst)).filter(|offset| *offset != NO_OFFSET)
    }

    /// Sets that offset. Returns whether it has changed.
    pub fn set_synced(&self, offset: Option<u64>) -> bool {
        let offset = offset.unwrap_or(NO_OFFSET);
        self.synced.swap(offset, Ordering::SeqCst) != offset
    }

    /// Records how DEBUG LOADAOF has ended.
    pub fn set_loaded(&self, is_loaded: bool) {
        self.loaded.store(1 + u8::from(is_loaded), Ordering::SeqCst);
    }

    /// Returns whether DEBUG LOADAOF has loaded all, once, after it has ended.
    pub fn take_loaded(&self) -> Option<bool> {
        let ended = self.loaded.swap(0, Ordering::SeqCst);
        (ended > 0).then_some(ended == 2)
    }

    /// Sets for how many microseconds the thread sleeps before each write.
    pub fn set_write_delay(&self, delay_us: u32) {
        self.write_delay_us.store(delay_us, Ordering::Relaxed);
    }

    /// Returns for how long the thread sleeps before each write, if it does.
    pub fn write_delay(&self) -> Option<Duration> {
        let delay_us = self.write_delay_us.load(Ordering::Relaxed);
        (delay_us > 0).then(|| Duration::from_micros(u64::from(delay_us)))
    }

    /// Locks the facts. Hold the lock for a few instructions.
    pub fn facts(&self) -> MutexGuard<'_, AofFacts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an order. The caller wakes the thread.
    pub fn order(&self, order: AofOrder) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).push_back(order);
    }

    /// Takes the first order.
    pub fn take_order(&self) -> Option<AofOrder> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Returns whether there are orders.
    pub fn has_orders(&self) -> bool {
        !self.orders.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Records the error number of a write; 0 for success. Returns the number before.
    pub fn set_write_failure(&self, number: i32) -> i32 {
        self.write_failure.swap(number, Ordering::SeqCst)
    }

    /// Records the error number of a sync; 0 for success. Returns the number before.
    pub fn set_sync_failure(&self, number: i32) -> i32 {
        self.sync_failure.swap(number, Ordering::SeqCst)
    }

    /// Returns whether the last sync failed.
    pub fn has_sync_failed(&self) -> bool {
        self.sync_failure.load(Ordering::Relaxed) != 0
    }

    /// Returns the error number of the last write or sync, if one of them failed.
    pub fn failure(&self) -> Option<i32> {
        let all = [&self.write_failure, &self.sync_failure];
        all.map(|it| it.load(Ordering::Relaxed)).into_iter().find(|number| *number != 0)
    }

    /// Returns the error for commands that write, if the last write or sync failed.
    pub fn error(&self) -> Option<Error> {
        let number = self.failure()?;
        let why = error_text(&io::Error::from_raw_os_error(number));
        Some(Error::Other(format!("MISCONF Errors writing to the AOF file: {why}").into()))
    }

    /// Returns whether a rewrite is in progress.
    pub fn is_rewriting(&self) -> bool {
        self.is_rewriting.load(Ordering::SeqCst)
    }

    /// Records that a rewrite begins.
    pub fn begin_rewrite(&self, now_s: u64) {
        let mut facts = self.facts();
        self.is_rewriting.store(true, Ordering::SeqCst);
        facts.rewrites.begun += 1;
        facts.rewrites.unplan();
        facts.rewrites.is_given_up = false;
        facts.rewrites.started_s = now_s;
    }

    /// Records that the rewrite in progress has ended. One that was given up counts as no failure.
    pub fn end_rewrite(&self, now_s: u64, is_done: bool, is_given_up: bool) {
        let mut facts = self.facts();
        self.is_rewriting.store(false, Ordering::SeqCst);
        let rewrites = &mut facts.rewrites;
        rewrites.is_given_up = false;
        rewrites.took_s = Some(now_s.saturating_sub(rewrites.started_s));
        if is_done {
            (rewrites.has_failed, rewrites.failures) = (false, 0);
        } else if !is_given_up {
            rewrites.has_failed = true;
            rewrites.failures += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewrites_pause_after_repeated_failures() {
        let mut facts = RewriteFacts { failures: 2, ..RewriteFacts::default() };
        assert_eq!(facts.is_paused(100), (false, None));
        facts.failures = 3;
        assert_eq!(facts.is_paused(100), (true, Some(1)));
        assert_eq!(facts.is_paused(159), (true, None));
        assert_eq!(facts.is_paused(160), (false, None));
        facts.failures = 4;
        assert_eq!(facts.is_paused(161), (true, Some(2)));
        facts.failures = 0;
        assert_eq!(facts.is_paused(162), (false, None));
        assert_eq!(facts.pause_minutes, 0);
    }
}
