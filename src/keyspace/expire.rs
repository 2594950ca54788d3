//! Housekeeping: the sweep removes expired keys and fields that no command accesses; further steps
//! free flushed tables and large values.
//!
//! A sweep visits the hash slots that have volatile keys, and the chunks of their tables. Every
//! database, table and chunk has a summary: a tick before which nothing in it has expired. The
//! sweep enters a table or chunk only if its summary has passed, and leaves an exact summary
//! behind:
//!
//! ```text
//!   Idle --start--> a database's summary has passed: set it to never, slot = the first
//!   Running: enter a slot whose summary has passed: set the summary to never, chunk = 0
//!            sweep a chunk, then lower the summaries of slot and database to the chunk's
//!            pass over a slot: lower the database's summary to the slot's
//!   Running --after the last slot--> Idle
//! ```
//!
//! While a sweep runs, the summaries of its database and of its slot cover only what the sweep has
//! passed. Code that takes the tables away from a sweep first sets these summaries to "expired now"
//! ([`Slice::sweep_stop`]). No key escapes the sweep: growing a table moves keys to its last chunk,
//! which the sweep visits later. Shrinking lowers the summary of the chunk that receives keys.
//!
//! A hash with field expiries has the earliest of them in its bucket word and in all summaries
//! above. So the sweep finds the hash when a field has expired. Commands hide expired fields or
//! replace them, and only a sweep removes them. A step removes a limited number of fields. If some
//! are left, the next step visits the same chunk again. The fields of a lent hash stay until its
//! readers have returned it, so the summaries remain in the past and a later sweep finds it again.
//! The same holds for keys that the caller keeps, because they are locked, and for stubs. A
//! database whose last sweep left such keys is swept again in the next tick.

use super::database::GROUP_TABLES;
use super::event::Event;
use super::expired::Expired;
use super::slice::{ExpiryRole, Slice};
use super::table::{Entry, Place, Word};
use super::tick::Tick;
use crate::value::hash::{Field, Hash};

/// Hash slots that one step passes over at most.
const STEP_SLOTS: usize = 64;

/// A step ends after it has removed this number of expired fields.
const STEP_FIELDS: usize = 256;

/// Result of a call of [`Slice::housekeep`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Whether the call was stopped before all work was done.
    pub more: bool,
    /// Number of expired keys that were removed.
    pub expired: usize,
    /// When the next key or field may expire, in Unix milliseconds; `None` if nothing expires.
    pub next_expiry_ms: Option<u64>,
}

/// Returns whether a sweep must leave the keys with this hash and their fields alone.
pub type IsKept<'a> = &'a dyn Fn(u64) -> bool;

/// State of the sweep.
#[derive(Debug)]
pub struct Sweep {
    is_on: bool,
    /// Whether the removal of expired keys is suspended for a while.
    is_held: bool,
    running: Option<Position>,
    /// Whether the running sweep had to leave expired keys or fields.
    has_left: bool,
    /// The database that the next sweep checks first.
    next_db: usize,
}

#[derive(Clone, Copy, Debug)]
struct Position {
    db: usize,
    index: usize,
    /// The chunk within the slot's table; `None` before the slot is entered.
    chunk: Option<u32>,
}

impl Default for Sweep {
    fn default() -> Sweep {
        Sweep { is_on: true, is_held: false, running: None, has_left: false, next_db: 0 }
    }
}

impl Slice {
    /// Removes expired keys and frees memory in steps of at most about 100 us, until no work is
    /// left or `is_over` returns true. Calls `is_over` before each step.
    pub fn housekeep(&mut self, is_over: &mut dyn FnMut() -> bool) -> Work {
        self.housekeep_beside(None, is_over)
    }

    /// Does what [`Slice::housekeep`] does, but removes no expired keys or fields that `is_kept`
    /// excludes.
    pub fn housekeep_beside(
        &mut self,
        is_kept: Option<IsKept<'_>>,
        is_over: &mut dyn FnMut() -> bool,
    ) -> Work {
        let before = self.stats.expired_active;
        let mut more = false;
        // Each database is swept at most once per call, so that the call ends.
        let mut sweeps_left = self.databases.len();
        self.graveyard.begin_round();
        self.trim_some();
        loop {
            if is_over() {
                more = self.sweep.running.is_some() || !self.graveyard.is_empty();
                more |= self.database_to_sweep().is_some() || self.tools.heap.has_spare_region();
                break;
            }
            if self.sweep.running.is_none() && sweeps_left > 0 && self.sweep_start() {
                sweeps_left -= 1;
            }
            let swept = self.sweep_step(is_kept);
            let freed = self.graveyard.step(&mut self.tools.heap);
            let released = self.tools.heap.release_step();
            if !swept && !freed && !released {
                break;
            }
        }
        Work {
            more,
            expired: (self.stats.expired_active - before) as usize,
            next_expiry_ms: self.next_expiry_ms(),
        }
    }

    /// Enables or disables the removal of expired keys that no command accesses; initially enabled.
    pub fn set_active_expiry(&mut self, on: bool) {
        self.sweep.is_on = on;
    }

    /// Suspends or resumes the removal of expired keys that no command accesses.
    pub fn hold_expiry(&mut self, on: bool) {
        self.sweep.is_held = on;
    }

    fn next_expiry_ms(&self) -> Option<u64> {
        let earliest = self.databases.iter().map(|database| database.earliest).min();
        earliest.filter(|&tick| tick != Tick::NEVER).map(Tick::start_ms)
    }

    /// Returns the database to sweep next, if the summary of one has passed.
    fn database_to_sweep(&self) -> Option<usize> {
        if !self.sweep.is_on || self.sweep.is_held || self.role != ExpiryRole::Primary {
            return None;
        }
        let now = Tick::now(self.now_ms);
        let count = self.databases.len();
        (0..count)
            .map(|offset| (self.sweep.next_db + offset) % count)
            .find(|&db| self.databases[db].earliest <= now)
    }

    fn sweep_start(&mut self) -> bool {
        let Some(db) = self.database_to_sweep() else { return false };
        self.databases[db].earliest = Tick::NEVER;
        self.sweep.next_db = (db + 1) % self.databases.len();
        self.sweep.has_left = false;
        self.sweep.running = Some(Position { db, index: 0, chunk: None });
        true
    }

    /// Stops a sweep that runs in the database `db`, because the tables are taken away or the sweep
    /// may not continue.
    pub(super) fn sweep_stop(&mut self, db: usize) {
        let Some(position) = self.sweep.running.take_if(|position| position.db == db) else {
            return;
        };
        self.databases[db].earliest = Tick(0);
        if position.chunk.is_some() {
            self.databases[db].change(position.index, |table| table.put_earliest(Tick(0)));
        }
    }

    /// Returns the database and the group of tables where a sweep is.
    pub(super) fn sweep_group(&self) -> Option<(usize, usize)> {
        self.sweep.running.map(|position| (position.db, position.index / GROUP_TABLES))
    }

    /// Sweeps one chunk, or passes over hash slots without expired keys. Returns false if no sweep
    /// runs.
    fn sweep_step(&mut self, is_kept: Option<IsKept<'_>>) -> bool {
        let Some(mut position) = self.sweep.running else { return false };
        if !self.sweep.is_on || self.sweep.is_held || self.role != ExpiryRole::Primary {
            self.sweep_stop(position.db);
            return false;
        }
        self.sweep.running = None;
        let now = Tick::now(self.now_ms);
        for _ in 0..STEP_SLOTS {
            let database = &mut self.databases[position.db];
            let chunk = match position.chunk {
                Some(chunk) => chunk,
                None => {
                    let Some(index) = database.next_volatile(position.index) else {
                        if self.sweep.has_left {
                            // The keys that it had to leave are not looked at again in this tick.
                            database.earliest = database.earliest.max(now.next());
                        }
                        return true;
                    };
                    position.index = index;
                    let earliest = database.table(index).map_or(Tick::NEVER, |t| t.earliest());
                    if earliest > now {
                        database.earliest = database.earliest.min(earliest);
                        position.index += 1;
                        continue;
                    }
                    0
                }
            };
            position.chunk = self.sweep_chunk(position, chunk, now, is_kept);
            position.index += usize::from(position.chunk.is_none());
            break;
        }
        self.sweep.running = Some(position);
        true
    }

    /// Removes the expired keys of a chunk. Returns the number of the next chunk, if there is one.
    fn sweep_chunk(
        &mut self,
        position: Position,
        chunk: u32,
        now: Tick,
        is_kept: Option<IsKept<'_>>,
    ) -> Option<u32> {
        let Position { db, index, .. } = position;
        let table =
            self.databases[db].table(index).expect("a sweep ends when its tables are taken away");
        if chunk >= table.chunks() {
            return None;
        }
        let bound = table.chunk_earliest(chunk);
        if chunk == 0 {
            self.databases[db].change(index, |table| table.put_earliest(Tick::NEVER));
        }
        let before = self.stats.expired_active;
        let mut fields_left = STEP_FIELDS;
        let earliest = if bound > now {
            bound
        } else {
            self.sweep_buckets((position, chunk), (bound, now), is_kept, &mut fields_left)
        };
        self.databases[db].change(index, |table| {
            table.put_chunk_earliest(chunk, earliest);
            table.put_earliest(table.earliest().min(earliest));
        });
        // Keys may move to other buckets only now: all summaries are exact again.
        let removed = (self.stats.expired_active - before) as usize;
        self.shrink(db, index, removed * 2);
        Some(if fields_left == 0 { chunk } else { chunk + 1 })
    }

    /// Removes the expired keys of a chunk, and at most `fields_left` expired fields. Returns the
    /// earliest tick at which one of the other keys or fields expires.
    fn sweep_buckets(
        &mut self,
        (at, chunk): (Position, u32),
        (bound, now): (Tick, Tick),
        is_kept: Option<IsKept<'_>>,
        fields_left: &mut usize,
    ) -> Tick {
        let mut earliest = Tick::NEVER;
        let (mut offset, mut has_left) = (0, false);
        loop {
            self.sweep.has_left |= has_left;
            let table = self.databases[at.db]
                .table(at.index)
                .expect("a sweep ends when its tables are taken away");
            let Some(number) = table.chunk_buckets(chunk).nth(offset) else { return earliest };
            let mut is_expired = |word: Word| {
                let Some(unit) = word.unit() else { return false };
                // The unit alone decides, without reading the entry, except for the last few
                // seconds.
                let coarse = Tick::unit_start(unit, bound);
                if coarse > now {
                    earliest = earliest.min(coarse);
                    return false;
                }
                let moment = word.entry().moment();
                let is_past = self.is_expired(moment);
                let is_expired = is_past && self.may_sweep(word.entry(), is_kept);
                has_left |= is_past && !is_expired;
                if !is_expired && let Some(moment) = moment {
                    earliest = earliest.min(Tick::of_expiry(moment));
                }
                is_expired
            };
            match table.find_in_bucket(number, &mut is_expired) {
                None => offset += 1,
                Some(place) if self.is_expired(place.entry().expiry()) => {
                    self.stats.expired_active += 1;
                    self.expire_at(at.db, at.index, place);
                }
                Some(place) => {
                    self.expire_fields(at.db, at.index, place, fields_left);
                    if *fields_left == 0 {
                        return bound;
                    }
                }
            }
        }
    }

    /// Returns whether a sweep may remove an expired key or its expired fields. A stub stays for
    /// its transaction. The fields of a lent hash stay until its readers have returned it; commands
    /// hide them.
    fn may_sweep(&self, entry: Entry, is_kept: Option<IsKept<'_>>) -> bool {
        let may_change = || !is_kept.is_some_and(|is_kept| is_kept(self.tools.hash(entry.key())));
        let is_whole = self.is_expired(entry.expiry());
        !entry.is_detached() && may_change() && (is_whole || entry.reclaim())
    }

    /// Removes at most `fields_left` expired fields of a hash, and the key if no field is left.
    fn expire_fields(&mut self, db: usize, index: usize, place: Place, fields_left: &mut usize) {
        self.before_change_at(db, index, place);
        let entry = place.entry();
        let was_volatile = place.word().is_volatile();
        self.note_moments(db, entry, false);
        let hash = entry.owned_mut::<Hash>().expect("only hash fields expire");
        let mut removed = 0;
        let mut names = Vec::new();
        let is_told = self.expired.is_some();
        let mut show = |field: Field<'_>| {
            removed += 1;
            if is_told {
                names.push(field.name.to_vec().into_boxed_slice());
            }
        };
        // The expired fields may be gone already: the expiry in the bucket word is a lower bound.
        let is_over = hash.remove_expired(self.now_ms, &mut show);
        *fields_left = if is_over { fields_left.saturating_sub(removed) } else { 0 };
        self.stats.expired_fields += removed as u64;
        if removed > 0
            && let Some(expired) = &mut self.expired
        {
            let key = entry.key().into();
            expired.push(Expired { db: db as u16, key, fields: Some(names) });
        }
        if removed > 0 {
            let key = self.key_in_slot(entry.key(), index as u16);
            self.raise(db, &key, Event::HExpired, 0);
            if hash.is_empty() {
                self.raise(db, &key, Event::Del, 0);
            }
        }
        let is_void = hash.is_empty();
        let tools = &mut self.tools;
        if is_void {
            self.databases[db].change(index, |table| table.extract(tools, place));
            self.note_key_gone(db, entry.key());
            self.graveyard.bury_entry(&mut self.tools.heap, entry);
        } else {
            self.databases[db].change(index, |table| table.rewritten(place, was_volatile));
            self.note_moments(db, entry, true);
        }
    }
}
