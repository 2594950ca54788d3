//! Threads beside the shards, for commands whose work would hold their shard up.
//!
//! A command on large values runs on a workspace: a slice that holds these values and nothing
//! else, while their keys are locked. So any thread can run it.
//!
//! ```text
//!   owner --job--> queue --> thread runs it
//!     ^                          |
//!     '-- done, bell is rung ----'
//! ```
//! Bounded: each job is a part or a transaction without an answer, which credits bound.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Threads of the pool.
const THREADS: usize = 2;

/// Elements of all values of a command from which on it is offloaded. At some tens of nanoseconds
/// each they take about as long as a shard may be held up.
pub const OFFLOAD_ELEMENTS_MIN: usize = 10_000;

type Job = Box<dyn FnOnce() + Send>;

/// The threads.
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

/// Calls a shard when one of its jobs is done.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

/// The jobs of one kind that one shard or partition has given to the pool.
pub struct Offloads<J> {
    pool: OffloadPool,
    bell: Bell,
    done: (Sender<J>, Receiver<J>),
    /// Jobs that have not come back.
    under_way: usize,
}

impl<J: Send + 'static> Offloads<J> {
    /// Returns a user of the pool without jobs.
    pub fn new(pool: OffloadPool, bell: Bell) -> Offloads<J> {
        Offloads { pool, bell, done: channel(), under_way: 0 }
    }

    /// Has a thread of the pool run a job.
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
        self.pool.jobs.send(Box::new(work)).expect("the threads end after all shards");
    }

    /// Takes a job that is done.
    pub fn receive(&mut self) -> Option<J> {
        if self.under_way == 0 {
            return None;
        }
        let job = self.done.1.try_recv().ok()?;
        self.under_way -= 1;
        Some(job)
    }
}
