//! The file of commands that is being written.

use super::storage::StoredFile;
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// A file of commands, open for appending.
#[derive(Debug)]
pub(super) struct IncrFile {
    file: Arc<dyn StoredFile>,
    /// Bytes in the file.
    size: u64,
    /// Bytes that are durable.
    pub(super) synced_size: u64,
    /// Whether the file has more bytes than `size`, which must go before others are appended.
    must_cut: bool,
}

/// A failed write.
#[derive(Debug)]
pub(super) struct WriteFailure {
    pub(super) error: io::Error,
    /// Bytes that were written before the failure.
    pub(super) written: usize,
    /// Why they could not be removed. They are removed before the next write.
    pub(super) kept: Option<io::Error>,
}

impl IncrFile {
    /// Takes a file of `size` bytes that is open for appending.
    pub(super) fn new(file: Arc<dyn StoredFile>, size: u64) -> IncrFile {
        IncrFile { file, size, synced_size: size, must_cut: false }
    }

    /// Returns the bytes in the file.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Returns the open file, to sync it.
    pub(super) fn file(&self) -> Arc<dyn StoredFile> {
        Arc::clone(&self.file)
    }

    /// Appends all bytes. If that fails, removes the written ones again.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), WriteFailure> {
        if let Err(error) = self.cut() {
            return Err(WriteFailure { error, written: 0, kept: None });
        }
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
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
        self.must_cut |= written > 0;
        WriteFailure { error, written, kept: self.cut().err() }
    }

    /// Looks at the size of the file again: the load may have removed a damaged end.
    pub(super) fn see_size(&mut self) {
        if let Ok(size) = self.file.size() {
            self.size = size;
            self.synced_size = self.synced_size.min(self.size);
        }
    }

    /// Removes the bytes that do not count.
    fn cut(&mut self) -> io::Result<()> {
        if self.must_cut {
            self.file.set_len(self.size)?;
            self.must_cut = false;
        }
        Ok(())
    }

    /// Removes all bytes behind `size`, because a failed sync may have lost them. If they cannot be
    /// removed now, the next write removes them.
    pub(super) fn cut_to(&mut self, size: u64) {
        (self.size, self.must_cut) = (size, true);
        self.synced_size = self.synced_size.min(size);
        // The next write tries again, and reports why it fails.
        let _ = self.cut();
    }

    /// Returns whether all bytes are durable.
    pub(super) fn is_synced(&self) -> bool {
        self.synced_size == self.size
    }

    /// Makes all bytes durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.cut()?;
        self.file.sync()?;
        self.synced_size = self.size;
        Ok(())
    }
}
