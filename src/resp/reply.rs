//! Replies to bytes: [`Output`] collects them, [`Reply`] writes them in the client's dialect. Hot.
//!
//! ```text
//!   bytes:   $70000 CR LF | CR LF +OK CR LF ...
//!                         ^ offset 8
//!   shared:  (8, 70,000 bytes of a value)      a value by reference lies before the byte at 8
//! ```
//!
//! Offsets count own bytes. A shared piece has its header before and its line end after it, so the
//! end of a reply never coincides with one, and a range of own bytes tells which pieces it holds.

use super::{Error, Protocol};
use crate::base::number::FloatText;
use bytes::Bytes;
use std::ops::Range;

/// A value of at least so many bytes is sent by reference.
pub const SHARED_BYTES_MIN: usize = 16 * 1024;

/// An output that is cleared keeps at most so many bytes of memory.
pub const KEPT_OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// A point between two replies in an [`Output`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    bytes: usize,
    shared: usize,
    ends: usize,
}

impl Mark {
    /// Its offset in the output's own bytes.
    #[inline]
    pub fn offset(self) -> usize {
        self.bytes
    }
}

/// A piece of an output on its way to the socket.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the output itself; the memory can be handed back with [`Output::reuse`].
    Own(Vec<u8>),
    /// A large value.
    Shared(Bytes),
}

impl Piece {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Piece::Own(bytes) => bytes,
            Piece::Shared(bytes) => bytes,
        }
    }
}

/// Replies that wait to be sent.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    /// Large values, each with the offset of the own byte that follows it; ascending.
    shared: Vec<(usize, Bytes)>,
    shared_bytes: usize,
    /// Offsets at which an element ended; ascending.
    ends: Vec<usize>,
}

impl Output {
    /// Wire bytes, those of shared values included.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() + self.shared_bytes
    }

    /// Whether there is nothing to send.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Memory held, in bytes, with that of shared values.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
            + self.shared_bytes
            + self.shared.capacity() * size_of::<(usize, Bytes)>()
            + self.ends.capacity() * size_of::<usize>()
    }

    /// The own bytes; shared values are missing from them.
    pub fn own_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The end of what is written so far.
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), shared: self.shared.len(), ends: self.ends.len() }
    }

    /// The own bytes since `mark`, for [`Output::append_range`].
    pub fn range_from(&self, mark: Mark) -> Range<usize> {
        mark.bytes..self.bytes.len()
    }

    /// Forgets everything after `mark`.
    pub fn truncate(&mut self, mark: Mark) {
        assert!(mark.bytes <= self.bytes.len() && mark.shared <= self.shared.len());
        self.bytes.truncate(mark.bytes);
        self.shared_bytes -= shared_sum(&self.shared[mark.shared..]);
        self.shared.truncate(mark.shared);
        self.ends.truncate(mark.ends);
    }

    /// Forgets everything, and keeps memory up to [`KEPT_OUTPUT_BYTES_MAX`].
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.shared.clear();
        self.ends.clear();
        self.shared_bytes = 0;
        self.bytes.shrink_to(KEPT_OUTPUT_BYTES_MAX);
        self.shared.shrink_to(KEPT_OUTPUT_BYTES_MAX / size_of::<(usize, Bytes)>());
        self.ends.shrink_to(KEPT_OUTPUT_BYTES_MAX / size_of::<usize>());
    }

    /// Gives the memory of an empty output back.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            *self = Output::default();
        }
    }

    /// Remembers that an element ends here.
    #[inline]
    pub fn element_end(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// The elements written since `mark`, as ranges of own bytes.
    pub fn elements(&self, mark: Mark) -> impl ExactSizeIterator<Item = Range<usize>> {
        let mut start = mark.bytes;
        self.ends[mark.ends..].iter().map(move |&end| std::mem::replace(&mut start, end)..end)
    }

    /// The element number `index` of those written since `mark`, as a range of own bytes.
    #[inline]
    pub fn element(&self, mark: Mark, index: usize) -> Range<usize> {
        let at = mark.ends + index;
        let start = if index == 0 { mark.bytes } else { self.ends[at - 1] };
        start..self.ends[at]
    }

    /// Copies a range of another output's own bytes with the shared values inside it, which stay
    /// shared. Element ends are not copied.
    pub fn append_range(&mut self, from: &Output, range: Range<usize>) {
        if !from.shared.is_empty() {
            let first = from.shared.partition_point(|(offset, _)| *offset <= range.start);
            for (offset, value) in &from.shared[first..] {
                if *offset >= range.end {
                    break;
                }
                let at = self.bytes.len() + (offset - range.start);
                self.shared_bytes += value.len();
                self.shared.push((at, value.clone()));
            }
        }
        self.bytes.extend_from_slice(&from.bytes[range]);
    }

    /// Appends bytes that are replies already.
    pub fn append_raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Empties the output into `sink`, piece by piece in wire order. Without shared values that
    /// is one piece, which is moved and not copied.
    pub fn drain(&mut self, mut sink: impl FnMut(Piece)) {
        self.ends.clear();
        self.shared_bytes = 0;
        if self.bytes.is_empty() {
            // The memory stays for the replies to come.
            return;
        }
        let bytes = std::mem::take(&mut self.bytes);
        if self.shared.is_empty() {
            return sink(Piece::Own(bytes));
        }
        let mut sent = 0;
        for (offset, value) in self.shared.drain(..) {
            if offset > sent {
                sink(Piece::Own(bytes[sent..offset].to_vec()));
            }
            sink(Piece::Shared(value));
            sent = offset;
        }
        assert!(sent < bytes.len(), "a line end follows each shared value");
        sink(Piece::Own(bytes[sent..].to_vec()));
        self.reuse(bytes);
    }

    /// Takes memory for the replies to come: a buffer that was sent, say.
    pub fn reuse(&mut self, mut bytes: Vec<u8>) {
        if self.bytes.capacity() == 0 && bytes.capacity() <= KEPT_OUTPUT_BYTES_MAX {
            bytes.clear();
            self.bytes = bytes;
        }
    }

    /// All wire bytes in one, for tests and small outputs.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(self.len());
        let mut copied = 0;
        for (offset, value) in &self.shared {
            wire.extend_from_slice(&self.bytes[copied..*offset]);
            wire.extend_from_slice(value);
            copied = *offset;
        }
        wire.extend_from_slice(&self.bytes[copied..]);
        wire
    }
}

/// Bytes of some shared values.
fn shared_sum(shared: &[(usize, Bytes)]) -> usize {
    shared.iter().map(|(_, value)| value.len()).sum()
}

/// Writes the reply to one command.
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Output,
    protocol: Protocol,
}

impl<'a> Reply<'a> {
    /// Writes to the end of `out`.
    #[inline]
    pub fn new(out: &'a mut Output, protocol: Protocol) -> Reply<'a> {
        Reply { out, protocol }
    }

    /// The dialect.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Goes on in another dialect: HELLO is answered in the one that it asked for.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Where the reply is written to.
    pub fn output(&mut self) -> &mut Output {
        self.out
    }

    /// See [`Output::len`].
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether the output holds nothing at all.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// See [`Output::mark`].
    pub fn mark(&self) -> Mark {
        self.out.mark()
    }

    /// See [`Output::truncate`]: an error replaces a reply that was begun.
    pub fn truncate(&mut self, mark: Mark) {
        self.out.truncate(mark);
    }

    /// See [`Output::element_end`].
    #[inline]
    pub fn element_end(&mut self) {
        self.out.element_end();
    }

    /// See [`Output::append_range`].
    pub fn append_range(&mut self, from: &Output, range: Range<usize>) {
        self.out.append_range(from, range);
    }

    /// `+OK`
    #[inline]
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// A short text without line ends.
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']));
        self.raw(b"+");
        self.raw(text.as_bytes());
        self.raw(b"\r\n");
    }

    /// An error.
    pub fn error(&mut self, error: &Error) {
        self.error_bytes(error.bytes());
    }

    /// An error by its text, which starts with its code. Line ends at its ends are left out, and
    /// others become blanks.
    pub fn error_bytes(&mut self, text: &[u8]) {
        let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let start = text.iter().position(|byte| !is_end(byte)).unwrap_or(text.len());
        let end = text.iter().rposition(|byte| !is_end(byte)).map_or(start, |last| last + 1);
        self.raw(b"-");
        let shown = text[start..end].iter();
        self.out.bytes.extend(shown.map(|byte| if is_end(byte) { b' ' } else { *byte }));
        self.raw(b"\r\n");
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        if (0..10).contains(&value) {
            return self.raw(&[b':', b'0' + value as u8, b'\r', b'\n']);
        }
        self.number_line(b':', itoa::Buffer::new().format(value).as_bytes());
    }

    /// A string.
    #[inline]
    pub fn bulk(&mut self, value: &[u8]) {
        self.out.bytes.reserve(value.len() + HEADER_BYTES_MAX + 2);
        self.header(b'$', value.len());
        self.raw(value);
        self.raw(b"\r\n");
    }

    /// A string that the output may keep a reference to; a short one is copied.
    pub fn bulk_shared(&mut self, value: Bytes) {
        if value.len() < SHARED_BYTES_MIN {
            return self.bulk(&value);
        }
        self.header(b'$', value.len());
        self.out.shared_bytes += value.len();
        self.out.shared.push((self.out.bytes.len(), value));
        self.raw(b"\r\n");
    }

    /// A string that is an integer's text.
    #[inline]
    pub fn integer_bulk(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// No value.
    #[inline]
    pub fn null(&mut self) {
        match self.protocol {
            Protocol::Two => self.raw(b"$-1\r\n"),
            Protocol::Three => self.raw(b"_\r\n"),
        }
    }

    /// No array.
    pub fn null_array(&mut self) {
        match self.protocol {
            Protocol::Two => self.raw(b"*-1\r\n"),
            Protocol::Three => self.raw(b"_\r\n"),
        }
    }

    /// The head of an array; `len` values follow.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len);
    }

    /// The head of an array before the `len` values that were written since `mark`, which were not
    /// known to be so many. No value among them is shared.
    pub fn array_since(&mut self, mark: Mark, len: usize) {
        self.head_since(mark, |reply| reply.array(len));
    }

    /// The same for a map of `pairs` keys and values.
    pub fn map_since(&mut self, mark: Mark, pairs: usize) {
        self.head_since(mark, |reply| reply.map(pairs));
    }

    /// Puts what `write` writes before what was written since `mark`.
    pub fn head_since(&mut self, mark: Mark, write: impl FnOnce(&mut Self)) {
        let now = self.mark();
        assert!(now.shared == mark.shared && now.ends == mark.ends, "plain values alone");
        write(self);
        let head_len = self.out.bytes.len() - now.bytes;
        self.out.bytes[mark.bytes..].rotate_right(head_len);
    }

    /// The head of a map; `pairs` keys, each with its value, follow.
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Two => self.header(b'*', 2 * pairs),
            Protocol::Three => self.header(b'%', pairs),
        }
    }

    /// The head of a set; `len` values follow.
    pub fn set(&mut self, len: usize) {
        match self.protocol {
            Protocol::Two => self.header(b'*', len),
            Protocol::Three => self.header(b'~', len),
        }
    }

    /// The head of a message that no command asked for; `len` values follow.
    pub fn push(&mut self, len: usize) {
        match self.protocol {
            Protocol::Two => self.header(b'*', len),
            Protocol::Three => self.header(b'>', len),
        }
    }

    /// A double.
    pub fn double(&mut self, value: f64) {
        let text = FloatText::new(value);
        match self.protocol {
            Protocol::Two => self.bulk(text.as_bytes()),
            Protocol::Three => self.line(b',', text.as_bytes()),
        }
    }

    /// A double by its text.
    pub fn double_text(&mut self, text: &[u8]) {
        match self.protocol {
            Protocol::Two => self.bulk(text),
            Protocol::Three => self.line(b',', text),
        }
    }

    /// An integer of any length by its digits.
    pub fn big_number(&mut self, digits: &[u8]) {
        match self.protocol {
            Protocol::Two => self.bulk(digits),
            Protocol::Three => self.line(b'(', digits),
        }
    }

    /// Yes or no.
    pub fn boolean(&mut self, value: bool) {
        self.raw(match (self.protocol, value) {
            (Protocol::Two, true) => b":1\r\n",
            (Protocol::Two, false) => b":0\r\n",
            (Protocol::Three, true) => b"#t\r\n",
            (Protocol::Three, false) => b"#f\r\n",
        });
    }

    /// A text to be shown as it is; `extension` is its kind in three letters (`txt`, `mkd`).
    pub fn verbatim(&mut self, extension: &str, text: &[u8]) {
        if self.protocol == Protocol::Two {
            return self.bulk(text);
        }
        assert_eq!(extension.len(), 3);
        self.header(b'=', text.len() + 4);
        self.raw(extension.as_bytes());
        self.raw(b":");
        self.raw(text);
        self.raw(b"\r\n");
    }

    #[inline]
    fn raw(&mut self, bytes: &[u8]) {
        self.out.bytes.extend_from_slice(bytes);
    }

    /// A reply of one line.
    #[inline]
    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.bytes.reserve(text.len() + 3);
        self.out.bytes.push(kind);
        self.raw(text);
        self.raw(b"\r\n");
    }

    /// A reply of one line with an integer: put together first, then appended at once.
    #[inline]
    fn number_line(&mut self, kind: u8, digits: &[u8]) {
        let mut line = [0; HEADER_BYTES_MAX];
        line[0] = kind;
        line[1..=digits.len()].copy_from_slice(digits);
        line[digits.len() + 1] = b'\r';
        line[digits.len() + 2] = b'\n';
        self.raw(&line[..digits.len() + 3]);
    }

    /// A kind and a length.
    #[inline]
    fn header(&mut self, kind: u8, len: usize) {
        if len < 10 {
            self.raw(&[kind, b'0' + len as u8, b'\r', b'\n']);
        } else if len < 100 {
            self.raw(&[kind, b'0' + (len / 10) as u8, b'0' + (len % 10) as u8, b'\r', b'\n']);
        } else {
            self.number_line(kind, itoa::Buffer::new().format(len).as_bytes());
        }
    }
}

/// A kind, a length and a line end.
const HEADER_BYTES_MAX: usize = 23;

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
