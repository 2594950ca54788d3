//! LZF, the compression of strings: runs of literal bytes, and references to earlier bytes.
//!
//! ```text
//!   000lllll  l + 1 bytes                 l + 1 literal bytes, 1 to 32
//!   lllooooo oooooooo                     l + 2 bytes from o + 1 back, l from 1 to 6
//!   111ooooo llllllll oooooooo            l + 9 bytes from o + 1 back
//! ```
//! A reference may overlap the bytes that it produces: `a`, then 9 bytes from 1 back, is ten times
//! `a`.

/// Maximum of literal bytes in one run.
const LITERALS_MAX: usize = 32;

/// Maximum distance of a reference, in bytes.
const DISTANCE_MAX: usize = 1 << 13;

/// Length of the shortest and the longest reference, in bytes.
const MATCH_MIN: usize = 3;
const MATCH_MAX: usize = 264;

/// Maximum of bytes per compressed byte: three compressed bytes produce [`MATCH_MAX`] bytes.
const RATIO_MAX: usize = MATCH_MAX / 3;

const TABLE_BITS: u32 = 14;

/// Positions inside a reference that are recorded.
const INSIDE: usize = 2;

/// Compresses strings. The table is allocated once and rarely cleared: positions of earlier strings
/// in it are below `base`.
#[derive(Debug)]
pub struct Lzf {
    /// By hash of three bytes: their last position, counted across all strings.
    table: Box<[u32]>,
    /// Position of the string's first byte; at least 1, so that an empty cell is below it.
    base: u32,
}

impl Default for Lzf {
    /// Creates a compressor with an empty table.
    fn default() -> Lzf {
        Lzf { table: vec![0; 1 << TABLE_BITS].into(), base: 1 }
    }
}

impl Lzf {
    /// Appends `text` compressed and returns true if that takes at most `len_max` bytes. Otherwise
    /// appends nothing.
    pub fn pack(&mut self, text: &[u8], len_max: usize, out: &mut Vec<u8>) -> bool {
        let Ok(len) = u32::try_from(text.len()) else { return false };
        if self.base.checked_add(len).is_none() {
            self.table.fill(0);
            self.base = 1;
        }
        let Some(next) = self.base.checked_add(len) else { return false };
        let start = out.len();
        let literals = self.pack_matches(text, start + len_max, out);
        self.base = next;
        let tail = text.len() - literals;
        let total = out.len() + tail + tail.div_ceil(LITERALS_MAX);
        if total > start + len_max {
            out.truncate(start);
            return false;
        }
        put_literals(&text[literals..], out);
        assert_eq!(out.len(), total);
        true
    }

    /// Compresses up to the last reference, or until `out` is longer than `end`. Returns the
    /// position in the text up to which it is compressed.
    fn pack_matches(&mut self, text: &[u8], end: usize, out: &mut Vec<u8>) -> usize {
        let (mut at, mut literals) = (0, 0);
        while at + MATCH_MIN <= text.len() && out.len() <= end {
            let Some(from) = self.exchange(text, at) else {
                at += 1;
                continue;
            };
            put_literals(&text[literals..at], out);
            let len_max = (text.len() - at).min(MATCH_MAX);
            let len = equal_bytes(&text[from..], &text[at..at + len_max]);
            put_match(at - from, len, out);
            // The last positions suffice to find the next reference in a repeated text.
            let inside =
                (at + len - INSIDE..at + len).take_while(|at| at + MATCH_MIN <= text.len());
            for at in inside {
                self.table[hash(text, at)] = self.base + at as u32;
            }
            at += len;
            literals = at;
        }
        literals
    }

    /// Records the position of the three bytes at `at`. Returns their previous position if a
    /// reference reaches it.
    #[inline]
    fn exchange(&mut self, text: &[u8], at: usize) -> Option<usize> {
        let cell = &mut self.table[hash(text, at)];
        let before = std::mem::replace(cell, self.base + at as u32);
        let from = before.checked_sub(self.base)? as usize;
        let is_same = text[from..from + MATCH_MIN] == text[at..at + MATCH_MIN];
        (at - from <= DISTANCE_MAX && is_same).then_some(from)
    }
}

/// Returns the number of bytes in which two texts are equal from their beginnings on.
fn equal_bytes(one: &[u8], other: &[u8]) -> usize {
    let words = one.chunks_exact(8).zip(other.chunks_exact(8));
    let equal = 8 * words.take_while(|(one, other)| one == other).count();
    let rest = one[equal..].iter().zip(&other[equal..]);
    equal + rest.take_while(|(one, other)| one == other).count()
}

/// Returns the cell of the three bytes at `at`.
#[inline]
fn hash(text: &[u8], at: usize) -> usize {
    let three = u32::from_le_bytes([text[at], text[at + 1], text[at + 2], 0]);
    (three.wrapping_mul(0x9e37_79b1) >> (32 - TABLE_BITS)) as usize
}

fn put_literals(bytes: &[u8], out: &mut Vec<u8>) {
    for run in bytes.chunks(LITERALS_MAX) {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
}

fn put_match(distance: usize, len: usize, out: &mut Vec<u8>) {
    assert!((1..=DISTANCE_MAX).contains(&distance) && (MATCH_MIN..=MATCH_MAX).contains(&len));
    let [high, low] = (distance as u16 - 1).to_be_bytes();
    if len < 9 {
        out.push(((len as u8 - 2) << 5) | high);
    } else {
        out.extend([(7 << 5) | high, (len - 9) as u8]);
    }
    out.push(low);
}

/// Decompresses `packed`; returns `None` if the result is not exactly `len` bytes long. Allocates
/// no more than the compressed bytes can produce.
pub fn unpack(packed: &[u8], len: usize) -> Option<Vec<u8>> {
    if len > packed.len().saturating_mul(RATIO_MAX) {
        return None;
    }
    let mut out = Vec::with_capacity(len);
    let mut rest = packed.iter();
    while let Some(&head) = rest.next() {
        let (top, low) = (head >> 5, head & 31);
        if top == 0 {
            let run = usize::from(low) + 1;
            out.extend_from_slice(rest.as_slice().get(..run)?);
            rest.nth(run - 1);
        } else {
            let more = if top == 7 { *rest.next()? } else { 0 };
            let count = usize::from(top) + usize::from(more) + 2;
            let distance = usize::from(u16::from_be_bytes([low, *rest.next()?])) + 1;
            let from = out.len().checked_sub(distance)?;
            for at in from..from + count {
                out.push(out[at]);
            }
        }
        if out.len() > len {
            return None;
        }
    }
    (out.len() == len).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    fn pack(lzf: &mut Lzf, text: &[u8]) -> Option<Vec<u8>> {
        let mut out = b"before".to_vec();
        let is_packed = lzf.pack(text, text.len().saturating_sub(4), &mut out);
        assert_eq!(&out[..6], b"before");
        assert!(is_packed || out.len() == 6);
        is_packed.then(|| out.split_off(6))
    }

    #[test]
    fn a_known_text_is_compressed_as_expected() {
        let packed =
            pack(&mut Lzf::default(), b"abcdeabcdeabcdexyz").expect("the text is compressible");
        assert_eq!(packed, b"\x04abcde\xe0\x01\x04\x02xyz");
        assert_eq!(unpack(&packed, 18).unwrap(), b"abcdeabcdeabcdexyz");
    }

    #[test]
    fn compressed_texts_are_decompressed() {
        let mut lzf = Lzf::default();
        let mut rng = Rng::new(7);
        let mut packed_texts = 0;
        for round in 0..2_000 {
            let letters = 1 + rng.below(1 + round % 64);
            let len = rng.below(if round % 100 == 0 { 40_000 } else { 300 });
            let text: Vec<u8> = (0..len).map(|_| rng.below(letters) as u8).collect();
            if text.len() > 4
                && let Some(packed) = pack(&mut lzf, &text)
            {
                assert!(packed.len() + 4 <= text.len());
                assert_eq!(
                    unpack(&packed, text.len()).expect("the compressed text is complete"),
                    text
                );
                assert!(unpack(&packed, text.len() + 1).is_none());
                assert!(unpack(&packed, text.len() - 1).is_none());
                packed_texts += 1;
            }
        }
        assert!(packed_texts > 500);
        let same = vec![b'a'; 100_000];
        let packed = pack(&mut lzf, &same).expect("the text is compressible");
        assert!(packed.len() < 1_200);
        assert_eq!(unpack(&packed, same.len()).unwrap(), same);
    }

    #[test]
    fn positions_wrap_around() {
        let text = b"abcdeabcdeabcdeabcdeabcde";
        for base in [u32::MAX - 10, u32::MAX - 26, u32::MAX - 25] {
            let mut lzf = Lzf::default();
            pack(&mut lzf, text).expect("the text is compressible");
            lzf.base = base;
            let packed = pack(&mut lzf, text).expect("the text is compressible");
            assert_eq!(unpack(&packed, text.len()).unwrap(), text);
        }
    }

    #[test]
    fn malformed_bytes_are_rejected() {
        for (packed, len) in [
            (&b""[..], 1),
            (b"\x04abc", 5),
            (b"\x20\x00", 3),
            (b"\x00a\x20\x01", 4),
            (b"\x00a\x20", 4),
            (b"\x00a\xe0\xff", 4),
            (b"\x00a\xe0\xff\x00", 4),
            (b"\x00a", usize::MAX),
        ] {
            assert_eq!(unpack(packed, len), None, "{packed:?}");
        }
        let mut rng = Rng::new(11);
        for _ in 0..20_000 {
            let packed: Vec<u8> = (0..rng.below(20)).map(|_| rng.below(256) as u8).collect();
            let len = rng.below(2_000) as usize;
            assert!(unpack(&packed, len).is_none_or(|text| text.len() == len));
        }
    }
}
