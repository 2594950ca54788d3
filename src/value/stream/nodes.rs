//! The nodes of a stream in the order of their ids.
//!
//! ```text
//!   chunks   [ n n n ... ] [ n n n ... ] [ n ]     a ring buffer of rings of up to 128 nodes
//! ```
//! Nodes are added at the back and are mostly removed at the front. Removing a node in the middle
//! moves some nodes of its chunk. An empty chunk is removed too. Chunks are never joined: every
//! chunk has at least one node.

use super::body::{Body, PACK_BYTES, PACKED_BYTES_MAX};
use super::id::Id;
use super::node::Node;
use std::collections::VecDeque;

const CHUNK_NODES_MAX: usize = 128;

/// The most nodes of a pack. Bounds the work of packing very small nodes.
const PACK_NODES_MAX: usize = 1024;

/// The nodes of a stream in the order of their ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    chunks: VecDeque<VecDeque<Node>>,
    len: usize,
    /// Upper bound on the bytes of the last nodes that are not packed. Some may have been removed.
    loose_bytes: usize,
}

/// Location of a node. Valid until a node is added or removed.
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

    /// Returns the last node whose id is at most `id`. If there is none, returns the first node.
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

    /// Appends a node, whose id must be the largest. All earlier nodes must be full.
    pub fn push(&mut self, node: Node) {
        debug_assert!(self.last().is_none_or(|last| last.id < node.id));
        if let Some(last) = self.last_mut() {
            last.bytes.shrink();
            self.loose_bytes += self.last().map_or(0, |last| last.bytes.len());
            if self.loose_bytes >= PACK_BYTES {
                self.pack_last();
            }
        }
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
        let node = chunk.remove(place.index).expect("the node exists");
        if chunk.is_empty() {
            self.chunks.remove(place.chunk);
        }
        self.len -= 1;
        if node.bytes.is_sparse() {
            self.unpack(self.place_from(place), Nodes::next);
            self.unpack(
                self.place_from(place).and_then(|next| self.previous(next)),
                Nodes::previous,
            );
        }
        node
    }

    /// Packs the older ones of the last nodes that are not packed.
    fn pack_last(&mut self) {
        let is_loose =
            |node: &Node| !node.bytes.is_packed() && node.bytes.len() <= PACKED_BYTES_MAX;
        let nodes = self.chunks.iter_mut().rev().flat_map(|chunk| chunk.iter_mut().rev());
        let mut loose: Vec<&mut Node> =
            nodes.take_while(|node| is_loose(node)).take(PACK_NODES_MAX).collect();
        loose.reverse();
        let (mut total, mut count) = (0, 0);
        while count < loose.len() && total + loose[count].bytes.len() <= PACK_BYTES {
            total += loose[count].bytes.len();
            count += 1;
        }
        let left: usize = loose[count..].iter().map(|node| node.bytes.len()).sum();
        if total < PACK_BYTES / 2 {
            self.loose_bytes = total + left;
            return;
        }
        Body::pack(loose[..count].iter_mut().map(|node| &mut node.bytes), total);
        self.loose_bytes = left;
    }

    /// Returns the first node at `place` or after it.
    fn place_from(&self, place: Place) -> Option<Place> {
        let Place { chunk, index } = place;
        let len = self.chunks.get(chunk)?.len();
        let next = Place { chunk: chunk + 1, index: 0 };
        if index < len { Some(place) } else { (next.chunk < self.chunks.len()).then_some(next) }
    }

    /// Copies nodes out of sparse packs: from a place on, while the nodes are in a sparse pack.
    fn unpack(&mut self, from: Option<Place>, step: fn(&Nodes, Place) -> Option<Place>) {
        let mut at = from;
        while let Some(place) = at
            && self.get(place).bytes.is_sparse()
        {
            self.get_mut(place).bytes.to_mut();
            at = step(self, place);
        }
    }

    pub fn pop_first(&mut self) -> Option<Node> {
        self.len.checked_sub(1)?;
        Some(self.remove(Place { chunk: 0, index: 0 }))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Node> {
        self.chunks.iter().flatten()
    }

    /// Returns the bytes of memory, without the bytes of the nodes' listpacks.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    fn node(at: u64, bytes: usize) -> Node {
        let name = [b"n"];
        let value = vec![at as u8; bytes];
        let fields = name.iter().map(|name| (&name[..], &value[..]));
        let mut node = Node::new(Id::new(at, 0), fields.clone());
        node.push(Id::new(at, 0), fields);
        node
    }

    fn packed(nodes: &Nodes) -> usize {
        nodes.iter().filter(|node| node.bytes.is_packed()).count()
    }

    #[test]
    fn full_nodes_are_packed_until_they_change_or_their_pack_is_sparse() {
        let mut rng = Rng::new(3);
        let mut nodes = Nodes::default();
        let mut expected = Vec::new();
        for at in 0..1_000 {
            let bytes = rng.below(4_000) as usize;
            nodes.push(node(at, bytes));
            expected.push((at, bytes));
        }
        assert!(packed(&nodes) > 800, "{}", packed(&nodes));
        let place = nodes.seek(Id::new(10, 0)).expect("the node exists");
        assert!(nodes.get(place).bytes.is_packed());
        let at = nodes.get(place).find(Id::new(10, 0)).expect("the entry exists");
        nodes.get_mut(place).delete(at);
        assert!(!nodes.get(place).bytes.is_packed());
        let before = packed(&nodes);
        while expected.len() > 20 {
            let index = rng.below(expected.len() as u64) as usize;
            let (at, _) = expected.remove(index);
            let place = nodes.seek(Id::new(at, 0)).expect("the node exists");
            assert_eq!(nodes.remove(place).id, Id::new(at, 0));
            nodes.check();
        }
        assert!(before > 0 && packed(&nodes) < 20, "{} of {before}", packed(&nodes));
        for (at, bytes) in expected {
            let place = nodes.seek(Id::new(at, 0)).expect("the node exists");
            assert!(nodes.get(place).bytes.len() > bytes);
        }
        while nodes.pop_first().is_some() {}
        nodes.check();
    }

    #[test]
    fn large_nodes_are_not_packed() {
        let mut nodes = Nodes::default();
        for at in 0..100 {
            nodes.push(node(at, if at % 2 == 0 { 10 } else { PACKED_BYTES_MAX }));
        }
        assert_eq!(packed(&nodes), 0);
        nodes.check();
    }
}
