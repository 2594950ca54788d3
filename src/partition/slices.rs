//! Work in slices, between which other units run: walks over all keys, parts of units with very
//! many commands or keys, and the cut for a snapshot.

use crate::exec::{CutSink, Records, RemoteKey, SuspendedScript};
use crate::mesh::Envelope;
use crate::snapshot::Lent;
use crate::txn::LockId;
use std::collections::VecDeque;
use std::sync::Arc;

/// Elements in whose time a part may run in one slice: about 250 us.
pub(super) const SLICE_ELEMENTS_MAX: usize = 5_000;

/// The most nanoseconds of a slice, whatever its commands are. The clock is read after each batch.
pub(super) const SLICE_NS_MAX: u64 = 250_000;

/// Elements in whose time a value is stored or fetched.
pub(super) const VALUE_WEIGHT: usize = 8;

/// The most nanoseconds of a slice of a cut. It is short, because clients wait for one slice in
/// each turn until the cut is complete.
pub(super) const CUT_NS_MAX: u64 = 100_000;

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
    /// Parts whose scripts are suspended.
    pub(super) scripts: VecDeque<SuspendedPart>,
    /// The cut that is under way.
    pub(super) cut: Option<Cut>,
}

impl Slices {
    /// Returns whether more keys of a cut wait for the disk than may wait.
    #[inline]
    pub(super) fn is_behind_disk(&self) -> bool {
        let sink = self.cut.as_ref().and_then(|cut| cut.sink.as_ref());
        sink.is_some_and(|sink| sink.is_overfull())
    }
}

/// A part whose commands run in slices. It keeps its locks meanwhile.
#[derive(Debug)]
pub(super) struct SlicedPart {
    pub(super) part: Box<Envelope>,
    /// Values that are stored before the first command.
    pub(super) stores: std::vec::IntoIter<RemoteKey>,
    /// Index of the next command.
    pub(super) next: usize,
    /// Number of keys whose values were fetched, after the last command.
    pub(super) fetched: usize,
    pub(super) lock: LockId,
    pub(super) records: Option<Records>,
    /// Index of the command that ran last, and the nanoseconds of its slices.
    pub(super) spent: (u32, u64),
    /// The script of the next command, if it is suspended.
    pub(super) script: Option<Box<SuspendedScript>>,
}

/// A part with a script that is suspended. It keeps its locks meanwhile.
#[derive(Debug)]
pub(super) struct SuspendedPart {
    pub(super) part: Box<Envelope>,
    /// Index of the command that runs the script.
    pub(super) at: usize,
    pub(super) lock: LockId,
    pub(super) records: Option<Records>,
    /// The script; none while it runs.
    pub(super) script: Option<Box<SuspendedScript>>,
    /// Keys that became ready for blocked clients, and their databases.
    pub(super) ready: Vec<(usize, Box<[u8]>)>,
    /// Nanoseconds of its slices.
    pub(super) spent_ns: u64,
}

/// A cut of the partition's keys.
#[derive(Debug)]
pub(super) struct Cut {
    /// The part that is answered with the share.
    pub(super) part: Box<Envelope>,
    /// Values that the pool has encoded since the last slice.
    pub(super) encoded: Vec<Lent>,
    /// The lock requests before this one are part of the cut.
    pub(super) until: LockId,
    /// Whether nothing can be done before the pool has encoded a value, or a unit is over.
    pub(super) is_waiting: bool,
    /// Takes the pieces; none if they return with the reply.
    pub(super) sink: Option<Arc<dyn CutSink>>,
}

impl Cut {
    /// Returns whether the cut must pause until the sink has room. All shards are woken then.
    pub(super) fn is_paused(&self) -> bool {
        self.sink.as_ref().is_some_and(|sink| sink.is_full() && !sink.is_abandoned())
    }
}

impl Slices {
    /// Returns whether there is no walk, no part and no script.
    pub(super) fn is_empty(&self) -> bool {
        self.walks.is_empty() && self.parts.is_empty() && self.scripts.is_empty()
    }
}
