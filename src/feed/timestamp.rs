//! Stamps: when a unit came to its shard, comparable over all shards.
//!
//! ```text
//!   63                                             6 5      0
//!   | nanoseconds since the process started         | units  |     9 years
//! ```
//! A shard's stamps ascend. They follow the turn's time, read once, and are raised by one from unit
//! to unit: no shard takes in 64 units per nanosecond, so that a stamp is never ahead of the time.
//!
//! ```text
//!   completions are taken
//!   begin_turn    T = now
//!   the inbox's tail is read
//!   arrived       one more than the last, and more than the envelope's stamp      each part
//!   drained       the last is at least T: what was posted before T has been taken in
//!   local         one more than the last, at least T                   each unit of one's own
//!   answered      the last is at least the envelope's                  each answer
//!   sending       the last                               each envelope sent, there or back
//! ```
//! Two properties follow, on which the merger's order rests:
//!
//! 1. The stamp of a part is not after the moment at which it was posted. An envelope carries at
//!    most the time of its posting, and what its owner stamped last lay ahead of it in the inbox,
//!    or is of a turn whose tail was read before the part came.
//! 2. The stamps of what follows from an effect are greater than those of all parts of the unit
//!    that made it: these are not after its posting, and the one who saw it came through a socket
//!    whose completion was taken before T was read.

/// Timestamp of a unit on one shard.
pub type Timestamp = u64;

/// Bits of a stamp below the nanosecond.
const UNIT_BITS: u32 = 6;

/// The stamp of a moment.
pub fn timestamp_at(now_ns: u64) -> Timestamp {
    assert!(now_ns < 1 << (64 - UNIT_BITS), "a process does not run for nine years");
    now_ns << UNIT_BITS
}

/// What a shard stamps its units with.
#[derive(Clone, Debug, Default)]
pub struct HybridClock {
    /// The greatest stamp given, or promised not to be given any more.
    last: Timestamp,
    /// The time of this turn.
    turn: Timestamp,
}

impl HybridClock {
    /// A turn begins. `now_ns` is read after the sockets' completions were taken, and before the
    /// inbox's tail is read.
    #[inline]
    pub fn begin_turn(&mut self, now_ns: u64) {
        let turn = timestamp_at(now_ns);
        assert!(turn >= self.turn, "time does not go back");
        self.turn = turn;
    }

    /// The stamp of a unit that came from this shard's sockets and runs here, or that the shard
    /// itself makes (keys that fell due).
    #[inline]
    pub fn local(&mut self) -> Timestamp {
        self.last = (self.last + 1).max(self.turn);
        self.last
    }

    /// The stamp of a part out of the inbox.
    #[inline]
    pub fn arrived(&mut self, envelope: Timestamp) -> Timestamp {
        self.last = self.last.max(envelope) + 1;
        self.last
    }

    /// The stamp of a unit that follows from the one before it.
    #[inline]
    pub fn following(&mut self) -> Timestamp {
        self.last += 1;
        self.last
    }

    /// An answer out of the inbox, with its owner's last stamp: what it shows has happened.
    #[inline]
    pub fn answered(&mut self, envelope: Timestamp) {
        self.last = self.last.max(envelope);
    }

    /// What an envelope that is posted or answered now carries.
    #[inline]
    pub fn sending(&self) -> Timestamp {
        self.last
    }

    /// The inbox has been drained to the tail that was read after the turn began.
    #[inline]
    pub fn drained(&mut self) {
        self.last = self.last.max(self.turn);
    }

    /// While the shard was parked it was promised in its name that it stamps nothing up to
    /// `promised` any more.
    pub(super) fn keep_promise(&mut self, promised: Timestamp) {
        self.last = self.last.max(promised);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_ascend_and_follow_the_turn() {
        let mut clock = HybridClock::default();
        clock.begin_turn(10);
        assert_eq!(clock.arrived(70), 71);
        assert_eq!(clock.arrived(5), 72);
        clock.drained();
        assert_eq!(clock.sending(), 640);
        assert_eq!((clock.local(), clock.local()), (641, 642));
        clock.begin_turn(20);
        assert_eq!(clock.arrived(0), 643, "a part may have been posted before this turn");
        assert_eq!(clock.local(), 1280);
        assert_eq!(clock.arrived(2000), 2001);
        clock.keep_promise(3000);
        assert_eq!(clock.local(), 3001);
    }
}
