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
use super::incr::{IncrFile, WriteFailure};
use super::limits::*;
use super::manifest::Manifest;
use super::start;
use super::sync::{Syncer, Upto};
use crate::base::system::error_text;
use crate::config::{AppendFsync, Config};
use crate::exec::{AofOrder, Process, Shutdown};
use crate::feed::{Feed, Pulled};
use crate::mesh::Mesh;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

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
    /// Opens the files after the load and starts the thread. `sizes` are the bytes of all files and
    /// of the base. The error is a line for the log.
    pub fn start(
        (process, mesh, feed): (&Arc<Process>, &Arc<Mesh>, &Arc<Feed>),
        folder: Folder,
        mut manifest: Manifest,
        sizes: (u64, u64),
    ) -> Result<Writer, String> {
        let config = process.config.snapshot();
        let incr = start::open_files(process, &config, &folder, &mut manifest)?;
        let shared = Shared { process: process.clone(), mesh: mesh.clone(), feed: feed.clone() };
        let bell_of = Arc::clone(feed);
        let syncer = Syncer::start(move || bell_of.disk().wake());
        let syncer = syncer.map_err(|error| format!("Cannot start a thread: {error}"))?;
        let offset = feed.begin_disk();
        let mut facts = process.aof.facts();
        (facts.is_on, facts.durable_offset) = (true, offset);
        (facts.current_size, facts.base_size) = sizes;
        drop(facts);
        let before_size = sizes.0.saturating_sub(incr.size());
        let now_ms = process.clock.monotonic_ns() / 1_000_000;
        let life = move || {
            let policy = config.appendfsync;
            let mut state = State {
                shared,
                incr,
                syncer,
                policy,
                config,
                written: offset,
                synced: offset,
                before_size,
                times: Times { synced_ms: now_ms, ..Times::default() },
                is_whole: true,
                annotated_s: 0,
                buffer: Vec::new(),
            };
            start::delete_history(&state.shared.process, &folder, &mut manifest);
            state.run();
        };
        let thread = std::thread::Builder::new().name("aof".to_owned()).spawn(life);
        let thread = thread.map_err(|error| format!("Cannot start a thread: {error}"))?;
        Ok(Writer { thread })
    }

    /// Waits until the thread has ended.
    pub fn finish(self) {
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

/// The state of the thread.
struct State {
    shared: Shared,
    config: Arc<Config>,
    policy: AppendFsync,
    incr: IncrFile,
    syncer: Syncer,
    /// Offset of the stream up to which bytes are written.
    written: u64,
    /// Offset of the stream up to which bytes are durable.
    synced: u64,
    /// Bytes of the other files.
    before_size: u64,
    times: Times,
    /// Whether the file ends with a whole command.
    is_whole: bool,
    /// Unix seconds of the last annotation.
    annotated_s: u64,
    buffer: Vec<u8>,
}

impl State {
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
            let stop = self.shared.process.aof.take_order();
            if let Some(AofOrder::Stop { offset, why }) = stop {
                self.stop(offset, why);
                return;
            }
            if self.shared.process.is_stopping() {
                return self.flush_all();
            }
            let wanted = feed.disk().wanted();
            let has_more = self.step(false);
            if has_more {
                continue;
            }
            if self.policy != AppendFsync::Always {
                std::thread::sleep(REST);
            }
            let process = &self.shared.process;
            feed.disk().sleep(TICK, || {
                (feed.end_offset() > self.written && self.can_write())
                    || feed.disk().is_late()
                    || feed.disk().wanted() != wanted
                    || process.aof.has_orders()
                    || process.is_stopping()
            });
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
    fn settle(&mut self) {
        self.policy = self.config.appendfsync;
        let is_always = self.policy == AppendFsync::Always;
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
        let has_more = if is_forced || self.may_write() { self.write() } else { false };
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

    /// Writes bytes of the stream. Returns whether the stream has more.
    fn write(&mut self) -> bool {
        let feed = Arc::clone(&self.shared.feed);
        let (pulled, merged) = feed.pull(self.written, WRITE_BYTES_MAX);
        if merged.has_grown {
            for shard in feed.listeners() {
                self.shared.mesh.ring_bell(shard);
            }
        }
        let len = self.collect(&pulled);
        let mut has_failed = false;
        if len > 0 {
            match self.incr.append(&self.buffer) {
                Ok(()) => {
                    self.written += len;
                    self.is_whole = pulled.is_whole;
                    self.succeed();
                }
                Err(failure) => {
                    self.fail(&failure);
                    has_failed = true;
                }
            }
        }
        if has_failed {
            return false;
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
            for skipped in &pulled.skipped {
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
            std::process::exit(1);
        }
        self.times.retry_ms = now_ms + RETRY_MS;
        self.shared.process.aof.set_write_failure(number_of(&failure.error));
    }

    /// Syncs the file on this thread, under `appendfsync always`.
    fn sync_now(&mut self) {
        if self.config.no_appendfsync_on_rewrite && self.shared.process.aof.is_rewriting() {
            return;
        }
        while let Some((upto, result)) = self.syncer.wait() {
            self.end_sync(upto, result);
        }
        if self.incr.synced_size < self.incr.size() {
            if let Err(error) = self.incr.sync() {
                self.shared.process.log.warning(&format!(
                    "Can't persist AOF for fsync error when the AOF fsync policy is 'always': {}. \
                     Exiting...",
                    error_text(&error)
                ));
                std::process::exit(1);
            }
            self.times.synced_ms = self.now_ms();
        }
        self.note_synced(self.written);
    }

    /// Begins a sync if one is due under `appendfsync everysec`.
    fn sync_if_due(&mut self) {
        if self.policy == AppendFsync::No {
            // Nothing is ever synced, so the stream keeps nothing.
            return self.note_need(self.written);
        }
        if self.policy != AppendFsync::Everysec || self.syncer.is_busy() {
            return;
        }
        if self.incr.synced_size == self.incr.size() {
            return self.note_synced(self.written);
        }
        let is_rewriting = self.shared.process.aof.is_rewriting();
        let now_ms = self.now_ms();
        let is_due = now_ms - self.times.synced_ms >= SYNC_MS;
        if is_due && !(self.config.no_appendfsync_on_rewrite && is_rewriting) {
            self.times.synced_ms = now_ms;
            let upto = Upto { size: self.incr.size(), offset: self.written };
            self.syncer.begin(self.incr.file(), upto);
        }
    }

    fn end_sync(&mut self, upto: Upto, result: io::Result<()>) {
        match result {
            Ok(()) => {
                self.incr.synced_size = self.incr.synced_size.max(upto.size);
                self.note_synced(upto.offset);
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
                if self.policy != AppendFsync::No && self.incr.drop_unsynced().is_ok() {
                    (self.written, self.is_whole) = (self.synced, true);
                }
            }
        }
    }

    fn note_synced(&mut self, offset: u64) {
        if offset > self.synced {
            self.synced = offset;
        }
        self.note_need(self.synced);
        self.shared.process.aof.facts().durable_offset = self.synced;
    }

    fn note_need(&self, offset: u64) {
        self.shared.feed.disk().set_need(Some(offset));
    }

    fn note_facts(&self) {
        let mut facts = self.shared.process.aof.facts();
        facts.current_size = self.before_size + self.incr.size();
        facts.unwritten = self.shared.feed.end_offset().saturating_sub(self.written);
        facts.syncs = u64::from(self.syncer.is_busy());
    }

    /// Writes all of the stream and syncs it.
    fn flush_all(&mut self) {
        let log = &self.shared.process.log;
        log.notice("Calling fsync() on the AOF file.");
        while self.step(true) {}
        while let Some((upto, result)) = self.syncer.wait() {
            self.end_sync(upto, result);
        }
        if let Err(error) = self.incr.sync() {
            let line = format!("Fail to fsync the AOF file: {}.", error_text(&error));
            self.shared.process.log.warning(&line);
        }
        self.note_synced(self.written);
    }

    /// Writes the stream up to an offset, and stops the process.
    fn stop(&mut self, offset: u64, why: Shutdown) {
        while self.shared.feed.end_offset() < offset {
            std::thread::yield_now();
        }
        self.flush_all();
        self.shared.process.stop(why);
        self.shared.mesh.ring_all();
    }
}

/// Returns the number of a system error.
fn number_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}
