//! Threads beside the shards, for commands that would occupy their shard for too long.
//!
//! A long command runs on a workspace: a slice that holds only the command's values, while their
//! keys are locked. So any thread can run it.
//!
//! ```text
//!   owner --job--> queue --> thread runs it
//!     ^                          |
//!     '-- done, rings the bell --'
//! ```
//! The queue is bounded by the number of connections: each job is a part or a transaction without a
//! reply.
//!
//! # Why a job never waits for a much larger one
//!
//! A job has a size class, by its weight in elements. There is one thread per class. Thread `k`
//! runs jobs of class `k` and smaller ones. So the thread of a job's own class may run a job of the
//! same class or a smaller one, but never a larger one. Each thread prefers large jobs, so that
//! small ones do not keep them waiting: small jobs have the threads of small classes.
//!
//! ```text
//!   class 0   jobs of up to some milliseconds     threads 0, 1, 2, 3
//!   class 1   16 times as many elements           threads    1, 2, 3
//!   class 2   256 times as many                   threads       2, 3
//!   class 3   all above                           thread           3
//! ```
//! The threads have a low priority: when all are busy, shards on the same cores keep most of their
//! time. The kernel divides the rest equally among running jobs.

use crate::base::{alloc, crash, thread};
use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Number of size classes, and of threads in the pool.
const CLASSES: usize = 4;

/// Elements of the smallest jobs that are usual. The smallest class ends at this number times the
/// factor between two classes.
const CLASS_ELEMENTS: usize = 10_000;

/// Logarithm of the factor between the sizes of two classes.
const CLASS_LOG: u32 = 4;

/// Niceness of the threads: a shard on the same core gets nearly all of it.
const NICENESS: i32 = 10;

/// Time between two looks of an idle thread at its heap.
const COLLECT_PAUSE: Duration = Duration::from_secs(1);

/// Number of looks after the last job. Other threads free the pieces of a large reply while it is
/// being sent, and only this thread can return their memory to the system.
const COLLECTS_MAX: u32 = 60;

type Job = Box<dyn FnOnce() + Send>;

/// Returns the size class of a job.
fn class_of(elements: usize) -> usize {
    let times = (elements / CLASS_ELEMENTS).max(1);
    (times.ilog2() / CLASS_LOG).min(CLASSES as u32 - 1) as usize
}

/// The jobs that no thread has taken.
#[derive(Default)]
struct Jobs {
    by_class: [VecDeque<Job>; CLASSES],
    /// Whether no further job can come.
    is_over: bool,
}

impl Jobs {
    /// Takes the next job for the thread of this class.
    fn take(&mut self, class: usize) -> Option<Job> {
        self.by_class[..=class].iter_mut().rev().find_map(VecDeque::pop_front)
    }
}

/// What a thread of the pool does next.
enum Next {
    Run(Job),
    /// There was no job for [`COLLECT_PAUSE`].
    Collect,
    End,
}

/// The jobs, and how threads wait for them.
#[derive(Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    has_job: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        // No job runs under the lock.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, class: usize, job: Job) {
        self.lock().by_class[class].push_back(job);
        self.has_job.notify_all();
    }

    /// Waits for the next job of the thread of this class, if `collects` for a limited time.
    fn next(&self, class: usize, collects: bool) -> Next {
        let mut jobs = self.lock();
        loop {
            if let Some(job) = jobs.take(class) {
                return Next::Run(job);
            }
            if jobs.is_over {
                return Next::End;
            }
            if !collects {
                jobs = self.has_job.wait(jobs).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.has_job.wait_timeout(jobs, COLLECT_PAUSE);
            let (mut woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                return woken.take(class).map_or(Next::Collect, Next::Run);
            }
            jobs = woken;
        }
    }

    /// Runs jobs until no further job can come, on the thread of this class.
    fn work(&self, class: usize) {
        crash::add_stack();
        thread::lower_priority(NICENESS);
        let mut collects = 0;
        loop {
            match self.next(class, collects > 0) {
                Next::Run(job) => {
                    job();
                    collects = COLLECTS_MAX;
                }
                Next::Collect => {
                    alloc::collect();
                    collects -= 1;
                }
                Next::End => return,
            }
        }
    }
}

/// Ends the threads when the last handle of the pool is dropped.
struct Handles(Arc<Queue>);

impl Drop for Handles {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.has_job.notify_all();
    }
}

/// Handle of the offload pool. Clones share the threads.
#[derive(Clone)]
pub struct OffloadPool(Arc<Handles>);

impl OffloadPool {
    /// Starts the threads. They end after the last handle is dropped.
    pub fn start() -> io::Result<OffloadPool> {
        let (pool, queue) = OffloadQueue::new();
        for class in 0..CLASSES {
            let queue = Arc::clone(&queue.0);
            let name = format!("offload-{class}");
            std::thread::Builder::new().name(name).spawn(move || queue.work(class))?;
        }
        Ok(pool)
    }
}

/// The jobs of a pool without threads, which a simulation runs at moments of its choice.
pub struct OffloadQueue(Arc<Queue>);

impl OffloadQueue {
    /// Creates a pool whose jobs wait in the returned queue.
    pub fn new() -> (OffloadPool, OffloadQueue) {
        let queue = Arc::new(Queue::default());
        (OffloadPool(Arc::new(Handles(Arc::clone(&queue)))), OffloadQueue(queue))
    }

    /// Runs the next job of the largest class. Returns whether there was any.
    pub fn run_next(&self) -> bool {
        let job = self.0.lock().take(CLASSES - 1);
        job.map(|job| job()).is_some()
    }
}

/// Wakes a shard after one of its jobs has finished.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

/// The jobs of one kind that one shard or partition has sent to the pool.
pub struct Offloads<J> {
    pool: OffloadPool,
    bell: Bell,
    done: (Sender<J>, Receiver<J>),
    /// Number of jobs that were sent but not received.
    under_way: usize,
}

impl<J: Send + 'static> Offloads<J> {
    /// Creates a user of the pool without jobs.
    pub fn new(pool: OffloadPool, bell: Bell) -> Offloads<J> {
        Offloads { pool, bell, done: channel(), under_way: 0 }
    }

    /// Returns the number of jobs that were sent but not received.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// Sends a job that weighs `elements` elements to the pool. A thread of the pool runs it.
    pub fn send(&mut self, mut job: J, elements: usize, run: fn(&mut J)) {
        self.under_way += 1;
        let (done, bell) = (self.done.0.clone(), Arc::clone(&self.bell));
        let work = move || {
            run(&mut job);
            alloc::flush_local();
            if done.send(job).is_ok() {
                bell();
            }
        };
        self.pool.0.0.push(class_of(elements), Box::new(work));
    }

    /// Returns a finished job; none if no job has finished.
    pub fn receive(&mut self) -> Option<J> {
        if self.under_way == 0 {
            return None;
        }
        let job = self.done.1.try_recv().ok()?;
        self.under_way -= 1;
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn classes_grow_by_a_factor_of_sixteen() {
        let classes = [0, 10_000, 159_999, 160_000, 2_560_000, 40_959_999, 40_960_000, usize::MAX];
        assert_eq!(classes.map(class_of), [0, 0, 0, 1, 2, 2, 3, 3]);
    }

    /// Any number of large jobs that do not end delays no smaller job.
    #[test]
    fn a_job_waits_for_no_larger_one() {
        let pool = OffloadPool::start().expect("threads start");
        let mut offloads = Offloads::new(pool, Arc::new(|| {}));
        let gate = Arc::new(Barrier::new(4));
        let open = |job: &mut (usize, Arc<Barrier>)| {
            if job.0 >= 160_000 {
                job.1.wait();
            }
        };
        // Three large jobs wait for each other and for the end of this test.
        for elements in [50_000_000, 3_000_000, 200_000] {
            offloads.send((elements, Arc::clone(&gate)), elements, open);
        }
        for _ in 0..100 {
            offloads.send((10_000, Arc::clone(&gate)), 10_000, open);
        }
        let mut done = 0;
        while done < 100 {
            let Some((elements, _)) = offloads.receive() else {
                std::thread::yield_now();
                continue;
            };
            assert_eq!(elements, 10_000);
            done += 1;
        }
        gate.wait();
        while done < 103 {
            done += usize::from(offloads.receive().is_some());
        }
    }
}
