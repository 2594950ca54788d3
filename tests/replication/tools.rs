//! Other clients of the feed: the command line tools, WAIT, and idle links.

use super::link::Link;
use super::load::fill;
use super::peer::{self, Peer};
use super::primary::Primary;
use super::server::wait_for;
use super::shards;
use super::support::{Info, compare, connect, demand, number};
use super::wire::Wire;
use annulet::base::clock::Clock;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// Returns a command line tool: the one next to the peer's program, or one on the PATH.
fn tool(program: &str) -> Option<String> {
    let beside = Path::new(program).with_file_name("valkey-cli");
    let names = [beside.to_string_lossy().into_owned(), "valkey-cli".into(), "redis-cli".into()];
    let runs = |name: &String| Command::new(name).arg("--version").output().is_ok();
    let found = names.into_iter().find(runs);
    if found.is_none() {
        println!("skipped: neither valkey-cli nor redis-cli runs");
    }
    found
}

#[test]
fn redis_cli_takes_the_snapshot() {
    let Some(program) = peer::program() else { return };
    let Some(tool) = tool(&program) else { return };
    let primary = Primary::start(&program, 4, &[]);
    let mut wire = primary.connect();
    fill(&mut wire);
    let folder = std::env::temp_dir().join(format!("annulet-rdb-{}", primary.port()));
    std::fs::create_dir_all(&folder).expect("a folder for the snapshot");
    let output = Command::new(tool)
        .args(["-p", &primary.port().to_string(), "--rdb"])
        .arg(folder.join("taken.rdb"))
        .output()
        .expect("the tool has printed its version");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let place = folder.to_str().expect("its name is text");
    let arguments = ["--dir", place, "--dbfilename", "taken.rdb"];
    let loaded = Peer::start_with(&program, &arguments);
    let mut theirs = connect(loaded.port);
    assert!(wait_for(|| theirs.ask(&["PING"]) == b"+PONG\r\n"), "the peer has loaded the snapshot");
    // Keys that expire during the comparison make a difference for a moment.
    let mut last = Ok(0);
    let is_equal = wait_for(|| {
        last = compare(&mut wire, &mut theirs);
        last.is_ok()
    });
    drop(loaded);
    let _ = std::fs::remove_dir_all(&folder);
    assert!(is_equal, "{}", last.expect_err("the states differ"));
}

#[test]
fn redis_cli_shows_the_stream() {
    let Some(program) = peer::program() else { return };
    let Some(tool) = tool(&program) else { return };
    let primary = Primary::start(&program, 4, &[]);
    let mut wire = primary.connect();
    let mut child = Command::new(tool)
        .args(["-p", &primary.port().to_string(), "--replica"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the tool has printed its version");
    let (lines, seen) = channel();
    let output = child.stdout.take().expect("the stream is piped");
    let reader = thread::spawn(move || {
        let shown = BufReader::new(output).lines().map_while(Result::ok);
        shown.for_each(|line| lines.send(line).unwrap_or(()));
    });
    let mut all = Vec::new();
    let is_shown = wait_for(|| {
        demand(&mut wire, &["SET", "shown", "by the tool"]);
        all.extend(seen.try_iter());
        all.iter().any(|line: &String| line.contains(r#""SET","shown","by the tool""#))
    });
    let _ = child.kill();
    let _ = child.wait();
    reader.join().expect("a reader of lines");
    assert!(is_shown, "{all:?}");
}

/// Sends commands from another thread; returns the number in the last reply, and the milliseconds
/// until then. Servers count from the start of their turn, so the time may be a little less than
/// requested.
fn later(
    port: u16,
    commands: &'static [&'static [&'static str]],
) -> thread::JoinHandle<(i64, u64)> {
    thread::spawn(move || {
        let mut wire = connect(port);
        let start_ms = Clock::System.unix_ms();
        let replies = wire.ask_all(commands);
        let last = replies.last().expect("a reply for each");
        (number(last), Clock::System.unix_ms() - start_ms)
    })
}

#[test]
fn waiting_counts_acknowledgements() {
    let Some(program) = peer::program() else { return };
    let primary = Primary::start(&program, 4, &[]);
    let port = primary.port();
    let join = |handle: thread::JoinHandle<_>| handle.join().expect("a client");
    let (count, took_ms) = join(later(port, &[&["SET", "a", "1"], &["WAIT", "1", "200"]]));
    assert!(count == 0 && took_ms >= 190, "no replica: {count} after {took_ms} ms");
    assert_eq!(join(later(port, &[&["SET", "a", "1"], &["WAIT", "0", "0"]])).0, 0);

    let mut link = Link::attach(port, &["PSYNC", "?", "-1"]);
    link.acknowledge();
    let waiting = later(port, &[&["MSET", "a", "2", "b", "2"], &["WAIT", "1", "20000"]]);
    let args = link.until("REPLCONF");
    assert_eq!(args[1..], [b"GETACK".to_vec(), b"*".to_vec()]);
    link.acknowledge();
    assert_eq!(join(waiting).0, 1);

    let (count, took_ms) = join(later(port, &[&["SET", "a", "3"], &["WAIT", "1", "300"]]));
    assert!(count == 0 && took_ms >= 290, "a silent replica: {count} after {took_ms} ms");
    link.until("SET");
    let waiting = later(port, &[&["SET", "a", "4"], &["WAIT", "2", "300"]]);
    while link.command()[0] != b"SET" {}
    link.until("REPLCONF");
    link.acknowledge();
    let (count, took_ms) = join(waiting);
    assert!(count == 1 && took_ms >= 290, "one of two: {count} after {took_ms} ms");

    let (_replica, _wire) = primary.follow(&program);
    let waiting = later(port, &[&["SET", "a", "5"], &["WAIT", "2", "20000"]]);
    link.until("REPLCONF");
    link.acknowledge();
    assert_eq!(join(waiting).0, 2);
    assert_eq!(join(later(port, &[&["SET", "a", "6"], &["WAIT", "1", "0"]])).0, 1);
}

#[test]
fn waiting_counts_copies_on_disk() {
    let Some(program) = peer::program() else { return };
    let primary = Primary::start(&program, 4, &["--appendonly", "yes"]);
    let (mut wire, port) = (primary.connect(), primary.port());
    let ask = move |args: &'static [&'static str]| {
        thread::spawn(move || {
            let replies = connect(port).ask_all(&[&["INCR", "a"], args]);
            String::from_utf8_lossy(&replies[1]).into_owned()
        })
    };
    let join = |handle: thread::JoinHandle<_>| handle.join().expect("a client");
    let mut link = Link::attach(port, &["PSYNC", "?", "-1"]);
    link.acknowledge();
    assert_eq!(join(ask(&["WAITAOF", "1", "0", "0"])), "*2\r\n:1\r\n:0\r\n");
    let waiting = ask(&["WAITAOF", "1", "1", "20000"]);
    link.until("REPLCONF");
    // In memory is not on disk.
    link.acknowledge();
    thread::sleep(Duration::from_millis(50));
    assert!(!waiting.is_finished(), "no copy is on a replica's disk");
    let offset = link.offset.to_string();
    link.say(&["REPLCONF", "ACK", &offset, "FACK", &offset]);
    assert_eq!(join(waiting), "*2\r\n:1\r\n:1\r\n");

    let (_replica, mut theirs) = primary.follow(&program);
    demand(&mut theirs, &["CONFIG", "SET", "appendonly", "yes"]);
    let is_synced = || join(ask(&["WAITAOF", "1", "1", "2000"])) == "*2\r\n:1\r\n:1\r\n";
    assert!(wait_for(is_synced), "the reference acknowledges what is on its disk");
    demand(&mut wire, &["CONFIG", "SET", "appendonly", "no"]);
    assert_eq!(join(ask(&["WAITAOF", "0", "1", "0"])), "*2\r\n:0\r\n:1\r\n");
}

/// Returns the primary's replication offset.
fn told_offset(wire: &mut Wire) -> u64 {
    Info::of(wire, "replication").number("master_repl_offset")
}

#[test]
fn idle_links_are_pinged() {
    let Some(program) = peer::program() else { return };
    let primary = Primary::start(&program, 4, &["--repl-ping-replica-period", "1"]);
    let mut wire = primary.connect();
    let mut link = Link::attach(primary.port(), &["PSYNC", "?", "-1"]);
    let start_ms = Clock::System.unix_ms();
    for _ in 0..3 {
        let args = link.command();
        assert!(args.len() == 1 && args[0].eq_ignore_ascii_case(b"PING"), "{args:?}");
    }
    let took_ms = Clock::System.unix_ms() - start_ms;
    assert!((1_000..10_000).contains(&took_ms), "three PINGs within {took_ms} ms");
    let is_counted = wait_for(|| {
        let told = told_offset(&mut wire);
        while link.offset < told {
            link.command();
        }
        link.offset == told
    });
    assert!(is_counted, "{} bytes read, {} told", link.offset, told_offset(&mut wire));
}

/// Most commands reach an idle link within this time, in milliseconds. On a busy machine some may
/// not.
const DELIVERY_MS_MAX: u64 = 30;

#[test]
fn idle_links_get_commands_at_once() {
    let Some(program) = peer::program() else { return };
    for shards in shards() {
        let primary = Primary::start(&program, shards, &[]);
        let mut wire = primary.connect();
        let mut link = Link::attach(primary.port(), &["PSYNC", "?", "-1"]);
        let mut took_ms: Vec<u64> = (0..40)
            .map(|number| {
                // Long enough for all shards to park.
                thread::sleep(Duration::from_millis(3));
                demand(&mut wire, &["SET", &format!("key:{number}"), "1"]);
                let start_ms = Clock::System.unix_ms();
                link.until("SET");
                Clock::System.unix_ms() - start_ms
            })
            .collect();
        took_ms.sort_unstable();
        let median_ms = took_ms[took_ms.len() / 2];
        assert!(median_ms < DELIVERY_MS_MAX, "{shards} shards: {took_ms:?}");
    }
}

#[test]
fn waiting_ends_with_the_acknowledgement() {
    let Some(program) = peer::program() else { return };
    for shards in shards() {
        let primary = Primary::start(&program, shards, &[]);
        let mut wire = primary.connect();
        let (_replica, _wire) = primary.follow(&program);
        let mut took_ms: Vec<u64> = (0..40)
            .map(|turn| {
                demand(&mut wire, &["SET", &format!("key:{turn}"), "1"]);
                let start_ms = Clock::System.unix_ms();
                assert_eq!(number(&wire.ask(&["WAIT", "1", "10000"])), 1);
                Clock::System.unix_ms() - start_ms
            })
            .collect();
        took_ms.sort_unstable();
        let median_ms = took_ms[took_ms.len() / 2];
        assert!(median_ms < DELIVERY_MS_MAX, "{shards} shards: {took_ms:?}");
    }
}

#[test]
fn a_link_resumes_at_its_offset() {
    let Some(program) = peer::program() else { return };
    let primary = Primary::start(&program, 4, &[]);
    let mut wire = primary.connect();
    let mut link = Link::attach(primary.port(), &["PSYNC", "?", "-1"]);
    demand(&mut wire, &["SET", "a", "1"]);
    link.until("SET");
    let replid = link.greeting.split(' ').nth(1).expect("the history's name").to_string();
    let next = (link.offset + 1).to_string();
    drop(link);
    demand(&mut wire, &["SET", "b", "2"]);
    demand(&mut wire, &["SET", "c", "3"]);
    let mut link = Link::attach(primary.port(), &["PSYNC", &replid, &next]);
    assert_eq!(link.greeting, "+CONTINUE");
    assert_eq!(link.until("SET")[1], b"b");
    assert_eq!(link.until("SET")[1], b"c");
    thread::sleep(Duration::from_millis(50));
    // A link cannot resume at a byte that does not exist yet.
    let beyond = (told_offset(&mut wire) + 100).to_string();
    let link = Link::attach(primary.port(), &["PSYNC", &replid, &beyond]);
    assert!(link.greeting.starts_with("+FULLRESYNC"), "{}", link.greeting);
}
