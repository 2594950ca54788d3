//! The text exposition format: families of samples.

use std::fmt::{Display, Write};

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Grows, until a restart or CONFIG RESETSTAT.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts by upper bound.
    Histogram,
    /// Values by quantile.
    Summary,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        }
    }
}

/// The text under construction.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

/// A family under construction: its samples are adjacent.
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'a str,
}

impl Exposition {
    /// Begins a family, which must not be in the text yet. `help` is one line.
    pub(super) fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &str) -> Family<'a> {
        debug_assert!(!help.contains(['\n', '\\']), "{help} needs escaping");
        let word = kind.word();
        write!(self.0, "# HELP {name} {help}\n# TYPE {name} {word}\n")
            .expect("writing to memory does not fail");
        Family { text: &mut self.0, name }
    }

    /// Writes a family of one number without labels.
    pub(super) fn one(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help).sample(&[], value);
    }

    /// Returns the whole text.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// Writes a number under the family's name.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.part("", labels, value);
    }

    /// Writes a number under the family's name and a suffix: `_sum`, `_count`, `_bucket`.
    pub(super) fn part(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        for (number, (label, text)) in labels.iter().enumerate() {
            self.text.push_str(if number == 0 { "{" } else { "," });
            self.text.push_str(label);
            self.text.push_str("=\"");
            for c in text.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        writeln!(self.text, "{end} {value}").expect("writing to memory does not fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut out = Exposition::default();
        let mut family = out.family("a_total", Kind::Counter, "Help.");
        family.sample(&[("x", "a\"b\\c\nd"), ("y", "")], 0.5);
        family.sample(&[], 7);
        let expected = "# HELP a_total Help.\n# TYPE a_total counter\n\
                        a_total{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 0.5\na_total 7\n";
        assert_eq!(out.into_string(), expected);
    }
}
