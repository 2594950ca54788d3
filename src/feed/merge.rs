//! The merger: builds one stream from the queues of all shards.
//!
//! ```text
//!   queue of shard 0   | S 40 | P7 55 | S 56 |    S 40 may go if 40 is not above an empty queue's
//!   queue of shard 1   | P7 48 | S 60 |           watermark. P7 is blocked until both parts are
//!   queue of shard 2   |  empty, watermark 50     at heads; then its timestamp is 48.
//! ```

use super::block::{Block, Cursor, LateUnit, Part, Unit, UnitHead};
use super::lane::Lane;
use super::output::Output;
use super::timestamp::Timestamp;
use std::collections::BTreeMap;

/// How a run of the merger ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All units that were handed over are in the stream.
    Drained,
    /// A unit waits for a sibling part or for a watermark.
    Waiting,
    /// The run stopped at its limit; there is more to merge.
    Behind,
}

/// Units that one shard has handed over and that are not in the stream yet.
#[derive(Debug, Default)]
struct Queue {
    block: Block,
    at: Cursor,
    /// While the queue is empty: a lower bound for the timestamps of its later units.
    watermark: Timestamp,
    weight_bytes: usize,
    /// Late units that are not in the stream yet, by their places. Their heads are in the block, or
    /// in the lane.
    late: BTreeMap<u64, LateUnit>,
    /// Bytes of late units that were written and that the lane still counts.
    written_bytes: usize,
}

impl Queue {
    fn head(&self) -> Option<&UnitHead> {
        self.block.head(self.at)
    }

    /// Returns the late unit with the first place, if it may be written before the head: the units
    /// from the head on have later places.
    fn early(&self) -> Option<&UnitHead> {
        let (place, unit) = self.late.first_key_value()?;
        self.head().is_some_and(|head| *place < head.place).then_some(&unit.head)
    }

    /// Takes over late units.
    fn keep_late(&mut self, late: Vec<LateUnit>) {
        self.late.extend(late.into_iter().map(|unit| (unit.head.place, unit)));
    }

    /// Refills an empty queue from its lane. Reads the watermark, and the caller makes the promise,
    /// before the units are taken.
    fn refill(&mut self, lane: &Lane, promised: Option<Timestamp>) {
        debug_assert!(self.head().is_none());
        self.clear(lane);
        self.watermark = lane.watermark().max(promised.unwrap_or(0)).max(self.watermark);
        lane.take(&mut self.block);
        self.at = Cursor::default();
        self.weight_bytes = self.block.weight_bytes();
        let late = std::mem::take(&mut self.block.late);
        self.keep_late(late);
        self.skip_written();
        if self.head().is_none() {
            self.clear(lane);
        }
    }

    /// Drops a block whose units are all written.
    fn clear(&mut self, lane: &Lane) {
        if self.weight_bytes > 0 {
            self.block.clear();
            lane.release(std::mem::take(&mut self.weight_bytes));
        }
    }

    /// Skips the heads of late units that were written before.
    fn skip_written(&mut self) {
        while let Some(head) = self.head()
            && head.is_late
            && !self.late.contains_key(&head.place)
        {
            self.at = self.block.part(self.at).1;
        }
    }

    /// Returns the content of the unit with a place: of the head, or of a late unit.
    fn part(&self, place: u64) -> Part<'_> {
        match self.late.get(&place) {
            Some(late) => late.part(),
            None => {
                debug_assert!(self.head().is_some_and(|head| head.place == place));
                self.block.part(self.at).0
            }
        }
    }

    /// Passes the unit with a place, the head or a late unit, which was written.
    fn pass(&mut self, place: u64) {
        if let Some(late) = self.late.remove(&place) {
            self.written_bytes += late.weight_bytes();
        }
        if self.head().is_some_and(|head| head.place == place) {
            self.at = self.block.part(self.at).1;
        }
        self.skip_written();
    }

    /// Returns the part of this multi-part unit that is next, if there is one.
    fn part_of(&self, sequence: u64) -> Option<&UnitHead> {
        let is_it = |head: &&UnitHead| head.unit.several().is_some_and(|(of, _)| of == sequence);
        self.head().filter(is_it).or_else(|| self.early().filter(is_it))
    }
}

/// A part of a unit that is being written.
#[derive(Clone, Copy, Debug)]
struct Share {
    shard: usize,
    place: u64,
    unit: Unit,
}

/// A multi-part unit with at least one part at a head.
#[derive(Clone, Copy, Debug)]
struct Several {
    sequence: u64,
    missing: u16,
    timestamp: Timestamp,
    shard: usize,
    is_early: bool,
}

/// The units that may go next.
#[derive(Clone, Copy, Debug)]
struct Choice {
    /// The smallest timestamp among the units that may go, its shard, and whether it is early
    /// there.
    best: Option<(Timestamp, usize, bool)>,
    /// The smallest timestamp of the other units that may go.
    second: Timestamp,
    /// The smallest watermark of an empty queue.
    horizon: Timestamp,
}

impl Choice {
    fn consider(&mut self, timestamp: Timestamp, shard: usize, is_early: bool) {
        match self.best {
            Some((best, ..)) if best <= timestamp => self.second = self.second.min(timestamp),
            before => {
                self.second = before.map_or(self.second, |(best, ..)| best);
                self.best = Some((timestamp, shard, is_early));
            }
        }
    }
}

/// Merges the queues of all shards.
#[derive(Debug)]
pub(super) struct Merger {
    queues: Vec<Queue>,
    several: Vec<Several>,
    /// The parts of the unit that is partly written, in the order of their shards. They stay in
    /// their queues.
    partly: Vec<Share>,
    /// A deliberate fault: a test shows with it that watermarks are needed.
    #[cfg(test)]
    pub(super) ignores_watermarks: bool,
    /// A deliberate fault: a test shows with it that late units must be written early.
    #[cfg(test)]
    pub(super) ignores_early: bool,
}

impl Merger {
    pub(super) fn new(shards: usize) -> Merger {
        Merger {
            queues: (0..shards).map(|_| Queue::default()).collect(),
            several: Vec::new(),
            partly: Vec::new(),
            #[cfg(test)]
            ignores_watermarks: false,
            #[cfg(test)]
            ignores_early: false,
        }
    }

    /// Writes all units that may go to the stream. `promise` returns a timestamp that is smaller
    /// than all later ones of a parked shard. It is called only if the order depends on that shard.
    /// With a `target`, the run ends only when the frontier exceeds it, or cannot yet.
    pub(super) fn run(
        &mut self,
        lanes: &[Lane],
        promise: &dyn Fn(usize) -> Option<Timestamp>,
        out: &mut Output,
        bytes_max: u64,
        target: Option<Timestamp>,
    ) -> Progress {
        let offset_max = out.backlog.end_offset() + bytes_max;
        for (queue, lane) in self.queues.iter_mut().zip(lanes) {
            queue.keep_late(lane.take_late());
            if queue.head().is_none() {
                queue.refill(lane, None);
            }
        }
        loop {
            if out.backlog.end_offset() > offset_max || !self.go_on(out, offset_max) {
                return Progress::Behind;
            }
            for (queue, lane) in self.queues.iter_mut().zip(lanes) {
                if queue.written_bytes > 0 {
                    lane.release(std::mem::take(&mut queue.written_bytes));
                }
                if queue.head().is_none() && queue.weight_bytes > 0 {
                    queue.refill(lane, None);
                }
            }
            let choice = self.choose();
            let Some((timestamp, shard, is_early)) = choice.best else {
                if !self.queues.iter().all(|queue| queue.head().is_none()) {
                    return Progress::Waiting;
                }
                let Some(target) = target.filter(|target| self.frontier() <= *target) else {
                    return Progress::Drained;
                };
                if !self.recheck(target + 1, lanes, promise) {
                    return Progress::Waiting;
                }
                continue;
            };
            if timestamp > choice.horizon {
                if !self.recheck(timestamp, lanes, promise) {
                    return Progress::Waiting;
                }
                continue;
            }
            let queue = &self.queues[shard];
            let head = if is_early { queue.early() } else { queue.head() };
            let &UnitHead { unit, place, .. } = head.expect("the chosen queue has the unit");
            match unit.several() {
                None if is_early => {
                    self.emit(&[Share { shard, place, unit }], out, offset_max);
                }
                None => {
                    let timestamp_max = choice.second.min(choice.horizon);
                    self.emit_singles(shard, timestamp_max, out, offset_max);
                }
                Some((sequence, parts)) => self.emit_several(sequence, parts, out, offset_max),
            }
        }
    }

    /// Returns the timestamp before which all effects are in the stream (see `disk`).
    pub(super) fn frontier(&self) -> Timestamp {
        let bound = |queue: &Queue| queue.head().map_or(queue.watermark, |head| head.timestamp);
        self.queues.iter().map(bound).min().expect("there is at least one shard")
    }

    fn choose(&mut self) -> Choice {
        let mut choice = Choice { best: None, second: Timestamp::MAX, horizon: Timestamp::MAX };
        self.several.clear();
        for (shard, queue) in self.queues.iter().enumerate() {
            let Some(head) = queue.head() else {
                choice.horizon = choice.horizon.min(queue.watermark);
                continue;
            };
            let early = queue.early().map(|head| (head, true));
            #[cfg(test)]
            let early = early.filter(|_| !self.ignores_early);
            for (head, is_early) in [Some((head, false)), early].into_iter().flatten() {
                match head.unit.several() {
                    None => choice.consider(head.timestamp, shard, is_early),
                    Some((sequence, parts)) => {
                        see_part(
                            &mut self.several,
                            (sequence, parts),
                            head.timestamp,
                            (shard, is_early),
                        );
                    }
                }
            }
        }
        for several in self.several.iter().filter(|several| several.missing == 0) {
            choice.consider(several.timestamp, several.shard, several.is_early);
        }
        #[cfg(test)]
        if self.ignores_watermarks {
            choice.horizon = Timestamp::MAX;
        }
        choice
    }

    /// Refills the queues that block `timestamp`. Returns whether no queue blocks it any more.
    fn recheck(
        &mut self,
        timestamp: Timestamp,
        lanes: &[Lane],
        promise: &dyn Fn(usize) -> Option<Timestamp>,
    ) -> bool {
        let mut is_free = true;
        for (shard, queue) in self.queues.iter_mut().enumerate() {
            if queue.head().is_some() || queue.watermark >= timestamp {
                continue;
            }
            queue.refill(&lanes[shard], promise(shard));
            is_free &= queue.head().is_some() || queue.watermark >= timestamp;
        }
        is_free
    }

    /// Writes single-part units from the head of one queue: the chosen one, and those after it that
    /// no other unit can precede.
    fn emit_singles(
        &mut self,
        shard: usize,
        timestamp_max: Timestamp,
        out: &mut Output,
        offset_max: u64,
    ) {
        while let Some(&UnitHead { timestamp, unit, place, .. }) = self.queues[shard].head()
            && unit.several().is_none()
            && timestamp <= timestamp_max
            && out.backlog.end_offset() <= offset_max
        {
            let share = Share { shard, place, unit };
            if !self.emit(&[share], out, offset_max) {
                return;
            }
        }
    }

    /// Writes a multi-part unit. All its parts must be next in their queues.
    fn emit_several(&mut self, sequence: u64, parts: u16, out: &mut Output, offset_max: u64) {
        let found = |(shard, queue): (usize, &Queue)| {
            let head = queue.part_of(sequence)?;
            Some(Share { shard, place: head.place, unit: head.unit })
        };
        let shares: Vec<Share> = self.queues.iter().enumerate().filter_map(found).collect();
        assert!(shares.len() == usize::from(parts), "all parts of a unit are written");
        let is_equal = |share: &Share| share.unit == shares[0].unit;
        assert!(shares.iter().all(is_equal), "all parts of a unit are equal");
        if let Unit::Mark { id, .. } = shares[0].unit {
            out.mark(id);
            self.pass(&shares);
        } else {
            self.emit(&shares, out, offset_max);
        }
    }

    /// Begins to write the unit that consists of these parts. Returns whether it is complete.
    fn emit(&mut self, shares: &[Share], out: &mut Output, offset_max: u64) -> bool {
        let parts: Vec<Part<'_>> = shares.iter().map(|share| self.part(share)).collect();
        let left = bytes_left(out, offset_max);
        if !out.begin_unit(&parts, shares[0].unit.is_transaction(), left) {
            self.partly.extend_from_slice(shares);
            return false;
        }
        self.pass(shares);
        true
    }

    /// Continues the unit that is partly written. Returns whether there is none any more.
    fn go_on(&mut self, out: &mut Output, offset_max: u64) -> bool {
        let Some(first) = self.partly.first() else { return true };
        let parts: Vec<Part<'_>> = self.partly.iter().map(|share| self.part(share)).collect();
        if !out.go_on(&parts, first.unit.is_transaction(), bytes_left(out, offset_max)) {
            return false;
        }
        let shares = std::mem::take(&mut self.partly);
        self.pass(&shares);
        true
    }

    /// Returns whether a unit is partly written.
    pub(super) fn is_inside_unit(&self) -> bool {
        !self.partly.is_empty()
    }

    fn part(&self, share: &Share) -> Part<'_> {
        self.queues[share.shard].part(share.place)
    }

    fn pass(&mut self, shares: &[Share]) {
        for share in shares {
            self.queues[share.shard].pass(share.place);
        }
    }
}

/// Notes a part of a multi-part unit that is next in a queue.
fn see_part(
    several: &mut Vec<Several>,
    (sequence, parts): (u64, u16),
    timestamp: Timestamp,
    (shard, is_early): (usize, bool),
) {
    let Some(found) = several.iter_mut().find(|several| several.sequence == sequence) else {
        let missing = parts.checked_sub(1).expect("a unit has at least one part");
        return several.push(Several { sequence, missing, timestamp, shard, is_early });
    };
    found.missing = found.missing.checked_sub(1).expect("a unit has at most its number of parts");
    if timestamp < found.timestamp {
        (found.timestamp, found.shard, found.is_early) = (timestamp, shard, is_early);
    }
}

/// Returns the number of bytes up to an offset.
fn bytes_left(out: &Output, offset_max: u64) -> usize {
    offset_max.saturating_sub(out.backlog.end_offset()) as usize
}
