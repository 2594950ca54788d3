//! Questions of DEBUG to all shards. Each shard replies for its own keys.

use super::command::Merge;

/// A question about keys or about the tables that hold them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DebugAsk {
    /// The digest of all keys.
    Digest,
    /// The digests of these keys' values, in the given database.
    ValueDigests(usize, Vec<Box<[u8]>>),
    /// The encoding of a key's value.
    Object {
        /// The database.
        db: usize,
        /// The key.
        key: Box<[u8]>,
        /// Whether to leave out what takes long to compute.
        is_fast: bool,
    },
    /// Memory of the tables of a database, with details if the second field is set.
    Tables(usize, bool),
    /// Creates keys that do not exist yet.
    Populate {
        /// The database.
        db: usize,
        /// Number of keys. Their names end in `:0`, `:1` and so on.
        keys: u64,
        /// Prefix of their names.
        prefix: Box<[u8]>,
        /// Bytes of each value. 0 means as long as its text.
        value_bytes: usize,
    },
}

/// How the shards' replies, which are all bulk strings, are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugMerge {
    /// Partial digests of the databases: a database number in 4 bytes, then its partial digest.
    Digest,
    /// One digest for each key. Zeros stand for a key of another shard.
    ValueDigests,
    /// Text from the key's owner, nothing from other shards.
    Owner,
    /// Numbers, which are added one by one. The last number says whether details are requested.
    Tables,
}

impl DebugAsk {
    /// Returns how the replies are merged.
    pub fn merge(&self) -> Merge {
        match self {
            DebugAsk::Digest => Merge::Debug(DebugMerge::Digest),
            DebugAsk::ValueDigests(..) => Merge::Debug(DebugMerge::ValueDigests),
            DebugAsk::Object { .. } => Merge::Debug(DebugMerge::Owner),
            DebugAsk::Tables(..) => Merge::Debug(DebugMerge::Tables),
            DebugAsk::Populate { .. } => Merge::Ok,
        }
    }
}
