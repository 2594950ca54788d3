//! The parts that wait after the last save, because the process is about to stop.
//!
//! ```text
//!   here --last share saved--> leaving --stay: the file was not written--> here
//!                                 '--the process stops
//! ```
//! While the partition is leaving, no unit begins: what it wrote would be acknowledged and lost.
//! Units whose locks were granted before go on. The last share has waited for their exclusive
//! locks, so they only read.

use crate::exec::{LoadStep, Request};
use crate::mesh::{Envelope, OneWay, Stage, Work};
use crate::txn::LockId;

/// Whether the last keys were saved, and the parts that wait since then.
// Boxed, because an envelope keeps its address on its way.
#[allow(clippy::vec_box)]
#[derive(Debug, Default)]
pub(super) struct Leaving {
    is_leaving: bool,
    /// Parts that got their locks after the last save, in the order of the grants.
    pub(super) granted: Vec<(LockId, Box<Envelope>)>,
    /// Parts that arrived after the last save, in order.
    pub(super) arrived: Vec<Box<Envelope>>,
}

impl Leaving {
    /// Returns whether the last keys were saved.
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.is_leaving
    }

    /// Records that the last keys were saved.
    pub(super) fn begin(&mut self) {
        self.is_leaving = true;
    }

    /// Records that the process does not stop. Returns what has waited.
    pub(super) fn end(&mut self) -> Leaving {
        std::mem::take(self)
    }

    /// Returns whether a part that arrives or is granted its locks must wait.
    #[inline]
    pub(super) fn holds_back(&self, part: &Envelope) -> bool {
        self.is_leaving && begins_unit(part)
    }
}

/// Returns whether a part is the first of its unit on the partition, and may write.
fn begins_unit(part: &Envelope) -> bool {
    match &part.work {
        Work::Batch | Work::Attempt(_) | Work::OneWay(OneWay::Recheck(_)) => true,
        Work::Transaction(txn) => matches!(txn.stage, Stage::OneShot | Stage::Acquire),
        Work::Control { request, .. } => {
            matches!(request, Request::Reload(_) | Request::LoadStep(LoadStep::Empty(_)))
        }
        _ => false,
    }
}
