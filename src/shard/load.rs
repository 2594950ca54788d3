//! A shard while the file is loaded at the start: it takes the keys that it receives, and serves
//! the commands that are allowed meanwhile.

use super::limits::SERVE_NS_MAX;
use super::state::Shard;
use crate::exec::{Facts, LoadStage};
use crate::snapshot::Batch;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// How long a turn waits for keys when it has no other work.
const WAIT: Duration = Duration::from_micros(200);

impl Shard {
    /// Sets the source of a file's keys. Until all shards have received theirs, commands are
    /// refused.
    pub fn set_intake(&mut self, intake: Receiver<Batch>) {
        self.intake = Some(intake);
        self.env.facts.set(Facts::LOADING, true);
        self.partition.set_loading(true);
    }

    /// Takes received keys, for as long as a turn may take.
    pub(super) fn load(&mut self) -> io::Result<bool> {
        let Some(intake) = self.intake.take() else {
            return Ok(self.end_loading());
        };
        let until_ns = self.env.clock_ns() + SERVE_NS_MAX;
        while self.env.clock_ns() < until_ns {
            match intake.recv_timeout(WAIT) {
                Ok(batch) => self.partition.load(&batch).map_err(io::Error::other)?,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    self.publish();
                    self.env.process.loading.shard_done();
                    self.port.mesh().ring_all();
                    return Ok(true);
                }
            }
        }
        self.intake = Some(intake);
        Ok(true)
    }

    /// Begins to propagate, or to serve all commands, if all data is loaded. Returns whether the
    /// shard has changed.
    fn end_loading(&mut self) -> bool {
        match self.env.process.loading.stage() {
            LoadStage::Ending if !self.partition.is_journal_on() => {
                self.partition.start_propagating();
                self.env.process.loading.shard_done();
                self.port.mesh().ring_all();
            }
            LoadStage::None => {
                self.env.facts.set(Facts::LOADING, false);
                self.partition.set_loading(false);
                self.settle_settings();
                self.publish();
            }
            _ => return false,
        }
        true
    }

    /// Returns whether keys are still expected, by this shard or by another.
    pub(super) fn is_loading(&self) -> bool {
        self.env.facts.has(Facts::LOADING)
    }
}
