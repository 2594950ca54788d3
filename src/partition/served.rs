//! Whether this node still serves the slots of commands when they run, as a node of a cluster.
//!
//! The home has checked the slots when the commands came. A slot may have gone to another node
//! since, and only here it is known which keys of an open slot have left.

use super::partition::Partition;
use crate::cluster::{Nodes, Opening};
use crate::exec::{BatchArgs, Facts, Item, KeySlots, Process};
use crate::gate::{KeysHere, SlotUse, UNKNOWN_CLIENT, check_keys, check_slot, check_transaction};
use crate::keyspace::Slice;
use crate::mesh::Envelope;
use crate::observe::SlotSpent;
use crate::resp::{Args, Error};
use crate::spec::Flag;
use std::sync::Arc;

impl Partition {
    /// Makes slots and keys agree after a file was loaded. This node takes a slot that has keys but
    /// no owner. It drops the keys of a slot that another node serves.
    pub fn settle_slots(&mut self) {
        let process = Arc::clone(&self.env.process);
        let Some(cluster) = process.cluster.get().filter(|_| process.is_cluster) else { return };
        let (mut unowned, nodes) = (Vec::new(), cluster.nodes());
        let databases = 0..self.slice.databases();
        for slot in self.slice.slots().clone().iter() {
            let is_imported = matches!(nodes.opening(slot), Some(Opening::Importing(_)));
            let has_keys = databases.clone().any(|db| self.slice.slot_len(db, slot) > 0);
            if !has_keys || nodes.is_mine(slot) || is_imported {
                continue;
            }
            if nodes.owner(slot).is_none() {
                process.log.notice(&format!(
                    "I have keys for unassigned slot {slot}. Taking responsibility for it."
                ));
                unowned.push(slot);
                continue;
            }
            process.log.notice(&format!(
                "I have keys for slot {slot}, but the slot is assigned to another node. Deleting \
                 keys in the slot."
            ));
            for db in databases.clone() {
                for name in self.slice.keys_in_slot(db, slot, usize::MAX) {
                    let key = self.slice.key_in_slot(&name, slot);
                    self.slice.remove(db, &key);
                }
            }
        }
        if unowned.is_empty() {
            return;
        }
        let saved = cluster.change((&self.env.config, &process.log), |nodes| {
            let me = nodes.my_number();
            unowned.iter().for_each(|slot| nodes.assign(*slot, Some(me)));
            Ok(())
        });
        if let Err(error) = saved {
            process.log.warning(&error.text());
        }
    }

    /// Returns how many of the commands may run together: all, or the ones before a command that
    /// must be looked at alone. Returns the error of the first command if it must not run.
    pub(super) fn served(
        &mut self,
        items: &[Item],
        batch_args: &mut BatchArgs<'_>,
    ) -> Result<usize, Error> {
        if self.env.facts.has(Facts::LOADING) {
            return Ok(items.len());
        }
        let process = &self.env.process;
        let Some(cluster) = process.cluster.get() else { return Ok(items.len()) };
        let nodes = cluster.nodes();
        let is_plain = |item: &Item, args: &Args<'_>| match slot_of_item(item, args) {
            None => true,
            Some(slot) => nodes.is_mine(slot) && nodes.opening(slot).is_none(),
        };
        let plain = items.iter().take_while(|item| is_plain(item, &batch_args.of(item))).count();
        if plain > 0 || items.is_empty() {
            return Ok(plain);
        }
        let mut keys = KeysHere::default();
        let slot =
            look(&nodes, (&items[0], &batch_args.of(&items[0])), process, &mut keys, |it| {
                it.look_in(&mut self.slice)
            })?;
        if let Some(slot) = slot {
            check_keys(&nodes, slot, keys, process, client_of(&items[0]))?;
        }
        Ok(1)
    }

    /// Counts the time of commands for the slots of their keys, if the settings say so.
    #[inline]
    pub(super) fn count_slots(
        &self,
        items: &[Item],
        batch_args: &mut BatchArgs<'_>,
        spent_ns: u64,
    ) {
        if self.env.config.cluster_slot_stats_enabled {
            count_slots(&self.env.process, items, batch_args, spent_ns);
        }
    }

    /// Returns why a transaction must not run here; none if it may.
    pub fn refusal_of_all(
        &mut self,
        items: &[Item],
        batch_args: &mut BatchArgs<'_>,
    ) -> Option<Error> {
        if !self.env.facts.has(Facts::CLUSTER) || self.env.facts.has(Facts::LOADING) {
            return None;
        }
        let process = &self.env.process;
        let nodes = process.cluster.get()?.nodes();
        let (mut keys, mut open) = (KeysHere::default(), None);
        for item in items {
            let args = batch_args.of(item);
            let looked =
                look(&nodes, (item, &args), process, &mut keys, |it| it.look_in(&mut self.slice));
            match looked {
                Ok(slot) => open = open.or(slot),
                Err(error) => return Some(error),
            }
        }
        let to = items.first().map_or(UNKNOWN_CLIENT, client_of);
        open.and_then(|slot| check_keys(&nodes, slot, keys, process, to).err())
    }

    /// Returns why a transaction of several rounds must not begin here; none if it may. Without
    /// commands, its slot must still be closed.
    pub(super) fn refusal_of_whole(
        &mut self,
        slot: u16,
        commands: Option<Box<Envelope>>,
    ) -> Option<Error> {
        if let Some(mut commands) = commands {
            let (items, mut args, ..) = commands.parts();
            return self.refusal_of_all(items, &mut args);
        }
        if self.env.facts.has(Facts::LOADING) {
            return None;
        }
        let process = &self.env.process;
        check_transaction(&process.cluster.get()?.nodes(), slot, process).err()
    }
}

/// Returns why a single command must not run on `slice`, which has its keys; none if it may.
pub fn refusal_on(
    slice: &mut Slice,
    (item, args): (&Item, &Args<'_>),
    process: &Process,
) -> Option<Error> {
    let nodes = process.cluster.get()?.nodes();
    let mut keys = KeysHere::default();
    match look(&nodes, (item, args), process, &mut keys, |it| it.look_in(slice)) {
        Ok(None) => None,
        Ok(Some(slot)) => check_keys(&nodes, slot, keys, process, client_of(item)).err(),
        Err(error) => Some(error),
    }
}

#[cold]
fn count_slots(process: &Process, items: &[Item], batch_args: &mut BatchArgs<'_>, spent_ns: u64) {
    let cpu_us = spent_ns / items.len().max(1) as u64 / 1_000;
    for item in items {
        if let Some(slot) = slot_of_item(item, &batch_args.of(item)) {
            let used = SlotSpent { cpu_us, ..SlotSpent::default() };
            process.boards.slot_usage.add(slot, used);
        }
    }
}

/// Returns what is known here of the client: not at which address it has connected.
fn client_of(item: &Item) -> (&'static str, bool) {
    ("", item.is_tls)
}

/// Returns the slot of a command's keys; none if it has no keys.
#[inline]
fn slot_of_item(item: &Item, args: &Args<'_>) -> Option<u16> {
    if item.entry.plain_key_args(args.len()).is_some() {
        return Some(item.slot);
    }
    match item.entry.key_slots(args) {
        KeySlots::One(slot) => Some(slot),
        KeySlots::None | KeySlots::Several => None,
    }
}

/// The keys of one command, to be looked for in a slice.
struct Looking<'l, 'a> {
    item: &'l Item,
    args: &'l Args<'a>,
    keys: &'l mut KeysHere,
}

impl Looking<'_, '_> {
    /// Counts which keys are in the slice.
    fn look_in(self, slice: &mut Slice) {
        self.keys.look_in((self.item.entry, usize::from(self.item.db)), self.args, slice);
    }
}

/// Checks the slot of a command. If it is open, `count` counts the command's keys and the slot is
/// returned.
#[cold]
fn look(
    nodes: &Nodes,
    (item, args): (&Item, &Args<'_>),
    process: &Process,
    keys: &mut KeysHere,
    count: impl FnOnce(Looking<'_, '_>),
) -> Result<Option<u16>, Error> {
    let Some(slot) = slot_of_item(item, args) else { return Ok(None) };
    let flags = item.entry.command.card.flags;
    let slot_use = SlotUse::of(item.entry, slot, item.is_asking);
    check_slot(nodes, slot_use, process, client_of(item))?;
    let is_free = flags.has(Flag::PUBSUB) || item.entry.command.serves_open_slots;
    if nodes.opening(slot).is_none() || is_free {
        return Ok(None);
    }
    count(Looking { item, args, keys });
    Ok(Some(slot))
}
