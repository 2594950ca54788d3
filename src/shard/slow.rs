//! Commands whose work would hold up the shard: they run on a table in the workshop, while their
//! keys stay locked here.
//!
//! ```text
//!   part --its next command is bulky--> away --done--> stores what changed --next command--> ...
//!     ^  '--else--> runs here --next command--> ...                            |
//!     '-------------------------------- until all have run: sent home ---------'
//! ```

use super::Shard;
use super::drain::{Settled, note_failure};
use super::journal::Place;
use super::offload_pool::{ELEMENTS_MIN, Job, Outcome, Owner};
use super::wake::Waker;
use crate::client::{Transaction, Workspace};
use crate::exec::{BatchArgs, Item, Mode, Records, Runner, remote_keys_of};
use crate::keyspace::Slice;
use crate::mesh::Envelope;

/// Elements of the values that a command reads on a slice.
fn weight(slice: &Slice, item: &Item, batch_args: &mut BatchArgs<'_>) -> usize {
    let args = batch_args.of(item);
    let elements = |word: usize| {
        let db = item.entry.key_database(&args, word, usize::from(item.db));
        if db >= slice.databases() {
            return 0;
        }
        let key = slice.key(&args[word]);
        slice.look(db, &key).map_or(0, |view| view.elements())
    };
    if let Some(batch_args) = item.entry.plain_key_args(args.len()) {
        return batch_args.map(elements).sum();
    }
    let keys = item.entry.key_args(&args).unwrap_or_default();
    let read = keys.iter().filter(|(_, spec)| spec.weighs());
    read.map(|(word, _)| elements(*word)).sum()
}

/// Whether a command would take long.
fn is_slow(slice: &Slice, item: &Item, batch_args: &mut BatchArgs<'_>) -> bool {
    item.entry.may_offload()
        && !item.entry.discovers_keys(&batch_args.of(item))
        && weight(slice, item, batch_args) >= ELEMENTS_MIN
}

/// Whether one of the commands would.
pub(super) fn has_slow(slice: &Slice, items: &[Item], batch_args: &mut BatchArgs<'_>) -> bool {
    items.iter().any(|item| is_slow(slice, item, batch_args))
}

impl Shard {
    /// Runs a part that has a slow command, command by command. True if it goes on later: its
    /// keys stay locked until then.
    pub(super) fn work_slowly(&mut self, mut part: Box<Envelope>, place: Place) -> bool {
        let lock = match place {
            Place::Reserved(lock) => lock,
            Place::Now(stamp) => {
                let key_locks = self.key_locks_of(&mut part);
                let (lock, is_granted) = self.locks.request(&key_locks);
                assert!(is_granted, "a part that runs has nothing in its way");
                self.reserve(lock, stamp, &part);
                lock
            }
        };
        let records = self.records_at(Place::Reserved(lock));
        let goes_on = self.go_on(part, 0, lock, records);
        if !goes_on && matches!(place, Place::Now(_)) {
            self.release(lock);
        }
        goes_on
    }

    /// Runs the commands of a part from one on; true if one of them is away.
    fn go_on(
        &mut self,
        mut part: Box<Envelope>,
        from: usize,
        lock: u64,
        mut records: Option<Records>,
    ) -> bool {
        for at in from..part.items.len() {
            self.wake_between(&part, at, lock, records.as_mut());
            let (items, mut batch_args, ..) = part.parts();
            let item = items[at];
            if is_slow(&self.slice, &item, &mut batch_args) {
                let table = self.set_table(&item, &mut batch_args);
                self.send_away(Owner::Part(lock, part, records), at, table);
                return true;
            }
            self.run_one(&mut part, at, records.as_mut());
        }
        self.wake_between(&part, part.items.len(), lock, records.as_mut());
        self.write_down(Place::Reserved(lock), &part, records);
        self.send_home_later(part);
        false
    }

    /// Serves those whom the command before this one has woken.
    fn wake_between(
        &mut self,
        part: &Envelope,
        at: usize,
        lock: u64,
        records: Option<&mut Records>,
    ) {
        if self.slice.has_ready() {
            let at = at.checked_sub(1).map_or(0, |before| part.items[before].at);
            self.wake(Waker { at, lock: Some(lock), records });
        }
    }

    fn run_one(&mut self, part: &mut Envelope, at: usize, records: Option<&mut Records>) {
        let started_ns = self.process.clock.monotonic_ns();
        let protocol = part.protocol;
        let (items, mut batch_args, output, ends) = part.parts();
        let item = items[at];
        let mut runner = Runner {
            slice: &mut self.slice,
            now_ms: self.now.unix_ms(),
            protocol,
            config: &self.config,
            records,
            reach: None,
            is_whole: true,
            attempt: Default::default(),
            effects: Default::default(),
        };
        let board = &self.board;
        runner.run(&[item], &mut batch_args, output, |_, failed, output| {
            ends.push(output.mark());
            if let Some(error) = failed {
                note_failure(board, item.entry, error);
            }
        });
        let effects = runner.effects;
        let spent_ns = self.process.clock.monotonic_ns() - started_ns;
        if spent_ns >= self.thresholds.run_ns {
            part.spent.push((item.at, spent_ns));
        }
        self.settle(Settled { effects, spent_ns, db: item.db.into() }, &[item]);
    }

    /// A table with the values of a command whose keys are all here.
    fn set_table(&mut self, item: &Item, batch_args: &mut BatchArgs<'_>) -> Box<Workspace> {
        let args = batch_args.of(item);
        let mut table = self.empty_table();
        for mut remote_key in remote_keys_of(item, &args, self.slice.databases()) {
            let key = self.slice.key_in_slot(&remote_key.key, remote_key.slot);
            let to_write = remote_key.mode == Mode::Exclusive;
            remote_key.value = self.slice.fetch(usize::from(remote_key.db), &key, to_write);
            self.lay_one(&mut table, 0, remote_key);
        }
        table
    }

    /// Whether a transaction's next command on a table is better run in the workshop.
    pub(super) fn is_slow_transaction(
        &self,
        transaction: &mut Transaction,
        at: usize,
        table: &Workspace,
    ) -> bool {
        let item = transaction.queue.items[at];
        let (_, mut batch_args) = transaction.queue.parts();
        let (entry, args) = (item.entry, batch_args.of(&item));
        if self.offload_pool.is_none() || !entry.may_offload() || entry.discovers_keys(&args) {
            return false;
        }
        let remote_keys = table.remote_keys.iter();
        let elements = remote_keys.map(|(_, remote_key)| {
            let key = table.slice.key_in_slot(&remote_key.key, remote_key.slot);
            let view = table.slice.look(usize::from(remote_key.db), &key);
            view.map_or(0, |view| view.elements())
        });
        elements.sum::<usize>() >= ELEMENTS_MIN
    }

    pub(super) fn send_away(&mut self, owner: Owner, at: usize, table: Box<Workspace>) {
        let job = Box::new(Job {
            owner,
            at,
            table,
            config: self.config.clone(),
            now_ms: self.now.unix_ms(),
            started_ns: self.process.clock.monotonic_ns(),
            outcome: Outcome::default(),
        });
        let offload_pool = self.offload_pool.as_mut().expect("looked at before");
        offload_pool.send(self.me, job);
    }

    /// Takes back what the workshop has done.
    pub(super) fn receive_done(&mut self) -> bool {
        let mut found = false;
        while let Some(job) =
            self.offload_pool.as_mut().and_then(|offload_pool| offload_pool.receive())
        {
            found = true;
            let Job { owner, at, table, outcome, started_ns, .. } = *job;
            match owner {
                Owner::Part(lock, mut part, records) => {
                    let item = part.items[at];
                    self.settle_slow(outcome, &item, started_ns, &mut part.spent);
                    let mut stores = Vec::new();
                    self.clear_table(*table, &mut |_, remote_key| stores.push(remote_key));
                    self.store(&mut stores);
                    self.forwarded.begun.clear();
                    if !self.go_on(part, at + 1, lock, records) {
                        self.release(lock);
                    }
                }
                Owner::Transaction(transaction) => {
                    self.resume_transaction(transaction, at, *table, (outcome, started_ns));
                }
            }
        }
        found
    }

    /// Records that a command has run beside the shard.
    pub(super) fn settle_slow(
        &mut self,
        outcome: Outcome,
        item: &Item,
        started_ns: u64,
        spent: &mut Vec<(u32, u64)>,
    ) {
        if let Some(error) = &outcome.error {
            note_failure(&self.board, item.entry, error);
        }
        let db = item.db.into();
        let spent_ns = self.process.clock.monotonic_ns() - started_ns;
        if spent_ns >= self.thresholds.run_ns {
            spent.push((item.at, spent_ns));
        }
        self.settle(Settled { effects: outcome.effects, spent_ns, db }, &[*item]);
    }
}
