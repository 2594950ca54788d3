//! From one shard to the merger: what the shard has handed over, and what it promises.
//!
//! A watermark says that no slot handed over later has a smaller stamp. The shard gives first and
//! publishes then, the merger looks at the watermark first and takes then: what it finds missing
//! is not below the watermark that it saw.
//!
//! A parked shard publishes nothing. For it, the merger may promise that its later stamps are
//! greater than the present time, if its inbox is empty:
//!
//! ```text
//!            park                        promise: compare and swap, while parked
//!   AWAKE --------> PARKED (promised) ----------------> PARKED (promised, later)
//!     ^                    |
//!     '--------------------'  wake: takes what was promised into its clock
//! ```
//! The time is read before the inbox is looked at, so that a part which lies there later was posted
//! later than promised, and may be stamped so.

use super::block::Block;
use super::limits::{LANE_BYTES_MAX, POOLED_BYTES_MAX};
use super::timestamp::Timestamp;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The value of `promised` of a shard that is awake.
const AWAKE: Timestamp = 0;

/// What one shard and the merger share.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Lane {
    given: Mutex<Block>,
    /// Bytes handed over and not in the stream yet.
    bytes: AtomicUsize,
    watermark: AtomicU64,
    /// While the shard is parked: its later stamps are greater. [`AWAKE`] otherwise.
    promised: AtomicU64,
}

impl Lane {
    /// Whether so much waits for the merger that the shard must not make more.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= LANE_BYTES_MAX
    }

    /// Bytes handed over and not in the stream yet.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The shard hands its block over, and has an empty one afterwards.
    pub(super) fn give(&self, block: &mut Block) {
        self.bytes.fetch_add(block.weight_bytes(), Ordering::Relaxed);
        let mut given = self.given.lock().expect("no holder panics");
        if given.is_empty() {
            std::mem::swap(&mut *given, block);
        } else {
            given.append(block);
        }
        drop(given);
        if block.content.bytes.capacity() > POOLED_BYTES_MAX {
            block.clear();
        }
    }

    /// The shard publishes its watermark, after it has given.
    pub(super) fn publish(&self, watermark: Timestamp) {
        debug_assert!(watermark >= self.watermark.load(Ordering::Relaxed));
        self.watermark.store(watermark, Ordering::Release);
    }

    /// The merger looks at the watermark, before it takes.
    pub(super) fn watermark(&self) -> Timestamp {
        self.watermark.load(Ordering::Acquire)
    }

    /// The merger takes what was given, for an empty block.
    pub(super) fn take(&self, block: &mut Block) {
        assert!(block.is_empty(), "a block is used up before the next is taken");
        std::mem::swap(&mut *self.given.lock().expect("no holder panics"), block);
    }

    /// So many of the bytes handed over are in the stream.
    pub(super) fn release(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        assert!(before >= bytes, "no more is released than was given");
    }

    /// The shard is about to block, without a gap in its journal; `last` is its clock's.
    pub(super) fn park(&self, last: Timestamp) {
        self.promised.store(last.max(1), Ordering::SeqCst);
    }

    /// The shard is awake again; what was promised for it, if it was parked.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        if self.promised.load(Ordering::Relaxed) == AWAKE {
            return None;
        }
        Some(self.promised.swap(AWAKE, Ordering::SeqCst))
    }

    /// Promises for a parked shard that its later stamps are greater than `until`, which was read
    /// before its inbox was found empty. None: it is awake.
    pub(super) fn promise(&self, until: Timestamp) -> Option<Timestamp> {
        let raise = |promised: Timestamp| (promised != AWAKE).then(|| promised.max(until));
        let raised = self.promised.fetch_update(Ordering::SeqCst, Ordering::SeqCst, raise);
        raised.ok().map(|before| before.max(until))
    }
}
