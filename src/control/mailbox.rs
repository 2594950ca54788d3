//! The mailbox of the control thread: jobs from other threads, and the wake-up.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Largest number of jobs of one control thread.
pub const JOBS_MAX: usize = 64;

/// A task that runs repeatedly.
pub(super) struct Job {
    /// The pause before the first run.
    pub rest: Duration,
    /// The task; returns the pause before its next run.
    pub work: Box<dyn FnMut() -> Duration + Send>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Job after {:?}", self.rest)
    }
}

/// The contents of the mailbox.
#[derive(Debug)]
pub(super) enum Mail {
    /// New jobs, at least one.
    Jobs(Vec<Job>),
    /// The request to stop.
    Stop,
}

#[derive(Debug, Default)]
struct Inside {
    fresh: Vec<Job>,
    posted: usize,
    stopped: bool,
    waker: Option<Waker>,
}

/// The queue to the control thread. A runner waits with [`Mailbox::poll`] or [`Mailbox::wait`].
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    inside: Mutex<Inside>,
    arrived: Condvar,
}

impl Mailbox {
    /// Posts a job.
    pub fn post(&self, job: Job) {
        let mut inside = self.lock();
        assert!(inside.posted < JOBS_MAX, "too many control jobs");
        inside.posted += 1;
        inside.fresh.push(job);
        self.wake(inside);
    }

    /// Asks the thread to stop.
    pub fn stop(&self) {
        let mut inside = self.lock();
        inside.stopped = true;
        self.wake(inside);
    }

    /// Returns the mail; if there is none, the context is woken when there is.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<Mail> {
        let mut inside = self.lock();
        match inside.take() {
            Some(mail) => Poll::Ready(mail),
            None => {
                inside.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Returns the mail, or `None` after `timeout`; without a timeout, waits for mail.
    pub fn wait(&self, timeout: Option<Duration>) -> Option<Mail> {
        let mut inside = self.lock();
        let empty = |inside: &mut Inside| inside.fresh.is_empty() && !inside.stopped;
        inside = match timeout {
            Some(timeout) => {
                let waited = self.arrived.wait_timeout_while(inside, timeout, empty);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let waited = self.arrived.wait_while(inside, empty);
                waited.unwrap_or_else(PoisonError::into_inner)
            }
        };
        inside.take()
    }

    fn wake(&self, mut inside: MutexGuard<'_, Inside>) {
        let waker = inside.waker.take();
        drop(inside);
        self.arrived.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // Only `post` can panic while it holds the lock, and then it has changed nothing.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn take(&mut self) -> Option<Mail> {
        if self.stopped {
            return Some(Mail::Stop);
        }
        let jobs = std::mem::take(&mut self.fresh);
        (!jobs.is_empty()).then_some(Mail::Jobs(jobs))
    }
}
