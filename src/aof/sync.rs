//! The thread that syncs the file, so that writes go on meanwhile.

use super::storage::StoredFile;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// One sync of a file.
#[derive(Debug)]
struct Job {
    file: Arc<dyn StoredFile>,
    upto: Upto,
}

/// How far a sync reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Upto {
    /// Bytes of the file.
    pub(super) size: u64,
    /// Offset of the stream.
    pub(super) offset: u64,
    /// Whether a whole command ends there.
    pub(super) is_whole: bool,
}

/// Passes syncs to the thread, one at a time.
#[derive(Debug)]
pub(super) struct Syncer {
    way: Way,
    is_busy: bool,
}

#[derive(Debug)]
enum Way {
    Thread {
        jobs: Sender<Job>,
        results: Receiver<(Upto, io::Result<()>)>,
    },
    /// Syncs when the result is asked for, and `may` says so.
    #[cfg(test)]
    Here {
        job: Option<Job>,
        may: Arc<std::sync::atomic::AtomicBool>,
    },
}

impl Syncer {
    /// Starts the thread, which ends with the syncer.
    /// After each sync the thread calls `bell`.
    pub(super) fn start(bell: impl Fn() + Send + 'static) -> io::Result<Syncer> {
        let (jobs, received) = channel::<Job>();
        let (sender, results) = channel();
        let life = move || {
            for Job { file, upto } in received {
                if sender.send((upto, file.sync())).is_err() {
                    return;
                }
                bell();
            }
        };
        std::thread::Builder::new().name("aof-sync".to_owned()).spawn(life)?;
        Ok(Syncer { way: Way::Thread { jobs, results }, is_busy: false })
    }

    /// Returns a syncer without a thread, for tests.
    #[cfg(test)]
    pub(super) fn here(may: Arc<std::sync::atomic::AtomicBool>) -> Syncer {
        Syncer { way: Way::Here { job: None, may }, is_busy: false }
    }

    /// Returns whether a sync is in progress.
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Begins a sync. None may be in progress.
    pub(super) fn begin(&mut self, file: Arc<dyn StoredFile>, upto: Upto) {
        assert!(!self.is_busy, "one sync at a time");
        let job = Job { file, upto };
        self.is_busy = match &mut self.way {
            Way::Thread { jobs, .. } => jobs.send(job).is_ok(),
            #[cfg(test)]
            Way::Here { job: place, .. } => place.replace(job).is_none(),
        };
    }

    /// Returns the result of a sync that has ended.
    pub(super) fn poll(&mut self) -> Option<(Upto, io::Result<()>)> {
        let result = match &mut self.way {
            Way::Thread { results, .. } => results.try_recv().ok()?,
            #[cfg(test)]
            Way::Here { may, .. } if !may.load(std::sync::atomic::Ordering::Relaxed) => {
                return None;
            }
            #[cfg(test)]
            Way::Here { job, .. } => sync_here(job.take()?),
        };
        self.is_busy = false;
        Some(result)
    }

    /// Waits until the sync in progress has ended, and returns its result.
    pub(super) fn wait(&mut self) -> Option<(Upto, io::Result<()>)> {
        if !self.is_busy {
            return None;
        }
        self.is_busy = false;
        match &mut self.way {
            Way::Thread { results, .. } => results.recv().ok(),
            #[cfg(test)]
            Way::Here { job, .. } => job.take().map(sync_here),
        }
    }
}

#[cfg(test)]
fn sync_here(job: Job) -> (Upto, io::Result<()>) {
    (job.upto, job.file.sync())
}
