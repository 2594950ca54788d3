//! Values that a long command reads on another thread, while their keys expire, are flushed or are
//! evicted.

use super::server::{Server, Setup, drivers, wait_for};
use super::wire::{Wire, info_field};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const MEMBERS: usize = 30_000;

/// Members of one SADD.
const BATCH: usize = 500;

/// Bytes by which the used memory may differ between two rounds: buffers that are kept for reuse.
/// A round lends a dozen sets, each of more than 512 KiB.
const SLACK_BYTES: u64 = 3 << 20;

fn fill(wire: &mut Wire, key: &str) {
    for first in (0..MEMBERS).step_by(BATCH) {
        let members: Vec<String> =
            (first..first + BATCH).map(|at| format!("member:{at}")).collect();
        let args: Vec<&str> =
            ["SADD", key].into_iter().chain(members.iter().map(|m| &**m)).collect();
        assert_eq!(wire.ask(&args), format!(":{BATCH}"));
    }
}

fn used_bytes(wire: &mut Wire) -> u64 {
    info_field(&wire.ask(&["INFO", "memory"]), "used_memory").expect("a field")
}

/// Uses the volatile key from several connections until `is_over`.
fn touch(port: u16, is_over: &AtomicBool) {
    let mut wire = Wire::connect(port);
    while !is_over.load(Ordering::Relaxed) {
        wire.ask(&["EXISTS", "tmp"]);
        wire.ask(&["SET", "junk", "y"]);
        wire.ask(&["RANDOMKEY"]);
        wire.ask(&["SCAN", "0", "COUNT", "100"]);
    }
}

/// Runs long commands on a value that expires meanwhile. Returns the bytes that are used after
/// everything was removed.
fn run_round(server: &Server) -> u64 {
    let mut wire = Wire::connect(server.port);
    fill(&mut wire, "big");
    fill(&mut wire, "big2");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| touch(server.port, &is_over));
        }
        for command in [
            &["SINTERCARD", "2", "tmp", "big2"][..],
            &["SUNIONSTORE", "dst", "tmp", "big2"],
            &["SMEMBERS", "tmp"],
            &["SORT", "tmp", "ALPHA", "LIMIT", "0", "1"],
        ] {
            for wait_ms in [1, 4, 9] {
                wire.ask(&["COPY", "big", "tmp", "REPLACE"]);
                assert_eq!(wire.ask(&["PEXPIRE", "tmp", "10"]), ":1");
                thread::sleep(Duration::from_millis(wait_ms));
                let reply = wire.ask(command);
                assert!(!reply.starts_with('-'), "{command:?}: {reply}");
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(wire.ask(&["FLUSHALL"]), "+OK");
    let mut before = u64::MAX;
    wait_for(|| {
        thread::sleep(Duration::from_millis(200));
        let now = used_bytes(&mut wire);
        now >= std::mem::replace(&mut before, now)
    });
    before
}

#[test]
fn a_key_expires_while_its_value_is_read_elsewhere() {
    let driver = drivers()[0];
    for shards in [1, 2, 4] {
        let server = Server::start(Setup { shards, driver }, &[]);
        // The first round also creates what is kept for reuse.
        let (first, second) = (run_round(&server), run_round(&server));
        assert!(second < first + SLACK_BYTES, "{shards} shards: {first} {second}");
    }
}

/// Stores the union of two large sets until `is_over`.
fn store_unions(port: u16, is_over: &AtomicBool) {
    let mut wire = Wire::connect(port);
    while !is_over.load(Ordering::Relaxed) {
        assert_eq!(wire.ask(&["SUNIONSTORE", "dst", "big", "big2"]), format!(":{MEMBERS}"));
    }
}

#[test]
fn surveys_see_keys_whose_values_are_with_a_transaction() {
    let driver = drivers()[0];
    for shards in [1, 2] {
        let server = Server::start(Setup { shards, driver }, &[]);
        let mut wire = Wire::connect(server.port);
        for key in ["big", "big2", "dst"] {
            fill(&mut wire, key);
        }
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| store_unions(server.port, &is_over));
            for _ in 0..300 {
                assert_eq!(wire.ask(&["DBSIZE"]), ":3");
                assert_eq!(wire.ask(&["KEYS", "d*"]), "[dst]");
                assert_eq!(wire.ask(&["SCAN", "0", "MATCH", "d*", "COUNT", "9"]), "[0, [dst]]");
                let typed = wire.ask(&["SCAN", "0", "TYPE", "set", "MATCH", "d*", "COUNT", "9"]);
                assert_eq!(typed, "[0, [dst]]");
                assert!(["big", "big2", "dst"].contains(&&*wire.ask(&["RANDOMKEY"])));
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
}
