//! The control executor: one thread for work that waits rather than computes.
//!
//! Must not know: shards, commands, clients. Bulk streams do not belong here either.
//!
//! The thread runs glommio where the kernel allows it, and otherwise sleeps by itself; callers see
//! no difference. It is not pinned and may run on any core of the thread that started it. So start
//! it before the shards pin themselves.
//!
//! ```text
//!   every(), stop() ---> Mailbox ---> glommio: one task per job   (mailbox wakes its waker)
//!    any thread           |   '-----> or a thread: next due job   (mailbox signals its condvar)
//!                         at most JOBS_MAX jobs
//! ```

mod listeners;
mod mailbox;
mod on_glommio;
mod on_thread;
mod oom_score;
mod peers;
mod process_memory;

pub use listeners::{Change, ListenError, Listeners, Orders, is_tls_listener};
pub use mailbox::JOBS_MAX;
pub use oom_score::OomScore;
pub use peers::{
    Carrier, PEER_KEPT_NS, PEER_LINE_BYTES_MAX, PEERS_KEPT_MAX, Peer, Target, TimedSocket, Wrap,
    close_idle_peers, has_timed_out, kept_peers,
};
pub use process_memory::{ProcessMemory, SAMPLE_PERIOD, SAMPLE_PERIOD_IDLE};

use mailbox::{Job, Mailbox};
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Minimum pause between two runs of a job, so that no job makes the thread spin.
pub const REST_MIN: Duration = Duration::from_millis(1);

/// A running control thread. Dropping it stops it.
#[derive(Debug)]
pub struct Control {
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
    fallback: Option<String>,
}

impl Control {
    /// Starts the thread under a name; the kernel cuts names after 15 bytes. Fails only if no
    /// thread can be created.
    pub fn start(name: &str) -> io::Result<Control> {
        Control::start_with(name, on_glommio::run)
    }

    fn start_with(name: &str, glommio: Runner) -> io::Result<Control> {
        let mailbox = Arc::new(Mailbox::default());
        let (started, outcome) = mpsc::sync_channel(1);
        let inside = mailbox.clone();
        let builder = thread::Builder::new().name(name.to_owned());
        let thread = builder.spawn(move || {
            let report = |fallback| {
                // The receiver is waiting for this message.
                let _ = started.send(fallback);
            };
            if let Err(reason) = glommio(&inside, &|| report(None)) {
                report(Some(reason));
                on_thread::run(&inside);
            }
        })?;
        let fallback = outcome.recv().map_err(|_| io::Error::other("the thread has died"))?;
        Ok(Control { mailbox, thread: Some(thread), fallback })
    }

    /// Returns why glommio does not run, for the log; `None` if it runs.
    pub fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    /// Runs `work` repeatedly, first after one `period`. Then a pause of one `period` lies between
    /// the end of a run and the start of the next. `work` must not block.
    ///
    /// # Panics
    /// If there are more than [`JOBS_MAX`] jobs: the program fixes their number, not its users.
    pub fn every(&self, period: Duration, mut work: impl FnMut() + Send + 'static) {
        self.again(period, move || {
            work();
            period
        });
    }

    /// Runs `work` after `rest`, and again after the pause that it returns each time. It must not
    /// block, and panics like [`Control::every`].
    pub fn again(&self, rest: Duration, mut work: impl FnMut() -> Duration + Send + 'static) {
        assert!(!rest.is_zero(), "a job without rest is a busy loop");
        let work = Box::new(move || work().max(REST_MIN));
        self.mailbox.post(Job { rest, work });
    }

    /// Stops the thread and waits for it; a running job finishes first.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.mailbox.stop();
        if let Some(thread) = self.thread.take() {
            // The panic hook has already reported a job that panicked.
            let _ = thread.join();
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs the mailbox's jobs until it is stopped, and calls the function once they can run. Otherwise
/// returns why it cannot run, without calling the function.
type Runner = fn(&Arc<Mailbox>, &dyn Fn()) -> Result<(), String>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn refuse(_: &Arc<Mailbox>, _: &dyn Fn()) -> Result<(), String> {
        Err("no ring here".to_owned())
    }

    fn jobs_run_and_stop_is_prompt(control: Control) {
        let count = Arc::new(AtomicU32::new(0));
        let (run, ran) = mpsc::channel();
        for _ in 0..2 {
            let (count, run) = (count.clone(), run.clone());
            control.every(Duration::from_millis(2), move || {
                count.fetch_add(1, Ordering::Relaxed);
                let _ = run.send(());
            });
        }
        control.every(Duration::from_secs(3_600), || panic!("never due"));
        for _ in 0..10 {
            ran.recv_timeout(Duration::from_secs(5)).unwrap();
        }
        let clock = Clock::System;
        let start_ns = clock.monotonic_ns();
        control.stop();
        assert!(clock.monotonic_ns() - start_ns < 1_000_000_000, "stop is prompt");
        let after = count.load(Ordering::Relaxed);
        thread::sleep(Duration::from_millis(10));
        assert!(after >= 10);
        assert_eq!(count.load(Ordering::Relaxed), after, "nothing runs after stop");
    }

    #[test]
    fn on_the_executor_of_this_machine() {
        jobs_run_and_stop_is_prompt(Control::start("control-test").unwrap());
    }

    #[test]
    fn on_a_thread_where_glommio_cannot_run() {
        let control = Control::start_with("control-test", refuse).unwrap();
        assert_eq!(control.fallback(), Some("no ring here"));
        jobs_run_and_stop_is_prompt(control);
    }

    #[test]
    fn a_job_may_be_added_later() {
        for runner in [on_glommio::run as Runner, refuse] {
            let control = Control::start_with("control-test", runner).unwrap();
            thread::sleep(Duration::from_millis(20));
            let (run, ran) = mpsc::channel();
            control.every(Duration::from_millis(1), move || {
                let _ = run.send(());
            });
            ran.recv_timeout(Duration::from_secs(5)).unwrap();
        }
    }
}
