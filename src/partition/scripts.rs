//! Scripts that run for longer than a slice: they are suspended, and other units run meanwhile, as
//! far as the locks of the script's part allow.
//!
//! ```text
//!   part runs --a script is over its slice--> queue --one slice a turn--> queue ... --.
//!     ^                                                                               |
//!     '------------- the next commands of the part, until all have run: answered <----'
//! ```
//! When a script is suspended first, its part requests its locks. They are granted at once: the
//! part runs, so no lock conflicts. From then on the part is like one with an offloaded command
//! (`offload`). The script sees one time, its keys belong to it, its commands are propagated as one
//! unit, and the clients that it unblocks are served when it is over.

use super::journal::Place;
use super::partition::Partition;
use super::run::note_failure;
use super::slices::SuspendedPart;
use crate::exec::{Effects, Item, OffloadedRun, Records, Runner, Scripting, SuspendedScript};
use crate::mesh::Envelope;
use crate::resp::Error;
use crate::txn::LockId;

impl Partition {
    /// Returns what scripts run with that run at the home of their unit.
    pub fn home_scripting(&mut self) -> Scripting<'_> {
        self.tools.scripting(&self.env, &self.publisher, true)
    }

    /// Drops compiled scripts that are not cached any more, and Lua states that are not needed.
    pub fn tidy_scripts(&mut self) {
        self.tools.vm.tidy();
    }

    /// Requests the locks of a part that has begun to run, unless it has them.
    pub(super) fn lock_running(&mut self, part: &mut Envelope, place: Place) -> LockId {
        match place {
            Place::Reserved(lock) => lock,
            Place::Now(timestamp) => {
                let key_locks = self.key_locks_of(part, true);
                let (lock, is_granted) = self.locks.request(&key_locks);
                assert!(is_granted, "no lock conflicts with a part that runs");
                self.journal.reserve(lock, timestamp, part);
                lock
            }
        }
    }

    /// Keeps a part whose command at index `at` runs a script that is suspended.
    pub(super) fn suspend(
        &mut self,
        mut part: Box<Envelope>,
        at: usize,
        (lock, records): (LockId, Option<Records>),
        script: Box<SuspendedScript>,
    ) {
        self.return_credit(&mut part, self.slices.scripts.len());
        // Surveys must not see what the script has done before it is over.
        self.unfinished.begin_round(lock);
        self.journal.firm_up(lock, records.as_ref());
        let ready = std::iter::from_fn(|| self.slice.take_ready()).collect();
        let suspended =
            SuspendedPart { part, at, lock, records, script: Some(script), ready, spent_ns: 0 };
        self.slices.scripts.push_back(suspended);
    }

    /// Keeps a batch of the shard's own connection from the command on whose script is suspended.
    /// `part` has that command and the commands behind it.
    pub fn suspend_local(&mut self, mut part: Box<Envelope>, mut script: Box<SuspendedScript>) {
        let timestamp = self.journal.journal.clock.local();
        let lock = self.lock_running(&mut part, Place::Now(timestamp));
        let records = script.records.take();
        self.suspend(part, 0, (lock, records), script);
    }

    /// Runs one slice of the script that has waited longest. Returns whether there was any.
    pub(super) fn script_on(&mut self) -> bool {
        let Some(mut suspended) = self.slices.scripts.pop_front() else { return false };
        let script = suspended.script.take().expect("a script that waits is suspended");
        let turn_us = self.set_time(script.now_ms * 1_000);
        let started_ns = self.env.clock_ns();
        let SuspendedPart { part, at, lock, records, .. } = &mut suspended;
        let ran = self.resume_script(part, *at, (*lock, records.as_mut()), script);
        self.set_time(turn_us);
        suspended.spent_ns += self.env.clock_ns().saturating_sub(started_ns);
        suspended.ready.extend(std::iter::from_fn(|| self.slice.take_ready()));
        self.env.board.counters.changes.add(ran.effects.changes);
        if ran.suspended.is_some() {
            suspended.script = ran.suspended;
            self.journal.firm_up(suspended.lock, suspended.records.as_ref());
            self.tell_events();
            self.slices.scripts.push_back(suspended);
        } else {
            self.end_script(suspended, ran.error.as_ref());
        }
        true
    }

    /// Continues the script of a part's command.
    pub(super) fn resume_script(
        &mut self,
        part: &mut Envelope,
        at: usize,
        (lock, records): (LockId, Option<&mut Records>),
        script: Box<SuspendedScript>,
    ) -> OffloadedRun {
        let protocol = part.protocol;
        self.begin_cause(part.home, part.reply_to);
        let (items, mut batch_args, output, ends) = part.parts();
        let item = items[at];
        self.slice.keep_unasked(true);
        self.keep_expired(&[item], &mut batch_args, Some(lock));
        let is_propagated = records.is_some();
        let mut runner = Runner {
            records,
            is_whole: true,
            publisher: Some(&self.publisher),
            scripting: Some(self.tools.scripting(&self.env, &self.publisher, true)),
            ..Runner::new(&mut self.slice, &self.env.config, script.now_ms, protocol)
        };
        let result = runner.resume(&item, script, &mut batch_args.of(&item), output);
        let (suspended, effects) = (runner.suspended.take(), runner.effects);
        if suspended.is_none() {
            ends.push(output.mark());
        }
        self.end_expired(Some(lock), is_propagated);
        self.end_cause();
        OffloadedRun { effects, error: result.err(), suspended, ..Default::default() }
    }

    /// Counts a command whose script is over. Its changes and its time are counted apart.
    pub(super) fn end_script_of(&mut self, item: &Item, error: Option<&Error>) {
        if let Some(error) = error {
            note_failure(&self.env.board, item.entry, error);
        }
        let effects = Effects { other_databases: true, ..Effects::default() };
        self.settle(effects, 0, std::slice::from_ref(item));
    }

    /// Ends a script, and runs the next commands of its part.
    fn end_script(&mut self, suspended: SuspendedPart, error: Option<&Error>) {
        let SuspendedPart { mut part, at, lock, records, ready, spent_ns, .. } = suspended;
        self.unfinished.end_rounds(lock);
        let item = part.items[at];
        if spent_ns >= self.env.thresholds.run_ns {
            part.spent.push((item.at, spent_ns));
        }
        self.env.board.commands[usize::from(item.entry.index)].ns.add(spent_ns);
        self.end_script_of(&item, error);
        for (db, key) in ready {
            self.make_ready(db, &[key]);
        }
        self.run_on(part, at + 1, lock, records);
    }
}
