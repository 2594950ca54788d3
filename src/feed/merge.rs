//! The merger: builds one stream from the queues of all shards.
//!
//! ```text
//!   queue of shard 0   | S 40 | P7 55 | S 56 |    S 40 may go if 40 is not above an empty queue's
//!   queue of shard 1   | P7 48 | S 60 |           watermark. P7 is blocked until both parts are
//!   queue of shard 2   |  empty, watermark 50     at heads; then its timestamp is 48.
//! ```

use super::block::{Block, Cursor, Part, Unit, UnitHead};
use super::lane::Lane;
use super::output::Output;
use super::timestamp::Timestamp;

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
}

impl Queue {
    fn head(&self) -> Option<&UnitHead> {
        self.block.head(self.at)
    }

    /// Refills an empty queue from its lane. Reads the watermark, and the caller makes the promise,
    /// before the units are taken.
    fn refill(&mut self, lane: &Lane, promised: Option<Timestamp>) {
        debug_assert!(self.head().is_none());
        if self.weight_bytes > 0 {
            self.block.clear();
            lane.release(self.weight_bytes);
        }
        self.watermark = lane.watermark().max(promised.unwrap_or(0)).max(self.watermark);
        lane.take(&mut self.block);
        self.at = Cursor::default();
        self.weight_bytes = self.block.weight_bytes();
    }
}

/// A multi-part unit with at least one part at a head.
#[derive(Clone, Copy, Debug)]
struct Several {
    sequence: u64,
    missing: u16,
    timestamp: Timestamp,
    shard: usize,
}

/// The heads that may go next.
#[derive(Clone, Copy, Debug)]
struct Choice {
    /// The smallest timestamp among the heads that may go, and a shard with this head.
    best: Option<(Timestamp, usize)>,
    /// The smallest timestamp of the other heads that may go.
    second: Timestamp,
    /// The smallest watermark of an empty queue.
    horizon: Timestamp,
}

impl Choice {
    fn consider(&mut self, timestamp: Timestamp, shard: usize) {
        match self.best {
            Some((best, _)) if best <= timestamp => self.second = self.second.min(timestamp),
            before => {
                self.second = before.map_or(self.second, |(best, _)| best);
                self.best = Some((timestamp, shard));
            }
        }
    }
}

/// Merges the queues of all shards.
#[derive(Debug)]
pub(super) struct Merger {
    queues: Vec<Queue>,
    several: Vec<Several>,
    /// Shards with the parts of the unit that is partly written, in order. Its parts stay at the
    /// heads of their queues.
    partly: Vec<usize>,
    /// A deliberate fault: a test shows with it that watermarks are needed.
    #[cfg(test)]
    pub(super) ignores_watermarks: bool,
}

impl Merger {
    pub(super) fn new(shards: usize) -> Merger {
        Merger {
            queues: (0..shards).map(|_| Queue::default()).collect(),
            several: Vec::new(),
            partly: Vec::new(),
            #[cfg(test)]
            ignores_watermarks: false,
        }
    }

    /// Writes all units that may go to the stream. `promise` returns a timestamp that is smaller
    /// than all later ones of a parked shard. It is called only if the order depends on that shard.
    pub(super) fn run(
        &mut self,
        lanes: &[Lane],
        promise: &dyn Fn(usize) -> Option<Timestamp>,
        out: &mut Output,
        bytes_max: u64,
    ) -> Progress {
        let offset_max = out.backlog.end_offset() + bytes_max;
        for (queue, lane) in self.queues.iter_mut().zip(lanes) {
            if queue.head().is_none() {
                queue.refill(lane, None);
            }
        }
        loop {
            if out.backlog.end_offset() > offset_max || !self.go_on(out, offset_max) {
                return Progress::Behind;
            }
            for (queue, lane) in self.queues.iter_mut().zip(lanes) {
                if queue.head().is_none() && queue.weight_bytes > 0 {
                    queue.refill(lane, None);
                }
            }
            let choice = self.choose();
            let Some((timestamp, shard)) = choice.best else {
                let is_drained = self.queues.iter().all(|queue| queue.head().is_none());
                return if is_drained { Progress::Drained } else { Progress::Waiting };
            };
            if timestamp > choice.horizon {
                if !self.recheck(timestamp, lanes, promise) {
                    return Progress::Waiting;
                }
                continue;
            }
            match self.queues[shard].head().expect("the chosen queue has a head").unit.several() {
                None => {
                    let timestamp_max = choice.second.min(choice.horizon);
                    self.emit_singles(shard, timestamp_max, out, offset_max);
                }
                Some((sequence, parts)) => self.emit_several(sequence, parts, out, offset_max),
            }
        }
    }

    fn choose(&mut self) -> Choice {
        let mut choice = Choice { best: None, second: Timestamp::MAX, horizon: Timestamp::MAX };
        self.several.clear();
        for (shard, queue) in self.queues.iter().enumerate() {
            let Some(head) = queue.head() else {
                choice.horizon = choice.horizon.min(queue.watermark);
                continue;
            };
            let Some((sequence, parts)) = head.unit.several() else {
                choice.consider(head.timestamp, shard);
                continue;
            };
            match self.several.iter_mut().find(|several| several.sequence == sequence) {
                Some(several) => {
                    several.missing = several
                        .missing
                        .checked_sub(1)
                        .expect("a unit has at most its number of parts");
                    if head.timestamp < several.timestamp {
                        (several.timestamp, several.shard) = (head.timestamp, shard);
                    }
                }
                None => {
                    let missing = parts.checked_sub(1).expect("a unit has at least one part");
                    self.several.push(Several {
                        sequence,
                        missing,
                        timestamp: head.timestamp,
                        shard,
                    });
                }
            }
        }
        for several in self.several.iter().filter(|several| several.missing == 0) {
            choice.consider(several.timestamp, several.shard);
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
        let queue = &mut self.queues[shard];
        while let Some(&UnitHead { timestamp, unit, .. }) = queue.head()
            && unit.several().is_none()
            && timestamp <= timestamp_max
            && out.backlog.end_offset() <= offset_max
        {
            let (part, next) = queue.block.part(queue.at);
            let left = bytes_left(out, offset_max);
            if !out.begin_unit(&[part], unit.is_transaction(), left) {
                self.partly.push(shard);
                return;
            }
            queue.at = next;
        }
    }

    /// Continues the unit that is partly written. Returns whether there is none any more.
    fn go_on(&mut self, out: &mut Output, offset_max: u64) -> bool {
        let Some(&first) = self.partly.first() else { return true };
        let is_transaction =
            self.queues[first].head().expect("its part is at the head").unit.is_transaction();
        let of_shard = |shard: &usize| self.queues[*shard].block.part(self.queues[*shard].at);
        let (parts, ends): (Vec<Part<'_>>, Vec<Cursor>) = self.partly.iter().map(of_shard).unzip();
        if !out.go_on(&parts, is_transaction, bytes_left(out, offset_max)) {
            return false;
        }
        for (shard, end) in self.partly.drain(..).zip(ends) {
            self.queues[shard].at = end;
        }
        true
    }

    /// Returns whether a unit is partly written.
    pub(super) fn is_inside_unit(&self) -> bool {
        !self.partly.is_empty()
    }

    /// Writes a multi-part unit. All its parts must be at heads.
    fn emit_several(&mut self, sequence: u64, parts: u16, out: &mut Output, offset_max: u64) {
        let is_of = |shard: &usize| {
            let unit = self.queues[*shard].head().and_then(|head| head.unit.several());
            unit.is_some_and(|(of, _)| of == sequence)
        };
        let shards: Vec<usize> = (0..self.queues.len()).filter(is_of).collect();
        assert!(shards.len() == usize::from(parts), "all parts of a unit are written");
        let unit_of = |shard: usize| self.queues[shard].head().expect("it has a part").unit;
        let unit = unit_of(shards[0]);
        assert!(
            shards.iter().all(|shard| unit_of(*shard) == unit),
            "all parts of a unit are equal"
        );
        let of_shard = |shard: &usize| self.queues[*shard].block.part(self.queues[*shard].at);
        let (shares, ends): (Vec<Part<'_>>, Vec<Cursor>) = shards.iter().map(of_shard).unzip();
        match unit {
            Unit::Mark { id, .. } => out.mark(id),
            unit => {
                let left = bytes_left(out, offset_max);
                if !out.begin_unit(&shares, unit.is_transaction(), left) {
                    self.partly = shards;
                    return;
                }
            }
        }
        for (shard, end) in shards.into_iter().zip(ends) {
            self.queues[shard].at = end;
        }
    }
}

/// Returns the number of bytes up to an offset.
fn bytes_left(out: &Output, offset_max: u64) -> usize {
    offset_max.saturating_sub(out.backlog.end_offset()) as usize
}
