//! From all shards' queues to one stream: whose head is next.
//!
//! ```text
//!   queue of shard 0   | S 40 | P7 55 | S 56 |        heads: S 40 may go if 40 is not above any
//!   queue of shard 1   | P7 48 | S 60 |               empty queue's watermark; P7 is blocked
//!   queue of shard 2   |  empty, watermark 50         until it is at both heads, and goes as 48
//! ```

use super::block::{Block, Cursor, Unit, UnitHead};
use super::lane::Lane;
use super::output::Output;
use super::timestamp::Timestamp;

/// How a run of the merger ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All that was handed over is in the stream.
    Drained,
    /// Something waits for a sibling or a watermark.
    Waiting,
    /// There is more, but it was much already.
    Behind,
}

/// What one shard has handed over, as far as it is not in the stream.
#[derive(Debug, Default)]
struct Queue {
    block: Block,
    at: Cursor,
    /// While it is empty: no slot to come has a smaller stamp.
    watermark: Timestamp,
    weight_bytes: usize,
}

impl Queue {
    fn head(&self) -> Option<&UnitHead> {
        self.block.head(self.at)
    }

    /// An empty queue takes what was handed over meanwhile. The watermark is looked at, and the
    /// promise made, before.
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

/// A unit with several parts, as far as they are at heads.
#[derive(Clone, Copy, Debug)]
struct Several {
    sequence: u64,
    missing: u16,
    stamp: Timestamp,
    shard: usize,
}

/// What may go next.
#[derive(Clone, Copy, Debug)]
struct Choice {
    /// The smallest stamp among the heads that may go, and a shard with that head.
    best: Option<(Timestamp, usize)>,
    /// The smallest stamp of the other heads that may go.
    second: Timestamp,
    /// The smallest watermark of an empty queue.
    horizon: Timestamp,
}

impl Choice {
    fn consider(&mut self, stamp: Timestamp, shard: usize) {
        match self.best {
            Some((best, _)) if best <= stamp => self.second = self.second.min(stamp),
            before => {
                self.second = before.map_or(self.second, |(best, _)| best);
                self.best = Some((stamp, shard));
            }
        }
    }
}

/// Merges the queues of all shards.
#[derive(Debug)]
pub(super) struct Merger {
    queues: Vec<Queue>,
    several: Vec<Several>,
    /// Broken on purpose, where a test shows that watermarks are needed.
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

    /// Puts into the stream what may go. `promise` gives a stamp that a parked shard's later ones
    /// are greater than; it is asked only where the order waits for that shard.
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
            let Some((stamp, shard)) = choice.best else {
                let is_drained = self.queues.iter().all(|queue| queue.head().is_none());
                return if is_drained { Progress::Drained } else { Progress::Waiting };
            };
            if stamp > choice.horizon {
                if !self.look_again(stamp, lanes, promise) {
                    return Progress::Waiting;
                }
                continue;
            }
            match self.queues[shard].head().expect("it was chosen").unit.several() {
                None => {
                    let stamp_max = choice.second.min(choice.horizon);
                    self.emit_singles(shard, stamp_max, out, offset_max);
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
                choice.consider(head.stamp, shard);
                continue;
            };
            match self.several.iter_mut().find(|several| several.sequence == sequence) {
                Some(several) => {
                    several.missing =
                        several.missing.checked_sub(1).expect("no more parts than were said");
                    if head.stamp < several.stamp {
                        (several.stamp, several.shard) = (head.stamp, shard);
                    }
                }
                None => {
                    let missing = parts.checked_sub(1).expect("a unit has parts");
                    self.several.push(Several { sequence, missing, stamp: head.stamp, shard });
                }
            }
        }
        for several in self.several.iter().filter(|several| several.missing == 0) {
            choice.consider(several.stamp, several.shard);
        }
        #[cfg(test)]
        if self.ignores_watermarks {
            choice.horizon = Timestamp::MAX;
        }
        choice
    }

    /// Looks at the shards that hold up `stamp` once more; says whether none does any longer.
    fn look_again(
        &mut self,
        stamp: Timestamp,
        lanes: &[Lane],
        promise: &dyn Fn(usize) -> Option<Timestamp>,
    ) -> bool {
        let mut is_free = true;
        for (shard, queue) in self.queues.iter_mut().enumerate() {
            if queue.head().is_some() || queue.watermark >= stamp {
                continue;
            }
            queue.refill(&lanes[shard], promise(shard));
            is_free &= queue.head().is_some() || queue.watermark >= stamp;
        }
        is_free
    }

    /// Emits units with one part from the head of one queue: the chosen one, and those behind it
    /// that nothing else can come before.
    fn emit_singles(
        &mut self,
        shard: usize,
        stamp_max: Timestamp,
        out: &mut Output,
        offset_max: u64,
    ) {
        let queue = &mut self.queues[shard];
        while let Some(&UnitHead { stamp, unit, .. }) = queue.head()
            && unit.several().is_none()
            && stamp <= stamp_max
            && out.backlog.end_offset() <= offset_max
        {
            let (part, next) = queue.block.part(queue.at);
            out.unit(&[part], unit.is_transaction());
            queue.at = next;
        }
    }

    /// Emits the unit whose parts are all at heads.
    fn emit_several(&mut self, sequence: u64, parts: u16, out: &mut Output) {
        let is_of = |queue: &&mut Queue| {
            let unit = queue.head().and_then(|head| head.unit.several());
            unit.is_some_and(|(of, _)| of == sequence)
        };
        let mut first = None;
        let mut shares = Vec::with_capacity(usize::from(parts));
        for queue in self.queues.iter_mut().filter(is_of) {
            let unit = queue.head().expect("it has a part").unit;
            assert!(*first.get_or_insert(unit) == unit, "the parts of a unit agree");
            let (share, next) = queue.block.part(queue.at);
            shares.push(share);
            queue.at = next;
        }
        assert!(shares.len() == usize::from(parts), "a unit is emitted whole");
        match first.expect("a unit has parts") {
            Unit::Mark { id, .. } => out.mark(id),
            unit => out.unit(&shares, unit.is_transaction()),
        }
    }
}
