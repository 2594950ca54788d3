//! Commands that run on the offload pool or in slices: the same replies as in one step, and what
//! other clients see meanwhile.

use crate::harness::{Client, Server, Setup, key_on, list, ok};
use annulet::base::rng::Rng;
use annulet::config::Permission;
use annulet::resp::Value;
use std::collections::BTreeSet;

const SEEDS: u64 = 20;
const COMMANDS: usize = 300;

/// Returns a server with or without an offload pool, and a client of it.
fn server(shards: usize, seed: u64, offloads: bool) -> (Server, Client) {
    let mut server = Server::with(Setup { offloads, ..Setup::new(shards, seed) });
    let client = server.client();
    (server, client)
}

/// Templates of commands. `K` is a key, `N` a number, `M` a member.
const TEMPLATES: &[&str] = &[
    "RPUSH l:K M M M M M",
    "LRANGE l:K N N",
    "LTRIM l:K N N",
    "LPOP l:K N",
    "LPOS l:K M",
    "LREM l:K N M",
    "LINSERT l:K BEFORE M M",
    "LMPOP 2 l:K l:K LEFT COUNT N",
    "SADD s:K M M M M",
    "SMEMBERS s:K",
    "SPOP s:K 99",
    "SREM s:K M M",
    "SMISMEMBER s:K M M",
    "SSCAN s:K 0 COUNT 100",
    "SUNIONSTORE s:K s:K s:K",
    "SINTER s:K s:K",
    "HSET h:K M M M M",
    "HGETALL h:K",
    "HMGET h:K M M",
    "HDEL h:K M",
    "HKEYS h:K",
    "HSCAN h:K 0 COUNT 100",
    "ZADD z:K N M N M",
    "ZRANGE z:K N N WITHSCORES",
    "ZRANGEBYSCORE z:K -inf +inf LIMIT N N",
    "ZREVRANGEBYLEX z:K + -",
    "ZPOPMIN z:K N",
    "ZREMRANGEBYRANK z:K N N",
    "ZREMRANGEBYSCORE z:K N N",
    "ZUNIONSTORE z:K 2 z:K z:K",
    "ZSCAN z:K 0 COUNT 100",
    "XADD x:K * f M",
    "XRANGE x:K - + COUNT N",
    "XREVRANGE x:K + -",
    "XTRIM x:K MAXLEN N",
    "XREAD COUNT N STREAMS x:K x:K 0 0",
    "XGROUP CREATE x:K g 0",
    "XGROUP DESTROY x:K g",
    "XGROUP DELCONSUMER x:K g M",
    "XREADGROUP GROUP g M COUNT N STREAMS x:K >",
    "XREADGROUP GROUP g M COUNT N STREAMS x:K 0",
    "XPENDING x:K g",
    "XAUTOCLAIM x:K g M 0 0 COUNT 3 JUSTID",
    "MSETNX n:K M n:K M",
    "HPERSIST h:K FIELDS 2 M M",
    "APPEND b:K M",
    "SETRANGE b:K N M",
    "SETBIT b:K N 1",
    "BITCOUNT b:K",
    "BITPOS b:K 1",
    "BITOP NOT b:K b:K",
    "BITFIELD b:K SET u8 N N",
    "LCS b:K b:K",
    "PFADD p:K M M",
    "PFCOUNT p:K p:K",
    "PFMERGE p:K p:K",
    "COPY s:K s:K",
    "DUMP s:K",
    "MEMORY USAGE h:K SAMPLES 0",
    "SORT l:K ALPHA STORE l:K",
    "RENAME b:K b:K",
    "GET b:K",
    "MGET b:K s:K n:K b:K",
    "MSET n:K M n:K M",
    "EXISTS b:K s:K b:K n:K",
    "TOUCH n:K l:K",
    "UNLINK n:K n:K",
    "DEL n:K b:K",
    "DEL b:K",
    "DEL l:K",
    "DBSIZE",
    "EXPIRE s:K 100",
    "OBJECT ENCODING b:K",
    "TYPE s:K",
    "LLEN l:K",
];

/// Returns a random command from the templates.
pub fn draw(rng: &mut Rng) -> Vec<String> {
    let template = TEMPLATES[rng.below(TEMPLATES.len() as u64) as usize];
    let mut arg = |word: &str| match word {
        "N" => (rng.below(30) as i64 - 5).to_string(),
        "M" => format!("m{}", rng.below(40)),
        _ => word.replace('K', &rng.below(4).to_string()),
    };
    template.split(' ').map(&mut arg).collect()
}

#[test]
fn an_offloaded_command_replies_as_in_one_step() {
    for seed in 0..SEEDS {
        let shards = 1 + seed as usize % 3;
        let (mut plain, mut one) = server(shards, seed, false);
        let (mut offloading, mut other) = server(shards, seed, true);
        let mut rng = Rng::new(seed);
        if seed % 2 == 1 {
            one.run(&mut plain, ["HELLO", "3"]);
            other.run(&mut offloading, ["HELLO", "3"]);
        }
        for _ in 0..COMMANDS {
            // A pipeline, so that commands run behind an offloaded one.
            let commands: Vec<_> = (0..1 + rng.below(4)).map(|_| draw(&mut rng)).collect();
            for command in &commands {
                one.send(command);
                other.send(command);
            }
            for command in &commands {
                let expected = one.read(&mut plain);
                let reply = other.read(&mut offloading);
                // Two sets with equal members may have different orders.
                assert_eq!(sorted(reply), sorted(expected), "seed {seed}: {command:?}");
            }
        }
        let digests = [
            one.run(&mut plain, ["DEBUG", "DIGEST"]),
            other.run(&mut offloading, ["DEBUG", "DIGEST"]),
        ];
        assert_eq!(digests[0], digests[1], "seed {seed}");
        plain.check();
        offloading.check();
    }
}

/// Sorts the elements of an array.
fn sorted(value: Value) -> Vec<String> {
    let mut texts: Vec<String> = match value {
        Value::Array(values) | Value::Set(values) => {
            values.iter().map(|value| format!("{value:?}")).collect()
        }
        other => vec![format!("{other:?}")],
    };
    texts.sort_unstable();
    texts
}

fn names(value: Value) -> Vec<Vec<u8>> {
    let Value::Array(values) = value else { panic!("{value:?} is not an array") };
    let name = |value| match value {
        Value::Bulk(name) => name,
        other => panic!("{other:?} is not a key"),
    };
    values.into_iter().map(name).collect()
}

#[test]
fn a_walk_returns_each_key_that_stays_once() {
    for seed in 0..SEEDS {
        let shards = 1 + seed as usize % 3;
        let (mut server, mut walker) = server(shards, seed, true);
        let mut writer = server.client();
        let mut rng = Rng::new(seed);
        let stays: BTreeSet<Vec<u8>> =
            (0..200).map(|at| format!("stays:{at}").into_bytes()).collect();
        for name in &stays {
            writer.send(&[b"SET".as_slice(), name, b"v"]);
        }
        // The table grows and shrinks during the walk: these keys come and go.
        for at in 0..300 {
            writer.send(&["SET", &format!("goes:{at}"), "v"]);
        }
        server.settle();
        writer.pump();
        while writer.try_read().is_some() {}
        walker.send(&["KEYS", "*"]);
        let mut replies = 0;
        let found = loop {
            if let Some(value) = walker.try_read() {
                break names(value);
            }
            let at = rng.below(600);
            let is_new = rng.below(3) == 0;
            let name = format!("goes:{at}");
            if is_new {
                writer.send(&["SET", &name, "v"]);
            } else {
                writer.send(&["DEL", &name]);
            }
            server.steps(1 + rng.below(8));
            while writer.try_read().is_some() {
                replies += 1;
            }
        };
        assert!(replies > 20, "seed {seed}: other clients' commands run during the walk");
        let unique: BTreeSet<Vec<u8>> = found.iter().cloned().collect();
        assert_eq!(unique.len(), found.len(), "seed {seed}: a key is returned twice");
        assert!(unique.is_superset(&stays), "seed {seed}: a key that stays is missing");
        server.check();
    }
}

#[test]
fn a_walk_misses_no_key_that_a_transaction_has_taken() {
    for seed in 0..SEEDS {
        let shards = 2;
        let (mut server, mut walker) = server(shards, seed, true);
        let mut writer = server.client();
        let pair = [key_on(shards, 0, 0), key_on(shards, 1, 0)];
        for name in &pair {
            writer.run(&mut server, ["SADD", name, "m"]);
        }
        let mut rng = Rng::new(seed);
        for _ in 0..20 {
            walker.send(&["KEYS", "*"]);
            server.steps(rng.below(6));
            // Takes both values to one shard, and returns them.
            writer.send(&["SMOVE", &pair[0], &pair[1], "no such member"]);
            let found = names(walker.read(&mut server));
            assert_eq!(found.len(), 2, "seed {seed}");
            writer.read(&mut server);
        }
        server.check();
    }
}

#[test]
fn a_command_that_ran_on_the_pool_blocks_and_is_served() {
    for (shards, seed) in [(1, 0), (2, 1), (4, 2)] {
        let (mut server, mut client) = server(shards, seed, true);
        let mut pusher = server.client();
        let keys: Vec<String> = (0..shards).map(|shard| key_on(shards, shard, 0)).collect();
        for (key, pop) in keys.iter().flat_map(|key| [(key, "BLPOP"), (key, "BZPOPMIN")]) {
            let args: Vec<&str> = [pop].into_iter().chain(keys.iter().map(|it| &**it)).collect();
            client.send(&[&args[..], &["0"]].concat());
            server.settle();
            assert_eq!(client.try_read(), None, "{pop} waits");
            let (push, reply): (&[&str], &[&str]) = match pop {
                "BLPOP" => (&["RPUSH", key, "a"], &[key, "a"]),
                _ => (&["ZADD", key, "5", "a"], &[key, "a", "5"]),
            };
            pusher.send(push);
            assert_eq!(pusher.read(&mut server), Value::Integer(1));
            assert_eq!(client.read(&mut server), list(reply));
        }
        server.check();
    }
}

#[test]
fn a_large_string_is_changed_on_the_pool_and_comes_back() {
    let (mut server, mut client) = server(1, 1, true);
    assert_eq!(client.run(&mut server, ["SETBIT", "bits", "8000000", "1"]), Value::Integer(0));
    let before = client.run(&mut server, ["BITCOUNT", "bits"]);
    assert_eq!(before, Value::Integer(1));
    // Changes nothing: the string still comes back.
    assert_eq!(client.run(&mut server, ["SETBIT", "bits", "8000000", "1"]), Value::Integer(1));
    assert_eq!(client.run(&mut server, ["STRLEN", "bits"]), Value::Integer(1_000_001));
    assert_eq!(client.run(&mut server, ["SET", "other", "v"]), ok());
    assert_eq!(
        client.run(&mut server, ["BITOP", "NOT", "other", "bits"]),
        Value::Integer(1_000_001)
    );
    assert_eq!(client.run(&mut server, ["BITCOUNT", "other"]), Value::Integer(8_000_007));
    server.check();
}

/// Returns the number of keys in database 0, as the boards of all shards count them.
fn keys_on_boards(server: &Server) -> u64 {
    server.world.process.boards.database(0)[0]
}

/// Runs turns of all shards for `ms` milliseconds, and no job of the pool.
fn wait_without_pool(server: &mut Server, ms: u64) {
    for _ in 0..ms {
        (0..server.shards()).for_each(|me| server.turns_of(me, 2));
        server.world.clock.advance_ms(1);
    }
}

#[test]
fn keys_expire_while_others_are_locked() {
    for shards in 1..=3 {
        let (mut server, mut union) = server(shards, shards as u64, true);
        let mut copy = server.client();
        // One source is volatile itself, the other has a volatile field.
        union.run(&mut server, ["SADD", "source", "a", "b", "c"]);
        union.run(&mut server, ["PEXPIRE", "source", "50"]);
        union.run(&mut server, ["HSET", "fields", "f", "v", "g", "w"]);
        union.run(&mut server, ["HPEXPIRE", "fields", "50", "FIELDS", "1", "f"]);
        for at in 0..300 {
            union.run(&mut server, ["SET", &format!("volatile:{at}"), "v", "PX", "50"]);
        }
        union.send(&["SUNIONSTORE", "target", "source", "absent"]);
        copy.send(&["COPY", "fields", "copied"]);
        wait_without_pool(&mut server, 20);
        assert_eq!(keys_on_boards(&server), 302, "{shards} shards: nothing is due");
        wait_without_pool(&mut server, 1_000);
        assert!(union.try_read().is_none() && copy.try_read().is_none(), "the keys are locked");
        assert_eq!(keys_on_boards(&server), 2, "{shards} shards: only the locked keys stay");

        assert_eq!(union.read(&mut server), Value::Integer(3), "it began before the expiry");
        assert_eq!(copy.read(&mut server), Value::Integer(1));
        server.advance_ms(1_000);
        server.advance_ms(1_000);
        assert_eq!(keys_on_boards(&server), 3, "{shards} shards: the source has expired");
        assert_eq!(copy.run(&mut server, ["EXISTS", "source"]), Value::Integer(0));
        assert_eq!(copy.run(&mut server, ["HLEN", "fields"]), Value::Integer(1));
        server.check();
    }
}

#[test]
fn an_expiry_is_propagated_before_the_offloaded_command_that_found_it() {
    for shards in 1..=3 {
        let mut setup = Setup { offloads: true, ..Setup::new(shards, shards as u64) };
        setup.config.enable_debug_command = Permission::Yes;
        let mut server = Server::with(setup);
        let (mut client, mut replica) = (server.client(), server.client());
        client.run(&mut server, ["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        replica.send(&["PSYNC", "?", "-1"]);
        server.settle();
        let _snapshot = replica.link.read();
        for round in 0..4 {
            let key = format!("key:{round}");
            client.run(&mut server, ["SADD", &key, "member"]);
            client.run(&mut server, ["PEXPIRE", &key, "50"]);
            server.advance_ms(60);
            let pushed = client.run(&mut server, ["RPUSH", &key, "a", "b", "c"]);
            assert_eq!(pushed, Value::Integer(3), "the set has expired");
        }
        (0..20).for_each(|_| server.advance_ms(10));
        let stream = replica.link.read();
        let text = String::from_utf8_lossy(&stream).to_ascii_uppercase();
        for round in 0..4 {
            let at = |name: &str| text.find(&format!("{name}\r\n$5\r\nKEY:{round}\r\n"));
            let (gone, pushed) = (at("DEL").or_else(|| at("UNLINK")), at("RPUSH"));
            assert!(pushed.is_some() && gone.is_some(), "{shards} shards: {text}");
            assert!(gone < pushed, "{shards} shards, round {round}: {text}");
        }
        server.check();
    }
}

/// The time of a key's last use comes back with its value.
#[test]
fn an_offloaded_command_keeps_the_idle_time() {
    for shards in [1, 2] {
        let (mut server, mut client) = server(shards, 3, true);
        let key = key_on(shards, shards - 1, 0);
        client.run(&mut server, ["SADD", &key, "a", "b", "c"]);
        let Value::Bulk(payload) = client.run(&mut server, ["DUMP", &key]) else {
            panic!("a dump")
        };
        let args = [b"RESTORE", key.as_bytes(), b"0", &payload, b"IDLETIME", b"17", b"REPLACE"];
        client.send(&args);
        assert_eq!(client.read(&mut server), ok());
        let idle = ["OBJECT", "IDLETIME", &key];
        assert_eq!(client.run(&mut server, idle), Value::Integer(17));
        server.advance_ms(20_000);
        assert_eq!(client.run(&mut server, ["CLIENT", "NO-TOUCH", "ON"]), ok());
        assert_eq!(client.run(&mut server, ["SREM", &key, "a", "b"]), Value::Integer(2));
        assert_eq!(client.run(&mut server, idle), Value::Integer(37));
        assert_eq!(client.run(&mut server, ["CLIENT", "NO-TOUCH", "OFF"]), ok());
        assert_eq!(client.run(&mut server, ["SREM", &key, "x", "y"]), Value::Integer(0));
        assert_eq!(client.run(&mut server, idle), Value::Integer(0));
        server.check();
    }
}
