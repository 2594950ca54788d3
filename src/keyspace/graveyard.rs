//! Freeing in small steps: flushed tables, long strings, values of many elements.

use super::table::{Apart, Entry, Heap, Table, give_back};
use crate::value::Object;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// Long strings of at least this number of bytes are not freed at once.
const LARGE_BYTES_MIN: usize = 1 << 20;

/// Bytes of a long string that one step gives back to the system; about 100 us.
const STEP_BYTES: usize = 1 << 20;

/// Bytes of long strings that may wait. Above this limit, adding one also runs a step.
const WAITING_BYTES_MAX: usize = 1 << 30;

/// Values of at least this number of pieces are not freed at once.
const PIECES_MIN: usize = 64;

/// Tables that one step visits at most.
const STEP_TABLES: usize = 8;

/// Buckets of a table that one step frees at most.
const STEP_BUCKETS: usize = 32;

/// Long strings that one step checks to find one that is not shared.
const STEP_LARGE_MAX: usize = 8;

/// Rounds after which a long string that is still shared is left to its other owners. A reply
/// usually takes less time. A copy of the key may keep the string for ever, or wait here itself,
/// also on another shard: then each would wait for the other.
const SHARED_ROUNDS_MAX: u64 = 16;

/// The queues of tables and values that wait to be freed.
#[derive(Debug, Default)]
pub struct Graveyard {
    /// The tables of flushed databases, in groups; the last table of each is freed first.
    roots: VecDeque<Vec<Table>>,
    large: VecDeque<Grave>,
    large_bytes: usize,
    /// Number of the present round of housekeeping.
    round: u64,
    objects: VecDeque<Object>,
    /// Values that have been freed since the last call of [`Graveyard::take_freed`].
    freed: u64,
    /// Whether something was queued since [`Graveyard::free`] or a round began.
    has_news: bool,
}

/// A long string, whose bytes from `left` on have been given back to the system.
#[derive(Debug)]
struct Grave {
    bytes: Bytes,
    left: usize,
    /// Round in which the string was queued.
    round: u64,
}

impl Graveyard {
    /// Returns whether nothing waits to be freed.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty() && self.large.is_empty() && self.objects.is_empty()
    }

    /// Returns the number of values and tables that wait.
    pub fn len(&self) -> usize {
        let tables: usize = self.roots.iter().map(|tables| tables.len()).sum();
        self.large.len() + self.objects.len() + tables
    }

    /// Returns the number of values that have been freed since the last call.
    pub fn take_freed(&mut self) -> u64 {
        std::mem::take(&mut self.freed)
    }

    /// Queues the tables of a database, which come in groups.
    pub fn bury_tables(&mut self, groups: impl Iterator<Item = Vec<Table>>) {
        self.has_news = true;
        self.roots.extend(groups);
    }

    /// Frees an entry at once and its separate value with [`Graveyard::bury_apart`].
    #[inline]
    pub fn bury_entry(&mut self, heap: &mut Heap, entry: Entry) {
        if entry.is_apart() {
            self.bury_apart(entry.take_apart());
        }
        entry.free(heap);
    }

    /// Frees a value at once, or queues it if freeing takes long.
    pub fn bury_apart(&mut self, apart: Apart) {
        match apart {
            Apart::Large(bytes) => self.bury_large(*bytes),
            Apart::Object(object) if object.pieces() < PIECES_MIN => drop(object),
            Apart::Object(object) => {
                self.has_news = true;
                self.objects.push_back(object);
            }
            Apart::Lent(object) => {
                // If somebody still reads it, the last reader frees it.
                if let Some(object) = Arc::into_inner(object) {
                    self.bury_apart(Apart::Object(object));
                }
            }
        }
    }

    /// Releases a long string, or queues it if it is very long.
    fn bury_large(&mut self, bytes: Bytes) {
        // A reply may share the string, and the last owner frees it. A very long one is therefore
        // kept here.
        if bytes.len() < LARGE_BYTES_MIN {
            return;
        }
        self.has_news = true;
        self.large_bytes += bytes.len();
        self.large.push_back(Grave { left: bytes.len(), bytes, round: self.round });
        if self.large_bytes > WAITING_BYTES_MAX {
            self.step_large();
        }
    }

    /// Begins a round of housekeeping.
    pub fn begin_round(&mut self) {
        self.round += 1;
        self.has_news = false;
    }

    /// Returns whether something was queued that no round and no [`Graveyard::free`] has seen.
    #[inline]
    pub fn has_news(&self) -> bool {
        self.has_news
    }

    /// Frees until nothing can be freed or `is_over` returns true, which is called before each
    /// step. Returns whether something is left to free; it then counts as news.
    pub fn free(&mut self, heap: &mut Heap, is_over: &mut dyn FnMut() -> bool) -> bool {
        self.has_news = loop {
            if is_over() {
                break !self.is_empty();
            }
            if !self.step(heap) {
                break false;
            }
        };
        self.has_news
    }

    /// Frees a little, at most about 100 us of work. Returns false if nothing could be freed.
    pub fn step(&mut self, heap: &mut Heap) -> bool {
        if self.step_large() || self.step_objects() {
            return true;
        }
        let Some(mut tables) = self.roots.front_mut() else { return false };
        // Several empty tables are dropped per step, but other tables are freed bucket by bucket.
        for _ in 0..STEP_TABLES {
            let Some(table) = tables.last_mut() else {
                self.roots.pop_front();
                return true;
            };
            let mut apart = Vec::new();
            for _ in 0..STEP_BUCKETS {
                let is_left = table.demolish(heap, &mut |heap, entry| {
                    if entry.is_apart() {
                        apart.push(entry.take_apart());
                    }
                    entry.free(heap);
                });
                if !is_left {
                    break;
                }
            }
            let is_left = table.buckets() > 0;
            if !is_left {
                tables.pop();
            }
            apart.into_iter().for_each(|value| self.bury_apart(value));
            if is_left {
                return true;
            }
            let Some(rest) = self.roots.front_mut() else { return true };
            tables = rest;
        }
        true
    }

    /// Frees some elements of the first value in the queue.
    fn step_objects(&mut self) -> bool {
        let Some(object) = self.objects.front_mut() else { return false };
        if object.free_step() {
            self.objects.pop_front();
            self.freed += 1;
        }
        true
    }

    /// Gives a part of the first long string that is not shared back to the system, or releases a
    /// string that stays shared.
    fn step_large(&mut self) -> bool {
        for _ in 0..self.large.len().min(STEP_LARGE_MAX) {
            let Some(grave) = self.large.pop_front() else { break };
            let mut buffer = match grave.bytes.try_into_mut() {
                Ok(buffer) => buffer,
                Err(_) if self.round - grave.round >= SHARED_ROUNDS_MAX => {
                    self.large_bytes -= grave.left;
                    self.freed += 1;
                    return true;
                }
                Err(bytes) => {
                    self.large.push_back(Grave { bytes, ..grave });
                    continue;
                }
            };
            let left = grave.left.saturating_sub(STEP_BYTES);
            self.large_bytes -= grave.left - left;
            give_back(&mut buffer[left..grave.left]);
            if left > 0 {
                self.large.push_front(Grave { bytes: buffer.freeze(), left, round: grave.round });
            } else {
                self.freed += 1;
            }
            return true;
        }
        false
    }

    /// Frees everything at once.
    pub fn clear(&mut self, heap: &mut Heap) {
        while !self.roots.is_empty() {
            self.step(heap);
        }
        self.large.clear();
        self.objects.clear();
        self.large_bytes = 0;
    }
}
