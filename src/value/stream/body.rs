//! The bytes of a node: on their own while they grow or change, else beside those of its
//! neighbours.
//!
//! ```text
//!   pack   | node | node | node | ... |      one block of the allocator, up to PACK_BYTES
//! ```
//! A node of its own takes a size class, and loses a tenth of it on average. A full node is
//! therefore laid beside others; it leaves the pack again when it is to change, and the pack goes
//! with its last node.

use crate::base::alloc::class_bytes;
use std::ops::Deref;
use std::sync::Arc;

/// Bytes of a pack at most: a size class, of which less than one node is lost.
pub(super) const PACK_BYTES: usize = 256 << 10;

/// Bodies of more bytes stay on their own: a pack could not be filled well with them.
pub(super) const PACKED_BYTES_MAX: usize = PACK_BYTES / 16;

/// The bytes of several nodes.
#[derive(Debug)]
pub(super) struct Pack(Box<[u8]>);

/// The bytes of one.
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
    /// The bytes, to be changed.
    pub fn to_mut(&mut self) -> &mut Vec<u8> {
        if let Body::Packed { .. } = self {
            *self = Body::Own(self.to_vec());
        }
        match self {
            Body::Own(bytes) => bytes,
            Body::Packed { .. } => unreachable!("it was made its own above"),
        }
    }

    pub fn is_packed(&self) -> bool {
        matches!(self, Body::Packed { .. })
    }

    /// It does not grow any more.
    pub fn shrink(&mut self) {
        if let Body::Own(bytes) = self {
            bytes.shrink_to_fit();
        }
    }

    /// Whether few nodes of its pack are left.
    pub fn is_sparse(&self) -> bool {
        match self {
            Body::Own(_) => false,
            Body::Packed { pack, len, .. } => {
                Arc::strong_count(pack) * (*len as usize) < pack.0.len() / 4
            }
        }
    }

    /// Lays bodies side by side.
    pub fn pack<'b>(bodies: impl Iterator<Item = &'b mut Body>, total: usize) {
        let mut joined = Vec::with_capacity(total);
        let bodies: Vec<&mut Body> = bodies.collect();
        bodies.iter().for_each(|body| joined.extend_from_slice(body));
        assert!(joined.len() == total && total <= PACK_BYTES, "the caller has added them up");
        let pack = Arc::new(Pack(joined.into_boxed_slice()));
        let mut start = 0;
        for body in bodies {
            let len = body.len() as u32;
            *body = Body::Packed { pack: Arc::clone(&pack), start, len };
            start += len;
        }
    }

    /// Bytes of memory; those of a pack are shared out by what its nodes hold.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Body::Own(bytes) => class_bytes(bytes.capacity()),
            Body::Packed { len, .. } => *len as usize,
        }
    }
}
