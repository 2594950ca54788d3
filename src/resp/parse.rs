//! Parses request bytes into the arguments of commands: RESP arrays of bulk strings, and inline
//! lines. Hot.
//!
//! ```text
//!                 complete command: quick()
//!          .------------------------------------------.
//!          |                                          v
//!   Between --'*': count()--> Header <--tail()-- Tail / command
//!      |                        | bulk length      ^
//!      |                        v                  |
//!      |                      Body ----------------'  (bytes are in the text)
//!      |                        | long, and incomplete
//!      |                        v
//!      |                      Large --fill()--> Tail  (bytes go to their own buffer)
//!      '--else: line()--> command
//! ```
//!
//! The state of an incomplete command is kept: arguments found, and bytes searched for a line end.
//! So a command in many pieces takes the same number of steps as in one piece.

use super::inline;
use super::{LARGE_WORD_BYTES, Span};
use crate::base::number::parse_i64;
use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr2};
use std::borrow::Cow;

/// The longest line in bytes: an inline command, a count or a length.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// The most text in bytes that one command may need, without its large arguments. Offsets have 31
/// bits.
pub const TEXT_BYTES_MAX: usize = 1 << 30;

/// A large argument's buffer is reserved at once up to this size in bytes, and grows beyond as
/// bytes arrive.
pub const RESERVE_BYTES_MAX: usize = 1 << 20;

/// The most arguments in one command before the client has authenticated.
const UNAUTHENTICATED_WORDS_MAX: i64 = 10;

/// The longest argument in bytes before the client has authenticated.
const UNAUTHENTICATED_BULK_MAX: u64 = 16_384;

/// The longest argument in bytes, whatever the settings are. Lengths have 32 bits.
const BULK_BYTES_MAX: u64 = u32::MAX as u64;

/// Limits on a client's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `proto-max-bulk-len`: the longest argument in bytes.
    pub bulk_len_max: u64,
    /// Whether the client has authenticated or does not need to.
    pub authenticated: bool,
}

/// A request that violates the protocol. The server replies the error and closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ProtocolError {
    BigInline,
    BigMultibulkCount,
    MultibulkLength,
    UnauthenticatedMultibulkLength,
    UnauthenticatedBulkLength,
    BigBulkCount,
    /// This byte arrived instead of a `$`.
    Unexpected(u8),
    BulkLength,
    UnbalancedQuotes,
    LineEnd,
    /// The command's arguments in the text exceed [`TEXT_BYTES_MAX`].
    BigRequest,
}

impl ProtocolError {
    /// Returns the text of the error reply, without `-` and line end.
    pub fn text(self) -> Cow<'static, [u8]> {
        let text: &str = match self {
            ProtocolError::BigInline => "ERR Protocol error: too big inline request",
            ProtocolError::BigMultibulkCount => "ERR Protocol error: too big mbulk count string",
            ProtocolError::MultibulkLength => "ERR Protocol error: invalid multibulk length",
            ProtocolError::UnauthenticatedMultibulkLength => {
                "ERR Protocol error: unauthenticated multibulk length"
            }
            ProtocolError::UnauthenticatedBulkLength => {
                "ERR Protocol error: unauthenticated bulk length"
            }
            ProtocolError::BigBulkCount => "ERR Protocol error: too big bulk count string",
            ProtocolError::Unexpected(byte) => return Cow::Owned(unexpected_text(byte)),
            ProtocolError::BulkLength => "ERR Protocol error: invalid bulk length",
            ProtocolError::UnbalancedQuotes => "ERR Protocol error: unbalanced quotes in request",
            ProtocolError::LineEnd => "ERR Protocol error: invalid CRLF in request",
            ProtocolError::BigRequest => "ERR Protocol error: too big request",
        };
        Cow::Borrowed(text.as_bytes())
    }
}

/// Returns the text that names an unexpected byte. A line end is shown as a blank, because a reply
/// cannot contain it.
fn unexpected_text(byte: u8) -> Vec<u8> {
    let shown = if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
    let mut text = b"ERR Protocol error: expected '$', got '".to_vec();
    text.push(shown);
    text.push(b'\'');
    text
}

/// Position of the parser in an incomplete command. Offsets count from the start of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is parsed yet: neither the count nor the end of an inline line has arrived.
    Between,
    /// The next bytes are a `$` line.
    Header,
    /// The next bytes are an argument of this length and its line end.
    Body(usize),
    /// An argument of this length is being received into the last large buffer.
    Large(usize),
    /// The next bytes are the line end after a large argument of this length.
    Tail(usize),
}

/// A complete command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Number of arguments. 0 for an empty line or array, which is skipped.
    pub argc: usize,
    /// Where the next command begins in the text.
    pub end: usize,
}

/// The parser state of one connection, kept between calls and across received pieces.
#[derive(Debug)]
pub struct Parser {
    state: State,
    /// Arguments still to come, in all states except `Between`.
    words_left: usize,
    /// Everything before this offset is parsed. Relative to the start of the command.
    offset: usize,
    /// This many bytes from `offset` on contain no line end.
    searched: usize,
    /// Arguments found. Relative to the start of the command and to its first large argument.
    spans: Vec<Span>,
    /// Number of large arguments of this command. They are the last ones in the list.
    large_args: usize,
}

impl Default for Parser {
    fn default() -> Self {
        Parser {
            state: State::Between,
            words_left: 0,
            offset: 0,
            searched: 0,
            spans: Vec::new(),
            large_args: 0,
        }
    }
}

impl Parser {
    /// Parses the command at `start` of `text`, and appends its arguments to `spans` with absolute
    /// positions. Returns none if the command is incomplete, and leaves `spans` unchanged. The next
    /// call continues, with `start` at the same byte. An error is final.
    ///
    /// May remove bytes of a large argument from `text`. They go to `large` instead.
    #[inline]
    pub fn command(
        &mut self,
        text: &mut Vec<u8>,
        start: usize,
        large: &mut Vec<BytesMut>,
        limits: &Limits,
        spans: &mut Vec<Span>,
    ) -> Result<Option<Parsed>, ProtocolError> {
        if self.state == State::Between && self.searched == 0 {
            let first = spans.len();
            if let Some(parsed) = quick(text, start, limits, spans) {
                return Ok(Some(parsed));
            }
            spans.truncate(first);
        }
        self.resume(text, start, large, limits, spans)
    }

    /// Returns whether a large argument is being received. If so, [`Parser::fill`] takes bytes.
    #[inline]
    pub fn is_filling(&self) -> bool {
        matches!(self.state, State::Large(_))
    }

    /// Returns whether the last large argument belongs to an incomplete command and is its last
    /// argument so far.
    pub fn ends_with_large(&self) -> bool {
        matches!(self.state, State::Large(_) | State::Tail(_))
    }

    /// Appends bytes to the large argument that is being received. Returns the number of bytes
    /// taken.
    pub fn fill(&mut self, large: &mut [BytesMut], bytes: &[u8]) -> usize {
        let State::Large(len) = self.state else { return 0 };
        let word = large.last_mut().expect("a large word is under way");
        let taken = bytes.len().min(len - word.len());
        large_extend(word, len, &bytes[..taken]);
        if word.len() == len {
            self.state = State::Tail(len);
        }
        taken
    }

    /// Returns the bytes of heap memory of the state.
    pub fn memory_bytes(&self) -> usize {
        self.spans.capacity() * size_of::<Span>()
    }

    /// Releases the memory for arguments, if no command is incomplete.
    pub fn shrink(&mut self) {
        if self.spans.is_empty() {
            self.spans = Vec::new();
        }
    }

    /// The general parser, step by step. It can stop at any byte.
    #[inline(never)]
    fn resume(
        &mut self,
        text: &mut Vec<u8>,
        start: usize,
        large: &mut Vec<BytesMut>,
        limits: &Limits,
        spans: &mut Vec<Span>,
    ) -> Result<Option<Parsed>, ProtocolError> {
        if start > TEXT_BYTES_MAX {
            return Err(ProtocolError::BigRequest);
        }
        if self.state == State::Between {
            match text.get(start) {
                None => return Ok(None),
                Some(b'*') => {}
                Some(_) => return self.line(text, start, spans),
            }
            match self.count(text, start, limits)? {
                None => return Ok(None),
                Some(0) => return Ok(Some(self.finish(start, large.len(), spans))),
                Some(words) => {
                    self.words_left = words;
                    self.state = State::Header;
                }
            }
        }
        while self.words_left > 0 {
            let progressed = match self.state {
                State::Between => unreachable!("the count is known"),
                State::Header => self.header(text, start, limits)?,
                State::Body(len) => self.body(text, start, len, large)?,
                State::Large(_) => false,
                State::Tail(len) => self.tail(text, start, len, large)?,
            };
            if !progressed {
                return Ok(None);
            }
        }
        Ok(Some(self.finish(start, large.len(), spans)))
    }

    /// Appends the arguments of a complete command to `spans`, and resets the state.
    fn finish(&mut self, start: usize, large_len: usize, spans: &mut Vec<Span>) -> Parsed {
        debug_assert_eq!(self.words_left, 0);
        let parsed = Parsed { argc: self.spans.len(), end: start + self.offset };
        let large_first = large_len - self.large_args;
        spans.extend(self.spans.iter().map(|span| span.moved(start, large_first)));
        self.spans.clear();
        if self.spans.capacity() * size_of::<Span>() > LARGE_WORD_BYTES {
            self.spans = Vec::new();
        }
        self.state = State::Between;
        self.offset = 0;
        self.searched = 0;
        self.large_args = 0;
        parsed
    }

    /// Returns the position of the `\r` that ends the line at the offset; none if the byte after it
    /// has not arrived.
    fn line_end(
        &mut self,
        text: &[u8],
        start: usize,
        too_long: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        let line = start + self.offset;
        if line > TEXT_BYTES_MAX {
            return Err(ProtocolError::BigRequest);
        }
        match memchr(b'\r', &text[line + self.searched..]) {
            Some(at) if self.searched + at > LINE_BYTES_MAX => Err(too_long),
            Some(at) => {
                self.searched += at;
                Ok((line + self.searched + 1 < text.len()).then_some(line + self.searched))
            }
            None => {
                self.searched = text.len() - line;
                if self.searched > LINE_BYTES_MAX { Err(too_long) } else { Ok(None) }
            }
        }
    }

    /// Parses the array header at `start`. Returns the number of arguments; none if the line is
    /// incomplete.
    fn count(
        &mut self,
        text: &[u8],
        start: usize,
        limits: &Limits,
    ) -> Result<Option<usize>, ProtocolError> {
        let Some(end) = self.line_end(text, start, ProtocolError::BigMultibulkCount)? else {
            return Ok(None);
        };
        if text[end + 1] != b'\n' {
            return Err(ProtocolError::LineEnd);
        }
        let count = parse_i64(&text[start + 1..end])
            .filter(|&count| count <= i64::from(i32::MAX))
            .ok_or(ProtocolError::MultibulkLength)?;
        if count > UNAUTHENTICATED_WORDS_MAX && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        self.offset = end + 2 - start;
        self.searched = 0;
        Ok(Some(count.max(0) as usize))
    }

    /// Parses the `$` line of the next argument. Returns false if it is incomplete.
    fn header(
        &mut self,
        text: &[u8],
        start: usize,
        limits: &Limits,
    ) -> Result<bool, ProtocolError> {
        let Some(end) = self.line_end(text, start, ProtocolError::BigBulkCount)? else {
            return Ok(false);
        };
        let line = start + self.offset;
        if text[line] != b'$' {
            return Err(ProtocolError::Unexpected(text[line]));
        }
        if text[end + 1] != b'\n' {
            return Err(ProtocolError::LineEnd);
        }
        let len = parse_i64(&text[line + 1..end])
            .and_then(|len| u64::try_from(len).ok())
            .filter(|&len| len <= limits.bulk_len_max.min(BULK_BYTES_MAX))
            .ok_or(ProtocolError::BulkLength)?;
        if len > UNAUTHENTICATED_BULK_MAX && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        self.offset = end + 2 - start;
        self.searched = 0;
        self.state = State::Body(len as usize);
        Ok(true)
    }

    /// Takes the next argument, of `len` bytes. Returns false if it is incomplete.
    fn body(
        &mut self,
        text: &mut Vec<u8>,
        start: usize,
        len: usize,
        large: &mut Vec<BytesMut>,
    ) -> Result<bool, ProtocolError> {
        let at = start + self.offset;
        let arrived = text.len() - at;
        if arrived >= len + 2 {
            line_end_check(text, at + len)?;
            self.word_done(Span::text(self.offset, len), len + 2);
            return Ok(true);
        }
        if len < LARGE_WORD_BYTES {
            return Ok(false);
        }
        large.push(BytesMut::with_capacity(len.min(RESERVE_BYTES_MAX)));
        self.state = State::Large(len);
        let taken = self.fill(large, &text[at..]);
        // If the argument itself is complete, at most a `\r` is left.
        debug_assert!(arrived - taken <= 1);
        text.drain(at..at + taken);
        Ok(!self.is_filling())
    }

    /// Checks the line end after a large argument. Returns false if it is incomplete.
    fn tail(
        &mut self,
        text: &[u8],
        start: usize,
        len: usize,
        large: &[BytesMut],
    ) -> Result<bool, ProtocolError> {
        let at = start + self.offset;
        if text.len() < at + 2 {
            return Ok(false);
        }
        line_end_check(text, at)?;
        debug_assert_eq!(large.last().map(BytesMut::len), Some(len));
        self.word_done(Span::large(self.large_args, len), 2);
        self.large_args += 1;
        Ok(true)
    }

    /// Records an argument, which ends `bytes` after the offset.
    fn word_done(&mut self, word: Span, bytes: usize) {
        self.spans.push(word);
        self.offset += bytes;
        self.words_left -= 1;
        self.state = State::Header;
    }

    /// Parses an inline command. Returns none if the line is incomplete.
    fn line(
        &mut self,
        text: &mut [u8],
        start: usize,
        spans: &mut Vec<Span>,
    ) -> Result<Option<Parsed>, ProtocolError> {
        // A NUL byte ends the search, as in the reference server. The parser then waits for more
        // bytes.
        let found = memchr2(b'\n', 0, &text[start + self.searched..]);
        let Some(end) = found.map(|at| start + self.searched + at).filter(|&at| text[at] == b'\n')
        else {
            self.searched = found.map_or(text.len() - start, |at| self.searched + at);
            let over = text.len() - start > LINE_BYTES_MAX;
            return if over { Err(ProtocolError::BigInline) } else { Ok(None) };
        };
        if end - start > LINE_BYTES_MAX {
            return Err(ProtocolError::BigInline);
        }
        let line_end = if end > start && text[end - 1] == b'\r' { end - 1 } else { end };
        let first = spans.len();
        if !inline::split(text, start..line_end, spans) {
            spans.truncate(first);
            return Err(ProtocolError::UnbalancedQuotes);
        }
        self.searched = 0;
        Ok(Some(Parsed { argc: spans.len() - first, end: end + 1 }))
    }
}

/// Fails unless CR LF is at `at`.
#[inline]
fn line_end_check(text: &[u8], at: usize) -> Result<(), ProtocolError> {
    if text[at..].starts_with(b"\r\n") { Ok(()) } else { Err(ProtocolError::LineEnd) }
}

/// Appends to a large argument whose final length is `len`. The final capacity is exactly `len`.
/// Meanwhile it is at most four times the received bytes, or [`RESERVE_BYTES_MAX`] if that is more.
fn large_extend(word: &mut BytesMut, len: usize, bytes: &[u8]) {
    let needed = word.len() + bytes.len();
    assert!(needed <= len, "a word takes no more than its own bytes");
    if needed > word.capacity() {
        resize_capacity(word, len.min(needed.saturating_mul(4)));
    }
    word.extend_from_slice(bytes);
}

/// Gives a buffer the capacity of exactly `capacity` bytes, which are at least its length. The
/// allocator moves the bytes of a huge buffer without a copy.
pub fn resize_capacity(buffer: &mut BytesMut, capacity: usize) {
    let mut bytes = Vec::from(std::mem::take(buffer));
    bytes.shrink_to(capacity);
    bytes.reserve_exact(capacity - bytes.len());
    *buffer = BytesMut::from(Bytes::from(bytes));
}

/// Parses an ordinary command that is completely in the text. Returns none in all other cases, and
/// may leave incomplete results in `spans`.
#[inline]
fn quick(text: &[u8], start: usize, limits: &Limits, spans: &mut Vec<Span>) -> Option<Parsed> {
    let text = &text[..text.len().min(TEXT_BYTES_MAX)];
    let (argc, mut rest) = quick_length(text.get(start..)?, b'*')?;
    let (argc_max, len_max) = match limits.authenticated {
        true => (usize::MAX, limits.bulk_len_max),
        false => (UNAUTHENTICATED_WORDS_MAX as usize, UNAUTHENTICATED_BULK_MAX),
    };
    let len_max = len_max.min(limits.bulk_len_max) as usize;
    if argc > argc_max {
        return None;
    }
    for _ in 0..argc {
        let (len, body) = quick_length(rest, b'$')?;
        let (_, tail) = body.split_at_checked(len)?;
        let (end, next) = tail.split_first_chunk::<2>()?;
        if len > len_max || *end != *b"\r\n" {
            return None;
        }
        spans.push(Span::text_near(text.len() - body.len(), len));
        rest = next;
    }
    Some(Parsed { argc, end: text.len() - rest.len() })
}

/// The number in the first line of `text`, of at most 9 digits, and what follows the line.
///
/// ```text
///   eight bytes as one little-endian number:  . . . . LF CR d lead   or   . . . LF CR d d lead
/// ```
#[inline(always)]
fn quick_length(text: &[u8], lead: u8) -> Option<(usize, &[u8])> {
    const LINE_END: u64 = 0x0a0d;
    let Some(head) = text.first_chunk::<8>() else { return quick_length_long(text, lead) };
    let head = u64::from_le_bytes(*head);
    let first = ((head >> 8) as u8).wrapping_sub(b'0') as usize;
    if head & 0xffff_00ff == LINE_END << 16 | u64::from(lead) && first <= 9 {
        return Some((first, &text[4..]));
    }
    let second = ((head >> 16) as u8).wrapping_sub(b'0') as usize;
    let two_digits = first.wrapping_sub(1) < 9 && second <= 9;
    if head & 0xff_ff00_00ff == LINE_END << 24 | u64::from(lead) && two_digits {
        return Some((first * 10 + second, &text[5..]));
    }
    quick_length_long(text, lead)
}

/// The number in a line of any number of digits, at the end of the text too.
#[inline(never)]
fn quick_length_long(text: &[u8], lead: u8) -> Option<(usize, &[u8])> {
    let digits = text.strip_prefix(&[lead])?;
    let count = digits.iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
    let leading_zero = count > 1 && digits[0] == b'0';
    if !(1..=9).contains(&count) || leading_zero {
        return None;
    }
    let (digits, end) = digits.split_at(count);
    let value = |value, byte: &u8| value * 10 + usize::from(byte - b'0');
    Some((digits.iter().fold(0, value), end.strip_prefix(b"\r\n")?))
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
