//! Statistics of hash slots: each shard's part, and all parts together.

use crate::resp::Reply;
use std::fmt::Write;

/// In which order the slots are shown, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotOrder {
    /// All, by number.
    Number,
    /// Some, by their number of keys, the smallest first.
    Ascending(usize),
    /// Some, by their number of keys, the largest first.
    Descending(usize),
}

/// The numbers of keys of some hash slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotStats {
    /// Their order.
    pub order: SlotOrder,
    /// Each slot with its number of keys.
    pub keys: Vec<(u16, u64)>,
}

impl SlotStats {
    /// Sorts the slots and drops what is not shown.
    pub fn settle(&mut self) {
        match self.order {
            SlotOrder::Number => self.keys.sort_unstable(),
            SlotOrder::Ascending(max) => {
                self.keys.sort_unstable_by_key(|(slot, keys)| (*keys, *slot));
                self.keys.truncate(max);
            }
            SlotOrder::Descending(max) => {
                self.keys.sort_unstable_by_key(|(slot, keys)| (u64::MAX - keys, *slot));
                self.keys.truncate(max);
            }
        }
    }

    /// Writes the reply of CLUSTER SLOT-STATS.
    pub fn write(&self, reply: &mut Reply<'_>) {
        reply.array(self.keys.len());
        for (slot, keys) in &self.keys {
            reply.array(2);
            reply.integer(i64::from(*slot));
            reply.map(1);
            reply.bulk(b"key-count");
            reply.integer(*keys as i64);
        }
    }

    /// Writes a part for [`SlotStats::merge`]: a bulk string of the order and the numbers.
    pub fn write_part(&self, reply: &mut Reply<'_>) {
        let mut text = match self.order {
            SlotOrder::Number => "0 0".to_string(),
            SlotOrder::Ascending(max) => format!("1 {max}"),
            SlotOrder::Descending(max) => format!("2 {max}"),
        };
        for (slot, keys) in &self.keys {
            let _ = write!(text, " {slot} {keys}");
        }
        reply.bulk(text.as_bytes());
    }

    /// Merges the texts of all parts.
    pub fn merge(parts: &[&[u8]]) -> SlotStats {
        let mut all = SlotStats { order: SlotOrder::Number, keys: Vec::new() };
        for part in parts {
            let text = std::str::from_utf8(part).expect("numbers and spaces");
            let numbers = text.split(' ').map(|number| number.parse::<u64>().expect("a number"));
            let numbers: Vec<u64> = numbers.collect();
            let (head, rest) = numbers.split_at(2);
            all.order = match head[0] {
                0 => SlotOrder::Number,
                1 => SlotOrder::Ascending(head[1] as usize),
                _ => SlotOrder::Descending(head[1] as usize),
            };
            all.keys.extend(rest.chunks_exact(2).map(|pair| (pair[0] as u16, pair[1])));
        }
        all.settle();
        all
    }
}
