//! The funnel: what follows from the change of a key. Hot.
//!
//! A command that changes a key raises one event, and everything else follows from it:
//!
//! ```text
//!   change of a key --raise--> count of changes   whether the command's own record is kept for
//!                         |                       the feed, `rdb_changes_since_last_save`
//!                         |--> watches            WATCH
//!                         |--> awaited keys       blocked clients
//!                         |--> tracked keys       CLIENT TRACKING
//!                         '--> log of events      a subscriber, while there is one
//! ```
//!
//! | function | counted | watched, awaited, tracked | logged | for |
//! | --- | --- | --- | --- | --- |
//! | [`Slice::raise`] | yes | yes | yes | nearly every change |
//! | [`Slice::announce`] | yes | no | yes | changes that the reference hides from WATCH |
//! | [`Slice::count_changes`] | yes | no | no | changes without an event or without a key |
//! | [`Slice::signal`] | no | yes | no | values that return to their slice or are loaded |
//!
//! A slice without watches, awaited keys, tracking clients and subscriber pays an addition and a
//! branch per change.
//!
//! While a command runs in a build with debug assertions, the slice remembers the keys that it has
//! changed and that have no event yet. [`Slice::end_command`] fails if any is left.

use super::event::{Event, Raised};
use super::slice::{Key, Slice};
use crate::config::EventClasses;

/// The state of a slice's funnel.
#[derive(Debug, Default)]
pub(super) struct Funnel {
    /// Number of changes so far, counted like Valkey.
    changes: u64,
    /// The events since the last call of [`Slice::take_events`]; none if no class is logged.
    log: Option<Vec<Raised>>,
    /// The classes of events that are logged.
    logged: EventClasses,
    /// The keys that the running command has changed without an event; none between commands.
    #[cfg(any(test, debug_assertions))]
    unraised: Option<Vec<(usize, Box<[u8]>)>>,
}

impl Funnel {
    /// Returns whether events are logged.
    #[inline]
    pub fn is_logging(&self) -> bool {
        self.log.is_some()
    }

    pub fn log(&mut self, db: usize, key: &[u8], event: Event) {
        if let Some(log) = &mut self.log
            && self.logged.has(event.class().set())
        {
            log.push(Raised { event, db: db as u16, key: key.into() });
        }
    }

    #[cfg(any(test, debug_assertions))]
    fn settle(&mut self, db: usize, key: &[u8]) {
        if let Some(unraised) = &mut self.unraised {
            unraised.retain(|changed| changed.0 != db || *changed.1 != *key);
        }
    }
}

impl Slice {
    /// Reports a change of a key, which counts as `changes` changes. Everything that depends on
    /// changes follows.
    #[inline]
    pub fn raise(&mut self, db: usize, key: &Key<'_>, event: Event, changes: u64) {
        self.funnel.changes += changes;
        #[cfg(any(test, debug_assertions))]
        self.funnel.settle(db, key.bytes);
        if self.is_heard() {
            self.tell(db, key, event);
        }
    }

    #[cold]
    fn tell(&mut self, db: usize, key: &Key<'_>, event: Event) {
        self.watches.note_changed(db, key.hash, key.bytes);
        self.waits.note_changed(db, key.hash, key.bytes);
        self.note_tracked(key.bytes, false);
        self.funnel.log(db, key.bytes, event);
    }

    /// Reports an event that breaks no watches and wakes no blocked clients.
    #[inline]
    pub fn announce(&mut self, db: usize, key: &Key<'_>, event: Event, changes: u64) {
        self.funnel.changes += changes;
        #[cfg(any(test, debug_assertions))]
        self.funnel.settle(db, key.bytes);
        self.funnel.log(db, key.bytes, event);
    }

    /// Counts changes that have no event.
    #[inline]
    pub fn count_changes(&mut self, changes: u64) {
        self.funnel.changes += changes;
    }

    /// Reports the change of a key to watches and blocked clients only.
    #[inline]
    pub fn signal(&mut self, db: usize, key: &Key<'_>) {
        #[cfg(any(test, debug_assertions))]
        self.funnel.settle(db, key.bytes);
        if self.is_heard() {
            self.watches.note_changed(db, key.hash, key.bytes);
            self.waits.note_changed(db, key.hash, key.bytes);
            self.note_tracked(key.bytes, false);
        }
    }

    /// Reports that a key was removed because it had expired.
    pub(super) fn raise_expired(&mut self, db: usize, name: &[u8]) {
        if self.is_heard() {
            let hash = self.tools.hash(name);
            self.watches.note_expired_removed(db, hash, name);
            self.waits.note_changed(db, hash, name);
            self.note_tracked(name, true);
            self.funnel.log(db, name, Event::Expired);
        }
    }

    /// Returns whether any key is watched or has blocked clients, clients are tracking, or events
    /// are logged.
    #[inline]
    pub(super) fn is_heard(&self) -> bool {
        !self.watches.is_empty()
            || !self.waits.is_empty()
            || self.tracking.is_on()
            || self.funnel.is_logging()
    }

    /// Records that an operation changes a key. The caller of the operation must raise an event.
    #[inline]
    pub(super) fn note_change(&mut self, _db: usize, _key: &Key<'_>) {
        #[cfg(any(test, debug_assertions))]
        if !self.is_silent
            && let Some(unraised) = &mut self.funnel.unraised
        {
            unraised.push((_db, _key.bytes.into()));
        }
    }

    /// Logs that a key was created.
    pub(super) fn log_new(&mut self, db: usize, key: &Key<'_>) {
        self.funnel.log(db, key.bytes, Event::New);
    }

    /// Returns the number of changes so far.
    #[inline]
    pub fn changes(&self) -> u64 {
        self.funnel.changes
    }

    /// Begins a command: from now on every change needs an event.
    #[inline]
    pub fn begin_command(&mut self) {
        #[cfg(any(test, debug_assertions))]
        {
            self.funnel.unraised = Some(Vec::new());
        }
    }

    /// Ends a command. In a build with debug assertions it fails if the command has changed a key
    /// without an event.
    #[inline]
    pub fn end_command(&mut self, _command: &str) {
        #[cfg(any(test, debug_assertions))]
        if let Some(unraised) = self.funnel.unraised.take() {
            assert!(unraised.is_empty(), "{_command} raises no event for {unraised:?}");
        }
    }

    /// Returns and forgets the keys that the running command has changed without an event.
    #[cfg(test)]
    pub(super) fn take_unraised(&mut self) -> Vec<(usize, Box<[u8]>)> {
        self.funnel.unraised.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Logs the events of these classes from now on. Events that are logged already stay, unless no
    /// class is logged any more.
    pub fn log_events(&mut self, classes: EventClasses) {
        self.funnel.logged = classes;
        match (classes != EventClasses::NONE, &self.funnel.log) {
            (true, None) => self.funnel.log = Some(Vec::new()),
            (false, Some(_)) => self.funnel.log = None,
            _ => {}
        }
    }

    /// Returns whether [`Slice::take_events`] has events.
    #[inline]
    pub fn has_events(&self) -> bool {
        self.funnel.log.as_ref().is_some_and(|log| !log.is_empty())
    }

    /// Adds events that were raised on another slice.
    pub fn append_events(&mut self, mut events: Vec<Raised>) {
        if let Some(log) = &mut self.funnel.log {
            log.append(&mut events);
        }
    }

    /// Returns and forgets the events in the order in which they were raised.
    pub fn take_events(&mut self) -> Vec<Raised> {
        self.funnel.log.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
