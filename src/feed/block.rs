//! What a shard hands to the merger: slots in the order of the shard, with what their units tell.
//!
//! ```text
//!   slots   | stamp unit 2 | stamp unit 0 | stamp unit 1 |      how many commands each has
//!   told    | at db glue words lens | .. |   ..          |      one for each command
//!   bytes   $3 SET $1 k $1 v | $6 UNLINK $1 e | ...              one after the other
//! ```

use super::limits::POOLED_BYTES_MAX;
use super::timestamp::Timestamp;
use crate::exec::{Glue, Records};

/// What a slot stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A unit with one part, on this shard. If it is no transaction, each command (`at`) of its
    /// batch is a unit of its own.
    Single {
        /// Whether all of its commands are one.
        is_transaction: bool,
    },
    /// One part of a unit that has parts on several shards.
    Part {
        /// Its place in the order of such units; the same in all parts.
        sequence: u64,
        /// How many shards have a part.
        parts: u16,
        /// Whether all of its commands are one.
        is_transaction: bool,
    },
    /// One part of a barrier: the stream's offset between what came before it on every shard and
    /// what came after is reported.
    Mark {
        /// Its place in the order of units with several parts.
        sequence: u64,
        /// How many shards have a part: all.
        parts: u16,
        /// What it is reported under.
        id: u64,
    },
}

impl Unit {
    /// The sequence and the number of parts of what has several.
    pub(super) fn several(&self) -> Option<(u64, u16)> {
        match *self {
            Unit::Single { .. } => None,
            Unit::Part { sequence, parts, .. } | Unit::Mark { sequence, parts, .. } => {
                Some((sequence, parts))
            }
        }
    }

    pub(super) fn is_transaction(&self) -> bool {
        matches!(
            self,
            Unit::Single { is_transaction: true } | Unit::Part { is_transaction: true, .. }
        )
    }
}

/// A unit's place in its shard's order.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnitHead {
    pub(super) stamp: Timestamp,
    pub(super) unit: Unit,
    /// How many commands it tells.
    pub(super) commands: u32,
}

/// One command; the fields of `exec::Record`, with the length of its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) at: u32,
    pub(super) db: u16,
    pub(super) glue: Glue,
    pub(super) words: u32,
    pub(super) head_len: u32,
    pub(super) len: usize,
}

/// Commands with their bytes: those of one slot, or of a block's slots one after the other.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) told: Vec<Told>,
    pub(super) bytes: Vec<u8>,
}

impl Content {
    /// Adds what a unit left, and empties it.
    pub(super) fn take(&mut self, records: &mut Records) {
        self.told.reserve(records.list().len());
        for record in records.list() {
            self.told.push(Told {
                at: record.at,
                db: record.db,
                glue: record.glue,
                words: record.words,
                head_len: record.head_len,
                len: record.bytes.len(),
            });
            self.bytes.extend_from_slice(records.bytes(record));
        }
        records.clear();
    }

    fn append(&mut self, other: &mut Content) {
        self.told.append(&mut other.told);
        self.bytes.append(&mut other.bytes);
    }
}

/// Slots in order, with all that they tell.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) slots: Vec<UnitHead>,
    pub(super) content: Content,
}

/// A place in a block, between two slots.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    slot: usize,
    told: usize,
    byte: usize,
}

/// One slot's share of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) told: &'a [Told],
    pub(super) bytes: &'a [u8],
}

impl Block {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Adds a slot whose commands are the last `commands` of the content, just added.
    pub(super) fn push(&mut self, stamp: Timestamp, unit: Unit, commands: usize) {
        debug_assert!(self.slots.last().is_none_or(|last| last.stamp < stamp));
        self.slots.push(UnitHead { stamp, unit, commands: commands as u32 });
    }

    /// Adds a slot with its own content.
    pub(super) fn push_content(&mut self, stamp: Timestamp, unit: Unit, mut content: Content) {
        let commands = content.told.len();
        self.content.append(&mut content);
        self.push(stamp, unit, commands);
    }

    /// Adds all of `other`, which is empty afterwards.
    pub(super) fn append(&mut self, other: &mut Block) {
        self.slots.append(&mut other.slots);
        self.content.append(&mut other.content);
    }

    /// Bytes that its slots take up.
    pub(super) fn weight_bytes(&self) -> usize {
        self.slots.len() * size_of::<UnitHead>()
            + self.content.told.len() * size_of::<Told>()
            + self.content.bytes.len()
    }

    /// Forgets everything and keeps a little memory.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.slots.shrink_to(POOLED_BYTES_MAX / size_of::<UnitHead>());
        self.content.told.clear();
        self.content.told.shrink_to(POOLED_BYTES_MAX / size_of::<Told>());
        self.content.bytes.clear();
        self.content.bytes.shrink_to(POOLED_BYTES_MAX);
    }

    /// The slot at a place; none at the end.
    #[inline]
    pub(super) fn head(&self, at: Cursor) -> Option<&UnitHead> {
        self.slots.get(at.slot)
    }

    /// The share of the slot at a place, and the place behind it.
    #[inline]
    pub(super) fn part(&self, at: Cursor) -> (Part<'_>, Cursor) {
        let told_end = at.told + self.slots[at.slot].commands as usize;
        let told = &self.content.told[at.told..told_end];
        let byte_end = at.byte + told.iter().map(|told| told.len).sum::<usize>();
        let part = Part { told, bytes: &self.content.bytes[at.byte..byte_end] };
        (part, Cursor { slot: at.slot + 1, told: told_end, byte: byte_end })
    }
}
