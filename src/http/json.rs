//! A JSON writer: objects and lists of numbers and texts.

use std::fmt::{Display, Write};

/// The text under construction. Items of a list, and the whole value, have an empty name.
#[derive(Debug, Default)]
pub(super) struct Json {
    text: String,
    depth: usize,
}

impl Json {
    /// Writes an object; `fill` writes its members.
    pub(super) fn object(&mut self, name: &str, fill: impl FnOnce(&mut Json)) {
        self.nest(name, ['{', '}'], fill);
    }

    /// Writes a list; `fill` writes its items.
    pub(super) fn list(&mut self, name: &str, fill: impl FnOnce(&mut Json)) {
        self.nest(name, ['[', ']'], fill);
    }

    /// Writes a whole number, which has the same form in JSON and Rust.
    pub(super) fn number<N: Display + Into<i128>>(&mut self, name: &str, number: N) {
        self.name(name);
        write!(self.text, "{number}").expect("writing to memory does not fail");
    }

    /// Writes a text.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        self.quote(text);
    }

    /// Writes a list of whole numbers.
    pub(super) fn numbers(&mut self, name: &str, numbers: &[u64]) {
        self.list(name, |list| numbers.iter().for_each(|number| list.number("", *number)));
    }

    /// Returns the whole text.
    pub(super) fn into_string(self) -> String {
        assert_eq!(self.depth, 0, "all objects and lists are closed");
        self.text
    }

    fn nest(&mut self, name: &str, [open, close]: [char; 2], fill: impl FnOnce(&mut Json)) {
        self.name(name);
        self.text.push(open);
        self.depth += 1;
        fill(self);
        self.depth -= 1;
        self.text.push(close);
    }

    fn name(&mut self, name: &str) {
        if !self.text.is_empty() && !self.text.ends_with(['{', '[', ':']) {
            self.text.push(',');
        }
        if !name.is_empty() {
            self.quote(name);
            self.text.push(':');
        }
    }

    fn quote(&mut self, text: &str) {
        self.text.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => self.text.extend(['\\', c]),
                c if c < ' ' => write!(self.text, "\\u{:04x}", c as u32)
                    .expect("writing to memory does not fail"),
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut json = Json::default();
        json.object("", |all| {
            all.text("a \"b\"\\\n", "c\u{1}[{é");
            all.list("empty", |_| {});
            all.numbers("some", &[1, u64::MAX]);
            all.list("lists", |list| {
                list.list("", |inner| inner.number("", -1));
                list.object("", |_| {});
                list.text("", ":");
                list.number("", 2);
            });
        });
        let text = json.into_string();
        let read: serde_json::Value = serde_json::from_str(&text).expect(&text);
        assert_eq!(read["a \"b\"\\\n"], "c\u{1}[{é");
        assert_eq!(read["empty"], serde_json::json!([]));
        assert_eq!(read["some"], serde_json::json!([1, u64::MAX]));
        assert_eq!(read["lists"], serde_json::json!([[-1], {}, ":", 2]));
    }
}
