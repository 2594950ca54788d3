//! Tests of the checker: histories written by hand, possible and impossible ones of every kind.
//!
//! A line is `connection call-return command => reply`. A command without a reply has neither
//! return nor reply. Connection 0 is the clock, with the command `JUMP`. `[...]` is an array, `:1`
//! an integer, `-...` an error, `nil` null, `OK` itself, everything else a string.

use crate::harness::model::{Action, Command, Model};
use crate::harness::search::{Event, Observed, Verdict};
use annulet::resp::Value;

/// The keys of the histories.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// The start of the histories, in milliseconds.
const START_MS: u64 = 1_000;

fn key(name: &str) -> usize {
    NAMES.iter().position(|known| *known == name).unwrap_or_else(|| panic!("{name} is not a key"))
}

fn number<N: std::str::FromStr>(text: &str) -> N {
    text.parse().unwrap_or_else(|_| panic!("{text} is not a number"))
}

fn keys(names: &[&str]) -> Vec<usize> {
    names.iter().map(|name| key(name)).collect()
}

fn pairs(args: &[&str]) -> (Vec<usize>, i64) {
    (args.iter().step_by(2).map(|name| key(name)).collect(), number(args[1]))
}

fn copy(args: &[&str]) -> Command {
    let db = args.iter().position(|arg| *arg == "DB").map(|at| number(args[at + 1]));
    let replaces = args.last() == Some(&"REPLACE");
    Command::Copy { from: key(args[0]), to: key(args[1]), db, replaces }
}

fn command(text: &str) -> Command {
    let args: Vec<&str> = text.split_whitespace().collect();
    match (args[0], &args[1..]) {
        ("GET", [at]) => Command::Get(key(at)),
        ("SET", [at, value]) => Command::Set(key(at), number(value)),
        ("SET", [at, value, "NX"]) => Command::SetNx(key(at), number(value)),
        ("SET", [at, value, "PX", ms]) => Command::SetPx(key(at), number(value), number(ms)),
        ("INCR", [at]) => Command::Incr(key(at)),
        ("GETDEL", [at]) => Command::GetDel(key(at)),
        ("MGET", rest) => Command::Mget(keys(rest)),
        ("DEL", rest) => Command::Del(keys(rest)),
        ("EXISTS", rest) => Command::Exists(keys(rest)),
        ("MSET", rest) => Command::Mset(pairs(rest).0, pairs(rest).1),
        ("MSETNX", rest) => Command::MsetNx(pairs(rest).0, pairs(rest).1),
        ("RENAME", [from, to]) => Command::Rename(key(from), key(to)),
        ("RENAMENX", [from, to]) => Command::RenameNx(key(from), key(to)),
        ("COPY", rest) => copy(rest),
        ("PEXPIRE", [at, ms]) => Command::Pexpire(key(at), number(ms)),
        ("PTTL", [at]) => Command::Pttl(key(at)),
        ("PERSIST", [at]) => Command::Persist(key(at)),
        ("SELECT", [db]) => Command::Select(number(db)),
        ("SWAPDB", [one, other]) => Command::SwapDb(number(one), number(other)),
        ("FLUSHDB", []) => Command::FlushDb,
        ("FLUSHALL", []) => Command::FlushAll,
        ("DBSIZE", []) => Command::DbSize,
        _ => panic!("{text} is not a command of the histories"),
    }
}

fn action(text: &str) -> Action {
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    let args: Vec<&str> = rest.split_whitespace().collect();
    match name {
        "JUMP" => Action::Jump { clock: number(args[0]), to_ms: START_MS + number::<u64>(args[1]) },
        "WATCH" => Action::Watch(keys(&args)),
        "UNWATCH" => Action::Unwatch,
        "DISCARD" => Action::Discard,
        "EXEC" if rest == "refused" => Action::ExecRefused,
        "EXEC" => Action::Exec(rest.split(';').map(command).collect()),
        _ => Action::Run(command(text)),
    }
}

fn reply(text: &str) -> Value {
    if let Some(inside) = text.strip_prefix('[') {
        let inside = inside.strip_suffix(']').expect("an array ends");
        return Value::Array(inside.split_whitespace().map(reply).collect());
    }
    match text.as_bytes() {
        b"nil" => Value::Null,
        b"OK" => Value::Simple(b"OK".to_vec()),
        [b':', digits @ ..] => Value::Integer(number(std::str::from_utf8(digits).expect("text"))),
        [b'-', error @ ..] => Value::Error(error.to_vec()),
        bulk => Value::Bulk(bulk.to_vec()),
    }
}

fn event(line: &str) -> Event {
    let (line, reply) = match line.split_once(" => ") {
        Some((line, text)) => (line, Some(reply(text.trim()))),
        None => (line, None),
    };
    let mut args = line.trim().splitn(3, ' ');
    let mut next = || args.next().expect("a line has three parts");
    let (session, when, action) = (number(next()), next(), action(next().trim()));
    let (call, end) = when.split_once('-').expect("a line says when");
    let done = (!end.is_empty()).then(|| number(end));
    assert!(
        done.is_some() == reply.is_some() || session == 0,
        "a command with a return has a reply"
    );
    Event { session, action, invoked: number(call), done, reply }
}

fn judge(text: &str, clocks: [usize; NAMES.len()]) -> Verdict {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let names = NAMES.iter().map(|name| name.to_string()).collect();
    let model = Model { names, clocks: clocks.to_vec(), has_order: false };
    Observed { model, start_ms: START_MS, events: lines.map(event).collect() }.judge()
}

#[track_caller]
fn possible(text: &str) {
    assert_eq!(judge(text, [0; 4]), Verdict::Possible);
}

#[track_caller]
fn impossible(text: &str) {
    let verdict = judge(text, [0; 4]);
    assert!(matches!(verdict, Verdict::Impossible(_)), "{verdict:?}");
}

/// Joins the first lines of a history, which two histories share, with the other lines.
fn with<const N: usize>(first: &str, rest: [&str; N]) -> String {
    std::iter::once(first).chain(rest).collect::<Vec<_>>().join("\n")
}

#[test]
fn sequential_commands() {
    possible("1 1-2 SET a 5 => OK\n2 3-4 GET a => 5");
    impossible("1 1-2 SET a 5 => OK\n2 3-4 GET a => nil");
    impossible("1 1-2 SET a 5 => OK\n2 3-4 GET a => 6");
    impossible("1 1-2 INCR a => :1\n2 1-2 INCR a => :1");
    possible("1 1-2 INCR a => :2\n2 1-2 INCR a => :1");
}

#[test]
fn concurrent_commands_have_either_order() {
    possible("1 1-4 SET a 5 => OK\n2 2-3 GET a => nil");
    possible("1 1-4 SET a 5 => OK\n2 2-3 GET a => 5");
    possible("1 1-9 SET a 5 => OK\n2 2-3 GET a => nil\n2 4-5 GET a => 5");
    impossible("1 1-9 SET a 5 => OK\n2 2-3 GET a => 5\n2 4-5 GET a => nil");
    // Two clients see two writes in different orders.
    let writes = "1 1-9 SET a 1 => OK\n2 1-9 SET b 1 => OK";
    possible(&with(writes, ["3 1-2 MGET a b => [1 nil]", "4 3-4 MGET a b => [1 1]"]));
    impossible(&with(writes, ["3 1-2 MGET a b => [1 nil]", "4 1-2 MGET a b => [nil 1]"]));
}

#[test]
fn a_connection_keeps_its_order() {
    impossible("1 1-8 SET a 1 => OK\n1 1-9 SET a 2 => OK\n2 10-11 GET a => 1");
    impossible(
        "1 1-8 GET a => nil\n1 1-9 GET b => nil\n2 0-5 MSET a 1 b 1 => OK\n3 6-7 GET a => nil",
    );
    possible("1 1-8 SET a 1 => OK\n1 1-9 SET a 2 => OK\n2 2-3 GET a => 1");
}

#[test]
fn a_command_without_a_reply_may_take_effect() {
    let lost = "1 1- MSET a 1 b 1";
    possible(&with(lost, ["2 2-3 MGET a b => [nil nil]", "2 9-10 MGET a b => [nil nil]"]));
    possible(&with(lost, ["2 2-3 MGET a b => [nil nil]", "2 9-10 MGET a b => [1 1]"]));
    impossible(&with(lost, ["2 2-3 MGET a b => [1 nil]"]));
    impossible(&with(lost, ["2 2-3 MGET a b => [1 1]", "2 4-5 MGET a b => [nil nil]"]));
    impossible("2 1-2 GET a => 1\n1 3- SET a 1");
    // A later command of the connection takes effect only after it.
    possible("1 1- SET a 1\n1 1- SET b 1\n2 2-3 MGET a b => [1 nil]");
    impossible("1 1- SET a 1\n1 1- SET b 1\n2 2-3 MGET a b => [nil 1]");
}

#[test]
fn a_torn_write_is_seen() {
    possible("1 1-9 MSET a 1 b 1 => OK\n2 2-3 GET a => 1\n2 4-5 GET b => 1");
    impossible("1 1-9 MSET a 1 b 1 => OK\n2 2-3 GET a => 1\n2 4-5 GET b => nil");
    impossible("1 1-9 DEL a b => :0\n2 0-8 MSET a 1 b 1 => OK\n3 10-11 MGET a b => [1 nil]");
}

#[test]
fn a_rename_moves_its_key_at_once() {
    let first = "1 1-2 SET a 7 => OK\n1 3-9 RENAME a b => OK";
    possible(&with(first, ["2 4-5 MGET a b => [7 nil]", "3 6-7 MGET a b => [nil 7]"]));
    impossible(&with(first, ["2 4-5 MGET a b => [7 7]"]));
    impossible(&with(first, ["2 4-5 MGET a b => [nil nil]"]));
    impossible(&with(first, ["2 4-5 MGET a b => [nil 7]", "2 6-7 MGET a b => [7 nil]"]));
    // Lost: the rename had a reply, but neither name exists.
    impossible(&with(first, ["2 10-11 EXISTS a b => :0"]));
    // Undone: the rename had a reply, but the key still has its old name.
    impossible(&with(first, ["2 10-11 GET a => 7"]));
    // Both renames take the only key.
    let both = "1 1-2 SET a 7 => OK\n1 3-9 RENAME a b => OK";
    impossible(&with(both, ["2 3-9 RENAME a c => OK"]));
    possible(&with(both, ["2 3-9 RENAME a c => -ERR no such key", "2 10-11 GET b => 7"]));
    possible("1 1-2 RENAME a a => -ERR no such key\n1 3-4 SET a 1 => OK\n1 5-6 RENAME a a => OK");
}

#[test]
fn a_rename_does_not_swallow_a_write() {
    let first = "1 1-2 SET a 7 => OK\n1 3-9 RENAME a b => OK\n2 3-9 INCR a => :8";
    possible(&with(first, ["3 10-11 MGET a b => [nil 8]"]));
    impossible(&with(first, ["3 10-11 MGET a b => [nil 7]"]));
    impossible(&with(first, ["3 10-11 MGET a b => [8 7]"]));
}

#[test]
fn renamenx_and_copy_respect_existing_keys() {
    let first = "1 1-2 MSET a 7 b 7 => OK";
    possible(&with(first, ["1 3-4 RENAMENX a b => :0", "1 5-6 RENAMENX a c => :1"]));
    impossible(&with(first, ["1 3-4 RENAMENX a b => :1"]));
    impossible(&with(
        "1 1-2 MSET a 7 b 7 => OK\n1 3-9 RENAMENX a c => :1",
        ["2 3-9 RENAMENX b c => :1"],
    ));
    possible(&with(first, ["1 3-4 COPY a b => :0", "1 5-6 COPY a c => :1", "1 7-8 GET c => 7"]));
    possible(&with(
        first,
        ["1 3-4 SET a 9 => OK", "1 5-6 COPY a b REPLACE => :1", "1 7-8 GET b => 9"],
    ));
    impossible(&with(first, ["1 3-4 COPY a b => :1"]));
    impossible(&with(first, ["1 3-4 COPY a c => :1", "2 5-6 MGET a c => [nil 7]"]));
    impossible(&with(first, ["1 3-4 COPY a a => :0"]));
    possible(&with(first, ["1 3-4 COPY a a => -ERR source and destination objects are the same"]));
    possible(&with(
        first,
        ["1 3-4 COPY a a DB 1 => :1", "1 5-6 SELECT 1 => OK", "1 7-8 GET a => 7"],
    ));
    impossible(&with(
        first,
        ["1 3-4 COPY a a DB 1 => :1", "1 5-6 SELECT 1 => OK", "1 7-8 GET b => 7"],
    ));
}

#[test]
fn only_one_msetnx_wins() {
    let one = "1 1-9 MSETNX a 1 b 1 => :1";
    possible(&with(one, ["2 1-9 MSETNX b 2 c 2 => :0", "3 10-11 MGET a b c => [1 1 nil]"]));
    impossible(&with(one, ["2 1-9 MSETNX b 2 c 2 => :1"]));
    impossible(&with(one, ["2 1-9 MSETNX b 2 c 2 => :0", "3 10-11 MGET a b c => [1 1 2]"]));
    impossible(&with(one, ["2 2-3 MGET a b => [1 nil]"]));
    // No key prevented either of them.
    impossible("1 1-9 MSETNX a 1 b 1 => :0\n2 1-9 MSETNX b 2 c 2 => :0");
}

#[test]
fn a_flush_is_seen_whole() {
    let first = "1 1-2 MSET a 1 b 1 => OK\n1 3-9 FLUSHALL => OK";
    possible(&with(first, ["2 4-5 MGET a b => [1 1]", "2 6-7 DBSIZE => :0"]));
    impossible(&with(first, ["2 4-5 MGET a b => [1 nil]"]));
    impossible(&with(first, ["2 4-5 DBSIZE => :1"]));
    impossible(&with(first, ["2 4-5 GET a => nil", "2 6-7 GET b => 1"]));
    impossible(&with(first, ["2 10-11 EXISTS a b => :1"]));
    // Both databases, or one of them.
    let both = "1 1-2 SET a 1 => OK\n2 1-2 SELECT 1 => OK\n2 3-4 SET a 2 => OK";
    possible(&with(both, ["1 5-6 FLUSHDB => OK", "1 7-8 GET a => nil", "2 7-8 GET a => 2"]));
    impossible(&with(both, ["1 5-6 FLUSHALL => OK", "2 7-8 GET a => 2"]));
    impossible(&with(both, ["1 5-6 FLUSHDB => OK", "2 7-8 GET a => nil"]));
}

#[test]
fn a_swap_of_databases_is_seen_whole() {
    let first = "1 1-2 MSET a 1 b 1 => OK\n2 1-2 SELECT 1 => OK\n1 3-9 SWAPDB 0 1 => OK";
    possible(&with(first, ["2 4-5 MGET a b => [nil nil]", "2 6-7 MGET a b => [1 1]"]));
    impossible(&with(first, ["2 4-5 MGET a b => [1 nil]"]));
    impossible(&with(first, ["2 4-5 GET a => 1", "2 6-7 GET b => nil"]));
    impossible(&with(first, ["2 4-5 GET a => 1", "3 6-7 GET b => 1"]));
    impossible(&with(first, ["2 10-11 DBSIZE => :0"]));
    // A write that still goes to the database that was swapped away.
    impossible(&with(first, ["1 10-11 SET a 5 => OK", "2 12-13 GET a => 5"]));
}

#[test]
fn a_transaction_is_seen_whole() {
    let first = "1 1-9 EXEC SET a 1; GET b; SET b 1 => [OK nil OK]";
    possible(&with(first, ["2 2-3 MGET a b => [nil nil]", "2 4-5 MGET a b => [1 1]"]));
    impossible(&with(first, ["2 2-3 MGET a b => [1 nil]"]));
    impossible(&with(first, ["2 2-3 GET b => 1", "2 4-5 GET a => nil"]));
    // Torn by a write between its commands.
    let torn = "1 1-9 EXEC GET a; GET a => [nil 5]";
    impossible(&with(torn, ["2 1-9 SET a 5 => OK"]));
    impossible("1 1-9 EXEC INCR a; INCR a => [:1 :3]\n2 1-9 INCR a => :2");
    possible("1 1-9 EXEC INCR a; INCR a => [:2 :3]\n2 1-9 INCR a => :1");
    // Two transfers that cross each other.
    impossible("1 1-9 EXEC GET a; SET b 1 => [nil OK]\n2 1-9 EXEC GET b; SET a 1 => [nil OK]");
    possible("1 1-9 EXEC GET a; SET b 1 => [nil OK]\n2 1-9 EXEC GET b; SET a 1 => [1 OK]");
}

#[test]
fn a_transaction_continues_after_rename_and_select() {
    let text = "1 1-9 EXEC SET a 1; RENAME a b; SELECT 1; SET a 2 => [OK OK OK OK]";
    possible(&with(text, ["1 10-11 GET a => 2", "2 10-11 MGET a b => [nil 1]"]));
    impossible(&with(text, ["1 10-11 GET b => 1"]));
    impossible(&with(text, ["2 2-3 MGET a b => [1 nil]"]));
    // A failing command does not stop the commands behind it.
    let events = vec![event("1 1-2 EXEC RENAME a b; SET c 1 => nil"), event("2 3-4 GET c => 1")];
    let names: Vec<String> = NAMES.iter().map(|name| name.to_string()).collect();
    let model = Model { names, clocks: vec![0; 4], has_order: false };
    let mut observed = Observed { model, start_ms: START_MS, events };
    let replies = vec![reply("-ERR no such key"), reply("OK")];
    observed.events[0].reply = Some(Value::Array(replies));
    assert_eq!(observed.judge(), Verdict::Possible);
}

#[test]
fn discarded_and_refused_transactions_have_no_effect() {
    possible("1 1-2 WATCH a => OK\n1 3-4 DISCARD => OK\n2 5-6 GET a => nil");
    let refused = "-EXECABORT Transaction discarded because of previous errors.";
    possible(&format!("1 1-2 EXEC refused => {refused}\n2 3-4 GET a => nil"));
    impossible("1 1-2 EXEC refused => []");
    // Both end the watch.
    let change = "1 1-2 WATCH a => OK\n2 3-4 SET a 1 => OK";
    for end in ["DISCARD => OK", "UNWATCH => OK", &format!("EXEC refused => {refused}")] {
        let end = format!("1 5-6 {end}");
        possible(&with(change, [&end, "1 7-8 EXEC GET a => [1]"]));
        impossible(&with(change, [&end, "1 7-8 EXEC GET a => nil"]));
    }
}

#[test]
fn a_transaction_of_a_lost_connection_is_whole_or_absent() {
    let lost = "1 1- EXEC SET a 1; RENAME b c; SET d 1";
    let first = with("3 0-0 SET b 7 => OK", [lost]);
    possible(&with(&first, ["2 2-3 MGET a b c d => [nil 7 nil nil]"]));
    possible(&with(&first, ["2 2-3 MGET a b c d => [1 nil 7 1]"]));
    impossible(&with(&first, ["2 2-3 MGET a b c d => [1 7 nil nil]"]));
    impossible(&with(&first, ["2 2-3 MGET a b c d => [1 nil nil 1]"]));
    impossible(&with(&first, ["2 2-3 MGET a b c d => [1 nil 7 nil]"]));
}

#[test]
fn a_watch_sees_every_change() {
    let first = "1 1-2 WATCH a b => OK";
    possible(&with(first, ["1 5-6 EXEC SET a 1 => [OK]"]));
    impossible(&with(first, ["1 5-6 EXEC SET a 1 => nil"]));
    for change in ["SET b 1 => OK", "MSET b 1 c 1 => OK", "INCR a => :1", "MSETNX a 1 c 1 => :1"] {
        let change = format!("2 3-4 {change}");
        possible(&with(first, [&change, "1 5-6 EXEC SET a 1 => nil"]));
        impossible(&with(first, [&change, "1 5-6 EXEC SET a 1 => [OK]"]));
    }
    for same in ["SET c 1 => OK", "DEL a b => :0", "FLUSHALL => OK", "SWAPDB 0 1 => OK"] {
        let same = format!("2 3-4 {same}");
        possible(&with(first, [&same, "1 5-6 EXEC SET a 1 => [OK]"]));
        impossible(&with(first, [&same, "1 5-6 EXEC SET a 1 => nil"]));
    }
    // While the change is in progress, both replies are possible.
    for end in ["nil", "[OK]"] {
        let end = format!("1 5-6 EXEC SET c 1 => {end}");
        possible(&with(first, ["2 3-9 SET b 1 => OK", &end]));
    }
    // Impossible: EXEC succeeded, although it has read the effect of the change.
    impossible(&with(
        first,
        ["2 3-9 SET b 1 => OK", "1 4-5 GET b => 1", "1 6-7 EXEC SET a 1 => [OK]"],
    ));
}

#[test]
fn a_watch_sees_changes_of_existing_keys() {
    let first = "1 1-2 MSET a 7 b 7 => OK\n1 3-4 WATCH a => OK";
    for change in [
        "SET a 7 => OK",
        "DEL a => :1",
        "RENAME a c => OK",
        "RENAME b a => OK",
        "COPY b a REPLACE => :1",
        "FLUSHDB => OK",
        "SWAPDB 0 1 => OK",
        "PEXPIRE a 900 => :1",
    ] {
        let change = format!("2 5-6 {change}");
        possible(&with(first, [&change, "1 7-8 EXEC SET d 1 => nil"]));
        impossible(&with(first, [&change, "1 7-8 EXEC SET d 1 => [OK]"]));
    }
    for same in ["COPY a c => :1", "COPY b a => :0", "RENAME a a => OK", "PERSIST a => :0"] {
        let same = format!("2 5-6 {same}");
        possible(&with(first, [&same, "1 7-8 EXEC SET d 1 => [OK]"]));
        impossible(&with(first, [&same, "1 7-8 EXEC SET d 1 => nil"]));
    }
    // A watch holds for its own database, counts the session's own changes, and ends when it fails.
    let other = "2 5-6 SELECT 1 => OK\n2 7-8 SET a 1 => OK";
    possible(&with(first, [other, "1 9-10 EXEC SET d 1 => [OK]"]));
    impossible(&with(first, [other, "1 9-10 EXEC SET d 1 => nil"]));
    possible(&with(first, ["1 5-6 SET a 1 => OK", "1 7-8 EXEC SET d 1 => nil"]));
    impossible(&with(first, ["1 5-6 SET a 1 => OK", "1 7-8 EXEC SET d 1 => [OK]"]));
    possible(&with(
        first,
        ["1 5-6 SET a 1 => OK", "1 7-8 EXEC GET d => nil", "1 9-10 EXEC GET d => [nil]"],
    ));
}

#[test]
fn two_watching_transactions_do_not_both_succeed() {
    let first = "1 1-2 WATCH a => OK\n2 1-2 WATCH a => OK";
    possible(&with(first, ["1 3-9 EXEC INCR a => [:1]", "2 3-9 EXEC INCR a => nil"]));
    impossible(&with(first, ["1 3-9 EXEC INCR a => [:1]", "2 3-9 EXEC INCR a => [:2]"]));
    impossible(&with(first, ["1 3-9 EXEC INCR a => nil", "2 3-9 EXEC INCR a => nil"]));
}

#[test]
fn a_key_is_not_seen_after_its_deadline() {
    let first = "1 1-2 SET a 7 PX 5 => OK";
    // Visible at its deadline, gone after it.
    possible(&with(first, ["0 3-3 JUMP 0 5", "1 4-5 GET a => 7", "1 6-7 PTTL a => :0"]));
    impossible(&with(first, ["0 3-3 JUMP 0 5", "1 4-5 GET a => nil"]));
    possible(&with(first, ["0 3-3 JUMP 0 6", "1 4-5 GET a => nil", "1 6-7 PTTL a => :-2"]));
    impossible(&with(first, ["0 3-3 JUMP 0 6", "1 4-5 GET a => 7"]));
    // A jump during the call: both replies are possible.
    for end in ["nil", "7"] {
        let end = format!("1 3-5 GET a => {end}");
        possible(&with(first, ["0 4-4 JUMP 0 6", &end]));
    }
    // The deadline counts from the moment at which the command took effect.
    let later = "1 1-2 EXISTS a => :0\n0 4-4 JUMP 0 3\n0 7-7 JUMP 0 8";
    possible(&with(later, ["1 3-6 SET a 7 PX 5 => OK", "1 8-9 GET a => 7"]));
    possible(&with(later, ["1 3-6 SET a 7 PX 5 => OK", "1 8-9 GET a => nil"]));
    possible(&with(later, ["1 5-6 SET a 7 PX 5 => OK", "1 8-9 GET a => 7"]));
    impossible(&with(later, ["1 5-6 SET a 7 PX 5 => OK", "1 8-9 GET a => nil"]));
}

#[test]
fn deadlines_are_set_moved_and_removed() {
    let first = "1 1-2 SET a 7 PX 5 => OK";
    possible(&with(first, ["1 3-4 PTTL a => :5", "1 5-6 RENAME a b => OK", "1 7-8 PTTL b => :5"]));
    impossible(&with(first, ["1 3-4 RENAME a b => OK", "1 5-6 PTTL b => :-1"]));
    possible(&with(first, ["1 3-4 COPY a b => :1", "0 5-5 JUMP 0 6", "1 6-7 EXISTS a b => :0"]));
    possible(&with(first, ["1 3-4 PERSIST a => :1", "0 5-5 JUMP 0 6", "1 6-7 GET a => 7"]));
    possible(&with(first, ["1 3-4 SET a 8 => OK", "0 5-5 JUMP 0 6", "1 6-7 GET a => 8"]));
    impossible(&with(first, ["1 3-4 INCR a => :8", "0 5-5 JUMP 0 6", "1 6-7 GET a => 8"]));
    possible(&with(first, ["1 3-4 PEXPIRE a 9 => :1", "0 5-5 JUMP 0 6", "1 6-7 PTTL a => :3"]));
    // An expired key does not prevent a command.
    possible(&with(first, ["0 3-3 JUMP 0 6", "1 4-5 MSETNX a 1 b 1 => :1"]));
    impossible(&with(first, ["0 3-3 JUMP 0 6", "1 4-5 RENAME a b => OK"]));
}

#[test]
fn a_watch_sees_a_deadline_pass() {
    let first = "1 1-2 SET a 7 PX 5 => OK\n2 3-4 WATCH a => OK\n0 5-5 JUMP 0 6";
    possible(&with(first, ["2 6-7 EXEC GET a => nil"]));
    impossible(&with(first, ["2 6-7 EXEC GET a => [nil]"]));
    // The key had expired before it was watched.
    let first = "1 1-2 SET a 7 PX 5 => OK\n0 3-3 JUMP 0 6\n2 4-5 WATCH a => OK";
    possible(&with(first, ["2 6-7 EXEC GET a => [nil]"]));
    impossible(&with(first, ["2 6-7 EXEC GET a => nil"]));
}

#[test]
fn a_transaction_has_one_time() {
    let first = "1 1-2 MSET a 1 b 1 => OK\n1 3-4 PEXPIRE a 5 => :1\n1 5-6 PEXPIRE b 5 => :1";
    let read = |reply: &str| format!("1 7-9 EXEC GET a; GET b => {reply}");
    possible(&with(first, ["0 8-8 JUMP 0 6", &read("[1 1]")]));
    possible(&with(first, ["0 8-8 JUMP 0 6", &read("[nil nil]")]));
    impossible(&with(first, ["0 8-8 JUMP 0 6", &read("[1 nil]")]));
}

#[test]
fn clocks_may_differ_if_the_model_has_several() {
    let text = "2 1-2 MSET a 1 b 1 => OK\n2 3-4 PEXPIRE a 5 => :1\n2 5-6 PEXPIRE b 5 => :1
        0 7-12 JUMP 0 6\n1 7-8 JUMP 1 6 => nil\n2 9-10 MGET a b => [1 nil]";
    assert_eq!(judge(text, [0, 1, 0, 1]), Verdict::Possible);
    let text = text.replace("[1 nil]", "[nil 1]");
    assert!(matches!(judge(&text, [0, 1, 0, 1]), Verdict::Impossible(_)));
}

#[test]
fn an_impossible_history_is_explained() {
    let verdict = judge("1 1-2 SET a 5 => OK\n2 3-4 GET a => 6", [0; 4]);
    let Verdict::Impossible(why) = verdict else { panic!("{verdict:?}") };
    for part in ["1..2 by 1: SET a 5 -> OK", "the keys are [0/a = 5]", "GET a -> 6", "instead of 5"]
    {
        assert!(why.contains(part), "{part} is not in\n{why}");
    }
}
