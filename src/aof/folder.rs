//! The folder of an append-only file.
//!
//! ```text
//!   write the draft of a manifest -> fsync -> fsync the folder, for the names of its files ->
//!   rename -> fsync the folder: from here on it counts
//! ```

use super::manifest::{FileEntry, Manifest, ManifestFault};
use super::storage::{Machine, Storage, StoredFile, write_all};
use crate::base::system::error_text;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder of an append-only file, and the prefix of the names in it.
#[derive(Clone, Debug)]
pub struct Folder {
    pub(super) storage: Arc<dyn Storage>,
    /// The folder that it is in.
    dir: PathBuf,
    path: PathBuf,
    /// The setting `appenddirname`, for the log.
    name: String,
    /// The setting `appendfilename`.
    prefix: String,
}

/// Why a manifest cannot be loaded.
#[derive(Debug)]
pub enum ManifestError {
    /// The file cannot be opened or read. Holds the line for the log.
    File(String),
    /// The text has a fault.
    Text(ManifestFault),
}

impl ManifestError {
    /// Returns the lines that the log gets.
    pub fn log_lines(&self) -> Vec<String> {
        match self {
            ManifestError::File(line) => vec![line.clone()],
            ManifestError::Text(fault) => fault.log_lines(),
        }
    }
}

impl Folder {
    /// Returns the folder `name` in the folder `dir`, which need not exist.
    pub fn new(dir: &Path, name: &str, prefix: &str) -> Folder {
        Folder::on(Arc::new(Machine), dir, name, prefix)
    }

    /// Returns a folder of another file system than the machine's.
    pub(super) fn on(storage: Arc<dyn Storage>, dir: &Path, name: &str, prefix: &str) -> Folder {
        let (path, name, prefix) = (dir.join(name), name.to_owned(), prefix.to_owned());
        Folder { storage, dir: dir.to_owned(), path, name, prefix }
    }

    /// Returns the setting `appendfilename`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the path of a file in the folder.
    pub fn path_of(&self, name: &[u8]) -> PathBuf {
        self.path.join(std::ffi::OsStr::from_bytes(name))
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the text of the manifest on disk; empty if there is none.
    pub fn manifest_text(&self) -> Vec<u8> {
        self.storage.read(&self.path.join(self.manifest_name())).unwrap_or_default()
    }

    /// Returns whether the folder exists.
    pub fn exists(&self) -> bool {
        self.storage.is_folder(&self.path)
    }

    fn manifest_name(&self) -> String {
        format!("{}.manifest", self.prefix)
    }

    /// Returns the name of the file of commands that is written while the first base is made.
    pub fn temp_incr_name(&self) -> String {
        format!("temp-{}.incr", self.prefix)
    }

    /// Reads the manifest. Returns an empty one if there is none.
    pub fn read_manifest(&self) -> Result<Manifest, ManifestError> {
        let path = self.path.join(self.manifest_name());
        if !self.exists() || !self.storage.exists(&path) {
            return Ok(Manifest::default());
        }
        parse_manifest(&path, self.storage.read(&path))
    }

    /// Creates the folder if it does not exist. The error is a line for the log.
    pub fn create(&self) -> Result<(), String> {
        let made = match self.storage.create_folder(&self.path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && !self.exists() => {
                Err(io::Error::from(ErrorKind::NotADirectory))
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            made => made,
        };
        // Its own name must be as durable as what is in it.
        let made = made.and_then(|()| self.storage.sync_folder(&self.dir));
        made.map_err(|error| {
            let (name, why) = (&self.name, error_text(&error));
            format!("Can't open or create append-only dir {name}: {why}")
        })
    }

    /// Replaces the manifest on disk, completely or not at all. The error is a line for the log.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<(), String> {
        let name = self.manifest_name();
        let draft_name = format!("temp-{name}");
        let draft = self.path.join(&draft_name);
        let line = |what: &str, error: &io::Error| format!("{what}: {}", error_text(error));
        let file = self.create_new(&draft).map_err(|error| {
            line(&format!("Can't open the AOF manifest file {draft_name}"), &error)
        })?;
        write_all(&*file, &manifest.text()).map_err(|error| {
            let what =
                format!("Error trying to write the temporary AOF manifest file {draft_name}");
            line(&what, &error)
        })?;
        file.sync().map_err(|error| {
            format!("Fail to fsync the temp AOF file {draft_name}: {}.", error_text(&error))
        })?;
        // The files that it lists are in the folder before it.
        self.sync_names()?;
        self.storage.rename(&draft, &self.path.join(&name)).map_err(|error| {
            let what = "Error trying to rename the temporary AOF manifest file";
            line(&format!("{what} {draft_name} into {name}"), &error)
        })?;
        self.sync_names()
    }

    /// Makes the names in the folder durable. The error is a line for the log.
    pub(super) fn sync_names(&self) -> Result<(), String> {
        self.storage.sync_folder(&self.path).map_err(|error| {
            let path = self.path.join(self.manifest_name());
            format!("Fail to fsync AOF directory {}: {}.", path.display(), error_text(&error))
        })
    }

    /// Opens an empty file for writing.
    pub(super) fn create_new(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let file = self.storage.append(path)?;
        file.set_len(0)?;
        Ok(file)
    }

    /// Returns the bytes of a file in the folder.
    pub fn size_of(&self, entry: &FileEntry) -> io::Result<u64> {
        self.storage.size(&self.path_of(&entry.name))
    }

    /// Opens a file of commands for writing at its end, and creates it if it does not exist. The
    /// error is a line for the log.
    pub(super) fn open_incr(&self, name: &[u8]) -> Result<Arc<dyn StoredFile>, String> {
        let opened = self.storage.append(&self.path_of(name));
        opened.map_err(|error| {
            let (name, why) = (String::from_utf8_lossy(name), error_text(&error));
            format!("Can't open the append-only file {name}: {why}")
        })
    }

    /// Moves an append-only file of one part, which old versions wrote to `dir`, into the folder as
    /// its base. Does nothing if there is no such file, or if the folder has other content. The
    /// result is a line for the log.
    pub fn upgrade(&self, dir: &Path, manifest: &mut Manifest) -> Result<Option<String>, String> {
        let old = dir.join(&self.prefix);
        let is_named_so = |base: &FileEntry| base.name == self.prefix.as_bytes();
        let is_begun = manifest.base.as_ref().is_some_and(is_named_so)
            && manifest.incrs.is_empty()
            && !self.storage.exists(&self.path.join(&self.prefix));
        if !self.storage.exists(&old) || (self.exists() && !manifest.is_empty() && !is_begun) {
            return Ok(None);
        }
        self.create()?;
        manifest.base = Some(FileEntry {
            name: self.prefix.clone().into_bytes(),
            sequence: 1,
            role: super::manifest::Role::Base,
        });
        manifest.base_sequence = 1;
        self.write_manifest(manifest)?;
        let (prefix, name) = (&self.prefix, &self.name);
        self.storage.rename(&old, &self.path.join(prefix)).map_err(|error| {
            let why = error_text(&error);
            format!("Error trying to move the old AOF file {prefix} into dir {name}: {why}")
        })?;
        self.sync_names()?;
        Ok(Some(format!(
            "Successfully migrated an old-style AOF file ({prefix}) into the AOF directory \
             ({name})."
        )))
    }
}

/// Reads the manifest at a path.
pub fn read_manifest_at(path: &Path) -> Result<Manifest, ManifestError> {
    parse_manifest(path, fs::read(path))
}

fn parse_manifest(path: &Path, read: io::Result<Vec<u8>>) -> Result<Manifest, ManifestError> {
    let text = read.map_err(|error| {
        let (path, why) = (path.display(), error_text(&error));
        let line =
            format!("Fatal error: can't open the AOF manifest file {path} for reading: {why}");
        ManifestError::File(line)
    })?;
    Manifest::parse(&text).map_err(ManifestError::Text)
}
