//! What DEBUG asks of all shards: each answers for its own keys.

use super::command::Merge;

/// A question about keys, or about what holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DebugAsk {
    /// The digest of everything.
    Digest,
    /// The digests of the values of these keys.
    ValueDigests(usize, Vec<Box<[u8]>>),
    /// How a key's value is kept.
    Object {
        /// The database.
        db: usize,
        /// The key.
        key: Box<[u8]>,
        /// Without what takes time to find out.
        is_fast: bool,
    },
    /// What the tables of a database take; in more detail if the second is set.
    Tables(usize, bool),
    /// Makes keys that are not there yet.
    Populate {
        /// The database.
        db: usize,
        /// How many: their names end in `:0` and so on.
        keys: u64,
        /// What their names begin with.
        prefix: Box<[u8]>,
        /// Bytes of each value; 0: as many as its text has.
        value_bytes: usize,
    },
}

/// How the shards' answers, bulk texts all, become one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugMerge {
    /// Shares of the databases' digests: a database's number in 4 bytes, then its share.
    Digest,
    /// As many digests as there are keys, zeros for a key of another shard.
    ValueDigests,
    /// A text from the key's owner, nothing from the others.
    Owner,
    /// Numbers, to be added one by one; the last tells whether details are wanted.
    Tables,
}

impl DebugAsk {
    /// What becomes of the answers.
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
