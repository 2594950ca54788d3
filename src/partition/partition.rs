//! The partition: its parts, and how it is created.

use super::absence::Absence;
use super::deferred::DeferredReplies;
use super::env::{Env, Now};
use super::journal::JournalLane;
use super::leaving::Leaving;
use super::message::Outgoing;
use super::part_job::PoolJob;
use super::slices::Slices;
use super::tools::Tools;
use super::unfinished::Unfinished;
use crate::exec::{Facts, Offloads, Process, Publisher, Workspaces};
use crate::keyspace::{Slice, SliceOptions};
use crate::mesh::{Envelope, Mesh, Message};
use crate::pubsub::Poster;
use crate::txn::{Blocked, LockId, LockTable};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// The clock was set back if it is this number of microseconds behind the partition's time. The
/// partition then follows the clock.
const SET_BACK_US_MIN: u64 = 1_000_000;

/// All state that needs one order. Its holder may run commands on it.
pub struct Partition {
    pub(super) env: Env,
    /// The keys; an empty stand-in while the slice is handed over.
    pub(super) slice: Slice,
    /// Whether the slice is handed over, and what waits until it is back.
    pub(super) absence: Absence,
    /// Locks that are held or requested, in the order of their requests.
    pub(super) locks: LockTable,
    /// Parts that wait for locks, by their lock requests.
    pub(super) waiting: HashMap<LockId, Box<Envelope>>,
    /// Rechecks that run after the present unit.
    pub(super) rechecks: Rechecks,
    /// Units that have taken effect in part.
    pub(super) unfinished: Unfinished,
    /// Clients that are blocked on keys.
    pub(super) blocked: Blocked,
    /// Keys that are ready for blocked clients whose commands a pause delays. At most as many as
    /// there are keys with blocked clients.
    pub(super) paused_keys: HashSet<(usize, Box<[u8]>)>,
    /// Replies that wait until forwarded commands have finished.
    pub(super) deferred: DeferredReplies,
    /// Commands that the partition propagates.
    pub(super) journal: JournalLane,
    /// What commands use in addition to the slice.
    pub(super) tools: Tools,
    /// Commands of parts that run on other threads.
    pub(super) offloads: Option<Offloads<PoolJob>>,
    /// Work between two slices.
    pub(super) slices: Slices,
    /// Outgoing replies and messages, in order.
    pub(super) outgoing: VecDeque<Outgoing>,
    /// Messages from the inbox that only the partition's own shard can handle, in order.
    pub(super) set_aside: VecDeque<Message>,
    /// Whether its last keys were saved, and the parts that wait since then.
    pub(super) leaving: Leaving,
    /// Whether more keys of a file are expected.
    pub(super) is_loading: bool,
    /// Publishes messages and events.
    pub(super) publisher: Publisher,
    /// Used to wait while another shard runs the command of a client that is also blocked here.
    pub(super) mesh: Arc<Mesh>,
}

/// Commands of blocked clients whose locks were granted while another unit ran.
#[derive(Debug, Default)]
pub(super) struct Rechecks {
    /// Their lock requests.
    pub(super) granted: VecDeque<LockId>,
    /// Whether they run, so that further ones wait for their turn.
    pub(super) are_running: bool,
}

impl Partition {
    /// Creates an empty partition of shard `me`. The numbers are the seed of its random numbers and
    /// the seed of its hash.
    pub fn new(
        me: usize,
        process: &Arc<Process>,
        mesh: Arc<Mesh>,
        (seed, hash_seed): (u64, [u64; 2]),
    ) -> Partition {
        process.pubsub.connect(Arc::clone(&mesh) as Arc<dyn Poster>);
        let env = Env::new(me, process);
        let (databases, slots) =
            (env.config.database_count() as usize, env.router.slots(me).clone());
        let mut slice = Slice::new(SliceOptions { databases, slots, hash_seed, seed });
        slice.set_now(env.now.unix_ms());
        Partition {
            env,
            slice,
            absence: Absence::default(),
            locks: LockTable::default(),
            waiting: HashMap::new(),
            rechecks: Rechecks::default(),
            unfinished: Unfinished::default(),
            blocked: Blocked::default(),
            paused_keys: HashSet::new(),
            deferred: DeferredReplies::default(),
            journal: JournalLane::default(),
            tools: Tools::new(Workspaces::new(databases, hash_seed)),
            offloads: None,
            slices: Slices::default(),
            outgoing: VecDeque::new(),
            set_aside: VecDeque::new(),
            leaving: Leaving::default(),
            is_loading: false,
            publisher: Publisher::new(process, me),
            mesh,
        }
    }

    /// Returns its environment.
    #[inline]
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Returns its environment, to set facts and time.
    #[inline]
    pub fn env_mut(&mut self) -> &mut Env {
        &mut self.env
    }

    /// Returns the slice, for reading: hash slots of keys, counts.
    #[inline]
    pub fn slice(&self) -> &Slice {
        &self.slice
    }

    /// Makes commands of parts on large values run on the threads of a pool.
    pub fn set_offloads(&mut self, offloads: Offloads<PoolJob>) {
        self.offloads = Some(offloads);
    }

    /// Returns whether commands on large values may run on other threads.
    pub fn may_offload(&self) -> bool {
        self.offloads.is_some()
    }

    /// Returns whether no lock is held or requested.
    #[inline]
    pub fn has_no_locks(&self) -> bool {
        self.locks.is_empty()
    }

    /// Sets the time that commands see, in Unix microseconds, and returns the previous time. All
    /// commands of a transaction see one time.
    pub fn set_time(&mut self, unix_us: u64) -> u64 {
        let before = std::mem::replace(&mut self.env.now.unix_us, unix_us);
        if before != unix_us {
            self.slice.set_now(self.env.now.unix_ms());
        }
        before
    }

    /// Begins a turn of its own shard at this time. Parts in the inbox run at the time of their
    /// posting, so the partition's Unix time advances only in [`Partition::begin_local`].
    pub fn begin_turn(&mut self, now: Now, facts: Facts) {
        self.heed_trackers();
        self.env.facts = facts;
        self.env.now.monotonic_ns = now.monotonic_ns;
        if now.unix_us.saturating_add(SET_BACK_US_MIN) < self.env.now.unix_us {
            self.set_time(now.unix_us);
        }
    }

    /// Begins the local work of its own shard's turn at this Unix time in microseconds. The inbox
    /// is drained to the tail that was read after this time.
    #[inline]
    pub fn begin_local(&mut self, unix_us: u64) {
        self.journal.journal.clock.drained();
        self.heed_time(unix_us);
    }

    /// Begins a period in which another shard holds the partition. `now` is the time of that
    /// shard's turn. The partition takes its Unix time from the parts that it runs.
    pub fn begin_borrowed(&mut self, now: Now) {
        self.env.now.monotonic_ns = now.monotonic_ns.max(self.env.now.monotonic_ns);
        self.heed_trackers();
        if self.env.refresh_settings() {
            self.settle_settings();
        }
    }

    /// Reads the clock, for commands that follow a long unit. Returns the time before, which
    /// [`Partition::set_time`] brings back.
    pub(super) fn read_clock(&mut self) -> u64 {
        let before_us = self.env.now.unix_us;
        self.heed_time(self.env.process.clock.unix_us());
        before_us
    }

    /// Sets the time that all parts of a part's unit see, which may be earlier than the
    /// partition's time: the part may have waited for locks. Returns the time before, which
    /// [`Partition::set_time`] brings back.
    pub(super) fn enter_time(&mut self, part: &Envelope) -> u64 {
        let before_us = self.env.now.unix_us;
        if part.parts > 1 && part.sent.unix_us != before_us {
            self.set_time(part.sent.unix_us);
        }
        before_us
    }

    /// Advances the time to at least this Unix time in microseconds, which the sender of an
    /// envelope has seen.
    #[inline]
    pub fn heed_time(&mut self, unix_us: u64) {
        if unix_us > self.env.now.unix_us {
            self.set_time(unix_us);
        }
    }
}
