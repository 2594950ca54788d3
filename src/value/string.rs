//! String values: an integer, bytes, or a large value that is shared with replies under way.

use crate::base::number::{i64_text_len, parse_i64};
use bytes::{Bytes, BytesMut};

/// Longer values are kept apart from their key, in a [`Bytes`] that a reply can share.
pub const INLINE_BYTES_MAX: usize = 4096;

/// Bytes of what the reference server keeps in one block: its header, the key, an expiry, the
/// value. A value that does not fit in is `raw`, as it names its encodings.
const EMBEDDED_BYTES_MAX: usize = 128;

/// A string value as it is kept.
#[derive(Clone, Copy, Debug)]
pub enum Str<'a> {
    /// A number, whose text is its canonical decimal form.
    Int(i64),
    /// Bytes that lie beside their key.
    Bytes(&'a [u8]),
    /// A value that can be sent by reference: clone it.
    Large(&'a Bytes),
}

/// Room for the text of an [`Str::Int`].
pub type IntText = itoa::Buffer;

impl<'a> Str<'a> {
    /// Bytes of the value's text.
    #[inline]
    pub fn len(&self) -> usize {
        match *self {
            Str::Int(number) => i64_text_len(number),
            Str::Bytes(bytes) => bytes.len(),
            Str::Large(bytes) => bytes.len(),
        }
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value's text; a number is written to `buffer`.
    #[inline]
    pub fn text<'b>(&self, buffer: &'b mut IntText) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Str::Int(number) => buffer.format(number).as_bytes(),
            Str::Bytes(bytes) => bytes,
            Str::Large(bytes) => bytes,
        }
    }

    /// The value as an integer, if its text is one in canonical form.
    #[inline]
    pub fn as_int(&self) -> Option<i64> {
        match *self {
            Str::Int(number) => Some(number),
            Str::Bytes(bytes) => parse_i64(bytes),
            Str::Large(_) => None,
        }
    }

    /// What OBJECT ENCODING calls this value; `is_edited` when it was changed in place. A value
    /// that fits beside its key is `embstr`.
    pub fn encoding_name(&self, is_edited: bool, key_len: usize, expires: bool) -> &'static str {
        match *self {
            Str::Int(_) => "int",
            _ if is_edited || !is_embedded(key_len, self.len(), expires) => "raw",
            Str::Bytes(_) | Str::Large(_) => "embstr",
        }
    }
}

/// Whether the reference server keeps a value of so many bytes in one block with its key:
///
/// ```text
///   8 header | 8 expiry, if any | 1, key's length 1, 3, 5 or 9, key, 0 | 3, value, 0
/// ```
fn is_embedded(key_len: usize, value_len: usize, expires: bool) -> bool {
    let key_head = match key_len {
        0..32 => 1,
        32..256 => 3,
        256..65_536 => 5,
        _ => 9,
    };
    let expiry = if expires { 8 } else { 0 };
    let value = 3 + value_len + 1;
    8 + expiry + 1 + key_head + key_len + 1 + value <= EMBEDDED_BYTES_MAX
}

/// Above this a buffer that grows gets a quarter more than it needs, and not twice as much.
const GROW_DOUBLE_BYTES_MAX: usize = 1 << 20;

/// `bytes`, then `tail`, then zeros up to `len` bytes. The buffer is taken over if nobody else
/// holds it (else copied), and gets room to spare, so that repeated growth costs a constant
/// number of copies of each byte.
pub fn large_grown(bytes: Bytes, tail: &[u8], len: usize) -> BytesMut {
    assert!(bytes.len() + tail.len() <= len, "a value is only made longer here");
    let room = len + if len <= GROW_DOUBLE_BYTES_MAX { len } else { len / 4 };
    let mut buffer = match bytes.try_into_mut() {
        Ok(buffer) if buffer.capacity() >= len => buffer,
        Ok(buffer) => copy_with_room(&buffer, room),
        Err(shared) if shared.len() == len => copy_with_room(&shared, len),
        Err(shared) => copy_with_room(&shared, room),
    };
    buffer.extend_from_slice(tail);
    buffer.resize(len, 0);
    buffer
}

fn copy_with_room(bytes: &[u8], room: usize) -> BytesMut {
    let mut buffer = BytesMut::with_capacity(room);
    buffer.extend_from_slice(bytes);
    buffer
}

/// A string value on its way in.
#[derive(Clone, Debug)]
pub enum NewStr<'v> {
    /// A number.
    Int(i64),
    /// Text that is kept as it is; copied once.
    Bytes(&'v [u8]),
    /// A buffer that is kept without a copy (if it is longer than [`INLINE_BYTES_MAX`]).
    Large(Bytes),
}

impl<'v> NewStr<'v> {
    /// A number if `text` is one in canonical form, or else the text.
    #[inline]
    pub fn from_bytes(text: &'v [u8]) -> NewStr<'v> {
        match parse_i64(text) {
            Some(number) => NewStr::Int(number),
            None => NewStr::Bytes(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let mut buffer = IntText::new();
        let large = Bytes::from_static(b"large");
        assert_eq!(Str::Int(-12).text(&mut buffer), b"-12");
        assert_eq!(Str::Int(-12).len(), 3);
        assert_eq!(Str::Bytes(b"ab").text(&mut buffer), b"ab");
        assert_eq!(Str::Large(&large).text(&mut buffer), b"large");
        assert_eq!(Str::Bytes(b"12").as_int(), Some(12));
        assert!(matches!(NewStr::from_bytes(b"12"), NewStr::Int(12)));
        assert!(matches!(NewStr::from_bytes(b"012"), NewStr::Bytes(b"012")));
    }

    #[test]
    fn growth_takes_a_buffer_over_and_leaves_a_shared_one_alone() {
        let value = Bytes::from(vec![1u8; 5000]);
        let reply = value.clone();
        let grown = large_grown(value, b"tail", 5006);
        assert_eq!(&grown[4999..], b"\x01tail\0\0");
        assert_eq!(reply.len(), 5000);
        let address = grown.as_ptr();
        let again = large_grown(grown.freeze(), b"more", 5010);
        assert_eq!(again.as_ptr(), address, "there was room to spare");
    }

    #[test]
    fn encodings_have_the_names_of_the_reference() {
        let name = |len: usize, key_len, expires| {
            Str::Bytes(&vec![b'x'; len]).encoding_name(false, key_len, expires)
        };
        assert_eq!(Str::Int(1).encoding_name(false, 200, true), "int");
        assert_eq!(Str::Bytes(b"x").encoding_name(true, 1, false), "raw");
        for (key_len, len_max) in [(1, 112), (31, 82), (32, 79), (100, 11)] {
            assert_eq!(name(len_max, key_len, false), "embstr");
            assert_eq!(name(len_max + 1, key_len, false), "raw");
            assert_eq!(name(len_max - 8, key_len, true), "embstr");
            assert_eq!(name(len_max - 7, key_len, true), "raw");
        }
        assert_eq!(name(0, 117, false), "raw");
    }
}
