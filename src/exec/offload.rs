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
//!
//! # Why a shard never waits for a thread of the pool
//!
//! A thread of low priority may lose its core at any instruction, for long if other processes are
//! busy. So a shard takes no lock that a thread of the pool may hold, and waits for no message that
//! such a thread has begun to write. It pushes jobs onto a queue without locks, whose push waits
//! only for other pushes, and wakes threads by `unpark`. It looks at finished jobs only if their
//! lock is free. A thread that holds it rings the shard's bell afterwards.

use crate::base::clock::Clock;
use crate::base::thread::lower_priority;
use crate::base::{alloc, crash};
use crossbeam_queue::SegQueue;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};
use std::thread::{self, Thread};
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

/// What a thread of the pool does next.
enum Next {
    Run(Job),
    /// There was no job for [`COLLECT_PAUSE`].
    Collect,
    End,
}

/// The jobs that no thread has taken, and the threads that wait for them.
#[derive(Default)]
struct Queue {
    by_class: [SegQueue<Job>; CLASSES],
    /// Whether no further job can come.
    is_over: AtomicBool,
    /// The threads, by class.
    threads: OnceLock<Vec<Thread>>,
}

impl Queue {
    fn push(&self, class: usize, job: Job) {
        self.by_class[class].push(job);
        self.wake(class);
    }

    /// Wakes the threads that run jobs of this class.
    fn wake(&self, class: usize) {
        let threads = self.threads.get().map_or(&[][..], Vec::as_slice);
        threads.iter().skip(class).for_each(Thread::unpark);
    }

    /// Takes the next job for the thread of this class.
    fn take(&self, class: usize) -> Option<Job> {
        self.by_class[..=class].iter().rev().find_map(SegQueue::pop)
    }

    /// Waits for the next job of the thread of this class, if `collects` for a limited time.
    fn next(&self, class: usize, collects: bool) -> Next {
        let began_ns = Clock::System.monotonic_ns();
        loop {
            if let Some(job) = self.take(class) {
                return Next::Run(job);
            }
            if self.is_over.load(Ordering::Acquire) {
                return Next::End;
            }
            // A wake-up since the look at the queues makes either call return at once.
            if !collects {
                thread::park();
                continue;
            }
            let waited_ns = Clock::System.monotonic_ns().saturating_sub(began_ns);
            if waited_ns >= COLLECT_PAUSE.as_nanos() as u64 {
                return Next::Collect;
            }
            thread::park_timeout(COLLECT_PAUSE - Duration::from_nanos(waited_ns));
        }
    }

    /// Runs jobs until no further job can come, on the thread of this class.
    fn work(&self, class: usize) {
        crash::add_stack();
        lower_priority(NICENESS);
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
        self.0.is_over.store(true, Ordering::Release);
        self.0.wake(0);
    }
}

/// Handle of the offload pool. Clones share the threads.
#[derive(Clone)]
pub struct OffloadPool(Arc<Handles>);

impl OffloadPool {
    /// Starts the threads. They end after the last handle is dropped.
    pub fn start() -> io::Result<OffloadPool> {
        let (pool, queue) = OffloadQueue::new();
        let mut threads = Vec::new();
        for class in 0..CLASSES {
            let queue = Arc::clone(&queue.0);
            let name = format!("offload-{class}");
            let started = thread::Builder::new().name(name).spawn(move || queue.work(class))?;
            threads.push(started.thread().clone());
        }
        assert!(queue.0.threads.set(threads).is_ok(), "the threads are started once");
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
        self.0.take(CLASSES - 1).map(|job| job()).is_some()
    }
}

/// Wakes a shard after one of its jobs has finished.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

/// The jobs of one kind that one shard or partition has sent to the pool.
pub struct Offloads<J> {
    pool: OffloadPool,
    bell: Bell,
    done: Arc<Mutex<VecDeque<J>>>,
    /// Number of jobs that were sent but not received.
    under_way: usize,
}

impl<J: Send + 'static> Offloads<J> {
    /// Creates a user of the pool without jobs.
    pub fn new(pool: OffloadPool, bell: Bell) -> Offloads<J> {
        Offloads { pool, bell, done: Arc::default(), under_way: 0 }
    }

    /// Returns the number of jobs that were sent but not received.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// Sends a job that weighs `elements` elements to the pool. A thread of the pool runs it.
    pub fn send(&mut self, mut job: J, elements: usize, run: fn(&mut J)) {
        self.under_way += 1;
        let (done, bell) = (Arc::clone(&self.done), Arc::clone(&self.bell));
        let work = move || {
            run(&mut job);
            alloc::flush_local();
            // Nothing panics under the lock.
            done.lock().unwrap_or_else(PoisonError::into_inner).push_back(job);
            bell();
        };
        self.pool.0.0.push(class_of(elements), Box::new(work));
    }

    /// Returns a finished job; none if no job has finished, or if a thread is just handing one in.
    /// That thread rings the bell afterwards.
    pub fn receive(&mut self) -> Option<J> {
        if self.under_way == 0 {
            return None;
        }
        let job = match self.done.try_lock() {
            Ok(mut done) => done.pop_front(),
            Err(TryLockError::Poisoned(done)) => done.into_inner().pop_front(),
            Err(TryLockError::WouldBlock) => None,
        }?;
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

    /// A thread that has lost its core while it hands a job in does not stop the shard.
    #[test]
    fn a_shard_does_not_wait_for_a_thread_that_hands_a_job_in() {
        let (pool, queue) = OffloadQueue::new();
        let mut offloads = Offloads::new(pool, Arc::new(|| {}));
        offloads.send(7, 0, |_| {});
        assert!(queue.run_next());
        let done = Arc::clone(&offloads.done);
        let held = done.lock().unwrap();
        assert_eq!((offloads.receive(), offloads.under_way()), (None, 1));
        drop(held);
        assert_eq!((offloads.receive(), offloads.under_way()), (Some(7), 0));
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
