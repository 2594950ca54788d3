//! Limits of clients: password, number and time.

use super::server::{Server, Setup, wait_for};
use super::wire::{Wire, info_field, request};
use super::{crowd, logs, on_each_setup};
use std::time::Duration;

#[test]
fn a_password_is_required() {
    on_each_setup(&["--requirepass", "secret"], |server| {
        for mut wire in crowd(server) {
            assert_eq!(wire.ask(&["GET", "key"]), "-NOAUTH Authentication required.");
            assert_eq!(wire.ask(&["PING"]), "-NOAUTH Authentication required.");
            let wrong = wire.ask(&["AUTH", "wrong"]);
            let invalid = "-WRONGPASS invalid username-password pair or user is disabled.";
            assert_eq!(wrong, invalid);
            assert_eq!(wire.ask(&["AUTH", "default", "secret"]), "+OK");
            assert_eq!(wire.ask(&["PING"]), "+PONG");
        }
        let mut wire = Wire::connect(server.port);
        let hello = wire.ask(&["HELLO", "3", "AUTH", "default", "secret"]);
        assert!(hello.contains("proto: :3"), "{hello}");
    });
}

#[test]
fn clients_beyond_maxclients_are_refused() {
    on_each_setup(&["--maxclients", "20"], |server| {
        let mut wires: Vec<Wire> = (0..20).map(|_| Wire::connect(server.port)).collect();
        for wire in &mut wires {
            assert_eq!(wire.ask(&["PING"]), "+PONG");
        }
        for _ in 0..3 {
            let mut refused = Wire::connect(server.port);
            assert_eq!(refused.rest(), "-ERR max number of clients reached\r\n");
        }
        // A client that leaves makes room for exactly one.
        wires.pop();
        let entered = wait_for(|| {
            let mut wire = Wire::connect(server.port);
            // A refused connection may be reset before it can write.
            let sent = std::io::Write::write_all(wire.stream.get_mut(), b"PING\r\n");
            let is_in = sent.is_ok() && wire.line() == "+PONG";
            wires.extend(is_in.then_some(wire));
            is_in
        });
        assert!(entered, "a place is free again");
        assert_eq!(Wire::connect(server.port).rest(), "-ERR max number of clients reached\r\n");
        assert_eq!(wires[0].ask(&["CONFIG", "SET", "maxclients", "21"]), "+OK");
        assert_eq!(Wire::connect(server.port).ask(&["PING"]), "+PONG");
    });
}

#[test]
fn idle_clients_are_disconnected_after_the_timeout() {
    on_each_setup(&["--timeout", "1"], |server| {
        let mut idle = crowd(server);
        let mut busy = Wire::connect(server.port);
        let alone = |list: String| list.lines().count() == 1;
        assert!(wait_for(|| alone(busy.ask(&["CLIENT", "LIST"]))), "idle clients are disconnected");
        for wire in &mut idle {
            assert_eq!(wire.rest(), "");
        }
        assert_eq!(busy.ask(&["PING"]), "+PONG");
    });
}

#[test]
fn clients_that_send_or_read_are_not_idle() {
    on_each_setup(&["--timeout", "1"], |server| {
        let mut slow = Wire::connect(server.port);
        slow.write(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$10\r\n");
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(350));
            slow.write(b"x");
        }
        slow.write(b"\r\n");
        assert_eq!(slow.reply(), "+OK");
    });
}

#[test]
fn clients_that_never_authenticate_are_disconnected() {
    let options = ["--requirepass", "secret", "--authentication-timeout", "1"];
    on_each_setup(&options, |server| {
        let mut honest = Wire::connect(server.port);
        assert_eq!(honest.ask(&["AUTH", "secret"]), "+OK");
        let mut left = Wire::connect(server.port);
        assert_eq!(left.ask(&["AUTH", "secret"]), "+OK");
        assert_eq!(left.ask(&["RESET"]), "+RESET");
        let (mut silent, mut asking) = (Wire::connect(server.port), Wire::connect(server.port));
        assert!(wait_for(|| {
            let sent = std::io::Write::write_all(asking.stream.get_mut(), b"PING\r\n");
            sent.is_err() || asking.line().is_empty()
        }));
        assert_eq!(silent.rest(), "");
        assert_eq!(honest.ask(&["PING"]), "+PONG");
        assert!(left.ask(&["PING"]).starts_with("-NOAUTH"), "it was authenticated once");
        assert_eq!(honest.ask(&["CONFIG", "SET", "authentication-timeout", "0"]), "+OK");
        let mut stranger = Wire::connect(server.port);
        std::thread::sleep(Duration::from_millis(2_500));
        assert!(stranger.ask(&["PING"]).starts_with("-NOAUTH"));
    });
}

/// Returns the ids in the lines of CLIENT LIST.
fn ids(list: &str) -> Vec<u64> {
    let id = |line: &str| line.strip_prefix("id=")?.split(' ').next()?.parse().ok();
    let mut ids: Vec<u64> = list.lines().filter_map(id).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn clients_of_all_shards_are_listed_and_killed() {
    on_each_setup(&[], |server| {
        let mut wires = crowd(server);
        let mut own = Vec::new();
        for wire in &mut wires {
            let id = wire.ask(&["CLIENT", "ID"]);
            own.push(id.trim_start_matches(':').parse::<u64>().expect("a number"));
        }
        own.sort_unstable();
        assert_eq!(ids(&wires[0].ask(&["CLIENT", "LIST"])), own);
        let (victim, killer) = (8, 0);
        let id = wires[victim].ask(&["CLIENT", "ID"]);
        let id = id.trim_start_matches(':');
        assert_eq!(wires[killer].ask(&["CLIENT", "KILL", "ID", id]), ":1");
        assert_eq!(wires[victim].rest(), "");
        let address = wires[7].stream.get_ref().local_addr().expect("the socket is connected");
        assert_eq!(wires[killer].ask(&["CLIENT", "KILL", &address.to_string()]), "+OK");
        assert_eq!(wires[7].rest(), "");
        let unknown = wires[killer].ask(&["CLIENT", "KILL", "127.0.0.1:1"]);
        assert_eq!(unknown, "-ERR No such client");
        assert!(wait_for(|| ids(&wires[killer].ask(&["CLIENT", "LIST"])).len() == 7));
        assert_eq!(wires[killer].ask(&["CLIENT", "KILL", "TYPE", "normal"]), ":6");
        for wire in &mut wires[1..7] {
            assert_eq!(wire.rest(), "");
        }
        assert_eq!(wires[killer].ask(&["PING"]), "+PONG");
    });
}

#[test]
fn a_transaction_with_many_requests_to_all_shards_does_not_end_the_server() {
    on_each_setup(&[], |server| {
        for words in [&["CLIENT", "LIST"][..], &["DBSIZE"], &["SLOWLOG", "GET"]] {
            let mut wire = Wire::connect(server.port);
            assert_eq!(wire.ask(&["MULTI"]), "+OK");
            for _ in 0..600 {
                assert_eq!(wire.ask(words), "+QUEUED");
            }
            wire.send(&["EXEC"]);
            assert_eq!(wire.line(), "*600");
            assert_eq!(Wire::connect(server.port).ask(&["PING"]), "+PONG");
        }
    });
}

/// A monitor that does not read is closed at the limit of its class.
#[test]
fn a_monitor_that_does_not_read_is_disconnected() {
    on_each_setup(&["--client-output-buffer-limit", "normal 4mb 0 0"], |server| {
        let mut monitor = Wire::connect(server.port);
        assert_eq!(monitor.ask(&["MONITOR"]), "+OK");
        let mut wire = Wire::connect(server.port);
        let set = request(&["SET", "key", &"v".repeat(5_000)]);
        for _ in 0..30 {
            wire.write(set.repeat(200));
            (0..200).for_each(|_| assert_eq!(wire.reply(), "+OK"));
        }
        let is_alone = wait_for(|| {
            let info = wire.ask(&["INFO", "clients"]);
            info_field(&info, "connected_clients") == Some(1)
        });
        assert!(is_alone, "{}", wire.ask(&["CLIENT", "LIST"]));
        let info = wire.ask(&["INFO", "stats"]);
        assert_eq!(info_field(&info, "client_output_buffer_limit_disconnections"), Some(1));
        assert!(logs(server, "its output buffer passed client-output-buffer-limit"));
    });
}

/// Watched keys count with about the memory that they use.
#[test]
fn watched_keys_count_as_memory_of_their_client() {
    const KEYS: u64 = 20_000;
    on_each_setup(&[], |server| {
        let (mut wire, mut watcher) = (Wire::connect(server.port), Wire::connect(server.port));
        let id = watcher.ask(&["CLIENT", "ID"]).trim_start_matches(':').to_string();
        let used = |wire: &mut Wire| info_field(&wire.ask(&["INFO", "memory"]), "used_memory");
        let told = |wire: &mut Wire| {
            let line = wire.ask(&["CLIENT", "LIST", "ID", &id]);
            let (_, rest) = line.split_once("tot-mem=").expect("the line has the field");
            rest.split(' ').next().and_then(|number| number.parse::<u64>().ok())
        };
        let before = (used(&mut wire), told(&mut wire));
        let keys: Vec<String> = (0..KEYS).map(|number| format!("key:{number:06}")).collect();
        for keys in keys.chunks(100) {
            let keys = keys.iter().map(String::as_str);
            let args: Vec<&str> = ["WATCH"].into_iter().chain(keys).collect();
            assert_eq!(watcher.ask(&args), "+OK");
        }
        let after = (used(&mut wire), told(&mut wire));
        let grown = |before: Option<u64>, after: Option<u64>| {
            let both = before.zip(after).expect("both numbers are there");
            (both.1 - both.0) as f64 / KEYS as f64
        };
        let (used, told) = (grown(before.0, after.0), grown(before.1, after.1));
        assert!((0.6..1.7).contains(&(told / used)), "{told} bytes are told, {used} are used");
    });
}

/// Returns the CPU time that the threads of the process have had so far, in nanoseconds
/// (`/proc/PID/task/TID/schedstat`).
fn cpu_ns(server: &Server) -> u64 {
    let tasks = format!("/proc/{}/task", server.child.id());
    let tasks = std::fs::read_dir(tasks).expect("the process runs");
    let ran_ns = |task: std::fs::DirEntry| -> u64 {
        // A thread may have ended since the folder was read.
        let line = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        line.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    tasks.flatten().map(ran_ns).sum()
}

/// The CPU time of a command grows with the number of its keys, not with the square of it.
#[test]
fn many_keys_in_one_command() {
    // Commands with as many keys run on the offload pool. Shorter ones run in place, which costs
    // less for each key.
    const FEW: usize = 8_000;
    const TIMES: usize = 8;
    for shards in [1, 2] {
        let server = Server::start(Setup { shards, driver: "epoll" }, &[]);
        let mut wire = Wire::connect(server.port);
        let mut took_ns = |name: &str, count: usize| -> u64 {
            let keys: Vec<String> = (0..count).map(|at| format!("{name}:{at}")).collect();
            let mut args = vec![name];
            for key in &keys {
                args.push(key);
                args.extend((name == "MSETNX").then_some("v"));
            }
            args.extend((name == "BLPOP").then_some("0.001"));
            let mut once = || {
                let before_ns = cpu_ns(&server);
                wire.ask(&args);
                cpu_ns(&server) - before_ns
            };
            (0..3).map(|_| once()).min().expect("there are three runs")
        };
        for name in ["EXISTS", "MSETNX", "SUNION", "PFCOUNT", "BLPOP", "WATCH"] {
            let (few_ns, many_ns) = (took_ns(name, FEW), took_ns(name, TIMES * FEW));
            let most_ns = few_ns * (TIMES * TIMES / 2) as u64;
            assert!(many_ns < most_ns, "{name}, {shards} shards: {few_ns} ns, {many_ns} ns");
        }
    }
}
