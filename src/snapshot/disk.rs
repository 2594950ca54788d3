//! A cut as a file, written by a thread of its own while the cut goes on.
//!
//! ```text
//!   partitions --push--> queue --thread--> draft --close, fsync, rename, fsync of the directory-->
//!       ^                  |                 '--abandon, an error--> removed
//!       '--is_full---------'
//! ```
//! The version of the file is known only at its end, so the thread writes the magic last, and joins
//! the checksums of the magic and of the rest.
//!
//! No call of a shard waits for the thread: the queue has no locks, and the result is an atomic.

use super::commands::CommandWriter;
use super::image::{FileBody, UnnamedFile};
use super::limits::{CHANGED_BYTES_MIN, CHANGED_SHARE, QUEUE_BYTES_MAX, SYNC_BYTES};
use super::share::{LENT_CHANGING_MAX, LENT_MAX};
use crate::base::system::{await_writeback, begin_writeback, error_text};
use crate::base::thread::{keep_to, lower_priority, parse_cores, process_cores};
use crate::base::{alloc, crash};
use crate::exec::{CutPiece, CutSink, FileHead, LaterValue, SnapshotProgress};
use crate::rdb::{
    Checksum, END, Encoder, Fault, Limits, Lzf, MAGIC_BYTES, Unpacked, VERSION, fault_text,
    pack_recorded,
};
use bytes::Bytes;
use crossbeam_queue::SegQueue;
use std::fmt::{self, Debug, Formatter};
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

/// Niceness of the thread beside a shard, which gets most of a core that both share.
const NICENESS: i32 = 5;

/// The longest sleep between two looks whether the file is still wanted.
const NAP: Duration = Duration::from_millis(10);

/// The file to write.
#[derive(Clone, Debug)]
pub struct FileOrder {
    /// The directory.
    pub dir: PathBuf,
    /// The name of the file while it is incomplete. An existing file is replaced.
    pub draft: String,
    /// The name of the complete file. An existing file is replaced.
    pub name: String,
    /// Whether the file has no name and only a body without a head. It ends when nobody has it
    /// open any more, and is not synced.
    pub is_nameless: bool,
    /// Whether the file has a checksum.
    pub has_checksum: bool,
    /// The cores of the thread, as a list; empty: those of the process.
    pub cores: String,
    /// Whether the kernel begins to write every few megabytes, so that the last sync has little to
    /// do.
    pub syncs_often: bool,
    /// Whether the file is the base of an append-only file.
    pub is_aof_base: bool,
    /// How the file has commands; none for a file in the RDB format.
    pub commands: Option<CommandRules>,
    /// Microseconds to sleep for each key, for tests of slow disks. A negative number is the number
    /// of keys per microsecond of sleep.
    pub key_delay_us: i64,
}

/// The rules for a file of commands.
#[derive(Clone, Copy, Debug)]
pub struct CommandRules {
    /// The limits of values while they are turned into commands.
    pub limits: Limits,
    /// The Unix seconds that the first line tells; none: no such line.
    pub written_s: Option<u64>,
}

/// How a file has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The file is complete and synced.
    Complete,
    /// The file was abandoned, and its draft is removed.
    Abandoned,
    /// A step has failed, as the text for the log says. The draft is removed.
    Failed(String),
}

/// The shards' and the thread's view of a file that is being written.
pub struct FileWriter {
    order: FileOrder,
    queue: SegQueue<CutPiece>,
    /// Bytes in the queue above which no client is served.
    bytes_max: usize,
    /// Bytes in the queue.
    bytes: AtomicUsize,
    /// Values in the queue.
    values: AtomicUsize,
    /// Number of partitions that have not begun their cuts.
    expected: AtomicUsize,
    head: OnceLock<FileHead>,
    /// The keys in a complete file without a name.
    body: OnceLock<FileBody>,
    /// Whether a partition's walk pauses until there is room.
    is_awaited: AtomicBool,
    /// Whether all pieces are in the queue.
    is_closed: AtomicBool,
    /// The oldest version that supports all that was written.
    version: AtomicU32,
    progress: Arc<SnapshotProgress>,
    /// Why the file is not written, whatever comes.
    refusal: OnceLock<String>,
    outcome: OnceLock<Written>,
    thread: OnceLock<Thread>,
    /// Wakes all shards.
    bell: Box<dyn Fn() + Send + Sync>,
}

impl Debug for FileWriter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "FileWriter({:?}, {:?})", self.order, self.outcome)
    }
}

impl FileWriter {
    /// Creates the writer of a file for this number of partitions. `bell` wakes all shards: when
    /// walks may go on, and when the file has ended. Any holder of `progress` may abandon the file.
    pub fn new(
        order: FileOrder,
        partitions: usize,
        progress: Arc<SnapshotProgress>,
        bell: Box<dyn Fn() + Send + Sync>,
    ) -> Arc<FileWriter> {
        Arc::new(FileWriter {
            order,
            queue: SegQueue::new(),
            bytes_max: CHANGED_BYTES_MIN.max(alloc::used_bytes() as usize / CHANGED_SHARE),
            bytes: AtomicUsize::new(0),
            values: AtomicUsize::new(0),
            expected: AtomicUsize::new(partitions),
            head: OnceLock::new(),
            body: OnceLock::new(),
            is_awaited: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            version: AtomicU32::new(VERSION),
            progress,
            refusal: OnceLock::new(),
            outcome: OnceLock::new(),
            thread: OnceLock::new(),
            bell,
        })
    }

    /// Starts the thread. Without it, [`FileWriter::close`] writes the file.
    pub fn start(self: &Arc<FileWriter>) -> io::Result<()> {
        let writer = Arc::clone(self);
        let life = move || {
            crash::add_stack();
            writer.leave_core();
            writer.run();
            alloc::flush_local();
        };
        let started = thread::Builder::new().name("snapshot".to_string()).spawn(life)?;
        self.thread.get_or_init(|| started.thread().clone());
        Ok(())
    }

    /// Moves the calling thread to its own cores. It has inherited the one core of the shard that
    /// started it, and would keep this shard from running.
    fn leave_core(&self) {
        lower_priority(NICENESS);
        let cores = parse_cores(&self.order.cores).or_else(|| process_cores().ok());
        if let Some(cores) = cores.filter(|cores| !cores.is_empty()) {
            // A list with no core that the process may use has no effect.
            let _ = keep_to(&cores);
        }
    }

    /// Records that all pieces were pushed. `version` is the oldest one that supports them.
    pub fn close(&self, version: u32) {
        self.version.fetch_max(version, Ordering::Relaxed);
        self.is_closed.store(true, Ordering::Release);
        match self.thread.get() {
            Some(thread) => thread.unpark(),
            None => self.run(),
        }
    }

    /// Makes the file fail for this reason.
    pub fn refuse(&self, why: String) {
        self.refusal.get_or_init(|| why);
        self.progress.abandon();
    }

    /// Removes the draft at once, because the process stops.
    pub fn abandon_last(&self) {
        self.progress.abandon();
        self.wake();
        // Whether the draft existed does not matter.
        let _ = fs::remove_file(self.draft());
    }

    /// Returns what precedes the keys of a complete file without a name, its keys, and the oldest
    /// version that supports them.
    pub fn content(&self) -> Option<(&FileHead, FileBody, u32)> {
        let body = self.body.get()?.clone();
        Some((self.head.get()?, body, self.version.load(Ordering::Relaxed)))
    }

    /// Returns how the file has ended; none while it is being written.
    pub fn outcome(&self) -> Option<&Written> {
        self.outcome.get()
    }

    fn draft(&self) -> PathBuf {
        self.order.dir.join(&self.order.draft)
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Writes the file, and reports how it has ended.
    fn run(&self) {
        let written = match self.write_file() {
            Err(why) => Written::Failed(why),
            Ok(true) => Written::Complete,
            Ok(false) => Written::Abandoned,
        };
        if written != Written::Complete {
            self.progress.abandon();
            // The draft may not exist, if it could not be created.
            let _ = fs::remove_file(self.draft());
        }
        // Frees what came meanwhile. Later pieces are not taken.
        while self.take().is_some() {}
        let is_first = self.outcome.set(written).is_ok();
        assert!(is_first, "a file ends once");
        (self.bell)();
    }

    /// Writes the file. Returns false if it was abandoned. An error is the text for the log.
    fn write_file(&self) -> Result<bool, String> {
        if let Some(why) = self.refusal.get() {
            return Err(why.clone());
        }
        let FileOrder { dir, draft, name, .. } = &self.order;
        let opened = match self.order.is_nameless {
            true => self.create_nameless(),
            false => File::create(self.draft()),
        };
        let file = opened.map_err(|error| {
            let (place, why) = (place(dir), error_text(&error));
            if self.order.is_aof_base {
                let what = "Opening the temp file for AOF rewrite in rewriteAppendOnlyFile()";
                return format!("{what}: {why}");
            }
            format!(
                "Failed opening the temp RDB file {draft} (in server root dir {place}) for \
                 saving: {why}"
            )
        })?;
        let mut draft_file = Draft::new(file, &self.order);
        let filled = self.fill(&mut draft_file).and_then(|is_whole| {
            if is_whole && !self.order.is_nameless {
                draft_file.end(self.version.load(Ordering::Relaxed))?;
            }
            Ok(is_whole)
        });
        let is_whole = filled.map_err(|error| {
            let (step, why) = (draft_file.step, error_text(&error));
            if self.order.is_aof_base {
                return format!("Write error writing append only file on disk: {why}");
            }
            format!("Write error while saving DB to the disk({step}): {why}")
        })?;
        if !is_whole || self.is_abandoned() {
            return Ok(false);
        }
        if self.order.is_nameless {
            let file = Arc::new(UnnamedFile::new(draft_file.file));
            let len = draft_file.len;
            self.body.get_or_init(|| FileBody { file, from: MAGIC_BYTES as u64, end: len });
            return Ok(true);
        }
        fs::rename(self.draft(), dir.join(name)).map_err(|error| {
            let (place, why) = (place(dir), error_text(&error));
            if self.order.is_aof_base {
                let what = "Error moving temp append only file on the final destination";
                return format!("{what}: {why}");
            }
            format!(
                "Error moving temp DB file {draft} on the final destination {name} (in server \
                 root dir {place}): {why}"
            )
        })?;
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(|error| {
            format!("Failed to fsync directory while saving DB: {}", error_text(&error))
        })?;
        Ok(true)
    }

    /// Creates a file that is gone when it is closed, also after a crash.
    fn create_nameless(&self) -> io::Result<File> {
        let file = File::options().read(true).write(true).create_new(true).open(self.draft())?;
        fs::remove_file(self.draft())?;
        Ok(file)
    }

    /// Writes all pieces. Returns false if the file was abandoned.
    fn fill(&self, file: &mut Draft) -> io::Result<bool> {
        loop {
            if self.is_abandoned() {
                return Ok(false);
            }
            // Read before the queue, so that an empty queue is then complete.
            let is_closed = self.is_closed.load(Ordering::Acquire);
            let Some(head) = self.head.get() else {
                thread::park_timeout(NAP);
                continue;
            };
            if !file.has_begun {
                file.begin()?;
                if !self.order.is_nameless {
                    file.write_head(head)?;
                }
            }
            match self.take() {
                Some(piece) => self.write(file, piece)?,
                None if is_closed => return Ok(true),
                None => thread::park_timeout(NAP),
            }
        }
    }

    /// Takes a piece from the queue, and wakes the shards if there is room again.
    fn take(&self) -> Option<CutPiece> {
        let piece = self.queue.pop()?;
        self.bytes.fetch_sub(piece.bytes(), Ordering::SeqCst);
        if matches!(piece, CutPiece::Value(_)) {
            self.values.fetch_sub(1, Ordering::SeqCst);
        }
        if self.is_awaited.load(Ordering::SeqCst) && self.has_room() {
            self.is_awaited.store(false, Ordering::SeqCst);
            (self.bell)();
        }
        Some(piece)
    }

    /// Returns whether walks that have paused may go on.
    fn has_room(&self) -> bool {
        let (bytes, values) =
            (self.bytes.load(Ordering::SeqCst), self.values.load(Ordering::SeqCst));
        bytes <= QUEUE_BYTES_MAX / 2 && values <= LENT_MAX / 2
    }

    fn write(&self, file: &mut Draft, piece: CutPiece) -> io::Result<()> {
        let keys = match piece {
            CutPiece::Keys { parts: [keys, behind], unpacked, keys: count } => {
                self.sleep_for(count);
                file.write_keys([keys, behind], &unpacked)?;
                u64::from(count)
            }
            CutPiece::Value(mut value) => {
                self.sleep_for(1);
                let version = file.write_value(&mut *value)?;
                self.version.fetch_max(version, Ordering::Relaxed);
                1
            }
        };
        self.progress.add_keys(keys);
        alloc::flush_local();
        Ok(())
    }

    /// Sleeps as long as tests want for this number of keys.
    fn sleep_for(&self, keys: u32) {
        let delay_us = self.order.key_delay_us;
        let mut left = match u64::try_from(delay_us) {
            Ok(us) => Duration::from_micros(us.saturating_mul(keys.into())),
            Err(_) => Duration::from_micros(u64::from(keys) / delay_us.unsigned_abs()),
        };
        while !left.is_zero() && !self.is_abandoned() {
            let nap = left.min(NAP);
            thread::sleep(nap);
            left -= nap;
        }
    }
}

/// Returns a directory as the log names it.
fn place(dir: &Path) -> String {
    dir.canonicalize().map_or_else(|_| "unknown".to_string(), |dir| dir.display().to_string())
}

impl CutSink for FileWriter {
    fn join(&self) -> bool {
        self.expected.fetch_sub(1, Ordering::SeqCst) == 1
    }

    fn set_head(&self, head: FileHead) {
        self.head.get_or_init(|| head);
        self.wake();
    }

    fn is_aof_base(&self) -> bool {
        self.order.is_aof_base
    }

    fn push(&self, piece: CutPiece) {
        if self.is_abandoned() {
            return;
        }
        let bytes = piece.bytes();
        let before = self.bytes.fetch_add(bytes, Ordering::SeqCst);
        self.progress.note_bytes((before + bytes) as u64);
        if matches!(piece, CutPiece::Value(_)) {
            self.values.fetch_add(1, Ordering::SeqCst);
        }
        self.queue.push(piece);
        self.wake();
    }

    fn is_full(&self) -> bool {
        let is_full = || {
            self.bytes.load(Ordering::SeqCst) >= QUEUE_BYTES_MAX
                || self.values.load(Ordering::SeqCst) >= LENT_MAX
        };
        if self.thread.get().is_none() || !is_full() {
            return false;
        }
        // The thread looks at the flag after it has made room, so one of the two looks finds it.
        self.is_awaited.store(true, Ordering::SeqCst);
        is_full()
    }

    fn is_overfull(&self) -> bool {
        let is_over = self.bytes.load(Ordering::SeqCst) >= self.bytes_max;
        is_over && self.thread.get().is_some() && !self.is_abandoned()
    }

    fn is_crowded(&self) -> bool {
        self.values.load(Ordering::SeqCst) >= LENT_CHANGING_MAX
    }

    fn is_abandoned(&self) -> bool {
        self.progress.is_abandoned()
    }
}

/// A file while it is written.
struct Draft {
    file: File,
    has_begun: bool,
    /// Turns keys into commands; none for a file in the RDB format.
    commands: Option<CommandWriter>,
    /// The Unix seconds in the first line of a file of commands.
    written_s: Option<u64>,
    /// Bytes so far, the magic included.
    len: u64,
    sum: Option<Checksum>,
    lzf: Lzf,
    /// Bytes to write.
    packed: Vec<u8>,
    /// Where the part begins that the kernel need not write yet; none if only the end is synced.
    unsynced: Option<u64>,
    /// The name of the step, as errors have it.
    step: &'static str,
}

impl Draft {
    fn new(file: File, order: &FileOrder) -> Draft {
        let has_sum = order.has_checksum && order.commands.is_none();
        Draft {
            file,
            has_begun: false,
            commands: order.commands.map(|rules| CommandWriter::new(rules.limits)),
            written_s: order.commands.and_then(|rules| rules.written_s),
            len: 0,
            sum: has_sum.then(Checksum::new),
            lzf: Lzf::default(),
            packed: Vec::new(),
            unsynced: order.syncs_often.then_some(0),
            step: "rdbSaveRio",
        }
    }

    /// Leaves room for the magic. A file of commands has none.
    fn begin(&mut self) -> io::Result<()> {
        self.has_begun = true;
        if self.commands.is_none() {
            self.file.write_all(&[0; MAGIC_BYTES])?;
            self.len = MAGIC_BYTES as u64;
        }
        Ok(())
    }

    /// Writes what precedes the keys.
    fn write_head(&mut self, head: &FileHead) -> io::Result<()> {
        let Some(mut commands) = self.commands.take() else {
            self.write(&head.facts)?;
            return self.write(&head.functions);
        };
        if let Some(written_s) = self.written_s {
            self.write(format!("#TS:{written_s}\r\n").as_bytes())?;
        }
        let written = self.spilling(|spill| commands.libraries(&head.functions, spill));
        self.commands = Some(commands);
        decoded(written?)
    }

    /// Writes keys: encoded ones, and what follows them.
    fn write_keys(&mut self, parts: [Bytes; 2], unpacked: &[Unpacked]) -> io::Result<()> {
        let Some(mut commands) = self.commands.take() else {
            self.write_packed(&parts[0], unpacked)?;
            return self.write(&parts[1]);
        };
        let written = self.spilling(|spill| commands.keys(&parts, spill));
        self.commands = Some(commands);
        decoded(written?)
    }

    /// Writes a key that is encoded now. Returns the oldest version that supports it.
    fn write_value(&mut self, value: &mut dyn LaterValue) -> io::Result<u32> {
        let Some(mut commands) = self.commands.take() else {
            return self.spilling(|spill| value.encode(spill));
        };
        let written = self.spilling(|spill| commands.shared(&value.take(), spill));
        self.commands = Some(commands);
        written.map(|()| VERSION)
    }

    /// Calls `fill` with a function that writes text and empties its buffer.
    fn spilling<R>(
        &mut self,
        fill: impl FnOnce(&mut dyn FnMut(&mut Vec<u8>)) -> R,
    ) -> io::Result<R> {
        let mut result = Ok(());
        let filled = fill(&mut |bytes| {
            if result.is_ok() {
                result = self.write(bytes);
            }
            bytes.clear();
        });
        result.map(|()| filled)
    }

    /// Writes bytes with the strings at the recorded places compressed.
    fn write_packed(&mut self, bytes: &[u8], unpacked: &[Unpacked]) -> io::Result<()> {
        if unpacked.is_empty() {
            return self.write(bytes);
        }
        let mut packed = std::mem::take(&mut self.packed);
        packed.clear();
        pack_recorded(bytes, unpacked, &mut self.lzf, &mut packed);
        let written = self.write(&packed);
        self.packed = packed;
        written
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.file.write_all(bytes)?;
        self.len += bytes.len() as u64;
        if let Some(sum) = &mut self.sum {
            sum.add(bytes);
        }
        match self.unsynced {
            Some(from) if self.len - from >= SYNC_BYTES => self.write_back(from),
            _ => Ok(()),
        }
    }

    /// Has the kernel write the file from a position on to the disk, and waits for what came
    /// before: the disk is busy while more is encoded.
    fn write_back(&mut self, from: u64) -> io::Result<()> {
        begin_writeback(&self.file, from, self.len - from)?;
        self.unsynced = Some(self.len);
        let earlier = from.min(2 * SYNC_BYTES);
        if earlier == 0 { Ok(()) } else { await_writeback(&self.file, from - earlier, earlier) }
    }

    /// Writes the end and the magic of the file, and syncs it.
    fn end(&mut self, version: u32) -> io::Result<()> {
        if self.commands.is_some() {
            return self.file.sync_all();
        }
        self.write(&[END])?;
        let mut magic = Vec::new();
        Encoder::new(&mut magic, false).magic(version);
        assert_eq!(magic.len(), MAGIC_BYTES);
        let rest_len = self.len - MAGIC_BYTES as u64;
        let sum = self
            .sum
            .as_ref()
            .map_or(0, |sum| Checksum::join(Checksum::of(&magic), sum.value(), rest_len));
        self.file.write_all(&sum.to_le_bytes())?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&magic)?;
        self.step = "fsync";
        self.file.sync_all()
    }
}

/// Turns a fault of keys that this process has encoded into a failure of the file.
fn decoded(result: Result<(), Fault>) -> io::Result<()> {
    result.map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault_text(fault)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::read;
    use super::*;
    use crate::rdb::VERSION_80;

    /// A folder that is removed in the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let name = format!("annulet-disk-{name}-{}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            fs::create_dir_all(&dir).expect("a folder");
            Folder(dir)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).expect("a folder");
            let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
            entries.map(|entry| name(entry).into_string().expect("a plain name")).collect()
        }

        fn order(&self) -> FileOrder {
            FileOrder {
                dir: self.0.clone(),
                draft: "temp.rdb".to_string(),
                name: "dump.rdb".to_string(),
                has_checksum: true,
                is_nameless: false,
                cores: String::new(),
                syncs_often: true,
                is_aof_base: false,
                commands: None,
                key_delay_us: 0,
            }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).expect("the folder belongs to this test");
        }
    }

    fn writer(order: FileOrder) -> (Arc<FileWriter>, Arc<SnapshotProgress>) {
        let progress = Arc::new(SnapshotProgress::default());
        (FileWriter::new(order, 2, Arc::clone(&progress), Box::new(|| {})), progress)
    }

    /// Pushes a key of a database.
    fn push(writer: &FileWriter, db: usize, key: &[u8]) {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, false);
        encoder.select(db);
        encoder.string_ahead(key, None, 3);
        let parts = [bytes.into(), Bytes::from_static(b"abc")];
        writer.push(CutPiece::Keys { parts, unpacked: Vec::new(), keys: 1 });
    }

    fn wait(writer: &FileWriter) -> Written {
        loop {
            match writer.outcome() {
                Some(written) => return written.clone(),
                None => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    #[test]
    fn a_file_is_complete_and_has_the_version_that_it_needs() {
        let folder = Folder::new("whole");
        for (on_thread, version) in [(true, VERSION), (false, VERSION_80)] {
            let (writer, progress) = writer(folder.order());
            if on_thread {
                writer.start().expect("a thread");
            }
            assert_eq!([writer.join(), writer.join()], [false, true]);
            writer.set_head(FileHead::default());
            (0..9).for_each(|key| push(&writer, usize::from(key % 3), &[b'k', key]));
            writer.close(version);
            assert_eq!(wait(&writer), Written::Complete);
            assert_eq!((folder.names(), progress.keys()), (vec!["dump.rdb".to_string()], 9));
            let file = fs::read(folder.0.join("dump.rdb")).expect("a file");
            assert_eq!(read(&file).len(), 9);
            let magic = if on_thread { b"REDIS0010" } else { b"VALKEY080" };
            assert_eq!(&file[..MAGIC_BYTES], magic);
        }
    }

    #[test]
    fn walks_pause_while_the_queue_is_full() {
        let folder = Folder::new("full");
        let (writer, _) = writer(FileOrder { key_delay_us: 1_000, ..folder.order() });
        writer.start().expect("a thread");
        let piece = Bytes::from(vec![0; QUEUE_BYTES_MAX / 2]);
        let push = || {
            let parts = [piece.clone(), Bytes::new()];
            writer.push(CutPiece::Keys { parts, unpacked: Vec::new(), keys: 5 });
        };
        assert!(!writer.is_full());
        (0..2).for_each(|_| push());
        assert!(writer.is_full(), "the thread has no head yet");
        (0..6).for_each(|_| push());
        assert!(writer.is_overfull());
        writer.set_head(FileHead::default());
        while writer.is_full() {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(!writer.is_overfull());
        writer.close(VERSION);
        assert_eq!(wait(&writer), Written::Complete);
    }

    #[test]
    fn an_abandoned_or_failed_file_leaves_the_old_one() {
        let folder = Folder::new("old");
        fs::write(folder.0.join("dump.rdb"), b"old").expect("a file");
        let (abandoned, progress) = writer(FileOrder { key_delay_us: 1 << 40, ..folder.order() });
        abandoned.start().expect("a thread");
        abandoned.set_head(FileHead::default());
        push(&abandoned, 0, b"k");
        while folder.names().len() < 2 {
            thread::sleep(Duration::from_millis(1));
        }
        progress.abandon();
        assert_eq!(wait(&abandoned), Written::Abandoned);
        let (failed, progress) = writer(FileOrder { dir: folder.0.join("none"), ..folder.order() });
        failed.set_head(FileHead::default());
        failed.close(VERSION);
        let Written::Failed(why) = wait(&failed) else { panic!("the folder does not exist") };
        let expected = "Failed opening the temp RDB file temp.rdb (in server root dir unknown) \
                        for saving: No such file or directory";
        assert_eq!((why.as_str(), progress.is_abandoned()), (expected, true));
        assert_eq!(folder.names(), ["dump.rdb"]);
        assert_eq!(fs::read(folder.0.join("dump.rdb")).expect("a file"), b"old");
    }
}
