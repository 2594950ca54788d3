//! Commands of this shard's connections that wait: for keys, for forwarded runs, for the end of a
//! pause.
//!
//! Must not know: the keys; their owners list the clients.

mod clients;
mod forward;
pub(super) mod pause;

use crate::io::ConnId;
use crate::mesh::TransactionId;
use forward::{ForwardDue, Forwarding};
use std::collections::{BTreeSet, HashMap, VecDeque};

/// State of a shard's blocked clients.
#[derive(Debug, Default)]
pub(super) struct Blocking {
    /// When commands give up, in Unix milliseconds.
    pub(super) deadlines: BTreeSet<(u64, ConnId)>,
    next_ticket: u64,
    /// Forwarded commands that wait for credits.
    pub(super) due: VecDeque<ForwardDue>,
    /// Forwarded commands whose last round was sent.
    forwards: HashMap<TransactionId, Forwarding>,
}
