//! A Lua value as the reply of a script. The inverse of `answer.rs`; numbers become integers.

use super::api::until_zero;
use super::host::Host;
use super::limits::RESULT_BYTES_MAX;
use super::machine::{Kind, REPLY_FIELDS, REPLY_FIELDS_AT, Stack, to_integer};
use crate::resp::{Protocol, Reply};

/// A table that is being written. Its last key is above it on the stack, and for a map and a set
/// the table with the field `map` or `set` is below it.
enum Level {
    Array {
        at: i32,
        len: i32,
    },
    /// `has_key`: the key was written, and the value is on the top.
    Map {
        has_key: bool,
    },
    Set,
}

/// Writes the topmost value as one reply and pops it. `answers` is the protocol that the script
/// selected. `host` counts errors.
pub fn write_result(
    stack: &mut Stack<'_>,
    reply: &mut Reply<'_>,
    answers: Protocol,
    host: &mut dyn Host,
) {
    let start = reply.mark();
    let bytes_max = reply.len() + RESULT_BYTES_MAX;
    let base = stack.top() - 1;
    let mut writer = Writer { reply, answers, host, levels: Vec::new() };
    writer.begin(stack);
    while let Some(level) = writer.levels.last_mut() {
        if writer.reply.len() > bytes_max {
            writer.reply.truncate(start);
            writer.error(b"ERR reply of the script is too large");
            break;
        }
        match level {
            Level::Array { at, len } if at == len => writer.end(stack, 1),
            Level::Array { at, .. } => {
                *at += 1;
                stack.raw_get_at(-1, *at);
                writer.begin(stack);
            }
            Level::Map { has_key } if *has_key => {
                *has_key = false;
                writer.begin(stack);
            }
            Level::Map { has_key } => {
                *has_key = true;
                if stack.next(-2) {
                    stack.push_copy(-2);
                    writer.begin(stack);
                } else {
                    writer.end(stack, 2);
                }
            }
            Level::Set => {
                if stack.next(-2) {
                    stack.pop(1);
                    stack.push_copy(-1);
                    writer.begin(stack);
                } else {
                    writer.end(stack, 2);
                }
            }
        }
    }
    stack.set_top(base);
}

struct Writer<'a, 'r> {
    reply: &'a mut Reply<'r>,
    answers: Protocol,
    host: &'a mut dyn Host,
    levels: Vec<Level>,
}

impl Writer<'_, '_> {
    /// Ends a level, whose tables are the topmost values.
    fn end(&mut self, stack: &mut Stack<'_>, tables: i32) {
        stack.pop(tables);
        self.levels.pop();
    }

    /// Writes an error that no command has counted.
    fn error(&mut self, text: &[u8]) {
        self.reply.error_bytes(text);
        self.host.count_error(text);
    }

    /// Writes the topmost value and pops it, or opens a level.
    fn begin(&mut self, stack: &mut Stack<'_>) {
        if !stack.reserve(4) {
            self.error(b"ERR reached lua stack limit");
            return stack.pop(1);
        }
        match stack.kind(-1) {
            Kind::Number => {
                self.reply.integer(to_integer(stack.number(-1).unwrap_or_default()));
            }
            Kind::String => self.reply.bulk(stack.bytes(-1).unwrap_or_default()),
            Kind::Boolean => match (self.answers, stack.boolean(-1)) {
                (Protocol::Two, true) => self.reply.integer(1),
                (Protocol::Two, false) => self.reply.null(),
                (Protocol::Three, value) => self.reply.boolean(value),
            },
            Kind::Table => {
                if !self.tagged(stack) {
                    self.begin_array(stack);
                }
                return;
            }
            _ => self.reply.null(),
        }
        stack.pop(1);
    }

    /// Writes the topmost table and pops it, or opens a level, if one of its fields says what it
    /// is.
    fn tagged(&mut self, stack: &mut Stack<'_>) -> bool {
        for (at, name) in (REPLY_FIELDS_AT..).zip(REPLY_FIELDS) {
            stack.push_copy(at);
            stack.raw_get(-2);
            if stack.kind(-1) != Kind::Nil && self.field(stack, name) {
                return true;
            }
            stack.pop(1);
        }
        false
    }

    /// Writes the table below its field `name`, and pops both or opens a level. Returns false if
    /// the field has the wrong type.
    fn field(&mut self, stack: &mut Stack<'_>, name: &str) -> bool {
        match (name, stack.kind(-1)) {
            ("err", Kind::String) => self.error_object(stack),
            ("ok", Kind::String) => {
                let text = line(stack.bytes(-1).unwrap_or_default());
                self.reply.simple_bytes(&text);
            }
            ("double", Kind::Number) => self.reply.double(stack.number(-1).unwrap_or_default()),
            ("big_number", Kind::String) => {
                let digits = line(stack.bytes(-1).unwrap_or_default());
                self.reply.big_number(&digits);
            }
            ("verbatim_string", Kind::Table) => return self.verbatim(stack),
            ("map", Kind::Table) => {
                self.reply.map(count(stack));
                stack.push_nil();
                self.levels.push(Level::Map { has_key: false });
                return true;
            }
            ("set", Kind::Table) => {
                self.reply.set(count(stack));
                stack.push_nil();
                self.levels.push(Level::Set);
                return true;
            }
            _ => return false,
        }
        stack.pop(2);
        true
    }

    /// Writes the verbatim string in the topmost table.
    fn verbatim(&mut self, stack: &mut Stack<'_>) -> bool {
        stack.raw_get_name(-1, "format");
        stack.raw_get_name(-2, "string");
        let is_whole = stack.kind(-2) == Kind::String && stack.kind(-1) == Kind::String;
        if is_whole {
            let mut format = [b' '; 3];
            let given = until_zero(stack.bytes(-2).unwrap_or_default());
            for (to, from) in format.iter_mut().zip(given) {
                *to = if from.is_ascii() { *from } else { b'?' };
            }
            let format = std::str::from_utf8(&format).unwrap_or("txt");
            self.reply.verbatim(format, stack.bytes(-1).unwrap_or_default());
            stack.pop(2);
        }
        stack.pop(2);
        is_whole
    }

    /// Writes the table below its field `err`, which is on the top.
    fn error_object(&mut self, stack: &mut Stack<'_>) {
        let text = error_line(stack.bytes(-1).unwrap_or_default());
        stack.raw_get_name(-2, "ignore_error_stats_update");
        let is_counted = stack.boolean(-1);
        stack.pop(1);
        self.reply.error_bytes(&text);
        if !is_counted {
            self.host.count_error(&text);
        }
    }

    fn begin_array(&mut self, stack: &mut Stack<'_>) {
        let mut len = 0;
        loop {
            stack.raw_get_at(-1, len + 1);
            let is_end = stack.kind(-1) == Kind::Nil;
            stack.pop(1);
            if is_end {
                break;
            }
            len += 1;
        }
        self.reply.array(len as usize);
        self.levels.push(Level::Array { at: 0, len });
    }
}

/// Returns the number of keys of the topmost table.
fn count(stack: &mut Stack<'_>) -> usize {
    let mut count = 0;
    stack.push_nil();
    while stack.next(-2) {
        stack.pop(1);
        count += 1;
    }
    count
}

/// Returns the bytes of a reply of one line.
fn line(bytes: &[u8]) -> Vec<u8> {
    let blank = |byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte };
    until_zero(bytes).iter().map(blank).collect()
}

/// Returns the bytes of an error. Line ends at its end are removed.
pub fn error_line(bytes: &[u8]) -> Vec<u8> {
    let text = until_zero(bytes);
    let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |at| at + 1);
    line(&text[..end])
}
