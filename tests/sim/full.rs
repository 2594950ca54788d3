//! `maxmemory`: what is refused, which keys are evicted, and that a replica evicts the same keys in
//! the same place of the stream.
//!
//! All tests of this process share the count of bytes in use, so the limit here is one byte or
//! none: then memory is full, or it is not.

use crate::harness::replay::Replay;
use crate::harness::{Client, Server, Setup, encode, int, key_on, ok};
use annulet::config::MaxmemoryPolicy;
use annulet::resp::Value;

const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";

fn is_oom(value: &Value) -> bool {
    matches!(value, Value::Error(text) if text.starts_with(OOM.as_bytes()))
}

fn set_full(server: &mut Server, admin: &mut Client, is_full: bool) {
    let bytes = if is_full { "1" } else { "0" };
    assert_eq!(admin.run(server, ["CONFIG", "SET", "maxmemory", bytes]), ok());
}

fn info(server: &mut Server, admin: &mut Client, field: &str) -> u64 {
    let Value::Bulk(text) = admin.run(server, ["INFO"]) else { panic!("a text") };
    let text = String::from_utf8(text).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.expect("the field is there").parse().expect("a number")
}

#[test]
fn commands_that_use_memory_are_refused_while_it_is_full() {
    for shards in [1, 2, 4] {
        let mut server = Server::new(shards, shards as u64);
        let (mut admin, mut client) = (server.client(), server.client());
        let key = key_on(shards, shards - 1, 0);
        assert_eq!(client.run(&mut server, ["SET", &key, "1"]), ok());
        set_full(&mut server, &mut admin, true);
        assert!(is_oom(&client.run(&mut server, ["SET", &key, "2"])));
        assert!(is_oom(&client.run(&mut server, ["LPUSH", "other", "2"])));
        let script = "return redis.call('set', KEYS[1], 2)";
        assert!(is_oom(&client.run(&mut server, ["EVAL", script, "1", &key])));
        client.run(&mut server, ["MULTI"]);
        assert!(is_oom(&client.run(&mut server, ["INCR", &key])));
        let Value::Error(text) = client.run(&mut server, ["EXEC"]) else { panic!("an error") };
        assert!(text.starts_with(b"EXECABORT"));
        assert_eq!(client.run(&mut server, ["GET", &key]), Value::Bulk(b"1".to_vec()));
        assert_eq!(client.run(&mut server, ["EXPIRE", &key, "100"]), int(1));
        assert_eq!(client.run(&mut server, ["DEL", &key]), int(1));
        set_full(&mut server, &mut admin, false);
        assert_eq!(client.run(&mut server, ["INCR", &key]), int(1));
        assert_eq!(info(&mut server, &mut admin, "evicted_keys"), 0);
        server.check();
    }
}

#[test]
fn one_shard_evicts_for_another() {
    for shards in [2, 4] {
        let mut server = Server::new(shards, shards as u64);
        let (mut admin, mut client) = (server.client(), server.client());
        let policy = ["CONFIG", "SET", "maxmemory-policy", "allkeys-random"];
        assert_eq!(admin.run(&mut server, policy), ok());
        for number in 0..20 {
            let key = key_on(shards, shards - 1, number);
            assert_eq!(client.run(&mut server, ["SET", &key, "v"]), ok());
        }
        set_full(&mut server, &mut admin, true);
        server.advance_ms(200);
        assert_eq!(info(&mut server, &mut admin, "evicted_keys"), 20);
        assert_eq!(client.run(&mut server, ["DBSIZE"]), int(0));
        let key = key_on(shards, 0, 0);
        assert!(is_oom(&client.run(&mut server, ["SET", &key, "v"])), "no key is left");
        server.check();
    }
}

#[test]
fn a_replica_evicts_the_same_keys() {
    for (shards, seed) in [(1, 0), (2, 1), (4, 2), (4, 3), (4, 4)] {
        let mut setup = Setup::new(shards, seed);
        setup.config.repl_diskless_sync_delay = 0;
        setup.config.maxmemory_policy = MaxmemoryPolicy::VolatileLru;
        let mut server = Server::with(setup);
        let (mut admin, mut client) = (server.client(), server.client());
        let keys: Vec<String> =
            (0..24).map(|number| key_on(shards, number % shards, number)).collect();
        let mut replay = Replay::attach(&server.world);
        while !replay.has_snapshot() {
            server.advance_ms(1);
            while replay.next().is_some() {}
        }
        for key in &keys {
            assert_eq!(client.run(&mut server, ["SET", key, "1"]), ok());
        }
        set_full(&mut server, &mut admin, true);
        // The keys leave one after the other, between the commands of one batch.
        let mut bytes = Vec::new();
        for (number, key) in keys.iter().enumerate() {
            if number % 3 > 0 {
                bytes.extend(encode(&["EXPIRE", key, "1000"]));
            }
            bytes.extend(encode(&["EXPIRE", &keys[number / 2], "2000"]));
        }
        client.send_bytes(&bytes);
        for _ in 0..50 {
            server.advance_ms(1);
            while client.try_read().is_some() {}
            while replay.next().is_some() {}
        }
        set_full(&mut server, &mut admin, false);
        for _ in 0..50 {
            server.advance_ms(1);
            while replay.next().is_some() {}
        }
        let evicted = info(&mut server, &mut admin, "evicted_keys");
        assert!(evicted >= 16, "{evicted} keys of 24");
        let copies = replay.keys(0, &keys);
        let mut left = 0;
        for (key, copy) in keys.iter().zip(copies) {
            let own = client.run(&mut server, ["EXISTS", key]);
            assert_eq!(own, int(i64::from(copy.is_some())), "{key}: {}", replay.shown());
            left += u64::from(copy.is_some());
        }
        assert_eq!(left + evicted, 24);
        server.check();
    }
}
