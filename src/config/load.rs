//! From the command line and config files to a [`Config`].
//!
//! As with redis-server, the command line is `[CONFIG_FILE] [-] [--directive value ...]`. The file,
//! the standard input and the directives form one text in that order, and later lines win.

use super::card::Value;
use super::words::{quote, split_words};
use super::{Config, find};
use crate::base::system::error_text;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// This server's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Largest depth of config files that include one another.
const INCLUDE_DEPTH_MAX: usize = 16;

/// Directives of versions other than Valkey 9.1. They have no effect here and are skipped, each for
/// the reason given.
pub(super) const SKIPPED: &[(&str, &str)] = &[
    ("cluster-compatibility-sample-ratio", "specific to Redis 8; Annulet takes no samples"),
    ("dynamic-hz", "housekeeping adapts to the amount of work"),
    ("events-per-io-thread", "shards replace I/O threads"),
    ("io-threads-do-reads", "shards replace I/O threads"),
    ("list-max-ziplist-entries", "replaced by `list-max-listpack-size` in Redis 3.2"),
    ("list-max-ziplist-value", "replaced by `list-max-listpack-size` in Redis 3.2"),
    ("lua-replicate-commands", "since Redis 7 only the effects of scripts are replicated"),
    ("replica-full-sync-buffer-limit", "specific to Redis 8; replicas read from the backlog"),
    ("sanitize-dump-payload", "payloads are always checked in full"),
];

/// Returns the line that `--version` prints.
pub fn version_line() -> String {
    let bits = usize::BITS;
    format!("Annulet server v={VERSION} malloc=mimalloc-0.1.52 bits={bits}")
}

/// Checks the arguments of a `user` directive: the name and the rules. An error is the index of the
/// wrong rule, and what is wrong.
type CheckUser = dyn Fn(&[&[u8]]) -> Result<(), (usize, &'static str)>;

/// Access to config files, passed in so that tests need no files.
pub struct Files<'a> {
    /// Returns the whole text of a file.
    pub read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// Returns the whole text of the standard input.
    pub standard_input: &'a dyn Fn() -> io::Result<Vec<u8>>,
    /// Checks the arguments of a `user` directive.
    pub check_user: &'a CheckUser,
    /// Whether there is a command of this name, in any case.
    pub is_command: &'a dyn Fn(&[u8]) -> bool,
    /// Returns the existing paths that match a pattern, sorted; for `include` with a wildcard.
    pub expand: &'a dyn Fn(&Path) -> Vec<PathBuf>,
}

/// Why the server cannot start. The text is printed to the standard error without change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FatalConfigError {
    /// A line that is wrong.
    Line {
        /// The line's number, from 1; lines of the command line follow the file's.
        number: usize,
        /// The line, without surrounding blanks.
        line: String,
        /// What is wrong.
        reason: String,
    },
    /// An error that no single line causes.
    General(String),
    /// A file that cannot be read.
    Unreadable {
        /// The file's path.
        path: PathBuf,
        /// Why it cannot be read.
        reason: String,
    },
}

impl FatalConfigError {
    /// Creates the error for a log file that cannot be opened.
    pub fn of_log_file(error: &io::Error) -> FatalConfigError {
        FatalConfigError::General(format!("Can't open the log file: {}", error_text(error)))
    }
}

impl fmt::Display for FatalConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = format_args!("\n*** FATAL CONFIG FILE ERROR (Version {VERSION}) ***");
        match self {
            FatalConfigError::Line { number, line, reason } => {
                writeln!(f, "{header}")?;
                writeln!(f, "Reading the configuration file, at line {number}")?;
                write!(f, ">>> '{line}'\n{reason}")
            }
            FatalConfigError::General(reason) => write!(f, "{header}\n{reason}"),
            FatalConfigError::Unreadable { path, reason } => {
                write!(f, "Fatal error, can't open config file '{}': {reason}", path.display())
            }
        }
    }
}

impl std::error::Error for FatalConfigError {}

impl Config {
    /// Returns the settings that the command line (without the program's name) asks for. `--help`
    /// and `--version` must be handled before.
    pub fn load<W: AsRef<[u8]>>(argv: &[W], files: &Files) -> Result<Config, FatalConfigError> {
        let argv: Vec<&[u8]> = argv.iter().map(AsRef::as_ref).collect();
        let mut config = Config::default();
        let mut text = Vec::new();
        let args = match argv.split_first() {
            Some((file, rest)) if !file.starts_with(b"-") => {
                let path = config.dir.join(OsStr::from_bytes(file));
                text = read(&path, Path::new(OsStr::from_bytes(file)), files)?;
                config.config_file = Some(path);
                rest
            }
            _ => &argv[..],
        };
        let (options, stdin) = lines_of_argv(args, args.len() == argv.len());
        if stdin {
            let input = (files.standard_input)().map_err(|error| {
                let path = PathBuf::from("-");
                FatalConfigError::Unreadable { path, reason: error_text(&error) }
            })?;
            text.extend(input);
        }
        text.push(b'\n');
        text.extend(options);
        let mut loader = Loader { config, files, save_seen: false };
        loader.load(&text, 0)?;
        loader.config.settle();
        Ok(loader.config)
    }
}

fn read(path: &Path, named: &Path, files: &Files) -> Result<Vec<u8>, FatalConfigError> {
    (files.read)(path).map_err(|error| {
        let path = named.to_path_buf();
        FatalConfigError::Unreadable { path, reason: error_text(&error) }
    })
}

/// Converts arguments of the command line to lines of a config file. Also returns whether to read
/// the standard input. `first` says that `argv` starts at the first argument, where a lone `-` is
/// allowed, as at the end.
fn lines_of_argv(argv: &[&[u8]], first: bool) -> (Vec<u8>, bool) {
    let mut text: Vec<u8> = Vec::new();
    let mut stdin = false;
    // An argument with two dashes is a directive only if the directive before it has a value.
    let mut directive_due = true;
    for (at, &word) in argv.iter().enumerate() {
        if word == b"-" && ((first && at == 0) || at == argv.len() - 1) {
            stdin = true;
        } else if directive_due && word.starts_with(b"--") {
            if !text.is_empty() {
                text.push(b'\n');
            }
            text.extend_from_slice(&word[2..]);
            text.push(b' ');
            let with_value = split_words(word).is_none_or(|args| args.len() != 1);
            let no_value_follows = argv.get(at + 1).is_none_or(|next| next.starts_with(b"--"));
            if !with_value && no_value_follows && word.eq_ignore_ascii_case(b"--save") {
                text.extend_from_slice(b"\"\"");
            } else if !with_value && !word.eq_ignore_ascii_case(b"--sentinel") {
                directive_due = false;
            }
        } else {
            quote(word, &mut text);
            text.push(b' ');
            directive_due = true;
        }
    }
    (text, stdin)
}

struct Loader<'a> {
    config: Config,
    files: &'a Files<'a>,
    /// Whether a `save` line was seen: the first one replaces the default, further ones add to it.
    save_seen: bool,
}

impl Loader<'_> {
    fn load(&mut self, text: &[u8], depth: usize) -> Result<(), FatalConfigError> {
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            self.obey(line, depth).map_err(|failure| match failure {
                Failure::Line(reason) => FatalConfigError::Line {
                    number: index + 1,
                    line: String::from_utf8_lossy(line).into_owned(),
                    reason,
                },
                Failure::Inner(error) => error,
            })?;
        }
        Ok(())
    }

    fn obey(&mut self, line: &[u8], depth: usize) -> Result<(), Failure> {
        let Some(args) = split_words(line) else {
            return fail("Unbalanced quotes in configuration line");
        };
        let Some((name, values)) = args.split_first() else { return Ok(()) };
        if let Some(named) = find(name) {
            return self.assign(named.setting, values).map_err(Failure::Line);
        }
        let name = name.to_ascii_lowercase();
        if values.len() == 1 && SKIPPED.iter().any(|(known, _)| known.as_bytes() == name) {
            return Ok(());
        }
        match (name.as_slice(), values) {
            (b"include", [path]) => self.include(path, depth),
            (b"rename-command", [old, new]) => self.rename(old, new),
            (b"user", [_, ..]) => self.user(&args),
            (b"loadmodule", [_, ..]) => {
                fail("modules cannot be loaded: this server has no module API")
            }
            (b"sentinel", []) => fail("sentinel mode is not available"),
            (b"sentinel", _) => fail("sentinel directive while not in sentinel mode"),
            _ => fail("Bad directive or wrong number of arguments"),
        }
    }

    fn assign(&mut self, setting: &super::Setting, values: &[Vec<u8>]) -> Result<(), String> {
        // A directive's arguments may also be given in one pair of quotes.
        let split = match values {
            [one] if setting.takes_words() && !one.is_empty() => split_words(one),
            _ => None,
        };
        let values = split.as_deref().unwrap_or(values);
        let args: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let before = self.config.save.clone();
        setting.set(&mut self.config, &args)?;
        if let Value::Save(points) = setting.value(&self.config) {
            let adds = self.save_seen && !matches!(args[..], [b""]);
            if adds {
                self.config.save = [before, points].concat();
            }
            self.save_seen = true;
        }
        Ok(())
    }

    /// Adds a user. As in the reference, an error quotes the argument with the index of the rule.
    fn user(&mut self, args: &[Vec<u8>]) -> Result<(), Failure> {
        let is_known = self.config.users.iter().any(|user| user[0] == args[1]);
        let texts: Vec<&[u8]> = args[1..].iter().map(Vec::as_slice).collect();
        let checked = match is_known {
            true => {
                Err((1, "Duplicate user found. A user can only be defined once in config files"))
            }
            false => (self.files.check_user)(&texts),
        };
        if let Err((at, why)) = checked {
            let quoted = String::from_utf8_lossy(&args[at]);
            return fail(&format!("Error in user declaration '{quoted}': {why}"));
        }
        self.config.users.push(args[1..].to_vec());
        Ok(())
    }

    fn rename(&mut self, old: &[u8], new: &[u8]) -> Result<(), Failure> {
        if !self.is_command(old) {
            return fail("No such command in rename-command");
        }
        if !new.is_empty() && !new.eq_ignore_ascii_case(old) && self.is_command(new) {
            return fail("Target command name already exists");
        }
        self.config.renamed_commands.push((old.to_vec(), new.to_vec()));
        Ok(())
    }

    /// Whether a command has this name after the renames so far.
    fn is_command(&self, name: &[u8]) -> bool {
        let mut is_command = (self.files.is_command)(name);
        for (old, new) in &self.config.renamed_commands {
            is_command &= !old.eq_ignore_ascii_case(name);
            is_command |= !new.is_empty() && new.eq_ignore_ascii_case(name);
        }
        is_command
    }

    fn include(&mut self, path: &[u8], depth: usize) -> Result<(), Failure> {
        if depth == INCLUDE_DEPTH_MAX {
            return fail("Too many config files include one another");
        }
        let named = Path::new(OsStr::from_bytes(path));
        let full = self.config.dir.join(named);
        let mut text = Vec::new();
        if path.iter().any(|byte| b"*?[".contains(byte)) {
            for found in (self.files.expand)(&full) {
                text.extend(read(&found, &found, self.files).map_err(Failure::Inner)?);
            }
        } else {
            text = read(&full, named, self.files).map_err(Failure::Inner)?;
        }
        self.load(&text, depth + 1).map_err(Failure::Inner)
    }
}

enum Failure {
    Line(String),
    /// An error in an included file, with its own line numbers.
    Inner(FatalConfigError),
}

fn fail(reason: &str) -> Result<(), Failure> {
    Err(Failure::Line(reason.to_owned()))
}

/// Returns the existing paths that `pattern` matches, sorted: [`Files::expand`] for the real file
/// system. `matches(pattern, name)` compares one component. Names that start with a dot do not
/// match.
pub fn expand_pattern(pattern: &Path, matches: &dyn Fn(&[u8], &[u8]) -> bool) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let part = component.as_os_str();
        if !part.as_bytes().iter().any(|byte| b"*?[".contains(byte)) {
            found = found.into_iter().map(|path| path.join(part)).collect();
            continue;
        }
        found = found.iter().flat_map(|path| matching_entries(path, part, matches)).collect();
    }
    found.retain(|path| path.exists());
    found.sort();
    found
}

fn matching_entries(
    directory: &Path,
    pattern: &OsStr,
    matches: &dyn Fn(&[u8], &[u8]) -> bool,
) -> Vec<PathBuf> {
    let here = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let Ok(entries) = std::fs::read_dir(here) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name());
    let wanted = names.filter(|name| {
        !name.as_bytes().starts_with(b".") && matches(pattern.as_bytes(), name.as_bytes())
    });
    wanted.map(|name| directory.join(name)).collect()
}
