//! The merger: builds one stream from the queues of all shards.
//!
//! ```text
//!   queue of shard 0   | S 40 | P7 55 | S 56 |    S 40 may go if 40 is not above an empty queue's
//!   queue of shard 1   | P7 48 | S 60 |           watermark. P7 is blocked until both parts are
//!   queue of shard 2   |  empty, watermark 50     at heads; then its timestamp is 48.
//! ```

use super::block::{Block, Cursor, Unit, UnitHead};
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
    /// A deliberate fault: a test shows with it that watermarks are needed.
    #[cfg(test)]
    pub(super) ignores_watermarks: bool,
}

impl Merger {
    pub(super) fn new(shards: usize) -> Merger {
        Merger {
            queues: (0..shards).map(|_| Queue::default()).collect(),
            several: Vec::new(),
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
            if out.backlog.end_offset() > offset_max {
                return Progress::Behind;
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
                Some((sequence, parts)) => self.emit_several(sequence, parts, out),
            }
            for (queue, lane) in self.queues.iter_mut().zip(lanes) {
                if queue.head().is_none() && queue.weight_bytes > 0 {
                    queue.refill(lane, None);
                }
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
            out.unit(&[part], unit.is_transaction());
            queue.at = next;
        }
    }

    /// Writes a multi-part unit. All its parts must be at heads.
    fn emit_several(&mut self, sequence: u64, parts: u16, out: &mut Output) {
        let is_of = |queue: &&mut Queue| {
            let unit = queue.head().and_then(|head| head.unit.several());
            unit.is_some_and(|(of, _)| of == sequence)
        };
        let mut first = None;
        let mut shares = Vec::with_capacity(usize::from(parts));
        for queue in self.queues.iter_mut().filter(is_of) {
            let unit = queue.head().expect("the queue has a part").unit;
            assert!(*first.get_or_insert(unit) == unit, "all parts of a unit are equal");
            let (share, next) = queue.block.part(queue.at);
            shares.push(share);
            queue.at = next;
        }
        assert!(shares.len() == usize::from(parts), "all parts of a unit are written");
        match first.expect("a unit has at least one part") {
            Unit::Mark { id, .. } => out.mark(id),
            unit => out.unit(&shares, unit.is_transaction()),
        }
    }
}
