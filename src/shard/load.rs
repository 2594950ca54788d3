//! What a shard does while the file is loaded at the start: it takes the keys that it is sent, and
//! answers what may be answered meanwhile.

use super::Shard;
use super::limits::SERVE_NS_MAX;
use crate::gate::Facts;
use crate::keyspace::ExpiryRole;
use crate::rdb::Limits;
use crate::snapshot::{Batch, load_batch};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// How long a turn waits for keys when there is nothing else to do.
const WAIT: Duration = Duration::from_micros(200);

impl Shard {
    /// The keys of a file come through here; until all shards have theirs, commands are refused.
    pub fn set_intake(&mut self, intake: Receiver<Batch>) {
        self.files.intake = Some(intake);
        self.facts.set(Facts::LOADING, true);
        self.slice.set_role(ExpiryRole::Loading);
    }

    /// Takes keys that have come, for as long as a turn may take.
    pub(super) fn load(&mut self) -> io::Result<bool> {
        let Some(intake) = self.files.intake.take() else {
            if !self.process.is_loading() {
                self.facts.set(Facts::LOADING, false);
            }
            return Ok(true);
        };
        let limits = Limits::of(&self.config);
        let until_ns = self.process.clock.monotonic_ns() + SERVE_NS_MAX;
        while self.process.clock.monotonic_ns() < until_ns {
            match intake.recv_timeout(WAIT) {
                Ok(batch) => self.load_one(&batch, &limits)?,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    self.settle_settings();
                    self.publish();
                    self.process.shard_loaded();
                    self.port.mesh().ring_all();
                    return Ok(true);
                }
            }
        }
        self.files.intake = Some(intake);
        Ok(true)
    }

    fn load_one(&mut self, batch: &Batch, limits: &Limits) -> io::Result<()> {
        let note = self.noter();
        let rules = self.load_rules(limits, false, &note);
        let loaded = load_batch(&mut self.slice, batch, &rules).map_err(io::Error::other)?;
        self.process.persistence().add_loaded(loaded.keys, loaded.expired, loaded.skipped());
        Ok(())
    }

    /// Whether keys are still coming, to this shard or to another.
    pub(super) fn is_loading(&self) -> bool {
        self.facts.has(Facts::LOADING)
    }
}
