//! The encoder: each call appends one part of the format.

use super::pack::Packer;
use super::{MAGIC, VALKEY_MAGIC, VERSION, VERSION_80, kind, lead, opcode, packing};
use crate::base::number::parse_i64;
use crate::value::string::{IntText, Str};
use bytes::Bytes;

/// A text longer than this is not a 32-bit number.
const INTEGER_TEXT_BYTES_MAX: usize = 11;

/// The values of a file before its first body.
#[derive(Clone, Debug)]
pub struct Preamble<'a> {
    /// The version of Valkey that this server behaves like.
    pub valkey_version: &'a str,
    /// When the file is written, in Unix seconds.
    pub written_s: u64,
    /// Bytes of memory that this server uses.
    pub used_memory_bytes: u64,
    /// The replication ID and offset that the file corresponds to, if there is a feed.
    pub origin: Option<Origin<'a>>,
    /// Whether the file is the base of an append-only file.
    pub is_aof_base: bool,
    /// Parts to keep from an earlier file.
    pub kept: &'a Kept,
}

/// Parts of a file besides keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Auxiliary fields of other servers, which the next file contains again.
    pub facts: Vec<(Bytes, Bytes)>,
    /// The code of function libraries.
    pub functions: Vec<Bytes>,
}

/// A position in the feed.
#[derive(Clone, Debug)]
pub struct Origin<'a> {
    /// The replication ID of the feed.
    pub replid: &'a str,
    /// The replication offset: bytes of the feed up to the position.
    pub offset: u64,
    /// The database that is selected in the feed at the position.
    pub db: u16,
}

/// Bytes from which on a value that is encoded in pieces gives a piece away.
const SPILL_BYTES: usize = 256 << 10;

/// Takes the bytes of a value that is encoded in pieces, and empties the buffer.
struct Spill<'a>(&'a mut dyn FnMut(&mut Vec<u8>));

impl std::fmt::Debug for Spill<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spill")
    }
}

/// Appends parts to a buffer.
#[derive(Debug)]
pub struct Encoder<'a> {
    pub(super) out: &'a mut Vec<u8>,
    spill: Option<Spill<'a>>,
    /// Compresses strings; none: they are written as they are.
    packer: Option<Packer>,
    /// The oldest version that supports all that was written.
    pub(super) version: u32,
}

impl<'a> Encoder<'a> {
    /// Creates an encoder that appends to `out` and compresses long strings if `is_packing`.
    pub fn new(out: &'a mut Vec<u8>, is_packing: bool) -> Encoder<'a> {
        Encoder::resume(out, is_packing.then(Packer::default))
    }

    /// Creates an encoder that appends to `out`, with the packer of an earlier encoder. Without a
    /// packer it compresses nothing.
    pub fn resume(out: &'a mut Vec<u8>, packer: Option<Packer>) -> Encoder<'a> {
        Encoder { out, spill: None, packer, version: VERSION }
    }

    /// Creates an encoder that calls `spill` whenever `out` is long, between two elements of a
    /// value. So a value of any size needs little memory.
    pub fn spilling(
        out: &'a mut Vec<u8>,
        is_packing: bool,
        spill: &'a mut dyn FnMut(&mut Vec<u8>),
    ) -> Encoder<'a> {
        Encoder { spill: Some(Spill(spill)), ..Encoder::new(out, is_packing) }
    }

    /// Gives the bytes so far away, if they are many.
    #[inline]
    pub(super) fn spill(&mut self) {
        if let Some(Spill(spill)) = &mut self.spill
            && self.out.len() >= SPILL_BYTES
        {
            spill(self.out);
        }
    }

    /// Returns the packer for [`Encoder::resume`].
    pub fn into_packer(self) -> Option<Packer> {
        self.packer
    }

    /// Returns the oldest version that supports all that was written.
    pub fn version(&self) -> u32 {
        self.version
    }

    pub(super) fn need(&mut self, version: u32) {
        self.version = self.version.max(version);
    }

    /// Writes the magic of a file in this version: [`MAGIC_BYTES`](super::MAGIC_BYTES).
    pub fn magic(&mut self, version: u32) {
        if version < VERSION_80 {
            self.out.extend_from_slice(MAGIC);
            self.out.extend_from_slice(format!("{version:04}").as_bytes());
        } else {
            self.out.extend_from_slice(VALKEY_MAGIC);
            self.out.extend_from_slice(format!("{version:03}").as_bytes());
        }
    }

    /// Writes everything between the magic and the first body.
    pub fn preamble(&mut self, preamble: &Preamble<'_>) {
        self.facts(preamble);
        self.functions(preamble.kept);
    }

    /// Writes the auxiliary fields.
    pub fn facts(&mut self, preamble: &Preamble<'_>) {
        let bits = i64::from(usize::BITS);
        self.aux(b"valkey-ver", preamble.valkey_version.as_bytes());
        self.aux_integer(b"redis-bits", bits);
        self.aux_integer(b"ctime", preamble.written_s as i64);
        self.aux_integer(b"used-mem", preamble.used_memory_bytes as i64);
        if let Some(origin) = &preamble.origin {
            self.origin(origin);
        }
        self.aux_integer(b"aof-base", preamble.is_aof_base.into());
        preamble.kept.facts.iter().for_each(|(name, value)| self.aux(name, value));
    }

    /// Writes the function libraries.
    pub fn functions(&mut self, kept: &Kept) {
        kept.functions.iter().for_each(|code| self.function(code));
    }

    /// Writes the auxiliary fields of a position in the feed.
    pub fn origin(&mut self, origin: &Origin<'_>) {
        self.aux_integer(b"repl-stream-db", i64::from(origin.db));
        self.aux(b"repl-id", origin.replid.as_bytes());
        self.aux_integer(b"repl-offset", origin.offset as i64);
    }

    /// Writes an auxiliary field.
    pub fn aux(&mut self, name: &[u8], value: &[u8]) {
        self.out.push(opcode::AUX);
        self.string(name);
        self.string(value);
    }

    /// Writes an auxiliary field whose value is a number.
    pub fn aux_integer(&mut self, name: &[u8], value: i64) {
        self.out.push(opcode::AUX);
        self.string(name);
        self.integer(value);
    }

    /// Writes the database number of the following entries, and the approximate number of keys and
    /// of keys with an expiry.
    pub fn database(&mut self, db: usize, keys: usize, volatile: usize) {
        self.select(db);
        self.out.push(opcode::RESIZEDB);
        self.length(keys as u64);
        self.length(volatile as u64);
    }

    /// Writes the database number of the following entries.
    pub fn select(&mut self, db: usize) {
        self.out.push(opcode::SELECTDB);
        self.length(db as u64);
    }

    /// Writes a key with its expiry (Unix milliseconds), and the length of its string, whose bytes
    /// follow as they are.
    pub fn string_ahead(&mut self, key: &[u8], expiry: Option<u64>, len: usize) {
        self.entry(key, expiry, kind::STRING);
        self.length(len as u64);
    }

    /// Writes a key that holds a string, with its expiry (Unix milliseconds).
    pub fn string_entry(&mut self, key: &[u8], expiry: Option<u64>, value: &Str<'_>) {
        self.entry(key, expiry, kind::STRING);
        self.value(value);
    }

    /// Writes the code of a function library.
    pub fn function(&mut self, code: &[u8]) {
        self.out.push(opcode::FUNCTION);
        self.string(code);
    }

    /// Writes a string without its type.
    pub fn value(&mut self, value: &Str<'_>) {
        match *value {
            Str::Int(number) => self.integer(number),
            Str::Bytes(bytes) => self.string(bytes),
            Str::Large(bytes) => self.string(bytes),
        }
    }

    /// Writes what precedes every value: expiry, type, key.
    pub(super) fn entry(&mut self, key: &[u8], expiry: Option<u64>, kind: u8) {
        if let Some(at) = expiry {
            self.out.push(opcode::EXPIRETIME_MS);
            self.out.extend_from_slice(&at.to_le_bytes());
        }
        self.out.push(kind);
        self.string(key);
    }

    /// Writes a length in its shortest form.
    pub fn length(&mut self, len: u64) {
        put_length(len, self.out);
    }

    /// Writes a string in its shortest form.
    pub fn string(&mut self, text: &[u8]) {
        if text.len() <= INTEGER_TEXT_BYTES_MAX
            && let Some(number) = parse_i64(text)
            && self.small_integer(number)
        {
            return;
        }
        if let Some(packer) = &mut self.packer
            && packer.pack(text, self.out)
        {
            return;
        }
        self.length(text.len() as u64);
        self.out.extend_from_slice(text);
    }

    /// Writes a number as a string.
    pub fn integer(&mut self, number: i64) {
        if !self.small_integer(number) {
            let mut buffer = IntText::new();
            let text = buffer.format(number).as_bytes();
            self.length(text.len() as u64);
            self.out.extend_from_slice(text);
        }
    }

    /// Writes a number of at most 32 bits; returns false if the number is larger.
    fn small_integer(&mut self, number: i64) -> bool {
        let head = |packing: u8| (lead::PACKED << 6) | packing;
        if let Ok(number) = i8::try_from(number) {
            self.out.push(head(packing::INT8));
            self.out.extend_from_slice(&number.to_le_bytes());
        } else if let Ok(number) = i16::try_from(number) {
            self.out.push(head(packing::INT16));
            self.out.extend_from_slice(&number.to_le_bytes());
        } else if let Ok(number) = i32::try_from(number) {
            self.out.push(head(packing::INT32));
            self.out.extend_from_slice(&number.to_le_bytes());
        } else {
            return false;
        }
        true
    }
}

/// Appends a length in its shortest form.
pub(super) fn put_length(len: u64, out: &mut Vec<u8>) {
    if len < 1 << 6 {
        out.push((lead::BITS_6 << 6) | len as u8);
    } else if len < 1 << 14 {
        let bits = u16::from(lead::BITS_14) << 14;
        out.extend_from_slice(&(bits | len as u16).to_be_bytes());
    } else if let Ok(len) = u32::try_from(len) {
        out.push(lead::BYTE_32);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(lead::BYTE_64);
        out.extend_from_slice(&len.to_be_bytes());
    }
}
