//! Loading the append-only file, at the start or for DEBUG LOADAOF.
//!
//! ```text
//!   base, as a snapshot  --batches of keys--> the shards that own them
//!   files of commands    --AofReader--> checked --socket--> shard 0, like a client --> all shards
//! ```
//! The commands go through a socket pair to a session of shard 0, whose commands no gate refuses.
//! They run in batches over all shards, in the order of the file. A transaction is sent when its
//! EXEC was read. A last ECHO shows that all commands have run.

use super::load::{BATCHES_MAX, KeySink, LoadFault, log_loaded, send_keys};
use super::threads::Common;
use crate::aof::{AofReader, FileEntry, Folder, Found, Intakes, Manifest, ReadFault, Reloader};
use crate::base::system::error_text;
use crate::commands::restore_functions;
use crate::config::Config;
use crate::exec::{Entry, LOADER_ID, LoadStage, Loading, Process};
use crate::io::Socket;
use crate::mesh::{Handover, Mesh};
use crate::resp::Error;
use crate::script::RestorePolicy;
use crate::spec::Flag;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

/// Bytes that are read from a file at once.
const READ_BYTES: usize = 1 << 20;

/// Bytes of commands that are sent at once.
const SEND_BYTES: usize = 64 << 10;

/// Pause between two looks at shards that are still loading.
const PAUSE: Duration = Duration::from_millis(1);

/// Bytes by which a file tells that it begins with a snapshot.
const SNAPSHOT_MAGIC: [&[u8]; 2] = [b"REDIS0", b"VALKEY"];

/// The ECHO behind the last command, and the end of its reply.
const LAST: &[u8] = b"*2\r\n$4\r\nECHO\r\n$36\r\nthe append-only file has been loaded\r\n";
const LAST_REPLY: &[u8] = b"the append-only file has been loaded\r\n";

/// Returns the loader of DEBUG LOADAOF, for empty shards that refuse commands. It returns whether
/// all was loaded. The shards serve again in any case.
pub(super) fn reloader(common: &Common, intakes: &Arc<Intakes>) -> Reloader {
    let (common, intakes) = (common.clone(), Arc::clone(intakes));
    Box::new(move |folder| {
        let Common { process, mesh, .. } = &common;
        let shards = process.shards();
        let (keys, receivers) = (0..shards).map(|_| sync_channel(BATCHES_MAX)).unzip();
        intakes.put(receivers);
        mesh.ring_all();
        let result = reload(process, mesh, folder, keys);
        if let Err(fault) = &result {
            fault.lines.iter().for_each(|line| process.log.warning(line));
        }
        process.persistence().loading = None;
        while process.loading.stage() == LoadStage::Keys && !process.is_stopping() {
            std::thread::sleep(PAUSE);
        }
        if process.is_stopping() {
            return false;
        }
        end_loading(process, mesh);
        result.is_ok()
    })
}

fn reload(
    process: &Process,
    mesh: &Arc<Mesh>,
    folder: &Folder,
    keys: KeySink,
) -> Result<(), LoadFault> {
    let config = process.config.snapshot();
    // The base has the libraries of its moment.
    restore_functions(process, &[], RestorePolicy::Flush)
        .map_err(|error| LoadFault::of(error.text().into_owned()))?;
    let manifest = folder.read_manifest();
    let mut manifest = manifest.map_err(|error| LoadFault { lines: error.log_lines() })?;
    let upgraded = folder.upgrade(&config.dir, &mut manifest).map_err(LoadFault::of)?;
    if let Some(line) = upgraded {
        process.log.notice(&line);
    }
    if manifest.is_empty() {
        return Err(LoadFault::of("There is no append only file to load".to_owned()));
    }
    AofLoad::new(process, &config, mesh, folder, keys).run(&manifest)?;
    process.log.notice("Append Only File loaded by DEBUG LOADAOF");
    Ok(())
}

/// Makes all shards propagate and serve again, and waits until they do.
pub(super) fn end_loading(process: &Process, mesh: &Mesh) {
    process.loading.end_commands(process.shards());
    mesh.ring_all();
    while process.is_loading() && !process.is_stopping() {
        std::thread::sleep(PAUSE);
    }
}

/// How one file was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loaded {
    All,
    Empty,
    Truncated,
}

/// The state of loading an append-only file.
pub(super) struct AofLoad<'p> {
    process: &'p Process,
    config: &'p Config,
    mesh: &'p Arc<Mesh>,
    folder: &'p Folder,
    keys: Option<KeySink>,
    link: Option<Link>,
    /// Bytes of files that are loaded completely.
    loaded_bytes: u64,
}

impl<'p> AofLoad<'p> {
    pub(super) fn new(
        process: &'p Process,
        config: &'p Config,
        mesh: &'p Arc<Mesh>,
        folder: &'p Folder,
        keys: KeySink,
    ) -> AofLoad<'p> {
        AofLoad { process, config, mesh, folder, keys: Some(keys), link: None, loaded_bytes: 0 }
    }

    /// Loads all files. Returns the bytes of all files and of the base. At the end all shards have
    /// their keys, and wait for the stage to end.
    pub(super) fn run(mut self, manifest: &Manifest) -> Result<(u64, u64), LoadFault> {
        let started_ns = self.process.clock.monotonic_ns();
        let (mut total, mut base) = (0, 0);
        for entry in manifest.loaded() {
            let size = self.folder.size_of(entry).map_err(|error| {
                let (name, why) = (entry.text(), error_text(&error));
                LoadFault::of(format!("Unable to obtain the AOF file {name} length. stat: {why}"))
            })?;
            total += size;
            base = if manifest.base.as_ref() == Some(entry) { size } else { base };
        }
        if total > 0 {
            let started_s = self.process.clock.unix_ms() / 1_000;
            let loading = Loading { started_s, total_bytes: total, ..Loading::default() };
            self.process.persistence().loading = Some(loading);
            self.load_all(manifest)?;
        }
        self.end_keys();
        self.end_commands()?;
        self.process.persistence().loading = None;
        if !manifest.is_empty() && !self.process.is_stopping() {
            let seconds = self.seconds_since(started_ns);
            let line = format!("DB loaded from append only file: {seconds:.3} seconds");
            self.process.log.notice(&line);
        }
        Ok((total, base))
    }

    fn seconds_since(&self, started_ns: u64) -> f64 {
        (self.process.clock.monotonic_ns() - started_ns) as f64 / 1e9
    }

    fn load_all(&mut self, manifest: &Manifest) -> Result<(), LoadFault> {
        let files = manifest.loaded().count();
        for (at, entry) in manifest.loaded().enumerate() {
            let started_ns = self.process.clock.monotonic_ns();
            let loaded = self.load_file(entry)?;
            if self.process.is_stopping() {
                return Ok(());
            }
            let is_last = at + 1 == files;
            if loaded == Loaded::Truncated && !is_last {
                let line = "Fatal error: the truncated file is not the last file";
                return Err(LoadFault::of(line.to_owned()));
            }
            if loaded != Loaded::Empty {
                let is_base = manifest.base.as_ref() == Some(entry);
                let what = if is_base { "base" } else { "incr" };
                let (name, seconds) = (entry.text(), self.seconds_since(started_ns));
                let line = format!("DB loaded from {what} file {name}: {seconds:.3} seconds");
                self.process.log.notice(&line);
            }
        }
        Ok(())
    }

    fn load_file(&mut self, entry: &FileEntry) -> Result<Loaded, LoadFault> {
        let name = entry.text();
        let path = self.folder.path_of(&entry.name);
        let opened = File::open(&path);
        let mut file = opened.map_err(|error| {
            let why = error_text(&error);
            LoadFault::of(match error.kind() {
                ErrorKind::NotFound => format!("The append log file {name} doesn't exist: {why}"),
                _ => {
                    format!("Fatal error: can't open the append log file {name} for reading: {why}")
                }
            })
        })?;
        let unreadable = |error: &std::io::Error| {
            let why = error_text(error);
            let what = "Unrecoverable error reading the append only file";
            LoadFault::of(format!("{what} {name}: {why}"))
        };
        let len = file.metadata().map_err(|error| unreadable(&error))?.len();
        if len == 0 {
            return Ok(Loaded::Empty);
        }
        let mut magic = Vec::new();
        (&file).take(6).read_to_end(&mut magic).map_err(|error| unreadable(&error))?;
        file.seek(SeekFrom::Start(0)).map_err(|error| unreadable(&error))?;
        let mut offset = 0;
        if SNAPSHOT_MAGIC.contains(&&magic[..]) && self.keys.is_some() {
            offset = self.load_keys(&name, &file)?;
            file.seek(SeekFrom::Start(offset)).map_err(|error| unreadable(&error))?;
        }
        let loaded =
            if offset == len { Loaded::All } else { self.load_commands(entry, file, offset)? };
        self.loaded_bytes += len;
        Ok(loaded)
    }

    /// Loads the snapshot at the beginning of a file. Returns the offset of its end.
    fn load_keys(&mut self, name: &str, file: &File) -> Result<u64, LoadFault> {
        let is_old = name == self.folder.prefix();
        let log = &self.process.log;
        log.notice(match is_old {
            true => "Reading RDB preamble from AOF file...",
            false => "Reading RDB base file on AOF loading...",
        });
        let sink = self.keys.take().expect("checked by the caller");
        let file = file.try_clone().map_err(|error| error_text(&error));
        let sent = file.and_then(|file| send_keys(self.process, self.config, file, &sink));
        drop(sink);
        let sent = sent.map_err(|why| {
            let what = if is_old { "RDB preamble of the AOF file" } else { "RDB base file" };
            let line = format!("Error reading the {what} {name}, AOF loading aborted");
            LoadFault { lines: vec![why, line] }
        })?;
        self.wait_for_keys();
        log_loaded(self.process);
        if is_old {
            log.notice("Reading the remaining AOF tail...");
        }
        Ok(sent)
    }

    /// Waits until the shards have stored all keys.
    fn wait_for_keys(&self) {
        while self.process.loading.stage() == LoadStage::Keys && !self.process.is_stopping() {
            std::thread::sleep(PAUSE);
        }
    }

    fn end_keys(&mut self) {
        self.keys = None;
        self.wait_for_keys();
    }

    fn load_commands(
        &mut self,
        entry: &FileEntry,
        file: File,
        offset: u64,
    ) -> Result<Loaded, LoadFault> {
        self.end_keys();
        let name = entry.text();
        let mut reader = AofReader::new(BufReader::with_capacity(READ_BYTES, file), offset);
        let mut commands = Commands::new(offset);
        let fault = loop {
            if self.process.is_stopping() {
                return Ok(Loaded::All);
            }
            match reader.read() {
                Ok(Found::Command) => {}
                Ok(Found::End) if commands.is_inside() => break ReadFault::Short,
                Ok(Found::End) => {
                    self.send(&mut commands)?;
                    return Ok(Loaded::All);
                }
                Ok(_) => continue,
                Err(fault) => break fault,
            }
            commands.take(self.process, &reader).map_err(|error| {
                let what = "Error reading the append only file";
                LoadFault::of(format!("{what} {name}, error: {error}"))
            })?;
            if commands.ready >= SEND_BYTES {
                self.send(&mut commands)?;
                self.note_progress(reader.offset());
            }
        };
        self.send(&mut commands)?;
        match fault {
            ReadFault::Short => self.truncate(entry, &commands),
            ReadFault::Format => Err(LoadFault::of(format!(
                "Bad file format reading the append only file {name}: make a backup of your AOF \
                 file, then use ./valkey-check-aof --fix <filename.manifest>"
            ))),
            ReadFault::File(error) => {
                let what = "Unrecoverable error reading the append only file";
                Err(LoadFault::of(format!("{what} {name}: {}", error_text(&error))))
            }
        }
    }

    fn note_progress(&self, offset: u64) {
        if let Some(loading) = &mut self.process.persistence().loading {
            loading.read_bytes = self.loaded_bytes + offset;
        }
    }

    /// Removes the incomplete end of a file, if the settings allow it.
    fn truncate(&self, entry: &FileEntry, commands: &Commands) -> Result<Loaded, LoadFault> {
        let (name, log) = (entry.text(), &self.process.log);
        if commands.is_inside() {
            let what = "Revert incomplete MULTI/EXEC transaction in AOF file";
            log.warning(&format!("{what} {name}"));
        }
        let offset = commands.valid;
        if self.config.aof_load_truncated {
            let what = "!!! Warning: short read while loading the AOF file";
            log.warning(&format!("{what} {name}!!!"));
            log.warning(&format!("!!! Truncating the AOF {name} at offset {offset} !!!"));
            let file = OpenOptions::new().write(true).open(self.folder.path_of(&entry.name));
            match file.and_then(|file| file.set_len(offset)) {
                Ok(()) => {
                    let why = "loaded anyway because aof-load-truncated is enabled";
                    log.warning(&format!("AOF {name} {why}"));
                    return Ok(Loaded::Truncated);
                }
                Err(error) => {
                    let why = error_text(&error);
                    log.warning(&format!("Error truncating the AOF file {name}: {why}"));
                }
            }
        }
        Err(LoadFault::of(format!(
            "Unexpected end of file reading the append only file {name}. You can: 1) Make a \
             backup of your AOF file, then use ./valkey-check-aof --fix <filename.manifest>. 2) \
             Alternatively you can set the 'aof-load-truncated' configuration option to yes and \
             restart the server."
        )))
    }

    /// Sends the commands that are ready.
    fn send(&mut self, commands: &mut Commands) -> Result<(), LoadFault> {
        if commands.ready == 0 {
            return Ok(());
        }
        let link = self.link()?;
        let sent = link.write_all(&commands.text[..commands.ready]);
        sent.map_err(|error| lost(&error))?;
        commands.text.drain(..std::mem::take(&mut commands.ready));
        Ok(())
    }

    /// Returns the link to shard 0, and opens it if it is not open.
    fn link(&mut self) -> Result<&mut UnixStream, LoadFault> {
        if self.link.is_none() {
            self.link = Some(Link::open(self.process, self.mesh)?);
        }
        Ok(&mut self.link.as_mut().expect("just opened").to_shard)
    }

    /// Waits until all commands have run.
    fn end_commands(&mut self) -> Result<(), LoadFault> {
        let Some(link) = self.link.take() else { return Ok(()) };
        if link.finish() || self.process.is_stopping() {
            return Ok(());
        }
        Err(LoadFault::of("The commands of the append only file were not all run".to_owned()))
    }
}

/// A connection to shard 0. A thread of its own drops the replies, so that the shard never waits
/// until they are sent.
struct Link {
    to_shard: UnixStream,
    replies: JoinHandle<bool>,
}

impl Link {
    fn open(process: &Process, mesh: &Mesh) -> Result<Link, LoadFault> {
        let (to_shard, theirs) = UnixStream::pair().map_err(|error| lost(&error))?;
        theirs.set_nonblocking(true).map_err(|error| lost(&error))?;
        let from_shard = to_shard.try_clone().map_err(|error| lost(&error))?;
        let reading = move || drop_replies(from_shard);
        let replies = std::thread::Builder::new().name("aof-replies".to_owned()).spawn(reading);
        let replies = replies.map_err(|error| lost(&error))?;
        process.clients[0].fetch_add(1, Ordering::Relaxed);
        let socket = Socket::Kernel(OwnedFd::from(theirs));
        let handed = mesh.hand_over(
            0,
            Box::new(Handover { socket, client_id: LOADER_ID, is_tls: false, port_of: None }),
        );
        handed.map_err(|_| LoadFault::of("Shard 0 takes no connection".to_owned()))?;
        mesh.ring_all();
        Ok(Link { to_shard, replies })
    }

    /// Waits for the replies to all commands. Returns whether they have come.
    fn finish(mut self) -> bool {
        let is_sent = self.to_shard.write_all(LAST).is_ok();
        let has_replied = self.replies.join().unwrap_or(false);
        is_sent && has_replied
    }
}

/// Reads replies until the last one. Returns whether it has come.
fn drop_replies(mut from_shard: UnixStream) -> bool {
    let mut buffer = vec![0; SEND_BYTES];
    let mut tail: Vec<u8> = Vec::new();
    while !tail.ends_with(LAST_REPLY) {
        match from_shard.read(&mut buffer) {
            Ok(0) => return false,
            Ok(len) => {
                tail.extend_from_slice(&buffer[..len]);
                tail.drain(..tail.len().saturating_sub(LAST_REPLY.len()));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    true
}

fn lost(error: &std::io::Error) -> LoadFault {
    LoadFault::of(format!("The commands of the append only file cannot be run: {error}"))
}

/// Commands of a file on their way to shard 0.
#[derive(Debug)]
struct Commands {
    text: Vec<u8>,
    /// Number of bytes that may be sent: all but those of a transaction whose EXEC was not read.
    ready: usize,
    /// Offset of the MULTI of the transaction that is being read.
    multi: Option<u64>,
    /// Offset in the file up to which it is valid.
    valid: u64,
}

impl Commands {
    fn new(offset: u64) -> Commands {
        Commands { text: Vec::new(), ready: 0, multi: None, valid: offset }
    }

    /// Returns whether a transaction was read in part.
    fn is_inside(&self) -> bool {
        self.multi.is_some()
    }

    /// Adds the command that was read last. Returns the reference's error if it does not exist, or
    /// has a wrong number of arguments.
    fn take(
        &mut self,
        process: &Process,
        reader: &AofReader<BufReader<File>>,
    ) -> Result<(), String> {
        let entry = find(process, reader)?;
        let name = entry.name.as_str();
        if name == "multi" && self.multi.is_none() {
            self.multi = Some(self.valid);
        }
        let is_blocking = entry.command.card.flags.has(Flag::BLOCKING) && self.multi.is_none();
        if is_blocking {
            // In a transaction it does not wait.
            self.text.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n");
        }
        if changes_data(entry) {
            self.text.extend_from_slice(reader.text());
        }
        if is_blocking {
            self.text.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
        }
        if name == "exec" || name == "discard" {
            self.multi = None;
        }
        if self.multi.is_none() {
            self.ready = self.text.len();
            self.valid = reader.offset();
        }
        Ok(())
    }
}

/// Returns whether a command may change data, or where the next one does. Other commands that a
/// file may contain, for example PING, are skipped.
fn changes_data(entry: &Entry) -> bool {
    let flags = entry.command.card.flags;
    let selects = ["select", "multi", "exec", "discard", "script|load", "script|flush"];
    flags.has(Flag::WRITE) || entry.may_change_keys() || selects.contains(&entry.name.as_str())
}

/// Returns the command that was read last.
fn find(process: &Process, reader: &AofReader<BufReader<File>>) -> Result<&'static Entry, String> {
    let text = |error: Error| error.text().trim_start_matches("ERR ").to_owned();
    let args = || (1..reader.argc()).map(|at| reader.arg(at));
    let found = process.commands.find(reader.arg(0));
    let mut entry = found.ok_or_else(|| text(Error::unknown_command(reader.arg(0), args())))?;
    if !entry.subcommands.is_empty() && reader.argc() > 1 {
        let subcommand = entry.subcommand(reader.arg(1));
        let name = entry.name.as_bytes();
        entry = subcommand.ok_or_else(|| text(Error::unknown_subcommand(name, reader.arg(1))))?;
    }
    if !entry.command.card.takes(reader.argc()) {
        return Err(text(Error::wrong_arity(&entry.name)));
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_command_is_a_command() {
        let mut reader = AofReader::new(LAST, 0);
        assert_eq!(reader.read().expect("it is valid"), Found::Command);
        assert_eq!(reader.arg(0), b"ECHO");
        assert_eq!(reader.arg(1), LAST_REPLY.strip_suffix(b"\r\n").expect("a line"));
        assert_eq!(reader.read().expect("nothing follows"), Found::End);
    }
}
