//! Memory of the process against `maxmemory`, which needs a process with its own allocator count.

use super::server::{Server, wait_for};
use super::wire::{Wire, info_field, request};
use super::{on_each_setup, setups};
use std::time::Duration;

fn memory(wire: &mut Wire, field: &str) -> u64 {
    info_field(&wire.ask(&["INFO"]), field).expect("the field is there")
}

#[test]
fn invalidations_of_evicted_keys_do_not_evict_further_ones() {
    let arguments = ["--maxmemory-policy", "allkeys-lru", "--latency-tracking", "no"];
    // Several shards on few cores may not have sent the messages when the rest is over.
    for setup in setups().into_iter().filter(|setup| setup.shards == 1) {
        let server = Server::start(setup, &arguments);
        let mut wire = Wire::connect(server.port);
        let mut readers: Vec<Wire> = (0..10).map(|_| Wire::connect(server.port)).collect();
        for reader in &mut readers {
            reader.ask(&["HELLO", "3"]);
            assert_eq!(reader.ask(&["CLIENT", "TRACKING", "ON"]), "+OK");
        }
        for number in 0..300 {
            let key = format!("{number}{}", "x".repeat(1_000));
            assert_eq!(wire.ask(&["SET", &key, "x"]), "+OK");
            readers.iter_mut().for_each(|reader| assert_eq!(reader.ask(&["GET", &key]), "x"));
        }
        std::thread::sleep(Duration::from_millis(1_200));
        let limit = (memory(&mut wire, "used_memory") - 40_000).to_string();
        assert_eq!(wire.ask(&["CONFIG", "SET", "maxmemory", &limit]), "+OK");
        std::thread::sleep(Duration::from_millis(200));
        let evicted = memory(&mut wire, "evicted_keys");
        assert!((1..=150).contains(&evicted), "{evicted} keys");
    }
}

#[test]
fn what_a_command_removes_is_free_when_it_replies() {
    for setup in setups().into_iter().filter(|setup| setup.shards == 1) {
        let server = Server::start(setup, &[]);
        let mut wire = Wire::connect(server.port);
        let mut args = vec!["SADD".to_string(), "set".to_string()];
        args.extend((0..2_000).map(|number| format!("a member of the set, number {number}")));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        // The first use of a command allocates what is kept.
        for _ in 0..2 {
            assert_eq!(wire.ask(&args), ":2000");
            assert_eq!(wire.ask(&["FLUSHALL"]), "+OK");
        }
        std::thread::sleep(Duration::from_millis(500));
        let before = memory(&mut wire, "used_memory");
        assert_eq!(wire.ask(&args), ":2000");
        let full = memory(&mut wire, "used_memory");
        assert!(full > before + 60_000, "{before} {full}");
        assert_eq!(wire.ask(&["UNLINK", "set"]), ":1");
        let after = memory(&mut wire, "used_memory");
        assert!(after < (before + full) / 2, "{before} {full} {after}");
    }
}

#[test]
fn commands_of_a_pipeline_are_refused_from_the_first_that_finds_memory_full() {
    for policy in ["noeviction", "volatile-lru"] {
        for setup in setups() {
            let server = Server::start(setup, &["--maxmemory-policy", policy]);
            let mut wire = Wire::connect(server.port);
            wire.ask(&["SETRANGE", "{a}first", "99999", "x"]);
            let limit = (memory(&mut wire, "used_memory") + 1_000_000).to_string();
            assert_eq!(wire.ask(&["CONFIG", "SET", "maxmemory", &limit]), "+OK");
            let names: Vec<String> = (0..40).map(|number| format!("{{a}}{number}")).collect();
            let grow = |name: &String| request(&["SETRANGE", name, "99999", "x"]);
            let mut bytes: Vec<u8> = names.iter().flat_map(grow).collect();
            bytes.extend(request(&["GETRANGE", "{a}first", "99999", "-1"]));
            wire.write(bytes);
            let replies: Vec<String> = names.iter().map(|_| wire.reply()).collect();
            let ran = replies.iter().filter(|reply| *reply == ":100000").count();
            // Each value takes 112 KiB, and every thread counts up to 64 KiB for itself.
            assert!((5..12).contains(&ran), "{policy}: {replies:?}");
            let refused =
                replies.iter().filter(|reply| reply.starts_with("-OOM command not")).count();
            assert_eq!(ran + refused, 40, "{policy}: {replies:?}");
            assert_eq!(wire.reply(), "x", "{policy}: reading needs no memory");
        }
    }
}

/// The stream lets go of what the append-only file has made durable, without a further write.
#[test]
fn an_idle_server_keeps_nothing_that_is_durable() {
    const BYTES: u64 = 16 << 20;
    on_each_setup(&["--appendonly", "yes"], |server| {
        let mut wire = Wire::connect(server.port);
        let mut used = || info_field(&wire.ask(&["INFO", "memory"]), "used_memory");
        let before = used().expect("the field is there");
        let mut writer = Wire::connect(server.port);
        let value = "v".repeat(BYTES as usize);
        assert_eq!(writer.ask(&["SET", "key", &value]), "+OK");
        assert_eq!(writer.ask(&["DEL", "key"]), ":1");
        let is_free = wait_for(|| used().is_some_and(|used| used < before + BYTES / 2));
        assert!(is_free, "{before} bytes before, {:?} now", used());
    });
}

/// What is evicted while a snapshot is written waits for the disk, and takes memory until then.
#[test]
fn a_slow_disk_does_not_cost_all_keys() {
    const KEYS: u64 = 6_000;
    let arguments = ["--maxmemory-policy", "allkeys-lru", "--enable-debug-command", "yes"];
    on_each_setup(&arguments, |server| {
        let mut wire = Wire::connect(server.port);
        assert_eq!(wire.ask(&["DEBUG", "POPULATE", "6000", "key", "10000"]), "+OK");
        let limit = (memory(&mut wire, "used_memory") + 1_000_000).to_string();
        wire.ask(&["CONFIG", "SET", "maxmemory", &limit]);
        wire.ask(&["CONFIG", "SET", "rdb-key-save-delay", "500"]);
        assert_eq!(wire.ask(&["BGSAVE"]), "+Background saving started");
        let value = "v".repeat(100_000);
        for number in 0..50 {
            assert_eq!(wire.ask(&["SET", &format!("new:{number}"), &value]), "+OK");
        }
        let is_over = |wire: &mut Wire| memory(wire, "rdb_bgsave_in_progress") == 0;
        assert!(wait_for(|| is_over(&mut wire)));
        let evicted = memory(&mut wire, "evicted_keys");
        // 4 MB were needed; 24 MB may wait for the disk.
        assert!((400..KEYS * 3 / 4).contains(&evicted), "{evicted} of {KEYS} keys");
    });
}
