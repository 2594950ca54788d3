//! Statistics of hash slots: each shard's part, and all parts together.

use crate::resp::Reply;
use std::fmt::Write;

/// In which order the slots are shown, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotOrder {
    /// All, by number.
    Number,
    /// Some, by a metric, the smallest first.
    Ascending(usize),
    /// Some, by a metric, the largest first.
    Descending(usize),
}

/// The names of the metrics. All but the first need `cluster-slot-stats-enabled`.
pub const SLOT_METRICS: [&str; 4] =
    ["key-count", "cpu-usec", "network-bytes-in", "network-bytes-out"];

/// The metrics of some hash slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotStats {
    /// Their order.
    pub order: SlotOrder,
    /// The metric that decides the order: an index into [`SLOT_METRICS`].
    pub metric: usize,
    /// Number of metrics that are shown.
    pub shown: usize,
    /// Each slot with its metrics.
    pub slots: Vec<(u16, [u64; SLOT_METRICS.len()])>,
}

impl SlotStats {
    /// Sorts the slots and drops what is not shown.
    pub fn settle(&mut self) {
        let metric = self.metric;
        match self.order {
            SlotOrder::Number => self.slots.sort_unstable(),
            SlotOrder::Ascending(max) => {
                self.slots.sort_unstable_by_key(|(slot, values)| (values[metric], *slot));
                self.slots.truncate(max);
            }
            SlotOrder::Descending(max) => {
                self.slots
                    .sort_unstable_by_key(|(slot, values)| (u64::MAX - values[metric], *slot));
                self.slots.truncate(max);
            }
        }
    }

    /// Writes the reply of CLUSTER SLOT-STATS.
    pub fn write(&self, reply: &mut Reply<'_>) {
        reply.array(self.slots.len());
        for (slot, values) in &self.slots {
            reply.array(2);
            reply.integer(i64::from(*slot));
            reply.map(self.shown);
            for (name, value) in SLOT_METRICS.iter().zip(values).take(self.shown) {
                reply.bulk(name.as_bytes());
                reply.integer(*value as i64);
            }
        }
    }

    /// Writes a part for [`SlotStats::merge`]: a bulk string of the order and the numbers.
    pub fn write_part(&self, reply: &mut Reply<'_>) {
        let (order, max) = match self.order {
            SlotOrder::Number => (0, 0),
            SlotOrder::Ascending(max) => (1, max),
            SlotOrder::Descending(max) => (2, max),
        };
        let mut text = format!("{order} {max} {} {}", self.metric, self.shown);
        for (slot, [keys, cpu, bytes_in, bytes_out]) in &self.slots {
            let _ = write!(text, " {slot} {keys} {cpu} {bytes_in} {bytes_out}");
        }
        reply.bulk(text.as_bytes());
    }

    /// Merges the texts of all parts.
    pub fn merge(parts: &[&[u8]]) -> SlotStats {
        let mut all =
            SlotStats { order: SlotOrder::Number, metric: 0, shown: 1, slots: Vec::new() };
        for part in parts {
            let text = std::str::from_utf8(part).expect("numbers and spaces");
            let numbers = text.split(' ').map(|number| number.parse::<u64>().expect("a number"));
            let numbers: Vec<u64> = numbers.collect();
            let (head, rest) = numbers.split_at(4);
            all.order = match head[0] {
                0 => SlotOrder::Number,
                1 => SlotOrder::Ascending(head[1] as usize),
                _ => SlotOrder::Descending(head[1] as usize),
            };
            (all.metric, all.shown) = (head[2] as usize, head[3] as usize);
            let slots = rest.chunks_exact(1 + SLOT_METRICS.len());
            all.slots.extend(slots.map(|it| (it[0] as u16, [it[1], it[2], it[3], it[4]])));
        }
        all.settle();
        all
    }
}
