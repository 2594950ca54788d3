//! The thread that syncs the file, so that writes go on meanwhile.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// One sync of a file.
#[derive(Debug)]
struct Job {
    file: Arc<File>,
    upto: Upto,
}

/// How far a sync reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Upto {
    /// Bytes of the file.
    pub(super) size: u64,
    /// Offset of the stream.
    pub(super) offset: u64,
}

/// Passes syncs to the thread, one at a time.
#[derive(Debug)]
pub(super) struct Syncer {
    jobs: Sender<Job>,
    results: Receiver<(Upto, io::Result<()>)>,
    is_busy: bool,
}

impl Syncer {
    /// Starts the thread, which ends with the syncer.
    /// After each sync the thread calls `bell`.
    pub(super) fn start(bell: impl Fn() + Send + 'static) -> io::Result<Syncer> {
        let (jobs, received) = channel::<Job>();
        let (sender, results) = channel();
        let life = move || {
            for Job { file, upto } in received {
                if sender.send((upto, file.sync_data())).is_err() {
                    return;
                }
                bell();
            }
        };
        std::thread::Builder::new().name("aof-sync".to_owned()).spawn(life)?;
        Ok(Syncer { jobs, results, is_busy: false })
    }

    /// Returns whether a sync is in progress.
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Begins a sync. None may be in progress.
    pub(super) fn begin(&mut self, file: Arc<File>, upto: Upto) {
        assert!(!self.is_busy, "one sync at a time");
        self.is_busy = self.jobs.send(Job { file, upto }).is_ok();
    }

    /// Returns the result of a sync that has ended.
    pub(super) fn poll(&mut self) -> Option<(Upto, io::Result<()>)> {
        let result = self.results.try_recv().ok()?;
        self.is_busy = false;
        Some(result)
    }

    /// Waits until the sync in progress has ended, and returns its result.
    pub(super) fn wait(&mut self) -> Option<(Upto, io::Result<()>)> {
        if !self.is_busy {
            return None;
        }
        self.is_busy = false;
        self.results.recv().ok()
    }
}
