//! Latency while the tables grow, measured by a client: fills a server with keys and sends a probe
//! every millisecond.
//!
//! ```text
//!   cargo bench --bench grow -- [--keys MILLIONS] [--shards N] [--driver D] [--one-slot]
//! ```
//! A prober sends PING and GET in turn, one per millisecond. The latency of a late probe counts
//! from when it was due, so that ten probes see a pause of 10 ms, not only one. Without arguments
//! it fills 200,000 keys.

#[path = "../tests/process/server.rs"]
mod server;
#[path = "../tests/process/wire.rs"]
mod wire;

use annulet::base::clock::Clock;
use server::{Server, Setup, drivers, wait_for};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use wire::{Wire, info_field, request};

/// SETs in one pipeline.
const PIPELINE: u64 = 256;

/// Nanoseconds from one probe to the next.
const PROBE_NS: u64 = 1_000_000;

struct Plan {
    keys: u64,
    setup: Setup,
    is_one_slot: bool,
}

/// Parses the arguments. Cargo adds `--bench`.
fn plan() -> Plan {
    let mut plan =
        Plan { keys: 200_000, setup: Setup { shards: 1, driver: "auto" }, is_one_slot: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} needs a value"));
        match argument.as_str() {
            "--bench" => {}
            "--keys" => plan.keys = value().parse::<u64>().expect("millions") * 1_000_000,
            "--shards" => plan.setup.shards = value().parse().expect("a number of shards"),
            "--driver" => {
                let name = value();
                let known = drivers().into_iter().find(|driver| *driver == name);
                plan.setup.driver = known.expect("a driver of this machine");
            }
            "--one-slot" => plan.is_one_slot = true,
            other => panic!("unknown argument {other}"),
        }
    }
    plan
}

fn key(n: u64, is_one_slot: bool) -> String {
    if is_one_slot { format!("{{slot}}:{n:010}") } else { format!("key:{n:010}") }
}

fn fill(port: u16, plan: &Plan) {
    let mut wire = Wire::connect(port);
    let step = plan.keys.div_ceil(10).next_multiple_of(PIPELINE);
    for first in (0..plan.keys).step_by(PIPELINE as usize) {
        let set = |n| request(&["SET", &key(n, plan.is_one_slot), "0123456789abcdef"]);
        wire.write((first..first + PIPELINE).flat_map(set).collect::<Vec<u8>>());
        for _ in 0..PIPELINE {
            assert_eq!(wire.line(), "+OK");
        }
        if first % step == 0 {
            println!("{} keys", first + PIPELINE);
        }
    }
}

/// Returns the sorted latencies of the probes until `is_over`, in nanoseconds.
fn probe(port: u16, is_one_slot: bool, is_over: &AtomicBool) -> Vec<u64> {
    let clock = Clock::System;
    let mut wire = Wire::connect(port);
    let mut latencies = Vec::new();
    let mut due_ns = clock.monotonic_ns();
    while !is_over.load(Ordering::Relaxed) {
        due_ns += PROBE_NS;
        let now_ns = clock.monotonic_ns();
        thread::sleep(Duration::from_nanos(due_ns.saturating_sub(now_ns)));
        // Waking up late is this thread's own delay, unless the probe before was late.
        let start_ns = if now_ns > due_ns { due_ns } else { clock.monotonic_ns() };
        match latencies.len() % 2 {
            0 => assert_eq!(wire.ask(&["PING"]), "+PONG"),
            _ => assert_ne!(wire.ask(&["GET", &key(0, is_one_slot)]), ""),
        }
        latencies.push(clock.monotonic_ns() - start_ns);
    }
    latencies.sort_unstable();
    latencies
}

fn main() {
    let plan = plan();
    let server = Server::start(plan.setup, &[]);
    let mut wire = Wire::connect(server.port);
    assert_eq!(wire.ask(&["CONFIG", "RESETSTAT"]), "+OK");
    let clock = Clock::System;
    let start_ns = clock.monotonic_ns();
    let is_over = AtomicBool::new(false);
    let latencies = thread::scope(|scope| {
        let prober = scope.spawn(|| probe(server.port, plan.is_one_slot, &is_over));
        fill(server.port, &plan);
        is_over.store(true, Ordering::Relaxed);
        prober.join().expect("the server answers")
    });
    let seconds = (clock.monotonic_ns() - start_ns) as f64 / 1e9;
    let keys: u64 = wire.ask(&["DBSIZE"]).trim_start_matches(':').parse().expect("a number");
    assert!(keys >= plan.keys, "only {keys} keys exist");
    let at = |share: f64| latencies[(latencies.len() as f64 * share) as usize] / 1_000;
    println!("{keys} keys in {seconds:.1} s, {} probes of {:?}", latencies.len(), plan.setup);
    println!("latency us: p50 {}, p99 {}, p99.9 {}, max {}", at(0.5), at(0.99), at(0.999), {
        latencies.last().expect("there were probes") / 1_000
    });
    let info = wire.ask(&["INFO", "everything"]);
    let used = info_field(&info, "used_memory").expect("INFO has used_memory");
    println!("used_memory {used}, {:.1} bytes per key", used as f64 / keys as f64);
    for line in info.lines().filter(|line| line.contains("longest_turn_us")) {
        println!("{line}");
    }
    assert_eq!(wire.ask(&["FLUSHALL", "ASYNC"]), "+OK");
    assert!(wait_for(|| wire.ask(&["DBSIZE"]) == ":0"), "all keys are gone");
}
