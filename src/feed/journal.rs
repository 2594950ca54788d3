//! The journal of one shard: the order of its units. Only the shard's thread uses it.
//!
//! A unit's place is reserved when the unit arrives, and filled when the unit has run. A unit that
//! waits for locks is filled after units that arrived later. Filled units before the first gap are
//! handed over to the merger.
//!
//! ```text
//!            ready                  held
//!   | filled | filled | filled |   gap | filled | gap | filled |   <- reserve
//!            handed over            ^
//!            once per turn          its timestamp is the watermark (no gap: the clock's last one)
//!
//!   a place:  reserve -> gap -> fill -> filled -> (no gap before it) ready -> lane
//! ```

use super::block::{Block, Content, Unit};
use super::lane::Lane;
use super::timestamp::{HybridClock, Timestamp};
use crate::exec::Records;
use std::collections::VecDeque;

/// Identifies a reserved place in one journal, until it is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation(u64);

/// A gap, or a filled place after a gap.
#[derive(Debug)]
struct Held {
    timestamp: Timestamp,
    unit: Unit,
    content: Option<Content>,
}

/// A shard's journal.
#[derive(Debug, Default)]
pub struct Journal {
    /// Generates the timestamps of the units. Also runs while the journal is off.
    pub clock: HybridClock,
    is_on: bool,
    ready: Block,
    /// Starts with a gap, unless it is empty.
    held: VecDeque<Held>,
    /// Number of the first place in `held`.
    held_first: u64,
    last_timestamp: Timestamp,
}

impl Journal {
    /// Returns whether units must be recorded. The journals of all shards are switched by one unit
    /// with parts on all shards. Hence all parts of a multi-part unit are recorded, or none.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Switches the recording of units on or off.
    pub fn set_on(&mut self, is_on: bool) {
        self.is_on = is_on;
    }

    /// Returns whether no unit waits to be handed over or to be filled.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.held.is_empty()
    }

    /// Reserves the place of a unit that has arrived. The place must be filled later, even without
    /// commands.
    pub fn reserve(&mut self, timestamp: Timestamp, unit: Unit) -> Reservation {
        self.check(timestamp);
        self.held.push_back(Held { timestamp, unit, content: None });
        Reservation(self.held_first + self.held.len() as u64 - 1)
    }

    /// Fills the place of a unit that has run with its records, and empties the records.
    pub fn fill(&mut self, reservation: Reservation, records: &mut Records) {
        let mut content = Content::default();
        content.take(records);
        self.fill_content(reservation, content);
    }

    /// Adds a unit that has arrived and has run; empties the records.
    pub fn append(&mut self, timestamp: Timestamp, unit: Unit, records: &mut Records) {
        if !self.held.is_empty() {
            let reservation = self.reserve(timestamp, unit);
            return self.fill(reservation, records);
        }
        self.check(timestamp);
        let commands = records.list().len();
        if commands > 0 || unit.several().is_some() {
            check_content(unit, commands);
            self.ready.content.take(records);
            self.ready.push(timestamp, unit, commands);
        }
        self.held_first += 1;
    }

    pub(super) fn fill_content(&mut self, reservation: Reservation, content: Content) {
        let at = reservation.0.checked_sub(self.held_first).expect("a place is filled once");
        let held = self.held.get_mut(at as usize).expect("a place is reserved before it is filled");
        assert!(held.content.is_none(), "a place is filled once");
        check_content(held.unit, content.commands.len());
        held.content = Some(content);
        while self.held.front().is_some_and(|first| first.content.is_some()) {
            let Held { timestamp, unit, content } =
                self.held.pop_front().expect("the loop condition checked it");
            let content = content.expect("the loop condition checked it");
            self.held_first += 1;
            // The merger needs every part of a multi-part unit, but no single-part unit without
            // commands.
            if !content.commands.is_empty() || unit.several().is_some() {
                self.ready.push_content(timestamp, unit, content);
            }
        }
    }

    fn check(&mut self, timestamp: Timestamp) {
        assert!(timestamp > self.last_timestamp, "timestamps of a shard ascend");
        self.last_timestamp = timestamp;
    }

    /// Returns a lower bound for the timestamps of all units that are handed over later.
    pub(super) fn watermark(&self) -> Timestamp {
        self.held.front().map_or(self.clock.sending(), |held| held.timestamp)
    }

    /// Returns whether a place is reserved and not filled.
    pub fn has_gap(&self) -> bool {
        !self.held.is_empty()
    }

    /// Hands over the filled units and publishes the watermark. Returns whether there were units.
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
    assert!(!is_mark || commands == 0, "a mark has no commands");
}
