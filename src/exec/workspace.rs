//! Workspaces: slices on which a command runs away from its keys.

use super::batch::{BatchArgs, Item, Runner};
use super::context::Effects;
use super::key_lock::RemoteKey;
use super::record::Records;
use super::scripting::{Scripting, SuspendedScript};
use super::slices::Slices;
use super::wait::{BlockingAttempt, Wait};
use crate::base::slot::SLOT_COUNT;
use crate::base::slot_map::SlotSet;
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
    /// The command's script, if it is suspended.
    pub suspended: Option<Box<SuspendedScript>>,
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
    /// What scripts run with; none on a thread of the offload pool.
    pub scripting: Option<Scripting<'a>>,
}

impl Workspace {
    /// Keeps expired keys while the workspace is open, because commands of a file are being loaded.
    pub fn keep_expired(&mut self) {
        self.slice.set_role(ExpiryRole::Loading);
    }

    /// Adds a key with its fetched value, if it has one.
    pub fn add(&mut self, part: usize, mut remote_key: RemoteKey) {
        remote_key.bring_to(&mut self.slice, self.remote_keys.len() as u64);
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
        debug_assert!(!item.discovers, "{}", item.entry.name);
        run_away(&mut self.slice, None, item, batch_args, with)
    }

    /// Continues the suspended script of a command on the workspace.
    pub fn resume(
        &mut self,
        item: Item,
        batch_args: &mut BatchArgs<'_>,
        with: WorkspaceRun<'_>,
        script: Box<SuspendedScript>,
    ) -> OffloadedRun {
        resume_away(&mut self.slice, None, item, batch_args, (with, script))
    }
}

/// Continues the suspended script of a command away from its partition. See [`run_away`].
pub(super) fn resume_away(
    slice: &mut Slice,
    others: Option<&mut Slices>,
    item: Item,
    batch_args: &mut BatchArgs<'_>,
    (with, script): (WorkspaceRun<'_>, Box<SuspendedScript>),
) -> OffloadedRun {
    let (ends, output) = (with.ends, with.output);
    let mut runner = Runner {
        records: with.records,
        others,
        is_whole: true,
        publisher: with.scripting.as_ref().map(|scripting| scripting.publisher),
        scripting: with.scripting,
        ..Runner::new(slice, with.config, with.now_ms, with.protocol)
    };
    let result = runner.resume(&item, script, &mut batch_args.of(&item), output);
    let (effects, suspended) = (runner.effects, runner.suspended.take());
    if suspended.is_none() {
        ends.push(output.mark());
    }
    let events = slice.take_events();
    OffloadedRun { effects, error: result.err(), events, suspended, ..Default::default() }
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
        records: with.records,
        others,
        is_whole: true,
        attempt: with.attempt,
        publisher: with.scripting.as_ref().map(|scripting| scripting.publisher),
        scripting: with.scripting,
        ..Runner::new(slice, with.config, with.now_ms, with.protocol)
    };
    let (mut error, ends) = (None, with.ends);
    runner.run(&[item], batch_args, with.output, |_, failed, output| {
        ends.push(output.mark());
        error = failed.cloned();
    });
    let (effects, wait, suspended) = (runner.effects, runner.attempt.wait, runner.suspended);
    let events = slice.take_events();
    OffloadedRun { effects, error, wait, events, suspended, ..Default::default() }
}

/// A workspace that is being emptied.
#[derive(Debug)]
pub struct Closing {
    slice: Box<Slice>,
    remote_keys: std::vec::IntoIter<(usize, RemoteKey)>,
    /// Number of the next key on the workspace.
    next: u64,
}

impl Closing {
    /// Begins to empty a workspace.
    pub fn new(workspace: Workspace) -> Closing {
        let Workspace { mut slice, remote_keys } = workspace;
        // Keys that the command left expired expire at their owner, which propagates the expiry.
        slice.set_role(ExpiryRole::Loading);
        Closing { slice, remote_keys: remote_keys.into_iter(), next: 0 }
    }

    /// Takes the next key from the workspace. Calls `store` if its owner must store the value, see
    /// [`Workspaces::close`]. Returns false if there are no more keys.
    pub fn take_next(&mut self, store: &mut dyn FnMut(usize, RemoteKey)) -> bool {
        let Some((part, remote_key)) = self.remote_keys.next() else { return false };
        let number = self.next;
        self.next += 1;
        if let Some(remote_key) = remote_key.take_from(&mut self.slice, number) {
            store(part, remote_key);
        }
        true
    }
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
                slots: SlotSet::from(0..SLOT_COUNT),
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
        let mut closing = Closing::new(workspace);
        while closing.take_next(store) {}
        self.end(closing)
    }

    /// Takes an emptied workspace back.
    pub fn end(&mut self, closing: Closing) -> &mut Slice {
        let Closing { mut slice, remote_keys, .. } = closing;
        assert!(remote_keys.len() == 0, "all keys were taken from the workspace");
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
