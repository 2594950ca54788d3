//! Commands that a script runs, on the slice or the slices of its unit.
//!
//! ```text
//!   one slice    it has all keys that the script may use: a partition, or a workspace
//!   all slices   the unit holds them. Each command runs on the slice of its keys:
//!                keys of one slice       there
//!                some keys of each       in parts, and the replies are merged
//!                keys that it combines   on the script's own slice, an empty workspace, to which
//!                                        the values are brought and from which they return
//!                no keys                 in parts, on every slice
//! ```

use super::batch::{Item, Runner};
use super::command::{KeyRouting, Merge};
use super::context::{Context, Effects};
use super::key_lock::remote_keys_of;
use super::merge::merge_replies;
use super::process::Process;
use super::publisher::Publisher;
use super::record::Records;
use super::scripting::Scripting;
use super::slices::Slices;
use super::table::Entry;
use crate::acl::UserId;
use crate::base::number::parse_cursor;
use crate::base::slot::{SLOT_COUNT, slot_of};
use crate::config::Config;
use crate::keyspace::{Caller, ExpiryRole, Slice};
use crate::resp::{Args, Error, Output, Protocol, Reply};

/// Runs the commands of one script.
pub struct Nested<'a> {
    slice: &'a mut Slice,
    others: Option<&'a mut Slices>,
    records: Option<&'a mut Records>,
    effects: &'a mut Effects,
    config: &'a Config,
    now_ms: u64,
    /// The command that runs the script.
    item: &'a Item,
    /// Whether its commands are not propagated.
    is_muted: bool,
    publisher: &'a Publisher,
}

/// The parts of a context that a script needs at the same time.
pub struct ScriptParts<'c, 'a> {
    /// Runs the script's commands.
    pub nested: Nested<'c>,
    /// What the script runs with.
    pub scripting: Scripting<'c>,
    /// Writer of the script's reply.
    pub reply: &'c mut Reply<'a>,
}

impl<'a> Context<'a> {
    /// Splits the context of a command that runs a script.
    pub fn script_parts(&mut self) -> ScriptParts<'_, 'a> {
        let scripting = self.scripting.as_mut().expect("the card says that it runs commands");
        ScriptParts {
            nested: Nested {
                slice: self.slice,
                others: self.others.as_deref_mut(),
                records: self.records.as_deref_mut(),
                effects: self.effects,
                config: self.config,
                now_ms: self.now_ms,
                item: self.item,
                is_muted: false,
                publisher: scripting.publisher,
            },
            scripting: scripting.again(),
            reply: &mut self.reply,
        }
    }
}

impl Nested<'_> {
    /// Returns the command that runs the script.
    pub fn item(&self) -> &Item {
        self.item
    }

    /// Returns the client that runs the script.
    pub fn caller(&self) -> Option<Caller> {
        let of_others = || self.others.as_ref().and_then(|others| others.caller());
        self.slice.caller().or_else(of_others)
    }

    /// Returns the Unix time of the script in milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Returns the settings.
    pub fn config(&self) -> &Config {
        self.config
    }

    /// Sets whether the commands from here on are propagated.
    pub fn set_propagates(&mut self, on: bool) {
        self.is_muted = !on;
    }

    /// Returns the number of databases.
    pub fn databases(&self) -> usize {
        self.slice.databases()
    }

    /// Runs a command on keys, on database `db`. Appends its reply to `out`. Returns its error, if
    /// the reply is one.
    pub fn run(
        &mut self,
        (entry, db, user): (&'static Entry, usize, UserId),
        args: &mut Args<'_>,
        (protocol, out): (Protocol, &mut Output),
        process: &Process,
    ) -> Result<(), Error> {
        let first = entry.keys.first;
        let has_key = first > 0 && first < args.len();
        let item = Item {
            entry,
            first: 0,
            argc: args.len() as u32,
            slot: if has_key { slot_of(&args[first]) } else { 0 },
            db: db as u16,
            discovers: self.others.is_some() && entry.discovers_keys(args, process),
            is_part: false,
            is_counted: false,
            user,
            ..*self.item
        };
        self.effects.other_databases |= item.db != self.item.db || entry.is_everywhere();
        let is_quiet = item.is_quiet && !entry.command.always_touches;
        let clocks = if is_quiet { self.clocks(&item, args) } else { Vec::new() };
        let result = self.run_item(&item, args, (protocol, out));
        for (key, clock) in clocks {
            self.on_slice_of(slot_of(&key), |slice| {
                let key = slice.key(&key);
                slice.put_access_clock(db, &key, clock);
            });
        }
        result
    }

    /// Returns the access clocks of the command's keys that exist: with CLIENT NO-TOUCH the command
    /// must not change them.
    fn clocks(&mut self, item: &Item, args: &Args<'_>) -> Vec<(Box<[u8]>, u32)> {
        let keys = item.entry.key_args(args).unwrap_or_default();
        let clock = |(arg, _): (usize, _)| {
            let name = &args[arg];
            let clock = self.on_slice_of(slot_of(name), |slice| {
                let key = slice.key(name);
                Some(slice.peek(usize::from(item.db), &key)?.access_clock())
            });
            Some((Box::from(name), clock?))
        };
        keys.into_iter().filter_map(clock).collect()
    }

    /// Calls `visit` with the slice that has the keys of a hash slot.
    fn on_slice_of<R>(&mut self, slot: u16, visit: impl FnOnce(&mut Slice) -> R) -> R {
        match self.others.as_deref_mut() {
            Some(others) => others.with(slot, visit),
            None => visit(self.slice),
        }
    }

    fn run_item(
        &mut self,
        item: &Item,
        args: &mut Args<'_>,
        (protocol, out): (Protocol, &mut Output),
    ) -> Result<(), Error> {
        let entry = item.entry;
        if self.others.is_none() {
            return self.run_here(item, args, protocol, out);
        }
        if entry.publishes() && self.slice.has_events() {
            // The message follows the events of the script's earlier commands.
            self.publisher.tell(self.config, &self.slice.take_events());
        }
        let result = match entry.command.routing {
            KeyRouting::AllShards(merge) => {
                self.run_everywhere(item, args, (protocol, out), merge);
                Ok(())
            }
            KeyRouting::Cursor(_) => {
                let slot = cursor_slot(args);
                self.run_at(slot, item, args, protocol, out)
            }
            KeyRouting::Slot { of, .. } => {
                let slot = of(args);
                self.run_at(slot, item, args, protocol, out)
            }
            KeyRouting::PerKey(merge) if self.is_spread(item, args) => {
                self.run_per_key(item, args, (protocol, out), merge);
                Ok(())
            }
            KeyRouting::Gather | KeyRouting::Discovers(_)
                if !item.discovers && self.is_spread(item, args) =>
            {
                self.run_gathered(item, args, protocol, out)
            }
            _ => self.run_at(item.slot, item, args, protocol, out),
        };
        self.collect_events();
        result
    }

    /// Returns whether several slices have keys of the command.
    fn is_spread(&self, item: &Item, args: &Args<'_>) -> bool {
        if item.entry.is_per_key() && !item.entry.has_whole_keys(args.len()) {
            return false;
        }
        let others = self.others.as_ref().expect("the unit holds all slices");
        let at = others.index_of(item.slot);
        let keys = item.entry.key_args(args).unwrap_or_default();
        keys.iter().any(|(arg, _)| others.index_of(slot_of(&args[*arg])) != at)
    }

    /// Runs a command on the script's own slice.
    fn run_here(
        &mut self,
        item: &Item,
        args: &mut Args<'_>,
        protocol: Protocol,
        out: &mut Output,
    ) -> Result<(), Error> {
        let mut runner = Runner {
            records: self.records.as_deref_mut().filter(|_| !self.is_muted),
            is_whole: true,
            is_scripted: true,
            publisher: Some(self.publisher),
            ..Runner::new(self.slice, self.config, self.now_ms, protocol)
        };
        let result = run_one(&mut runner, item, args, out);
        self.effects.note = self.effects.note.or(runner.effects.note);
        result
    }

    /// Shows the slice that owns a hash slot, unless the script runs on copies of its keys.
    pub fn look_at(&mut self, slot: u16, look: impl FnOnce(&mut Slice)) {
        match self.others.as_deref_mut() {
            Some(others) => {
                let mut slice = others.take(slot);
                look(&mut slice);
                others.put(slice);
            }
            None if self.item.discovers => look(self.slice),
            None => {}
        }
    }

    /// Runs a command on the slice that owns a hash slot.
    fn run_at(
        &mut self,
        slot: u16,
        item: &Item,
        args: &mut Args<'_>,
        protocol: Protocol,
        out: &mut Output,
    ) -> Result<(), Error> {
        let others = self.others.as_deref_mut().expect("the unit holds all slices");
        let mut slice = others.take(slot);
        let mut runner = Runner {
            records: self.records.as_deref_mut().filter(|_| !self.is_muted),
            others: Some(others),
            is_whole: true,
            is_scripted: true,
            publisher: Some(self.publisher),
            ..Runner::new(&mut slice, self.config, self.now_ms, protocol)
        };
        let result = run_one(&mut runner, item, args, out);
        self.effects.note = self.effects.note.or(runner.effects.note);
        others.put(slice);
        result
    }

    /// Runs a command on every slice, and merges the replies.
    fn run_everywhere(
        &mut self,
        item: &Item,
        args: &mut Args<'_>,
        (protocol, out): (Protocol, &mut Output),
        merge: Merge,
    ) {
        let all = self.others.as_ref().expect("the unit holds all slices").first_slots();
        let (is_muted, before) = (self.is_muted, self.recorded());
        let mut parts = Vec::with_capacity(all.len());
        for slot in all {
            let part = Item { is_part: true, ..*item };
            let mut reply = Output::default();
            // An error is the part's reply.
            let _ = self.run_at(slot, &part, args, protocol, &mut reply);
            parts.push(reply.to_vec());
            // The record of one part stands for all.
            self.is_muted |= self.recorded() > before;
        }
        self.is_muted = is_muted;
        let mut rng = self.slice.draw_rng();
        let order: Vec<usize> = (0..parts.len()).collect();
        let reply = Reply::new(out, protocol);
        merge_replies(merge, &parts, &order, reply, &mut |below| rng.below(below));
    }

    /// Makes the feed drop the unit, which will not be whole: the process stops.
    pub fn void_unit(&mut self) {
        if let Some(records) = self.records.as_deref_mut() {
            records.void();
        }
    }

    /// Returns the number of commands that were recorded for the feed.
    fn recorded(&self) -> usize {
        self.records.as_ref().map_or(0, |records| records.list().len())
    }

    /// Runs a command on each slice that has some of its keys, with these keys, and merges the
    /// replies.
    fn run_per_key(
        &mut self,
        item: &Item,
        args: &mut Args<'_>,
        (protocol, out): (Protocol, &mut Output),
        merge: Merge,
    ) {
        let others = self.others.as_ref().expect("the unit holds all slices");
        let (keys, step) = (item.entry.keys, item.entry.keys.step);
        let last = keys.last_of(args.len());
        // Per slice that has any: its hash slot, and the indexes of its keys.
        let mut owned: Vec<(u16, Vec<usize>)> = Vec::new();
        let mut order = Vec::new();
        for at in (keys.first..=last).step_by(step) {
            let slot = slot_of(&args[at]);
            let index = others.index_of(slot);
            let known = owned.iter().position(|(first, _)| others.index_of(*first) == index);
            let part = known.unwrap_or_else(|| {
                owned.push((slot, Vec::new()));
                owned.len() - 1
            });
            owned[part].1.push(at);
            order.push(part);
        }
        let mut parts = Vec::with_capacity(owned.len());
        for (slot, own) in owned {
            let mut reply = Output::default();
            let all = own.iter().flat_map(|at| *at..*at + step);
            args.with_selected((0..keys.first).chain(all), |args| {
                let part = Item { argc: args.len() as u32, slot, ..*item };
                // An error is the part's reply.
                let _ = self.run_at(slot, &part, args, protocol, &mut reply);
            });
            parts.push(reply.to_vec());
        }
        merge_replies(merge, &parts, &order, Reply::new(out, protocol), &mut |_| 0);
    }

    /// Brings the values of a command's keys to the script's own slice, runs the command there, and
    /// returns the values.
    fn run_gathered(
        &mut self,
        item: &Item,
        args: &mut Args<'_>,
        protocol: Protocol,
        out: &mut Output,
    ) -> Result<(), Error> {
        let mut remote_keys = remote_keys_of(item, args, self.slice.databases());
        let others = self.others.as_deref_mut().expect("the unit holds all slices");
        for (number, remote_key) in remote_keys.iter_mut().enumerate() {
            remote_key.fetch_from(others.of(remote_key.slot));
            remote_key.bring_to(self.slice, number as u64);
        }
        let result = self.run_here(item, args, protocol, out);
        let role = self.slice.set_role(ExpiryRole::Loading);
        let others = self.others.as_deref_mut().expect("the unit holds all slices");
        let is_tracked = item.is_tracked
            && item.entry.reads_tracked()
            && !item.entry.tracked_args(args).is_empty();
        for (number, remote_key) in remote_keys.into_iter().enumerate() {
            if is_tracked {
                others.of(remote_key.slot).track(&remote_key.key);
            }
            if let Some(remote_key) = remote_key.take_from(self.slice, number as u64) {
                let owner = others.of(remote_key.slot);
                let owner_role = owner.set_role(ExpiryRole::Loading);
                remote_key.store_in(owner);
                owner.set_role(owner_role);
            }
        }
        self.slice.set_role(role);
        result
    }

    /// Moves the events of all slices behind the script's own, so that they stay in their order.
    fn collect_events(&mut self) {
        let others = self.others.as_deref_mut().expect("the unit holds all slices");
        others.for_each(|slice| {
            if slice.has_events() {
                self.slice.append_events(slice.take_events());
            }
        });
    }
}

/// Runs one command of a script.
fn run_one(
    runner: &mut Runner<'_>,
    item: &Item,
    args: &mut Args<'_>,
    out: &mut Output,
) -> Result<(), Error> {
    let first = item.entry.keys.first;
    let has_key = first > 0 && first < args.len();
    let hash = if has_key { runner.slice.key_in_slot(&args[first], item.slot).hash } else { 0 };
    let result = runner.run_args(item, hash, args, out);
    if item.is_tracked && item.entry.reads_tracked() {
        runner.track(item, args);
    }
    result
}

/// Returns the hash slot in the low bits of a SCAN cursor. Returns hash slot 0 for a malformed
/// cursor, which the handler refuses.
pub fn cursor_slot(args: &Args<'_>) -> u16 {
    let cursor = args.get(1).and_then(parse_cursor).unwrap_or(0);
    (cursor % u64::from(SLOT_COUNT)) as u16
}
