//! Where a shard gets the keys of a file from.

use crate::aof::Intakes;
use crate::snapshot::Batch;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// The source of a file's keys.
#[derive(Debug, Default)]
pub(super) struct Intake {
    /// The channel, until it has all keys.
    pub(super) keys: Option<Receiver<Batch>>,
    /// Where the channel is, for DEBUG LOADAOF.
    pub(super) later: Option<Arc<Intakes>>,
    /// Whether the shard has ended the load, and other shards have not.
    pub(super) has_ended: bool,
}
