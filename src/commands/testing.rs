//! Test bench for commands on keys: one slice, and a clock that moves only on request.

use super::FAMILIES;
use crate::base::slot::{SLOT_COUNT, slot_of};
use crate::config::Config;
use crate::exec::{BatchArgs, CommandTable, Effects, Item, Record, Records, Runner};
use crate::keyspace::{Slice, SliceOptions};
use crate::resp::{Error, LARGE_WORD_BYTES, Output, Protocol, Reply, Span, Value};
use bytes::BytesMut;
use std::ops::Range;
use std::sync::LazyLock;

/// Unix time in milliseconds at which a bench's clock starts.
pub const START_MS: u64 = 1_800_000_000_000;

static TABLE: LazyLock<CommandTable> = LazyLock::new(|| CommandTable::new(FAMILIES));

/// Test bench that runs the commands on keys.
pub struct Bench {
    /// Slice with the keys.
    pub slice: Slice,
    /// Protocol version of the replies.
    pub protocol: Protocol,
    /// Number of the selected database.
    pub db: usize,
    /// The settings.
    pub config: Config,
    /// Commands that the last command propagated; `None` if the feed has no readers.
    pub records: Option<Records>,
    /// Whether a command on all shards runs as one of several parts.
    pub is_part: bool,
    /// Whether the client does not update access clocks (CLIENT NO-TOUCH).
    pub is_quiet: bool,
    /// Addresses of the last command's large arguments, which have their own buffers.
    pub large_addresses: Vec<usize>,
    now_ms: u64,
    effects: Effects,
}

impl Bench {
    /// Creates a bench with an empty slice that owns all hash slots, and with RESP2.
    pub fn new() -> Bench {
        Bench::of_slots(0..SLOT_COUNT)
    }

    /// Creates a bench with an empty slice that owns a range of hash slots, and with RESP2.
    pub fn of_slots(slots: Range<u16>) -> Bench {
        let slots = slots.into();
        let options = SliceOptions { databases: 16, slots, hash_seed: [1, 2], seed: 3 };
        let mut bench = Bench {
            slice: Slice::new(options),
            protocol: Protocol::Two,
            db: 0,
            config: Config::default(),
            records: None,
            is_part: false,
            is_quiet: false,
            large_addresses: Vec::new(),
            now_ms: 0,
            effects: Effects::default(),
        };
        bench.advance_ms(START_MS);
        bench
    }

    /// Advances the clock.
    pub fn advance_ms(&mut self, ms: u64) {
        self.now_ms += ms;
        self.slice.set_now(self.now_ms);
    }

    /// Returns the numbers of hits, misses and expired keys so far.
    pub fn counters(&self) -> [u64; 3] {
        let stats = self.slice.stats();
        [stats.hits, stats.misses, stats.expired()]
    }

    /// Returns the dirty count of all commands so far.
    pub fn changes(&self) -> u64 {
        self.effects.changes
    }

    /// Gives the feed a reader: from now on the bench records what commands propagate.
    pub fn record(&mut self) {
        self.records = Some(Records::default());
        self.slice.note_expired(true);
    }

    /// Returns the commands that the last command propagated. The prefix `3:` marks a command in
    /// database 3.
    pub fn recorded(&self) -> Vec<String> {
        let records = self.records.as_ref().expect("the feed has a reader");
        let shown = |record: &Record| {
            let array =
                [format!("*{}\r\n", record.words).as_bytes(), records.bytes(record)].concat();
            let Some((Value::Array(args), _)) = Value::read(&array) else { panic!("an array") };
            let args: Vec<String> =
                args.iter().map(|arg| show(arg).trim_matches('"').to_string()).collect();
            match record.db {
                0 => args.join(" "),
                db => format!("{db}:{}", args.join(" ")),
            }
        };
        records.list().iter().map(shown).collect()
    }

    /// Runs one command and returns its reply.
    pub fn run<W: AsRef<[u8]>>(&mut self, args: &[W]) -> Value {
        let bytes = self.run_bytes(args);
        let (value, len) = Value::read(&bytes).expect("a whole reply");
        assert_eq!(len, bytes.len(), "exactly one reply");
        value
    }

    /// Runs one command and returns the bytes of its reply.
    pub fn run_bytes<W: AsRef<[u8]>>(&mut self, args: &[W]) -> Vec<u8> {
        let (mut text, mut spans) = (Vec::new(), Vec::new());
        let mut large: Vec<BytesMut> = Vec::new();
        for arg in args.iter().map(AsRef::as_ref) {
            if arg.len() >= LARGE_WORD_BYTES {
                spans.push(Span::large(large.len(), arg.len()));
                large.push(BytesMut::from(arg));
            } else {
                spans.push(Span::text(text.len(), arg.len()));
                text.extend_from_slice(arg);
            }
        }
        self.large_addresses = large.iter().map(|arg| arg.as_ptr() as usize).collect();
        let mut out = Output::default();
        let entry = TABLE.find(args[0].as_ref()).expect("a command");
        let entry = args.get(1).and_then(|arg| entry.subcommand(arg.as_ref())).unwrap_or(entry);
        if !entry.command.card.takes(args.len()) {
            Reply::new(&mut out, self.protocol).error(&Error::wrong_arity(&entry.name));
            return out.to_vec();
        }
        let first = entry.keys.first;
        let has_key = first > 0 && first < args.len();
        let slot = if has_key { slot_of(args[first].as_ref()) } else { 0 };
        let db = self.db as u16;
        let item = Item {
            entry,
            first: 0,
            argc: args.len() as u32,
            slot,
            db,
            at: 0,
            sees_due: false,
            is_quiet: self.is_quiet,
            is_tracked: false,
            is_asking: false,
            is_tls: false,
            is_on_port: false,
            is_part: self.is_part && entry.is_everywhere(),
            discovers: false,
            is_counted: false,
            refused: None,
            user: 0,
        };
        if let Some(records) = &mut self.records {
            records.clear();
        }
        let mut batch_args = BatchArgs { text: &text, spans: &spans, large: &mut large };
        let mut runner = Runner {
            records: self.records.as_mut(),
            is_whole: true,
            effects: self.effects,
            ..Runner::new(&mut self.slice, &self.config, self.now_ms, self.protocol)
        };
        runner.run(&[item], &mut batch_args, &mut out, |_, _, _| {});
        self.effects = runner.effects;
        out.to_vec()
    }
}

/// Returns a reply as one line: `OK`, `:1`, `"text"`, `nil`, `[1 "a"]`, `-ERR ...`.
pub fn show(value: &Value) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match value {
        Value::Simple(bytes) => text(bytes),
        Value::Error(bytes) => format!("-{}", text(bytes)),
        Value::Integer(number) => format!(":{number}"),
        Value::Bulk(bytes) => format!("\"{}\"", text(bytes)),
        Value::Null => "nil".to_string(),
        Value::Array(values) => {
            format!("[{}]", values.iter().map(show).collect::<Vec<_>>().join(" "))
        }
        other => format!("{other:?}"),
    }
}

/// Runs the lines of a script on a new bench and compares the replies. A line has a command, ` => `
/// and the reply as [`show`] writes it, followed by ` +n` for a dirty count of `n`.
///
/// `''` is an empty argument. `{now+5}` is the Unix time in milliseconds 5 ms after the start, and
/// `{now_s-1}` the Unix time in seconds 1 s before it. `ADVANCE ms` advances the clock, and `#`
/// starts a comment line.
pub fn check_script(script: &str) {
    let mut bench = Bench::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with('#') {
            continue;
        }
        if let Some(ms) = line.strip_prefix("ADVANCE ") {
            bench.advance_ms(ms.parse().expect("milliseconds"));
            continue;
        }
        let line = with_times(line);
        let (command, expected) = line.split_once(" => ").expect("a command and its reply");
        let args = command.split(' ').map(|arg| if arg == "''" { "" } else { arg });
        let args: Vec<&str> = args.collect();
        let before = bench.changes();
        let mut shown = show(&bench.run(&args));
        match bench.changes() - before {
            0 => {}
            changes => shown.push_str(&format!(" +{changes}")),
        }
        assert_eq!(shown, expected, "{command}");
        bench.slice.check();
    }
}

/// Runs the lines of a script on a new bench and compares the propagated commands. A line has a
/// command, ` =>` and the propagated commands separated by ` | `; nothing follows if the command
/// propagates nothing. Times, `''` and `ADVANCE` are as in [`check_script`].
pub fn check_feed(script: &str) {
    let mut bench = Bench::new();
    bench.record();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(ms) = line.strip_prefix("ADVANCE ") {
            bench.advance_ms(ms.parse().expect("milliseconds"));
            continue;
        }
        let line = with_times(line);
        let (command, expected) = line.split_once(" =>").expect("a command and the feed");
        let args: Vec<&str> =
            command.split(' ').map(|arg| if arg == "''" { "" } else { arg }).collect();
        bench.run(&args);
        assert_eq!(bench.recorded().join(" | "), expected.trim(), "{command}");
    }
}

/// Replaces the times in braces by numbers.
fn with_times(line: &str) -> String {
    let mut parts = line.split('{');
    let mut text = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let (sum, rest) = part.split_once('}').expect("a brace is closed");
        let (base, offset) = match sum.strip_prefix("now_s") {
            Some(offset) => (START_MS / 1_000, offset),
            None => (START_MS, sum.strip_prefix("now").expect("now or now_s")),
        };
        let offset: i64 = if offset.is_empty() { 0 } else { offset.parse().expect("a number") };
        text.push_str(&format!("{}{rest}", base as i64 + offset));
    }
    text
}
