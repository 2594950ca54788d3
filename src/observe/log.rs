//! The server's log, one line per event, in one of Valkey's formats:
//!
//! ```text
//!   4711:M 20 Nov 2026 11:48:46.123 * Ready to accept connections tcp
//!   pid  |                          |
//!        role: M primary, S replica  level: . debug, - verbose, * notice, # warning
//!
//!   pid=4711 role=primary timestamp="2026-11-20T11:48:46.123+01:00" level=notice message="..."
//!   {"pid":4711,"role":"primary","timestamp":"1795171726123","level":"notice","message":"..."}
//! ```

use crate::base::clock::Clock;
use crate::base::local_time::local_time;
use crate::base::syslog;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// Bytes of a message that are logged; the rest is cut off.
const MESSAGE_BYTES_MAX: usize = 1024;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The importance of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// For debugging.
    Debug,
    /// Rarely useful.
    Verbose,
    /// For production.
    Notice,
    /// Needs attention.
    Warning,
    /// As a threshold: logs nothing.
    Nothing,
}

impl Level {
    /// Returns the level with this index: 0 is [`Level::Debug`], 4 and above [`Level::Nothing`].
    pub fn from_index(index: usize) -> Level {
        let levels = [Level::Debug, Level::Verbose, Level::Notice, Level::Warning];
        levels.get(index).copied().unwrap_or(Level::Nothing)
    }

    /// Returns the level's name in the structured formats.
    fn word(self) -> &'static str {
        ["debug", "info", "notice", "warning", "nothing"][self as usize]
    }
}

/// The format of lines: indices into the values of `log-format` and `log-timestamp-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogForm {
    /// Layout: 0 legacy, 1 `logfmt`, 2 JSON.
    pub layout: u8,
    /// Time: 0 legacy, 1 ISO 8601, 2 Unix milliseconds.
    pub time: u8,
}

/// Writes lines to the standard output or to a file, and optionally to syslog, from any thread.
#[derive(Debug)]
pub struct Log {
    file: Option<PathBuf>,
    least: AtomicU8,
    role: AtomicU8,
    layout: AtomicU8,
    time: AtomicU8,
    has_syslog: AtomicBool,
    clock: Clock,
}

impl Log {
    /// Creates a log of lines of level `least` and above, to `file` or else to the standard output.
    pub fn new(file: Option<PathBuf>, least: Level, clock: Clock) -> Log {
        Log {
            file,
            least: AtomicU8::new(least as u8),
            role: AtomicU8::new(b'M'),
            layout: AtomicU8::new(0),
            time: AtomicU8::new(0),
            has_syslog: AtomicBool::new(false),
            clock,
        }
    }

    /// Checks that the file can be opened, so that a start can fail early.
    pub fn check(&self) -> io::Result<()> {
        match &self.file {
            Some(path) => OpenOptions::new().append(true).create(true).open(path).map(drop),
            None => Ok(()),
        }
    }

    /// Whether lines go to a file.
    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Sets the threshold.
    pub fn set_level(&self, least: Level) {
        self.least.store(least as u8, Ordering::Relaxed);
    }

    /// Sets the letter of the role: `M`, `S` or `X`.
    pub fn set_role(&self, role: u8) {
        assert!(role.is_ascii_uppercase(), "roles are capital letters");
        self.role.store(role, Ordering::Relaxed);
    }

    /// Sets the format of lines.
    pub fn set_form(&self, form: LogForm) {
        self.layout.store(form.layout, Ordering::Relaxed);
        self.time.store(form.time, Ordering::Relaxed);
    }

    /// Sends messages to syslog as well; it must be open.
    pub fn add_syslog(&self) {
        self.has_syslog.store(true, Ordering::Relaxed);
    }

    /// Whether lines of this level are logged; lets callers skip the formatting of other messages.
    pub fn logs(&self, level: Level) -> bool {
        level as u8 >= self.least.load(Ordering::Relaxed) && level != Level::Nothing
    }

    /// Logs a message for debugging.
    pub fn debug(&self, message: &str) {
        self.write(Level::Debug, message);
    }

    /// Logs a message that is rarely useful.
    pub fn verbose(&self, message: &str) {
        self.write(Level::Verbose, message);
    }

    /// Logs a message for production.
    pub fn notice(&self, message: &str) {
        self.write(Level::Notice, message);
    }

    /// Logs a message that needs attention.
    pub fn warning(&self, message: &str) {
        self.write(Level::Warning, message);
    }

    /// Logs a message at any level. Write errors are ignored, because there is nowhere to report
    /// them.
    pub fn write(&self, level: Level, message: &str) {
        if !self.logs(level) {
            return;
        }
        let message = cut(message);
        self.put(self.line(level, message).as_bytes());
        if self.has_syslog.load(Ordering::Relaxed) {
            syslog::write(level as usize, message);
        }
    }

    /// Writes a text of several lines unchanged, at the level of warnings.
    pub fn raw(&self, text: &str) {
        if self.logs(Level::Warning) {
            self.put(text.as_bytes());
        }
    }

    fn put(&self, bytes: &[u8]) {
        let _ = match &self.file {
            // Opened again for each line, so that the file can be moved at any time.
            Some(path) => {
                let file = OpenOptions::new().append(true).create(true).open(path);
                file.and_then(|mut file| file.write_all(bytes))
            }
            // Standard output is line-buffered: a text with a line end at its end is one write.
            None => io::stdout().lock().write_all(bytes),
        };
    }

    fn line(&self, level: Level, message: &str) -> String {
        let role = self.role.load(Ordering::Relaxed);
        let pid = std::process::id();
        let mut line = String::with_capacity(message.len() + 96);
        let layout = self.layout.load(Ordering::Relaxed);
        if layout == 0 {
            let _ = write!(line, "{pid}:{} ", role as char);
            self.write_time(&mut line);
            let _ = write!(line, " {} ", [".", "-", "*", "#"][level as usize]);
            // One event is one line, whatever text a client has put into it.
            line.extend(message.chars().map(|c| if c == '\n' || c == '\r' { ' ' } else { c }));
            line.push('\n');
            return line;
        }
        let role = if role == b'S' { "replica" } else { "primary" };
        let level = level.word();
        let is_json = layout == 2;
        let _ = match is_json {
            true => write!(line, "{{\"pid\":{pid},\"role\":\"{role}\",\"timestamp\":\""),
            false => write!(line, "pid={pid} role={role} timestamp=\""),
        };
        self.write_time(&mut line);
        if is_json {
            let _ = write!(line, "\",\"level\":\"{level}\",\"message\":\"");
            message.chars().for_each(|c| escape_json(c, &mut line));
            line.push_str("\"}\n");
        } else {
            let _ = write!(line, "\" level={level} message=\"");
            line.extend(message.chars().map(|c| match c {
                '\n' | '\r' => ' ',
                '"' => '\'',
                c => c,
            }));
            line.push_str("\"\n");
        }
        line
    }

    fn write_time(&self, line: &mut String) {
        let now_ms = self.clock.unix_ms();
        let form = self.time.load(Ordering::Relaxed);
        let _ = match form {
            2 => write!(line, "{now_ms}"),
            _ => {
                let t = local_time((now_ms / 1_000) as i64);
                let _ = match form {
                    0 => {
                        let month = MONTHS[t.month as usize - 1];
                        write!(line, "{:02} {month} {:04} ", t.day, t.year)
                    }
                    _ => write!(line, "{:04}-{:02}-{:02}T", t.year, t.month, t.day),
                };
                let (hour, minute, second, ms) = (t.hour, t.minute, t.second, now_ms % 1_000);
                let _ = write!(line, "{hour:02}:{minute:02}:{second:02}.{ms:03}");
                let sign = if t.offset_s < 0 { '-' } else { '+' };
                let minutes = t.offset_s.unsigned_abs() / 60;
                match form {
                    0 => Ok(()),
                    _ => write!(line, "{sign}{:02}:{:02}", minutes / 60, minutes % 60),
                }
            }
        };
    }
}

/// Appends a character, escaped for a JSON string.
fn escape_json(c: char, line: &mut String) {
    match c {
        '"' | '\\' => line.extend(['\\', c]),
        '\n' => line.push_str("\\n"),
        '\r' => line.push_str("\\r"),
        '\t' => line.push_str("\\t"),
        '\u{c}' => line.push_str("\\f"),
        '\u{8}' => line.push_str("\\b"),
        c if c < ' ' => {
            let _ = write!(line, "\\u{:04x}", c as u32);
        }
        c => line.push(c),
    }
}

/// Cuts a message to [`MESSAGE_BYTES_MAX`] bytes of whole characters.
fn cut(message: &str) -> &str {
    let ends = message.char_indices().map(|(start, c)| start + c.len_utf8());
    let end = ends.take_while(|end| *end <= MESSAGE_BYTES_MAX).last().unwrap_or(0);
    &message[..end]
}

/// Limits one kind of line, for example the reasons of closed connections, per period.
#[derive(Clone, Debug)]
pub struct LineLimit {
    lines_max: u32,
    window_ns: u64,
    window_start_ns: u64,
    lines: u32,
    withheld: u64,
}

impl LineLimit {
    /// Allows at most `lines_max` lines in each window of `window_ns` nanoseconds.
    pub fn new(lines_max: u32, window_ns: u64) -> LineLimit {
        LineLimit { lines_max, window_ns, window_start_ns: 0, lines: 0, withheld: 0 }
    }

    /// Returns `None` if no line may be logged at `now_ns` (monotonic). Otherwise returns how many
    /// lines were withheld since the last one.
    pub fn allow(&mut self, now_ns: u64) -> Option<u64> {
        if now_ns.saturating_sub(self.window_start_ns) >= self.window_ns {
            self.window_start_ns = now_ns;
            self.lines = 0;
        }
        if self.lines == self.lines_max {
            self.withheld += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::ManualClock;

    #[test]
    fn lines_have_the_form_of_the_reference() {
        let path = std::env::temp_dir().join(format!("annulet-log-{}", std::process::id()));
        let clock = Clock::Manual(ManualClock::new(1_700_000_000_042));
        let log = Log::new(Some(path.clone()), Level::Notice, clock);
        log.check().unwrap();
        log.verbose("unseen");
        log.notice("two\nlines");
        log.set_level(Level::Debug);
        log.set_role(b'S');
        log.debug(&"x".repeat(5_000));
        log.set_level(Level::Nothing);
        log.warning("unseen");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        let pid = std::process::id();
        assert!(lines[0].starts_with(&format!("{pid}:M 1")), "{}", lines[0]);
        assert!(lines[0].contains(" Nov 2023 "));
        assert!(lines[0].ends_with(":20.042 * two lines"), "{}", lines[0]);
        assert!(lines[1].starts_with(&format!("{pid}:S ")));
        let (_, message) = lines[1].split_once(" . ").unwrap();
        assert_eq!(message.len(), MESSAGE_BYTES_MAX);
    }

    #[test]
    fn structured_formats_are_well_formed() {
        let path = std::env::temp_dir().join(format!("annulet-logfmt-{}", std::process::id()));
        let clock = Clock::Manual(ManualClock::new(1_700_000_000_042));
        let log = Log::new(Some(path.clone()), Level::Notice, clock);
        log.set_form(LogForm { layout: 1, time: 2 });
        log.notice("a \"b\"\nc");
        log.set_form(LogForm { layout: 2, time: 2 });
        log.warning("a \"b\"\n\t\\\u{1}");
        log.set_form(LogForm { layout: 2, time: 1 });
        log.set_role(b'S');
        log.warning("x");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let pid = std::process::id();
        let logfmt = "role=primary timestamp=\"1700000000042\" level=notice message=\"a 'b' c\"";
        assert_eq!(lines[0], format!("pid={pid} {logfmt}"));
        let json = r#""level":"warning","message":"a \"b\"\n\t\\\u0001"}"#;
        let head = r#""role":"primary","timestamp":"1700000000042""#;
        assert_eq!(lines[1], format!(r#"{{"pid":{pid},{head},{json}"#));
        let (_, stamp) = lines[2].split_once(r#""role":"replica","timestamp":"2023-11-1"#).unwrap();
        assert_eq!(&stamp[1..2], "T");
        assert_eq!((&stamp[4..5], &stamp[10..14], stamp.as_bytes()[17]), (":", ".042", b':'));
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_noticed() {
        let path = Some(PathBuf::from("/nowhere/at/all.log"));
        let log = Log::new(path, Level::Notice, Clock::System);
        assert_eq!(log.check().unwrap_err().kind(), io::ErrorKind::NotFound);
        log.notice("goes nowhere");
    }

    #[test]
    fn a_limit_withholds_lines_and_counts_them() {
        let mut limit = LineLimit::new(2, 1_000);
        assert_eq!(limit.allow(0), Some(0));
        assert_eq!(limit.allow(10), Some(0));
        assert_eq!(limit.allow(20), None);
        assert_eq!(limit.allow(999), None);
        assert_eq!(limit.allow(1_000), Some(2));
        assert_eq!(limit.allow(1_001), Some(0));
        assert_eq!(limit.allow(1_002), None);
    }
}
