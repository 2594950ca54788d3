//! All nodes, and who serves each hash slot.

use super::id::NodeId;
use super::node::{Node, NodeFlags};
use crate::base::slot::SLOT_COUNT;
use std::collections::BTreeMap;

/// The most nodes that the file may have.
pub const NODES_MAX: usize = 16_384;

/// Why a slot of this node is not closed: keys of it may be on two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Keys leave for the node with this number.
    Migrating(usize),
    /// Keys come from the node with this number.
    Importing(usize),
}

/// The nodes of the cluster, with their slots. One node is this process.
#[derive(Clone, Debug)]
pub struct Nodes {
    nodes: Vec<Node>,
    me: usize,
    /// For each slot, the number of its owner plus one; 0: nobody.
    owners: Box<[u16]>,
    /// Number of slots that have an owner.
    assigned: u16,
    open: BTreeMap<u16, Opening>,
    /// The largest version of slots that any node has claimed.
    pub current_epoch: u64,
    /// The version for which this node has voted last.
    pub last_vote_epoch: u64,
}

impl Nodes {
    /// Creates a cluster of one node without slots.
    pub fn new(id: NodeId, shard_id: NodeId) -> Nodes {
        let mut me = Node::new(id, shard_id);
        me.flags.add(NodeFlags::PRIMARY);
        Nodes::of(vec![me], 0)
    }

    /// Creates a cluster of these nodes without slots. `me` is the number of this process.
    pub(super) fn of(nodes: Vec<Node>, me: usize) -> Nodes {
        assert!(me < nodes.len() && nodes.len() <= NODES_MAX);
        Nodes {
            nodes,
            me,
            owners: vec![0; usize::from(SLOT_COUNT)].into(),
            assigned: 0,
            open: BTreeMap::new(),
            current_epoch: 0,
            last_vote_epoch: 0,
        }
    }

    /// Returns the node of this process.
    pub fn me(&self) -> &Node {
        &self.nodes[self.me]
    }

    /// Returns the node of this process, to be changed.
    pub fn me_mut(&mut self) -> &mut Node {
        &mut self.nodes[self.me]
    }

    /// Returns the number of this process's node.
    pub fn my_number(&self) -> usize {
        self.me
    }

    /// Returns all nodes, by number.
    pub fn all(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns the number of the node with this id.
    pub fn find(&self, id: &[u8]) -> Option<usize> {
        self.nodes.iter().position(|node| node.id.bytes() == id)
    }

    /// Returns the number of the node that serves a slot.
    #[inline]
    pub fn owner(&self, slot: u16) -> Option<usize> {
        usize::from(self.owners[usize::from(slot)]).checked_sub(1)
    }

    /// Returns whether this node serves a slot.
    #[inline]
    pub fn is_mine(&self, slot: u16) -> bool {
        usize::from(self.owners[usize::from(slot)]) == self.me + 1
    }

    /// Returns whether no slot is open.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.open.is_empty()
    }

    /// Returns why a slot is open; none if it is not.
    pub fn opening(&self, slot: u16) -> Option<Opening> {
        self.open.get(&slot).copied()
    }

    /// Returns all open slots.
    pub fn openings(&self) -> impl Iterator<Item = (u16, Opening)> {
        self.open.iter().map(|(slot, opening)| (*slot, *opening))
    }

    /// Returns the slots of a node as ranges, both ends included.
    pub fn ranges(&self, number: usize) -> Vec<(u16, u16)> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for slot in (0..SLOT_COUNT).filter(|slot| self.owner(*slot) == Some(number)) {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == slot => *last = slot,
                _ => ranges.push((slot, slot)),
            }
        }
        ranges
    }

    /// Returns the number of slots that have an owner.
    pub fn assigned(&self) -> u16 {
        self.assigned
    }

    /// Returns the number of primaries that serve a slot.
    pub fn size(&self) -> usize {
        let mut has_slots = vec![false; self.nodes.len() + 1];
        self.owners.iter().for_each(|owner| has_slots[usize::from(*owner)] = true);
        let serves = |(number, node): &(usize, &Node)| has_slots[number + 1] && !node.is_replica();
        self.nodes.iter().enumerate().filter(serves).count()
    }

    /// Returns whether the cluster is up: every slot is served, or the settings do not ask for
    /// that. Without any slot the cluster is down.
    #[inline]
    pub fn is_up(&self, requires_all: bool) -> bool {
        self.assigned == SLOT_COUNT || (!requires_all && self.assigned > 0)
    }

    /// Returns the largest version of slots that is known.
    pub fn max_epoch(&self) -> u64 {
        let epochs = self.nodes.iter().map(|node| node.config_epoch);
        epochs.max().unwrap_or(0).max(self.current_epoch)
    }
}

/// Changes.
impl Nodes {
    /// Makes a node the owner of a slot, or nobody.
    pub fn assign(&mut self, slot: u16, to: Option<usize>) {
        assert!(to.is_none_or(|number| number < self.nodes.len()));
        let owner = &mut self.owners[usize::from(slot)];
        self.assigned -= u16::from(*owner > 0);
        *owner = to.map_or(0, |number| number as u16 + 1);
        self.assigned += u16::from(to.is_some());
    }

    /// Opens a slot, or closes it.
    pub fn open(&mut self, slot: u16, opening: Option<Opening>) {
        match opening {
            Some(opening) => self.open.insert(slot, opening),
            None => self.open.remove(&slot),
        };
    }

    /// Gives this node the largest version of slots, unless it has that already. Returns whether
    /// its version has changed.
    pub fn bump_epoch(&mut self) -> bool {
        let mine = self.me().config_epoch;
        if mine != 0 && mine == self.max_epoch() {
            return false;
        }
        self.current_epoch += 1;
        self.me_mut().config_epoch = self.current_epoch;
        true
    }

    /// Removes a node with its slots. It must not be this process.
    pub fn forget(&mut self, number: usize) {
        assert!(number != self.me, "a node never forgets itself");
        self.nodes.remove(number);
        self.me -= usize::from(self.me > number);
        for slot in 0..SLOT_COUNT {
            match self.owner(slot) {
                Some(owner) if owner == number => self.assign(slot, None),
                Some(owner) if owner > number => self.assign(slot, Some(owner - 1)),
                _ => {}
            }
        }
        let moved = |other: usize| (other != number).then(|| other - usize::from(other > number));
        let old = std::mem::take(&mut self.open);
        self.open = old
            .into_iter()
            .filter_map(|(slot, opening)| {
                let opening = match opening {
                    Opening::Migrating(other) => Opening::Migrating(moved(other)?),
                    Opening::Importing(other) => Opening::Importing(moved(other)?),
                };
                Some((slot, opening))
            })
            .collect();
    }

    /// Forgets all other nodes, all slots and all openings. A new shard begins.
    pub fn reset(&mut self, shard_id: NodeId) {
        let mut me = self.me().clone();
        me.shard_id = shard_id;
        let (current_epoch, last_vote_epoch) = (self.current_epoch, self.last_vote_epoch);
        *self = Nodes { current_epoch, last_vote_epoch, ..Nodes::of(vec![me], 0) };
    }
}
