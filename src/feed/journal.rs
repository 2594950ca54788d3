//! The journal of one shard: the order of its units. Only the shard's thread uses it.
//!
//! A unit that runs when it arrives is appended. A unit that waits for locks gets a place when it
//! arrives, which is a gap until the unit has run. There are two kinds of gaps:
//!
//! ```text
//!                      open: later units pass it           firm: later units wait behind it
//!   whose              a unit without any effect yet       a unit that may have effects already,
//!                                                          and all that must precede a cut
//!   filled             the unit follows all that were      the unit and those behind it are
//!                      handed over before: it is `late`    handed over
//!   watermark          does not count                      a lower bound
//!
//!   a place:  reserve -> gap -> fill -> filled -> (no firm gap before it) ready -> lane
//!             gap -- forgo: the process stops before its unit has run
//!             open gap -- firm_up, firm_up_all --> firm gap
//! ```
//! So the units of a journal are handed over in the order in which they took effect. Each unit that
//! is late also knows its place, which is before the place of some units ahead of it. These units
//! ran while the late unit waited for locks, so they access other keys, and the merger may write
//! the late unit before them. `feed/mod.rs` says when it must.

use super::block::{Block, Content, Unit, UnitHead};
use super::lane::Lane;
use super::timestamp::{HybridClock, Timestamp};
use crate::exec::Records;
use std::collections::BTreeMap;

/// Identifies a reserved place in one journal, until it is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reservation(u64);

/// What a reserved place holds up until it is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// Nothing: the unit has no effect before it fills its place.
    Open,
    /// All units with later places.
    Firm,
}

/// A gap, or a filled place behind a firm gap.
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
    /// Gaps, and filled places behind a firm gap, by their places.
    held: BTreeMap<u64, Held>,
    /// The firm gaps, each with a lower bound for the timestamps of the units behind it.
    firm: BTreeMap<u64, Timestamp>,
    /// The next place.
    next: u64,
    /// All places that were handed over or are ready are below this one.
    passed: u64,
    /// Timestamp of the last unit that was handed over or is ready.
    passed_timestamp: Timestamp,
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

    /// Returns whether units wait to be handed over.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Reserves the place of a unit that has arrived. The place must be filled later, even without
    /// commands.
    pub fn reserve(&mut self, timestamp: Timestamp, unit: Unit, gap: Gap) -> Reservation {
        let place = self.hold(timestamp, unit, None);
        if gap == Gap::Firm {
            self.firm.insert(place, timestamp);
        }
        Reservation(place)
    }

    fn hold(&mut self, timestamp: Timestamp, unit: Unit, content: Option<Content>) -> u64 {
        self.check(timestamp);
        let place = self.take_place();
        self.held.insert(place, Held { timestamp, unit, content });
        place
    }

    fn take_place(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Makes a reserved place firm, because the unit is about to have effects that others see
    /// before it has run to its end.
    pub fn firm_up(&mut self, reservation: Reservation) {
        self.clock.note_written();
        let sent = self.clock.sending();
        self.firm.entry(reservation.0).or_insert(sent);
    }

    /// Makes all reserved places firm, so that their units precede the next one in the stream.
    pub fn firm_up_all(&mut self) {
        let sent = self.clock.sending();
        for (place, held) in &self.held {
            if held.content.is_none() {
                self.firm.entry(*place).or_insert(sent);
            }
        }
    }

    /// Fills the place of a unit that has run with its records, and empties the records.
    pub fn fill(&mut self, reservation: Reservation, records: &mut Records) {
        let mut content = Content::default();
        content.take(records);
        self.fill_content(reservation, content);
    }

    /// Adds a unit that has arrived and has run; empties the records.
    pub fn append(&mut self, timestamp: Timestamp, unit: Unit, records: &mut Records) {
        let commands = records.list().len();
        check_content(unit, commands);
        if commands > 0 {
            self.clock.note_written();
        }
        if !self.firm.is_empty() {
            let mut content = Content::default();
            content.take(records);
            self.hold(timestamp, unit, Some(content));
            return;
        }
        self.check(timestamp);
        let place = self.take_place();
        if commands > 0 || unit.several().is_some() {
            self.ready.content.take(records);
            self.ready.push(UnitHead {
                timestamp,
                unit,
                commands: commands as u32,
                place,
                is_late: false,
            });
            (self.passed, self.passed_timestamp) = (self.next, timestamp);
        }
    }

    pub(super) fn fill_content(&mut self, reservation: Reservation, content: Content) {
        let place = reservation.0;
        let held =
            self.held.get_mut(&place).expect("a place is filled once, after its reservation");
        assert!(held.content.is_none(), "a place is filled once");
        check_content(held.unit, content.commands.len());
        if !content.commands.is_empty() {
            self.clock.note_written();
        }
        held.content = Some(content);
        if self.firm.remove(&place).is_some() {
            self.pass_behind(place);
        } else if place < self.end_of_passing() {
            self.pass(place);
        }
    }

    /// Gives up a reserved place, because its unit will never fill it. Units behind it do not wait
    /// for it any more. A unit with several parts leaves a part without commands: the merger needs
    /// it if another part was handed over.
    pub(crate) fn forgo(&mut self, reservation: Reservation) {
        let place = reservation.0;
        let held =
            self.held.get(&place).expect("a place is given up once, and before it is filled");
        if held.unit.several().is_some() {
            return self.fill_content(reservation, Content::default());
        }
        self.held.remove(&place);
        if self.firm.remove(&place).is_some() {
            self.pass_behind(place);
        }
    }

    /// Returns the place of the first firm gap, or the next place: units before it may pass.
    fn end_of_passing(&self) -> u64 {
        self.firm.first_key_value().map_or(self.next, |(place, _)| *place)
    }

    /// Passes the filled places from `place` on, where a firm gap was.
    fn pass_behind(&mut self, place: u64) {
        let (mut from, end) = (place, self.end_of_passing());
        while let Some(filled) = self.next_filled(from, end) {
            self.pass(filled);
            from = filled + 1;
        }
    }

    /// Returns the first filled place in `from..end`.
    fn next_filled(&self, from: u64, end: u64) -> Option<u64> {
        let mut places = if from < end { self.held.range(from..end) } else { return None };
        places.find(|(_, held)| held.content.is_some()).map(|(place, _)| *place)
    }

    /// Makes the unit at a filled place ready: it follows all units that were ready before.
    fn pass(&mut self, place: u64) {
        let Held { timestamp, unit, content } =
            self.held.remove(&place).expect("the caller found it");
        let content = content.expect("the place is filled");
        // The merger needs every part of a multi-part unit, but no single-part unit without
        // commands.
        if content.commands.is_empty() && unit.several().is_none() {
            return;
        }
        let is_late = place < self.passed;
        let timestamp = timestamp.max(self.passed_timestamp);
        let commands = content.commands.len() as u32;
        let head = UnitHead { timestamp, unit, commands, place, is_late };
        self.ready.push_content(head, content);
        self.passed = self.passed.max(place + 1);
        self.passed_timestamp = timestamp;
    }

    fn check(&mut self, timestamp: Timestamp) {
        assert!(timestamp > self.last_timestamp, "timestamps of a shard ascend");
        self.last_timestamp = timestamp;
    }

    /// Returns a lower bound for the timestamps of all units that are handed over later, except
    /// units without any effect so far.
    pub(super) fn watermark(&self) -> Timestamp {
        self.firm.values().min().copied().unwrap_or(self.clock.sending())
    }

    /// Returns whether a firm place is not filled.
    pub fn has_firm_gap(&self) -> bool {
        !self.firm.is_empty()
    }

    /// Hands over the filled units and publishes the watermark. Returns whether there were units.
    pub(super) fn hand_over(&mut self, lane: &Lane) -> bool {
        let has_any = !self.ready.is_empty();
        if has_any {
            lane.give(&mut self.ready);
            // The watermark below exceeds the times at which these units have run.
            self.clock.following();
        }
        lane.publish(self.watermark());
        has_any
    }
}

fn check_content(unit: Unit, commands: usize) {
    let is_mark = matches!(unit, Unit::Mark { .. });
    assert!(!is_mark || commands == 0, "a mark has no commands");
}
