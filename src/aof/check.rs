//! The tool `check-aof`: checks the files of an append-only file, and shortens a damaged one.
//!
//! Its output is the output of the reference's tool.

use super::folder::read_manifest_at;
use super::manifest::FileEntry;
use crate::base::system::error_text;
use crate::snapshot::{FileReader, Trust};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The most bytes of a line that the tool looks at.
const LINE_BYTES_MAX: usize = 127;

/// Bytes of an annotation that the tool looks at.
const ANNOTATION_BYTES_MAX: usize = 1023;

/// What the tool is asked to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// Whether a damaged last file is cut behind its last valid command.
    pub fixes: bool,
    /// Unix seconds: the last file is cut before the first command behind this time.
    pub until_s: Option<i64>,
}

/// The result for one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Valid,
    Empty,
    Cut,
    CutAtTime,
}

/// Ends the check. The text is already part of the output.
#[derive(Debug)]
struct Failed;

impl From<io::Error> for Failed {
    fn from(_: io::Error) -> Failed {
        Failed
    }
}

/// Checks a manifest and its files, or a single file. Writes the findings to `out`, and reads the
/// answer to a question from `answers`. Returns whether everything is valid or was made valid.
pub fn check_aof(
    path: &str,
    options: CheckOptions,
    out: &mut dyn Write,
    answers: &mut dyn BufRead,
) -> bool {
    let mut check = Check { options, out, answers };
    let result = check.run(path);
    let is_written = check.out.flush().is_ok();
    result.is_ok() && is_written
}

struct Check<'c> {
    options: CheckOptions,
    out: &'c mut dyn Write,
    answers: &'c mut dyn BufRead,
}

impl Check<'_> {
    fn run(&mut self, path: &str) -> Result<(), Failed> {
        let head = self.head_of(path)?;
        if is_manifest(&head) {
            return self.check_manifest(path);
        }
        writeln!(self.out, "Start checking Old-Style AOF")?;
        let verdict = self.check_file(path, path, true, is_snapshot(&head))?;
        self.show(verdict, path, "AOF")
    }

    /// Writes a line and fails.
    fn fail<T>(&mut self, line: &str) -> Result<T, Failed> {
        writeln!(self.out, "{line}")?;
        Err(Failed)
    }

    /// Returns the first bytes of a file.
    fn head_of(&mut self, path: &str) -> Result<Vec<u8>, Failed> {
        let mut head = Vec::new();
        let read = File::open(path).and_then(|file| file.take(1 << 20).read_to_end(&mut head));
        match read {
            Ok(_) => Ok(head),
            Err(error) => {
                let why = error_text(&error);
                self.fail(&format!("Cannot open file {path}: {why}"))
            }
        }
    }

    fn check_manifest(&mut self, path: &str) -> Result<(), Failed> {
        writeln!(self.out, "Start checking Multi Part AOF")?;
        let manifest = match read_manifest_at(Path::new(path)) {
            Ok(manifest) => manifest,
            Err(error) => {
                error.log_lines().iter().try_for_each(|line| writeln!(self.out, "{line}"))?;
                return Err(Failed);
            }
        };
        let folder = Path::new(path).parent().unwrap_or(Path::new(""));
        let path_of = |entry: &FileEntry| folder.join(entry.text()).display().to_string();
        let last = manifest.loaded().last().cloned();
        if let Some(base) = &manifest.base {
            let path = path_of(base);
            let has_keys = is_snapshot(&self.head_of(&path)?);
            let form = if has_keys { "RDB" } else { "RESP" };
            writeln!(self.out, "Start to check BASE AOF ({form} format).")?;
            let is_last = last.as_ref() == Some(base);
            let verdict = self.check_file(&base.text(), &path, is_last, has_keys)?;
            self.show(verdict, &base.text(), "BASE AOF")?;
        }
        if !manifest.incrs.is_empty() {
            writeln!(self.out, "Start to check INCR files.")?;
        }
        for incr in &manifest.incrs {
            let is_last = last.as_ref() == Some(incr);
            let verdict = self.check_file(&incr.text(), &path_of(incr), is_last, false)?;
            self.show(verdict, &incr.text(), "INCR AOF")?;
        }
        writeln!(self.out, "All AOF files and manifest are valid")?;
        Ok(())
    }

    fn show(&mut self, verdict: Verdict, name: &str, what: &str) -> Result<(), Failed> {
        let until = self.options.until_s.unwrap_or(0);
        match verdict {
            Verdict::Valid => writeln!(self.out, "{what} {name} is valid")?,
            Verdict::Empty => writeln!(self.out, "{what} {name} is empty")?,
            Verdict::Cut => writeln!(self.out, "Successfully truncated AOF {name}")?,
            Verdict::CutAtTime => {
                writeln!(self.out, "Successfully truncated AOF {name} to timestamp {until}")?;
            }
        }
        Ok(())
    }

    fn check_file(
        &mut self,
        name: &str,
        path: &str,
        is_last: bool,
        has_keys: bool,
    ) -> Result<Verdict, Failed> {
        let opened = OpenOptions::new().read(true).write(true).open(path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) => {
                let why = error_text(&error);
                return self.fail(&format!("Cannot open file {path}: {why}, aborting..."));
            }
        };
        let Ok(facts) = file.metadata() else {
            return self.fail(&format!("Cannot stat file: {name}, aborting..."));
        };
        let size = facts.len();
        if size == 0 {
            return Ok(Verdict::Empty);
        }
        let start = if has_keys { self.check_keys(path)? } else { 0 };
        file.seek(SeekFrom::Start(start))?;
        let mut scan = Scan::new(BufReader::with_capacity(1 << 20, file.try_clone()?), start);
        let cut = self.scan_commands(&mut scan, name, path)?;
        if let Some(at) = cut {
            return self.cut_at_time(&file, name, at, is_last);
        }
        let until = self.options.until_s.filter(|_| size == scan.valid);
        if let Some(until) = until {
            writeln!(self.out, "Truncate nothing in AOF {name} to timestamp {until}")?;
            return Ok(Verdict::Valid);
        }
        let (valid, line) = (scan.valid, scan.line);
        let diff = size - valid;
        writeln!(
            self.out,
            "AOF analyzed: filename={name}, size={size}, ok_up_to={valid}, \
             ok_up_to_line={line}, diff={diff}"
        )?;
        if diff == 0 { Ok(Verdict::Valid) } else { self.fix(&file, name, (size, valid), is_last) }
    }

    /// Checks the snapshot at the beginning of a file. Returns the offset of its end.
    fn check_keys(&mut self, path: &str) -> Result<u64, Failed> {
        writeln!(self.out, "[offset 0] Checking RDB file {path}")?;
        let file = File::open(path)?;
        let trust = Trust { any_version: false, has_checksum: true };
        let mut keys = 0u64;
        let read = FileReader::open(file, trust).and_then(|mut reader| {
            while reader
                .next(|part| {
                    keys += u64::from(matches!(part, crate::rdb::Part::Entry(_)));
                    Ok(())
                })?
                .is_some()
            {}
            Ok(reader.offset())
        });
        match read {
            Ok(end) => {
                writeln!(self.out, "[offset {end}] Checksum OK")?;
                writeln!(self.out, "[offset {end}] \\o/ RDB looks OK! \\o/")?;
                writeln!(self.out, "[info] {keys} keys read")?;
                writeln!(self.out, "RDB preamble is OK, proceeding with AOF tail...")?;
                Ok(end)
            }
            Err(why) => {
                writeln!(self.out, "--- RDB ERROR DETECTED ---\n{why}")?;
                self.fail("RDB preamble of AOF file is not sane, aborting.")
            }
        }
    }

    /// Reads commands until the end or the first fault. Returns the offset of the first annotation
    /// behind the wanted time.
    fn scan_commands(
        &mut self,
        scan: &mut Scan<BufReader<File>>,
        name: &str,
        path: &str,
    ) -> Result<Option<u64>, Failed> {
        loop {
            if scan.multi == 0 {
                scan.valid = scan.offset;
            }
            match scan.peek()? {
                None => break,
                Some(b'#') => {
                    let at = scan.offset;
                    let time = match scan.annotation()? {
                        Ok(time) => time,
                        Err(()) => return self.fail("Invalid timestamp annotation"),
                    };
                    if time > self.options.until_s && self.options.until_s.is_some() {
                        return Ok(Some(at));
                    }
                }
                Some(b'*') => {
                    if !scan.command(path)? {
                        break;
                    }
                }
                Some(_) => {
                    writeln!(self.out, "AOF {name} format error")?;
                    break;
                }
            }
        }
        if scan.is_at_end && scan.multi != 0 && scan.error.is_empty() {
            scan.note("Reached EOF before reading EXEC for MULTI");
        }
        if !scan.error.is_empty() {
            writeln!(self.out, "{}", scan.error)?;
        }
        Ok(None)
    }

    fn cut_at_time(
        &mut self,
        file: &File,
        name: &str,
        at: u64,
        is_last: bool,
    ) -> Result<Verdict, Failed> {
        let until = self.options.until_s.unwrap_or(0);
        if at == 0 {
            return self
                .fail(&format!("AOF {name} has nothing before timestamp {until}, aborting..."));
        }
        if !is_last {
            writeln!(
                self.out,
                "Failed to truncate AOF {name} to timestamp {until} to offset {at} because it is \
                 not the last file."
            )?;
            return self.fail(
                "If you insist, please delete all files after this file according to the manifest \
                 file and delete the corresponding records in manifest file manually. Then re-run \
                 valkey-check-aof.",
            );
        }
        if file.set_len(at).is_err() {
            return self.fail(&format!("Failed to truncate AOF {name} to timestamp {until}"));
        }
        Ok(Verdict::CutAtTime)
    }

    fn fix(
        &mut self,
        file: &File,
        name: &str,
        (size, valid): (u64, u64),
        is_last: bool,
    ) -> Result<Verdict, Failed> {
        if !self.options.fixes {
            return self
                .fail(&format!("AOF {name} is not valid. Use the --fix option to try fixing it."));
        }
        if !is_last {
            let why = "because it is not the last file";
            return self.fail(&format!("Failed to truncate AOF {name} {why}"));
        }
        let diff = size - valid;
        writeln!(
            self.out,
            "This will shrink the AOF {name} from {size} bytes, with {diff} bytes, to {valid} bytes"
        )?;
        write!(self.out, "Continue? [y/N]: ")?;
        self.out.flush()?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        if !answer.starts_with(['y', 'Y']) {
            return self.fail("Aborting...");
        }
        match file.set_len(valid) {
            Ok(()) => Ok(Verdict::Cut),
            Err(_) => self.fail(&format!("Failed to truncate AOF {name}")),
        }
    }
}

fn is_snapshot(head: &[u8]) -> bool {
    head.len() >= 8 && (head.starts_with(b"REDIS") || head.starts_with(b"VALKEY"))
}

fn is_manifest(head: &[u8]) -> bool {
    let mut lines = head.split_inclusive(|byte| *byte == b'\n');
    lines.find(|line| !line.starts_with(b"#")).is_some_and(|line| line.starts_with(b"file"))
}

/// The position in a file of commands.
struct Scan<R> {
    from: R,
    offset: u64,
    line: u64,
    /// Offset of the last item that was read.
    item: u64,
    /// Offset up to which the file has whole commands and transactions.
    valid: u64,
    /// Number of transactions that are open: 0 or 1, if the file is valid.
    multi: i64,
    error: String,
    is_at_end: bool,
}

impl<R: BufRead> Scan<R> {
    fn new(from: R, offset: u64) -> Scan<R> {
        Scan {
            from,
            offset,
            line: 1,
            item: offset,
            valid: offset,
            multi: 0,
            error: String::new(),
            is_at_end: false,
        }
    }

    fn note(&mut self, what: &str) {
        self.error = format!("0x{:16x}: {what}", self.item);
    }

    /// Returns the next byte without taking it.
    fn peek(&mut self) -> io::Result<Option<u8>> {
        let byte = self.from.fill_buf()?.first().copied();
        self.is_at_end |= byte.is_none();
        Ok(byte)
    }

    /// Takes a line, up to a number of bytes.
    fn take_line(&mut self, bytes_max: usize) -> io::Result<Vec<u8>> {
        self.item = self.offset;
        let mut line = Vec::new();
        while line.len() < bytes_max
            && line.last() != Some(&b'\n')
            && let Some(byte) = self.peek()?
        {
            line.push(byte);
            self.from.consume(1);
            self.offset += 1;
        }
        Ok(line)
    }

    /// Takes an annotation. Returns its time if it has one, or an error if the time is no number.
    fn annotation(&mut self) -> io::Result<Result<Option<i64>, ()>> {
        let line = self.take_line(ANNOTATION_BYTES_MAX)?;
        let Some(digits) = line.strip_prefix(b"#TS:") else { return Ok(Ok(None)) };
        let end = digits.iter().position(|byte| *byte == b'\r').unwrap_or(digits.len());
        let number = std::str::from_utf8(&digits[..end]).ok().and_then(|text| text.parse().ok());
        Ok(number.filter(|_| end < digits.len()).map(Some).ok_or(()))
    }

    /// Takes a command. Returns false if it is not valid.
    fn command(&mut self, path: &str) -> io::Result<bool> {
        let Some(argc) = self.number(b'*')? else { return Ok(false) };
        for at in 0..argc {
            let Some(head) = self.arg()? else { return Ok(false) };
            if at > 0 {
                continue;
            }
            if head.eq_ignore_ascii_case(b"multi") {
                self.multi += 1;
                if self.multi > 1 {
                    self.note(&format!("Unexpected MULTI in AOF {path}"));
                    return Ok(false);
                }
            } else if head.eq_ignore_ascii_case(b"exec") {
                self.multi -= 1;
                if self.multi != 0 {
                    self.note(&format!("Unexpected EXEC in AOF {path}"));
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Takes a line with a number behind a mark.
    fn number(&mut self, mark: u8) -> io::Result<Option<i64>> {
        let line = self.take_line(LINE_BYTES_MAX)?;
        let Some((first, rest)) = line.split_first() else { return Ok(None) };
        if *first != mark {
            let (mark, first) = (char::from(mark), char::from(*first));
            self.note(&format!("Expected prefix '{mark}', got: '{first}'"));
            return Ok(None);
        }
        let sign = usize::from(rest.first() == Some(&b'-'));
        let digits = rest[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = std::str::from_utf8(&rest[..sign + digits]).unwrap_or("0");
        let number = number.parse().unwrap_or(0);
        let is_ended = self.line_end(&rest[sign + digits..]);
        Ok(is_ended.then_some(number))
    }

    /// Checks that a line ends here.
    fn line_end(&mut self, rest: &[u8]) -> bool {
        if rest.starts_with(b"\r\n") {
            self.line += 1;
            return true;
        }
        let byte = |at: usize| rest.get(at).map_or(0, |byte| *byte as i8 as i32 as u32);
        self.note(&format!("Expected \\r\\n, got: {:02x}{:02x}", byte(0), byte(1)));
        false
    }

    /// Takes an argument. Returns its first bytes, all of them if it may be a name.
    fn arg(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(len) = self.number(b'$')? else { return Ok(None) };
        let Ok(len) = u64::try_from(len) else {
            let what = "which is not in the suitable range";
            self.note(&format!("Expected to read string of {len} bytes, {what}"));
            return Ok(None);
        };
        self.item = self.offset;
        let (mut head, mut end, mut got) = (Vec::new(), Vec::new(), 0);
        while got < len + 2 {
            let buffer = self.from.fill_buf()?;
            if buffer.is_empty() {
                self.is_at_end = true;
                let wanted = len + 2;
                self.note(&format!("Expected to read {wanted} bytes, got {got} bytes"));
                return Ok(None);
            }
            let used = buffer.len().min((len + 2 - got) as usize);
            let text = (len.saturating_sub(got) as usize).min(used);
            if head.len() < 8 {
                head.extend_from_slice(&buffer[..text.min(8)]);
            }
            end.extend_from_slice(&buffer[text..used]);
            self.from.consume(used);
            self.offset += used as u64;
            got += used as u64;
        }
        Ok(self.line_end(&end).then_some(head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Checks a file with this content. Returns whether it is valid now, the output and the rest.
    fn check(name: &str, content: &str, options: CheckOptions) -> (bool, String, String) {
        let name = format!("annulet-check-{}-{name}.aof", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, content).expect("the file is written");
        let (mut out, text) = (Vec::new(), path.display().to_string());
        let is_valid = check_aof(&text, options, &mut out, &mut &b"y\n"[..]);
        let rest = fs::read_to_string(&path).expect("the file is read");
        fs::remove_file(&path).expect("the file is there");
        (is_valid, String::from_utf8_lossy(&out).replace(&text, "FILE"), rest)
    }

    const PING: &str = "*1\r\n$4\r\nPING\r\n";

    #[test]
    fn a_damaged_end_is_found_and_cut() {
        let content = format!("{PING}*2\r\n$3\r\nGET\r\n$10\r\nabc");
        let (is_valid, out, rest) = check("plain", &content, CheckOptions::default());
        assert!(!is_valid && rest == content);
        let wanted = "Start checking Old-Style AOF\n\
            0x              20: Expected to read 12 bytes, got 3 bytes\n\
            AOF analyzed: filename=FILE, size=35, ok_up_to=14, ok_up_to_line=8, diff=21\n\
            AOF FILE is not valid. Use the --fix option to try fixing it.\n";
        assert_eq!(out, wanted);
        let fixes = CheckOptions { fixes: true, until_s: None };
        let (is_valid, out, rest) = check("fixed", &content, fixes);
        assert!(is_valid && rest == PING, "{out}");
        assert!(out.ends_with("Continue? [y/N]: Successfully truncated AOF FILE\n"), "{out}");
        let inside = format!("{PING}*1\r\n$5\r\nMULTI\r\n{PING}");
        assert_eq!(check("inside", &inside, fixes).2, PING);
    }

    #[test]
    fn a_file_is_cut_at_a_time() {
        let content = format!("#TS:100\r\n{PING}#TS:200\r\n{PING}");
        let until = |s| CheckOptions { fixes: false, until_s: Some(s) };
        let (is_valid, out, rest) = check("time", &content, until(150));
        assert!(is_valid && rest == format!("#TS:100\r\n{PING}"), "{out}");
        assert!(out.ends_with("Successfully truncated AOF FILE to timestamp 150\n"), "{out}");
        let (is_valid, out, _) = check("early", &content, until(99));
        assert!(!is_valid && out.contains("nothing before timestamp 99"), "{out}");
        let (is_valid, out, _) = check("late", &content, until(200));
        assert!(is_valid && out.contains("Truncate nothing"), "{out}");
    }
}
