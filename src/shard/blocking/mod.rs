//! Commands of this shard's connections that wait: for keys, for forwarded runs, for the end of a
//! pause.
//!
//! Must not know: the keys; their owners list the clients.

mod clients;
mod forward;
mod pause;
mod slots;

use crate::client::Woken;
use crate::exec::Pause;
use crate::io::ConnId;
use crate::mesh::{HoldId, TransactionId};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// State of a shard's blocked clients.
#[derive(Debug, Default)]
pub(super) struct Blocking {
    /// When commands give up, in Unix milliseconds.
    pub(super) deadlines: BTreeSet<(u64, ConnId)>,
    next_ticket: u64,
    /// Version of the cluster at the last look for clients of slots that have left.
    slots_version: u64,
    /// Forwarded commands whose last round was sent.
    forwards: HashMap<TransactionId, Forwarding>,
}

/// A forwarded command whose last round was sent.
#[derive(Debug)]
pub(super) struct Forwarding {
    woken: Woken,
    /// Number of replies still expected.
    left: usize,
    /// Holds on replies that have come, by owner.
    holds: Vec<(u16, HoldId)>,
}

/// The pause as one shard knows it.
#[derive(Debug, Default)]
pub(in crate::shard) struct Pausing {
    now: Option<Pause>,
    /// Commands that write wait because the append-only file is too far behind.
    is_file_behind: bool,
    /// Postponed connections, in the order in which they were postponed.
    postponed: BTreeMap<u64, ConnId>,
    next: u64,
}

impl Pausing {
    /// Returns the Unix time in milliseconds at which the pause ends.
    pub(in crate::shard) fn until_ms(&self) -> Option<u64> {
        self.now.map(|pause| pause.until_ms)
    }

    /// Returns the number of postponed connections.
    pub(in crate::shard) fn postponed(&self) -> usize {
        self.postponed.len()
    }
}
