//! Skips values without decoding them: reads only lengths and decompresses nothing.

use super::decode::{Decoder, Fault};
use super::form::Form;
use super::{lead, packing};

/// Bytes of a stream ID.
const ID_BYTES: usize = 16;

/// Bytes of a time.
const TIME_BYTES: usize = 8;

impl<'a> Decoder<'a> {
    /// Skips a value.
    pub(super) fn skip_value(&mut self, form: Form) -> Result<(), Fault> {
        match form {
            Form::String
            | Form::ListZiplist
            | Form::SetIntset
            | Form::SetListpack
            | Form::SortedSetZiplist
            | Form::SortedSetListpack
            | Form::HashZipmap
            | Form::HashZiplist
            | Form::HashListpack => self.skip_text(),
            Form::HashExpiryListpack { has_base } => {
                self.take(if has_base { TIME_BYTES } else { 0 })?;
                self.skip_text()
            }
            Form::List | Form::Set | Form::ListZiplists => self.skip_each(Decoder::skip_text),
            Form::ListListpacks => self.skip_each(|decoder| {
                decoder.length()?;
                decoder.skip_text()
            }),
            Form::SortedSetText => self.skip_each(|decoder| {
                decoder.skip_text()?;
                decoder.score_text().map(drop)
            }),
            Form::SortedSet => self.skip_each(|decoder| {
                decoder.skip_text()?;
                decoder.take(size_of::<f64>()).map(drop)
            }),
            Form::Hash => self.skip_each(Decoder::skip_pair),
            Form::HashExpiry => self.skip_each(|decoder| {
                decoder.skip_pair()?;
                decoder.take(TIME_BYTES).map(drop)
            }),
            Form::HashExpiryFirst { has_base } => {
                self.take(if has_base { TIME_BYTES } else { 0 })?;
                self.skip_each(|decoder| {
                    decoder.length()?;
                    decoder.skip_pair()
                })
            }
            Form::Stream(version) => self.skip_stream(version),
            Form::Module { is_named: false } => Err(Fault::Module(0)),
            Form::Module { is_named: true } => Err(Fault::Module(self.length()?)),
        }
    }

    fn skip_pair(&mut self) -> Result<(), Fault> {
        self.skip_text()?;
        self.skip_text()
    }

    fn skip_stream(&mut self, version: u8) -> Result<(), Fault> {
        self.skip_each(Decoder::skip_pair)?;
        self.skip_lengths(if version == 1 { 3 } else { 8 })?;
        self.skip_each(|group| {
            group.skip_text()?;
            group.skip_lengths(if version == 1 { 2 } else { 3 })?;
            group.skip_each(|pending| {
                pending.take(ID_BYTES + TIME_BYTES)?;
                pending.length().map(drop)
            })?;
            group.skip_each(|consumer| {
                consumer.skip_text()?;
                consumer.take(if version == 3 { 2 * TIME_BYTES } else { TIME_BYTES })?;
                consumer.skip_each(|pending| pending.take(ID_BYTES).map(drop))
            })
        })
    }

    /// Reads a length, and skips this number of elements.
    fn skip_each(
        &mut self,
        skip: impl FnMut(&mut Decoder<'a>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let count = self.length()?;
        self.repeat(count, skip)
    }

    /// Calls `run` up to `count` times, until it fails. Every call consumes bytes, so an untrusted
    /// count does no harm.
    pub(super) fn repeat(
        &mut self,
        count: u64,
        mut run: impl FnMut(&mut Decoder<'a>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        (0..count).try_for_each(|_| run(self))
    }

    pub(super) fn skip_lengths(&mut self, count: u64) -> Result<(), Fault> {
        self.repeat(count, |decoder| decoder.length().map(drop))
    }

    /// Skips a string.
    pub(super) fn skip_text(&mut self) -> Result<(), Fault> {
        let head = *self.rest.first().ok_or(Fault::Ended)?;
        let len = if head >> 6 != lead::PACKED {
            self.length()?
        } else {
            self.byte()?;
            match head & 0b11_1111 {
                packing::INT8 => 1,
                packing::INT16 => 2,
                packing::INT32 => 4,
                packing::LZF => {
                    let len = self.length()?;
                    self.length()?;
                    len
                }
                _ => return Err(Fault::Length(head)),
            }
        };
        self.take_u64(len).map(drop)
    }
}
