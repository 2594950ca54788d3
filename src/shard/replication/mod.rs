//! Replicas of this server, and barriers: one point in the order of all partitions.
//!
//! Must not know: which commands were run.

mod barrier;
mod durable;
mod feed;
mod file_cut;
mod links;
mod load_aof;
mod rewrite;
mod save;
mod snapshot;
mod wait;

use crate::exec::{
    AckWish, Acks, BaseForm, LoadStep, Reload, Shutdown, SnapshotKind, SnapshotProgress,
};
use crate::feed::Feed;
use crate::io::ConnId;
use crate::mesh::{BarrierId, Envelope, ReplyAddress};
use crate::snapshot::{FileOrder, FileWriter, Written};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Log text for a connection that exceeded its output buffer limit.
pub(super) const OVER_LIMIT: &str = "its output buffer passed client-output-buffer-limit";

/// A shard's replicas, and the feed that they read.
pub(super) struct Replication {
    /// Propagated commands of all shards.
    pub(super) feed: Arc<Feed>,
    /// Whether more is left to merge than the last turn merged.
    pub(super) is_behind: bool,
    /// End offset of the stream when the links were last served.
    stream_seen: u64,
    /// Connections of replicas.
    pub(super) links: Vec<ConnId>,
    /// Clients in WAIT and WAITAOF.
    pub(super) acks: AckWaits,
    /// Connections whose output waits until its effects are durable.
    unsent: Vec<ConnId>,
    /// Timestamp before which effects were durable when `unsent` was last served.
    durable_seen: u64,
    /// Files that the shard has written, the first one now: at most one that is being written, one
    /// per client that waits for SAVE or DEBUG RELOAD, one for replicas, and one of the shutdown.
    files: VecDeque<FileJob>,
    /// Whether files are written by threads; otherwise by the shard, in tests.
    pub(super) has_threads: bool,
    /// Client that waits for DEBUG LOADAOF.
    reloader: Option<ReplyAddress>,
    /// Request of the barrier that turns the feed off, until the journal is empty.
    ending: Option<Box<Envelope>>,
    /// Monotonic milliseconds when the feed last had readers.
    read_ms: u64,
    /// Monotonic milliseconds of the last PING to replicas.
    pinged_ms: u64,
}

impl Replication {
    /// Creates the state of a shard without replicas.
    pub(super) fn new(feed: Arc<Feed>) -> Replication {
        Replication {
            feed,
            is_behind: false,
            stream_seen: 0,
            links: Vec::new(),
            acks: AckWaits::default(),
            unsent: Vec::new(),
            durable_seen: 0,
            files: VecDeque::new(),
            has_threads: false,
            reloader: None,
            ending: None,
            read_ms: 0,
            pinged_ms: 0,
        }
    }
}

/// Clients of one shard that wait for acknowledgements.
#[derive(Debug, Default)]
pub(in crate::shard) struct AckWaits {
    pub(super) waits: HashMap<ConnId, AckWait>,
    /// Whether an entry has reached a state that the next check must look at.
    pub(super) is_stale: bool,
    /// What was acknowledged at the last check.
    pub(super) seen: Acks,
    /// Whether there was an append-only file at the last check.
    pub(super) had_file: bool,
}

/// What a client in WAIT or WAITAOF waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct AckWait {
    pub(super) wish: AckWish,
    pub(super) point: AckPoint,
}

/// The offset that replicas must acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckPoint {
    /// Not determined yet.
    New,
    /// The offset of this barrier's mark.
    Marking(BarrierId),
    /// This offset.
    At(u64),
}

impl AckWaits {
    /// Returns whether no client waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }
}

/// What follows when a file has ended.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) enum FileGoal {
    /// A save in the background.
    Background,
    /// A save because all keys were removed.
    Flushed,
    /// The base of the append-only file, in this form.
    Rewrite(BaseForm),
    /// Replies to the client of SAVE.
    Save(ReplyAddress),
    /// Stops the process for this reason; if `is_forced`, even if the file cannot be written.
    Stop { waiter: Option<ReplyAddress>, why: Shutdown, is_forced: bool },
    /// Replies to the client of DEBUG RELOAD.
    Reload(ReplyAddress),
    /// Is sent to the replicas that wait.
    Links,
}

impl FileGoal {
    /// Returns the kind of the file.
    fn kind(self) -> SnapshotKind {
        match self {
            FileGoal::Background
            | FileGoal::Flushed
            | FileGoal::Save(_)
            | FileGoal::Stop { .. }
            | FileGoal::Reload(_) => SnapshotKind::Save,
            FileGoal::Rewrite(_) => SnapshotKind::AofBase,
            FileGoal::Links => SnapshotKind::Replicas,
        }
    }
}

/// A file that a shard has written, or wants to.
#[derive(Debug)]
pub(in crate::shard) struct FileJob {
    goal: FileGoal,
    order: FileOrder,
    /// Whether the cut has a mark in the feed.
    has_mark: bool,
    /// Whether the partitions begin no unit behind the cut.
    is_last: bool,
    /// The keys, if they exist already; none: of a cut.
    bodies: Vec<Vec<Bytes>>,
    /// Its progress. Any thread may abandon it.
    progress: Arc<SnapshotProgress>,
    phase: FilePhase,
}

impl FileJob {
    /// Creates a job whose file has the keys of a cut without a mark.
    fn new(goal: FileGoal, order: FileOrder) -> FileJob {
        let progress = Arc::new(SnapshotProgress::default());
        let (bodies, phase) = (Vec::new(), FilePhase::Queued);
        FileJob { goal, order, has_mark: false, is_last: false, bodies, progress, phase }
    }
}

/// The state of a [`FileJob`]; `file_cut.rs` draws the transitions.
#[derive(Debug)]
enum FilePhase {
    /// Waits until the process writes no other file.
    Queued,
    /// Waits until no other cut is under way.
    Claimed,
    /// The partitions push their keys.
    Cutting(Arc<FileWriter>),
    /// All keys were pushed. The file ends like this, except for how it was written.
    Writing(Arc<FileWriter>, FileEnd),
}

/// How a file has ended.
#[derive(Clone, Debug)]
pub(in crate::shard) struct FileEnd {
    written: Written,
    /// Changes that all shards had counted at the cut.
    changes: u64,
    /// The offset of the cut's mark in the stream, if it has one.
    offset: Option<u64>,
}

impl Default for FileEnd {
    fn default() -> FileEnd {
        FileEnd { written: Written::Abandoned, changes: 0, offset: None }
    }
}

/// Barriers that a shard has posted.
#[derive(Debug, Default)]
pub(in crate::shard) struct Barriers {
    pub(super) under_way: HashMap<BarrierId, Barrier>,
    next: u32,
}

impl Barriers {
    /// Returns the number of parts that have not come back.
    pub(in crate::shard) fn parts_out(&self) -> u32 {
        self.under_way.values().map(|barrier| barrier.waiting as u32).sum()
    }

    /// Returns the number of barriers whose goals are not reached.
    pub(in crate::shard) fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Returns whether there are no barriers.
    pub(in crate::shard) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }
}

/// A barrier in progress. Its goal follows after all shards have replied and its mark, if any, is
/// in the stream.
#[derive(Debug)]
pub(super) struct Barrier {
    pub(super) goal: Goal,
    /// Number of replies still expected.
    waiting: usize,
    pub(super) bodies: Vec<Vec<Bytes>>,
    /// Offset of the mark in the stream.
    pub(super) offset: Option<u64>,
    /// Offset from which on the stream is kept.
    pub(super) need: u64,
}

#[derive(Debug)]
pub(in crate::shard) enum Goal {
    /// All shards read the clock for the feed. The cut follows.
    FeedOn,
    /// A cut of all partitions, for the first file that the shard has written.
    Cut,
    /// The feed had no readers for too long and is turned off. `readers` had attached until then.
    FeedOff { readers: u64 },
    /// The process stops without a save: all shards end their service.
    Leave(Shutdown),
    /// The process stops once the append-only file has all that is before the mark.
    LastMark(Shutdown),
    /// DEBUG RELOAD: all shards load their keys.
    Reload { waiter: ReplyAddress, reload: Reload },
    /// DEBUG LOADAOF: all shards have taken the step.
    LoadAof { waiter: ReplyAddress, step: LoadStep },
    /// The process does not stop: all shards serve again.
    Stay,
    /// CLIENT PAUSE: all shards read the pause, then their earlier commands finish.
    Pause { waiter: ReplyAddress, is_settled: bool },
    /// A move of hash slots: all shards hold commands on keys back, and say what hinders the move.
    HoldSlots,
    /// A move of hash slots: all shards take the map and serve commands again.
    ServeSlots,
    /// The mark of WAITs: their replicas must acknowledge its offset.
    Acks,
}
