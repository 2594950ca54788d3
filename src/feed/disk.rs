//! The append-only file as a reader of the stream: how far it is, and what waits for it.
//!
//! Under `appendfsync always` a reply waits until all effects that it may show are durable. The
//! effects that a shard knows carry timestamps up to `written` of its clock. So a reply waits until
//! `durable` exceeds that.
//!
//! ```text
//!   shard    unit at t, reply -> output: wait for t -> want(t) ----.
//!   merger   frontier F: all effects before F are in the stream    |  until F > t
//!   thread   pull: bytes, F -> write -> fsync -> durable = F  <----'
//!   shard    durable > t: the output leaves
//! ```
//! *The frontier.* It is the smallest timestamp among the heads of all queues and the watermarks of
//! the empty ones. Let a unit have run on shard S at time t of S's clock, with t < F.
//!
//! 1. If S's queue is empty, S has published a watermark above t. S publishes after it has handed
//!    over all units that have run, except those behind a firm gap. A firm gap keeps the watermark
//!    at the time when it became firm, and the units behind it run later. So the unit was handed
//!    over, and is in the stream.
//! 2. If the queue has a head, the head's timestamp is above t. Units are handed over in the order
//!    in which they have run, and timestamps of a queue ascend. The unit's own timestamp is at most
//!    t. So the unit was ahead of the head, and is in the stream.

use super::limits::DISK_BYTES_MAX;
use super::timestamp::Timestamp;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::thread::Thread;

/// The value of `need` without a reader.
const NO_READER: u64 = u64::MAX;

/// The state that shards, the merger and the thread of the append-only file share.
#[derive(Debug)]
pub struct Disk {
    /// First offset of the stream that the file needs, or [`NO_READER`].
    need: AtomicU64,
    /// Whether replies wait until their effects are durable.
    is_always: AtomicBool,
    /// Effects before this timestamp are durable.
    durable: AtomicU64,
    /// Outputs wait until all effects up to this timestamp are durable.
    wanted: AtomicU64,
    /// All effects before this timestamp are in the stream. Kept only while `is_always`.
    pub(super) frontier: AtomicU64,
    /// Per shard: whether outputs wait there.
    waiting: Box<[AtomicBool]>,
    /// Whether commands that write wait because the file is too far behind.
    is_behind: AtomicBool,
    thread: OnceLock<Thread>,
    is_asleep: AtomicBool,
}

/// What the thread of the append-only file gets from the stream.
#[derive(Debug, Default)]
pub struct Pulled {
    /// Bytes from the offset on, in order.
    pub pieces: Vec<bytes::Bytes>,
    /// Offsets of commands that are only for replicas.
    pub skipped: Vec<Range<u64>>,
    /// All effects before this timestamp are in the stream up to the end of the pieces; 0 if that
    /// is not known.
    pub frontier: Timestamp,
    /// Whether the pieces end behind a whole unit.
    pub is_whole: bool,
    /// Whether the file begins another file behind the pieces.
    pub is_cut: bool,
    /// Whether the stream has more bytes.
    pub has_more: bool,
}

impl Disk {
    pub(super) fn new(shards: usize) -> Disk {
        Disk {
            need: AtomicU64::new(NO_READER),
            is_always: AtomicBool::new(false),
            durable: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            frontier: AtomicU64::new(0),
            waiting: (0..shards).map(|_| AtomicBool::new(false)).collect(),
            is_behind: AtomicBool::new(false),
            thread: OnceLock::new(),
            is_asleep: AtomicBool::new(false),
        }
    }

    /// Sets the first offset that the file needs; `None` if there is no file.
    pub fn set_need(&self, offset: Option<u64>) {
        self.need.store(offset.unwrap_or(NO_READER), Ordering::Release);
    }

    /// Returns the first offset that the file needs.
    pub fn need(&self) -> Option<u64> {
        Some(self.need.load(Ordering::Acquire)).filter(|need| *need != NO_READER)
    }

    /// Returns whether the file is so far behind the stream that commands that write must wait.
    #[inline]
    pub fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }

    /// Makes commands that write wait if the file needs more of a stream that ends at
    /// `end_offset` than [`DISK_BYTES_MAX`]. Returns the number of bytes if they begin to wait.
    pub fn begin_behind(&self, end_offset: u64) -> Option<u64> {
        let bytes = end_offset.saturating_sub(self.need()?);
        (bytes > DISK_BYTES_MAX && !self.is_behind.swap(true, Ordering::SeqCst)).then_some(bytes)
    }

    /// Lets commands that write continue if the file needs at most half of [`DISK_BYTES_MAX`].
    /// Returns whether they have waited.
    pub fn end_behind(&self, end_offset: u64) -> bool {
        let bytes = self.need().map_or(0, |need| end_offset.saturating_sub(need));
        self.is_behind()
            && bytes <= DISK_BYTES_MAX / 2
            && self.is_behind.swap(false, Ordering::SeqCst)
    }

    /// Sets whether replies wait until their effects are durable.
    pub fn set_always(&self, is_always: bool) {
        self.is_always.store(is_always, Ordering::SeqCst);
    }

    /// Returns whether replies wait until their effects are durable.
    #[inline]
    pub fn is_always(&self) -> bool {
        self.is_always.load(Ordering::Relaxed)
    }

    /// Returns the timestamp before which all effects are durable.
    #[inline]
    pub fn durable(&self) -> Timestamp {
        self.durable.load(Ordering::SeqCst)
    }

    /// Records that all effects before `frontier` are durable. Returns the shards whose outputs
    /// wait.
    pub fn set_durable(&self, frontier: Timestamp) -> impl Iterator<Item = usize> + '_ {
        self.durable.fetch_max(frontier, Ordering::SeqCst);
        let all = self.waiting.iter().enumerate();
        all.filter(|(_, waits)| waits.swap(false, Ordering::SeqCst)).map(|(shard, _)| shard)
    }

    /// Records that outputs of a shard wait until all effects up to `until` are durable. The shard
    /// must look at [`Disk::durable`] afterwards.
    pub fn want(&self, shard: usize, until: Timestamp) {
        self.waiting[shard].store(true, Ordering::SeqCst);
        self.wanted.fetch_max(until, Ordering::SeqCst);
        self.wake();
    }

    /// Returns the timestamp that the frontier must exceed; `None` if nothing waits for it.
    pub(super) fn target(&self) -> Option<Timestamp> {
        if !self.is_always() {
            return None;
        }
        let wanted = self.wanted.load(Ordering::SeqCst);
        (wanted >= self.frontier.load(Ordering::SeqCst)).then_some(wanted)
    }

    /// Returns the timestamp up to which outputs wait for effects.
    pub fn wanted(&self) -> Timestamp {
        self.wanted.load(Ordering::SeqCst)
    }

    /// Returns whether outputs wait for effects that are in the stream and not durable.
    pub fn is_late(&self) -> bool {
        let durable = self.durable();
        self.is_always()
            && self.wanted() >= durable
            && self.frontier.load(Ordering::SeqCst) > durable
    }

    /// Publishes the frontier. Wakes the thread if outputs wait for it.
    pub(super) fn note_frontier(&self, frontier: Timestamp) {
        let before = self.frontier.fetch_max(frontier, Ordering::SeqCst);
        if frontier > before && self.wanted.load(Ordering::SeqCst) >= before {
            self.wake();
        }
    }

    /// Sets the thread of the append-only file: the calling one.
    pub fn set_thread(&self) {
        self.thread.get_or_init(std::thread::current);
    }

    /// Wakes the thread of the append-only file if it sleeps.
    #[inline]
    pub fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.is_asleep.load(Ordering::Relaxed)
            && self.is_asleep.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Sleeps until [`Disk::wake`], or for this time. `has_work` is checked once it can be woken.
    pub fn sleep(&self, time: std::time::Duration, has_work: impl FnOnce() -> bool) {
        self.is_asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if !has_work() {
            std::thread::park_timeout(time);
        }
        self.is_asleep.store(false, Ordering::SeqCst);
    }
}
