//! The text of INFO: sections of lines, each with a name and a value.

use std::fmt::{Display, Write};

/// The text of INFO under construction.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// Begins a section.
    pub(super) fn section(&mut self, title: &str) {
        let gap = if self.0.is_empty() { "" } else { "\r\n" };
        self.line(format_args!("{gap}# {title}"));
    }

    /// Appends a field.
    pub(super) fn field(&mut self, name: &str, value: impl Display) {
        self.line(format_args!("{name}:{value}"));
    }

    /// Appends a number of bytes as `name`, and in a readable form as `name_human`.
    pub(super) fn bytes(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        self.line(format_args!("{name}_human:{}", Human(bytes)));
    }

    /// Appends the ratio of `more` to `less` bytes as `name_ratio`, and their difference as
    /// `name_bytes`.
    pub(super) fn ratio(&mut self, name: &str, more: u64, less: u64) {
        let ratio = if less == 0 { 0.0 } else { more as f64 / less as f64 };
        self.field(&format!("{name}_ratio"), format_args!("{ratio:.2}"));
        self.field(&format!("{name}_bytes"), more as i64 - less as i64);
    }

    pub(super) fn line(&mut self, line: impl Display) {
        write!(self.0, "{line}\r\n").expect("writing to a string does not fail");
    }

    /// Returns the whole text.
    pub(super) fn into_string(self) -> String {
        self.0
    }

    /// Returns the bytes of the whole text.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// A number of bytes with a unit: `512B`, `1.50K`, `3.00G`.
pub(super) struct Human(pub(super) u64);

impl Display for Human {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const UNITS: [(u64, &str); 5] =
            [(1 << 50, "P"), (1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
        match UNITS.iter().find(|(unit, _)| self.0 >= *unit && self.0 >> 60 == 0) {
            None => write!(f, "{}B", self.0),
            Some((unit, letter)) => write!(f, "{:.2}{letter}", self.0 as f64 / *unit as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_units_of_the_reference() {
        let cases = [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (949_234, "926.99K"),
            (25_276_510_208, "23.54G"),
            (1 << 40, "1.00T"),
            (5 << 50, "5.00P"),
            (1 << 60, "1152921504606846976B"),
        ];
        for (bytes, text) in cases {
            assert_eq!(Human(bytes).to_string(), text);
        }
    }

    #[test]
    fn sections_are_separated() {
        let mut text = Text::default();
        text.section("One");
        text.bytes("used", 2048);
        text.section("Two");
        assert_eq!(text.as_bytes(), b"# One\r\nused:2048\r\nused_human:2.00K\r\n\r\n# Two\r\n");
    }
}
