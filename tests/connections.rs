//! Thousands of connections, some of them hostile: memory stays bounded, and the other clients are
//! not disturbed.
//!
//! ```text
//!   silent   request large replies and never read them
//!   garbage  send invalid commands, are disconnected, and reconnect
//!   polite   PING and GET in turn; every reply is checked
//! ```
//!
//! `ANNULET_CONNECTIONS` sets the number of connections. With `ANNULET_TORTURE_SECONDS` each phase
//! lasts that long, and latencies are checked too. Only a release build on a quiet machine can pass
//! that: `scripts/torture` runs it.

#[path = "process/server.rs"]
mod server;
#[path = "process/wire.rs"]
mod wire;

use annulet::base::clock::Clock;
use annulet::base::rng::Rng;
use annulet::base::thread::raise_descriptor_limit;
use annulet::exec::BATCH_COMMANDS_MAX;
use annulet::mesh::CREDITS_PER_PAIR;
use server::{Server, Setup, drivers, wait_for};
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use wire::{Wire, info_field, request};

/// Default number of connections.
const CONNECTIONS_DEFAULT: usize = 2_000;

/// Descriptors that the test needs besides those of its connections.
const RESERVED_DESCRIPTORS: usize = 200;

const SHARDS: usize = 2;

/// `maxmemory-clients`.
const CLIENTS_BYTES_MAX: usize = 256 << 20;

/// Largest number of bytes in the buffers of all connections of a shard: the limit, plus the
/// replies of the batches that may be in flight when it is reached, because replies count when they
/// arrive.
const BUFFERS_BYTES_MAX: u64 = (CLIENTS_BYTES_MAX
    + CREDITS_PER_PAIR as usize * BATCH_COMMANDS_MAX * KEYS * VALUE_BYTES)
    as u64;

/// Largest average number of further bytes per connection.
const CONNECTION_BYTES_MAX: u64 = 48 << 10;

/// Bytes of empty buffers that a shard keeps for reuse after all connections have closed.
const POOLS_BYTES_MAX: u64 = 64 << 20;

/// Keys of [`VALUE_BYTES`] in one request of a silent connection, and the number of requests.
const KEYS: usize = 16;
const VALUE_BYTES: usize = 1_024;
const ASKED: usize = 512;

/// Threads over which the polite connections are spread.
const POLITE_THREADS: usize = 4;

/// Largest factor by which the 99th percentile of the polite connections may grow.
const P99_RATIO_MAX: f64 = 2.0;

/// The length of a phase: a number of rounds over all connections, or of seconds.
#[derive(Clone, Copy)]
enum Length {
    Rounds(usize),
    Seconds(u64),
}

fn setting(name: &str) -> Option<usize> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text}")))
}

fn connection_count() -> usize {
    let wanted = setting("ANNULET_CONNECTIONS").unwrap_or(CONNECTIONS_DEFAULT);
    let allowed = raise_descriptor_limit((wanted + RESERVED_DESCRIPTORS) as u64) as usize;
    let count = wanted.min(allowed.saturating_sub(RESERVED_DESCRIPTORS));
    if count < wanted {
        println!(
            "{count} connections instead of {wanted}: the limit of open descriptors is reached"
        );
    }
    count
}

fn key(n: usize) -> String {
    format!("key:{n}")
}

/// The connections of the three kinds.
struct Crowd {
    polite: Vec<Wire>,
    silent: Vec<Wire>,
    garbage_count: usize,
}

impl Crowd {
    fn connect(port: u16, count: usize) -> Crowd {
        let (silent, garbage_count) = (count * 15 / 100, count * 5 / 100);
        let connect = |count: usize| (0..count).map(|_| Wire::connect(port)).collect();
        Crowd {
            polite: connect(count - silent - garbage_count),
            silent: connect(silent),
            garbage_count,
        }
    }
}

/// Sends PING and GET on one connection; returns the nanoseconds of each.
fn be_polite(wire: &mut Wire, expected: &str, n: usize, clock: &Clock) -> [u64; 2] {
    let start_ns = clock.monotonic_ns();
    assert_eq!(wire.ask(&["PING"]), "+PONG");
    let middle_ns = clock.monotonic_ns();
    assert_eq!(wire.ask(&["GET", &key(n % KEYS)]), expected);
    [middle_ns - start_ns, clock.monotonic_ns() - middle_ns]
}

/// Runs the polite connections from a few threads; returns the sorted latencies.
fn polite_phase(polite: &mut [Wire], length: Length) -> Vec<u64> {
    let expected = "v".repeat(VALUE_BYTES);
    let share = polite.len().div_ceil(POLITE_THREADS);
    let work = |wires: &mut [Wire]| {
        let clock = Clock::System;
        let start_ns = clock.monotonic_ns();
        let mut latencies = Vec::new();
        for round in 0.. {
            let is_over = match length {
                Length::Rounds(rounds) => round >= rounds,
                Length::Seconds(s) => clock.monotonic_ns() >= start_ns + s * 1_000_000_000,
            };
            if is_over {
                break;
            }
            for (n, wire) in wires.iter_mut().enumerate() {
                latencies.extend(be_polite(wire, &expected, n, &clock));
            }
        }
        latencies
    };
    let mut latencies: Vec<u64> = thread::scope(|scope| {
        let shares = polite.chunks_mut(share);
        let threads: Vec<_> = shares.map(|wires| scope.spawn(|| work(wires))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("replies are right")).collect()
    });
    latencies.sort_unstable();
    latencies
}

/// Sends requests as long as the server takes them, for more than any socket buffers, and reads
/// nothing.
fn be_silent(silent: &mut [Wire]) {
    let keys: Vec<String> = (0..KEYS).map(key).collect();
    let args: Vec<&str> = ["MGET"].into_iter().chain(keys.iter().map(|key| &**key)).collect();
    let bytes = request(&args).repeat(ASKED);
    for wire in silent {
        let stream = wire.stream.get_mut();
        stream.set_nonblocking(true).expect("the stream is a socket");
        let mut at = 0;
        while at < bytes.len() {
            match stream.write(&bytes[at..]) {
                Ok(written) => at += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // The server may have disconnected the client.
                Err(_) => break,
            }
        }
    }
}

/// Sends invalid commands from one connection after another until `is_over`.
fn send_garbage(port: u16, count: usize, is_over: &AtomicBool) {
    let mut rng = Rng::new(7);
    let mut streams: Vec<TcpStream> = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        // A refused connection is tried again later.
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            streams.push(stream);
        }
        if streams.len() > count {
            streams.remove(0);
        }
        let Some(stream) = streams.last_mut() else { continue };
        let mut bytes: Vec<u8> = (0..4_096).map(|_| rng.next_u64() as u8).collect();
        match rng.next_u64() % 3 {
            0 => bytes[..6].copy_from_slice(b"*99\r\n$"),
            1 => bytes.splice(..0, *b"*2\r\n$4\r\nECHO\r\n$100000\r\n").for_each(drop),
            _ => {}
        }
        // The server usually closes the connection in the middle of the write.
        let _ = stream.write(&bytes);
        thread::sleep(Duration::from_millis(1));
    }
}

/// Returns the largest used and resident memory until `is_over`.
fn watch_memory(port: u16, is_over: &AtomicBool) -> (u64, u64) {
    let mut wire = Wire::connect(port);
    let mut most = (0, 0);
    while !is_over.load(Ordering::Relaxed) {
        let (used, resident) = memory(&mut wire);
        most = (most.0.max(used), most.1.max(resident));
        thread::sleep(Duration::from_millis(20));
    }
    most
}

fn memory(wire: &mut Wire) -> (u64, u64) {
    let info = wire.ask(&["INFO", "memory"]);
    let field = |name| info_field(&info, name).expect("INFO has the memory fields");
    (field("used_memory"), field("used_memory_rss"))
}

/// Sets the flag of the other threads on drop, even after a failure.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs the polite phase beside hostile connections; returns its latencies and the largest memory.
fn storm(server: &Server, crowd: &mut Crowd, length: Length) -> (Vec<u64>, (u64, u64)) {
    let (port, garbage_count) = (server.port, crowd.garbage_count);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| watch_memory(port, &is_over));
        let garbage = scope.spawn(|| send_garbage(port, garbage_count, &is_over));
        let over = Over(&is_over);
        be_silent(&mut crowd.silent);
        let latencies = polite_phase(&mut crowd.polite, length);
        drop(over);
        garbage.join().expect("garbage does not panic");
        (latencies, watcher.join().expect("INFO answers"))
    })
}

fn percentile_us(sorted: &[u64], hundredths: usize) -> u64 {
    sorted[(sorted.len() * hundredths / 100).min(sorted.len() - 1)] / 1_000
}

fn torture(driver: &'static str, count: usize, seconds: Option<usize>) {
    let length = seconds.map_or(Length::Rounds(2), |s| Length::Seconds(s as u64));
    let most = (count + RESERVED_DESCRIPTORS / 2).to_string();
    let bytes = CLIENTS_BYTES_MAX.to_string();
    let arguments = ["--maxclients", &most, "--maxmemory-clients", &bytes];
    let server = Server::start(Setup { shards: SHARDS, driver }, &arguments);
    let mut wire = Wire::connect(server.port);
    for n in 0..KEYS {
        assert_eq!(wire.ask(&["SET", &key(n), &"v".repeat(VALUE_BYTES)]), "+OK");
    }
    let (base_used, base_resident) = memory(&mut wire);
    let mut crowd = Crowd::connect(server.port, count);
    let calm = polite_phase(&mut crowd.polite, length);
    let (stormy, (used, resident)) = storm(&server, &mut crowd, length);
    let bytes_max = SHARDS as u64 * BUFFERS_BYTES_MAX + count as u64 * CONNECTION_BYTES_MAX;
    let [calm_us, stormy_us] = [&calm, &stormy].map(|all| percentile_us(all, 99));
    println!(
        "{driver}: {count} connections, p99 {calm_us} us, with bad ones {stormy_us} us; \
         used {} MiB more, resident {} MiB more, bound {} MiB",
        (used.saturating_sub(base_used)) >> 20,
        (resident.saturating_sub(base_resident)) >> 20,
        bytes_max >> 20,
    );
    assert!(used - base_used <= bytes_max, "too much memory is used");
    assert!(resident - base_resident <= bytes_max * 5 / 4, "too much memory is resident");
    let polite_count = crowd.polite.len() as u64;
    drop(crowd.silent);
    let clients =
        |wire: &mut Wire| info_field(&wire.ask(&["INFO", "clients"]), "connected_clients");
    let is_rid = wait_for(|| clients(&mut wire) == Some(polite_count + 1));
    assert!(is_rid, "left of {polite_count} polite ones and one: {:?}", clients(&mut wire));
    drop(crowd.polite);
    let is_alone = wait_for(|| clients(&mut wire) == Some(1));
    assert!(is_alone, "some stay:\n{}", wire.ask(&["CLIENT", "LIST"]));
    assert!(
        wait_for(|| memory(&mut wire).0 <= base_used + SHARDS as u64 * POOLS_BYTES_MAX),
        "{} bytes are still used, {base_used} were at first",
        memory(&mut wire).0,
    );
    if seconds.is_some() {
        let worst_us = (calm_us as f64 * P99_RATIO_MAX) as u64;
        assert!(stormy_us <= worst_us, "p99 {stormy_us} us, at most {worst_us} us");
    }
}

#[test]
fn hostile_clients_do_not_disturb_others() {
    let count = connection_count();
    for driver in drivers() {
        torture(driver, count, setting("ANNULET_TORTURE_SECONDS"));
    }
}
