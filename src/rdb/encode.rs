//! Writing: each call appends one part of the format.

use super::lzf::Lzf;
use super::{VERSION, form, kind, opcode, packing};
use crate::base::number::parse_i64;
use crate::value::string::{IntText, Str};

/// Longer texts are no number of 32 bits.
const INTEGER_TEXT_BYTES_MAX: usize = 11;

/// Up to so many bytes nothing is won by packing.
const PACKED_BYTES_MIN: usize = 20;

/// Packing has to save at least so many bytes.
const PACKING_GAIN_BYTES_MIN: usize = 4;

/// What stands before the first body.
#[derive(Clone, Debug)]
pub struct Preamble<'a> {
    /// The version of Valkey that the writer behaves as.
    pub valkey_version: &'a str,
    /// When it is written, Unix seconds.
    pub written_s: u64,
    /// Bytes of memory that the writer used.
    pub used_memory_bytes: u64,
    /// The moment of the feed that the file stands for, if there is a feed.
    pub origin: Option<Origin<'a>>,
}

/// A moment of the feed.
#[derive(Clone, Debug)]
pub struct Origin<'a> {
    /// The history that the feed belongs to.
    pub replid: &'a str,
    /// Bytes of the feed up to that moment.
    pub offset: u64,
    /// The database that the feed had selected then.
    pub db: u16,
}

/// Appends parts to a buffer.
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    lzf: Option<Lzf>,
}

impl<'a> Encoder<'a> {
    /// Appends to `out`; long strings are packed if `is_packing`.
    pub fn new(out: &'a mut Vec<u8>, is_packing: bool) -> Encoder<'a> {
        Encoder { out, lzf: is_packing.then(Lzf::new) }
    }

    /// Everything before the first body.
    pub fn preamble(&mut self, preamble: &Preamble<'_>) {
        self.out.extend_from_slice(format!("REDIS{VERSION:04}").as_bytes());
        let bits = i64::from(usize::BITS);
        self.aux(b"valkey-ver", preamble.valkey_version.as_bytes());
        self.aux_integer(b"redis-bits", bits);
        self.aux_integer(b"ctime", preamble.written_s as i64);
        self.aux_integer(b"used-mem", preamble.used_memory_bytes as i64);
        if let Some(origin) = &preamble.origin {
            self.aux_integer(b"repl-stream-db", i64::from(origin.db));
            self.aux(b"repl-id", origin.replid.as_bytes());
            self.aux_integer(b"repl-offset", origin.offset as i64);
        }
        self.aux_integer(b"aof-base", 0);
    }

    /// A fact about the file.
    pub fn aux(&mut self, name: &[u8], value: &[u8]) {
        self.out.push(opcode::AUX);
        self.string(name);
        self.string(value);
    }

    /// The same with a number.
    pub fn aux_integer(&mut self, name: &[u8], value: i64) {
        self.out.push(opcode::AUX);
        self.string(name);
        self.integer(value);
    }

    /// The database of the entries that follow, and how many there are about.
    pub fn database(&mut self, db: usize, keys: usize, volatile: usize) {
        self.out.push(opcode::SELECTDB);
        self.length(db as u64);
        self.out.push(opcode::RESIZEDB);
        self.length(keys as u64);
        self.length(volatile as u64);
    }

    /// A key with a string, and when it expires (Unix milliseconds).
    pub fn string_entry(&mut self, key: &[u8], expiry: Option<u64>, value: &Str<'_>) {
        self.entry(key, expiry, kind::STRING);
        match *value {
            Str::Int(number) => self.integer(number),
            Str::Bytes(bytes) => self.string(bytes),
            Str::Large(bytes) => self.string(bytes),
        }
    }

    /// What stands before every value: expiry, type, key.
    fn entry(&mut self, key: &[u8], expiry: Option<u64>, kind: u8) {
        if let Some(at) = expiry {
            self.out.push(opcode::EXPIRETIME_MS);
            self.out.extend_from_slice(&at.to_le_bytes());
        }
        self.out.push(kind);
        self.string(key);
    }

    /// A length in its shortest form.
    pub fn length(&mut self, len: u64) {
        if len < 1 << 6 {
            self.out.push((form::BITS_6 << 6) | len as u8);
        } else if len < 1 << 14 {
            let bits = u16::from(form::BITS_14) << 14;
            self.out.extend_from_slice(&(bits | len as u16).to_be_bytes());
        } else if let Ok(len) = u32::try_from(len) {
            self.out.push(form::BYTE_32);
            self.out.extend_from_slice(&len.to_be_bytes());
        } else {
            self.out.push(form::BYTE_64);
            self.out.extend_from_slice(&len.to_be_bytes());
        }
    }

    /// A string in its shortest form.
    pub fn string(&mut self, text: &[u8]) {
        if text.len() <= INTEGER_TEXT_BYTES_MAX
            && let Some(number) = parse_i64(text)
            && self.small_integer(number)
        {
            return;
        }
        if text.len() > PACKED_BYTES_MIN && self.packed(text) {
            return;
        }
        self.length(text.len() as u64);
        self.out.extend_from_slice(text);
    }

    /// A number as a string.
    pub fn integer(&mut self, number: i64) {
        if !self.small_integer(number) {
            let mut buffer = IntText::new();
            let text = buffer.format(number).as_bytes();
            self.length(text.len() as u64);
            self.out.extend_from_slice(text);
        }
    }

    /// A number of at most 32 bits; false if it has more.
    fn small_integer(&mut self, number: i64) -> bool {
        let head = |packing: u8| (form::PACKED << 6) | packing;
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

    /// The text packed, if that is wanted and shorter. The packed length stands before the packed
    /// bytes and has a length of its own, so room for the longest is left and closed again.
    fn packed(&mut self, text: &[u8]) -> bool {
        let Some(mut lzf) = self.lzf.take() else { return false };
        let start = self.out.len();
        let mut packed = std::mem::take(self.out);
        let is_packed = lzf.pack(text, text.len() - PACKING_GAIN_BYTES_MIN, &mut packed);
        *self.out = packed;
        self.lzf = Some(lzf);
        if !is_packed {
            return false;
        }
        let packed_len = self.out.len() - start;
        self.out.push((form::PACKED << 6) | packing::LZF);
        self.length(packed_len as u64);
        self.length(text.len() as u64);
        let head_len = self.out.len() - start - packed_len;
        self.out[start..].rotate_right(head_len);
        true
    }
}
