//! What does not agree, each kind of it once.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Kinds after which a run stops.
const KINDS_MAX: usize = 20;

/// Bytes of a word or a reply that are shown.
const SHOWN_BYTES_MAX: usize = 200;

/// Words of an error that tell it from others.
const SORT_WORDS_MAX: usize = 4;

#[derive(Default)]
pub struct Findings {
    run: String,
    /// By kind: the first of it in full, and how many there were.
    kinds: BTreeMap<String, (String, u64)>,
}

impl Findings {
    /// What follows belongs to the run of this name.
    pub fn enter(&mut self, run: String) {
        self.run = run;
    }

    /// Notes one. Of each `kind` the first is told.
    pub fn note(&mut self, kind: String, text: String) {
        let run = &self.run;
        let first = || (format!("[{run}] {kind}\n{text}"), 0);
        let entry = self.kinds.entry(kind.clone()).or_insert_with(first);
        entry.1 += 1;
    }

    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.kinds.len() >= KINDS_MAX
    }

    pub fn text(&self) -> String {
        let mut text = format!("{} kinds of disagreement\n", self.kinds.len());
        for (first, count) in self.kinds.values() {
            writeln!(text, "\n{first}  ({count} times)").expect("a string takes all");
        }
        text
    }
}

/// Bytes as a line that can be read.
pub fn shown(bytes: &[u8]) -> String {
    if bytes.len() > SHOWN_BYTES_MAX {
        let start = bytes[..SHOWN_BYTES_MAX].escape_ascii();
        return format!("\"{start}\"... ({} bytes)", bytes.len());
    }
    format!("\"{}\"", bytes.escape_ascii())
}

/// A command as a line that can be read.
pub fn shown_args(words: &[Vec<u8>]) -> String {
    let is_plain = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_graphic);
    let word = |word: &Vec<u8>| match is_plain(word) && word.len() < SHOWN_BYTES_MAX {
        true => String::from_utf8_lossy(word).into_owned(),
        false => shown(word),
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// A reply in one word or two, the same for those that differ by a number or a name only.
pub fn sort_of(reply: &[u8]) -> String {
    let line = reply.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let Some((&head, text)) = line.split_first() else { return String::new() };
    match head {
        b'-' => {
            let is_plain = |byte: &u8| byte.is_ascii_alphabetic() || b"-,.".contains(byte);
            let words = text.split(|&byte| byte == b' ').take(SORT_WORDS_MAX);
            let plain: Vec<_> = words.take_while(|word| word.iter().all(is_plain)).collect();
            format!("-{}", plain.join(&b' ').escape_ascii())
        }
        b'+' | b'#' => line.escape_ascii().to_string(),
        _ if text.starts_with(b"-1") => format!("{}-1", char::from(head)),
        _ => char::from(head).to_string(),
    }
}
