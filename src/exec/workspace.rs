//! Workspaces: slices on which a command runs away from its keys.

use super::batch::{BatchArgs, Item, Runner};
use super::context::Effects;
use super::key_lock::{Mode, RemoteKey};
use super::publisher::Publisher;
use super::record::Records;
use super::slices::Slices;
use super::wait::{BlockingAttempt, Wait};
use crate::config::{Config, EventClasses};
use crate::keyspace::{Caller, ExpiryRole, Frequency, Invalidation, Raised, Slice, SliceOptions};
use crate::resp::{Error, Mark, Output, Protocol};

/// The values that a command uses away from their owners.
#[derive(Debug)]
pub struct Workspace {
    /// Slice that holds only these values.
    pub slice: Box<Slice>,
    /// The keys. Each has the number of the part that fetched its value and stores it.
    pub remote_keys: Vec<(usize, RemoteKey)>,
}

/// Result of a command that ran on a workspace, or on the slices of all partitions.
#[derive(Debug, Default)]
pub struct OffloadedRun {
    /// Effects of the command.
    pub effects: Effects,
    /// Error reply of the command.
    pub error: Option<Error>,
    /// What the command waits for, if it blocks.
    pub wait: Option<Wait>,
    /// Events of the command, while there is a subscriber.
    pub events: Vec<Raised>,
    /// What tracking clients must be told.
    pub invalidations: Vec<Invalidation>,
}

/// Inputs and outputs of a command on a workspace, or on the slices of all partitions.
pub struct WorkspaceRun<'a> {
    /// The settings.
    pub config: &'a Config,
    /// The protocol of the reply.
    pub protocol: Protocol,
    /// Unix time in milliseconds that the command sees.
    pub now_ms: u64,
    /// Receives the reply.
    pub output: &'a mut Output,
    /// Receives the end of the reply.
    pub ends: &'a mut Vec<Mark>,
    /// Receives the commands to propagate, while the journal is on.
    pub records: Option<&'a mut Records>,
    /// The client, on the slices of all partitions.
    pub caller: Option<Caller>,
    /// Whether the command may block, and what unblocked it.
    pub attempt: BlockingAttempt,
    /// Publishes messages; none on a thread of the pool.
    pub publisher: Option<&'a Publisher>,
}

impl Workspace {
    /// Adds a key with its fetched value, if it has one.
    pub fn add(&mut self, part: usize, mut remote_key: RemoteKey) {
        let key = self.slice.key_in_slot(&remote_key.key, remote_key.slot);
        let db = usize::from(remote_key.db);
        if let Some(detached) = remote_key.value.take() {
            remote_key.is_detached = remote_key.mode == Mode::Exclusive && detached.is_boxed();
            self.slice.bring(db, &key, detached);
        }
        if remote_key.mode == Mode::Exclusive {
            self.slice.watch(self.remote_keys.len() as u64, db, &key);
        }
        self.remote_keys.push((part, remote_key));
    }

    /// Runs one command like [`Workspace::run`], on a thread of the pool. Also cuts a large reply
    /// into pieces and frees the values that the command has overwritten.
    pub fn run_offloaded(
        &mut self,
        item: Item,
        batch_args: &mut BatchArgs<'_>,
        with: WorkspaceRun<'_>,
    ) -> OffloadedRun {
        let (mut reply, mut reply_ends) = (Output::default(), Vec::new());
        let (output, ends) = (with.output, with.ends);
        let with = WorkspaceRun { output: &mut reply, ends: &mut reply_ends, ..with };
        let ran = self.run(item, batch_args, with);
        output.append_moved(reply);
        ends.extend(reply_ends.iter().map(|_| output.mark()));
        self.slice.housekeep(&mut || false);
        ran
    }

    /// Runs one command on the workspace.
    pub fn run(
        &mut self,
        item: Item,
        batch_args: &mut BatchArgs<'_>,
        with: WorkspaceRun<'_>,
    ) -> OffloadedRun {
        debug_assert!(!item.entry.discovers_keys(&batch_args.of(&item)), "{}", item.entry.name);
        run_away(&mut self.slice, None, item, batch_args, with)
    }
}

/// Runs one command away from its partition: on a workspace's slice, or on a slice that was handed
/// over together with `others`.
pub(super) fn run_away(
    slice: &mut Slice,
    others: Option<&mut Slices>,
    item: Item,
    batch_args: &mut BatchArgs<'_>,
    with: WorkspaceRun<'_>,
) -> OffloadedRun {
    let mut runner = Runner {
        slice,
        now_ms: with.now_ms,
        protocol: with.protocol,
        config: with.config,
        records: with.records,
        others,
        is_whole: true,
        attempt: with.attempt,
        publisher: with.publisher,
        effects: Effects::default(),
    };
    let (mut error, ends) = (None, with.ends);
    runner.run(&[item], batch_args, with.output, |_, failed, output| {
        ends.push(output.mark());
        error = failed.cloned();
    });
    let (effects, wait) = (runner.effects, runner.attempt.wait);
    OffloadedRun { effects, error, wait, events: slice.take_events(), invalidations: Vec::new() }
}

/// Creates workspaces and takes them back.
#[derive(Debug)]
pub struct Workspaces {
    databases: usize,
    hash_seed: [u64; 2],
    /// Empty slice, kept for reuse.
    spare: Option<Box<Slice>>,
}

impl Workspaces {
    /// Creates a maker of workspaces that have as many databases and the same hash as the slices.
    pub fn new(databases: usize, hash_seed: [u64; 2]) -> Workspaces {
        Workspaces { databases, hash_seed, spare: None }
    }

    /// Returns an empty workspace at a Unix time in milliseconds. `seed` seeds its random numbers.
    pub fn open(
        &mut self,
        (now_ms, seed): (u64, u64),
        (records_expired, logged): (bool, EventClasses),
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
        // What a command leaves expired expires at its owner.
        slice.set_active_expiry(false);
        slice.set_now(now_ms);
        slice.seed(seed);
        slice.note_expired(records_expired);
        slice.log_events(logged);
        slice.set_frequency(frequency);
        Box::new(Workspace { slice, remote_keys: Vec::new() })
    }

    /// Empties a workspace. Calls `store` for each key whose owner must store the value: the
    /// command changed it, the owner has only a stub, or there is a short string. The owner still
    /// has its own copy of a short string that is unchanged.
    pub fn close(
        &mut self,
        workspace: Workspace,
        store: &mut dyn FnMut(usize, RemoteKey),
    ) -> &mut Slice {
        let Workspace { mut slice, remote_keys, .. } = workspace;
        // Keys that the command left expired expire at their owner, which propagates the expiry.
        slice.set_role(ExpiryRole::Loading);
        for (number, (part, mut remote_key)) in remote_keys.into_iter().enumerate() {
            let db = usize::from(remote_key.db);
            let key = slice.key_in_slot(&remote_key.key, remote_key.slot);
            let is_changed = slice.is_watch_broken(number as u64);
            slice.unwatch(number as u64);
            if remote_key.mode == Mode::Shared {
                slice.discard(db, &key);
                continue;
            }
            let detached = slice.take_silently(db, &key);
            if is_changed || remote_key.is_detached || detached.is_some() {
                // A command may change the form of a string alone, which nobody is told. So an
                // unchanged string returns too.
                remote_key.value = detached;
                remote_key.is_changed = is_changed;
                store(part, remote_key);
            }
        }
        slice.set_role(ExpiryRole::Primary);
        self.spare.insert(slice)
    }

    /// Frees values that were overwritten on workspaces, until `is_over` returns true.
    pub fn housekeep(&mut self, is_over: &mut dyn FnMut() -> bool) {
        if let Some(slice) = &mut self.spare {
            slice.housekeep(is_over);
        }
    }
}
