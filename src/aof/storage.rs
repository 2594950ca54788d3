//! What the append-only file needs of a file system. Tests put a simulated disk in its place.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// A file system.
pub(super) trait Storage: Debug + Send + Sync {
    /// Creates a folder, which must not exist.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Returns whether a folder exists.
    fn is_folder(&self, path: &Path) -> bool;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// Returns whether a file or folder exists.
    fn exists(&self, path: &Path) -> bool;
    /// Returns the bytes of a file.
    fn size(&self, path: &Path) -> io::Result<u64>;
    /// Reads a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Opens a file for writing at its end, and creates it if it does not exist.
    fn append(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>>;
    /// Moves a file; replaces the file that has the name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Deletes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// A file that is open for writing at its end.
pub(super) trait StoredFile: Debug + Send + Sync {
    /// Writes bytes at the end. Returns the number of written ones.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Makes the file shorter.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the bytes of the file durable.
    fn sync(&self) -> io::Result<()>;
    /// Returns the bytes of the file.
    fn size(&self) -> io::Result<u64>;
}

/// Writes all bytes at the end of a file.
pub(super) fn write_all(file: &dyn StoredFile, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(len) => bytes = &bytes[len..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The file system of the machine.
#[derive(Debug)]
pub(super) struct Machine;

impl Storage for Machine {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        fs::metadata(path).map(|facts| facts.len())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn append(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Arc::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

impl StoredFile for File {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self;
        Write::write(&mut file, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        // With the length, which the kernel counts as data that is needed to read the rest.
        self.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        self.metadata().map(|facts| facts.len())
    }
}
