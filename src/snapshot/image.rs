//! The keys of all slices as the RDB file that replicas receive: a header, the keys, a footer.
//!
//! ```text
//!   header     magic, auxiliary fields, functions: in memory
//!   body       the keys: a part of a file without a name, which all readers share
//!   end        the end mark
//!   footer     the checksum of all that, 8 bytes; each reader computes it while it reads
//!
//!   file --a thread per reader--> WAITING_MAX pieces --next_piece--> replica
//!                  '-- rings when the reader has found none
//! ```
//! A shard never waits for the disk: a thread reads ahead for each reader. Without a bell the
//! reader reads the file itself, in tests.

use super::limits::{SEND_PIECE_BYTES, SEND_PIECES_MAX};
use super::share::Share;
use crate::base::alloc;
use crate::rdb::{Checksum, END, Encoder, Origin, Preamble, VERSION};
use bytes::Bytes;
use std::fmt::{self, Debug, Formatter};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

/// Bytes of the checksum.
const FOOTER_BYTES: u64 = 8;

/// Wakes the shard of a reader.
pub type Bell = Box<dyn Fn() + Send>;

/// A file without a name. Dropping it frees its blocks, which takes 40 ms for 200 MB: a thread of
/// its own does that, never the thread that has let go of it last.
#[derive(Debug)]
pub struct UnnamedFile(Option<File>);

impl UnnamedFile {
    /// Takes a file whose name was removed.
    pub fn new(file: File) -> UnnamedFile {
        UnnamedFile(Some(file))
    }

    fn get(&self) -> &File {
        self.0.as_ref().expect("the file is taken only when this is dropped")
    }
}

impl Drop for UnnamedFile {
    fn drop(&mut self) {
        let file = self.0.take();
        // Without a thread the closure is dropped here, and the file with it.
        let life = move || {
            drop(file);
            alloc::flush_local();
        };
        _ = thread::Builder::new().name("close".to_string()).spawn(life);
    }
}

/// Encoded keys in a file.
#[derive(Clone, Debug)]
pub struct FileBody {
    /// The file.
    pub file: Arc<UnnamedFile>,
    /// Where the keys begin.
    pub from: u64,
    /// Where the keys end.
    pub end: u64,
}

impl FileBody {
    /// Reads some bytes from a position on. None at the end.
    fn read(&self, at: &mut u64) -> Option<io::Result<Bytes>> {
        let len = (self.end - *at).min(SEND_PIECE_BYTES);
        if len == 0 {
            return None;
        }
        let mut piece = vec![0; len as usize];
        let result = self.file.get().read_exact_at(&mut piece, *at);
        *at += len;
        Some(result.map(|()| piece.into()))
    }
}

/// A snapshot of all slices at one position of the feed.
#[derive(Debug)]
pub struct Snapshot {
    /// What precedes the keys in the file.
    before: Vec<Bytes>,
    body: Option<FileBody>,
    /// Bytes of everything, the footer included.
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
        let mut before = vec![Bytes::from(header)];
        before.extend(shares.iter().flat_map(|share| share.body.iter().cloned()));
        Snapshot::build(before, None, preamble.origin.as_ref(), has_checksum)
    }

    /// Creates a snapshot of the keys in a file, which need this version. `head` is what precedes
    /// them, besides the magic and the origin.
    pub fn of_file(
        version: u32,
        origin: &Origin<'_>,
        head: &[&[u8]],
        body: Option<FileBody>,
        has_checksum: bool,
    ) -> Snapshot {
        let mut header = Vec::new();
        let mut encoder = Encoder::new(&mut header, false);
        encoder.magic(version);
        encoder.origin(origin);
        head.iter().for_each(|bytes| header.extend_from_slice(bytes));
        Snapshot::build(vec![header.into()], body, Some(origin), has_checksum)
    }

    fn build(
        mut before: Vec<Bytes>,
        body: Option<FileBody>,
        origin: Option<&Origin<'_>>,
        has_checksum: bool,
    ) -> Snapshot {
        before.retain(|piece| !piece.is_empty());
        let in_file = body.as_ref().map_or(0, |body| body.end - body.from);
        let in_memory: u64 = before.iter().map(|part| part.len() as u64).sum();
        let len = in_memory + in_file + 1 + FOOTER_BYTES;
        let origin = origin.map(|it| (it.replid.to_string(), it.offset));
        Snapshot { before, body, len, has_checksum, origin }
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

/// Result of [`SnapshotReader::next_piece`].
#[derive(Debug)]
pub enum NextPiece {
    /// The next bytes.
    Piece(Bytes),
    /// The bytes are not read yet. The bell rings when they are.
    Later,
    /// All bytes were returned.
    End,
    /// The file cannot be read.
    Failed(io::Error),
}

/// Where a reader gets the keys from.
enum Source {
    /// From the file, at this position.
    Direct(u64),
    /// From a thread.
    Thread(Receiver<io::Result<Bytes>>),
    /// There is no thread.
    None(Option<io::Error>),
}

/// The position of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In a part before the keys.
    Before(usize),
    Body,
    End,
    Footer,
    Over,
}

/// Reads a snapshot piece by piece.
pub struct SnapshotReader {
    snapshot: Arc<Snapshot>,
    at: At,
    /// The unread bytes of the part.
    rest: Bytes,
    source: Source,
    /// Whether the reader waits for the thread; the thread clears it.
    is_hungry: Arc<AtomicBool>,
    /// Whether the last call found nothing.
    has_waited: bool,
    sum: Checksum,
    given: u64,
}

impl Debug for SnapshotReader {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotReader({} of {} bytes)", self.given, self.snapshot.len)
    }
}

impl SnapshotReader {
    /// Creates a reader at the beginning of the snapshot. With a bell, a thread reads the file.
    pub fn new(snapshot: Arc<Snapshot>, bell: Option<Bell>) -> SnapshotReader {
        let rest = snapshot.before[0].clone();
        let is_hungry = Arc::new(AtomicBool::new(false));
        let source = match (&snapshot.body, bell) {
            (Some(body), Some(bell)) => start(body.clone(), bell, Arc::clone(&is_hungry)),
            (body, _) => Source::Direct(body.as_ref().map_or(0, |body| body.from)),
        };
        let (at, sum) = (At::Before(0), Checksum::new());
        SnapshotReader { snapshot, at, rest, source, is_hungry, has_waited: false, sum, given: 0 }
    }

    /// Returns the snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Returns whether there are bytes after a call has found none.
    pub fn is_fed(&self) -> bool {
        self.has_waited && !self.is_hungry.load(Ordering::SeqCst)
    }

    /// Returns the next bytes, at least one and at most `bytes_max`. O(bytes_max).
    pub fn next_piece(&mut self, bytes_max: usize) -> NextPiece {
        assert!(bytes_max > 0);
        while self.rest.is_empty() {
            match self.next_part() {
                NextPiece::Piece(part) => self.rest = part,
                other => return other,
            }
        }
        let piece = self.rest.split_to(bytes_max.min(self.rest.len()));
        if self.snapshot.has_checksum && self.at != At::Footer {
            self.sum.add(&piece);
        }
        self.given += piece.len() as u64;
        assert!(self.given <= self.snapshot.len);
        NextPiece::Piece(piece)
    }

    fn next_part(&mut self) -> NextPiece {
        loop {
            match self.at {
                At::Before(number) => match self.snapshot.before.get(number + 1) {
                    Some(part) => {
                        self.at = At::Before(number + 1);
                        return NextPiece::Piece(part.clone());
                    }
                    None => self.at = At::Body,
                },
                At::Body => match self.next_of_body() {
                    NextPiece::End => {
                        self.at = At::End;
                        return NextPiece::Piece(Bytes::from_static(&[END]));
                    }
                    other => return other,
                },
                At::End => {
                    self.at = At::Footer;
                    let sum = self.sum.value().to_le_bytes();
                    return NextPiece::Piece(Bytes::copy_from_slice(&sum));
                }
                At::Footer => self.at = At::Over,
                At::Over => {
                    assert_eq!(self.given, self.snapshot.len, "a reader returns all bytes");
                    return NextPiece::End;
                }
            }
        }
    }

    fn next_of_body(&mut self) -> NextPiece {
        let Some(body) = &self.snapshot.body else { return NextPiece::End };
        let read = match &mut self.source {
            Source::Direct(at) => body.read(at),
            Source::Thread(pieces) => {
                let mut read = pieces.try_recv();
                if matches!(read, Err(TryRecvError::Empty)) {
                    // The thread reads the flag after it has sent: one of the looks finds it.
                    self.is_hungry.store(true, Ordering::SeqCst);
                    read = pieces.try_recv();
                }
                self.has_waited = matches!(read, Err(TryRecvError::Empty));
                match read {
                    Ok(piece) => Some(piece),
                    Err(TryRecvError::Empty) => return NextPiece::Later,
                    Err(TryRecvError::Disconnected) => None,
                }
            }
            Source::None(error) => {
                let error = error.take().unwrap_or_else(|| io::ErrorKind::Other.into());
                Some(Err(error))
            }
        };
        match read {
            Some(Ok(piece)) => NextPiece::Piece(piece),
            Some(Err(error)) => NextPiece::Failed(error),
            None => NextPiece::End,
        }
    }
}

/// Starts the thread that reads for a reader.
fn start(body: FileBody, bell: Bell, is_hungry: Arc<AtomicBool>) -> Source {
    let (sender, receiver) = sync_channel(SEND_PIECES_MAX);
    let life = move || {
        read_ahead(&body, &sender, &is_hungry, &bell);
        drop(sender);
        // The end feeds the reader too.
        is_hungry.store(false, Ordering::SeqCst);
        bell();
        alloc::flush_local();
    };
    match thread::Builder::new().name("sync".to_string()).spawn(life) {
        Ok(_) => Source::Thread(receiver),
        Err(error) => Source::None(Some(error)),
    }
}

/// Reads the body up to its end, an error, or until nobody wants it.
fn read_ahead(
    body: &FileBody,
    sender: &SyncSender<io::Result<Bytes>>,
    is_hungry: &AtomicBool,
    bell: &Bell,
) {
    let mut at = body.from;
    while let Some(piece) = body.read(&mut at) {
        let has_failed = piece.is_err();
        if sender.send(piece).is_err() || has_failed {
            return;
        }
        if is_hungry.swap(false, Ordering::SeqCst) {
            bell();
        }
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
            let options =
                SliceOptions { databases: 16, slots: slots.into(), hash_seed: [1, 2], seed: 3 };
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
            let mut reader = SnapshotReader::new(snapshot.clone(), None);
            let mut file = Vec::new();
            while let NextPiece::Piece(piece) = reader.next_piece(bytes_max) {
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
        let mut reader = SnapshotReader::new(snapshot.clone(), None);
        let mut file = Vec::new();
        while let NextPiece::Piece(piece) = reader.next_piece(50) {
            file.extend_from_slice(&piece);
        }
        assert_eq!(file.len() as u64, snapshot.len());
        assert!(file.ends_with(&[END, 0, 0, 0, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn the_keys_of_a_file_are_read_by_a_thread() {
        let path = std::env::temp_dir().join(format!("annulet-body-{}", std::process::id()));
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.expect("a file");
        std::fs::remove_file(&path).expect("a file");
        let (mut slices, keys) = slices();
        let mut body = b"ahead".to_vec();
        slices.iter_mut().for_each(|slice| _ = save_slice(slice, false, &mut body));
        file.write_all_at(&body, 0).expect("room");
        let file = Arc::new(UnnamedFile::new(file));
        let body = FileBody { file, from: 5, end: body.len() as u64 };
        let origin = Origin { replid: &"b".repeat(40), offset: 3, db: 0 };
        for on_thread in [false, true] {
            let snapshot =
                Snapshot::of_file(VERSION, &origin, &[b"", b""], Some(body.clone()), true);
            let (len, this) = (snapshot.len(), thread::current());
            let bell = on_thread.then(|| Box::new(move || this.unpark()) as Bell);
            let mut reader = SnapshotReader::new(Arc::new(snapshot), bell);
            let mut image = Vec::new();
            loop {
                match reader.next_piece(10_000) {
                    NextPiece::Piece(piece) => image.extend_from_slice(&piece),
                    NextPiece::End => break,
                    NextPiece::Later => {
                        while !reader.is_fed() {
                            thread::park();
                        }
                    }
                    NextPiece::Failed(error) => panic!("{error}"),
                }
            }
            assert_eq!((image.len() as u64, read(&image)), (len, keys.clone()));
        }
        let short = FileBody { end: body.end + 1, ..body };
        let snapshot = Snapshot::of_file(VERSION, &origin, &[], Some(short), true);
        let mut reader = SnapshotReader::new(Arc::new(snapshot), None);
        let last = loop {
            match reader.next_piece(1 << 20) {
                NextPiece::Piece(_) => {}
                other => break other,
            }
        };
        assert!(matches!(last, NextPiece::Failed(_)), "{last:?}");
    }
}
