//! Runs the jobs on a plain thread, which sleeps until the next job is due.

use super::mailbox::{Job, Mail, Mailbox};
use crate::base::clock::Clock;
use std::time::Duration;

struct Timed {
    due_ns: u64,
    job: Job,
}

impl Timed {
    fn after(now_ns: u64, job: Job) -> Timed {
        Timed { due_ns: due_ns(now_ns, job.rest), job }
    }
}

fn due_ns(now_ns: u64, rest: Duration) -> u64 {
    now_ns.saturating_add(rest.as_nanos() as u64)
}

/// Runs the jobs until the mailbox is stopped.
pub(super) fn run(mailbox: &Mailbox) {
    let clock = Clock::System;
    let mut jobs: Vec<Timed> = Vec::new();
    loop {
        let now_ns = clock.monotonic_ns();
        let next_ns = jobs.iter().map(|timed| timed.due_ns).min();
        let rest = next_ns.map(|due| Duration::from_nanos(due.saturating_sub(now_ns)));
        match mailbox.wait(rest) {
            Some(Mail::Stop) => return,
            Some(Mail::Jobs(fresh)) => {
                let now_ns = clock.monotonic_ns();
                jobs.extend(fresh.into_iter().map(|job| Timed::after(now_ns, job)));
            }
            None => {
                let now_ns = clock.monotonic_ns();
                for timed in jobs.iter_mut().filter(|timed| timed.due_ns <= now_ns) {
                    let rest = (timed.job.work)();
                    timed.due_ns = due_ns(clock.monotonic_ns(), rest);
                }
            }
        }
    }
}
