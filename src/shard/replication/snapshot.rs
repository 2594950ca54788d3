//! Full synchronization: the replicas that wait get a snapshot of all partitions.
//!
//! ```text
//!   take_snapshot --> a file of a cut --note_mark--> hold_links: the stream is kept for them
//!                              '--complete--> end_links_file --> links send it, each at its speed
//!                              '--given up--> the next file; cannot be written: links are closed
//! ```

use super::{FileEnd, FileGoal, FileJob, FilePhase};
use crate::exec::FileHead;
use crate::io::ConnId;
use crate::rdb::Origin;
use crate::replica::Link;
use crate::shard::state::Shard;
use crate::snapshot::{Bell, FileBody, FileOrder, Snapshot, Written};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers the files, so that no two have one name.
static FILES: AtomicU64 = AtomicU64::new(0);

impl Shard {
    /// Has a snapshot written if a replica waits for one. Only one exists at a time, because it
    /// takes disk space until its last replica has received it.
    pub(super) fn take_snapshot(&mut self) {
        let links = || {
            let links = self.replication.links.iter();
            links.filter_map(|conn| self.connections.get(*conn)?.link.as_ref())
        };
        let is_wanted =
            links().any(|link| link.is_waiting()) && !links().any(|link| link.is_sending());
        let is_under_way =
            self.replication.files.iter().any(|job| matches!(job.goal, FileGoal::Links));
        if !is_wanted || is_under_way {
            return;
        }
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let order = FileOrder {
            draft: format!("temp-{}.{number}.rdb", std::process::id()),
            is_nameless: true,
            has_checksum: false,
            ..self.data_file()
        };
        self.want_file(FileJob { has_mark: true, ..FileJob::new(FileGoal::Links, order) });
    }

    /// Keeps the stream from the snapshot's offset on for the replicas that wait.
    pub(super) fn hold_links(&mut self, offset: u64) {
        self.each_link(|_, link| {
            if link.is_waiting() {
                link.hold(offset);
            }
        });
        self.note_needs();
    }

    fn each_link(&mut self, mut see: impl FnMut(ConnId, &mut Link)) {
        for &conn in &self.replication.links {
            if let Some(link) = self.connections.get_mut(conn).and_then(|it| it.link.as_mut()) {
                see(conn, link);
            }
        }
    }

    /// Gives a complete file to the replicas that wait for it.
    pub(super) fn end_links_file(&mut self, phase: &FilePhase, end: FileEnd) {
        let (mut waiting, mut has_held) = (Vec::new(), false);
        let offset = end.offset;
        self.each_link(|conn, link| {
            let is_held = offset.is_some_and(|offset| link.waits_for(offset));
            has_held |= is_held;
            if is_held || link.is_waiting() {
                waiting.push(conn);
            }
        });
        if let (Written::Complete, FilePhase::Writing(writer, _), Some(offset)) =
            (&end.written, phase, offset)
        {
            if !has_held {
                // The stream was not kept for replicas that came later.
                return;
            }
            let (head, body, version) = writer.content().expect("the file is complete");
            let snapshots = self.snapshots(offset, head, (body, version));
            waiting.into_iter().for_each(|conn| self.begin_link(conn, &snapshots));
        } else if let Written::Failed(why) = &end.written {
            self.env.process.log.warning(why);
            let why = "the snapshot cannot be written";
            waiting.into_iter().for_each(|conn| self.close_for(conn, why));
        } else {
            self.each_link(|_, link| link.wait_again());
        }
        self.note_needs();
    }

    /// Returns the snapshots of a file: whole, without functions, without keys, without both.
    fn snapshots(
        &self,
        offset: u64,
        head: &FileHead,
        (body, version): (FileBody, u32),
    ) -> [Arc<Snapshot>; 4] {
        let replid = self.env.process.replication().replid.clone();
        let origin = Origin { replid: &replid, offset, db: 0 };
        let has_checksum = self.env.config.rdbchecksum;
        [(false, false), (false, true), (true, false), (true, true)].map(
            |(leaves_out_keys, leaves_out_functions)| {
                let body = (!leaves_out_keys).then(|| body.clone());
                let functions = if leaves_out_functions { &[][..] } else { &head.functions };
                let head = [&head.facts[..], functions];
                Arc::new(Snapshot::of_file(version, &origin, &head, body, has_checksum))
            },
        )
    }

    fn begin_link(&mut self, conn: ConnId, snapshots: &[Arc<Snapshot>; 4]) {
        let (mesh, me, now) = (self.port.shared_mesh(), self.env.me, self.link_now());
        let has_threads = self.replication.has_threads;
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let replica = &connection.session.replica;
        let number =
            usize::from(replica.leaves_out_keys) * 2 + usize::from(replica.leaves_out_functions);
        let bell = has_threads.then(|| Box::new(move || mesh.ring_bell(me)) as Bell);
        if let Some(link) = &mut connection.link {
            link.begin(Arc::clone(&snapshots[number]), bell, now);
            self.pump(conn);
        }
    }

    /// Gives the file for replicas up, because none waits for it any more.
    pub(super) fn drop_unwanted_file(&mut self) {
        let mut is_wanted = false;
        self.each_link(|_, link| is_wanted |= link.is_waiting_or_held());
        let mut files = self.replication.files.iter();
        if let Some(job) = files.find(|job| matches!(job.goal, FileGoal::Links))
            && !is_wanted
        {
            job.progress.abandon();
            self.port.mesh().ring_all();
        }
    }

    /// Goes on with the links whose threads have read more, and has a snapshot written for waiting
    /// links. Runs once per turn.
    pub(super) fn feed_links(&mut self) {
        if self.replication.links.is_empty() {
            return;
        }
        self.take_snapshot();
        let mut fed = Vec::new();
        self.each_link(|conn, link| {
            if link.is_fed() {
                fed.push(conn);
            }
        });
        fed.into_iter().for_each(|conn| self.pump(conn));
    }
}
