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
//! The queue is bounded by the number of connections: each job is a part or a transaction without a
//! reply.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Number of threads in the pool.
const THREADS: usize = 2;

/// A command whose values have at least this number of elements together is offloaded. At some tens
/// of nanoseconds each, this takes about as long as a shard may be occupied.
pub const OFFLOAD_ELEMENTS_MIN: usize = 10_000;

type Job = Box<dyn FnOnce() + Send>;

/// Handle of the offload pool. Clones share the threads.
#[derive(Clone, Debug)]
pub struct OffloadPool {
    jobs: Sender<Job>,
}

impl OffloadPool {
    /// Starts the threads. They end after the last handle is dropped.
    pub fn start() -> io::Result<OffloadPool> {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..THREADS {
            let queue = Arc::clone(&queue);
            let work = move || {
                crate::base::crash::add_stack();
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = next else { return };
                    job();
                }
            };
            std::thread::Builder::new().name(format!("offload-{number}")).spawn(work)?;
        }
        Ok(OffloadPool { jobs })
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

    /// Sends a job to the pool. A thread of the pool runs it.
    pub fn send(&mut self, mut job: J, run: fn(&mut J)) {
        self.under_way += 1;
        let (done, bell) = (self.done.0.clone(), Arc::clone(&self.bell));
        let work = move || {
            run(&mut job);
            crate::base::alloc::flush_local();
            if done.send(job).is_ok() {
                bell();
            }
        };
        self.pool.jobs.send(Box::new(work)).expect("the threads of the pool end after all shards");
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
