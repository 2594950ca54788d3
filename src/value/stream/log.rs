//! The entries of a stream, and counters that include removed entries.

use super::entries::{Entries, EntriesBack, Entry};
use super::id::Id;
use super::node::{Limits, NODE_BYTES_MAX, Node};
use super::nodes::Nodes;

/// The entries of a stream, and counters that include removed entries.
#[derive(Clone, Debug, Default)]
pub struct Log {
    nodes: Nodes,
    len: u64,
    first_id: Id,
    last_id: Id,
    max_deleted_id: Id,
    entries_added: u64,
}

/// The most ids that [`Log::tree_nodes`] reads.
const TREE_IDS_MAX: usize = 4_096;

/// Returns the number of radix tree nodes for sorted ids that share their first `from` bytes. Does
/// not count the nodes of that prefix. A run of bytes that all ids share is one node.
fn tree_nodes(ids: &[[u8; 16]], from: usize) -> usize {
    let (first, last) = (&ids[0], &ids[ids.len() - 1]);
    let same = first[from..].iter().zip(&last[from..]).take_while(|(a, b)| a == b).count();
    let at = from + same;
    let run = usize::from(same > 0);
    if at == first.len() {
        return run + 1;
    }
    run + 1 + ids.chunk_by(|a, b| a[at] == b[at]).map(|ids| tree_nodes(ids, at + 1)).sum::<usize>()
}

/// What trimming keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// This number of newest entries.
    Len(u64),
    /// The entries from this id on.
    From(Id),
}

/// How to trim a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    /// What to keep.
    pub keep: Keep,
    /// Whether only whole nodes are removed (`~`), so that more entries may stay.
    pub is_rough: bool,
    /// The most entries to remove; 0 for no limit.
    pub entries_max: u64,
}

impl Log {
    /// Returns the number of entries.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the id of the first entry; `0-0` without entries.
    pub fn first_id(&self) -> Id {
        self.first_id
    }

    /// Returns the largest id ever added, or the id that was set as the last one.
    pub fn last_id(&self) -> Id {
        self.last_id
    }

    /// Returns the largest id of an entry removed by [`Log::delete`]. Trimmed entries do not count.
    pub fn max_deleted_id(&self) -> Id {
        self.max_deleted_id
    }

    /// Returns the number of entries ever added.
    pub fn entries_added(&self) -> u64 {
        self.entries_added
    }

    /// Returns the number of nodes.
    pub fn nodes_len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns the number of radix tree nodes that the reference server needs for the ids of the
    /// stream's nodes. Estimated from the first ids if there are more than 4,096 nodes.
    pub fn tree_nodes(&self) -> usize {
        let ids: Vec<[u8; 16]> =
            self.nodes.iter().take(TREE_IDS_MAX).map(|node| node.id.to_bytes()).collect();
        if ids.is_empty() {
            return 1;
        }
        tree_nodes(&ids, 0) * self.nodes.len() / ids.len()
    }

    /// Iterates over the nodes in ascending order of ids. See [`Node::parts`].
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// Iterates over the entries from `start` to `end`, both inclusive, in ascending order.
    pub fn range(&self, start: Id, end: Id) -> Entries<'_> {
        Entries::new(&self.nodes, start, end)
    }

    /// Iterates over the entries from `start` to `end`, both inclusive, in descending order.
    pub fn range_back(&self, start: Id, end: Id) -> EntriesBack<'_> {
        EntriesBack::new(&self.nodes, start, end)
    }

    /// Returns an upper bound of the number of entries from `start` to `end`, both inclusive. Stops
    /// at `enough`. Looks at each node once, not at its entries.
    pub fn count_between(&self, start: Id, end: Id, enough: u64) -> u64 {
        if self.len < enough {
            return self.len;
        }
        let mut count = 0;
        let mut place = self.nodes.seek(start);
        while let Some(at) = place
            && count < enough
        {
            let node = self.nodes.get(at);
            if node.parts().0 > end {
                break;
            }
            count += node.head().live;
            place = self.nodes.next(at);
        }
        count
    }

    /// Iterates over all entries in ascending order.
    pub fn iter(&self) -> Entries<'_> {
        self.range(Id::MIN, Id::MAX)
    }

    /// Returns an entry by id.
    pub fn get(&self, id: Id) -> Option<Entry<'_>> {
        self.range(id, id).next()
    }

    /// Returns the id of the last entry; none without entries.
    pub fn last_entry_id(&self) -> Option<Id> {
        self.range_back(Id::MIN, Id::MAX).next().map(|entry| entry.id)
    }

    /// Returns the first id in the nodes, including deleted entries. Returns [`Id::MAX`] without
    /// nodes.
    pub fn first_id_with_deleted(&self) -> Id {
        let first = self.nodes.first().and_then(|node| node.walk().next());
        first.map_or(Id::MAX, |raw| raw.entry.id)
    }

    /// Appends an entry. The id must be larger than the last id. Returns false if the texts are too
    /// large.
    pub fn append<'f>(
        &mut self,
        id: Id,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
        limits: &Limits,
    ) -> bool {
        assert!(id > self.last_id, "ids ascend");
        let text_bytes = fields.clone().map(|(name, value)| name.len() + value.len()).sum();
        if text_bytes > NODE_BYTES_MAX {
            return false;
        }
        if self.nodes.last().is_none_or(|last| last.is_full(text_bytes, limits)) {
            self.nodes.push(Node::new(id, fields.clone()));
        }
        self.nodes.last_mut().expect("the log has a node").push(id, fields);
        self.len += 1;
        self.entries_added = self.entries_added.wrapping_add(1);
        self.last_id = id;
        if self.len == 1 {
            self.first_id = id;
        }
        true
    }

    /// Deletes an entry without updating the counters of ids. Returns false if there is no such
    /// entry.
    fn delete_entry(&mut self, id: Id) -> bool {
        let Some(place) = self.nodes.seek(id) else { return false };
        let node = self.nodes.get_mut(place);
        let Some(at) = node.find(id) else { return false };
        if node.head().live == 1 {
            self.nodes.remove(place);
        } else {
            node.delete(at);
        }
        self.len -= 1;
        true
    }

    /// Deletes entries. Returns the number of entries that existed.
    pub fn delete(&mut self, ids: impl Iterator<Item = Id>) -> u64 {
        let mut deleted = 0;
        let mut is_first_gone = false;
        for id in ids {
            if self.delete_entry(id) {
                deleted += 1;
                is_first_gone |= id == self.first_id;
                self.max_deleted_id = self.max_deleted_id.max(id);
            }
        }
        if is_first_gone || self.len == 0 {
            self.find_first_id();
        }
        deleted
    }

    fn find_first_id(&mut self) {
        self.first_id = self.iter().next().map_or(Id::MIN, |entry| entry.id);
    }

    /// Trims the stream from the front. Returns the number of removed entries.
    pub fn trim(&mut self, trim: &Trim) -> u64 {
        let before = self.len;
        let is_short = |len: u64| matches!(trim.keep, Keep::Len(keep) if len <= keep);
        while !is_short(self.len) {
            let Some(node) = self.nodes.first() else { break };
            let live = node.head().live;
            if trim.entries_max > 0 && before - self.len + live > trim.entries_max {
                break;
            }
            let goes_whole = match trim.keep {
                Keep::Len(keep) => self.len - live >= keep,
                Keep::From(id) => node.last_id().unwrap_or(Id::MIN) < id,
            };
            if goes_whole {
                self.nodes.pop_first();
                self.len -= live;
                continue;
            }
            if !trim.is_rough {
                self.trim_first_node(trim.keep);
            }
            break;
        }
        if self.len != before {
            self.find_first_id();
        }
        before - self.len
    }

    fn trim_first_node(&mut self, keep: Keep) {
        let len = self.len;
        let node = self.nodes.first_mut().expect("there is a first node");
        self.len -= node.delete_front(|id, deleted| match keep {
            Keep::Len(keep) => len - deleted > keep,
            Keep::From(start) => id < start,
        });
    }

    /// Returns whether entries may be missing from id `start` on.
    pub(super) fn has_gaps_from(&self, start: Id) -> bool {
        !self.is_empty() && !self.max_deleted_id.is_zero() && start <= self.max_deleted_id
    }

    /// Returns the number of entries ever added up to id `id`, inclusive; none if unknown.
    pub fn count_to(&self, id: Id) -> Option<i64> {
        let added = self.entries_added as i64;
        if self.entries_added == 0 || (self.len == 0 && id <= self.last_id) {
            return Some(added);
        }
        if !id.is_zero() && id < self.max_deleted_id {
            return None;
        }
        if id >= self.last_id {
            return (id == self.last_id).then_some(added);
        }
        let gone = added.wrapping_sub(self.len as i64);
        let is_whole = self.max_deleted_id.is_zero() || self.max_deleted_id < self.first_id;
        match id.cmp(&self.first_id) {
            std::cmp::Ordering::Less if is_whole => Some(gone),
            std::cmp::Ordering::Equal if is_whole => Some(gone.wrapping_add(1)),
            _ => None,
        }
    }

    /// Sets the last id. Also sets the number of entries ever added and the largest deleted id, if
    /// given.
    pub fn set_last(&mut self, id: Id, entries_added: Option<u64>, max_deleted_id: Option<Id>) {
        self.last_id = id;
        self.entries_added = entries_added.unwrap_or(self.entries_added);
        self.max_deleted_id = max_deleted_id.unwrap_or(self.max_deleted_id);
    }

    /// For loading: appends a node with this id and listpack. Returns false if the listpack is
    /// invalid for a stream, or if ids do not ascend.
    pub fn load_node(&mut self, id: Id, listpack: Vec<u8>) -> bool {
        let before = self.nodes.last().map(|node| node.last_id().unwrap_or(node.id).max(node.id));
        let Some(node) = Node::load(id, listpack) else { return false };
        let first = node.walk().next().map_or(id, |raw| raw.entry.id).min(id);
        if before.is_some_and(|before| before >= first) {
            return false;
        }
        self.len += node.head().live;
        self.nodes.push(node);
        true
    }

    /// For loading, after the nodes: sets the counters. The first id is computed if it is not
    /// given.
    pub fn load_counters(
        &mut self,
        last_id: Id,
        first_id: Option<Id>,
        max_deleted_id: Id,
        entries_added: u64,
    ) {
        self.set_last(last_id, Some(entries_added), Some(max_deleted_id));
        match first_id {
            Some(id) => self.first_id = id,
            None => self.find_first_id(),
        }
    }

    pub(super) fn memory_bytes(&self, samples: usize) -> usize {
        let sampled = if samples == 0 { self.nodes.len() } else { samples.min(self.nodes.len()) };
        let nodes = self.nodes.iter().take(sampled);
        let bytes: usize = nodes.map(|node| node.bytes.memory_bytes()).sum();
        self.nodes.memory_bytes() + bytes * self.nodes.len() / sampled.max(1)
    }

    /// Frees up to `nodes` nodes. Returns true when no node is left.
    pub(super) fn free_step(&mut self, nodes: usize) -> bool {
        (0..nodes).for_each(|_| drop(self.nodes.pop_first()));
        self.nodes.len() == 0
    }

    pub(super) fn check(&self) {
        self.nodes.check();
        let mut last = None;
        let mut live = 0;
        for node in self.nodes.iter() {
            let head = node.head();
            let count =
                |dead: bool| node.walk().filter(|raw| raw.is_deleted == dead).count() as u64;
            assert_eq!((head.live, head.deleted), (count(false), count(true)));
            for raw in node.walk() {
                assert!(last < Some(raw.entry.id) && raw.entry.id >= node.id);
                last = Some(raw.entry.id);
            }
            assert!(node.walk_back().map(|raw| raw.entry.id).is_sorted_by(|a, b| a > b));
            live += head.live;
        }
        assert_eq!(live, self.len);
        assert!(last <= Some(self.last_id));
        assert!(self.entries_added >= self.len);
    }
}
