//! A rewrite, as the thread of the append-only file sees it.
//!
//! ```text
//!   stream   ... | mark | ...
//!   files    incr 1  '--> incr 2                      begin_next_file, at the mark's offset
//!            base 2, written from the cut at the mark       end_rewrite: rename, manifest
//!   manifest base 1, incr 1, incr 2  -->  base 2, incr 2; base 1 and incr 1 are deleted
//! ```
//! Each manifest on the way loads to the same keys.

use super::incr::IncrFile;
use super::manifest::FileEntry;
use super::writer::{Rewriting, State};
use crate::base::system::error_text;
use crate::exec::{AofMode, BaseForm};
use std::path::PathBuf;

impl State {
    /// Begins the file of commands that follows the cut.
    pub(super) fn begin_next_file(&mut self) {
        self.rewriting.has_begun = true;
        if let Err(line) = self.open_next_file() {
            self.shared.process.log.warning(&line);
            self.rewriting.has_failed = true;
        }
        if let Some(form) = self.rewriting.written.take() {
            self.end_rewrite(Some(form), false);
        }
    }

    fn open_next_file(&mut self) -> Result<(), String> {
        if !self.sync_file() {
            return Err("The AOF file could not be synced before the next one".to_owned());
        }
        let folder = &self.files.folder;
        folder.create()?;
        let mut next = self.files.manifest.clone();
        let name = match self.mode {
            AofMode::On => next.add_incr(folder.prefix()).text(),
            _ => folder.temp_incr_name(),
        };
        let file = folder.open_incr(name.as_bytes())?;
        // An earlier attempt may have left commands in it.
        let emptied = file.set_len(0).and_then(|()| file.sync());
        emptied.map_err(|error| error_text(&error))?;
        match self.mode {
            AofMode::On => self.files.put(next)?,
            _ => self.files.manifest = next,
        }
        let line = format!("Creating AOF incr file {name} on background rewrite");
        self.shared.process.log.notice(&line);
        self.before_size += self.incr.as_ref().map_or(0, IncrFile::size);
        self.take_file(IncrFile::new(file, 0));
        Ok(())
    }

    /// Ends the rewrite: the base was written in a form, or was not. One that is given up counts as
    /// no failure.
    pub(super) fn end_rewrite(&mut self, written: Option<BaseForm>, is_given_up: bool) {
        if self.mode != AofMode::Off && written.is_some() && !self.rewriting.has_begun {
            self.rewriting.written = written;
            return;
        }
        // If it has failed before its mark, nothing begins there. The next rewrite has its own.
        self.forget_cut();
        let was_given_up = self.shared.process.aof.facts().rewrites.is_given_up;
        let is_given_up = is_given_up || (written.is_none() && was_given_up);
        let log = &self.shared.process.log;
        let has_failed = self.rewriting.has_failed;
        self.rewriting = Rewriting { given_up: self.rewriting.given_up, ..Rewriting::default() };
        let mut is_done = false;
        if let Some(form) = written.filter(|_| !has_failed) {
            log.notice("Background AOF rewrite terminated with success");
            match self.take_base(form) {
                Ok(()) => is_done = true,
                Err(line) => self.shared.process.log.warning(&line),
            }
        } else if is_given_up {
            log.notice("Background AOF rewrite given up: the AOF was turned off meanwhile");
        } else {
            log.warning("Background AOF rewrite terminated with error");
        }
        if !is_done {
            // It may not exist.
            let _ = self.files.folder.storage.remove(&self.temp_base());
            self.drop_temp_file();
        }
        let now_s = self.shared.process.clock.unix_ms() / 1_000;
        self.shared.process.aof.end_rewrite(now_s, is_done, is_given_up);
        // Clients in WAITAOF that wait for the first base see that the rewrite is over.
        self.publish_synced();
        self.note_facts();
    }

    /// Gives up what was written for the first base, which is tried again.
    fn drop_temp_file(&mut self) {
        if self.mode != AofMode::Beginning {
            return;
        }
        self.incr = None;
        let name = self.files.folder.temp_incr_name();
        let line = format!("Removing the temp incr aof file {name} in the background");
        self.shared.process.log.notice(&line);
        // It may not exist.
        let folder = &self.files.folder;
        let _ = folder.storage.remove(&folder.path_of(name.as_bytes()));
        self.shared.process.aof.facts().rewrites.is_scheduled = true;
    }

    fn temp_base(&self) -> PathBuf {
        self.config.dir.join(format!("temp-rewriteaof-bg-{}.aof", std::process::id()))
    }

    /// Makes the written base part of the append-only file.
    fn take_base(&mut self, form: BaseForm) -> Result<(), String> {
        let process = &self.shared.process;
        let folder = &self.files.folder;
        folder.create()?;
        let (temp, mut next) = (self.temp_base(), self.files.manifest.clone());
        let temp_name = temp.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let base = next.add_base(folder.prefix(), form == BaseForm::Snapshot).clone();
        let path = folder.path_of(&base.name);
        folder.storage.rename(&temp, &path).map_err(|error| {
            let (path, why) = (path.display(), error_text(&error));
            let what = "Error trying to rename the temporary AOF base file";
            format!("{what} {temp_name} into {path}: {why}")
        })?;
        let what = "Successfully renamed the temporary AOF base file";
        process.log.notice(&format!("{what} {temp_name} into {}", base.text()));
        if self.mode == AofMode::Beginning {
            let from = folder.temp_incr_name();
            let incr = next.add_incr(folder.prefix()).clone();
            let to = folder.path_of(&incr.name);
            folder.storage.rename(&folder.path_of(from.as_bytes()), &to).map_err(|error| {
                let (to, why) = (to.display(), error_text(&error));
                format!(
                    "Error trying to rename the temporary AOF incr file {from} into {to}: {why}"
                )
            })?;
            let what = "Successfully renamed the temporary AOF incr file";
            process.log.notice(&format!("{what} {from} into {}", incr.text()));
        }
        next.retire_incrs(self.mode != AofMode::Off);
        self.files.put(next)?;
        self.note_base(&base);
        self.delete_history();
        self.shared.process.log.notice("Background AOF rewrite finished successfully");
        if self.mode == AofMode::Beginning {
            self.mode = AofMode::On;
            let mut facts = self.shared.process.aof.facts();
            // Otherwise it was turned off meanwhile, and the order to end it is on its way.
            if facts.mode == AofMode::Beginning {
                facts.mode = AofMode::On;
            }
            drop(facts);
        }
        Ok(())
    }

    fn note_base(&mut self, base: &FileEntry) {
        self.before_size = self.files.folder.size_of(base).unwrap_or(0);
        let size = self.before_size + self.incr.as_ref().map_or(0, IncrFile::size);
        let mut facts = self.shared.process.aof.facts();
        (facts.current_size, facts.base_size) = (size, size);
    }

    /// Deletes the files whose content a rewrite has replaced.
    pub(super) fn delete_history(&mut self) {
        let process = &self.shared.process;
        let is_kept = process.config.snapshot().aof_disable_auto_gc;
        if is_kept || self.files.manifest.history.is_empty() {
            return;
        }
        for entry in std::mem::take(&mut self.files.manifest.history) {
            let line = format!("Removing the history file {} in the background", entry.text());
            process.log.notice(&line);
            // The manifest below no longer lists it, so a file that stays does no harm.
            let folder = &self.files.folder;
            let _ = folder.storage.remove(&folder.path_of(&entry.name));
        }
        let manifest = self.files.manifest.clone();
        if let Err(line) = self.files.put(manifest) {
            process.log.warning(&line);
        }
    }
}
