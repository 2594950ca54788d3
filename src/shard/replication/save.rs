//! The data file: SAVE, BGSAVE, save points, the last save of the process, DEBUG RELOAD.
//!
//! ```text
//!   BGSAVE, save point --> a file of a cut; the server goes on
//!   SAVE ----------------> the same; the client waits for the file
//!   SHUTDOWN, signal ----> the same; the shards begin no unit behind the cut
//!                            '--> the process stops; if the file cannot be written: Stay to all
//!   DEBUG RELOAD --------> Reload to all: each gives its share and takes its keys from it
//!                            '--> a file of the shares
//! ```
//! `file_cut.rs` has the cut and the file.

use super::{FileEnd, FileGoal, FileJob, Goal};
use crate::exec::{AofMode, BackgroundSave, Reload, Shutdown, SnapshotProgress};
use crate::io::ConnId;
use crate::mesh::ReplyAddress;
use crate::resp::{Error, Output, Protocol, Reply};
use crate::shard::limits::SAVE_RETRY_S;
use crate::shard::state::Shard;
use crate::snapshot::Written;
use bytes::Bytes;
use std::sync::atomic::Ordering;

const UNDER_WAY: &str = "ERR Background save already in progress";
const AOF_UNDER_WAY: &str = "ERR Another child process is active (AOF?): can't BGSAVE right now. \
    Use BGSAVE SCHEDULE in order to schedule a BGSAVE whenever possible.";
const NOTHING_TO_CANCEL: &str = "ERR Background saving is currently not in progress or scheduled";

impl Shard {
    /// Starts SAVE.
    pub(in crate::shard) fn save(&mut self, conn: ConnId) {
        let mut facts = self.env.process.persistence();
        if facts.background.is_some() {
            drop(facts);
            let connection = self.connections.get_mut(conn).expect("connection is open");
            let protocol = connection.session.protocol;
            let mut reply = Reply::new(&mut connection.outbox.output, protocol);
            return reply.error(&Error::other(UNDER_WAY));
        }
        facts.saves += 1;
        drop(facts);
        let waiter = self.defer(conn);
        self.want_file(FileJob::new(FileGoal::Save(waiter), self.data_file()));
    }

    /// BGSAVE: starts a save, plans one or cancels it, and writes the reply. In EXEC a save is only
    /// planned.
    pub(in crate::shard) fn background_save(
        &mut self,
        wish: BackgroundSave,
        is_in_exec: bool,
        (output, protocol): (&mut Output, Protocol),
    ) {
        let mut reply = Reply::new(output, protocol);
        if wish == BackgroundSave::Cancel {
            return match self.cancel_save() {
                Some(done) => reply.simple(done),
                None => reply.error(&Error::other(NOTHING_TO_CANCEL)),
            };
        }
        let mut facts = self.env.process.persistence();
        let is_planned = wish == BackgroundSave::Scheduled;
        if facts.background.is_some() || (!facts.is_rewriting() && !is_in_exec) {
            drop(facts);
            return match self.begin_background_save() {
                true => reply.simple("Background saving started"),
                false => reply.error(&Error::other(UNDER_WAY)),
            };
        }
        if !is_planned && !is_in_exec {
            return reply.error(&Error::other(AOF_UNDER_WAY));
        }
        facts.is_save_scheduled = true;
        drop(facts);
        self.env.process.log.notice(match is_planned {
            true => "Background saving scheduled due to user request",
            false => "Background saving scheduled to run after transaction execution",
        });
        reply.simple("Background saving scheduled");
    }

    /// Cancels the save in the background, or the plan for one. Returns the reply of BGSAVE CANCEL;
    /// none if there is neither.
    fn cancel_save(&mut self) -> Option<&'static str> {
        let mut facts = self.env.process.persistence();
        let log = &self.env.process.log;
        if let Some(save) = &facts.background {
            save.progress.abandon();
            drop(facts);
            log.notice("Background saving will be aborted due to user request");
            self.port.mesh().ring_all();
            return Some("Background saving cancelled");
        }
        if std::mem::take(&mut facts.is_save_scheduled) {
            drop(facts);
            log.notice("Scheduled background saving will be cancelled due to user request");
            return Some("Scheduled background saving cancelled");
        }
        None
    }

    /// Starts a save in the background. Returns false if there is one already.
    fn begin_background_save(&mut self) -> bool {
        let job = FileJob::new(FileGoal::Background, self.data_file());
        let under_way = self.under_way(&job);
        let mut facts = self.env.process.persistence();
        if facts.background.is_some() {
            return false;
        }
        facts.background = Some(under_way);
        facts.saves += 1;
        facts.save_tried_s = self.env.now.unix_ms() / 1_000;
        drop(facts);
        let pid = std::process::id();
        self.env.process.log.notice(&format!("Background saving started by pid {pid}"));
        self.want_file(job);
        true
    }

    /// Starts a save in the background if a save point is reached, or if one is planned. Only shard
    /// 0 does this.
    pub(in crate::shard) fn heed_save_points(&mut self) {
        let process = &self.env.process;
        if self.env.me != 0 || process.is_loading() || self.partition.is_leaving() {
            return;
        }
        self.heed_flushes();
        let process = &self.env.process;
        let now_s = self.env.now.unix_ms() / 1_000;
        let changes = process.boards.iter().map(|board| board.counters.changes.get()).sum::<u64>();
        let mut facts = process.persistence();
        if facts.under_way.is_some() || facts.background.is_some() {
            return;
        }
        let changes = changes.saturating_sub(facts.saved_changes);
        let idle_s = now_s.saturating_sub(facts.saved_s);
        let may_try =
            !facts.has_save_failed || now_s.saturating_sub(facts.save_tried_s) > SAVE_RETRY_S;
        let reached = self
            .env
            .config
            .save
            .iter()
            .find(|point| changes >= point.changes && idle_s > point.seconds);
        if let Some(point) = reached.filter(|_| may_try) {
            drop(facts);
            let (changes, seconds) = (point.changes, point.seconds);
            process.log.notice(&format!("{changes} changes in {seconds} seconds. Saving..."));
            self.begin_background_save();
        } else if facts.is_save_scheduled && may_try {
            facts.is_save_scheduled = false;
            drop(facts);
            self.begin_background_save();
        }
    }

    /// After FLUSHALL, gives up the file that is being written, which has keys that are gone. With
    /// save points, writes another file.
    fn heed_flushes(&mut self) {
        let flushes = self.env.process.boards.flushes();
        let mut facts = self.env.process.persistence();
        if facts.flushes_seen != flushes {
            facts.flushes_seen = flushes;
            facts.is_flush_unsaved = !self.env.config.save.is_empty();
            let is_unsaved = facts.is_flush_unsaved;
            drop(facts);
            self.abandon_saves(false);
            if is_unsaved {
                self.want_file(FileJob::new(FileGoal::Flushed, self.data_file()));
            }
        }
    }

    /// Starts DEBUG RELOAD.
    pub(in crate::shard) fn reload(&mut self, conn: ConnId, reload: Reload) {
        let waiter = self.defer(conn);
        self.post_barrier(Goal::Reload { waiter, reload });
    }

    /// Goes on with DEBUG RELOAD after all shards have loaded their keys.
    pub(super) fn end_reload(
        &mut self,
        waiter: ReplyAddress,
        reload: Reload,
        bodies: Vec<Vec<Bytes>>,
    ) {
        let has_all = bodies.iter().all(|body| !body.is_empty());
        if !has_all || !reload.saves {
            return self.answer_reload(waiter, has_all);
        }
        let job = FileJob::new(FileGoal::Reload(waiter), self.data_file());
        self.want_file(FileJob { bodies, ..job });
    }

    fn answer_reload(&mut self, waiter: ReplyAddress, is_done: bool) {
        if is_done {
            self.env.process.log.warning("DB reloaded by DEBUG RELOAD");
        }
        let why = "ERR Error trying to load the RDB dump, check server logs.";
        self.answer_saver(waiter, if is_done { Ok(()) } else { Err(why) });
    }

    /// Starts a shutdown that saves the keys first.
    fn stop_saved(&mut self, conn: Option<ConnId>, why: Shutdown, is_forced: bool) {
        let waiter = conn.map(|conn| self.defer(conn));
        let is_saving = self.env.process.persistence().background.is_some();
        if is_saving {
            self.env.process.log.warning("There is a child saving an .rdb. Killing it!");
        }
        self.abandon_saves(true);
        self.env.process.log.notice("Saving the final RDB snapshot before exiting.");
        let job = FileJob::new(FileGoal::Stop { waiter, why, is_forced }, self.data_file());
        self.want_file(FileJob { is_last: true, ..job });
    }

    /// Starts a shutdown, for a client if there is one. Refuses it while the first base of the
    /// append-only file is written, unless it is forced: the keys are in no file yet.
    pub(in crate::shard) fn stop_in_order(
        &mut self,
        conn: Option<ConnId>,
        (why, saves, is_forced): (Shutdown, bool, bool),
    ) {
        let process = &self.env.process;
        let (is_rewriting, mode) = (process.aof.is_rewriting(), process.aof.facts().mode);
        if is_rewriting && mode == AofMode::Beginning {
            if !is_forced {
                process.log.warning("Writing initial AOF, can't exit.");
                let waiter = conn.map(|conn| self.defer(conn));
                return self.refuse_stop(waiter);
            }
            process.log.warning("Writing initial AOF. Exit anyway.");
        }
        if is_rewriting {
            process.log.warning("There is a child rewriting the AOF. Killing it!");
            self.abandon_rewrite();
        }
        match saves {
            true => self.stop_saved(conn, why, is_forced),
            false => self.leave(why),
        }
    }

    /// Starts the shutdown that a signal has requested. Only shard 0 does this.
    pub(in crate::shard) fn heed_signals(&mut self) {
        if self.env.me != 0 {
            return;
        }
        if let Some((why, is_forced, saves)) = self.env.process.take_saving_stop() {
            if self.env.process.is_loading() {
                // The file holds more than this process has loaded so far.
                self.env.process.stop(why);
                self.port.mesh().ring_all();
            } else {
                self.stop_in_order(None, (why, saves, is_forced));
            }
        }
    }

    /// Starts a shutdown without a save. With an append-only file the process stops after the file
    /// has all commands that were run. A script that runs for long is killed, even if it has
    /// written, and the file has none of its writes.
    fn leave(&mut self, why: Shutdown) {
        if self.replication.feed.disk().need().is_some() {
            self.env.process.end_scripts();
            self.port.mesh().ring_all();
            self.post_barrier(Goal::Leave(why));
        } else {
            self.stop_now(why);
        }
    }

    /// Stops the process after all shards have ended their service. Waits for the append-only file.
    pub(super) fn stop_now(&mut self, why: Shutdown) {
        if self.replication.feed.disk().need().is_some() {
            self.post_barrier(Goal::LastMark(why));
            return;
        }
        self.env.process.stop(why);
        self.port.mesh().ring_all();
    }

    /// Takes the end of a file that this shard had written.
    pub(super) fn end_file(&mut self, goal: FileGoal, end: FileEnd, it: &SnapshotProgress) {
        if let FileGoal::Rewrite(form) = goal {
            return self.end_rewrite(&end.written, form);
        }
        let is_saved = end.written == Written::Complete;
        self.note_saved(&goal, &end, it);
        let log = &self.env.process.log;
        match &end.written {
            Written::Complete => log.notice("DB saved on disk"),
            Written::Failed(why) => log.warning(why),
            Written::Abandoned => {}
        }
        match goal {
            FileGoal::Background => match &end.written {
                Written::Complete => log.notice("Background saving terminated with success"),
                Written::Failed(_) => log.warning("Background saving error"),
                Written::Abandoned => log.warning("Background saving cancelled"),
            },
            FileGoal::Flushed | FileGoal::Rewrite(_) | FileGoal::Links => {}
            FileGoal::Save(waiter) => {
                self.answer_saver(waiter, if is_saved { Ok(()) } else { Err("ERR") });
            }
            FileGoal::Reload(waiter) => self.answer_reload(waiter, is_saved),
            FileGoal::Stop { why, .. } if is_saved => self.stop_now(why),
            FileGoal::Stop { why, is_forced: true, .. } => {
                log.warning("Error trying to save the DB. Exit anyway.");
                // A cut has ended the service of all partitions. Without one they still serve.
                if self.partition.is_leaving() { self.stop_now(why) } else { self.leave(why) }
            }
            FileGoal::Stop { waiter, .. } => self.go_on(waiter),
        }
    }

    /// Updates the facts about the data file.
    fn note_saved(&mut self, goal: &FileGoal, end: &FileEnd, it: &SnapshotProgress) {
        let now_s = self.env.process.clock.unix_ms() / 1_000;
        let mut facts = self.env.process.persistence();
        if matches!(goal, FileGoal::Background)
            && let Some(save) = facts.background.take()
        {
            facts.save_took_s = Some(now_s.saturating_sub(save.started_s));
            facts.has_save_failed |= matches!(end.written, Written::Failed(_));
        }
        // A second FLUSHALL has the file of the first given up.
        let is_abandoned = end.written == Written::Abandoned;
        facts.is_flush_unsaved &= is_abandoned || !matches!(goal, FileGoal::Flushed);
        facts.save_peak_bytes = it.peak_bytes();
        if end.written == Written::Complete {
            facts.has_save_failed = false;
            facts.saved_s = now_s;
            facts.saved_changes = end.changes;
        }
        self.env.process.has_save_failed.store(facts.has_save_failed, Ordering::Relaxed);
    }

    /// Goes on serving, because the last save has failed.
    fn go_on(&mut self, waiter: Option<ReplyAddress>) {
        let log = &self.env.process.log;
        log.warning("Error trying to save the DB, can't exit.");
        self.post_barrier(Goal::Stay);
        self.refuse_stop(waiter);
    }

    fn refuse_stop(&mut self, waiter: Option<ReplyAddress>) {
        let log = &self.env.process.log;
        log.warning("Errors trying to shut down the server. Check the logs for more information.");
        self.env.process.take_back_stop();
        if let Some(waiter) = waiter {
            self.answer_saver(waiter, Err("ERR Errors trying to SHUTDOWN. Check logs."));
        }
    }

    /// Replies to a client that has waited for a file: OK, or an error with this text.
    pub(super) fn answer_saver(&mut self, waiter: ReplyAddress, result: Result<(), &'static str>) {
        let mut answer = self.answer_to(waiter);
        let mut reply = Reply::new(&mut answer.output, Default::default());
        match result {
            Ok(()) => reply.ok(),
            Err(text) => reply.error(&Error::other(text)),
        }
        self.land_answer(answer);
    }
}
