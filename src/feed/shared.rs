//! The feed as all shards share it: lanes, the stream, and who runs the merger.
//!
//! Any shard's thread merges, one at a time. Whoever finds another at it leaves a flag and goes on;
//! the one at it looks at the flag again after it has let go. So what is handed over is looked at
//! by somebody afterwards:
//!
//! ```text
//!   shard:   hand over; stale = true;  fence;  try to lock -> taken: go on
//!   merger:  stale = false; merge; unlock;  fence;  stale? -> once more
//! ```
//! In the same way, a shard that only raises its watermark, or parks, looks whether the merger
//! waits for it; the merger says so before it looks at watermarks.

use super::backlog::Backlog;
use super::journal::Journal;
use super::lane::Lane;
use super::limits::MERGE_BYTES_MAX;
use super::merge::{Merger, Progress};
use super::output::{Output, Reached};
use super::timestamp::{Timestamp, timestamp_at};
use crate::base::clock::Clock;
use crate::mesh::Mesh;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

/// The need of a shard without readers.
const NO_READER: u64 = u64::MAX;

/// The one ordered stream of a process.
pub struct Feed {
    is_on: AtomicBool,
    /// There is something to merge that the merger may not have seen.
    is_stale: AtomicBool,
    /// The merger has, or may have, units that wait for a watermark.
    is_waiting: AtomicBool,
    end_offset: AtomicU64,
    has_marks: AtomicBool,
    lanes: Box<[Lane]>,
    /// Per shard: what its readers still need. [`NO_READER`] without readers.
    needs: Box<[AtomicU64]>,
    stream: Mutex<Stream>,
    mesh: Arc<Mesh>,
    clock: Clock,
}

/// What lies behind the lock: the merger, and the stream as far as it is kept.
#[derive(Debug)]
pub struct Stream {
    merger: Merger,
    output: Output,
}

/// What came of a call that may have merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// The stream has grown or a mark was reached: its readers have something to do.
    pub has_grown: bool,
    /// More is there to merge: the shard must come back soon, and must not park.
    pub is_behind: bool,
}

impl Stream {
    /// The bytes.
    pub fn backlog(&self) -> &Backlog {
        &self.output.backlog
    }

    /// Lets go of what is older than `keep_bytes` and read by all; see [`Backlog::trim`].
    pub fn trim(&mut self, keep_bytes: u64, min_reader_offset: Option<u64>) {
        self.output.backlog.trim(keep_bytes, min_reader_offset);
    }

    /// The stream is at another offset, and nothing is kept of it.
    pub fn restart(&mut self, offset: u64) {
        self.output.backlog = Backlog::new(offset);
        self.output.encoder.forget_db();
    }

    /// Adds a command that belongs to no unit and touches no keys: PING, REPLCONF GETACK.
    pub fn inject(&mut self, words: &[&[u8]]) {
        self.output.encoder.words(words, &mut self.output.backlog);
    }

    /// Takes the marks that were reached since and whose ids are wanted, in the order of the
    /// stream.
    pub fn take_marks(&mut self, is_wanted: impl Fn(u64) -> bool) -> Vec<Reached> {
        self.output.marks.extract_if(.., |mark| is_wanted(mark.id)).collect()
    }
}

impl Feed {
    /// A feed that is off; the stream begins at `offset`.
    pub fn new(mesh: Arc<Mesh>, clock: Clock, offset: u64) -> Feed {
        let shards = mesh.shards();
        let stream = Stream { merger: Merger::new(shards), output: Output::new(offset) };
        Feed {
            is_on: AtomicBool::new(false),
            is_stale: AtomicBool::new(false),
            is_waiting: AtomicBool::new(false),
            end_offset: AtomicU64::new(offset),
            has_marks: AtomicBool::new(false),
            lanes: (0..shards).map(|_| Lane::default()).collect(),
            needs: (0..shards).map(|_| AtomicU64::new(NO_READER)).collect(),
            stream: Mutex::new(stream),
            mesh,
            clock,
        }
    }

    /// Whether shards publish. Goes on before the unit that turns the journals on is posted, and
    /// off after all journals are off and empty.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// Says whether shards publish.
    pub fn set_on(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Release);
    }

    /// Says from which offset on the readers of a shard need the stream; none: it has none.
    pub fn set_need(&self, shard: usize, offset: Option<u64>) {
        self.needs[shard].store(offset.unwrap_or(NO_READER), Ordering::Release);
    }

    /// The shards with readers.
    pub fn readers(&self) -> impl Iterator<Item = usize> {
        let is_reader = |need: &AtomicU64| need.load(Ordering::Acquire) != NO_READER;
        self.needs.iter().enumerate().filter(move |(_, need)| is_reader(need)).map(|(at, _)| at)
    }

    /// The first offset that any reader still needs.
    pub fn min_need(&self) -> Option<u64> {
        let min = self.needs.iter().map(|need| need.load(Ordering::Acquire)).min();
        min.filter(|offset| *offset != NO_READER)
    }

    /// What a shard and the merger share.
    pub fn lane(&self, shard: usize) -> &Lane {
        &self.lanes[shard]
    }

    /// Where the stream ends, as the merger left it last.
    #[inline]
    pub fn end_offset(&self) -> u64 {
        self.end_offset.load(Ordering::Acquire)
    }

    /// Whether there are marks to be taken.
    #[inline]
    pub fn has_marks(&self) -> bool {
        self.has_marks.load(Ordering::Acquire)
    }

    /// Once per turn, after all of its units: what the journal has is handed over, its watermark
    /// published, and what can be is merged.
    pub fn publish(&self, shard: usize, journal: &mut Journal) -> Merged {
        let has_any = journal.hand_over(&self.lanes[shard]);
        self.merge_if(has_any)
    }

    /// The shard is about to block and has published. Says whether it may; if not, it is awake.
    pub fn park(&self, shard: usize, journal: &mut Journal) -> (bool, Merged) {
        if !self.is_on() || journal.has_gap() {
            return (true, Merged::default());
        }
        assert!(journal.is_empty(), "a shard publishes before it parks");
        self.lanes[shard].park(journal.clock.sending());
        let merged = self.merge_if(false);
        if merged.is_behind {
            self.wake(shard, journal);
        }
        (!merged.is_behind, merged)
    }

    /// The shard is awake again: before the turn begins.
    #[inline]
    pub fn wake(&self, shard: usize, journal: &mut Journal) {
        if let Some(promised) = self.lanes[shard].wake() {
            journal.clock.keep_promise(promised);
        }
    }

    /// Looks at the stream, or adds to it. Blocks while another shard merges.
    pub fn with_stream<R>(&self, look: impl FnOnce(&mut Stream) -> R) -> (R, Merged) {
        let mut stream = self.stream.lock().expect("no holder panics");
        let value = look(&mut stream);
        let mut merged = Merged { has_grown: self.note(&stream), is_behind: false };
        drop(stream);
        // Whoever found the lock taken meanwhile has left the merging to this thread.
        let after = self.merge();
        merged.has_grown |= after.has_grown;
        merged.is_behind = after.is_behind;
        (value, merged)
    }

    fn merge_if(&self, has_any: bool) -> Merged {
        fence(Ordering::SeqCst);
        if has_any || self.is_waiting.load(Ordering::Relaxed) {
            self.is_stale.store(true, Ordering::Relaxed);
        }
        self.merge()
    }

    fn merge(&self) -> Merged {
        let mut merged = Merged::default();
        loop {
            fence(Ordering::SeqCst);
            if !self.is_stale.load(Ordering::Relaxed) {
                return merged;
            }
            let stream = match self.stream.try_lock() {
                Ok(stream) => stream,
                Err(TryLockError::WouldBlock) => return merged,
                Err(TryLockError::Poisoned(_)) => panic!("no holder panics"),
            };
            let is_behind = self.merge_locked(stream, &mut merged);
            if is_behind {
                merged.is_behind = true;
                return merged;
            }
        }
    }

    /// Merges until nothing new is there, or it was much.
    fn merge_locked(&self, mut stream: MutexGuard<'_, Stream>, merged: &mut Merged) -> bool {
        let Stream { merger, output, .. } = &mut *stream;
        let offset_max = output.backlog.end_offset() + MERGE_BYTES_MAX;
        let mut is_behind = false;
        while !is_behind && self.is_stale.swap(false, Ordering::SeqCst) {
            self.is_waiting.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            let bytes_max = offset_max.saturating_sub(output.backlog.end_offset());
            match merger.run(&self.lanes, &|shard| self.promise(shard), output, bytes_max) {
                Progress::Drained => self.is_waiting.store(false, Ordering::Relaxed),
                Progress::Waiting => {}
                Progress::Behind => {
                    self.is_stale.store(true, Ordering::Relaxed);
                    is_behind = true;
                }
            }
        }
        merged.has_grown |= self.note(&stream);
        is_behind
    }

    /// A stamp that a parked shard's later ones are greater than: the present, if its inbox is
    /// empty after it was read.
    fn promise(&self, shard: usize) -> Option<Timestamp> {
        let now = timestamp_at(self.clock.monotonic_ns());
        fence(Ordering::SeqCst);
        if self.mesh.depth(shard) > 0 {
            return None;
        }
        self.lanes[shard].promise(now)
    }

    /// Publishes where the stream is; says whether it is elsewhere than before.
    fn note(&self, stream: &Stream) -> bool {
        let end = stream.output.backlog.end_offset();
        let has_marks = !stream.output.marks.is_empty();
        self.has_marks.store(has_marks, Ordering::Release);
        self.end_offset.swap(end, Ordering::AcqRel) != end || has_marks
    }
}
