//! Streams: entries with ascending ids, and the consumer groups that read them.
//!
//! ```text
//!   log      nodes of entries (`node.rs`), in the order of their ids (`nodes.rs`), and counters
//!   groups   name -> last delivered id, consumers, pending entries (`group.rs`)
//! ```
//!
//! To serialize a stream: [`Log::nodes`] yields the listpacks that the reference server also has,
//! with [`Node::parts`]. [`Log::iter`] yields the entries that are not deleted. Then follow the
//! counters of the log. Then [`Stream::groups`] with [`Group::pending_from`], [`Group::consumers`]
//! and [`Consumer::ids_from`].
//!
//! To build a stream: call [`Log::load_node`] or [`Log::append`], then [`Log::load_counters`]. For
//! each group call [`Stream::add_group`], [`Group::load_pending`], [`Group::add_consumer`] and
//! [`Group::load_owner`], and at the end [`Group::is_whole`]. A result of false or none means that
//! the call refused invalid data.

mod body;
mod entries;
mod group;
mod id;
pub mod listpack;
mod log;
mod node;
mod nodes;

pub use entries::{Entries, EntriesBack, Entry, Fields};
pub use group::{Consumer, ConsumerId, Group, Pending};
pub use id::{Id, IdText};
pub use log::{Keep, Log, Trim};
pub use node::{Limits, Node};

use super::object::{Container, Kind, container_object};
use std::collections::BTreeMap;

/// Nodes that one step of freeing frees. A node is one block of a few KiB.
const FREE_NODES: usize = 500;

/// Pending entries, consumers and names that one step of freeing frees.
const FREE_PENDING: usize = 2_000;

type Groups = BTreeMap<Box<[u8]>, Group>;

/// Entries with ascending ids, and the consumer groups that read them.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    log: Log,
    groups: Groups,
}

impl Stream {
    /// Returns the entries.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Returns the entries, for changes.
    pub fn log_mut(&mut self) -> &mut Log {
        &mut self.log
    }

    /// Iterates over the groups in the order of their names.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|(name, group)| (&**name, group))
    }

    /// Returns a group by name.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name)
    }

    /// Returns a group for changes, and the entries that it reads.
    pub fn group_mut(&mut self, name: &[u8]) -> Option<(&Log, &mut Group)> {
        let group = self.groups.get_mut(name)?;
        Some((&self.log, group))
    }

    /// Adds a group. Returns none if the name exists.
    pub fn add_group(
        &mut self,
        name: &[u8],
        last_id: Id,
        entries_read: Option<i64>,
    ) -> Option<&mut Group> {
        if self.groups.contains_key(name) {
            return None;
        }
        Some(self.groups.entry(name.into()).or_insert(Group::new(last_id, entries_read)))
    }

    /// Removes a group. Returns none if there is no such group. The group is returned inside a
    /// stream without entries, so that it can be freed in steps.
    pub fn remove_group(&mut self, name: &[u8]) -> Option<Box<Stream>> {
        let groups = Groups::from([self.groups.remove_entry(name)?]);
        Some(Box::new(Stream { log: Log::default(), groups }))
    }
}

impl Container for Stream {
    const KIND: Kind = Kind::Stream;

    fn len(&self) -> usize {
        self.log.len() as usize
    }

    fn is_void(&self) -> bool {
        false
    }

    fn encoding(&self) -> &'static str {
        "stream"
    }

    fn memory_bytes(&self, samples: usize) -> usize {
        let groups = self.groups.iter();
        let of_groups = groups.map(|(name, group)| {
            name.len() + size_of::<(Box<[u8]>, Group)>() * 3 / 2 + group.memory_bytes()
        });
        self.log.memory_bytes(samples) + of_groups.sum::<usize>()
    }

    fn pieces(&self) -> usize {
        let of_group = |group: &Group| 1 + group.consumers_len() + group.pending_len();
        self.log.nodes_len() + self.groups.values().map(of_group).sum::<usize>()
    }

    fn free_step(&mut self) -> bool {
        if !self.log.free_step(FREE_NODES) {
            return false;
        }
        let mut items = FREE_PENDING;
        while let Some(mut first) = self.groups.first_entry() {
            if !first.get_mut().free_step(&mut items) {
                return false;
            }
            first.remove();
        }
        true
    }

    fn check(&self) {
        self.log.check();
        self.groups.values().for_each(Group::check);
    }

    container_object!(Stream);
}

#[cfg(test)]
mod tests;
