//! Scripts, which give the same results with any number of shards.

use crate::harness::{Client, Server, Setup, bulk, int, key_on, list, ok};
use annulet::resp::Value;

const SHARD_COUNTS: [usize; 4] = [1, 2, 3, 4];

fn on_servers(test: impl Fn(&mut Server, &mut Client, &mut Client)) {
    for shards in SHARD_COUNTS {
        for seed in 0..3 {
            let mut server = Server::with(Setup::new(shards, seed));
            let (mut one, mut other) = (server.client(), server.client());
            test(&mut server, &mut one, &mut other);
            server.check();
        }
    }
}

/// Returns a key of each of three shards, or fewer.
fn keys(server: &Server) -> [String; 3] {
    let shards = server.shards();
    [0, 1, 2].map(|number| key_on(shards, number % shards, number))
}

fn error(value: &Value) -> String {
    match value {
        Value::Error(text) => String::from_utf8_lossy(text).into_owned(),
        other => panic!("{other:?} is no error"),
    }
}

#[test]
fn declared_keys_of_one_and_of_several_shards() {
    on_servers(|server, one, other| {
        let [a, b, c] = keys(server);
        let incr = "return redis.call('incr', KEYS[1])";
        for key in [&a, &b, &c] {
            assert_eq!(one.run(server, ["EVAL", incr, "1", key]), int(1));
            assert_eq!(other.run(server, ["EVAL", incr, "1", key]), int(2));
        }
        let sum = "return redis.call('get', KEYS[1]) + redis.call('incr', KEYS[2])";
        assert_eq!(one.run(server, ["EVAL", sum, "2", &a, &b]), int(5));
        let moves = "redis.call('rename', KEYS[1], KEYS[2]) return redis.call('mget', KEYS[1], \
                     KEYS[2], KEYS[3])";
        let moved = Value::Array(vec![Value::Null, bulk("2"), bulk("3")]);
        assert_eq!(one.run(server, ["EVAL", moves, "3", &a, &c, &b]), moved);
        assert_eq!(other.run(server, ["MGET", &a, &c, &b]), moved);
    });
}

#[test]
fn undeclared_keys() {
    on_servers(|server, one, other| {
        let [a, b, c] = keys(server);
        let set = "for i = 1, #ARGV do redis.call('set', ARGV[i], i) end return redis.call('mget', \
                   unpack(ARGV))";
        assert_eq!(one.run(server, ["EVAL", set, "0", &a, &b, &c]), list(&["1", "2", "3"]));
        assert_eq!(other.run(server, ["MGET", &a, &b, &c]), list(&["1", "2", "3"]));
        let all = "return {redis.call('dbsize'), redis.call('exists', ARGV[1], ARGV[2], ARGV[1]), \
                   #redis.call('keys', '*'), redis.call('del', ARGV[1], ARGV[3])}";
        let expected = Value::Array([3, 3, 3, 2].map(int).into());
        assert_eq!(one.run(server, ["EVAL", all, "0", &a, &b, &c]), expected);
        assert_eq!(other.run(server, ["DBSIZE"]), int(1));
        let random = "return redis.call('randomkey')";
        assert_eq!(other.run(server, ["EVAL", random, "0"]), bulk(&b));
        let flush = "redis.call('mset', ARGV[1], 1, ARGV[2], 2) redis.call('flushall') return \
                     redis.call('randomkey')";
        assert_eq!(one.run(server, ["EVAL", flush, "0", &a, &c]), Value::Null);
        assert_eq!(other.run(server, ["DBSIZE"]), int(0));
    });
}

#[test]
fn a_pair_without_value_is_refused_whole() {
    on_servers(|server, one, _| {
        let [a, b, c] = keys(server);
        for name in ["MSET", "MSETNX"] {
            let script = "return redis.pcall(unpack(ARGV))";
            let reply = one.run(server, ["EVAL", script, "0", name, &a, "1", &b, "2", &c]);
            let text =
                format!("ERR wrong number of arguments for '{}' command", name.to_lowercase());
            assert_eq!(error(&reply), text);
            assert_eq!(one.run(server, ["EXISTS", &a, &b, &c]), int(0));
        }
    });
}

#[test]
fn commands_that_combine_undeclared_keys() {
    on_servers(|server, one, other| {
        let [a, b, c] = keys(server);
        assert_eq!(one.run(server, ["SADD", &a, "1", "2", "3"]), int(3));
        assert_eq!(one.run(server, ["SADD", &b, "2", "3", "4"]), int(3));
        let meet = "local n = redis.call('sinterstore', ARGV[3], ARGV[1], ARGV[2]) \
                    redis.call('rename', ARGV[3], ARGV[1]) return {n, redis.call('sort', ARGV[1])}";
        let expected = Value::Array(vec![int(2), list(&["2", "3"])]);
        assert_eq!(one.run(server, ["EVAL", meet, "0", &a, &b, &c]), expected);
        assert_eq!(other.run(server, ["EXISTS", &a, &b, &c]), int(2));
        assert_eq!(other.run(server, ["SMEMBERS", &a]), list(&["2", "3"]));
        let sorted = "redis.call('set', 'w_2', 9) redis.call('set', 'w_3', 1) return \
                      redis.call('sort', ARGV[1], 'by', 'w_*', 'get', '#', 'get', 'w_*')";
        let expected = list(&["3", "1", "2", "9"]);
        assert_eq!(one.run(server, ["EVAL", sorted, "0", &a]), expected);
        let select = "redis.call('select', 3) redis.call('set', ARGV[1], 'x') return \
                      redis.call('get', ARGV[1])";
        assert_eq!(one.run(server, ["EVAL", select, "0", &c]), bulk("x"));
        assert_eq!(one.run(server, ["EXISTS", &c]), int(0));
    });
}

#[test]
fn scripts_in_transactions() {
    on_servers(|server, one, other| {
        let [a, b, c] = keys(server);
        let stray = "redis.call('incr', ARGV[1]) return redis.call('incr', ARGV[2])";
        let confined = "return redis.call('incr', KEYS[1])";
        assert_eq!(one.run(server, ["MULTI"]), ok());
        for args in [
            vec!["SET", &a, "5"],
            vec!["EVAL", stray, "0", &a, &b],
            vec!["EVAL", confined, "1", &b],
            vec!["MGET", &a, &b, &c],
        ] {
            one.send(&args);
            assert_eq!(one.read(server), Value::Simple(b"QUEUED".to_vec()));
        }
        let values = Value::Array(vec![bulk("6"), bulk("2"), Value::Null]);
        let replies = Value::Array(vec![ok(), int(1), int(2), values]);
        assert_eq!(one.run(server, ["EXEC"]), replies);
        assert_eq!(other.run(server, ["GET", &a]), bulk("6"));
    });
}

#[test]
fn a_script_wakes_blocked_clients_after_its_last_command() {
    on_servers(|server, one, other| {
        let [a, b, _] = keys(server);
        other.send(&["BLPOP", &a, &b, "0"]);
        server.settle();
        let push = "redis.call('rpush', ARGV[2], 'x') redis.call('rpush', ARGV[1], 'y') return \
                    redis.call('llen', ARGV[1])";
        assert_eq!(one.run(server, ["EVAL", push, "0", &a, &b]), int(1));
        let popped = other.read(server);
        assert!(popped == list(&[&b, "x"]) || popped == list(&[&a, "y"]), "{popped:?}");
        let lengths = "return redis.call('llen', ARGV[1]) + redis.call('llen', ARGV[2])";
        assert_eq!(one.run(server, ["EVAL", lengths, "0", &a, &b]), int(1));
    });
}

#[test]
fn a_failed_script_keeps_what_it_has_done() {
    on_servers(|server, one, other| {
        let [a, b, _] = keys(server);
        let fails = "redis.call('set', ARGV[1], 1) redis.call('lpush', ARGV[1], 2) \
                     redis.call('set', ARGV[2], 3)";
        let text = error(&one.run(server, ["EVAL", fails, "0", &a, &b]));
        assert!(text.starts_with("WRONGTYPE Operation against a key"), "{text}");
        assert_eq!(other.run(server, ["MGET", &a, &b]), {
            Value::Array(vec![bulk("1"), Value::Null])
        });
        let caught = "local r = redis.pcall('lpush', ARGV[1], 2) redis.call('set', ARGV[2], 3) \
                      return r['err']";
        let Value::Bulk(text) = one.run(server, ["EVAL", caught, "0", &a, &b]) else {
            panic!("a script can catch an error")
        };
        assert!(text.starts_with(b"WRONGTYPE"), "{text:?}");
        assert_eq!(other.run(server, ["GET", &b]), bulk("3"));
    });
}

#[test]
fn scripts_are_known_by_their_digest_on_all_shards() {
    on_servers(|server, one, other| {
        let [a, b, _] = keys(server);
        let script = "return redis.call('incrby', KEYS[1], ARGV[1])";
        let Value::Bulk(sha) = one.run(server, ["SCRIPT", "LOAD", script]) else {
            panic!("SCRIPT LOAD replies the digest")
        };
        let sha = String::from_utf8(sha).expect("digits");
        for key in [&a, &b] {
            assert_eq!(other.run(server, ["EVALSHA", &sha, "1", key, "7"]), int(7));
            assert_eq!(one.run(server, ["EVALSHA", &sha.to_uppercase(), "1", key, "7"]), int(14));
        }
        assert_eq!(other.run(server, ["SCRIPT", "SHOW", &sha]), bulk(script));
        assert_eq!(one.run(server, ["SCRIPT", "FLUSH"]), ok());
        assert_eq!(other.run(server, ["SCRIPT", "EXISTS", &sha]), Value::Array(vec![int(0)]));
        let text = error(&one.run(server, ["EVALSHA", &sha, "1", &b, "7"]));
        assert_eq!(text, "NOSCRIPT No matching script.");
    });
}

/// Creates servers on which scripts are suspended at each pause.
#[test]
fn there_is_no_debugger() {
    on_servers(|server, one, _| {
        let mut debug = |args: &[&str]| {
            one.send(&[&["SCRIPT", "DEBUG"], args].concat());
            match one.read(server) {
                Value::Error(text) => String::from_utf8(text).expect("errors are text"),
                reply => format!("{reply:?}"),
            }
        };
        assert_eq!(debug(&["no"]), format!("{:?}", ok()));
        assert_eq!(debug(&["NO", "Lua"]), format!("{:?}", ok()));
        for mode in ["YES", "sync"] {
            assert_eq!(
                debug(&[mode]),
                "ERR The scripting engine 'LUA' does not support interactive script debugging"
            );
        }
        assert_eq!(debug(&["maybe"]), "ERR Use SCRIPT DEBUG YES/SYNC/NO");
        assert_eq!(
            debug(&["maybe", "js"]),
            "ERR No scripting engine found with name 'js' to enable debug"
        );
        assert_eq!(
            debug(&["no", "lua", "x"]),
            "ERR unknown subcommand or wrong number of arguments for 'DEBUG'. Try SCRIPT HELP."
        );
    });
}

#[test]
fn flushed_scripts_leave_no_memory() {
    on_servers(|server, one, _| {
        let mut vm_bytes = |server: &mut Server| -> u64 {
            server.advance_ms(2_000);
            server.settle();
            let Value::Bulk(text) = one.run(server, ["INFO", "memory"]) else {
                panic!("INFO replies a text");
            };
            let text = String::from_utf8(text).expect("INFO is text");
            let field = text.lines().find_map(|line| line.strip_prefix("used_memory_vm_eval:"));
            field.expect("the field is there").parse().expect("it is a number")
        };
        assert_eq!(vm_bytes(server), 0);
        let mut other = server.client();
        for key in keys(server) {
            other.run(server, ["EVAL", "return redis.call('incr', KEYS[1])", "1", &key]);
        }
        assert!(vm_bytes(server) > 0);
        assert_eq!(other.run(server, ["SCRIPT", "FLUSH"]), ok());
        assert_eq!(vm_bytes(server), 0);
    });
}

fn on_sliced_servers(test: impl Fn(&mut Server, &mut Client, &mut Client)) {
    for shards in SHARD_COUNTS {
        for seed in 0..3 {
            let mut setup = Setup::new(shards, seed);
            setup.config.offload_elements_min = 1;
            let mut server = Server::with(setup);
            let (mut one, mut other) = (server.client(), server.client());
            test(&mut server, &mut one, &mut other);
            server.check();
        }
    }
}

/// A loop that is suspended several times.
const LONG: &str = "for i = 1, 9000000 do end ";

/// Sends a command and reads its reply while scripts may run for ever.
fn ask(server: &mut Server, client: &mut Client, args: &[&str]) -> Value {
    client.send(args);
    soon(server, client)
}

/// Reads a reply while scripts may run for ever.
fn soon(server: &mut Server, client: &mut Client) -> Value {
    for _ in 0..2_000 {
        server.steps(5);
        if let Some(reply) = client.try_read() {
            return reply;
        }
    }
    panic!("no reply");
}

#[test]
fn a_long_script_stops_only_clients_of_its_keys() {
    on_sliced_servers(|server, one, other| {
        let [a, b, _] = keys(server);
        let script =
            format!("redis.call('set', KEYS[1], 1) {LONG} return redis.call('incr', KEYS[1])");
        one.send(&["EVAL", &script, "1", &a]);
        server.steps(10);
        assert_eq!(ask(server, other, &["SET", &b, "x"]), ok());
        assert!(one.try_read().is_none(), "the script still runs");
        assert_eq!(ask(server, other, &["GET", &a]), bulk("2"), "nobody sees a part of the script");
        assert_eq!(one.read(server), int(2));
    });
}

/// A script without keys runs while another unit wants the slices of all partitions. The commands
/// behind it still find the slice of their partition.
#[test]
fn a_long_script_without_keys_is_followed_by_other_commands() {
    on_sliced_servers(|server, one, other| {
        let script = format!("{LONG} return 5");
        let undeclared = format!("{LONG} return redis.call('exists', ARGV[1])");
        for first in 0..4 {
            one.send(&["EVAL", &script, "0"]);
            one.send(&["EVAL", "return 6", "0"]);
            server.steps(2 + first * 3);
            other.send(&["EVAL", &undeclared, "0", "key"]);
            assert_eq!(soon(server, one), int(5));
            assert_eq!(soon(server, one), int(6));
            assert_eq!(soon(server, other), int(0));
        }
    });
}

/// A survey takes no locks, but a script behind it in its batch does.
#[test]
fn a_survey_and_a_long_script_run_beside_another_one() {
    on_sliced_servers(|server, one, other| {
        let [a, b, _] = keys(server);
        let script = format!("redis.call('set', KEYS[1], 1) {LONG} return 5");
        for survey in [&["DBSIZE"][..], &["SCAN", "0"], &["RANDOMKEY"]] {
            one.send(&["EVAL", &script, "1", &a]);
            server.steps(10);
            other.send(&["SET", &b, "1"]);
            other.send(survey);
            other.send(&["EVAL", &script, "1", &b]);
            other.send(survey);
            assert_eq!(soon(server, one), int(5));
            assert_eq!(soon(server, other), ok());
            assert!(!matches!(soon(server, other), Value::Error(_)));
            assert_eq!(soon(server, other), int(5));
            assert!(!matches!(soon(server, other), Value::Error(_)));
        }
    });
}

#[test]
fn a_long_script_over_several_shards_is_atomic() {
    on_sliced_servers(|server, one, other| {
        let [a, b, c] = keys(server);
        for script in [
            format!("redis.call('set', KEYS[1], 1) {LONG} redis.call('set', KEYS[2], 1) return 7"),
            format!("redis.call('set', ARGV[1], 2) {LONG} redis.call('set', ARGV[2], 2) return 7"),
        ] {
            let keys = if script.contains("KEYS") { "3" } else { "0" };
            one.send(&["EVAL", &script, keys, &a, &b, &c]);
            server.steps(100);
            let Value::Array(values) = other.run(server, ["MGET", &a, &b]) else {
                panic!("MGET replies an array")
            };
            assert_eq!(values[0], values[1], "nobody sees a part of the script");
            assert_eq!(one.read(server), int(7));
        }
    });
}

#[test]
fn scripts_are_killed_unless_they_have_written() {
    on_sliced_servers(|server, one, other| {
        let [a, _, _] = keys(server);
        for (script, keys) in [
            ("while true do redis.call('get', KEYS[1]) end", "1"),
            ("while true do redis.call('get', ARGV[1]) end", "0"),
            ("pcall(function() while true do end end) while true do end", "0"),
        ] {
            one.send(&["EVAL", script, keys, &a]);
            server.steps(100);
            assert!(one.try_read().is_none(), "the script runs");
            assert_eq!(ask(server, other, &["SCRIPT", "KILL"]), ok());
            let text = error(&soon(server, one));
            assert!(text.contains("Script killed by user with SCRIPT KILL"), "{text}");
        }
        let text = error(&ask(server, other, &["SCRIPT", "KILL"]));
        assert_eq!(text, "NOTBUSY No scripts in execution right now.");
        let writes = format!("redis.call('set', KEYS[1], 1) {LONG} return 5");
        one.send(&["EVAL", &writes, "1", &a]);
        server.steps(100);
        let text = error(&ask(server, other, &["SCRIPT", "KILL"]));
        assert!(text.starts_with("UNKILLABLE"), "{text}");
        assert_eq!(one.read(server), int(5));
    });
}

#[test]
fn a_busy_server_refuses_commands_until_the_script_is_killed() {
    on_sliced_servers(|server, one, other| {
        let [a, _, _] = keys(server);
        for (is_exec, has_slices) in [(false, false), (true, false), (true, true)] {
            if is_exec {
                assert_eq!(one.run(server, ["MULTI"]), ok());
                let queued = Value::Simple(b"QUEUED".to_vec());
                if has_slices {
                    let discovers = ["EVAL", "return redis.call('exists', ARGV[1])", "0", &a];
                    assert_eq!(one.run(server, discovers), queued);
                }
                assert_eq!(one.run(server, ["EVAL", "while true do end", "1", &a]), queued);
                assert_eq!(one.run(server, ["INCR", &a]), queued);
                one.send(&["EXEC"]);
            } else {
                one.send(&["EVAL", "while true do end", "1", &a]);
            }
            server.steps(100);
            assert_eq!(ask(server, other, &["PING"]), Value::Simple(b"PONG".to_vec()));
            server.world.clock.advance_ms(6_000);
            server.steps(20);
            let text = error(&ask(server, other, &["PING"]));
            assert!(text.starts_with("BUSY "), "{text}");
            assert_eq!(ask(server, other, &["SCRIPT", "KILL"]), ok());
            let reply = soon(server, one);
            match is_exec {
                true => {
                    let Value::Array(replies) = reply else { panic!("{reply:?}") };
                    let (script, incr) = (&replies[replies.len() - 2], replies.last());
                    assert!(matches!(script, Value::Error(_)), "{script:?}");
                    assert!(matches!(incr, Some(Value::Integer(_))), "{incr:?}");
                }
                false => assert!(matches!(reply, Value::Error(_)), "{reply:?}"),
            }
            server.steps(20);
            assert_eq!(ask(server, other, &["PING"]), Value::Simple(b"PONG".to_vec()));
        }
    });
}
