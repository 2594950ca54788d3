//! Reading: one part after the other from bytes that nobody has vouched for.
//!
//! No length is believed before its bytes are there, so that what is reserved stays within a
//! constant factor of what was read.

use super::form::{Dialect, Form};
use super::lzf::unpack;
use super::{
    MAGIC, MAGIC_BYTES, REDIS_VERSIONS, VALKEY_MAGIC, VALKEY_VERSIONS, VERSIONS, lead, opcode,
    packing,
};
use crate::value::string::IntText;
use std::borrow::Cow;

/// The first version that ends with a checksum.
const CHECKSUM_VERSION: u32 = 5;

/// Why reading cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The bytes end inside of a part. Nothing of that part was taken: with more bytes it can be
    /// read.
    Ended,
    /// The bytes are no RDB file.
    Magic,
    /// The file's version is not read here.
    Version(u32),
    /// A byte where a length begins means nothing.
    Length(u8),
    /// Packed bytes that do not give what they should.
    Packing,
    /// A type or a mark that is not known.
    Kind(u8),
    /// Data of a module: its number, which has its name in it, or 0.
    Module(u64),
    /// A value without elements.
    Empty,
    /// A value whose elements are all due.
    Due,
    /// A value that does not add up: what is wrong.
    Corrupt(&'static str),
}

/// The text of a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text<'a> {
    /// The decimal text of a number.
    Int(i64),
    /// Bytes of the file.
    Bytes(&'a [u8]),
    /// Bytes that were packed.
    Unpacked(Vec<u8>),
}

impl<'a> Text<'a> {
    /// The bytes of the text.
    pub fn into_bytes(self) -> Cow<'a, [u8]> {
        match self {
            Text::Int(number) => Cow::Owned(number.to_string().into_bytes()),
            Text::Bytes(bytes) => Cow::Borrowed(bytes),
            Text::Unpacked(bytes) => Cow::Owned(bytes),
        }
    }
}

impl Text<'_> {
    /// The bytes of the text; those of a number are written to `buffer`.
    pub fn bytes<'b>(&'b self, buffer: &'b mut IntText) -> &'b [u8] {
        match self {
            Text::Int(number) => buffer.format(*number).as_bytes(),
            Text::Bytes(bytes) => bytes,
            Text::Unpacked(bytes) => bytes,
        }
    }
}

/// A key with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key.
    pub key: Text<'a>,
    /// When it expires, Unix milliseconds; a negative time of the file is the year 1970.
    pub expiry: Option<u64>,
    /// The form of its value.
    pub form: Form,
    /// The bytes of its value, of which only the lengths were looked at.
    pub value: &'a [u8],
}

/// A part of the format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A fact about the file.
    Aux(Text<'a>, Text<'a>),
    /// The entries that follow are of this database.
    Database(u64),
    /// About how many keys come, and how many of them expire.
    Sizes(u64, u64),
    /// The code of a library of functions.
    Function(Text<'a>),
    /// A key.
    Entry(Entry<'a>),
    /// The end, with the checksum of all bytes before it; 0 is none.
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
    /// Reads from the beginning of a file; its version.
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

    /// Reads from where a part begins.
    pub fn new(rest: &'a [u8], dialect: Dialect) -> Decoder<'a> {
        Decoder { rest, dialect, has_checksum: true }
    }

    /// Reads other bytes of the same file.
    pub fn at<'b>(&self, rest: &'b [u8]) -> Decoder<'b> {
        Decoder { rest, dialect: self.dialect, has_checksum: self.has_checksum }
    }

    /// Whose numbers the types have.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The bytes that were not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next part. After a fault no part was taken.
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
                // What belongs to the entry that follows.
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

    /// The bytes of a value, of which only the lengths are looked at.
    fn raw(&mut self, form: Form) -> Result<&'a [u8], Fault> {
        let before = self.rest;
        self.skip_value(form)?;
        Ok(&before[..before.len() - self.rest.len()])
    }

    /// A string.
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

    /// A length.
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
