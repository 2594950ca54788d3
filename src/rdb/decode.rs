//! Reading: one part after the other from bytes that nobody has vouched for.
//!
//! No length is believed before its bytes are there, so that what is reserved stays within a
//! constant factor of what was read.

use super::lzf::unpack;
use super::{
    MAGIC, MAGIC_BYTES, VALKEY_MAGIC, VALKEY_VERSIONS, VERSIONS, form, kind, opcode, packing,
};
use std::borrow::Cow;

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

/// A key's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A string.
    String(Text<'a>),
}

/// A key with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key.
    pub key: Text<'a>,
    /// When it expires, Unix milliseconds; a negative time of the file is the year 1970.
    pub expiry: Option<u64>,
    /// Its value.
    pub value: Value<'a>,
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
    /// A key.
    Entry(Entry<'a>),
    /// The end, with the checksum of all bytes before it; 0 is none.
    End(u64),
}

/// Reads parts from bytes.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Reads from the beginning of a file; its version.
    pub fn open(file: &'a [u8]) -> Result<(u32, Decoder<'a>), Fault> {
        let mut decoder = Decoder::new(file);
        let magic = decoder.take(MAGIC_BYTES)?;
        let own = magic.strip_prefix(VALKEY_MAGIC);
        let digits = own.or_else(|| magic.strip_prefix(MAGIC)).ok_or(Fault::Magic)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(Fault::Magic);
        }
        let version = digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        let versions = if own.is_some() { VALKEY_VERSIONS } else { VERSIONS };
        if !versions.contains(&version) {
            return Err(Fault::Version(version));
        }
        Ok((version, decoder))
    }

    /// Reads from where a part begins.
    pub fn new(rest: &'a [u8]) -> Decoder<'a> {
        Decoder { rest }
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
                opcode::EOF => return Ok(Part::End(u64::from_le_bytes(self.array()?))),
                kind => {
                    let key = self.key_of(kind)?;
                    let value = self.value(kind)?;
                    return Ok(Part::Entry(Entry { key, expiry, value }));
                }
            }
        }
    }

    /// The key of an entry whose type is known.
    fn key_of(&mut self, kind: u8) -> Result<Text<'a>, Fault> {
        if kind != kind::STRING {
            return Err(Fault::Kind(kind));
        }
        self.text()
    }

    fn value(&mut self, kind: u8) -> Result<Value<'a>, Fault> {
        match kind {
            kind::STRING => Ok(Value::String(self.text()?)),
            other => Err(Fault::Kind(other)),
        }
    }

    /// A string.
    pub fn text(&mut self) -> Result<Text<'a>, Fault> {
        let head = *self.rest.first().ok_or(Fault::Ended)?;
        if head >> 6 != form::PACKED {
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
            (form::BITS_6, _) => Ok(head.into()),
            (form::BITS_14, _) => Ok(u16::from_be_bytes([head & 0b11_1111, self.byte()?]).into()),
            (form::WIDE, form::BYTE_32) => Ok(u32::from_be_bytes(self.array()?).into()),
            (form::WIDE, form::BYTE_64) => Ok(u64::from_be_bytes(self.array()?)),
            _ => Err(Fault::Length(head)),
        }
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Fault::Ended)?;
        self.rest = rest;
        Ok(*array)
    }

    fn take_u64(&mut self, len: u64) -> Result<&'a [u8], Fault> {
        self.take(usize::try_from(len).map_err(|_| Fault::Ended)?)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Fault::Ended)?;
        self.rest = rest;
        Ok(taken)
    }
}
