//! Runs commands on a slice: one at a time, or a batch in stages.
//!
//! Hot. A batch runs in stages, so that the cache misses of its commands overlap: see `stage.rs`.

use super::command::{Handler, KeyRouting};
use super::context::{Context, Effects, expire_word, slice_of};
use super::publisher::Publisher;
use super::record::{Glue, Records};
use super::room::Room;
use super::scripting::{Scripting, SuspendedScript};
use super::slices::Slices;
use super::stage::stage;
use super::table::Entry;
use super::wait::BlockingAttempt;
use super::walk::Walk;
use crate::acl::{Reason, UserId};
use crate::config::Config;
use crate::keyspace::{ExpiryRole, Slice};
use crate::resp::{Args, Error, Output, Protocol, Reply, Span};
use crate::spec::Flag;
use bytes::BytesMut;

/// The most commands in one batch. One round of prefetches covers them.
pub const BATCH_COMMANDS_MAX: usize = 64;

/// One command of a batch, with the location of its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// Table entry of the command.
    pub entry: &'static Entry,
    /// Index of the command's first argument span in the batch.
    pub first: u32,
    /// Number of arguments, including the command's name.
    pub argc: u32,
    /// Hash slot of the first key, known from routing. 0 without keys.
    pub slot: u16,
    /// Selected database of the command.
    pub db: u16,
    /// Index of the command in its batch or transaction.
    pub at: u32,
    /// Whether the client sees expired keys under `import-mode`.
    pub sees_due: bool,
    /// Whether the client does not update the access clocks of keys (CLIENT NO-TOUCH).
    pub is_quiet: bool,
    /// Whether the keys are tracked if the command reads them (CLIENT TRACKING).
    pub is_tracked: bool,
    /// Whether the client has sent ASKING: the command may use a slot that this node imports.
    pub is_asking: bool,
    /// Whether the client is connected over TLS.
    pub is_tls: bool,
    /// Whether the client sees only the keys of the shard whose port it has connected to.
    pub is_on_port: bool,
    /// Whether the command is one of several parts on all shards. The replies of the parts are
    /// merged.
    pub is_part: bool,
    /// Whether the command discovers keys that are not among its arguments, so that it needs all
    /// slices.
    pub discovers: bool,
    /// Whether another item counts the command: another part, or earlier keys in the same part.
    pub is_counted: bool,
    /// Why the command is not executed although EXEC has found it in the queue; none if it is.
    pub refused: Option<Reason>,
    /// User whose rules restrict what the command does besides using its own keys. 0: none.
    pub user: UserId,
}

impl Item {
    /// Returns whether the home of the client runs the command, without keys.
    #[inline]
    pub fn is_at_home(&self) -> bool {
        self.entry.is_session() || self.refused.is_some()
    }
}

/// The arguments of a batch.
pub struct BatchArgs<'a> {
    /// Text that the spans point into.
    pub text: &'a [u8],
    /// All argument spans of the batch.
    pub spans: &'a [Span],
    /// The large arguments, each in its own buffer.
    pub large: &'a mut [BytesMut],
}

impl BatchArgs<'_> {
    /// Returns the arguments of one item.
    #[inline]
    pub fn of(&mut self, item: &Item) -> Args<'_> {
        let first = item.first as usize;
        Args::new(self.text, &self.spans[first..first + item.argc as usize], self.large)
    }
}

/// Runs a batch on a slice. Holds the batch's inputs and collects its effects.
pub struct Runner<'a> {
    /// Slice that owns the batch's keys.
    pub slice: &'a mut Slice,
    /// Unix time of this turn in milliseconds.
    pub now_ms: u64,
    /// Protocol of the replies.
    pub protocol: Protocol,
    /// The settings.
    pub config: &'a Config,
    /// Collects the commands for the feed; none while the feed is off.
    pub records: Option<&'a mut Records>,
    /// The slices of all other partitions, while a unit holds them all.
    pub others: Option<&'a mut Slices>,
    /// Whether the commands are one unit. If so, no blocked client is served between them.
    pub is_whole: bool,
    /// Whether a script runs the commands.
    pub is_scripted: bool,
    /// Whether a single command may block, and what it waits for if it does.
    pub attempt: BlockingAttempt,
    /// Publishes messages; none if no command can publish.
    pub publisher: Option<&'a Publisher>,
    /// Effects of the commands.
    pub effects: Effects,
    /// What scripts run with; none where no script can run.
    pub scripting: Option<Scripting<'a>>,
    /// The last command's script, if it is suspended.
    pub suspended: Option<Box<SuspendedScript>>,
    /// The limit of memory, if no key can be evicted for it.
    pub limit: Option<MemoryLimit<'a>>,
}

/// The limit of memory while no key can be evicted: commands that may use more are refused one by
/// one, as soon as it is exceeded.
#[derive(Clone, Copy, Debug)]
pub struct MemoryLimit<'a> {
    /// What is known of the limit.
    pub room: &'a Room,
    /// The limit in bytes, not 0.
    pub max_bytes: u64,
}

impl MemoryLimit<'_> {
    /// Returns whether the command must not run. Parts of a command always run, because other parts
    /// may have run.
    #[inline]
    pub fn refuses(&self, item: &Item) -> bool {
        let grows = item.entry.command.card.flags.has(Flag::DENYOOM);
        grows && !item.is_part && self.room.excess_bytes(self.max_bytes) > 0
    }
}

impl<'a> Runner<'a> {
    /// Creates the runner of a batch that is not one unit, whose commands may not block, and whose
    /// commands are not collected for the feed.
    #[inline]
    pub fn new(
        slice: &'a mut Slice,
        config: &'a Config,
        now_ms: u64,
        protocol: Protocol,
    ) -> Runner<'a> {
        Runner {
            slice,
            now_ms,
            protocol,
            config,
            records: None,
            others: None,
            is_whole: false,
            is_scripted: false,
            attempt: BlockingAttempt::default(),
            effects: Effects::default(),
            publisher: None,
            scripting: None,
            suspended: None,
            limit: None,
        }
    }

    /// Returns whether the limit of memory refuses a command behind the first one.
    #[inline(always)]
    fn is_refused(&self, at: usize, item: &Item) -> bool {
        at > 0 && self.limit.is_some_and(|limit| limit.refuses(item))
    }

    /// Runs one slice of a command that walks over all keys. Returns whether it has replied.
    pub fn walk(
        &mut self,
        item: &Item,
        batch_args: &mut BatchArgs<'_>,
        out: &mut Output,
        walk: &mut Walk,
    ) -> Result<bool, Error> {
        let step = item.entry.command.walk.expect("only such a command is sliced");
        let role = self.config.import_mode.then(|| {
            let role = if item.sees_due { ExpiryRole::Loading } else { ExpiryRole::Replica };
            self.slice.set_role(role)
        });
        let args = batch_args.of(item);
        let result = step(walk, &mut self.context(item, 0, out), &args);
        if let Some(role) = role {
            self.slice.set_role(role);
        }
        result
    }

    /// Returns the context of a command; `hash` is the hash of its first key.
    #[inline(always)]
    fn context<'c>(&'c mut self, item: &'c Item, hash: u64, out: &'c mut Output) -> Context<'c> {
        let uses_scripting = item.entry.command.uses_scripting;
        Context {
            scripting: match &mut self.scripting {
                Some(scripting) if uses_scripting => Some(scripting.again()),
                _ => None,
            },
            item,
            slice: self.slice,
            db: usize::from(item.db),
            now_ms: self.now_ms,
            reply: Reply::new(out, self.protocol),
            effects: &mut self.effects,
            config: self.config,
            records: self.records.as_deref_mut(),
            is_part: item.is_part,
            others: self.others.as_deref_mut(),
            publisher: self.publisher,
            is_scripted: self.is_scripted,
            may_wait: self.attempt.may_wait,
            is_woken: self.attempt.is_woken,
            wait: None,
            suspended: None,
            hint_hash: hash,
        }
    }

    /// Runs the items in order and calls `done` after each with its error. Stops after a command
    /// that made keys ready for blocked clients, before a command whose script is suspended, and
    /// before a command that [`Runner::limit`] refuses, unless it is the first one.
    /// Returns the number of commands that ran.
    pub fn run(
        &mut self,
        items: &[Item],
        batch_args: &mut BatchArgs<'_>,
        out: &mut Output,
        mut done: impl FnMut(usize, Option<&Error>, &mut Output),
    ) -> usize {
        assert!(items.len() <= BATCH_COMMANDS_MAX);
        let mut hashes = [0u64; BATCH_COMMANDS_MAX];
        stage(self.slice, items, batch_args, &mut hashes);
        // A transaction may begin to track reads on its way, and seldom ends it.
        let ends = [items.first(), items.last()];
        let is_apart = ends.into_iter().flatten().any(|item| item.is_quiet || item.is_tracked);
        if is_apart || self.config.import_mode || self.is_paused() {
            return self.run_apart(items, &hashes, batch_args, out, done);
        }
        for (at, item) in items.iter().enumerate() {
            if self.is_refused(at, item) {
                return at;
            }
            let result = self.run_one(item, hashes[at], batch_args, out);
            if self.suspended.is_some() {
                return at;
            }
            done(at, result.as_ref().err(), out);
            if self.slice.has_ready() && !self.is_whole {
                return at + 1;
            }
        }
        items.len()
    }

    /// Runs the items like [`Runner::run`] under `import-mode`, during a pause, for a client with
    /// NO-TOUCH, or for a client that is tracking. Under `import-mode` only the import source sees
    /// expired keys, and no command removes them. A write that runs during a pause began before it,
    /// and removes the expired keys that it finds: what it does depends on their absence, also at a
    /// replica. With NO-TOUCH the access clocks keep their values.
    #[cold]
    fn run_apart(
        &mut self,
        items: &[Item],
        hashes: &[u64],
        batch_args: &mut BatchArgs<'_>,
        out: &mut Output,
        mut done: impl FnMut(usize, Option<&Error>, &mut Output),
    ) -> usize {
        let is_paused = self.is_paused();
        for (at, item) in items.iter().enumerate() {
            if self.is_refused(at, item) {
                return at;
            }
            let role = match self.config.import_mode {
                true if item.sees_due => Some(ExpiryRole::Loading),
                true => Some(ExpiryRole::Replica),
                false => (is_paused && item.entry.may_change_keys()).then_some(ExpiryRole::Primary),
            };
            if let Some(role) = role {
                self.set_role(role);
            }
            // TOUCH exists to set access clocks. A script's commands keep them one by one.
            let command = item.entry.command;
            let is_quiet = item.is_quiet && !command.always_touches && !command.runs_commands;
            let clocks = if is_quiet { self.clocks(item, batch_args) } else { Vec::new() };
            let result = self.run_one(item, hashes[at], batch_args, out);
            if item.is_tracked && item.entry.reads_tracked() {
                self.track(item, &batch_args.of(item));
            }
            for (key, clock) in clocks {
                let key = self.slice.key(&key);
                let slice = slice_of(self.slice, &mut self.others, key.slot);
                slice.put_access_clock(usize::from(item.db), &key, clock);
            }
            if role.is_some() {
                let keeps =
                    if self.config.import_mode { ExpiryRole::Replica } else { ExpiryRole::Paused };
                self.set_role(keeps);
            }
            if self.suspended.is_some() {
                return at;
            }
            done(at, result.as_ref().err(), out);
            if self.slice.has_ready() && !self.is_whole {
                return at + 1;
            }
        }
        items.len()
    }

    /// Returns the access clocks of the command's keys that exist.
    fn clocks(&mut self, item: &Item, batch_args: &mut BatchArgs<'_>) -> Vec<(Box<[u8]>, u32)> {
        let args = batch_args.of(item);
        let keys = item.entry.key_args(&args).unwrap_or_default();
        let clock = |(arg, _): (usize, _)| {
            let key = self.slice.key(&args[arg]);
            let slice = slice_of(self.slice, &mut self.others, key.slot);
            let view = slice.peek(usize::from(item.db), &key)?;
            Some((Box::from(&args[arg]), view.access_clock()))
        };
        keys.into_iter().filter_map(clock).collect()
    }

    /// Records that the client has read the command's keys.
    pub(super) fn track(&mut self, item: &Item, args: &Args<'_>) {
        for (arg, _) in item.entry.tracked_args(args) {
            let slot = self.slice.key(&args[arg]).slot;
            slice_of(self.slice, &mut self.others, slot).track(&args[arg]);
        }
    }

    /// Returns whether a pause keeps the expired keys of any slice.
    #[inline(always)]
    fn is_paused(&self) -> bool {
        self.slice.is_paused() || self.others.as_ref().is_some_and(|it| it.is_paused())
    }

    /// Sets how all slices of the command treat expired keys.
    fn set_role(&mut self, role: ExpiryRole) {
        self.slice.set_role(role);
        if let Some(others) = &mut self.others {
            others.set_role(role);
        }
    }

    /// Returns the number of changes so far, of all slices that the command may change.
    #[inline(always)]
    fn changes(&self) -> u64 {
        self.slice.changes() + self.others.as_ref().map_or(0, |others| others.changes())
    }

    /// Begins a command on all its slices.
    #[inline(always)]
    fn begin_command(&mut self) {
        self.slice.begin_command();
        if let Some(others) = &mut self.others {
            others.for_each(Slice::begin_command);
        }
    }

    /// Ends a command on all its slices.
    #[inline(always)]
    fn end_command(&mut self, entry: &Entry) {
        self.slice.end_command(&entry.name);
        if let Some(others) = &mut self.others {
            others.for_each(|slice| slice.end_command(&entry.name));
        }
    }

    #[inline(always)]
    fn run_one(
        &mut self,
        item: &Item,
        hash: u64,
        batch_args: &mut BatchArgs<'_>,
        out: &mut Output,
    ) -> Result<(), Error> {
        self.run_args(item, hash, &mut batch_args.of(item), out)
    }

    /// Continues the suspended script of a command. It may be suspended again.
    pub fn resume(
        &mut self,
        item: &Item,
        script: Box<SuspendedScript>,
        args: &mut Args<'_>,
        out: &mut Output,
    ) -> Result<(), Error> {
        let resume = item.entry.command.resume.expect("only scripts are suspended");
        let is_paused = self.is_paused();
        let role = is_paused.then(|| self.slice.set_role(ExpiryRole::Primary));
        let result = self.run_with(item, 0, args, out, |cx, args| resume(cx, args, script));
        if let Some(role) = role {
            self.slice.set_role(role);
        }
        result
    }

    /// Runs one command with these arguments. `hash` is the hash of its first key.
    #[inline(always)]
    pub(super) fn run_args(
        &mut self,
        item: &Item,
        hash: u64,
        args: &mut Args<'_>,
        out: &mut Output,
    ) -> Result<(), Error> {
        let Handler::Keys(run) = item.entry.command.handler else {
            unreachable!("{} does not run on a slice", item.entry.name)
        };
        self.run_with(item, hash, args, out, run)
    }

    #[inline(always)]
    fn run_with(
        &mut self,
        item: &Item,
        hash: u64,
        args: &mut Args<'_>,
        out: &mut Output,
        run: impl FnOnce(&mut Context<'_>, &mut Args<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let before = out.mark();
        let changes = self.changes();
        if let Some(records) = &mut self.records {
            let is_woken = self.attempt.is_woken;
            let glue = if is_woken { Glue::Woken(self.attempt.number) } else { glue_of(item) };
            let own = item.entry.is_write().then_some(&*args);
            records.begin(item.at, usize::from(item.db), glue, own);
        }
        self.begin_command();
        let mut context = self.context(item, hash, out);
        let result = run(&mut context, args);
        let (wait, suspended) = (context.wait.take(), context.suspended.take());
        (self.attempt.wait, self.suspended) = (wait, suspended);
        if let Err(error) = &result {
            out.truncate(before);
            Reply::new(out, self.protocol).error(error);
        }
        let is_waiting = self.attempt.wait.is_some() || self.suspended.is_some();
        debug_assert!((out.mark() != before) != is_waiting, "{} replies or waits", item.entry.name);
        self.end_command(item.entry);
        let changes = self.changes() - changes;
        self.effects.changes += changes;
        if let Some(records) = &mut self.records {
            let others = self.others.iter_mut().flat_map(|others| others.drain_expired());
            let expired = self.slice.drain_expired().chain(others);
            records.end(changes > 0, expire_word(self.config), expired);
        }
        result
    }
}

/// Returns how the feed combines the parts of a command that may run on several shards.
fn glue_of(item: &Item) -> Glue {
    match item.entry.command.routing {
        KeyRouting::AllShards(_) | KeyRouting::Cursor(_) => Glue::Once,
        KeyRouting::PerKey(_) => Glue::Joined,
        _ => Glue::Alone,
    }
}
