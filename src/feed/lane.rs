//! The lane from one shard to the merger: the units that the shard has handed over, and its
//! watermark.
//!
//! The watermark is a lower bound for the timestamps of all units that are handed over later. The
//! shard hands units over before it publishes the watermark. The merger reads the watermark before
//! it takes the units. Hence a unit that the merger misses is not below the watermark that it has
//! read.
//!
//! A parked shard publishes nothing. If its inbox is empty, the merger may promise on its behalf
//! that its later timestamps are greater than the current time:
//!
//! ```text
//!            park                        promise: compare and swap, while parked
//!   AWAKE --------> PARKED (promised) ----------------> PARKED (promised, later)
//!     ^                    |
//!     '--------------------'  wake: the clock advances to the promised timestamp
//! ```
//! The merger reads the time before it checks the inbox. A part that arrives after the check was
//! posted after the promised time, so its timestamp may be greater.

use super::block::{Block, LateUnit};
use super::limits::LANE_BYTES_MAX;
use super::timestamp::Timestamp;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// The value of `promised` while the shard is awake.
const AWAKE: Timestamp = 0;

/// The state that one shard shares with the merger.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Lane {
    given: Mutex<Block>,
    /// Whether `given` has late units.
    has_late: AtomicBool,
    /// Bytes that are handed over and not in the stream yet.
    bytes: AtomicUsize,
    watermark: AtomicU64,
    /// While the shard is parked: its later timestamps are greater than this. Otherwise [`AWAKE`].
    promised: AtomicU64,
}

impl Lane {
    /// Returns whether the merger is so late that the shard must stop serving sockets.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= LANE_BYTES_MAX
    }

    /// Returns the bytes that are handed over and not in the stream yet.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Shard's side: hands its block over, which is empty afterwards.
    pub(super) fn give(&self, block: &mut Block) {
        let late: usize = block.late.iter().map(LateUnit::weight_bytes).sum();
        self.bytes.fetch_add(block.weight_bytes() + late, Ordering::Relaxed);
        let has_late = !block.late.is_empty();
        let mut given = self.given.lock().expect("no holder panics");
        if given.is_empty() {
            std::mem::swap(&mut *given, block);
        } else {
            given.append(block);
        }
        if has_late {
            self.has_late.store(true, Ordering::Release);
        }
        drop(given);
        block.clear();
    }

    /// Shard's side: publishes the watermark; must follow [`Lane::give`].
    pub(super) fn publish(&self, watermark: Timestamp) {
        debug_assert!(watermark >= self.watermark.load(Ordering::Relaxed));
        self.watermark.store(watermark, Ordering::Release);
    }

    /// Merger's side: returns the watermark; must precede [`Lane::take`].
    pub(super) fn watermark(&self) -> Timestamp {
        self.watermark.load(Ordering::Acquire)
    }

    /// Merger's side: exchanges an empty block for the units that were handed over.
    pub(super) fn take(&self, block: &mut Block) {
        assert!(block.is_empty(), "a block is empty before the next one is taken");
        std::mem::swap(&mut *self.given.lock().expect("no holder panics"), block);
    }

    /// Merger's side: takes only the late units that were handed over. Their heads stay.
    pub(super) fn take_late(&self) -> Vec<LateUnit> {
        if !self.has_late.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut given = self.given.lock().expect("no holder panics");
        self.has_late.store(false, Ordering::Relaxed);
        std::mem::take(&mut given.late)
    }

    /// Records that this number of the handed over bytes is in the stream.
    pub(super) fn release(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        assert!(before >= bytes, "at most the handed over bytes are released");
    }

    /// Records that the shard is about to park, without a firm gap in its journal. `last` is the
    /// last timestamp of its clock.
    pub(super) fn park(&self, last: Timestamp) {
        self.promised.store(last.max(1), Ordering::SeqCst);
    }

    /// Records that the shard is awake. Returns the promised timestamp if the shard was parked.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        if self.promised.load(Ordering::Relaxed) == AWAKE {
            return None;
        }
        Some(self.promised.swap(AWAKE, Ordering::SeqCst))
    }

    /// Promises for a parked shard that its later timestamps are greater than `until`. The caller
    /// read `until` before it found the shard's inbox empty. Returns the promised timestamp, or
    /// `None` if the shard is awake.
    pub(super) fn promise(&self, until: Timestamp) -> Option<Timestamp> {
        let raise = |promised: Timestamp| (promised != AWAKE).then(|| promised.max(until));
        let raised = self.promised.fetch_update(Ordering::SeqCst, Ordering::SeqCst, raise);
        raised.ok().map(|before| before.max(until))
    }
}
