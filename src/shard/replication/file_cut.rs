//! Files of the keys of one moment: a cut over all partitions, written by a thread of its own while
//! the server goes on.
//!
//! ```text
//!   want_file --> Queued --the process writes no other file--> Claimed
//!                                                                 | begin_cut of the feed
//!      end_file <-- Writing <--all shards have replied-- Cutting <+
//!                     '-- the thread has ended                '-- mark in the stream: note_mark
//! ```
//! # How to have a file written
//!
//! Add a [`FileGoal`], and call [`Shard::want_file`] with a [`FileJob`] on any shard. It waits for
//! its turn. Any thread may abandon the file, with `abandon` of its progress, which is in
//! `PersistenceFacts::under_way` too. In the end `end_file` is called with the job's goal and its
//! [`FileEnd`], on the same shard.
//!
//! With `has_mark`, the file has exactly the changes of the stream before an offset. The feed is
//! switched on before, if it is off. `note_mark` is called with the goal as soon as the offset is
//! known, which is early in the cut; the barrier keeps the stream from there on until the cut is
//! complete. A consumer that needs the stream for longer must be a reader of the feed by then.
//!
//! A job without a mark needs no feed. One that `is_last` makes the partitions begin no unit behind
//! the cut, until a barrier has them go on ([`Request::Stay`]).

use super::{Barrier, FileEnd, FileGoal, FileJob, FilePhase, Goal};
use crate::exec::{CutOrder, CutSink, SnapshotKind, SnapshotUnderWay};
use crate::rdb::VERSION;
use crate::shard::state::Shard;
use crate::snapshot::{FileOrder, FileWriter, Share, Written};
use std::sync::Arc;

impl Shard {
    /// Queues a file to be written, and begins it if none is being written.
    pub(super) fn want_file(&mut self, job: FileJob) {
        self.replication.files.push_back(job);
        self.advance_files();
    }

    /// Returns the order for the data file with the present settings.
    pub(super) fn data_file(&self) -> FileOrder {
        let config = &self.env.config;
        FileOrder {
            dir: config.dir.clone(),
            draft: format!("temp-{}.rdb", std::process::id()),
            name: config.dbfilename.clone(),
            is_nameless: false,
            has_checksum: config.rdbchecksum,
            cores: config.bgsave_cpulist.clone(),
            syncs_often: config.rdb_save_incremental_fsync,
            is_aof_base: false,
            commands: None,
            key_delay_us: config.rdb_key_save_delay,
        }
    }

    /// Returns what INFO shows of a file that begins now.
    pub(super) fn under_way(&self, job: &FileJob) -> SnapshotUnderWay {
        let keys = self.env.process.boards.iter().flat_map(|board| board.databases.iter());
        let keys: i64 = keys.map(|gauges| gauges.keys.get()).sum();
        SnapshotUnderWay {
            kind: job.goal.kind(),
            is_replaceable: matches!(job.goal, FileGoal::Background | FileGoal::Flushed),
            started_s: self.env.now.unix_ms() / 1_000,
            keys: u64::try_from(keys).unwrap_or(0),
            progress: Arc::clone(&job.progress),
        }
    }

    /// Records that this shard has its first file written. Returns false if the process writes a
    /// file already.
    fn claim_file(&mut self) -> bool {
        let job = self.replication.files.front().expect("the caller has seen it");
        let under_way = self.under_way(job);
        let mut facts = self.env.process.persistence();
        let is_free = facts.under_way.is_none();
        if is_free {
            facts.under_way = Some(under_way);
        }
        is_free
    }

    /// Has the save in the background given up, also while it waits, and the save after FLUSHALL.
    /// If the process stops, also the file for replicas.
    pub(super) fn abandon_saves(&mut self, stops: bool) {
        let facts = self.env.process.persistence();
        let is_for_nobody = |it: &&SnapshotUnderWay| {
            it.is_replaceable || (stops && it.kind == SnapshotKind::Replicas)
        };
        let under_way = facts.under_way.iter().filter(is_for_nobody);
        under_way.chain(&facts.background).for_each(|it| it.progress.abandon());
        drop(facts);
        self.port.mesh().ring_all();
    }

    /// Removes the draft of a file, because the process stops.
    pub(in crate::shard) fn drop_files(&mut self) {
        for job in self.replication.files.drain(..) {
            if let FilePhase::Cutting(writer) | FilePhase::Writing(writer, _) = job.phase {
                writer.abandon_last();
            }
        }
    }

    /// Goes on with the files that this shard has written. Runs once per turn.
    pub(in crate::shard) fn advance_files(&mut self) {
        while self.advance_file() {}
    }

    /// Goes on with the first file. Returns whether its phase has changed.
    fn advance_file(&mut self) -> bool {
        let Some(job) = self.replication.files.front() else { return false };
        match &job.phase {
            FilePhase::Queued if job.progress.is_abandoned() => {
                self.finish_file(Written::Abandoned);
                true
            }
            FilePhase::Queued => {
                let is_claimed = self.claim_file();
                if is_claimed {
                    let job = self.replication.files.front_mut().expect("seen above");
                    job.phase = FilePhase::Claimed;
                }
                is_claimed
            }
            FilePhase::Claimed => self.begin_file(),
            FilePhase::Cutting(_) => false,
            FilePhase::Writing(writer, _) => {
                let Some(written) = writer.outcome().cloned() else { return false };
                self.finish_file(written);
                true
            }
        }
    }

    /// Begins the cut for the first file. Returns false if another cut is under way.
    fn begin_file(&mut self) -> bool {
        let job = self.replication.files.front_mut().expect("the caller has seen it");
        let progress = Arc::clone(&job.progress);
        if progress.is_abandoned() {
            self.replication.feed.forgo_cut(self.env.me);
            self.finish_file(Written::Abandoned);
            return true;
        }
        let bodies = std::mem::take(&mut job.bodies);
        let (is_cut, has_mark) = (bodies.is_empty(), job.has_mark);
        if is_cut && !self.replication.feed.begin_cut(self.env.me) {
            return false;
        }
        let (mesh, shards) = (self.port.shared_mesh(), self.env.router.shards());
        let bell = Box::new(move || mesh.ring_all());
        let partitions = if is_cut { shards } else { 1 };
        let job = self.replication.files.front_mut().expect("the caller has seen it");
        let writer = FileWriter::new(job.order.clone(), partitions, progress, bell);
        if self.replication.has_threads
            && let Err(error) = writer.start()
        {
            // Without its thread the file is given up, and the cut has no pieces.
            writer.refuse(format!("Can't save in background: {error}"));
        }
        let job = self.replication.files.front_mut().expect("the caller has seen it");
        if !is_cut {
            job.phase = FilePhase::Writing(Arc::clone(&writer), FileEnd::default());
            let shares = bodies.into_iter().map(Share::read).collect();
            self.write_shares(&writer, shares);
            return true;
        }
        job.phase = FilePhase::Cutting(writer);
        if has_mark {
            let feed = &self.replication.feed;
            feed.begin_reading(self.env.me, feed.end_offset());
            self.post_barrier(Goal::FeedOn);
        } else {
            self.post_barrier(Goal::Cut);
        }
        true
    }

    /// Writes shares that exist already.
    fn write_shares(&mut self, writer: &Arc<FileWriter>, shares: Vec<Share>) {
        assert!(writer.join(), "one shard pushes all shares");
        writer.set_head(self.partition.file_head(writer.is_aof_base()));
        let version = shares.iter().map(|share| share.version).max().unwrap_or(VERSION);
        let changes = shares.iter().map(|share| share.changes).sum();
        shares.into_iter().for_each(|share| share.push_to(&**writer));
        writer.close(version);
        let job = self.replication.files.front_mut().expect("its file is being written");
        if let FilePhase::Writing(_, end) = &mut job.phase {
            end.changes = changes;
        }
    }

    /// Returns the order for the cut of the first file. `mark` is the number of its barrier.
    pub(super) fn cut_order(&self, mark: u64) -> CutOrder {
        let job = self.replication.files.front().expect("a cut for a file has a job");
        let FilePhase::Cutting(writer) = &job.phase else { unreachable!("the cut begins") };
        let sink: Arc<dyn CutSink> = Arc::clone(writer) as Arc<dyn CutSink>;
        if matches!(job.goal, FileGoal::Rewrite(_)) && job.has_mark {
            self.replication.feed.await_cut(mark);
        }
        let mark = job.has_mark.then_some(mark);
        CutOrder { mark, sink: Some(sink), is_last: job.is_last }
    }

    /// Returns whether the cut for a file has a mark.
    pub(super) fn has_marked_file(&self) -> bool {
        self.replication.files.front().is_some_and(|job| job.has_mark)
    }

    /// Records that all shards have replied, so that all pieces were pushed.
    pub(super) fn end_file_cut(&mut self, barrier: Barrier) {
        let shares: Vec<Share> = barrier.bodies.into_iter().map(Share::read).collect();
        let version = shares.iter().map(|share| share.version).max().unwrap_or(VERSION);
        let changes = shares.iter().map(|share| share.changes).sum();
        let end = FileEnd { written: Written::Abandoned, changes, offset: barrier.offset };
        let job = self.replication.files.front_mut().expect("a cut for a file has a job");
        let FilePhase::Cutting(writer) = &job.phase else { unreachable!("it was cutting") };
        let writer = Arc::clone(writer);
        job.phase = FilePhase::Writing(Arc::clone(&writer), end);
        writer.close(version);
        self.note_needs();
        self.replication.feed.end_cut().for_each(|shard| self.port.nudge(shard));
        self.advance_files();
    }

    /// Ends the first file.
    fn finish_file(&mut self, written: Written) {
        let job = self.replication.files.pop_front().expect("the caller has seen it");
        let mut end = match &job.phase {
            FilePhase::Writing(_, end) => end.clone(),
            _ => FileEnd::default(),
        };
        end.written = written;
        if !matches!(job.phase, FilePhase::Queued) {
            let claim = self.env.process.persistence().under_way.take();
            let is_own = claim.is_some_and(|it| Arc::ptr_eq(&it.progress, &job.progress));
            assert!(is_own, "a file that has begun was claimed");
        }
        if matches!(job.goal, FileGoal::Links) {
            self.end_links_file(&job.phase, end);
        } else {
            self.end_file(job.goal, end, &job.progress);
        }
        // Another shard may wait to have a file written.
        self.port.mesh().ring_all();
    }

    /// Takes the position of a file's cut in the stream.
    pub(super) fn note_mark(&mut self, offset: u64) {
        let Some(job) = self.replication.files.front() else { return };
        match job.goal {
            FileGoal::Links => self.hold_links(offset),
            FileGoal::Background
            | FileGoal::Rewrite(_)
            | FileGoal::Flushed
            | FileGoal::Save(_)
            | FileGoal::Stop { .. }
            | FileGoal::Reload(_) => {}
        }
    }
}
