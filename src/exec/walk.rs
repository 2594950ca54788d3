//! Commands that walk over all keys of a database, in slices between which other commands run.
//!
//! ```text
//!   part arrives --many keys--> queue --slice--> queue --slice--> ... --last slice--> reply
//!                  '--few-----> runs in one step
//! ```
//! A walk returns every key that exists throughout once, as SCAN guarantees, and no key twice. Keys
//! that are created or deleted meanwhile may be missing.

use super::context::Context;
use crate::resp::{Args, Error, Output, Protocol, Reply};

/// The most keys of one slice: about 200 us.
const SLICE_KEYS_MAX: usize = 2048;

/// Walks over further keys. Returns true after it has replied.
pub type WalkFn = fn(&mut Walk, &mut Context<'_>, &Args<'_>) -> Result<bool, Error>;

/// The state of a walk between two slices.
#[derive(Debug)]
pub struct Walk {
    /// Where the next slice continues. None before the first slice.
    cursor: Option<u64>,
    /// The most keys and buckets of a slice.
    slice_max: usize,
    /// Keys and buckets that are left of this slice.
    left: usize,
    /// Number of keys that the walk has passed.
    seen: u64,
    /// Number of buckets that the walk has passed.
    steps: u64,
    /// Nanoseconds of its slices.
    spent_ns: u64,
    /// Number of keys that it has found.
    count: usize,
    found: Output,
}

impl Walk {
    /// Creates a walk that has not begun and has one slice.
    pub fn whole() -> Walk {
        Walk {
            cursor: None,
            slice_max: usize::MAX,
            left: 0,
            seen: 0,
            steps: 0,
            spent_ns: 0,
            count: 0,
            found: Output::default(),
        }
    }

    /// Creates a walk that has not begun. A slice takes at most the time of `elements` elements.
    pub fn sliced(elements: usize) -> Walk {
        Walk { slice_max: elements.min(SLICE_KEYS_MAX), ..Walk::whole() }
    }

    /// Begins a slice. Returns where the last one has paused; none at the first slice.
    pub fn begin(&mut self) -> Option<u64> {
        self.left = self.slice_max;
        self.cursor
    }

    /// Begins a bucket. Returns false if the slice is over.
    pub fn step(&mut self) -> bool {
        let may_step = self.left > 0;
        self.left = self.left.saturating_sub(1);
        self.steps += u64::from(may_step);
        may_step
    }

    /// Passes a key.
    pub fn pass(&mut self) {
        self.left = self.left.saturating_sub(1);
        self.seen += 1;
    }

    /// Ends a slice; the next one continues at this cursor.
    pub fn pause(&mut self, cursor: u64) {
        self.cursor = Some(cursor);
    }

    /// Adds the nanoseconds of a slice. Returns the nanoseconds of all slices.
    pub fn spend(&mut self, ns: u64) -> u64 {
        self.spent_ns += ns;
        self.spent_ns
    }

    /// Returns the number of keys that the walk has passed.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Returns the number of buckets that the walk has passed.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Adds a key to the reply.
    #[inline]
    pub fn add(&mut self, key: &[u8]) {
        Reply::new(&mut self.found, Protocol::Two).bulk(key);
        self.count += 1;
    }

    /// Writes an array of the keys.
    pub fn reply(&mut self, reply: &mut Reply<'_>) {
        reply.array(self.count);
        reply.output().append_moved(std::mem::take(&mut self.found));
    }
}
