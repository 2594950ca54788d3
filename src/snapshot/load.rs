//! Loading a file. One reader finds where each value ends; the shard that owns a key decodes its
//! value.
//!
//! ```text
//!   file --FileReader--> heads, keys, bytes of values --Batch--> load_batch --> slice
//!                                                      |
//!                                                      '-- one batch per shard at a time
//! ```

use crate::base::slot::slot_of;
use crate::keyspace::{Expiry, Slice};
use crate::rdb::{
    Checksum, Decoder, Dialect, Entry, Fault, Form, Kept, MAGIC_BYTES, Part, Reading, Text, Value,
    fault_text,
};
use crate::value::string::{IntText, NewStr};
use bytes::Bytes;
use std::io::{self, Read};

/// Minimum of bytes per read.
const READ_BYTES: usize = 1 << 20;

/// Keys without elements that the log names, per batch.
const EMPTY_NAMED_MAX: u64 = 10;

/// Bytes from which on a batch is handed over.
const BATCH_BYTES: usize = 256 << 10;

/// Keys for one shard, with undecoded values.
#[derive(Debug, Default)]
pub struct Batch {
    /// Keys and values, one after the other.
    bytes: Vec<u8>,
    heads: Vec<Head>,
}

#[derive(Debug)]
struct Head {
    db: u32,
    expiry: Option<u64>,
    form: Form,
    slot: u16,
    key_len: usize,
    value_len: usize,
}

impl Batch {
    /// Adds a key of a hash slot.
    pub fn add(&mut self, db: u32, slot: u16, key: &[u8], entry: &Entry<'_>) {
        let Entry { expiry, form, value, .. } = *entry;
        let (key_len, value_len) = (key.len(), value.len());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.heads.push(Head { db, expiry, form, slot, key_len, value_len });
    }

    /// Returns whether the batch is large enough to be handed over.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES
    }

    /// Returns whether the batch has no keys.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }
}

/// The rules for loading keys.
#[derive(Clone, Copy)]
pub struct LoadRules<'c> {
    /// How values are decoded.
    pub reading: Reading<'c>,
    /// Keys that expire before this time (Unix milliseconds) are skipped.
    pub due_before_ms: u64,
    /// Whether an existing key is replaced; otherwise it is an error.
    pub may_replace: bool,
    /// Writes a line to the log.
    pub note: &'c dyn Fn(&str),
}

/// The number of keys by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Keys that were loaded.
    pub keys: u64,
    /// Keys that were skipped because they had expired.
    pub expired: u64,
    /// Keys that were skipped because they had no elements.
    pub empty: u64,
    /// Hashes that were skipped because all their fields had expired.
    pub fields_expired: u64,
}

impl Loaded {
    /// Adds the numbers of another result.
    pub fn add(&mut self, other: Loaded) {
        self.keys += other.keys;
        self.expired += other.expired;
        self.empty += other.empty;
        self.fields_expired += other.fields_expired;
    }

    /// Returns the skipped keys: without elements, and hashes whose fields had all expired.
    pub fn skipped(&self) -> [u64; 2] {
        [self.empty, self.fields_expired]
    }
}

/// Loads the keys of a batch into a slice. After an error some keys have been loaded.
pub fn load_batch(
    slice: &mut Slice,
    batch: &Batch,
    rules: &LoadRules<'_>,
) -> Result<Loaded, String> {
    let mut loaded = Loaded::default();
    let mut rest = &batch.bytes[..];
    for head in &batch.heads {
        let (key, behind) = rest.split_at(head.key_len);
        let (value, behind) = behind.split_at(head.value_len);
        rest = behind;
        let was_silent = slice.set_silent(true);
        let result = load_key(slice, head, key, value, rules, &mut loaded);
        slice.set_silent(was_silent);
        result?;
    }
    Ok(loaded)
}

fn load_key(
    slice: &mut Slice,
    head: &Head,
    key: &[u8],
    value: &[u8],
    rules: &LoadRules<'_>,
    loaded: &mut Loaded,
) -> Result<(), String> {
    let value = match rules.reading.value(head.form, value) {
        Ok(value) => value,
        Err(Fault::Empty) => {
            loaded.empty += 1;
            if loaded.empty <= EMPTY_NAMED_MAX {
                let key = String::from_utf8_lossy(key);
                (rules.note)(&format!("rdbLoadObject skipping empty key: {key}"));
            }
            return Ok(());
        }
        Err(Fault::Expired) => {
            loaded.fields_expired += 1;
            return Ok(());
        }
        Err(fault) => {
            let (key, why) = (String::from_utf8_lossy(key), fault_text(fault));
            (rules.note)(&format!("Internal error in RDB reading -> {why}"));
            return Err(format!("The value of key '{key}' cannot be read: {why}"));
        }
    };
    if head.expiry.is_some_and(|at| at < rules.due_before_ms) {
        loaded.expired += 1;
        return Ok(());
    }
    let db = head.db as usize;
    let place = slice.key_in_slot(key, head.slot);
    if !rules.may_replace && slice.look(db, &place).is_some() {
        let key = String::from_utf8_lossy(key);
        return Err(format!("RDB has duplicated key '{key}' in DB {db}"));
    }
    let expiry = head.expiry.map_or(Expiry::Clear, Expiry::At);
    match value {
        Value::Object(object) => slice.set_object(db, &place, object, expiry),
        Value::String(Text::Int(number)) => slice.set(db, &place, NewStr::Int(number), expiry),
        Value::String(Text::Bytes(text)) => {
            slice.set(db, &place, NewStr::from_bytes(text), expiry);
        }
        Value::String(Text::Unpacked(text)) => {
            let text = Bytes::from(text);
            slice.set(db, &place, NewStr::Large(text), expiry);
        }
    }
    slice.signal(db, &place);
    loaded.keys += 1;
    Ok(())
}

/// Loads a body into the slice that has written it.
pub fn load_body(slice: &mut Slice, body: &[u8], rules: &LoadRules<'_>) -> Result<Loaded, String> {
    let mut decoder = Decoder::new(body, Dialect::Valkey);
    let (mut loaded, mut db) = (Loaded::default(), 0);
    while !decoder.rest().is_empty() {
        match decoder.part().map_err(fault_text)? {
            Part::Database(number) => db = number as u32,
            Part::Entry(entry) => {
                let mut batch = Batch::default();
                let buffer = &mut IntText::new();
                let key = entry.key.bytes(buffer);
                batch.add(db, slot_of(key), key, &entry);
                loaded.add(load_batch(slice, &batch, rules)?);
            }
            _ => {}
        }
    }
    Ok(loaded)
}

/// Auxiliary fields that describe the file itself, or that are useless in another file.
const OWN_FACTS: [&[u8]; 13] = [
    b"redis-ver",
    b"valkey-ver",
    b"redis-bits",
    b"ctime",
    b"used-mem",
    b"aof-base",
    b"aof-preamble",
    b"repl-stream-db",
    b"repl-id",
    b"repl-offset",
    b"lua",
    b"slot-info",
    b"annulet-ver",
];

/// Keeps auxiliary fields and functions of a file, so that the next file contains them again.
pub fn keep_fact(kept: &mut Kept, part: &Part<'_>) {
    let owned = |text: &Text<'_>| Bytes::copy_from_slice(text.bytes(&mut IntText::new()));
    match part {
        Part::Aux(name, value) => {
            let (name, value) = (owned(name), owned(value));
            let is_own = OWN_FACTS.iter().any(|own| name.eq_ignore_ascii_case(own));
            if !is_own && !kept.facts.iter().any(|(known, _)| *known == name) {
                kept.facts.push((name, value));
            }
        }
        Part::Function(code) => kept.functions.push(owned(code)),
        _ => {}
    }
}

/// Reads a file part by part.
#[derive(Debug)]
pub struct FileReader<R> {
    from: R,
    buffer: Vec<u8>,
    /// Bytes at the start of the buffer that were consumed.
    used: usize,
    sum: Checksum,
    has_checksum: bool,
    version: u32,
    decoder: Decoder<'static>,
    /// Number of bytes of the file that were consumed, at the end with the checksum.
    offset: u64,
    /// The checksum at the end of the file, once it was read.
    end_sum: Option<u64>,
}

/// How strictly a file is checked.
#[derive(Clone, Copy, Debug)]
pub struct Trust {
    /// Whether unknown versions are accepted.
    pub any_version: bool,
    /// Whether the checksum is compared.
    pub has_checksum: bool,
}

impl<R: Read> FileReader<R> {
    /// Reads magic and version of a file.
    pub fn open(from: R, trust: Trust) -> Result<FileReader<R>, String> {
        let mut reader = FileReader {
            from,
            buffer: Vec::new(),
            used: 0,
            sum: Checksum::new(),
            has_checksum: trust.has_checksum,
            version: 0,
            decoder: Decoder::new(&[], Dialect::Common),
            offset: 0,
            end_sum: None,
        };
        reader.fill().map_err(|error| format!("Error reading the RDB file: {error}"))?;
        match Decoder::open(&reader.buffer, trust.any_version) {
            Ok((version, decoder)) => {
                reader.decoder = decoder.at(&[]);
                reader.version = version;
                reader.consume(MAGIC_BYTES);
                Ok(reader)
            }
            Err(Fault::Version(version)) => {
                Err(format!("Can't handle RDB format version {version}"))
            }
            Err(Fault::Ended) => Err(reader.short()),
            Err(_) => {
                let magic = &reader.buffer[..MAGIC_BYTES];
                let magic = String::from_utf8_lossy(magic);
                Err(format!("Wrong signature trying to load DB from file: {magic}"))
            }
        }
    }

    /// Returns the version of the file.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Returns the bytes that were read and not consumed. After an error they begin with the part
    /// that is wrong.
    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.used..]
    }

    /// Returns the checksum at the end of the file; none before the end, and for versions without.
    pub fn sum(&self) -> Option<u64> {
        self.end_sum
    }

    /// Returns the number of bytes of the file that were consumed, at the end with the checksum.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Passes the next part to `take` and returns its result. Returns `None` at the end, after
    /// comparing the checksum.
    pub fn next<T>(
        &mut self,
        take: impl FnOnce(&Part<'_>) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        loop {
            let unread = &self.buffer[self.used..];
            let mut decoder = self.decoder.at(unread);
            let part = match decoder.part() {
                Ok(part) => part,
                Err(Fault::Ended) => match self.fill() {
                    Ok(0) => return Err(self.short()),
                    Ok(_) => continue,
                    Err(error) => return Err(format!("Error reading the RDB file: {error}")),
                },
                Err(fault) => return Err(self.described(fault)),
            };
            let len = unread.len() - decoder.rest().len();
            if let Part::End(sum) = part {
                // The sum is no part of what it sums up.
                self.consume(1);
                let expected = self.sum.value();
                self.used += len - 1;
                self.offset += len as u64 - 1;
                self.end_sum = (len > 1).then_some(sum);
                return self.check(sum, expected).map(|()| None);
            }
            let taken = take(&part)?;
            self.consume(len);
            return Ok(Some(taken));
        }
    }

    fn consume(&mut self, len: usize) {
        if self.has_checksum {
            self.sum.add(&self.buffer[self.used..self.used + len]);
        }
        self.used += len;
        self.offset += len as u64;
    }

    /// Reads more bytes: at least as many as are unread, so that a long part is parsed only a few
    /// times. Returns the number of bytes read.
    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let wanted = self.buffer.len().max(READ_BYTES);
        self.buffer.reserve(READ_BYTES);
        (&mut self.from).take(wanted as u64).read_to_end(&mut self.buffer)
    }

    fn check(&self, sum: u64, expected: u64) -> Result<(), String> {
        if sum == 0 || !self.has_checksum || sum == expected {
            return Ok(());
        }
        let offset = self.offset;
        Err(format!(
            "Wrong RDB checksum expected: ({expected:x}) but got ({sum:x}). Aborting now. \
             Internal error in RDB reading offset {offset} -> RDB CRC error"
        ))
    }

    fn short(&self) -> String {
        let offset = self.offset;
        format!(
            "Short read or OOM loading DB. Unrecoverable error, aborting now. Internal error in \
             RDB reading offset {offset} -> Unexpected EOF reading RDB file"
        )
    }

    fn described(&self, fault: Fault) -> String {
        let (version, offset) = (self.version, self.offset);
        match fault {
            Fault::Kind(number @ 22..=243) if version < 80 => format!(
                "Can't handle foreign type or opcode {number} in RDB with version {version}"
            ),
            Fault::Kind(_) => "Unknown type or opcode when loading DB. Unrecoverable error, \
                               aborting now."
                .to_string(),
            fault => {
                format!("Internal error in RDB reading offset {offset} -> {}", fault_text(fault))
            }
        }
    }
}

#[cfg(test)]
mod tests;
