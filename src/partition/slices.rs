//! Work in slices, between which other units run: walks over all keys, and parts of units with very
//! many commands or keys.

use crate::exec::Records;
use crate::mesh::Envelope;
use crate::txn::LockId;
use std::collections::VecDeque;

/// Work that waits for its next slice. Each entry is a part without a reply, so their number is
/// bounded by the number of connections.
#[derive(Debug, Default)]
pub(super) struct Slices {
    /// Parts whose commands walk over all keys.
    // Boxed, because an envelope keeps its address on its way.
    #[allow(clippy::vec_box)]
    pub(super) walks: VecDeque<Box<Envelope>>,
    /// Parts with very many commands or keys.
    pub(super) parts: VecDeque<SlicedPart>,
}

/// A part whose commands run in slices. It keeps its locks meanwhile.
#[derive(Debug)]
pub(super) struct SlicedPart {
    pub(super) part: Box<Envelope>,
    /// Index of the next command.
    pub(super) next: usize,
    pub(super) lock: LockId,
    pub(super) records: Option<Records>,
    /// Index of the command that ran last, and the nanoseconds of its slices.
    pub(super) spent: (u32, u64),
}

impl Slices {
    /// Returns whether there is no work.
    pub(super) fn is_empty(&self) -> bool {
        self.walks.is_empty() && self.parts.is_empty()
    }
}
