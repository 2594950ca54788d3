//! The server's log, one line per event, in Valkey's form:
//!
//! ```text
//!   4711:M 20 Nov 2026 11:48:46.123 * Ready to accept connections tcp
//!   pid  |                          |
//!        role: M primary, S replica  level: . debug, - verbose, * notice, # warning
//! ```

use crate::base::clock::Clock;
use crate::base::local_time::local_time;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};

/// Bytes of a message; the rest is cut off.
const MESSAGE_BYTES_MAX: usize = 1024;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// For development.
    Debug,
    /// Rarely useful.
    Verbose,
    /// What one wants in production.
    Notice,
    /// What needs attention.
    Warning,
    /// As a threshold: log nothing.
    Nothing,
}

impl Level {
    /// The level with this index: 0 is [`Level::Debug`], 4 and above [`Level::Nothing`].
    pub fn from_index(index: usize) -> Level {
        let levels = [Level::Debug, Level::Verbose, Level::Notice, Level::Warning];
        levels.get(index).copied().unwrap_or(Level::Nothing)
    }
}

/// Writes lines to the standard output or to a file, from any thread.
#[derive(Debug)]
pub struct Log {
    file: Option<PathBuf>,
    least: AtomicU8,
    role: AtomicU8,
    clock: Clock,
}

impl Log {
    /// A log of lines from `least` on, to `file` or else to the standard output.
    pub fn new(file: Option<PathBuf>, least: Level, clock: Clock) -> Log {
        Log { file, least: AtomicU8::new(least as u8), role: AtomicU8::new(b'M'), clock }
    }

    /// Whether the file can be opened, so that a start can fail early.
    pub fn check(&self) -> io::Result<()> {
        match &self.file {
            Some(path) => OpenOptions::new().append(true).create(true).open(path).map(drop),
            None => Ok(()),
        }
    }

    /// Changes the threshold.
    pub fn set_level(&self, least: Level) {
        self.least.store(least as u8, Ordering::Relaxed);
    }

    /// Changes the role's letter: `M`, `S` or `X`.
    pub fn set_role(&self, role: u8) {
        assert!(role.is_ascii_uppercase(), "roles are capital letters");
        self.role.store(role, Ordering::Relaxed);
    }

    /// Whether lines of this level are logged; saves making up the message of one that is not.
    pub fn logs(&self, level: Level) -> bool {
        level as u8 >= self.least.load(Ordering::Relaxed) && level != Level::Nothing
    }

    /// Logs for development.
    pub fn debug(&self, message: &str) {
        self.write(Level::Debug, message);
    }

    /// Logs what is rarely useful.
    pub fn verbose(&self, message: &str) {
        self.write(Level::Verbose, message);
    }

    /// Logs what one wants in production.
    pub fn notice(&self, message: &str) {
        self.write(Level::Notice, message);
    }

    /// Logs what needs attention.
    pub fn warning(&self, message: &str) {
        self.write(Level::Warning, message);
    }

    /// Logs at any level. A log that cannot be written is given up silently: there is nobody
    /// left to tell.
    pub fn write(&self, level: Level, message: &str) {
        if !self.logs(level) {
            return;
        }
        let line = self.line(level, message);
        let _ = match &self.file {
            // Opened anew for each line, so that the file can be moved away at any time.
            Some(path) => {
                let file = OpenOptions::new().append(true).create(true).open(path);
                file.and_then(|mut file| file.write_all(line.as_bytes()))
            }
            // Line-buffered: a line that ends in a line end goes out as one write.
            None => io::stdout().lock().write_all(line.as_bytes()),
        };
    }

    fn line(&self, level: Level, message: &str) -> String {
        let now_ms = self.clock.unix_ms();
        let time = local_time((now_ms / 1_000) as i64);
        let role = self.role.load(Ordering::Relaxed) as char;
        let sign = [".", "-", "*", "#"][level as usize];
        let message = cut(message);
        let pid = std::process::id();
        let mut line = String::with_capacity(message.len() + 48);
        let month = MONTHS[time.month as usize - 1];
        let _ = write!(line, "{pid}:{role} {:02} {month} {:04} ", time.day, time.year);
        let _ = write!(line, "{:02}:{:02}:{:02}", time.hour, time.minute, time.second);
        let _ = write!(line, ".{:03} {sign} ", now_ms % 1_000);
        // One event is one line, whatever a client has put into it.
        line.extend(message.chars().map(|c| if c == '\n' || c == '\r' { ' ' } else { c }));
        line.push('\n');
        line
    }
}

/// At most [`MESSAGE_BYTES_MAX`] bytes of whole characters.
fn cut(message: &str) -> &str {
    let ends = message.char_indices().map(|(start, c)| start + c.len_utf8());
    let end = ends.take_while(|end| *end <= MESSAGE_BYTES_MAX).last().unwrap_or(0);
    &message[..end]
}

/// Keeps one kind of line, such as the reasons of dropped connections, from flooding the log.
#[derive(Clone, Debug)]
pub struct LineLimit {
    lines_max: u32,
    window_ns: u64,
    window_start_ns: u64,
    lines: u32,
    withheld: u64,
}

impl LineLimit {
    /// At most `lines_max` lines in each window of `window_ns` nanoseconds.
    pub fn new(lines_max: u32, window_ns: u64) -> LineLimit {
        LineLimit { lines_max, window_ns, window_start_ns: 0, lines: 0, withheld: 0 }
    }

    /// Whether a line may be logged at `now_ns` (monotonic), and if so, how many were withheld
    /// since the last one.
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
    fn a_file_that_cannot_be_opened_is_noticed() {
        let path = Some(PathBuf::from("/nowhere/at/all.log"));
        let log = Log::new(path, Level::Notice, Clock::System);
        assert_eq!(log.check().unwrap_err().kind(), io::ErrorKind::NotFound);
        log.notice("goes nowhere");
    }

    #[test]
    fn a_limit_withholds_and_tells() {
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
