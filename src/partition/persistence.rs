//! The head of a file, and loading the partition's keys from a file.

use super::leaving::Leaving;
use super::partition::Partition;
use crate::base::slot::slot_of;
use crate::commands::restore_functions;
use crate::exec::{FileHead, Reload};
use crate::keyspace::ExpiryRole;
use crate::mesh::Envelope;
use crate::rdb::{Encoder, Kept, Limits, Part, Preamble, Reading};
use crate::script::RestorePolicy;
use crate::snapshot::{
    Batch, FileReader, LoadRules, Loaded, Share, Trust, VALKEY_VERSION, keep_fact, load_batch,
    load_body,
};
use crate::value::string::IntText;
use bytes::Bytes;
use std::fs::File;
use std::sync::Arc;

impl Partition {
    /// Returns what precedes the keys of a file: its auxiliary fields and functions.
    pub fn file_head(&self, is_aof_base: bool) -> FileHead {
        let process = &self.env.process;
        let mut kept = process.persistence().kept.clone();
        kept.functions = process.functions.texts();
        let preamble = Preamble {
            valkey_version: VALKEY_VERSION,
            written_s: process.clock.unix_ms() / 1_000,
            used_memory_bytes: crate::base::alloc::used_bytes(),
            origin: None,
            is_aof_base,
            kept: &kept,
        };
        let mut head = FileHead::default();
        Encoder::new(&mut head.facts, false).facts(&preamble);
        Encoder::new(&mut head.functions, false).functions(&kept);
        head
    }

    /// Ends service, because the process stops without a save.
    pub(super) fn leave(&mut self) {
        self.leaving.begin();
    }

    /// Closes the journal before the last mark, which must not wait for units that never run.
    pub(super) fn close_journal(&mut self) {
        assert!(self.leaving.is_on(), "the last mark follows the end of service");
        self.journal.close(&self.leaving.arrived);
    }

    /// Returns whether the last keys were saved, so that no command may run before the process
    /// stops.
    #[inline]
    pub fn is_leaving(&self) -> bool {
        self.leaving.is_on()
    }

    /// Resumes work because the process does not stop. Runs the parts that have waited since the
    /// last share.
    pub fn stay(&mut self) {
        let Leaving { granted, arrived, .. } = self.leaving.end();
        for (lock, part) in granted {
            if self.work_granted(lock, part) {
                self.release(lock);
            }
        }
        arrived.into_iter().for_each(|part| self.arrive(part));
    }

    /// Returns the share of a file, with the number of changes so far.
    fn share(&mut self) -> Share {
        let changes = self.env.board.counters.changes.get();
        Share::save(&mut self.slice, self.env.config.rdbcompression, changes)
    }

    /// Loads the keys from the partition's own share, or from the file. The part's body stays empty
    /// if that fails.
    pub(super) fn reload(&mut self, part: &mut Envelope, reload: Reload) {
        let changes = self.env.board.counters.changes.get();
        // Replicas still have the expired keys. These stay, so that their expiry is propagated.
        let role = self.slice.set_role(ExpiryRole::Loading);
        let share = match reload.saves {
            true => self.share(),
            false => Share { version: 0, changes, body: vec![Bytes::new()] },
        };
        let loaded = match reload.saves {
            true => {
                self.flush_for(reload);
                self.load_share(&share.body[0], reload)
            }
            false => self.load_from_file(reload),
        };
        self.slice.set_role(role);
        self.publish();
        match loaded {
            Ok(loaded) => {
                let (keys, expired) = (loaded.keys, loaded.expired);
                self.env.process.persistence().add_loaded(keys, expired, loaded.skipped());
                part.body = share.into_pieces();
            }
            Err(why) => self.env.process.log.warning(&why),
        }
    }

    fn flush_for(&mut self, reload: Reload) {
        if reload.flushes {
            self.slice.flush(None);
        }
    }

    fn load_share(&mut self, body: &[u8], reload: Reload) -> Result<Loaded, String> {
        if self.env.me == 0 {
            // The saved file would have the libraries of this moment.
            self.load_functions(&self.env.process.functions.texts(), reload)?;
        }
        let limits = Limits::of(&self.env.config);
        let note = self.noter();
        let mut rules = self.load_rules(&limits, reload.may_replace, &note);
        (rules.due_before_ms, rules.reading.due_before_ms) = (0, None);
        load_body(&mut self.slice, body, &rules)
    }

    fn load_rules<'l>(
        &self,
        limits: &'l Limits,
        may_replace: bool,
        note: &'l dyn Fn(&str),
    ) -> LoadRules<'l> {
        let now_ms = self.env.now.unix_ms();
        let reading = Reading { limits, due_before_ms: Some(now_ms) };
        LoadRules { reading, due_before_ms: now_ms, may_replace, note }
    }

    fn noter(&self) -> impl Fn(&str) + use<> {
        let process = Arc::clone(&self.env.process);
        move |line| process.log.notice(line)
    }

    /// Loads the keys of this partition from the file.
    fn load_from_file(&mut self, reload: Reload) -> Result<Loaded, String> {
        let config = Arc::clone(&self.env.config);
        let path = config.dir.join(&config.dbfilename);
        let file = File::open(&path);
        let file = file.map_err(|error| format!("Can't open {}: {error}", path.display()))?;
        let trust =
            Trust { any_version: config.reads_any_rdb_version(), has_checksum: config.rdbchecksum };
        let mut reader = FileReader::open(file, trust)?;
        // A file that cannot be read leaves the keys.
        self.flush_for(reload);
        let limits = Limits::of(&config);
        let note = self.noter();
        let rules = self.load_rules(&limits, reload.may_replace, &note);
        let (mut loaded, mut db) = (Loaded::default(), 0);
        let databases = u64::from(config.database_count());
        let mut kept = Kept::default();
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
                    if slice.owns(slot) {
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
        if self.env.me == 0 {
            self.load_functions(&std::mem::take(&mut kept.functions), reload)?;
            self.env.process.persistence().kept = kept;
        }
        Ok(loaded)
    }

    /// Restores the function libraries of a file.
    fn load_functions(&self, texts: &[Bytes], reload: Reload) -> Result<(), String> {
        let policy = match reload {
            Reload { flushes: true, .. } => RestorePolicy::Flush,
            Reload { may_replace: true, .. } => RestorePolicy::Replace,
            _ => RestorePolicy::Append,
        };
        let restored = restore_functions(&self.env.process, texts, policy);
        restored.map_err(|error| error.text().into_owned())
    }

    /// Sets whether more keys of a file are expected.
    pub fn set_loading(&mut self, is_loading: bool) {
        self.is_loading = is_loading;
        if is_loading {
            self.slice.set_role(ExpiryRole::Loading);
        }
    }

    /// Drops all keys, because the append-only file is loaded. Propagates nothing until
    /// [`Partition::end_load`].
    pub(super) fn empty_for_load(&mut self) {
        self.journal.rests = !self.is_journal_on();
        self.stop_propagating();
        self.slice.flush(None);
        self.set_loading(true);
        self.publish();
    }

    /// Begins to propagate again after [`Partition::empty_for_load`].
    pub fn end_load(&mut self) {
        if !self.journal.rests {
            self.start_propagating();
        }
    }

    /// Loads some keys of the file that is read at the start.
    pub fn load(&mut self, batch: &Batch) -> Result<(), String> {
        let limits = Limits::of(&self.env.config);
        let note = self.noter();
        let mut rules = self.load_rules(&limits, false, &note);
        if self.env.process.loading.has_commands() {
            // The commands that follow were run before these keys expired.
            (rules.due_before_ms, rules.reading.due_before_ms) = (0, None);
        }
        let loaded = load_batch(&mut self.slice, batch, &rules)?;
        self.env.process.persistence().add_loaded(loaded.keys, loaded.expired, loaded.skipped());
        Ok(())
    }
}
