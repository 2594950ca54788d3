//! `cjson.decode`

use super::number::read_number;
use super::{JsonOptions, options};
use crate::script::machine::{Raise, Stack};

/// A piece of JSON.
#[derive(Debug)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    /// The bytes are in the parser's buffer.
    String,
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Fault(&'static str),
}

impl Token {
    /// Returns what an error message calls it.
    fn name(&self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::String => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Fault(text) => text,
        }
    }
}

/// A table that is being filled. It is on the stack; above an object is the next value's key.
enum Level {
    Array { at: i32 },
    Object,
}

/// Why a text cannot be decoded.
type Fault = Vec<u8>;

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    /// Where the last token begins.
    index: usize,
    /// The last string.
    buffer: Vec<u8>,
    options: JsonOptions,
    levels: Vec<Level>,
}

/// The only argument is the text.
pub fn decode(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    if stack.top() != 1 {
        return Err(stack.raise_argument(1, b"expected 1 argument"));
    }
    let text = stack.string_argument(1)?.to_vec();
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err(stack.raise(b"JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut parser = Parser {
        text: &text,
        at: 0,
        index: 0,
        buffer: Vec::new(),
        options: options(stack),
        levels: Vec::new(),
    };
    match parser.document(stack) {
        Ok(()) => Ok(1),
        Err(text) => Err(stack.raise(&text)),
    }
}

impl Parser<'_> {
    /// Pushes the value of the whole text.
    fn document(&mut self, stack: &mut Stack<'_>) -> Result<(), Fault> {
        let mut next = Some(self.next());
        while let Some(token) = next {
            next = self.value(stack, &token)?;
        }
        match self.next() {
            Token::End => Ok(()),
            token => Err(self.expected("the end", &token)),
        }
    }

    fn expected(&self, what: &str, found: &Token) -> Fault {
        let (name, place) = (found.name(), self.index + 1);
        format!("Expected {what} but found {name} at character {place}").into_bytes()
    }

    /// Takes a value that begins with `token`. Returns the token that begins the next value; none
    /// if the text has no more.
    fn value(&mut self, stack: &mut Stack<'_>, token: &Token) -> Result<Option<Token>, Fault> {
        if stack.check_memory().is_err() {
            return Err(b"not enough memory".to_vec());
        }
        match token {
            Token::String => stack.push_bytes(&self.buffer),
            Token::Number(number) => stack.push_number(*number),
            Token::Boolean(value) => stack.push_boolean(*value),
            Token::Null => stack.push_null_pointer(),
            Token::ObjectBegin => {
                self.descend(stack, 3)?;
                stack.push_table(0, 0);
                let first = self.next();
                if !matches!(first, Token::ObjectEnd) {
                    self.levels.push(Level::Object);
                    return self.field(stack, &first).map(Some);
                }
            }
            Token::ArrayBegin => {
                self.descend(stack, 2)?;
                stack.push_table(0, 0);
                let first = self.next();
                if !matches!(first, Token::ArrayEnd) {
                    self.levels.push(Level::Array { at: 1 });
                    return Ok(Some(first));
                }
            }
            _ => return Err(self.expected("value", token)),
        }
        self.complete(stack)
    }

    /// Stores the topmost value in its table, and tables that are complete in theirs. Returns the
    /// token that begins the next value; none if the text has no more.
    fn complete(&mut self, stack: &mut Stack<'_>) -> Result<Option<Token>, Fault> {
        loop {
            let is_array = match self.levels.last_mut() {
                None => return Ok(None),
                Some(Level::Array { at }) => {
                    stack.raw_set_at(-2, *at);
                    *at += 1;
                    true
                }
                Some(Level::Object) => {
                    stack.raw_set(-3);
                    false
                }
            };
            match (self.next(), is_array) {
                (Token::ArrayEnd, true) | (Token::ObjectEnd, false) => {
                    self.levels.pop();
                }
                (Token::Comma, true) => return Ok(Some(self.next())),
                (Token::Comma, false) => {
                    let key = self.next();
                    return self.field(stack, &key).map(Some);
                }
                (token, true) => return Err(self.expected("comma or array end", &token)),
                (token, false) => return Err(self.expected("comma or object end", &token)),
            }
        }
    }

    /// Pushes an object's key, and takes the colon behind it. Returns the token that begins the
    /// value.
    fn field(&mut self, stack: &mut Stack<'_>, token: &Token) -> Result<Token, Fault> {
        if !matches!(token, Token::String) {
            return Err(self.expected("object key string", token));
        }
        stack.push_bytes(&self.buffer);
        match self.next() {
            Token::Colon => Ok(self.next()),
            token => Err(self.expected("colon", &token)),
        }
    }

    /// Makes sure that one more level is allowed, which needs `slots` on the stack.
    fn descend(&mut self, stack: &mut Stack<'_>, slots: i32) -> Result<(), Fault> {
        let depth = self.levels.len() as i64 + 1;
        if depth <= self.options.decode_depth.into() && stack.reserve(slots) {
            return Ok(());
        }
        let place = self.at;
        let text = format!("Found too many nested data structures ({depth}) at character {place}");
        Err(text.into_bytes())
    }

    /// Returns the byte at an index; 0 past the end.
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    /// Reads the next token. The position stays at a fault and at the end.
    fn next(&mut self) -> Token {
        while matches!(self.byte(self.at), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.index = self.at;
        let single = match self.byte(self.at) {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b',' => Token::Comma,
            b':' => Token::Colon,
            0 => return Token::End,
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' => {
                if !self.options.decode_invalid && self.is_invalid_number() {
                    return Token::Fault("invalid number");
                }
                return self.number();
            }
            b'f' | b'i' | b'I' | b'n' | b'N' | b't' | b'+' => return self.word(),
            _ => return Token::Fault("invalid token"),
        };
        self.at += 1;
        single
    }

    fn word(&mut self) -> Token {
        let rest = &self.text[self.at..];
        let words: [(&[u8], Token); 3] = [
            (b"true", Token::Boolean(true)),
            (b"false", Token::Boolean(false)),
            (b"null", Token::Null),
        ];
        for (word, token) in words {
            if rest.starts_with(word) {
                self.at += word.len();
                return token;
            }
        }
        if self.options.decode_invalid && self.is_invalid_number() {
            return self.number();
        }
        Token::Fault("invalid token")
    }

    fn number(&mut self) -> Token {
        let (number, len) = read_number(&self.text[self.at..]);
        if len == 0 {
            return Token::Fault("invalid number");
        }
        self.at += len;
        Token::Number(number)
    }

    /// Returns whether a number is one that C reads and JSON forbids.
    fn is_invalid_number(&self) -> bool {
        let mut at = self.at;
        if self.byte(at) == b'+' {
            return true;
        }
        if self.byte(at) == b'-' {
            at += 1;
        }
        match self.byte(at) {
            b'0' => matches!(self.byte(at + 1), b'x' | b'X' | b'0'..=b'9'),
            0..=b'9' => false,
            _ => {
                let word = self.text.get(at..at + 3).unwrap_or_default();
                word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan")
            }
        }
    }

    /// Reads a string into the buffer.
    fn string(&mut self) -> Token {
        self.at += 1;
        self.buffer.clear();
        loop {
            match self.byte(self.at) {
                b'"' => {
                    self.at += 1;
                    return Token::String;
                }
                0 => return self.fault("unexpected end of string"),
                b'\\' => {
                    let escaped = self.byte(self.at + 1);
                    if escaped == b'u' {
                        match self.unicode() {
                            Some(()) => continue,
                            None => return self.fault("invalid unicode escape code"),
                        }
                    }
                    let byte = match escaped {
                        b'"' | b'\\' | b'/' => escaped,
                        b'b' => 8,
                        b't' => b'\t',
                        b'n' => b'\n',
                        b'f' => 12,
                        b'r' => b'\r',
                        _ => return self.fault("invalid escape code"),
                    };
                    self.buffer.push(byte);
                    self.at += 2;
                }
                byte => {
                    self.buffer.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    /// Returns a fault inside of a string, at the current position.
    fn fault(&mut self, text: &'static str) -> Token {
        self.index = self.at;
        Token::Fault(text)
    }

    /// Reads four hexadecimal digits.
    fn hex(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 4)?;
        digits.iter().try_fold(0, |sum, &byte| Some(sum << 4 | (byte as char).to_digit(16)?))
    }

    /// Reads `\u1234`, or two of them that form one character.
    fn unicode(&mut self) -> Option<()> {
        let mut point = self.hex(self.at + 2)?;
        let mut len = 6;
        if point & 0xf800 == 0xd800 {
            let is_next = self.byte(self.at + 6) == b'\\' && self.byte(self.at + 7) == b'u';
            if point & 0x400 != 0 || !is_next {
                return None;
            }
            let low = self.hex(self.at + 8).filter(|low| low & 0xfc00 == 0xdc00)?;
            point = 0x10000 + ((point & 0x3ff) << 10 | low & 0x3ff);
            len = 12;
        }
        let mut utf8 = [0; 4];
        let utf8 = char::from_u32(point)?.encode_utf8(&mut utf8);
        self.buffer.extend_from_slice(utf8.as_bytes());
        self.at += len;
        Some(())
    }
}
