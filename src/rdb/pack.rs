//! Compression of strings, at once or later on another thread.
//!
//! ```text
//!   at once   head | compressed                     shorter than the text, or nothing
//!   later     length | text                         its place is recorded
//!               '-- pack_recorded --> the same bytes as at once
//! ```

use super::encode::put_length;
use super::lzf::Lzf;
use super::{lead, packing};

/// A text is compressed only if it is longer than this number of bytes.
const PACKED_BYTES_MIN: usize = 20;

/// A text of at least this number of bytes is compressed later, if anything is: compressing a
/// shorter one takes about as long as recording it.
const LATER_BYTES_MIN: usize = 64;

/// Compression must save at least this number of bytes.
const GAIN_BYTES_MIN: usize = 4;

/// The place of a string that may be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Where its length begins.
    head: u32,
    /// Where its text begins.
    text: u32,
    /// Where its text ends.
    end: u32,
}

/// Compresses strings.
#[derive(Debug, Default)]
pub struct Packer {
    /// Created for the first string that is long enough.
    lzf: Option<Lzf>,
    /// Places of strings to compress later; none: they are compressed at once.
    later: Option<Vec<Unpacked>>,
}

impl Packer {
    /// Creates a packer that leaves strings as they are, and records their places.
    pub fn for_later() -> Packer {
        Packer { lzf: None, later: Some(Vec::new()) }
    }

    /// Takes the places that were recorded.
    pub fn take_recorded(&mut self) -> Vec<Unpacked> {
        self.later.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Appends a string compressed, or as it is with its place recorded. Returns false, and appends
    /// nothing, if it is too short or compression saves too little.
    pub(super) fn pack(&mut self, text: &[u8], out: &mut Vec<u8>) -> bool {
        if text.len() <= PACKED_BYTES_MIN {
            return false;
        }
        if let Some(later) = self.later.as_mut().filter(|_| text.len() >= LATER_BYTES_MIN)
            && let Ok(end) = u32::try_from(out.len() + text.len() + LENGTH_BYTES_MAX)
        {
            let head = out.len() as u32;
            put_length(text.len() as u64, out);
            let text_at = out.len() as u32;
            out.extend_from_slice(text);
            debug_assert!(out.len() as u32 <= end);
            later.push(Unpacked { head, text: text_at, end: out.len() as u32 });
            return true;
        }
        pack(text, self.lzf.get_or_insert_default(), out)
    }
}

/// Most bytes of a length.
const LENGTH_BYTES_MAX: usize = 9;

/// Appends `bytes` to `out`, with the recorded strings compressed as far as that pays.
pub fn pack_recorded(bytes: &[u8], recorded: &[Unpacked], lzf: &mut Lzf, out: &mut Vec<u8>) {
    let mut done = 0;
    for place in recorded {
        let [head, text, end] = [place.head, place.text, place.end].map(|at| at as usize);
        out.extend_from_slice(&bytes[done..head]);
        done = match pack(&bytes[text..end], lzf, out) {
            true => end,
            false => head,
        };
    }
    out.extend_from_slice(&bytes[done..]);
}

/// Appends the text compressed. Returns false, and appends nothing, if that saves too little. The
/// length of the compressed bytes precedes them, but is known only afterwards: moves it to the
/// front.
fn pack(text: &[u8], lzf: &mut Lzf, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    if !lzf.pack(text, text.len() - GAIN_BYTES_MIN, out) {
        return false;
    }
    let packed_len = out.len() - start;
    out.push((lead::PACKED << 6) | packing::LZF);
    put_length(packed_len as u64, out);
    put_length(text.len() as u64, out);
    let head_len = out.len() - start - packed_len;
    out[start..].rotate_right(head_len);
    true
}

#[cfg(test)]
mod tests {
    use super::super::Encoder;
    use super::*;

    #[test]
    fn strings_that_are_compressed_later_become_the_same_bytes() {
        let noise: Vec<u8> = (0..5_000u32).map(|at| (at.wrapping_mul(at) >> 7) as u8).collect();
        let texts: [&[u8]; 8] =
            [b"", b"12", &[b'a'; 21], &[b'a'; 64], &noise[..64], &noise, &[b'b'; 20_000], b"end"];
        let encode = |packer: Packer| {
            let mut out = vec![7];
            let mut encoder = Encoder::resume(&mut out, Some(packer));
            texts.iter().for_each(|text| encoder.string(text));
            let recorded = encoder.into_packer().expect("it was given one").take_recorded();
            (out, recorded)
        };
        let (expected, none) = encode(Packer::default());
        let (later, recorded) = encode(Packer::for_later());
        assert!(none.is_empty() && later.len() > 20_000 && expected.len() < 6_000);
        assert_eq!(recorded.len(), 4);
        let mut out = Vec::new();
        pack_recorded(&later, &recorded, &mut Lzf::default(), &mut out);
        assert_eq!(out, expected);
    }
}
