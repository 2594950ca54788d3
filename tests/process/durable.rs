//! The append-only file after a kill: nothing acknowledged is lost, no unit is torn.
//!
//! `ANNULET_KILLS=200 cargo test --test process durable` repeats it more often.

use super::server::{Server, Setup, free_port, wait_for};
use super::wire::{Wire, request};
use annulet::base::clock::Clock;
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

/// Number of writers; each has its own keys.
const WRITERS: usize = 8;

/// Number of elements that a writer's LMOVE moves between two lists.
const ELEMENTS: usize = 5;

/// Number of kinds of units.
const KINDS: usize = 7;

/// What a writer has done: for each kind, the number of units that were sent and acknowledged, and
/// how many of them must survive a kill.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    sent: [u64; KINDS],
    acked: [u64; KINDS],
    safe: [u64; KINDS],
}

/// How the servers of a test write the append-only file.
#[derive(Clone, Copy, Debug)]
struct Policy {
    appendfsync: &'static str,
    /// A kill may lose acknowledged units that are younger than this.
    loss_max: Duration,
    /// Microseconds that the server sleeps before each write to the file.
    write_delay_us: u64,
    /// Milliseconds that a round lasts at least.
    round_ms: u64,
    /// Number of clients that write other keys all the time, without waiting for replies.
    floods: usize,
}

/// Returns the commands of the `number`th unit of a kind.
fn unit(writer: usize, kind: usize, number: u64) -> Vec<Vec<String>> {
    let key = |name: &str| format!("{name}:{writer}");
    let command = |args: &[&str]| args.iter().map(|arg| arg.to_string()).collect::<Vec<_>>();
    let text = number.to_string();
    match kind {
        0 => vec![command(&["SET", &key("single"), &text])],
        1 => {
            let names: Vec<String> = (0..4).map(|at| key(&format!("many{at}"))).collect();
            let pairs = names.iter().flat_map(|name| [name.clone(), text.clone()]);
            vec![["MSET".to_owned()].into_iter().chain(pairs).collect()]
        }
        2 => vec![
            command(&["MULTI"]),
            command(&["SET", &key("exec0"), &text]),
            command(&["INCR", &key("exec1")]),
            command(&["RPUSH", &key("exec2"), &text]),
            command(&["EXEC"]),
        ],
        3 => {
            let script = "redis.call('SET', KEYS[1], ARGV[1]) \
                redis.call('INCR', KEYS[2]) return 1";
            vec![command(&["EVAL", script, "2", &key("eval0"), &key("eval1"), &text])]
        }
        4 => {
            let name = |number: u64| format!("renamed{}:{writer}", number % 3);
            vec![command(&["RENAME", &name(number - 1), &name(number)])]
        }
        5 => {
            let lists = [key("from"), key("to")];
            let from = (number % 2) as usize;
            vec![command(&["LMOVE", &lists[1 - from], &lists[from], "LEFT", "RIGHT"])]
        }
        _ => vec![
            command(&["MULTI"]),
            command(&["RPUSH", &key("unsorted"), &text]),
            command(&["SORT", &key("unsorted"), "STORE", &key("sorted")]),
            command(&["EXEC"]),
        ],
    }
}

/// Returns whether a reply comes; it may be any.
fn skip_reply(stream: &mut BufReader<TcpStream>) -> Option<()> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).ok()?;
    let text = String::from_utf8_lossy(line.strip_suffix(b"\r\n")?).into_owned();
    assert!(!text.starts_with('-'), "{text}");
    let len = || text[1..].parse::<i64>().expect("a length");
    match text.as_bytes()[0] {
        b'$' if len() >= 0 => {
            let mut bytes = vec![0; len() as usize + 2];
            stream.read_exact(&mut bytes).ok()
        }
        b'*' => (0..len()).try_for_each(|_| skip_reply(stream)),
        _ => Some(()),
    }
}

/// Writes units until the server is killed. A unit is safe once it has been acknowledged for
/// `loss_max`.
fn write(port: u16, writer: usize, loss_max: Duration, done: &Mutex<Done>) {
    let clock = Clock::System;
    let mut acked: VecDeque<(u64, usize, u64)> = VecDeque::new();
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) else { return };
    stream.set_nodelay(true).expect("it is a TCP socket");
    let mut stream = BufReader::new(stream);
    for turn in 0.. {
        let kind = turn % KINDS;
        let mut now = done.lock().expect("no writer panics");
        let old_ns = clock.monotonic_ns().saturating_sub(loss_max.as_nanos() as u64);
        while let Some((at_ns, kind, number)) = acked.front().copied()
            && at_ns <= old_ns
        {
            acked.pop_front();
            now.safe[kind] = number;
        }
        now.sent[kind] += 1;
        let number = now.sent[kind];
        drop(now);
        let commands = unit(writer, kind, number);
        let all: Vec<u8> = commands
            .iter()
            .flat_map(|args| request(&args.iter().map(String::as_str).collect::<Vec<_>>()))
            .collect();
        if stream.get_mut().write_all(&all).is_err() {
            return;
        }
        for _ in &commands {
            if skip_reply(&mut stream).is_none() {
                return;
            }
        }
        acked.push_back((clock.monotonic_ns(), kind, number));
        let mut now = done.lock().expect("no writer panics");
        now.acked[kind] = number;
        if loss_max.is_zero() {
            now.safe[kind] = number;
        }
    }
}

/// Writes keys that nobody counts, until the server is killed.
fn flood(port: u16, client: usize) {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return };
    let mut replies = stream.try_clone().expect("the socket can be shared");
    thread::scope(|scope| {
        scope.spawn(move || io::copy(&mut replies, &mut io::sink()));
        for number in 0.. {
            let key = format!("flood:{}", (number + client * 7) % 64);
            if stream.write_all(&request(&["SET", &key, "v"])).is_err() {
                return;
            }
        }
    });
}

fn number(reply: &str) -> u64 {
    reply.trim_start_matches(':').parse().unwrap_or(0)
}

/// Returns the number of the last unit of a kind that the server has. Fails if it is torn.
fn found(wire: &mut Wire, writer: usize, kind: usize, about: Done) -> u64 {
    let key = |name: &str| format!("{name}:{writer}");
    let mut get = |name: String| number(&wire.ask(&["GET", &name]));
    match kind {
        0 => get(key("single")),
        1 => {
            let all = [0, 1, 2, 3].map(|at| get(key(&format!("many{at}"))));
            assert!(all.iter().all(|one| *one == all[0]), "MSET is torn: {all:?}");
            all[0]
        }
        2 => {
            let (set, incr) = (get(key("exec0")), get(key("exec1")));
            let pushed = number(&wire.ask(&["LLEN", &key("exec2")]));
            assert!(incr == pushed && set >= incr, "EXEC is torn: {set} {incr} {pushed}");
            set
        }
        3 => {
            let (set, incr) = (get(key("eval0")), get(key("eval1")));
            assert!(set >= incr && (set == 0) == (incr == 0), "EVAL is torn: {set} {incr}");
            set
        }
        4 => {
            let names = [0, 1, 2].map(|at| format!("renamed{at}:{writer}"));
            let there = names.map(|name| wire.ask(&["EXISTS", &name]) == ":1");
            let number = there.iter().filter(|is_there| **is_there).count();
            assert_eq!(number, 1, "RENAME is torn: {there:?}");
            let at = there.iter().position(|is_there| *is_there).expect("one is there") as u64;
            let range = about.safe[kind]..=about.sent[kind];
            range.into_iter().find(|number| number % 3 == at).expect("a recent name")
        }
        5 => {
            let [from, to] = ["from", "to"].map(|name| number(&wire.ask(&["LLEN", &key(name)])));
            assert_eq!(from + to, ELEMENTS as u64, "LMOVE is torn");
            let (safe, sent) = (about.safe[kind], about.sent[kind]);
            let recent = (safe..=sent).find(|number| number % 2 == to);
            recent.unwrap_or_else(|| panic!("LMOVE {safe}..{sent}: {to} moved"))
        }
        _ => {
            let [all, sorted] =
                ["unsorted", "sorted"].map(|name| number(&wire.ask(&["LLEN", &key(name)])));
            assert_eq!(sorted, all, "EXEC with SORT STORE is torn");
            sorted
        }
    }
}

/// Kills the process without warning, and starts another one in the same folder. Waits until it
/// accepts connections.
fn restart(server: &mut Server, setup: Setup, arguments: &[&str]) {
    server.child.kill().expect("the process can be killed");
    server.child.wait().expect("the process has ended");
    let folder = std::mem::take(&mut server.folder);
    *server = Server::launch_in(folder, setup, free_port(), arguments, Stdio::null());
    server.keeps_folder = true;
    let is_up = wait_for(|| server.logged("Ready to accept connections") || server.is_over());
    assert!(is_up && !server.is_over(), "it starts again: {}", server.log());
}

/// Fills the keys that units move.
fn prepare(wire: &mut Wire) {
    for writer in 0..WRITERS {
        let mut args = vec!["RPUSH".to_owned(), format!("from:{writer}")];
        args.extend((0..ELEMENTS).map(|at| at.to_string()));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        assert_eq!(wire.ask(&args), format!(":{ELEMENTS}"));
        assert_eq!(wire.ask(&["SET", &format!("renamed0:{writer}"), "v"]), "+OK");
    }
}

/// Kills a server under load again and again. After each restart, with another number of shards,
/// all units that must survive are there, and none in part.
fn kill_rounds(rounds: u64, policy: Policy) {
    let arguments = [
        "--appendonly",
        "yes",
        "--appendfsync",
        policy.appendfsync,
        "--enable-debug-command",
        "yes",
    ];
    let setup = |round: u64| Setup { shards: [4, 2, 1, 3][round as usize % 4], driver: "auto" };
    let mut server = Server::start(setup(0), &arguments);
    prepare(&mut Wire::connect(server.port));
    let mut done = [Done::default(); WRITERS];
    // What is written survives a kill, whether it is synced or not.
    thread::sleep(Duration::from_millis(200));
    for round in 1..=rounds {
        let delay = policy.write_delay_us.to_string();
        Wire::connect(server.port).ask(&["DEBUG", "AOF-FLUSH-SLEEP", &delay]);
        let shared = done.map(Mutex::new);
        thread::scope(|scope| {
            for (writer, done) in shared.iter().enumerate() {
                let port = server.port;
                scope.spawn(move || write(port, writer, policy.loss_max, done));
            }
            for client in 0..policy.floods {
                let port = server.port;
                scope.spawn(move || flood(port, client));
            }
            thread::sleep(Duration::from_millis(policy.round_ms + round * 37 % 200));
            if round % 2 == 0 {
                Wire::connect(server.port).ask(&["BGREWRITEAOF"]);
            }
            thread::sleep(Duration::from_millis(round * 23 % 200));
            server.child.kill().expect("the process can be killed");
        });
        done = shared.map(|done| done.into_inner().expect("no writer panics"));
        let total: u64 = done.iter().flat_map(|done| done.acked).sum();
        println!("round {round}: {total} acknowledged");
        restart(&mut server, setup(round), &arguments);
        check_found(&mut Wire::connect(server.port), round, &mut done);
    }
}

/// Compares what the server has with what the writers have done, and continues from there.
fn check_found(wire: &mut Wire, round: u64, done: &mut [Done; WRITERS]) {
    for (writer, done) in done.iter_mut().enumerate() {
        for kind in 0..KINDS {
            let found = found(wire, writer, kind, *done);
            let (safe, acked, sent) = (done.safe[kind], done.acked[kind], done.sent[kind]);
            assert!(
                (safe..=sent).contains(&found),
                "round {round}, kind {kind}: {safe} safe of {acked} acknowledged, {sent} sent, \
                 {found} found"
            );
            (done.sent[kind], done.acked[kind], done.safe[kind]) = (found, found, found);
        }
    }
}

fn rounds() -> u64 {
    std::env::var("ANNULET_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

const ALWAYS: Policy = Policy {
    appendfsync: "always",
    loss_max: Duration::ZERO,
    write_delay_us: 0,
    round_ms: 50,
    floods: 0,
};

#[test]
fn always_loses_nothing_acknowledged() {
    kill_rounds(rounds(), ALWAYS);
}

#[test]
fn always_loses_nothing_acknowledged_on_a_slow_disk() {
    kill_rounds(rounds(), Policy { write_delay_us: 5_000, round_ms: 300, floods: 3, ..ALWAYS });
}

#[test]
fn everysec_loses_at_most_a_second() {
    kill_rounds(
        rounds().div_ceil(2),
        Policy {
            appendfsync: "everysec",
            loss_max: Duration::from_secs(1),
            write_delay_us: 100_000,
            round_ms: 1_200,
            floods: 0,
        },
    );
}

/// Scripts that write and never end: on their partition, on gathered values, on all slices.
const ENDLESS: [(&str, &[&str]); 3] = [
    ("redis.call('SET', KEYS[1], 1) while true do end", &["1", "torn:a"]),
    (
        "redis.call('SET', KEYS[1], 1) redis.call('SET', KEYS[2], 1) while true do end",
        &["2", "torn:a", "torn:b"],
    ),
    ("redis.call('SET', 'torn' .. ':a', 1) while true do end", &["0"]),
];

#[test]
fn shutdown_ends_scripts_that_have_written_and_the_file_has_none_of_it() {
    let arguments = ["--appendonly", "yes", "--busy-reply-threshold", "1"];
    for shards in [1, 4] {
        let setup = Setup { shards, driver: "auto" };
        for (text, keys) in ENDLESS {
            let mut server = Server::start(setup, &arguments);
            let (mut wire, mut caller) = (Wire::connect(server.port), Wire::connect(server.port));
            assert_eq!(wire.ask(&["SET", "kept", "1"]), "+OK");
            caller.send(&["MULTI"]);
            caller.send(&["SET", "torn:c", "1"]);
            caller.send(&[&["EVAL", text], keys].concat());
            caller.send(&["SET", "torn:d", "1"]);
            caller.send(&["EXEC"]);
            assert!(wait_for(|| wire.ask(&["PING"]).starts_with("-BUSY")), "{text}");
            wire.send(&["SHUTDOWN", "NOSAVE"]);
            assert!(wait_for(|| server.is_over()), "{shards} shards, {text}: {}", server.log());
            restart(&mut server, setup, &arguments);
            let mut wire = Wire::connect(server.port);
            let torn = wire.ask(&["EXISTS", "torn:a", "torn:b", "torn:c", "torn:d"]);
            assert_eq!((torn, wire.ask(&["GET", "kept"])), (":0".into(), "1".into()), "{text}");
        }
    }
}
