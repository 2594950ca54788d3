//! The arguments of one command. Most are slices of the received text. A large argument has its own
//! buffer, which a handler may keep without a copy.

use bytes::BytesMut;
use std::ops::Index;

/// Location of one argument.
///
/// ```text
///   start: bit 31 clear: byte offset in the text        len: bytes
///          bit 31 set:   index into the large arguments
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

/// An argument of at least this many bytes gets its own buffer if it arrives in pieces.
pub const LARGE_WORD_BYTES: usize = 32 * 1024;

/// The bit of [`Span::start`] that marks an argument with its own buffer.
const LARGE_BIT: u32 = 1 << 31;

impl Span {
    /// Creates the span of an argument of `len` bytes at `offset` of the text.
    #[inline]
    pub fn text(offset: usize, len: usize) -> Span {
        assert!(offset < LARGE_BIT as usize && len <= u32::MAX as usize);
        Span { start: offset as u32, len: len as u32 }
    }

    /// Creates the span of an argument in the text, like [`Span::text`]. The bounds are checked
    /// only in debug builds.
    #[inline(always)]
    pub(super) fn text_near(offset: usize, len: usize) -> Span {
        debug_assert!(offset < LARGE_BIT as usize && len <= u32::MAX as usize);
        Span { start: offset as u32, len: len as u32 }
    }

    /// Creates the span of large argument number `index`, of `len` bytes.
    pub fn large(index: usize, len: usize) -> Span {
        assert!(index < LARGE_BIT as usize && len <= u32::MAX as usize);
        Span { start: index as u32 | LARGE_BIT, len: len as u32 }
    }

    /// Returns the index among the large arguments; none if the argument is in the text.
    #[inline]
    pub fn large_index(self) -> Option<usize> {
        (self.start & LARGE_BIT != 0).then_some((self.start & !LARGE_BIT) as usize)
    }

    /// Returns the offset in the text. For a large argument, returns its index.
    #[inline]
    pub fn start(self) -> usize {
        (self.start & !LARGE_BIT) as usize
    }

    /// Returns the length of the argument in bytes.
    #[inline]
    pub fn len(self) -> usize {
        self.len as usize
    }

    /// Returns whether the argument is empty.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Returns the span moved by `text_bytes` in the text, or by `large_args` among the large
    /// arguments.
    #[inline]
    pub fn moved(self, text_bytes: usize, large_args: usize) -> Span {
        match self.large_index() {
            None => Span::text(self.start() + text_bytes, self.len()),
            Some(index) => Span::large(index + large_args, self.len()),
        }
    }

    /// Returns the span moved back. The inverse of [`Span::moved`].
    #[inline]
    pub fn relative(self, text_bytes: usize, large_args: usize) -> Span {
        match self.large_index() {
            None => Span::text(self.start() - text_bytes, self.len()),
            Some(index) => Span::large(index - large_args, self.len()),
        }
    }
}

/// The arguments of one command. The command's name is at index 0.
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

    /// Returns the number of arguments, including the command's name.
    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Returns whether there is no argument at all.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Returns the argument at `index`; none past the end.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        (index < self.spans.len()).then(|| &self[index])
    }

    /// Iterates over the arguments from index `first` on.
    pub fn iter_from(&self, first: usize) -> impl Iterator<Item = &[u8]> {
        (first..self.len()).map(|i| &self[i])
    }

    /// Calls `run` with the arguments at these indexes.
    pub fn with_selected<R>(
        &mut self,
        indexes: impl Iterator<Item = usize>,
        run: impl FnOnce(&mut Args<'_>) -> R,
    ) -> R {
        let spans: Vec<Span> = indexes.map(|index| self.spans[index]).collect();
        run(&mut Args::new(self.text, &spans, self.large))
    }

    /// Takes the buffer of the argument at `index`; none if it has no own buffer. The argument is
    /// empty afterwards.
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
