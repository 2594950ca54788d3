//! Facts about the append-only file, for INFO and for the gate that refuses writes.

use super::process::Shutdown;
use crate::base::system::error_text;
use crate::resp::Error;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Facts about the append-only file. Plain data, which its thread updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AofFacts {
    /// Whether there is an append-only file.
    pub is_on: bool,
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
    /// Offset of the stream up to which the file is durable.
    pub durable_offset: u64,
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
}

/// The append-only file as the shards see it.
#[derive(Debug, Default)]
pub struct AofState {
    facts: Mutex<AofFacts>,
    orders: Mutex<VecDeque<AofOrder>>,
    /// Error number of the last write; 0 if it succeeded.
    write_failure: AtomicI32,
    /// Error number of the last sync; 0 if it succeeded.
    sync_failure: AtomicI32,
    is_rewriting: AtomicBool,
}

impl AofState {
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
        self.is_rewriting.load(Ordering::Relaxed)
    }
}
