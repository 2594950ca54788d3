//! A command's reply as a Lua value.
//!
//! ```text
//!   :1                 1                     $-1, *-1   false
//!   $1 a               "a"                   _          nil
//!   +OK                {ok = "OK"}           #t         true
//!   -ERR no            {err = "ERR no"}      ,1.5       {double = 1.5}
//!   *2 ...             {..., ...}            (12        {big_number = "12"}
//!   %1 ...             {map = {...}}         =txt:a     {verbatim_string = {format = "txt", ...}}
//!   ~1 ...             {set = {... = true}}         |1 ... attribute: skipped
//! ```

use super::machine::{Raise, Stack};
use crate::base::number::{parse_f64, parse_i64};
use memchr::memchr;

/// The deepest nesting of a command's reply.
const DEPTH_MAX: usize = 64;

/// A reply that is being read.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads a line: its type byte and its text.
    #[inline]
    fn line(&mut self) -> Option<(u8, &'a [u8])> {
        let (&kind, rest) = self.bytes.get(self.at..)?.split_first()?;
        let end = memchr(b'\r', rest)?;
        self.at += end + 3;
        Some((kind, &rest[..end]))
    }

    /// Reads the bytes of a string; none for a null.
    #[inline]
    fn string(&mut self, len: &[u8]) -> Option<&'a [u8]> {
        let len = usize::try_from(parse_i64(len)?).ok()?;
        let text = self.bytes.get(self.at..self.at + len)?;
        self.at += len + 2;
        Some(text)
    }
}

/// Returns the text of an error as scripts see it. A text without a blank has no error code.
pub fn error_text(text: &[u8]) -> Vec<u8> {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    match text.iter().position(|&byte| byte == b' ') {
        None => [b"ERR ", text].concat(),
        Some(blank) => {
            let rest = &text[blank + 1..];
            let start = rest.iter().position(|byte| !is_end(byte)).unwrap_or(rest.len());
            let end = rest.iter().rposition(|byte| !is_end(byte)).map_or(start, |last| last + 1);
            [&text[..=blank], &rest[start..end]].concat()
        }
    }
}

/// Pushes an error as a table. `is_counted`: a command has counted it already.
pub fn push_error(stack: &mut Stack<'_>, text: &[u8], is_counted: bool) {
    stack.push_table(0, 4);
    stack.push_bytes(text);
    stack.raw_set_name(-2, "err");
    if is_counted {
        stack.push_boolean(true);
        stack.raw_set_name(-2, "ignore_error_stats_update");
    }
}

/// Pushes a table with one field, whose value `push` pushes.
fn push_field(stack: &mut Stack<'_>, name: &str, push: impl FnOnce(&mut Stack<'_>)) {
    stack.push_table(0, 1);
    push(stack);
    stack.raw_set_name(-2, name);
}

/// Pushes the reply as a Lua value. Returns whether it is an error.
#[inline]
pub fn push_reply(stack: &mut Stack<'_>, bytes: &[u8]) -> Result<bool, Raise> {
    let is_error = bytes.first() == Some(&b'-');
    let mut reader = Reader { bytes, at: 0 };
    push_value(stack, &mut reader, 0)?;
    Ok(is_error)
}

fn push_value(stack: &mut Stack<'_>, reader: &mut Reader<'_>, depth: usize) -> Result<(), Raise> {
    if depth > DEPTH_MAX || !stack.reserve(6) {
        return Err(stack.raise(b"reply is nested too deeply"));
    }
    let Some((kind, text)) = reader.line() else {
        return Err(stack.raise(b"invalid reply of a command"));
    };
    match kind {
        b':' => stack.push_number(parse_i64(text).unwrap_or_default() as f64),
        b'$' => match reader.string(text) {
            Some(text) => stack.push_bytes(text),
            None => stack.push_boolean(false),
        },
        b'*' if text.starts_with(b"-") => stack.push_boolean(false),
        b'*' | b'>' => push_array(stack, reader, text, depth)?,
        b'%' => push_entries(stack, reader, (text, "map"), depth)?,
        b'~' => push_entries(stack, reader, (text, "set"), depth)?,
        b'+' => push_field(stack, "ok", |stack| stack.push_bytes(text)),
        b'-' => push_error(stack, &error_text(text), true),
        b'#' => stack.push_boolean(text == b"t"),
        b',' => push_field(stack, "double", |stack| {
            stack.push_number(parse_f64(text).unwrap_or(f64::NAN));
        }),
        b'(' => push_field(stack, "big_number", |stack| stack.push_bytes(text)),
        b'=' => push_verbatim(stack, reader.string(text).unwrap_or_default()),
        b'|' => return push_attributed(stack, reader, text, depth),
        _ => stack.push_nil(),
    }
    Ok(())
}

/// Pushes the value behind an attribute, which scripts do not see.
fn push_attributed(
    stack: &mut Stack<'_>,
    reader: &mut Reader<'_>,
    len: &[u8],
    depth: usize,
) -> Result<(), Raise> {
    for _ in 0..2 * i64::from(len_of(len)) {
        push_value(stack, reader, depth + 1)?;
        stack.pop(1);
    }
    push_value(stack, reader, depth + 1)
}

fn push_verbatim(stack: &mut Stack<'_>, text: &[u8]) {
    let (format, text) = text.split_at_checked(4).unwrap_or((b"txt:", text));
    push_field(stack, "verbatim_string", |stack| {
        stack.push_table(0, 2);
        stack.push_bytes(text);
        stack.raw_set_name(-2, "string");
        stack.push_bytes(&format[..3]);
        stack.raw_set_name(-2, "format");
    });
}

fn len_of(text: &[u8]) -> i32 {
    parse_i64(text).and_then(|len| i32::try_from(len).ok()).unwrap_or(0)
}

fn push_array(
    stack: &mut Stack<'_>,
    reader: &mut Reader<'_>,
    len: &[u8],
    depth: usize,
) -> Result<(), Raise> {
    let len = len_of(len);
    stack.push_table(len.max(0) as usize, 0);
    for at in 1..=len {
        push_value(stack, reader, depth + 1)?;
        stack.raw_set_at(-2, at);
        stack.check_memory()?;
    }
    Ok(())
}

/// Pushes a map, or a set as a map whose values are true, in a table with this field.
fn push_entries(
    stack: &mut Stack<'_>,
    reader: &mut Reader<'_>,
    (len, name): (&[u8], &str),
    depth: usize,
) -> Result<(), Raise> {
    let len = len_of(len);
    stack.push_table(0, 1);
    stack.push_table(0, len.max(0) as usize);
    for _ in 0..len {
        push_value(stack, reader, depth + 1)?;
        match name {
            "set" => stack.push_boolean(true),
            _ => push_value(stack, reader, depth + 1)?,
        }
        stack.raw_set(-3);
        stack.check_memory()?;
    }
    stack.raw_set_name(-2, name);
    Ok(())
}
