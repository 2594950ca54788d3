//! String values: an integer, bytes, or a large buffer that pending replies share.

use crate::base::number::{i64_text_len, parse_i64};
use bytes::{Bytes, BytesMut};

/// The longest value, in bytes, that is stored beside its key. A longer value has its own
/// [`Bytes`], which a reply can share.
pub const INLINE_BYTES_MAX: usize = 4096;

/// The largest block, in bytes, that the reference server uses for an `embstr` value: header, key,
/// expiry and value. OBJECT ENCODING names a value that does not fit `raw`.
const EMBEDDED_BYTES_MAX: usize = 128;

/// A stored string value, borrowed.
#[derive(Clone, Copy, Debug)]
pub enum Str<'a> {
    /// A number. Its text is the canonical decimal form.
    Int(i64),
    /// Bytes stored beside their key.
    Bytes(&'a [u8]),
    /// A large buffer. A reply clones it and sends it without a copy.
    Large(&'a Bytes),
}

/// Buffer for the text of an [`Str::Int`].
pub type IntText = itoa::Buffer;

impl<'a> Str<'a> {
    /// Returns the length of the value's text in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        match *self {
            Str::Int(number) => i64_text_len(number),
            Str::Bytes(bytes) => bytes.len(),
            Str::Large(bytes) => bytes.len(),
        }
    }

    /// Returns whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the value's text. A number is formatted into `buffer`.
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

    /// Returns the value as an integer if its text is an integer in canonical form.
    #[inline]
    pub fn as_int(&self) -> Option<i64> {
        match *self {
            Str::Int(number) => Some(number),
            Str::Bytes(bytes) => parse_i64(bytes),
            Str::Large(_) => None,
        }
    }

    /// Returns the name of the encoding, as OBJECT ENCODING replies it. A value that was changed in
    /// place (`is_edited`) is `raw`, as in the reference server. A value that fits in one block
    /// with its key is `embstr`.
    pub fn encoding_name(&self, is_edited: bool, key_len: usize, expires: bool) -> &'static str {
        match *self {
            Str::Int(_) => "int",
            _ if is_edited || !is_embedded(key_len, self.len(), expires) => "raw",
            Str::Bytes(_) | Str::Large(_) => "embstr",
        }
    }
}

/// Returns whether the reference server would keep a value of `value_len` bytes in one block with
/// its key:
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

/// The longest buffer that doubles when it grows. A longer buffer grows by a quarter.
const GROW_DOUBLE_BYTES_MAX: usize = 1 << 20;

/// Returns `bytes`, then `tail`, then zeros up to `len` bytes. The buffer is reused if nothing else
/// references it, else copied. A reallocated buffer gets spare capacity, so each byte is copied
/// O(1) times over repeated growth.
pub fn large_grown(bytes: Bytes, tail: &[u8], len: usize) -> BytesMut {
    assert!(bytes.len() + tail.len() <= len, "`len` is not below the bytes it must hold");
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

/// A new string value, before it is stored.
#[derive(Clone, Debug)]
pub enum NewStr<'v> {
    /// A number.
    Int(i64),
    /// Text to store unchanged, with one copy.
    Bytes(&'v [u8]),
    /// A buffer to store without a copy if it is longer than [`INLINE_BYTES_MAX`].
    Large(Bytes),
}

impl<'v> NewStr<'v> {
    /// Returns a number if `text` is an integer in canonical form, else the text.
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
    fn every_form_returns_its_text_and_number() {
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
    fn growth_reuses_an_unshared_buffer_and_copies_a_shared_one() {
        let value = Bytes::from(vec![1u8; 5000]);
        let reply = value.clone();
        let grown = large_grown(value, b"tail", 5006);
        assert_eq!(&grown[4999..], b"\x01tail\0\0");
        assert_eq!(reply.len(), 5000);
        let address = grown.as_ptr();
        let again = large_grown(grown.freeze(), b"more", 5010);
        assert_eq!(again.as_ptr(), address, "the spare capacity is used");
    }

    #[test]
    fn encoding_names_match_the_reference() {
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
