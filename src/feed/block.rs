//! What a shard hands over to the merger: units in the order of the shard, with their commands.
//!
//! ```text
//!   heads     | timestamp, unit, 2 | timestamp, unit, 0 | ..     with the number of commands
//!   commands  | at db glue args lens | .. |                      one for each command
//!   bytes     $3 SET $1 k $1 v | $6 UNLINK $1 e | ..             one after the other
//! ```

use super::limits::POOLED_BYTES_MAX;
use super::timestamp::Timestamp;
use crate::exec::{Glue, Records};

/// Kind of a unit in a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A unit with one part, on this shard. Unless the unit is a transaction, each command (`at`)
    /// of its batch is a unit by itself.
    Single {
        /// Whether all its commands form one transaction.
        is_transaction: bool,
    },
    /// One part of a unit that has parts on several shards.
    Part {
        /// The sequence number of the unit in the order of multi-part units; the same in all parts.
        sequence: u64,
        /// Number of shards that have a part.
        parts: u16,
        /// Whether all its commands form one transaction.
        is_transaction: bool,
    },
    /// One part of a barrier. The merger reports the stream offset that separates all earlier units
    /// of every shard from all later ones.
    Mark {
        /// The sequence number of the unit in the order of multi-part units.
        sequence: u64,
        /// Number of shards that have a part: all shards.
        parts: u16,
        /// Identifies the barrier in the report.
        id: u64,
    },
}

impl Unit {
    /// Returns the sequence number and the number of parts of a multi-part unit.
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

/// A unit's entry in the order of its shard.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnitHead {
    pub(super) timestamp: Timestamp,
    pub(super) unit: Unit,
    /// Number of commands of the unit.
    pub(super) commands: u32,
    /// The unit's place in the order of arrival on its shard.
    pub(super) place: u64,
    /// Whether units with later places are ahead of it. Its content is then in [`Block::late`].
    pub(super) is_late: bool,
}

/// A unit that follows units with later places.
#[derive(Debug)]
pub(super) struct LateUnit {
    pub(super) head: UnitHead,
    pub(super) content: Content,
}

impl LateUnit {
    /// Returns the bytes that the unit takes in memory.
    pub(super) fn weight_bytes(&self) -> usize {
        size_of::<LateUnit>() + self.content.weight_bytes()
    }

    /// Returns the commands of the unit.
    pub(super) fn part(&self) -> Part<'_> {
        Part { commands: &self.content.commands, bytes: &self.content.bytes }
    }
}

/// One command: the fields of `exec::Record`, with the length of its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    pub(super) at: u32,
    pub(super) db: u16,
    pub(super) glue: Glue,
    pub(super) args: u32,
    pub(super) head_len: u32,
    pub(super) len: usize,
}

/// Commands with their bytes: of one unit, or of all units of a block one after the other.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) commands: Vec<Command>,
    pub(super) bytes: Vec<u8>,
}

impl Content {
    /// Adds the commands of a unit, and empties the records. Moves the bytes of a large unit if
    /// they are in order and there are no others.
    pub(super) fn take(&mut self, records: &mut Records) {
        let mut end = 0;
        let mut is_ordered = true;
        self.commands.reserve(records.list().len());
        for record in records.list() {
            is_ordered &= record.bytes.start == end;
            end = record.bytes.end;
            self.commands.push(Command {
                at: record.at,
                db: record.db,
                glue: record.glue,
                args: record.words,
                head_len: record.head_len,
                len: record.bytes.len(),
            });
        }
        if is_ordered && self.bytes.is_empty() && end > POOLED_BYTES_MAX {
            self.bytes = records.take_bytes();
            self.bytes.truncate(end);
        } else {
            for record in records.list() {
                self.bytes.extend_from_slice(records.bytes(record));
            }
        }
        records.clear();
    }

    fn weight_bytes(&self) -> usize {
        self.commands.len() * size_of::<Command>() + self.bytes.len()
    }

    fn append(&mut self, other: &mut Content) {
        if self.commands.is_empty() && self.bytes.is_empty() {
            return std::mem::swap(self, other);
        }
        self.commands.append(&mut other.commands);
        self.bytes.append(&mut other.bytes);
    }
}

/// Units in order, with all their commands.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) heads: Vec<UnitHead>,
    /// The content of all units that are not late.
    pub(super) content: Content,
    /// The late units, in the order of their heads.
    pub(super) late: Vec<LateUnit>,
}

/// A position in a block, between two units.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    head: usize,
    command: usize,
    byte: usize,
}

/// The commands and bytes of one unit in a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) commands: &'a [Command],
    pub(super) bytes: &'a [u8],
}

impl Part<'_> {
    /// Returns whether its unit is dropped.
    pub(super) fn is_void(&self) -> bool {
        self.commands.iter().any(|command| command.glue == Glue::Void)
    }
}

impl Block {
    pub(super) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Adds a unit that is not late. Its commands are the last ones of the content: the caller has
    /// just added them.
    pub(super) fn push(&mut self, head: UnitHead) {
        debug_assert!(self.heads.last().is_none_or(|last| last.timestamp <= head.timestamp));
        self.heads.push(head);
    }

    /// Adds a unit with its own content.
    pub(super) fn push_content(&mut self, head: UnitHead, mut content: Content) {
        if head.is_late {
            self.late.push(LateUnit { head, content });
        } else {
            self.content.append(&mut content);
        }
        self.push(head);
    }

    /// Moves all units of `other` to the end of this block.
    pub(super) fn append(&mut self, other: &mut Block) {
        self.heads.append(&mut other.heads);
        self.content.append(&mut other.content);
        self.late.append(&mut other.late);
    }

    /// Returns the bytes that the units take in memory, without the content of late units.
    pub(super) fn weight_bytes(&self) -> usize {
        self.heads.len() * size_of::<UnitHead>() + self.content.weight_bytes()
    }

    /// Removes everything, and keeps a limited capacity.
    pub(super) fn clear(&mut self) {
        self.heads.clear();
        self.heads.shrink_to(POOLED_BYTES_MAX / size_of::<UnitHead>());
        self.content.commands.clear();
        self.content.commands.shrink_to(POOLED_BYTES_MAX / size_of::<Command>());
        self.content.bytes.clear();
        self.content.bytes.shrink_to(POOLED_BYTES_MAX);
        self.late.clear();
        self.late.shrink_to(POOLED_BYTES_MAX / size_of::<LateUnit>());
    }

    /// Returns the unit at a position; `None` at the end.
    #[inline]
    pub(super) fn head(&self, at: Cursor) -> Option<&UnitHead> {
        self.heads.get(at.head)
    }

    /// Returns the content of the unit at a position, which is empty for a late unit, and the
    /// position after the unit.
    #[inline]
    pub(super) fn part(&self, at: Cursor) -> (Part<'_>, Cursor) {
        let head = &self.heads[at.head];
        let command_end = at.command + if head.is_late { 0 } else { head.commands as usize };
        let commands = &self.content.commands[at.command..command_end];
        let byte_end = at.byte + commands.iter().map(|command| command.len).sum::<usize>();
        let part = Part { commands, bytes: &self.content.bytes[at.byte..byte_end] };
        (part, Cursor { head: at.head + 1, command: command_end, byte: byte_end })
    }
}
