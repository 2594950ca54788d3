//! One shard's order of units, owned by its thread.
//!
//! A slot is reserved when a unit comes, and filled when it has run: a unit that waits for locks
//! is filled after others that came later. What is filled up to the first gap is handed over.
//!
//! ```text
//!            ready                  held
//!   | filled | filled | filled |   gap | filled | gap | filled |   <- reserve
//!            handed over            ^
//!            once per turn          the watermark, else the clock's last stamp
//!
//!   a slot:  reserve -> gap -> fill -> filled -> (no gap ahead) ready -> lane
//! ```

use super::block::{Block, Content, Unit};
use super::lane::Lane;
use super::timestamp::{HybridClock, Timestamp};
use crate::exec::Records;
use std::collections::VecDeque;

/// Names a slot of one journal, from its reservation until it is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation(u64);

/// A slot behind a gap, or a gap.
#[derive(Debug)]
struct Held {
    stamp: Timestamp,
    unit: Unit,
    content: Option<Content>,
}

/// A shard's journal.
#[derive(Debug, Default)]
pub struct Journal {
    /// What its units are stamped with. It goes on while the journal is off.
    pub clock: HybridClock,
    is_on: bool,
    ready: Block,
    /// Begins with a gap, if it has anything.
    held: VecDeque<Held>,
    /// The number of the first slot held.
    held_first: u64,
    last_stamp: Timestamp,
}

impl Journal {
    /// Whether units are to be written down. Goes on and off at a unit with parts on all shards, so
    /// that the units with several parts have all of them in the journals, or none.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Says whether units are to be written down from now on.
    pub fn set_on(&mut self, is_on: bool) {
        self.is_on = is_on;
    }

    /// Whether there is nothing that has to be handed over, now or when it is filled.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.held.is_empty()
    }

    /// A unit has come. Its slot must be filled, with nothing if it told nothing.
    pub fn reserve(&mut self, stamp: Timestamp, unit: Unit) -> Reservation {
        self.check(stamp);
        self.held.push_back(Held { stamp, unit, content: None });
        Reservation(self.held_first + self.held.len() as u64 - 1)
    }

    /// The unit of a slot has run, and left these records; they are emptied.
    pub fn fill(&mut self, slot: Reservation, records: &mut Records) {
        let mut content = Content::default();
        content.take(records);
        self.fill_content(slot, content);
    }

    /// A unit has come and has run.
    pub fn append(&mut self, stamp: Timestamp, unit: Unit, records: &mut Records) {
        if !self.held.is_empty() {
            let slot = self.reserve(stamp, unit);
            return self.fill(slot, records);
        }
        self.check(stamp);
        let commands = records.list().len();
        if commands > 0 || unit.several().is_some() {
            check_content(unit, commands);
            self.ready.content.take(records);
            self.ready.push(stamp, unit, commands);
        }
        self.held_first += 1;
    }

    pub(super) fn fill_content(&mut self, slot: Reservation, content: Content) {
        let at = slot.0.checked_sub(self.held_first).expect("a slot is filled once");
        let held = self.held.get_mut(at as usize).expect("a slot is reserved first");
        assert!(held.content.is_none(), "a slot is filled once");
        check_content(held.unit, content.told.len());
        held.content = Some(content);
        while self.held.front().is_some_and(|first| first.content.is_some()) {
            let Held { stamp, unit, content } = self.held.pop_front().expect("just seen");
            let content = content.expect("just seen");
            self.held_first += 1;
            // The merger counts parts; an untold unit that has only one is none.
            if !content.told.is_empty() || unit.several().is_some() {
                self.ready.push_content(stamp, unit, content);
            }
        }
    }

    fn check(&mut self, stamp: Timestamp) {
        assert!(stamp > self.last_stamp, "the stamps of a shard ascend");
        self.last_stamp = stamp;
    }

    /// No slot that is handed over later has a smaller stamp.
    pub(super) fn watermark(&self) -> Timestamp {
        self.held.front().map_or(self.clock.sending(), |held| held.stamp)
    }

    /// Whether a slot is reserved and not filled.
    pub fn has_gap(&self) -> bool {
        !self.held.is_empty()
    }

    /// Hands over what is filled, and publishes the watermark; says whether there was something.
    pub(super) fn hand_over(&mut self, lane: &Lane) -> bool {
        let has_any = !self.ready.is_empty();
        if has_any {
            lane.give(&mut self.ready);
        }
        lane.publish(self.watermark());
        has_any
    }
}

fn check_content(unit: Unit, commands: usize) {
    let is_mark = matches!(unit, Unit::Mark { .. });
    assert!(!is_mark || commands == 0, "a mark tells no commands");
}
