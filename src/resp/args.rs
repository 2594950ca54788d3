//! The words of one command: slices of the text that they came in, and large ones in buffers of
//! their own, which a handler may keep without a copy.

use bytes::BytesMut;
use std::ops::Index;

/// Where one word lies.
///
/// ```text
///   start: bit 31 clear: byte offset in the text        len: bytes
///          bit 31 set:   index into the large words
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

/// A word of at least so many bytes that arrives in pieces is received into a buffer of its own.
pub const LARGE_WORD_BYTES: usize = 32 * 1024;

/// The bit of [`Span::start`] that says the word has a buffer of its own.
const LARGE_BIT: u32 = 1 << 31;

impl Span {
    /// A word of `len` bytes at `offset` of the text.
    #[inline]
    pub fn text(offset: usize, len: usize) -> Span {
        assert!(offset < LARGE_BIT as usize && len <= u32::MAX as usize);
        Span { start: offset as u32, len: len as u32 }
    }

    /// The same for a word that is known to lie within reach.
    #[inline(always)]
    pub(super) fn text_near(offset: usize, len: usize) -> Span {
        debug_assert!(offset < LARGE_BIT as usize && len <= u32::MAX as usize);
        Span { start: offset as u32, len: len as u32 }
    }

    /// The large word number `index`, of `len` bytes.
    pub fn large(index: usize, len: usize) -> Span {
        assert!(index < LARGE_BIT as usize && len <= u32::MAX as usize);
        Span { start: index as u32 | LARGE_BIT, len: len as u32 }
    }

    /// The index among the large words, if it is one.
    #[inline]
    pub fn large_index(self) -> Option<usize> {
        (self.start & LARGE_BIT != 0).then_some((self.start & !LARGE_BIT) as usize)
    }

    /// The offset in the text; for a large word its index.
    #[inline]
    pub fn start(self) -> usize {
        (self.start & !LARGE_BIT) as usize
    }

    /// Bytes of the word.
    #[inline]
    pub fn len(self) -> usize {
        self.len as usize
    }

    /// Whether the word is empty.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The same word after its text was put `text_bytes` further on, or its buffer `large_args`.
    #[inline]
    pub fn moved(self, text_bytes: usize, large_args: usize) -> Span {
        match self.large_index() {
            None => Span::text(self.start() + text_bytes, self.len()),
            Some(index) => Span::large(index + large_args, self.len()),
        }
    }

    /// The opposite of [`Span::moved`].
    #[inline]
    pub fn relative(self, text_bytes: usize, large_args: usize) -> Span {
        match self.large_index() {
            None => Span::text(self.start() - text_bytes, self.len()),
            Some(index) => Span::large(index - large_args, self.len()),
        }
    }
}

/// The words of one command, the command's name at index 0.
#[derive(Debug)]
pub struct Args<'a> {
    text: &'a [u8],
    spans: &'a [Span],
    large: &'a mut [BytesMut],
}

impl<'a> Args<'a> {
    /// Words at `spans` of `text` and of `large`.
    #[inline]
    pub fn new(text: &'a [u8], spans: &'a [Span], large: &'a mut [BytesMut]) -> Args<'a> {
        Args { text, spans, large }
    }

    /// How many words, the command's name included.
    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no word at all.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Word `index`, or none past the end.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        (index < self.spans.len()).then(|| &self[index])
    }

    /// The words from `first` on.
    pub fn iter_from(&self, first: usize) -> impl Iterator<Item = &[u8]> {
        (first..self.len()).map(|i| &self[i])
    }

    /// Takes the buffer of word `index` if it has one of its own: the word reads as empty after.
    #[inline]
    pub fn take_large(&mut self, index: usize) -> Option<BytesMut> {
        let at = self.spans[index].large_index()?;
        Some(std::mem::take(&mut self.large[at]))
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    #[inline]
    fn index(&self, index: usize) -> &[u8] {
        let span = self.spans[index];
        match span.large_index() {
            None => &self.text[span.start()..span.start() + span.len()],
            Some(at) => &self.large[at],
        }
    }
}
