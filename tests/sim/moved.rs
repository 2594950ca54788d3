//! Hash slots move between partitions while clients use their keys: nothing is lost, repeated or
//! out of order, for clients or for a replica.

use super::histories::{Repeat, hunted, seeds};
use super::workloads::{
    DATABASES, DISCOVERIES, EVERYTHING, MOVES, PLAIN, SCRIPTS, TRANSACTIONS, WATCHES, check,
};
use crate::harness::linear::{Focus, judge, simulate};
use crate::harness::search::Verdict;
use crate::harness::units::{Kind::*, Mix};
use crate::harness::{Client, Server, bulk, int, key_on, list, ok};
use annulet::base::slot::slot_of;
use annulet::mesh::Rules;
use annulet::resp::Value;

const SEEDS: u64 = 40;

static PLAIN_MOVED: Mix = Mix { name: "plain, moved", moves_slots: true, ..PLAIN };

static RENAMES_MOVED: Mix = Mix { name: "renames, moved", moves_slots: true, ..MOVES };

static TRANSACTIONS_MOVED: Mix =
    Mix { name: "transactions, moved", moves_slots: true, ..TRANSACTIONS };

static WATCHES_MOVED: Mix = Mix { name: "watches, moved", moves_slots: true, ..WATCHES };

static SCRIPTS_MOVED: Mix = Mix { name: "scripts, moved", moves_slots: true, ..SCRIPTS };

static DISCOVERIES_MOVED: Mix =
    Mix { name: "discoveries, moved", moves_slots: true, ..DISCOVERIES };

static DATABASES_MOVED: Mix = Mix { name: "databases, moved", moves_slots: true, ..DATABASES };

static EVERYTHING_MOVED: Mix = Mix { name: "everything, moved", moves_slots: true, ..EVERYTHING };

static FOLLOWED_MOVED: Mix = Mix {
    name: "moved, with a feed",
    needs: &["multi", "exec", "rename", "copy", "msetnx"],
    kinds: &[Get, Mget, Set, Set, Mset, Mset, Incr, Del, GetDel, Rename, Copy, MsetNx],
    exec_once_in: 4,
    has_feed: true,
    moves_slots: true,
    ..PLAIN
};

#[test]
fn plain_commands_have_an_order_while_slots_move() {
    check(&PLAIN_MOVED);
}

#[test]
fn renames_have_an_order_while_slots_move() {
    check(&RENAMES_MOVED);
}

#[test]
fn transactions_have_an_order_while_slots_move() {
    check(&TRANSACTIONS_MOVED);
    check(&WATCHES_MOVED);
}

#[test]
fn scripts_have_an_order_while_slots_move() {
    check(&SCRIPTS_MOVED);
}

#[test]
fn discoveries_have_an_order_while_slots_move() {
    check(&DISCOVERIES_MOVED);
}

#[test]
fn databases_have_an_order_while_slots_move() {
    check(&DATABASES_MOVED);
    check(&EVERYTHING_MOVED);
}

#[test]
fn a_replica_follows_while_slots_move() {
    check(&FOLLOWED_MOVED);
}

#[test]
fn histories_are_possible_on_one_redis_while_slots_move() {
    for seed in seeds(SEEDS) {
        let _repeat = Repeat(seed, "moved");
        for focus in [Focus::Moved, Focus::NarrowMoved] {
            if let Some(anomaly) = simulate(seed, Rules::default(), focus).anomaly {
                panic!("seed {seed}: no single Redis could have done this:\n{anomaly}");
            }
        }
    }
}

/// Commands that are routed while slots move run on partitions that have their slots no more. The
/// checks of the slice find that before clients do.
#[test]
fn without_hold_moves_commands_run_where_their_keys_are_not() {
    let rules = Rules { hold_moves: false, ..Rules::default() };
    hunted("hold_moves", |seed| {
        let run = std::panic::catch_unwind(|| judge(seed, rules, &PLAIN_MOVED).verdict);
        !matches!(run, Ok(Verdict::Possible | Verdict::Undecided))
    });
}

/// Moves the slot of a key.
fn shift(server: &mut Server, client: &mut Client, key: &str, to: usize) {
    let slot = slot_of(key.as_bytes()).to_string();
    let args = ["ANNULET", "MOVESLOTS", &slot, &slot, &to.to_string()];
    assert_eq!(client.run(server, args), ok());
    assert_eq!(server.owner(key), to);
}

#[test]
fn values_of_all_kinds_move() {
    for (shards, seed) in [(2, 0), (3, 1), (4, 2)] {
        let mut server = Server::new(shards, seed);
        let (mut mover, mut one) = (server.client(), server.client());
        let key = |at: usize| key_on(shards, 0, at);
        let large = "x".repeat(70_000);
        one.run(&mut server, ["SET", &key(0), "17"]);
        one.run(&mut server, ["SET", &key(1), &large, "PX", "50"]);
        one.run(&mut server, ["RPUSH", &key(2), "a", "b"]);
        one.run(&mut server, ["HSET", &key(3), "f", "1", "g", "2"]);
        one.run(&mut server, ["HPEXPIRE", &key(3), "50", "FIELDS", "1", "f"]);
        one.run(&mut server, ["ZADD", &key(4), "1", "m"]);
        one.run(&mut server, ["XADD", &key(5), "1-1", "f", "v"]);
        one.run(&mut server, ["SELECT", "3"]);
        one.run(&mut server, ["SADD", &key(0), "m"]);
        one.run(&mut server, ["SELECT", "0"]);
        for round in 1..4 {
            for at in 0..6 {
                shift(&mut server, &mut mover, &key(at), round % shards);
            }
            server.check();
            assert_eq!(one.run(&mut server, ["DBSIZE"]), int(6));
            assert_eq!(one.run(&mut server, ["GET", &key(0)]), bulk("17"));
            assert_eq!(one.run(&mut server, ["STRLEN", &key(1)]), int(70_000));
            assert_eq!(one.run(&mut server, ["LRANGE", &key(2), "0", "-1"]), list(&["a", "b"]));
            assert_eq!(one.run(&mut server, ["HLEN", &key(3)]), int(2));
            assert_eq!(one.run(&mut server, ["ZSCORE", &key(4), "m"]), bulk("1"));
            assert_eq!(one.run(&mut server, ["XLEN", &key(5)]), int(1));
        }
        server.advance_ms(60);
        server.advance_ms(1_000);
        assert_eq!(one.run(&mut server, ["DBSIZE"]), int(5), "the string has expired");
        assert_eq!(one.run(&mut server, ["HLEN", &key(3)]), int(1));
        one.run(&mut server, ["SELECT", "3"]);
        assert_eq!(one.run(&mut server, ["SMEMBERS", &key(0)]), list(&["m"]));
        server.check();
    }
}

#[test]
fn what_waits_for_keys_moves_with_them() {
    for (shards, seed) in [(2, 0), (3, 1), (4, 2), (4, 3)] {
        let mut server = Server::new(shards, seed);
        let mut all: Vec<Client> = (0..6).map(|_| server.client()).collect();
        let (mut mover, mut one) = (server.client(), server.client());
        let [first, second, third] = [0, 1, 1].map(|shard| key_on(shards, shard, 7 + shard));
        let third = format!("{{{third}}}to");
        // Two that wait for one key, one for two keys, one that needs two shards.
        let blocked: [&[&str]; 4] = [
            &["BLPOP", &first, "0"],
            &["BLPOP", &second, &first, "0"],
            &["BLPOP", &first, "0"],
            &["BLMOVE", &first, &third, "LEFT", "RIGHT", "0"],
        ];
        for (client, args) in all.iter_mut().zip(blocked) {
            client.send(args);
            server.settle();
        }
        let (watcher, other) = all[4..].split_at_mut(1);
        assert_eq!(watcher[0].run(&mut server, ["WATCH", &first]), ok());
        assert_eq!(other[0].run(&mut server, ["WATCH", &first, &second]), ok());
        shift(&mut server, &mut mover, &first, 1);
        shift(&mut server, &mut mover, &second, 0);
        shift(&mut server, &mut mover, &first, shards - 1);
        assert_eq!(one.run(&mut server, ["RPUSH", &first, "a"]), int(1));
        assert_eq!(all[0].read(&mut server), list(&[&first, "a"]));
        assert_eq!(one.run(&mut server, ["RPUSH", &second, "b"]), int(1));
        assert_eq!(all[1].read(&mut server), list(&[&second, "b"]));
        assert_eq!(one.run(&mut server, ["RPUSH", &first, "c", "d"]), int(2));
        assert_eq!(all[2].read(&mut server), list(&[&first, "c"]));
        assert_eq!(all[3].read(&mut server), bulk("d"));
        assert_eq!(one.run(&mut server, ["LRANGE", &third, "0", "-1"]), list(&["d"]));
        for client in &mut all[4..] {
            assert_eq!(client.run(&mut server, ["MULTI"]), ok());
            assert_eq!(client.run(&mut server, ["EXEC"]), Value::Null, "the key has changed");
        }
        // A client that leaves is forgotten wherever its keys are.
        all[0].send(&["BLPOP", &first, &second, "0"]);
        server.settle();
        shift(&mut server, &mut mover, &first, 0);
        all[0].link.close();
        server.settle();
        server.check();
        assert_eq!(one.run(&mut server, ["RPUSH", &first, "e"]), int(1));
        assert_eq!(one.run(&mut server, ["LLEN", &first]), int(1));
    }
}

#[test]
fn a_walk_returns_every_key_once_while_slots_move() {
    for (shards, seed) in [(2, 0), (3, 1), (4, 2)] {
        let mut server = Server::new(shards, seed);
        let (mut mover, mut one) = (server.client(), server.client());
        for number in 0..600 {
            one.run(&mut server, ["SET", &format!("key:{number}"), "v"]);
        }
        let (mut cursor, mut found, mut calls) = ("0".to_string(), Vec::new(), 0);
        loop {
            let reply = one.run(&mut server, ["SCAN", &cursor, "COUNT", "7"]);
            let Value::Array(parts) = reply else { panic!("a cursor and keys") };
            let [Value::Bulk(next), Value::Array(keys)] = &parts[..] else { panic!("both") };
            cursor = String::from_utf8_lossy(next).into_owned();
            found.extend(keys.clone());
            calls += 1;
            if cursor == "0" {
                break;
            }
            let first = server.draw(16_000);
            let (last, to) = (first + server.draw(300), server.draw(shards as u64));
            let [first, last, to] = [first, last, to].map(|number| number.to_string());
            let moved = mover.run(&mut server, ["ANNULET", "MOVESLOTS", &first, &last, &to]);
            assert_eq!(moved, ok());
        }
        found.sort_by_key(|key| format!("{key:?}"));
        let len = found.len();
        found.dedup();
        assert_eq!((found.len(), len), (600, 600), "{calls} calls");
        server.check();
    }
}

#[test]
fn moves_that_are_refused() {
    let mut server = Server::new(2, 1);
    let mut one = server.client();
    let error = |text: &str| Value::Error(text.as_bytes().to_vec());
    for (args, text) in [
        (["5", "4", "0"], "ERR Start slot number 5 is greater than end slot number 4"),
        (["0", "16384", "1"], "ERR Invalid or out of range slot"),
        (["0", "1", "2"], "ERR No such shard"),
        (["0", "16383", "1"], "ERR Each shard keeps at least one slot"),
    ] {
        let [first, last, to] = args;
        let reply = one.run(&mut server, ["ANNULET", "MOVESLOTS", first, last, to]);
        assert_eq!(reply, error(text));
    }
    assert_eq!(one.run(&mut server, ["ANNULET", "MOVESLOTS", "0", "10", "0"]), ok());
    assert_eq!(one.run(&mut server, ["ANNULET", "MOVESLOTS", "0", "10", "1"]), ok());
    let range = |first, last, shard| Value::Array(vec![int(first), int(last), int(shard)]);
    let map = [range(0, 10, 1), range(11, 8_191, 0), range(8_192, 16_383, 1)];
    assert_eq!(one.run(&mut server, ["ANNULET", "SLOTS"]), Value::Array(map.to_vec()));
    assert_eq!(one.run(&mut server, ["MULTI"]), ok());
    let reply = one.run(&mut server, ["ANNULET", "MOVESLOTS", "0", "10", "0"]);
    assert!(matches!(reply, Value::Error(_)), "{reply:?}");
    server.check();
}
