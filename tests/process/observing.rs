//! What the server reports about commands: the command log, MONITOR, latency events.

use super::server::wait_for;
use super::wire::Wire;
use super::{crowd, on_each_setup};

/// Keys that spread over four shards.
const KEYS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// Removes the numbers that vary between runs from a reply: the ids, times and durations before the
/// arguments of each entry.
fn words_of_entries(reply: &str) -> Vec<String> {
    let entries = reply.split("], [").flat_map(|part| part.split_once('['));
    let mut args = Vec::new();
    for (_, rest) in entries {
        let rest = rest.rsplit('[').next().unwrap_or(rest);
        args.push(rest.split(']').next().unwrap_or(rest).to_string());
    }
    args
}

#[test]
fn every_command_is_logged_once() {
    let arguments = ["--slowlog-log-slower-than", "0", "--slowlog-max-len", "1000"];
    on_each_setup(&arguments, |server| {
        let mut wires = crowd(server);
        let wire = &mut wires[4];
        wire.ask(&["CLIENT", "SETNAME", "me"]);
        wire.ask(&["SLOWLOG", "RESET"]);
        let mut sent = 0;
        for key in KEYS {
            wire.ask(&["SET", key, "1"]);
            sent += 1;
        }
        let mset: Vec<&str> =
            ["MSET"].into_iter().chain(KEYS.iter().flat_map(|k| [*k, "2"])).collect();
        let large = "x".repeat(100_000);
        wire.ask(&mset);
        wire.ask(&["SET", "large", &large]);
        wire.ask(&["RENAME", "a", "z"]);
        wire.ask(&["DBSIZE"]);
        wire.ask(&["CLIENT", "LIST"]);
        sent += 5;
        wire.ask(&["MULTI"]);
        wire.ask(&["GET", "z"]);
        wire.ask(&["GET", "b"]);
        wire.ask(&["EXEC"]);
        sent += 3;
        // RESET itself is also logged, after the reset.
        assert_eq!(wire.ask(&["SLOWLOG", "LEN"]), format!(":{}", sent + 1));
        let shown = wire.ask(&["SLOWLOG", "GET", "-1"]);
        let all = words_of_entries(&shown).join("\n");
        for args in ["RENAME, a, z", "DBSIZE", "CLIENT, LIST", "GET, z", "GET, b", "MULTI"] {
            assert!(all.lines().any(|line| line == args), "{args} in {all}");
        }
        assert!(!all.lines().any(|line| line == "EXEC"), "{all}");
        let cut = format!("SET, large, {}... (99872 more bytes)", "x".repeat(128));
        assert!(all.lines().any(|line| line == cut), "{all}");
        let mset = all.lines().find(|line| line.starts_with("MSET")).expect("MSET is logged");
        assert!(KEYS.iter().all(|key| mset.contains(&format!(", {key}, 2"))), "{mset}");
        assert_eq!(all.lines().filter(|line| line.starts_with("MSET")).count(), 1);
        assert_eq!(shown.matches("127.0.0.1:").count(), sent + 2);
        assert_eq!(shown.matches(", me]").count(), sent + 2);
    });
}

#[test]
fn large_requests_and_replies_are_logged() {
    let arguments =
        ["--commandlog-request-larger-than", "1024", "--commandlog-reply-larger-than", "1024"];
    on_each_setup(&arguments, |server| {
        let mut wires = crowd(server);
        let wire = &mut wires[3];
        let value = "A".repeat(600);
        for key in KEYS {
            wire.ask(&["SET", key, &value]);
        }
        assert_eq!(wire.ask(&["COMMANDLOG", "LEN", "large-request"]), ":0");
        wire.ask(&["MSET", "a", &value, "h", &value]);
        wire.ask(&["MULTI"]);
        wire.ask(&["SET", "large", &value.repeat(200)]);
        wire.ask(&["EXEC"]);
        assert_eq!(wire.ask(&["COMMANDLOG", "LEN", "large-request"]), ":2");
        let all = words_of_entries(&wire.ask(&["COMMANDLOG", "GET", "-1", "large-request"]));
        assert!(all[0].starts_with("SET, large, AAA"), "{all:?}");
        assert!(all[1].starts_with("MSET, a, AAA"), "{all:?}");
        for key in KEYS {
            wire.ask(&["GET", key]);
        }
        assert_eq!(wire.ask(&["COMMANDLOG", "LEN", "large-reply"]), ":0");
        let mget: Vec<&str> = ["MGET"].into_iter().chain(KEYS).collect();
        wire.ask(&mget);
        wire.ask(&["GET", "large"]);
        assert_eq!(wire.ask(&["COMMANDLOG", "LEN", "large-reply"]), ":2");
        let all = words_of_entries(&wire.ask(&["COMMANDLOG", "GET", "-1", "large-reply"]));
        assert_eq!(all[0], "GET, large");
        assert!(all[1].starts_with("MGET, "), "{all:?}");
    });
}

#[test]
fn a_sleep_is_a_slow_command_and_an_event() {
    let arguments = ["--enable-debug-command", "yes", "--latency-monitor-threshold", "20"];
    on_each_setup(&arguments, |server| {
        let mut wire = Wire::connect(server.port);
        wire.ask(&["DEBUG", "SLEEP", "0.05"]);
        let shown = wire.ask(&["SLOWLOG", "GET"]);
        assert!(shown.contains("[DEBUG, SLEEP, 0.05]"), "{shown}");
        let shown = wire.ask(&["LATENCY", "LATEST"]);
        assert!(shown.starts_with("[[command, "), "{shown}");
        let shown = wire.ask(&["LATENCY", "HISTOGRAM", "debug"]);
        assert!(shown.contains("calls, :1"), "{shown}");
        assert_eq!(wire.ask(&["LATENCY", "RESET"]), ":1");
    });
}

#[test]
fn monitors_see_each_command_once_in_a_possible_order() {
    on_each_setup(&[], |server| {
        let mut wires = crowd(server);
        let mut monitors = [Wire::connect(server.port), Wire::connect(server.port)];
        for monitor in &mut monitors {
            assert_eq!(monitor.ask(&["MONITOR"]), "+OK");
        }
        // Each command is sent after the reply of the one before, on another connection.
        for (number, wire) in wires.iter_mut().enumerate() {
            wire.ask(&["SET", &format!("key{number}"), "1"]);
        }
        wires[0].ask(&["MGET", "key1", "key2", "key3"]);
        wires[1].ask(&["SELECT", "5"]);
        wires[1].ask(&["MULTI"]);
        wires[1].ask(&["GET", "a\"b"]);
        wires[1].ask(&["EXEC"]);
        wires[1].ask(&["AUTH", "secret"]);
        wires[1].ask(&["CONFIG", "GET", "port"]);
        wires[1].ask(&["ECHO", "last"]);
        for monitor in &mut monitors {
            for number in 0..9 {
                let line = monitor.line();
                assert!(line.ends_with(&format!("] \"SET\" \"key{number}\" \"1\"")), "{line}");
                assert!(line.contains(" [0 127.0.0.1:"), "{line}");
            }
            let rest = [
                "\"MGET\" \"key1\" \"key2\" \"key3\"",
                "\"SELECT\" \"5\"",
                "\"MULTI\"",
                "\"GET\" \"a\\\"b\"",
                "\"exec\"",
                "\"AUTH\" \"(redacted)\"",
                "\"ECHO\" \"last\"",
            ];
            for expected in rest {
                let line = monitor.line();
                assert!(line.ends_with(&format!("] {expected}")), "{line}: {expected}");
            }
        }
        assert_eq!(monitors[0].ask(&["RESET"]), "+RESET");
        drop(monitors);
        wires[0].ask(&["PING"]);
        let is_over = || !wires[0].ask(&["CLIENT", "LIST"]).contains("flags=O");
        assert!(wait_for(is_over));
    });
}

#[test]
fn use_counters_follow_a_value() {
    let arguments = ["--maxmemory-policy", "allkeys-lfu", "--lfu-log-factor", "0"];
    on_each_setup(&arguments, |server| {
        let mut wire = Wire::connect(server.port);
        for key in KEYS {
            wire.ask(&["SADD", key, "1", "x"]);
        }
        for _ in 0..100 {
            wire.ask(&["SCARD", "a"]);
        }
        let count = |wire: &mut Wire, key: &str| -> u32 {
            let told = wire.ask(&["OBJECT", "FREQ", key]);
            told.trim_start_matches(':').parse().expect("a count")
        };
        assert_eq!(count(&mut wire, "a"), 105);
        for key in &KEYS[1..] {
            wire.ask(&["SINTER", "a", key]);
            wire.ask(&["SMOVE", "a", key, "x"]);
        }
        let after = count(&mut wire, "a");
        assert!(after >= 105, "{after}");
    });
}

#[test]
fn scripts_of_a_client_without_touch_keep_access_times() {
    on_each_setup(&[], |server| {
        let (mut wire, mut other) = (Wire::connect(server.port), Wire::connect(server.port));
        for key in ["a", "b", "c", "d"] {
            wire.ask(&["SET", key, "value"]);
        }
        std::thread::sleep(std::time::Duration::from_millis(2_100));
        assert_eq!(wire.ask(&["CLIENT", "NO-TOUCH", "ON"]), "+OK");
        let (read, touch) = ("return redis.call('get', ", "return redis.call('touch', ");
        for (script, key) in [(read, "a"), (touch, "b")] {
            wire.ask(&["EVAL", &format!("{script} KEYS[1])"), "1", key]);
        }
        // Of these scripts it is not known which keys they use.
        for (script, key) in [(read, "c"), (touch, "d")] {
            wire.ask(&["EVAL", &format!("{script} ARGV[1])"), "0", key]);
        }
        let mut idle = |key: &str| other.ask(&["OBJECT", "IDLETIME", key]);
        assert_ne!(idle("a"), ":0");
        assert_eq!(idle("b"), ":0");
        assert_ne!(idle("c"), ":0");
        assert_eq!(idle("d"), ":0");
    });
}
