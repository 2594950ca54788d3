//! Many hostile clients at once against the real server process, with a replica attached.
//!
//! Each client draws valid, invalid and huge commands of all kinds, on few keys that all share, and
//! vanishes at any moment. A probe checks answers that it knows and its worst wait. At the end the
//! server must rest as before, have the same keys as its replica, and exit in order while the
//! clients are at it again.
//!
//! `ANNULET_PEER` names the program of the replica; the default is `valkey-server` on the PATH.
//! Without one there is no replica. Further environment variables:
//!
//! ```text
//!   ANNULET_HOSTILE_SECONDS  duration for each number of shards                           20
//!   ANNULET_HOSTILE_SEED     seed of all clients                                          1
//!   ANNULET_HOSTILE_SHARDS   shards, separated by commas                                  1,2,4
//!   ANNULET_HOSTILE_CLIENTS  number of clients                                            16
//!   ANNULET_HOSTILE_MOODS    what clients do: names of `Mood`, separated by commas        all
//!   ANNULET_HOSTILE_DRIVER   the server's I/O driver                                      auto
//!   ANNULET_HOSTILE_MEMORY   `maxmemory` throughout, for example 12mb       drawn, mostly none
//!   ANNULET_HOSTILE_FSYNC    always, everysec, no: with an append-only file; off   by the seed
//!   ANNULET_HOSTILE_WAIT_MS  longest wait of the probe    2,000; 10,000 with debug assertions
//!   ANNULET_BINARY           the server's program                  the one of this package
//! ```
//! A failure prints the line that repeats the run. Threads meet differently each time, so a seed
//! makes a failure likely, not certain. The last commands of all clients are in `clients.log` in
//! the server's folder, which stays, with the server's output in `server.log`.

#[path = "../process/certificates.rs"]
#[allow(dead_code)]
mod certificates;
mod client;
#[path = "../differential/compare.rs"]
#[allow(dead_code)]
mod compare;
mod draw;
mod file;
#[path = "../differential/findings.rs"]
#[allow(dead_code)]
mod findings;
mod forms;
#[path = "../differential/generate.rs"]
#[allow(dead_code)]
mod generate;
#[path = "../differential/grammar/mod.rs"]
#[allow(dead_code)]
mod grammar;
#[path = "../differential/guard.rs"]
mod guard;
mod link;
#[path = "../differential/peer.rs"]
#[allow(dead_code)]
mod peer;
mod probe;
mod rest;
#[path = "../differential/script.rs"]
#[allow(dead_code)]
mod script;
#[path = "../process/server.rs"]
#[allow(dead_code)]
mod server;
mod shared;
#[path = "../differential/state.rs"]
#[allow(dead_code)]
mod state;
#[path = "../differential/vocabulary.rs"]
#[allow(dead_code)]
mod vocabulary;
#[path = "../differential/wire.rs"]
#[allow(dead_code)]
mod wire;

use annulet::base::clock::Clock;
use client::Client;
use file::File;
use peer::Peer;
use probe::Seen;
use rest::Rest;
use server::{Server, Setup, wait_for};
use shared::Shared;
use state::{Difference, Observers};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use wire::Wire;

/// Counters and flags need no order.
const RELAXED: Ordering = Ordering::Relaxed;

/// Pause between two looks at the server.
const LOOK: Duration = Duration::from_millis(20);

/// Looks, one in 5 ms, at a server that was asked to exit, before it is asked again.
const LOOKS_PER_SIGNAL: u32 = 200;

/// Lines of the server's log that a failure shows.
const TAIL_LINES: usize = 200;

/// Number of comparisons, every 200 ms, before the replica counts as different. Keys that expire
/// during a comparison differ for a moment.
const COMPARISONS_MAX: usize = 50;

/// Databases in which a failure shows the keys that differ.
const DATABASES_SHOWN: u64 = 4;

const ARGUMENTS: &[&str] = &["--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0"];

/// What a server with a limit of memory begins with.
const LIMITED: &[&str; 2] = &["--maxmemory-policy", "allkeys-lru"];

/// The size of the run.
#[derive(Clone, Copy, Debug)]
struct Options {
    seconds: u64,
    seed: u64,
    clients: u64,
    wait_ms_max: u64,
}

/// Returns the numbers in an environment variable.
fn numbers(name: &str, default: &str) -> Vec<u64> {
    let text = std::env::var(name).unwrap_or_else(|_| default.to_string());
    let number = |arg: &str| arg.parse().unwrap_or_else(|_| panic!("{name}: {arg:?}"));
    text.split(',').map(number).collect()
}

impl Options {
    fn from_environment() -> Options {
        let number = |name: &str, default: &str| numbers(name, default)[0];
        let wait = if cfg!(debug_assertions) { "10000" } else { "2000" };
        Options {
            seconds: number("ANNULET_HOSTILE_SECONDS", "20"),
            seed: number("ANNULET_HOSTILE_SEED", "1"),
            clients: number("ANNULET_HOSTILE_CLIENTS", "16"),
            wait_ms_max: number("ANNULET_HOSTILE_WAIT_MS", wait),
        }
    }

    fn line(&self, shards: usize) -> String {
        let Options { seconds, seed, clients, .. } = self;
        format!(
            "ANNULET_HOSTILE_SEED={seed} ANNULET_HOSTILE_SHARDS={shards} \
             ANNULET_HOSTILE_SECONDS={seconds} ANNULET_HOSTILE_CLIENTS={clients} \
             cargo test --test hostile -- --nocapture"
        )
    }
}

#[test]
fn the_server_survives_its_clients() {
    let options = Options::from_environment();
    for shards in numbers("ANNULET_HOSTILE_SHARDS", "1,2,4") {
        run(options, shards as usize);
    }
}

fn run(options: Options, shards: usize) {
    let driver = match std::env::var("ANNULET_HOSTILE_DRIVER").as_deref() {
        Ok("epoll") => "epoll",
        Ok("uring") => "uring",
        _ => "auto",
    };
    let file = File::of(options.seed);
    let (tls_port, certificates) = (server::free_port(), certificates::Certificates::new());
    let secured = certificates.options(tls_port);
    let secured: Vec<&str> = secured.iter().map(String::as_str).collect();
    let limit = std::env::var("ANNULET_HOSTILE_MEMORY").ok();
    let limited = limit.iter().flat_map(|limit| ["--maxmemory", limit, LIMITED[0], LIMITED[1]]);
    let limited: Vec<&str> = limited.collect();
    let arguments = [ARGUMENTS, file.arguments(), &secured, &limited].concat();
    let mut server = Server::start(Setup { shards, driver }, &arguments);
    server.keeps_folder = true;
    let secured = (tls_port, certificates.client(Some("client")));
    let shared = Shared::new(server.port, secured, limit.clone(), options.clients as usize);
    let course = || course((options, shards, file), &shared, &mut server);
    let outcome = catch_unwind(AssertUnwindSafe(course));
    if let Err(panic) = outcome {
        report(&mut server, &shared);
        eprintln!("to repeat it:\n  {}", options.line(shards));
        resume_unwind(panic);
    }
}

/// The course of one run. A panic is a failure.
fn course((options, shards, file): (Options, usize, File), shared: &Shared, server: &mut Server) {
    let replica = peer::program().map(|program| follow(&program, server));
    let before = Rest::of(server, &mut Wire::connect(server.port, 2));
    let seen = let_loose(options, shared, server);
    if server.is_over() {
        let status = server.child.wait().expect("the child can be waited for");
        shared.fail(format!("the server has ended: {status}"));
    }
    let failures = shared.failures();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    restore(server, file);
    if file != File::Drawn {
        file::compare_with_file(server, shards);
    }
    if let Some(replica) = replica {
        compare_with(server, replica);
    }
    let mut wire = Wire::connect(server.port, 2);
    assert_eq!(wire.ask(&["FLUSHALL"]), b"+OK\r\n");
    let now = rest::returns_to(&before, shards, server, &mut wire);
    let [sent, answered, closed] =
        [&shared.sent, &shared.answered, &shared.closed].map(|number| number.load(RELAXED));
    println!("{shards} shards: {sent} commands, {answered} replies, {closed} connections closed");
    println!("  {seen:?}\n  before: {}\n  after: {}", before.text(), now.text());
    drop(wire);
    exits_under_load(options, shared, server);
}

/// Starts a replica and waits until it has the first snapshot. It writes what it receives to an
/// append-only file in the server's folder.
fn follow(program: &str, server: &Server) -> Peer {
    let (port, place) = (server.port, server.port.to_string());
    let folder = server.folder.to_string_lossy();
    let follows = ["--replicaof", "127.0.0.1", &place];
    let keeps = ["--dir", &folder, "--dbfilename", "replica.rdb", "--appendonly", "yes"];
    let apart = ["--appenddirname", "replica-appendonlydir"];
    let quietly = ["--appendfsync", "no", "--auto-aof-rewrite-percentage", "0"];
    let peer = Peer::start_with(program, &[&follows[..], &keeps, &apart, &quietly].concat());
    let (mut replica, mut primary) = (Wire::connect(peer.port, 2), Wire::connect(port, 2));
    assert!(state::catches_up(&mut replica, &mut primary), "the replica gets a snapshot");
    peer
}

/// Starts the clients of a run. Each draws by its own seed.
fn spawn_clients<'s>(
    scope: &'s thread::Scope<'s, '_>,
    clients: u64,
    seed: u64,
    shared: &'s Shared,
) {
    for number in 0..clients {
        let seed = seed << 16 | number;
        scope.spawn(move || Client::new(number as usize, shared, seed).run());
    }
}

/// Lets the clients do what they want for a time. Returns what the probe has seen.
fn let_loose(options: Options, shared: &Shared, server: &mut Server) -> Seen {
    let end_ns = Clock::System.monotonic_ns() + options.seconds * 1_000_000_000;
    thread::scope(|scope| {
        spawn_clients(scope, options.clients, options.seed, shared);
        let probe = scope.spawn(|| probe::run(shared, options.wait_ms_max));
        while !shared.is_over() && Clock::System.monotonic_ns() < end_ns {
            if server.is_over() {
                break;
            }
            thread::sleep(LOOK);
        }
        shared.is_over.store(true, RELAXED);
        probe.join().expect("the probe reports failures and does not panic")
    })
}

/// Waits until the server has let all clients go: what they sent last may kill clients and change
/// settings. Then sets again what they have changed.
fn restore(server: &Server, file: File) {
    let mut wire = Wire::connect(server.port, 2);
    // Writes may be paused, and the last commands wait for that.
    wire.ask(&["CLIENT", "UNPAUSE"]);
    let mut list = Vec::new();
    let is_alone = wait_for(|| {
        list = wire.ask(&["CLIENT", "LIST", "TYPE", "normal"]);
        list.windows(4).filter(|part| part == b" fd=").count() == 1
    });
    assert!(is_alone, "clients that have gone stay connected: {}", list.escape_ascii());
    let file_args: &[&[&str]] = match file {
        File::Drawn => &[&["CONFIG", "SET", "appendonly", "no"]],
        File::On(_) => &[&["CONFIG", "SET", "appendonly", "yes"]],
    };
    for &args in forms::RESTORING.iter().chain(file_args) {
        let reply = wire.ask(args);
        assert!(!reply.starts_with(b"-"), "{args:?}: {}", reply.escape_ascii());
    }
}

/// Compares the keys of two servers until they are equal, or differ for too long. Returns the last
/// differences.
fn lasting_differences(observers: &mut Observers) -> Vec<Difference> {
    let mut differences = Vec::new();
    for _ in 0..COMPARISONS_MAX {
        differences = state::compare(observers, None);
        // The encoding of a value depends on its history, which the other server does not have.
        differences.retain(|difference| !difference.kind.contains("OBJECT ENCODING"));
        if differences.is_empty() {
            break;
        }
        thread::sleep(10 * LOOK);
    }
    differences
}

/// Waits until the replica has applied the whole stream and its keys equal the server's.
fn compare_with(server: &Server, replica: Peer) {
    let mut wires = (Wire::connect(replica.port, 2), Wire::connect(server.port, 2));
    assert!(
        state::catches_up(&mut wires.0, &mut wires.1),
        "the replica does not catch up; its log:\n{}",
        replica.log()
    );
    let differences = lasting_differences(&mut Observers::new(wires.0, wires.1));
    if differences.is_empty() {
        return;
    }
    let mut texts: Vec<String> = Vec::new();
    let mut wire = Wire::connect(server.port, 2);
    for difference in differences {
        texts.push(difference.text);
        // The key's database is in the text, so all are asked.
        for database in 0..DATABASES_SHOWN {
            wire.ask(&["SELECT", &database.to_string()]);
            let asked = ["TYPE", "PTTL", "OBJECT ENCODING"].map(|question| {
                let mut args: Vec<&[u8]> = question.split(' ').map(str::as_bytes).collect();
                args.push(&difference.key);
                findings::shown(&wire.ask(&args))
            });
            texts.push(format!("  database {database} of the server: {}", asked.join(" ")));
        }
    }
    // Whether a further change reaches the stream, and how far the stream is.
    for args in [&["SET", "probe:last", "1"][..], &["WAIT", "1", "1000"], &["INFO", "replication"]]
    {
        texts.push(format!("  {args:?}: {}", String::from_utf8_lossy(&wire.ask(args))));
    }
    // The file shows the state of the server.
    texts.push(format!("  SAVE: {}", findings::shown(&wire.ask(&["SAVE"]))));
    panic!("the replica (\"Annulet\") and the server (\"Valkey\") differ:\n{}", texts.join("\n"));
}

/// Lets the clients do what they want again and asks the server to exit meanwhile. Checks that it
/// does so in order. While the first base of an append-only file is written it refuses, so it is
/// asked until it exits.
fn exits_under_load(options: Options, shared: &Shared, server: &mut Server) {
    shared.is_over.store(false, RELAXED);
    let has_ended = thread::scope(|scope| {
        spawn_clients(scope, options.clients, !options.seed, shared);
        thread::sleep(10 * LOOK);
        let mut looks = 0;
        let has_ended = wait_for(|| {
            if looks % LOOKS_PER_SIGNAL == 0 {
                signal(server, "TERM");
            }
            looks += 1;
            server.is_over()
        });
        shared.is_over.store(true, RELAXED);
        has_ended
    });
    assert!(has_ended, "the server does not exit");
    let status = server.child.wait().expect("the child can be waited for");
    assert!(status.success(), "the server exits: {status}");
}

fn signal(server: &Server, name: &str) {
    let line = format!("kill -{name} {}", server.child.id());
    // The process may have ended.
    let _ = Command::new("sh").args(["-c", &line]).status();
}

/// Writes what helps to find the cause: the last commands, the server's stacks and its log.
fn report(server: &mut Server, shared: &Shared) {
    if !server.is_over() {
        signal(server, "ALRM");
        // Symbols of a build without optimization take seconds.
        wait_for(|| server.logged("STACK TRACE DONE") || server.is_over());
    }
    let log = server.log();
    for (name, text) in [("clients.log", &shared.traced()), ("server.log", &log)] {
        if let Err(error) = std::fs::write(server.folder.join(name), text) {
            eprintln!("{name} cannot be written: {error}");
        }
    }
    let lines: Vec<&str> = log.lines().collect();
    let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    eprintln!("the end of the server's log:\n{}", tail.join("\n"));
    eprintln!("the whole log and the last commands are in {}", server.folder.display());
}
