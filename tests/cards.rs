//! Every card against Valkey 9.1: COMMAND INFO and COMMAND DOCS must match the reference server for
//! each command and subcommand that exists here.
//!
//! `reference/valkey-9.1-commands.jsonl` has one line per command and subcommand: the first nine
//! values of COMMAND INFO, and COMMAND DOCS without subcommands.
//! `reference/valkey-9.1-getkeys.jsonl` has one line per sample of a command: its arguments, and
//! the reply of COMMAND GETKEYSANDFLAGS, whose keys equal those of COMMAND GETKEYS; or the error of
//! both.

use annulet::base::clock::Clock;
use annulet::commands::FAMILIES;
use annulet::config::{Config, ConfigCell};
use annulet::control::ProcessMemory;
use annulet::exec::{CommandTable, Process, ProcessParts, Session, SessionContext};
use annulet::observe::{Boards, Level, Log};
use annulet::resp::{Args, Output, Protocol, Reply, Span, Value};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

const REFERENCE: &str = include_str!("reference/valkey-9.1-commands.jsonl");

const SAMPLES: &str = include_str!("reference/valkey-9.1-getkeys.jsonl");

/// Returns the reference's description of each command, by full name.
fn reference() -> BTreeMap<String, Json> {
    let lines = REFERENCE
        .lines()
        .map(|line| -> Json { serde_json::from_str(line).expect("a line is an object") });
    lines.map(|line| (line["info"][0].as_str().expect("a name").to_string(), line)).collect()
}

fn process() -> Process {
    let commands: &'static CommandTable = Box::leak(Box::new(CommandTable::new(FAMILIES)));
    let config = Config::default();
    Process::new(ProcessParts {
        boards: Boards::new(1, config.databases as usize, commands.len()),
        config: ConfigCell::new(config),
        commands,
        log: Log::new(None, Level::Nothing, Clock::System),
        clock: Clock::System,
        run_id: "0".repeat(40),
        paths: [String::new(), String::new()],
        memory: ProcessMemory::open().expect("/proc exists"),
    })
}

/// Returns the reply to a command on the session, in RESP3.
fn ask(process: &Process, args: &[&str]) -> Value {
    let (mut text, mut spans) = (Vec::new(), Vec::new());
    for arg in args {
        spans.push(Span::text(text.len(), arg.len()));
        text.extend_from_slice(arg.as_bytes());
    }
    let entry = process.commands.find(args[0].as_bytes()).expect("the command exists");
    let entry = entry.subcommand(args[1].as_bytes()).expect("the subcommand exists");
    let run = entry.on_session().expect("it runs on the session");
    let mut out = Output::default();
    let mut context = SessionContext {
        is_in_exec: false,
        session: &mut Session::new(1, true, 0),
        process,
        entry,
        now_us: 0,
        shard: 0,
        reply: Reply::new(&mut out, Protocol::Three),
        request: None,
    };
    if let Err(error) = run(&mut context, &mut Args::new(&text, &spans, &mut [])) {
        return Value::Error(error.bytes().to_vec());
    }
    let bytes = out.to_vec();
    let (value, len) = Value::read(&bytes).expect("a whole reply");
    assert_eq!(len, bytes.len(), "there is exactly one reply");
    value
}

fn to_json(value: &Value) -> Json {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    match value {
        Value::Simple(bytes) | Value::Bulk(bytes) => Json::String(text(bytes)),
        Value::Integer(number) => json!(number),
        Value::Null => Json::Null,
        Value::Error(bytes) => json!({ "error": text(bytes) }),
        Value::Array(values) | Value::Set(values) => values.iter().map(to_json).collect(),
        Value::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| match to_json(key) {
                Json::String(key) => (key, to_json(value)),
                other => panic!("{other} is not a key"),
            });
            Json::Object(pairs.collect())
        }
        other => panic!("{other:?} is not part of a description"),
    }
}

/// Annulet's own subcommands, which the reference does not have.
const OWN: [&str; 5] =
    ["annulet", "annulet|help", "annulet|moveslots", "annulet|slots", "latency|profile"];

/// Returns the names of all commands and subcommands that the reference should have.
fn names(process: &Process) -> Vec<&'static str> {
    let names = process.commands.walk().map(|entry| entry.name.as_str());
    names.filter(|name| !OWN.contains(name)).collect()
}

#[test]
fn the_reference_lacks_own_subcommands() {
    let (process, reference) = (process(), reference());
    for name in OWN {
        assert!(process.commands.walk().any(|entry| entry.name == name), "{name} exists");
        assert!(!reference.contains_key(name), "the reference has {name} too");
    }
}

#[test]
fn command_info_matches_the_reference() {
    let (process, reference) = (process(), reference());
    let mut differing = Vec::new();
    for name in names(&process) {
        let Json::Array(shown) = to_json(&ask(&process, &["COMMAND", "INFO", name]))[0].take()
        else {
            panic!("{name} is not described");
        };
        assert_eq!(shown.len(), 10, "{name}");
        let shown = Json::from(&shown[..9]);
        let expected = reference.get(name).map_or(&Json::Null, |line| &line["info"]);
        if shown != *expected {
            differing.push(format!("{name}\n  shown    {shown}\n  expected {expected}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn command_docs_match_the_reference() {
    let (process, reference) = (process(), reference());
    let mut differing = Vec::new();
    for name in names(&process) {
        let mut shown = to_json(&ask(&process, &["COMMAND", "DOCS", name]));
        let mut shown = shown[name].take();
        if let Json::Object(facts) = &mut shown {
            facts.remove("subcommands");
        }
        let expected = reference.get(name).map_or(&Json::Null, |line| &line["docs"]);
        if shown != *expected {
            differing.push(format!("{name}\n  shown    {shown}\n  expected {expected}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn subcommands_are_described_below_their_command() {
    let process = process();
    for entry in process.commands.entries() {
        let expected: Vec<&str> = entry.subcommands.iter().map(|sub| sub.name.as_str()).collect();
        let info = to_json(&ask(&process, &["COMMAND", "INFO", &entry.name]));
        let shown: Vec<&str> = info[0][9]
            .as_array()
            .expect("the tenth value is an array")
            .iter()
            .map(|subcommand| subcommand[0].as_str().expect("a name"))
            .collect();
        assert_eq!(shown, expected, "{}", entry.name);
        let docs = to_json(&ask(&process, &["COMMAND", "DOCS", &entry.name]));
        let shown = docs[&entry.name]["subcommands"].as_object().map_or(0, |map| map.len());
        assert_eq!(shown, expected.len(), "{}", entry.name);
    }
}

#[test]
fn keys_of_samples_match_the_reference() {
    let process = process();
    let mut shapes = BTreeMap::new();
    let mut differing = Vec::new();
    for line in SAMPLES.lines() {
        let sample: Json = serde_json::from_str(line).expect("a line is an object");
        let args = sample["words"].as_array().expect("the arguments").iter();
        let args: Vec<&str> = args.map(|arg| arg.as_str().expect("an argument")).collect();
        let Some(entry) = process.commands.find(args[0].as_bytes()) else { continue };
        let mut called = entry;
        if !entry.subcommands.is_empty() {
            let Some(arg) = args.get(1) else { continue };
            let Some(sub) = entry.subcommand(arg.as_bytes()) else { continue };
            called = sub;
        }
        *shapes.entry(called.name.as_str()).or_insert(0) += 1;
        let asked = [&["COMMAND", "GETKEYS"], &args[..]].concat();
        let keys = to_json(&ask(&process, &asked));
        let asked = [&["COMMAND", "GETKEYSANDFLAGS"], &args[..]].concat();
        let flagged = to_json(&ask(&process, &asked));
        let error = json!({ "error": sample["error"] });
        let (expected, expected_flagged) = match sample["keys"].as_array() {
            None => (error.clone(), error),
            Some(keys) => (keys.iter().map(|key| key[0].clone()).collect(), Json::from(&keys[..])),
        };
        if keys != expected || flagged != expected_flagged {
            differing.push(format!("{args:?}\n  shown    {flagged}\n  expected {sample}"));
        }
    }
    let with_keys = process.commands.walk().filter(|entry| !entry.command.card.keys.is_empty());
    for entry in with_keys {
        assert!(shapes.contains_key(entry.name.as_str()), "no sample of {}", entry.name);
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
