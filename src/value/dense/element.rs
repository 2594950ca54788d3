#![allow(unsafe_code)]
//! The byte format of an element in a page.
//!
//! ```text
//!   plain      key | payload, if it has one                  as packed, see pack
//!   volatile   f8 | u64 expiry, Unix ms | plain or apart
//!   apart      f9 | u64 address | u64 bytes                  there: key | payload
//! ```
//!
//! A packed item begins with a byte of at most f1, so f8 and f9 are unambiguous. A page's bytes
//! move when the page changes. Therefore a key and payload above 255 bytes are kept apart, in a
//! heap block.

use crate::value::pack::{self, Item};
use std::ptr::{slice_from_raw_parts_mut, with_exposed_provenance_mut};

/// First byte of an element that expires.
pub const VOLATILE: u8 = 0xf8;
const APART: u8 = 0xf9;

/// Bytes of an expiry, including the [`VOLATILE`] byte.
pub const VOLATILE_BYTES: usize = 9;
const APART_BYTES: usize = 17;

/// The longest key and payload, in bytes, stored in the page itself.
const PLAIN_BYTES_MAX: usize = 255;

/// An element: a key with its payload and expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Key.
    pub key: Item<'a>,
    /// Payload, if the element has one.
    pub payload: Option<Item<'a>>,
    /// Expiry, in Unix milliseconds.
    pub expiry: Option<u64>,
}

/// An element decoded from its bytes in a page.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// Expiry, in Unix milliseconds.
    pub expiry: Option<u64>,
    /// Packed key and payload.
    pub body: &'a [u8],
    /// Whether the body is kept apart.
    pub is_apart: bool,
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("8 bytes"))
}

impl<'a> Stored<'a> {
    /// Decodes an element from its bytes in a page.
    #[inline]
    pub fn of(raw: &'a [u8]) -> Stored<'a> {
        if raw[0] < VOLATILE {
            return Stored { expiry: None, body: raw, is_apart: false };
        }
        Stored::of_special(raw)
    }

    fn of_special(raw: &'a [u8]) -> Stored<'a> {
        let (expiry, raw) = match raw[0] {
            VOLATILE => (Some(u64_at(raw, 1)), &raw[VOLATILE_BYTES..]),
            _ => (None, raw),
        };
        if raw[0] != APART {
            return Stored { expiry, body: raw, is_apart: false };
        }
        // SAFETY: `put_block` stored the address and length of a leaked box here. The box is freed
        // only with its element, and that needs `&mut` access to the page.
        let body = unsafe { &*block(raw) };
        Stored { expiry, body, is_apart: true }
    }

    /// Returns whether the element has this key.
    #[inline]
    pub fn has_key(&self, key: &Item<'_>) -> bool {
        pack::read(self.body).0 == *key
    }

    /// Returns the element's key, payload and expiry.
    #[inline]
    pub fn element(&self) -> Element<'a> {
        let (key, rest) = pack::read(self.body);
        let payload = if rest.is_empty() { None } else { Some(pack::read(rest).0) };
        Element { key, payload, expiry: self.expiry }
    }

    /// Returns the bytes that the element keeps apart; 0 if it is stored in the page.
    pub fn apart_bytes(&self) -> usize {
        if self.is_apart { self.body.len() } else { 0 }
    }
}

/// Returns the heap block of an element that is kept apart.
fn block(raw: &[u8]) -> *mut [u8] {
    assert_eq!(raw[0], APART);
    let start = with_exposed_provenance_mut(u64_at(raw, 1) as usize);
    slice_from_raw_parts_mut(start, u64_at(raw, 9) as usize)
}

fn put_block(raw: &mut [u8], block: Box<[u8]>) {
    raw[0] = APART;
    raw[9..APART_BYTES].copy_from_slice(&(block.len() as u64).to_le_bytes());
    let start = Box::into_raw(block).cast::<u8>().expose_provenance();
    raw[1..9].copy_from_slice(&(start as u64).to_le_bytes());
}

/// Frees the heap block of an element that is kept apart. The element must not be read again.
pub fn free_apart(raw: &mut [u8]) {
    let at = if raw[0] == VOLATILE { VOLATILE_BYTES } else { 0 };
    if raw[at] == APART {
        let block = block(&raw[at..]);
        raw[1 + at..].fill(0);
        // SAFETY: `put_block` leaked this box, and its address in the page has just been erased.
        drop(unsafe { Box::from_raw(block) });
    }
}

/// Replaces the heap block that a cloned element shares with its original by a copy.
pub fn unshare_apart(raw: &mut [u8]) {
    let at = if raw[0] == VOLATILE { VOLATILE_BYTES } else { 0 };
    if raw[at] == APART {
        // SAFETY: the original element is borrowed while its table is cloned, so its block stays
        // valid.
        let copy: Box<[u8]> = unsafe { &*block(&raw[at..]) }.into();
        put_block(&mut raw[at..], copy);
    }
}

/// An element to be written to a page.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    key: Item<'a>,
    payload: Option<Item<'a>>,
    expiry: Option<u64>,
    body_bytes: usize,
    is_apart: bool,
}

impl<'a> Draft<'a> {
    /// Creates a draft from a key, a payload and an expiry (Unix ms).
    pub fn new(key: &Item<'a>, payload: Option<&Item<'a>>, expiry: Option<u64>) -> Draft<'a> {
        let body_bytes = pack::size(key) + payload.map_or(0, pack::size);
        let is_apart = body_bytes > PLAIN_BYTES_MAX;
        Draft { key: *key, payload: payload.copied(), expiry, body_bytes, is_apart }
    }

    /// Returns the bytes that the element takes in its page.
    pub fn size(&self) -> usize {
        let head = if self.expiry.is_some() { VOLATILE_BYTES } else { 0 };
        head + if self.is_apart { APART_BYTES } else { self.body_bytes }
    }

    /// Returns the bytes that the element keeps apart; 0 if it is stored in the page.
    pub fn apart_bytes(&self) -> usize {
        if self.is_apart { self.body_bytes } else { 0 }
    }

    /// Writes the element to `out`, which must have exactly [`Draft::size`] bytes.
    pub fn fill(&self, mut out: &mut [u8]) {
        if let Some(expiry) = self.expiry {
            out[0] = VOLATILE;
            out[1..VOLATILE_BYTES].copy_from_slice(&expiry.to_le_bytes());
            out = &mut out[VOLATILE_BYTES..];
        }
        if self.is_apart {
            let mut body = vec![0; self.body_bytes].into_boxed_slice();
            self.fill_body(&mut body);
            put_block(out, body);
        } else {
            self.fill_body(out);
        }
    }

    fn fill_body(&self, out: &mut [u8]) {
        let rest = pack::put(out, &self.key);
        if let Some(payload) = &self.payload {
            pack::put(rest, payload);
        }
    }
}
