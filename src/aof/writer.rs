//! The thread that writes the append-only file: a reader of the stream, like a replica.
//!
//! ```text
//!   stream --pull--> write --> [everysec: the sync thread | always: sync here] --> durable
//!      ^                |                                                             |
//!      '-- need: the first byte that is not durable ----------------------------------'
//! ```
//! The stream keeps all bytes that are not durable. So after a failed sync the file is cut back to
//! its durable part and the rest is written again: a second sync after a failed one may succeed
//! although the kernel has dropped the bytes.

use super::folder::Folder;
use super::group::Group;
use super::incr::{IncrFile, WriteFailure};
use super::limits::*;
use super::manifest::Manifest;
use super::start;
use super::sync::{Syncer, Upto};
use crate::base::system::error_text;
use crate::config::{AppendFsync, Config};
use crate::exec::{AofMode, AofOrder, BaseForm, Process, Shutdown};
use crate::feed::{Feed, Pulled};
use crate::mesh::Mesh;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Loads the files for DEBUG LOADAOF. Returns whether all was loaded.
pub type Reloader = Box<dyn Fn(&Folder) -> bool + Send>;

/// The append-only file that is being written.
#[derive(Debug)]
pub struct Writer {
    thread: JoinHandle<()>,
}

/// What the thread shares with the shards.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) process: Arc<Process>,
    pub(super) mesh: Arc<Mesh>,
    pub(super) feed: Arc<Feed>,
}

impl Writer {
    /// Opens the files after the load, if there is an append-only file, and starts the thread.
    /// `sizes` are the bytes of all files and of the base. The error is a line for the log.
    pub fn start(
        (process, mesh, feed): (&Arc<Process>, &Arc<Mesh>, &Arc<Feed>),
        folder: Folder,
        manifest: Manifest,
        sizes: (u64, u64),
        reloader: Reloader,
    ) -> Result<Writer, String> {
        let shared = Shared { process: process.clone(), mesh: mesh.clone(), feed: feed.clone() };
        let bell_of = Arc::clone(feed);
        let syncer = Syncer::start(move || bell_of.disk().wake());
        let syncer = syncer.map_err(|error| format!("Cannot start a thread: {error}"))?;
        let mut state = State::open(shared, (folder, manifest), sizes, syncer, reloader)?;
        let life = move || {
            state.publish_synced();
            state.delete_history();
            state.run();
        };
        let thread = std::thread::Builder::new().name("aof".to_owned()).spawn(life);
        let thread = thread.map_err(|error| format!("Cannot start a thread: {error}"))?;
        Ok(Writer { thread })
    }

    /// Waits until the thread has ended.
    pub fn finish(self) {
        // Without an append-only file it sleeps for long.
        self.thread.thread().unpark();
        // A thread that has panicked has already reported it.
        let _ = self.thread.join();
    }
}

/// Monotonic milliseconds of events.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    /// The last sync began.
    synced_ms: u64,
    /// A write began to wait for a sync; 0 if none waits.
    postponed_ms: u64,
    /// The next attempt after a failed write.
    retry_ms: u64,
    /// The next log line about a failed write.
    log_ms: u64,
}

/// The files on disk.
pub(super) struct Files {
    pub(super) folder: Folder,
    pub(super) manifest: Manifest,
    /// Whether a manifest could not be written, so that the one on disk may be another.
    is_unsure: bool,
    /// Monotonic milliseconds of the next attempt to write it.
    retry_ms: u64,
}

impl Files {
    /// Replaces the manifest. If that fails, the one on disk may be either, and is written again
    /// later. The names of files are not used again.
    pub(super) fn put(&mut self, next: Manifest) -> Result<(), String> {
        let put = self.folder.write_manifest(&next);
        self.is_unsure = put.is_err();
        match put {
            Ok(()) => self.manifest = next,
            Err(_) => self.manifest.base_sequence = next.base_sequence,
        }
        put
    }
}

/// The rewrite in progress.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rewriting {
    /// Whether the file behind the cut has begun.
    pub(super) has_begun: bool,
    /// Whether that file could not be opened.
    pub(super) has_failed: bool,
    /// The form of the base, if it is complete although the cut is not reached yet.
    pub(super) written: Option<BaseForm>,
    /// Rewrites up to this number began before the file did, and are given up.
    pub(super) given_up: u64,
}

/// The state of the thread.
pub(super) struct State {
    pub(super) shared: Shared,
    reloader: Reloader,
    pub(super) config: Arc<Config>,
    pub(super) mode: AofMode,
    pub(super) files: Files,
    pub(super) rewriting: Rewriting,
    policy: AppendFsync,
    /// The file of commands; none while there is no append-only file, and before its first cut.
    pub(super) incr: Option<IncrFile>,
    syncer: Syncer,
    /// Offset of the stream up to which bytes are written.
    written: u64,
    /// Offset of the stream up to which bytes are durable.
    synced: u64,
    /// Where the stream begins that is still there. After a failed sync the file is written again
    /// from here on.
    floor: Upto,
    /// Offsets of commands that are only for replicas, behind the floor.
    skipped: Vec<Range<u64>>,
    /// Offset where another file of commands begins.
    cut: Option<u64>,
    /// Bytes of the other files.
    pub(super) before_size: u64,
    times: Times,
    /// The last sync under `appendfsync always`.
    group: Group,
    /// Whether the file ends with a whole command.
    is_whole: bool,
    /// Unix seconds of the last annotation.
    annotated_s: u64,
    buffer: Vec<u8>,
    /// Ends the process after a failure under `appendfsync always`.
    exit: fn() -> !,
}

impl State {
    /// Opens the files, if there is an append-only file.
    fn open(
        shared: Shared,
        (folder, mut manifest): (Folder, Manifest),
        sizes: (u64, u64),
        syncer: Syncer,
        reloader: Reloader,
    ) -> Result<State, String> {
        let process = &shared.process;
        let config = process.config.snapshot();
        let is_on = config.appendonly;
        let incr = match is_on {
            true => Some(start::open_files(process, &config, &folder, &mut manifest)?),
            false => None,
        };
        let offset = if is_on { shared.feed.begin_disk() } else { 0 };
        let mode = if is_on { AofMode::On } else { AofMode::Off };
        let mut facts = process.aof.facts();
        (facts.mode, facts.has_thread) = (mode, true);
        (facts.current_size, facts.base_size) = sizes;
        drop(facts);
        let size = incr.as_ref().map_or(0, IncrFile::size);
        let now_ms = process.clock.monotonic_ns() / 1_000_000;
        Ok(State {
            shared,
            reloader,
            mode,
            files: Files { folder, manifest, is_unsure: false, retry_ms: 0 },
            rewriting: Rewriting::default(),
            incr,
            syncer,
            policy: config.appendfsync,
            config,
            written: offset,
            synced: offset,
            floor: Upto { size, offset, is_whole: true },
            skipped: Vec::new(),
            cut: None,
            before_size: sizes.0.saturating_sub(size),
            times: Times { synced_ms: now_ms, ..Times::default() },
            group: Group::default(),
            is_whole: true,
            annotated_s: 0,
            buffer: Vec::new(),
            exit: || std::process::exit(1),
        })
    }

    fn run(&mut self) {
        let feed = Arc::clone(&self.shared.feed);
        feed.disk().set_thread();
        self.settle();
        let mut seen = self.shared.process.config.version();
        loop {
            let version = self.shared.process.config.version();
            if version != seen {
                seen = version;
                self.config = self.shared.process.config.snapshot();
                self.settle();
            }
            if let Some(order) = self.shared.process.aof.take_order() {
                if let AofOrder::Stop { offset, why } = order {
                    return self.stop(offset, why);
                }
                self.obey(order);
                continue;
            }
            if self.shared.process.is_stopping() {
                return self.flush_all();
            }
            if !self.step_or_sleep() {
                continue;
            }
        }
    }

    /// Writes what is due, or sleeps. Returns whether it has slept.
    fn step_or_sleep(&mut self) -> bool {
        let feed = Arc::clone(&self.shared.feed);
        let wanted = feed.disk().wanted();
        if self.mode != AofMode::Off && self.step(false) {
            return false;
        }
        if self.policy != AppendFsync::Always && self.mode != AofMode::Off {
            std::thread::sleep(REST);
        }
        let process = &self.shared.process;
        let is_off = self.mode == AofMode::Off;
        feed.disk().sleep(if is_off { IDLE } else { TICK }, || {
            let is_late = feed.end_offset() > self.written && self.can_write();
            (!is_off && (is_late || feed.disk().is_late() || feed.disk().wanted() != wanted))
                || process.aof.has_orders()
                || process.is_stopping()
        });
        true
    }

    fn obey(&mut self, order: AofOrder) {
        match order {
            AofOrder::Stop { .. } => unreachable!("the caller stops"),
            AofOrder::Begin { offset, rewrite } => {
                (self.written, self.synced, self.is_whole) = (offset, offset, true);
                self.floor = Upto { size: 0, offset, is_whole: true };
                (self.skipped, self.cut) = (Vec::new(), None);
                self.mode = AofMode::Beginning;
                self.rewriting = Rewriting { given_up: rewrite, ..Rewriting::default() };
                self.forget_failures();
                self.publish_synced();
                self.settle();
            }
            AofOrder::End => {
                if self.incr.is_some() {
                    self.flush_all();
                }
                self.incr = None;
                self.mode = AofMode::Off;
                self.forget_failures();
                self.shared.feed.end_disk();
                self.note_facts();
                self.shared.process.aof.facts().is_ending = false;
                self.publish_synced();
                self.settle();
            }
            AofOrder::EndRewrite { number, written } => {
                let is_given_up = number <= self.rewriting.given_up;
                self.end_rewrite(written.filter(|_| !is_given_up), is_given_up);
            }
            AofOrder::Load { offset, home } => self.load(offset, home),
        }
    }

    fn forget_failures(&mut self) {
        let (process, log) = (&self.shared.process, &self.shared.process.log);
        if process.aof.set_sync_failure(0) != 0 {
            log.warning("AOF reopen, just ignore the AOF fsync error in bio job");
        }
        if process.aof.set_write_failure(0) != 0 {
            log.warning("AOF reopen, just ignore the last error.");
        }
    }

    /// Returns whether nothing but a sync or a retry keeps bytes from being written.
    fn can_write(&self) -> bool {
        self.times.retry_ms == 0 && self.times.postponed_ms == 0
    }

    fn now_ms(&self) -> u64 {
        self.shared.process.clock.monotonic_ns() / 1_000_000
    }

    /// Follows the settings.
    pub(super) fn settle(&mut self) {
        self.policy = self.config.appendfsync;
        if self.policy == AppendFsync::No {
            // No further sync would tell that the failure is over.
            self.shared.process.aof.set_sync_failure(0);
        }
        if !self.files.is_unsure {
            self.delete_history();
        }
        let is_always = self.policy == AppendFsync::Always && self.mode != AofMode::Off;
        let disk = self.shared.feed.disk();
        if is_always != disk.is_always() {
            disk.set_always(is_always);
            self.shared.mesh.ring_all();
        }
    }

    /// Writes and syncs what is due. Returns whether more is due at once.
    fn step(&mut self, is_forced: bool) -> bool {
        while let Some((upto, result)) = self.syncer.poll() {
            self.end_sync(upto, result);
        }
        self.settle_manifest();
        let is_unsure = self.files.is_unsure && self.mode == AofMode::On;
        let has_more =
            if !is_unsure && (is_forced || self.may_write()) { self.write() } else { false };
        self.sync_if_due();
        self.note_facts();
        has_more
    }

    /// Returns whether bytes may be written now. A write may take as long as a sync that is in
    /// progress, so it waits for the sync, for a limited time.
    fn may_write(&mut self) -> bool {
        let now_ms = self.now_ms();
        if now_ms < self.times.retry_ms {
            return false;
        }
        if self.policy != AppendFsync::Everysec || !self.syncer.is_busy() {
            self.times.postponed_ms = 0;
            return true;
        }
        if self.shared.feed.end_offset() == self.written {
            return false;
        }
        if self.times.postponed_ms == 0 {
            self.times.postponed_ms = now_ms;
        }
        if now_ms - self.times.postponed_ms < POSTPONE_MS_MAX {
            return false;
        }
        self.times.postponed_ms = 0;
        self.shared.process.aof.facts().delayed += 1;
        self.shared.process.log.notice(
            "Asynchronous AOF fsync is taking too long (disk is busy?). Writing the AOF buffer \
             without waiting for fsync to complete, this may slow down the server.",
        );
        true
    }

    /// Writes the manifest again after a failure. Until then commands that write are refused, and
    /// none is written: the manifest on disk may end with another file than the one that is open.
    fn settle_manifest(&mut self) {
        let now_ms = self.now_ms();
        let files = &mut self.files;
        if !files.is_unsure || files.manifest.is_empty() || now_ms < files.retry_ms {
            return;
        }
        files.retry_ms = now_ms + RETRY_MS;
        files.is_unsure = files.folder.write_manifest(&files.manifest).is_err();
        let failure = if files.is_unsure { libc::EIO } else { 0 };
        self.shared.process.aof.set_write_failure(failure);
    }

    /// Writes bytes of the stream. Returns whether the stream has more.
    fn write(&mut self) -> bool {
        let feed = Arc::clone(&self.shared.feed);
        if self.policy == AppendFsync::Always && feed.end_offset() > self.written {
            let now_ns = self.shared.process.clock.monotonic_ns();
            self.group.gather(now_ns, || feed.end_offset());
        }
        let until_cut = self.cut.map_or(u64::MAX, |cut| cut - self.written);
        let bytes_max = WRITE_BYTES_MAX.min(usize::try_from(until_cut).unwrap_or(usize::MAX));
        let (mut pulled, merged) = feed.pull(self.written, bytes_max);
        if merged.has_grown {
            for shard in feed.listeners() {
                self.shared.mesh.ring_bell(shard);
            }
        }
        self.skipped.append(&mut pulled.skipped);
        let len = self.collect(&pulled);
        if pulled.is_cut {
            self.cut = Some(self.written + len);
        }
        if let Some(delay) = self.shared.process.aof.write_delay().filter(|_| len > 0) {
            self.note_facts();
            std::thread::sleep(delay);
        }
        let appended = match &mut self.incr {
            Some(incr) if len > 0 => incr.append(&self.buffer),
            _ => Ok(()),
        };
        if let Err(failure) = appended {
            self.fail(&failure);
            return false;
        }
        if len > 0 {
            self.written += len;
            self.is_whole = pulled.is_whole || self.cut == Some(self.written);
            self.succeed();
        }
        if self.cut == Some(self.written) {
            self.cut = None;
            self.begin_next_file();
        }
        if self.policy == AppendFsync::Always {
            self.sync_now();
            if pulled.frontier > feed.disk().durable() {
                for shard in feed.disk().set_durable(pulled.frontier) {
                    self.shared.mesh.ring_bell(shard);
                }
            }
        }
        pulled.has_more || merged.is_behind
    }

    /// Puts the pulled bytes into the buffer, without what is only for replicas. Returns their
    /// number in the stream.
    fn collect(&mut self, pulled: &Pulled) -> u64 {
        self.buffer.clear();
        let mut at = self.written;
        for piece in &pulled.pieces {
            let end = at + piece.len() as u64;
            let mut from = at;
            for skipped in &self.skipped {
                let (start, stop) = (skipped.start.clamp(from, end), skipped.end.clamp(from, end));
                if start < stop {
                    let range = (from - at) as usize..(start - at) as usize;
                    self.buffer.extend_from_slice(&piece[range]);
                    from = stop;
                }
            }
            self.buffer.extend_from_slice(&piece[(from - at) as usize..]);
            at = end;
        }
        if self.config.aof_timestamp_enabled && !self.buffer.is_empty() && self.is_whole {
            let now_s = self.shared.process.clock.unix_ms() / 1_000;
            if now_s > self.annotated_s {
                self.annotated_s = now_s;
                self.buffer.splice(0..0, format!("#TS:{now_s}\r\n").into_bytes());
            }
        }
        at - self.written
    }

    fn succeed(&mut self) {
        self.times.retry_ms = 0;
        if self.shared.process.aof.set_write_failure(0) != 0 {
            let line = "AOF write error looks solved. The server can write again.";
            self.shared.process.log.notice(line);
        }
    }

    fn fail(&mut self, failure: &WriteFailure) {
        let log = &self.shared.process.log;
        let now_ms = self.now_ms();
        let may_log = now_ms >= self.times.log_ms;
        if may_log {
            self.times.log_ms = now_ms + LOG_MS;
            let (written, expected) = (failure.written, self.buffer.len());
            log.warning(&match written {
                0 => format!("Error writing to the AOF file: {}", error_text(&failure.error)),
                _ => format!(
                    "Short write while writing to the AOF file: (nwritten={written}, \
                     expected={expected})"
                ),
            });
        }
        if let Some(why) = failure.kept.as_ref().filter(|_| may_log) {
            log.warning(&format!(
                "Could not remove short write from the append-only file. The server may refuse to \
                 load the AOF the next time it starts.  ftruncate: {}",
                error_text(why)
            ));
        }
        if self.policy == AppendFsync::Always {
            log.warning(
                "Can't recover from AOF write error when the AOF fsync policy is 'always'. \
                 Exiting...",
            );
            (self.exit)();
        }
        self.times.retry_ms = now_ms + RETRY_MS;
        self.shared.process.aof.set_write_failure(number_of(&failure.error));
    }

    /// Syncs the file on this thread, under `appendfsync always`.
    fn sync_now(&mut self) {
        if self.omits_syncs() {
            return;
        }
        self.await_sync();
        let is_due = self.must_sync();
        if let Some(incr) = self.incr.as_mut().filter(|_| is_due) {
            let clock = &self.shared.process.clock;
            let began_ns = clock.monotonic_ns();
            if let Err(error) = incr.sync() {
                // The next process must not continue behind bytes that are lost. No reply that has
                // left depends on them.
                incr.cut_to(self.floor.size);
                self.shared.process.log.warning(&format!(
                    "Can't persist AOF for fsync error when the AOF fsync policy is 'always': {}. \
                     Exiting...",
                    error_text(&error)
                ));
                (self.exit)();
            }
            let bytes = self.written.saturating_sub(self.synced);
            let times_ns = (began_ns, clock.monotonic_ns());
            self.group.synced(times_ns, bytes, self.shared.feed.end_offset());
            self.times.synced_ms = self.now_ms();
        }
        self.end_sync(self.end(), Ok(()));
    }

    /// Returns whether a rewrite is in progress during which the file is not synced.
    fn omits_syncs(&self) -> bool {
        self.config.no_appendfsync_on_rewrite && self.shared.process.aof.is_rewriting()
    }

    /// Returns whether there are bytes to sync. After a failure the next sync tells whether it is
    /// over, even without bytes.
    fn must_sync(&self) -> bool {
        let has_failed = self.shared.process.aof.has_sync_failed();
        self.incr.as_ref().is_some_and(|incr| has_failed || !incr.is_synced())
    }

    /// Begins a sync if one is due under `appendfsync everysec`.
    fn sync_if_due(&mut self) {
        if self.incr.is_none() {
            // The base that is being written has these effects.
            return self.note_synced(self.end());
        }
        if self.policy == AppendFsync::No || self.omits_syncs() {
            // Nothing is synced for a long time, so the stream keeps nothing.
            return self.raise_floor(self.end());
        }
        if self.policy != AppendFsync::Everysec || self.syncer.is_busy() {
            return;
        }
        if !self.must_sync() {
            return self.note_synced(self.end());
        }
        let now_ms = self.now_ms();
        if now_ms - self.times.synced_ms >= SYNC_MS {
            self.times.synced_ms = now_ms;
            let (file, upto) = (self.incr.as_ref().map(IncrFile::file), self.end());
            self.syncer.begin(file.expect("checked above"), upto);
        }
    }

    fn end_sync(&mut self, upto: Upto, result: io::Result<()>) {
        match result {
            Ok(()) => {
                if let Some(incr) = &mut self.incr {
                    incr.synced_size = incr.synced_size.max(upto.size);
                }
                self.note_synced(upto);
                if self.shared.process.aof.set_sync_failure(0) != 0 {
                    let line = "AOF fsync error looks solved. The server can write again.";
                    self.shared.process.log.notice(line);
                }
            }
            Err(error) => {
                if self.shared.process.aof.set_sync_failure(number_of(&error)) == 0 {
                    let line = format!("Fail to fsync the AOF file: {}", error_text(&error));
                    self.shared.process.log.warning(&line);
                }
                let floor = self.floor;
                if let Some(incr) = &mut self.incr {
                    incr.cut_to(floor.size);
                    (self.written, self.is_whole) = (floor.offset, floor.is_whole);
                }
            }
        }
    }

    /// Returns the end of what is written.
    fn end(&self) -> Upto {
        let size = self.incr.as_ref().map_or(0, IncrFile::size);
        Upto { size, offset: self.written, is_whole: self.is_whole }
    }

    /// Waits for the sync in progress.
    pub(super) fn await_sync(&mut self) {
        while let Some((upto, result)) = self.syncer.wait() {
            self.end_sync(upto, result);
        }
    }

    /// Syncs the file. Returns false if that fails; then its bytes that are not durable are written
    /// again.
    pub(super) fn sync_file(&mut self) -> bool {
        let written = self.written;
        self.await_sync();
        if self.written != written {
            // The sync in progress has failed.
            return false;
        }
        let upto = self.end();
        let Some(incr) = &mut self.incr else { return true };
        let result = incr.sync();
        let is_synced = result.is_ok();
        self.end_sync(upto, result);
        is_synced
    }

    fn note_synced(&mut self, upto: Upto) {
        self.synced = self.synced.max(upto.offset);
        self.raise_floor(upto);
        self.publish_synced();
    }

    /// Records that the stream before a position is not needed any more.
    fn raise_floor(&mut self, upto: Upto) {
        if upto.offset > self.floor.offset {
            self.floor = upto;
            self.skipped.retain(|skipped| skipped.end > upto.offset);
            self.shared.feed.disk().set_need(Some(upto.offset));
        }
    }

    /// Forgets where another file of commands would begin.
    pub(super) fn forget_cut(&mut self) {
        self.cut = None;
        self.shared.feed.forget_cut();
    }

    /// Continues with another, empty file of commands.
    pub(super) fn take_file(&mut self, incr: IncrFile) {
        self.incr = Some(incr);
        self.floor = self.end();
        self.shared.feed.disk().set_need(Some(self.written));
    }

    /// Tells clients in WAITAOF how far the files are durable. What was written while the first
    /// base is not complete does not count.
    pub(super) fn publish_synced(&self) {
        let synced = (self.mode == AofMode::On).then_some(self.synced);
        if self.shared.process.aof.set_synced(synced) {
            self.shared.feed.awaiting().for_each(|shard| self.shared.mesh.ring_bell(shard));
        }
    }

    pub(super) fn note_facts(&self) {
        let feed = &self.shared.feed;
        if feed.disk().end_behind(feed.end_offset()) {
            let line = "The append-only file has caught up. Commands that write continue.";
            self.shared.process.log.notice(line);
            self.shared.mesh.ring_all();
        }
        let mut facts = self.shared.process.aof.facts();
        let size = self.incr.as_ref().map_or(0, IncrFile::size);
        facts.current_size = self.before_size + size;
        facts.unwritten = self.shared.feed.end_offset().saturating_sub(self.written);
        facts.syncs = u64::from(self.syncer.is_busy());
    }

    /// Writes all of the stream and syncs it.
    fn flush_all(&mut self) {
        if self.incr.is_none() {
            return;
        }
        let log = &self.shared.process.log;
        log.notice("Calling fsync() on the AOF file.");
        while self.step(true) {}
        self.sync_file();
    }

    /// Writes the stream up to an offset, and stops the process.
    fn stop(&mut self, offset: u64, why: Shutdown) {
        self.await_stream(offset);
        self.flush_all();
        self.shared.process.stop(why);
        self.shared.mesh.ring_all();
    }

    fn await_stream(&self, offset: u64) {
        while self.shared.feed.end_offset() < offset {
            std::thread::yield_now();
        }
    }

    /// Writes the stream up to an offset, and loads the files into the empty shards.
    fn load(&mut self, offset: u64, home: usize) {
        if self.mode != AofMode::Off {
            self.await_stream(offset);
            self.flush_all();
        }
        // The replies to the commands of the files wait for nothing.
        self.shared.feed.disk().set_always(false);
        self.shared.mesh.ring_all();
        let is_loaded = (self.reloader)(&self.files.folder);
        if let Some(incr) = &mut self.incr {
            incr.see_size();
        }
        self.settle();
        self.shared.process.aof.set_loaded(is_loaded);
        self.shared.mesh.ring_bell(home);
    }
}

/// Returns the number of a system error.
fn number_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

#[cfg(test)]
#[path = "crashes.rs"]
mod crashes;
