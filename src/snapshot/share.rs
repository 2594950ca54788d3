//! One shard's contribution to a snapshot: its keys, encoded at once or during a cut.
//!
//! ```text
//!   share      first piece: u8 version that the body needs | u64 the shard's count of changes
//!              further pieces: the body
//!
//!   cut ---save---> open piece --long enough--> pieces --complete--> share
//!     |  '-a long string: a piece of its own, without a copy ^
//!     '--lend--> lent --another thread encodes it------------'
//! ```
//! A piece does not move once it is complete, so no call copies a long body.
//!
//! A cut may have a sink instead, which takes the pieces at once. Each then begins with the number
//! of its database. The sink also takes the lent values: they are encoded when they are written.

use crate::exec::{CutPiece, CutSink, LaterKey, LaterValue};
use crate::keyspace::{Consumer, Slice, View};
use crate::rdb::{Encoder, Packer, VERSION};
use crate::value::Object;
use crate::value::string::Str;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of the first piece of a share.
const HEAD_BYTES: usize = 9;

/// Bytes from which on a piece is complete.
const PIECE_BYTES: usize = 256 << 10;

/// Bytes of further memory for the last key of a piece.
const PIECE_ROOM_BYTES: usize = 16 << 10;

/// A string of at least this number of bytes is neither copied nor compressed during a cut.
const STRING_SHARED_BYTES_MIN: usize = 32 << 10;

/// A walk pauses while this number of lent values is not encoded.
pub(super) const LENT_MAX: usize = 8;

/// A value that changes is encoded at once if this number of lent values is not encoded.
pub(super) const LENT_CHANGING_MAX: usize = 64;

/// One shard's contribution to a snapshot.
#[derive(Clone, Debug)]
pub struct Share {
    /// The oldest version that supports all that is in the body.
    pub version: u32,
    /// The number of changes that the shard has counted so far.
    pub changes: u64,
    /// The encoded keys, in pieces.
    pub body: Vec<Bytes>,
}

impl Share {
    /// Encodes the keys of a slice. O(keys).
    pub fn save(slice: &mut Slice, is_packing: bool, changes: u64) -> Share {
        let mut body = Vec::new();
        let version = save_slice(slice, is_packing, &mut body);
        Share { version, changes, body: vec![body.into()] }
    }

    /// Returns the pieces in which the share is sent to another shard.
    pub fn into_pieces(self) -> Vec<Bytes> {
        let mut head = vec![u8::try_from(self.version).expect("a version fits into a byte")];
        head.extend_from_slice(&self.changes.to_le_bytes());
        std::iter::once(head.into()).chain(self.body).collect()
    }

    /// Passes the share's keys to a sink.
    pub fn push_to(self, sink: &dyn CutSink) {
        for piece in self.body {
            let (parts, unpacked) = ([piece, Bytes::new()], Vec::new());
            sink.push(CutPiece::Keys { parts, unpacked, keys: 0 });
        }
    }

    /// Decodes a share that another shard has sent.
    pub fn read(mut pieces: Vec<Bytes>) -> Share {
        let head = pieces.remove(0);
        assert_eq!(head.len(), HEAD_BYTES);
        let changes = u64::from_le_bytes(head[1..].try_into().expect("the count has 8 bytes"));
        Share { version: head[0].into(), changes, body: pieces }
    }
}

/// Appends the keys of all databases of a slice, without expired keys. Returns the oldest version
/// that supports all that was written. O(keys).
pub fn save_slice(slice: &mut Slice, is_packing: bool, out: &mut Vec<u8>) -> u32 {
    let mut encoder = Encoder::new(out, is_packing);
    for db in 0..slice.databases() {
        if slice.is_empty(db) {
            continue;
        }
        encoder.database(db, slice.len(db), slice.volatile_len(db));
        slice.for_each_key(db, &mut |_, view| save_key(&mut encoder, view));
    }
    encoder.version()
}

fn save_key(encoder: &mut Encoder<'_>, view: &View<'_>) {
    let (key, expiry) = (view.key(), view.expiry());
    if let Some(value) = view.string() {
        encoder.string_entry(key, expiry, &value);
    }
    view.with_object(|object| encoder.object_entry(key, expiry, object));
}

/// A value that a cut shares until it is encoded.
#[derive(Debug)]
pub struct Lent {
    db: usize,
    key: Box<[u8]>,
    expiry: Option<u64>,
    /// The value; none once it is encoded.
    value: Option<Arc<Object>>,
    is_packing: bool,
    encoded: Vec<u8>,
    version: u32,
}

impl Lent {
    /// Returns the number of elements.
    pub fn elements(&self) -> usize {
        self.value.as_ref().map_or(0, |value| value.by_ref().len())
    }

    /// Encodes the value and lets go of it, on any thread. O(elements).
    pub fn encode(&mut self) {
        let value = self.value.take().expect("a value is encoded once");
        let mut encoder = Encoder::new(&mut self.encoded, self.is_packing);
        encoder.object_entry(&self.key, self.expiry, value.by_ref());
        self.version = encoder.version();
    }
}

impl LaterValue for Lent {
    fn encode(&mut self, write: &mut dyn FnMut(&mut Vec<u8>)) -> u32 {
        let value = self.value.take().expect("a value is encoded once");
        let mut encoder = Encoder::spilling(&mut self.encoded, self.is_packing, write);
        encoder.select(self.db);
        encoder.object_entry(&self.key, self.expiry, value.by_ref());
        let version = encoder.version();
        write(&mut self.encoded);
        version
    }

    fn take(&mut self) -> LaterKey {
        let value = self.value.take().expect("a value is taken once");
        LaterKey { db: self.db, key: self.key.clone(), expiry: self.expiry, value }
    }
}

/// Encodes the keys of a cut.
#[derive(Debug)]
pub struct ShareWriter {
    is_packing: bool,
    /// The number of changes at the cut.
    changes: u64,
    /// A key with an earlier expiry, in Unix milliseconds, had expired at the cut.
    due_before_ms: u64,
    /// For each database, the numbers of keys and of keys with an expiry at the cut; none once they
    /// are written.
    sizes: Vec<Option<(usize, usize)>>,
    /// The database of the entry that was written last.
    db: Option<usize>,
    version: u32,
    packer: Option<Packer>,
    open: Vec<u8>,
    pieces: Vec<Bytes>,
    /// Values to encode.
    lent: VecDeque<Lent>,
    /// Number of values that were taken for encoding and did not come back.
    under_way: usize,
    /// Takes the pieces; none if they stay here.
    sink: Option<Arc<dyn CutSink>>,
    /// Number of keys in the open piece.
    open_keys: u32,
}

impl ShareWriter {
    /// Creates the writer for a cut of this slice, which begins now, with an optional sink for its
    /// pieces. Later it leaves out the keys that expire before `due_before_ms`, in Unix
    /// milliseconds.
    pub fn new(
        slice: &Slice,
        is_packing: bool,
        changes: u64,
        due_before_ms: u64,
        sink: Option<Arc<dyn CutSink>>,
    ) -> ShareWriter {
        // A sink has a thread that compresses.
        let packer = match &sink {
            Some(_) => Packer::for_later(),
            None => Packer::default(),
        };
        let sizes = (0..slice.databases()).map(|db| Some((slice.len(db), slice.volatile_len(db))));
        ShareWriter {
            is_packing,
            changes,
            due_before_ms,
            sizes: sizes.collect(),
            db: None,
            version: VERSION,
            packer: is_packing.then_some(packer),
            open: Vec::new(),
            pieces: Vec::new(),
            lent: VecDeque::new(),
            under_way: 0,
            sink,
            open_keys: 0,
        }
    }

    /// Takes a value to encode; give it back with [`ShareWriter::put_encoded`].
    pub fn take_lent(&mut self) -> Option<Lent> {
        let lent = self.lent.pop_front()?;
        self.under_way += 1;
        Some(lent)
    }

    /// Takes an encoded value back.
    pub fn put_encoded(&mut self, lent: Lent) {
        assert!(lent.value.is_none() && self.under_way > 0, "it was taken and encoded");
        self.under_way -= 1;
        self.write_encoded(lent);
    }

    fn write_encoded(&mut self, lent: Lent) {
        self.write_on(lent.db, |_| {});
        self.version = self.version.max(lent.version);
        self.add_piece(lent.encoded.into());
    }

    /// Returns whether every key that came is encoded.
    pub fn is_done(&self) -> bool {
        self.lent.is_empty() && self.under_way == 0
    }

    /// Returns the share.
    pub fn into_share(mut self) -> Share {
        assert!(self.is_done(), "a share has all keys");
        self.end_piece();
        Share { version: self.version, changes: self.changes, body: self.pieces }
    }

    /// Writes a key to the open piece, and completes the piece if it is long enough.
    fn write(&mut self, db: usize, write: impl FnOnce(&mut Encoder<'_>)) {
        self.write_on(db, write);
        if self.open.len() >= PIECE_BYTES {
            self.end_piece();
        }
    }

    /// Writes to the open piece, behind the number of the database if it has changed.
    fn write_on(&mut self, db: usize, write: impl FnOnce(&mut Encoder<'_>)) {
        if self.open.capacity() == 0 {
            self.open.reserve(PIECE_BYTES + PIECE_ROOM_BYTES);
        }
        let mut encoder = Encoder::resume(&mut self.open, self.packer.take());
        if self.db.replace(db) != Some(db) {
            match self.sizes[db].take() {
                Some((keys, volatile)) => encoder.database(db, keys, volatile),
                None => encoder.select(db),
            }
        }
        write(&mut encoder);
        self.version = self.version.max(encoder.version());
        self.packer = encoder.into_packer();
        self.open_keys += 1;
    }

    /// Completes the open piece. A short one is copied, so that it takes no more memory than it
    /// needs.
    fn end_piece(&mut self) {
        if self.sink.is_some() {
            return self.push_open(Bytes::new());
        }
        if self.open.len() >= PIECE_BYTES / 2 {
            self.pieces.push(std::mem::take(&mut self.open).into());
        } else if !self.open.is_empty() {
            self.pieces.push(Bytes::copy_from_slice(&self.open));
            self.open.clear();
        }
    }

    /// Pushes the open piece to the sink, with the bytes behind it. The next piece begins with the
    /// number of its database, because other pieces may come in between.
    fn push_open(&mut self, behind: Bytes) {
        let Some(sink) = self.sink.as_ref().filter(|_| !self.open.is_empty()) else { return };
        let open = match self.open.len() >= PIECE_BYTES / 2 {
            true => std::mem::take(&mut self.open).into(),
            false => Bytes::copy_from_slice(&self.open),
        };
        self.open.clear();
        let unpacked = self.packer.as_mut().map(Packer::take_recorded).unwrap_or_default();
        sink.push(CutPiece::Keys { parts: [open, behind], unpacked, keys: self.open_keys });
        self.open_keys = 0;
        self.db = None;
    }

    /// Adds a piece that exists already, directly behind what was written last.
    fn add_piece(&mut self, piece: Bytes) {
        if self.sink.is_some() {
            return self.push_open(piece);
        }
        self.end_piece();
        self.pieces.push(piece);
    }

    fn is_over(&self, expiry: Option<u64>) -> bool {
        expiry.is_some_and(|at| at < self.due_before_ms)
    }
}

impl Consumer for ShareWriter {
    fn save(&mut self, db: usize, key: &View<'_>) {
        if self.is_over(key.expiry()) {
            return;
        }
        match key.string() {
            Some(Str::Large(value)) if value.len() >= STRING_SHARED_BYTES_MIN => {
                let (name, expiry, len) = (key.key(), key.expiry(), value.len());
                self.write_on(db, |encoder| encoder.string_ahead(name, expiry, len));
                self.add_piece(value.clone());
            }
            _ => self.write(db, |encoder| save_key(encoder, key)),
        }
    }

    fn lend(&mut self, db: usize, key: &[u8], expiry: Option<u64>, value: Arc<Object>) {
        if self.is_over(expiry) {
            return;
        }
        let mut lent = Lent {
            db,
            key: key.into(),
            expiry,
            value: Some(value),
            is_packing: self.is_packing,
            encoded: Vec::new(),
            version: VERSION,
        };
        let is_crowded = match &self.sink {
            Some(sink) => sink.is_crowded(),
            None => self.lent.len() + self.under_way >= LENT_CHANGING_MAX,
        };
        if is_crowded {
            Lent::encode(&mut lent);
            return self.write_encoded(lent);
        }
        if let Some(sink) = &self.sink {
            return sink.push(CutPiece::Value(Box::new(lent)));
        }
        self.lent.push_back(lent);
    }

    fn is_full(&self) -> bool {
        match &self.sink {
            Some(sink) => sink.is_full(),
            None => self.lent.len() + self.under_way >= LENT_MAX,
        }
    }

    fn is_abandoned(&self) -> bool {
        self.sink.as_ref().is_some_and(|sink| sink.is_abandoned())
    }
}
