//! Writes replies: [`Output`] collects bytes, and [`Reply`] writes values in the client's protocol.
//! Hot.
//!
//! ```text
//!   bytes:   $70000 CR LF | CR LF +OK CR LF ...
//!                         ^ offset 8
//!   shared:  (8, 70,000 bytes of a value)      the shared value lies before own byte 8
//! ```
//!
//! Offsets count own bytes. A shared value has its header before it and its line end after it.
//! Therefore the end of a reply never has the offset of a shared value. So a range of own bytes
//! determines which shared values lie inside.

use super::segments::{SEGMENT_BYTES, Segments};
use super::{Error, Protocol};
use crate::base::number::{FloatText, SHORT_MAX, short_digits, whole_number};
use bytes::Bytes;
use std::borrow::Cow;
use std::ops::Range;

/// A value of at least this many bytes is sent by reference.
pub const SHARED_BYTES_MIN: usize = 16 * 1024;

/// The most bytes of memory that an output keeps when it is cleared.
pub const KEPT_OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// The most bytes of a piece of a large reply, except shared values. A segment has fewer, unless it
/// contains a single element of very many bytes.
const PIECE_BYTES_MAX: usize = 2 * SEGMENT_BYTES;

/// Bytes at the start of a reply in pieces that are copied: more than the first line of any reply,
/// which merging reads.
const OWN_HEAD_BYTES: usize = 64;

/// Bytes of a line end.
const LINE_END_BYTES: usize = 2;

/// A point between two replies in an [`Output`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    bytes: usize,
    shared: usize,
    ends: usize,
}

impl Mark {
    /// Returns the offset in the output's own bytes.
    #[inline]
    pub fn offset(self) -> usize {
        self.bytes
    }

    /// Returns the number of elements written since an earlier mark.
    pub fn elements_since(self, begin: Mark) -> usize {
        self.ends - begin.ends
    }
}

/// A piece of an output to be sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Own bytes of the output. [`Output::reuse`] takes the memory back after sending.
    Own(Vec<u8>),
    /// A large value.
    Shared(Bytes),
}

impl Piece {
    /// Returns the bytes.
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
    bytes: Segments,
    /// Large values in ascending order, each with the offset of the own byte that follows it.
    shared: Vec<(usize, Bytes)>,
    shared_bytes: usize,
    /// End offsets of elements in ascending order.
    ends: Vec<usize>,
}

impl Output {
    /// Returns the number of bytes on the wire, including shared values.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() + self.shared_bytes
    }

    /// Returns whether there is nothing to send.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the bytes of memory, including shared values.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
            + self.shared_bytes
            + self.shared.capacity() * size_of::<(usize, Bytes)>()
            + self.ends.capacity() * size_of::<usize>()
    }

    /// Returns a range of the own bytes, without shared values. A long reply may have to be copied.
    pub fn own_bytes(&self, range: Range<usize>) -> Cow<'_, [u8]> {
        self.bytes.range(range)
    }

    /// Returns the current end of the output.
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), shared: self.shared.len(), ends: self.ends.len() }
    }

    /// Returns the range of own bytes since `mark`, for [`Output::append_range`].
    pub fn range_from(&self, mark: Mark) -> Range<usize> {
        mark.bytes..self.bytes.len()
    }

    /// Removes everything after `mark`.
    pub fn truncate(&mut self, mark: Mark) {
        assert!(mark.bytes <= self.bytes.len() && mark.shared <= self.shared.len());
        self.bytes.truncate(mark.bytes);
        self.shared_bytes -= shared_sum(&self.shared[mark.shared..]);
        self.shared.truncate(mark.shared);
        self.ends.truncate(mark.ends);
    }

    /// Removes everything, and keeps its memory if it has at most [`KEPT_OUTPUT_BYTES_MAX`] bytes.
    pub fn clear(&mut self) {
        self.bytes.clear(KEPT_OUTPUT_BYTES_MAX);
        self.shared.clear();
        self.ends.clear();
        self.shared_bytes = 0;
        self.shared.shrink_to(KEPT_OUTPUT_BYTES_MAX / size_of::<(usize, Bytes)>());
        self.ends.shrink_to(KEPT_OUTPUT_BYTES_MAX / size_of::<usize>());
    }

    /// Releases the memory beyond [`KEPT_OUTPUT_BYTES_MAX`] if the output is empty.
    #[inline]
    pub fn trim(&mut self) {
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT_OUTPUT_BYTES_MAX {
            self.clear();
        }
    }

    /// Releases all memory if the output is empty.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            *self = Output::default();
        }
    }

    /// Records that an element ends at the current end.
    #[inline]
    pub fn element_end(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// Iterates over the elements written since `mark`, as ranges of own bytes.
    pub fn elements(&self, mark: Mark) -> impl ExactSizeIterator<Item = Range<usize>> {
        let mut start = mark.bytes;
        self.ends[mark.ends..].iter().map(move |&end| std::mem::replace(&mut start, end)..end)
    }

    /// Returns element number `index` of the elements written since `mark`, as a range of own
    /// bytes.
    #[inline]
    pub fn element(&self, mark: Mark, index: usize) -> Range<usize> {
        let at = mark.ends + index;
        let start = if index == 0 { mark.bytes } else { self.ends[at - 1] };
        start..self.ends[at]
    }

    /// Appends a range of another output's own bytes and the shared values inside it. Shared values
    /// stay shared. Element ends are not copied.
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
        self.bytes.push_range(&from.bytes, range);
    }

    /// Appends whole replies from an output without element ends. Many bytes are moved in pieces
    /// that are sent by reference, and each piece is freed when it was sent. A single element of
    /// more than [`PIECE_BYTES_MAX`] bytes is copied, to be cut.
    pub fn append_moved(&mut self, mut from: Output) {
        debug_assert!(from.ends.is_empty(), "element ends are lost");
        if from.len() < SHARED_BYTES_MIN {
            let all = 0..from.bytes.len();
            return self.append_range(&from, all);
        }
        let mut pieces = Vec::new();
        from.drain(|piece| match piece {
            Piece::Shared(bytes) => pieces.push(bytes),
            Piece::Own(bytes) if bytes.len() <= PIECE_BYTES_MAX => pieces.push(bytes.into()),
            Piece::Own(bytes) => {
                pieces.extend(bytes.chunks(PIECE_BYTES_MAX).map(Bytes::copy_from_slice))
            }
        });
        self.append_pieces(pieces);
    }

    /// Appends replies that are given in pieces. Large pieces are sent by reference.
    fn append_pieces(&mut self, pieces: impl IntoIterator<Item = Bytes>) {
        let start = self.bytes.len();
        for mut piece in pieces {
            let own =
                (OWN_HEAD_BYTES - (self.bytes.len() - start).min(OWN_HEAD_BYTES)).min(piece.len());
            self.bytes.push(&piece.split_to(own));
            if piece.len() < SHARED_BYTES_MIN {
                self.bytes.push(&piece);
            } else {
                self.shared_bytes += piece.len();
                self.shared.push((self.bytes.len(), piece));
            }
        }
        // A line end must follow each shared value.
        if let Some((offset, last)) = self.shared.last_mut()
            && *offset == self.bytes.len()
        {
            let tail = last.split_off(last.len() - LINE_END_BYTES);
            self.shared_bytes -= tail.len();
            self.bytes.push(&tail);
        }
    }

    /// Appends bytes that are already encoded replies.
    pub fn append_raw(&mut self, bytes: &[u8]) {
        self.bytes.push(bytes);
    }

    /// Moves the output to `sink`, piece by piece in wire order. Without shared values nothing is
    /// copied.
    pub fn drain(&mut self, mut sink: impl FnMut(Piece)) {
        self.ends.clear();
        self.shared_bytes = 0;
        if self.bytes.is_empty() {
            // The memory stays for the replies to come.
            return;
        }
        if self.shared.is_empty() {
            return self.bytes.take().for_each(|segment| sink(Piece::Own(segment)));
        }
        let mut sent = 0;
        for (offset, value) in self.shared.drain(..) {
            self.bytes.slices(sent..offset).for_each(|slice| sink(Piece::Own(slice.to_vec())));
            sink(Piece::Shared(value));
            sent = offset;
        }
        assert!(sent < self.bytes.len(), "a line end follows each shared value");
        let rest = self.bytes.slices(sent..self.bytes.len());
        rest.for_each(|slice| sink(Piece::Own(slice.to_vec())));
        self.bytes.clear(KEPT_OUTPUT_BYTES_MAX);
    }

    /// Moves everything after `mark` into another output, in order.
    pub fn split_off(&mut self, mark: Mark) -> Output {
        assert!(mark.bytes <= self.bytes.len() && mark.shared <= self.shared.len());
        let mut shared = self.shared.split_off(mark.shared);
        shared.iter_mut().for_each(|(offset, _)| *offset -= mark.bytes);
        let mut ends = self.ends.split_off(mark.ends);
        ends.iter_mut().for_each(|end| *end -= mark.bytes);
        let shared_bytes = shared_sum(&shared);
        self.shared_bytes -= shared_bytes;
        Output { bytes: self.bytes.split_off(mark.bytes), shared, shared_bytes, ends }
    }

    /// Reserves memory for `bytes` further bytes.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.room(bytes);
    }

    /// Reuses the memory of a sent buffer, if the output has none and the buffer is not too large.
    pub fn reuse(&mut self, bytes: Vec<u8>) {
        if bytes.capacity() <= KEPT_OUTPUT_BYTES_MAX {
            self.bytes.reuse(bytes);
        }
    }

    /// Returns all wire bytes as one copy, for tests and small outputs.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(self.len());
        let mut copied = 0;
        for (offset, value) in &self.shared {
            self.bytes.slices(copied..*offset).for_each(|slice| wire.extend_from_slice(slice));
            wire.extend_from_slice(value);
            copied = *offset;
        }
        let rest = self.bytes.slices(copied..self.bytes.len());
        rest.for_each(|slice| wire.extend_from_slice(slice));
        wire
    }
}

/// Returns the total bytes of some shared values.
fn shared_sum(shared: &[(usize, Bytes)]) -> usize {
    shared.iter().map(|(_, value)| value.len()).sum()
}

/// Writer for the reply to one command.
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Output,
    protocol: Protocol,
}

impl<'a> Reply<'a> {
    /// Creates a writer that appends to `out`.
    #[inline]
    pub fn new(out: &'a mut Output, protocol: Protocol) -> Reply<'a> {
        Reply { out, protocol }
    }

    /// Returns the protocol version.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Switches to another protocol version. HELLO replies in the version that it selects.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Returns the output that the reply is written to.
    pub fn output(&mut self) -> &mut Output {
        self.out
    }

    /// Returns the number of bytes in the output. See [`Output::len`].
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Returns whether the output is empty.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Returns the current end of the output. See [`Output::mark`].
    pub fn mark(&self) -> Mark {
        self.out.mark()
    }

    /// Removes everything after `mark`, so that an error can replace an incomplete reply. See
    /// [`Output::truncate`].
    pub fn truncate(&mut self, mark: Mark) {
        self.out.truncate(mark);
    }

    /// Records that an element ends here. See [`Output::element_end`].
    #[inline]
    pub fn element_end(&mut self) {
        self.out.element_end();
    }

    /// Appends a range of another output. See [`Output::append_range`].
    pub fn append_range(&mut self, from: &Output, range: Range<usize>) {
        self.out.append_range(from, range);
    }

    /// Writes `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// Writes a simple string, which must not contain line ends.
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']));
        self.raw(b"+");
        self.raw(text.as_bytes());
        self.raw(b"\r\n");
    }

    /// Writes a simple string that is given as bytes, which must not contain line ends.
    pub fn simple_bytes(&mut self, text: &[u8]) {
        debug_assert!(!text.iter().any(|byte| matches!(byte, b'\r' | b'\n')));
        self.line(b'+', text);
    }

    /// Writes an error.
    pub fn error(&mut self, error: &Error) {
        self.error_bytes(error.bytes());
    }

    /// Writes an error with this text, which must begin with its code. Strips line ends at both
    /// ends, and replaces other line ends by blanks.
    pub fn error_bytes(&mut self, text: &[u8]) {
        let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let start = text.iter().position(|byte| !is_end(byte)).unwrap_or(text.len());
        let end = text.iter().rposition(|byte| !is_end(byte)).map_or(start, |last| last + 1);
        self.raw(b"-");
        let shown = text[start..end].iter();
        let shown = shown.map(|byte| if is_end(byte) { b' ' } else { *byte });
        self.out.bytes.push_all(end - start, shown);
        self.raw(b"\r\n");
    }

    /// Writes an integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        if (0..10).contains(&value) {
            return self.raw(&[b':', b'0' + value as u8, b'\r', b'\n']);
        }
        self.number_line(b':', value);
    }

    /// Writes a bulk string.
    #[inline]
    pub fn bulk(&mut self, value: &[u8]) {
        self.out.bytes.room(value.len() + HEADER_BYTES_MAX + 2);
        self.header(b'$', value.len());
        self.raw(value);
        self.raw(b"\r\n");
    }

    /// Writes a bulk string. A value of at least `SHARED_BYTES_MIN` bytes is referenced, not
    /// copied.
    pub fn bulk_shared(&mut self, value: Bytes) {
        if value.len() < SHARED_BYTES_MIN {
            return self.bulk(&value);
        }
        self.header(b'$', value.len());
        self.out.shared_bytes += value.len();
        self.out.shared.push((self.out.bytes.len(), value));
        self.raw(b"\r\n");
    }

    /// Writes an integer as a bulk string.
    #[inline]
    pub fn integer_bulk(&mut self, value: i64) {
        let Some(short) = short(value) else {
            return self.bulk(itoa::Buffer::new().format(value).as_bytes());
        };
        let (digits, count) = short_digits(short);
        let start = u32::from_le_bytes([b'$', b'0' + count as u8, b'\r', b'\n']);
        let line = u128::from(start) | u128::from(digits) << 32 | LINE_END << (32 + 8 * count);
        self.out.bytes.push_first(line.to_le_bytes(), count + 6);
    }

    /// Writes a null.
    #[inline]
    pub fn null(&mut self) {
        match self.protocol {
            Protocol::Two => self.raw(b"$-1\r\n"),
            Protocol::Three => self.raw(b"_\r\n"),
        }
    }

    /// Writes a null array.
    pub fn null_array(&mut self) {
        match self.protocol {
            Protocol::Two => self.raw(b"*-1\r\n"),
            Protocol::Three => self.raw(b"_\r\n"),
        }
    }

    /// Writes the header of an array. `len` values must follow.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len);
    }

    /// Inserts the header of an array before the `len` values that were written since `mark`. For
    /// arrays whose length is not known in advance. The values must not be shared.
    pub fn array_since(&mut self, mark: Mark, len: usize) {
        self.head_since(mark, |reply| reply.array(len));
    }

    /// Inserts the header of a map before the `pairs` keys and values that were written since
    /// `mark`. The keys and values must not be shared.
    pub fn map_since(&mut self, mark: Mark, pairs: usize) {
        self.head_since(mark, |reply| reply.map(pairs));
    }

    /// Inserts the output of `write` before everything that was written since `mark`, which must
    /// not contain shared values or element ends.
    pub fn head_since(&mut self, mark: Mark, write: impl FnOnce(&mut Self)) {
        let now = self.mark();
        assert!(now.shared == mark.shared && now.ends == mark.ends, "plain values alone");
        write(self);
        let bytes = &mut self.out.bytes;
        let head = bytes.range(now.bytes..bytes.len()).into_owned();
        bytes.truncate(now.bytes);
        bytes.insert(mark.bytes, &head);
    }

    /// Writes the header of a map. `pairs` keys, each with its value, must follow.
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Two => self.header(b'*', 2 * pairs),
            Protocol::Three => self.header(b'%', pairs),
        }
    }

    /// Writes the header of a set. `len` values must follow.
    pub fn set(&mut self, len: usize) {
        match self.protocol {
            Protocol::Two => self.header(b'*', len),
            Protocol::Three => self.header(b'~', len),
        }
    }

    /// Writes the header of a push message. `len` values must follow.
    pub fn push(&mut self, len: usize) {
        match self.protocol {
            Protocol::Two => self.header(b'*', len),
            Protocol::Three => self.header(b'>', len),
        }
    }

    /// Writes a double.
    pub fn double(&mut self, value: f64) {
        if let Some(whole) = whole_number(value) {
            return match self.protocol {
                Protocol::Two => self.integer_bulk(whole),
                Protocol::Three => self.number_line(b',', whole),
            };
        }
        let text = FloatText::new(value);
        match self.protocol {
            Protocol::Two => self.bulk(text.as_bytes()),
            Protocol::Three => self.line(b',', text.as_bytes()),
        }
    }

    /// Writes a double that is given as text.
    pub fn double_text(&mut self, text: &[u8]) {
        match self.protocol {
            Protocol::Two => self.bulk(text),
            Protocol::Three => self.line(b',', text),
        }
    }

    /// Writes a big number that is given as digits.
    pub fn big_number(&mut self, digits: &[u8]) {
        match self.protocol {
            Protocol::Two => self.bulk(digits),
            Protocol::Three => self.line(b'(', digits),
        }
    }

    /// Writes a boolean.
    pub fn boolean(&mut self, value: bool) {
        self.raw(match (self.protocol, value) {
            (Protocol::Two, true) => b":1\r\n",
            (Protocol::Two, false) => b":0\r\n",
            (Protocol::Three, true) => b"#t\r\n",
            (Protocol::Three, false) => b"#f\r\n",
        });
    }

    /// Writes a verbatim string. `extension` is its format in three letters (`txt`, `mkd`).
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
        self.out.bytes.push(bytes);
    }

    /// Writes a reply of one line.
    #[inline]
    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.bytes.room(text.len() + 3);
        self.out.bytes.push(&[kind]);
        self.raw(text);
        self.raw(b"\r\n");
    }

    /// Writes a reply of one line with an integer.
    #[inline]
    fn number_line(&mut self, kind: u8, value: i64) {
        let Some(short) = short(value) else {
            return self.line(kind, itoa::Buffer::new().format(value).as_bytes());
        };
        let (digits, count) = short_digits(short);
        let line = u128::from(kind) | u128::from(digits) << 8 | LINE_END << (8 + 8 * count);
        self.out.bytes.push_first(line.to_le_bytes(), count + 3);
    }

    /// Writes a type byte and a length.
    #[inline]
    fn header(&mut self, kind: u8, len: usize) {
        if len < 10 {
            self.raw(&[kind, b'0' + len as u8, b'\r', b'\n']);
        } else if len < 100 {
            self.raw(&[kind, b'0' + (len / 10) as u8, b'0' + (len % 10) as u8, b'\r', b'\n']);
        } else {
            self.number_line(kind, len as i64);
        }
    }
}

/// Returns a number that [`short_digits`] takes.
#[inline]
fn short(value: i64) -> Option<u32> {
    u32::try_from(value).ok().filter(|value| *value < SHORT_MAX)
}

/// The line end, as the bytes of a word in the order of the text.
const LINE_END: u128 = u16::from_le_bytes(*b"\r\n") as u128;

/// The most bytes of a type byte, a length and a line end.
const HEADER_BYTES_MAX: usize = 23;

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
