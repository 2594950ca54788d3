//! The file: all shards' shares of one moment, written by the shard that was asked for it, and
//! loaded again.
//!
//! ```text
//!   SAVE -----------> Cut to all, one unit --> shares --> file --> OK
//!   SHUTDOWN, signal  the same; each shard serves nothing after its share
//!                        '--> file --> the process stops; if it cannot be written: Stay to all
//!   DEBUG RELOAD ---> Reload to all: each gives its share and takes its keys from it
//! ```
//! A share is a copy of the slice, made where its part comes in the shard's order.

use super::Shard;
use super::post::Awaited;
use super::replicas::{Goal, VALKEY_VERSION};
use crate::base::slot::slot_of;
use crate::exec::{Reload, Request, Shutdown};
use crate::io::ConnId;
use crate::keyspace::ExpiryRole;
use crate::mesh::Envelope;
use crate::rdb::{Kept, Limits, Part, Preamble, Reading};
use crate::resp::{Error, Reply};
use crate::snapshot::{
    Batch, FileReader, LoadRules, Loaded, Share, Snapshot, Trust, keep_fact, load_batch, load_body,
    write_file,
};
use crate::value::string::IntText;
use bytes::Bytes;
use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// What saving and loading need of a shard.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// The keys of a file that is being loaded.
    pub(super) intake: Option<Receiver<Batch>>,
    /// Nothing is served any more: the keys were saved, and the process stops.
    pub(super) is_leaving: bool,
    /// Parts that have come since then.
    // Boxed, because an envelope keeps its address on its way.
    #[allow(clippy::vec_box)]
    pub(super) left_over: Vec<Box<Envelope>>,
}

/// What becomes of all shards' shares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Saving {
    /// Who waits for the reply.
    waiter: Option<Awaited>,
    then: Then,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    /// The file was all that was wanted.
    Reply,
    /// The process stops, for this reason; be it that the file cannot be written.
    Stop(Shutdown, bool),
    /// The keys have been loaded again; the file is written if it was to be.
    Reloaded { is_written: bool },
    /// Nothing: the shards serve again.
    Stay,
}

impl Shard {
    /// SAVE.
    pub(super) fn save(&mut self, conn: ConnId) {
        self.process.persistence().saves += 1;
        let waiter = Some(self.defer(conn));
        let saving = Saving { waiter, then: Then::Reply };
        self.post_barrier(Goal::Save(saving, Request::Cut { is_last: false }));
    }

    /// DEBUG RELOAD.
    pub(super) fn reload(&mut self, conn: ConnId, reload: Reload) {
        let waiter = Some(self.defer(conn));
        let saving = Saving { waiter, then: Then::Reloaded { is_written: reload.saves } };
        self.post_barrier(Goal::Save(saving, Request::Reload(reload)));
    }

    /// The process is to stop when its keys are saved.
    pub(super) fn stop_saved(&mut self, conn: Option<ConnId>, why: Shutdown, is_forced: bool) {
        let waiter = conn.map(|conn| self.defer(conn));
        self.process.log.notice("Saving the final RDB snapshot before exiting.");
        let saving = Saving { waiter, then: Then::Stop(why, is_forced) };
        self.post_barrier(Goal::Save(saving, Request::Cut { is_last: true }));
    }

    /// A signal asked for a stop that saves first: shard 0 sees to it.
    pub(super) fn heed_signals(&mut self) {
        if self.me != 0 {
            return;
        }
        if let Some((why, is_forced)) = self.process.take_saving_stop() {
            if self.process.is_loading() {
                // The file has more than this process knows yet.
                self.stop_now(why);
            } else {
                self.stop_saved(None, why, is_forced);
            }
        }
    }

    fn stop_now(&mut self, why: Shutdown) {
        self.process.stop(why);
        self.port.mesh().ring_all();
    }

    /// This shard's share.
    pub(super) fn cut(&mut self, part: &mut Envelope, is_last: bool) {
        // A key that is due is in the file, as long as it is here.
        let role = self.slice.set_role(ExpiryRole::Loading);
        part.body = Some(self.share());
        self.slice.set_role(role);
        self.files.is_leaving = is_last;
    }

    /// This shard's share, with its changes so far.
    pub(super) fn share(&mut self) -> Bytes {
        let changes = self.board.counters.changes.get();
        Share::save(&mut self.slice, self.config.rdbcompression, changes)
    }

    /// The shard serves again, because the process does not stop.
    pub(super) fn stay(&mut self) {
        self.files.is_leaving = false;
        for part in std::mem::take(&mut self.files.left_over) {
            self.arrive(part);
        }
    }

    /// Takes this shard's keys from its own share, or from the file. Nothing is in the part's body
    /// if that fails.
    pub(super) fn reload_here(&mut self, part: &mut Envelope, reload: Reload) {
        let changes = self.board.counters.changes.get();
        let share = match reload.saves {
            true => self.share(),
            false => Share { version: 0, changes, body: Bytes::new() }.into_bytes(),
        };
        if reload.flushes {
            self.slice.flush(None);
        }
        let role = self.slice.set_role(ExpiryRole::Loading);
        let loaded = match reload.saves {
            true => self.load_own(&Share::read(share.clone()).body, reload),
            false => self.load_file_here(reload),
        };
        self.slice.set_role(role);
        self.publish();
        match loaded {
            Ok(loaded) => {
                let (keys, expired) = (loaded.keys, loaded.expired);
                self.process.persistence().add_loaded(keys, expired, loaded.skipped());
                part.body = Some(share);
            }
            Err(why) => self.process.log.warning(&why),
        }
    }

    fn load_own(&mut self, body: &[u8], reload: Reload) -> Result<Loaded, String> {
        let limits = Limits::of(&self.config);
        let note = self.noter();
        let rules = self.load_rules(&limits, reload.may_replace, &note);
        load_body(&mut self.slice, body, &rules)
    }

    /// How keys are loaded now.
    pub(super) fn load_rules<'l>(
        &self,
        limits: &'l Limits,
        may_replace: bool,
        note: &'l dyn Fn(&str),
    ) -> LoadRules<'l> {
        let now_ms = self.now.unix_ms();
        let reading = Reading { limits, due_before_ms: Some(now_ms) };
        LoadRules { reading, due_before_ms: now_ms, may_replace, note }
    }

    /// Tells the log.
    pub(super) fn noter(&self) -> impl Fn(&str) + use<> {
        let process = Arc::clone(&self.process);
        move |line| process.log.notice(line)
    }

    /// Loads from the file what belongs here.
    fn load_file_here(&mut self, reload: Reload) -> Result<Loaded, String> {
        let path = self.config.dir.join(&self.config.dbfilename);
        let file = File::open(&path);
        let file = file.map_err(|error| format!("Can't open {}: {error}", path.display()))?;
        let mut reader = FileReader::open(file, self.trust())?;
        let limits = Limits::of(&self.config);
        let note = self.noter();
        let rules = self.load_rules(&limits, reload.may_replace, &note);
        let (mut loaded, mut db) = (Loaded::default(), 0);
        let databases = u64::from(self.config.databases);
        let mut kept = Kept::default();
        let slots = self.slice.slots();
        let slice = &mut self.slice;
        let mut take = |part: &Part<'_>| {
            match part {
                Part::Database(number) if *number >= databases => {
                    return Err(format!("Data file has more than {databases} databases"));
                }
                Part::Database(number) => db = *number as u32,
                Part::Entry(entry) => {
                    let buffer = &mut IntText::new();
                    let key = entry.key.bytes(buffer);
                    let slot = slot_of(key);
                    if slots.contains(&slot) {
                        let mut batch = Batch::default();
                        batch.add(db, slot, key, entry);
                        loaded.add(load_batch(slice, &batch, &rules)?);
                    }
                }
                part => keep_fact(&mut kept, part),
            }
            Ok(())
        };
        while reader.next(&mut take)?.is_some() {}
        if self.me == 0 {
            self.process.persistence().kept = kept;
        }
        Ok(loaded)
    }

    /// What reading a file takes for granted.
    fn trust(&self) -> Trust {
        Trust {
            any_version: self.config.reads_any_rdb_version(),
            has_checksum: self.config.rdbchecksum,
        }
    }

    /// All shards have given their shares.
    pub(super) fn finish_save(&mut self, saving: Saving, bodies: Vec<Bytes>) {
        let has_all = bodies.iter().all(|body| !body.is_empty());
        let is_saved = match saving.then {
            Then::Stay => return,
            Then::Reloaded { is_written: false } => has_all,
            _ => has_all && self.write_snapshot(bodies),
        };
        match saving.then {
            Then::Stop(why, is_forced) if is_saved || is_forced => return self.stop_now(why),
            Then::Stop(..) => {
                self.process.log.warning("Error trying to save the DB, can't exit.");
                self.process.take_back_stop();
                let saving = Saving { waiter: None, then: Then::Stay };
                self.post_barrier(Goal::Save(saving, Request::Stay));
            }
            Then::Reloaded { .. } if is_saved => {
                self.process.log.warning("DB reloaded by DEBUG RELOAD");
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

    /// Writes the file; false if that fails, which is logged.
    fn write_snapshot(&mut self, bodies: Vec<Bytes>) -> bool {
        let shares: Vec<Share> = bodies.into_iter().map(Share::read).collect();
        let kept = self.process.persistence().kept.clone();
        let now_s = self.now.unix_ms() / 1_000;
        let preamble = Preamble {
            valkey_version: VALKEY_VERSION,
            written_s: now_s,
            used_memory_bytes: crate::base::alloc::used_bytes(),
            origin: None,
            kept: &kept,
        };
        let snapshot = Snapshot::new(&preamble, &shares, self.config.rdbchecksum);
        let written = write_file(&self.config.dir, &self.config.dbfilename, Arc::new(snapshot));
        let mut facts = self.process.persistence();
        facts.has_save_failed = written.is_err();
        if written.is_ok() {
            facts.saved_s = now_s;
            facts.saved_changes = shares.iter().map(|share| share.changes).sum();
        }
        drop(facts);
        match written {
            Ok(()) => self.process.log.notice("DB saved on disk"),
            Err(why) => {
                self.process.log.warning(&why);
                return false;
            }
        }
        true
    }
}
