//! The manifest: a text file that lists the files of an append-only file.
//!
//! ```text
//!   file appendonly.aof.2.base.rdb seq 2 type b       the base, at most one
//!   file appendonly.aof.1.incr.aof seq 1 type h       history: rewritten, to be deleted
//!   file appendonly.aof.2.incr.aof seq 2 type i       commands, in ascending order
//! ```
//! A name with blanks or special characters is quoted. Lines that begin with `#` are comments.
//! Unknown pairs of a name and a value are skipped.

use crate::config::{quote, split_words};
use std::fmt;

/// The most bytes of a line, its end included.
const LINE_BYTES_MAX: usize = 1024;

/// What a file of the manifest holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// All keys at one moment.
    Base,
    /// Commands.
    Incr,
    /// Content that a rewrite has replaced.
    History,
}

impl Role {
    fn letter(self) -> char {
        match self {
            Role::Base => 'b',
            Role::Incr => 'i',
            Role::History => 'h',
        }
    }
}

/// One file of the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Name of the file, without a folder.
    pub name: Vec<u8>,
    /// Number of the file within its role. Not 0.
    pub sequence: i64,
    /// What the file holds.
    pub role: Role,
}

impl FileEntry {
    /// Returns the name for the log.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }

    fn write(&self, line: &mut Vec<u8>) {
        line.extend(b"file ");
        let is_plain = |byte: &u8| (b'!'..=b'~').contains(byte) && !matches!(byte, b'\\' | b'"');
        if self.name.iter().all(is_plain) {
            line.extend(&self.name);
        } else {
            quote(&self.name, line);
        }
        line.extend(format!(" seq {} type {}\n", self.sequence, self.role.letter()).bytes());
    }
}

/// The files of an append-only file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The base, if there is one.
    pub base: Option<FileEntry>,
    /// Files of commands, in ascending order.
    pub incrs: Vec<FileEntry>,
    /// Files to be deleted.
    pub history: Vec<FileEntry>,
    /// Sequence number of the newest base.
    pub base_sequence: i64,
    /// Sequence number of the newest file of commands.
    pub incr_sequence: i64,
}

/// Why a manifest cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFault {
    /// Number and text of the line, if the fault is in one line.
    pub line: Option<(usize, String)>,
    /// The reference's text.
    pub why: &'static str,
}

impl ManifestFault {
    fn of_file(why: &'static str) -> ManifestFault {
        ManifestFault { line: None, why }
    }

    /// Returns the lines that the log gets.
    pub fn log_lines(&self) -> Vec<String> {
        let mut lines = vec!["\n*** FATAL AOF MANIFEST FILE ERROR ***\n".to_owned()];
        if let Some((number, text)) = &self.line {
            lines.push(format!("Reading the manifest file, at line {number}\n"));
            lines.push(format!(">>> '{text}'\n"));
        }
        lines.push(format!("{}\n", self.why));
        lines
    }
}

impl fmt::Display for ManifestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why)
    }
}

const FORMAT: &str = "Invalid AOF manifest file format";

impl Manifest {
    /// Parses the text of a manifest.
    pub fn parse(text: &[u8]) -> Result<Manifest, ManifestFault> {
        let mut manifest = Manifest::default();
        let mut rest = text;
        let mut number = 0;
        while !rest.is_empty() {
            let end = rest.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n');
            let len = end.map_or(rest.len().min(LINE_BYTES_MAX), |end| end + 1);
            let (line, behind) = rest.split_at(len);
            rest = behind;
            number += 1;
            if line.starts_with(b"#") {
                continue;
            }
            if end.is_none() {
                let why = "The AOF manifest file contains too long line";
                return Err(ManifestFault::of_file(why));
            }
            let line = trim(line);
            manifest.add(line).map_err(|why| {
                let text = String::from_utf8_lossy(line).into_owned();
                ManifestFault { line: Some((number, text)), why }
            })?;
        }
        if number == 0 {
            return Err(ManifestFault::of_file("Found an empty AOF manifest"));
        }
        Ok(manifest)
    }

    fn add(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let words = split_words(line).ok_or(FORMAT)?;
        if words.len() < 6 || words.len() % 2 == 1 {
            return Err(FORMAT);
        }
        let (mut name, mut sequence, mut letter) = (None, 0, None);
        for pair in words.chunks(2) {
            let is = |key: &str| pair[0].eq_ignore_ascii_case(key.as_bytes());
            if is("file") {
                if pair[1].contains(&b'/') || pair[1].contains(&b'\\') {
                    return Err("File can't be a path, just a filename");
                }
                name = Some(pair[1].clone());
            } else if is("seq") {
                sequence = leading_number(&pair[1]);
            } else if is("type") {
                letter = pair[1].first().copied();
            }
        }
        let (Some(name), Some(letter)) = (name, letter) else { return Err(FORMAT) };
        if sequence == 0 {
            return Err(FORMAT);
        }
        self.put(name, sequence, letter)
    }

    fn put(&mut self, name: Vec<u8>, sequence: i64, letter: u8) -> Result<(), &'static str> {
        let entry = |role| FileEntry { name, sequence, role };
        match letter {
            b'b' if self.base.is_some() => Err("Found duplicate base file information"),
            b'b' => {
                self.base = Some(entry(Role::Base));
                self.base_sequence = sequence;
                Ok(())
            }
            b'h' => {
                self.history.push(entry(Role::History));
                Ok(())
            }
            b'i' if sequence <= self.incrs.last().map_or(0, |last| last.sequence) => {
                Err("Found a non-monotonic sequence number")
            }
            b'i' => {
                self.incrs.push(entry(Role::Incr));
                self.incr_sequence = sequence;
                Ok(())
            }
            _ => Err("Unknown AOF file type"),
        }
    }

    /// Returns the text of the manifest.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let all = self.base.iter().chain(&self.history).chain(&self.incrs);
        all.for_each(|entry| entry.write(&mut text));
        text
    }

    /// Returns whether there is nothing to load.
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.incrs.is_empty()
    }

    /// Returns the files to load, in order.
    pub fn loaded(&self) -> impl Iterator<Item = &FileEntry> {
        self.base.iter().chain(&self.incrs)
    }

    /// Makes the present base history, and returns the entry of a new one. `prefix` is the setting
    /// `appendfilename`.
    pub fn add_base(&mut self, prefix: &str, is_rdb: bool) -> &FileEntry {
        if let Some(mut base) = self.base.take() {
            base.role = Role::History;
            self.history.insert(0, base);
        }
        self.base_sequence = self.base_sequence.saturating_add(1);
        let sequence = self.base_sequence;
        let suffix = if is_rdb { "rdb" } else { "aof" };
        let name = format!("{prefix}.{sequence}.base.{suffix}").into_bytes();
        self.base.insert(FileEntry { name, sequence, role: Role::Base })
    }

    /// Adds a new file of commands, and returns its entry.
    pub fn add_incr(&mut self, prefix: &str) -> &FileEntry {
        self.incr_sequence = self.incr_sequence.saturating_add(1);
        let sequence = self.incr_sequence;
        let name = format!("{prefix}.{sequence}.incr.aof").into_bytes();
        self.incrs.push(FileEntry { name, sequence, role: Role::Incr });
        self.incrs.last().expect("just added")
    }

    /// Makes files of commands history, because a base holds their effect: all, or all but the
    /// last, which is being written.
    pub fn retire_incrs(&mut self, keeps_last: bool) {
        let retired = self.incrs.len().saturating_sub(usize::from(keeps_last));
        for mut entry in self.incrs.drain(..retired).rev() {
            entry.role = Role::History;
            self.history.insert(0, entry);
        }
    }
}

/// Removes blanks at both ends.
fn trim(line: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let from = line.iter().position(|byte| !is_blank(byte)).unwrap_or(line.len());
    let to = line.iter().rposition(|byte| !is_blank(byte)).map_or(from, |at| at + 1);
    &line[from..to]
}

/// Returns the number at the beginning of a text; 0 if there is none.
fn leading_number(text: &[u8]) -> i64 {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let sign = if digits.len() < text.len() { -1 } else { 1 };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0i64, |number, digit| {
        number.saturating_mul(10).saturating_add(sign * i64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> (Option<usize>, &'static str) {
        let fault = Manifest::parse(text.as_bytes()).expect_err(text);
        (fault.line.map(|(number, _)| number), fault.why)
    }

    #[test]
    fn a_manifest_is_read_and_written() {
        let text = "file a.1.base.rdb seq 1 type b\nfile a.1.incr.aof seq 1 type h\n\
            file \"a b.2.incr.aof\" seq 2 type i\nfile a.3.incr.aof seq 3 type i\n";
        let manifest = Manifest::parse(text.as_bytes()).expect("it is valid");
        assert_eq!(manifest.text(), text.as_bytes());
        assert_eq!((manifest.base_sequence, manifest.incr_sequence), (1, 3));
        let names: Vec<String> = manifest.loaded().map(FileEntry::text).collect();
        assert_eq!(names, ["a.1.base.rdb", "a b.2.incr.aof", "a.3.incr.aof"]);
    }

    #[test]
    fn comments_order_and_unknown_pairs_do_not_matter() {
        let text = "# a comment\nTYPE incr  new x seq 7abc FILE b\r\n";
        let manifest = Manifest::parse(text.as_bytes()).expect("it is valid");
        assert_eq!(manifest.text(), b"file b seq 7 type i\n");
        assert!(Manifest::parse(b"# only a comment\n").expect("it is valid").is_empty());
    }

    #[test]
    fn faults_are_those_of_the_reference() {
        assert_eq!(fault(""), (None, "Found an empty AOF manifest"));
        assert_eq!(fault("\n"), (Some(1), FORMAT));
        assert_eq!(fault("file a seq 1 type\n"), (Some(1), FORMAT));
        assert_eq!(fault("#\nfile a seq 0 type b\n"), (Some(2), FORMAT));
        assert_eq!(fault("file 'a seq 1 type b\n"), (Some(1), FORMAT));
        assert_eq!(fault("file a seq 1 type ''\n"), (Some(1), FORMAT));
        assert_eq!(fault("file a seq 1 type x\n"), (Some(1), "Unknown AOF file type"));
        let path = "File can't be a path, just a filename";
        assert_eq!(fault("file ./a seq 1 type b\n"), (Some(1), path));
        let twice = "file a seq 1 type b\nfile b seq 1 type b\n";
        assert_eq!(fault(twice), (Some(2), "Found duplicate base file information"));
        let order = "file a seq 2 type i\nfile b seq 2 type i\n";
        assert_eq!(fault(order), (Some(2), "Found a non-monotonic sequence number"));
        let long = "The AOF manifest file contains too long line";
        assert_eq!(fault(&format!("{}\n", "a".repeat(1024))), (None, long));
        assert_eq!(fault("file a seq 1 type b"), (None, long));
    }

    #[test]
    fn a_rewrite_turns_old_files_into_history() {
        let mut manifest = Manifest::default();
        assert_eq!(manifest.add_base("a", true).text(), "a.1.base.rdb");
        assert_eq!(manifest.add_incr("a").text(), "a.1.incr.aof");
        assert_eq!(manifest.add_incr("a").text(), "a.2.incr.aof");
        manifest.add_base("a", false);
        manifest.retire_incrs(true);
        let text = "file a.2.base.aof seq 2 type b\nfile a.1.incr.aof seq 1 type h\n\
            file a.1.base.rdb seq 1 type h\nfile a.2.incr.aof seq 2 type i\n";
        assert_eq!(manifest.text(), text.as_bytes());
        manifest.retire_incrs(false);
        assert!(manifest.incrs.is_empty() && manifest.history.len() == 3);
    }
}
