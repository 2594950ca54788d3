//! Commands whose keys are on several shards, at the command boundary.

use crate::harness::{Client, Server, Setup, bulk, encode, int, list, ok};
use annulet::config::Permission;
use annulet::resp::Value;
use std::collections::BTreeSet;

/// Runs a test on servers of 1, 2, 4 and 7 shards, with two clients on different shards.
fn on_servers(test: impl Fn(&mut Server, &mut Client, &mut Client)) {
    for shards in [1, 2, 4, 7] {
        for seed in 0..4 {
            let mut server = Server::new(shards, seed);
            let (mut one, mut other) = (server.client(), server.client());
            test(&mut server, &mut one, &mut other);
            server.check();
        }
    }
}

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("key:{at}")).collect()
}

/// Joins a command's name with its other arguments.
fn args<'a>(name: &'a str, rest: &'a [String]) -> Vec<&'a str> {
    std::iter::once(name).chain(rest.iter().map(String::as_str)).collect()
}

fn texts(value: &Value) -> Vec<String> {
    let Value::Array(values) = value else { panic!("{value:?} is not an array") };
    let text = |value: &Value| match value {
        Value::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
        other => panic!("{other:?} is not a string"),
    };
    values.iter().map(text).collect()
}

fn text(value: Value) -> String {
    match value {
        Value::Bulk(text) | Value::Verbatim(_, text) | Value::Simple(text) => {
            String::from_utf8_lossy(&text).into_owned()
        }
        other => panic!("{other:?} is not a text"),
    }
}

fn is_error(value: &Value, prefix: &str) -> bool {
    matches!(value, Value::Error(text) if text.starts_with(prefix.as_bytes()))
}

fn fill(server: &mut Server, client: &mut Client, count: usize) {
    let pairs: Vec<String> =
        keys(count).into_iter().enumerate().flat_map(|(at, k)| [k, format!("v{at}")]).collect();
    client.send(&args("MSET", &pairs));
    assert_eq!(client.read(server), ok());
}

#[test]
fn mget_keeps_the_order_of_its_keys() {
    on_servers(|server, one, other| {
        fill(server, one, 30);
        let mut asked = keys(32);
        asked.reverse();
        asked.push("key:7".to_string());
        asked.push("key:7".to_string());
        other.send(&args("MGET", &asked));
        let expected = asked.iter().map(|key| match key.strip_prefix("key:") {
            Some("30" | "31") | None => Value::Null,
            Some(at) => bulk(&format!("v{at}")),
        });
        assert_eq!(other.read(server), Value::Array(expected.collect()));
    });
}

#[test]
fn mset_takes_the_last_of_a_key_given_twice() {
    on_servers(|server, one, other| {
        assert_eq!(one.run(server, ["MSET", "a", "1", "b", "2", "a", "3", "c", "4"]), ok());
        assert_eq!(other.run(server, ["MGET", "a", "b", "c"]), list(&["3", "2", "4"]));
        assert!(is_error(&one.run(server, ["MSET", "a", "1", "b"]), "ERR wrong number"));
    });
}

#[test]
fn counts_are_added_over_shards() {
    on_servers(|server, one, other| {
        fill(server, one, 40);
        let mut some = keys(41);
        for name in ["EXISTS", "TOUCH"] {
            other.send(&args(name, &some));
            assert_eq!(other.read(server), int(40), "{name}");
        }
        other.send(&args("EXISTS", &["key:3".to_string(), "key:3".to_string()]));
        assert_eq!(other.read(server), int(2), "a key counts as often as it is named");
        assert_eq!(one.run(server, ["DBSIZE"]), int(40));
        let rest = some.split_off(20);
        one.send(&args("DEL", &some));
        assert_eq!(one.read(server), int(20));
        one.send(&args("UNLINK", &rest));
        assert_eq!(one.read(server), int(20));
        assert_eq!(other.run(server, ["DEL", "key:0", "key:0", "nothing"]), int(0));
        assert_eq!(other.run(server, ["DBSIZE"]), int(0));
    });
}

#[test]
fn deleting_the_same_keys_twice_counts_them_once() {
    on_servers(|server, one, _| {
        fill(server, one, 10);
        let twice: Vec<String> = keys(10).into_iter().chain(keys(10)).collect();
        one.send(&args("DEL", &twice));
        assert_eq!(one.read(server), int(10));
    });
}

#[test]
fn flushes_reach_all_shards() {
    on_servers(|server, one, other| {
        fill(server, one, 25);
        assert_eq!(one.run(server, ["SELECT", "3"]), ok());
        fill(server, one, 12);
        assert_eq!(one.run(server, ["DBSIZE"]), int(12));
        assert_eq!(one.run(server, ["FLUSHDB"]), ok());
        assert_eq!(one.run(server, ["DBSIZE"]), int(0));
        assert_eq!(other.run(server, ["DBSIZE"]), int(25));
        fill(server, one, 5);
        assert_eq!(other.run(server, ["FLUSHALL"]), ok());
        assert_eq!(other.run(server, ["DBSIZE"]), int(0));
        assert_eq!(one.run(server, ["DBSIZE"]), int(0));
    });
}

#[test]
fn keys_and_scan_find_every_key_once() {
    on_servers(|server, one, other| {
        fill(server, one, 200);
        let all: BTreeSet<String> = keys(200).into_iter().collect();
        let found = texts(&other.run(server, ["KEYS", "key:*"]));
        assert_eq!(found.len(), 200);
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), all);
        assert_eq!(texts(&other.run(server, ["KEYS", "key:1?"])).len(), 10);
        assert_eq!(other.run(server, ["KEYS", "none*"]), list(&[]));
        let mut cursor = "0".to_string();
        let mut scanned = Vec::new();
        for _ in 0..20_000 {
            let reply = other.run(server, ["SCAN", &cursor, "COUNT", "7"]);
            let Value::Array(parts) = reply else { panic!("{reply:?}") };
            cursor = text(parts[0].clone());
            scanned.extend(texts(&parts[1]));
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(cursor, "0");
        assert_eq!(scanned.len(), 200);
        assert_eq!(scanned.into_iter().collect::<BTreeSet<_>>(), all);
    });
}

#[test]
fn a_scan_with_a_large_count_takes_one_call() {
    on_servers(|server, one, other| {
        fill(server, one, 200);
        let all: BTreeSet<String> = keys(200).into_iter().collect();
        for count in ["200", "1000"] {
            let reply = other.run(server, ["SCAN", "0", "MATCH", "key:*", "COUNT", count]);
            let Value::Array(parts) = reply else { panic!("{reply:?}") };
            assert_eq!(text(parts[0].clone()), "0");
            assert_eq!(texts(&parts[1]).into_iter().collect::<BTreeSet<_>>(), all);
        }
        let refused = other.run(server, ["SCAN", "0", "COUNT", "1000", "TYPE"]);
        assert_eq!(refused, Value::Error("ERR syntax error".into()));
    });
}

#[test]
fn randomkey_draws_from_all_shards() {
    on_servers(|server, one, other| {
        assert_eq!(one.run(server, ["RANDOMKEY"]), Value::Null);
        fill(server, one, 8);
        let mut drawn = BTreeSet::new();
        for _ in 0..200 {
            drawn.insert(text(other.run(server, ["RANDOMKEY"])));
        }
        assert_eq!(drawn, keys(8).into_iter().collect());
    });
}

#[test]
fn replies_of_a_mixed_pipeline_keep_their_order() {
    on_servers(|server, one, _| {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for at in 0..150 {
            let (key, next) = (format!("k{at}"), format!("k{}", at + 1));
            let value = format!("v{at}");
            let mut add = |args: &[&str], reply: Value| {
                bytes.extend(encode(args));
                expected.push(reply);
            };
            add(&["SET", &key, &value], ok());
            add(&["GET", &next], Value::Null);
            add(&["MSET", "x", &value, "y", &value, "z", &value], ok());
            add(&["GET", &key], bulk(&value));
            add(&["MGET", "x", &key, "z", "y"], list(&[&value, &value, &value, &value]));
            add(&["PING"], Value::Simple(b"PONG".to_vec()));
            add(&["DEL", &key, &next, "x"], int(2));
            add(&["DBSIZE"], int(2));
            add(&["ECHO", &value], bulk(&value));
        }
        one.send_bytes(&bytes);
        for reply in expected {
            assert_eq!(one.read(server), reply);
        }
    });
}

#[test]
fn select_in_a_pipeline_affects_later_commands() {
    on_servers(|server, one, other| {
        let mut bytes = Vec::new();
        for db in ["1", "2", "0"] {
            bytes.extend(encode(&["SELECT", db]));
            for key in keys(9) {
                bytes.extend(encode(&["APPEND", &key, db]));
            }
        }
        bytes.extend(encode(&["SELECT", "99"]));
        bytes.extend(encode(&["GET", "key:1"]));
        bytes.extend(encode(&["SELECT", "2"]));
        bytes.extend(encode(&["MGET", "key:1", "key:2"]));
        one.send_bytes(&bytes);
        for _ in 0..3 {
            assert_eq!(one.read(server), ok());
            for _ in 0..9 {
                assert_eq!(one.read(server), int(1));
            }
        }
        assert!(is_error(&one.read(server), "ERR DB index is out of range"));
        assert_eq!(one.read(server), bulk("0"));
        assert_eq!(one.read(server), ok());
        assert_eq!(one.read(server), list(&["2", "2"]));
        assert_eq!(other.run(server, ["GET", "key:1"]), bulk("0"));
        assert_eq!(other.run(server, ["DBSIZE"]), int(9));
    });
}

#[test]
fn errors_in_a_pipeline_keep_their_place() {
    on_servers(|server, one, _| {
        let mut bytes = Vec::new();
        for key in keys(20) {
            bytes.extend(encode(&["SET", &key, "text"]));
            bytes.extend(encode(&["INCR", &key]));
            bytes.extend(encode(&["NOSUCH", &key]));
            bytes.extend(encode(&["GET"]));
            bytes.extend(encode(&["SET", &key, "1", "NX", "XX"]));
            bytes.extend(encode(&["GET", &key]));
        }
        one.send_bytes(&bytes);
        for _ in 0..20 {
            assert_eq!(one.read(server), ok());
            assert!(is_error(&one.read(server), "ERR value is not an integer"));
            assert!(is_error(&one.read(server), "ERR unknown command"));
            assert!(is_error(&one.read(server), "ERR wrong number of arguments"));
            assert!(is_error(&one.read(server), "ERR syntax error"));
            assert_eq!(one.read(server), bulk("text"));
        }
    });
}

#[test]
fn large_values_travel_between_shards() {
    on_servers(|server, one, other| {
        for (at, len) in [100_000, 1_000_000, 40_000].into_iter().enumerate() {
            let value: Vec<u8> = (0..len).map(|byte| (byte % 251 + at) as u8).collect();
            for key in keys(4) {
                one.send(&[b"SET", key.as_bytes(), &value]);
                assert_eq!(one.read(server), ok());
                other.send(&[b"GET", key.as_bytes()]);
                assert!(other.read(server) == Value::Bulk(value.clone()), "a value of {len}");
            }
            let pairs = keys(4).into_iter().flat_map(|key| [key.into_bytes(), value.clone()]);
            let mset: Vec<Vec<u8>> = std::iter::once(b"MSET".to_vec()).chain(pairs).collect();
            one.send(&mset);
            assert_eq!(one.read(server), ok());
            other.send(&["MGET", "key:0", "none", "key:1", "key:2", "key:0"]);
            let whole = || Value::Bulk(value.clone());
            let expected = vec![whole(), Value::Null, whole(), whole(), whole()];
            assert!(other.read(server) == Value::Array(expected), "values of {len}");
        }
    });
}

#[test]
fn a_large_pattern_reaches_every_shard() {
    on_servers(|server, one, other| {
        fill(server, one, 50);
        let pattern = format!("[{}]ey:*", "k".repeat(50_000));
        other.send(&["KEYS", &pattern]);
        assert_eq!(texts(&other.read(server)).len(), 50);
    });
}

#[test]
fn keys_expire_by_the_clock() {
    on_servers(|server, one, other| {
        fill(server, one, 60);
        for key in keys(30) {
            one.send(&["PEXPIRE", &key, "500"]);
            assert_eq!(one.read(server), int(1));
        }
        assert_eq!(other.run(server, ["DBSIZE"]), int(60));
        server.advance_ms(499);
        other.send(&args("EXISTS", &keys(60)));
        assert_eq!(other.read(server), int(60));
        assert_eq!(other.run(server, ["PTTL", "key:0"]), int(1));
        server.advance_ms(2);
        other.send(&args("EXISTS", &keys(60)));
        assert_eq!(other.read(server), int(30));
        for _ in 0..100 {
            server.advance_ms(100);
        }
        assert_eq!(other.run(server, ["DBSIZE"]), int(30), "they expire without being accessed");
    });
}

#[test]
fn a_subcommand_finds_its_key() {
    on_servers(|server, one, other| {
        fill(server, one, 30);
        for key in keys(30) {
            other.send(&["OBJECT", "ENCODING", &key]);
            assert_eq!(other.read(server), bulk("embstr"));
            other.send(&["MOVE", &key, "3"]);
            assert_eq!(other.read(server), int(1));
            one.send(&["OBJECT", "REFCOUNT", &key]);
            assert_eq!(one.read(server), Value::Null);
        }
    });
}

#[test]
fn databases_are_swapped_on_every_shard() {
    on_servers(|server, one, other| {
        fill(server, one, 30);
        assert_eq!(other.run(server, ["SWAPDB", "0", "5"]), ok());
        assert_eq!(one.run(server, ["DBSIZE"]), int(0));
        assert!(is_error(&one.run(server, ["SWAPDB", "0", "99"]), "ERR DB index"));
        assert_eq!(one.run(server, ["SELECT", "5"]), ok());
        one.send(&args("EXISTS", &keys(30)));
        assert_eq!(one.read(server), int(30));
    });
}

#[test]
fn debug_and_settings_reach_every_shard() {
    on_servers(|server, one, other| {
        assert_eq!(one.run(server, ["CONFIG", "SET", "maxmemory", "1"]), ok());
        for key in keys(10) {
            other.send(&["SET", &key, "v"]);
            assert!(is_error(&other.read(server), "OOM"));
        }
        assert_eq!(other.run(server, ["CONFIG", "SET", "maxmemory", "0"]), ok());
        for key in keys(10) {
            one.send(&["SET", &key, "v"]);
            assert_eq!(one.read(server), ok());
        }
    });
}

#[test]
fn a_request_to_all_shards_runs_between_its_neighbours_in_a_transaction() {
    for (shards, seed) in [(1, 0), (2, 1), (4, 2)] {
        let mut setup = Setup::new(shards, seed);
        setup.config.enable_debug_command = Permission::Yes;
        let mut server = Server::with(setup);
        let mut client = server.client();
        for key in keys(4) {
            client.run(&mut server, ["MULTI"]);
            client.run(&mut server, ["SET", &key, "v"]);
            client.run(&mut server, ["DEBUG", "OBJECT", &key]);
            client.run(&mut server, ["DEL", &key]);
            client.run(&mut server, ["DEBUG", "OBJECT", &key]);
            let Value::Array(replies) = client.run(&mut server, ["EXEC"]) else {
                panic!("EXEC has run")
            };
            assert_eq!([&replies[0], &replies[2]], [&ok(), &int(1)]);
            assert!(matches!(replies[1], Value::Simple(_)), "{replies:?}");
            assert!(is_error(&replies[3], "ERR no such key"), "{replies:?}");
        }
        server.check();
    }
}

#[test]
fn a_request_to_all_shards_in_a_transaction_does_not_affect_its_later_commands() {
    on_servers(|server, one, other| {
        fill(server, one, 40);
        let before = other.run(server, ["DBSIZE"]);
        for round in 0..5 {
            one.run(server, ["MULTI"]);
            for number in 0..8 {
                let (from, to) = (format!("key:{number}"), format!("other:{number}"));
                one.run(server, ["RENAME", &from, &to]);
                one.run(server, ["CLIENT", "LIST"]);
                one.run(server, ["RENAME", &to, &from]);
            }
            let Value::Array(replies) = one.run(server, ["EXEC"]) else {
                panic!("round {round} was not run")
            };
            assert_eq!(replies.len(), 24);
            assert!(!replies.iter().any(|reply| matches!(reply, Value::Error(_))), "{replies:?}");
        }
        assert_eq!(other.run(server, ["DBSIZE"]), before);
    });
}

/// Returns a line's number behind `name` and its sign.
fn number_after(text: &str, name: &str) -> u64 {
    let at = text.find(name).unwrap_or_else(|| panic!("{name} in {text}")) + name.len();
    let digits = text[at..].split(|it: char| !it.is_ascii_digit()).next();
    digits.expect("a split has parts").parse().expect("a number")
}

#[test]
fn a_command_counts_once_over_any_number_of_shards() {
    let commands: &[&[&str]] = &[
        &["MSET", "a", "1", "b", "2", "c", "3", "d", "4", "e", "5", "f", "6"],
        &["MGET", "a", "b", "c", "d", "e", "f"],
        &["EXISTS", "f", "e", "d", "c", "b", "a"],
        &["TOUCH", "a", "b", "c", "d", "e", "f"],
        &["UNLINK", "a", "b"],
        &["DEL", "c", "d", "e"],
        &["DBSIZE"],
        &["KEYS", "*"],
        &["RANDOMKEY"],
        &["SCAN", "0", "COUNT", "1000"],
        &["SCAN", "none"],
        &["FLUSHDB"],
        &["FLUSHALL"],
    ];
    for (shards, offloads) in [(1, false), (4, false), (1, true), (4, true), (3, true)] {
        let mut server = Server::with(Setup { offloads, ..Setup::new(shards, 7) });
        let mut client = server.client();
        let ask = |server: &mut Server, client: &mut Client, section: &str| {
            text(client.run(server, ["INFO", section]))
        };
        let before = number_after(&ask(&mut server, &mut client, "stats"), "commands_processed:");
        for command in commands {
            client.send(command);
            client.read(&mut server);
        }
        let after = number_after(&ask(&mut server, &mut client, "stats"), "commands_processed:");
        let told = format!("{shards} shards, offloads: {offloads}");
        assert_eq!(after - before, commands.len() as u64 + 1, "{told}: and INFO");
        let stats = ask(&mut server, &mut client, "commandstats");
        for command in commands {
            let name = command[0].to_ascii_lowercase();
            let runs = commands.iter().filter(|other| other[0] == command[0]).count() as u64;
            let calls = number_after(&stats, &format!("cmdstat_{name}:calls="));
            assert_eq!(calls, runs, "{told}: {name} in {stats}");
        }
        let scan = &stats[stats.find("cmdstat_scan").expect("counted above")..];
        assert_eq!(number_after(scan, "failed_calls="), 1, "{told}: {scan}");
    }
}
