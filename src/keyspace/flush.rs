//! Changes of whole databases: they are emptied or exchanged.

use super::database::Database;
use super::slice::Slice;

/// Groups that one call of [`Slice::trim_some`] looks at.
const TRIM_GROUPS: usize = 64;

impl Slice {
    /// Removes all keys of one database, or of all databases. [`Slice::housekeep`] frees the
    /// memory.
    pub fn flush(&mut self, db: Option<usize>) {
        let range = db.map_or(0..self.databases.len(), |db| db..db + 1);
        if self.is_heard() {
            self.note_flush(range.clone());
            self.waits.note_all(range.clone());
        }
        self.note_tracked_flush();
        for db in range {
            self.sweep_stop(db);
            if self.databases[db].len() == 0 {
                continue;
            }
            let old = std::mem::replace(&mut self.databases[db], Database::EMPTY);
            if let Some(old) = self.set_aside(db, old) {
                self.graveyard.bury_tables(old.into_tables());
            }
        }
    }

    /// Frees the tables of a group of a database if it has no keys, and no sweep is there.
    pub(super) fn trim(&mut self, db: usize, group: usize) {
        if self.sweep_group() != Some((db, group)) {
            self.databases[db].trim(group);
        }
    }

    /// Frees the tables of some groups that have no keys. Later calls go on with other groups.
    pub(super) fn trim_some(&mut self) {
        for _ in 0..TRIM_GROUPS {
            let (db, group) = self.chores.trimmed;
            if group < self.databases[db].groups() {
                self.trim(db, group);
                self.chores.trimmed.1 += 1;
            } else {
                self.chores.trimmed = ((db + 1) % self.databases.len(), 0);
            }
        }
    }

    /// Removes all keys of all databases for a command, which makes the data file useless.
    pub fn flush_all(&mut self) {
        self.flush(None);
        self.stats.flushes += 1;
    }

    /// Exchanges the keys of two databases.
    pub fn swap_databases(&mut self, first: usize, second: usize) {
        if first != second && self.is_heard() {
            self.note_swap(first, second);
            self.waits.note_all(first..first + 1);
            self.waits.note_all(second..second + 1);
        }
        self.sweep_stop(first);
        self.sweep_stop(second);
        self.databases.swap(first, second);
        self.swap_sources(first, second);
    }
}
