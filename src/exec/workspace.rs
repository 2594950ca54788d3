//! Workspaces: slices on which a command runs away from its keys.

use super::batch::{BatchArgs, Item, Runner};
use super::context::{Effects, Reach};
use super::key_lock::{Mode, RemoteKey};
use super::record::Records;
use super::wait::{BlockingAttempt, Wait};
use crate::config::Config;
use crate::keyspace::{DetachedValue, ExpiryRole, Frequency, Slice, SliceOptions};
use crate::resp::{Error, Mark, Output, Protocol};

/// The values that a command works on away from their owners.
#[derive(Debug)]
pub struct Workspace {
    /// Holds the values and nothing else.
    pub slice: Box<Slice>,
    /// The keys, each with the part that fetched its value and stores it.
    pub remote_keys: Vec<(usize, RemoteKey)>,
    /// The keys beyond the command's arguments that are here, and those that it asks for.
    pub reach: Reach,
}

/// What a command leaves that has run on a workspace.
#[derive(Debug, Default)]
pub struct OffloadedRun {
    /// What it did to the workspace.
    pub effects: Effects,
    /// The error that it replied.
    pub error: Option<Error>,
    /// What it waits for in place of a reply.
    pub wait: Option<Wait>,
}

/// What a command on a workspace runs with.
pub struct WorkspaceRun<'a> {
    /// The settings.
    pub config: &'a Config,
    /// The protocol of the reply.
    pub protocol: Protocol,
    /// Unix time in milliseconds that the command sees.
    pub now_ms: u64,
    /// Gets the reply.
    pub output: &'a mut Output,
    /// Gets the end of the reply.
    pub ends: &'a mut Vec<Mark>,
    /// Gets what it propagates, while the journal is on.
    pub records: Option<&'a mut Records>,
    /// Whether it may block, and what has unblocked it.
    pub attempt: BlockingAttempt,
}

impl Workspace {
    /// Adds a key with the value that was fetched for it, if there is one.
    pub fn add(&mut self, part: usize, mut remote_key: RemoteKey) {
        let key = self.slice.key_in_slot(&remote_key.key, remote_key.slot);
        let db = usize::from(remote_key.db);
        if let Some(detached) = remote_key.value.take() {
            self.slice.bring(db, &key, detached);
        }
        if remote_key.mode == Mode::Exclusive {
            self.slice.watch(self.remote_keys.len() as u64, db, &key);
        }
        self.remote_keys.push((part, remote_key));
    }

    /// Returns the elements of all values on it.
    pub fn elements(&self) -> usize {
        let elements = |(_, remote_key): &(usize, RemoteKey)| {
            let key = self.slice.key_in_slot(&remote_key.key, remote_key.slot);
            let view = self.slice.look(usize::from(remote_key.db), &key);
            view.map_or(0, |view| view.elements())
        };
        self.remote_keys.iter().map(elements).sum()
    }

    /// Runs one command on it.
    pub fn run(
        &mut self,
        item: Item,
        batch_args: &mut BatchArgs<'_>,
        with: WorkspaceRun<'_>,
    ) -> OffloadedRun {
        let discovers = item.entry.discovers_keys(&batch_args.of(&item));
        let mut runner = Runner {
            slice: &mut self.slice,
            now_ms: with.now_ms,
            protocol: with.protocol,
            config: with.config,
            records: with.records,
            reach: discovers.then_some(&mut self.reach),
            is_whole: true,
            attempt: with.attempt,
            effects: Effects::default(),
        };
        let (mut error, ends) = (None, with.ends);
        runner.run(&[item], batch_args, with.output, |_, failed, output| {
            ends.push(output.mark());
            error = failed.cloned();
        });
        OffloadedRun { effects: runner.effects, error, wait: runner.attempt.wait }
    }
}

/// Makes workspaces and takes them back.
#[derive(Debug)]
pub struct Workspaces {
    databases: usize,
    hash_seed: [u64; 2],
    /// An empty slice, kept for reuse.
    spare: Option<Box<Slice>>,
}

impl Workspaces {
    /// Returns a maker of workspaces with as many databases and the same hash as the slices.
    pub fn new(databases: usize, hash_seed: [u64; 2]) -> Workspaces {
        Workspaces { databases, hash_seed, spare: None }
    }

    /// Returns an empty workspace.
    pub fn open(
        &mut self,
        now_ms: u64,
        notes_expired: bool,
        frequency: Option<Frequency>,
    ) -> Box<Workspace> {
        let mut slice = self.spare.take().unwrap_or_else(|| {
            Box::new(Slice::new(SliceOptions {
                databases: self.databases,
                slots: 0..crate::base::slot::SLOT_COUNT,
                hash_seed: self.hash_seed,
                seed: 0,
            }))
        });
        slice.set_now(now_ms);
        slice.note_expired(notes_expired);
        slice.set_frequency(frequency);
        Box::new(Workspace { slice, remote_keys: Vec::new(), reach: Default::default() })
    }

    /// Empties a workspace. `store` gets the keys whose owner has to store their value: the command
    /// has changed it, or the owner has given it away.
    pub fn close(
        &mut self,
        workspace: Workspace,
        store: &mut dyn FnMut(usize, RemoteKey),
    ) -> &mut Slice {
        let Workspace { mut slice, remote_keys, .. } = workspace;
        // Keys that the command left expired expire at their owner, which propagates that.
        slice.set_role(ExpiryRole::Loading);
        for (number, (part, mut remote_key)) in remote_keys.into_iter().enumerate() {
            let db = usize::from(remote_key.db);
            let key = slice.key_in_slot(&remote_key.key, remote_key.slot);
            let is_changed = slice.is_watch_broken(number as u64);
            slice.unwatch(number as u64);
            let detached = slice.take_silently(db, &key);
            if remote_key.mode == Mode::Shared {
                // A value of several elements was lent.
                detached.into_iter().for_each(DetachedValue::forget);
            } else if is_changed || detached.as_ref().is_some_and(DetachedValue::is_moved) {
                remote_key.value = detached;
                remote_key.is_changed = is_changed;
                store(part, remote_key);
            }
        }
        slice.set_role(ExpiryRole::Primary);
        self.spare.insert(slice)
    }

    /// Frees what was overwritten on workspaces, until `is_over` says that time is up.
    pub fn housekeep(&mut self, is_over: &mut dyn FnMut() -> bool) {
        if let Some(slice) = &mut self.spare {
            slice.housekeep(is_over);
        }
    }
}
