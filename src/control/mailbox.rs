//! What other threads ask of the control thread, and how it is woken for it.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Jobs of one control thread.
pub const JOBS_MAX: usize = 64;

/// Something to be done again and again.
pub(super) struct Job {
    /// The rest before the first run.
    pub rest: Duration,
    /// What to do; tells the rest before it is done again.
    pub work: Box<dyn FnMut() -> Duration + Send>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Job after {:?}", self.rest)
    }
}

/// What the control thread finds when it looks.
#[derive(Debug)]
pub(super) enum Mail {
    /// Jobs to begin with, at least one.
    Jobs(Vec<Job>),
    /// The end.
    Stop,
}

#[derive(Debug, Default)]
struct Inside {
    fresh: Vec<Job>,
    posted: usize,
    stopped: bool,
    waker: Option<Waker>,
}

/// The way to the control thread. A runner waits with [`Mailbox::poll`] or [`Mailbox::wait`].
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    inside: Mutex<Inside>,
    arrived: Condvar,
}

impl Mailbox {
    /// Hands over a job.
    pub fn post(&self, job: Job) {
        let mut inside = self.lock();
        assert!(inside.posted < JOBS_MAX, "too many control jobs");
        inside.posted += 1;
        inside.fresh.push(job);
        self.wake(inside);
    }

    /// Asks the thread to end.
    pub fn stop(&self) {
        let mut inside = self.lock();
        inside.stopped = true;
        self.wake(inside);
    }

    /// The mail, or the context is woken when there is some.
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

    /// The mail, or none after `timeout`; without a timeout, it waits for mail.
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
        // Nothing panics while it holds the lock but `post`, which has changed nothing by then.
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
