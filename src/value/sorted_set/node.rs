//! An inner node of the tree: what is known of each child without looking at it. Hot; bench
//! `sorted_set`.

/// Children of a node at most.
pub(super) const CHILDREN_MAX: usize = 48;

/// Children of two nodes that become one, at most.
const MERGED_CHILDREN_MAX: usize = 36;

/// A node with fewer children than this looks for one to become one with.
const CHILDREN_FEW: usize = 12;

/// What a node knows of a child.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Child {
    /// Its number.
    pub(super) id: u32,
    /// Members below it.
    pub(super) count: u32,
    /// The leaf with its first member.
    pub(super) first: u32,
    /// The score of its first member.
    pub(super) score: f64,
}

/// A node: children in their order.
#[derive(Clone, Debug)]
pub(super) struct Node {
    scores: [f64; CHILDREN_MAX],
    counts: [u32; CHILDREN_MAX],
    ids: [u32; CHILDREN_MAX],
    firsts: [u32; CHILDREN_MAX],
    len: u8,
    /// Levels below it: 1 if its children are leaves.
    pub(super) height: u8,
    /// The node above it, or 0.
    pub(super) parent: u32,
}

impl Node {
    /// One without children.
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

    /// How many children it has.
    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// The children's numbers.
    #[inline]
    pub(super) fn ids(&self) -> &[u32] {
        &self.ids[..self.len()]
    }

    /// How many members are below each child.
    #[inline]
    pub(super) fn counts(&self) -> &[u32] {
        &self.counts[..self.len()]
    }

    /// The lowest score below each child.
    #[inline]
    pub(super) fn scores(&self) -> &[f64] {
        &self.scores[..self.len()]
    }

    /// The leaf with each child's first member.
    #[inline]
    pub(super) fn firsts(&self) -> &[u32] {
        &self.firsts[..self.len()]
    }

    /// Which child has this number.
    #[inline]
    pub(super) fn place_of(&self, id: u32) -> usize {
        self.ids().iter().position(|other| *other == id).expect("a child of its parent")
    }

    /// Whether there is room for one more.
    pub(super) fn has_room(&self) -> bool {
        self.len() < CHILDREN_MAX
    }

    /// All that it knows of a child.
    pub(super) fn child(&self, at: usize) -> Child {
        assert!(at < self.len());
        Child {
            id: self.ids[at],
            count: self.counts[at],
            first: self.firsts[at],
            score: self.scores[at],
        }
    }

    /// Knows something else of a child.
    pub(super) fn put(&mut self, at: usize, child: Child) {
        self.ids[at] = child.id;
        self.counts[at] = child.count;
        self.firsts[at] = child.first;
        self.scores[at] = child.score;
    }

    /// There are so many more members below a child.
    #[inline]
    pub(super) fn add_to_count(&mut self, at: usize, more: i64) {
        self.counts[at] = (i64::from(self.counts[at]) + more) as u32;
    }

    /// A child has another first member.
    #[inline]
    pub(super) fn put_first(&mut self, at: usize, first: u32, score: f64) {
        self.firsts[at] = first;
        self.scores[at] = score;
    }

    /// The node as its parent knows it.
    pub(super) fn summary(&self, id: u32) -> Child {
        let count = self.counts().iter().sum();
        Child { id, count, first: self.firsts[0], score: self.scores[0] }
    }

    /// Takes a child in; there has to be room.
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

    /// Lets a child go.
    pub(super) fn remove(&mut self, at: usize) {
        let len = self.len();
        assert!(at < len);
        self.scores.copy_within(at + 1..len, at);
        self.counts.copy_within(at + 1..len, at);
        self.ids.copy_within(at + 1..len, at);
        self.firsts.copy_within(at + 1..len, at);
        self.len -= 1;
    }

    /// Moves the children from `at` on behind those of another node.
    pub(super) fn move_tail(&mut self, at: usize, to: &mut Node) {
        for place in at..self.len() {
            to.insert(to.len(), self.child(place));
        }
        self.len = at as u8;
    }

    /// Whether it has so few children that it may become one with another.
    pub(super) fn is_sparse(&self) -> bool {
        self.len() < CHILDREN_FEW
    }

    /// Whether two nodes fit into one, and leave room.
    pub(super) fn fits_with(&self, other: &Node) -> bool {
        self.len() + other.len() <= MERGED_CHILDREN_MAX
    }
}
