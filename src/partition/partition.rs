//! The partition: its parts, and how it is made.

use super::deferred::DeferredReplies;
use super::env::{Env, Now};
use super::journal::JournalLane;
use super::offload::PartJob;
use super::outgoing::Outgoing;
use super::run::{RunMode, Waker};
use crate::exec::{Offloads, Process, Workspaces};
use crate::gate::Facts;
use crate::keyspace::{Slice, SliceOptions};
use crate::mesh::{Envelope, Mesh, Message};
use crate::txn::{Blocked, LockId, LockTable};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Everything that must be in one order. Whoever holds it may run its commands.
pub struct Partition {
    pub(super) env: Env,
    /// The keys.
    pub(super) slice: Slice,
    /// Locks that are held or requested, in the order of their requests.
    pub(super) locks: LockTable,
    /// The parts that wait for locks, by their requests.
    pub(super) waiting: HashMap<LockId, Box<Envelope>>,
    /// The clients that are blocked on keys.
    pub(super) blocked: Blocked,
    /// Keys that are ready for blocked clients whose commands a pause holds up. At most as many as
    /// there are keys with blocked clients.
    pub(super) paused_keys: HashSet<(usize, Box<[u8]>)>,
    /// Replies that wait until forwarded commands are over.
    pub(super) deferred: DeferredReplies,
    /// What the partition propagates.
    pub(super) journal: JournalLane,
    /// Slices for commands that run away from their keys.
    pub(super) workspaces: Workspaces,
    /// Commands of parts that run on other threads.
    pub(super) offloads: Option<Offloads<PartJob>>,
    /// What its shard has to send, in order.
    pub(super) outgoing: VecDeque<Outgoing>,
    /// Messages out of the inbox that only its own shard can deal with, in order.
    pub(super) set_aside: VecDeque<Message>,
    /// Whether its last keys were saved: it runs no more commands, because the process stops.
    pub(super) is_leaving: bool,
    /// Parts that have come since then, for the case that the process does not stop.
    // Boxed, because an envelope keeps its address on its way.
    #[allow(clippy::vec_box)]
    pub(super) left_over: Vec<Box<Envelope>>,
    /// Whether keys of a file are still to come.
    pub(super) is_loading: bool,
    /// Passes time while another shard runs a command for a client that is blocked here too.
    pub(super) mesh: Arc<Mesh>,
}

impl Partition {
    /// Returns an empty partition of shard `me`. The numbers are where its random numbers start,
    /// and the seed of its hash.
    pub fn new(
        me: usize,
        process: &Arc<Process>,
        mesh: Arc<Mesh>,
        (seed, hash_seed): (u64, [u64; 2]),
    ) -> Partition {
        let env = Env::new(me, process);
        let (databases, slots) = (env.config.databases as usize, env.router.slots(me));
        let slice = Slice::new(SliceOptions { databases, slots, hash_seed, seed });
        Partition {
            env,
            slice,
            locks: LockTable::default(),
            waiting: HashMap::new(),
            blocked: Blocked::default(),
            paused_keys: HashSet::new(),
            deferred: DeferredReplies::default(),
            journal: JournalLane::default(),
            workspaces: Workspaces::new(databases, hash_seed),
            offloads: None,
            outgoing: VecDeque::new(),
            set_aside: VecDeque::new(),
            is_leaving: false,
            left_over: Vec::new(),
            is_loading: false,
            mesh,
        }
    }

    /// Returns its surroundings.
    #[inline]
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Returns its surroundings, to set facts and time.
    #[inline]
    pub fn env_mut(&mut self) -> &mut Env {
        &mut self.env
    }

    /// Returns the slice, to look at: places of keys, counts.
    #[inline]
    pub fn slice(&self) -> &Slice {
        &self.slice
    }

    /// Has long commands of parts run on the threads of a pool.
    pub fn set_offloads(&mut self, offloads: Offloads<PartJob>) {
        self.offloads = Some(offloads);
    }

    /// Returns whether long commands may run on other threads.
    pub fn may_offload(&self) -> bool {
        self.offloads.is_some()
    }

    /// Returns whether no lock is held or requested.
    #[inline]
    pub fn has_no_locks(&self) -> bool {
        self.locks.is_empty()
    }

    /// Runs the commands of a part at once, out of its order.
    #[cold]
    pub fn run_ahead(&mut self, part: &mut Envelope) {
        self.run_part(part, RunMode::Batch, &mut Waker::new(None));
    }

    /// Sets the time that commands see, in Unix microseconds, and returns the time before. All
    /// commands of a transaction see one time.
    pub fn set_time(&mut self, unix_us: u64) -> u64 {
        let before = std::mem::replace(&mut self.env.now.unix_us, unix_us);
        self.slice.set_now(self.env.now.unix_ms());
        before
    }

    /// A turn of its own shard begins at this time.
    pub fn begin_turn(&mut self, now: Now, facts: Facts) {
        (self.env.now, self.env.facts) = (now, facts);
        self.slice.set_now(now.unix_ms());
    }

    /// Another shard holds it from now on, whose turn began at this time.
    pub fn begin_borrowed(&mut self, now: Now) {
        self.env.now.monotonic_ns = now.monotonic_ns.max(self.env.now.monotonic_ns);
        self.heed_time(now.unix_us);
        if self.env.refresh_settings() {
            self.settle_settings();
        }
    }

    /// Reads the clock. Commands that run from here on see the time of this moment.
    pub fn read_clock(&mut self) {
        self.env.read_clock();
        self.slice.set_now(self.env.now.unix_ms());
    }

    /// The sender of an envelope has seen this Unix time in microseconds: it is not earlier here.
    #[inline]
    pub fn heed_time(&mut self, unix_us: u64) {
        if unix_us > self.env.now.unix_us {
            self.set_time(unix_us);
        }
    }
}
