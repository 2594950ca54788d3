//! `check-rdb FILE`: reads a data file as far as it is whole, with the reference server's output.
//!
//! Values are decoded, so that a file that passes can be loaded. The tables of the reference's
//! option `--stats` are not made.

use crate::base::clock::Clock;
use crate::config::Config;
use crate::rdb::{Decoder, Dialect, Fault, Limits, Part, Reading, Text, fault_text};
use crate::snapshot::{FileReader, Trust};
use crate::value::string::IntText;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// Names of the types of values, by their numbers in files.
const TYPES: [&str; 23] = [
    "string",
    "list-linked",
    "set-hashtable",
    "zset-v1",
    "hash-hashtable",
    "zset-v2",
    "module-pre-release",
    "module-value",
    "",
    "hash-zipmap",
    "list-ziplist",
    "set-intset",
    "zset-ziplist",
    "hash-ziplist",
    "quicklist",
    "stream",
    "hash-listpack",
    "zset-listpack",
    "quicklist-v2",
    "stream-v2",
    "set-listpack",
    "stream-v3",
    "hash-volatile-items",
];

/// The versions that only other servers write.
const FOREIGN_VERSIONS: std::ops::RangeInclusive<u32> = 12..=79;

/// The newest known version.
const VERSION_MAX: u32 = 80;

/// Returns the text for a call with wrong arguments.
pub(super) fn usage(program: &str) -> String {
    format!(
        "Usage: {program} <rdb-file-name> [--format table|info|csv] [--stats] [--output <file>]\n"
    )
}

/// Checks a file and writes the report. Returns whether the file is whole.
pub(super) fn check_rdb(path: &str, out: &mut dyn Write) -> io::Result<bool> {
    let mut check = Check::new(out);
    check.info(0, &format!("Checking RDB file {path}"))?;
    let (is_whole, offset, version) = match File::open(Path::new(path)) {
        Ok(file) => check.file(file)?,
        Err(_) => (false, 0, 0),
    };
    let code = u8::from(!is_whole);
    check.info(offset, &format!("Check RDB returned error code {code} (0 means success)"))?;
    if is_whole {
        let needs_relaxed = FOREIGN_VERSIONS.contains(&version) || version > VERSION_MAX;
        check.info(
            offset,
            match needs_relaxed {
                true => {
                    "\\o/ RDB looks OK, but loading requires config 'rdb-version-check relaxed'"
                }
                false => "\\o/ RDB looks OK! \\o/",
            },
        )?;
        check.numbers()?;
    }
    Ok(is_whole)
}

/// Precedes the reason why a value cannot be decoded.
const BROKEN: &str = "value: ";

const ENDED: &str = "Unexpected EOF reading RDB file";

/// What the checker was reading.
struct Place {
    doing: &'static str,
    kind: Option<u8>,
    key: Option<Vec<u8>>,
}

impl Place {
    const START: Place = Place { doing: "start", kind: None, key: None };

    fn is_value(&self) -> bool {
        self.doing == "read-object-value"
    }
}

/// A check that is under way.
struct Check<'o> {
    out: &'o mut dyn Write,
    keys: u64,
    expires: u64,
    expired: u64,
    functions: u64,
    scripts: u64,
}

impl<'o> Check<'o> {
    fn new(out: &'o mut dyn Write) -> Check<'o> {
        Check { out, keys: 0, expires: 0, expired: 0, functions: 0, scripts: 0 }
    }

    fn info(&mut self, offset: u64, text: &str) -> io::Result<()> {
        writeln!(self.out, "[offset {offset}] {text}")
    }

    fn numbers(&mut self) -> io::Result<()> {
        writeln!(self.out, "[info] {} keys read", self.keys)?;
        writeln!(self.out, "[info] {} expires", self.expires)?;
        writeln!(self.out, "[info] {} already expired", self.expired)?;
        writeln!(self.out, "[info] {} functions", self.functions)?;
        if self.scripts > 0 {
            writeln!(self.out, "[info] {} lua scripts read", self.scripts)?;
        }
        Ok(())
    }

    fn error(&mut self, offset: u64, text: &str, place: &Place) -> io::Result<()> {
        writeln!(self.out, "--- RDB ERROR DETECTED ---")?;
        self.info(offset, text)?;
        writeln!(self.out, "[additional info] While doing: {}", place.doing)?;
        if let Some(key) = &place.key {
            let key = String::from_utf8_lossy(key);
            writeln!(self.out, "[additional info] Reading key '{key}'")?;
        }
        if let Some(kind) = place.kind.filter(|_| place.doing != "read-type") {
            let name = TYPES.get(usize::from(kind)).unwrap_or(&"unknown");
            writeln!(self.out, "[additional info] Reading type {kind} ({name})")?;
        }
        self.numbers()
    }

    /// Checks a file. Returns whether it is whole, the offset where the check has ended, and the
    /// version.
    fn file(&mut self, file: impl Read) -> io::Result<(bool, u64, u32)> {
        let trust = Trust { any_version: true, has_checksum: true };
        let mut reader = match FileReader::open(file, trust) {
            Ok(reader) => reader,
            Err(why) => {
                self.error(0, &shown(&why, &Place::START, 0), &Place::START)?;
                return Ok((false, 0, 0));
            }
        };
        let version = reader.version();
        if version > VERSION_MAX {
            self.info(reader.offset(), &format!("Future RDB version {version} detected"))?;
        } else if FOREIGN_VERSIONS.contains(&version) {
            self.info(reader.offset(), &format!("Foreign RDB version {version} detected"))?;
        }
        let limits = Limits::of(&Config::default());
        loop {
            let read = reader.next(|part| self.part(part, &limits));
            match read {
                Ok(Some(note)) => {
                    if let Some(note) = note {
                        self.info(reader.offset(), &note)?;
                    }
                }
                Ok(None) => break,
                Err(why) => {
                    let place = place_of(reader.unread(), Dialect::of(version));
                    let text = shown(&why, &place, version);
                    self.keys += u64::from(place.is_value() && !why.starts_with(BROKEN));
                    // A type that is not known was read.
                    let is_unknown = place.doing == "read-type" && place.kind.is_some();
                    let offset = reader.offset() + u64::from(is_unknown);
                    self.error(offset, &text, &place)?;
                    return Ok((false, offset, version));
                }
            }
        }
        match reader.sum() {
            None => {}
            Some(0) => {
                let text = "RDB file was saved with checksum disabled: no check performed.";
                self.info(reader.offset(), text)?;
            }
            Some(_) => self.info(reader.offset(), "Checksum OK")?,
        }
        Ok((true, reader.offset(), version))
    }

    /// Checks a part. Returns a note about it.
    fn part(&mut self, part: &Part<'_>, limits: &Limits) -> Result<Option<String>, String> {
        match part {
            Part::Aux(name, value) => {
                self.scripts += u64::from(owned(name).eq_ignore_ascii_case("lua"));
                Ok(Some(format!("AUX FIELD {} = '{}'", owned(name), owned(value))))
            }
            Part::Database(db) => Ok(Some(format!("Selecting DB ID {db}"))),
            Part::Function(_) => {
                self.functions += 1;
                Ok(None)
            }
            Part::Sizes(..) | Part::End(_) => Ok(None),
            Part::Entry(entry) => {
                let reading = Reading { limits, due_before_ms: None };
                self.keys += 1;
                match reading.value(entry.form, entry.value) {
                    Ok(_) | Err(Fault::Expired) => {}
                    Err(Fault::Empty) => return Err(format!("{BROKEN}{ENDED}")),
                    Err(fault) => return Err(format!("{BROKEN}{}", fault_text(fault))),
                }
                if let Some(at) = entry.expiry {
                    self.expires += 1;
                    self.expired += u64::from(at < Clock::System.unix_ms());
                }
                Ok(None)
            }
        }
    }
}

fn owned(text: &Text<'_>) -> String {
    String::from_utf8_lossy(text.bytes(&mut IntText::new())).into_owned()
}

/// Returns the error of the reader in the words of the reference's checker.
fn shown(why: &str, place: &Place, version: u32) -> String {
    let begins = |text: &str| why.starts_with(text);
    let kind = place.kind.unwrap_or(0);
    if begins("Wrong signature") {
        "Wrong signature trying to load DB from file".to_string()
    } else if begins("Wrong RDB checksum") {
        "RDB CRC error".to_string()
    } else if why.ends_with(ENDED) {
        ENDED.to_string()
    } else if begins("Unknown type or opcode") && version > VERSION_MAX {
        format!("Unknown object type {kind} in RDB file with future version {version}")
    } else if begins("Can't handle foreign type") && FOREIGN_VERSIONS.contains(&version) {
        format!("Unknown object type {kind} in RDB file with foreign version {version}")
    } else if begins("Unknown type or opcode") || begins("Can't handle foreign type") {
        format!("Invalid object type: {kind}")
    } else {
        why.strip_prefix(BROKEN).unwrap_or(why).to_string()
    }
}

/// Finds out what bytes hold that begin with a part and are not whole.
fn place_of(bytes: &[u8], dialect: Dialect) -> Place {
    let mut rest = bytes;
    let place = |doing| Place { doing, kind: None, key: None };
    loop {
        let Some((&byte, behind)) = rest.split_first() else { return place("read-type") };
        let attribute_bytes = match byte {
            252 => 8,
            253 => 4,
            249 => 1,
            248 => {
                let mut decoder = Decoder::new(behind, dialect);
                let is_read = decoder.length().is_ok();
                let len = behind.len() - decoder.rest().len();
                if is_read { len } else { behind.len() + 1 }
            }
            250 => return place("read-aux"),
            251 | 254 => return place("read-len"),
            247 => return place("read-module-aux"),
            245 => return place("read-functions"),
            255 => return place("check-sum"),
            kind if usize::from(kind) >= TYPES.len() => {
                return Place { kind: Some(kind), ..place("read-type") };
            }
            kind => {
                let mut decoder = Decoder::new(behind, dialect);
                let key = decoder.text().ok().map(|key| key.into_bytes().into_owned());
                let doing = if key.is_some() { "read-object-value" } else { "read-key" };
                return Place { doing, kind: Some(kind), key };
            }
        };
        match behind.get(attribute_bytes..) {
            Some(behind) => rest = behind,
            None => return place("read-expire"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(file: &[u8]) -> (bool, Vec<String>) {
        let mut out = Vec::new();
        let mut check = Check::new(&mut out);
        let (is_whole, ..) = check.file(file).expect("a vector takes all bytes");
        let text = String::from_utf8(out).expect("plain text");
        (is_whole, text.lines().map(str::to_string).collect())
    }

    #[test]
    fn the_first_broken_part_is_named() {
        let key = b"REDIS0009\xfa\x03ver\x01x\xfe\x02\x02\x01k\x02\x01a";
        let (is_whole, lines) = report(key);
        let expected = [
            "[offset 16] AUX FIELD ver = 'x'",
            "[offset 18] Selecting DB ID 2",
            "--- RDB ERROR DETECTED ---",
            "[offset 18] Unexpected EOF reading RDB file",
            "[additional info] While doing: read-object-value",
            "[additional info] Reading key 'k'",
            "[additional info] Reading type 2 (set-hashtable)",
            "[info] 1 keys read",
        ];
        assert_eq!((is_whole, &lines[..8]), (false, &expected.map(str::to_string)[..]));
        for (file, why) in [
            (&b"REDIS0009\x63\x01k"[..], "Invalid object type: 99"),
            (b"VALKEY080\x63\x01k", "Invalid object type: 99"),
            (b"REDIS0009\x02\x01k\x02\x01a\x01a", "Duplicate elements detected"),
            (b"RODIS0009", "Wrong signature trying to load DB from file"),
            (b"REDIS0009\x00\x01k\x01v\xff\x01\0\0\0\0\0\0\0", "RDB CRC error"),
            (b"REDIS0009\xfc\x01", "Unexpected EOF reading RDB file"),
        ] {
            let (is_whole, lines) = report(file);
            assert!(!is_whole && lines.iter().any(|line| line.contains(why)), "{why}: {lines:?}");
        }
        let (is_whole, lines) = report(b"REDIS0009\xf5\x01c\x00\x01k\x01v\xff\0\0\0\0\0\0\0\0");
        assert!(is_whole && lines[0].ends_with("checksum disabled: no check performed."));
    }
}
