//! Channels through which running shards get the keys of a base, for DEBUG LOADAOF.

use crate::snapshot::Batch;
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};

/// One channel per shard, until the shard takes it.
#[derive(Debug, Default)]
pub struct Intakes {
    channels: Mutex<Vec<Option<Receiver<Batch>>>>,
}

impl Intakes {
    /// Puts a channel for each shard there.
    pub fn put(&self, channels: Vec<Receiver<Batch>>) {
        let mut all = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        *all = channels.into_iter().map(Some).collect();
    }

    /// Takes the channel of a shard.
    pub fn take(&self, shard: usize) -> Option<Receiver<Batch>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).get_mut(shard)?.take()
    }
}
