//! The published snapshot of the nodes, and how it changes.

use super::file::NodesFile;
use super::id::NodeId;
use super::nodes::Nodes;
use crate::base::rng::Rng;
use crate::base::system::error_text;
use crate::config::{Config, SaveBehavior};
use crate::observe::Log;
use crate::resp::Error;
use arc_swap::{ArcSwap, Guard};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The cluster of one process. Readers never wait.
#[derive(Debug)]
pub struct Cluster {
    nodes: ArcSwap<Nodes>,
    version: AtomicU64,
    writer: Mutex<Writer>,
}

/// What only one thread at a time may use.
#[derive(Debug)]
struct Writer {
    /// None if the nodes are not kept.
    file: Option<NodesFile>,
    rng: Rng,
}

impl Cluster {
    /// Publishes nodes. Without a file they are not kept.
    pub fn new(nodes: Nodes, file: Option<NodesFile>, rng: Rng) -> Cluster {
        Cluster {
            nodes: ArcSwap::from_pointee(nodes),
            version: AtomicU64::new(0),
            writer: Mutex::new(Writer { file, rng }),
        }
    }

    /// Returns the present nodes.
    #[inline]
    pub fn nodes(&self) -> Guard<Arc<Nodes>> {
        self.nodes.load()
    }

    /// Returns a number that grows with each change.
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Returns a new id.
    pub fn draw_id(&self) -> NodeId {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        NodeId::random(&mut writer.rng)
    }

    /// Changes a copy of the nodes, saves it, and publishes it. If the change fails, nothing has
    /// changed. So it is if the file cannot be written, unless the settings say otherwise.
    pub fn change<T>(
        &self,
        (config, log): (&Config, &Log),
        change: impl FnOnce(&mut Nodes) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.nodes.load_full();
        let mut after = Nodes::clone(&before);
        let result = change(&mut after)?;
        if let Err(error) = writer.save(&after, config) {
            match config.cluster_config_save_behavior {
                SaveBehavior::Sync => return Err(error),
                SaveBehavior::BestEffort => log.warning(
                    "Cluster config updated even though writing the cluster config file to disk \
                     failed.",
                ),
            }
        }
        let requires_all = config.cluster_require_full_coverage;
        let is_up = after.is_up(requires_all);
        self.nodes.store(Arc::new(after));
        // After the nodes, so that a reader of the new version finds at least these.
        self.version.fetch_add(1, Ordering::Release);
        if is_up != before.is_up(requires_all) {
            note_state(is_up, log);
        }
        Ok(result)
    }

    /// Writes the file of the present nodes.
    pub fn save(&self, config: &Config) -> Result<(), Error> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.save(&self.nodes.load(), config)
    }
}

impl Writer {
    fn save(&mut self, nodes: &Nodes, config: &Config) -> Result<(), Error> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.save(&nodes.file_text(config)).map_err(|error| {
            let why = error_text(&error);
            Error::other(format!("ERR error saving the cluster node config: {why}"))
        })
    }
}

/// Logs that the cluster is up or down.
fn note_state(is_up: bool, log: &Log) {
    if is_up {
        return log.notice("Cluster state changed: ok");
    }
    log.warning("Cluster state changed: fail");
    log.warning(
        "Cluster is currently down: At least one hash slot is not served by any available node. \
         Please check the 'cluster-require-full-coverage' configuration.",
    );
}
