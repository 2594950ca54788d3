//! The data file: the shard that was asked writes the shares of all shards at one moment, and loads
//! them again.
//!
//! ```text
//!   SAVE -----------> Share to all, one unit --> shares --> file --> OK
//!   SHUTDOWN, signal  like SAVE; each shard serves nothing after its share
//!                        '--> file --> the process stops; if it cannot be written: Stay to all
//!   DEBUG RELOAD ---> Reload to all: each gives its share and takes its keys from it
//! ```
//! A share is a copy of the slice, made when its part comes in the shard's order.

use super::{Goal, Saving, Then, VALKEY_VERSION};
use crate::exec::{Reload, Request, Shutdown};
use crate::io::ConnId;
use crate::rdb::Preamble;
use crate::resp::{Error, Reply};
use crate::shard::state::Shard;
use crate::snapshot::{Share, Snapshot, write_file};
use bytes::Bytes;
use std::sync::Arc;

impl Shard {
    /// Starts SAVE.
    pub(in crate::shard) fn save(&mut self, conn: ConnId) {
        self.env.process.persistence().saves += 1;
        let waiter = Some(self.defer(conn));
        let saving = Saving { waiter, then: Then::Reply };
        self.post_barrier(Goal::Save(saving, Request::Share { is_last: false }));
    }

    /// Starts DEBUG RELOAD.
    pub(in crate::shard) fn reload(&mut self, conn: ConnId, reload: Reload) {
        let waiter = Some(self.defer(conn));
        let saving = Saving { waiter, then: Then::Reloaded { is_written: reload.saves } };
        self.post_barrier(Goal::Save(saving, Request::Reload(reload)));
    }

    /// Starts a shutdown that saves the keys first.
    pub(in crate::shard) fn stop_saved(
        &mut self,
        conn: Option<ConnId>,
        why: Shutdown,
        is_forced: bool,
    ) {
        let waiter = conn.map(|conn| self.defer(conn));
        self.env.process.log.notice("Saving the final RDB snapshot before exiting.");
        let saving = Saving { waiter, then: Then::Stop(why, is_forced) };
        self.post_barrier(Goal::Save(saving, Request::Share { is_last: true }));
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
            } else if !saves {
                self.leave(why);
            } else {
                self.stop_saved(None, why, is_forced);
            }
        }
    }

    /// Starts a shutdown without a save. With an append-only file the process stops after the file
    /// has all commands that were run.
    pub(in crate::shard) fn leave(&mut self, why: Shutdown) {
        if self.replication.feed.disk().need().is_some() {
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

    /// Finishes a save after all shards have sent their shares.
    pub(in crate::shard) fn finish_save(&mut self, saving: Saving, bodies: Vec<Vec<Bytes>>) {
        let has_all = bodies.iter().all(|body| !body.is_empty());
        let is_saved = match saving.then {
            Then::Stay => return,
            Then::Reloaded { is_written: false } => has_all,
            _ => has_all && self.write_snapshot(bodies),
        };
        match saving.then {
            Then::Stop(why, is_forced) if is_saved || is_forced => return self.stop_now(why),
            Then::Stop(..) => {
                self.env.process.log.warning("Error trying to save the DB, can't exit.");
                self.env.process.take_back_stop();
                let saving = Saving { waiter: None, then: Then::Stay };
                self.post_barrier(Goal::Save(saving, Request::Stay));
            }
            Then::Reloaded { .. } if is_saved => {
                self.env.process.log.warning("DB reloaded by DEBUG RELOAD");
            }
            _ => {}
        }
        let Some(waiter) = saving.waiter else { return };
        let mut answer = self.answer_to(waiter);
        let mut reply = Reply::new(&mut answer.output, Default::default());
        match saving.then {
            _ if is_saved => reply.ok(),
            Then::Stop(..) => {
                reply.error(&Error::other("ERR Errors trying to SHUTDOWN. Check logs."));
            }
            Then::Reloaded { .. } => reply
                .error(&Error::other("ERR Error trying to load the RDB dump, check server logs.")),
            _ => reply.error(&Error::other("ERR")),
        }
        self.land_answer(answer);
    }

    /// Writes the file. Returns false and logs the error if that fails.
    fn write_snapshot(&mut self, bodies: Vec<Vec<Bytes>>) -> bool {
        let shares: Vec<Share> = bodies.into_iter().map(Share::read).collect();
        let mut kept = self.env.process.persistence().kept.clone();
        kept.functions = self.env.process.functions.texts();
        let now_s = self.env.now.unix_ms() / 1_000;
        let preamble = Preamble {
            valkey_version: VALKEY_VERSION,
            written_s: now_s,
            used_memory_bytes: crate::base::alloc::used_bytes(),
            origin: None,
            kept: &kept,
        };
        let snapshot = Snapshot::new(&preamble, &shares, self.env.config.rdbchecksum);
        let written =
            write_file(&self.env.config.dir, &self.env.config.dbfilename, Arc::new(snapshot));
        let mut facts = self.env.process.persistence();
        facts.has_save_failed = written.is_err();
        if written.is_ok() {
            facts.saved_s = now_s;
            facts.saved_changes = shares.iter().map(|share| share.changes).sum();
        }
        drop(facts);
        match written {
            Ok(()) => self.env.process.log.notice("DB saved on disk"),
            Err(why) => {
                self.env.process.log.warning(&why);
                return false;
            }
        }
        true
    }
}
