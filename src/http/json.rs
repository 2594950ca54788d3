//! JSON as it is written here: objects and lists of numbers and texts.

use std::fmt::{Display, Write};

/// The text while it grows. An empty name is for the items of a list, and for the whole.
#[derive(Debug, Default)]
pub(super) struct Json {
    text: String,
    depth: usize,
}

impl Json {
    /// An object, filled by the function.
    pub(super) fn object(&mut self, name: &str, fill: impl FnOnce(&mut Json)) {
        self.nest(name, ['{', '}'], fill);
    }

    /// A list, filled by the function.
    pub(super) fn list(&mut self, name: &str, fill: impl FnOnce(&mut Json)) {
        self.nest(name, ['[', ']'], fill);
    }

    /// A whole number, which JSON writes as Rust does.
    pub(super) fn number<N: Display + Into<i128>>(&mut self, name: &str, number: N) {
        self.name(name);
        write!(self.text, "{number}").expect("memory takes all");
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        self.quote(text);
    }

    /// A list of whole numbers.
    pub(super) fn numbers(&mut self, name: &str, numbers: &[u64]) {
        self.list(name, |list| numbers.iter().for_each(|number| list.number("", *number)));
    }

    /// All of it.
    pub(super) fn into_string(self) -> String {
        assert_eq!(self.depth, 0, "all is closed");
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
                c if c < ' ' => write!(self.text, "\\u{:04x}", c as u32).expect("memory takes all"),
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
