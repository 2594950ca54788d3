//! Threads beside the shards, for commands that would occupy their shard for too long.
//!
//! A command on large values runs on a workspace: a slice that holds only these values, while their
//! keys are locked. So any thread can run it.
//!
//! ```text
//!   owner --job--> queue --> thread runs it
//!     ^                          |
//!     '-- done, rings the bell --'
//! ```
//! The queue is bounded: each job is a part or a transaction without a reply, and credits bound
//! these.

use crate::base::{alloc, crash, thread};
use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Number of threads in the pool. There are more than cores, so that the system shares the cores
/// between a long job and short ones.
const THREADS: usize = 4;

/// Niceness of the threads: a shard on the same core gets nearly all of it.
const NICENESS: i32 = 10;

/// Time between two looks of an idle thread at its heap.
const COLLECT_PAUSE: Duration = Duration::from_secs(1);

/// Number of looks after the last job. Other threads free the pieces of a large reply while it is
/// being sent, and only this thread can return their memory to the system.
const COLLECTS_MAX: u32 = 60;

type Job = Box<dyn FnOnce() + Send>;

/// The jobs that no thread has taken.
#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    bell: Condvar,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

/// What a thread of the pool does next.
enum Next {
    Run(Job),
    /// There was no job for [`COLLECT_PAUSE`].
    Collect,
    End,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job) {
        self.lock().jobs.push_back(job);
        self.bell.notify_one();
    }

    /// Waits for the next job, if `collects` for a limited time.
    fn next(&self, collects: bool) -> Next {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Next::Run(job);
            }
            if state.is_closed {
                return Next::End;
            }
            if !collects {
                state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.bell.wait_timeout(state, COLLECT_PAUSE);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() && woken.jobs.is_empty() {
                return Next::Collect;
            }
            state = woken;
        }
    }

    /// Runs jobs until the queue is closed, on a thread of the pool.
    fn work(&self) {
        crash::add_stack();
        // Without it, the shards would have to share their cores with long jobs.
        let _ = thread::set_niceness(NICENESS);
        let mut collects = 0;
        loop {
            match self.next(collects > 0) {
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

/// Closes the queue when the last handle of the pool is dropped.
struct Handles(Arc<Queue>);

impl Drop for Handles {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.bell.notify_all();
    }
}

/// Handle of the offload pool. Clones share the threads.
#[derive(Clone)]
pub struct OffloadPool(Arc<Handles>);

impl OffloadPool {
    /// Starts the threads. They end after the last handle is dropped.
    pub fn start() -> io::Result<OffloadPool> {
        let (pool, queue) = OffloadQueue::new();
        for number in 0..THREADS {
            let queue = Arc::clone(&queue.0);
            let name = format!("offload-{number}");
            std::thread::Builder::new().name(name).spawn(move || queue.work())?;
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

    /// Runs the oldest job. Returns whether there was any.
    pub fn run_next(&self) -> bool {
        let job = self.0.lock().jobs.pop_front();
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

    /// Sends a job to the pool. A thread of the pool runs it.
    pub fn send(&mut self, mut job: J, run: fn(&mut J)) {
        self.under_way += 1;
        let (done, bell) = (self.done.0.clone(), Arc::clone(&self.bell));
        let work = move || {
            run(&mut job);
            alloc::flush_local();
            if done.send(job).is_ok() {
                bell();
            }
        };
        self.pool.0.0.push(Box::new(work));
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
