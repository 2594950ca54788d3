//! Input of a connection: received bytes, which are cut into commands. Hot.
//!
//! ```text
//!   text:   | discarded | returned by next | next command, perhaps incomplete ... |
//!           0           consumed           position                          text.len()
//!   large:  | args of returned commands    | args of the next command            |
//!           0                              large_returned
//! ```
//!
//! [`Input::consume`] discards returned commands. The free space at the front is reclaimed when it
//! is larger than the rest. So a byte moves at most once per discarded byte.

use crate::resp::{Limits, Parsed, Parser, ProtocolError, Span, resize_capacity};
use bytes::BytesMut;

/// The most text memory in bytes that a connection keeps between two turns, when everything is
/// parsed.
pub const KEPT_TEXT_BYTES_MAX: usize = 16 * 1024;

/// The most text memory in bytes that a connection keeps while a large argument arrives, unless the
/// text itself is longer.
const FILLING_TEXT_BYTES_MAX: usize = 4 * 1024;

/// The most text memory in bytes of a connection that received nothing since the last
/// [`Input::shrink`].
pub const IDLE_TEXT_BYTES_MAX: usize = 256;

/// A complete command: its arguments among the spans, and its location in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Index of the first argument in the spans that were passed to [`Input::next`].
    pub first: u32,
    /// Number of arguments, at least one.
    pub argc: u32,
    /// Start offset in the text.
    pub begin: u32,
    /// End offset in the text.
    pub end: u32,
    /// Number of large arguments of the commands returned before.
    pub large_first: u32,
}

impl Request {
    /// Returns the command's arguments among the spans.
    #[inline]
    pub fn words<'a>(&self, spans: &'a [Span]) -> &'a [Span] {
        &spans[self.first as usize..][..self.argc as usize]
    }
}

/// A command that was taken back and will be returned again.
#[derive(Debug)]
struct Rewound {
    /// Arguments, relative to the start and the first large argument of the command.
    spans: Vec<Span>,
    /// Length in the text with the empty commands behind it, in bytes.
    len: usize,
    /// Number of large arguments.
    large_args: usize,
}

/// The received bytes of a connection that are not executed yet.
#[derive(Debug, Default)]
pub struct Input {
    text: Vec<u8>,
    consumed: usize,
    position: usize,
    large: Vec<BytesMut>,
    large_returned: usize,
    parser: Parser,
    /// Commands that were taken back, the next one last. Empty in most inputs.
    rewound: Vec<Rewound>,
    /// Whether bytes arrived since the last `shrink`.
    touched: bool,
}

impl Input {
    /// Appends received bytes. Bytes of a large argument go directly to its buffer.
    #[inline]
    pub fn receive(&mut self, mut bytes: &[u8]) {
        self.touched = true;
        if self.parser.is_filling() {
            let taken = self.parser.fill(&mut self.large, bytes);
            bytes = &bytes[taken..];
        }
        self.text.extend_from_slice(bytes);
    }

    /// Returns the next complete command, and appends its arguments to `spans`. The spans refer to
    /// [`Input::parts`]. Skips empty commands. Returns none if more bytes are needed. An error is
    /// final: all further calls return it again.
    ///
    /// The spans are valid until the next [`Input::consume`], which must follow each series of
    /// calls. All commands between two calls of `consume` share [`crate::resp::TEXT_BYTES_MAX`]
    /// bytes of text.
    #[inline]
    pub fn next(
        &mut self,
        limits: &Limits,
        spans: &mut Vec<Span>,
    ) -> Result<Option<Request>, ProtocolError> {
        if !self.rewound.is_empty() {
            return Ok(Some(self.replay(spans)));
        }
        loop {
            let first = spans.len();
            let (text, large) = (&mut self.text, &mut self.large);
            let parsed = self.parser.command(text, self.position, large, limits, spans)?;
            let Some(Parsed { argc, end }) = parsed else { return Ok(None) };
            let begin = std::mem::replace(&mut self.position, end);
            if argc > 0 {
                return Ok(Some(self.returned(first, argc, begin)));
            }
        }
    }

    /// Takes back the command that `next` returned last, and removes its arguments from `spans`.
    /// The following `next` returns the command again. Further calls take back earlier commands, as
    /// long as `consume` has not discarded them.
    pub fn rewind(&mut self, request: &Request, spans: &mut Vec<Span>) {
        let begin = request.begin as usize;
        let large_first = request.large_first as usize;
        assert!(begin >= self.consumed, "it was not discarded");
        assert!(self.position >= request.end as usize, "it is the last one returned");
        assert_eq!(spans.len(), (request.first + request.argc) as usize);
        let words = spans.drain(request.first as usize..);
        self.rewound.push(Rewound {
            spans: words.map(|span| span.relative(begin, large_first)).collect(),
            len: self.position - begin,
            large_args: self.large_returned - large_first,
        });
        self.position = begin;
        self.large_returned = large_first;
    }

    /// Returns the text and the large arguments that the spans refer to.
    #[inline]
    pub fn parts(&mut self) -> (&[u8], &mut [BytesMut]) {
        (&self.text, &mut self.large)
    }

    /// Takes the text and the large arguments of all commands returned so far, whose spans stay
    /// valid for what is taken. The input then continues as after [`Input::consume`].
    pub fn take_returned(&mut self) -> (Vec<u8>, Vec<BytesMut>) {
        let rest = self.text.split_off(self.position);
        let text = std::mem::replace(&mut self.text, rest);
        (self.consumed, self.position) = (0, 0);
        let large = self.large.drain(..self.large_returned).collect();
        self.large_returned = 0;
        (text, large)
    }

    /// Discards all commands returned so far, and invalidates their spans.
    #[inline]
    pub fn consume(&mut self) {
        if self.large_returned > 0 {
            self.large.drain(..self.large_returned);
            self.large_returned = 0;
        }
        self.consumed = self.position;
        let rest = self.text.len() - self.position;
        if rest == 0 {
            self.text.clear();
            self.consumed = 0;
            self.position = 0;
            if self.text.capacity() > KEPT_TEXT_BYTES_MAX {
                self.text = Vec::new();
            }
            return;
        }
        if rest < self.consumed {
            self.text.drain(..self.consumed);
            self.consumed = 0;
            self.position = 0;
            self.text.shrink_to(KEPT_TEXT_BYTES_MAX.max(2 * rest));
        }
        if self.parser.ends_with_large() && self.text.capacity() > FILLING_TEXT_BYTES_MAX {
            // Further bytes go directly to the argument's buffer.
            self.text.shrink_to(rest);
        }
    }

    /// Returns the bytes already received of an incomplete command that ends in a large argument,
    /// without this argument. Returns 0 in all other cases.
    pub fn args_bytes(&self) -> usize {
        match self.parser.ends_with_large() {
            true => self.pending_bytes() - self.large.last().map_or(0, BytesMut::len),
            false => 0,
        }
    }

    /// Returns whether at least `bytes` bytes of text or any large argument are pending. Must be
    /// called before the returned commands are consumed.
    #[inline]
    pub fn may_hold(&self, bytes: usize) -> bool {
        self.text.len() - self.consumed >= bytes || !self.large.is_empty()
    }

    /// Returns the number of pending bytes: received, and not part of a discarded command.
    pub fn pending_bytes(&self) -> usize {
        let large: usize = self.large.iter().map(BytesMut::len).sum();
        self.text.len() - self.consumed + large
    }

    /// Returns the pending text, including malformed bytes.
    pub fn pending_text(&self) -> &[u8] {
        &self.text[self.consumed..]
    }

    /// Returns whether nothing is pending, not even a part of a command.
    pub fn is_empty(&self) -> bool {
        self.text.len() == self.consumed && self.large.is_empty()
    }

    /// Returns the bytes of heap memory.
    pub fn memory_bytes(&self) -> usize {
        let large: usize = self.large.iter().map(BytesMut::capacity).sum();
        let spans: usize = self.rewound.iter().map(|rewound| rewound.spans.capacity()).sum();
        let rewound = self.rewound.capacity() * size_of::<Rewound>() + spans * size_of::<Span>();
        self.text.capacity()
            + self.large.capacity() * size_of::<BytesMut>()
            + large
            + self.parser.memory_bytes()
            + rewound
    }

    /// Releases memory that an idle connection does not need. Call it periodically. A connection
    /// that received bytes since the last call keeps its memory.
    pub fn shrink(&mut self) {
        if std::mem::take(&mut self.touched) {
            return;
        }
        if self.text.is_empty() && self.text.capacity() > IDLE_TEXT_BYTES_MAX {
            self.text = Vec::new();
        }
        if self.large.is_empty() {
            self.large = Vec::new();
        } else if self.parser.is_filling()
            && let Some(word) = self.large.last_mut()
            && word.capacity() > word.len()
        {
            // The buffer was reserved for bytes that have not arrived.
            resize_capacity(word, word.len());
        }
        self.parser.shrink();
    }

    /// Returns the record of a command that ends at the current position.
    #[inline]
    fn returned(&mut self, first: usize, argc: usize, begin: usize) -> Request {
        let large_first = self.large_returned;
        self.large_returned = self.large.len();
        assert!(self.position <= u32::MAX as usize, "TEXT_BYTES_MAX and one word fit");
        Request {
            first: first as u32,
            argc: argc as u32,
            begin: begin as u32,
            end: self.position as u32,
            large_first: large_first as u32,
        }
    }

    /// Returns the command that was taken back.
    #[cold]
    fn replay(&mut self, spans: &mut Vec<Span>) -> Request {
        let rewound = self.rewound.pop().expect("a command was taken back");
        if self.rewound.is_empty() {
            self.rewound = Vec::new();
        }
        let (first, begin, large_first) = (spans.len(), self.position, self.large_returned);
        spans.extend(rewound.spans.iter().map(|span| span.moved(begin, large_first)));
        self.position += rewound.len;
        self.large_returned += rewound.large_args;
        Request {
            first: first as u32,
            argc: rewound.spans.len() as u32,
            begin: begin as u32,
            end: self.position as u32,
            large_first: large_first as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Args, LARGE_WORD_BYTES};

    const LIMITS: Limits = Limits { bulk_len_max: 512 << 20, authenticated: true };

    fn request(words: &[&[u8]]) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }

    fn words(input: &mut Input, request: &Request, spans: &[Span]) -> Vec<Vec<u8>> {
        let (text, large) = input.parts();
        let args = Args::new(text, request.words(spans), large);
        args.iter_from(0).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn a_pipeline_is_cut_and_forgotten() {
        let mut input = Input::default();
        let mut spans = Vec::new();
        for _ in 0..3 {
            input.receive(&request(&[b"GET", b"a"]).repeat(16));
            input.receive(b"*1\r\n$4\r\nPI");
            for _ in 0..16 {
                let get = input.next(&LIMITS, &mut spans).unwrap().unwrap();
                assert_eq!(words(&mut input, &get, &spans), [&b"GET"[..], b"a"]);
            }
            assert_eq!(input.next(&LIMITS, &mut spans), Ok(None));
            input.consume();
            spans.clear();
            assert_eq!(input.pending_bytes(), 10);
            input.receive(b"NG\r\n");
            let ping = input.next(&LIMITS, &mut spans).unwrap().unwrap();
            assert_eq!(words(&mut input, &ping, &spans), [b"PING"]);
            input.consume();
            spans.clear();
            assert!(input.is_empty());
        }
    }

    #[test]
    fn rewound_commands_come_again() {
        let big = vec![b'v'; 2 * LARGE_WORD_BYTES];
        let mut input = Input::default();
        let mut spans = Vec::new();
        let set = request(&[b"SET", b"k", &big]);
        input.receive(&[b"echo \"a\\nb\" c\r\n", &set[..100]].concat());
        let echo = input.next(&LIMITS, &mut spans).unwrap().unwrap();
        assert_eq!(input.next(&LIMITS, &mut spans), Ok(None));
        input.rewind(&echo, &mut spans);
        assert!(spans.is_empty());
        input.consume();
        input.receive(&set[100..]);
        let again = input.next(&LIMITS, &mut spans).unwrap().unwrap();
        assert_eq!(words(&mut input, &again, &spans), [&b"echo"[..], b"a\nb", b"c"]);
        let first = input.next(&LIMITS, &mut spans).unwrap().unwrap();
        input.rewind(&first, &mut spans);
        input.consume();
        spans.clear();
        for _ in 0..2 {
            let set_again = input.next(&LIMITS, &mut spans).unwrap().unwrap();
            assert_eq!(words(&mut input, &set_again, &spans), [&b"SET"[..], b"k", &big]);
            input.receive(&set[..50_000]);
            assert_eq!(input.next(&LIMITS, &mut spans), Ok(None));
            input.receive(&set[50_000..]);
        }
        assert!(input.next(&LIMITS, &mut spans).unwrap().is_some());
        let (text, large) = input.parts();
        assert_eq!(large.len(), 3);
        assert!(text.len() < 200, "large words are not in the text");
        input.consume();
        assert!(input.is_empty() && input.parts().1.is_empty());
    }

    #[test]
    fn a_batch_is_taken_back_and_comes_again() {
        let big = vec![b'v'; 2 * LARGE_WORD_BYTES];
        let mut input = Input::default();
        let mut spans = Vec::new();
        input.receive(b"PING\r\n");
        input.next(&LIMITS, &mut spans).unwrap().unwrap();
        input.consume();
        spans.clear();
        input.receive(b"get a\r\n\r\n");
        input.receive(&request(&[b"SET", b"k", &big]));
        input.receive(b"get b\r\n\r\nget c\r\n");
        for rounds in 0..3 {
            let mut batch = Vec::new();
            while let Some(request) = input.next(&LIMITS, &mut spans).unwrap() {
                batch.push(request);
            }
            assert_eq!(batch.len(), 4);
            assert_eq!(words(&mut input, &batch[1], &spans), [&b"SET"[..], b"k", &big]);
            assert_eq!(words(&mut input, &batch[3], &spans), [&b"get"[..], b"c"]);
            if rounds < 2 {
                batch.iter().rev().for_each(|request| input.rewind(request, &mut spans));
                assert!(spans.is_empty());
            }
        }
        input.consume();
        assert!(input.is_empty() && input.parts().1.is_empty());
    }

    #[test]
    fn errors_stay() {
        let mut input = Input::default();
        let mut spans = Vec::new();
        input.receive(b"PING\r\n*1\r\nx\r\n");
        assert!(input.next(&LIMITS, &mut spans).unwrap().is_some());
        for _ in 0..2 {
            assert_eq!(input.next(&LIMITS, &mut spans), Err(ProtocolError::Unexpected(b'x')));
        }
    }

    #[test]
    fn idle_inputs_are_small() {
        let mut input = Input::default();
        let mut spans = Vec::new();
        input.receive(&request(&[b"SET", b"k", &[b'v'; 20_000]]).repeat(20));
        while input.next(&LIMITS, &mut spans).unwrap().is_some() {}
        input.consume();
        assert!(input.memory_bytes() <= KEPT_TEXT_BYTES_MAX);
        input.receive(&request(&[b"SET", b"k", &[b'v'; 2_000]]));
        spans.clear();
        assert!(input.next(&LIMITS, &mut spans).unwrap().is_some());
        input.consume();
        input.shrink();
        assert!(input.memory_bytes() > IDLE_TEXT_BYTES_MAX, "it was active");
        input.shrink();
        assert!(input.memory_bytes() <= IDLE_TEXT_BYTES_MAX);
    }

    #[test]
    fn a_large_word_is_held_once() {
        let mut input = Input::default();
        let mut spans = Vec::new();
        let set = request(&[b"SET", b"k", &vec![b'v'; 1_000_000]]);
        for piece in set[..set.len() - 2].chunks(10_000) {
            input.receive(piece);
        }
        assert_eq!(input.next(&LIMITS, &mut spans), Ok(None));
        input.consume();
        assert!(input.memory_bytes() < 1_010_000, "{}", input.memory_bytes());
        assert_eq!(input.args_bytes(), set.len() - 2 - 1_000_000);
    }

    #[test]
    fn room_for_a_word_that_does_not_come_is_given_back() {
        let mut input = Input::default();
        let mut spans = Vec::new();
        let word = vec![b'v'; 1_000_000];
        let set = request(&[b"SET", b"k", &word]);
        input.receive(&set[..100]);
        assert_eq!(input.next(&LIMITS, &mut spans), Ok(None));
        assert!(input.memory_bytes() >= 1_000_000);
        input.shrink();
        input.shrink();
        assert!(input.memory_bytes() < 1_000);
        input.receive(&set[100..]);
        let set = input.next(&LIMITS, &mut spans).unwrap().unwrap();
        assert_eq!(words(&mut input, &set, &spans), [&b"SET"[..], b"k", &word]);
    }

    #[test]
    fn a_word_a_piece_costs_no_more() {
        let mut input = Input::default();
        let mut spans = Vec::new();
        let count = 200_000;
        input.receive(format!("*{count}\r\n").as_bytes());
        for _ in 0..count {
            assert_eq!(input.next(&LIMITS, &mut spans), Ok(None));
            input.consume();
            input.receive(b"$1\r\nx\r\n");
        }
        let mset = input.next(&LIMITS, &mut spans).unwrap().unwrap();
        assert_eq!(mset.argc, count);
    }
}
