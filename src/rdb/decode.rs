//! The decoder: reads one part after the other from untrusted bytes.
//!
//! A length is trusted only after its bytes are available. Hence the allocated memory stays within
//! a constant factor of the bytes that were read.

use super::form::{Dialect, Form};
use super::lzf::unpack;
use super::{
    MAGIC, MAGIC_BYTES, REDIS_VERSIONS, VALKEY_MAGIC, VALKEY_VERSIONS, VERSIONS, lead, opcode,
    packing,
};
use crate::value::string::IntText;
use std::borrow::Cow;

/// The first version with a checksum at the end.
const CHECKSUM_VERSION: u32 = 5;

/// The reason why the decoder cannot continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The bytes end within a part. Nothing of the part was consumed: it can be read again with
    /// more bytes.
    Ended,
    /// The bytes are not an RDB file.
    Magic,
    /// The file's version is not supported.
    Version(u32),
    /// The first byte of a length is invalid.
    Length(u8),
    /// Compressed bytes do not decompress to the given length.
    Packing,
    /// Unknown type or opcode.
    Kind(u8),
    /// Data of a module, with the module's number, which encodes its name, or 0.
    Module(u64),
    /// A value without elements.
    Empty,
    /// A hash whose fields have all expired.
    Expired,
    /// An inconsistent value, with a description of the error.
    Corrupt(&'static str),
}

/// The text of a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text<'a> {
    /// A number, whose decimal text is the string.
    Int(i64),
    /// Bytes of the file.
    Bytes(&'a [u8]),
    /// Bytes that were compressed in the file.
    Unpacked(Vec<u8>),
}

impl<'a> Text<'a> {
    /// Returns the bytes of the text.
    pub fn into_bytes(self) -> Cow<'a, [u8]> {
        match self {
            Text::Int(number) => Cow::Owned(number.to_string().into_bytes()),
            Text::Bytes(bytes) => Cow::Borrowed(bytes),
            Text::Unpacked(bytes) => Cow::Owned(bytes),
        }
    }
}

impl Text<'_> {
    /// Returns the bytes of the text; writes the digits of a number to `buffer`.
    pub fn bytes<'b>(&'b self, buffer: &'b mut IntText) -> &'b [u8] {
        match self {
            Text::Int(number) => buffer.format(*number).as_bytes(),
            Text::Bytes(bytes) => bytes,
            Text::Unpacked(bytes) => bytes,
        }
    }
}

/// A key with its expiry and its encoded value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Name of the key.
    pub key: Text<'a>,
    /// When the key expires, in Unix milliseconds; a negative time in the file counts as 0.
    pub expiry: Option<u64>,
    /// Form of the value.
    pub form: Form,
    /// The encoded value. Only its lengths were checked.
    pub value: &'a [u8],
}

/// A part of the format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// An auxiliary field of the file: name and value.
    Aux(Text<'a>, Text<'a>),
    /// The number of the database of the following entries.
    Database(u64),
    /// Approximate number of keys that follow, and of keys with an expiry among them.
    Sizes(u64, u64),
    /// The code of a function library.
    Function(Text<'a>),
    /// A key with its value.
    Entry(Entry<'a>),
    /// The end, with the checksum of all bytes before it; 0 means no checksum.
    End(u64),
}

/// Reads parts from bytes.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    pub(super) rest: &'a [u8],
    dialect: Dialect,
    /// Whether the end has a checksum.
    has_checksum: bool,
}

impl<'a> Decoder<'a> {
    /// Reads magic and version of a file. Returns the version and a decoder for the rest.
    pub fn open(file: &'a [u8], accepts_any_version: bool) -> Result<(u32, Decoder<'a>), Fault> {
        let mut decoder = Decoder::new(file, Dialect::Common);
        let magic = decoder.take(MAGIC_BYTES)?;
        let own = magic.strip_prefix(VALKEY_MAGIC);
        let digits = own.or_else(|| magic.strip_prefix(MAGIC)).ok_or(Fault::Magic)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(Fault::Magic);
        }
        let version = digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        let is_read = match (own.is_some(), accepts_any_version) {
            (true, false) => VALKEY_VERSIONS.contains(&version),
            (true, true) => !REDIS_VERSIONS.contains(&version) && version > 0,
            (false, false) => VERSIONS.contains(&version),
            (false, true) => REDIS_VERSIONS.contains(&version),
        };
        if !is_read {
            return Err(Fault::Version(version));
        }
        decoder.dialect = Dialect::of(version);
        decoder.has_checksum = version >= CHECKSUM_VERSION;
        Ok((version, decoder))
    }

    /// Creates a decoder of bytes at the start of a part.
    pub fn new(rest: &'a [u8], dialect: Dialect) -> Decoder<'a> {
        Decoder { rest, dialect, has_checksum: true }
    }

    /// Creates a decoder of other bytes of the same file.
    pub fn at<'b>(&self, rest: &'b [u8]) -> Decoder<'b> {
        Decoder { rest, dialect: self.dialect, has_checksum: self.has_checksum }
    }

    /// Returns the dialect, which decides what the type numbers mean.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Returns the bytes that were not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads the next part. A fault consumes no bytes.
    pub fn part(&mut self) -> Result<Part<'a>, Fault> {
        let before = self.rest;
        let part = self.part_or_fault();
        if part.is_err() {
            self.rest = before;
        }
        part
    }

    fn part_or_fault(&mut self) -> Result<Part<'a>, Fault> {
        let mut expiry = None;
        loop {
            match self.byte()? {
                // Attributes of the entry that follows.
                opcode::EXPIRETIME_MS => {
                    let at = i64::from_le_bytes(self.array()?);
                    expiry = Some(u64::try_from(at).unwrap_or(0));
                }
                opcode::EXPIRETIME => {
                    let at = i32::from_le_bytes(self.array()?);
                    expiry = Some(u64::try_from(at).unwrap_or(0) * 1_000);
                }
                opcode::IDLE => {
                    self.length()?;
                }
                opcode::FREQUENCY => {
                    self.byte()?;
                }
                opcode::AUX => return Ok(Part::Aux(self.text()?, self.text()?)),
                opcode::SELECTDB => return Ok(Part::Database(self.length()?)),
                opcode::RESIZEDB => return Ok(Part::Sizes(self.length()?, self.length()?)),
                opcode::FUNCTION => return Ok(Part::Function(self.text()?)),
                opcode::FUNCTION_OLD => {
                    return Err(Fault::Corrupt("Pre-release function format not supported."));
                }
                opcode::MODULE_AUX => return Err(Fault::Module(self.length()?)),
                opcode::SLOT_INFO => self.skip_lengths(3)?,
                opcode::SLOT_IMPORT if self.dialect == Dialect::Valkey => {
                    self.skip_text()?;
                    let ranges = self.length()?;
                    self.repeat(ranges, |decoder| decoder.skip_lengths(2))?;
                }
                opcode::EOF if !self.has_checksum => return Ok(Part::End(0)),
                opcode::EOF => return Ok(Part::End(u64::from_le_bytes(self.array()?))),
                number => {
                    let form = Form::of(number, self.dialect).ok_or(Fault::Kind(number))?;
                    let key = self.text()?;
                    let value = self.raw(form)?;
                    return Ok(Part::Entry(Entry { key, expiry, form, value }));
                }
            }
        }
    }

    /// Reads a key that holds a string whose bytes are elsewhere. Returns the key, its expiry in
    /// Unix milliseconds, and the length of the string.
    pub fn string_ahead(&mut self) -> Result<(Text<'a>, Option<u64>, u64), Fault> {
        let mut kind = self.byte()?;
        let mut expiry = None;
        if kind == opcode::EXPIRETIME_MS {
            expiry = Some(u64::from_le_bytes(self.array()?));
            kind = self.byte()?;
        }
        match Form::of(kind, self.dialect) {
            Some(Form::String) => Ok((self.text()?, expiry, self.length()?)),
            _ => Err(Fault::Kind(kind)),
        }
    }

    /// Returns the bytes of a value; checks only its lengths.
    fn raw(&mut self, form: Form) -> Result<&'a [u8], Fault> {
        let before = self.rest;
        self.skip_value(form)?;
        Ok(&before[..before.len() - self.rest.len()])
    }

    /// Reads a string.
    pub fn text(&mut self) -> Result<Text<'a>, Fault> {
        let head = *self.rest.first().ok_or(Fault::Ended)?;
        if head >> 6 != lead::PACKED {
            let len = self.length()?;
            return Ok(Text::Bytes(self.take_u64(len)?));
        }
        self.byte()?;
        match head & 0b11_1111 {
            packing::INT8 => Ok(Text::Int(i8::from_le_bytes(self.array()?).into())),
            packing::INT16 => Ok(Text::Int(i16::from_le_bytes(self.array()?).into())),
            packing::INT32 => Ok(Text::Int(i32::from_le_bytes(self.array()?).into())),
            packing::LZF => {
                let (packed_len, len) = (self.length()?, self.length()?);
                let packed = self.take_u64(packed_len)?;
                let len = usize::try_from(len).map_err(|_| Fault::Packing)?;
                unpack(packed, len).map(Text::Unpacked).ok_or(Fault::Packing)
            }
            _ => Err(Fault::Length(head)),
        }
    }

    /// Reads a length.
    pub fn length(&mut self) -> Result<u64, Fault> {
        let head = self.byte()?;
        match (head >> 6, head) {
            (lead::BITS_6, _) => Ok(head.into()),
            (lead::BITS_14, _) => Ok(u16::from_be_bytes([head & 0b11_1111, self.byte()?]).into()),
            (lead::WIDE, lead::BYTE_32) => Ok(u32::from_be_bytes(self.array()?).into()),
            (lead::WIDE, lead::BYTE_64) => Ok(u64::from_be_bytes(self.array()?)),
            _ => Err(Fault::Length(head)),
        }
    }

    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Fault::Ended)?;
        self.rest = rest;
        Ok(*array)
    }

    pub(super) fn take_u64(&mut self, len: u64) -> Result<&'a [u8], Fault> {
        self.take(usize::try_from(len).map_err(|_| Fault::Ended)?)
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Fault::Ended)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Returns the description of a fault, as errors and the log have it.
pub fn fault_text(fault: Fault) -> String {
    match fault {
        Fault::Ended => "Unexpected EOF reading RDB file".to_string(),
        Fault::Module(number) => format!(
            "The RDB file contains module data I can't load: no matching module type '{}'",
            module_name(number)
        ),
        Fault::Corrupt(what) => what.to_string(),
        fault => format!("{fault:?}"),
    }
}

/// Returns the name in a module's number: nine characters of 6 bits, above a version of 10 bits.
fn module_name(number: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letter = |at: u32| LETTERS[(number >> (64 - 6 * (at + 1)) & 63) as usize];
    (0..9).map(|at| char::from(letter(at))).collect()
}
