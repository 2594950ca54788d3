//! Where a cut of all partitions goes: what the partitions are told, and what they push.

use crate::rdb::Unpacked;
use crate::value::Object;
use bytes::Bytes;
use std::fmt::Debug;
use std::sync::Arc;

/// A part of a file's body. It begins with the number of its database, so the pieces of all
/// partitions may follow each other in any order.
#[derive(Debug)]
pub enum CutPiece {
    /// Encoded keys.
    Keys {
        /// The bytes, in order: encoded keys, and the bytes of a large string behind them.
        parts: [Bytes; 2],
        /// The strings in the first part that are compressed when they are written.
        unpacked: Vec<Unpacked>,
        /// Number of keys.
        keys: u32,
    },
    /// One key whose value is encoded when it is written.
    Value(Box<dyn LaterValue>),
}

impl CutPiece {
    /// Returns the bytes of memory that the piece keeps. A value that is encoded later is shared
    /// with its slice and counts nothing.
    pub fn bytes(&self) -> usize {
        match self {
            CutPiece::Keys { parts, unpacked, .. } => {
                parts.iter().map(Bytes::len).sum::<usize>() + size_of_val(&unpacked[..])
            }
            CutPiece::Value(_) => 0,
        }
    }
}

/// A key and its value, which a cut shares until they are encoded.
pub trait LaterValue: Debug + Send {
    /// Encodes the key and lets go of its value. Calls `write` with the bytes, in pieces. Returns
    /// the oldest version of the format that supports them. O(elements).
    fn encode(&mut self, write: &mut dyn FnMut(&mut Vec<u8>)) -> u32;

    /// Returns the key with its value, instead of encoding it.
    fn take(&mut self) -> LaterKey;
}

/// A key with a value that is shared with its slice.
#[derive(Debug)]
pub struct LaterKey {
    /// Number of the database.
    pub db: usize,
    /// Name of the key.
    pub key: Box<[u8]>,
    /// When the key expires, in Unix milliseconds.
    pub expiry: Option<u64>,
    /// The value.
    pub value: Arc<Object>,
}

/// What precedes the keys of a file, encoded.
#[derive(Clone, Debug, Default)]
pub struct FileHead {
    /// The auxiliary fields.
    pub facts: Vec<u8>,
    /// The function libraries.
    pub functions: Vec<u8>,
}

/// Takes the pieces of a cut. No call blocks.
pub trait CutSink: Debug + Send + Sync {
    /// Records that one more partition has begun its cut. Returns whether it is the last one.
    fn join(&self) -> bool;

    /// Sets what precedes the pieces. The last partition calls it.
    fn set_head(&self, head: FileHead);

    /// Returns whether the file is the base of an append-only file.
    fn is_aof_base(&self) -> bool;

    /// Takes a piece.
    fn push(&self, piece: CutPiece);

    /// Returns whether walks must pause. When they may go on, all shards are woken. Keys that are
    /// about to change are pushed nevertheless.
    fn is_full(&self) -> bool;

    /// Returns whether changes of keys have pushed more than the sink may hold, so that no client
    /// is served until there is room.
    fn is_overfull(&self) -> bool;

    /// Returns whether the most values wait to be encoded, so that a value that is about to change
    /// must be encoded at once.
    fn is_crowded(&self) -> bool;

    /// Returns whether nobody wants the pieces any more.
    fn is_abandoned(&self) -> bool;
}

/// What the partitions are told about a cut.
#[derive(Clone, Debug)]
pub struct CutOrder {
    /// The number of the barrier whose mark the partitions write into the feed. Without a mark the
    /// cut has no position in the feed, and the feed may be off.
    pub mark: Option<u64>,
    /// Where the pieces go; none: back to the barrier, with the replies.
    pub sink: Option<Arc<dyn CutSink>>,
    /// Whether the process stops or reloads after the cut. If so, the partitions begin no unit
    /// after it.
    pub is_last: bool,
}

impl PartialEq for CutOrder {
    fn eq(&self, other: &CutOrder) -> bool {
        let sinks = match (&self.sink, &other.sink) {
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            (one, two) => one.is_none() && two.is_none(),
        };
        (self.mark, self.is_last) == (other.mark, other.is_last) && sinks
    }
}
