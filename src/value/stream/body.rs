//! The bytes of a node: in their own allocation while the node changes, else in a pack of several
//! nodes.
//!
//! ```text
//!   pack   | node | node | node | ... |      one block of the allocator, up to PACK_BYTES
//! ```
//! An allocation for one node has a size class, and a tenth of it is unused on average. Therefore
//! full nodes are copied side by side into a pack. A node leaves the pack before it changes. The
//! pack is freed with its last node.

use crate::base::alloc::class_bytes;
use std::ops::Deref;
use std::sync::Arc;

/// The most bytes of a pack. This is a size class, and less than one node of it is unused.
pub(super) const PACK_BYTES: usize = 256 << 10;

/// Larger bodies are never packed, because a pack could not be filled well with them.
pub(super) const PACKED_BYTES_MAX: usize = PACK_BYTES / 16;

/// The bytes of several nodes.
#[derive(Debug)]
pub(super) struct Pack(Box<[u8]>);

/// The bytes of one node.
#[derive(Clone, Debug)]
pub(super) enum Body {
    Own(Vec<u8>),
    Packed { pack: Arc<Pack>, start: u32, len: u32 },
}

impl Deref for Body {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Body::Own(bytes) => bytes,
            Body::Packed { pack, start, len } => {
                let start = *start as usize;
                &pack.0[start..start + *len as usize]
            }
        }
    }
}

impl Body {
    /// Returns the bytes for changes. Copies them out of the pack first.
    pub fn to_mut(&mut self) -> &mut Vec<u8> {
        if let Body::Packed { .. } = self {
            *self = Body::Own(self.to_vec());
        }
        match self {
            Body::Own(bytes) => bytes,
            Body::Packed { .. } => unreachable!("the body was copied out of the pack above"),
        }
    }

    pub fn is_packed(&self) -> bool {
        matches!(self, Body::Packed { .. })
    }

    /// Releases spare capacity. The body must be complete.
    pub fn shrink(&mut self) {
        if let Body::Own(bytes) = self {
            bytes.shrink_to_fit();
        }
    }

    /// Returns whether less than about a quarter of the pack is in use, estimated from this node's
    /// length.
    pub fn is_sparse(&self) -> bool {
        match self {
            Body::Own(_) => false,
            Body::Packed { pack, len, .. } => {
                Arc::strong_count(pack) * (*len as usize) < pack.0.len() / 4
            }
        }
    }

    /// Copies bodies of `total` bytes in all into one pack, of at most [`PACK_BYTES`].
    pub fn pack<'b>(bodies: impl Iterator<Item = &'b mut Body>, total: usize) {
        let mut joined = Vec::with_capacity(total);
        let bodies: Vec<&mut Body> = bodies.collect();
        bodies.iter().for_each(|body| joined.extend_from_slice(body));
        assert!(joined.len() == total && total <= PACK_BYTES, "`total` is the sum of the bodies");
        let pack = Arc::new(Pack(joined.into_boxed_slice()));
        let mut start = 0;
        for body in bodies {
            let len = body.len() as u32;
            *body = Body::Packed { pack: Arc::clone(&pack), start, len };
            start += len;
        }
    }

    /// Returns the bytes of memory. For a packed body returns only its own length.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Body::Own(bytes) => class_bytes(bytes.capacity()),
            Body::Packed { len, .. } => *len as usize,
        }
    }
}
