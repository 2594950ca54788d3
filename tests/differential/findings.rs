//! Disagreements between the servers, each kind once.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Number of kinds after which a run stops.
const KINDS_MAX: usize = 20;

/// Bytes of an argument or a reply that are shown.
const SHOWN_BYTES_MAX: usize = 200;

/// Words of an error that determine its kind.
const SORT_WORDS_MAX: usize = 4;

#[derive(Default)]
pub struct Findings {
    run: String,
    /// By kind: the full text of the first one, and the number of all.
    kinds: BTreeMap<String, (String, u64)>,
}

impl Findings {
    /// Sets the name of the run that the next findings belong to.
    pub fn enter(&mut self, run: String) {
        self.run = run;
    }

    /// Records one finding; the full text is kept of the first one of each `kind`.
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
            writeln!(text, "\n{first}  ({count} times)")
                .expect("writing to a string does not fail");
        }
        text
    }
}

/// Formats bytes as a readable line.
pub fn shown(bytes: &[u8]) -> String {
    if bytes.len() > SHOWN_BYTES_MAX {
        let start = bytes[..SHOWN_BYTES_MAX].escape_ascii();
        return format!("\"{start}\"... ({} bytes)", bytes.len());
    }
    format!("\"{}\"", bytes.escape_ascii())
}

/// Formats a command as a readable line.
pub fn shown_args(args: &[Vec<u8>]) -> String {
    let is_plain = |arg: &[u8]| !arg.is_empty() && arg.iter().all(u8::is_ascii_graphic);
    let arg = |arg: &Vec<u8>| match is_plain(arg) && arg.len() < SHOWN_BYTES_MAX {
        true => String::from_utf8_lossy(arg).into_owned(),
        false => shown(arg),
    };
    args.iter().map(arg).collect::<Vec<_>>().join(" ")
}

/// Returns the kind of a reply in one or two words, without its numbers and names.
pub fn sort_of(reply: &[u8]) -> String {
    let line = reply.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let Some((&head, text)) = line.split_first() else { return String::new() };
    match head {
        b'-' => {
            let is_plain = |byte: &u8| byte.is_ascii_alphabetic() || b"-,.".contains(byte);
            let args = text.split(|&byte| byte == b' ').take(SORT_WORDS_MAX);
            let plain: Vec<_> = args.take_while(|arg| arg.iter().all(is_plain)).collect();
            format!("-{}", plain.join(&b' ').escape_ascii())
        }
        b'+' | b'#' => line.escape_ascii().to_string(),
        _ if text.starts_with(b"-1") => format!("{}-1", char::from(head)),
        _ => char::from(head).to_string(),
    }
}
