//! A shard while a file is loaded, at the start or by DEBUG LOADAOF: it takes the keys that it
//! receives, and serves the commands that are allowed meanwhile.

use super::limits::SERVE_NS_MAX;
use super::state::Shard;
use crate::aof::Intakes;
use crate::exec::{Facts, LoadStage};
use crate::snapshot::Batch;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// How long a turn waits for keys when it has no other work.
const WAIT: Duration = Duration::from_micros(200);

impl Shard {
    /// Sets the source of a file's keys. Until all shards have received theirs, commands are
    /// refused.
    pub fn set_intake(&mut self, intake: Receiver<Batch>) {
        self.intake.keys = Some(intake);
        self.refuse_commands();
        self.partition.set_loading(true);
    }

    /// Sets where the shard finds the keys of DEBUG LOADAOF.
    pub fn set_intakes(&mut self, intakes: &Arc<Intakes>) {
        self.intake.later = Some(Arc::clone(intakes));
    }

    /// Refuses commands until the load has ended.
    pub(super) fn refuse_commands(&mut self) {
        self.env.facts.set(Facts::LOADING, true);
        self.intake.has_ended = false;
    }

    /// Takes received keys, for as long as a turn may take.
    pub(super) fn load(&mut self) -> io::Result<bool> {
        if self.intake.keys.is_none() {
            let later = self.intake.later.as_ref();
            self.intake.keys = later.and_then(|intakes| intakes.take(self.env.me));
        }
        let Some(intake) = self.intake.keys.take() else {
            return Ok(self.end_loading());
        };
        let until_ns = self.env.clock_ns() + SERVE_NS_MAX;
        while self.env.clock_ns() < until_ns {
            match intake.recv_timeout(WAIT) {
                Ok(batch) => self.partition.load(&batch).map_err(io::Error::other)?,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    self.publish();
                    if !self.env.process.loading.has_commands() {
                        self.partition.settle_slots();
                    }
                    self.env.process.loading.shard_done();
                    self.port.mesh().ring_all();
                    return Ok(true);
                }
            }
        }
        self.intake.keys = Some(intake);
        Ok(true)
    }

    /// Begins to propagate, or to serve all commands, if all data is loaded. Returns whether the
    /// shard has changed.
    pub(super) fn end_loading(&mut self) -> bool {
        match self.env.process.loading.stage() {
            LoadStage::Ending if !self.intake.has_ended => {
                self.intake.has_ended = true;
                self.partition.settle_slots();
                self.partition.end_load();
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
