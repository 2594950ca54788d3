//! Nodes in the order of their ids.
//!
//! ```text
//!   chunks   [ n n n ... ] [ n n n ... ] [ n ]     a ring of rings of up to 128 nodes
//! ```
//! Nodes come at the back and mostly go at the front. A node that goes in the middle moves some of
//! its chunk; a chunk that is empty goes too. Chunks are never joined: what is left of them is at
//! least a node each.

use super::id::Id;
use super::node::Node;
use std::collections::VecDeque;

const CHUNK_NODES_MAX: usize = 128;

/// Nodes in the order of their ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    chunks: VecDeque<VecDeque<Node>>,
    len: usize,
}

/// Where a node is; good until nodes come or go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    chunk: usize,
    index: usize,
}

impl Nodes {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, place: Place) -> &Node {
        &self.chunks[place.chunk][place.index]
    }

    pub fn get_mut(&mut self, place: Place) -> &mut Node {
        &mut self.chunks[place.chunk][place.index]
    }

    pub fn first(&self) -> Option<&Node> {
        self.chunks.front()?.front()
    }

    pub fn first_mut(&mut self) -> Option<&mut Node> {
        self.chunks.front_mut()?.front_mut()
    }

    pub fn last(&self) -> Option<&Node> {
        self.chunks.back()?.back()
    }

    pub fn last_mut(&mut self) -> Option<&mut Node> {
        self.chunks.back_mut()?.back_mut()
    }

    /// The last node whose id is at most this one, or the first node.
    pub fn seek(&self, id: Id) -> Option<Place> {
        let starts = |chunk: &VecDeque<Node>| chunk.front().is_some_and(|node| node.id <= id);
        let chunk = self.chunks.partition_point(starts).saturating_sub(1);
        let nodes = self.chunks.get(chunk)?;
        let index = nodes.partition_point(|node| node.id <= id).saturating_sub(1);
        Some(Place { chunk, index })
    }

    pub fn next(&self, place: Place) -> Option<Place> {
        if place.index + 1 < self.chunks[place.chunk].len() {
            return Some(Place { index: place.index + 1, ..place });
        }
        let chunk = place.chunk + 1;
        (chunk < self.chunks.len()).then_some(Place { chunk, index: 0 })
    }

    pub fn previous(&self, place: Place) -> Option<Place> {
        if let Some(index) = place.index.checked_sub(1) {
            return Some(Place { index, ..place });
        }
        let chunk = place.chunk.checked_sub(1)?;
        Some(Place { chunk, index: self.chunks[chunk].len() - 1 })
    }

    /// Appends a node, whose id is larger than those of all others.
    pub fn push(&mut self, node: Node) {
        debug_assert!(self.last().is_none_or(|last| last.id < node.id));
        match self.chunks.back_mut() {
            Some(chunk) if chunk.len() < CHUNK_NODES_MAX => chunk.push_back(node),
            _ => {
                let mut chunk = VecDeque::with_capacity(1);
                chunk.push_back(node);
                self.chunks.push_back(chunk);
            }
        }
        self.len += 1;
    }

    pub fn remove(&mut self, place: Place) -> Node {
        let chunk = &mut self.chunks[place.chunk];
        let node = chunk.remove(place.index).expect("it is there");
        if chunk.is_empty() {
            self.chunks.remove(place.chunk);
        }
        self.len -= 1;
        node
    }

    pub fn pop_first(&mut self) -> Option<Node> {
        self.len.checked_sub(1)?;
        Some(self.remove(Place { chunk: 0, index: 0 }))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Node> {
        self.chunks.iter().flatten()
    }

    /// Bytes of memory without the nodes' own.
    pub fn memory_bytes(&self) -> usize {
        let rings = self.chunks.capacity() * size_of::<VecDeque<Node>>();
        let nodes: usize = self.chunks.iter().map(VecDeque::capacity).sum();
        rings + nodes * size_of::<Node>()
    }

    pub fn check(&self) {
        assert_eq!(self.len, self.iter().count());
        assert!(self.chunks.iter().all(|chunk| (1..=CHUNK_NODES_MAX).contains(&chunk.len())));
        assert!(self.iter().is_sorted_by(|left, right| left.id < right.id));
    }
}
