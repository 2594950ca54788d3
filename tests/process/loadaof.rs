//! DEBUG LOADAOF.

use super::server::{Server, wait_for};
use super::wire::{Wire, info_field};
use super::{crowd, on_each_setup};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Number of clients that write while the file is loaded again and again.
const WRITERS: usize = 4;

const LOADS: usize = 6;

fn fill(wire: &mut Wire) {
    for number in 0..300 {
        let (key, value) = (format!("key:{number}"), number.to_string());
        wire.ask(&["SET", &key, &value]);
        wire.ask(&["RPUSH", "list", &value]);
        wire.ask(&["MSET", &key, "again", &format!("other:{number}"), &value]);
        wire.ask(&["SADD", &format!("set:{}", number % 7), &value]);
    }
    wire.ask(&["SET", "brief", "v", "PX", "100000"]);
    wire.ask(&["FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() end)"]);
}

#[test]
fn the_keys_are_those_of_the_file() {
    on_each_setup(&["--appendonly", "yes", "--enable-debug-command", "yes"], |server: &Server| {
        let mut wire = Wire::connect(server.port);
        fill(&mut wire);
        let digest = wire.ask(&["DEBUG", "DIGEST"]);
        for policy in ["everysec", "no", "always"] {
            wire.ask(&["CONFIG", "SET", "appendfsync", policy]);
            assert_eq!(wire.ask(&["DEBUG", "LOADAOF"]), "+OK");
            assert_eq!(wire.ask(&["DEBUG", "DIGEST"]), digest, "after {policy}");
            wire.ask(&["INCR", "loads"]);
            assert_eq!(wire.ask(&["DEBUG", "LOADAOF"]), "+OK");
            assert_eq!(wire.ask(&["DEL", "loads"]), ":1");
        }
        assert!(wire.ask(&["PTTL", "brief"]).len() > 4, "it keeps its expiry");
        assert!(wire.ask(&["FUNCTION", "LIST"]).contains("lib"));
        assert_eq!(wire.ask(&["CONFIG", "SET", "appendonly", "no"]), "+OK");
        assert_eq!(wire.ask(&["DEBUG", "LOADAOF"]), "+OK", "the file is still there");
        assert_eq!(wire.ask(&["DEBUG", "DIGEST"]), digest);
        let sync = wire.ask(&["INFO", "persistence"]);
        assert_eq!(info_field(&sync, "loading"), Some(0));
    });
}

#[test]
fn a_rewrite_behind_an_abandoned_one_is_in_progress_until_it_has_ended() {
    on_each_setup(&["--appendonly", "yes", "--enable-debug-command", "yes"], |server: &Server| {
        let mut wire = Wire::connect(server.port);
        wire.ask(&["SET", "old", "1"]);
        wire.ask(&["CONFIG", "SET", "rdb-key-save-delay", "10000000"]);
        // Earlier rewrites may have to end before.
        wait_for(|| wire.ask(&["BGREWRITEAOF"]).ends_with("started"));
        assert_eq!(wire.ask(&["CONFIG", "SET", "appendonly", "no"]), "+OK");
        wire.ask(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
        assert_eq!(wire.ask(&["FLUSHALL"]), "+OK");
        wire.ask(&["SET", "new", "1"]);
        assert!(wire.ask(&["BGREWRITEAOF"]).ends_with("started"));
        let in_progress = |wire: &mut Wire| {
            info_field(&wire.ask(&["INFO", "persistence"]), "aof_rewrite_in_progress")
        };
        while in_progress(&mut wire) == Some(1) {}
        assert_eq!(wire.ask(&["DEBUG", "LOADAOF"]), "+OK");
        assert_eq!(wire.ask(&["EXISTS", "old", "new"]), ":1");
        assert_eq!(wire.ask(&["EXISTS", "new"]), ":1");
    });
}

#[test]
fn a_load_without_files_fails() {
    on_each_setup(&["--enable-debug-command", "yes"], |server: &Server| {
        let mut wire = Wire::connect(server.port);
        let error = "-ERR Error trying to load the AOF files, check server logs.";
        assert_eq!(wire.ask(&["DEBUG", "LOADAOF"]), error);
        assert_eq!(wire.ask(&["SET", "key", "1"]), "+OK", "it serves");
    });
}

/// Increments a counter until the end. Returns the number of acknowledged increments.
fn count(port: u16, key: &str, is_over: &AtomicBool) -> u64 {
    let mut wire = Wire::connect(port);
    let mut acked = 0;
    while !is_over.load(Ordering::Relaxed) {
        let reply = wire.ask(&["INCR", key]);
        match reply.strip_prefix(':') {
            Some(_) => acked += 1,
            None => assert!(reply.starts_with("-LOADING"), "{reply}"),
        }
    }
    acked
}

#[test]
fn nothing_acknowledged_is_lost_by_a_load() {
    on_each_setup(&["--appendonly", "yes", "--enable-debug-command", "yes"], |server: &Server| {
        let is_over = AtomicBool::new(false);
        let keys: Vec<String> = (0..WRITERS).map(|at| format!("counter:{at}")).collect();
        let counts: Vec<u64> = thread::scope(|scope| {
            let is_over = &is_over;
            let mut writers = Vec::new();
            for key in &keys {
                writers.push(scope.spawn(move || count(server.port, key, is_over)));
            }
            for mut wire in crowd(server).into_iter().take(LOADS) {
                assert_eq!(wire.ask(&["DEBUG", "LOADAOF"]), "+OK");
            }
            is_over.store(true, Ordering::Relaxed);
            writers.into_iter().map(|writer| writer.join().expect("a writer")).collect()
        });
        let mut wire = Wire::connect(server.port);
        for (key, count) in keys.iter().zip(counts) {
            assert_eq!(wire.ask(&["GET", key]), count.to_string(), "{key}");
        }
    });
}
