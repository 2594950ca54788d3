//! What is to be freed, freed bit by bit: flushed tables and large values.

use super::table::{Entry, Heap, Table, give_back};
use bytes::Bytes;
use std::collections::VecDeque;

/// Larger values are not freed at once.
const LARGE_BYTES_MIN: usize = 1 << 20;

/// Bytes of a large value that one step gives back to the system; about 100 us.
const STEP_BYTES: usize = 1 << 20;

/// Bytes of large values that may wait. Whoever adds to more than that does a step for them.
const WAITING_BYTES_MAX: usize = 1 << 30;

/// Tables that one step looks at.
const STEP_TABLES: usize = 8;

/// Buckets of a table that one step takes down.
const STEP_BUCKETS: usize = 32;

/// Large values that one step looks at to find one that is not shared.
const STEP_LARGE_MAX: usize = 8;

/// What is to be freed.
#[derive(Debug, Default)]
pub struct Graveyard {
    /// The tables of flushed databases; the last one of each is taken down first.
    roots: VecDeque<Vec<Table>>,
    large: VecDeque<Grave>,
    large_bytes: usize,
}

/// A large value, of which the bytes from `left` on have been given back.
#[derive(Debug)]
struct Grave {
    bytes: Bytes,
    left: usize,
}

impl Graveyard {
    /// Whether there is nothing to be freed.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty() && self.large.is_empty()
    }

    /// Takes the tables of a database.
    pub fn bury_tables(&mut self, tables: Vec<Table>) {
        if !tables.is_empty() {
            self.roots.push_back(tables);
        }
    }

    /// Frees an entry, and its large value unless that is very large.
    #[inline]
    pub fn bury_entry(&mut self, heap: &mut Heap, entry: Entry) {
        if entry.is_large() {
            self.bury_large(*entry.take_large());
        }
        entry.free(heap);
    }

    /// Frees a large value, or takes it if it is very large.
    pub fn bury_large(&mut self, bytes: Bytes) {
        // A reply may hold the value too, and whoever lets go last frees it: so it is kept here.
        if bytes.len() < LARGE_BYTES_MIN {
            return;
        }
        self.large_bytes += bytes.len();
        self.large.push_back(Grave { left: bytes.len(), bytes });
        if self.large_bytes > WAITING_BYTES_MAX {
            self.step_large();
        }
    }

    /// Frees a little, at most about 100 us of work. False if nothing could be done.
    pub fn step(&mut self, heap: &mut Heap) -> bool {
        if self.step_large() {
            return true;
        }
        let Some(tables) = self.roots.front_mut() else { return false };
        // Empty tables are dropped in runs, and of the others one bucket at a time.
        for _ in 0..STEP_TABLES {
            let Some(table) = tables.last_mut() else {
                self.roots.pop_front();
                return true;
            };
            let (large, sum) = (&mut self.large, &mut self.large_bytes);
            for _ in 0..STEP_BUCKETS {
                let is_left = table.demolish(heap, &mut |heap, entry| {
                    if entry.is_large() {
                        let bytes = *entry.take_large();
                        if bytes.len() >= LARGE_BYTES_MIN {
                            *sum += bytes.len();
                            large.push_back(Grave { left: bytes.len(), bytes });
                        }
                    }
                    entry.free(heap);
                });
                if !is_left {
                    break;
                }
            }
            if table.buckets() > 0 {
                return true;
            }
            tables.pop();
        }
        true
    }

    /// Gives a piece of the first large value back that nobody else holds.
    fn step_large(&mut self) -> bool {
        for _ in 0..self.large.len().min(STEP_LARGE_MAX) {
            let Some(grave) = self.large.pop_front() else { break };
            let mut buffer = match grave.bytes.try_into_mut() {
                Ok(buffer) => buffer,
                Err(bytes) => {
                    self.large.push_back(Grave { bytes, left: grave.left });
                    continue;
                }
            };
            let left = grave.left.saturating_sub(STEP_BYTES);
            self.large_bytes -= grave.left - left;
            give_back(&mut buffer[left..grave.left]);
            if left > 0 {
                self.large.push_front(Grave { bytes: buffer.freeze(), left });
            }
            return true;
        }
        false
    }

    /// Frees everything.
    pub fn clear(&mut self, heap: &mut Heap) {
        while !self.roots.is_empty() {
            self.step(heap);
        }
        self.large.clear();
        self.large_bytes = 0;
    }
}
