//! An inner node of the tree, with a summary of each child that saves reading the child. Hot; bench
//! `sorted_set`.

/// The most children of a node.
pub(super) const CHILDREN_MAX: usize = 48;

/// Two nodes are merged only up to this number of children.
const MERGED_CHILDREN_MAX: usize = 36;

/// A node with fewer children is merged with a neighbour, if both fit.
const CHILDREN_FEW: usize = 12;

/// A node's summary of a child.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Child {
    /// Id of the child.
    pub(super) id: u32,
    /// Number of members below the child.
    pub(super) count: u32,
    /// The leaf that contains the child's first member.
    pub(super) first: u32,
    /// Score of the child's first member.
    pub(super) score: f64,
}

/// A node: children in order.
#[derive(Clone, Debug)]
pub(super) struct Node {
    scores: [f64; CHILDREN_MAX],
    counts: [u32; CHILDREN_MAX],
    ids: [u32; CHILDREN_MAX],
    firsts: [u32; CHILDREN_MAX],
    len: u8,
    /// Levels below the node; 1 if its children are leaves.
    pub(super) height: u8,
    /// The parent node, or 0.
    pub(super) parent: u32,
}

impl Node {
    /// Creates a node without children.
    pub(super) fn new(height: u8) -> Node {
        Node {
            scores: [0.0; CHILDREN_MAX],
            counts: [0; CHILDREN_MAX],
            ids: [0; CHILDREN_MAX],
            firsts: [0; CHILDREN_MAX],
            len: 0,
            height,
            parent: 0,
        }
    }

    /// Returns the number of children.
    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Returns the ids of the children.
    #[inline]
    pub(super) fn ids(&self) -> &[u32] {
        &self.ids[..self.len()]
    }

    /// Returns the number of members below each child.
    #[inline]
    pub(super) fn counts(&self) -> &[u32] {
        &self.counts[..self.len()]
    }

    /// Returns the lowest score below each child.
    #[inline]
    pub(super) fn scores(&self) -> &[f64] {
        &self.scores[..self.len()]
    }

    /// Returns the leaf that contains each child's first member.
    #[inline]
    pub(super) fn firsts(&self) -> &[u32] {
        &self.firsts[..self.len()]
    }

    /// Returns the index of the child with this id.
    #[inline]
    pub(super) fn place_of(&self, id: u32) -> usize {
        self.ids().iter().position(|other| *other == id).expect("a node lists all its children")
    }

    /// Returns whether there is room for one more child.
    pub(super) fn has_room(&self) -> bool {
        self.len() < CHILDREN_MAX
    }

    /// Returns the summary of a child.
    pub(super) fn child(&self, at: usize) -> Child {
        assert!(at < self.len());
        Child {
            id: self.ids[at],
            count: self.counts[at],
            first: self.firsts[at],
            score: self.scores[at],
        }
    }

    /// Replaces the summary of a child.
    pub(super) fn put(&mut self, at: usize, child: Child) {
        self.ids[at] = child.id;
        self.counts[at] = child.count;
        self.firsts[at] = child.first;
        self.scores[at] = child.score;
    }

    /// Adds `more` to the number of members below a child.
    #[inline]
    pub(super) fn add_to_count(&mut self, at: usize, more: i64) {
        self.counts[at] = (i64::from(self.counts[at]) + more) as u32;
    }

    /// Updates the first member of a child.
    #[inline]
    pub(super) fn put_first(&mut self, at: usize, first: u32, score: f64) {
        self.firsts[at] = first;
        self.scores[at] = score;
    }

    /// Returns the summary of this node, for its parent. `id` is the id of this node.
    pub(super) fn summary(&self, id: u32) -> Child {
        let count = self.counts().iter().sum();
        Child { id, count, first: self.firsts[0], score: self.scores[0] }
    }

    /// Inserts a child. The node must have room.
    pub(super) fn insert(&mut self, at: usize, child: Child) {
        let len = self.len();
        assert!(at <= len && len < CHILDREN_MAX);
        self.scores.copy_within(at..len, at + 1);
        self.counts.copy_within(at..len, at + 1);
        self.ids.copy_within(at..len, at + 1);
        self.firsts.copy_within(at..len, at + 1);
        self.len += 1;
        self.put(at, child);
    }

    /// Removes a child.
    pub(super) fn remove(&mut self, at: usize) {
        let len = self.len();
        assert!(at < len);
        self.scores.copy_within(at + 1..len, at);
        self.counts.copy_within(at + 1..len, at);
        self.ids.copy_within(at + 1..len, at);
        self.firsts.copy_within(at + 1..len, at);
        self.len -= 1;
    }

    /// Appends the children from index `at` on to another node, and removes them from this node.
    pub(super) fn move_tail(&mut self, at: usize, to: &mut Node) {
        for place in at..self.len() {
            to.insert(to.len(), self.child(place));
        }
        self.len = at as u8;
    }

    /// Returns whether the node has few children and may be merged with a neighbour.
    pub(super) fn is_sparse(&self) -> bool {
        self.len() < CHILDREN_FEW
    }

    /// Returns whether two nodes fit into one, with some room left.
    pub(super) fn fits_with(&self, other: &Node) -> bool {
        self.len() + other.len() <= MERGED_CHILDREN_MAX
    }
}
