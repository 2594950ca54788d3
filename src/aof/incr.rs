//! The file of commands that is being written.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

/// A file of commands, open for appending.
#[derive(Debug)]
pub(super) struct IncrFile {
    file: Arc<File>,
    /// Bytes in the file.
    size: u64,
    /// Bytes that are durable.
    pub(super) synced_size: u64,
}

/// A failed write.
#[derive(Debug)]
pub(super) struct WriteFailure {
    pub(super) error: io::Error,
    /// Bytes that were written before the failure, and removed again if `is_removed`.
    pub(super) written: usize,
    /// Why the bytes could not be removed.
    pub(super) kept: Option<io::Error>,
}

impl IncrFile {
    /// Takes a file of `size` bytes that is open for appending.
    pub(super) fn new(file: File, size: u64) -> IncrFile {
        IncrFile { file: Arc::new(file), size, synced_size: size }
    }

    /// Returns the bytes in the file.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Returns the open file, to sync it.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Appends all bytes. If that fails, removes the written ones again; if that fails, they stay
    /// and count.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), WriteFailure> {
        let mut written = 0;
        while written < bytes.len() {
            match (&*self.file).write(&bytes[written..]) {
                Ok(0) => return Err(self.fail(ErrorKind::WriteZero.into(), written)),
                Ok(len) => written += len,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fail(error, written)),
            }
        }
        self.size += written as u64;
        Ok(())
    }

    fn fail(&mut self, error: io::Error, written: usize) -> WriteFailure {
        let mut kept = None;
        if written > 0
            && let Err(why) = self.file.set_len(self.size)
        {
            kept = Some(why);
            self.size += written as u64;
        }
        WriteFailure { error, written, kept }
    }

    /// Looks at the size of the file again: the load may have removed a damaged end.
    pub(super) fn see_size(&mut self) {
        if let Ok(facts) = self.file.metadata() {
            self.size = facts.len();
            self.synced_size = self.synced_size.min(self.size);
        }
    }

    /// Removes all bytes that are not durable, because a failed sync may have lost them.
    pub(super) fn drop_unsynced(&mut self) -> io::Result<()> {
        self.file.set_len(self.synced_size)?;
        self.size = self.synced_size;
        Ok(())
    }

    /// Makes all bytes durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.synced_size = self.size;
        Ok(())
    }
}
