//! nodes.conf on the disk: locked by one process, replaced as a whole.

use super::id::NodeId;
use super::nodes::Nodes;
use crate::base::rng::Rng;
use crate::base::system::error_text;
use crate::config::Config;
use crate::observe::Log;
use std::fs::{File, OpenOptions, TryLockError, remove_file, rename};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file of nodes. It stays locked as long as this value lives.
#[derive(Debug)]
pub struct NodesFile {
    path: PathBuf,
    /// The present file, which holds the lock.
    locked: File,
}

impl NodesFile {
    /// Opens and locks the file. Creates an empty one if there is none. An error is a line for the
    /// log.
    fn open(name: &str) -> Result<NodesFile, String> {
        let path = PathBuf::from(name);
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(&path);
        let locked = opened.map_err(|error| {
            let why = error_text(&error);
            format!("Can't open {name} in order to acquire a lock: {why}")
        })?;
        match locked.try_lock() {
            Ok(()) => Ok(NodesFile { path, locked }),
            Err(TryLockError::WouldBlock) => Err(format!(
                "Sorry, the cluster configuration file {name} is already used by a different \
                 Cluster node. Please make sure that different nodes use different cluster \
                 configuration files."
            )),
            Err(TryLockError::Error(error)) => {
                Err(format!("Impossible to lock {name}: {}", error_text(&error)))
            }
        }
    }

    /// Replaces the file, atomically. The new one is locked before it has the name.
    pub fn save(&mut self, text: &str) -> io::Result<()> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".tmp-{}", std::process::id()));
        let temporary = PathBuf::from(name);
        let written = write_locked(&temporary, text).and_then(|file| {
            rename(&temporary, &self.path)?;
            Ok(file)
        });
        match written {
            Ok(file) => self.locked = file,
            Err(error) => {
                // It may not exist.
                let _ = remove_file(&temporary);
                return Err(error);
            }
        }
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn write_locked(path: &Path, text: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o644).open(path)?;
    file.try_lock().map_err(io::Error::from)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(file)
}

/// Locks the file of the settings and reads it. A file that is empty or new gets a cluster of one
/// node with random ids. An error is a line for the log.
pub fn load_or_create(
    config: &Config,
    log: &Log,
    rng: &mut Rng,
) -> Result<(Nodes, NodesFile), String> {
    let name = &config.cluster_config_file;
    let mut file = NodesFile::open(name)?;
    let mut text = String::new();
    file.locked.read_to_string(&mut text).map_err(|error| {
        format!("Loading the cluster node config from {name}: {}", error_text(&error))
    })?;
    if !text.is_empty() {
        let nodes = Nodes::parse(&text).map_err(|line| {
            format!("Unrecoverable error: corrupted cluster config file \"{line}\".")
        })?;
        log.notice(&format!("Node configuration loaded, I'm {}", nodes.me().id));
        return Ok((nodes, file));
    }
    let nodes = Nodes::new(NodeId::random(rng), NodeId::random(rng));
    log.notice(&format!("No cluster configuration found, I'm {}", nodes.me().id));
    file.save(&nodes.file_text(config)).map_err(|error| {
        format!("Fatal: can't update cluster config file. {}", error_text(&error))
    })?;
    Ok((nodes, file))
}
