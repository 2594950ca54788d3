//! Ids of nodes and of shards of the cluster: 40 characters.

use crate::base::rng::Rng;
use sha1::{Digest, Sha1};
use std::fmt;

/// Length of an id in bytes.
pub const NODE_ID_BYTES: usize = 40;

/// The id of a node, or of a shard of the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId([u8; NODE_ID_BYTES]);

impl NodeId {
    /// Returns a random id of hexadecimal digits.
    pub fn random(rng: &mut Rng) -> NodeId {
        let mut id = [0; NODE_ID_BYTES];
        id.fill_with(|| hex(rng.below(16) as u8));
        NodeId(id)
    }

    /// Returns the id with this text; none if it has another length, or characters other than
    /// digits and lower-case letters.
    pub fn parse(text: &[u8]) -> Option<NodeId> {
        let id: [u8; NODE_ID_BYTES] = text.try_into().ok()?;
        let is_valid = id.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        is_valid.then_some(NodeId(id))
    }

    /// Returns the id under which shard `shard` of this node appears to clients, if shards have
    /// ports of their own. Shard 0 has the id of the node.
    pub fn of_shard(&self, shard: usize) -> NodeId {
        if shard == 0 {
            return *self;
        }
        let digest = Sha1::new().chain_update(self.0).chain_update((shard as u64).to_be_bytes());
        let mut id = [0; NODE_ID_BYTES];
        for (at, byte) in digest.finalize().into_iter().enumerate() {
            (id[2 * at], id[2 * at + 1]) = (hex(byte >> 4), hex(byte & 15));
        }
        NodeId(id)
    }

    /// Returns the text of the id.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{}", char::from(*byte)))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn hex(digit: u8) -> u8 {
    b"0123456789abcdef"[usize::from(digit)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_forty_digits_or_letters() {
        let id = NodeId::random(&mut Rng::new(1));
        assert_eq!(NodeId::parse(id.bytes()), Some(id));
        assert_eq!(id.to_string().len(), NODE_ID_BYTES);
        for text in [&b""[..], &[b'a'; 39], &[b'a'; 41], &[b'A'; 40], &[b'-'; 40]] {
            assert_eq!(NodeId::parse(text), None);
        }
    }

    #[test]
    fn shards_have_ids_of_their_own_that_never_change() {
        let id = NodeId::parse(&[b'7'; 40]).expect("digits");
        assert_eq!(id.of_shard(0), id);
        assert_eq!(id.of_shard(1).to_string(), "49b7d415a145b206db885d8912ef5297a39d2e0f");
        assert_ne!(id.of_shard(2), id.of_shard(1));
        assert!(NodeId::parse(id.of_shard(3).bytes()).is_some());
    }
}
