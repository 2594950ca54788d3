//! Who holds a partition: the hold word beside its inbox, and how it works with parking and
//! posting.
//!
//! ```text
//!             try_hold: its shard, or a shard that has posted to it
//!      FREE --------------------------------------------------------> HELD
//!       ^                                                              |  |
//!       '------------------------- let_go -----------------------------'  | hold_or_ask: its shard
//!                                                                         v wakes up
//!      HELD <--- hold_or_ask: its shard --- GIVEN <------ let_go ------ WANTED
//! ```
//! A shard holds its partition from waking up to parking, so its own commands do not touch the hold
//! word. If a shard wakes up while another shard holds its partition, it asks for the partition and
//! receives it next. While the partition is free, a shard that has posted to it may hold it, drain
//! its inbox in order, and let go. Each side writes its own state and then reads the other side's,
//! with a full fence in between. So no message stays unnoticed:
//!
//! ```text
//!   poster:  push the message;                 fence;  free?  -> hold it, or ring its shard
//!   holder:  let go;                           fence;  inbox empty?  else ring its shard
//!   parker:  parked = true;  let go;           fence;  inbox empty?  else hold again, not parked
//!   rester:  let go;  poll inbox and sockets;  hold again, run a turn
//!   nudger:  change something elsewhere;       fence;  parked?  -> ring its shard
//! ```
//! The word decides which thread runs the partition. A unit that has locked the whole partition may
//! have taken its slice (`partition/handover`). That changes nothing here: the partition is then
//! held, lent and let go without its slice.
//!
//! If a poster finds the partition held, it continues: the holder checks the inbox after letting
//! go. A nudger does not rely on the holder: only the parker checks what the nudger has changed,
//! after its fence. `tests/hold_model.rs` runs this file in a model checker.

use super::sync::{AtomicBool, AtomicU32, Ordering, fence};

const FREE: u32 = 0;
const HELD: u32 = 1;
const WANTED: u32 = 2;
const GIVEN: u32 = 3;

/// Hold word of one partition, and whether its shard is parked.
#[derive(Debug)]
pub(super) struct Hold {
    word: AtomicU32,
    parked: AtomicBool,
}

impl Hold {
    /// Creates the word of a partition that its shard holds from the start.
    pub(super) fn new() -> Hold {
        Hold { word: AtomicU32::new(HELD), parked: AtomicBool::new(false) }
    }

    /// Takes the partition if it is free. Returns whether it did.
    #[inline]
    pub(super) fn try_hold(&self) -> bool {
        let taken = self.word.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok()
    }

    /// Returns whether no shard holds the partition. Call it after a push: it contains the fence.
    #[inline]
    pub(super) fn is_free_after_push(&self) -> bool {
        fence(Ordering::SeqCst);
        self.word.load(Ordering::Relaxed) == FREE
    }

    /// Lets a held partition go, or gives it to its own shard if that shard waits for it. Returns
    /// whether it was given; the caller then rings the shard's doorbell. Otherwise the caller must
    /// check the inbox afterwards. Contains the fence.
    #[inline]
    pub(super) fn let_go(&self) -> bool {
        let freed = self.word.compare_exchange(HELD, FREE, Ordering::Release, Ordering::Relaxed);
        if let Err(found) = freed {
            assert!(found == WANTED, "only a held partition is let go");
            self.word.store(GIVEN, Ordering::Release);
        }
        fence(Ordering::SeqCst);
        freed.is_err()
    }

    /// Takes the partition back for its own shard, which has woken up. Returns false while another
    /// shard holds it. That shard then gives it to this one and rings its doorbell.
    pub(super) fn hold_or_ask(&self) -> bool {
        loop {
            let found = self.word.load(Ordering::Relaxed);
            let wanted = match found {
                WANTED => return false,
                HELD => WANTED,
                _ => HELD,
            };
            let (order, otherwise) = (Ordering::AcqRel, Ordering::Relaxed);
            if self.word.compare_exchange(found, wanted, order, otherwise).is_ok() {
                return wanted == HELD;
            }
        }
    }

    /// Lets the shard's own partition go for a moment, without a doorbell: the shard stays awake,
    /// checks its inbox, and takes the partition back before it parks. Contains the fence.
    pub(super) fn rest(&self) {
        let is_given = self.let_go();
        debug_assert!(!is_given, "only the shard itself asks for its partition");
    }

    /// Records that the shard is about to block, and lets its partition go. The caller must check
    /// the inbox afterwards. Contains the fence.
    pub(super) fn park(&self) {
        self.parked.store(true, Ordering::SeqCst);
        self.rest();
    }

    /// Records that the shard is awake.
    pub(super) fn unpark(&self) {
        self.parked.store(false, Ordering::Relaxed);
    }

    /// Returns whether the shard is parked, and clears the flag, so that only one caller rings its
    /// doorbell.
    pub(super) fn take_parked(&self) -> bool {
        fence(Ordering::SeqCst);
        self.parked.load(Ordering::Relaxed) && self.parked.swap(false, Ordering::SeqCst)
    }
}
