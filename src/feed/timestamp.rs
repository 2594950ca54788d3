//! Timestamps: when a unit arrived at its shard, comparable across all shards.
//!
//! ```text
//!   63                                             6 5      0
//!   | nanoseconds since the process started         | units  |     9 years
//! ```
//!
//! [`HybridClock`] is a hybrid logical clock: Kulkarni, Demirbas, Madappa, Avva and Leone, "Logical
//! Physical Clocks and Consistent Snapshots in Globally Distributed Databases", 2014. A timestamp
//! combines physical time (upper bits) and a logical counter (lower bits). Every message carries
//! the sender's timestamp, and the receiver's clock advances at least to it. Three things differ
//! from the paper. The physical time is read once per turn. It raises the clock only at `local` and
//! `drained`, so that the timestamp of a part never exceeds the time of its posting. Sending does
//! not advance the clock.
//!
//! A shard's timestamps ascend. They follow the turn's time, and increase by at least one per unit.
//! No shard processes 64 units per nanosecond, so a timestamp is never ahead of the time.
//!
//! ```text
//!   completions are taken
//!   begin_turn    T = now
//!   the inbox's tail is read
//!   arrived       each part:        max(last, the envelope's timestamp) + 1
//!   drained       last = at least T: all that was posted before T has been received
//!   local         each local unit:  last + 1, at least T
//!   answered      each reply:       last = at least the envelope's timestamp
//!   sending       each envelope sent, request or reply, carries last
//! ```
//! The order of the merger relies on two properties:
//!
//! 1. The timestamp of a part is not after the time of its posting. An envelope carries at most the
//!    time of its posting. The owner's previous timestamps belong to parts ahead in the inbox,
//!    or to a turn that read the inbox's tail before the part was posted.
//! 2. A unit that follows from an effect has a greater timestamp than all parts of the unit that
//!    made the effect. By property 1, these are not after that unit's posting. The client that saw
//!    the effect sent its command through a socket, whose completion was taken before T was read.

/// Timestamp of a unit on one shard.
pub type Timestamp = u64;

/// Bits of the logical counter, below the nanoseconds.
const UNIT_BITS: u32 = 6;

/// Returns the timestamp of a time, in nanoseconds since the process started.
pub fn timestamp_at(now_ns: u64) -> Timestamp {
    assert!(now_ns < 1 << (64 - UNIT_BITS), "a process does not run for nine years");
    now_ns << UNIT_BITS
}

/// A shard's hybrid logical clock, which generates the timestamps of its units.
#[derive(Clone, Debug, Default)]
pub struct HybridClock {
    /// The greatest timestamp that was generated, or was promised not to be generated any more.
    last: Timestamp,
    /// The time of this turn.
    turn: Timestamp,
    /// The shard knows no effect of a propagated unit after this timestamp.
    written: Timestamp,
}

impl HybridClock {
    /// Starts a turn. `now_ns` must be read after the sockets' completions were taken and before
    /// the inbox's tail is read.
    #[inline]
    pub fn begin_turn(&mut self, now_ns: u64) {
        let turn = timestamp_at(now_ns);
        assert!(turn >= self.turn, "time does not go back");
        self.turn = turn;
    }

    /// Returns the timestamp of a unit that came from this shard's sockets and runs here, or that
    /// the shard itself creates (removal of expired keys).
    #[inline]
    pub fn local(&mut self) -> Timestamp {
        self.last = (self.last + 1).max(self.turn);
        self.last
    }

    /// Returns the timestamp of a part from the inbox, whose envelope carries `envelope`.
    #[inline]
    pub fn arrived(&mut self, envelope: Timestamp) -> Timestamp {
        self.last = self.last.max(envelope) + 1;
        self.last
    }

    /// Returns the timestamp of a unit that follows from the unit before it.
    #[inline]
    pub fn following(&mut self) -> Timestamp {
        self.last += 1;
        self.last
    }

    /// Advances the clock to the timestamp of a reply from the inbox: its effects have happened.
    #[inline]
    pub fn answered(&mut self, envelope: Timestamp) {
        self.last = self.last.max(envelope);
    }

    /// Returns the timestamp that an envelope carries if it is posted or answered now.
    #[inline]
    pub fn sending(&self) -> Timestamp {
        self.last
    }

    /// Records that a unit that is propagated has taken effect. The shard may expect later effects
    /// already: those of the locks that it has just released.
    #[inline]
    pub(super) fn note_written(&mut self) {
        self.learn_written(self.last);
    }

    /// Records that the shard learns of effects up to this timestamp.
    #[inline]
    pub fn learn_written(&mut self, written: Timestamp) {
        self.written = self.written.max(written);
    }

    /// Returns the timestamp up to which the shard knows effects of propagated units.
    #[inline]
    pub fn written(&self) -> Timestamp {
        self.written
    }

    /// Advances the clock to the turn's time. The inbox must be drained to the tail that was read
    /// after the turn began.
    #[inline]
    pub fn drained(&mut self) {
        self.last = self.last.max(self.turn);
    }

    /// Advances the clock to `promised`. While the shard was parked, the merger promised that the
    /// shard's later timestamps are greater.
    pub(super) fn keep_promise(&mut self, promised: Timestamp) {
        self.last = self.last.max(promised);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_ascend_and_follow_the_turn() {
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

    #[test]
    fn a_unit_does_not_hide_later_effects_that_are_expected() {
        let mut clock = HybridClock::default();
        clock.begin_turn(10);
        clock.learn_written(900);
        clock.local();
        clock.note_written();
        assert_eq!(clock.written(), 900, "replies still wait for the released locks' effects");
        clock.begin_turn(20);
        clock.local();
        clock.note_written();
        assert_eq!(clock.written(), 1280);
    }
}
