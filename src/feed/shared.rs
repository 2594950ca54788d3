//! The feed as all shards share it: the lanes, the stream, and the rule for merging.
//!
//! Any shard's thread may merge, one at a time. A thread that finds the lock taken sets a flag and
//! continues. The thread with the lock checks the flag again after it has released the lock. Hence
//! a merger always sees what was handed over:
//!
//! ```text
//!   shard:   hand over; stale = true;  fence;  try to lock -> taken: continue
//!   merger:  stale = false; merge; unlock;  fence;  stale? -> merge again
//! ```
//! A shard that only raises its watermark, or parks, checks in the same way whether the merger
//! waits for a watermark. The merger sets `is_waiting` before it reads watermarks.

use super::backlog::Backlog;
use super::disk::{Disk, Pulled};
use super::journal::Journal;
use super::lane::Lane;
use super::limits::MERGE_BYTES_MAX;
use super::merge::{Merger, Progress};
use super::output::{Output, Reached};
use super::timestamp::{Timestamp, timestamp_at};
use crate::base::clock::Clock;
use crate::mesh::Mesh;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

/// The value of a shard's need while the shard has no readers.
const NO_READER: u64 = u64::MAX;

/// The one ordered stream of a process.
pub struct Feed {
    is_on: AtomicBool,
    /// There may be units or watermarks that the merger has not seen.
    is_stale: AtomicBool,
    /// The merger may have units that wait for a watermark.
    is_waiting: AtomicBool,
    end_offset: AtomicU64,
    has_marks: AtomicBool,
    /// Whether a shard makes a snapshot of all partitions.
    is_cutting: AtomicBool,
    /// Per shard: whether it waits until it may make a snapshot.
    wants_cut: Box<[AtomicBool]>,
    lanes: Box<[Lane]>,
    /// Per shard: the first offset that its readers still need, or [`NO_READER`].
    needs: Box<[AtomicU64]>,
    /// The append-only file.
    disk: Disk,
    /// Number of readers that have attached so far. Changes under the lock of the stream.
    readers: AtomicU64,
    /// Per shard: whether clients wait for acknowledgements of replicas.
    awaited: Box<[AtomicBool]>,
    stream: Mutex<Stream>,
    mesh: Arc<Mesh>,
    clock: Clock,
}

/// The state behind the lock: the merger, and the stream with its backlog.
#[derive(Debug)]
pub struct Stream {
    merger: Merger,
    output: Output,
    /// Commands of no unit that wait until the merger has written a whole unit: at most a few per
    /// replica and second.
    injected: Vec<Vec<Box<[u8]>>>,
    /// Whether there is an append-only file.
    is_on_disk: bool,
    /// Offsets of commands of no unit, which the append-only file skips. It takes them away.
    skipped: Vec<Range<u64>>,
}

/// The result of a call that may have merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// The stream has grown or a mark was reached, so the readers have work.
    pub has_grown: bool,
    /// There is more to merge: the shard must call again soon, and must not park.
    pub is_behind: bool,
}

impl Stream {
    /// Returns the backlog.
    pub fn backlog(&self) -> &Backlog {
        &self.output.backlog
    }

    /// Drops old blocks of the backlog; see [`Backlog::trim`].
    pub fn trim(&mut self, keep_bytes: u64, min_reader_offset: Option<u64>) {
        self.output.backlog.trim(keep_bytes, min_reader_offset);
    }

    /// Continues the stream at another offset, with an empty backlog.
    pub fn restart(&mut self, offset: u64) {
        debug_assert!(!self.merger.is_inside_unit(), "all units are written before");
        self.output.backlog = Backlog::new(offset);
        self.output.encoder.forget_db();
    }

    /// Writes a command that belongs to no unit and accesses no keys: PING, REPLCONF GETACK.
    pub fn inject(&mut self, args: &[&[u8]]) {
        self.injected.push(args.iter().map(|arg| Box::from(*arg)).collect());
        self.write_injected();
    }

    /// Writes the commands of no unit, unless a unit is partly written.
    fn write_injected(&mut self) {
        if self.merger.is_inside_unit() {
            return;
        }
        let start = self.output.backlog.end_offset();
        for command in self.injected.drain(..) {
            let args: Vec<&[u8]> = command.iter().map(|arg| &**arg).collect();
            self.output.encoder.command(&args, &mut self.output.backlog);
        }
        let end = self.output.backlog.end_offset();
        if start < end && self.is_on_disk {
            self.skipped.push(start..end);
        }
    }

    /// Takes the reached marks whose ids are wanted, in the order of the stream.
    pub fn take_marks(&mut self, is_wanted: impl Fn(u64) -> bool) -> Vec<Reached> {
        self.output.marks.extract_if(.., |mark| is_wanted(mark.id)).collect()
    }
}

impl Feed {
    /// Creates a feed that is off; the stream begins at `offset`.
    pub fn new(mesh: Arc<Mesh>, clock: Clock, offset: u64) -> Feed {
        let shards = mesh.shards();
        let (merger, output) = (Merger::new(shards), Output::new(offset));
        let stream =
            Stream { merger, output, injected: Vec::new(), skipped: Vec::new(), is_on_disk: false };
        Feed {
            is_on: AtomicBool::new(false),
            is_stale: AtomicBool::new(false),
            is_waiting: AtomicBool::new(false),
            end_offset: AtomicU64::new(offset),
            has_marks: AtomicBool::new(false),
            is_cutting: AtomicBool::new(false),
            wants_cut: (0..shards).map(|_| AtomicBool::new(false)).collect(),
            lanes: (0..shards).map(|_| Lane::default()).collect(),
            needs: (0..shards).map(|_| AtomicU64::new(NO_READER)).collect(),
            disk: Disk::new(shards),
            readers: AtomicU64::new(0),
            awaited: (0..shards).map(|_| AtomicBool::new(false)).collect(),
            stream: Mutex::new(stream),
            mesh,
            clock,
        }
    }

    /// Returns whether shards publish. The feed is switched on before the unit that switches the
    /// journals on is posted. It is switched off after all journals are off and empty.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// Switches publishing on or off.
    pub fn set_on(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Release);
    }

    /// Switches publishing on for a reader of a shard, which needs the stream from `offset` on.
    pub fn begin_reading(&self, shard: usize, offset: u64) {
        // Under the lock, so that `end_unread` either finds this reader or comes before it.
        let _stream = self.stream.lock().expect("no holder panics");
        self.needs[shard].fetch_min(offset, Ordering::AcqRel);
        self.readers.fetch_add(1, Ordering::AcqRel);
        self.set_on(true);
    }

    /// Returns the number of readers that have attached so far.
    pub fn readers(&self) -> u64 {
        self.readers.load(Ordering::Acquire)
    }

    /// Returns whether all units that were handed over are in the stream.
    pub fn is_drained(&self) -> bool {
        self.lanes.iter().all(|lane| lane.bytes() == 0)
    }

    /// Switches publishing off and drops the backlog, unless there is a reader, or one has attached
    /// since there were `readers` in total. If none has, all journals are off and empty, and what
    /// they handed over must be in the stream. Returns whether publishing is off.
    pub fn end_unread(&self, readers: u64) -> bool {
        let mut stream = self.stream.lock().expect("no holder panics");
        let is_unread = !self.has_readers() && self.readers() == readers;
        if is_unread {
            assert!(self.is_drained(), "all units are written before the stream ends");
            self.set_on(false);
            stream.restart(self.end_offset());
        }
        is_unread
    }

    /// Sets the first offset that the readers of a shard still need; `None` if it has no readers.
    pub fn set_need(&self, shard: usize, offset: Option<u64>) {
        self.needs[shard].store(offset.unwrap_or(NO_READER), Ordering::Release);
    }

    /// Sets whether clients of a shard wait for acknowledgements of replicas.
    pub fn set_awaited(&self, shard: usize, is_awaited: bool) {
        self.awaited[shard].store(is_awaited, Ordering::Release);
    }

    /// Returns the shards whose clients wait for acknowledgements.
    pub fn awaiting(&self) -> impl Iterator<Item = usize> {
        let all = self.awaited.iter().enumerate();
        all.filter(|(_, awaited)| awaited.load(Ordering::Acquire)).map(|(shard, _)| shard)
    }

    /// Returns the shards that must learn of marks, acknowledgements and a longer stream: they have
    /// readers, or clients that wait for acknowledgements.
    pub fn listeners(&self) -> impl Iterator<Item = usize> {
        let all = self.needs.iter().zip(&self.awaited).enumerate();
        let listens = |(need, awaited): &(&AtomicU64, &AtomicBool)| {
            need.load(Ordering::Acquire) != NO_READER || awaited.load(Ordering::Acquire)
        };
        all.filter(move |(_, it)| listens(it)).map(|(shard, _)| shard)
    }

    /// Returns whether any shard has readers.
    pub fn has_readers(&self) -> bool {
        self.min_need().is_some()
    }

    /// Returns the first offset that any reader still needs.
    pub fn min_need(&self) -> Option<u64> {
        let needs = self.needs.iter().map(|need| need.load(Ordering::Acquire));
        needs.chain(self.disk.need()).min().filter(|offset| *offset != NO_READER)
    }

    /// Returns the state of the append-only file.
    #[inline]
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Makes the append-only file a reader of the stream from its present end on, and switches
    /// publishing on. Returns the offset. The mark of a rewrite that began earlier is forgotten: it
    /// may be before that offset.
    pub fn begin_disk(&self) -> u64 {
        let mut stream = self.stream.lock().expect("no holder panics");
        (stream.output.awaited_cut, stream.output.cut) = (None, None);
        let offset = stream.output.backlog.end_offset();
        stream.is_on_disk = true;
        self.disk.set_need(Some(offset));
        self.readers.fetch_add(1, Ordering::AcqRel);
        self.set_on(true);
        offset
    }

    /// Makes the append-only file begin another file at a mark.
    pub fn await_cut(&self, mark: u64) {
        let mut stream = self.stream.lock().expect("no holder panics");
        (stream.output.awaited_cut, stream.output.cut) = (Some(mark), None);
    }

    /// Forgets the mark of a rewrite that has ended.
    pub fn forget_cut(&self) {
        let mut stream = self.stream.lock().expect("no holder panics");
        (stream.output.awaited_cut, stream.output.cut) = (None, None);
    }

    /// Ends the append-only file's part in the stream.
    pub fn end_disk(&self) {
        let mut stream = self.stream.lock().expect("no holder panics");
        stream.is_on_disk = false;
        stream.skipped.clear();
        (stream.output.awaited_cut, stream.output.cut) = (None, None);
        self.disk.set_need(None);
    }

    /// Merges what was handed over, and returns bytes for the append-only file.
    pub fn pull(&self, from: u64, bytes_max: usize) -> (Pulled, Merged) {
        self.is_stale.store(true, Ordering::Relaxed);
        let merged = self.merge();
        let take = |stream: &mut Stream| {
            let (mut pulled, mut at) = (Pulled::default(), from);
            let until_cut = stream.output.cut.and_then(|cut| cut.checked_sub(from));
            let until_cut = until_cut.unwrap_or(u64::MAX);
            let bytes_max = bytes_max.min(usize::try_from(until_cut).unwrap_or(usize::MAX));
            while let Some(left) = bytes_max.checked_sub((at - from) as usize).filter(|n| *n > 0) {
                let piece = stream.backlog().read(at, left).expect("the file's bytes are kept");
                if piece.is_empty() {
                    break;
                }
                at += piece.len() as u64;
                pulled.pieces.push(piece);
            }
            pulled.has_more = at < stream.backlog().end_offset();
            if stream.output.cut == Some(at) {
                stream.output.cut = None;
                pulled.is_cut = true;
                pulled.is_whole = true;
            }
            if !pulled.has_more {
                pulled.frontier = stream.merger.frontier();
                pulled.is_whole = !stream.merger.is_inside_unit();
            }
            pulled.skipped = stream.skipped.extract_if(.., |range| range.end <= at).collect();
            pulled
        };
        let (pulled, after) = self.with_stream(take);
        let merged = Merged {
            has_grown: merged.has_grown || after.has_grown,
            is_behind: merged.is_behind || after.is_behind,
        };
        (pulled, merged)
    }

    /// Returns the lane of a shard.
    pub fn lane(&self, shard: usize) -> &Lane {
        &self.lanes[shard]
    }

    /// Returns the offset of the stream's end after the last merge.
    #[inline]
    pub fn end_offset(&self) -> u64 {
        self.end_offset.load(Ordering::Acquire)
    }

    /// Returns whether there are marks to take.
    #[inline]
    pub fn has_marks(&self) -> bool {
        self.has_marks.load(Ordering::Acquire)
    }

    /// Begins a snapshot of all partitions, because each partition makes one cut at a time. Returns
    /// false if another shard makes one. That shard sees afterwards that this one waits.
    pub fn begin_cut(&self, shard: usize) -> bool {
        self.wants_cut[shard].store(true, Ordering::SeqCst);
        let is_free = !self.is_cutting.swap(true, Ordering::SeqCst);
        if is_free {
            self.wants_cut[shard].store(false, Ordering::SeqCst);
        }
        is_free
    }

    /// Records that a shard no longer waits to make a snapshot.
    pub fn forgo_cut(&self, shard: usize) {
        self.wants_cut[shard].store(false, Ordering::SeqCst);
    }

    /// Returns whether a shard waits until it may make a snapshot.
    #[inline]
    pub fn wants_cut(&self, shard: usize) -> bool {
        self.wants_cut[shard].load(Ordering::Relaxed)
    }

    /// Records that the snapshot is complete. Returns the shards that wait to make one.
    pub fn end_cut(&self) -> impl Iterator<Item = usize> + '_ {
        self.is_cutting.store(false, Ordering::SeqCst);
        let all = self.wants_cut.iter().enumerate();
        all.filter(|(_, wants)| wants.load(Ordering::SeqCst)).map(|(shard, _)| shard)
    }

    /// Hands the journal's filled units over, publishes its watermark, and merges. Every turn must
    /// do so once, after all its units.
    pub fn publish(&self, shard: usize, journal: &mut Journal) -> Merged {
        let has_any = journal.hand_over(&self.lanes[shard]);
        self.merge_if(has_any)
    }

    /// Prepares to park; the shard must have published before. Returns whether the shard may park.
    /// If not, the shard counts as awake.
    pub fn park(&self, shard: usize, journal: &mut Journal) -> (bool, Merged) {
        if !self.is_on() || journal.has_firm_gap() {
            return (true, Merged::default());
        }
        assert!(!journal.has_ready(), "a shard publishes before it parks");
        self.lanes[shard].park(journal.clock.sending());
        let merged = self.merge_if(false);
        if merged.is_behind {
            self.wake(shard, journal);
        }
        (!merged.is_behind, merged)
    }

    /// Records that the shard is awake again. Must precede the shard's turn.
    #[inline]
    pub fn wake(&self, shard: usize, journal: &mut Journal) {
        if let Some(promised) = self.lanes[shard].wake() {
            journal.clock.keep_promise(promised);
        }
    }

    /// Calls `look` with the stream, for reading it or adding to it. Blocks while another shard
    /// merges.
    pub fn with_stream<R>(&self, look: impl FnOnce(&mut Stream) -> R) -> (R, Merged) {
        let mut stream = self.stream.lock().expect("no holder panics");
        let value = look(&mut stream);
        let mut merged = Merged { has_grown: self.note(&stream), is_behind: false };
        drop(stream);
        // Threads that found the lock taken meanwhile have left the merging to this thread.
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

    /// Merges until there is nothing new, or until the limit. Returns whether there is more to
    /// merge.
    fn merge_locked(&self, mut stream: MutexGuard<'_, Stream>, merged: &mut Merged) -> bool {
        let Stream { merger, output, .. } = &mut *stream;
        let offset_max = output.backlog.end_offset() + MERGE_BYTES_MAX;
        let mut is_behind = false;
        while !is_behind && self.is_stale.swap(false, Ordering::SeqCst) {
            self.is_waiting.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            let bytes_max = offset_max.saturating_sub(output.backlog.end_offset());
            let target = self.disk.target();
            let promise = |shard| self.promise(shard);
            match merger.run(&self.lanes, &promise, output, bytes_max, target) {
                Progress::Drained => self.is_waiting.store(false, Ordering::Relaxed),
                Progress::Waiting => {}
                Progress::Behind => {
                    self.is_stale.store(true, Ordering::Relaxed);
                    is_behind = true;
                }
            }
        }
        stream.write_injected();
        merged.has_grown |= self.note(&stream);
        is_behind
    }

    /// Returns a timestamp that is smaller than all later ones of a parked shard: the current time,
    /// if the shard's inbox is empty after the time was read.
    fn promise(&self, shard: usize) -> Option<Timestamp> {
        let now = timestamp_at(self.clock.monotonic_ns());
        fence(Ordering::SeqCst);
        if self.mesh.depth(shard) > 0 {
            return None;
        }
        self.lanes[shard].promise(now)
    }

    /// Publishes the end of the stream and whether there are marks. Returns whether readers have
    /// work.
    fn note(&self, stream: &Stream) -> bool {
        let end = stream.output.backlog.end_offset();
        let has_marks = !stream.output.marks.is_empty();
        self.has_marks.store(has_marks, Ordering::Release);
        if self.disk.is_always() {
            self.disk.note_frontier(stream.merger.frontier());
        }
        self.end_offset.swap(end, Ordering::AcqRel) != end || has_marks
    }
}
