//! The keys of all slices as one RDB file in memory: a header, one body per slice, a footer.
//!
//! ```text
//!   part 0     magic, auxiliary fields, functions
//!   part 1..   the pieces of each slice's body
//!   last       the end mark
//!   footer     the checksum of all that, 8 bytes; each reader computes it while it reads
//! ```
//! A body consists of pieces. All readers share them. Each reader computes the checksum of the
//! bytes that it returns. Hence no code has to process a whole snapshot at once.

use super::share::Share;
use crate::rdb::{Checksum, END, Encoder, Preamble, VERSION};
use bytes::Bytes;
use std::sync::Arc;

/// Bytes of the checksum.
const FOOTER_BYTES: u64 = 8;

/// A snapshot of all slices at one position of the feed.
#[derive(Debug)]
pub struct Snapshot {
    parts: Vec<Bytes>,
    /// Bytes of all parts and of the footer.
    len: u64,
    has_checksum: bool,
    /// Replication ID and offset of the snapshot, if it has them.
    origin: Option<(String, u64)>,
}

impl Snapshot {
    /// Creates a snapshot of these shares; without a checksum its footer is zeros.
    pub fn new(preamble: &Preamble<'_>, shares: &[Share], has_checksum: bool) -> Snapshot {
        let version = shares.iter().map(|share| share.version).max().unwrap_or(VERSION);
        let mut header = Vec::new();
        let mut encoder = Encoder::new(&mut header, false);
        encoder.magic(version);
        encoder.preamble(preamble);
        let mut parts = vec![Bytes::from(header)];
        let pieces = shares.iter().flat_map(|share| share.body.iter().cloned());
        parts.extend(pieces.filter(|piece| !piece.is_empty()));
        parts.push(Bytes::from_static(&[END]));
        let len = parts.iter().map(|part| part.len() as u64).sum::<u64>() + FOOTER_BYTES;
        let origin = preamble.origin.as_ref().map(|it| (it.replid.to_string(), it.offset));
        Snapshot { parts, len, has_checksum, origin }
    }

    /// Returns the bytes of the file.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns the replication ID and offset of the snapshot.
    pub fn origin(&self) -> Option<(&str, u64)> {
        self.origin.as_ref().map(|(replid, offset)| (replid.as_str(), *offset))
    }
}

/// Reads a snapshot piece by piece.
#[derive(Debug)]
pub struct SnapshotReader {
    snapshot: Arc<Snapshot>,
    /// Index of the current part; equals the number of parts in the footer.
    part: usize,
    /// The unread bytes of the part.
    rest: Bytes,
    sum: Checksum,
    given: u64,
}

impl SnapshotReader {
    /// Creates a reader at the beginning of the snapshot.
    pub fn new(snapshot: Arc<Snapshot>) -> SnapshotReader {
        let rest = snapshot.parts[0].clone();
        SnapshotReader { snapshot, part: 0, rest, sum: Checksum::new(), given: 0 }
    }

    /// Returns the snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Returns the next bytes, at least one and at most `bytes_max`; `None` at the end.
    /// O(bytes_max).
    pub fn next_piece(&mut self, bytes_max: usize) -> Option<Bytes> {
        assert!(bytes_max > 0);
        while self.rest.is_empty() {
            self.rest = self.next_part()?;
        }
        let piece = self.rest.split_to(bytes_max.min(self.rest.len()));
        if self.snapshot.has_checksum && self.part < self.snapshot.parts.len() {
            self.sum.add(&piece);
        }
        self.given += piece.len() as u64;
        assert!(self.given <= self.snapshot.len);
        Some(piece)
    }

    fn next_part(&mut self) -> Option<Bytes> {
        let parts = &self.snapshot.parts;
        if self.part == parts.len() {
            assert_eq!(
                self.given, self.snapshot.len,
                "a reader returns as many bytes as the snapshot has"
            );
            return None;
        }
        self.part += 1;
        let footer = || Bytes::copy_from_slice(&self.sum.value().to_le_bytes());
        Some(parts.get(self.part).cloned().unwrap_or_else(footer))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::base::slot::{SLOT_COUNT, slot_of};
    use crate::keyspace::{Expiry, Slice, SliceOptions};
    use crate::rdb::{Decoder, Dialect, Form, Kept, Origin, Part};
    use crate::snapshot::save_slice;
    use crate::value::string::NewStr;
    use std::collections::BTreeMap;

    const NOW_MS: u64 = 1_000_000;

    /// Key with database -> expiry, value.
    type Keys = BTreeMap<(u64, Vec<u8>), (Option<u64>, Vec<u8>)>;

    /// Returns two slices that divide the hash slots, and the keys that they hold.
    pub fn slices() -> ([Slice; 2], Keys) {
        let half = SLOT_COUNT / 2;
        let mut slices = [0..half, half..SLOT_COUNT].map(|slots| {
            let options = SliceOptions { databases: 16, slots, hash_seed: [1, 2], seed: 3 };
            let mut slice = Slice::new(options);
            slice.set_now(NOW_MS);
            slice
        });
        let mut keys = Keys::new();
        for number in 0..3_000u64 {
            let db = number % 3 * 7;
            let key = format!("key:{number}").into_bytes();
            let value = match number % 5 {
                0 => number.to_string().into_bytes(),
                1 => b"value".repeat(number as usize),
                2 => (number << 40).to_string().into_bytes(),
                3 => vec![],
                _ => vec![0, 255, number as u8],
            };
            let expiry = (number % 4 == 0).then_some(NOW_MS + number);
            let slot = slot_of(&key);
            let slice = &mut slices[usize::from(slot >= half)];
            let at = expiry.map_or(Expiry::Clear, Expiry::At);
            let place = slice.key(&key);
            slice.set(db as usize, &place, NewStr::from_bytes(&value), at);
            keys.insert((db, key), (expiry, value));
        }
        (slices, keys)
    }

    /// Returns a snapshot of the slices.
    pub fn snapshot(slices: &mut [Slice; 2], replid: &str, offset: u64) -> Snapshot {
        let save = |slice| Share::read(Share::save(slice, true, 7).into_pieces());
        let shares: Vec<Share> = slices.iter_mut().map(save).collect();
        assert!(shares.iter().all(|share| share.changes == 7));
        let preamble = Preamble {
            valkey_version: "9.1.0",
            written_s: 1,
            used_memory_bytes: 2,
            origin: Some(Origin { replid, offset, db: 0 }),
            is_aof_base: false,
            kept: &Kept::default(),
        };
        Snapshot::new(&preamble, &shares, true)
    }

    /// Decodes the keys in a file.
    pub fn read(file: &[u8]) -> Keys {
        let (_, mut decoder) = Decoder::open(file, false).expect("a file");
        let (mut keys, mut db) = (Keys::new(), None);
        loop {
            match decoder.part().expect("a part") {
                Part::Aux(..) | Part::Sizes(..) | Part::Function(_) => {}
                Part::Database(number) => db = Some(number),
                Part::Entry(entry) => {
                    assert_eq!(entry.form, Form::String);
                    let value = Decoder::new(entry.value, Dialect::Common).text().expect("text");
                    let key = (db.expect("a database"), entry.key.into_bytes().into_owned());
                    let value = (entry.expiry, value.into_bytes().into_owned());
                    assert!(keys.insert(key, value).is_none(), "a key is saved once");
                }
                Part::End(sum) => {
                    assert_eq!(sum, Checksum::of(&file[..file.len() - 8]));
                    assert!(decoder.rest().is_empty());
                    return keys;
                }
            }
        }
    }

    #[test]
    fn a_snapshot_contains_all_keys() {
        let (mut slices, mut keys) = slices();
        let snapshot = Arc::new(snapshot(&mut slices, &"a".repeat(40), 9));
        for bytes_max in [1, 7, 1_000, usize::MAX] {
            let mut reader = SnapshotReader::new(snapshot.clone());
            let mut file = Vec::new();
            while let Some(piece) = reader.next_piece(bytes_max) {
                assert!((1..=bytes_max).contains(&piece.len()));
                file.extend_from_slice(&piece);
            }
            assert_eq!(file.len() as u64, snapshot.len());
            assert_eq!(read(&file), keys);
        }
        for slice in &mut slices {
            slice.set_now(NOW_MS + 1_500);
        }
        let mut body = b"REDIS0010".to_vec();
        for slice in &mut slices {
            assert_eq!(save_slice(slice, false, &mut body), VERSION);
        }
        body.push(END);
        let sum = Checksum::of(&body);
        body.extend_from_slice(&sum.to_le_bytes());
        keys.retain(|_, (expiry, _)| expiry.is_none_or(|at| at >= NOW_MS + 1_500));
        assert_eq!(read(&body), keys, "expired keys are left out");
    }

    #[test]
    fn without_a_checksum_the_footer_is_zeros() {
        let preamble = Preamble {
            valkey_version: "9.1.0",
            written_s: 1,
            used_memory_bytes: 2,
            origin: None,
            is_aof_base: false,
            kept: &Kept::default(),
        };
        let snapshot = Arc::new(Snapshot::new(&preamble, &[], false));
        assert_eq!(snapshot.origin(), None);
        let mut reader = SnapshotReader::new(snapshot.clone());
        let mut file = Vec::new();
        while let Some(piece) = reader.next_piece(50) {
            file.extend_from_slice(&piece);
        }
        assert_eq!(file.len() as u64, snapshot.len());
        assert!(file.ends_with(&[END, 0, 0, 0, 0, 0, 0, 0, 0]));
    }
}
