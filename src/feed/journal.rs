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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
        let was_firm = self.firm.remove(&place).is_some();
        let end = self.firm.first_key_value().map_or(self.next, |(place, _)| *place);
        if !was_firm {
            if place < end {
                self.pass(place);
            }
            return;
        }
        let mut from = place;
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

#[cfg(test)]
mod tests {
    use super::*;

    const SINGLE: Unit = Unit::Single { is_transaction: false };

    /// Returns a journal in its first turn, and what it hands its units over to.
    fn journal() -> (Journal, Lane, Block) {
        let mut journal = Journal::default();
        journal.clock.begin_turn(1);
        (journal, Lane::default(), Block::default())
    }

    #[test]
    fn a_firm_gap_holds_back_later_units() {
        let (mut journal, lane, mut block) = journal();
        let mut records = Records::default();
        let timestamp = journal.clock.local();
        let gap = journal.reserve(timestamp, SINGLE, Gap::Firm);
        records.add(0, 0, &[b"DEL", b"k"]);
        let later = journal.clock.local();
        journal.append(later, SINGLE, &mut records);
        assert!(records.is_empty() && journal.has_firm_gap());
        assert!(!journal.hand_over(&lane));
        assert_eq!(lane.watermark(), timestamp, "the gap's timestamp is the watermark");
        journal.fill(gap, &mut records);
        assert!(journal.hand_over(&lane) && journal.is_empty());
        assert_eq!(lane.watermark(), later + 1, "it exceeds the time at which the unit has run");
        assert!(lane.bytes() > 0);
        lane.take(&mut block);
        assert_eq!(block.heads.len(), 1, "a single-part unit without commands is dropped");
        let part = Unit::Part { sequence: 1, parts: 2, is_transaction: false };
        let timestamp = journal.clock.local();
        journal.append(timestamp, part, &mut records);
        assert!(journal.hand_over(&lane), "a part without commands is handed over");
    }

    #[test]
    fn nothing_waits_for_a_gap_that_is_given_up() {
        let (mut journal, lane, mut block) = journal();
        let part = Unit::Part { sequence: 1, parts: 2, is_transaction: false };
        let gaps =
            [(part, Gap::Firm), (SINGLE, Gap::Open), (SINGLE, Gap::Firm)].map(|(unit, gap)| {
                let timestamp = journal.clock.local();
                journal.reserve(timestamp, unit, gap)
            });
        let mark = journal.clock.local();
        let unit = Unit::Mark { sequence: 2, parts: 2, id: 7 };
        journal.append(mark, unit, &mut Records::default());
        for gap in gaps {
            assert!(journal.has_firm_gap(), "the mark waits for all firm gaps");
            journal.fill(gap, &mut Records::default());
        }
        assert!(journal.hand_over(&lane) && journal.is_empty());
        assert!(lane.watermark() > mark);
        lane.take(&mut block);
        let [UnitHead { unit: Unit::Part { .. }, commands: 0, .. }, mark] = &block.heads[..] else {
            panic!("the merger needs the part: {:?}", block.heads);
        };
        assert!(matches!(mark.unit, Unit::Mark { .. }));
        lane.release(lane.bytes());
    }

    #[test]
    fn later_units_pass_an_open_gap_and_a_late_unit_knows_its_place() {
        let (mut journal, lane, mut block) = journal();
        let mut records = Records::default();
        let timestamp = journal.clock.local();
        let gap = journal.reserve(timestamp, SINGLE, Gap::Open);
        let firm = journal.clock.local();
        let firm_gap = journal.reserve(firm, SINGLE, Gap::Firm);
        let mut add = |journal: &mut Journal, key: &[u8]| {
            records.add(0, 0, &[b"DEL", key]);
            let later = journal.clock.local();
            journal.append(later, SINGLE, &mut records);
            later
        };
        let later = add(&mut journal, b"k");
        assert!(!journal.hand_over(&lane) && lane.watermark() == firm);
        let mut records = Records::default();
        records.add(0, 0, &[b"DEL", b"firm"]);
        journal.fill(firm_gap, &mut records);
        assert!(journal.hand_over(&lane), "an open gap holds nothing up");
        assert_eq!(lane.watermark(), later + 1, "it exceeds the time at which the units have run");
        journal.firm_up(gap);
        assert!(journal.has_firm_gap());
        assert!(!journal.hand_over(&lane) && lane.watermark() == later + 1);
        records.add(0, 0, &[b"DEL", b"late"]);
        journal.fill(gap, &mut records);
        assert!(journal.hand_over(&lane) && journal.is_empty());
        let late = lane.take_late();
        assert_eq!(late.len(), 1);
        assert!(late[0].head.place == 0 && late[0].head.timestamp == later);
        lane.take(&mut block);
        let places: Vec<(u64, bool)> =
            block.heads.iter().map(|it| (it.place, it.is_late)).collect();
        assert_eq!(places, [(1, false), (2, false), (0, true)]);
        lane.release(lane.bytes());
    }
}
