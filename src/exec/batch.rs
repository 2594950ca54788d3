//! Runs commands on a slice: one at a time, or a batch in stages.
//!
//! Hot. A batch is worked in stages so that the misses of one command hide behind the others:
//!
//! ```text
//!   hash all keys -> prefetch slot roots -> prefetch buckets -> prefetch entries -> run in order
//! ```

use super::command::{Handler, KeyRouting};
use super::context::{Context, Effects, Reach, expire_word};
use super::record::{Glue, Records};
use super::table::Entry;
use super::wait::BlockingAttempt;
use crate::config::Config;
use crate::keyspace::{ExpiryRole, Key, Slice};
use crate::resp::{Args, Error, Output, Protocol, Reply, Span};
use crate::spec::Group;
use bytes::BytesMut;

/// Commands in one batch at most: what one round of prefetches covers.
pub const BATCH_COMMANDS_MAX: usize = 64;

/// One command of a batch: which, and where its words are.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// The command.
    pub entry: &'static Entry,
    /// Index of its first span.
    pub first: u32,
    /// How many words.
    pub argc: u32,
    /// The slot of its first key, known from routing; 0 without keys.
    pub slot: u16,
    /// The database that it runs in.
    pub db: u16,
    /// Its place in the batch or transaction that it belongs to.
    pub at: u32,
    /// Whether its client sees keys that are due, under `import-mode`.
    pub sees_due: bool,
    /// Whether its client leaves the access clocks of keys alone.
    pub is_quiet: bool,
    /// Whether it is one of several parts over all shards, whose replies are merged.
    pub is_part: bool,
}

/// The words of a batch.
pub struct BatchArgs<'a> {
    /// The text that spans point into.
    pub text: &'a [u8],
    /// All spans of the batch.
    pub spans: &'a [Span],
    /// The words with buffers of their own.
    pub large: &'a mut [BytesMut],
}

impl BatchArgs<'_> {
    /// The words of one item.
    #[inline]
    pub fn of(&mut self, item: &Item) -> Args<'_> {
        let first = item.first as usize;
        Args::new(self.text, &self.spans[first..first + item.argc as usize], self.large)
    }
}

/// A key as far as its place goes: prefetching looks at no bytes.
#[inline]
fn place(item: &Item, hash: u64) -> Key<'static> {
    Key { bytes: &[], slot: item.slot, hash }
}

/// The word that is the item's first key, if it has one.
#[inline]
fn first_key(item: &Item) -> Option<usize> {
    let first = item.entry.keys.first;
    (first != 0 && first < item.argc as usize).then_some(first)
}

/// What a batch runs on and leaves behind.
pub struct Runner<'a> {
    /// The slice that owns the batch's keys.
    pub slice: &'a mut Slice,
    /// Unix time of this turn, milliseconds.
    pub now_ms: u64,
    /// The protocol of the replies.
    pub protocol: Protocol,
    /// The settings.
    pub config: &'a Config,
    /// What the feed is told, while somebody reads it.
    pub records: Option<&'a mut Records>,
    /// What the slice holds of keys that no words name, if it is not their owner.
    pub reach: Option<&'a mut Reach>,
    /// Whether the commands are one: nobody who waits for their keys is served in between.
    pub is_whole: bool,
    /// How a command that stands alone may wait, and what for it does.
    pub attempt: BlockingAttempt,
    /// What the commands leave behind.
    pub effects: Effects,
}

impl Runner<'_> {
    /// Runs the items in order; `done` is told after each, with its error. Stops behind one that
    /// made keys ready that somebody waits for, and gives how many were run.
    pub fn run(
        &mut self,
        items: &[Item],
        batch_args: &mut BatchArgs<'_>,
        out: &mut Output,
        mut done: impl FnMut(usize, Option<&Error>, &mut Output),
    ) -> usize {
        assert!(items.len() <= BATCH_COMMANDS_MAX);
        let mut hashes = [0u64; BATCH_COMMANDS_MAX];
        self.stage(items, batch_args, &mut hashes);
        if self.config.import_mode || items.first().is_some_and(|item| item.is_quiet) {
            return self.run_apart(items, &hashes, batch_args, out, done);
        }
        for (at, item) in items.iter().enumerate() {
            let result = self.run_one(item, hashes[at], batch_args, out);
            done(at, result.as_ref().err(), out);
            if self.slice.has_ready() && !self.is_whole {
                return at + 1;
            }
        }
        items.len()
    }

    /// The same while the source of an import is the one that removes due keys (it sees them, and
    /// nobody else does), or for a client that leaves access clocks alone.
    #[cold]
    fn run_apart(
        &mut self,
        items: &[Item],
        hashes: &[u64],
        batch_args: &mut BatchArgs<'_>,
        out: &mut Output,
        mut done: impl FnMut(usize, Option<&Error>, &mut Output),
    ) -> usize {
        for (at, item) in items.iter().enumerate() {
            let role = self.config.import_mode.then(|| {
                let role = if item.sees_due { ExpiryRole::Loading } else { ExpiryRole::Replica };
                self.slice.set_role(role)
            });
            // TOUCH is there to set them.
            let is_quiet = item.is_quiet && !item.entry.command.always_touches;
            let clocks = if is_quiet { self.clocks(item, batch_args) } else { Vec::new() };
            let result = self.run_one(item, hashes[at], batch_args, out);
            for (key, clock) in clocks {
                let key = self.slice.key(&key);
                self.slice.put_access_clock(usize::from(item.db), &key, clock);
            }
            if role.is_some() {
                self.slice.set_role(ExpiryRole::Replica);
            }
            done(at, result.as_ref().err(), out);
            if self.slice.has_ready() && !self.is_whole {
                return at + 1;
            }
        }
        items.len()
    }

    /// The access clocks of the keys that a command names and that are there.
    fn clocks(&mut self, item: &Item, batch_args: &mut BatchArgs<'_>) -> Vec<(Box<[u8]>, u32)> {
        let args = batch_args.of(item);
        let keys = item.entry.key_args(&args).unwrap_or_default();
        let clock = |(word, _): (usize, _)| {
            let key = self.slice.key(&args[word]);
            let view = self.slice.peek(usize::from(item.db), &key)?;
            Some((Box::from(&args[word]), view.access_clock()))
        };
        keys.into_iter().filter_map(clock).collect()
    }

    /// Hashes the first keys, and brings what they lead to closer, stage by stage.
    fn stage(&self, items: &[Item], batch_args: &mut BatchArgs<'_>, hashes: &mut [u64; 64]) {
        let alone = items.len() == 1;
        for (at, item) in items.iter().enumerate() {
            let Some(first) = first_key(item) else { continue };
            let args = batch_args.of(item);
            let key = self.slice.key_in_slot(&args[first], item.slot);
            hashes[at] = key.hash;
            if !alone {
                self.slice.prefetch_slot(usize::from(item.db), &key);
            }
        }
        if alone {
            return;
        }
        // A command without keys has no slot, and this slice may not own slot 0.
        let with_keys = || items.iter().enumerate().filter(|(_, item)| first_key(item).is_some());
        for (at, item) in with_keys() {
            self.slice.prefetch_bucket(usize::from(item.db), &place(item, hashes[at]));
        }
        for (at, item) in with_keys() {
            self.slice.prefetch_entry(usize::from(item.db), &place(item, hashes[at]));
        }
        if hashes[0] == hashes[1] {
            self.stage_elements(items, batch_args, hashes);
        }
    }

    /// The same for elements of one large value that all of the batch is about.
    #[inline(never)]
    fn stage_elements(&self, items: &[Item], batch_args: &mut BatchArgs<'_>, hashes: &[u64; 64]) {
        let item = &items[0];
        let is_alike = |(at, other): (usize, &Item)| {
            hashes[at] == hashes[0] && other.argc > 2 && std::ptr::eq(other.entry, item.entry)
        };
        let has_elements = matches!(item.entry.command.card.group, Group::Hash | Group::Set);
        if !has_elements || !items.iter().enumerate().all(is_alike) {
            return;
        }
        let args = batch_args.of(item);
        let key = Key { bytes: &args[1], slot: item.slot, hash: hashes[0] };
        if let Some(elements) = self.slice.elements(usize::from(item.db), &key) {
            items.iter().for_each(|item| elements.prefetch(&batch_args.of(item)[2]));
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
        let Handler::Keys(run) = item.entry.command.handler else {
            unreachable!("{} does not run on a slice", item.entry.name)
        };
        let before = out.mark();
        let changes = self.effects.changes;
        let mut args = batch_args.of(item);
        if let Some(records) = &mut self.records {
            let is_woken = self.attempt.woken_by.is_some();
            let glue = if is_woken { Glue::Woken(self.attempt.number) } else { glue_of(item) };
            let own = item.entry.is_write().then_some(&args);
            records.begin(item.at, usize::from(item.db), glue, own);
        }
        let mut context = Context {
            slice: self.slice,
            db: usize::from(item.db),
            now_ms: self.now_ms,
            reply: Reply::new(out, self.protocol),
            effects: &mut self.effects,
            config: self.config,
            records: self.records.as_deref_mut(),
            is_part: item.is_part,
            reach: self.reach.as_deref_mut(),
            may_wait: self.attempt.may_wait,
            woken_by: self.attempt.woken_by,
            wait: None,
            hint_index: item.entry.keys.first,
            hint_slot: item.slot,
            hint_hash: hash,
        };
        let result = run(&mut context, &mut args);
        self.attempt.wait = context.wait.take();
        if let Err(error) = &result {
            out.truncate(before);
            Reply::new(out, self.protocol).error(error);
        }
        let is_waiting = self.attempt.wait.is_some();
        debug_assert!((out.mark() != before) != is_waiting, "{} replies or waits", item.entry.name);
        if let Some(records) = &mut self.records {
            let has_changed = self.effects.changes != changes;
            records.end(has_changed, expire_word(self.config), self.slice.drain_expired());
        }
        result
    }
}

/// How the parts of a command that may run on several shards become one for the feed.
fn glue_of(item: &Item) -> Glue {
    match item.entry.command.routing {
        KeyRouting::AllShards(_) | KeyRouting::Cursor(_) => Glue::Once,
        KeyRouting::PerKey(_) => Glue::Joined,
        _ => Glue::Alone,
    }
}
