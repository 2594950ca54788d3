//! Test bench for session commands: one session in a process of two shards that do not run.

use super::FAMILIES;
use crate::base::clock::{Clock, ManualClock};
use crate::config::{Config, ConfigCell};
use crate::control::ProcessMemory;
use crate::exec::{CommandTable, Process, ProcessParts, Request, Session, SessionContext};
use crate::observe::{Boards, Level, Log};
use crate::resp::{Args, Error, Output, Reply, Span, Value};
use std::sync::LazyLock;

/// Unix time in milliseconds at which a bench's clock stands still.
pub const START_MS: u64 = 1_800_000_000_123;

static TABLE: LazyLock<CommandTable> = LazyLock::new(|| CommandTable::new(FAMILIES));

/// Test bench that runs the commands on the session.
pub struct SessionBench {
    /// Process of the session.
    pub process: Process,
    /// Session that runs the commands.
    pub session: Session,
    /// Request that the last command left to the shard.
    pub request: Option<Request>,
}

impl SessionBench {
    /// Creates a bench with a new session and the default settings.
    pub fn new() -> SessionBench {
        SessionBench::with(|_| {})
    }

    /// Creates a bench with a new session and the settings that `change` adjusts.
    pub fn with(change: impl FnOnce(&mut Config)) -> SessionBench {
        let mut config = Config::default();
        change(&mut config);
        let clock = Clock::Manual(ManualClock::new(START_MS));
        let mut session = Session::new(7, true, 0);
        session.address = "10.0.0.1:40000".to_string();
        let process = Process::new(ProcessParts {
            boards: Boards::new(2, config.databases as usize, TABLE.len()),
            config: ConfigCell::new(config),
            commands: LazyLock::force(&TABLE),
            log: Log::new(None, Level::Nothing, clock.clone()),
            clock,
            run_id: "a".repeat(40),
            paths: ["/bin/annulet".to_string(), String::new()],
            memory: ProcessMemory::open().expect("/proc can be read"),
        });
        session.begin_as_default(&process.acl);
        SessionBench { process, session, request: None }
    }

    /// Runs one command and returns its reply. Returns `None` if the command left a request or
    /// wrote no reply.
    pub fn run(&mut self, command: &[&str]) -> Option<Value> {
        let (mut text, mut spans) = (Vec::new(), Vec::new());
        for arg in command {
            spans.push(Span::text(text.len(), arg.len()));
            text.extend_from_slice(arg.as_bytes());
        }
        let mut args = Args::new(&text, &spans, &mut []);
        let mut out = Output::default();
        let entry = TABLE.find(command[0].as_bytes()).expect("a command");
        let subcommand = command.get(1).and_then(|arg| entry.subcommand(arg.as_bytes()));
        let entry = subcommand.unwrap_or(entry);
        let mut cx = SessionContext {
            is_in_exec: false,
            reply: Reply::new(&mut out, self.session.protocol),
            session: &mut self.session,
            process: &self.process,
            entry,
            now_us: START_MS * 1_000,
            shard: 0,
            request: None,
        };
        let result = match entry.on_session() {
            _ if !entry.command.card.takes(command.len()) => Err(Error::wrong_arity(&entry.name)),
            run => run.expect("a session command")(&mut cx, &mut args),
        };
        self.request = cx.request.take();
        if let Err(error) = result {
            assert!(self.request.is_none(), "{command:?} leaves a request although it fails");
            return Some(Value::Error(error.bytes().to_vec()));
        }
        let bytes = out.to_vec();
        let (value, len) = Value::read(&bytes)?;
        assert_eq!(len, bytes.len(), "{command:?}: exactly one reply");
        Some(value)
    }

    /// Runs the lines of a script and compares the results. A line has a command, ` => ` and the
    /// result: the reply as [`show`] writes it, `?` and the request, or `nothing`. `''` is an empty
    /// argument and `~` a space. A line that starts with `| ` continues the line before.
    pub fn check_script(&mut self, script: &str) {
        let mut lines: Vec<String> = Vec::new();
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match (line.strip_prefix("| "), lines.last_mut()) {
                (Some(more), Some(last)) => *last = format!("{last} {more}"),
                _ => lines.push(line.to_string()),
            }
        }
        for line in &lines {
            let (command, expected) = line.split_once(" => ").expect("a command and its reply");
            let args = command.split_whitespace();
            let args = args.map(|arg| if arg == "''" { String::new() } else { arg.into() });
            let args: Vec<String> = args.map(|arg| arg.replace('~', " ")).collect();
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let shown = match (self.run(&args), &self.request) {
                (Some(value), _) => show(&value),
                (None, Some(request)) => format!("?{request:?}"),
                (None, None) => "nothing".to_string(),
            };
            assert_eq!(shown, expected, "{command}");
        }
    }
}

/// Returns a reply as one line: `OK`, `:1`, `"text"`, `nil`, `[1 "a"]`, `<1 2>` for a set, `{k v}`
/// for a map, `-ERR ...`.
pub fn show(value: &Value) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let all = |values: &[Value]| values.iter().map(show).collect::<Vec<_>>().join(" ");
    match value {
        Value::Simple(bytes) => text(bytes),
        Value::Error(bytes) => format!("-{}", text(bytes)),
        Value::Integer(number) => format!(":{number}"),
        Value::Bulk(bytes) => format!("\"{}\"", text(bytes)),
        Value::Verbatim(kind, bytes) => format!("{}\"{}\"", text(kind), text(bytes)),
        Value::Null => "nil".to_string(),
        Value::Array(values) => format!("[{}]", all(values)),
        Value::Set(values) => format!("<{}>", all(values)),
        Value::Map(pairs) => {
            let flat: Vec<Value> = pairs.iter().flat_map(|(k, v)| [k.clone(), v.clone()]).collect();
            format!("{{{}}}", all(&flat))
        }
        other => format!("{other:?}"),
    }
}
